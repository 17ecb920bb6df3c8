//! Operations and their fixed-size encoding.

use crate::{Cond, FlagKind, Ty, VecOp};

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

/// What an [`Inst`] does. Operands are the instruction's fields `a`, `b`, `c`; `ty` is the type of
/// the result (or of the data, for ops without one); `sub` is a further selector.
///
/// "b|imm" means: operand `b`, or the immediate when `b` is [`Val::NONE`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Op {
    /// Marks the start of guest instruction number `sub` of the block; `imm` is its pc, `a.0` its
    /// length in bytes.
    InsnStart,
    /// `imm` as a value. For vectors: `imm` repeated in every 64-bit lane.
    Const,
    /// Reads `ty` at slot `imm`. Integers narrower than the slot read its low bytes.
    Get,
    /// Writes `a` to slot `imm`. `i8` and `i16` change only their bytes; **`i32` zero-extends to
    /// the 8 bytes at the slot**; vectors change exactly their size.
    Put,

    /// a + b|imm.
    Add,
    /// a - b|imm.
    Sub,
    /// a & b|imm.
    And,
    /// a | b|imm.
    Or,
    /// a ^ b|imm.
    Xor,
    /// a << b|imm. The count is an i8 value, taken modulo 64 for i64 and modulo 32 for narrower types
    /// (the x86 rule); counts of the width or more give 0.
    Shl,
    /// Logical a >> b|imm; count as for [`Op::Shl`].
    Shr,
    /// Arithmetic a >> b|imm; count as for [`Op::Shl`], saturating at the sign.
    Sar,
    /// Rotate left; the count (an i8 value) is taken modulo the width.
    Rol,
    /// Rotate right; the count (an i8 value) is taken modulo the width.
    Ror,
    /// Low half of the product a × b|imm.
    Mul,
    /// High half of the unsigned product a × b|imm.
    MulHiU,
    /// High half of the signed product a × b|imm.
    MulHiS,

    /// Unsigned quotient of the double-width value a:b by c. Traps with
    /// [`TrapKind::DivideError`] when c is 0 or the quotient does not fit.
    DivU,
    /// Unsigned remainder, same operands and trap.
    RemU,
    /// Signed quotient, same operands; traps likewise.
    DivS,
    /// Signed remainder, same operands and trap.
    RemS,

    /// ~a.
    Not,
    /// -a.
    Neg,
    /// Byte swap (i16, i32, i64).
    Bswap,
    /// Leading zeros; the width when a is 0.
    Clz,
    /// Trailing zeros; the width when a is 0.
    Ctz,
    /// Number of one bits.
    Popcnt,

    /// Zero-extends a from type `sub` to `ty`: between integers, or from v128 to v256.
    Zext,
    /// Sign-extends a from type `sub` to `ty`.
    Sext,
    /// Low part of a (of type `sub`) as `ty`.
    Trunc,
    /// 1 if `a cond b|imm` at width `ty`, else 0, with condition `sub`. The result is an i8.
    Cmp,
    /// b if a is not 0, else c. Any type.
    Select,
    /// a + (b << sub) + imm, wrapping at `ty` (i32 or i64); a and b may be absent.
    Lea,

    /// Loads `ty` from guest memory at the address operand (see [`Inst::mem`]). May fault.
    Load,
    /// Stores `c` of type `ty` to guest memory at the address operand. May fault.
    Store,
    /// Checks that `ty` bytes at the address operand could be stored; faults like the store.
    ProbeWrite,
    /// Atomically replaces the `ty` at address a with `old sub b`; the result is old. May fault.
    AtomicRmw,
    /// Atomically: if the `ty` at address a equals b, stores c. The result is the old value.
    /// May fault.
    AtomicCas,
    /// Full memory fence.
    Fence,

    /// Defines the arithmetic flags lazily: kind `sub`, type `ty`, operands a, b|imm, c; see
    /// [`crate::flags`]. Exception to "b|imm": the immediate is 32 bits, sign-extended, because c
    /// lives beside it.
    FlagsSet,
    /// Condition `sub` of the current flags as 0 or 1 (i8).
    FlagsCond,
    /// The arithmetic flags selected by the mask `imm`, in their EFLAGS positions (i64).
    FlagsGet,

    /// Vector op `sub` on a, b, c; `imm` is its control byte where it has one.
    Vec,
    /// Calls helper `sub` of the guest architecture with the arguments a, b and the two packed in
    /// `imm`; absent arguments are passed as 0. See [`Inst::call_args`]. The helper's declared
    /// effects say whether it may trap and which state it touches.
    Call,

    /// Side exit: if a is not 0, leaves the block for guest pc `imm`. The current instruction
    /// retires.
    ExitIf,
    /// Terminator: goes to guest pc `imm`; `sub` is a [`JumpKind`].
    Jump,
    /// Terminator: goes to the guest pc in a; `sub` is a [`JumpKind`].
    JumpInd,
    /// Terminator: leaves to the engine with [`TrapKind`] `sub` and pc `imm`.
    Trap,
    /// Hint, no effect: the call that ends this block returns to pc `imm`.
    ReturnHint,

    /// Calls the subscriber of hook site `imm` of the block ([`crate::Block::hooks`]). For memory
    /// hooks a is the address, b the value and `ty` its type.
    Hook,
    /// Adds to the counter of counter site `imm` of the block.
    Counter,
}

impl Op {
    /// All ops, in numeric order.
    pub const ALL: [Op; Op::COUNT] = [
        Op::InsnStart,
        Op::Const,
        Op::Get,
        Op::Put,
        Op::Add,
        Op::Sub,
        Op::And,
        Op::Or,
        Op::Xor,
        Op::Shl,
        Op::Shr,
        Op::Sar,
        Op::Rol,
        Op::Ror,
        Op::Mul,
        Op::MulHiU,
        Op::MulHiS,
        Op::DivU,
        Op::RemU,
        Op::DivS,
        Op::RemS,
        Op::Not,
        Op::Neg,
        Op::Bswap,
        Op::Clz,
        Op::Ctz,
        Op::Popcnt,
        Op::Zext,
        Op::Sext,
        Op::Trunc,
        Op::Cmp,
        Op::Select,
        Op::Lea,
        Op::Load,
        Op::Store,
        Op::ProbeWrite,
        Op::AtomicRmw,
        Op::AtomicCas,
        Op::Fence,
        Op::FlagsSet,
        Op::FlagsCond,
        Op::FlagsGet,
        Op::Vec,
        Op::Call,
        Op::ExitIf,
        Op::Jump,
        Op::JumpInd,
        Op::Trap,
        Op::ReturnHint,
        Op::Hook,
        Op::Counter,
    ];

    /// Number of ops.
    pub const COUNT: usize = Op::Counter as usize + 1;

    /// Whether the op ends a block.
    pub const fn is_terminator(self) -> bool {
        matches!(self, Op::Jump | Op::JumpInd | Op::Trap)
    }

    /// Whether the op defines a value (a [`Op::Call`] does only if its `ty` is used; it always
    /// counts as defining one).
    pub const fn defines(self) -> bool {
        !matches!(
            self,
            Op::InsnStart
                | Op::Put
                | Op::Store
                | Op::ProbeWrite
                | Op::Fence
                | Op::FlagsSet
                | Op::ExitIf
                | Op::Jump
                | Op::JumpInd
                | Op::Trap
                | Op::ReturnHint
                | Op::Hook
                | Op::Counter
        )
    }

    /// Whether b may be the immediate.
    pub const fn takes_imm(self) -> bool {
        matches!(
            self,
            Op::Add
                | Op::Sub
                | Op::And
                | Op::Or
                | Op::Xor
                | Op::Shl
                | Op::Shr
                | Op::Sar
                | Op::Rol
                | Op::Ror
                | Op::Mul
                | Op::MulHiU
                | Op::MulHiS
                | Op::Cmp
                | Op::FlagsSet
        )
    }

    /// Whether executing the op can raise a guest fault (helpers: see their effects).
    pub const fn may_fault(self) -> bool {
        matches!(
            self,
            Op::Load
                | Op::Store
                | Op::ProbeWrite
                | Op::AtomicRmw
                | Op::AtomicCas
                | Op::DivU
                | Op::RemU
                | Op::DivS
                | Op::RemS
                | Op::Vec
        )
    }
}

/// Where an op has value operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nowhere: a and b may hold something else.
    None,
    /// a and b, either of which may be absent.
    Ab,
    /// a, b and [`Inst::c`].
    Abc,
    /// [`Inst::call_args`].
    Call,
}

impl Op {
    #[inline(always)]
    const fn shape(self) -> Shape {
        const SHAPES: [Shape; 256] = {
            let mut table = [Shape::Ab; 256];
            let mut n = 0;
            while n < Op::ALL.len() {
                table[Op::ALL[n] as usize] = Op::ALL[n].shape_of();
                n += 1;
            }
            table
        };
        SHAPES[self as u8 as usize]
    }

    const fn shape_of(self) -> Shape {
        match self {
            Op::InsnStart | Op::Const | Op::Get => Shape::None,
            Op::Select
            | Op::AtomicCas
            | Op::DivU
            | Op::DivS
            | Op::RemU
            | Op::RemS
            | Op::Vec
            | Op::Store
            | Op::FlagsSet => Shape::Abc,
            Op::Call => Shape::Call,
            _ => Shape::Ab,
        }
    }
}

/// How control leaves by a jump; call and ret let the engine predict returns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum JumpKind {
    /// Plain jump, or fall-through to the next block.
    Jump = 0,
    /// Call; a [`Op::ReturnHint`] precedes it.
    Call = 1,
    /// Return.
    Ret = 2,
}

impl JumpKind {
    /// All kinds, in numeric order.
    pub const ALL: [JumpKind; 3] = [JumpKind::Jump, JumpKind::Call, JumpKind::Ret];
}

/// Read-modify-write operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RmwKind {
    /// New value: b.
    Xchg = 0,
    /// New value: old + b.
    Add = 1,
    /// New value: old - b.
    Sub = 2,
    /// New value: old & b.
    And = 3,
    /// New value: old | b.
    Or = 4,
    /// New value: old ^ b.
    Xor = 5,
}

impl RmwKind {
    /// All kinds, in numeric order.
    pub const ALL: [RmwKind; 6] =
        [RmwKind::Xchg, RmwKind::Add, RmwKind::Sub, RmwKind::And, RmwKind::Or, RmwKind::Xor];
}

/// Why a block or a helper hands control to the engine.
///
/// *Fault-like* traps report the pc of the instruction, which does not retire. *Trap-like* ones
/// report the next pc, and the instruction retires.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum TrapKind {
    /// No trap.
    None = 0,
    /// System call by the architecture's fast instruction (`syscall`, `svc`). Trap-like.
    Syscall = 1,
    /// System call by x86 `sysenter`. Trap-like.
    Sysenter = 2,
    /// System call by x86 `int 0x80`. Trap-like.
    Int80 = 3,
    /// Breakpoint (`int3`). Trap-like.
    Breakpoint = 4,
    /// `into` with overflow. Trap-like.
    Overflow = 5,
    /// Undefined or unsupported instruction. Fault-like.
    InvalidOpcode = 6,
    /// Division by zero or quotient overflow. Fault-like.
    DivideError = 7,
    /// `bound` out of range. Fault-like.
    BoundRange = 8,
    /// General protection (privileged instruction, non-canonical or misaligned access). Fault-like.
    Protection = 9,
    /// Unmapped or forbidden data access; address and kind are in the CPU header. Fault-like.
    PageFault = 10,
    /// The access lies beyond the end of the mapped file (SIGBUS). Fault-like.
    BusError = 11,
    /// Unmasked x87 exception pending. Fault-like.
    X87 = 12,
    /// Unmasked SIMD floating-point exception. Fault-like.
    Simd = 13,
    /// Instruction bytes cannot be fetched; the address is in the CPU header. Fault-like.
    FetchFault = 14,
    /// Single step (x86 TF). Trap-like.
    SingleStep = 15,
    /// `int1`/`icebp`. Trap-like.
    Debug = 16,
    /// Alignment check. Fault-like.
    Alignment = 17,
    /// `hlt` and other instructions that only the system may execute are [`TrapKind::Protection`];
    /// this is the hypercall instruction of the architecture when someone listens. Fault-like: the
    /// engine asks the listeners and then skips or executes it.
    Hypercall = 18,
}

impl TrapKind {
    /// All kinds, in numeric order.
    pub const ALL: [TrapKind; 19] = [
        TrapKind::None,
        TrapKind::Syscall,
        TrapKind::Sysenter,
        TrapKind::Int80,
        TrapKind::Breakpoint,
        TrapKind::Overflow,
        TrapKind::InvalidOpcode,
        TrapKind::DivideError,
        TrapKind::BoundRange,
        TrapKind::Protection,
        TrapKind::PageFault,
        TrapKind::BusError,
        TrapKind::X87,
        TrapKind::Simd,
        TrapKind::FetchFault,
        TrapKind::SingleStep,
        TrapKind::Debug,
        TrapKind::Alignment,
        TrapKind::Hypercall,
    ];

    /// The kind numbered `n`; [`TrapKind::None`] for numbers out of range.
    pub const fn from_u8(n: u8) -> TrapKind {
        if (n as usize) < TrapKind::ALL.len() { TrapKind::ALL[n as usize] } else { TrapKind::None }
    }

    /// Whether the instruction that raised it counts as retired.
    pub const fn retires(self) -> bool {
        matches!(
            self,
            TrapKind::Syscall
                | TrapKind::Sysenter
                | TrapKind::Int80
                | TrapKind::Breakpoint
                | TrapKind::Overflow
                | TrapKind::SingleStep
                | TrapKind::Debug
        )
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

    /// Sets the entry of every value operand if `on`; that of [`Val::NONE`] may be set too.
    #[inline(always)]
    pub(crate) fn mark_operands(&self, on: bool, table: &mut ValTable<bool>) {
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
