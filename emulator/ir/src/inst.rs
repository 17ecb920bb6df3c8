//! The fixed-size encoding of operations and their operands.

use crate::op::Shape;
use crate::{Cond, FlagKind, JumpKind, Op, RmwKind, TrapKind, Ty, VecOp};

/// A value: the index, in the block's op list, of the op that defines it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Val(pub u16);

impl Val {
    /// "No operand", or "the operand is the immediate" where the op allows one.
    pub const NONE: Val = Val(u16::MAX);

    /// Index into the op list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether this names a value.
    pub const fn is_some(self) -> bool {
        self.0 != u16::MAX
    }
}

/// A value or an immediate: the second operand of the binary integer ops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// A value defined earlier in the block.
    Val(Val),
    /// A constant, already masked to the op's type.
    Imm(u64),
}

impl From<Val> for Operand {
    fn from(v: Val) -> Self {
        Operand::Val(v)
    }
}

impl From<u64> for Operand {
    fn from(v: u64) -> Self {
        Operand::Imm(v)
    }
}

/// One IR instruction: 16 bytes.
///
/// Where an op has a third operand it is packed into `imm`: see [`Inst::c`], [`Inst::mem`],
/// [`Inst::call_args`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Inst {
    /// The operation.
    pub op: Op,
    /// Type of the result or of the data.
    pub ty: Ty,
    /// Selector: condition, flag kind, source type, scale, trap kind, helper or vector op.
    pub sub: u16,
    /// First operand.
    pub a: Val,
    /// Second operand.
    pub b: Val,
    /// Immediate, or packed further operands.
    pub imm: u64,
}

/// An entry for every number a [`Val`] can be, so that indexing needs no check.
pub(crate) type ValTable<T> = [T; 1 << 16];

/// In [`Inst::sub`] of loads and stores: the address wraps modulo 2^32.
const ADDR32: u16 = 0x100;
/// In [`Inst::sub`] of loads and stores: a misaligned address is a protection fault.
const ALIGNED: u16 = 0x200;

impl Inst {
    /// An instruction with only an op and a type.
    pub const fn new(op: Op, ty: Ty) -> Inst {
        Inst { op, ty, sub: 0, a: Val::NONE, b: Val::NONE, imm: 0 }
    }

    /// The third operand: of [`Op::Select`], [`Op::AtomicCas`], the divisions, and [`Op::Vec`]
    /// (bits 48..64 of `imm`; the control byte stays in bits 0..8). Of stores and
    /// [`Op::FlagsSet`] too.
    pub const fn c(&self) -> Val {
        Val((self.imm >> 48) as u16)
    }

    /// Sets the third operand.
    pub const fn with_c(mut self, c: Val) -> Inst {
        self.imm = (self.imm & 0x0000_ffff_ffff_ffff) | (c.0 as u64) << 48;
        self
    }

    /// Address operand of [`Op::Load`], [`Op::Store`], [`Op::ProbeWrite`]: base a, index b, shift
    /// in `sub` bits 0..2, displacement in the low 32 bits of `imm`, the flags in `sub`.
    pub const fn mem(&self) -> crate::builder::Addr {
        crate::builder::Addr {
            base: self.a,
            index: self.b,
            shift: (self.sub & 3) as u8,
            disp: self.imm as u32 as i32,
            wrap32: self.sub & ADDR32 != 0,
            aligned: self.sub & ALIGNED != 0,
        }
    }

    /// Sets the address operand.
    pub const fn with_mem(mut self, m: crate::builder::Addr) -> Inst {
        self.a = m.base;
        self.b = m.index;
        self.sub = if m.index.is_some() { (m.shift & 3) as u16 } else { 0 }
            | if m.wrap32 { ADDR32 } else { 0 }
            | if m.aligned { ALIGNED } else { 0 };
        self.imm = (self.imm & !0xffff_ffff) | (m.disp as u32 as u64);
        self
    }

    /// Whether a basic block begins at an [`Op::InsnStart`].
    pub const fn leads(&self) -> bool {
        self.b.is_some()
    }

    /// Notes that one does.
    pub fn set_leads(&mut self) {
        self.b = Val(0);
    }

    /// The counter sites that an [`Op::ExitIf`] adds to when it leaves: first and number, in `sub`.
    pub const fn exit_counts(&self) -> core::ops::Range<usize> {
        let first = (self.sub >> 4) as usize;
        first..first + (self.sub & 15) as usize
    }

    /// Sets them; false if there are too many to be named.
    pub fn set_exit_counts(&mut self, sites: core::ops::Range<usize>) -> bool {
        let fits = sites.len() < 16 && sites.start < 1 << 12;
        self.sub =
            if !fits || sites.is_empty() { 0 } else { (sites.start << 4 | sites.len()) as u16 };
        fits
    }

    /// The four arguments of [`Op::Call`].
    pub const fn call_args(&self) -> [Val; 4] {
        [self.a, self.b, Val(self.imm as u16), Val((self.imm >> 16) as u16)]
    }

    /// The second operand of an op that [takes an immediate](Op::takes_imm).
    pub const fn rhs(&self) -> Operand {
        if self.b.is_some() {
            Operand::Val(self.b)
        } else if matches!(self.op, Op::FlagsSet) {
            Operand::Imm((self.imm as u32 as i32 as i64 as u64) & self.ty.mask())
        } else {
            Operand::Imm(self.imm)
        }
    }

    /// The condition of [`Op::Cmp`] and [`Op::FlagsCond`].
    pub const fn cond(&self) -> Cond {
        Cond::from_u8(self.sub as u8)
    }

    /// The kind of a [`Op::FlagsSet`].
    pub const fn flag_kind(&self) -> FlagKind {
        FlagKind::from_u8(self.sub as u8)
    }

    /// The source type of [`Op::Zext`], [`Op::Sext`], [`Op::Trunc`].
    pub const fn from_ty(&self) -> Ty {
        match Ty::from_u8(self.sub as u8) {
            Some(t) => t,
            None => Ty::I64,
        }
    }

    /// The vector operation of [`Op::Vec`].
    pub const fn vec_op(&self) -> VecOp {
        VecOp::from_u16(self.sub)
    }

    /// The kind of [`Op::Jump`] and [`Op::JumpInd`].
    pub const fn jump_kind(&self) -> JumpKind {
        match self.sub {
            1 => JumpKind::Call,
            2 => JumpKind::Ret,
            _ => JumpKind::Jump,
        }
    }

    /// The kind of [`Op::Trap`].
    pub const fn trap_kind(&self) -> TrapKind {
        TrapKind::from_u8(self.sub as u8)
    }

    /// The kind of [`Op::AtomicRmw`].
    pub const fn rmw_kind(&self) -> RmwKind {
        match self.sub {
            1 => RmwKind::Add,
            2 => RmwKind::Sub,
            3 => RmwKind::And,
            4 => RmwKind::Or,
            5 => RmwKind::Xor,
            _ => RmwKind::Xchg,
        }
    }

    /// The type of the value the op defines.
    pub const fn result_ty(&self) -> Option<Ty> {
        match self.op {
            Op::Cmp | Op::FlagsCond => Some(Ty::I8),
            op if op.defines() => Some(self.ty),
            _ => None,
        }
    }

    /// Calls `f` on every value operand, for passes and the verifier.
    #[inline(always)]
    pub fn for_each_operand(&self, mut f: impl FnMut(Val)) {
        let shape = self.op.shape();
        if shape == Shape::None {
            return;
        }
        if self.a.is_some() {
            f(self.a);
        }
        if self.b.is_some() {
            f(self.b);
        }
        if shape == Shape::Abc && self.c().is_some() {
            f(self.c());
        } else if shape == Shape::Call {
            let [_, _, c, d] = self.call_args();
            [c, d].into_iter().filter(|v| v.is_some()).for_each(f);
        }
    }

    /// Replaces every value operand by its entry in `table`, whose entry for [`Val::NONE`] is
    /// [`Val::NONE`]. The same as [`Inst::map_operands`], without branches on the common path.
    #[inline(always)]
    pub(crate) fn map_by_table(&mut self, table: &ValTable<u16>) {
        let shape = self.op.shape();
        let (a, b) = (Val(table[self.a.index()]), Val(table[self.b.index()]));
        let none = shape as u8 == Shape::None as u8;
        self.a = if none { self.a } else { a };
        self.b = if none { self.b } else { b };
        let with_c = self.with_c(Val(table[self.c().index()])).imm;
        self.imm = if shape as u8 == Shape::Abc as u8 { with_c } else { self.imm };
        if shape == Shape::Call {
            let [_, _, c, d] = self.call_args();
            let (c, d) = (table[c.index()], table[d.index()]);
            self.imm = (self.imm & !0xffff_ffff) | u64::from(c) | u64::from(d) << 16;
        }
    }

    /// Sets the entry of every value operand to 1 if `on`; that of [`Val::NONE`] may be set too.
    #[inline(always)]
    pub(crate) fn mark_operands(&self, on: bool, table: &mut ValTable<u16>) {
        let on = u16::from(on);
        let shape = self.op.shape();
        let none = shape as u8 == Shape::None as u8;
        table[if none { Val::NONE.index() } else { self.a.index() }] |= on;
        table[if none { Val::NONE.index() } else { self.b.index() }] |= on;
        let abc = shape as u8 == Shape::Abc as u8;
        table[if abc { self.c().index() } else { Val::NONE.index() }] |= on;
        if shape == Shape::Call {
            let [_, _, c, d] = self.call_args();
            table[c.index()] |= on;
            table[d.index()] |= on;
        }
    }

    /// Replaces every value operand by `f` of it.
    #[inline(always)]
    pub fn map_operands(&mut self, mut f: impl FnMut(Val) -> Val) {
        let shape = self.op.shape();
        if shape == Shape::None {
            return;
        }
        if self.a.is_some() {
            self.a = f(self.a);
        }
        if self.b.is_some() {
            self.b = f(self.b);
        }
        if shape == Shape::Abc && self.c().is_some() {
            *self = self.with_c(f(self.c()));
        } else if shape == Shape::Call {
            let [_, _, c, d] = self.call_args();
            let c = if c.is_some() { f(c) } else { c };
            let d = if d.is_some() { f(d) } else { d };
            self.imm = (self.imm & !0xffff_ffff) | c.0 as u64 | (d.0 as u64) << 16;
        }
    }
}
