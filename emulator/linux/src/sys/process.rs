//! Process calls: exit, wait, kill, limits, prctl.

use crate::abi::structs::{INT, RLIMIT, RLIMIT64, RUSAGE};
use crate::signal::info::{SI_TKILL, SI_USER};
use crate::signal::{SYNCHRONOUS, SigInfo, bit};
use crate::sys::{HostCall, SyscallContext, vfork};
use crate::{Abi, Errno, ExitStatus, SysResult, procfs, robust, title};

/// `exit`: of the thread; of the process when it is the only one.
pub fn exit(ctx: &mut SyscallContext<'_>) -> SysResult {
    if ctx.process.threads.len() > 1 {
        ctx.process.end_thread(ctx.machine);
        return Err(Errno::THREAD_GONE);
    }
    exit_group(ctx)
}

/// `exit_group`.
pub fn exit_group(ctx: &mut SyscallContext<'_>) -> SysResult {
    let status = ctx.args[0] as i32 & 0xff;
    let current = ctx.process.current;
    for i in 0..ctx.process.threads.len() {
        ctx.process.current = i;
        robust::release(ctx.process, ctx.machine);
    }
    ctx.process.current = current;
    vfork::release_parent(ctx.process);
    ctx.process.exit = Some(ExitStatus::Code(status));
    Ok(0)
}

/// Little-endian bytes of words the kernel filled.
fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Bytes of the host's `struct rusage`, in words.
const RUSAGE_WORDS: usize = 18;

fn wait(ctx: &mut SyscallContext<'_>, usage_at: u64) -> Result<HostCall, Errno> {
    let status_at = ctx.args[1];
    // The status, then the usage.
    let mut out = vec![0u64; 1 + RUSAGE_WORDS];
    let at = out.as_mut_ptr() as u64;
    let args = [ctx.args[0], at, ctx.args[2], at + 8, 0, 0];
    Ok(HostCall::new(libc::SYS_wait4, args).then(move |ctx, result| {
        let pid = result?;
        let raw = bytes(&out);
        if pid != 0 && status_at != 0 {
            ctx.write_struct(status_at, &INT, &raw[..4])?;
        }
        if pid != 0 && usage_at != 0 {
            ctx.write_struct(usage_at, &RUSAGE, &raw[8..])?;
        }
        Ok(pid)
    }))
}

/// `wait4`.
pub fn wait4(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    wait(ctx, ctx.args[3])
}

/// `waitpid`.
pub fn waitpid(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    wait(ctx, 0)
}

/// `waitid`.
pub fn waitid(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [kind, id, info_at, options, usage_at, _] = ctx.args;
    const INFO_WORDS: usize = 16;
    let mut out = vec![0u64; INFO_WORDS + RUSAGE_WORDS];
    let at = out.as_mut_ptr() as u64;
    let args = [kind, id, at, options, at + 8 * INFO_WORDS as u64, 0];
    Ok(HostCall::new(libc::SYS_waitid, args).then(move |ctx, result| {
        // Without a child the fields are cleared.
        let r = match result {
            Err(Errno::ECHILD) => Err(Errno::ECHILD),
            other => Ok(other?),
        };
        let raw = bytes(&out);
        let mut info = [0; 128];
        info.copy_from_slice(&raw[..128]);
        let info = SigInfo(info);
        if usage_at != 0 && info.signal() != 0 {
            ctx.write_struct(usage_at, &RUSAGE, &raw[128..])?;
        }
        if info_at != 0 {
            // The kernel writes only the fields that a child's information has.
            let len = match ctx.abi {
                Abi::X86_64 => 28,
                Abi::I386 => 24,
            };
            ctx.write(info_at, &info.to_guest(ctx.abi)[..len])?;
        }
        r
    }))
}

/// `kill`.
pub fn kill(ctx: &mut SyscallContext<'_>) -> SysResult {
    let (pid, signal) = (ctx.int(0), ctx.int(1));
    let own = std::process::id() as i32;
    if pid == own && to_self(ctx, signal, SI_USER) {
        return Ok(0);
    }
    ctx.host(libc::SYS_kill, ctx.args)
}

/// Sends this process a signal that must not go through the host: the processor's fault signals,
/// which the host needs for itself, and SIGKILL, before which output has to be written.
fn to_self(ctx: &mut SyscallContext<'_>, signal: i32, code: i32) -> bool {
    if signal == libc::SIGKILL {
        ctx.process.exit = Some(ExitStatus::Signal { signal, core: false });
        return true;
    }
    if bit(signal) & SYNCHRONOUS == 0 {
        return false;
    }
    let pending = &mut ctx.thread().signals.pending;
    if !pending.iter().any(|s| s.signal() == signal) {
        pending.push(SigInfo::from_self(signal, code));
    }
    true
}

/// Sends a signal to a thread of this process; `None` if the host has to do it.
pub(super) fn to_thread(
    ctx: &mut SyscallContext<'_>,
    tid: i32,
    info: SigInfo,
) -> Option<SysResult> {
    let signal = info.signal();
    if ctx.process.threads.len() == 1 {
        let own = tid == ctx.thread().tid;
        return (own && to_self(ctx, signal, info.code())).then_some(Ok(0));
    }
    if !(0..=crate::signal::COUNT).contains(&signal) {
        return Some(Err(Errno::EINVAL));
    }
    let target = ctx.process.threads.iter().position(|t| t.tid == tid)?;
    if signal == libc::SIGKILL && to_self(ctx, signal, info.code()) {
        return Some(Ok(0));
    }
    if signal == libc::SIGSTOP {
        return Some(ctx.host(libc::SYS_kill, [u64::from(std::process::id()), 19, 0, 0, 0, 0]));
    }
    let thread = &ctx.process.threads[target].signals;
    if ctx.process.signalfds && thread.blocked & !thread.awaited & bit(signal) != 0 {
        // The host's queue is where a signalfd looks.
        let mut info = info;
        info.address_to(tid, false);
        let (own, at) = (u64::from(std::process::id()), info.0.as_ptr() as u64);
        return Some(ctx.host(libc::SYS_rt_sigqueueinfo, [own, signal as u64, at, 0, 0, 0]));
    }
    const FIRST_QUEUED: i32 = 32;
    let pending = &mut ctx.process.threads[target].signals.pending;
    let there = pending.iter().any(|s| s.signal() == signal);
    if signal != 0 && (signal >= FIRST_QUEUED || !there) {
        pending.push(info);
    }
    Some(Ok(0))
}

/// Sends a signal to a thread of another guest process that is not its first: the host thread of that
/// id does not take signals, so the process gets it, addressed to the thread. False if the host has
/// to do it.
pub(super) fn to_foreign_thread(
    ctx: &SyscallContext<'_>,
    pid: i32,
    tid: i32,
    mut info: SigInfo,
) -> Result<bool, Errno> {
    let signal = info.signal();
    let own_way = matches!(signal, libc::SIGKILL | libc::SIGSTOP);
    if own_way || !(1..=crate::signal::COUNT).contains(&signal) || pid == tid {
        return Ok(false);
    }
    if !procfs::is_thread(pid, tid) || !procfs::is_guest(pid) {
        return Ok(false);
    }
    info.address_to(tid, true);
    let at = info.0.as_ptr() as u64;
    ctx.host(libc::SYS_rt_sigqueueinfo, [pid as u64, signal as u64, at, 0, 0, 0])?;
    Ok(true)
}

/// `tkill`.
pub fn tkill(ctx: &mut SyscallContext<'_>) -> SysResult {
    let (tid, signal) = (ctx.int(0), ctx.int(1));
    if let Some(done) = to_thread(ctx, tid, SigInfo::from_self(signal, SI_TKILL)) {
        return done;
    }
    if let Some(pid) = procfs::process_of(tid)
        && to_foreign_thread(ctx, pid, tid, SigInfo::from_self(signal, SI_TKILL))?
    {
        return Ok(0);
    }
    ctx.host(libc::SYS_tkill, ctx.args)
}

/// `tgkill`.
pub fn tgkill(ctx: &mut SyscallContext<'_>) -> SysResult {
    let (pid, tid, signal) = (ctx.int(0), ctx.int(1), ctx.int(2));
    if pid == std::process::id() as i32
        && let Some(done) = to_thread(ctx, tid, SigInfo::from_self(signal, SI_TKILL))
    {
        return done;
    }
    if to_foreign_thread(ctx, pid, tid, SigInfo::from_self(signal, SI_TKILL))? {
        return Ok(0);
    }
    ctx.host(libc::SYS_tgkill, ctx.args)
}

/// `pidfd_send_signal`.
pub fn pidfd_send_signal(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [fd, signal, info_at, flags, ..] = ctx.args;
    crate::sys::fds::check(fd)?;
    if info_at == 0 {
        return ctx.host(libc::SYS_pidfd_send_signal, [fd, signal, 0, flags, 0, 0]);
    }
    let mut raw = [0; 128];
    ctx.read(info_at, &mut raw)?;
    let info = SigInfo::from_guest(ctx.abi, &raw);
    let at = info.0.as_ptr() as u64;
    ctx.host(libc::SYS_pidfd_send_signal, [fd, signal, at, flags, 0, 0])
}

/// A limit as the guest sees it.
fn limit(ctx: &SyscallContext<'_>, pid: u64, resource: u64) -> Result<(u64, u64), Errno> {
    if is_self(pid)
        && let Some(l) = ctx.process.limits.get(resource as u32)
    {
        return Ok(l);
    }
    let mut raw = [0u64; 2];
    let args = [pid, resource, 0, raw.as_mut_ptr() as u64, 0, 0];
    ctx.host(libc::SYS_prlimit64, args)?;
    Ok((raw[0], raw[1]))
}

fn set_limit(
    ctx: &mut SyscallContext<'_>,
    pid: u64,
    resource: u64,
    new: (u64, u64),
) -> Result<(), Errno> {
    if new.0 > new.1 {
        return Err(Errno::EINVAL);
    }
    if is_self(pid)
        && let Some(old) = ctx.process.limits.get(resource as u32)
    {
        // SAFETY: cannot fail.
        let privileged = unsafe { libc::geteuid() == 0 };
        if new.1 > old.1 && !privileged {
            return Err(Errno::EPERM);
        }
        ctx.process.limits.set(resource as u32, new);
        return Ok(());
    }
    let raw = [new.0, new.1];
    let args = [pid, resource, raw.as_ptr() as u64, 0, 0, 0];
    ctx.host(libc::SYS_prlimit64, args).map(|_| ())
}

fn is_self(pid: u64) -> bool {
    pid == 0 || pid as u32 == std::process::id()
}

fn to_bytes(l: (u64, u64)) -> [u8; 16] {
    let mut b = [0; 16];
    b[..8].copy_from_slice(&l.0.to_le_bytes());
    b[8..].copy_from_slice(&l.1.to_le_bytes());
    b
}

fn from_bytes(b: &[u8]) -> (u64, u64) {
    let word =
        |at: usize| b.iter().skip(at).take(8).rev().fold(0u64, |n, &x| n << 8 | u64::from(x));
    (word(0), word(8))
}

/// `getrlimit`.
pub fn getrlimit(ctx: &mut SyscallContext<'_>) -> SysResult {
    let mut l = limit(ctx, 0, ctx.args[0])?;
    if ctx.abi == Abi::I386 && ctx.row.name == "getrlimit" {
        // The first i386 call of this name knows signed limits only.
        const MOST: u64 = i32::MAX as u64;
        l = (l.0.min(MOST), l.1.min(MOST));
    }
    ctx.write_struct(ctx.args[1], &RLIMIT, &to_bytes(l))?;
    Ok(0)
}

/// `setrlimit`.
pub fn setrlimit(ctx: &mut SyscallContext<'_>) -> SysResult {
    let new = from_bytes(&ctx.read_struct(ctx.args[1], &RLIMIT)?);
    set_limit(ctx, 0, ctx.args[0], new)?;
    Ok(0)
}

/// `prlimit64`.
pub fn prlimit64(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [pid, resource, new_at, old_at, ..] = ctx.args;
    let new = match new_at {
        0 => None,
        at => Some(from_bytes(&ctx.read_struct(at, &RLIMIT64)?)),
    };
    let old = limit(ctx, pid, resource)?;
    if let Some(new) = new {
        set_limit(ctx, pid, resource, new)?;
    }
    if old_at != 0 {
        ctx.write_struct(old_at, &RLIMIT64, &to_bytes(old))?;
    }
    Ok(0)
}

/// `personality`.
pub fn personality(ctx: &mut SyscallContext<'_>) -> SysResult {
    const READ_IMPLIES_EXEC: u64 = 0x0040_0000;
    const QUERY: u64 = 0xffff_ffff;
    let wanted = ctx.args[0];
    let old = ctx.host(libc::SYS_personality, [wanted, 0, 0, 0, 0, 0])?;
    if wanted != QUERY {
        ctx.process.layout.read_implies_exec = wanted & READ_IMPLIES_EXEC != 0;
    }
    Ok(old)
}

/// `prctl`.
pub fn prctl(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [option, arg, ..] = ctx.args;
    match option as i32 {
        libc::PR_SET_NAME => {
            // At most 16 bytes, of which the last is the NUL.
            let mut name = Vec::new();
            for i in 0..15 {
                let mut b = [0];
                ctx.read(arg.wrapping_add(i), &mut b)?;
                if b[0] == 0 {
                    break;
                }
                name.push(b[0]);
            }
            let tid = ctx.thread().tid;
            if tid as u32 == std::process::id() {
                title::set_name(&name);
            } else {
                // The companion's; where that cannot be done the thread keeps its name.
                let _ = std::fs::write(format!("/proc/self/task/{tid}/comm"), name);
            }
            Ok(0)
        }
        libc::PR_GET_NAME => {
            let name = title::name_of(ctx.thread().tid);
            ctx.write(arg, &name)?;
            Ok(0)
        }
        libc::PR_GET_PDEATHSIG | libc::PR_GET_CHILD_SUBREAPER | libc::PR_GET_TSC => {
            ctx.prepare_write(arg, 4)?;
            ctx.host(libc::SYS_prctl, ctx.args)
        }
        libc::PR_SET_PDEATHSIG
        | libc::PR_GET_DUMPABLE
        | libc::PR_SET_DUMPABLE
        | libc::PR_GET_KEEPCAPS
        | libc::PR_SET_KEEPCAPS
        | libc::PR_GET_TIMING
        | libc::PR_SET_TIMING
        | libc::PR_CAPBSET_READ
        | libc::PR_CAPBSET_DROP
        | libc::PR_CAP_AMBIENT
        | libc::PR_GET_SECUREBITS
        | libc::PR_SET_SECUREBITS
        | libc::PR_GET_TIMERSLACK
        | libc::PR_SET_TIMERSLACK
        | libc::PR_SET_CHILD_SUBREAPER
        | libc::PR_SET_NO_NEW_PRIVS
        | libc::PR_GET_NO_NEW_PRIVS
        | libc::PR_GET_THP_DISABLE
        | libc::PR_SET_THP_DISABLE
        | libc::PR_SET_PTRACER => ctx.host(libc::SYS_prctl, ctx.args),
        libc::PR_GET_SECCOMP => Ok(ctx.thread().confinement.mode()),
        libc::PR_SET_SECCOMP => super::seccomp::set_mode(ctx),
        // A memory layout would bind the host itself; the rest is unknown.
        _ => Err(Errno::EINVAL),
    }
}

/// `ptrace`: refused. A traced process would be the emulator, not the guest.
pub fn ptrace(_ctx: &mut SyscallContext<'_>) -> SysResult {
    use std::sync::Once;
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "the guest wants to trace a process: ptrace is refused with EPERM; run the debugger \
             natively, or watch the guest with a plugin"
        );
    });
    Err(Errno::EPERM)
}
