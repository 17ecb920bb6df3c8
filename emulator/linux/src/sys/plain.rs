//! Plain calls: those the host makes as they are once their arguments have been checked.
//!
//! They are most of what programs call. What the kinds of a row's arguments come to for such a call is worked out
//! when the host is compiled, in a table by number for each ABI.

use crate::Abi;
use crate::sys::args::Arg;
use crate::sys::pass::{Guest, MAX_ELEMENTS, NOWHERE, clamp};
use crate::sys::table::{self, Row, Run};
use crate::sys::{Errno, fds};

/// A plain call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    /// The host's call.
    pub number: u16,
    /// Whether it may wait for something that other guest threads or processes do.
    pub may_block: bool,
    /// How each argument comes out of its register.
    widths: [Width; 6],
    /// Which arguments are descriptors, as bits by index.
    fds: u8,
    /// Which are thread ids.
    tids: u8,
    /// Memory, in the order of arguments.
    memory: [Memory; MOST],
    /// How many of them there are.
    count: u8,
}

/// How many of a register's bits count, and whether the last of them is a sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Width {
    mask: u64,
    sign: u64,
}

impl Width {
    const ALL: Width = Width { mask: u64::MAX, sign: 0 };
    const UNSIGNED: Width = Width { mask: 0xffff_ffff, sign: 0 };
    const SIGNED: Width = Width { mask: 0xffff_ffff, sign: 1 << 31 };

    /// The argument in a register. Without branches, since it is done for all six.
    #[inline(always)]
    const fn of(self, register: u64) -> u64 {
        (register & self.mask ^ self.sign).wrapping_sub(self.sign)
    }
}

/// Memory that an argument points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Memory {
    arg: u8,
    /// Whether the kernel may fill it.
    fills: bool,
    len: Len,
}

/// How much memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Len {
    /// Unknown: it begins there.
    Start,
    /// Bytes in the argument of that index.
    Bytes(u8),
    /// A structure of that many bytes.
    One(u32),
    /// Structures of so many bytes, their number in the argument of that index.
    Array(u32, u8),
}

/// The most pointers among the arguments of a plain call.
const MOST: usize = 4;

impl Plain {
    /// The plain call of that number.
    #[inline]
    pub fn of(abi: Abi, number: u64) -> Option<&'static Plain> {
        let table = match abi {
            Abi::X86_64 => &BY_X86_64,
            Abi::I386 => &BY_I386,
        };
        table.get(number as u32 as usize)?.as_ref()
    }

    /// What a row comes to in an ABI; `None` if a function of ours runs it or something has to be converted.
    const fn new(row: &Row, abi: Abi) -> Option<Plain> {
        let Run::Pass(number) = row.run else { return None };
        let narrow = matches!(abi, Abi::I386);
        let mut plain = Plain {
            number: number as u16,
            may_block: row.may_block(),
            widths: [if narrow { Width::UNSIGNED } else { Width::ALL }; 6],
            fds: 0,
            tids: 0,
            memory: [Memory { arg: 0, fills: false, len: Len::Start }; MOST],
            count: 0,
        };
        let mut i = 0;
        while i < row.args.len() {
            let bit = 1 << i;
            let arg = row.args[i];
            let memory = match arg {
                Arg::Fd | Arg::DirFd => {
                    plain.widths[i] = Width::SIGNED;
                    plain.fds |= bit;
                    None
                }
                Arg::Tid => {
                    plain.widths[i] = Width::SIGNED;
                    plain.tids |= bit;
                    None
                }
                Arg::Int | Arg::Pid | Arg::Signal => {
                    plain.widths[i] = Width::SIGNED;
                    None
                }
                Arg::Long if narrow => {
                    plain.widths[i] = Width::SIGNED;
                    None
                }
                Arg::UInt | Arg::Id | Arg::Mode => {
                    plain.widths[i] = Width::UNSIGNED;
                    None
                }
                Arg::OldId if !narrow => {
                    plain.widths[i] = Width::UNSIGNED;
                    None
                }
                Arg::Wide if !narrow => None,
                Arg::OldId | Arg::Wide | Arg::Pos | Arg::Timer => return None,
                Arg::Long | Arg::ULong => None,
                Arg::Path | Arg::Str | Arg::Addr => Some((false, Len::Start)),
                Arg::BufIn(len) => Some((false, Len::Bytes(len))),
                Arg::BufOut(len) => Some((true, Len::Bytes(len))),
                Arg::In(s) | Arg::Out(s) | Arg::InOut(s) | Arg::Left(s) => {
                    if narrow && !s.is_same() {
                        return None;
                    }
                    Some((!matches!(arg, Arg::In(_)), Len::One(s.host_size as u32)))
                }
                Arg::InArray(s, n) | Arg::OutArray(s, n) | Arg::InOutArray(s, n) => {
                    if narrow && !s.is_same() {
                        return None;
                    }
                    Some((!matches!(arg, Arg::InArray(..)), Len::Array(s.host_size as u32, n)))
                }
            };
            if let Some((fills, len)) = memory {
                if plain.count as usize == MOST {
                    return None;
                }
                plain.memory[plain.count as usize] = Memory { arg: i as u8, fills, len };
                plain.count += 1;
            }
            i += 1;
        }
        Some(plain)
    }

    /// Fills in the host's arguments. `false`: this one call has to take the long way, which may do again what has
    /// been done.
    #[inline]
    #[must_use]
    pub fn prepare(
        &self,
        registers: &[u64; 6],
        args: &mut [u64; 6],
        guest: &mut impl Guest,
    ) -> bool {
        for ((arg, &register), width) in args.iter_mut().zip(registers).zip(self.widths) {
            *arg = width.of(register);
        }
        if members(self.fds).any(|i| fds::is_reserved(args[i] as i32)) {
            return false;
        }
        for i in members(self.tids) {
            // The caller, which is not the host thread that makes the call.
            if args[i] == 0 {
                let Some(tid) = guest.tid() else { return false };
                args[i] = tid;
            }
        }
        for memory in &self.memory[..usize::from(self.count)] {
            match memory.check(args, guest) {
                Ok(()) => {}
                Err(Errno::EFAULT) => args[usize::from(memory.arg)] = NOWHERE,
                Err(_) => return false,
            }
        }
        true
    }
}

impl Memory {
    #[inline]
    fn check(self, args: &mut [u64; 6], guest: &mut impl Guest) -> Result<(), Errno> {
        let at = args[usize::from(self.arg)];
        let len = match self.len {
            Len::Start => 1,
            Len::Bytes(n) => {
                let len = &mut args[usize::from(n)];
                *len = clamp(guest.abi(), at, *len)?;
                if !self.fills {
                    return Ok(());
                }
                *len
            }
            Len::One(_) | Len::Array(..) if at == 0 => return Ok(()),
            Len::One(size) => u64::from(size),
            Len::Array(_, n) if args[usize::from(n)] > MAX_ELEMENTS => return Err(Errno::EFAULT),
            Len::Array(size, n) => u64::from(size) * args[usize::from(n)],
        };
        if self.fills { guest.prepare_write(at, len) } else { guest.check_range(at, len) }
    }
}

/// The indices in a set.
fn members(mut set: u8) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let first = set.trailing_zeros() as usize;
        (set != 0).then(|| {
            set &= set - 1;
            first
        })
    })
}

const fn all(abi: Abi) -> [Option<Plain>; 512] {
    let mut out = [None; 512];
    let mut number = 0;
    while number < out.len() {
        if let Some(row) = table::lookup(abi, number as u64) {
            out[number] = Plain::new(row, abi);
        }
        number += 1;
    }
    out
}

static BY_X86_64: [Option<Plain>; 512] = all(Abi::X86_64);
static BY_I386: [Option<Plain>; 512] = all(Abi::I386);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::args;

    /// A guest that notes what may be filled.
    struct Noted(Abi, Vec<(u64, u64)>);

    impl Guest for Noted {
        fn abi(&self) -> Abi {
            self.0
        }

        fn prepare_write(&mut self, addr: u64, len: u64) -> Result<(), Errno> {
            self.check_range(addr, len)?;
            self.1.push((addr, len));
            Ok(())
        }

        fn tid(&mut self) -> Option<u64> {
            Some(77)
        }
    }

    fn prepared(abi: Abi, name: &str, registers: [u64; 6]) -> (Option<[u64; 6]>, Vec<(u64, u64)>) {
        let row = table::ROWS.iter().find(|r| r.name == name).expect("a call");
        let number = if abi == Abi::I386 { row.i386 } else { row.x86_64 }.expect("a number");
        let plain = Plain::of(abi, number.into()).expect("a plain call");
        let (mut args, mut guest) = ([0; 6], Noted(abi, Vec::new()));
        let ready = plain.prepare(&registers, &mut args, &mut guest);
        (ready.then_some(args), guest.1)
    }

    #[test]
    fn arguments_come_out_as_the_long_way_has_them() {
        let registers = [0x1_ffff_fff0, 0x8000_1000, 0x1_0000_0020, 3, 0xffff_ffff, 6];
        for abi in [Abi::X86_64, Abi::I386] {
            let registers = registers.map(|r| if abi == Abi::I386 { r & 0xffff_ffff } else { r });
            for number in 0..512 {
                let (Some(row), Some(plain)) = (table::lookup(abi, number), Plain::of(abi, number))
                else {
                    continue;
                };
                let decoded = args::decode(row.args, abi, &registers);
                let mut args = [0; 6];
                if !plain.prepare(&registers, &mut args, &mut Noted(abi, Vec::new())) {
                    continue;
                }
                for (i, kind) in row.args.iter().enumerate() {
                    // A pointer the guest cannot have, or a length that was cut.
                    if args[i] != NOWHERE && !row.args.iter().any(|k| is_length(k, i)) {
                        assert_eq!(args[i], decoded[i], "{} {abi:?} {i} {kind:?}", row.name);
                    }
                }
            }
        }
    }

    fn is_length(kind: &Arg, index: usize) -> bool {
        matches!(kind, Arg::BufIn(n) | Arg::BufOut(n) if usize::from(*n) == index)
    }

    #[test]
    fn memory_is_checked_and_prepared() {
        let filled = |abi, name, registers| {
            let (args, filled) = prepared(abi, name, registers);
            (args.expect("the short way"), filled)
        };
        let wide = Abi::X86_64;
        assert_eq!(
            filled(wide, "read", [3, 0x1000, 10, 0, 0, 0]),
            ([3, 0x1000, 10, 0, 0, 0], vec![(0x1000, 10)])
        );
        assert_eq!(filled(wide, "write", [1, 0x1000, 10, 0, 0, 0]).1, []);
        assert_eq!(filled(wide, "read", [3, wide.stack_top() - 4, 10, 0, 0, 0]).0[2], 4);
        assert_eq!(filled(wide, "read", [3, wide.stack_top() + 4, 10, 0, 0, 0]).0[1], NOWHERE);
        let (args, memory) = filled(wide, "epoll_wait", [3, 0x1000, 5, u64::MAX, 0, 0]);
        assert_eq!((args[3], memory), (u64::MAX, vec![(0x1000, 60)]));
        assert_eq!(filled(wide, "epoll_wait", [3, 0x1000, 1 << 20, 0, 0, 0]).0[1], NOWHERE);
        assert_eq!(filled(wide, "pipe", [0; 6]).1, [], "null is the kernel's to refuse");
        assert_eq!(filled(wide, "sched_get_priority_max", [1, 0, 0, 0, 0, 0]).0[0], 1);
        assert_eq!(filled(wide, "sched_getscheduler", [0; 6]).0[0], 77);
    }

    #[test]
    fn what_has_to_be_converted_is_not_plain() {
        let number = |abi, name| {
            let row = table::ROWS.iter().find(|r| r.name == name).expect("a call");
            u64::from(if abi == Abi::I386 { row.i386 } else { row.x86_64 }.expect("a number"))
        };
        for name in ["times", "fstatfs", "getitimer"] {
            let wide = Plain::of(Abi::X86_64, number(Abi::X86_64, name));
            let narrow = Plain::of(Abi::I386, number(Abi::I386, name));
            assert!(wide.is_some() && narrow.is_none(), "{name}");
        }
        assert_eq!(Plain::of(Abi::X86_64, 511), None);
        assert_eq!(Plain::of(Abi::X86_64, u64::MAX), None);
    }
}
