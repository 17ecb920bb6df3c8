//! A lifted block.

use crate::{HookSite, Inst, Op};

/// A guest instruction of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestInsn {
    /// Guest address.
    pub pc: u64,
    /// Length in bytes.
    pub len: u8,
    /// Index of its [`crate::Op::InsnStart`] in the op list.
    pub first: u16,
}

/// One inlined counter: adds `amount` to the u64 at address `cell`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterSite {
    /// Address of the u64.
    pub cell: usize,
    /// What to add.
    pub amount: u64,
}

/// A straight-line piece of guest code with side exits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// Guest pc of the first instruction.
    pub pc: u64,
    /// The ops; the last one is a terminator.
    pub insts: Vec<Inst>,
    /// The guest instructions, in order. Their number is what the block takes from the budget.
    pub insns: Vec<GuestInsn>,
    /// Hook sites, named by [`crate::Op::Hook`].
    pub hooks: Vec<HookSite>,
    /// Counter sites, named by [`crate::Op::Counter`].
    pub counters: Vec<CounterSite>,
}

/// What executing a block needs of it.
#[derive(Clone, Copy, Debug)]
pub struct Ops<'a> {
    /// Guest pc of the first instruction.
    pub pc: u64,
    /// The ops; the last one is a terminator.
    pub insts: &'a [Inst],
    /// Hook sites.
    pub hooks: &'a [HookSite],
    /// Counter sites.
    pub counters: &'a [CounterSite],
}

impl<'a> From<&'a Block> for Ops<'a> {
    fn from(b: &'a Block) -> Ops<'a> {
        Ops { pc: b.pc, insts: &b.insts, hooks: &b.hooks, counters: &b.counters }
    }
}

impl Ops<'_> {
    /// The guest instructions, as their [`Op::InsnStart`]s describe them.
    pub fn insns(&self) -> impl Iterator<Item = GuestInsn> {
        let starts = self.insts.iter().enumerate().filter(|(_, i)| i.op == Op::InsnStart);
        starts.map(|(n, i)| GuestInsn { pc: i.imm, len: i.a.0 as u8, first: n as u16 })
    }
}

impl Block {
    /// Makes this block the one `ops` are of, in the memory it has.
    pub fn copy_from(&mut self, ops: Ops<'_>) {
        self.pc = ops.pc;
        self.insts.clear();
        self.insts.extend_from_slice(ops.insts);
        self.insns.clear();
        self.insns.extend(ops.insns());
        self.hooks.clear();
        self.hooks.extend_from_slice(ops.hooks);
        self.counters.clear();
        self.counters.extend_from_slice(ops.counters);
    }

    /// Guest bytes covered, from the first instruction's start to the last one's end when the
    /// block is contiguous.
    pub fn guest_len(&self) -> u64 {
        self.insns.iter().map(|i| u64::from(i.len)).sum()
    }

    /// The guest instruction that op number `op` belongs to.
    pub fn insn_of(&self, op: usize) -> Option<(usize, &GuestInsn)> {
        let n = self.insns.partition_point(|i| usize::from(i.first) <= op);
        n.checked_sub(1).map(|n| (n, &self.insns[n]))
    }
}
