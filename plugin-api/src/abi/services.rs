//! The host's service tables.
//!
//! A function that takes a [`PandaCpu`] may be called only inside a callback, with the processor
//! that callback got. A function that takes a [`PandaPlugin`] may be called at any time between
//! `init` and `uninit`.

use super::{PandaCpu, PandaId, PandaPlugin, Str};
use abi_stable::StableAbi;

/// Ids of the host's tables. Never changed once released.
pub mod service {
    /// [`super::MemApi`].
    pub const MEM: &str = "panda.mem/1";
    /// [`super::RegsApi`].
    pub const REGS: &str = "panda.regs/1";
    /// [`super::OsApi`].
    pub const OS: &str = "panda.os/1";
    /// [`super::CountersApi`].
    pub const COUNTERS: &str = "panda.counters/1";
    /// [`super::ConditionsApi`]. Since 1.1.
    pub const CONDITIONS: &str = "panda.conditions/1";
    /// [`super::MonitorApi`].
    pub const MONITOR: &str = "panda.monitor/1";
}

/// Guest memory.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MemApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Reads guest virtual memory: (cpu, address, buffer, bytes). All or nothing.
    pub read: Option<unsafe extern "C" fn(*mut PandaCpu, u64, *mut u8, u64) -> u32>,
    /// Writes guest virtual memory: (cpu, address, data, bytes). All or nothing. Does not raise
    /// memory callbacks.
    pub write: Option<unsafe extern "C" fn(*mut PandaCpu, u64, *const u8, u64) -> u32>,
    /// Reads a NUL-terminated string: (cpu, address, buffer, its size, where to store the length).
    /// Stops before the NUL, at the end of the buffer, or at the end of readable memory; a fault only
    /// if not even the first byte can be read.
    pub read_cstr: Option<unsafe extern "C" fn(*mut PandaCpu, u64, *mut u8, u64, *mut u64) -> u32>,
}

/// Roles of registers.
pub mod reg_kind {
    /// General purpose.
    pub const GENERAL: u32 = 1;
    /// Program counter.
    pub const PC: u32 = 2;
    /// Status flags.
    pub const FLAGS: u32 = 3;
    /// Segment selector or base.
    pub const SEGMENT: u32 = 4;
    /// Floating point or vector.
    pub const VECTOR: u32 = 5;
    /// Control state.
    pub const CONTROL: u32 = 6;
}

/// A register.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RegInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// Id for reading and writing; never renumbered within an architecture.
    pub id: u32,
    /// Lower-case name: `rax`, `eip`, `xmm0`. Static.
    pub name: Str,
    /// Size in bytes.
    pub size: u32,
    /// [`reg_kind`].
    pub kind: u32,
}

/// Guest registers. Values are little-endian bytes of the register's size.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RegsApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Number of registers of the guest's architecture.
    pub count: Option<unsafe extern "C" fn(*mut PandaPlugin) -> u32>,
    /// Describes one: (index below the count, where to store it; `struct_size` is set by the
    /// caller).
    pub describe: Option<unsafe extern "C" fn(*mut PandaPlugin, u32, *mut RegInfo) -> u32>,
    /// Finds one: (name, where to store its id).
    pub by_name: Option<unsafe extern "C" fn(*mut PandaPlugin, Str, *mut u32) -> u32>,
    /// Reads one: (cpu, id, buffer, its size, where to store the register's size or null).
    pub read: Option<unsafe extern "C" fn(*mut PandaCpu, u32, *mut u8, u64, *mut u64) -> u32>,
    /// Writes one: (cpu, id, data, its size, which must be the register's).
    pub write: Option<unsafe extern "C" fn(*mut PandaCpu, u32, *const u8, u64) -> u32>,
    /// Reads one of at most eight bytes, zero-extended: (cpu, id, where to store it).
    pub read_u64: Option<unsafe extern "C" fn(*mut PandaCpu, u32, *mut u64) -> u32>,
    /// The program counter; 0 when the subscription did not declare that it reads registers.
    pub pc: Option<unsafe extern "C" fn(*mut PandaCpu) -> u64>,
    /// The stack pointer; 0 likewise.
    pub sp: Option<unsafe extern "C" fn(*mut PandaCpu) -> u64>,
    /// Reads several of at most eight bytes, zero-extended: (cpu, ids, where to store the values, how
    /// many). Stops at the first that cannot be read. Since 1.1.
    pub read_u64s: Option<unsafe extern "C" fn(*mut PandaCpu, *const u32, *mut u64, u32) -> u32>,
}

/// The guest and its operating system.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct OsApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// [`super::arch`] of the guest.
    pub arch: Option<unsafe extern "C" fn(*mut PandaPlugin) -> u32>,
    /// Bytes in a guest word: 4 or 8.
    pub word_size: Option<unsafe extern "C" fn(*mut PandaPlugin) -> u32>,
    /// Path of the guest program. Valid until the next `process_exec`.
    pub program: Option<unsafe extern "C" fn(*mut PandaPlugin) -> Str>,
    /// The directory plugins write their files in. Valid until `uninit` returns.
    pub out_dir: Option<unsafe extern "C" fn(*mut PandaPlugin) -> Str>,
    /// Name of a system call: ([`super::syscall_abi`], number); empty for an unknown one. Static.
    pub syscall_name: Option<unsafe extern "C" fn(*mut PandaPlugin, u32, u64) -> Str>,
    /// Guest process id.
    pub pid: Option<unsafe extern "C" fn(*mut PandaCpu) -> u32>,
    /// Guest thread id.
    pub tid: Option<unsafe extern "C" fn(*mut PandaCpu) -> u32>,
    /// Instructions retired so far. Exact.
    pub retired: Option<unsafe extern "C" fn(*mut PandaCpu) -> u64>,
    /// 1 when the processor is in kernel mode; always 0 for a guest without a kernel of its own.
    pub in_kernel: Option<unsafe extern "C" fn(*mut PandaCpu) -> u32>,
    /// Identity of the address space; 0 for a guest without a kernel of its own.
    pub address_space: Option<unsafe extern "C" fn(*mut PandaCpu) -> u64>,
    /// 1 when the run began in an earlier process, which the guest replaced by `execve`: output
    /// files are continued, not emptied.
    pub continued: Option<unsafe extern "C" fn(*mut PandaPlugin) -> u32>,
    /// Hides a file descriptor of the plugin from a guest that shares the host's descriptors:
    /// (descriptor, 1 to hide it, 0 before closing it). Those opened during `init` are hidden
    /// without it.
    pub hide_fd: Option<unsafe extern "C" fn(*mut PandaPlugin, i32, u32) -> u32>,
}

/// What a counter counts.
pub mod counter_kind {
    /// Retired instructions.
    pub const INSNS: u32 = 1;
    /// Executed blocks.
    pub const BLOCKS: u32 = 2;
    /// Completed loads.
    pub const LOADS: u32 = 3;
    /// Completed stores.
    pub const STORES: u32 = 4;
}

/// Counters that the host adds to from inside generated code, without a call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct CountersApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Adds to a number of the plugin's on every event: ([`counter_kind`], the number, what to add,
    /// where to store the id). The number must stay where it is until the counter is removed or
    /// `uninit` returns; it is up to date in every callback.
    pub add:
        Option<unsafe extern "C" fn(*mut PandaPlugin, u32, *mut u64, u64, *mut PandaId) -> u32>,
    /// Ends a counter.
    pub remove: Option<unsafe extern "C" fn(*mut PandaPlugin, PandaId) -> u32>,
}

/// Conditions of subscriptions. Generated code tests them, so an event that is not due costs no call.
/// Since 1.1.
///
/// They are for `insn_exec`, `after_insn_exec`, `before_block_exec`, `after_block_exec` and the memory
/// callbacks; others are [`super::status::UNSUPPORTED`]. They stay when a subscription is disabled, and end
/// with it.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ConditionsApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Calls only for events at addresses from `from` on and below `to`: (id, from, to). What counts is
    /// the address of the instruction, that of the block's first instruction, or any byte of the access.
    /// A new range takes the old one's place; 0 and `u64::MAX` are everywhere.
    pub within: Option<unsafe extern "C" fn(*mut PandaPlugin, PandaId, u64, u64) -> u32>,
    /// Calls only for the `first`-th of the events from now on (1: the next) and after that for every
    /// `every`-th (0: never again): (id, first, every). Only events within the range count. May be set
    /// anew at any time, also by the callback itself; 1 and 1 are every event.
    pub countdown: Option<unsafe extern "C" fn(*mut PandaPlugin, PandaId, u64, u64) -> u32>,
}

/// The monitor.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MonitorApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Answers the user who typed the line being handled; elsewhere, goes to the log.
    pub reply: Option<unsafe extern "C" fn(*mut PandaPlugin, Str) -> u32>,
}

macro_rules! table {
    ($($t:ident),*) => {$(
        // SAFETY: plain data; the functions say from which thread they may be called.
        unsafe impl Sync for $t {}
        impl $t {
            /// What belongs into `struct_size`.
            pub const SIZE: u32 = core::mem::size_of::<$t>() as u32;
        }
    )*};
}
table!(MemApi, RegsApi, RegInfo, OsApi, CountersApi, ConditionsApi, MonitorApi);
