//! A lifted block.

use crate::{Inst, Op};

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

/// What a hook op reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum HookKind {
    /// Before an instruction.
    InsnExec = 0,
    /// After an instruction retired.
    AfterInsnExec = 1,
    /// On entry to the block.
    BeforeBlock = 2,
    /// On leaving the block; stands before its last branch, and only in blocks without other
    /// exits. When a fault ends the block early the engine makes the call itself.
    AfterBlock = 3,
    /// Before a load.
    BeforeRead = 4,
    /// After a load.
    AfterRead = 5,
    /// Before a store.
    BeforeWrite = 6,
    /// After a store.
    AfterWrite = 7,
}

impl HookKind {
    /// All kinds, in numeric order.
    pub const ALL: [HookKind; 8] = [
        HookKind::InsnExec,
        HookKind::AfterInsnExec,
        HookKind::BeforeBlock,
        HookKind::AfterBlock,
        HookKind::BeforeRead,
        HookKind::AfterRead,
        HookKind::BeforeWrite,
        HookKind::AfterWrite,
    ];
}

/// One call a hook op makes.
///
/// `cell` is the address of the subscription's cell, which stays valid as long as any block that
/// names it exists. The engine defines the cell's layout; the IR only carries the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HookSite {
    /// What is reported.
    pub kind: HookKind,
    /// Address of the subscription's cell.
    pub cell: usize,
    /// Guest pc passed to the callback.
    pub pc: u64,
    /// For block hooks: address of the block description passed to the callback.
    pub info: usize,
    /// For block hooks: passed to the callback behind the description (how the block ends).
    pub detail: u32,
    /// The callback reads registers: state must be in the CPU structure.
    pub reads_regs: bool,
    /// The callback writes registers: cached state is stale afterwards.
    pub writes_regs: bool,
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
