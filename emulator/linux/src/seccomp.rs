//! Filters that a guest puts on its own system calls (seccomp(2)): classic BPF programs, checked and
//! run here, since the host's calls are not the guest's.

use std::sync::Arc;

use crate::{Abi, Errno};

/// Bytes of `struct seccomp_data`, what a filter looks at.
const DATA: usize = 64;
/// Scratch words of a program.
const SCRATCH: usize = 16;
/// The longest program (`BPF_MAXINSNS`).
const MOST: usize = 4096;
/// The most instructions of all filters together; each filter counts four more.
const MOST_IN_ALL: usize = 32768;

/// What a filter says (include/uapi/linux/seccomp.h), without the data that goes with it.
pub mod action {
    /// The process dies of SIGSYS.
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    /// The thread dies.
    pub const KILL_THREAD: u32 = 0;
    /// SIGSYS.
    pub const TRAP: u32 = 0x0003_0000;
    /// The call fails with the data.
    pub const ERRNO: u32 = 0x0005_0000;
    /// For a tracer.
    pub const TRACE: u32 = 0x7ff0_0000;
    /// The call is made, and noted by the kernel.
    pub const LOG: u32 = 0x7ffc_0000;
    /// The call is made.
    pub const ALLOW: u32 = 0x7fff_0000;
    /// The part of a result that is an action.
    pub const MASK: u32 = 0xffff_0000;
}

/// Opcodes that a filter may have; the others of classic BPF are for packets.
mod op {
    pub const LD_ABS: u16 = 0x20;
    pub const LD_LEN: u16 = 0x80;
    pub const LDX_LEN: u16 = 0x81;
    pub const LD_IMM: u16 = 0x00;
    pub const LDX_IMM: u16 = 0x01;
    pub const LD_MEM: u16 = 0x60;
    pub const LDX_MEM: u16 = 0x61;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const JA: u16 = 0x05;
    pub const RET_K: u16 = 0x06;
    pub const RET_A: u16 = 0x16;
    pub const TAX: u16 = 0x07;
    pub const TXA: u16 = 0x87;
    pub const NEG: u16 = 0x84;
    /// Takes X for the operand, in arithmetic and jumps.
    pub const X: u16 = 0x08;
    pub const ADD: u16 = 0x04;
    pub const SUB: u16 = 0x14;
    pub const MUL: u16 = 0x24;
    pub const DIV: u16 = 0x34;
    pub const OR: u16 = 0x44;
    pub const AND: u16 = 0x54;
    pub const LSH: u16 = 0x64;
    pub const RSH: u16 = 0x74;
    pub const XOR: u16 = 0xa4;
    pub const JEQ: u16 = 0x15;
    pub const JGT: u16 = 0x25;
    pub const JGE: u16 = 0x35;
    pub const JSET: u16 = 0x45;
}

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    code: u16,
    on_true: u8,
    on_false: u8,
    k: u32,
}

impl Insn {
    /// Bytes of one in memory.
    pub const SIZE: usize = 8;

    fn from_bytes(raw: &[u8]) -> Insn {
        Insn {
            code: u16::from_le_bytes([raw[0], raw[1]]),
            on_true: raw[2],
            on_false: raw[3],
            k: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
        }
    }

    /// An arithmetic or jump opcode without the bit that says where the operand is.
    fn operation(self) -> u16 {
        self.code & !op::X
    }
}

/// The call a filter looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallData {
    /// Number.
    pub number: u32,
    /// The ABI it uses.
    pub abi: Abi,
    /// The address behind the instruction that makes it.
    pub pc: u64,
    /// Argument registers.
    pub args: [u64; 6],
}

impl CallData {
    /// `AUDIT_ARCH_X86_64` or `AUDIT_ARCH_I386`.
    pub fn arch(&self) -> u32 {
        match self.abi {
            Abi::X86_64 => 0xc000_003e,
            Abi::I386 => 0x4000_0003,
        }
    }

    fn words(&self) -> [u32; DATA / 4] {
        let mut words = [0; DATA / 4];
        words[0] = self.number;
        words[1] = self.arch();
        let wide = core::iter::once(&self.pc).chain(&self.args);
        for (pair, &value) in words[2..].chunks_exact_mut(2).zip(wide) {
            pair[0] = value as u32;
            pair[1] = (value >> 32) as u32;
        }
        words
    }
}

/// A program that has been checked: it ends, and stays within its data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(Box<[Insn]>);

impl Filter {
    /// Checks a program of `struct sock_filter`s as the kernel does (net/core/filter.c,
    /// `bpf_check_classic`; kernel/seccomp.c, `seccomp_check_filter`).
    pub fn new(raw: &[u8]) -> Result<Filter, Errno> {
        let program: Box<[Insn]> = raw.chunks_exact(Insn::SIZE).map(Insn::from_bytes).collect();
        let ends = program.last().is_some_and(|i| matches!(i.code, op::RET_K | op::RET_A));
        if program.len() > MOST || !ends {
            return Err(Errno::EINVAL);
        }
        // Bit n of an entry: scratch word n may not have been stored by the time control is there.
        let mut unset = vec![0u16; program.len()];
        unset[0] = u16::MAX;
        for (at, insn) in program.iter().enumerate() {
            let left = program.len() - at - 1;
            let mut here = unset[at];
            let word = insn.k as usize;
            let mut reach = |by: usize, here: u16| {
                if by >= left {
                    return Err(Errno::EINVAL);
                }
                unset[at + 1 + by] |= here;
                Ok(())
            };
            match insn.code {
                op::LD_ABS if word.is_multiple_of(4) && word < DATA => {}
                op::LD_LEN | op::LDX_LEN | op::LD_IMM | op::LDX_IMM => {}
                op::TAX | op::TXA | op::NEG => {}
                op::LD_MEM | op::LDX_MEM if word < SCRATCH && here & 1 << word == 0 => {}
                op::ST | op::STX if word < SCRATCH => here &= !(1 << word),
                op::RET_K | op::RET_A => continue,
                op::JA => {
                    reach(word, here)?;
                    continue;
                }
                _ => match (insn.operation(), insn.code & op::X != 0) {
                    (op::ADD | op::SUB | op::MUL | op::OR | op::AND | op::XOR, _) => {}
                    (op::DIV | op::LSH | op::RSH, true) => {}
                    (op::DIV, false) if insn.k != 0 => {}
                    (op::LSH | op::RSH, false) if insn.k < 32 => {}
                    (op::JEQ | op::JGT | op::JGE | op::JSET, _) => {
                        reach(insn.on_true.into(), here)?;
                        reach(insn.on_false.into(), here)?;
                        continue;
                    }
                    _ => return Err(Errno::EINVAL),
                },
            }
            reach(0, here)?;
        }
        Ok(Filter(program))
    }

    /// What it says of a call: an action and its data.
    fn run(&self, data: &[u32; DATA / 4]) -> u32 {
        let (mut a, mut x, mut scratch) = (0u32, 0u32, [0u32; SCRATCH]);
        let mut at = 0;
        loop {
            let insn = self.0[at];
            let word = insn.k as usize;
            at += 1;
            match insn.code {
                op::LD_ABS => a = data[word / 4],
                op::LD_LEN => a = DATA as u32,
                op::LDX_LEN => x = DATA as u32,
                op::LD_IMM => a = insn.k,
                op::LDX_IMM => x = insn.k,
                op::LD_MEM => a = scratch[word],
                op::LDX_MEM => x = scratch[word],
                op::ST => scratch[word] = a,
                op::STX => scratch[word] = x,
                op::TAX => x = a,
                op::TXA => a = x,
                op::NEG => a = a.wrapping_neg(),
                op::JA => at += word,
                op::RET_K => return insn.k,
                op::RET_A => return a,
                code => {
                    let b = if code & op::X != 0 { x } else { insn.k };
                    let jump =
                        |taken| usize::from(if taken { insn.on_true } else { insn.on_false });
                    match insn.operation() {
                        op::ADD => a = a.wrapping_add(b),
                        op::SUB => a = a.wrapping_sub(b),
                        op::MUL => a = a.wrapping_mul(b),
                        // A division by zero ends the program.
                        op::DIV if b == 0 => return 0,
                        op::DIV => a /= b,
                        op::OR => a |= b,
                        op::AND => a &= b,
                        op::XOR => a ^= b,
                        op::LSH => a = a.wrapping_shl(b),
                        op::RSH => a = a.wrapping_shr(b),
                        op::JEQ => at += jump(a == b),
                        op::JGT => at += jump(a > b),
                        op::JGE => at += jump(a >= b),
                        _ => at += jump(a & b != 0),
                    }
                }
            }
        }
    }
}

/// What a thread has put on its calls.
#[derive(Clone, Debug, Default)]
pub enum Confinement {
    /// Nothing.
    #[default]
    Free,
    /// `read`, `write`, `exit` and `sigreturn` only.
    Strict,
    /// Filters, the oldest first. Threads and children share what they have inherited.
    Filtered(Vec<Arc<Filter>>),
}

impl Confinement {
    /// The mode's number, as `PR_GET_SECCOMP` and `/proc/self/status` tell it.
    pub fn mode(&self) -> u64 {
        match self {
            Confinement::Free => 0,
            Confinement::Strict => 1,
            Confinement::Filtered(_) => 2,
        }
    }

    /// The filters.
    pub fn filters(&self) -> &[Arc<Filter>] {
        match self {
            Confinement::Filtered(filters) => filters,
            _ => &[],
        }
    }

    /// Adds a filter.
    pub fn add(&mut self, filter: Filter) -> Result<(), Errno> {
        if let Confinement::Strict = self {
            return Err(Errno::EINVAL);
        }
        let old: usize = self.filters().iter().map(|f| f.0.len() + 4).sum();
        if old + filter.0.len() > MOST_IN_ALL {
            return Err(Errno::ENOMEM);
        }
        let mut filters = self.filters().to_vec();
        filters.push(Arc::new(filter));
        *self = Confinement::Filtered(filters);
        Ok(())
    }

    /// Whether all of this is part of `other`, as its oldest part.
    pub fn is_ancestor_of(&self, other: &Confinement) -> bool {
        let (old, new) = (self.filters(), other.filters());
        !matches!(self, Confinement::Strict)
            && old.len() <= new.len()
            && old.iter().zip(new).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// What the filters say of a call: the most severe action and its data, the newest filter's
    /// where several say it.
    pub fn verdict(&self, call: &CallData) -> u32 {
        let data = call.words();
        let results = self.filters().iter().rev().map(|f| f.run(&data));
        // Signed: KILL_PROCESS is the most severe.
        results.min_by_key(|r| (r & action::MASK) as i32).unwrap_or(action::ALLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(insns: &[(u16, u8, u8, u32)]) -> Result<Filter, Errno> {
        let raw = insns.iter().flat_map(|&(code, on_true, on_false, k)| {
            let mut raw = [0; 8];
            raw[..2].copy_from_slice(&code.to_le_bytes());
            (raw[2], raw[3]) = (on_true, on_false);
            raw[4..].copy_from_slice(&k.to_le_bytes());
            raw
        });
        Filter::new(&raw.collect::<Vec<u8>>())
    }

    const CALL: CallData = CallData {
        number: 39,
        abi: Abi::X86_64,
        pc: 0x1_2345_6789,
        args: [7, 1 << 40, 0, 0, 0, 9],
    };

    fn result(insns: &[(u16, u8, u8, u32)]) -> u32 {
        program(insns).expect("accepted").run(&CALL.words())
    }

    #[test]
    fn the_data_of_a_call() {
        for (at, value) in
            [(0, 39), (4, 0xc000_003e), (8, 0x2345_6789), (12, 1), (16, 7), (28, 1 << 8), (56, 9)]
        {
            assert_eq!(result(&[(op::LD_ABS, 0, 0, at), (op::RET_A, 0, 0, 0)]), value, "at {at}");
        }
    }

    #[test]
    fn arithmetic_and_jumps() {
        let calculated =
            |code, a, k| result(&[(op::LD_IMM, 0, 0, a), (code, 0, 0, k), (op::RET_A, 0, 0, 0)]);
        assert_eq!(calculated(op::SUB, 1, 2), u32::MAX);
        assert_eq!(calculated(op::DIV, 7, 2), 3);
        assert_eq!(calculated(op::XOR, 6, 3), 5);
        assert_eq!(calculated(op::RSH, 8, 3), 1);
        assert_eq!(calculated(op::NEG, 8, 0), 0u32.wrapping_sub(8));
        // Divided by X, which is 0.
        assert_eq!(calculated(op::DIV | op::X, 7, 0), 0);
        let jumped = |code, k| {
            let ends = [(op::RET_K, 0, 0, 1), (op::RET_K, 0, 0, 2)];
            result(&[(op::LD_IMM, 0, 0, 5), (code, 0, 1, k), ends[0], ends[1]])
        };
        assert_eq!([4, 5, 6].map(|k| jumped(op::JEQ, k)), [2, 1, 2]);
        assert_eq!([4, 5, 6].map(|k| jumped(op::JGT, k)), [1, 2, 2]);
        assert_eq!([4, 5, 6].map(|k| jumped(op::JGE, k)), [1, 1, 2]);
        assert_eq!([4, 2, 8].map(|k| jumped(op::JSET, k)), [1, 2, 2]);
    }

    #[test]
    fn bad_programs_are_refused() {
        let end = (op::RET_K, 0, 0, 0);
        for bad in [
            &[][..],
            &[(op::LD_IMM, 0, 0, 0)],
            &[(op::LD_ABS, 0, 0, 64), end],
            &[(op::LD_ABS, 0, 0, 2), end],
            &[(op::JEQ, 0, 1, 0), end],
            &[(op::JA, 0, 0, 1), end],
            &[(op::JA, 0, 0, u32::MAX), end],
            &[(op::DIV, 0, 0, 0), end],
            &[(op::LSH, 0, 0, 32), end],
            &[(op::ST, 0, 0, 16), end],
            // Packets' opcodes.
            &[(0x28, 0, 0, 0), end],
            &[(0x94, 0, 0, 1), end],
            // A word that one of two ways has not stored.
            &[(op::JEQ, 0, 1, 0), (op::ST, 0, 0, 1), (op::LD_MEM, 0, 0, 1), end],
        ] {
            assert_eq!(program(bad), Err(Errno::EINVAL), "{bad:?}");
        }
        assert!(
            program(&[(op::ST, 0, 0, 1), (op::JEQ, 0, 0, 0), (op::LD_MEM, 0, 0, 1), end]).is_ok()
        );
    }

    #[test]
    fn the_most_severe_verdict_counts_and_the_newest_of_equals() {
        let mut all = Confinement::default();
        let mut say = |k| {
            let before = all.clone();
            all.add(program(&[(op::RET_K, 0, 0, k)]).expect("accepted")).expect("room");
            assert!(before.is_ancestor_of(&all) && !all.is_ancestor_of(&before));
            all.verdict(&CALL)
        };
        assert_eq!(say(action::ALLOW), action::ALLOW);
        assert_eq!(say(action::ERRNO | 1), action::ERRNO | 1);
        assert_eq!(say(action::ERRNO | 2), action::ERRNO | 2);
        assert_eq!(say(action::LOG), action::ERRNO | 2);
        assert_eq!(say(action::KILL_PROCESS), action::KILL_PROCESS);
        assert_eq!(say(action::KILL_THREAD), action::KILL_PROCESS);
    }
}
