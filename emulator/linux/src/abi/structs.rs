//! The structures of the system-call interface.
//!
//! Sources: `include/uapi` and `include/linux/compat.h`, `arch/x86/include/asm/compat.h` and
//! `arch/x86/include/uapi/asm` of Linux 6.1. A test compares every row with what the C compiler
//! says.

use super::layout::Conv::{self, *};
use super::layout::{Field, Struct};

const fn f(name: &'static str, guest: (u16, u8), host: (u16, u8), conv: Conv) -> Field {
    Field { name, guest, host, conv }
}

const fn same(name: &'static str, size: usize) -> Struct {
    Struct { name, guest_size: size, host_size: size, fields: &[] }
}

const fn st(
    name: &'static str,
    guest_size: usize,
    host_size: usize,
    fields: &'static [Field],
) -> Struct {
    Struct { name, guest_size, host_size, fields }
}

/// A byte.
pub static BYTE: Struct = same("char", 1);
/// `int`, `unsigned`, `pid_t`.
pub static INT: Struct = same("int", 4);
/// Two `int`s (`pipe`, `socketpair`).
pub static INT2: Struct = same("int[2]", 8);
/// `loff_t`, `__u64`.
pub static I64: Struct = same("loff_t", 8);
/// `long`, `time_t`, `off_t`.
pub static LONG: Struct = st("long", 4, 8, &[f("", (0, 4), (0, 8), CheckedSigned)]);
/// `unsigned long`, `size_t`, a pointer.
pub static ULONG: Struct = st("unsigned long", 4, 8, &[f("", (0, 4), (0, 8), Unsigned)]);
/// 16-bit ids of a 32-bit guest.
pub static OLD_ID: Struct = st("old_uid_t", 2, 4, &[f("", (0, 2), (0, 4), Id16)]);

/// `struct timespec`.
pub static TIMESPEC: Struct = st(
    "timespec",
    8,
    16,
    &[f("tv_sec", (0, 4), (0, 8), Signed), f("tv_nsec", (4, 4), (8, 8), Signed)],
);
/// `struct __kernel_timespec`. `get_timespec64` drops the upper half of a 32-bit program's nanoseconds.
pub static TIMESPEC64: Struct = st(
    "__kernel_timespec",
    16,
    16,
    &[f("tv_sec", (0, 8), (0, 8), Signed), f("tv_nsec", (8, 8), (8, 8), LowHalf)],
);
/// `struct timeval`.
pub static TIMEVAL: Struct = st(
    "timeval",
    8,
    16,
    &[f("tv_sec", (0, 4), (0, 8), Signed), f("tv_usec", (4, 4), (8, 8), Signed)],
);
/// Two of `struct timespec`.
pub static TIMESPEC2: Struct = st(
    "timespec[2]",
    16,
    32,
    &[
        f("[0].tv_sec", (0, 4), (0, 8), Signed),
        f("[0].tv_nsec", (4, 4), (8, 8), Signed),
        f("[1].tv_sec", (8, 4), (16, 8), Signed),
        f("[1].tv_nsec", (12, 4), (24, 8), Signed),
    ],
);
/// Two of `struct __kernel_timespec`.
pub static TIMESPEC64_2: Struct = st(
    "__kernel_timespec[2]",
    32,
    32,
    &[
        f("[0].tv_sec", (0, 8), (0, 8), Signed),
        f("[0].tv_nsec", (8, 8), (8, 8), LowHalf),
        f("[1].tv_sec", (16, 8), (16, 8), Signed),
        f("[1].tv_nsec", (24, 8), (24, 8), LowHalf),
    ],
);
/// Two of `struct timeval`.
pub static TIMEVAL2: Struct = st(
    "timeval[2]",
    16,
    32,
    &[
        f("[0].tv_sec", (0, 4), (0, 8), Signed),
        f("[0].tv_usec", (4, 4), (8, 8), Signed),
        f("[1].tv_sec", (8, 4), (16, 8), Signed),
        f("[1].tv_usec", (12, 4), (24, 8), Signed),
    ],
);
/// `struct timezone`.
pub static TIMEZONE: Struct = same("timezone", 8);
/// `struct itimerval`.
pub static ITIMERVAL: Struct = st(
    "itimerval",
    16,
    32,
    &[
        f("it_interval.tv_sec", (0, 4), (0, 8), Signed),
        f("it_interval.tv_usec", (4, 4), (8, 8), Signed),
        f("it_value.tv_sec", (8, 4), (16, 8), Signed),
        f("it_value.tv_usec", (12, 4), (24, 8), Signed),
    ],
);
/// `struct itimerspec`.
pub static ITIMERSPEC: Struct = st(
    "itimerspec",
    16,
    32,
    &[
        f("it_interval.tv_sec", (0, 4), (0, 8), Signed),
        f("it_interval.tv_nsec", (4, 4), (8, 8), Signed),
        f("it_value.tv_sec", (8, 4), (16, 8), Signed),
        f("it_value.tv_nsec", (12, 4), (24, 8), Signed),
    ],
);
/// `struct __kernel_itimerspec`.
pub static ITIMERSPEC64: Struct = st(
    "__kernel_itimerspec",
    32,
    32,
    &[
        f("it_interval.tv_sec", (0, 8), (0, 8), Signed),
        f("it_interval.tv_nsec", (8, 8), (8, 8), LowHalf),
        f("it_value.tv_sec", (16, 8), (16, 8), Signed),
        f("it_value.tv_nsec", (24, 8), (24, 8), LowHalf),
    ],
);
/// `struct utimbuf`.
pub static UTIMBUF: Struct = st(
    "utimbuf",
    8,
    16,
    &[f("actime", (0, 4), (0, 8), Signed), f("modtime", (4, 4), (8, 8), Signed)],
);
/// `struct tms`.
pub static TMS: Struct = st(
    "tms",
    16,
    32,
    &[
        f("tms_utime", (0, 4), (0, 8), Signed),
        f("tms_stime", (4, 4), (8, 8), Signed),
        f("tms_cutime", (8, 4), (16, 8), Signed),
        f("tms_cstime", (12, 4), (24, 8), Signed),
    ],
);
/// `struct timex`.
pub static TIMEX: Struct = st(
    "timex",
    128,
    208,
    &[
        f("modes", (0, 4), (0, 4), Unsigned),
        f("offset", (4, 4), (8, 8), Signed),
        f("freq", (8, 4), (16, 8), Signed),
        f("maxerror", (12, 4), (24, 8), Signed),
        f("esterror", (16, 4), (32, 8), Signed),
        f("status", (20, 4), (40, 4), Signed),
        f("constant", (24, 4), (48, 8), Signed),
        f("precision", (28, 4), (56, 8), Signed),
        f("tolerance", (32, 4), (64, 8), Signed),
        f("time.tv_sec", (36, 4), (72, 8), Signed),
        f("time.tv_usec", (40, 4), (80, 8), Signed),
        f("tick", (44, 4), (88, 8), Signed),
        f("ppsfreq", (48, 4), (96, 8), Signed),
        f("jitter", (52, 4), (104, 8), Signed),
        f("shift", (56, 4), (112, 4), Signed),
        f("stabil", (60, 4), (120, 8), Signed),
        f("jitcnt", (64, 4), (128, 8), Signed),
        f("calcnt", (68, 4), (136, 8), Signed),
        f("errcnt", (72, 4), (144, 8), Signed),
        f("stbcnt", (76, 4), (152, 8), Signed),
        f("tai", (80, 4), (160, 4), Signed),
    ],
);
/// `struct __kernel_timex`.
pub static TIMEX64: Struct = same("__kernel_timex", 208);

/// `struct stat` (the i386 one is the kernel's `compat_stat`).
pub static STAT: Struct = st(
    "stat",
    64,
    144,
    &[
        f("st_dev", (0, 4), (0, 8), Unsigned),
        f("st_ino", (4, 4), (8, 8), Checked),
        f("st_mode", (8, 2), (24, 4), Unsigned),
        f("st_nlink", (10, 2), (16, 8), Checked),
        f("st_uid", (12, 2), (28, 4), Id16),
        f("st_gid", (14, 2), (32, 4), Id16),
        f("st_rdev", (16, 4), (40, 8), Unsigned),
        f("st_size", (20, 4), (48, 8), CheckedSigned),
        f("st_blksize", (24, 4), (56, 8), Unsigned),
        f("st_blocks", (28, 4), (64, 8), Unsigned),
        f("st_atime", (32, 4), (72, 8), Unsigned),
        f("st_atime_nsec", (36, 4), (80, 8), Unsigned),
        f("st_mtime", (40, 4), (88, 8), Unsigned),
        f("st_mtime_nsec", (44, 4), (96, 8), Unsigned),
        f("st_ctime", (48, 4), (104, 8), Unsigned),
        f("st_ctime_nsec", (52, 4), (112, 8), Unsigned),
    ],
);
/// `struct stat64` of i386.
pub static STAT64: Struct = st(
    "stat64",
    96,
    144,
    &[
        f("st_dev", (0, 8), (0, 8), Unsigned),
        f("__st_ino", (12, 4), (8, 8), Unsigned),
        f("st_mode", (16, 4), (24, 4), Unsigned),
        f("st_nlink", (20, 4), (16, 8), Unsigned),
        f("st_uid", (24, 4), (28, 4), Unsigned),
        f("st_gid", (28, 4), (32, 4), Unsigned),
        f("st_rdev", (32, 8), (40, 8), Unsigned),
        f("st_size", (44, 8), (48, 8), Signed),
        f("st_blksize", (52, 4), (56, 8), Unsigned),
        f("st_blocks", (56, 8), (64, 8), Signed),
        f("st_atime", (64, 4), (72, 8), Unsigned),
        f("st_atime_nsec", (68, 4), (80, 8), Unsigned),
        f("st_mtime", (72, 4), (88, 8), Unsigned),
        f("st_mtime_nsec", (76, 4), (96, 8), Unsigned),
        f("st_ctime", (80, 4), (104, 8), Unsigned),
        f("st_ctime_nsec", (84, 4), (112, 8), Unsigned),
        f("st_ino", (88, 8), (8, 8), Unsigned),
    ],
);
/// `struct statx`.
pub static STATX: Struct = same("statx", 256);
/// `struct statfs`.
pub static STATFS: Struct = st(
    "statfs",
    64,
    120,
    &[
        f("f_type", (0, 4), (0, 8), Unsigned),
        f("f_bsize", (4, 4), (8, 8), Checked),
        f("f_blocks", (8, 4), (16, 8), Checked),
        f("f_bfree", (12, 4), (24, 8), Checked),
        f("f_bavail", (16, 4), (32, 8), Checked),
        f("f_files", (20, 4), (40, 8), CheckedOrAll),
        f("f_ffree", (24, 4), (48, 8), CheckedOrAll),
        f("f_fsid", (28, 8), (56, 8), Unsigned),
        f("f_namelen", (36, 4), (64, 8), Unsigned),
        f("f_frsize", (40, 4), (72, 8), Checked),
        f("f_flags", (44, 4), (80, 8), Unsigned),
    ],
);
/// `struct statfs64`.
pub static STATFS64: Struct = st(
    "statfs64",
    84,
    120,
    &[
        f("f_type", (0, 4), (0, 8), Unsigned),
        f("f_bsize", (4, 4), (8, 8), Checked),
        f("f_blocks", (8, 8), (16, 8), Unsigned),
        f("f_bfree", (16, 8), (24, 8), Unsigned),
        f("f_bavail", (24, 8), (32, 8), Unsigned),
        f("f_files", (32, 8), (40, 8), Unsigned),
        f("f_ffree", (40, 8), (48, 8), Unsigned),
        f("f_fsid", (48, 8), (56, 8), Unsigned),
        f("f_namelen", (56, 4), (64, 8), Unsigned),
        f("f_frsize", (60, 4), (72, 8), Unsigned),
        f("f_flags", (64, 4), (80, 8), Unsigned),
    ],
);
/// `struct ustat`.
pub static USTAT: Struct = st(
    "ustat",
    20,
    32,
    &[f("f_tfree", (0, 4), (0, 4), Signed), f("f_tinode", (4, 4), (8, 8), Unsigned)],
);
/// `struct flock`.
pub static FLOCK: Struct = st(
    "flock",
    16,
    32,
    &[
        f("l_type", (0, 2), (0, 2), Signed),
        f("l_whence", (2, 2), (2, 2), Signed),
        f("l_start", (4, 4), (8, 8), CheckedSigned),
        f("l_len", (8, 4), (16, 8), CheckedSigned),
        f("l_pid", (12, 4), (24, 4), Signed),
    ],
);
/// `struct flock64` of i386.
pub static FLOCK64: Struct = st(
    "flock64",
    24,
    32,
    &[
        f("l_type", (0, 2), (0, 2), Signed),
        f("l_whence", (2, 2), (2, 2), Signed),
        f("l_start", (4, 8), (8, 8), Signed),
        f("l_len", (12, 8), (16, 8), Signed),
        f("l_pid", (20, 4), (24, 4), Signed),
    ],
);
/// `struct f_owner_ex`.
pub static OWNER_EX: Struct = same("f_owner_ex", 8);
/// `struct open_how`.
pub static OPEN_HOW: Struct = same("open_how", 24);
/// `struct file_handle` without its bytes.
pub static FILE_HANDLE: Struct = same("file_handle", 8);
/// `struct mount_attr`.
pub static MOUNT_ATTR: Struct = same("mount_attr", 32);

/// `struct rlimit`.
pub static RLIMIT: Struct = st(
    "rlimit",
    8,
    16,
    &[f("rlim_cur", (0, 4), (0, 8), Limit), f("rlim_max", (4, 4), (8, 8), Limit)],
);
/// `struct rlimit64`.
pub static RLIMIT64: Struct = same("rlimit64", 16);
/// `struct rusage`.
pub static RUSAGE: Struct = st(
    "rusage",
    72,
    144,
    &[
        f("ru_utime.tv_sec", (0, 4), (0, 8), Signed),
        f("ru_utime.tv_usec", (4, 4), (8, 8), Signed),
        f("ru_stime.tv_sec", (8, 4), (16, 8), Signed),
        f("ru_stime.tv_usec", (12, 4), (24, 8), Signed),
        f("ru_maxrss", (16, 4), (32, 8), Signed),
        f("ru_ixrss", (20, 4), (40, 8), Signed),
        f("ru_idrss", (24, 4), (48, 8), Signed),
        f("ru_isrss", (28, 4), (56, 8), Signed),
        f("ru_minflt", (32, 4), (64, 8), Signed),
        f("ru_majflt", (36, 4), (72, 8), Signed),
        f("ru_nswap", (40, 4), (80, 8), Signed),
        f("ru_inblock", (44, 4), (88, 8), Signed),
        f("ru_oublock", (48, 4), (96, 8), Signed),
        f("ru_msgsnd", (52, 4), (104, 8), Signed),
        f("ru_msgrcv", (56, 4), (112, 8), Signed),
        f("ru_nsignals", (60, 4), (120, 8), Signed),
        f("ru_nvcsw", (64, 4), (128, 8), Signed),
        f("ru_nivcsw", (68, 4), (136, 8), Signed),
    ],
);
/// `struct sysinfo`; its function scales the sizes to fit.
pub static SYSINFO: Struct = st(
    "sysinfo",
    64,
    112,
    &[
        f("uptime", (0, 4), (0, 8), Signed),
        f("loads[0]", (4, 4), (8, 8), Unsigned),
        f("loads[1]", (8, 4), (16, 8), Unsigned),
        f("loads[2]", (12, 4), (24, 8), Unsigned),
        f("totalram", (16, 4), (32, 8), Unsigned),
        f("freeram", (20, 4), (40, 8), Unsigned),
        f("sharedram", (24, 4), (48, 8), Unsigned),
        f("bufferram", (28, 4), (56, 8), Unsigned),
        f("totalswap", (32, 4), (64, 8), Unsigned),
        f("freeswap", (36, 4), (72, 8), Unsigned),
        f("procs", (40, 2), (80, 2), Unsigned),
        f("totalhigh", (44, 4), (88, 8), Unsigned),
        f("freehigh", (48, 4), (96, 8), Unsigned),
        f("mem_unit", (52, 4), (104, 4), Unsigned),
    ],
);
/// `struct new_utsname`.
pub static UTSNAME: Struct = same("utsname", 390);
/// `struct sched_param`.
pub static SCHED_PARAM: Struct = same("sched_param", 4);
/// `struct sched_attr`, the size every kernel accepts.
pub static SCHED_ATTR: Struct = same("sched_attr", 48);
/// `cap_user_header_t`.
pub static CAP_HEADER: Struct = same("__user_cap_header_struct", 8);
/// Two of `struct __user_cap_data_struct`.
pub static CAP_DATA: Struct = same("__user_cap_data_struct[2]", 24);
/// `struct getcpu_cache`, unused since Linux 2.6.24.
pub static GETCPU_CACHE: Struct = same("getcpu_cache", 0);

/// `struct pollfd`.
pub static POLLFD: Struct = same("pollfd", 8);
/// `struct epoll_event`: packed on x86-64, so the same as on i386.
pub static EPOLL_EVENT: Struct = same("epoll_event", 12);
/// `sigset_t` of the kernel.
pub static SIGSET: Struct = same("sigset_t", 8);
/// `struct sigevent`.
pub static SIGEVENT: Struct = st(
    "sigevent",
    64,
    64,
    &[
        f("sigev_value", (0, 4), (0, 8), Unsigned),
        f("sigev_signo", (4, 4), (8, 4), Signed),
        f("sigev_notify", (8, 4), (12, 4), Signed),
        f("_sigev_un._tid", (12, 4), (16, 4), Signed),
    ],
);
/// `struct mq_attr`.
pub static MQ_ATTR: Struct = st(
    "mq_attr",
    32,
    64,
    &[
        f("mq_flags", (0, 4), (0, 8), Signed),
        f("mq_maxmsg", (4, 4), (8, 8), Signed),
        f("mq_msgsize", (8, 4), (16, 8), Signed),
        f("mq_curmsgs", (12, 4), (24, 8), Signed),
    ],
);

/// `struct iovec`.
pub static IOVEC: Struct = st(
    "iovec",
    8,
    16,
    &[f("iov_base", (0, 4), (0, 8), Unsigned), f("iov_len", (4, 4), (8, 8), Unsigned)],
);
/// `struct msghdr`.
pub static MSGHDR: Struct = st(
    "msghdr",
    28,
    56,
    &[
        f("msg_name", (0, 4), (0, 8), Unsigned),
        f("msg_namelen", (4, 4), (8, 4), Signed),
        f("msg_iov", (8, 4), (16, 8), Unsigned),
        f("msg_iovlen", (12, 4), (24, 8), Unsigned),
        f("msg_control", (16, 4), (32, 8), Unsigned),
        f("msg_controllen", (20, 4), (40, 8), Unsigned),
        f("msg_flags", (24, 4), (48, 4), Unsigned),
    ],
);

/// `struct sembuf`.
pub static SEMBUF: Struct = same("sembuf", 6);
/// `struct seminfo`.
pub static SEMINFO: Struct = same("seminfo", 40);
/// `struct msginfo`.
pub static MSGINFO: Struct = same("msginfo", 32);
/// `struct shminfo64`.
pub static SHMINFO64: Struct = st(
    "shminfo64",
    36,
    72,
    &[
        f("shmmax", (0, 4), (0, 8), Limit),
        f("shmmin", (4, 4), (8, 8), Unsigned),
        f("shmmni", (8, 4), (16, 8), Unsigned),
        f("shmseg", (12, 4), (24, 8), Unsigned),
        f("shmall", (16, 4), (32, 8), Limit),
    ],
);
/// `struct shm_info`.
pub static SHM_INFO: Struct = st(
    "shm_info",
    24,
    48,
    &[
        f("used_ids", (0, 4), (0, 4), Signed),
        f("shm_tot", (4, 4), (8, 8), Unsigned),
        f("shm_rss", (8, 4), (16, 8), Unsigned),
        f("shm_swp", (12, 4), (24, 8), Unsigned),
        f("swap_attempts", (16, 4), (32, 8), Unsigned),
        f("swap_successes", (20, 4), (40, 8), Unsigned),
    ],
);
/// `struct shmid64_ds`; each time is a low and a high word in the guest.
pub static SHMID64_DS: Struct = st(
    "shmid64_ds",
    84,
    112,
    &[
        f("shm_perm.key", (0, 4), (0, 4), Signed),
        f("shm_perm.uid", (4, 4), (4, 4), Unsigned),
        f("shm_perm.gid", (8, 4), (8, 4), Unsigned),
        f("shm_perm.cuid", (12, 4), (12, 4), Unsigned),
        f("shm_perm.cgid", (16, 4), (16, 4), Unsigned),
        f("shm_perm.mode", (20, 2), (20, 4), Unsigned),
        f("shm_perm.seq", (24, 2), (24, 2), Unsigned),
        f("shm_segsz", (36, 4), (48, 8), Unsigned),
        f("shm_atime", (40, 8), (56, 8), Signed),
        f("shm_dtime", (48, 8), (64, 8), Signed),
        f("shm_ctime", (56, 8), (72, 8), Signed),
        f("shm_cpid", (64, 4), (80, 4), Signed),
        f("shm_lpid", (68, 4), (84, 4), Signed),
        f("shm_nattch", (72, 4), (88, 8), Unsigned),
    ],
);
/// `struct msqid64_ds`; each time is a low and a high word in the guest.
pub static MSQID64_DS: Struct = st(
    "msqid64_ds",
    88,
    120,
    &[
        f("msg_perm.key", (0, 4), (0, 4), Signed),
        f("msg_perm.uid", (4, 4), (4, 4), Unsigned),
        f("msg_perm.gid", (8, 4), (8, 4), Unsigned),
        f("msg_perm.cuid", (12, 4), (12, 4), Unsigned),
        f("msg_perm.cgid", (16, 4), (16, 4), Unsigned),
        f("msg_perm.mode", (20, 2), (20, 4), Unsigned),
        f("msg_perm.seq", (24, 2), (24, 2), Unsigned),
        f("msg_stime", (36, 8), (48, 8), Signed),
        f("msg_rtime", (44, 8), (56, 8), Signed),
        f("msg_ctime", (52, 8), (64, 8), Signed),
        f("msg_cbytes", (60, 4), (72, 8), Unsigned),
        f("msg_qnum", (64, 4), (80, 8), Unsigned),
        f("msg_qbytes", (68, 4), (88, 8), Unsigned),
        f("msg_lspid", (72, 4), (96, 4), Signed),
        f("msg_lrpid", (76, 4), (100, 4), Signed),
    ],
);
/// `struct semid64_ds`; each time is a low and a high word in the guest.
pub static SEMID64_DS: Struct = st(
    "semid64_ds",
    64,
    104,
    &[
        f("sem_perm.key", (0, 4), (0, 4), Signed),
        f("sem_perm.uid", (4, 4), (4, 4), Unsigned),
        f("sem_perm.gid", (8, 4), (8, 4), Unsigned),
        f("sem_perm.cuid", (12, 4), (12, 4), Unsigned),
        f("sem_perm.cgid", (16, 4), (16, 4), Unsigned),
        f("sem_perm.mode", (20, 2), (20, 4), Unsigned),
        f("sem_perm.seq", (24, 2), (24, 2), Unsigned),
        f("sem_otime", (36, 8), (48, 8), Signed),
        f("sem_ctime", (44, 8), (64, 8), Signed),
        f("sem_nsems", (52, 4), (80, 8), Unsigned),
    ],
);
