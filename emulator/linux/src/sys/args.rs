//! What the arguments of system calls are: the vocabulary of the call table.

use crate::abi::Abi;
use crate::abi::layout::Struct;

/// The kind of one argument. It says how the argument is read from guest registers, what has to be
/// checked and converted before the host kernel sees it, and how a log prints it.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A file descriptor.
    Fd,
    /// A directory descriptor or `AT_FDCWD`.
    DirFd,
    /// `int`.
    Int,
    /// `unsigned int`, and bit sets.
    UInt,
    /// `long`: sign-extended from a 32-bit guest's register.
    Long,
    /// `unsigned long`, `size_t`.
    ULong,
    /// A 64-bit value: one register of a 64-bit guest, two (low, high) of a 32-bit guest.
    Wide,
    /// A 64-bit file position in two registers (low, high) of either guest; a 64-bit guest's low
    /// half holds all of it.
    Pos,
    /// File mode bits.
    Mode,
    /// A process or thread id.
    Pid,
    /// A thread id, 0 for the caller's.
    Tid,
    /// A POSIX timer's id.
    Timer,
    /// A user or group id of 32 bits.
    Id,
    /// A user or group id, of 16 bits in a 32-bit guest.
    OldId,
    /// A signal number.
    Signal,
    /// A NUL-terminated path name.
    Path,
    /// Another NUL-terminated string.
    Str,
    /// An address that the call does not access as such (`mmap`), or one its function checks.
    Addr,
    /// A buffer the kernel reads, its length in the argument of that index.
    BufIn(u8),
    /// A buffer the kernel fills, its length in the argument of that index.
    BufOut(u8),
    /// A structure the kernel reads.
    In(&'static Struct),
    /// A structure the kernel fills when the call succeeds.
    Out(&'static Struct),
    /// A structure the kernel reads, and updates when the call succeeds.
    InOut(&'static Struct),
    /// A structure the kernel fills only when the call is interrupted (the time left to sleep).
    Left(&'static Struct),
    /// An array of structures the kernel reads, its length in the argument of that index.
    InArray(&'static Struct, u8),
    /// An array of structures the kernel fills, its capacity in the argument of that index; the
    /// result says how many were.
    OutArray(&'static Struct, u8),
    /// An array of structures the kernel updates, its length in the argument of that index.
    InOutArray(&'static Struct, u8),
}

impl Arg {
    /// Whether the value is a guest address.
    pub const fn is_pointer(self) -> bool {
        use Arg::*;
        matches!(
            self,
            Path | Str
                | Addr
                | BufIn(_)
                | BufOut(_)
                | In(_)
                | Out(_)
                | InOut(_)
                | Left(_)
                | InArray(..)
                | OutArray(..)
                | InOutArray(..)
        )
    }

    /// Registers of a guest the argument takes.
    pub const fn words(self, abi: Abi) -> usize {
        match (self, abi) {
            (Arg::Wide, Abi::I386) | (Arg::Pos, _) => 2,
            _ => 1,
        }
    }
}

/// Reads the arguments of a call, one value per [`Arg`], from the guest's argument registers.
///
/// Values come out as the host kernel takes them: `int` sign-extended, pointers and sizes
/// zero-extended, register pairs joined.
pub fn decode(kinds: &[Arg], abi: Abi, registers: &[u64; 6]) -> [u64; 6] {
    let mut out = [0; 6];
    decode_to(&mut out, kinds, abi, registers);
    out
}

/// [`decode`] into zeroes in place: an array of words just written is slow to copy.
#[inline]
pub fn decode_to(out: &mut [u64; 6], kinds: &[Arg], abi: Abi, registers: &[u64; 6]) {
    let mut next = 0;
    for (slot, &kind) in out.iter_mut().zip(kinds) {
        let low = registers.get(next).copied().unwrap_or(0);
        let high = registers.get(next + 1).copied().unwrap_or(0);
        next += kind.words(abi);
        *slot = match (kind, abi) {
            (
                Arg::Fd | Arg::DirFd | Arg::Int | Arg::Timer | Arg::Pid | Arg::Tid | Arg::Signal,
                _,
            ) => low as i32 as u64,
            (Arg::UInt | Arg::Id, _) | (Arg::OldId, Abi::X86_64) => u64::from(low as u32),
            (Arg::OldId, Abi::I386) => u64::from(wide_id(low as u16)),
            (Arg::Mode, _) => u64::from(low as u32),
            (Arg::Long, Abi::I386) => low as i32 as u64,
            (Arg::Wide | Arg::Pos, Abi::I386) => u64::from(low as u32) | high << 32,
            (_, Abi::I386) => u64::from(low as u32),
            (_, Abi::X86_64) => low,
        };
    }
}

/// The 32-bit id that a 16-bit one means: all ones stay all ones ("leave as is").
pub fn wide_id(id: u16) -> u32 {
    if id == u16::MAX { u32::MAX } else { u32::from(id) }
}

/// The 16-bit id that stands for a 32-bit one: those that do not fit become 65534, the kernel's
/// `overflowuid`.
pub fn narrow_id(id: u32) -> u16 {
    u16::try_from(id).unwrap_or(65534)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_take_two_registers_of_a_32_bit_guest_only() {
        let kinds = [Arg::Fd, Arg::Addr, Arg::ULong, Arg::Wide];
        let regs = [3, 0x1000, 5, 0x89ab_cdef, 0x0123_4567, 9];
        assert_eq!(decode(&kinds, Abi::I386, &regs)[3], 0x0123_4567_89ab_cdef);
        assert_eq!(decode(&kinds, Abi::X86_64, &regs)[3], 0x89ab_cdef);
    }

    #[test]
    fn ints_are_sign_extended_and_sizes_are_not() {
        let regs = [0xffff_ff9c, 0xffff_ffff, 0xffff_ffff, 0xffff, 0, 0];
        let got = decode(&[Arg::DirFd, Arg::ULong, Arg::Long, Arg::OldId], Abi::I386, &regs);
        assert_eq!(got, [-100i64 as u64, 0xffff_ffff, u64::MAX, 0xffff_ffff, 0, 0]);
    }

    #[test]
    fn ids_that_do_not_fit_become_the_overflow_id() {
        assert_eq!(narrow_id(1000), 1000);
        assert_eq!(narrow_id(70000), 65534);
        assert_eq!(wide_id(u16::MAX), u32::MAX);
    }
}
