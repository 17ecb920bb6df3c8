//! Constant folding and identities, one op at a time.

use crate::{Cond, FlagKind, Inst, Op, Operand, Ty, Val, flags, scalar};

/// What became of an op.
pub(super) enum Folded {
    /// Nothing.
    Same,
    /// It is a different op now.
    Changed(Inst),
    /// Its result is a value that exists already.
    Value(Val),
}

fn constant(ty: Ty, imm: u64) -> Folded {
    let mut i = Inst::new(Op::Const, ty);
    i.imm = imm & ty.mask();
    Folded::Changed(i)
}

/// The integer constant `v` is.
fn as_const(insts: &[Inst], v: Val) -> Option<u64> {
    let i = insts.get(v.index())?;
    (i.op == Op::Const && i.ty.is_int()).then_some(i.imm)
}

/// [`fold`] for the binary integer ops.
#[inline]
pub(super) fn fold_binary(insts: &[Inst], i: &Inst) -> Folded {
    let a = as_const(insts, i.a);
    if !i.b.is_some() {
        return immediate_rhs(i, a, i.imm);
    }
    if let Some(imm) = as_const(insts, i.b) {
        return match immediate_rhs(i, a, imm) {
            Folded::Same => Folded::Changed(Inst { b: Val::NONE, imm, ..*i }),
            folded => folded,
        };
    }
    if i.a != i.b {
        return Folded::Same;
    }
    match i.op {
        Op::Xor | Op::Sub => constant(i.ty, 0),
        Op::And | Op::Or => Folded::Value(i.a),
        _ => Folded::Same,
    }
}

/// A binary op with the second operand `b`.
fn immediate_rhs(i: &Inst, a: Option<u64>, b: u64) -> Folded {
    if let Some(a) = a {
        return constant(i.ty, scalar::binary(i.op, i.ty, a, b));
    }
    let neutral = match i.op {
        Op::Add | Op::Sub | Op::Or | Op::Xor => b == 0,
        Op::Shl | Op::Shr | Op::Sar | Op::Rol | Op::Ror => b == 0,
        Op::And => b == i.ty.mask(),
        Op::Mul => b == 1,
        _ => false,
    };
    if neutral {
        Folded::Value(i.a)
    } else if b == 0 && matches!(i.op, Op::And | Op::Mul | Op::MulHiU | Op::MulHiS) {
        constant(i.ty, 0)
    } else {
        Folded::Same
    }
}

/// Folds op `i`, whose operands stand in `insts`.
pub(super) fn fold(insts: &[Inst], i: &Inst) -> Folded {
    let a = as_const(insts, i.a);
    match i.op {
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
        | Op::MulHiS => fold_binary(insts, i),
        Op::Cmp => {
            let b = if i.b.is_some() { as_const(insts, i.b) } else { Some(i.imm) };
            match (a, b) {
                (Some(a), Some(b)) => {
                    constant(Ty::I8, u64::from(scalar::compare(i.cond(), i.ty, a, b)))
                }
                (None, Some(imm)) if i.b.is_some() => {
                    Folded::Changed(Inst { b: Val::NONE, imm, ..*i })
                }
                _ => Folded::Same,
            }
        }
        Op::FlagsSet => match as_const(insts, i.b) {
            Some(imm) => flags_immediate(i, imm),
            None => Folded::Same,
        },
        Op::Not | Op::Neg | Op::Bswap | Op::Clz | Op::Ctz | Op::Popcnt => match a {
            Some(a) => constant(i.ty, scalar::unary(i.op, i.ty, a)),
            None => Folded::Same,
        },
        Op::Zext | Op::Sext | Op::Trunc => convert(insts, i, a),
        Op::Select => match a {
            Some(0) => Folded::Value(i.c()),
            Some(_) => Folded::Value(i.b),
            None if i.b == i.c() => Folded::Value(i.b),
            None => Folded::Same,
        },
        Op::Lea => lea(insts, i),
        _ => Folded::Same,
    }
}

/// A flag definition with the constant second operand `imm`, if it fits.
fn flags_immediate(i: &Inst, imm: u64) -> Folded {
    let signed = flags::sext(i.ty, imm);
    if i64::from(signed as i32) != signed {
        return Folded::Same;
    }
    Folded::Changed(Inst { b: Val::NONE, imm: i.imm | u64::from((imm & i.ty.mask()) as u32), ..*i })
}

fn convert(insts: &[Inst], i: &Inst, a: Option<u64>) -> Folded {
    if let Some(a) = a {
        return constant(i.ty, scalar::convert(i.op, i.from_ty(), i.ty, a));
    }
    let inner = &insts[i.a.index()];
    match (i.op, inner.op) {
        // The low part of something extended is the thing itself, or a part of it.
        (Op::Trunc, Op::Zext | Op::Sext) if inner.from_ty() == i.ty => Folded::Value(inner.a),
        (Op::Trunc, Op::Zext | Op::Sext) if inner.from_ty() > i.ty => {
            Folded::Changed(retarget(i, inner))
        }
        (Op::Trunc, Op::Trunc) | (Op::Zext, Op::Zext) | (Op::Sext, Op::Sext) => {
            Folded::Changed(retarget(i, inner))
        }
        _ => Folded::Same,
    }
}

/// The conversion `i` applied to the operand of `inner` directly.
fn retarget(i: &Inst, inner: &Inst) -> Inst {
    Inst { a: inner.a, sub: inner.sub, ..*i }
}

fn lea(insts: &[Inst], i: &Inst) -> Folded {
    let mut i = *i;
    let mut sum = i.imm;
    let mut changed = false;
    if let Some(base) = as_const(insts, i.a) {
        sum = sum.wrapping_add(base);
        i.a = Val::NONE;
        changed = true;
    }
    if let Some(index) = as_const(insts, i.b) {
        sum = sum.wrapping_add(index << (i.sub & 3));
        (i.b, i.sub) = (Val::NONE, 0);
        changed = true;
    }
    if !i.a.is_some() && !i.b.is_some() {
        return constant(i.ty, sum);
    }
    let disp = flags::sext(i.ty, sum);
    let fits = i64::from(disp as i32) == disp;
    if disp == 0 && i.a.is_some() && !i.b.is_some() && insts[i.a.index()].result_ty() == Some(i.ty)
    {
        return Folded::Value(i.a);
    }
    if changed && fits {
        i.imm = sum & i.ty.mask();
        return Folded::Changed(i);
    }
    Folded::Same
}

/// A known flag definition.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlagDef {
    pub kind: FlagKind,
    pub ty: Ty,
    pub a: Val,
    pub b: Operand,
    pub c: Val,
}

/// A [`Op::FlagsCond`] or [`Op::FlagsGet`] after the definition `d`.
pub(super) fn read_flags(insts: &[Inst], i: &Inst, d: &FlagDef) -> Folded {
    let a_ty = insts[d.a.index()].result_ty();
    if i.op == Op::FlagsGet {
        return flags_get(insts, i, d, a_ty);
    }
    let compare = |cond: Cond, b: Operand| {
        let mut cmp = Inst::new(Op::Cmp, d.ty);
        (cmp.sub, cmp.a) = (cond as u16, d.a);
        match b {
            Operand::Val(v) => cmp.b = v,
            Operand::Imm(imm) => cmp.imm = imm,
        }
        Folded::Changed(cmp)
    };
    let with_zero = |cond| compare(cond, Operand::Imm(0));
    let cond = i.cond();
    if a_ty != Some(d.ty) {
        return Folded::Same;
    }
    match d.kind {
        FlagKind::Sub => match cond {
            Cond::O | Cond::No | Cond::S | Cond::Ns | Cond::P | Cond::Np => Folded::Same,
            _ => compare(cond, d.b),
        },
        // CF and OF are clear.
        FlagKind::Logic => match cond {
            Cond::O | Cond::B => constant(Ty::I8, 0),
            Cond::No | Cond::Ae => constant(Ty::I8, 1),
            Cond::E | Cond::Be => with_zero(Cond::E),
            Cond::Ne | Cond::A => with_zero(Cond::Ne),
            Cond::S | Cond::L => with_zero(Cond::L),
            Cond::Ns | Cond::Ge => with_zero(Cond::Ge),
            Cond::Le | Cond::G => with_zero(cond),
            Cond::P | Cond::Np => Folded::Same,
        },
        FlagKind::Inc | FlagKind::Dec => match cond {
            Cond::E | Cond::Ne => with_zero(cond),
            Cond::S => with_zero(Cond::L),
            Cond::Ns => with_zero(Cond::Ge),
            _ => Folded::Same,
        },
        FlagKind::Zero if matches!(cond, Cond::E | Cond::Ne) => with_zero(cond),
        _ => Folded::Same,
    }
}

/// A [`Op::FlagsGet`] after the definition `d`, whose operand a has type `a_ty`.
fn flags_get(insts: &[Inst], i: &Inst, d: &FlagDef, a_ty: Option<Ty>) -> Folded {
    let carry_only = i.imm == u64::from(flags::CF);
    match d.kind {
        FlagKind::Raw if a_ty == Some(Ty::I64) => {
            let mut and = Inst::new(Op::And, Ty::I64);
            (and.a, and.imm) = (d.a, i.imm);
            Folded::Changed(and)
        }
        FlagKind::Logic if i.imm & u64::from(flags::ZF | flags::SF | flags::PF) == 0 => {
            constant(Ty::I64, 0)
        }
        // The carry that was kept, where it is nothing but a carry.
        FlagKind::Inc | FlagKind::Dec if carry_only && d.c.is_some() => {
            let kept = &insts[d.c.index()];
            let same = kept.op == Op::FlagsGet && kept.imm == u64::from(flags::CF);
            if same { Folded::Value(d.c) } else { Folded::Same }
        }
        _ => Folded::Same,
    }
}
