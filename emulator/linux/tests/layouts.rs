//! The structure tables against the C compiler and the kernel's own headers, in both widths.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use emu_linux::abi::layout::Struct;
use emu_linux::abi::structs::*;

/// Rows whose layouts differ: row, C type for i386, C type for x86-64.
const CONVERTED: &[(&Struct, &str, &str)] = &[
    (&TIMESPEC, "struct timespec", "struct timespec"),
    (&TIMEVAL, "struct timeval", "struct timeval"),
    (&ITIMERVAL, "struct itimerval", "struct itimerval"),
    (&ITIMERSPEC, "struct itimerspec", "struct itimerspec"),
    (&UTIMBUF, "struct utimbuf", "struct utimbuf"),
    (&TMS, "struct tms", "struct tms"),
    (&TIMEX, "struct timex", "struct timex"),
    (&TIMESPEC64, "struct __kernel_timespec", "struct __kernel_timespec"),
    (&ITIMERSPEC64, "struct __kernel_itimerspec", "struct __kernel_itimerspec"),
    (&STAT, "struct stat", "struct stat"),
    (&STAT64, "struct stat64", "struct stat"),
    (&STATFS, "struct statfs", "struct statfs"),
    (&STATFS64, "struct statfs64", "struct statfs"),
    (&FLOCK, "struct flock", "struct flock"),
    (&FLOCK64, "struct flock64", "struct flock"),
    (&RLIMIT, "struct rlimit", "struct rlimit"),
    (&RUSAGE, "struct rusage", "struct rusage"),
    (&SYSINFO, "struct sysinfo", "struct sysinfo"),
    (&SIGEVENT, "struct sigevent", "struct sigevent"),
    (&MQ_ATTR, "struct mq_attr", "struct mq_attr"),
    (&IOVEC, "struct iovec", "struct iovec"),
    (&SHMINFO64, "struct shminfo64", "struct shminfo64"),
    (&SHMID64_DS, "struct shmid64_ds", "struct shmid64_ds"),
    (&MSQID64_DS, "struct msqid64_ds", "struct msqid64_ds"),
    (&SEMID64_DS, "struct semid64_ds", "struct semid64_ds"),
];

/// Rows with one layout.
const SAME: &[(&Struct, &str)] = &[
    (&TIMEX64, "struct __kernel_timex"),
    (&TIMEZONE, "struct timezone"),
    (&STATX, "struct statx"),
    (&OPEN_HOW, "struct open_how"),
    (&OWNER_EX, "struct f_owner_ex"),
    (&MOUNT_ATTR, "struct mount_attr"),
    (&RLIMIT64, "struct rlimit64"),
    (&UTSNAME, "struct new_utsname"),
    (&POLLFD, "struct pollfd"),
    (&EPOLL_EVENT, "struct epoll_event"),
    (&SEMBUF, "struct sembuf"),
    (&SEMINFO, "struct seminfo"),
    (&MSGINFO, "struct msginfo"),
    (&CAP_HEADER, "struct __user_cap_header_struct"),
];

const HEADERS: &[&str] = &[
    "stdio.h",
    "stddef.h",
    "linux/time.h",
    "linux/timex.h",
    "linux/utime.h",
    "linux/times.h",
    "asm/stat.h",
    "linux/stat.h",
    "asm/statfs.h",
    "linux/fcntl.h",
    "linux/openat2.h",
    "linux/mount.h",
    "linux/resource.h",
    "linux/sysinfo.h",
    "linux/utsname.h",
    "linux/poll.h",
    "linux/eventpoll.h",
    "linux/mqueue.h",
    "linux/uio.h",
    "linux/shm.h",
    "linux/msg.h",
    "linux/sem.h",
    "linux/capability.h",
    "asm/siginfo.h",
];

/// Compiles and runs a program that prints `key value` lines.
fn ask(tag: &str, width: &str, body: &str) -> HashMap<String, u64> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) =
        (dir.join(format!("{tag}{width}.c")), dir.join(format!("{tag}{width}")));
    let mut text = String::new();
    for h in HEADERS {
        let _ = writeln!(text, "#include <{h}>");
    }
    let _ = writeln!(text, "int main(void) {{\n{body}return 0; }}");
    std::fs::write(&source, text).expect("the source can be written");
    let gcc = Command::new("gcc")
        .arg(width)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output()
        .expect("gcc runs");
    assert!(gcc.status.success(), "{}", String::from_utf8_lossy(&gcc.stderr));
    let out = Command::new(&program).output().expect("the program runs");
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|l| {
            let (key, value) = l.rsplit_once(' ')?;
            Some((key.to_string(), value.parse().ok()?))
        })
        .collect()
}

#[test]
fn converted_layouts_are_those_of_the_compiler() {
    for (width, guest) in [("-m32", true), ("-m64", false)] {
        let mut body = String::new();
        for &(row, c32, c64) in CONVERTED {
            let c = if guest { c32 } else { c64 };
            let _ = writeln!(body, "printf(\"{} %zu\\n\", sizeof({c}));", row.name);
            for f in row.fields.iter().filter(|f| guest || !f.name.starts_with("__")) {
                let name = f.name;
                let _ = writeln!(
                    body,
                    "printf(\"{0}.{name} %zu\\n{0}.{name}.size %zu\\n\", offsetof({c}, {name}), \
                     sizeof((({c} *)0)->{name}));",
                    row.name
                );
            }
        }
        let told = ask("converted", width, &body);
        for &(row, ..) in CONVERTED {
            let size = if guest { row.guest_size } else { row.host_size };
            assert_eq!(told[row.name], size as u64, "{width} {}", row.name);
            for f in row.fields.iter().filter(|f| guest || !f.name.starts_with("__")) {
                let (at, len) = if guest { f.guest } else { f.host };
                let key = format!("{}.{}", row.name, f.name);
                assert_eq!(told[&key], u64::from(at), "{width} {key}");
                // i386 times of IPC structures are two words, named apart.
                let two_words = guest && len == 8 && f.name.ends_with("time");
                let c_len = told[&format!("{key}.size")];
                assert_eq!(c_len, if two_words { 4 } else { u64::from(len) }, "{width} {key}");
            }
        }
    }
}

#[test]
fn other_layouts_are_the_same_in_both_widths() {
    let mut body = String::new();
    for &(row, c) in SAME {
        let _ = writeln!(body, "printf(\"{} %zu\\n\", sizeof({c}));", row.name);
    }
    for width in ["-m32", "-m64"] {
        let told = ask("same", width, &body);
        for &(row, _) in SAME {
            assert!(row.is_same());
            assert_eq!(told[row.name], row.host_size as u64, "{width} {}", row.name);
        }
    }
}

#[test]
fn fields_do_not_overlap() {
    for &(row, ..) in CONVERTED {
        for (which, size) in [(true, row.guest_size), (false, row.host_size)] {
            let mut ranges: Vec<_> = row
                .fields
                .iter()
                .filter(|f| !f.name.starts_with("__"))
                .map(|f| if which { f.guest } else { f.host })
                .map(|(at, len)| (usize::from(at), usize::from(at) + usize::from(len)))
                .collect();
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|w| w[0].1 <= w[1].0), "{}", row.name);
            assert!(ranges.last().is_none_or(|r| r.1 <= size), "{}", row.name);
        }
    }
}

#[test]
fn values_that_do_not_fit_are_eoverflow() {
    let mut host = [0u8; 144];
    let mut guest = [0u8; 64];
    host[48..56].copy_from_slice(&0x8000_0000u64.to_le_bytes());
    assert_eq!(STAT.to_guest(&host, &mut guest), Err(emu_linux::Errno::EOVERFLOW));
    host[48..56].copy_from_slice(&0x7fff_ffffu64.to_le_bytes());
    host[28..32].copy_from_slice(&70000u32.to_le_bytes());
    assert_eq!(STAT.to_guest(&host, &mut guest), Ok(()));
    assert_eq!(guest[20..24], 0x7fff_ffffu32.to_le_bytes());
    assert_eq!(guest[12..14], 65534u16.to_le_bytes());
}

#[test]
fn infinite_limits_stay_infinite() {
    let mut host = [0u8; 16];
    RLIMIT.to_host(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0], &mut host);
    assert_eq!(host[..8], [0xff; 8]);
    assert_eq!(host[8..], [1, 0, 0, 0, 0, 0, 0, 0]);
    let mut guest = [0u8; 8];
    host[8..].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert_eq!(RLIMIT.to_guest(&host, &mut guest), Ok(()));
    assert_eq!(guest, [0xff; 8]);
}
