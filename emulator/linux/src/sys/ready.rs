//! Which calls that may wait will not: with several guest threads these are made at once, without
//! the way over a companion.

use crate::SysResult;
use crate::sys::futex;
use crate::sys::host_call::{HostCall, syscall};

/// A pipe that is ready for writing takes as much (POSIX, `PIPE_BUF`); a socket at least that.
const SMALL: u64 = 4096;

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
    let [a, b, c, d, ..] = call.args;
    let wanted = |flag: i32, arg: u64| arg as i32 & flag != 0;
    let ready = match call.number {
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_pread64
        | libc::SYS_preadv
        | libc::SYS_preadv2
        | libc::SYS_accept
        | libc::SYS_accept4 => is_ready(a, libc::POLLIN),
        libc::SYS_recvfrom => wanted(libc::MSG_DONTWAIT, d) || is_ready_to_receive(a, d),
        libc::SYS_recvmsg => wanted(libc::MSG_DONTWAIT, c) || is_ready_to_receive(a, c),
        libc::SYS_sendmsg => wanted(libc::MSG_DONTWAIT, c) || is_nonblocking(a),
        libc::SYS_sendto if c > SMALL => wanted(libc::MSG_DONTWAIT, d) || is_nonblocking(a),
        libc::SYS_sendto => wanted(libc::MSG_DONTWAIT, d) || is_ready(a, libc::POLLOUT),
        libc::SYS_write | libc::SYS_pwrite64 if c <= SMALL => is_ready(a, libc::POLLOUT),
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
                let now = syscall(libc::SYS_epoll_pwait, [a, b, c, 0, 0, 8], false);
                return (now != Ok(0)).then_some(now);
            }
            true
        }
        libc::SYS_ppoll => {
            let none = [0u64; 2];
            let now = syscall(call.number, [a, b, none.as_ptr() as u64, 0, 8, 0], false);
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

fn is_ready_to_receive(fd: u64, flags: u64) -> bool {
    // All of it may take longer than the first byte.
    flags as i32 & libc::MSG_WAITALL == 0 && is_ready(fd, libc::POLLIN)
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
    syscall(libc::SYS_newfstatat, args, false).is_ok()
        && matches!(stat.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFCHR)
}
