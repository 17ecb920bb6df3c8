//! SSE instructions, SSE to SSE4.2, AES and PCLMULQDQ.
//!
//! Most instructions are one vector op on the destination and the source ([`same_name`]); here are
//! their operands. Moves are in [`moves`], everything else in [`special`].

mod moves;
pub(super) mod special;

use emu_ir::{Addr, FlagKind, Op, Ty, Val, VecOp, VecSig};
use iced_x86::{Instruction, Mnemonic};

use super::Lifter;

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    if uses_mmx(i) {
        return false;
    }
    moves::lift(l, i) || special::lift(l, i) || regular(l, i)
}

fn uses_mmx(i: &Instruction) -> bool {
    i.op0_register().is_mm() || i.op1_register().is_mm()
}

/// Instructions whose effect is one vector op.
fn regular(l: &mut Lifter, i: &Instruction) -> bool {
    let Some(op) = same_name(i.mnemonic()) else { return false };
    let dest = i.op0_register();
    if !dest.is_xmm() {
        return false;
    }
    if let Some(lanes) = constant_idiom(op, i) {
        let constant = l.b.iconst(Ty::V128, lanes);
        l.write_xmm(dest, constant);
        return true;
    }
    let src = l.vec_source(i, 1);
    match op.sig() {
        VecSig::Flags => {
            let a = l.read_xmm(dest);
            let flags = l.b.vec(op, Ty::I64, a, src, Val::NONE, 0);
            l.b.flags_set(FlagKind::Raw, Ty::I64, flags, 0, Val::NONE);
            return true;
        }
        VecSig::V | VecSig::Widen | VecSig::Narrow => {
            let r = l.vec1(op, src, 0);
            l.write_xmm(dest, r);
        }
        VecSig::VImm => {
            let r = l.vec1(op, src, i.immediate8());
            l.write_xmm(dest, r);
        }
        VecSig::VV => {
            let a = l.read_xmm(dest);
            let r = l.vec2(op, a, src, 0);
            l.write_xmm(dest, r);
        }
        VecSig::VVImm => {
            let a = l.read_xmm(dest);
            let r = l.vec2(op, a, src, control(op, i.immediate8()));
            l.write_xmm(dest, r);
        }
        VecSig::VVV => {
            let a = l.read_xmm(dest);
            let mask = l.read_xmm(iced_x86::Register::XMM0);
            let r = l.b.vec(op, Ty::V128, a, src, mask, 0);
            l.write_xmm(dest, r);
        }
        _ => return false,
    }
    true
}

/// The control byte without the bits that legacy instructions ignore.
fn control(op: VecOp, imm: u8) -> u8 {
    match op {
        VecOp::Cmpps | VecOp::Cmppd | VecOp::Cmpss | VecOp::Cmpsd => imm & 7,
        _ => imm,
    }
}

/// The idioms that clear a register or set all its bits whatever it holds: what each 64-bit lane
/// becomes.
fn constant_idiom(op: VecOp, i: &Instruction) -> Option<u64> {
    if i.op0_register() != i.op1_register() {
        return None;
    }
    match op {
        VecOp::Pxor | VecOp::Xorps | VecOp::Xorpd => Some(0),
        VecOp::Pcmpeqb | VecOp::Pcmpeqw | VecOp::Pcmpeqd => Some(u64::MAX),
        _ => None,
    }
}

impl Lifter {
    /// A vector op with one operand.
    pub(super) fn vec1(&mut self, op: VecOp, a: Val, imm: u8) -> Val {
        self.b.vec(op, Ty::V128, a, Val::NONE, Val::NONE, imm)
    }

    /// A vector op with two operands.
    pub(super) fn vec2(&mut self, op: VecOp, a: Val, b: Val, imm: u8) -> Val {
        self.b.vec(op, Ty::V128, a, b, Val::NONE, imm)
    }

    /// Operand `n` as a vector: an XMM register, or memory of the operand's own size, extended
    /// with zeros. 16-byte memory must be aligned.
    pub(super) fn vec_source(&mut self, i: &Instruction, n: u32) -> Val {
        if !Lifter::is_mem(i, n) {
            return self.read_xmm(i.op_register(n));
        }
        let m = self.ea(i);
        match i.memory_size().size() {
            2 => {
                let x = self.b.load(Ty::I16, m);
                let x = self.b.convert(Op::Zext, Ty::I16, Ty::I32, x);
                self.vec1(VecOp::Movd, x, 0)
            }
            4 => {
                let x = self.b.load(Ty::I32, m);
                self.vec1(VecOp::Movd, x, 0)
            }
            8 => {
                let x = self.b.load(Ty::I64, m);
                self.vec1(VecOp::Movq, x, 0)
            }
            _ => self.b.load(Ty::V128, Addr { aligned: true, ..m }),
        }
    }

    /// The low part of a vector as an integer: i32 or i64.
    pub(super) fn vec_low(&mut self, ty: Ty, v: Val) -> Val {
        let op = if ty == Ty::I32 { VecOp::MovdOut } else { VecOp::MovqOut };
        self.b.vec(op, ty, v, Val::NONE, Val::NONE, 0)
    }
}

macro_rules! same_name {
    ($($name:ident)*) => {
        /// The vector op with the effect of the whole instruction, for instructions of that kind.
        pub(super) fn same_name(m: Mnemonic) -> Option<VecOp> {
            Some(match m {
                $(Mnemonic::$name => VecOp::$name,)*
                _ => return None,
            })
        }
    };
}

same_name! {
    Paddb Paddw Paddd Paddq Psubb Psubw Psubd Psubq Paddsb Paddsw Paddusb Paddusw Psubsb Psubsw
    Psubusb Psubusw Pmullw Pmulhw Pmulhuw Pmuludq Pmaddwd Psadbw Pavgb Pavgw Pminub Pmaxub Pminsw
    Pmaxsw Pcmpeqb Pcmpeqw Pcmpeqd Pcmpgtb Pcmpgtw Pcmpgtd Pand Pandn Por Pxor
    Packsswb Packssdw Packuswb Punpcklbw Punpcklwd Punpckldq Punpcklqdq Punpckhbw Punpckhwd
    Punpckhdq Punpckhqdq Pshufd Pshufhw Pshuflw
    Movhlps Movlhps Movddup Movshdup Movsldup
    Addps Addpd Addss Addsd Mulps Mulpd Mulss Mulsd Subps Subpd Subss Subsd Divps Divpd Divss Divsd
    Minps Minpd Minss Minsd Maxps Maxpd Maxss Maxsd Sqrtps Sqrtpd Sqrtss Sqrtsd Rcpps Rcpss
    Rsqrtps Rsqrtss Addsubps Addsubpd Haddps Haddpd Hsubps Hsubpd Andps Andpd Andnps Andnpd Orps
    Orpd Xorps Xorpd Cmpps Cmppd Cmpss Cmpsd Ucomiss Ucomisd Comiss Comisd Unpcklps Unpcklpd
    Unpckhps Unpckhpd Shufps Shufpd
    Cvtdq2ps Cvtps2dq Cvttps2dq Cvtdq2pd Cvtpd2dq Cvttpd2dq Cvtps2pd Cvtpd2ps Cvtss2sd Cvtsd2ss
    Pshufb Phaddw Phaddd Phaddsw Pmaddubsw Phsubw Phsubd Phsubsw Psignb Psignw Psignd Pmulhrsw
    Pabsb Pabsw Pabsd Palignr
    Pblendvb Blendvps Blendvpd Blendps Blendpd Pblendw Ptest Pmovsxbw Pmovsxbd Pmovsxbq Pmovsxwd
    Pmovsxwq Pmovsxdq Pmovzxbw Pmovzxbd Pmovzxbq Pmovzxwd Pmovzxwq Pmovzxdq Pmuldq Pcmpeqq Packusdw
    Pcmpgtq Pminsb Pminsd Pminuw Pminud Pmaxsb Pmaxsd Pmaxuw Pmaxud Pmulld Phminposuw Mpsadbw
    Roundps Roundpd Roundss Roundsd Dpps Dppd
    Aesenc Aesenclast Aesdec Aesdeclast Aesimc Aeskeygenassist Pclmulqdq
    Sha1rnds4 Sha1nexte Sha1msg1 Sha1msg2 Sha256rnds2 Sha256msg1 Sha256msg2
}
