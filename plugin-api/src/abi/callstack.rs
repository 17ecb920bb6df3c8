//! The table of the plugin `callstack`: who called the running function.
//!
//! A service of a plugin, not of the host: get it with `use_service`, and list its id among the services
//! the plugin requires, so that the host loads `callstack` first. Every function takes the table's context
//! first; those with a processor may be called only inside a callback, with the processor it got.

use core::ffi::c_void;

use super::{PandaCpu, PandaId};

/// Id of the service.
pub const CALLSTACK: &str = "panda.callstack/1";

/// What a listener is told.
pub mod call_event {
    /// A call instruction was executed.
    pub const CALL: u32 = 1;
    /// A function was left.
    pub const RETURN: u32 = 2;
}

/// Bits of [`CallInfo::flags`].
pub mod call_flags {
    /// `RETURN`: not by a return instruction (`longjmp`, an exception); reported with the next call or
    /// return of that thread.
    pub const UNWOUND: u32 = 1;
}

/// A call, or the end of one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallInfo {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// [`call_flags`].
    pub flags: u32,
    /// Address of the call instruction.
    pub pc: u64,
    /// Where the call went: the entry of the function.
    pub callee: u64,
    /// The return address.
    pub returns_to: u64,
    /// Where the return address lies on the stack.
    pub slot: u64,
    /// Calls in progress below this one, as far as they were seen.
    pub depth: u32,
    /// Guest thread.
    pub tid: u32,
}

impl CallInfo {
    /// What belongs into `struct_size`.
    pub const SIZE: u32 = core::mem::size_of::<CallInfo>() as u32;
}

/// A listener: (user, cpu, one of [`call_event`], what happened).
pub type CallFn = unsafe extern "C" fn(*mut c_void, *mut PandaCpu, u32, *const CallInfo);

/// The table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallStackApi {
    /// Bytes in this structure.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// First argument of every function.
    pub context: *mut c_void,
    /// The return address of the running function: (context, cpu, where to store it). `UNKNOWN` when its
    /// call was not seen, `NOT_DECLARED` when the callback that asks may not read registers.
    pub caller: Option<unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *mut u64) -> u32>,
    /// The return addresses of all calls in progress, innermost first: (context, cpu, buffer or null, how
    /// many it holds, where to store how many there are).
    pub callers:
        Option<unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *mut u64, u64, *mut u64) -> u32>,
    /// The entry addresses of the functions of these calls; as `callers`.
    pub functions:
        Option<unsafe extern "C" fn(*mut c_void, *mut PandaCpu, *mut u64, u64, *mut u64) -> u32>,
    /// Calls a function on every call (1), return (2) or both (3): (context, events, function, its user
    /// data, where to store the id). End it before `uninit` returns.
    pub listen: Option<
        unsafe extern "C" fn(*mut c_void, u32, Option<CallFn>, *mut c_void, *mut PandaId) -> u32,
    >,
    /// Ends that: (context, id). Also possible from inside the function.
    pub unlisten: Option<unsafe extern "C" fn(*mut c_void, PandaId) -> u32>,
}

impl CallStackApi {
    /// What belongs into `struct_size`.
    pub const SIZE: u32 = core::mem::size_of::<CallStackApi>() as u32;
}
