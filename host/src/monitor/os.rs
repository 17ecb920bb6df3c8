//! Host calls of the monitor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Makes descriptors that become readable signal the calling thread ([`emu_linux::attention`]); reading them
/// does not wait.
pub fn signal_when_readable(fd: BorrowedFd<'_>) {
    // The kernel's `struct f_owner_ex`.
    #[repr(C)]
    struct Owner {
        kind: i32,
        id: i32,
    }
    const F_OWNER_TID: i32 = 0;
    const F_SETOWN_EX: i32 = 15;
    const F_SETSIG: i32 = 10;
    let fd = fd.as_raw_fd();
    // SAFETY: valid arguments; the signal has a handler on this thread.
    unsafe {
        let owner = Owner { kind: F_OWNER_TID, id: libc::gettid() };
        libc::fcntl(fd, F_SETOWN_EX, &owner);
        libc::fcntl(fd, F_SETSIG, emu_linux::attention::SIGNAL);
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK | libc::O_ASYNC);
    }
}

/// The calling process's copy in which to run something, or the id of that copy.
pub enum Forked {
    /// This is the copy.
    Child,
    /// This is the original.
    Parent(i32),
}

/// Forks. The process must have one thread only.
pub fn fork() -> std::io::Result<Forked> {
    // SAFETY: there are no other threads whose locks could be held.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Ends the process without running anything more of it.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// How a child ended, if it has; waits for its end if wanted.
pub fn wait(pid: i32, until_end: bool) -> Option<std::process::ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    let mut status = 0;
    let flags = if until_end { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: the status is written to a local.
        let r = unsafe { libc::waitpid(pid, &mut status, flags) };
        if r == pid {
            return Some(std::process::ExitStatus::from_raw(status));
        }
        let interrupted = std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        if r == 0 || !interrupted {
            return None;
        }
    }
}

/// Ends a child by force.
pub fn kill(pid: i32) {
    // SAFETY: signals a child of this process that was not waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Puts /dev/null in the place of descriptor 0.
pub fn no_stdin() {
    if let Ok(null) = std::fs::File::open("/dev/null") {
        // SAFETY: replaces a descriptor that the guest of this process alone uses.
        unsafe { libc::dup2(null.as_fd().as_raw_fd(), 0) };
    }
}

/// Lets the terminal's interruptions pass this process by, or no longer.
pub fn ignore_interruptions(ignore: bool) {
    let action = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: a valid disposition.
        unsafe { libc::signal(signal, action) };
    }
}

/// Makes this process's group the terminal's foreground again: a guest with job control may have given it to
/// another one.
pub fn take_terminal() {
    // SAFETY: plain calls; where stdin is no terminal nothing happens.
    unsafe {
        let old = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        libc::tcsetpgrp(0, libc::getpgrp());
        libc::signal(libc::SIGTTOU, old);
    }
}

/// Waits until one of the descriptors can be read or the time (milliseconds, -1: none) is over.
pub fn poll(fds: &[BorrowedFd<'_>], timeout: i32) -> Vec<bool> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|f| libc::pollfd { fd: f.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    // SAFETY: as many valid structures as said.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
    polled.iter().map(|p| p.revents != 0).collect()
}
