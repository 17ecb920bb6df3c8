//! The C functions behind the closures, one per payload.
//!
//! # Safety
//! All of them: called by the host on the run thread with the user data of a registered slot for
//! `P` and `F`, and a payload as the kind demands.

use core::ffi::c_void;

use super::host::{Sized32, copy_sized};
use super::info::{BlockExit, Exec, GuestExit, Insn, MemAccess, Module, Signal};
use super::instance::enter;
use super::{Cpu, Plugin};
use crate::abi::{
    BlockInfo, ExecInfo, ForkInfo, ModuleInfo, PandaCpu, SignalInfo, Str, SyscallInfo, ThreadInfo,
};

type User = *mut c_void;
type RawCpu = *mut PandaCpu;

/// A payload by reference when it has all fields known here, otherwise a filled-up copy.
///
/// # Safety
/// `info` is null or points to a payload that says its true size and outlives the call.
unsafe fn with_info<T: Sized32, R>(info: *const T, go: impl FnOnce(&T) -> R) -> R {
    // SAFETY: promised by the caller.
    unsafe {
        if !info.is_null() && info.cast::<u32>().read() as usize >= size_of::<T>() {
            go(&*info)
        } else {
            go(&copy_sized(info))
        }
    }
}

pub(crate) unsafe extern "C" fn insn_translate<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    pc: u64,
    bytes: *const u8,
    len: u32,
) -> u32
where
    F: FnMut(&mut P, &mut Cpu<'_>, &Insn<'_>) -> bool,
{
    // SAFETY: see the module.
    unsafe {
        let bytes = Str { ptr: bytes, len: len.into() }.bytes();
        enter(user, cpu, 0, |f: &mut F, p, c| u32::from(f(p, c, &Insn { pc, bytes })))
    }
}

pub(crate) unsafe extern "C" fn at_pc<P: Plugin, F>(user: User, cpu: RawCpu, pc: u64)
where
    F: FnMut(&mut P, &mut Cpu<'_>, u64),
{
    // SAFETY: see the module.
    unsafe { enter(user, cpu, (), |f: &mut F, p, c| f(p, c, pc)) }
}

pub(crate) unsafe extern "C" fn block<P: Plugin, F>(user: User, cpu: RawCpu, b: *const BlockInfo)
where
    F: FnMut(&mut P, &mut Cpu<'_>, &BlockInfo),
{
    // SAFETY: see the module.
    unsafe { with_info(b, |b| enter(user, cpu, (), |f: &mut F, p, c| f(p, c, b))) }
}

pub(crate) unsafe extern "C" fn after_block_exec<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    b: *const BlockInfo,
    exit: u32,
) where
    F: FnMut(&mut P, &mut Cpu<'_>, &BlockInfo, BlockExit),
{
    let exit = BlockExit::new(exit);
    // SAFETY: see the module.
    unsafe { with_info(b, |b| enter(user, cpu, (), |f: &mut F, p, c| f(p, c, b, exit))) }
}

pub(crate) unsafe extern "C" fn mem<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    pc: u64,
    addr: u64,
    size: u64,
    data: *const u8,
) where
    F: FnMut(&mut P, &mut Cpu<'_>, &MemAccess<'_>),
{
    // SAFETY: see the module.
    unsafe {
        let data = Str { ptr: data, len: size }.bytes();
        let access = MemAccess { pc, addr, size, data };
        enter(user, cpu, (), |f: &mut F, p, c| f(p, c, &access));
    }
}

pub(crate) unsafe extern "C" fn syscall_enter<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    call: *const SyscallInfo,
) where
    F: FnMut(&mut P, &mut Cpu<'_>, &SyscallInfo),
{
    // SAFETY: see the module.
    unsafe { with_info(call, |i| enter(user, cpu, (), |f: &mut F, p, c| f(p, c, i))) }
}

pub(crate) unsafe extern "C" fn syscall_return<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    call: *const SyscallInfo,
    result: i64,
) where
    F: FnMut(&mut P, &mut Cpu<'_>, &SyscallInfo, i64),
{
    // SAFETY: see the module.
    unsafe { with_info(call, |i| enter(user, cpu, (), |f: &mut F, p, c| f(p, c, i, result))) }
}

pub(crate) unsafe extern "C" fn hypercall<P: Plugin, F>(user: User, cpu: RawCpu) -> u32
where
    F: FnMut(&mut P, &mut Cpu<'_>) -> bool,
{
    // SAFETY: see the module.
    unsafe { enter(user, cpu, 0, |f: &mut F, p, c| u32::from(f(p, c))) }
}

pub(crate) unsafe extern "C" fn monitor<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    text: *const u8,
    len: u64,
) -> u32
where
    F: FnMut(&mut P, &mut Cpu<'_>, &str) -> bool,
{
    // SAFETY: see the module.
    unsafe {
        let text = Str { ptr: text, len }.text();
        enter(user, cpu, 0, |f: &mut F, p, c| u32::from(f(p, c, &text)))
    }
}

pub(crate) unsafe extern "C" fn module<P: Plugin, F>(user: User, cpu: RawCpu, m: *const ModuleInfo)
where
    F: FnMut(&mut P, &mut Cpu<'_>, &Module<'_>),
{
    // SAFETY: see the module.
    unsafe {
        with_info(m, |m| {
            let m = Module::new(m);
            enter(user, cpu, (), |f: &mut F, p, c| f(p, c, &m));
        });
    }
}

pub(crate) unsafe extern "C" fn thread<P: Plugin, F>(user: User, cpu: RawCpu, t: *const ThreadInfo)
where
    F: FnMut(&mut P, &mut Cpu<'_>, &ThreadInfo),
{
    // SAFETY: see the module.
    unsafe { with_info(t, |t| enter(user, cpu, (), |f: &mut F, p, c| f(p, c, t))) }
}

pub(crate) unsafe extern "C" fn fork<P: Plugin, F>(user: User, cpu: RawCpu, info: *const ForkInfo)
where
    F: FnMut(&mut P, &mut Cpu<'_>, &ForkInfo),
{
    // SAFETY: see the module.
    unsafe { with_info(info, |i| enter(user, cpu, (), |f: &mut F, p, c| f(p, c, i))) }
}

pub(crate) unsafe extern "C" fn exec<P: Plugin, F>(user: User, cpu: RawCpu, info: *const ExecInfo)
where
    F: FnMut(&mut P, &mut Cpu<'_>, &Exec<'_>),
{
    // SAFETY: see the module.
    unsafe {
        with_info(info, |i| {
            let exec = Exec::new(i);
            enter(user, cpu, (), |f: &mut F, p, c| f(p, c, &exec));
        });
    }
}

pub(crate) unsafe extern "C" fn signal<P: Plugin, F>(user: User, cpu: RawCpu, s: *const SignalInfo)
where
    F: FnMut(&mut P, &mut Cpu<'_>, &Signal),
{
    // SAFETY: see the module.
    unsafe {
        with_info(s, |s| {
            let signal = Signal::new(s);
            enter(user, cpu, (), |f: &mut F, p, c| f(p, c, &signal));
        });
    }
}

pub(crate) unsafe extern "C" fn guest_ready<P: Plugin, F>(user: User, cpu: RawCpu)
where
    F: FnMut(&mut P, &mut Cpu<'_>),
{
    // SAFETY: see the module.
    unsafe { enter(user, cpu, (), |f: &mut F, p, c| f(p, c)) }
}

pub(crate) unsafe extern "C" fn guest_exit<P: Plugin, F>(
    user: User,
    cpu: RawCpu,
    kind: u32,
    code: i32,
) where
    F: FnMut(&mut P, &mut Cpu<'_>, GuestExit),
{
    // SAFETY: see the module.
    unsafe {
        enter(user, cpu, (), |f: &mut F, p, c| f(p, c, GuestExit::new(kind, code)));
    }
}
