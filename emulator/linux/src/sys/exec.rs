//! execve: the same host process goes on with another program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::load::{self, LoadRequest};
use crate::stack::MAX_STRING;
use crate::sys::{SyscallContext, aio, credentials, fds, fork, vfork};
use crate::{Errno, Event, ExitStatus, SysResult, procfs, robust};

/// The most pointers in an argument or environment list.
const MAX_STRINGS: usize = 1 << 20;

/// `execve`.
pub fn execve(ctx: &mut SyscallContext<'_>) -> SysResult {
    let path = ctx.read_path(ctx.args[0])?;
    exec(ctx, path, ctx.args[1], ctx.args[2])
}

/// `execveat`.
pub fn execveat(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [dir, path, argv, envp, flags, _] = ctx.args;
    let flags = flags as i32;
    if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let dir = dir as i32;
    let mut path = ctx.read_path(path)?;
    if path.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    if path.first() != Some(&b'/') && dir != libc::AT_FDCWD {
        fds::check(dir as u64)?;
        // As the kernel names it (fs/exec.c, `alloc_bprm`).
        let mut through = format!("/dev/fd/{dir}").into_bytes();
        if !path.is_empty() {
            through.push(b'/');
            through.append(&mut path);
        }
        path = through;
    }
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        let os = Path::new(OsStr::from_bytes(&path));
        if std::fs::symlink_metadata(os).is_ok_and(|m| m.is_symlink()) {
            return Err(Errno::ELOOP);
        }
    }
    exec(ctx, path, argv, envp)
}

fn exec(ctx: &mut SyscallContext<'_>, path: Vec<u8>, argv: u64, envp: u64) -> SysResult {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    // `/proc/PID/exe` is the guest's program, not the host's.
    let place = procfs::find(libc::AT_FDCWD, &path).and_then(|v| v.target(ctx.process));
    // The kernel looks for the file first.
    let file = place.as_deref().unwrap_or(Path::new(OsStr::from_bytes(&path)));
    std::fs::metadata(file).map_err(|e| Errno::of(&e))?;
    let request =
        LoadRequest { path, place, argv: read_strings(ctx, argv)?, envp: read_strings(ctx, envp)? };
    let limit = ctx.process.limits.stack();
    let prepared = load::prepare(&request, limit).map_err(|e| {
        tracing::debug!("execve: {e}");
        e.errno()
    })?;
    // The point of no return.
    if ctx.process.threads.len() > 1 {
        ctx.process.end_other_threads(ctx.machine);
    }
    robust::release(ctx.process, ctx.machine);
    aio::destroy_all(ctx.process, ctx.machine);
    ctx.process.timers.delete_all();
    vfork::release_parent(ctx.process);
    fork::clear_handlers(ctx);
    let thread = ctx.process.thread();
    thread.signals.alt.forget();
    thread.signals.fault = Default::default();
    if let Err(e) = prepared.commit(ctx.process, ctx.machine) {
        tracing::error!("execve failed after the old program was gone: {e}");
        ctx.process.exit = Some(ExitStatus::Signal { signal: libc::SIGSEGV, core: true });
        return Err(Errno::REGISTERS_SET);
    }
    fds::close_on_exec();
    credentials::change_at_exec();
    let (path, abi) = (ctx.process.program.exe.to_string_lossy().into_owned(), ctx.process.abi);
    ctx.process.emit(ctx.machine, &Event::Exec { path: &path, abi });
    Err(Errno::REGISTERS_SET)
}

/// Reads a null-terminated array of strings; a null array is an empty one.
fn read_strings(ctx: &SyscallContext<'_>, array: u64) -> Result<Vec<Vec<u8>>, Errno> {
    let mut out = Vec::new();
    let mut total = 0;
    if array == 0 {
        return Ok(out);
    }
    loop {
        if out.len() == MAX_STRINGS {
            return Err(Errno::E2BIG);
        }
        let slot = array.checked_add(out.len() as u64 * ctx.abi.word()).ok_or(Errno::EFAULT)?;
        let at = ctx.read_word(slot)?;
        if at == 0 {
            return Ok(out);
        }
        let s = ctx.read_string(at, MAX_STRING, Errno::E2BIG)?;
        total += s.len();
        if total > 8 << 20 {
            return Err(Errno::E2BIG);
        }
        out.push(s);
    }
}
