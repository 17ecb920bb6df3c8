//! Callback kinds, the function each one calls, and the structures it passes.
//!
//! Each function gets the user data of its registration and the processor; the processor is null
//! where no guest is running. Within a kind, callbacks run in the order plugins were loaded, then in
//! the order of registration.

use abi_stable::StableAbi;
use core::ffi::c_void;

use super::{PandaCpu, Str};

/// Callback kinds. Numbers are never reused; a changed payload is a new kind.
pub mod kind {
    /// [`super::InsnTranslateFn`]: an instruction is being translated.
    pub const INSN_TRANSLATE: u32 = 1;
    /// [`super::PcFn`]: before an instruction for which this plugin's `INSN_TRANSLATE` said 1.
    pub const INSN_EXEC: u32 = 2;
    /// [`super::PcFn`]: after such an instruction retired, branches included.
    pub const AFTER_INSN_EXEC: u32 = 3;
    /// [`super::PcFn`]: before a block is translated.
    pub const BEFORE_BLOCK_TRANSLATE: u32 = 4;
    /// [`super::BlockFn`]: after a block was translated.
    pub const AFTER_BLOCK_TRANSLATE: u32 = 5;
    /// [`super::BlockFn`]: before a block runs, exactly once per executed block.
    pub const BEFORE_BLOCK_EXEC: u32 = 6;
    /// [`super::AfterBlockExecFn`]: after a block ran, exactly once per executed block.
    pub const AFTER_BLOCK_EXEC: u32 = 7;
    /// [`super::MemFn`]: before a load that will complete; the data pointer is null.
    pub const VIRT_MEM_BEFORE_READ: u32 = 8;
    /// [`super::MemFn`]: after a load, with what was loaded.
    pub const VIRT_MEM_AFTER_READ: u32 = 9;
    /// [`super::MemFn`]: before a store that will complete, with what will be stored.
    pub const VIRT_MEM_BEFORE_WRITE: u32 = 10;
    /// [`super::MemFn`]: after a store, with what was stored.
    pub const VIRT_MEM_AFTER_WRITE: u32 = 11;
    /// [`super::SyscallEnterFn`]: the guest asks its kernel for something.
    pub const SYSCALL_ENTER: u32 = 12;
    /// [`super::SyscallReturnFn`]: the kernel's answer, before the guest sees it. Calls that do not
    /// return (`exit_group`, a successful `execve`) have no such event.
    pub const SYSCALL_RETURN: u32 = 13;
    /// [`super::GuestHypercallFn`]: the guest executed the hypercall instruction (x86: CPUID).
    pub const GUEST_HYPERCALL: u32 = 14;
    /// [`super::MonitorFn`]: a line typed at the monitor.
    pub const MONITOR: u32 = 15;
    /// [`super::ModuleFn`]: a file was mapped as code.
    pub const MODULE_LOADED: u32 = 16;
    /// [`super::ModuleFn`]: such a mapping went away.
    pub const MODULE_UNLOADED: u32 = 17;
    /// [`super::ThreadFn`]: a guest thread is about to run its first instruction.
    pub const THREAD_START: u32 = 18;
    /// [`super::ThreadFn`]: a guest thread ended.
    pub const THREAD_EXIT: u32 = 19;
    /// [`super::ForkFn`]: the guest forked; called once on each side, each a process of its own.
    pub const PROCESS_FORK: u32 = 20;
    /// [`super::ExecFn`]: the guest replaced its program; the new one is loaded.
    pub const PROCESS_EXEC: u32 = 21;
    /// [`super::SignalFn`]: a signal is delivered to a handler or ends the guest.
    pub const SIGNAL_DELIVERED: u32 = 22;
    /// [`super::CpuFn`]: the guest is loaded and about to run its first instruction.
    pub const GUEST_READY: u32 = 23;
    /// [`super::GuestExitFn`]: the guest ended.
    pub const GUEST_EXIT: u32 = 24;
    /// One more than the highest kind of this minor version.
    pub const COUNT: u32 = 25;
}

/// Name of a callback kind (`insn_translate`), or `None` for an unknown one.
pub const fn kind_name(kind: u32) -> Option<&'static str> {
    const NAMES: [&str; kind::COUNT as usize] = [
        "",
        "insn_translate",
        "insn_exec",
        "after_insn_exec",
        "before_block_translate",
        "after_block_translate",
        "before_block_exec",
        "after_block_exec",
        "virt_mem_before_read",
        "virt_mem_after_read",
        "virt_mem_before_write",
        "virt_mem_after_write",
        "syscall_enter",
        "syscall_return",
        "guest_hypercall",
        "monitor",
        "module_loaded",
        "module_unloaded",
        "thread_start",
        "thread_exit",
        "process_fork",
        "process_exec",
        "signal_delivered",
        "guest_ready",
        "guest_exit",
    ];
    if kind == 0 || kind >= kind::COUNT { None } else { Some(NAMES[kind as usize]) }
}

/// What a subscription touches. An access that was not declared is refused.
pub mod flags {
    /// Touches no registers: the cheapest. The `pc` argument is always right.
    pub const NONE: u32 = 0;
    /// Reads registers.
    pub const READS_REGS: u32 = 1;
    /// Writes registers (and may read them).
    pub const WRITES_REGS: u32 = 2;
}

/// Any function; cast from the type that the kind demands.
pub type AnyFn = unsafe extern "C" fn();

/// A registration.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct CallbackDesc {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// [`flags`].
    pub flags: u32,
    /// The function, of the type that belongs to the kind.
    pub func: Option<unsafe extern "C" fn()>,
    /// Passed to the function.
    pub user: *mut c_void,
}

/// `INSN_TRANSLATE`: (user, cpu, pc, instruction bytes, their number). 1: this plugin's `INSN_EXEC`
/// and `AFTER_INSN_EXEC` fire for this instruction; 0: they do not. Asked exactly once per
/// instruction and epoch.
pub type InsnTranslateFn =
    unsafe extern "C" fn(*mut c_void, *mut PandaCpu, u64, *const u8, u32) -> u32;
/// `INSN_EXEC`, `AFTER_INSN_EXEC`, `BEFORE_BLOCK_TRANSLATE`: (user, cpu, pc). After an instruction,
/// `pc` is still that instruction's own address; the next one is in the pc register.
pub type PcFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, u64);
/// `AFTER_BLOCK_TRANSLATE`, `BEFORE_BLOCK_EXEC`: (user, cpu, block).
pub type BlockFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const BlockInfo);
/// `AFTER_BLOCK_EXEC`: (user, cpu, block, [`block_exit`]).
pub type AfterBlockExecFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const BlockInfo, u32);
/// `VIRT_MEM_*`: (user, cpu, pc, address, size in bytes, data or null).
pub type MemFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, u64, u64, u64, *const u8);
/// `SYSCALL_ENTER`: (user, cpu, call).
pub type SyscallEnterFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const SyscallInfo);
/// `SYSCALL_RETURN`: (user, cpu, call, result). The result is the kernel's: -4095..=-1 is an errno.
pub type SyscallReturnFn =
    unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const SyscallInfo, i64);
/// `GUEST_HYPERCALL`: (user, cpu). 1: handled, the instruction is skipped; 0: not ours.
pub type GuestHypercallFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu) -> u32;
/// `MONITOR`: (user, cpu or null, text, its length). 1: handled; 0: not ours. Answers go through
/// [`super::MonitorApi`].
pub type MonitorFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const u8, u64) -> u32;
/// `MODULE_LOADED`, `MODULE_UNLOADED`: (user, cpu, module).
pub type ModuleFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const ModuleInfo);
/// `THREAD_START`, `THREAD_EXIT`: (user, cpu, thread).
pub type ThreadFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const ThreadInfo);
/// `PROCESS_FORK`: (user, cpu, fork).
pub type ForkFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const ForkInfo);
/// `PROCESS_EXEC`: (user, cpu, program).
pub type ExecFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const ExecInfo);
/// `SIGNAL_DELIVERED`: (user, cpu, signal).
pub type SignalFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *const SignalInfo);
/// `GUEST_READY`: (user, cpu).
pub type CpuFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu);
/// `GUEST_EXIT`: (user, cpu or null, [`exit_kind`], code).
pub type GuestExitFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, u32, i32);

/// Why a block ended.
pub mod block_exit {
    /// It ran to its end.
    pub const END: u32 = 0;
    /// Its last instruction asked the kernel for something.
    pub const SYSCALL: u32 = 1;
    /// An instruction in it faulted.
    pub const FAULT: u32 = 2;
    /// It was interrupted between two instructions (stop request, a store into its own code).
    pub const INTERRUPTED: u32 = 3;
}

/// How a guest ended.
pub mod exit_kind {
    /// It exited; the code is its status.
    pub const EXITED: u32 = 0;
    /// A signal ended it; the code is the signal's number.
    pub const SIGNALED: u32 = 1;
    /// A plugin or the user stopped it; the code is the status asked for.
    pub const STOPPED: u32 = 2;
}

/// A translated block.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct BlockInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Guest instructions in the block.
    pub insn_count: u32,
    /// Address of the first instruction.
    pub pc: u64,
    /// Guest bytes in the block.
    pub size: u64,
}

/// System-call conventions.
pub mod syscall_abi {
    /// Linux on 32-bit x86.
    pub const LINUX_I386: u32 = 1;
    /// Linux on 64-bit x86.
    pub const LINUX_X86_64: u32 = 2;
    /// Linux on 32-bit ARM (EABI).
    pub const LINUX_ARM: u32 = 3;
    /// Linux on 64-bit ARM.
    pub const LINUX_AARCH64: u32 = 4;
}

/// The instruction by which a guest entered its kernel.
pub mod syscall_entry {
    /// `syscall`.
    pub const SYSCALL: u32 = 1;
    /// `sysenter`.
    pub const SYSENTER: u32 = 2;
    /// `int 0x80`.
    pub const INT80: u32 = 3;
    /// `svc`.
    pub const SVC: u32 = 4;
}

/// A system call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SyscallInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// [`syscall_abi`].
    pub abi: u32,
    /// [`syscall_entry`].
    pub entry: u32,
    /// Arguments the call has, or `u32::MAX` when the host does not know; `args` beyond that are
    /// whatever the registers held.
    pub arg_count: u32,
    /// Guest thread.
    pub tid: u32,
    /// Guest process.
    pub pid: u32,
    /// Address of the instruction that entered the kernel.
    pub pc: u64,
    /// The call's number in that convention.
    pub number: u64,
    /// Argument words, zero-extended.
    pub args: [u64; 8],
}

/// Bits of [`ModuleInfo::flags`].
pub mod module_flags {
    /// The program itself.
    pub const MAIN: u32 = 1;
    /// The program's interpreter (dynamic loader).
    pub const INTERPRETER: u32 = 2;
    /// Provided by the kernel (vDSO), not by a file.
    pub const KERNEL: u32 = 4;
}

/// A file mapped as code.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModuleInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// [`module_flags`].
    pub flags: u32,
    /// Address the file's offset 0 is, or would be, mapped at.
    pub base: u64,
    /// Bytes from `base` to the end of its last mapping.
    pub size: u64,
    /// Path as the guest named it.
    pub path: Str,
    /// The raw bytes of the GNU build id; empty when the file has none.
    pub build_id: Str,
}

/// A guest thread.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ThreadInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Guest thread id.
    pub tid: u32,
    /// Guest process id.
    pub pid: u32,
    /// `THREAD_EXIT`: exit status; otherwise 0.
    pub status: i32,
    /// `THREAD_START`: where it begins; `THREAD_EXIT`: where it ended.
    pub pc: u64,
    /// Its stack pointer.
    pub sp: u64,
}

/// Which side of a fork a process is on.
pub mod fork_side {
    /// The one that called fork.
    pub const PARENT: u32 = 0;
    /// The new one.
    pub const CHILD: u32 = 1;
}

/// A fork.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ForkInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// [`fork_side`].
    pub side: u32,
    /// Process id of the parent.
    pub parent: u32,
    /// Process id of the child.
    pub child: u32,
}

/// A program replaced by another.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ExecInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Guest process id.
    pub pid: u32,
    /// Path of the new program.
    pub path: Str,
    /// [`super::arch`] of the new program.
    pub arch: u32,
    /// Bytes in a guest word of the new program.
    pub word_size: u32,
}

/// Bits of [`SignalInfo::flags`].
pub mod signal_flags {
    /// No handler: the signal ends the guest.
    pub const FATAL: u32 = 1;
    /// Caused by the instruction at `pc`.
    pub const SYNCHRONOUS: u32 = 2;
}

/// A delivered signal.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SignalInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Signal number.
    pub signo: i32,
    /// `si_code`.
    pub code: i32,
    /// [`signal_flags`].
    pub flags: u32,
    /// `si_addr` of a fault; otherwise 0.
    pub addr: u64,
    /// Where the guest was.
    pub pc: u64,
    /// The guest's handler; 0 when it has none.
    pub handler: u64,
    /// Guest thread it is delivered to.
    pub tid: u32,
    /// Sender, for signals that have one; otherwise 0.
    pub sender: u32,
}

macro_rules! sized {
    ($($t:ident),*) => {$(
        impl $t {
            /// What belongs into `struct_size`.
            pub const SIZE: u32 = core::mem::size_of::<$t>() as u32;
        }
    )*};
}
sized!(
    CallbackDesc,
    BlockInfo,
    SyscallInfo,
    ModuleInfo,
    ThreadInfo,
    ForkInfo,
    ExecInfo,
    SignalInfo
);
