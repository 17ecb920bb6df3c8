//! The verifier: what every tier may rely on.
//!
//! [`verify`] checks one block against the architecture it was lifted for. A block that passes is
//! well-typed, ends exactly once, names only slots, helpers and sites that exist, keeps the order
//! that makes faults precise, and is in canonical form: bits an op does not use are zero.

mod rule;

pub use rule::{Rule, VerifyError};

use crate::flags::ALL as ALL_FLAGS;
use crate::{Block, Builder, Cond, FlagKind, Inst, Op, Target, TrapKind, Ty, Val, VecOp, VecSig};

/// Types an operand may have.
#[derive(Clone, Copy)]
enum Want {
    /// Exactly this.
    Ty(Ty),
    /// Any integer.
    Int,
    /// An address: i32 (zero-extended) or i64.
    Addr,
    /// Any vector.
    Vector,
}

impl Want {
    const fn admits(self, ty: Ty) -> bool {
        match self {
            Want::Ty(t) => t as u8 == ty as u8,
            Want::Int => ty.is_int(),
            Want::Addr => matches!(ty, Ty::I32 | Ty::I64),
            Want::Vector => !ty.is_int(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Want::Ty(t) => t.name(),
            Want::Int => "an integer",
            Want::Addr => "i32 or i64",
            Want::Vector => "a vector",
        }
    }
}

/// Checks `block`; the first broken rule is the error.
pub fn verify(block: &Block, target: &(impl Target + ?Sized)) -> Result<(), VerifyError> {
    let n = block.insts.len();
    let whole = |rule| Err(VerifyError { op: 0, rule });
    if n == 0 {
        return whole(Rule::Empty);
    }
    if n > Builder::MAX_OPS {
        return whole(Rule::TooLong);
    }
    let mut v = Verifier { block, target, at: 0, insns: 0, changed: None, probed: false };
    for (at, inst) in block.insts.iter().enumerate() {
        v.at = at as u16;
        v.inst(inst).map_err(|rule| VerifyError { op: at as u16, rule })?;
        if inst.op.is_terminator() != (at + 1 == n) {
            let (op, rule) = if at + 1 == n {
                (at, Rule::NoTerminator)
            } else {
                (at + 1, Rule::AfterTerminator)
            };
            return Err(VerifyError { op: op as u16, rule });
        }
    }
    if v.insns != block.insns.len() {
        let rule = Rule::InsnCount { listed: block.insns.len(), marked: v.insns };
        return Err(VerifyError { op: v.at, rule });
    }
    Ok(())
}

struct Verifier<'a, T: ?Sized> {
    block: &'a Block,
    target: &'a T,
    at: u16,
    /// Instruction marks so far.
    insns: usize,
    /// The first op of the current instruction that changed state.
    changed: Option<u16>,
    /// The current instruction probed its stores before it changed state.
    probed: bool,
}

impl<T: Target + ?Sized> Verifier<'_, T> {
    fn inst(&mut self, i: &Inst) -> Result<(), Rule> {
        self.place(i)?;
        self.operands(i)?;
        self.order(i)
    }

    /// Every op but marks, hooks, counters and terminators belongs to an instruction.
    fn place(&self, i: &Inst) -> Result<(), Rule> {
        let free = matches!(i.op, Op::InsnStart | Op::Hook | Op::Counter) || i.op.is_terminator();
        if self.insns == 0 && !free { Err(Rule::OutsideInstruction) } else { Ok(()) }
    }

    fn operand(&self, operand: char, v: Val, want: Want) -> Result<(), Rule> {
        if !v.is_some() {
            return Err(Rule::Missing(operand));
        }
        if v.0 >= self.at {
            return Err(Rule::Undefined { operand, value: v.0 });
        }
        match self.block.insts[v.index()].result_ty() {
            None => Err(Rule::NoValue { operand, value: v.0 }),
            Some(found) if !want.admits(found) => {
                Err(Rule::Type { operand, found, expected: want.name() })
            }
            Some(_) => Ok(()),
        }
    }

    fn optional(&self, operand: char, v: Val, want: Want) -> Result<(), Rule> {
        if v.is_some() { self.operand(operand, v, want) } else { Ok(()) }
    }

    fn absent(&self, operand: char, v: Val) -> Result<(), Rule> {
        if v.is_some() { Err(Rule::Unexpected(operand)) } else { Ok(()) }
    }

    fn none(&self, i: &Inst) -> Result<(), Rule> {
        self.absent('a', i.a)?;
        self.absent('b', i.b)
    }

    /// Operand b or an immediate of the op's type; never both.
    fn rhs(&self, i: &Inst, want: Want) -> Result<(), Rule> {
        if i.b.is_some() {
            self.operand('b', i.b, want)?;
            return unused(i.imm);
        }
        if i.imm & !i.ty.mask() != 0 { Err(Rule::Immediate(i.imm)) } else { Ok(()) }
    }

    fn address(&self, i: &Inst) -> Result<(), Rule> {
        if i.sub & !0x303 != 0 {
            return Err(Rule::Selector(i.sub));
        }
        if !i.b.is_some() && i.sub & 3 != 0 {
            return Err(Rule::Selector(i.sub));
        }
        self.optional('a', i.a, Want::Addr)?;
        self.optional('b', i.b, Want::Addr)
    }

    fn slot(&self, i: &Inst, bytes: u32) -> Result<(), Rule> {
        let valid = self.target.slots();
        let inside = i.imm >= u64::from(valid.start)
            && i.imm.checked_add(u64::from(bytes)).is_some_and(|end| end <= u64::from(valid.end));
        if inside {
            return Ok(());
        }
        Err(Rule::Slot { slot: i.imm, bytes, start: valid.start, end: valid.end })
    }

    fn operands(&mut self, i: &Inst) -> Result<(), Rule> {
        let ty = Want::Ty(i.ty);
        if i.ty != Ty::I64 && untyped(i.op) {
            return Err(Rule::OpType(i.ty));
        }
        match i.op {
            Op::InsnStart => return self.insn_start(i),
            Op::Const => {
                self.none(i)?;
                no_selector(i)?;
                if i.imm & !i.ty.mask() != 0 {
                    return Err(Rule::Immediate(i.imm));
                }
            }
            Op::Get => {
                self.none(i)?;
                no_selector(i)?;
                self.slot(i, i.ty.bytes())?;
            }
            Op::Put => {
                self.operand('a', i.a, ty)?;
                self.absent('b', i.b)?;
                no_selector(i)?;
                self.slot(i, if i.ty == Ty::I32 { 8 } else { i.ty.bytes() })?;
            }
            Op::Add | Op::Sub | Op::And | Op::Or | Op::Xor | Op::Mul | Op::MulHiU | Op::MulHiS => {
                integer(i.ty)?;
                no_selector(i)?;
                self.operand('a', i.a, ty)?;
                self.rhs(i, ty)?;
            }
            Op::Shl | Op::Shr | Op::Sar | Op::Rol | Op::Ror => {
                integer(i.ty)?;
                no_selector(i)?;
                self.operand('a', i.a, ty)?;
                self.rhs(i, Want::Ty(Ty::I8))?;
            }
            Op::Cmp => {
                integer(i.ty)?;
                let cond = condition(i)?;
                if matches!(cond, Cond::O | Cond::No | Cond::S | Cond::Ns | Cond::P | Cond::Np) {
                    return Err(Rule::Selector(i.sub));
                }
                self.operand('a', i.a, ty)?;
                self.rhs(i, ty)?;
            }
            Op::DivU | Op::RemU | Op::DivS | Op::RemS => {
                integer(i.ty)?;
                no_selector(i)?;
                self.operand('a', i.a, ty)?;
                self.operand('b', i.b, ty)?;
                self.operand('c', i.c(), ty)?;
                unused(i.imm << 16)?;
            }
            Op::Not | Op::Neg | Op::Bswap | Op::Clz | Op::Ctz | Op::Popcnt => {
                integer(i.ty)?;
                if i.op == Op::Bswap && i.ty == Ty::I8 {
                    return Err(Rule::OpType(i.ty));
                }
                no_selector(i)?;
                self.operand('a', i.a, ty)?;
                self.absent('b', i.b)?;
                unused(i.imm)?;
            }
            Op::Zext if i.ty == Ty::V256 => {
                if i.sub != Ty::V128 as u16 {
                    return Err(Rule::Selector(i.sub));
                }
                self.operand('a', i.a, Want::Ty(Ty::V128))?;
                self.absent('b', i.b)?;
                unused(i.imm)?;
            }
            Op::Zext | Op::Sext | Op::Trunc => {
                integer(i.ty)?;
                let from = u8::try_from(i.sub).ok().and_then(Ty::from_u8);
                let from = from.filter(|t| t.is_int()).ok_or(Rule::Selector(i.sub))?;
                let narrower = if i.op == Op::Trunc { i.ty < from } else { from < i.ty };
                if !narrower {
                    return Err(Rule::OpType(i.ty));
                }
                self.operand('a', i.a, Want::Ty(from))?;
                self.absent('b', i.b)?;
                unused(i.imm)?;
            }
            Op::Select => {
                no_selector(i)?;
                self.operand('a', i.a, Want::Int)?;
                self.operand('b', i.b, ty)?;
                self.operand('c', i.c(), ty)?;
                unused(i.imm << 16)?;
            }
            Op::Lea => {
                if !Want::Addr.admits(i.ty) {
                    return Err(Rule::OpType(i.ty));
                }
                if i.sub > 3 || !i.b.is_some() && i.sub != 0 {
                    return Err(Rule::Selector(i.sub));
                }
                self.optional('a', i.a, Want::Addr)?;
                self.optional('b', i.b, Want::Addr)?;
                if i.imm != i64::from(i.imm as i32) as u64 & i.ty.mask() {
                    return Err(Rule::Immediate(i.imm));
                }
            }
            Op::Load | Op::ProbeWrite => {
                self.address(i)?;
                unused(i.imm >> 32)?;
            }
            Op::Store => {
                self.address(i)?;
                self.operand('c', i.c(), ty)?;
                unused(i.imm >> 32 << 48)?;
            }
            Op::AtomicRmw => {
                integer(i.ty)?;
                if i.sub > 5 {
                    return Err(Rule::Selector(i.sub));
                }
                self.operand('a', i.a, Want::Addr)?;
                self.operand('b', i.b, ty)?;
                unused(i.imm)?;
            }
            Op::AtomicCas => {
                if i.ty == Ty::V256 {
                    return Err(Rule::OpType(i.ty));
                }
                no_selector(i)?;
                self.operand('a', i.a, Want::Addr)?;
                self.operand('b', i.b, ty)?;
                self.operand('c', i.c(), ty)?;
                unused(i.imm << 16)?;
            }
            Op::Fence => {
                self.none(i)?;
                no_selector(i)?;
                unused(i.imm)?;
            }
            Op::FlagsSet => self.flags_set(i)?,
            Op::FlagsCond => {
                self.none(i)?;
                condition(i)?;
                unused(i.imm)?;
                if i.ty != Ty::I8 {
                    return Err(Rule::OpType(i.ty));
                }
            }
            Op::FlagsGet => {
                self.none(i)?;
                no_selector(i)?;
                if i.imm & !u64::from(ALL_FLAGS) != 0 {
                    return Err(Rule::Immediate(i.imm));
                }
            }
            Op::Vec => self.vector(i)?,
            Op::Call => self.call(i)?,
            Op::ExitIf => {
                self.operand('a', i.a, Want::Int)?;
                self.absent('b', i.b)?;
                let sites = i.exit_counts();
                if !sites.is_empty() && sites.end > self.block.counters.len() {
                    return Err(Rule::CounterSite(sites.end as u64 - 1));
                }
            }
            Op::Jump => {
                self.none(i)?;
                jump_kind(i)?;
            }
            Op::JumpInd => {
                self.operand('a', i.a, Want::Addr)?;
                self.absent('b', i.b)?;
                jump_kind(i)?;
                unused(i.imm)?;
            }
            Op::Trap => {
                self.none(i)?;
                if i.sub == TrapKind::None as u16 || usize::from(i.sub) >= TrapKind::ALL.len() {
                    return Err(Rule::Selector(i.sub));
                }
            }
            Op::ReturnHint => {
                self.none(i)?;
                no_selector(i)?;
            }
            Op::Hook => {
                self.optional('a', i.a, Want::Addr)?;
                if i.a.is_some() {
                    self.optional('b', i.b, ty)?;
                } else {
                    self.absent('b', i.b)?;
                }
                let site = usize::try_from(i.imm).ok().and_then(|n| self.block.hooks.get(n));
                if site.is_none_or(|s| s.kind as u16 != i.sub) {
                    return Err(Rule::HookSite(i.imm));
                }
            }
            Op::Counter => {
                self.none(i)?;
                no_selector(i)?;
                if usize::try_from(i.imm).map_or(true, |n| n >= self.block.counters.len()) {
                    return Err(Rule::CounterSite(i.imm));
                }
            }
        }
        Ok(())
    }

    fn insn_start(&mut self, i: &Inst) -> Result<(), Rule> {
        let n = self.insns as u16;
        let listed = self.block.insns.get(self.insns);
        let matches = listed.is_some_and(|l| {
            l.pc == i.imm && u16::from(l.len) == i.a.0 && l.first == self.at && i.sub == n
        });
        if !matches {
            return Err(Rule::InsnList(n));
        }
        if n == 0 && i.imm != self.block.pc {
            return Err(Rule::BlockPc { block: self.block.pc, found: i.imm });
        }
        let mut plain = *i;
        if i.leads() {
            plain.set_leads();
        }
        if plain != *i {
            self.absent('b', i.b)?;
        }
        self.insns += 1;
        self.changed = None;
        self.probed = false;
        Ok(())
    }

    fn flags_set(&self, i: &Inst) -> Result<(), Rule> {
        integer(i.ty)?;
        if usize::from(i.sub) >= FlagKind::ALL.len() {
            return Err(Rule::Selector(i.sub));
        }
        let kind = i.flag_kind();
        let any = matches!(kind, FlagKind::Raw | FlagKind::Carry | FlagKind::Zero);
        self.operand('a', i.a, if any { Want::Int } else { Want::Ty(i.ty) })?;
        if i.b.is_some() {
            let count = kind.void_if_zero_count();
            self.operand('b', i.b, if count { Want::Int } else { Want::Ty(i.ty) })?;
            unused(i.imm & 0xffff_ffff)?;
        } else if u64::from(i.imm as u32) & !i.ty.mask() != 0 {
            return Err(Rule::Immediate(i.imm));
        }
        unused(i.imm >> 32 << 48)?;
        // Without c the kept flags and the carry in are 0: passes drop what nothing reads.
        self.optional('c', i.c(), Want::Int)
    }

    fn vector(&self, i: &Inst) -> Result<(), Rule> {
        let Some(op) = VecOp::ALL.get(usize::from(i.sub)) else {
            return Err(Rule::Selector(i.sub));
        };
        let sig = op.sig();
        if sig.gives_int() != i.ty.is_int() {
            return Err(Rule::OpType(i.ty));
        }
        // The type the op's length speaks of: the operand's where the result has its own.
        let by_operand = sig.gives_int() || matches!(sig, VecSig::Narrow | VecSig::NarrowImm);
        let ty = if by_operand {
            self.operand('a', i.a, Want::Vector)?;
            if matches!(sig, VecSig::Narrow | VecSig::NarrowImm) && i.ty != Ty::V128 {
                return Err(Rule::OpType(i.ty));
            }
            self.block.insts[i.a.index()].ty
        } else {
            i.ty
        };
        if !op.len().admits(ty) {
            return Err(Rule::OpType(ty));
        }
        match sig {
            VecSig::V
            | VecSig::VImm
            | VecSig::ToInt
            | VecSig::ToIntImm
            | VecSig::Narrow
            | VecSig::NarrowImm => {
                self.operand('a', i.a, Want::Ty(ty))?;
                self.absent('b', i.b)?;
                self.absent('c', i.c())?;
            }
            VecSig::VV | VecSig::VVImm | VecSig::Flags => {
                self.operand('a', i.a, Want::Ty(ty))?;
                self.operand('b', i.b, Want::Ty(ty))?;
                self.absent('c', i.c())?;
            }
            VecSig::Shift | VecSig::Insert => {
                self.operand('a', i.a, Want::Ty(ty))?;
                self.operand('b', i.b, Want::Ty(Ty::V128))?;
                self.absent('c', i.c())?;
            }
            VecSig::Widen => {
                self.operand('a', i.a, Want::Ty(Ty::V128))?;
                self.absent('b', i.b)?;
                self.absent('c', i.c())?;
            }
            VecSig::VVV => {
                self.operand('a', i.a, Want::Ty(ty))?;
                self.operand('b', i.b, Want::Ty(ty))?;
                self.operand('c', i.c(), Want::Ty(ty))?;
            }
            VecSig::VInt | VecSig::VIntImm => {
                self.operand('a', i.a, Want::Ty(ty))?;
                self.operand('b', i.b, Want::Int)?;
                self.absent('c', i.c())?;
            }
            VecSig::FromInt => {
                self.operand('a', i.a, Want::Int)?;
                self.absent('b', i.b)?;
                self.absent('c', i.c())?;
            }
        }
        let control = i.imm & 0xffff_ffff_ffff;
        let limit = if sig.has_imm() { 0xff } else { 0 };
        if control > limit { Err(Rule::Immediate(i.imm)) } else { Ok(()) }
    }

    fn call(&self, i: &Inst) -> Result<(), Rule> {
        integer(i.ty)?;
        if self.target.helper_effects(i.sub).is_none() {
            return Err(Rule::Helper(i.sub));
        }
        for (name, v) in "abcd".chars().zip(i.call_args()) {
            self.optional(name, v, Want::Int)?;
        }
        unused(i.imm >> 32)
    }

    /// Ops that may fault come before the first change of state in their instruction. Stores that
    /// were probed are exempt: the probe is what may fault.
    fn order(&mut self, i: &Inst) -> Result<(), Rule> {
        let effects = match i.op {
            Op::Call => self.target.helper_effects(i.sub),
            _ => None,
        };
        let may_fault = match i.op {
            Op::Call => effects.is_some_and(|e| e.traps),
            Op::Vec => i.vec_op().uses_mxcsr(),
            Op::Store => !self.probed,
            op => op.may_fault(),
        };
        if let (true, Some(change)) = (may_fault, self.changed) {
            return Err(Rule::FaultAfterChange(change));
        }
        self.probed |= i.op == Op::ProbeWrite;
        let changes =
            matches!(i.op, Op::Put | Op::FlagsSet | Op::Store | Op::AtomicRmw | Op::AtomicCas)
                || effects.is_some_and(|e| e.writes);
        if changes && self.changed.is_none() {
            self.changed = Some(self.at);
        }
        Ok(())
    }
}

/// Ops whose type says nothing; it is i64.
const fn untyped(op: Op) -> bool {
    matches!(
        op,
        Op::InsnStart
            | Op::Fence
            | Op::FlagsGet
            | Op::ExitIf
            | Op::Jump
            | Op::JumpInd
            | Op::Trap
            | Op::ReturnHint
            | Op::Counter
    )
}

fn integer(ty: Ty) -> Result<(), Rule> {
    if ty.is_int() { Ok(()) } else { Err(Rule::OpType(ty)) }
}

fn no_selector(i: &Inst) -> Result<(), Rule> {
    if i.sub == 0 { Ok(()) } else { Err(Rule::Selector(i.sub)) }
}

fn unused(bits: u64) -> Result<(), Rule> {
    if bits == 0 { Ok(()) } else { Err(Rule::Immediate(bits)) }
}

fn condition(i: &Inst) -> Result<Cond, Rule> {
    if i.sub < 16 { Ok(i.cond()) } else { Err(Rule::Selector(i.sub)) }
}

fn jump_kind(i: &Inst) -> Result<(), Rule> {
    if i.sub < 3 { Ok(()) } else { Err(Rule::Selector(i.sub)) }
}
