//! Thread calls: ids, thread-local storage, turns.

use crate::segments::{self, UserDesc};
use crate::sys::host_call::HostCall;
use crate::sys::{SyscallContext, pass};
use crate::{Abi, Errno, SysResult};

/// `sched_getaffinity`. A 32-bit guest's set may end in half a word of the host's.
pub fn sched_getaffinity(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let mut call = pass::prepare(ctx, libc::SYS_sched_getaffinity)?;
    if ctx.abi == Abi::X86_64 {
        return Ok(call);
    }
    /// More than the kernel has processors for.
    const MOST: u64 = 1 << 13;
    let [_, len, guest, ..] = ctx.args;
    if !len.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let mut set = vec![0u64; len.min(MOST).div_ceil(8) as usize];
    call.args[1] = set.len() as u64 * 8;
    call.args[2] = set.as_mut_ptr() as u64;
    Ok(call.then(move |ctx, result| {
        let bytes: Vec<u8> = set.iter().flat_map(|w| w.to_le_bytes()).collect();
        let count = result?.min(len);
        let (fits, rest) = bytes.split_at(count as usize);
        if rest.iter().any(|&b| b != 0) {
            return Err(Errno::EINVAL);
        }
        ctx.write(guest, fits)?;
        Ok(count)
    }))
}

/// `modify_ldt`. Its result is an `int` also where results are wider.
pub fn modify_ldt(ctx: &mut SyscallContext<'_>) -> SysResult {
    match ldt_call(ctx) {
        Err(e) if ctx.abi == Abi::X86_64 => Ok(u64::from(e.value() as u32)),
        other => other,
    }
}

fn ldt_call(ctx: &mut SyscallContext<'_>) -> SysResult {
    const READ: i32 = 0;
    const WRITE_FIRST_FORM: i32 = 1;
    const READ_DEFAULT: i32 = 2;
    const WRITE: i32 = 0x11;
    /// Bytes of a table, and of the kernel's empty default table.
    const TABLE: u64 = 8 * 8192;
    const DEFAULT: u64 = 128;
    let (function, at, len) = (ctx.int(0), ctx.args[1], ctx.args[2]);
    let table = ctx.process.cpu().ldt;
    match function {
        READ => {
            let Some(table) = table else { return Ok(0) };
            let mut raw: Vec<u8> =
                table.entries().iter().flat_map(|d| d.raw().to_le_bytes()).collect();
            raw.resize(len.min(TABLE) as usize, 0);
            ctx.write(at, &raw)?;
            Ok(raw.len() as u64)
        }
        READ_DEFAULT => {
            let len = len.min(DEFAULT);
            ctx.write(at, &vec![0; len as usize])?;
            Ok(len)
        }
        WRITE_FIRST_FORM | WRITE => {
            if len != 16 {
                return Err(Errno::EINVAL);
            }
            let mut raw = [0; 16];
            ctx.read(at, &mut raw)?;
            let desc = UserDesc::from_bytes(raw);
            let table = table.unwrap_or_else(|| Box::leak(Box::default()));
            segments::set_ldt(&mut table.entries(), desc, function == WRITE_FIRST_FORM)?;
            for thread in &mut ctx.process.threads {
                thread.cpu.ldt = Some(table);
            }
            Ok(0)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// `arch_prctl`.
pub fn arch_prctl(ctx: &mut SyscallContext<'_>) -> SysResult {
    const SET_GS: i32 = 0x1001;
    const SET_FS: i32 = 0x1002;
    const GET_FS: i32 = 0x1003;
    const GET_GS: i32 = 0x1004;
    const GET_CPUID: i32 = 0x1011;
    const SET_CPUID: i32 = 0x1012;
    let (code, addr) = (ctx.int(0), ctx.args[1]);
    match (ctx.abi, code) {
        (Abi::X86_64, SET_FS | SET_GS) => {
            if addr >= Abi::X86_64.kernel_task_size() {
                return Err(Errno::EPERM);
            }
            let cpu = ctx.process.cpu();
            let (base, selector) = match code {
                SET_FS => (&mut cpu.fs_base, emu_x86::state::seg::FS),
                _ => (&mut cpu.gs_base, emu_x86::state::seg::GS),
            };
            *base = addr;
            cpu.selectors[selector] = 0;
            Ok(0)
        }
        (Abi::X86_64, GET_FS | GET_GS) => {
            let cpu = ctx.process.cpu();
            let base = if code == GET_FS { cpu.fs_base } else { cpu.gs_base };
            ctx.write_u64(addr, base)?;
            Ok(0)
        }
        (_, GET_CPUID) => Ok(1),
        (_, SET_CPUID) if addr != 0 => Ok(0),
        (_, SET_CPUID) => Err(Errno::ENODEV),
        _ => Err(Errno::EINVAL),
    }
}

/// `gettid`.
pub fn gettid(ctx: &mut SyscallContext<'_>) -> SysResult {
    Ok(ctx.thread().tid as u64)
}

/// `set_thread_area`.
pub fn set_thread_area(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[0];
    let mut raw = [0; 16];
    ctx.read(at, &mut raw)?;
    let desc = UserDesc::from_bytes(raw);
    let entry = segments::set_thread_area(ctx.process.cpu(), desc)?;
    if desc.entry == u32::MAX {
        ctx.write_u32(at, entry)?;
    }
    Ok(0)
}

/// `get_thread_area`.
pub fn get_thread_area(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[0];
    let entry = ctx.read_u32(at)?;
    let desc = segments::get_thread_area(ctx.process.cpu(), entry)?;
    ctx.write(at, &desc.to_bytes())?;
    Ok(0)
}

/// `set_tid_address`.
pub fn set_tid_address(ctx: &mut SyscallContext<'_>) -> SysResult {
    let at = ctx.args[0];
    let thread = ctx.thread();
    thread.clear_child_tid = at;
    Ok(thread.tid as u64)
}

/// `set_robust_list`.
pub fn set_robust_list(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [head, len, ..] = ctx.args;
    if len != 3 * ctx.abi.word() {
        return Err(Errno::EINVAL);
    }
    ctx.thread().robust_list = (head, len);
    Ok(0)
}

/// `get_robust_list`.
pub fn get_robust_list(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [pid, head_at, len_at, ..] = ctx.args;
    let wanted = pid as i32;
    let thread = ctx.process.threads.iter().find(|t| wanted == 0 || t.tid == wanted);
    let (head, len) = thread.ok_or(Errno::ESRCH)?.robust_list;
    ctx.write_word(len_at, if len == 0 { 3 * ctx.abi.word() } else { len })?;
    ctx.write_word(head_at, head)?;
    Ok(0)
}

/// `membarrier`: one thread runs guest code, so the host's answer is the guest's. Its commands for restartable
/// sequences are there only in kernels that have these: programs rely on having both or neither.
pub fn membarrier(ctx: &mut SyscallContext<'_>) -> SysResult {
    const RSEQ: u64 = (libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
        | libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ) as u64;
    if ctx.args[0] & RSEQ != 0 {
        return Err(Errno::EINVAL);
    }
    let result = ctx.host(libc::SYS_membarrier, ctx.args)?;
    let query = ctx.args[0] == libc::MEMBARRIER_CMD_QUERY as u64;
    Ok(if query { result & !RSEQ } else { result })
}

/// `sched_yield`: the turn of the next thread.
pub fn sched_yield(ctx: &mut SyscallContext<'_>) -> SysResult {
    ctx.process.sched.yielded = true;
    ctx.host(libc::SYS_sched_yield, ctx.args)
}

/// `sched_setparam`.
pub fn sched_setparam(ctx: &mut SyscallContext<'_>) -> SysResult {
    set_policy(ctx, libc::SYS_sched_setparam)
}

/// `sched_setscheduler`.
pub fn sched_setscheduler(ctx: &mut SyscallContext<'_>) -> SysResult {
    set_policy(ctx, libc::SYS_sched_setscheduler)
}

/// `sched_setattr`.
pub fn sched_setattr(ctx: &mut SyscallContext<'_>) -> SysResult {
    set_policy(ctx, libc::SYS_sched_setattr)
}

/// The host's call, whose success turn-taking follows.
fn set_policy(ctx: &mut SyscallContext<'_>, number: i64) -> SysResult {
    let call = pass::prepare(ctx, number)?;
    let result = call.perform(false);
    let result = call.complete(ctx, result)?;
    let tid = match ctx.int(0) {
        0 => ctx.thread().tid,
        tid => tid,
    };
    ctx.process.follow_policy(tid);
    Ok(result)
}
