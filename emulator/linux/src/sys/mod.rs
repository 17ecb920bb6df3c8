//! System calls.
//!
//! [`table`] is the one source of truth: a row per call with its numbers in both ABIs, what its
//! arguments are ([`args`]), whether it may block, how it restarts, and what runs it. Most calls
//! need no code of their own: [`pass`] checks and converts their arguments by kind and calls the
//! host kernel, and [`plain`] does it for those in which nothing is converted. The others are functions in the
//! modules by subject.

use emu_mem::access;

use crate::abi::layout::Struct;
use crate::{Abi, Errno, Machine, Process, SysResult, Thread, attention, sched};

pub mod aio;
pub mod args;
pub mod cmsg;
mod credentials;
pub mod dir;
pub mod exec;
pub mod fd;
pub mod fds;
pub mod file;
pub mod fork;
pub mod futex;
pub mod futex_host;
pub mod host_call;
pub mod id;
pub mod inline;
pub mod ioctl;
pub mod ipc;
pub mod mem;
pub mod pass;
pub mod plain;
pub mod poll;
pub mod process;
mod ready;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod system;
pub mod table;
pub mod thread;
pub mod time;
pub mod timer;
pub mod vec;
pub mod vfork;

pub use host_call::HostCall;
use pass::Guest;
use plain::Plain;
pub use table::{Restart, Row, Run};

/// A system call in progress: what its function works with.
pub struct SyscallContext<'a> {
    /// The process that made it.
    pub process: &'a mut Process,
    /// The engine.
    pub machine: &'a mut dyn Machine,
    /// The ABI the call uses; an x86-64 guest may use the i386 one with `int 0x80`.
    pub abi: Abi,
    /// The call's row.
    pub row: &'static Row,
    /// The six argument registers, zero-extended.
    pub registers: &'a [u64; 6],
    /// The arguments by the row's kinds: register pairs joined, `int`s sign-extended.
    pub args: [u64; 6],
}

/// How far [`begin`] got.
#[must_use]
pub enum Begun {
    /// The call is done.
    Done(SysResult),
    /// A host call is to be made, on any thread, and its result given to [`finish`].
    Host(HostCall),
}

/// Runs system call `number` to its end.
pub fn dispatch(
    process: &mut Process,
    machine: &mut dyn Machine,
    abi: Abi,
    number: u64,
    registers: &[u64; 6],
) -> SysResult {
    let Some(row) = table::lookup(abi, number) else {
        return Err(unknown(abi, number));
    };
    let mut ctx = SyscallContext { process, machine, abi, row, registers, args: [0; 6] };
    // Most calls by far: nothing is converted, nothing outlives the call.
    let mut values = [0; 6];
    if let Some(plain) = Plain::of(abi, number)
        && (ctx.process.threads.len() == 1 || !plain.may_block)
        && plain.prepare(registers, &mut values, &mut ctx)
    {
        return host_call::syscall(plain.number.into(), &values, plain.may_block)
            .map_err(|e| interrupted(row, e));
    }
    args::decode_to(&mut ctx.args, row.args, abi, registers);
    ctx.process.sched.outputs.clear();
    match begin(&mut ctx) {
        Begun::Done(result) => result,
        Begun::Host(call)
            if ctx.process.threads.len() > 1 && ctx.row.may_block() && call.is_made() =>
        {
            match ready::at_once(&call) {
                Some(result) => finish(&mut ctx, call, result),
                None => sched::submit(&mut ctx, call),
            }
        }
        Begun::Host(mut call) => {
            let result = attention::perform(&mut ctx, &mut call);
            finish(&mut ctx, call, result)
        }
    }
}

/// Marks a number given to [`multiplex`] as one of the x86-64 table.
const X86_64_NUMBER: u64 = 1 << 32;

/// Goes on as another call of the table: for the i386 calls that stand for many (`socketcall`,
/// `ipc`).
fn multiplex(
    ctx: &mut SyscallContext<'_>,
    number: u64,
    registers: [u64; 6],
) -> Result<HostCall, Errno> {
    let table = if number & X86_64_NUMBER != 0 { Abi::X86_64 } else { Abi::I386 };
    let row = table::lookup(table, number & !X86_64_NUMBER).ok_or(Errno::ENOSYS)?;
    ctx.row = row;
    ctx.args = args::decode(row.args, ctx.abi, &registers);
    let SyscallContext { process, machine, abi, args, .. } = ctx;
    let (process, machine): (_, &mut dyn Machine) = (&mut **process, &mut **machine);
    let mut inner =
        SyscallContext { process, machine, abi: *abi, row, registers: &registers, args: *args };
    let begun = begin(&mut inner);
    ctx.args = inner.args;
    match begun {
        Begun::Done(result) => result.map(HostCall::ready),
        Begun::Host(call) => Ok(call),
    }
}

/// Runs a call up to the point where the host kernel is needed.
pub fn begin(ctx: &mut SyscallContext<'_>) -> Begun {
    match ctx.row.run {
        Run::Call(function) => Begun::Done(function(ctx).map_err(|e| interrupted(ctx.row, e))),
        Run::Pass(number) => match pass::prepare(ctx, number) {
            Ok(call) => Begun::Host(call),
            Err(e) => Begun::Done(Err(descriptor_first(ctx, e))),
        },
        Run::Host(function) => match function(ctx) {
            Ok(call) => Begun::Host(call),
            Err(e) => Begun::Done(Err(interrupted(ctx.row, descriptor_first(ctx, e)))),
        },
        Run::Refuse(errno, _) => Begun::Done(Err(errno)),
    }
}

/// The kernel looks at the descriptor before it looks at memory: a bad one is the error to report.
#[cold]
fn descriptor_first(ctx: &SyscallContext<'_>, e: Errno) -> Errno {
    if !matches!(e, Errno::EFAULT | Errno::EINVAL)
        || !matches!(ctx.row.args.first(), Some(args::Arg::Fd))
    {
        return e;
    }
    let fd = ctx.args[0];
    // The option's value and its length.
    let mut kind = [0u32, 4];
    let value = kind.as_mut_ptr() as u64;
    let len = value + 4;
    let (socket, option) = (libc::SOL_SOCKET as u64, libc::SO_TYPE as u64);
    match host_call::syscall(libc::SYS_getsockopt, &[fd, socket, option, value, len, 0], false) {
        Err(Errno::EBADF) => Errno::EBADF,
        Err(Errno(libc::ENOTSOCK)) if ctx.row.socket() => Errno(libc::ENOTSOCK),
        _ => e,
    }
}

/// Brings the results of a host call back to the guest.
pub fn finish(ctx: &mut SyscallContext<'_>, call: HostCall, result: SysResult) -> SysResult {
    let result = call.complete(ctx, result);
    result.map_err(|e| interrupted(ctx.row, e))
}

/// EINTR of the host becomes what the kernel would have decided to do after the signal.
fn interrupted(row: &Row, e: Errno) -> Errno {
    if e != Errno::EINTR {
        return e;
    }
    match row.restart {
        Restart::Never | Restart::Eintr => Errno::EINTR,
        Restart::Sys => Errno::ERESTARTSYS,
        Restart::NoHandler => Errno::ERESTARTNOHAND,
        Restart::Block => Errno::ERESTART_RESTARTBLOCK,
    }
}

/// Says once per number that the guest used a call that does not exist.
#[cold]
fn unknown(abi: Abi, number: u64) -> Errno {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    static SAID: Mutex<BTreeSet<(bool, u64)>> = Mutex::new(BTreeSet::new());
    if let Ok(mut said) = SAID.lock()
        && said.len() < 64
        && said.insert((abi == Abi::I386, number))
    {
        tracing::warn!(number, abi = abi.arch_name(), "unknown system call: ENOSYS");
    }
    Errno::ENOSYS
}

impl Guest for SyscallContext<'_> {
    fn abi(&self) -> Abi {
        self.process.abi
    }

    fn prepare_write(&mut self, addr: u64, len: u64) -> Result<(), Errno> {
        SyscallContext::prepare_write(self, addr, len)
    }

    fn tid(&mut self) -> Option<u64> {
        Some(self.thread().tid as u64)
    }
}

impl SyscallContext<'_> {
    /// The thread that made the call.
    pub fn thread(&mut self) -> &mut Thread {
        self.process.thread()
    }

    /// Argument `n` as a C `int`.
    pub fn int(&self, n: usize) -> i32 {
        self.args[n] as i32
    }

    /// See [`Guest::check_range`].
    pub fn check_range(&self, addr: u64, len: u64) -> Result<(), Errno> {
        Guest::check_range(self, addr, len)
    }

    /// See [`Guest::prepare_write`].
    pub fn prepare_write(&mut self, addr: u64, len: u64) -> Result<(), Errno> {
        self.check_range(addr, len)?;
        if len != 0 && addr != 0 {
            self.machine.release_code(addr, addr + len);
            if self.process.threads.len() > 1 {
                self.process.sched.outputs.push((addr, addr + len));
            }
        }
        Ok(())
    }

    /// Reads guest memory.
    pub fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        self.check_range(addr, buf.len() as u64)?;
        Ok(access::read(addr, buf)?)
    }

    /// Writes guest memory.
    pub fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.prepare_write(addr, data.len() as u64)?;
        Ok(access::write(addr, data)?)
    }

    /// Reads `len` bytes of guest memory. For lengths the guest chose, callers bound `len` first.
    pub fn read_vec(&self, addr: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0; len];
        self.read(addr, &mut buf)?;
        Ok(buf)
    }

    /// Reads a 32-bit value.
    pub fn read_u32(&self, addr: u64) -> Result<u32, Errno> {
        let mut raw = [0; 4];
        self.read(addr, &mut raw)?;
        Ok(u32::from_le_bytes(raw))
    }

    /// Reads a 64-bit value.
    pub fn read_u64(&self, addr: u64) -> Result<u64, Errno> {
        let mut raw = [0; 8];
        self.read(addr, &mut raw)?;
        Ok(u64::from_le_bytes(raw))
    }

    /// Writes a 32-bit value.
    pub fn write_u32(&mut self, addr: u64, value: u32) -> Result<(), Errno> {
        self.write(addr, &value.to_le_bytes())
    }

    /// Writes a 64-bit value.
    pub fn write_u64(&mut self, addr: u64, value: u64) -> Result<(), Errno> {
        self.write(addr, &value.to_le_bytes())
    }

    /// Reads a guest word (`unsigned long`).
    pub fn read_word(&self, addr: u64) -> Result<u64, Errno> {
        match self.abi {
            Abi::X86_64 => self.read_u64(addr),
            Abi::I386 => self.read_u32(addr).map(u64::from),
        }
    }

    /// Writes a guest word (`unsigned long`).
    pub fn write_word(&mut self, addr: u64, value: u64) -> Result<(), Errno> {
        match self.abi {
            Abi::X86_64 => self.write_u64(addr, value),
            Abi::I386 => self.write_u32(addr, value as u32),
        }
    }

    /// Bytes of `shape` in this call's ABI.
    pub fn size_of(&self, shape: &Struct) -> usize {
        match self.abi {
            Abi::X86_64 => shape.host_size,
            Abi::I386 => shape.guest_size,
        }
    }

    /// Reads a structure in the host's layout.
    pub fn read_struct(&self, addr: u64, shape: &Struct) -> Result<Vec<u8>, Errno> {
        let raw = self.read_vec(addr, self.size_of(shape))?;
        if self.abi == Abi::X86_64 {
            return Ok(raw);
        }
        let mut host = vec![0; shape.host_size];
        shape.to_host(&raw, &mut host);
        Ok(host)
    }

    /// Writes a structure that is in the host's layout.
    pub fn write_struct(&mut self, addr: u64, shape: &Struct, host: &[u8]) -> Result<(), Errno> {
        if self.abi == Abi::X86_64 {
            return self.write(addr, &host[..shape.host_size]);
        }
        let mut raw = vec![0; shape.guest_size];
        shape.to_guest(host, &mut raw)?;
        self.write(addr, &raw)
    }

    /// Reads a NUL-terminated string of at most `max` bytes; `too_long` when no NUL is within.
    pub fn read_string(&self, addr: u64, max: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        let mut chunk = [0; 256];
        loop {
            let at = addr.checked_add(out.len() as u64).ok_or(Errno::EFAULT)?;
            // Never across a page: the next one may be missing and the string end before it.
            let len = (256 - at % 256).min((max - out.len()) as u64) as usize;
            if len == 0 {
                return Err(too_long);
            }
            self.read(at, &mut chunk[..len])?;
            match chunk[..len].iter().position(|&b| b == 0) {
                Some(end) => {
                    out.extend_from_slice(&chunk[..end]);
                    return Ok(out);
                }
                None => out.extend_from_slice(&chunk[..len]),
            }
        }
    }

    /// Reads a path name.
    pub fn read_path(&self, addr: u64) -> Result<Vec<u8>, Errno> {
        self.read_string(addr, libc::PATH_MAX as usize, Errno::ENAMETOOLONG)
    }

    /// Makes a host call with arguments that have been checked.
    pub fn host(&self, number: i64, args: [u64; 6]) -> SysResult {
        host_call::syscall(number, &args, self.row.may_block())
    }
}
