//! What the kernel writes into the guest's memory is clean.
//!
//! Numbers and layouts are those of the Linux system calls (section 2 of the manual).

use plugin_api::abi::syscall_abi;
use plugin_api::prelude::*;

use crate::memory::Memory;

/// How many bytes a call writes behind a pointer.
#[derive(Clone, Copy)]
enum Len {
    /// So many in a 64-bit guest, in a 32-bit guest.
    Fixed(u64, u64),
    /// As many as the result says, times this.
    Result(u64),
    /// As an argument says, times this.
    Arg(usize, u64),
    /// As the number that an argument points to says.
    At(usize),
    /// The pointer is to a vector of buffers, an argument says how many; the result says how many bytes.
    Vector(usize),
}

use Len::{Arg, At, Fixed, Result as Returned, Vector};

/// Pointers among a call's arguments, with what is written there.
fn written(name: &str) -> &'static [(usize, Len)] {
    match name {
        "read" | "pread64" | "getdents" | "getdents64" | "readlink" | "recv" => &[(1, Returned(1))],
        "readlinkat" | "getxattr" | "lgetxattr" | "fgetxattr" => &[(2, Returned(1))],
        "listxattr" | "llistxattr" | "flistxattr" => &[(1, Returned(1))],
        "recvfrom" => &[(1, Returned(1)), (4, At(5)), (5, Fixed(4, 4))],
        "readv" | "preadv" | "preadv2" => &[(1, Vector(2))],
        "process_vm_readv" => &[(1, Vector(2))],
        "getrandom" | "getcwd" => &[(0, Returned(1))],
        "stat" | "lstat" | "fstat" => &[(1, Fixed(144, 64))],
        "oldstat" | "oldlstat" | "oldfstat" => &[(1, Fixed(32, 32))],
        "stat64" | "lstat64" | "fstat64" => &[(1, Fixed(96, 96))],
        "newfstatat" => &[(2, Fixed(144, 64))],
        "fstatat64" => &[(2, Fixed(96, 96))],
        "statx" => &[(4, Fixed(256, 256))],
        "statfs" | "fstatfs" => &[(1, Fixed(120, 64))],
        "statfs64" | "fstatfs64" => &[(2, Fixed(84, 84))],
        "uname" => &[(0, Fixed(390, 390))],
        "sysinfo" => &[(0, Fixed(112, 64))],
        "times" => &[(0, Fixed(32, 16))],
        "time" => &[(0, Fixed(8, 4))],
        "gettimeofday" => &[(0, Fixed(16, 8)), (1, Fixed(8, 8))],
        "clock_gettime" | "clock_getres" | "nanosleep" | "sched_rr_get_interval" => {
            &[(1, Fixed(16, 8))]
        }
        "clock_gettime64" | "clock_getres_time64" => &[(1, Fixed(16, 16))],
        "clock_nanosleep" => &[(3, Fixed(16, 8))],
        "getitimer" => &[(1, Fixed(32, 16))],
        "setitimer" => &[(2, Fixed(32, 16))],
        "timerfd_gettime" => &[(1, Fixed(32, 16))],
        "timerfd_settime" => &[(3, Fixed(32, 16))],
        "getrusage" => &[(1, Fixed(144, 72))],
        "wait4" => &[(1, Fixed(4, 4)), (3, Fixed(144, 72))],
        "waitpid" => &[(1, Fixed(4, 4))],
        "waitid" => &[(2, Fixed(128, 128)), (4, Fixed(144, 72))],
        "getrlimit" | "ugetrlimit" => &[(1, Fixed(16, 8))],
        "prlimit64" => &[(3, Fixed(16, 16))],
        "pipe" | "pipe2" => &[(0, Fixed(8, 8))],
        "socketpair" => &[(3, Fixed(8, 8))],
        "accept" | "accept4" | "getsockname" | "getpeername" => &[(1, At(2)), (2, Fixed(4, 4))],
        "getsockopt" => &[(3, At(4)), (4, Fixed(4, 4))],
        "rt_sigaction" => &[(2, Fixed(32, 20))],
        "rt_sigprocmask" => &[(2, Arg(3, 1))],
        "rt_sigpending" => &[(0, Arg(1, 1))],
        "rt_sigtimedwait" => &[(1, Fixed(128, 128))],
        "sigaltstack" => &[(1, Fixed(24, 12))],
        "sched_getaffinity" => &[(2, Returned(1))],
        "sched_getparam" => &[(1, Fixed(4, 4))],
        "getgroups" | "getgroups32" => &[(1, Returned(4))],
        "getresuid" | "getresgid" | "getresuid32" | "getresgid32" => {
            &[(0, Fixed(4, 4)), (1, Fixed(4, 4)), (2, Fixed(4, 4))]
        }
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => &[(1, Returned(12))],
        "io_getevents" => &[(3, Returned(32))],
        "mincore" => &[(2, Arg(1, 1))],
        "_llseek" => &[(3, Fixed(8, 8))],
        "getcpu" => &[(0, Fixed(4, 4)), (1, Fixed(4, 4))],
        "capget" => &[(1, Fixed(24, 24))],
        "sendfile" => &[(2, Fixed(8, 4))],
        "sendfile64" => &[(2, Fixed(8, 8))],
        _ => &[],
    }
}

/// A call returned: what it wrote is clean.
pub fn returned(memory: &mut Memory, cpu: &Cpu<'_>, call: &SyscallInfo, result: i64) {
    if memory.is_empty() || (-4095..0).contains(&result) {
        return;
    }
    let Some(name) = cpu.syscall_name(call.abi, call.number) else { return };
    let kernel = Kernel { cpu, call, wide: call.abi == syscall_abi::LINUX_X86_64 };
    let result = result as u64;
    for (pointer, len) in written(&name) {
        let address = call.args[*pointer];
        if address == 0 {
            continue;
        }
        let len = match *len {
            Fixed(wide, narrow) => {
                if kernel.wide {
                    wide
                } else {
                    narrow
                }
            }
            Returned(each) => result.wrapping_mul(each),
            Arg(n, each) => call.args[n].wrapping_mul(each),
            At(n) => u64::from(kernel.u32_at(call.args[n])).min(0x1000),
            Vector(count) => {
                kernel.clear_vector(memory, address, call.args[count], result);
                continue;
            }
        };
        memory.clear(address, len);
    }
    kernel.special(memory, &name, result);
}

struct Kernel<'a, 'c> {
    cpu: &'a Cpu<'c>,
    call: &'a SyscallInfo,
    wide: bool,
}

impl Kernel<'_, '_> {
    /// Calls whose effect is no list of buffers.
    fn special(&self, memory: &mut Memory, name: &str, result: u64) {
        let args = &self.call.args;
        match name {
            "mmap" if !self.wide => memory.clear(result, u64::from(self.u32_at(args[0] + 4))),
            "mmap" | "mmap2" => memory.clear(result, args[1]),
            "munmap" => memory.clear(args[0], args[1]),
            // MADV_DONTNEED
            "madvise" if args[2] == 4 => memory.clear(args[0], args[1]),
            "mremap" => {
                let (old, old_len, new_len) = (args[0], args[1], args[2]);
                if result != old {
                    let kept = memory.runs(old, old_len.min(new_len));
                    memory.clear(result, new_len);
                    for (address, len, set) in kept {
                        memory.write(result + (address - old), &vec![set; len as usize]);
                    }
                    memory.clear(old, old_len);
                } else if new_len < old_len {
                    memory.clear(old + new_len, old_len - new_len);
                }
            }
            "recvmsg" => self.message(memory, args[1], result),
            "poll" | "ppoll" | "ppoll_time64" => {
                // The events that came are the last two bytes of an entry.
                for n in 0..args[1].min(0x10000) {
                    memory.clear(args[0] + 8 * n + 6, 2);
                }
            }
            "select" | "_newselect" | "pselect6" | "pselect6_time64" => {
                let word = if self.wide { 64 } else { 32 };
                let len = args[0].min(0x10000).div_ceil(word) * word / 8;
                for set in args[1..4].iter().filter(|a| **a != 0) {
                    memory.clear(*set, len);
                }
            }
            // The socket calls of i386, by number (linux/net.h): the arguments are in memory.
            "socketcall" => {
                let arg = |n| self.word_at(args[1], n);
                match args[0] {
                    10 => memory.clear(arg(1), result),
                    12 => {
                        memory.clear(arg(1), result);
                        if arg(4) != 0 {
                            memory.clear(arg(4), u64::from(self.u32_at(arg(5))).min(0x1000));
                        }
                    }
                    17 => self.message(memory, arg(1), result),
                    _ => {}
                }
            }
            // Requests that tell direction and size (ioctl(2)), and terminals.
            "ioctl" => {
                let request = args[1] as u32;
                let len = match request {
                    0x5401 => 36,
                    0x5413 => 8,
                    0x540f | 0x541b => 4,
                    r if r >> 30 & 2 != 0 => r >> 16 & 0x3fff,
                    _ => 0,
                };
                memory.clear(args[2], u64::from(len));
            }
            _ => {}
        }
    }

    fn u32_at(&self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        // The kernel could read it.
        let _ = self.cpu.read_mem(address, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// A word of the guest: address or size.
    fn word_at(&self, address: u64, n: u64) -> u64 {
        let low = self.u32_at(address + n * if self.wide { 8 } else { 4 });
        let high = if self.wide { self.u32_at(address + n * 8 + 4) } else { 0 };
        u64::from(high) << 32 | u64::from(low)
    }

    /// The first `total` bytes of the buffers in a vector.
    fn clear_vector(&self, memory: &mut Memory, vector: u64, count: u64, total: u64) {
        let mut left = total;
        for n in 0..count.min(1024) {
            let len = self.word_at(vector, 2 * n + 1).min(left);
            memory.clear(self.word_at(vector, 2 * n), len);
            left -= len;
        }
    }

    /// `recvmsg`: name, buffers, ancillary data, flags (the words of `struct msghdr`).
    fn message(&self, memory: &mut Memory, header: u64, result: u64) {
        let word = if self.wide { 8 } else { 4 };
        let name = self.word_at(header, 0);
        if name != 0 {
            memory.clear(name, u64::from(self.u32_at(header + word)).min(0x1000));
        }
        self.clear_vector(memory, self.word_at(header, 2), self.word_at(header, 3), result);
        let control = self.word_at(header, 4);
        if control != 0 {
            memory.clear(control, self.word_at(header, 5).min(0x10000));
        }
        memory.clear(header + word, 4);
        memory.clear(header + 5 * word, word + 4);
    }
}
