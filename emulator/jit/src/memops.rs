//! Guest memory accesses.

use emu_ir::{Addr, Inst, Op, RmwKind, Ty, Val, VecOp};

use crate::Unsupported;
use crate::analyze::NEVER;
use crate::asm::{Alu, Mem, NOREG, OF, P66, RAX, Reg, Rm};
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

impl Compiler<'_> {
    /// The host form of an address operand; its registers are locked.
    pub fn address(&mut self, a: &Addr) -> Result<Mem, Unsupported> {
        let mut disp = i64::from(a.disp);
        let mut base = a.base;
        let mut index = a.index;
        if index.is_some()
            && let Some(c) = self.const_of(index)
            && let Some(sum) = self.fold(disp, (c as i64).wrapping_shl(a.shift.into()), a)
        {
            disp = sum;
            index = Val::NONE;
        }
        if base.is_some()
            && let Some(c) = self.const_of(base)
            && let Some(sum) = self.fold(disp, c as i64, a)
        {
            disp = sum;
            base = Val::NONE;
        }
        let mut m = Mem {
            base: NOREG,
            index: NOREG,
            shift: a.shift & 3,
            disp: disp as i32,
            addr32: a.wrap32,
        };
        if base.is_some() {
            // An uncomputed sum's constant is added by the operand.
            if !a.wrap32
                && self.block.insts[base.index()].ty == Ty::I64
                && let Some((x, c)) = self.sum_of(base)
                && let Some(sum) = m.disp.checked_add(c)
            {
                m.disp = sum;
                m.base = self.root_gpr(x)?;
            } else {
                m.base = self.address_part(base, a.wrap32)?;
            }
        }
        if index.is_some() {
            m.index = self.address_part(index, a.wrap32)?;
        }
        if a.wrap32 && m.index == NOREG && m.disp == 0 && m.base != NOREG {
            let r = self.root_of(base);
            m.addr32 = self.st.root(r).bits > 32;
        }
        Ok(m)
    }

    /// `disp + c` if it can be a displacement.
    fn fold(&self, disp: i64, c: i64, a: &Addr) -> Option<i64> {
        let sum = disp.wrapping_add(c);
        if a.wrap32 {
            return Some(i64::from(sum as i32));
        }
        (sum == i64::from(sum as i32)).then_some(sum)
    }

    fn address_part(&mut self, v: Val, wrap: bool) -> Result<Reg, Unsupported> {
        if wrap { self.gpr(v) } else { self.gpr_clean(v, self.block.insts[v.index()].ty) }
    }

    /// [`Op::Load`].
    pub fn load(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let a = i.mem();
        let m = self.address(&a)?;
        if !i.ty.is_int() {
            let d = self.vector_load_result(self.at)?;
            if a.aligned {
                self.vec_load_aligned(i.ty, d, m)
            } else {
                self.vec_load(i.ty, d, m)
            }
            self.release(&[i.a, i.b]);
            self.define_xmm(d, i.ty);
            return Ok(());
        }
        if a.aligned {
            return Err(Unsupported::Op(i.op));
        }
        if let Some(user) = self.only_user(self.at) {
            let u = self.block.insts[user];
            match u.op {
                Op::Vec
                    if matches!(
                        (u.vec_op(), i.ty),
                        (VecOp::Movd, Ty::I32) | (VecOp::Movq, Ty::I64)
                    ) && u.ty == Ty::V128 =>
                {
                    // Straight into the vector register.
                    let d = self.vector_load_result(user)?;
                    self.vec_load_low(i.ty, d, m);
                    self.release(&[i.a, i.b]);
                    self.forward_xmm(user, d, u.ty);
                    return Ok(());
                }
                Op::Sext if u.from_ty() == i.ty => {
                    let to = if u.ty == Ty::I64 { Ty::I64 } else { Ty::I32 };
                    self.fault_point();
                    let d = self.load_result(i, user)?;
                    self.asm.movsx(i.ty, to, d, Rm::M(m));
                    let r = self.st.new_root(Kind::Plain, Ty::I64, to.bits() as u8);
                    self.st.place(r, d);
                    self.st.bind(user, r);
                    self.done[user] = true;
                    return Ok(());
                }
                _ => {}
            }
        }
        self.fault_point();
        let d = self.load_result(i, self.at)?;
        self.asm.load_zx(i.ty.bytes(), d, m);
        self.define(d, i.ty.bits());
        Ok(())
    }

    /// A register for what a load yields. The fault point is recorded already, and making room
    /// emits code, so only a register that is free now is taken after it.
    fn load_result(&mut self, i: &Inst, at: usize) -> Result<Reg, Unsupported> {
        let point = self.faults.len() - 1;
        self.release(&[i.a, i.b]);
        let reuse = [i.a, i.b].into_iter().find_map(|v| {
            if !v.is_some() {
                return None;
            }
            let r = self.root_of(v);
            (r != NOROOT && self.st.root(r).class.is_int() && self.clobberable(r, 0)).then_some(r)
        });
        let d = match reuse {
            Some(r) => {
                let d = self.take_register(r);
                self.st.gpr_lock |= 1 << d;
                d
            }
            None => self.gpr_for(at)?,
        };
        // Whatever making room emitted (stores to the CPU structure) leaves the recorded state
        // valid: the registers still hold it.
        self.faults[point].off = self.asm.len() as u32;
        Ok(d)
    }

    /// A vector register for what a load yields as the value of op `at`; records the fault point.
    fn vector_load_result(&mut self, at: usize) -> Result<Reg, Unsupported> {
        self.fault_point();
        let point = self.faults.len() - 1;
        let d = self.xmm_for(at)?;
        // As in `load_result`.
        self.faults[point].off = self.asm.len() as u32;
        Ok(d)
    }

    /// The only user of value `v`, when there is exactly one.
    pub fn only_user(&self, v: usize) -> Option<usize> {
        let u = self.an.user[v];
        (self.an.uses[v] == 1 && u != NEVER).then_some(usize::from(u))
    }

    /// Gives the later op `user`, whose operand is the current op, its value ahead.
    fn forward_xmm(&mut self, user: usize, d: Reg, class: Ty) {
        let r = self.st.new_root(Kind::Plain, class, 0);
        self.st.place(r, d);
        self.st.bind(user, r);
        self.done[user] = true;
    }

    /// [`Op::Store`].
    pub fn store(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let a = i.mem();
        let c = i.c();
        let m = self.address(&a)?;
        if !i.ty.is_int() {
            let r = self.root_of(c);
            let s = self.root_xmm(r)?;
            self.fault_point();
            if a.aligned {
                self.vec_store_aligned(i.ty, m, s)
            } else {
                self.vec_store(i.ty, m, s)
            }
            self.release(&[i.a, i.b, c]);
            return Ok(());
        }
        if a.aligned {
            return Err(Unsupported::Op(i.op));
        }
        let imm = self.const_of(c).and_then(|c| match i.ty {
            Ty::I64 => i32::try_from(c as i64).ok(),
            _ => Some(c as i32),
        });
        let r = self.root_of(c);
        if r == NOROOT {
            return Err(Unsupported::Malformed);
        }
        if let Some(c) = imm {
            self.fault_point();
            self.asm.store_imm(i.ty, m, c);
        } else if !self.st.root(r).class.is_int() && matches!(i.ty, Ty::I32 | Ty::I64) {
            let s = self.root_xmm(r)?;
            self.fault_point();
            self.vec_store_low(i.ty, m, s);
        } else {
            let s = self.gpr(c)?;
            self.fault_point();
            self.asm.store(i.ty, m, s);
        }
        self.release(&[i.a, i.b, c]);
        Ok(())
    }

    /// [`Op::ProbeWrite`]: `lock or` of 0 to the first and the last byte.
    pub fn probe_write(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let a = i.mem();
        if a.aligned {
            return Err(Unsupported::Op(i.op));
        }
        let m = self.address(&a)?;
        self.clobber_flags();
        let last = i.ty.bytes() as i32 - 1;
        for by in [0, last] {
            let disp = m.disp.checked_add(by).ok_or(Unsupported::Op(i.op))?;
            self.fault_point();
            if let Some(p) = self.faults.last_mut() {
                p.last_byte = by != 0;
            }
            self.asm.byte(0xf0);
            self.asm.alu_imm(Alu::Or, Ty::I8, Rm::M(Mem { disp, ..m }), 0);
            if last == 0 {
                break;
            }
        }
        self.release(&[i.a, i.b]);
        Ok(())
    }

    /// `lock op [m], r` and its kind.
    fn locked(&mut self, op: u32, ty: Ty, m: Mem, r: Reg) {
        self.asm.byte(0xf0);
        self.sized(op, ty, m, r);
    }

    /// An op whose byte form is `op`, the others `op | 1`.
    fn sized(&mut self, op: u32, ty: Ty, m: Mem, r: Reg) {
        match ty {
            Ty::I8 => self.asm.op(op, false, r, Rm::M(m), 1),
            Ty::I16 => self.asm.op(op | 1 | P66, false, r, Rm::M(m), 0),
            _ => self.asm.op(op | 1, ty == Ty::I64, r, Rm::M(m), 0),
        }
    }

    /// [`Op::AtomicRmw`].
    pub fn atomic_rmw(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if !i.ty.is_int() {
            return Err(Unsupported::Op(i.op));
        }
        let kind = i.rmw_kind();
        let looping = matches!(kind, RmwKind::And | RmwKind::Or | RmwKind::Xor);
        let unused = self.an.uses[self.at] == 0;
        if looping && !unused {
            self.vacate(RAX)?;
            self.st.gpr_lock |= 1 << RAX;
        }
        let base = self.address_part(i.a, false)?;
        let m = Mem::at(base, 0);
        let b = self.gpr(i.b)?;
        self.clobber_flags();
        let result_bits = if i.ty == Ty::I32 { 32 } else { 64 };
        let d = match kind {
            RmwKind::Xchg | RmwKind::Add | RmwKind::Sub => {
                let d = self.alloc_gpr()?;
                self.asm.mov64(d, b);
                if kind == RmwKind::Sub {
                    self.asm.op(0xf7, true, 3, Rm::R(d), 0);
                }
                self.fault_point();
                if kind == RmwKind::Xchg {
                    self.sized(0x86, i.ty, m, d);
                } else {
                    self.locked(0xc0 | OF, i.ty, m, d);
                }
                d
            }
            _ => {
                let alu = match kind {
                    RmwKind::And => Alu::And,
                    RmwKind::Or => Alu::Or,
                    _ => Alu::Xor,
                };
                if unused {
                    self.fault_point();
                    self.asm.byte(0xf0);
                    self.asm.alu_mem(alu, i.ty, m, b);
                    self.release(&[i.a, i.b]);
                    return Ok(());
                }
                let t = self.alloc_gpr()?;
                self.fault_point();
                if let Some(p) = self.faults.last_mut() {
                    p.write = true;
                }
                self.asm.load_zx(i.ty.bytes(), RAX, m);
                let again = self.asm.len();
                self.asm.mov64(t, RAX);
                self.asm.alu(alu, Ty::I64, t, Rm::R(b));
                self.fault_point();
                self.locked(0xb0 | OF, i.ty, m, t);
                let j = self.asm.jcc(5);
                self.asm.patch(j, again);
                RAX
            }
        };
        self.release(&[i.a, i.b]);
        self.define(d, result_bits);
        Ok(())
    }

    /// [`Op::AtomicCas`].
    pub fn atomic_cas(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if !i.ty.is_int() {
            return Err(Unsupported::Op(i.op));
        }
        self.vacate(RAX)?;
        self.st.gpr_lock |= 1 << RAX;
        let base = self.address_part(i.a, false)?;
        let expected = self.gpr_clean(i.b, i.ty)?;
        let new = self.gpr(i.c())?;
        self.clobber_flags();
        self.asm.mov64(RAX, expected);
        self.fault_point();
        self.locked(0xb0 | OF, i.ty, Mem::at(base, 0), new);
        self.release(&[i.a, i.b, i.c()]);
        self.define(RAX, i.ty.bits());
        Ok(())
    }
}
