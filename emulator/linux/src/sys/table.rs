//! The table of system calls: every call of Linux 6.1 for x86-64 and i386, and the later ones that
//! have numbers by now.

use libc as l;

use crate::abi::structs::*;
use crate::sys::args::Arg::{self, *};
use crate::sys::host_call::HostCall;
use crate::sys::{
    SyscallContext, aio, dir, exec, fd, file, fork, futex, futex_host, id, ioctl, ipc, mem, poll,
    process, seccomp, signal, socket, system, thread, time, timer, vec,
};
use crate::{Abi, Errno, SysResult};

/// What happens when a signal interrupts a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// The call does not block.
    Never,
    /// It blocks, and fails with EINTR whatever the handler's flags.
    Eintr,
    /// It starts again unless a handler without `SA_RESTART` ran (ERESTARTSYS).
    Sys,
    /// It starts again unless a handler ran (ERESTARTNOHAND).
    NoHandler,
    /// It continues with the time that is left unless a handler ran (ERESTART_RESTARTBLOCK).
    Block,
}

/// What runs a call.
#[derive(Clone, Copy)]
pub enum Run {
    /// The host's call of this number, after checks and conversions by argument kind.
    Pass(i64),
    /// A function that does all of it, without waiting for anything.
    Call(fn(&mut SyscallContext<'_>) -> SysResult),
    /// A function that prepares a host call, which may block.
    Host(fn(&mut SyscallContext<'_>) -> Result<HostCall, Errno>),
    /// The call fails with this error, as in a kernel built or booted without the feature, for this
    /// reason.
    Refuse(Errno, &'static str),
}

/// A system call.
#[derive(Clone, Copy)]
pub struct Row {
    /// Name.
    pub name: &'static str,
    /// Number in the x86-64 ABI.
    pub x86_64: Option<u16>,
    /// Number in the i386 ABI.
    pub i386: Option<u16>,
    /// Arguments.
    pub args: &'static [Arg],
    /// Whether it may block, and what a signal does then.
    pub restart: Restart,
    /// What runs it.
    pub run: Run,
}

impl Row {
    /// Whether the call may wait for something that other guest threads or processes do.
    pub const fn may_block(&self) -> bool {
        !matches!(self.restart, Restart::Never)
    }

    /// Whether the call takes a socket.
    pub fn socket(&self) -> bool {
        const CALLS: [&str; 15] = [
            "accept",
            "accept4",
            "bind",
            "connect",
            "getpeername",
            "getsockname",
            "getsockopt",
            "recvfrom",
            "recvmmsg",
            "recvmmsg_time64",
            "recvmsg",
            "sendmmsg",
            "sendmsg",
            "sendto",
            "setsockopt",
        ];
        CALLS.contains(&self.name)
    }

    const fn waits(self, restart: Restart) -> Row {
        Row { restart, ..self }
    }
}

/// No number in that ABI.
const N: i16 = -1;

const fn number(n: i16) -> Option<u16> {
    if n < 0 { None } else { Some(n as u16) }
}

/// A row with its function.
const fn row(name: &'static str, x86_64: i16, i386: i16, args: &'static [Arg], run: Run) -> Row {
    Row { name, x86_64: number(x86_64), i386: number(i386), args, restart: Restart::Never, run }
}

/// A row of a call that is passed to the host's of the same number.
const fn pass(name: &'static str, x86_64: i16, i386: i16, args: &'static [Arg]) -> Row {
    row(name, x86_64, i386, args, Run::Pass(x86_64 as i64))
}

/// A row of an i386 call that is passed to another host call.
const fn to(name: &'static str, i386: i16, args: &'static [Arg], host: i64) -> Row {
    row(name, N, i386, args, Run::Pass(host))
}

/// A row of a call that is refused.
const fn no(
    name: &'static str,
    x86_64: i16,
    i386: i16,
    args: &'static [Arg],
    e: Errno,
    why: &'static str,
) -> Row {
    row(name, x86_64, i386, args, Run::Refuse(e, why))
}

/// Why calls are refused.
mod why {
    pub const REMOVED: &str = "never in Linux, or removed before 6.1";
    pub const OLD_STAT: &str = "superseded in Linux 2.0";
    pub const VM86: &str = "not in 64-bit kernels";
    pub const MACHINE: &str = "the machine's, which a guest has no privilege for";
    pub const NUMA: &str = "as without CONFIG_NUMA";
    pub const QUOTA: &str = "as without CONFIG_QUOTA";
    pub const KEYS: &str = "as without CONFIG_KEYS";
    pub const INSIDES: &str = "the insides of a guest process are the host's";
    pub const CONFINES: &str = "would confine the host, not the guest";
    pub const PROTECTION_KEYS: &str = "as on a processor without them";
    pub const FAULTS: &str = "the host itself reads the memory it would change";
    pub const URING: &str = "the kernel would use memory and descriptors that nobody has checked";
    pub const RSEQ: &str =
        "a critical section would restart on the host's preemption, not the guest's";
    pub const PROBES: &str = "only for code the kernel has placed";
    pub const NEWER: &str = "newer than Linux 6.1";
}

/// The row of call `number`.
pub const fn lookup(abi: Abi, number: u64) -> Option<&'static Row> {
    let index = match abi {
        Abi::X86_64 => &BY_X86_64,
        Abi::I386 => &BY_I386,
    };
    let number = number as u32 as usize;
    if number >= index.len() || index[number] == NO_ROW {
        return None;
    }
    Some(&ROWS[index[number] as usize])
}

const NO_ROW: u16 = u16::MAX;

const fn index(abi: Abi) -> [u16; 512] {
    let mut out = [NO_ROW; 512];
    let mut i = 0;
    while i < ROWS.len() {
        let n = match abi {
            Abi::X86_64 => ROWS[i].x86_64,
            Abi::I386 => ROWS[i].i386,
        };
        if let Some(n) = n {
            assert!(out[n as usize] == NO_ROW, "two rows have the same number");
            out[n as usize] = i as u16;
        }
        i += 1;
    }
    out
}

static BY_X86_64: [u16; 512] = index(Abi::X86_64);
static BY_I386: [u16; 512] = index(Abi::I386);

use Restart::{Block, Eintr, NoHandler, Sys};
use Run::{Call, Host};

/// All rows, in the order of the x86-64 numbers, then those only i386 has.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    pass("read", 0, 3, &[Fd, BufOut(2), ULong]).waits(Sys),
    pass("write", 1, 4, &[Fd, BufIn(2), ULong]).waits(Sys),
    row("open", 2, 5, &[Path, UInt, Mode], Host(file::open)).waits(Sys),
    row("close", 3, 6, &[Fd], Call(fd::close)),
    row("stat", 4, 106, &[Path, Out(&STAT)], Call(file::stat)),
    pass("fstat", 5, 108, &[Fd, Out(&STAT)]),
    row("lstat", 6, 107, &[Path, Out(&STAT)], Call(file::lstat)),
    row("poll", 7, 168, &[InOutArray(&POLLFD, 1), UInt, Int], Host(poll::poll)).waits(Block),
    row("lseek", 8, 19, &[Fd, Long, UInt], Call(dir::lseek)),
    row("mmap", 9, 90, &[Addr, ULong, Int, Int, Fd, ULong], Call(mem::mmap)),
    row("mprotect", 10, 125, &[Addr, ULong, Int], Call(mem::mprotect)),
    row("munmap", 11, 91, &[Addr, ULong], Call(mem::munmap)),
    row("brk", 12, 45, &[Addr], Call(mem::brk)),
    row("rt_sigaction", 13, 174, &[Signal, Addr, Addr, ULong], Call(signal::rt_sigaction)),
    row("rt_sigprocmask", 14, 175, &[Int, Addr, Addr, ULong], Call(signal::rt_sigprocmask)),
    row("rt_sigreturn", 15, 173, &[], Call(signal::rt_sigreturn)),
    row("ioctl", 16, 54, &[Fd, UInt, Addr], Host(ioctl::ioctl)).waits(Sys),
    pass("pread64", 17, 180, &[Fd, BufOut(2), ULong, Wide]).waits(Sys),
    pass("pwrite64", 18, 181, &[Fd, BufIn(2), ULong, Wide]).waits(Sys),
    row("readv", 19, 145, &[Fd, Addr, ULong], Host(vec::readv)).waits(Sys),
    row("writev", 20, 146, &[Fd, Addr, ULong], Host(vec::writev)).waits(Sys),
    row("access", 21, 33, &[Path, Int], Call(file::access)),
    pass("pipe", 22, 42, &[Out(&INT2)]),
    row("select", 23, 82, &[Int, Addr, Addr, Addr, Addr], Host(poll::select)).waits(NoHandler),
    row("sched_yield", 24, 158, &[], Call(thread::sched_yield)),
    row("mremap", 25, 163, &[Addr, ULong, ULong, UInt, Addr], Call(mem::mremap)),
    row("msync", 26, 144, &[Addr, ULong, Int], Call(mem::msync)),
    row("mincore", 27, 218, &[Addr, ULong, Addr], Call(mem::mincore)),
    row("madvise", 28, 219, &[Addr, ULong, Int], Call(mem::madvise)),
    pass("shmget", 29, 395, &[Int, ULong, Int]),
    row("shmat", 30, 397, &[Int, Addr, Int], Call(mem::shmat)),
    row("shmctl", 31, 396, &[Int, Int, Addr], Call(ipc::shmctl)),
    row("dup", 32, 41, &[Fd], Call(fd::dup)),
    row("dup2", 33, 63, &[Fd, Int], Call(fd::dup2)),
    pass("pause", 34, 29, &[]).waits(NoHandler),
    row("nanosleep", 35, 162, &[In(&TIMESPEC), Left(&TIMESPEC)], Host(time::nanosleep)).waits(Block),
    pass("getitimer", 36, 105, &[Int, Out(&ITIMERVAL)]),
    pass("alarm", 37, 27, &[UInt]),
    pass("setitimer", 38, 104, &[Int, In(&ITIMERVAL), Out(&ITIMERVAL)]),
    pass("getpid", 39, 20, &[]),
    pass("sendfile", 40, 187, &[Fd, Fd, InOut(&LONG), ULong]).waits(Sys),
    pass("socket", 41, 359, &[Int, Int, Int]),
    pass("connect", 42, 362, &[Fd, BufIn(2), UInt]).waits(Sys),
    row("accept", 43, N, &[Fd, Addr, Addr], Host(socket::accept)).waits(Sys),
    pass("sendto", 44, 369, &[Fd, BufIn(2), ULong, UInt, BufIn(5), UInt]).waits(Sys),
    row("recvfrom", 45, 371, &[Fd, BufOut(2), ULong, UInt, Addr, Addr], Host(socket::recvfrom)).waits(Sys),
    row("sendmsg", 46, 370, &[Fd, Addr, UInt], Host(socket::sendmsg)).waits(Sys),
    row("recvmsg", 47, 372, &[Fd, Addr, UInt], Host(socket::recvmsg)).waits(Sys),
    pass("shutdown", 48, 373, &[Fd, Int]),
    pass("bind", 49, 361, &[Fd, BufIn(2), UInt]),
    pass("listen", 50, 363, &[Fd, Int]),
    row("getsockname", 51, 367, &[Fd, Addr, Addr], Host(socket::getsockname)),
    row("getpeername", 52, 368, &[Fd, Addr, Addr], Host(socket::getpeername)),
    pass("socketpair", 53, 360, &[Int, Int, Int, Out(&INT2)]),
    row("setsockopt", 54, 366, &[Fd, Int, Int, Addr, UInt], Host(socket::setsockopt)),
    row("getsockopt", 55, 365, &[Fd, Int, Int, Addr, Addr], Host(socket::getsockopt)),
    row("clone", 56, 120, &[ULong, Addr, Addr, Addr, Addr], Call(fork::clone)),
    row("fork", 57, 2, &[], Call(fork::fork)),
    row("vfork", 58, 190, &[], Call(fork::vfork)),
    row("execve", 59, 11, &[Path, Addr, Addr], Call(exec::execve)),
    row("exit", 60, 1, &[Int], Call(process::exit)),
    row("wait4", 61, 114, &[Pid, Out(&INT), Int, Out(&RUSAGE)], Host(process::wait4)).waits(Sys),
    row("kill", 62, 37, &[Pid, Signal], Call(process::kill)),
    pass("uname", 63, 122, &[Out(&UTSNAME)]),
    pass("semget", 64, 393, &[Int, Int, Int]),
    pass("semop", 65, N, &[Int, InArray(&SEMBUF, 2), UInt]).waits(Eintr),
    row("semctl", 66, 394, &[Int, Int, Int, ULong], Call(ipc::semctl)),
    row("shmdt", 67, 398, &[Addr], Call(mem::shmdt)),
    pass("msgget", 68, 399, &[Int, Int]),
    row("msgsnd", 69, 400, &[Int, Addr, ULong, Int], Host(ipc::msgsnd)).waits(NoHandler),
    row("msgrcv", 70, 401, &[Int, Addr, ULong, Long, Int], Host(ipc::msgrcv)).waits(NoHandler),
    row("msgctl", 71, 402, &[Int, Int, Addr], Call(ipc::msgctl)),
    row("fcntl", 72, 55, &[Fd, UInt, ULong], Host(fd::fcntl)).waits(Sys),
    pass("flock", 73, 143, &[Fd, UInt]).waits(Sys),
    pass("fsync", 74, 118, &[Fd]),
    pass("fdatasync", 75, 148, &[Fd]),
    row("truncate", 76, 92, &[Path, Long], Call(file::follow)),
    pass("ftruncate", 77, 93, &[Fd, Long]),
    row("getdents", 78, 141, &[Fd, BufOut(2), UInt], Call(dir::getdents)),
    pass("getcwd", 79, 183, &[BufOut(1), ULong]),
    pass("chdir", 80, 12, &[Path]),
    pass("fchdir", 81, 133, &[Fd]),
    pass("rename", 82, 38, &[Path, Path]),
    pass("mkdir", 83, 39, &[Path, Mode]),
    pass("rmdir", 84, 40, &[Path]),
    row("creat", 85, 8, &[Path, Mode], Host(file::creat)).waits(Sys),
    pass("link", 86, 9, &[Path, Path]),
    pass("unlink", 87, 10, &[Path]),
    pass("symlink", 88, 83, &[Path, Path]),
    row("readlink", 89, 85, &[Path, BufOut(2), Int], Call(file::readlink)),
    row("chmod", 90, 15, &[Path, Mode], Call(file::follow)),
    pass("fchmod", 91, 94, &[Fd, Mode]),
    row("chown", 92, 182, &[Path, OldId, OldId], Call(file::follow)),
    pass("fchown", 93, 95, &[Fd, OldId, OldId]),
    pass("lchown", 94, 16, &[Path, OldId, OldId]),
    pass("umask", 95, 60, &[Mode]),
    pass("gettimeofday", 96, 78, &[Out(&TIMEVAL), Out(&TIMEZONE)]),
    row("getrlimit", 97, 76, &[UInt, Out(&RLIMIT)], Call(process::getrlimit)),
    row("getrusage", 98, 77, &[Int, Out(&RUSAGE)], Call(time::getrusage)),
    row("sysinfo", 99, 116, &[Out(&SYSINFO)], Call(system::sysinfo)),
    pass("times", 100, 43, &[Out(&TMS)]),
    row("ptrace", 101, 26, &[Long, Long, Addr, ULong], Call(process::ptrace)),
    row("getuid", 102, 24, &[], Call(id::getuid)),
    pass("syslog", 103, 103, &[Int, BufOut(2), Int]),
    row("getgid", 104, 47, &[], Call(id::getgid)),
    pass("setuid", 105, 23, &[OldId]),
    pass("setgid", 106, 46, &[OldId]),
    row("geteuid", 107, 49, &[], Call(id::geteuid)),
    row("getegid", 108, 50, &[], Call(id::getegid)),
    pass("setpgid", 109, 57, &[Pid, Pid]),
    pass("getppid", 110, 64, &[]),
    pass("getpgrp", 111, 65, &[]),
    pass("setsid", 112, 66, &[]),
    pass("setreuid", 113, 70, &[OldId, OldId]),
    pass("setregid", 114, 71, &[OldId, OldId]),
    pass("getgroups", 115, 80, &[Int, OutArray(&OLD_ID, 0)]),
    pass("setgroups", 116, 81, &[Int, InArray(&OLD_ID, 0)]),
    pass("setresuid", 117, 164, &[OldId, OldId, OldId]),
    pass("getresuid", 118, 165, &[Out(&OLD_ID), Out(&OLD_ID), Out(&OLD_ID)]),
    pass("setresgid", 119, 170, &[OldId, OldId, OldId]),
    pass("getresgid", 120, 171, &[Out(&OLD_ID), Out(&OLD_ID), Out(&OLD_ID)]),
    pass("getpgid", 121, 132, &[Pid]),
    pass("setfsuid", 122, 138, &[OldId]),
    pass("setfsgid", 123, 139, &[OldId]),
    pass("getsid", 124, 147, &[Pid]),
    pass("capget", 125, 184, &[InOut(&CAP_HEADER), Out(&CAP_DATA)]),
    pass("capset", 126, 185, &[InOut(&CAP_HEADER), In(&CAP_DATA)]),
    row("rt_sigpending", 127, 176, &[Addr, ULong], Call(signal::rt_sigpending)),
    row("rt_sigtimedwait", 128, 177, &[Addr, Addr, Addr, ULong], Host(signal::rt_sigtimedwait)).waits(Eintr),
    row("rt_sigqueueinfo", 129, 178, &[Pid, Signal, Addr], Call(signal::rt_sigqueueinfo)),
    row("rt_sigsuspend", 130, 179, &[Addr, ULong], Call(signal::rt_sigsuspend)).waits(NoHandler),
    row("sigaltstack", 131, 186, &[Addr, Addr], Call(signal::sigaltstack)),
    row("utime", 132, 30, &[Path, In(&UTIMBUF)], Call(file::follow)),
    pass("mknod", 133, 14, &[Path, Mode, UInt]),
    no("uselib", 134, 86, &[Path], Errno::ENOSYS, why::REMOVED),
    row("personality", 135, 136, &[UInt], Call(process::personality)),
    pass("ustat", 136, 62, &[UInt, Out(&USTAT)]),
    row("statfs", 137, 99, &[Path, Out(&STATFS)], Call(file::statfs)),
    pass("fstatfs", 138, 100, &[Fd, Out(&STATFS)]),
    row("sysfs", 139, 135, &[Int, ULong, ULong], Call(system::sysfs)),
    pass("getpriority", 140, 96, &[Int, Id]),
    pass("setpriority", 141, 97, &[Int, Id, Int]),
    row("sched_setparam", 142, 154, &[Tid, In(&SCHED_PARAM)], Call(thread::sched_setparam)),
    pass("sched_getparam", 143, 155, &[Tid, Out(&SCHED_PARAM)]),
    row("sched_setscheduler", 144, 156, &[Tid, Int, In(&SCHED_PARAM)], Call(thread::sched_setscheduler)),
    pass("sched_getscheduler", 145, 157, &[Tid]),
    pass("sched_get_priority_max", 146, 159, &[Int]),
    pass("sched_get_priority_min", 147, 160, &[Int]),
    pass("sched_rr_get_interval", 148, 161, &[Tid, Out(&TIMESPEC)]),
    pass("mlock", 149, 150, &[Addr, ULong]),
    pass("munlock", 150, 151, &[Addr, ULong]),
    row("mlockall", 151, 152, &[Int], Call(mem::mlockall)),
    row("munlockall", 152, 153, &[], Call(mem::munlockall)),
    pass("vhangup", 153, 111, &[]),
    row("modify_ldt", 154, 123, &[Int, Addr, ULong], Call(thread::modify_ldt)),
    pass("pivot_root", 155, 217, &[Path, Path]),
    no("_sysctl", 156, 149, &[Addr], Errno::ENOSYS, why::REMOVED),
    row("prctl", 157, 172, &[Int, ULong, ULong, ULong, ULong], Call(process::prctl)),
    row("arch_prctl", 158, 384, &[Int, Addr], Call(thread::arch_prctl)),
    pass("adjtimex", 159, 124, &[InOut(&TIMEX)]),
    row("setrlimit", 160, 75, &[UInt, In(&RLIMIT)], Call(process::setrlimit)),
    pass("chroot", 161, 61, &[Path]),
    pass("sync", 162, 36, &[]),
    pass("acct", 163, 51, &[Path]),
    pass("settimeofday", 164, 79, &[In(&TIMEVAL), In(&TIMEZONE)]),
    row("mount", 165, 21, &[Path, Path, Str, ULong, Addr], Call(file::follow)),
    pass("umount2", 166, 52, &[Path, Int]),
    pass("swapon", 167, 87, &[Path, Int]),
    pass("swapoff", 168, 115, &[Path]),
    pass("reboot", 169, 88, &[Int, Int, UInt, Str]),
    pass("sethostname", 170, 74, &[BufIn(1), Int]),
    pass("setdomainname", 171, 121, &[BufIn(1), Int]),
    no("iopl", 172, 110, &[UInt], Errno::EPERM, why::MACHINE),
    no("ioperm", 173, 101, &[ULong, ULong, Int], Errno::EPERM, why::MACHINE),
    no("create_module", 174, 127, &[], Errno::ENOSYS, why::REMOVED),
    no("init_module", 175, 128, &[Addr, ULong, Str], Errno::EPERM, why::MACHINE),
    no("delete_module", 176, 129, &[Str, UInt], Errno::EPERM, why::MACHINE),
    no("get_kernel_syms", 177, 130, &[], Errno::ENOSYS, why::REMOVED),
    no("query_module", 178, 167, &[], Errno::ENOSYS, why::REMOVED),
    no("quotactl", 179, 131, &[UInt, Path, Id, Addr], Errno::ENOSYS, why::QUOTA),
    no("nfsservctl", 180, 169, &[], Errno::ENOSYS, why::REMOVED),
    no("getpmsg", 181, 188, &[], Errno::ENOSYS, why::REMOVED),
    no("putpmsg", 182, 189, &[], Errno::ENOSYS, why::REMOVED),
    no("afs_syscall", 183, 137, &[], Errno::ENOSYS, why::REMOVED),
    no("tuxcall", 184, N, &[], Errno::ENOSYS, why::REMOVED),
    no("security", 185, N, &[], Errno::ENOSYS, why::REMOVED),
    row("gettid", 186, 224, &[], Call(thread::gettid)),
    pass("readahead", 187, 225, &[Fd, Wide, ULong]),
    row("setxattr", 188, 226, &[Path, Str, BufIn(3), ULong, Int], Call(file::follow)),
    pass("lsetxattr", 189, 227, &[Path, Str, BufIn(3), ULong, Int]),
    pass("fsetxattr", 190, 228, &[Fd, Str, BufIn(3), ULong, Int]),
    row("getxattr", 191, 229, &[Path, Str, BufOut(3), ULong], Call(file::follow)),
    pass("lgetxattr", 192, 230, &[Path, Str, BufOut(3), ULong]),
    pass("fgetxattr", 193, 231, &[Fd, Str, BufOut(3), ULong]),
    row("listxattr", 194, 232, &[Path, BufOut(2), ULong], Call(file::follow)),
    pass("llistxattr", 195, 233, &[Path, BufOut(2), ULong]),
    pass("flistxattr", 196, 234, &[Fd, BufOut(2), ULong]),
    row("removexattr", 197, 235, &[Path, Str], Call(file::follow)),
    pass("lremovexattr", 198, 236, &[Path, Str]),
    pass("fremovexattr", 199, 237, &[Fd, Str]),
    row("tkill", 200, 238, &[Pid, Signal], Call(process::tkill)),
    pass("time", 201, 13, &[Out(&LONG)]),
    row("futex", 202, 240, &[Addr, Int, UInt, Addr, Addr, UInt], Host(futex::futex)).waits(Sys),
    pass("sched_setaffinity", 203, 241, &[Tid, UInt, BufIn(1)]),
    row("sched_getaffinity", 204, 242, &[Tid, UInt, BufOut(1)], Host(thread::sched_getaffinity)),
    row("set_thread_area", 205, 243, &[Addr], Call(thread::set_thread_area)),
    row("io_setup", 206, 245, &[UInt, Addr], Call(aio::io_setup)),
    row("io_destroy", 207, 246, &[ULong], Call(aio::io_destroy)),
    row("io_getevents", 208, 247, &[ULong, Long, Long, Addr, Addr], Host(aio::io_getevents)).waits(Eintr),
    row("io_submit", 209, 248, &[ULong, Long, Addr], Host(aio::io_submit)).waits(Eintr),
    row("io_cancel", 210, 249, &[ULong, Addr, Addr], Call(aio::io_cancel)),
    row("get_thread_area", 211, 244, &[Addr], Call(thread::get_thread_area)),
    no("lookup_dcookie", 212, 253, &[Wide, BufOut(2), ULong], Errno::ENOSYS, why::REMOVED),
    pass("epoll_create", 213, 254, &[Int]),
    no("epoll_ctl_old", 214, N, &[], Errno::ENOSYS, why::REMOVED),
    no("epoll_wait_old", 215, N, &[], Errno::ENOSYS, why::REMOVED),
    row("remap_file_pages", 216, 257, &[Addr, ULong, ULong, ULong, ULong], Call(mem::remap_file_pages)),
    row("getdents64", 217, 220, &[Fd, BufOut(2), UInt], Call(dir::getdents64)),
    row("set_tid_address", 218, 258, &[Addr], Call(thread::set_tid_address)),
    row("restart_syscall", 219, 0, &[], Host(time::restart_syscall)).waits(Block),
    pass("semtimedop", 220, N, &[Int, InArray(&SEMBUF, 2), UInt, In(&TIMESPEC)]).waits(Eintr),
    pass("fadvise64", 221, N, &[Fd, Long, ULong, Int]),
    row("timer_create", 222, 259, &[Int, In(&SIGEVENT), Out(&INT)], Call(timer::timer_create)),
    row("timer_settime", 223, 260, &[Timer, Int, In(&ITIMERSPEC), Out(&ITIMERSPEC)], Call(timer::timer_settime)),
    row("timer_gettime", 224, 261, &[Timer, Out(&ITIMERSPEC)], Call(timer::timer_gettime)),
    pass("timer_getoverrun", 225, 262, &[Timer]),
    row("timer_delete", 226, 263, &[Int], Call(timer::timer_delete)),
    pass("clock_settime", 227, 264, &[Int, In(&TIMESPEC)]),
    row("clock_gettime", 228, 265, &[Int, Out(&TIMESPEC)], Call(time::clock_gettime)),
    pass("clock_getres", 229, 266, &[Int, Out(&TIMESPEC)]),
    row("clock_nanosleep", 230, 267, &[Int, Int, In(&TIMESPEC), Left(&TIMESPEC)], Host(time::clock_nanosleep)).waits(Block),
    row("exit_group", 231, 252, &[Int], Call(process::exit_group)),
    pass("epoll_wait", 232, 256, &[Fd, OutArray(&EPOLL_EVENT, 2), Int, Int]).waits(Eintr),
    pass("epoll_ctl", 233, 255, &[Fd, Int, Fd, In(&EPOLL_EVENT)]),
    row("tgkill", 234, 270, &[Pid, Pid, Signal], Call(process::tgkill)),
    row("utimes", 235, 271, &[Path, In(&TIMEVAL2)], Call(file::follow)),
    no("vserver", 236, 273, &[], Errno::ENOSYS, why::REMOVED),
    no("mbind", 237, 274, &[Addr, ULong, ULong, Addr, ULong, UInt], Errno::ENOSYS, why::NUMA),
    no("set_mempolicy", 238, 276, &[Int, Addr, ULong], Errno::ENOSYS, why::NUMA),
    no("get_mempolicy", 239, 275, &[Addr, Addr, ULong, Addr, ULong], Errno::ENOSYS, why::NUMA),
    pass("mq_open", 240, 277, &[Str, Int, Mode, In(&MQ_ATTR)]),
    pass("mq_unlink", 241, 278, &[Str]),
    pass("mq_timedsend", 242, 279, &[Fd, BufIn(2), ULong, UInt, In(&TIMESPEC)]).waits(Sys),
    pass("mq_timedreceive", 243, 280, &[Fd, BufOut(2), ULong, Out(&INT), In(&TIMESPEC)]).waits(Sys),
    row("mq_notify", 244, 281, &[Fd, Addr], Call(ipc::mq_notify)),
    pass("mq_getsetattr", 245, 282, &[Fd, In(&MQ_ATTR), Out(&MQ_ATTR)]),
    no("kexec_load", 246, 283, &[ULong, ULong, Addr, ULong], Errno::EPERM, why::MACHINE),
    row("waitid", 247, 284, &[Int, Pid, Addr, Int, Out(&RUSAGE)], Host(process::waitid)).waits(Sys),
    no("add_key", 248, 286, &[Str, Str, BufIn(3), ULong, Int], Errno::ENOSYS, why::KEYS),
    no("request_key", 249, 287, &[Str, Str, Str, Int], Errno::ENOSYS, why::KEYS),
    no("keyctl", 250, 288, &[Int, ULong, ULong, ULong, ULong], Errno::ENOSYS, why::KEYS),
    pass("ioprio_set", 251, 289, &[Int, Int, Int]),
    pass("ioprio_get", 252, 290, &[Int, Int]),
    pass("inotify_init", 253, 291, &[]),
    row("inotify_add_watch", 254, 292, &[Fd, Path, UInt], Call(file::follow)),
    pass("inotify_rm_watch", 255, 293, &[Fd, Int]),
    no("migrate_pages", 256, 294, &[Pid, ULong, Addr, Addr], Errno::ENOSYS, why::NUMA),
    row("openat", 257, 295, &[DirFd, Path, UInt, Mode], Host(file::openat)).waits(Sys),
    pass("mkdirat", 258, 296, &[DirFd, Path, Mode]),
    pass("mknodat", 259, 297, &[DirFd, Path, Mode, UInt]),
    row("fchownat", 260, 298, &[DirFd, Path, Id, Id, Int], Call(file::fchownat)),
    row("futimesat", 261, 299, &[DirFd, Path, In(&TIMEVAL2)], Call(file::follow)),
    row("newfstatat", 262, N, &[DirFd, Path, Out(&STAT), Int], Call(file::fstatat)),
    pass("unlinkat", 263, 301, &[DirFd, Path, Int]),
    pass("renameat", 264, 302, &[DirFd, Path, DirFd, Path]),
    row("linkat", 265, 303, &[DirFd, Path, DirFd, Path, Int], Call(file::linkat)),
    pass("symlinkat", 266, 304, &[Path, DirFd, Path]),
    row("readlinkat", 267, 305, &[DirFd, Path, BufOut(3), Int], Call(file::readlinkat)),
    row("fchmodat", 268, 306, &[DirFd, Path, Mode], Call(file::follow)),
    row("faccessat", 269, 307, &[DirFd, Path, Int], Call(file::faccessat)),
    row("pselect6", 270, 308, &[Int, Addr, Addr, Addr, Addr, Addr], Host(poll::pselect6)).waits(NoHandler),
    row("ppoll", 271, 309, &[Addr, UInt, Addr, Addr, ULong], Host(poll::ppoll)).waits(NoHandler),
    pass("unshare", 272, 310, &[ULong]),
    row("set_robust_list", 273, 311, &[Addr, ULong], Call(thread::set_robust_list)),
    row("get_robust_list", 274, 312, &[Pid, Addr, Addr], Call(thread::get_robust_list)),
    pass("splice", 275, 313, &[Fd, InOut(&I64), Fd, InOut(&I64), ULong, UInt]).waits(Sys),
    pass("tee", 276, 315, &[Fd, Fd, ULong, UInt]).waits(Sys),
    pass("sync_file_range", 277, 314, &[Fd, Wide, Wide, UInt]),
    row("vmsplice", 278, 316, &[Fd, Addr, ULong, UInt], Host(vec::vmsplice)).waits(Sys),
    no("move_pages", 279, 317, &[Pid, ULong, Addr, Addr, Addr, Int], Errno::ENOSYS, why::NUMA),
    row("utimensat", 280, 320, &[DirFd, Path, In(&TIMESPEC2), Int], Call(file::utimensat)),
    row("epoll_pwait", 281, 319, &[Fd, OutArray(&EPOLL_EVENT, 2), Int, Int, Addr, ULong], Host(poll::epoll_pwait)).waits(Eintr),
    row("signalfd", 282, 321, &[Int, Addr, ULong], Call(poll::signalfd)),
    pass("timerfd_create", 283, 322, &[Int, Int]),
    pass("eventfd", 284, 323, &[UInt]),
    pass("fallocate", 285, 324, &[Fd, Int, Wide, Wide]),
    pass("timerfd_settime", 286, 325, &[Fd, Int, In(&ITIMERSPEC), Out(&ITIMERSPEC)]),
    pass("timerfd_gettime", 287, 326, &[Fd, Out(&ITIMERSPEC)]),
    row("accept4", 288, 364, &[Fd, Addr, Addr, UInt], Host(socket::accept4)).waits(Sys),
    row("signalfd4", 289, 327, &[Int, Addr, ULong, Int], Call(poll::signalfd4)),
    pass("eventfd2", 290, 328, &[UInt, Int]),
    pass("epoll_create1", 291, 329, &[Int]),
    row("dup3", 292, 330, &[Fd, Int, Int], Call(fd::dup3)),
    pass("pipe2", 293, 331, &[Out(&INT2), Int]),
    pass("inotify_init1", 294, 332, &[Int]),
    row("preadv", 295, 333, &[Fd, Addr, ULong, Pos], Host(vec::preadv)).waits(Sys),
    row("pwritev", 296, 334, &[Fd, Addr, ULong, Pos], Host(vec::pwritev)).waits(Sys),
    row("rt_tgsigqueueinfo", 297, 335, &[Pid, Pid, Signal, Addr], Call(signal::rt_tgsigqueueinfo)),
    no("perf_event_open", 298, 336, &[Addr, Pid, Int, Fd, ULong], Errno::EACCES, why::MACHINE),
    row("recvmmsg", 299, 337, &[Fd, Addr, UInt, UInt, Addr], Host(socket::recvmmsg)).waits(Sys),
    pass("fanotify_init", 300, 338, &[UInt, UInt]),
    pass("fanotify_mark", 301, 339, &[Fd, UInt, Wide, DirFd, Path]),
    row("prlimit64", 302, 340, &[Pid, UInt, In(&RLIMIT64), Out(&RLIMIT64)], Call(process::prlimit64)),
    row("name_to_handle_at", 303, 341, &[DirFd, Path, Addr, Out(&INT), Int], Call(file::name_to_handle_at)),
    row("open_by_handle_at", 304, 342, &[DirFd, Addr, Int], Call(file::open_by_handle_at)),
    pass("clock_adjtime", 305, 343, &[Int, InOut(&TIMEX)]),
    pass("syncfs", 306, 344, &[Fd]),
    row("sendmmsg", 307, 345, &[Fd, Addr, UInt, UInt], Host(socket::sendmmsg)).waits(Sys),
    pass("setns", 308, 346, &[Fd, Int]),
    pass("getcpu", 309, 318, &[Out(&INT), Out(&INT), Addr]),
    no("process_vm_readv", 310, 347, &[Pid, Addr, ULong, Addr, ULong, ULong], Errno::EPERM, why::INSIDES),
    no("process_vm_writev", 311, 348, &[Pid, Addr, ULong, Addr, ULong, ULong], Errno::EPERM, why::INSIDES),
    pass("kcmp", 312, 349, &[Pid, Pid, Int, ULong, ULong]),
    no("finit_module", 313, 350, &[Fd, Str, Int], Errno::EPERM, why::MACHINE),
    row("sched_setattr", 314, 351, &[Tid, In(&SCHED_ATTR), UInt], Call(thread::sched_setattr)),
    pass("sched_getattr", 315, 352, &[Tid, BufOut(2), UInt, UInt]),
    pass("renameat2", 316, 353, &[DirFd, Path, DirFd, Path, UInt]),
    row("seccomp", 317, 354, &[UInt, UInt, Addr], Call(seccomp::seccomp)),
    pass("getrandom", 318, 355, &[BufOut(1), ULong, UInt]).waits(Sys),
    pass("memfd_create", 319, 356, &[Str, UInt]),
    no("kexec_file_load", 320, N, &[Fd, Fd, ULong, Str, ULong], Errno::EPERM, why::MACHINE),
    no("bpf", 321, 357, &[Int, Addr, UInt], Errno::EPERM, why::MACHINE),
    row("execveat", 322, 358, &[DirFd, Path, Addr, Addr, Int], Call(exec::execveat)),
    no("userfaultfd", 323, 374, &[Int], Errno::ENOSYS, why::FAULTS),
    row("membarrier", 324, 375, &[Int, UInt, Int], Call(thread::membarrier)),
    pass("mlock2", 325, 376, &[Addr, ULong, UInt]),
    pass("copy_file_range", 326, 377, &[Fd, InOut(&I64), Fd, InOut(&I64), ULong, UInt]),
    row("preadv2", 327, 378, &[Fd, Addr, ULong, Pos, Int], Host(vec::preadv2)).waits(Sys),
    row("pwritev2", 328, 379, &[Fd, Addr, ULong, Pos, Int], Host(vec::pwritev2)).waits(Sys),
    no("pkey_mprotect", 329, 380, &[Addr, ULong, ULong, Int], Errno::EINVAL, why::PROTECTION_KEYS),
    no("pkey_alloc", 330, 381, &[ULong, ULong], Errno::ENOSPC, why::PROTECTION_KEYS),
    no("pkey_free", 331, 382, &[Int], Errno::EINVAL, why::PROTECTION_KEYS),
    row("statx", 332, 383, &[DirFd, Path, Int, UInt, Out(&STATX)], Call(file::statx)),
    row("io_pgetevents", 333, 385, &[ULong, Long, Long, Addr, Addr, Addr], Host(aio::io_pgetevents)).waits(NoHandler),
    no("rseq", 334, 386, &[Addr, UInt, Int, UInt], Errno::ENOSYS, why::RSEQ),
    no("uretprobe", 335, N, &[], Errno::ENOSYS, why::PROBES),
    no("uprobe", 336, N, &[], Errno::ENOSYS, why::PROBES),
    row("pidfd_send_signal", 424, 424, &[Fd, Signal, Addr, UInt], Call(process::pidfd_send_signal)),
    no("io_uring_setup", 425, 425, &[UInt, Addr], Errno::ENOSYS, why::URING),
    no("io_uring_enter", 426, 426, &[Fd, UInt, UInt, UInt, Addr, ULong], Errno::ENOSYS, why::URING),
    no("io_uring_register", 427, 427, &[Fd, UInt, Addr, UInt], Errno::ENOSYS, why::URING),
    row("open_tree", 428, 428, &[DirFd, Path, UInt], Call(file::open_tree)),
    pass("move_mount", 429, 429, &[DirFd, Path, DirFd, Path, UInt]),
    pass("fsopen", 430, 430, &[Str, UInt]),
    pass("fsconfig", 431, 431, &[Fd, UInt, Str, Str, Int]),
    pass("fsmount", 432, 432, &[Fd, UInt, UInt]),
    pass("fspick", 433, 433, &[DirFd, Path, UInt]),
    pass("pidfd_open", 434, 434, &[Pid, UInt]),
    row("clone3", 435, 435, &[Addr, ULong], Call(fork::clone3)),
    row("close_range", 436, 436, &[UInt, UInt, UInt], Call(fd::close_range)),
    row("openat2", 437, 437, &[DirFd, Path, Addr, ULong], Host(file::openat2)).waits(Sys),
    no("pidfd_getfd", 438, 438, &[Fd, Int, UInt], Errno::EPERM, why::INSIDES),
    row("faccessat2", 439, 439, &[DirFd, Path, Int, Int], Call(file::faccessat2)),
    no("process_madvise", 440, 440, &[Fd, Addr, ULong, Int, UInt], Errno::EPERM, why::INSIDES),
    row("epoll_pwait2", 441, 441, &[Fd, OutArray(&EPOLL_EVENT, 2), Int, In(&TIMESPEC64), Addr, ULong], Host(poll::epoll_pwait2)).waits(Eintr),
    pass("mount_setattr", 442, 442, &[DirFd, Path, UInt, BufIn(4), ULong]),
    no("quotactl_fd", 443, 443, &[Fd, UInt, Id, Addr], Errno::ENOSYS, why::QUOTA),
    no("landlock_create_ruleset", 444, 444, &[Addr, ULong, UInt], Errno::ENOSYS, why::CONFINES),
    no("landlock_add_rule", 445, 445, &[Fd, Int, Addr, UInt], Errno::ENOSYS, why::CONFINES),
    no("landlock_restrict_self", 446, 446, &[Fd, UInt], Errno::ENOSYS, why::CONFINES),
    no("memfd_secret", 447, 447, &[UInt], Errno::ENOSYS, why::FAULTS),
    no("process_mrelease", 448, 448, &[Fd, UInt], Errno::ENOSYS, why::INSIDES),
    row("futex_waitv", 449, 449, &[Addr, UInt, UInt, Addr, Int], Host(futex_host::futex_waitv)).waits(Sys),
    no("set_mempolicy_home_node", 450, 450, &[ULong, ULong, ULong, ULong], Errno::ENOSYS, why::NUMA),
    no("cachestat", 451, 451, &[Fd, Addr, Addr, UInt], Errno::ENOSYS, why::NEWER),
    no("fchmodat2", 452, 452, &[DirFd, Path, Mode, UInt], Errno::ENOSYS, why::NEWER),
    no("map_shadow_stack", 453, 453, &[Addr, ULong, UInt], Errno::ENOSYS, why::NEWER),
    no("futex_wake", 454, 454, &[Addr, ULong, Int, UInt], Errno::ENOSYS, why::NEWER),
    no("futex_wait", 455, 455, &[Addr, ULong, ULong, UInt, Addr, Int], Errno::ENOSYS, why::NEWER),
    no("futex_requeue", 456, 456, &[Addr, UInt, Int, Int], Errno::ENOSYS, why::NEWER),
    no("statmount", 457, 457, &[Addr, Addr, ULong, UInt], Errno::ENOSYS, why::NEWER),
    no("listmount", 458, 458, &[Addr, Addr, ULong, UInt], Errno::ENOSYS, why::NEWER),
    no("lsm_get_self_attr", 459, 459, &[UInt, Addr, Addr, UInt], Errno::ENOSYS, why::NEWER),
    no("lsm_set_self_attr", 460, 460, &[UInt, Addr, UInt, UInt], Errno::ENOSYS, why::NEWER),
    no("lsm_list_modules", 461, 461, &[Addr, Addr, UInt], Errno::ENOSYS, why::NEWER),
    no("mseal", 462, 462, &[Addr, ULong, ULong], Errno::ENOSYS, why::NEWER),
    no("setxattrat", 463, 463, &[DirFd, Path, UInt, Str, Addr, ULong], Errno::ENOSYS, why::NEWER),
    no("getxattrat", 464, 464, &[DirFd, Path, UInt, Str, Addr, ULong], Errno::ENOSYS, why::NEWER),
    no("listxattrat", 465, 465, &[DirFd, Path, UInt, Addr, ULong], Errno::ENOSYS, why::NEWER),
    no("removexattrat", 466, 466, &[DirFd, Path, UInt, Str], Errno::ENOSYS, why::NEWER),
    no("open_tree_attr", 467, 467, &[DirFd, Path, UInt, Addr, ULong], Errno::ENOSYS, why::NEWER),
    no("file_getattr", 468, 468, &[DirFd, Path, Addr, ULong, UInt], Errno::ENOSYS, why::NEWER),
    no("file_setattr", 469, 469, &[DirFd, Path, Addr, ULong, UInt], Errno::ENOSYS, why::NEWER),
    row("waitpid", N, 7, &[Pid, Out(&INT), Int], Host(process::waitpid)).waits(Sys),
    no("break", N, 17, &[], Errno::ENOSYS, why::REMOVED),
    no("oldstat", N, 18, &[Path, Addr], Errno::ENOSYS, why::OLD_STAT),
    to("umount", 22, &[Path], l::SYS_umount2),
    row("stime", N, 25, &[Addr], Call(time::stime)),
    no("oldfstat", N, 28, &[Fd, Addr], Errno::ENOSYS, why::OLD_STAT),
    no("stty", N, 31, &[], Errno::ENOSYS, why::REMOVED),
    no("gtty", N, 32, &[], Errno::ENOSYS, why::REMOVED),
    row("nice", N, 34, &[Int], Call(system::nice)),
    no("ftime", N, 35, &[], Errno::ENOSYS, why::REMOVED),
    no("prof", N, 44, &[], Errno::ENOSYS, why::REMOVED),
    row("signal", N, 48, &[Signal, Addr], Call(signal::signal)),
    no("lock", N, 53, &[], Errno::ENOSYS, why::REMOVED),
    no("mpx", N, 56, &[], Errno::ENOSYS, why::REMOVED),
    no("ulimit", N, 58, &[], Errno::ENOSYS, why::REMOVED),
    row("oldolduname", N, 59, &[Addr], Call(system::oldolduname)),
    row("sigaction", N, 67, &[Signal, Addr, Addr], Call(signal::sigaction)),
    row("sgetmask", N, 68, &[], Call(signal::sgetmask)),
    row("ssetmask", N, 69, &[UInt], Call(signal::ssetmask)),
    row("sigsuspend", N, 72, &[Int, Int, UInt], Call(signal::sigsuspend)).waits(NoHandler),
    row("sigpending", N, 73, &[Addr], Call(signal::sigpending)),
    no("oldlstat", N, 84, &[Path, Addr], Errno::ENOSYS, why::OLD_STAT),
    row("readdir", N, 89, &[Fd, Addr, UInt], Call(dir::readdir)),
    no("profil", N, 98, &[], Errno::ENOSYS, why::REMOVED),
    row("socketcall", N, 102, &[Int, Addr], Host(socket::socketcall)).waits(Sys),
    row("olduname", N, 109, &[Addr], Call(system::olduname)),
    no("idle", N, 112, &[], Errno::ENOSYS, why::REMOVED),
    no("vm86old", N, 113, &[Addr], Errno::ENOSYS, why::VM86),
    row("ipc", N, 117, &[UInt, Int, Int, Int, Addr, Long], Host(ipc::ipc)).waits(Eintr),
    row("sigreturn", N, 119, &[], Call(signal::sigreturn)),
    row("sigprocmask", N, 126, &[Int, Addr, Addr], Call(signal::sigprocmask)),
    no("bdflush", N, 134, &[Int, Long], Errno::ENOSYS, why::REMOVED),
    row("_llseek", N, 140, &[Fd, UInt, UInt, Out(&I64), UInt], Call(dir::llseek)),
    row("_newselect", N, 142, &[Int, Addr, Addr, Addr, Addr], Host(poll::select)).waits(NoHandler),
    no("vm86", N, 166, &[ULong, ULong], Errno::ENOSYS, why::VM86),
    row("ugetrlimit", N, 191, &[UInt, Out(&RLIMIT)], Call(process::getrlimit)),
    row("mmap2", N, 192, &[Addr, ULong, Int, Int, Fd, ULong], Call(mem::mmap2)),
    to("truncate64", 193, &[Path, Wide], l::SYS_truncate),
    to("ftruncate64", 194, &[Fd, Wide], l::SYS_ftruncate),
    row("stat64", N, 195, &[Path, Out(&STAT64)], Call(file::stat)),
    row("lstat64", N, 196, &[Path, Out(&STAT64)], Call(file::lstat)),
    to("fstat64", 197, &[Fd, Out(&STAT64)], l::SYS_fstat),
    to("lchown32", 198, &[Path, Id, Id], l::SYS_lchown),
    to("getuid32", 199, &[], l::SYS_getuid),
    to("getgid32", 200, &[], l::SYS_getgid),
    to("geteuid32", 201, &[], l::SYS_geteuid),
    to("getegid32", 202, &[], l::SYS_getegid),
    to("setreuid32", 203, &[Id, Id], l::SYS_setreuid),
    to("setregid32", 204, &[Id, Id], l::SYS_setregid),
    to("getgroups32", 205, &[Int, OutArray(&INT, 0)], l::SYS_getgroups),
    to("setgroups32", 206, &[Int, InArray(&INT, 0)], l::SYS_setgroups),
    to("fchown32", 207, &[Fd, Id, Id], l::SYS_fchown),
    to("setresuid32", 208, &[Id, Id, Id], l::SYS_setresuid),
    to("getresuid32", 209, &[Out(&INT), Out(&INT), Out(&INT)], l::SYS_getresuid),
    to("setresgid32", 210, &[Id, Id, Id], l::SYS_setresgid),
    to("getresgid32", 211, &[Out(&INT), Out(&INT), Out(&INT)], l::SYS_getresgid),
    to("chown32", 212, &[Path, Id, Id], l::SYS_chown),
    to("setuid32", 213, &[Id], l::SYS_setuid),
    to("setgid32", 214, &[Id], l::SYS_setgid),
    to("setfsuid32", 215, &[Id], l::SYS_setfsuid),
    to("setfsgid32", 216, &[Id], l::SYS_setfsgid),
    row("fcntl64", N, 221, &[Fd, UInt, ULong], Host(fd::fcntl64)).waits(Sys),
    to("sendfile64", 239, &[Fd, Fd, InOut(&I64), ULong], l::SYS_sendfile).waits(Sys),
    to("fadvise64", 250, &[Fd, Wide, ULong, Int], l::SYS_fadvise64),
    row("statfs64", N, 268, &[Path, ULong, Out(&STATFS64)], Call(file::statfs64)),
    row("fstatfs64", N, 269, &[Fd, ULong, Out(&STATFS64)], Call(file::fstatfs64)),
    to("fadvise64_64", 272, &[Fd, Wide, Wide, Int], l::SYS_fadvise64),
    row("fstatat64", N, 300, &[DirFd, Path, Out(&STAT64), Int], Call(file::fstatat)),
    row("clock_gettime64", N, 403, &[Int, Out(&TIMESPEC64)], Call(time::clock_gettime)),
    to("clock_settime64", 404, &[Int, In(&TIMESPEC64)], l::SYS_clock_settime),
    to("clock_adjtime64", 405, &[Int, InOut(&TIMEX64)], l::SYS_clock_adjtime),
    to("clock_getres_time64", 406, &[Int, Out(&TIMESPEC64)], l::SYS_clock_getres),
    row("clock_nanosleep_time64", N, 407, &[Int, Int, In(&TIMESPEC64), Left(&TIMESPEC64)], Host(time::clock_nanosleep)).waits(Block),
    row("timer_gettime64", N, 408, &[Timer, Out(&ITIMERSPEC64)], Call(timer::timer_gettime)),
    row("timer_settime64", N, 409, &[Timer, Int, In(&ITIMERSPEC64), Out(&ITIMERSPEC64)], Call(timer::timer_settime)),
    to("timerfd_gettime64", 410, &[Fd, Out(&ITIMERSPEC64)], l::SYS_timerfd_gettime),
    to("timerfd_settime64", 411, &[Fd, Int, In(&ITIMERSPEC64), Out(&ITIMERSPEC64)], l::SYS_timerfd_settime),
    to("utimensat_time64", 412, &[DirFd, Path, In(&TIMESPEC64_2), Int], l::SYS_utimensat),
    row("pselect6_time64", N, 413, &[Int, Addr, Addr, Addr, Addr, Addr], Host(poll::pselect6_time64)).waits(NoHandler),
    row("ppoll_time64", N, 414, &[Addr, UInt, Addr, Addr, ULong], Host(poll::ppoll_time64)).waits(NoHandler),
    row("io_pgetevents_time64", N, 416, &[ULong, Long, Long, Addr, Addr, Addr], Host(aio::io_pgetevents_time64)).waits(NoHandler),
    row("recvmmsg_time64", N, 417, &[Fd, Addr, UInt, UInt, Addr], Host(socket::recvmmsg)).waits(Sys),
    to("mq_timedsend_time64", 418, &[Fd, BufIn(2), ULong, UInt, In(&TIMESPEC64)], l::SYS_mq_timedsend).waits(Sys),
    to("mq_timedreceive_time64", 419, &[Fd, BufOut(2), ULong, Out(&INT), In(&TIMESPEC64)], l::SYS_mq_timedreceive).waits(Sys),
    to("semtimedop_time64", 420, &[Int, InArray(&SEMBUF, 2), UInt, In(&TIMESPEC64)], l::SYS_semtimedop).waits(Eintr),
    row("rt_sigtimedwait_time64", N, 421, &[Addr, Addr, Addr, ULong], Host(signal::rt_sigtimedwait)).waits(Eintr),
    row("futex_time64", N, 422, &[Addr, Int, UInt, Addr, Addr, UInt], Host(futex::futex_time64)).waits(Sys),
    to("sched_rr_get_interval_time64", 423, &[Tid, Out(&TIMESPEC64)], l::SYS_sched_rr_get_interval),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_row_of_its_name() {
        for n in syscalls::x86_64::Sysno::iter() {
            let row = lookup(Abi::X86_64, n.id() as u64);
            assert_eq!(row.map(|r| r.name), Some(n.name()), "x86-64 {}", n.id());
        }
        for n in syscalls::x86::Sysno::iter() {
            let row = lookup(Abi::I386, n.id() as u64);
            assert_eq!(
                row.map(|r| r.name),
                Some(n.name().trim_start_matches("r#")),
                "i386 {}",
                n.id()
            );
        }
    }

    #[test]
    fn numbers_that_linux_does_not_have_have_no_row() {
        for n in [335 + 3, 423, 511, 512, u64::from(u32::MAX)] {
            assert!(lookup(Abi::X86_64, n).is_none(), "{n}");
        }
        // Reserved or never used in the i386 table.
        for n in [222, 223, 251, 285, 415, 500] {
            assert!(lookup(Abi::I386, n).is_none(), "{n}");
        }
    }

    #[test]
    fn arguments_fit_the_registers() {
        for row in ROWS {
            for (abi, number) in [(Abi::X86_64, row.x86_64), (Abi::I386, row.i386)] {
                let words: usize = row.args.iter().map(|a| a.words(abi)).sum();
                assert!(number.is_none() || words <= 6, "{} takes {words} registers", row.name);
            }
            for arg in row.args {
                if let BufIn(n) | BufOut(n) | InArray(_, n) | OutArray(_, n) | InOutArray(_, n) =
                    arg
                {
                    assert!(usize::from(*n) < row.args.len(), "{}", row.name);
                }
            }
        }
    }
}
