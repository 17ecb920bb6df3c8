//! The lazy arithmetic flags. Their four header fields are cached like any other slot; a condition
//! is answered from the host's flags when they still are those of the definition, else by
//! repeating the comparison.

use emu_cpu::{CpuHeader, slots};
use emu_ir::flags::{AF, CF, OF, PF, SF, ZF};
use emu_ir::{Cond, FlagKind, Inst, Op, Operand, Ty, Val};

use crate::Unsupported;
use crate::alloc::cpu_mem;
use crate::analyze::{FLAG_UNIT, NEVER};
use crate::asm::{Alu, OF as MAP_OF, Reg, Rm, Shift};
use crate::calls::Arg;
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

const A: usize = FLAG_UNIT + 1;
const B: usize = FLAG_UNIT + 2;
const C: usize = FLAG_UNIT + 3;

/// Which of a, b, c a kind uses.
pub const fn operands(kind: FlagKind) -> (bool, bool, bool) {
    match kind {
        FlagKind::Raw | FlagKind::Logic | FlagKind::Zero => (true, false, false),
        FlagKind::Add | FlagKind::Sub | FlagKind::MulU | FlagKind::MulS => (true, true, false),
        FlagKind::Shl | FlagKind::Shr | FlagKind::Sar => (true, true, false),
        FlagKind::Inc | FlagKind::Dec | FlagKind::Carry => (true, false, true),
        FlagKind::Adc | FlagKind::Sbb | FlagKind::Rol | FlagKind::Ror => (true, true, true),
    }
}

/// # Safety
/// `cpu` is a live CPU structure.
unsafe extern "C" fn cond_helper(cpu: *mut CpuHeader, cond: u64) -> u64 {
    // SAFETY: generated code passes the structure it runs on.
    let h = unsafe { &*cpu };
    let kind = FlagKind::from_u8(h.flags_kind);
    let ty = Ty::from_u8(h.flags_ty).unwrap_or(Ty::I64);
    let cond = Cond::from_u8(cond as u8);
    u64::from(emu_ir::flags::condition(kind, ty, h.flags_a, h.flags_b, h.flags_c, cond))
}

/// # Safety
/// `cpu` is a live CPU structure.
unsafe extern "C" fn flags_helper(cpu: *mut CpuHeader, mask: u64) -> u64 {
    // SAFETY: generated code passes the structure it runs on.
    u64::from(unsafe { (*cpu).flags() }) & mask
}

impl Compiler<'_> {
    /// The current definition, when this block made it.
    fn definition(&self) -> Option<(FlagKind, Ty)> {
        let r = self.st.slots[FLAG_UNIT].root;
        if r == NOROOT {
            return None;
        }
        match self.st.roots[usize::from(r)].kind {
            Kind::Const(c) => Some((FlagKind::from_u8(c as u8), Ty::from_u8((c >> 8) as u8)?)),
            _ => None,
        }
    }

    /// Forgets the flag definition if nothing can see it any more.
    pub fn drop_dead_flags(&mut self) -> Result<(), Unsupported> {
        let s = self.st.slots[FLAG_UNIT];
        if s.root != NOROOT && self.an.dead_after(s.next, self.at) {
            for u in FLAG_UNIT..FLAG_UNIT + 4 {
                self.drop_slot(u)?;
            }
            self.flags.host_current = false;
        }
        Ok(())
    }

    /// [`Op::FlagsSet`].
    pub fn flags_set(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let kind = i.flag_kind();
        let next = self.an.next[self.at];
        let (ua, ub, uc) = operands(kind);
        let code = u64::from(kind as u8) | u64::from(i.ty as u8) << 8;
        let mut b = i.rhs();
        if let Operand::Val(v) = b
            && let Some(c) = self.const_of(v)
        {
            b = Operand::Imm(c & i.ty.mask());
        }
        if kind.void_if_zero_count() {
            match b {
                Operand::Imm(n) if n & 0xff == 0 => {
                    self.release(&[i.a, i.b, i.c()]);
                    return Ok(());
                }
                Operand::Imm(n) => b = Operand::Imm(n & 0xff),
                Operand::Val(v) => return self.flags_set_unless_void(i, code, v, uc),
            }
        }
        let current = self.host_flags_match(i, kind, b);
        self.flags.host_current = current;
        let r = self.st.new_root(Kind::Const(code), Ty::I64, 16);
        self.put_root(slots::FLAGS_KIND, 8, r, next)?;
        let rb = match b {
            Operand::Imm(c) => self.st.new_root(Kind::Const(c), Ty::I64, 64),
            Operand::Val(v) => self.flag_operand(v)?,
        };
        for (used, unit, v) in [(ua, A, i.a), (ub, B, Val::NONE), (uc, C, i.c())] {
            if !used {
                self.drop_slot(unit)?;
                continue;
            }
            let r = if unit == B {
                rb
            } else if v.is_some() {
                self.flag_operand(v)?
            } else {
                self.st.new_root(Kind::Const(0), Ty::I64, 0)
            };
            self.put_root(unit as u32 * 8, 8, r, next)?;
        }
        self.flags.host_current = current;
        self.release(&[i.a, i.b, i.c()]);
        Ok(())
    }

    /// The root of a flag operand, in a register unless it needs none.
    fn flag_operand(&mut self, v: Val) -> Result<u16, Unsupported> {
        let r = self.root_of(v);
        if r == NOROOT {
            return Err(Unsupported::Malformed);
        }
        match self.st.root(r).kind {
            Kind::Plain => {
                self.gpr(v)?;
            }
            Kind::Const(_) | Kind::Sum(..) | Kind::Diff(..) => {}
        }
        Ok(self.root_of(v))
    }

    /// Whether the host's flags are those of the definition `i`.
    fn host_flags_match(&self, i: &Inst, kind: FlagKind, b: Operand) -> bool {
        let op = self.flags.host_op;
        if op == NEVER || !matches!(i.ty, Ty::I32 | Ty::I64) {
            return false;
        }
        let h = &self.block.insts[usize::from(op)];
        if h.ty != i.ty {
            return false;
        }
        let same_rhs = || h.rhs() == i.rhs() || h.rhs() == b;
        match kind {
            FlagKind::Add => h.op == Op::Add && h.a == i.a && same_rhs(),
            FlagKind::Sub => h.op == Op::Sub && h.a == i.a && same_rhs(),
            FlagKind::Logic => {
                matches!(h.op, Op::And | Op::Or | Op::Xor) && i.a.index() == usize::from(op)
            }
            FlagKind::Inc => {
                h.op == Op::Add && i.a.index() == usize::from(op) && h.rhs() == Operand::Imm(1)
            }
            FlagKind::Dec => {
                h.op == Op::Sub && i.a.index() == usize::from(op) && h.rhs() == Operand::Imm(1)
            }
            FlagKind::Raw => matches!(h.op, Op::Vec | Op::Call) && i.a.index() == usize::from(op),
            FlagKind::Shl => h.op == Op::Shl && h.a == i.a && same_rhs(),
            FlagKind::Shr => h.op == Op::Shr && h.a == i.a && same_rhs(),
            FlagKind::Sar => h.op == Op::Sar && h.a == i.a && same_rhs(),
            _ => false,
        }
    }

    /// A definition that a run-time count of 0 makes void: written to the header under a branch.
    fn flags_set_unless_void(
        &mut self,
        i: &Inst,
        code: u64,
        count: Val,
        uc: bool,
    ) -> Result<(), Unsupported> {
        for u in FLAG_UNIT..FLAG_UNIT + 4 {
            if self.st.slots[u].root != NOROOT {
                if self.st.slots[u].dirty {
                    self.write_back(u)?;
                }
                self.drop_slot(u)?;
            }
        }
        let a = self.gpr(i.a)?;
        let n = self.gpr_clean(count, Ty::I8)?;
        let c = if uc && i.c().is_some() { Some(self.gpr(i.c())?) } else { None };
        self.clobber_flags();
        self.asm.test(Ty::I8, n, n);
        let skip = self.asm.jcc(4);
        self.asm.store_imm(Ty::I64, cpu_mem(slots::FLAGS_KIND), code as i32);
        self.asm.store(Ty::I64, cpu_mem(slots::FLAGS_A), a);
        self.asm.store(Ty::I64, cpu_mem(slots::FLAGS_B), n);
        if let Some(c) = c {
            self.asm.store(Ty::I64, cpu_mem(slots::FLAGS_C), c);
        }
        let here = self.asm.len();
        self.asm.patch(skip, here);
        self.release(&[i.a, i.b, i.c()]);
        Ok(())
    }

    /// [`Op::FlagsCond`].
    pub fn flags_cond(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let next = self.an.next[self.at];
        let cc = self.emit_condition(i.cond())?;
        for u in FLAG_UNIT..FLAG_UNIT + 4 {
            self.st.slots[u].next = next;
        }
        self.define_cond(cc)
    }

    /// Whether the operands of the current definition are all known. They are dropped only all
    /// together, except those the kind does not use.
    fn operands_cached(&self, kind: FlagKind) -> bool {
        let (ua, ub, uc) = operands(kind);
        [(ua, A), (ub, B), (uc, C)].iter().all(|&(used, u)| !used || self.flag_root(u) != NOROOT)
    }

    /// Makes the host's flags the guest's, all of them, after one of the three commonest kinds.
    fn emit_all_flags(&mut self, kind: FlagKind, ty: Ty) -> Result<(), Unsupported> {
        if self.flags.host_current {
            return Ok(());
        }
        match kind {
            FlagKind::Sub => {
                let a = self.flag_gpr(A)?;
                self.cmp_exactly(Alu::Cmp, ty, a)?;
            }
            FlagKind::Add => {
                let t = self.flag_copy(A)?;
                self.cmp_exactly(Alu::Add, ty, t)?;
            }
            _ => {
                let a = self.flag_gpr(A)?;
                self.clobber_flags();
                self.asm.test(ty, a, a);
            }
        }
        Ok(())
    }

    /// `op r, b` with the definition's second operand, whatever it is.
    fn cmp_exactly(&mut self, op: Alu, ty: Ty, r: Reg) -> Result<(), Unsupported> {
        let b = self.flag_gpr(B)?;
        self.clobber_flags();
        self.asm.alu(op, ty, r, Rm::R(b));
        Ok(())
    }

    /// What a field of the flags equals, or [`NOROOT`].
    pub fn flag_root(&self, unit: usize) -> u16 {
        self.st.slots[unit].root
    }

    fn flag_const(&self, unit: usize) -> Option<u64> {
        let r = self.flag_root(unit);
        match self.st.roots.get(usize::from(r))?.kind {
            Kind::Const(c) => Some(c),
            _ => None,
        }
    }

    /// Emits what makes the host's flags answer `cond`; the host condition to ask for.
    fn emit_condition(&mut self, cond: Cond) -> Result<u8, Unsupported> {
        let cc = cond as u8;
        let Some((kind, ty)) = self.definition() else { return self.ask_helper(cond) };
        let uses = cond.uses();
        if self.flags.host_current {
            let valid = match kind {
                FlagKind::Inc | FlagKind::Dec => uses & CF == 0,
                FlagKind::Shl | FlagKind::Shr | FlagKind::Sar => uses & OF == 0,
                _ => true,
            };
            if valid {
                return Ok(cc);
            }
        }
        if !self.operands_cached(kind) {
            return self.ask_helper(cond);
        }
        match kind {
            FlagKind::Sub => {
                let a = self.flag_gpr(A)?;
                self.cmp_with(Alu::Cmp, ty, a, B)?;
                Ok(cc)
            }
            FlagKind::Add => {
                // With the left operand uncomputed, the result is at hand.
                if let Kind::Diff(x, y) = self.st.root(self.flag_root(A)).kind {
                    if uses & !(ZF | SF | PF) == 0 {
                        let r = self.root_gpr(x)?;
                        self.clobber_flags();
                        self.asm.test(ty, r, r);
                        return Ok(cc);
                    }
                    if uses == CF && y == self.flag_root(B) {
                        let r = self.root_gpr(x)?;
                        self.cmp_with(Alu::Cmp, ty, r, B)?;
                        return Ok(cc);
                    }
                }
                let t = self.flag_copy(A)?;
                self.cmp_with(Alu::Add, ty, t, B)?;
                Ok(cc)
            }
            FlagKind::Adc | FlagKind::Sbb => {
                let t = self.flag_copy(A)?;
                let b = self.flag_gpr(B)?;
                let c = self.flag_gpr(C)?;
                self.clobber_flags();
                self.test_bit0(c);
                let code = if kind == FlagKind::Adc { 0x13 } else { 0x1b };
                match ty {
                    Ty::I8 => self.asm.op(code - 1, false, t, Rm::R(b), 3),
                    Ty::I16 => self.asm.op(code | crate::asm::P66, false, t, Rm::R(b), 0),
                    _ => self.asm.op(code, ty == Ty::I64, t, Rm::R(b), 0),
                }
                Ok(cc)
            }
            FlagKind::Logic => {
                let a = self.flag_gpr(A)?;
                self.clobber_flags();
                self.asm.test(ty, a, a);
                Ok(cc)
            }
            FlagKind::Inc | FlagKind::Dec => {
                if uses & !(ZF | SF | PF) == 0 {
                    let a = self.flag_gpr(A)?;
                    self.clobber_flags();
                    self.asm.test(ty, a, a);
                    return Ok(cc);
                }
                if uses == CF {
                    let c = self.flag_gpr(C)?;
                    self.clobber_flags();
                    self.test_bit0(c);
                    return Ok(cc);
                }
                // Undo and repeat: inc and dec leave the carry alone.
                let t = self.flag_copy(A)?;
                let c = self.flag_gpr(C)?;
                self.clobber_flags();
                self.test_bit0(c);
                let (undo, redo) = if kind == FlagKind::Inc { (1, 0) } else { (0, 1) };
                for digit in [undo, redo] {
                    match ty {
                        Ty::I8 => self.asm.op(0xfe, false, digit, Rm::R(t), 2),
                        Ty::I16 => self.asm.op(0xff | crate::asm::P66, false, digit, Rm::R(t), 0),
                        _ => self.asm.op(0xff, ty == Ty::I64, digit, Rm::R(t), 0),
                    }
                }
                Ok(cc)
            }
            FlagKind::Shl | FlagKind::Shr | FlagKind::Sar => {
                let Some(n) = self.flag_const(B) else { return self.ask_helper(cond) };
                let n = n & 0xff;
                if uses & OF != 0 || n == 0 || n >= u64::from(ty.bits()) {
                    return self.ask_helper(cond);
                }
                let t = self.flag_copy(A)?;
                self.clobber_flags();
                let op = match kind {
                    FlagKind::Shl => Shift::Shl,
                    FlagKind::Shr => Shift::Shr,
                    _ => Shift::Sar,
                };
                self.asm.shift_imm(op, ty, t, n as u8);
                Ok(cc)
            }
            FlagKind::MulU if uses == CF || uses == OF => {
                let b = self.flag_gpr(B)?;
                self.clobber_flags();
                self.asm.test(ty, b, b);
                // CF and OF say whether the high half is not 0.
                Ok(5 ^ (cc & 1))
            }
            FlagKind::MulU | FlagKind::MulS if uses & !(ZF | SF | PF) == 0 => {
                let a = self.flag_gpr(A)?;
                self.clobber_flags();
                self.asm.test(ty, a, a);
                Ok(cc)
            }
            FlagKind::Raw if uses & (OF | SF) == 0 || uses.count_ones() == 1 => {
                let a = self.flag_gpr(A)?;
                self.clobber_flags();
                self.asm.test_imm32(a, u32::from(uses));
                Ok(5 ^ (cc & 1))
            }
            FlagKind::Carry if uses == CF => {
                let a = self.flag_gpr(A)?;
                self.clobber_flags();
                self.test_bit0(a);
                Ok(cc)
            }
            FlagKind::Carry | FlagKind::Rol | FlagKind::Ror
                if uses.count_ones() == 1 && uses & kind.keeps() != 0 =>
            {
                let c = self.flag_gpr(C)?;
                self.clobber_flags();
                self.asm.test_imm32(c, u32::from(uses));
                Ok(5 ^ (cc & 1))
            }
            FlagKind::Zero if uses == ZF => {
                let a = self.flag_gpr(A)?;
                self.clobber_flags();
                self.asm.test(ty, a, a);
                Ok(cc)
            }
            _ => self.ask_helper(cond),
        }
    }

    /// `bt r, 0`: bit 0 to the carry flag.
    fn test_bit0(&mut self, r: Reg) {
        self.asm.op(0xba | MAP_OF, false, 4, Rm::R(r), 0);
        self.asm.byte(0);
    }

    fn flag_gpr(&mut self, unit: usize) -> Result<Reg, Unsupported> {
        let r = self.flag_root(unit);
        self.root_gpr(r)
    }

    /// A flag operand in a register of its own.
    fn flag_copy(&mut self, unit: usize) -> Result<Reg, Unsupported> {
        let s = self.flag_gpr(unit)?;
        let t = self.alloc_gpr()?;
        self.asm.mov64(t, s);
        Ok(t)
    }

    /// `op r, operand`.
    fn cmp_with(&mut self, op: Alu, ty: Ty, r: Reg, unit: usize) -> Result<(), Unsupported> {
        if let Some(c) = self.flag_const(unit) {
            let c = emu_ir::flags::sext(ty, c);
            if let Ok(c) = i32::try_from(c) {
                self.clobber_flags();
                if c == 0 && op == Alu::Cmp {
                    self.asm.test(ty, r, r);
                } else {
                    self.asm.alu_imm(op, ty, Rm::R(r), c);
                }
                return Ok(());
            }
        }
        let b = self.flag_gpr(unit)?;
        self.clobber_flags();
        self.asm.alu(op, ty, r, Rm::R(b));
        Ok(())
    }

    fn flush_flags(&mut self) -> Result<(), Unsupported> {
        for u in FLAG_UNIT..FLAG_UNIT + 4 {
            if self.st.slots[u].root != NOROOT && self.st.slots[u].dirty {
                self.write_back(u)?;
            }
        }
        Ok(())
    }

    /// Asks a function; the condition "not zero" of its result.
    fn ask_helper(&mut self, cond: Cond) -> Result<u8, Unsupported> {
        self.flush_flags()?;
        self.call(cond_helper as *const () as u64, &[Arg::Cpu, Arg::Imm(cond as u64)], false)?;
        self.asm.test(Ty::I8, 0, 0);
        Ok(5)
    }

    /// The flags of a definition by constants (`xor eax, eax`).
    fn known_flags(&self) -> Option<u16> {
        let (kind, ty) = self.definition()?;
        let (ua, ub, uc) = operands(kind);
        let value = |used: bool, unit| if used { self.flag_const(unit) } else { Some(0) };
        let (a, b, c) = (value(ua, A)?, value(ub, B)?, value(uc, C)?);
        Some(emu_ir::flags::evaluate(kind, ty, a, b, c))
    }

    /// [`Op::FlagsGet`].
    pub fn flags_get(&mut self, i: &Inst) -> Result<(), Unsupported> {
        // Until then the slots' next access is this one, so making room does not drop them.
        let done = |c: &mut Self| {
            let next = c.an.next[c.at];
            for u in FLAG_UNIT..FLAG_UNIT + 4 {
                c.st.slots[u].next = next;
            }
        };
        if let Some(flags) = self.known_flags() {
            done(self);
            let r = self.st.new_root(Kind::Const(u64::from(flags) & i.imm), Ty::I64, 64);
            self.st.bind(self.at, r);
            return Ok(());
        }
        if let Some((FlagKind::Raw, _)) = self.definition()
            && self.flag_root(A) != NOROOT
        {
            let a = self.flag_gpr(A)?;
            let d = self.alloc_gpr()?;
            self.clobber_flags();
            self.asm.mov32(d, a);
            let mask = i.imm as i32 & i32::from(CF | PF | ZF | SF | OF | 1 << 4);
            self.asm.alu_imm(Alu::And, Ty::I32, Rm::R(d), mask);
            done(self);
            self.define(d, 12);
            return Ok(());
        }
        // What the definition itself has kept is at hand.
        if let Some((kind @ (FlagKind::Carry | FlagKind::Rol | FlagKind::Ror), _)) =
            self.definition()
            && i.imm & !u64::from(kind.keeps()) == 0
            && self.flag_root(C) != NOROOT
        {
            let c = self.flag_gpr(C)?;
            let d = self.alloc_gpr()?;
            self.clobber_flags();
            self.asm.mov32(d, c);
            self.asm.alu_imm(Alu::And, Ty::I32, Rm::R(d), i.imm as i32);
            done(self);
            self.define(d, 12);
            return Ok(());
        }
        if let Some((kind @ (FlagKind::Add | FlagKind::Sub | FlagKind::Logic), ty)) =
            self.definition()
            && self.operands_cached(kind)
        {
            // Making room may change the flags, so it comes first.
            let d = self.alloc_gpr()?;
            self.emit_all_flags(kind, ty)?;
            let logic = kind == FlagKind::Logic;
            // pushfq; pop d
            self.asm.byte(0x9c);
            if d >= 8 {
                self.asm.byte(0x41);
            }
            self.asm.byte(0x58 | (d & 7));
            self.clobber_flags();
            // The auxiliary carry is undefined on the host after a logical operation.
            let all = if logic { emu_ir::flags::ALL & !AF } else { emu_ir::flags::ALL };
            self.asm.alu_imm(Alu::And, Ty::I32, Rm::R(d), i.imm as i32 & i32::from(all));
            done(self);
            self.define(d, 12);
            return Ok(());
        }
        self.flush_flags()?;
        done(self);
        self.call(flags_helper as *const () as u64, &[Arg::Cpu, Arg::Imm(i.imm)], false)?;
        self.define(0, 64);
        Ok(())
    }
}
