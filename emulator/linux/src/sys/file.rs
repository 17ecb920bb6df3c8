//! Calls on paths that may name the guest's own files in `/proc`, and others on files that need
//! code.

use std::os::unix::ffi::OsStrExt;

use crate::abi::structs;
use crate::errno::check;
use crate::procfs::{self, View};
use crate::sys::args::Arg;
use crate::sys::host_call::{Buffer, HostCall, syscall};
use crate::sys::{SyscallContext, fds, pass};
use crate::{Errno, SysResult};

/// A path argument: what it is relative to, and the index of its address among the arguments.
#[derive(Clone, Copy)]
struct At {
    dirfd: Option<usize>,
    path: usize,
}

/// Paths relative to the working directory.
const CWD: At = At { dirfd: None, path: 0 };
/// Paths relative to a descriptor.
const DIR: At = At { dirfd: Some(0), path: 1 };

impl At {
    fn dirfd(self, ctx: &SyscallContext<'_>) -> i32 {
        self.dirfd.map_or(libc::AT_FDCWD, |i| ctx.int(i))
    }

    /// The view of `/proc` that the path names. Descriptors of the host
    /// do not exist there.
    fn view(self, ctx: &SyscallContext<'_>) -> Result<Option<View>, Errno> {
        let dirfd = self.dirfd(ctx);
        fds::check(dirfd as u64)?;
        let path = ctx.read_path(ctx.args[self.path])?;
        if procfs::is_hidden(dirfd, &path) {
            return Err(Errno::ENOENT);
        }
        Ok(procfs::find(dirfd, &path))
    }
}

/// The call with the program's path in place of a `/proc/self/exe` that it would follow.
fn follow_exe(ctx: &mut SyscallContext<'_>, number: i64, at: At, follow: bool) -> SysResult {
    let view = if follow {
        match at.view(ctx) {
            // Which error comes first is the kernel's to say.
            Err(Errno::EFAULT) => None,
            view => view?,
        }
    } else {
        // The path of AT_EMPTY_PATH may be a null pointer.
        let path = ctx.read_path(ctx.args[at.path]).unwrap_or_default();
        if procfs::is_hidden(at.dirfd(ctx), &path) {
            return Err(Errno::ENOENT);
        }
        None
    };
    let mut call = pass::prepare(ctx, number)?;
    let replaced = match view.and_then(|v| v.target(ctx.process)) {
        Some(target) => Some(procfs::c_path(target.as_os_str().as_bytes())?),
        None => None,
    };
    if let Some(path) = &replaced {
        call.args[at.path] = path.as_ptr() as u64;
    }
    let result = call.perform(false);
    call.complete(ctx, result)
}

/// A call that follows its first path, and is otherwise passed to the host's of the same number.
pub fn follow(ctx: &mut SyscallContext<'_>) -> SysResult {
    follow_if(ctx, true)
}

fn follow_if(ctx: &mut SyscallContext<'_>, follow: bool) -> SysResult {
    let args = ctx.row.args;
    let path = args.iter().position(|a| matches!(a, Arg::Path)).ok_or(Errno::ENOSYS)?;
    let dirfd = path.checked_sub(1).filter(|&i| matches!(args[i], Arg::DirFd));
    let number = ctx.row.x86_64.ok_or(Errno::ENOSYS)?;
    // Without a path a call is about the descriptor, or about no source.
    let follow = follow && ctx.args[path] != 0;
    follow_exe(ctx, i64::from(number), At { dirfd, path }, follow)
}

/// `fchownat`.
pub fn fchownat(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = follows(ctx, ctx.int(4))?;
    follow_if(ctx, follow)
}

/// `utimensat`.
pub fn utimensat(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = follows(ctx, ctx.int(3))?;
    follow_if(ctx, follow)
}

/// `open_tree`.
pub fn open_tree(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = follows(ctx, ctx.int(2))?;
    follow_if(ctx, follow)
}

/// `linkat`.
pub fn linkat(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = ctx.int(4) & libc::AT_SYMLINK_FOLLOW != 0;
    follow_if(ctx, follow)
}

fn open_at(ctx: &mut SyscallContext<'_>, at: At, flags: u64, mode: u64) -> Result<HostCall, Errno> {
    if let Some(view) = at.view(ctx)? {
        let fd = procfs::open(&view, flags as i32, ctx.process, ctx.machine)?;
        return Ok(HostCall::ready(fd));
    }
    let dirfd = at.dirfd(ctx) as u64;
    Ok(HostCall::new(libc::SYS_openat, [dirfd, ctx.args[at.path], flags, mode, 0, 0]))
}

/// `open`.
pub fn open(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    open_at(ctx, CWD, ctx.args[1], ctx.args[2])
}

/// `creat`.
pub fn creat(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    open_at(ctx, CWD, flags as u64, ctx.args[1])
}

/// `openat`.
pub fn openat(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    open_at(ctx, DIR, ctx.args[2], ctx.args[3])
}

/// `openat2`.
pub fn openat2(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let size = ctx.args[3];
    if size < structs::OPEN_HOW.host_size as u64 {
        return Err(Errno::EINVAL);
    }
    if size > emu_mem::PAGE {
        return Err(Errno::E2BIG);
    }
    let how = ctx.read_vec(ctx.args[2], size as usize)?;
    let flags = u64::from_le_bytes(how[..8].try_into().map_err(|_| Errno::EINVAL)?);
    if let Some(view) = DIR.view(ctx)? {
        let fd = procfs::open(&view, flags as i32, ctx.process, ctx.machine)?;
        return Ok(HostCall::ready(fd));
    }
    let words: Box<[u64]> = how
        .chunks(8)
        .map(|c| {
            let mut w = [0; 8];
            w[..c.len()].copy_from_slice(c);
            u64::from_le_bytes(w)
        })
        .collect();
    let buffer = Buffer::input(words);
    let args = [ctx.args[0], ctx.args[1], buffer.address(), size, 0, 0];
    Ok(HostCall::new(libc::SYS_openat2, args).with(buffer))
}

/// `stat`, `stat64`.
pub fn stat(ctx: &mut SyscallContext<'_>) -> SysResult {
    follow_exe(ctx, libc::SYS_stat, CWD, true)
}

/// `lstat`, `lstat64`.
pub fn lstat(ctx: &mut SyscallContext<'_>) -> SysResult {
    follow_exe(ctx, libc::SYS_lstat, CWD, false)
}

/// `newfstatat`, `fstatat64`.
pub fn fstatat(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = follows(ctx, ctx.int(3))?;
    follow_exe(ctx, libc::SYS_newfstatat, DIR, follow)
}

/// `statx`.
pub fn statx(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = follows(ctx, ctx.int(2))?;
    follow_exe(ctx, libc::SYS_statx, DIR, follow)
}

/// Whether a call with these `AT_*` flags looks at a path and follows its last link.
fn follows(ctx: &SyscallContext<'_>, flags: i32) -> Result<bool, Errno> {
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        return Ok(false);
    }
    if flags & libc::AT_EMPTY_PATH == 0 {
        return Ok(true);
    }
    let addr = ctx.args[1];
    let mut first = [0];
    if addr == 0 {
        return Ok(false);
    }
    ctx.read(addr, &mut first)?;
    Ok(first[0] != 0)
}

/// `access`.
pub fn access(ctx: &mut SyscallContext<'_>) -> SysResult {
    follow_exe(ctx, libc::SYS_access, CWD, true)
}

/// `faccessat`.
pub fn faccessat(ctx: &mut SyscallContext<'_>) -> SysResult {
    follow_exe(ctx, libc::SYS_faccessat, DIR, true)
}

/// `faccessat2`.
pub fn faccessat2(ctx: &mut SyscallContext<'_>) -> SysResult {
    let follow = follows(ctx, ctx.int(3))?;
    follow_exe(ctx, libc::SYS_faccessat2, DIR, follow)
}

/// `statfs`.
pub fn statfs(ctx: &mut SyscallContext<'_>) -> SysResult {
    follow_exe(ctx, libc::SYS_statfs, CWD, true)
}

/// `statfs64`: the host's `statfs` in another layout.
pub fn statfs64(ctx: &mut SyscallContext<'_>) -> SysResult {
    pass::check_start(ctx, ctx.args[0])?;
    statfs_of(ctx, libc::SYS_statfs)
}

/// `fstatfs64`.
pub fn fstatfs64(ctx: &mut SyscallContext<'_>) -> SysResult {
    fds::check(ctx.args[0])?;
    statfs_of(ctx, libc::SYS_fstatfs)
}

fn statfs_of(ctx: &mut SyscallContext<'_>, number: i64) -> SysResult {
    if ctx.args[1] != structs::STATFS64.guest_size as u64 {
        return Err(Errno::EINVAL);
    }
    let mut host = vec![0; structs::STATFS64.host_size];
    syscall(number, &[ctx.args[0], host.as_mut_ptr() as u64, 0, 0, 0, 0], false)?;
    ctx.write_struct(ctx.args[2], &structs::STATFS64, &host)?;
    Ok(0)
}

fn readlink_at(ctx: &mut SyscallContext<'_>, at: At) -> SysResult {
    let (buf, size) = (ctx.args[at.path + 1], ctx.int(at.path + 2));
    let link = at.view(ctx)?.and_then(|v| v.name(ctx.process));
    if let Some(link) = link {
        if size <= 0 {
            return Err(Errno::EINVAL);
        }
        let text = link.as_os_str().as_bytes();
        let text = &text[..text.len().min(size as usize)];
        ctx.write(buf, text)?;
        return Ok(text.len() as u64);
    }
    let dirfd = at.dirfd(ctx) as u64;
    let len = if size > 0 { pass::clamp(ctx.process.abi, buf, size as u64)? } else { size as u64 };
    if size > 0 {
        ctx.prepare_write(buf, len)?;
    }
    ctx.host(libc::SYS_readlinkat, [dirfd, ctx.args[at.path], buf, len, 0, 0])
}

/// `readlink`.
pub fn readlink(ctx: &mut SyscallContext<'_>) -> SysResult {
    readlink_at(ctx, CWD)
}

/// `readlinkat`.
pub fn readlinkat(ctx: &mut SyscallContext<'_>) -> SysResult {
    readlink_at(ctx, DIR)
}

/// `name_to_handle_at`: the handle's own first word says how long it is.
pub fn name_to_handle_at(ctx: &mut SyscallContext<'_>) -> SysResult {
    let handle = ctx.args[2];
    let len = ctx.read_u32(handle)?;
    fds::check(ctx.args[0])?;
    pass::check_start(ctx, ctx.args[1])?;
    ctx.prepare_write(handle, structs::FILE_HANDLE.host_size as u64 + u64::from(len))?;
    ctx.prepare_write(ctx.args[3], 4)?;
    ctx.host(libc::SYS_name_to_handle_at, ctx.args)
}

/// `open_by_handle_at`.
pub fn open_by_handle_at(ctx: &mut SyscallContext<'_>) -> SysResult {
    let handle = ctx.args[1];
    let len = ctx.read_u32(handle)?;
    fds::check(ctx.args[0])?;
    ctx.check_range(handle, structs::FILE_HANDLE.host_size as u64 + u64::from(len))?;
    check(ctx.host(libc::SYS_open_by_handle_at, ctx.args)? as i64)
}
