//! Vector operations: the very host instruction, VEX-encoded when the host has AVX (so that
//! generated code does not mix encodings), else in the two-operand legacy form.

use emu_ir::{FlagKind, Inst, Op, Ty, Val, VecEncoding, VecForm, VecOp, VecSig, VecWidth};

use crate::Unsupported;
use crate::asm::{Mem, OF, OF3A, P66, PF3, RAX, Reg, Rm};
use crate::compile::Compiler;
use crate::state::NOROOT;
use crate::vec::TEMP;

fn opcode(e: &VecEncoding) -> u32 {
    let prefix = match e.prefix {
        0x66 => P66,
        0xf3 => PF3,
        0xf2 => crate::asm::PF2,
        _ => 0,
    };
    prefix | (e.map as u32) << 8 | u32::from(e.opcode)
}

impl Compiler<'_> {
    /// [`Op::Vec`].
    pub fn vec(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let op = i.vec_op();
        let e = op.encoding();
        let sig = op.sig();
        let long = match sig {
            VecSig::ToInt | VecSig::Flags | VecSig::Narrow | VecSig::NarrowImm => {
                self.ty_of(i.a) == Ty::V256
            }
            _ => i.ty == Ty::V256,
        };
        let has = if e.form.is_legacy() { self.host.sha } else { self.host.v3 };
        if (long || e.form.is_vex() || e.form.is_legacy()) && !has {
            return Err(Unsupported::Vec(op));
        }
        let code = opcode(&e);
        let wide = match e.w {
            VecWidth::W0 => false,
            VecWidth::W1 => true,
            VecWidth::ByType => i.ty == Ty::I64,
        };
        match sig {
            VecSig::ToInt | VecSig::ToIntImm => self.vec_to_int(i, &e, code, (wide, long)),
            VecSig::Flags => self.vec_flags(i, code, long),
            VecSig::V
            | VecSig::VImm
            | VecSig::FromInt
            | VecSig::Widen
            | VecSig::Narrow
            | VecSig::NarrowImm => self.vec_unary(i, &e, code, (wide, long)),
            VecSig::VV
            | VecSig::VVImm
            | VecSig::VInt
            | VecSig::VIntImm
            | VecSig::Shift
            | VecSig::Insert => self.vec_binary(i, &e, code, (wide, long)),
            VecSig::VVV if e.form == VecForm::Fma => self.vec_fma(i, code, (wide, long)),
            VecSig::VVV => self.vec_ternary(i, &e, code, long),
        }
    }

    fn ty_of(&self, v: Val) -> Ty {
        self.block.insts.get(v.index()).map_or(Ty::V128, |i| i.ty)
    }

    fn imm_byte(&mut self, i: &Inst) {
        if i.vec_op().sig().has_imm() {
            self.asm.byte(i.imm as u8);
        }
    }

    fn vec_to_int(
        &mut self,
        i: &Inst,
        e: &VecEncoding,
        code: u32,
        (wide, long): (bool, bool),
    ) -> Result<(), Unsupported> {
        let op = i.vec_op();
        // The low part of the vector as it is, for a store: no move at all.
        let lane = matches!((op, i.ty), (VecOp::MovqOut, Ty::I64) | (VecOp::MovdOut, Ty::I32));
        if lane && let Some(user) = self.only_user(self.at) {
            let u = self.block.insts[user];
            if u.op == Op::Store && u.ty == i.ty && u.c().index() == self.at {
                let r = self.root_of(i.a);
                self.root_xmm(r)?;
                self.st.bind(self.at, r);
                self.release(&[i.a]);
                return Ok(());
            }
        }
        let a = self.xmm(i.a)?;
        let point = self.simd_point(i);
        let d = self.alloc_gpr()?;
        self.place_point(point);
        match e.form {
            VecForm::Mr => self.vop(code, wide, long, a, Rm::R(d)),
            _ => self.vop(code, wide, long, d, Rm::R(a)),
        }
        self.imm_byte(i);
        self.release(&[i.a]);
        let bits = if wide { 64 } else { 32 };
        self.define(d, bits);
        Ok(())
    }

    fn vec_flags(&mut self, i: &Inst, code: u32, long: bool) -> Result<(), Unsupported> {
        let a = self.xmm(i.a)?;
        let b = self.xmm(i.b)?;
        let point = self.simd_point(i);
        let only_flags = self.only_user(self.at).is_some_and(|u| {
            let f = &self.block.insts[u];
            f.op == Op::FlagsSet && f.flag_kind() == FlagKind::Raw
        });
        if only_flags {
            // lahf leaves the host's flags alone, so that a branch can follow at once. Its
            // constant bit 1 is none of the arithmetic flags.
            self.vacate(RAX)?;
            self.st.gpr_lock |= 1 << RAX;
            self.place_point(point);
            self.vop(code, false, long, a, Rm::R(b));
            self.asm.byte(0x9f);
            // movzx eax, ah
            self.asm.op(0xb6 | OF, false, RAX, Rm::R(4), 0);
            self.release(&[i.a, i.b]);
            self.host_flags_of_this();
            self.define(RAX, 8);
            return Ok(());
        }
        let d = self.alloc_gpr()?;
        let t = self.alloc_gpr()?;
        self.clobber_flags();
        self.place_point(point);
        self.vop(code, false, long, a, Rm::R(b));
        self.release(&[i.a, i.b]);
        if self.an.uses[self.at] == 0 {
            return Ok(());
        }
        // ZF in bit 6, PF in bit 2, CF in bit 0; setcc writes bytes, so clear the rest first.
        self.asm.setcc(2, d);
        self.asm.setcc(10, t);
        self.asm.movzx(Ty::I8, d, d);
        self.asm.movzx(Ty::I8, t, t);
        let m = Mem { base: d, index: t, shift: 2, disp: 0, addr32: false };
        self.asm.lea(Ty::I32, d, m);
        self.asm.setcc(4, t);
        self.asm.movzx(Ty::I8, t, t);
        self.asm.shift_imm(crate::asm::Shift::Shl, Ty::I32, t, 6);
        self.asm.alu(crate::asm::Alu::Or, Ty::I32, d, Rm::R(t));
        self.define(d, 7);
        Ok(())
    }

    fn vec_unary(
        &mut self,
        i: &Inst,
        e: &VecEncoding,
        code: u32,
        (wide, long): (bool, bool),
    ) -> Result<(), Unsupported> {
        if i.vec_op().sig() == VecSig::FromInt {
            let s = self.gpr(i.a)?;
            let point = self.simd_point(i);
            let d = self.alloc_xmm()?;
            self.place_point(point);
            self.vop(code, wide, false, d, Rm::R(s));
            self.release(&[i.a]);
            self.define_xmm(d, i.ty);
            return Ok(());
        }
        let a = self.xmm(i.a)?;
        let ra = self.root_of(i.a);
        match e.form {
            VecForm::Digit(n) => {
                self.release_xmm(&[i.a]);
                let d = self.alloc_result_xmm(ra)?;
                if self.host.avx {
                    self.asm.vex(code, wide, long, n, d, Rm::R(a));
                } else {
                    self.vec_move(Ty::V128, d, a);
                    self.asm.op(code, wide, n, Rm::R(d), 0);
                }
                self.imm_byte(i);
                self.finish_xmm(i, d);
            }
            _ => {
                let point = self.simd_point(i);
                self.release_xmm(&[i.a]);
                let d = self.alloc_result_xmm(ra)?;
                self.place_point(point);
                if e.form == VecForm::VexMr {
                    self.vop(code, wide, long, a, Rm::R(d));
                } else {
                    self.vop(code, wide, long, d, Rm::R(a));
                }
                self.imm_byte(i);
                self.finish_xmm(i, d);
            }
        }
        Ok(())
    }

    fn vec_binary(
        &mut self,
        i: &Inst,
        e: &VecEncoding,
        code: u32,
        (wide, long): (bool, bool),
    ) -> Result<(), Unsupported> {
        if !matches!(e.form, VecForm::Rm | VecForm::VexRm | VecForm::LegacyRm) {
            return Err(Unsupported::Vec(i.vec_op()));
        }
        let int = matches!(i.vec_op().sig(), VecSig::VInt | VecSig::VIntImm);
        let a = self.xmm(i.a)?;
        let ra = self.root_of(i.a);
        let b = if int { self.gpr(i.b)? } else { self.xmm(i.b)? };
        let rb = self.root_of(i.b);
        let d = if self.host.avx && e.form != VecForm::LegacyRm {
            let point = self.simd_point(i);
            self.release_xmm(&[i.a, i.b]);
            let d = if !int && rb != ra && self.clobberable(rb, 0) && !self.clobberable(ra, 0) {
                self.take_xmm(rb)
            } else {
                self.alloc_result_xmm(ra)?
            };
            self.place_point(point);
            self.asm.vex(code, wide, long, d, a, Rm::R(b));
            d
        } else {
            // The destination must not be b's register before a is copied there.
            let clear = self.st.root(ra).class == Ty::V128;
            self.release_xmm(&[i.a, i.b]);
            let d = self.alloc_copied(i, ra)?;
            if d != a || !clear {
                self.vop(0x28 | OF, false, false, d, Rm::R(a));
            }
            self.simd_point(i);
            self.asm.op(code, wide, d, Rm::R(b), 0);
            d
        };
        self.imm_byte(i);
        self.finish_xmm(i, d);
        Ok(())
    }

    /// Ops whose first operand is their destination, also in VEX encodings.
    fn vec_fma(
        &mut self,
        i: &Inst,
        code: u32,
        (wide, long): (bool, bool),
    ) -> Result<(), Unsupported> {
        let a = self.xmm(i.a)?;
        let ra = self.root_of(i.a);
        let b = self.xmm(i.b)?;
        let c = self.xmm(i.c())?;
        self.release_xmm(&[i.a, i.b, i.c()]);
        let d = self.alloc_copied(i, ra)?;
        self.vec_move(i.ty, d, a);
        self.simd_point(i);
        self.asm.vex(code, wide, long, d, b, Rm::R(c));
        self.finish_xmm(i, d);
        Ok(())
    }

    fn vec_ternary(
        &mut self,
        i: &Inst,
        e: &VecEncoding,
        code: u32,
        long: bool,
    ) -> Result<(), Unsupported> {
        if !matches!(e.form, VecForm::RmXmm0 | VecForm::LegacyRmXmm0) {
            return Err(Unsupported::Vec(i.vec_op()));
        }
        let a = self.xmm(i.a)?;
        let b = self.xmm(i.b)?;
        let c = self.xmm(i.c())?;
        let d = self.alloc_xmm()?;
        if self.host.avx && e.form == VecForm::RmXmm0 {
            let vex = match e.opcode {
                0x10 => 0x4c,
                0x14 => 0x4a,
                0x15 => 0x4b,
                _ => return Err(Unsupported::Vec(i.vec_op())),
            };
            self.asm.vex(vex | OF3A | P66, false, long, d, a, Rm::R(b));
            self.asm.byte(c << 4);
        } else {
            self.vec_move(Ty::V128, TEMP, c);
            self.vec_move(Ty::V128, d, a);
            self.asm.op(code, false, d, Rm::R(b), 0);
        }
        self.release(&[i.a, i.b, i.c()]);
        self.define_xmm(d, i.ty);
        Ok(())
    }

    /// Whether op `i` can raise an exception that the guest sees.
    fn raises(&self, i: &Inst) -> bool {
        self.target.simd_traps && i.vec_op().uses_mxcsr()
    }

    /// Records where the state is before op `i`, if it can raise an exception: once its operands are
    /// in registers. From here to the host's instruction registers may be given up, but not
    /// overwritten.
    fn simd_point(&mut self, i: &Inst) -> Option<usize> {
        self.raises(i).then(|| {
            self.fault_point();
            self.faults.len() - 1
        })
    }

    /// The next host instruction is that of the point.
    fn place_point(&mut self, point: Option<usize>) {
        if let Some(p) = point {
            self.faults[p].off = self.asm.len() as u32;
        }
    }

    /// A register for the result of op `i` to which its operand is copied first, so that it must
    /// not be one that holds state.
    fn alloc_copied(&mut self, i: &Inst, a: u16) -> Result<Reg, Unsupported> {
        self.keep_slots = self.raises(i);
        let d = self.alloc_result_xmm(a);
        self.keep_slots = false;
        d
    }

    /// Counts uses as gone without freeing the roots yet.
    pub fn release_xmm(&mut self, vals: &[Val]) {
        for v in vals {
            let left = &mut self.st.left[v.index()];
            *left = left.saturating_sub(1);
            if *left == 0 {
                let r = self.root_of(*v);
                if r != NOROOT {
                    let root = self.st.root(r);
                    root.live = root.live.saturating_sub(1);
                }
            }
        }
    }

    fn take_xmm(&mut self, r: u16) -> Reg {
        let reg = self.take_register(r);
        self.st.xmm_lock |= 1 << reg;
        reg
    }

    pub fn alloc_result_xmm(&mut self, a: u16) -> Result<Reg, Unsupported> {
        if a != NOROOT && !self.st.root(a).class.is_int() && self.clobberable(a, 0) {
            return Ok(self.take_xmm(a));
        }
        self.xmm_for(self.at)
    }

    pub fn finish_xmm(&mut self, i: &Inst, d: Reg) {
        let r = self.st.new_root(crate::state::Kind::Plain, i.ty, 0);
        self.st.place(r, d);
        self.st.root(r).live += 1;
        for v in [i.a, i.b, if i.op == Op::Vec { i.c() } else { Val::NONE }] {
            if v.is_some() {
                let o = self.root_of(v);
                if o != NOROOT {
                    self.st.collect(o);
                }
            }
        }
        self.st.bind(self.at, r);
        self.st.root(r).live -= 1;
        self.st.collect(r);
    }
}
