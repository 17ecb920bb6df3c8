//! What a system call returns.

use core::fmt;

/// The result of a system call: the value for the guest's result register, or an error number.
pub type SysResult = Result<u64, Errno>;

/// A Linux error number. Numbers of 512 and above never reach the guest: they tell the run loop
/// what to do, as in the kernel (include/linux/errno.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

#[allow(missing_docs, reason = "the names are those of errno.h")]
impl Errno {
    pub const EPERM: Errno = Errno(libc::EPERM);
    pub const ENOENT: Errno = Errno(libc::ENOENT);
    pub const ESRCH: Errno = Errno(libc::ESRCH);
    pub const EINTR: Errno = Errno(libc::EINTR);
    pub const EIO: Errno = Errno(libc::EIO);
    pub const E2BIG: Errno = Errno(libc::E2BIG);
    pub const ENOEXEC: Errno = Errno(libc::ENOEXEC);
    pub const EBADF: Errno = Errno(libc::EBADF);
    pub const ECHILD: Errno = Errno(libc::ECHILD);
    pub const EAGAIN: Errno = Errno(libc::EAGAIN);
    pub const ENOMEM: Errno = Errno(libc::ENOMEM);
    pub const EACCES: Errno = Errno(libc::EACCES);
    pub const EFAULT: Errno = Errno(libc::EFAULT);
    pub const EBUSY: Errno = Errno(libc::EBUSY);
    pub const EEXIST: Errno = Errno(libc::EEXIST);
    pub const ENODEV: Errno = Errno(libc::ENODEV);
    pub const ENOTDIR: Errno = Errno(libc::ENOTDIR);
    pub const EISDIR: Errno = Errno(libc::EISDIR);
    pub const EINVAL: Errno = Errno(libc::EINVAL);
    pub const EMFILE: Errno = Errno(libc::EMFILE);
    pub const ENOTTY: Errno = Errno(libc::ENOTTY);
    pub const EFBIG: Errno = Errno(libc::EFBIG);
    pub const ENOSPC: Errno = Errno(libc::ENOSPC);
    pub const ESPIPE: Errno = Errno(libc::ESPIPE);
    pub const EROFS: Errno = Errno(libc::EROFS);
    pub const EPIPE: Errno = Errno(libc::EPIPE);
    pub const ERANGE: Errno = Errno(libc::ERANGE);
    pub const ENAMETOOLONG: Errno = Errno(libc::ENAMETOOLONG);
    pub const ENOSYS: Errno = Errno(libc::ENOSYS);
    pub const ELOOP: Errno = Errno(libc::ELOOP);
    pub const EOVERFLOW: Errno = Errno(libc::EOVERFLOW);
    pub const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);
    pub const ETIMEDOUT: Errno = Errno(libc::ETIMEDOUT);
    pub const ELIBBAD: Errno = Errno(libc::ELIBBAD);
}

impl Errno {
    /// Interrupted; restart if the handler has SA_RESTART or no handler runs, else EINTR.
    pub const ERESTARTSYS: Errno = Errno(512);
    /// Interrupted; always restart.
    pub const ERESTARTNOINTR: Errno = Errno(513);
    /// Interrupted; restart if no handler runs, else EINTR.
    pub const ERESTARTNOHAND: Errno = Errno(514);
    /// Interrupted; EINTR if a handler runs, else continue through `restart_syscall`.
    pub const ERESTART_RESTARTBLOCK: Errno = Errno(516);
    /// Not an error: the call has set the guest's registers itself (sigreturn, execve).
    pub const REGISTERS_SET: Errno = Errno(1000);

    /// Not an error: the thread waits and its result comes later.
    pub const PARKED: Errno = Errno(1001);
    /// Not an error: the thread that made the call is gone.
    pub const THREAD_GONE: Errno = Errno(1002);

    /// Whether a signal decides what becomes of the call.
    pub fn restarts(self) -> bool {
        (512..=516).contains(&self.0)
    }

    /// The error of the last failed libc call.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// The error behind an [`std::io::Error`]; EIO where there is none.
    pub fn of(e: &std::io::Error) -> Errno {
        Errno(e.raw_os_error().unwrap_or(libc::EIO))
    }

    /// The value of the guest's result register (`-errno`).
    pub const fn value(self) -> i64 {
        -(self.0 as i64)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&std::io::Error::from_raw_os_error(self.0), f)
    }
}

impl std::error::Error for Errno {}

impl From<emu_mem::MemFault> for Errno {
    fn from(_: emu_mem::MemFault) -> Errno {
        Errno::EFAULT
    }
}

/// The result of a libc call: `-1` is [`Errno::last`].
pub fn check(r: i64) -> SysResult {
    if r == -1 { Err(Errno::last()) } else { Ok(r as u64) }
}
