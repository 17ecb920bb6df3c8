//! The operations.

/// What an [`Inst`] does. Operands are the instruction's fields `a`, `b`, `c`; `ty` is the type of
/// the result (or of the data, for ops without one); `sub` is a further selector.
///
/// "b|imm" means: operand `b`, or the immediate when `b` is [`Val::NONE`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Op {
    /// Marks the start of guest instruction number `sub` of the block; `imm` is its pc, `a.0` its
    /// length in bytes. In instrumented blocks b is a value if a basic block begins there:
    /// [`Inst::leads`].
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
    /// retires. Only if it leaves, it adds to the counters of some sites: see [`Inst::exit_counts`].
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
pub(crate) enum Shape {
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
    pub(crate) const fn shape(self) -> Shape {
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
