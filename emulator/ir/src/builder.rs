//! Builds blocks op by op.

use crate::{
    Block, Cond, FlagKind, GuestInsn, Inst, JumpKind, Op, Operand, RmwKind, TrapKind, Ty, Val,
    VecOp,
};

/// The address operand of a load or store: `base + (index << shift) + disp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr {
    /// Base value, or [`Val::NONE`].
    pub base: Val,
    /// Index value, or [`Val::NONE`].
    pub index: Val,
    /// Left shift of the index, 0 to 3.
    pub shift: u8,
    /// Signed displacement.
    pub disp: i32,
    /// The sum wraps modulo 2^32 (32-bit guests, address-size override).
    pub wrap32: bool,
    /// A misaligned address is a protection fault (`movaps` and its kind).
    pub aligned: bool,
}

impl Addr {
    /// The address `base`.
    pub const fn base(base: Val) -> Addr {
        Addr { base, index: Val::NONE, shift: 0, disp: 0, wrap32: false, aligned: false }
    }

    /// The same address `by` bytes further on; `None` when the displacement would overflow.
    pub fn offset(mut self, by: i32) -> Option<Addr> {
        self.disp = self.disp.checked_add(by)?;
        Some(self)
    }
}

/// Appends ops to a block. Constant operands fold into immediates where the op takes one.
#[derive(Debug)]
pub struct Builder {
    block: Block,
}

impl Builder {
    /// A block is full when it has this many ops; lifters stop well before.
    pub const MAX_OPS: usize = 4096;

    /// Starts a block at `pc`.
    pub fn new(pc: u64) -> Builder {
        // Room for an ordinary block, so that building one does not reallocate.
        let (insts, insns) = (Vec::with_capacity(128), Vec::with_capacity(16));
        Builder { block: Block { pc, insts, insns, ..Block::default() } }
    }

    /// Starts a block at `pc` in the memory of another.
    pub fn reusing(mut block: Block, pc: u64) -> Builder {
        block.pc = pc;
        block.insts.clear();
        block.insns.clear();
        block.hooks.clear();
        block.counters.clear();
        Builder { block }
    }

    /// Ops so far.
    pub fn len(&self) -> usize {
        self.block.insts.len()
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.block.insts.is_empty()
    }

    /// Guest instructions so far.
    pub fn insn_count(&self) -> usize {
        self.block.insns.len()
    }

    /// Whether the guest instruction at `pc` is in the block already.
    pub fn has_insn(&self, pc: u64) -> bool {
        self.block.insns.iter().any(|i| i.pc == pc)
    }

    /// The op that defines `v`.
    pub fn def(&self, v: Val) -> &Inst {
        &self.block.insts[v.index()]
    }

    /// The constant `v` is, if it is one.
    pub fn as_const(&self, v: Val) -> Option<u64> {
        let i = self.def(v);
        (i.op == Op::Const).then_some(i.imm)
    }

    /// Appends any op.
    #[inline]
    pub fn push(&mut self, inst: Inst) -> Val {
        let v = Val(self.block.insts.len() as u16);
        self.block.insts.push(inst);
        v
    }

    /// Removes everything from op `len` on, with the guest instructions that began there.
    pub fn truncate(&mut self, len: usize) {
        self.block.insts.truncate(len);
        self.block.insns.retain(|i| usize::from(i.first) < len);
    }

    /// Begins a guest instruction.
    #[inline]
    pub fn insn_start(&mut self, pc: u64, len: u8) {
        let idx = self.block.insns.len() as u16;
        let first = self.block.insts.len() as u16;
        self.block.insns.push(GuestInsn { pc, len, first });
        let mut i = Inst::new(Op::InsnStart, Ty::I64);
        i.sub = idx;
        i.a = Val(u16::from(len));
        i.imm = pc;
        self.push(i);
    }

    /// Begins a guest instruction with which a basic block begins.
    pub fn leading_insn_start(&mut self, pc: u64, len: u8) {
        self.insn_start(pc, len);
        if let Some(start) = self.block.insts.last_mut() {
            start.set_leads();
        }
    }

    /// A constant.
    #[inline]
    pub fn iconst(&mut self, ty: Ty, imm: u64) -> Val {
        let mut i = Inst::new(Op::Const, ty);
        i.imm = imm & ty.mask();
        self.push(i)
    }

    /// An all-zero vector.
    pub fn vzero(&mut self, ty: Ty) -> Val {
        self.push(Inst::new(Op::Const, ty))
    }

    /// Reads a slot.
    #[inline]
    pub fn get(&mut self, ty: Ty, slot: u32) -> Val {
        let mut i = Inst::new(Op::Get, ty);
        i.imm = u64::from(slot);
        self.push(i)
    }

    /// Writes a slot.
    #[inline]
    pub fn put(&mut self, ty: Ty, slot: u32, v: Val) {
        let mut i = Inst::new(Op::Put, ty);
        i.a = v;
        i.imm = u64::from(slot);
        self.push(i);
    }

    /// A binary integer op ([`Op::takes_imm`]).
    #[inline]
    pub fn bin(&mut self, op: Op, ty: Ty, a: Val, b: impl Into<Operand>) -> Val {
        let mut i = Inst::new(op, ty);
        i.a = a;
        self.set_rhs(&mut i, b.into());
        self.push(i)
    }

    fn set_rhs(&self, i: &mut Inst, b: Operand) {
        match b {
            Operand::Imm(imm) => i.imm = imm & i.ty.mask(),
            Operand::Val(v) => match self.as_const(v) {
                Some(imm) => i.imm = imm & i.ty.mask(),
                None => i.b = v,
            },
        }
    }

    /// A unary op on `ty`: Not, Neg, Bswap, Clz, Ctz, Popcnt.
    pub fn un(&mut self, op: Op, ty: Ty, a: Val) -> Val {
        let mut i = Inst::new(op, ty);
        i.a = a;
        self.push(i)
    }

    /// Zext, Sext or Trunc from `from` to `to`; equal types give `a` itself.
    pub fn convert(&mut self, op: Op, from: Ty, to: Ty, a: Val) -> Val {
        if from == to {
            return a;
        }
        let mut i = Inst::new(op, to);
        i.sub = from as u16;
        i.a = a;
        self.push(i)
    }

    /// `a cond b` as 0 or 1.
    pub fn cmp(&mut self, cond: Cond, ty: Ty, a: Val, b: impl Into<Operand>) -> Val {
        let mut i = Inst::new(Op::Cmp, ty);
        i.sub = cond as u16;
        i.a = a;
        self.set_rhs(&mut i, b.into());
        self.push(i)
    }

    /// `then` if `cond` is not 0, else `other`.
    pub fn select(&mut self, ty: Ty, cond: Val, then: Val, other: Val) -> Val {
        let mut i = Inst::new(Op::Select, ty);
        i.a = cond;
        i.b = then;
        self.push(i.with_c(other))
    }

    /// Three-operand division ops: `op` of hi:lo by d.
    pub fn div(&mut self, op: Op, ty: Ty, hi: Val, lo: Val, d: Val) -> Val {
        let mut i = Inst::new(op, ty);
        i.a = hi;
        i.b = lo;
        self.push(i.with_c(d))
    }

    /// The address itself as a value of `ty`.
    pub fn lea(&mut self, ty: Ty, m: Addr) -> Val {
        let mut i = Inst::new(Op::Lea, ty);
        i.a = m.base;
        i.b = m.index;
        i.sub = if m.index.is_some() { u16::from(m.shift & 3) } else { 0 };
        i.imm = (i64::from(m.disp) as u64) & ty.mask();
        self.push(i)
    }

    /// Loads.
    #[inline]
    pub fn load(&mut self, ty: Ty, m: Addr) -> Val {
        self.push(Inst::new(Op::Load, ty).with_mem(m))
    }

    /// Stores.
    #[inline]
    pub fn store(&mut self, ty: Ty, m: Addr, v: Val) {
        self.push(Inst::new(Op::Store, ty).with_mem(m).with_c(v));
    }

    /// Checks that a store would succeed.
    pub fn probe_write(&mut self, ty: Ty, m: Addr) {
        self.push(Inst::new(Op::ProbeWrite, ty).with_mem(m));
    }

    /// Atomic read-modify-write; the old value.
    pub fn rmw(&mut self, kind: RmwKind, ty: Ty, addr: Val, v: Val) -> Val {
        let mut i = Inst::new(Op::AtomicRmw, ty);
        i.sub = kind as u16;
        i.a = addr;
        i.b = v;
        self.push(i)
    }

    /// Atomic compare and swap; the old value.
    pub fn cas(&mut self, ty: Ty, addr: Val, expected: Val, new: Val) -> Val {
        let mut i = Inst::new(Op::AtomicCas, ty);
        i.a = addr;
        i.b = expected;
        self.push(i.with_c(new))
    }

    /// Defines the flags. `c` is [`Val::NONE`] where the kind has none.
    #[inline]
    pub fn flags_set(&mut self, kind: FlagKind, ty: Ty, a: Val, b: impl Into<Operand>, c: Val) {
        let mut i = Inst::new(Op::FlagsSet, ty);
        i.sub = kind as u16;
        i.a = a;
        let fits =
            |imm: u64| crate::flags::sext(ty, imm) == i64::from(crate::flags::sext(ty, imm) as i32);
        match b.into() {
            Operand::Val(v) => match self.as_const(v) {
                Some(imm) if fits(imm) => i.imm = u64::from(imm as u32),
                _ => i.b = v,
            },
            Operand::Imm(imm) if fits(imm) => i.imm = u64::from(imm as u32),
            Operand::Imm(imm) => i.b = self.iconst(ty, imm),
        }
        self.push(i.with_c(c));
    }

    /// A condition of the current flags.
    pub fn flags_cond(&mut self, cond: Cond) -> Val {
        let mut i = Inst::new(Op::FlagsCond, Ty::I8);
        i.sub = cond as u16;
        self.push(i)
    }

    /// The current flags selected by `mask`, in EFLAGS positions.
    pub fn flags_get(&mut self, mask: u16) -> Val {
        let mut i = Inst::new(Op::FlagsGet, Ty::I64);
        i.imm = u64::from(mask);
        self.push(i)
    }

    /// A vector op; `ty` is the type of the result, absent operands are [`Val::NONE`].
    pub fn vec(&mut self, op: VecOp, ty: Ty, a: Val, b: Val, c: Val, imm: u8) -> Val {
        let mut i = Inst::new(Op::Vec, ty);
        i.sub = op as u16;
        i.a = a;
        i.b = b;
        i.imm = u64::from(imm);
        self.push(i.with_c(c))
    }

    /// A helper call with up to four arguments.
    pub fn call(&mut self, ty: Ty, helper: u16, args: &[Val]) -> Val {
        let arg = |n: usize| args.get(n).copied().unwrap_or(Val::NONE);
        let mut i = Inst::new(Op::Call, ty);
        i.sub = helper;
        i.a = arg(0);
        i.b = arg(1);
        i.imm = u64::from(arg(2).0) | u64::from(arg(3).0) << 16;
        self.push(i)
    }

    /// Side exit to `pc` when `cond` is not 0.
    pub fn exit_if(&mut self, cond: Val, pc: u64) {
        let mut i = Inst::new(Op::ExitIf, Ty::I64);
        i.a = cond;
        i.imm = pc;
        self.push(i);
    }

    /// Ends the block with a jump to `pc`.
    pub fn jump(&mut self, kind: JumpKind, pc: u64) {
        let mut i = Inst::new(Op::Jump, Ty::I64);
        i.sub = kind as u16;
        i.imm = pc;
        self.push(i);
    }

    /// Ends the block with a jump to the pc in `a`.
    pub fn jump_ind(&mut self, kind: JumpKind, a: Val) {
        let mut i = Inst::new(Op::JumpInd, Ty::I64);
        i.sub = kind as u16;
        i.a = a;
        self.push(i);
    }

    /// Notes where the call that ends this block returns to.
    pub fn return_hint(&mut self, pc: u64) {
        let mut i = Inst::new(Op::ReturnHint, Ty::I64);
        i.imm = pc;
        self.push(i);
    }

    /// Ends the block with a trap reporting `pc`.
    pub fn trap(&mut self, kind: TrapKind, pc: u64) {
        let mut i = Inst::new(Op::Trap, Ty::I64);
        i.sub = kind as u16;
        i.imm = pc;
        self.push(i);
    }

    /// A full fence.
    pub fn fence(&mut self) {
        self.push(Inst::new(Op::Fence, Ty::I64));
    }

    /// The finished block.
    pub fn finish(self) -> Block {
        self.block
    }
}
