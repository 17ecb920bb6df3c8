//! Which calls that may wait will not: with several guest threads these are made at once, without
//! the way over a companion.

use crate::sys::futex;
use crate::sys::host_call::{HostCall, syscall};
use crate::{Errno, SysResult};

/// A pipe that is ready for writing takes as much (POSIX, `PIPE_BUF`); a socket at least that.
const SMALL: u64 = 4096;

/// Flag of `recvmsg` and its like: do not wait.
const DONTWAIT: u64 = libc::MSG_DONTWAIT as u64;
/// Flag of `preadv2` and its like: do not wait.
const NOWAIT: u64 = libc::RWF_NOWAIT as u64;

/// Common requests that never wait.
const QUICK_IOCTLS: [u64; 9] = [
    libc::TCGETS,
    libc::TCSETS,
    libc::TIOCGPGRP,
    libc::TIOCGWINSZ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONCLEX,
    libc::TIOCGPTN,
];

/// Makes a host call if it is known not to wait; its result then.
pub fn at_once(call: &HostCall) -> Option<SysResult> {
    if call.own_thread {
        return None;
    }
    let [a, b, c, d, ..] = call.args;
    let wanted = |flag: i32, arg: u64| arg as i32 & flag != 0;
    let ready = match call.number {
        libc::SYS_read => return read_now(call, &[b, c], 1),
        libc::SYS_readv => {
            // SAFETY: a prepared readv has so many elements of two words each.
            let buffers = unsafe { core::slice::from_raw_parts(b as *const u64, 2 * c as usize) };
            return read_now(call, buffers, c);
        }
        libc::SYS_pread64 | libc::SYS_preadv | libc::SYS_preadv2 => is_file(a),
        libc::SYS_accept | libc::SYS_accept4 => is_nonblocking(a),
        libc::SYS_recvfrom if !wanted(libc::MSG_WAITALL, d) => {
            let [.., e, f] = call.args;
            return unless_it_waits(call, [a, b, c, d | DONTWAIT, e, f], call.number);
        }
        libc::SYS_recvmsg if !wanted(libc::MSG_WAITALL, c) => {
            return unless_it_waits(call, [a, b, c | DONTWAIT, d, 0, 0], call.number);
        }
        libc::SYS_sendmsg => wanted(libc::MSG_DONTWAIT, c) || is_nonblocking(a),
        libc::SYS_sendto if c <= SMALL && is_ready(a, libc::POLLOUT) => {
            let [.., e, f] = call.args;
            return unless_it_waits(call, [a, b, c, d | DONTWAIT, e, f], call.number);
        }
        libc::SYS_sendto => wanted(libc::MSG_DONTWAIT, d) || is_nonblocking(a),
        libc::SYS_write if c <= SMALL && !is_file(a) => {
            if !is_ready(a, libc::POLLOUT) {
                return None;
            }
            let buffer = [b, c];
            let args = [a, buffer.as_ptr() as u64, 1, u64::MAX, 0, NOWAIT];
            return unless_it_waits(call, args, libc::SYS_pwritev2);
        }
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_sendfile
        | libc::SYS_copy_file_range => is_nonblocking(a) || is_file(a),
        libc::SYS_fcntl => !matches!(b as i32, libc::F_SETLKW | libc::F_OFD_SETLKW),
        libc::SYS_flock => wanted(libc::LOCK_NB, b),
        libc::SYS_wait4 => wanted(libc::WNOHANG, c),
        libc::SYS_waitid => wanted(libc::WNOHANG, d),
        libc::SYS_futex => !futex::waits(b),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => {
            if d as i32 != 0 {
                // Something may be there already.
                let now = syscall(libc::SYS_epoll_pwait, &[a, b, c, 0, 0, 8], false);
                return (now != Ok(0)).then_some(now);
            }
            true
        }
        libc::SYS_ppoll => {
            let none = [0u64; 2];
            let now = syscall(call.number, &[a, b, none.as_ptr() as u64, 0, 8, 0], false);
            // SAFETY: the timeout of a prepared call is null or a buffer of the call's own.
            let waits = c == 0 || unsafe { *(c as *const [u64; 2]) } != none;
            return (now != Ok(0) || !waits).then_some(now);
        }
        libc::SYS_openat => wanted(libc::O_NONBLOCK, c) || !is_special(a, b, c),
        libc::SYS_ioctl => {
            let request = b as u32;
            const SOCKETS: core::ops::RangeInclusive<u32> = 0x8900..=0x89ff;
            QUICK_IOCTLS.contains(&u64::from(request)) || SOCKETS.contains(&request)
        }
        _ => false,
    };
    ready.then(|| call.perform(true))
}

/// A `readv` that does not wait; the buffers as (address, length) pairs.
fn read_now(call: &HostCall, buffers: &[u64], count: u64) -> Option<SysResult> {
    let args = [call.args[0], buffers.as_ptr() as u64, count, u64::MAX, 0, NOWAIT];
    unless_it_waits(call, args, libc::SYS_preadv2)
}

/// Makes a call that has been told not to wait. `None` if it would have, or if the descriptor knows
/// no such way: a companion of another thread, or another process, may take what is there between
/// a question and the call, so a question is not enough.
fn unless_it_waits(call: &HostCall, args: [u64; 6], number: i64) -> Option<SysResult> {
    match syscall(number, &args, false) {
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ESPIPE | Errno::ENOSYS) => {
            let fd = call.args[0];
            (is_file(fd) || is_nonblocking(fd)).then(|| call.perform(true))
        }
        done => Some(done),
    }
}

/// Whether the descriptor is ready, or reports at once that it is not.
fn is_ready(fd: u64, events: i16) -> bool {
    let mut poll = libc::pollfd { fd: fd as i32, events, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 || is_nonblocking(fd) }
}

fn is_nonblocking(fd: u64) -> bool {
    // SAFETY: only asks; an error is negative, and the call itself will report it at once.
    let flags = unsafe { libc::fcntl(fd as i32, libc::F_GETFL) };
    flags < 0 || flags & libc::O_NONBLOCK != 0
}

/// Whether the descriptor is a file on a disk or in memory.
fn is_file(fd: u64) -> bool {
    // SAFETY: the structure is plain data that the call fills.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        libc::fstat(fd as i32, &mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// Whether a path names a pipe or a device, which may wait to be opened.
fn is_special(dir: u64, path: u64, flags: u64) -> bool {
    let nofollow = if flags as i32 & libc::O_NOFOLLOW != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    // SAFETY: the structure is plain data that the call fills.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    let args = [dir, path, &raw mut stat as u64, nofollow as u64, 0, 0];
    syscall(libc::SYS_newfstatat, &args, false).is_ok()
        && matches!(stat.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFCHR)
}
