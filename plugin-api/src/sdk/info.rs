//! What callbacks are told, in Rust's terms.

use std::borrow::Cow;

use crate::abi;
pub use crate::abi::{BlockInfo, ForkInfo, SyscallInfo, ThreadInfo};

/// An instruction being translated.
#[derive(Clone, Copy, Debug)]
pub struct Insn<'a> {
    /// Its address.
    pub pc: u64,
    /// Its bytes, all of them and no more.
    pub bytes: &'a [u8],
}

/// An access to guest memory.
#[derive(Clone, Copy, Debug)]
pub struct MemAccess<'a> {
    /// Address of the instruction.
    pub pc: u64,
    /// Address accessed.
    pub addr: u64,
    /// Bytes accessed.
    pub size: u64,
    /// The value; empty before a read.
    pub data: &'a [u8],
}

/// A file mapped as code.
#[derive(Clone, Debug)]
pub struct Module<'a> {
    /// Address of the file's offset 0.
    pub base: u64,
    /// Bytes from `base` to the end of its last mapping.
    pub size: u64,
    /// Path as the guest named it.
    pub path: Cow<'a, str>,
    /// GNU build id; may be empty.
    pub build_id: &'a [u8],
    /// [`abi::module_flags`].
    pub flags: u32,
}

/// A program that replaced the guest's.
#[derive(Clone, Debug)]
pub struct Exec<'a> {
    /// Guest process id.
    pub pid: u32,
    /// Path of the new program.
    pub path: Cow<'a, str>,
    /// [`abi::arch`] of the new program.
    pub arch: u32,
    /// Bytes in a word of the new program.
    pub word_size: u32,
}

/// A delivered signal.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Signal number.
    pub signo: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr` of a fault; otherwise 0.
    pub addr: u64,
    /// Where the guest was.
    pub pc: u64,
    /// The guest's handler, if it has one.
    pub handler: Option<u64>,
    /// The signal ends the guest.
    pub fatal: bool,
    /// Caused by the instruction at `pc`.
    pub synchronous: bool,
    /// Guest thread it is delivered to.
    pub tid: u32,
}

/// How a guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestExit {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// A plugin or the user stopped it with this status.
    Stopped(i32),
    /// A kind this SDK does not know, with its code.
    Other(u32, i32),
}

impl GuestExit {
    pub(crate) fn new(kind: u32, code: i32) -> GuestExit {
        match kind {
            abi::exit_kind::EXITED => GuestExit::Exited(code),
            abi::exit_kind::SIGNALED => GuestExit::Signaled(code),
            abi::exit_kind::STOPPED => GuestExit::Stopped(code),
            _ => GuestExit::Other(kind, code),
        }
    }
}

/// Why a block ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockExit {
    /// It ran to its end.
    End,
    /// Its last instruction asked the kernel for something.
    Syscall,
    /// An instruction in it faulted.
    Fault,
    /// It was interrupted between two instructions.
    Interrupted,
    /// A reason this SDK does not know.
    Other(u32),
}

impl BlockExit {
    pub(crate) fn new(kind: u32) -> BlockExit {
        match kind {
            abi::block_exit::END => BlockExit::End,
            abi::block_exit::SYSCALL => BlockExit::Syscall,
            abi::block_exit::FAULT => BlockExit::Fault,
            abi::block_exit::INTERRUPTED => BlockExit::Interrupted,
            other => BlockExit::Other(other),
        }
    }
}

/// Why a plugin is asked to write its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushReason {
    /// The guest is about to fork.
    Fork,
    /// The guest is about to be replaced by another program in a process of its own.
    Exec,
    /// The host is about to end without a regular end of the plugin.
    Fatal,
    /// The user asked, or a reason this SDK does not know.
    Request,
}

impl FlushReason {
    pub(crate) fn new(reason: u32) -> FlushReason {
        match reason {
            abi::flush_reason::FORK => FlushReason::Fork,
            abi::flush_reason::EXEC => FlushReason::Exec,
            abi::flush_reason::FATAL => FlushReason::Fatal,
            _ => FlushReason::Request,
        }
    }
}

impl<'a> Module<'a> {
    /// # Safety
    /// The texts are valid for `'a`.
    pub(crate) unsafe fn new(m: &abi::ModuleInfo) -> Module<'a> {
        // SAFETY: promised by the caller.
        let (path, build_id) = unsafe { (m.path.text(), m.build_id.bytes()) };
        Module { base: m.base, size: m.size, path, build_id, flags: m.flags }
    }
}

impl<'a> Exec<'a> {
    /// # Safety
    /// The text is valid for `'a`.
    pub(crate) unsafe fn new(e: &abi::ExecInfo) -> Exec<'a> {
        // SAFETY: promised by the caller.
        let path = unsafe { e.path.text() };
        Exec { pid: e.pid, path, arch: e.arch, word_size: e.word_size }
    }
}

impl Signal {
    pub(crate) fn new(s: &abi::SignalInfo) -> Signal {
        Signal {
            signo: s.signo,
            code: s.code,
            addr: s.addr,
            pc: s.pc,
            handler: (s.handler != 0).then_some(s.handler),
            fatal: s.flags & abi::signal_flags::FATAL != 0,
            synchronous: s.flags & abi::signal_flags::SYNCHRONOUS != 0,
            tid: s.tid,
        }
    }
}
