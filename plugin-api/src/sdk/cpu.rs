//! The processor, as a callback sees it.

use std::borrow::Cow;
use std::fmt;

use super::Error;
use super::host::Host;
use crate::abi::{PandaCpu, Str, status};

/// A register of the guest, found by name ([`super::Registrar::reg`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reg(pub u32);

/// A number in the hexadecimal form of a guest word: lower case, zero-padded to 8 or 16 digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    value: u64,
    digits: usize,
}

impl Word {
    /// A number as a word of `word_size` bytes.
    pub fn new(value: u64, word_size: u32) -> Word {
        Word { value, digits: 2 * word_size as usize }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: logs print little else, and the general way takes several times as long.
        let mut text = [b'0'; 16];
        let mut value = self.value;
        let mut from = text.len();
        while value != 0 || text.len() - from < self.digits.min(text.len()) {
            from -= 1;
            text[from] = b"0123456789abcdef"[(value & 15) as usize];
            value >>= 4;
        }
        f.write_str(core::str::from_utf8(&text[from..]).unwrap_or_default())
    }
}

/// The processor and the guest around it, during a callback.
///
/// In callbacks without a running guest (a monitor line before the start, the end of the guest)
/// everything about registers and memory answers [`status::NOT_NOW`].
pub struct Cpu<'a> {
    raw: *mut PandaCpu,
    host: &'a Host,
}

impl<'a> Cpu<'a> {
    pub(crate) fn new(raw: *mut PandaCpu, host: &'a Host) -> Cpu<'a> {
        Cpu { raw, host }
    }

    /// The processor as the C interface has it, to hand to a function of another plugin's service.
    pub fn raw(&self) -> *mut PandaCpu {
        self.raw
    }

    fn call<F>(&self, f: Option<F>, go: impl FnOnce(F, *mut PandaCpu) -> u32) -> u32 {
        match f {
            None => status::UNSUPPORTED,
            Some(_) if self.raw.is_null() => status::NOT_NOW,
            Some(f) => go(f, self.raw),
        }
    }

    fn ask<R>(&self, f: Option<unsafe extern "C" fn(*mut PandaCpu) -> R>, otherwise: R) -> R {
        match f {
            // SAFETY: inside a callback, with the processor it got.
            Some(f) if !self.raw.is_null() => unsafe { f(self.raw) },
            _ => otherwise,
        }
    }

    /// Fills `buf` from guest memory, all or nothing.
    pub fn read_mem(&self, addr: u64, buf: &mut [u8]) -> Result<(), Error> {
        let status = self.call(self.host.mem.read, |f, cpu| {
            // SAFETY: inside a callback; the buffer has that many bytes.
            unsafe { f(cpu, addr, buf.as_mut_ptr(), buf.len() as u64) }
        });
        Error::unless_ok(status, || format!("reading {} bytes at {addr:#x}", buf.len()))
    }

    /// Writes to guest memory, all or nothing. Raises no memory callbacks.
    pub fn write_mem(&mut self, addr: u64, data: &[u8]) -> Result<(), Error> {
        let status = self.call(self.host.mem.write, |f, cpu| {
            // SAFETY: inside a callback; the buffer has that many bytes.
            unsafe { f(cpu, addr, data.as_ptr(), data.len() as u64) }
        });
        Error::unless_ok(status, || format!("writing {} bytes at {addr:#x}", data.len()))
    }

    /// Reads a NUL-terminated string of at most `max` bytes; longer ones and those that run into
    /// unreadable memory are cut.
    pub fn read_cstr(&self, addr: u64, max: usize) -> Result<Vec<u8>, Error> {
        let mut buf = vec![0; max];
        let mut len = 0;
        let status = self.call(self.host.mem.read_cstr, |f, cpu| {
            // SAFETY: inside a callback; the buffer has that many bytes.
            unsafe { f(cpu, addr, buf.as_mut_ptr(), max as u64, &mut len) }
        });
        Error::unless_ok(status, || format!("reading a string at {addr:#x}"))?;
        buf.truncate(len as usize);
        Ok(buf)
    }

    /// Reads a register of at most eight bytes.
    pub fn reg(&self, reg: Reg) -> Result<u64, Error> {
        let mut value = 0;
        let status = self.call(self.host.regs.read_u64, |f, cpu| {
            // SAFETY: inside a callback.
            unsafe { f(cpu, reg.0, &mut value) }
        });
        Error::unless_ok(status, || format!("reading register {}", reg.0))?;
        Ok(value)
    }

    /// Reads a register of any size into `buf` (little-endian) and returns its size in bytes.
    pub fn reg_bytes(&self, reg: Reg, buf: &mut [u8]) -> Result<usize, Error> {
        let mut size = 0;
        let status = self.call(self.host.regs.read, |f, cpu| {
            // SAFETY: inside a callback; the buffer has that many bytes.
            unsafe { f(cpu, reg.0, buf.as_mut_ptr(), buf.len() as u64, &mut size) }
        });
        Error::unless_ok(status, || format!("reading register {}", reg.0))?;
        Ok(size as usize)
    }

    /// Writes a register (little-endian bytes, exactly its size). The subscription must have
    /// declared it ([`super::Registrar::writes_regs`]).
    pub fn set_reg_bytes(&mut self, reg: Reg, data: &[u8]) -> Result<(), Error> {
        let status = self.call(self.host.regs.write, |f, cpu| {
            // SAFETY: inside a callback; the buffer has that many bytes.
            unsafe { f(cpu, reg.0, data.as_ptr(), data.len() as u64) }
        });
        Error::unless_ok(status, || format!("writing register {}", reg.0))
    }

    /// Writes a register of a guest word's size.
    pub fn set_reg(&mut self, reg: Reg, value: u64) -> Result<(), Error> {
        let size = self.word_size() as usize;
        self.set_reg_bytes(reg, &value.to_le_bytes()[..size.min(8)])
    }

    /// The program counter; 0 without a running guest and for subscriptions that read no registers.
    pub fn pc(&self) -> u64 {
        self.ask(self.host.regs.pc, 0)
    }

    /// The stack pointer; 0 without a running guest and for subscriptions that read no registers.
    pub fn sp(&self) -> u64 {
        self.ask(self.host.regs.sp, 0)
    }

    /// Guest process id.
    pub fn pid(&self) -> u32 {
        self.ask(self.host.os.pid, 0)
    }

    /// Guest thread id.
    pub fn tid(&self) -> u32 {
        self.ask(self.host.os.tid, 0)
    }

    /// Guest instructions retired so far; exact.
    pub fn retired(&self) -> u64 {
        self.ask(self.host.os.retired, 0)
    }

    /// True when the processor is in kernel mode.
    pub fn in_kernel(&self) -> bool {
        self.ask(self.host.os.in_kernel, 0) != 0
    }

    /// Identity of the address space; 0 for a user-mode guest.
    pub fn address_space(&self) -> u64 {
        self.ask(self.host.os.address_space, 0)
    }

    /// Bytes in a guest word: 4 or 8.
    pub fn word_size(&self) -> u32 {
        self.host.word_size()
    }

    /// A number in the hexadecimal form of a guest word.
    pub fn word(&self, value: u64) -> Word {
        Word::new(value, self.word_size())
    }

    /// Name of a system call of the convention `abi` ([`crate::abi::syscall_abi`]).
    pub fn syscall_name(&self, abi: u32, number: u64) -> Option<Cow<'static, str>> {
        self.host.syscall_name(abi, number)
    }

    /// Stops the guest after this callback; the host ends with `code`.
    pub fn request_stop(&mut self, code: i32, reason: &str) -> Result<(), Error> {
        self.host.request_stop(code, reason)
    }

    /// Answers the monitor line being handled.
    pub fn reply(&mut self, text: &str) {
        match self.host.monitor.reply {
            Some(f) => {
                // SAFETY: host function with its handle.
                let _ = unsafe { f(self.host.plugin, Str::new(text)) };
            }
            None => self.host.log(crate::abi::level::INFO, text),
        }
    }
}

impl fmt::Debug for Cpu<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").field("raw", &self.raw).finish_non_exhaustive()
    }
}
