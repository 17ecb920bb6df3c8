//! seccomp: the calls that confine a thread, and what becomes of a confined thread's calls.

use emu_x86::state::gpr;

use crate::sched::Call;
use crate::seccomp::{CallData, Confinement, Filter, Insn, action};
use crate::signal::info::SYS_SECCOMP;
use crate::signal::{SigInfo, deliver};
use crate::sys::SyscallContext;
use crate::{Abi, Errno, Event, ExitStatus, Machine, Process, SysResult};

const TSYNC: u64 = 1;
const LOG: u64 = 2;
const SPEC_ALLOW: u64 = 4;
const TSYNC_ESRCH: u64 = 16;

/// `seccomp`. A listener for other processes (`SECCOMP_FILTER_FLAG_NEW_LISTENER`) is refused, as by
/// a kernel before 5.0.
pub fn seccomp(ctx: &mut SyscallContext<'_>) -> SysResult {
    const SET_MODE_STRICT: u64 = 0;
    const SET_MODE_FILTER: u64 = 1;
    const GET_ACTION_AVAIL: u64 = 2;
    let [operation, flags, at, ..] = ctx.args;
    match operation {
        SET_MODE_STRICT if flags == 0 && at == 0 => strict(ctx),
        SET_MODE_FILTER => filter(ctx, flags, at),
        GET_ACTION_AVAIL if flags == 0 => match ctx.read_u32(at)? {
            action::KILL_PROCESS | action::KILL_THREAD | action::TRAP | action::ERRNO => Ok(0),
            action::TRACE | action::LOG | action::ALLOW => Ok(0),
            _ => Err(Errno::EOPNOTSUPP),
        },
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(PR_SET_SECCOMP)`.
pub fn set_mode(ctx: &mut SyscallContext<'_>) -> SysResult {
    match (ctx.args[1], ctx.args[2]) {
        (1, _) => strict(ctx),
        (2, at) => filter(ctx, 0, at),
        _ => Err(Errno::EINVAL),
    }
}

fn strict(ctx: &mut SyscallContext<'_>) -> SysResult {
    let thread = ctx.thread();
    if let Confinement::Filtered(_) = thread.confinement {
        return Err(Errno::EINVAL);
    }
    thread.confinement = Confinement::Strict;
    Ok(0)
}

fn filter(ctx: &mut SyscallContext<'_>, flags: u64, at: u64) -> SysResult {
    if flags & !(TSYNC | LOG | SPEC_ALLOW | TSYNC_ESRCH) != 0 {
        return Err(Errno::EINVAL);
    }
    let count = match ctx.abi {
        Abi::X86_64 => ctx.read_u64(at)? as u16,
        Abi::I386 => ctx.read_u32(at)? as u16,
    };
    let program = ctx.read_word(at.wrapping_add(ctx.abi.word()))?;
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    if !may_filter(ctx)? {
        return Err(Errno::EACCES);
    }
    let filter = Filter::new(&ctx.read_vec(program, usize::from(count) * Insn::SIZE)?)?;
    let old = &ctx.process.threads[ctx.process.current].confinement;
    if flags & TSYNC != 0 {
        let other = ctx.process.threads.iter().find(|t| !t.confinement.is_ancestor_of(old));
        match other.map(|t| t.tid) {
            Some(_) if flags & TSYNC_ESRCH != 0 => return Err(Errno::ESRCH),
            Some(tid) => return Ok(tid as u64),
            None => {}
        }
    }
    ctx.thread().confinement.add(filter)?;
    if flags & TSYNC != 0 {
        let new = ctx.thread().confinement.clone();
        for thread in &mut ctx.process.threads {
            thread.confinement = new.clone();
        }
    }
    Ok(0)
}

/// Whether the thread can gain no rights by running programs, or has enough anyway.
fn may_filter(ctx: &SyscallContext<'_>) -> Result<bool, Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_ADMIN: u32 = 1 << 21;
    let no_new_rights =
        ctx.host(libc::SYS_prctl, [libc::PR_GET_NO_NEW_PRIVS as u64, 0, 0, 0, 0, 0]);
    if no_new_rights == Ok(1) {
        return Ok(true);
    }
    // Version and process; effective, permitted and inheritable rights 0 to 31, then 32 to 63.
    let header = [VERSION_3, 0];
    let mut rights = [0u32; 6];
    let (header, at) = (header.as_ptr() as u64, rights.as_mut_ptr() as u64);
    ctx.host(libc::SYS_capget, [header, at, 0, 0, 0, 0])?;
    Ok(rights[0] & SYS_ADMIN != 0)
}

/// What becomes of a call of the current thread, which is confined: `None` if it is made.
#[cold]
pub fn judge(p: &mut Process, m: &mut dyn Machine, call: &Call) -> Option<SysResult> {
    let in_vdso = |m: &mut dyn Machine| {
        m.space().find(call.pc).is_some_and(|(_, _, mapping)| &*mapping.name == "[vdso]")
    };
    if call.abi == Abi::X86_64 && in_vdso(m) {
        // A kernel's vDSO would not have made a call.
        return None;
    }
    let data =
        CallData { number: call.number as u32, abi: call.abi, pc: call.pc, args: call.registers };
    let confinement = &p.thread().confinement;
    if let Confinement::Strict = confinement {
        let allowed: &[u32] = match call.abi {
            // read, write, exit, rt_sigreturn
            Abi::X86_64 => &[0, 1, 60, 15],
            // read, write, exit, sigreturn
            Abi::I386 => &[3, 4, 1, 119],
        };
        return (!allowed.contains(&data.number)).then(|| end_thread(p, m, libc::SIGKILL));
    }
    let verdict = confinement.verdict(&data);
    let value = verdict & !action::MASK;
    match verdict & action::MASK {
        action::ALLOW | action::LOG => None,
        action::ERRNO if value == 0 => Some(Ok(0)),
        action::ERRNO => Some(Err(Errno(value.min(4095) as i32))),
        // Nobody traces, and nobody listens.
        action::TRACE => Some(Err(Errno::ENOSYS)),
        action::TRAP => {
            let info = SigInfo::system_call(call.pc, data.number, data.arch(), value);
            deliver::force(p, info);
            // The handler finds the number where the call left it.
            p.cpu().gpr[gpr::RAX] = call.number;
            Some(Err(Errno::REGISTERS_SET))
        }
        action::KILL_THREAD => Some(end_thread(p, m, libc::SIGSYS)),
        _ => Some(end_process(p, m, libc::SIGSYS)),
    }
}

/// Ends the current thread, and with the last one the process, by `signal`.
fn end_thread(p: &mut Process, m: &mut dyn Machine, signal: i32) -> SysResult {
    if p.threads.len() > 1 {
        p.end_thread(m);
        return Err(Errno::THREAD_GONE);
    }
    end_process(p, m, signal)
}

fn end_process(p: &mut Process, m: &mut dyn Machine, signal: i32) -> SysResult {
    let by_filter = signal == libc::SIGSYS;
    let code = if by_filter { SYS_SECCOMP } else { 0 };
    p.emit(m, &Event::Signal { signal, code, handler: None });
    p.exit = Some(ExitStatus::Signal { signal, core: by_filter });
    Ok(0)
}
