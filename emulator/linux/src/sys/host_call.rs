//! Calls to the host kernel.
//!
//! A call that may block must not miss a signal that arrives just before it: the guest's handler
//! would run only after the call returned, perhaps never. So the last instructions before the
//! kernel are a small assembly routine that looks at [`PENDING`], and a host signal handler that
//! finds the processor inside it ([`leave_before_blocking`]) makes it return without the call.

use core::sync::atomic::AtomicU32;

use crate::abi::layout::Struct;
use crate::sys::SyscallContext;
use crate::{Errno, SysResult};

/// Non-zero while a signal waits to be delivered to the guest: calls that may block return
/// [`Errno::ERESTARTNOINTR`] instead of starting. Set by host signal handlers.
#[unsafe(export_name = "emu_linux_signal_pending")]
pub static PENDING: AtomicU32 = AtomicU32::new(0);

core::arch::global_asm!(
    ".pushsection .text.emu_linux_host_call,\"ax\",@progbits",
    ".globl emu_linux_host_call, emu_linux_host_call_begin, emu_linux_host_call_end",
    ".globl emu_linux_host_call_refused",
    ".globl emu_linux_companion_call, emu_linux_companion_call_begin",
    // rdi: number, rsi: six arguments.
    ".globl emu_linux_host_call",
    ".hidden emu_linux_host_call",
    "emu_linux_host_call:",
    "mov rax, rdi",
    "mov r9, [rsi + 40]",
    "mov r8, [rsi + 32]",
    "mov r10, [rsi + 24]",
    "mov rdx, [rsi + 16]",
    "mov rdi, [rsi]",
    "mov rsi, [rsi + 8]",
    "emu_linux_host_call_begin:",
    "cmp dword ptr [rip + emu_linux_signal_pending], 0",
    "jne emu_linux_host_call_refused",
    "syscall",
    "emu_linux_host_call_end:",
    "ret",
    "emu_linux_host_call_refused:",
    "mov rax, -513",
    "ret",
    // The same for companions, which other signals than the guest's get out of a call.
    "emu_linux_companion_call:",
    "mov rax, rdi",
    "mov r9, [rsi + 40]",
    "mov r8, [rsi + 32]",
    "mov r10, [rsi + 24]",
    "mov rdx, [rsi + 16]",
    "mov rdi, [rsi]",
    "mov rsi, [rsi + 8]",
    "emu_linux_companion_call_begin:",
    "syscall",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn emu_linux_host_call(number: i64, args: *const u64) -> i64;
    static emu_linux_host_call_begin: u8;
    static emu_linux_host_call_end: u8;
    static emu_linux_host_call_refused: u8;
    fn emu_linux_companion_call(number: i64, args: *const u64) -> i64;
    static emu_linux_companion_call_begin: u8;
}

/// For host signal handlers, after they have set [`PENDING`]: if the interrupted code is about to
/// make a call that may block, it will return without making it.
pub fn leave_before_blocking(context: &mut libc::ucontext_t) {
    let rip = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    let begin = &raw const emu_linux_host_call_begin as i64;
    let end = &raw const emu_linux_host_call_end as i64;
    if (begin..end).contains(rip) {
        *rip = &raw const emu_linux_host_call_refused as i64;
    }
}

/// For the handler that gets a companion out of a call: one that the kernel would start again
/// (ERESTARTNOINTR), or that is about to start, returns [`Errno::ERESTARTNOINTR`] instead.
pub fn leave_companion_call(context: &mut libc::ucontext_t) {
    let rip = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    if *rip == &raw const emu_linux_companion_call_begin as i64 {
        *rip = &raw const emu_linux_host_call_refused as i64;
    }
}

/// Makes a host system call on a companion; see [`syscall`].
pub fn companion_syscall(number: i64, args: &[u64; 6]) -> SysResult {
    // SAFETY: as in `syscall`.
    result(unsafe { emu_linux_companion_call(number, args.as_ptr()) })
}

fn result(r: i64) -> SysResult {
    if (-4095..0).contains(&r) { Err(Errno(-r as i32)) } else { Ok(r as u64) }
}

/// Makes host system call `number`. `may_block`: it is not started when a signal is pending.
///
/// Every guest address among the arguments has been checked: the kernel must not be made to touch
/// host memory.
#[inline]
pub fn syscall(number: i64, args: &[u64; 6], may_block: bool) -> SysResult {
    let r = if may_block {
        // SAFETY: the routine follows the C calling convention; what the call does to guest memory
        // and descriptors is what the guest asked for, its addresses having been checked.
        unsafe { emu_linux_host_call(number, args.as_ptr()) }
    } else {
        let r: i64;
        // SAFETY: as above; the instruction changes only rax, rcx and r11.
        unsafe {
            core::arch::asm!("syscall",
                inout("rax") number => r, in("rdi") args[0], in("rsi") args[1],
                in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
                out("rcx") _, out("r11") _, options(nostack));
        }
        r
    };
    result(r)
}

/// When a buffer goes back to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyBack {
    /// Never: the kernel only reads it.
    Never,
    /// When the call succeeds.
    Success,
    /// When the call is interrupted.
    Interrupted,
    /// When the call succeeds; its result is the number of elements.
    Count,
}

/// Structures in the host's layout that stand in for the guest's during a call.
#[derive(Debug)]
pub struct Buffer {
    /// Guest address.
    pub guest: u64,
    /// What it holds.
    pub shape: &'static Struct,
    /// How many.
    pub count: usize,
    /// Host copy; of words, for alignment.
    pub host: Box<[u64]>,
    /// When it goes back.
    pub back: CopyBack,
}

impl Buffer {
    /// Words that only the host kernel reads.
    pub fn input(words: Box<[u64]>) -> Buffer {
        Buffer {
            guest: 0,
            shape: &crate::abi::structs::I64,
            count: words.len(),
            host: words,
            back: CopyBack::Never,
        }
    }

    /// Its host address.
    pub fn address(&self) -> u64 {
        self.host.as_ptr() as u64
    }
}

/// What is left to do after a host call.
pub type Finish = Box<dyn FnOnce(&mut SyscallContext<'_>, SysResult) -> SysResult>;

/// A host call that is ready to be made, with the memory its arguments point to.
#[must_use]
pub struct HostCall {
    /// Host call number.
    pub number: i64,
    /// Arguments.
    pub args: [u64; 6],
    /// Structures to convert back.
    pub buffers: Vec<Buffer>,
    /// What is left to do after that.
    pub finish: Option<Finish>,
    /// It has to be made by the thread's companion, whose id the kernel looks at.
    pub own_thread: bool,
    /// A call that the companion makes behind this one if it succeeds.
    pub after: Option<(i64, [u64; 6])>,
    /// Futex words in private memory that it waits for on the host.
    pub words: Vec<u64>,
}

impl HostCall {
    /// A call without memory of its own.
    pub fn new(number: i64, args: [u64; 6]) -> HostCall {
        HostCall {
            number,
            args,
            buffers: Vec::new(),
            finish: None,
            own_thread: false,
            after: None,
            words: Vec::new(),
        }
    }

    /// No call at all: the result is known.
    pub fn ready(result: u64) -> HostCall {
        HostCall::new(Self::NO_CALL, [result, 0, 0, 0, 0, 0])
    }

    /// The number of a call that is not made.
    const NO_CALL: i64 = -1;

    /// Adds memory that lives as long as the call.
    pub fn with(mut self, buffer: Buffer) -> HostCall {
        self.buffers.push(buffer);
        self
    }

    /// Adds what to do after the call.
    pub fn then(
        mut self,
        finish: impl FnOnce(&mut SyscallContext<'_>, SysResult) -> SysResult + 'static,
    ) -> HostCall {
        self.finish = Some(Box::new(finish));
        self
    }

    /// Adds what to do after the call and what follows it already.
    pub fn then_also(
        mut self,
        finish: impl FnOnce(&mut SyscallContext<'_>, SysResult) -> SysResult + 'static,
    ) -> HostCall {
        match self.finish.take() {
            None => self.then(finish),
            Some(first) => self.then(move |ctx, result| {
                let result = first(ctx, result);
                finish(ctx, result)
            }),
        }
    }

    /// Whether the kernel is called at all.
    pub fn is_made(&self) -> bool {
        self.number != Self::NO_CALL
    }

    /// Makes the call, on whatever thread this is.
    pub fn perform(&self, may_block: bool) -> SysResult {
        if self.number == Self::NO_CALL {
            return Ok(self.args[0]);
        }
        syscall(self.number, &self.args, may_block)
    }

    /// Whether it waits for a time that [`HostCall::shorten`] must shorten itself.
    pub fn counts_down(&self) -> bool {
        matches!(self.number, libc::SYS_epoll_wait | libc::SYS_epoll_pwait)
    }

    /// After an interruption that the guest does not see: what is left of the time to wait. `select`
    /// and `ppoll` have it in their argument already.
    pub fn shorten(&mut self, waited: std::time::Duration) {
        match self.number {
            // Relative sleep: the kernel has stored the time left.
            libc::SYS_clock_nanosleep if self.args[1] == 0 && self.args[3] != 0 => {
                self.args[2] = self.args[3];
            }
            _ if self.counts_down() && self.args[3] as i32 > 0 => {
                let waited = i32::try_from(waited.as_millis()).unwrap_or(i32::MAX);
                self.args[3] = (self.args[3] as i32).saturating_sub(waited).max(0) as u64;
            }
            _ => {}
        }
    }

    /// Converts results back and finishes.
    pub fn complete(self, ctx: &mut SyscallContext<'_>, result: SysResult) -> SysResult {
        for b in &self.buffers {
            let count = match (b.back, result) {
                (CopyBack::Success, Ok(_)) => b.count,
                (CopyBack::Count, Ok(n)) => b.count.min(n as usize),
                (CopyBack::Interrupted, Err(Errno::EINTR)) => b.count,
                _ => 0,
            };
            for i in 0..count {
                let host: Vec<u8> = words(&b.host, i * b.shape.host_size, b.shape.host_size);
                let at = b.guest + (i * ctx.size_of(b.shape)) as u64;
                ctx.write_struct(at, b.shape, &host)?;
            }
        }
        match self.finish {
            Some(finish) => finish(ctx, result),
            None => result,
        }
    }
}

/// `len` bytes at byte offset `at` of an array of words.
fn words(words: &[u64], at: usize, len: usize) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).skip(at).take(len).collect()
}
