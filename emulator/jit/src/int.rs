//! Integer operations.

use emu_ir::{FlagKind, Inst, Op, Operand, Ty, Val};

use crate::Unsupported;
use crate::asm::{Alu, Mem, NOREG, OF, OF38, P66, PF2, PF3, RAX, RCX, RDX, Reg, Rm, Shift};
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

/// The width an operation on `ty` is carried out in.
const fn wide(ty: Ty) -> Ty {
    match ty {
        Ty::I64 => Ty::I64,
        _ => Ty::I32,
    }
}

fn imm32(ty: Ty, imm: u64) -> Option<i32> {
    match ty {
        Ty::I64 => i32::try_from(imm as i64).ok(),
        _ => Some(imm as u32 as i32),
    }
}

/// How far ahead of an addition its flags.set is looked for.
const WINDOW: usize = 10;

impl Compiler<'_> {
    /// The second operand as a constant: immediate or value known to be one.
    fn rhs_const(&self, i: &Inst) -> Option<u64> {
        match i.rhs() {
            Operand::Imm(c) => Some(c & i.ty.mask()),
            Operand::Val(v) => self.const_of(v),
        }
    }

    /// [`Op::Add`] and its kind.
    pub fn binary(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let ty = wide(i.ty);
        let alu = match i.op {
            Op::Add => Alu::Add,
            Op::Sub => Alu::Sub,
            Op::And => Alu::And,
            Op::Or => Alu::Or,
            _ => Alu::Xor,
        };
        let imm = self.rhs_const(i).and_then(|c| imm32(ty, c));
        if let (Some(a), Some(b)) = (self.const_of(i.a), self.rhs_const(i)) {
            let r = emu_ir::scalar::binary(i.op, i.ty, a, b);
            return self.define_const(i, r);
        }
        if i.b.is_some() && i.a == i.b && matches!(i.op, Op::Xor | Op::Sub) {
            return self.define_const(i, 0);
        }
        if i.b.is_some()
            && matches!(i.op, Op::And | Op::Or)
            && self.root_of(i.a) == self.root_of(i.b)
        {
            let ra = self.root_of(i.a);
            if self.st.root(ra).class.is_int() {
                self.st.bind(self.at, ra);
                self.release_all(i);
                return Ok(());
            }
        }
        if self.defer_sum(i) {
            return Ok(());
        }
        let ra = self.gpr(i.a)?;
        let root_a = self.root_of(i.a);
        let (rb, root_b) = match imm {
            Some(_) => (NOREG, NOROOT),
            None => match i.rhs() {
                Operand::Val(v) => (self.gpr(v)?, self.root_of(v)),
                Operand::Imm(c) => {
                    let d = self.alloc_gpr()?;
                    self.asm.mov_imm(d, c);
                    (d, NOROOT)
                }
            },
        };
        let bits_a = u32::from(self.st.root(root_a).bits);
        let bits_b = match imm {
            Some(_) => 64 - self.rhs_const(i).unwrap_or(u64::MAX).leading_zeros(),
            None if root_b != NOROOT => u32::from(self.st.root(root_b).bits),
            None => 64,
        };
        let bits = match i.op {
            Op::And => bits_a.min(bits_b),
            Op::Or | Op::Xor => bits_a.max(bits_b),
            _ => 64,
        }
        .min(ty.bits());
        self.drop_dead_flags()?;
        // Operands must stay in place until the code is emitted, so only now the uses go.
        self.release_use(i.a);
        if i.b.is_some() {
            self.release_use(i.b);
        }
        let recipe = self.flags_can_follow(i, root_a, root_b);
        let in_place = self.clobberable(root_a, u16::from(recipe));
        let d = if in_place {
            let d = if recipe { self.displace_dead(root_a) } else { self.take_register(root_a) };
            match imm {
                Some(c) => self.asm.alu_imm(alu, ty, Rm::R(d), c),
                None => self.asm.alu(alu, ty, d, Rm::R(rb)),
            }
            self.host_flags_of_this();
            d
        } else if i.op != Op::Sub
            && root_b != NOROOT
            && root_b != root_a
            && self.clobberable(root_b, 0)
        {
            let d = self.take_register(root_b);
            self.asm.alu(alu, ty, d, Rm::R(ra));
            self.host_flags_of_this();
            d
        } else {
            let d = self.alloc_gpr()?;
            let near = self.flags_wanted_soon(i);
            match (i.op, imm) {
                (Op::Add, Some(c)) if !near => self.asm.lea(ty, d, Mem::at(ra, c)),
                (Op::Sub, Some(c)) if !near && c != i32::MIN => {
                    self.asm.lea(ty, d, Mem::at(ra, -c));
                }
                (Op::Add, None) if !near => {
                    let m = Mem { base: ra, index: rb, shift: 0, disp: 0, addr32: false };
                    self.asm.lea(ty, d, m);
                }
                (_, imm) => {
                    self.copy(ty, d, ra);
                    match imm {
                        Some(c) => self.asm.alu_imm(alu, ty, Rm::R(d), c),
                        None => self.asm.alu(alu, ty, d, Rm::R(rb)),
                    }
                    self.host_flags_of_this();
                }
            }
            d
        };
        let new = self.st.new_root(Kind::Plain, Ty::I64, bits as u8);
        self.st.place(new, d);
        self.st.root(new).live += 1;
        if in_place && recipe {
            let y = match imm {
                Some(_) => {
                    let c = self.rhs_const(i).unwrap_or(0);
                    self.st.new_root(Kind::Const(c), Ty::I64, 64)
                }
                None => root_b,
            };
            self.st.root(new).live += 1;
            self.st.root(y).live += 1;
            self.st.root(root_a).home = crate::state::Home::None;
            self.st.root(root_a).kind =
                if i.op == Op::Add { Kind::Diff(new, y) } else { Kind::Sum(new, y) };
        }
        self.unrelease(i);
        self.st.bind(self.at, new);
        self.st.root(new).live -= 1;
        self.st.collect(new);
        Ok(())
    }

    /// Leaves an addition of a constant to a pinned slot's own content uncomputed: stack pointers
    /// and the like move on several times before anybody needs the sum, and memory operands add
    /// the constant for nothing.
    fn defer_sum(&mut self, i: &Inst) -> bool {
        let unit = usize::from(self.an.put_unit[self.at]);
        if i.ty != Ty::I64
            || !matches!(i.op, Op::Add | Op::Sub)
            || self.pins.reg(unit).is_none()
            || self.st.slots[unit].root != self.root_of(i.a)
            || self.following_flags(i).is_some()
        {
            return false;
        }
        let Some(c) = self.rhs_const(i) else { return false };
        let c = if i.op == Op::Add { c } else { c.wrapping_neg() };
        let (x, c) = match self.sum_of(i.a) {
            Some((x, k)) => (x, c.wrapping_add(i64::from(k) as u64)),
            None => (self.root_of(i.a), c),
        };
        let root = self.st.root(x);
        if i32::try_from(c as i64).is_err()
            || root.kind != Kind::Plain
            || root.reg == NOREG
            || !root.class.is_int()
        {
            return false;
        }
        let k = self.st.new_root(Kind::Const(c), Ty::I64, 64);
        let sum = self.st.new_root(Kind::Sum(x, k), Ty::I64, 64);
        for r in [x, k] {
            self.st.root(r).live += 1;
        }
        self.st.bind(self.at, sum);
        self.release_all(i);
        true
    }

    /// Counts a use of `v` as gone without freeing anything yet; [`Compiler::unrelease`] does.
    fn release_use(&mut self, v: Val) {
        let left = &mut self.st.left[v.index()];
        *left = left.saturating_sub(1);
        if *left == 0 {
            let r = self.root_of(v);
            if r != NOROOT {
                let root = self.st.root(r);
                root.live = root.live.saturating_sub(1);
            }
        }
    }

    /// Takes the register of a root that stays named by an uncomputed flag operand.
    fn displace_dead(&mut self, r: u16) -> Reg {
        let reg = self.st.root(r).reg;
        // Its slots are about to be overwritten unseen.
        self.st.root(r).live += 1;
        for k in 0..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            if self.st.slots[u].root == r {
                self.st.forget(u);
            }
        }
        self.st.root(r).live -= 1;
        self.st.displace(r);
        reg
    }

    fn copy(&mut self, ty: Ty, d: Reg, s: Reg) {
        if d != s {
            if ty == Ty::I64 { self.asm.mov64(d, s) } else { self.asm.mov32(d, s) }
        }
    }

    fn define_const(&mut self, i: &Inst, c: u64) -> Result<(), Unsupported> {
        let bits = (64 - c.leading_zeros()) as u8;
        let r = self.st.new_root(Kind::Const(c), Ty::I64, bits);
        self.st.bind(self.at, r);
        for v in [i.a, i.b] {
            if v.is_some() {
                self.st.release(v.index());
            }
        }
        Ok(())
    }

    /// The flag definition a result belongs to, if it comes soon: its op index.
    fn following_flags(&self, i: &Inst) -> Option<usize> {
        let kind = match i.op {
            Op::Add => FlagKind::Add,
            Op::Sub => FlagKind::Sub,
            _ => FlagKind::Logic,
        };
        let end = (self.at + WINDOW).min(self.block.insts.len());
        (self.at + 1..end).find(|&j| {
            let f = &self.block.insts[j];
            f.op == Op::FlagsSet && self.an.live[j] && f.ty == i.ty && {
                if kind == FlagKind::Logic {
                    f.flag_kind() == kind && f.a.index() == self.at
                } else if matches!(f.flag_kind(), FlagKind::Inc | FlagKind::Dec) {
                    f.a.index() == self.at
                } else {
                    f.flag_kind() == kind && f.a == i.a && f.rhs() == i.rhs()
                }
            }
        })
    }

    /// Whether the left operand is needed afterwards only by the flags of this very operation, so
    /// that it can be recomputed from the result.
    fn flags_can_follow(&self, i: &Inst, a: u16, b: u16) -> bool {
        if !matches!(i.op, Op::Add | Op::Sub) || a == b {
            return false;
        }
        let root = &self.st.roots[usize::from(a)];
        if root.live != 1 || self.st.left[i.a.index()] != 1 || !matches!(root.kind, Kind::Plain) {
            return false;
        }
        // A 64-bit constant has no register to recompute from.
        if b == NOROOT && self.rhs_const(i).and_then(|c| imm32(wide(i.ty), c)).is_none() {
            return false;
        }
        matches!(self.following_flags(i), Some(j)
            if !matches!(self.block.insts[j].flag_kind(), FlagKind::Inc | FlagKind::Dec))
    }

    /// Whether a condition of this operation's flags is asked for soon.
    fn flags_wanted_soon(&self, i: &Inst) -> bool {
        match self.following_flags(i) {
            Some(j) => {
                let next = self.an.next[j];
                // The next access of a flags.set is recorded as that of the flags after it.
                !next.kill() && usize::from(next.at()) < self.at + WINDOW
            }
            None => false,
        }
    }

    /// The host's flags now describe the current op's result.
    pub fn host_flags_of_this(&mut self) {
        self.flags.host_op = self.at as u16;
        self.flags.host_current = false;
    }

    /// Shifts and rotates.
    pub fn shift(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let op = match i.op {
            Op::Shl => Shift::Shl,
            Op::Shr => Shift::Shr,
            Op::Sar => Shift::Sar,
            Op::Rol => Shift::Rol,
            _ => Shift::Ror,
        };
        let rotate = matches!(op, Shift::Rol | Shift::Ror);
        let ty = i.ty;
        let w = wide(ty);
        if let (Some(a), Some(n)) = (self.const_of(i.a), self.count_const(i)) {
            let r = emu_ir::scalar::binary(i.op, ty, a, n);
            return self.define_const(i, r);
        }
        if let Some(n) = self.count_const(i) {
            let n = if rotate {
                (n % u64::from(ty.bits())) as u8
            } else {
                (n & if ty == Ty::I64 { 63 } else { 31 }) as u8
            };
            let s = match op {
                Shift::Shr => self.gpr_clean(i.a, ty)?,
                _ => self.gpr(i.a)?,
            };
            let root_a = self.root_of(i.a);
            let bits_a = u32::from(self.st.root(root_a).bits);
            if n == 0 {
                // The value itself.
                self.st.bind(self.at, root_a);
                self.release_all(i);
                return Ok(());
            }
            let narrow = ty.bits() < 32;
            self.drop_dead_flags()?;
            self.release_all_late(i);
            if narrow && op == Shift::Sar {
                let d = self.alloc_result(root_a)?;
                self.asm.movsx(ty, Ty::I32, d, Rm::R(s));
                self.clobber_flags();
                self.asm.shift_imm(Shift::Sar, Ty::I32, d, n);
                self.finish(i, d, 32);
                return Ok(());
            }
            let d = if self.clobberable(root_a, 0) {
                self.take_register(root_a)
            } else {
                let d = self.alloc_gpr()?;
                self.copy(w, d, s);
                d
            };
            if narrow && rotate {
                self.clobber_flags();
                self.asm.shift_imm(op, ty, d, n);
                self.finish(i, d, bits_a.max(ty.bits()));
                return Ok(());
            }
            self.asm.shift_imm(op, w, d, n);
            if rotate || narrow {
                self.clobber_flags()
            } else {
                self.host_flags_of_this()
            }
            let bits = match op {
                Shift::Shr => bits_a.min(ty.bits()).saturating_sub(u32::from(n)),
                Shift::Shl => (bits_a + u32::from(n)).min(w.bits()),
                _ => w.bits(),
            };
            self.finish(i, d, bits);
            return Ok(());
        }
        let Operand::Val(count) = i.rhs() else { return Err(Unsupported::Malformed) };
        if self.host.bmi2 && !rotate {
            let s = match op {
                Shift::Shr => self.gpr_clean(i.a, ty)?,
                _ => self.gpr(i.a)?,
            };
            let n = self.gpr(count)?;
            let root_a = self.root_of(i.a);
            self.release_all_late(i);
            let d = self.alloc_result(root_a)?;
            let prefix = match op {
                Shift::Shl => P66,
                Shift::Shr => PF2,
                _ => PF3,
            };
            let mut s = s;
            if op == Shift::Sar && ty.bits() < 32 {
                let t = self.alloc_gpr()?;
                self.asm.movsx(ty, Ty::I32, t, Rm::R(s));
                s = t;
            }
            self.asm.vex(0xf7 | OF38 | prefix, w == Ty::I64, false, d, n, Rm::R(s));
            let bits = if op == Shift::Shr { ty.bits() } else { w.bits() };
            self.finish(i, d, bits);
            return Ok(());
        }
        // By cl.
        self.vacate(RCX)?;
        self.st.gpr_lock |= 1 << RCX;
        let n = self.gpr(count)?;
        if n != RCX {
            self.asm.mov32(RCX, n);
        }
        let s = match op {
            Shift::Shr => self.gpr_clean(i.a, ty)?,
            _ => self.gpr(i.a)?,
        };
        let d = self.alloc_gpr()?;
        self.clobber_flags();
        if op == Shift::Sar && ty.bits() < 32 {
            self.asm.movsx(ty, Ty::I32, d, Rm::R(s));
        } else {
            self.copy(w, d, s);
        }
        self.asm.shift_cl(op, if rotate { ty } else { w }, d);
        self.release_all(i);
        let bits = match op {
            Shift::Shr => ty.bits(),
            _ if rotate && ty.bits() < 32 => 32,
            _ => w.bits(),
        };
        self.define(d, bits);
        Ok(())
    }

    fn count_const(&self, i: &Inst) -> Option<u64> {
        match i.rhs() {
            Operand::Imm(c) => Some(c & 0xff),
            Operand::Val(v) => self.const_of(v).map(|c| c & 0xff),
        }
    }

    /// Releases a and b at once.
    fn release_all(&mut self, i: &Inst) {
        for v in [i.a, i.b] {
            if v.is_some() {
                self.st.release(v.index());
            }
        }
    }

    /// Counts the uses of a and b as gone; [`Compiler::finish`] frees them.
    fn release_all_late(&mut self, i: &Inst) {
        for v in [i.a, i.b] {
            if v.is_some() {
                self.release_use(v);
            }
        }
    }

    /// Defines the current op's value in `d` and frees operands released late.
    fn finish(&mut self, i: &Inst, d: Reg, bits: u32) {
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits as u8);
        self.st.place(r, d);
        self.st.root(r).live += 1;
        self.unrelease(i);
        self.st.bind(self.at, r);
        self.st.root(r).live -= 1;
        self.st.collect(r);
    }

    /// Frees the operands a and b of `i` if nothing names them any more.
    fn unrelease(&mut self, i: &Inst) {
        for v in [i.a, i.b] {
            if v.is_some() {
                let r = self.root_of(v);
                if r != NOROOT {
                    self.st.collect(r);
                }
            }
        }
    }

    /// [`Op::Mul`].
    pub fn mul(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if let (Some(a), Some(b)) = (self.const_of(i.a), self.rhs_const(i)) {
            let r = emu_ir::scalar::binary(i.op, i.ty, a, b);
            return self.define_const(i, r);
        }
        if i.ty == Ty::I64
            && i.b.is_some()
            && self.const_of(i.b).is_none()
            && let Some(j) = self.partner(i, &[Op::MulHiU, Op::MulHiS])
        {
            return self.mul_both(i, self.at, j);
        }
        let w = wide(i.ty);
        let a = self.gpr(i.a)?;
        let root_a = self.root_of(i.a);
        self.clobber_flags();
        if let Some(c) = self.rhs_const(i).and_then(|c| imm32(w, c)) {
            self.release_all_late(i);
            let d = self.alloc_result(root_a)?;
            if i8::try_from(c).is_ok() {
                self.asm.op(0x6b, w == Ty::I64, d, Rm::R(a), 0);
                self.asm.byte(c as u8);
            } else {
                self.asm.op(0x69, w == Ty::I64, d, Rm::R(a), 0);
                self.asm.dword(c as u32);
            }
            self.finish(i, d, w.bits());
            return Ok(());
        }
        let b = match i.rhs() {
            Operand::Val(v) => self.gpr(v)?,
            Operand::Imm(c) => {
                let d = self.alloc_gpr()?;
                self.asm.mov_imm(d, c);
                d
            }
        };
        self.release_all_late(i);
        let root_b = if i.b.is_some() { self.root_of(i.b) } else { NOROOT };
        let d = if root_b != NOROOT && root_a != root_b && self.clobberable(root_b, 0) {
            let d = self.take_register(root_b);
            self.asm.op(0xaf | OF, w == Ty::I64, d, Rm::R(a), 0);
            d
        } else {
            let d = self.alloc_result(root_a)?;
            self.copy(w, d, a);
            // For a × a the operand may be the register just taken, which is the same value.
            self.asm.op(0xaf | OF, w == Ty::I64, d, Rm::R(b), 0);
            d
        };
        self.finish(i, d, w.bits());
        Ok(())
    }

    /// A live op soon after this one with the same operands and one of these operations.
    fn partner(&self, i: &Inst, ops: &[Op]) -> Option<usize> {
        let end = (self.at + 5).min(self.block.insts.len());
        (self.at + 1..end).find(|&j| {
            let p = &self.block.insts[j];
            ops.contains(&p.op)
                && p.ty == i.ty
                && self.an.live[j]
                && !self.done[j]
                && p.a == i.a
                && p.b == i.b
                && p.imm == i.imm
        })
    }

    /// Both halves of a 64-bit product: values `low` and `high`, one of them the current op.
    fn mul_both(&mut self, i: &Inst, low: usize, high: usize) -> Result<(), Unsupported> {
        let signed = self.block.insts[high].op == Op::MulHiS;
        self.vacate(RAX)?;
        self.st.gpr_lock |= 1 << RAX;
        self.vacate(RDX)?;
        self.st.gpr_lock |= 1 << RDX;
        let a = self.gpr(i.a)?;
        let b = match i.rhs() {
            Operand::Val(v) => self.gpr(v)?,
            Operand::Imm(c) => {
                let d = self.alloc_gpr()?;
                self.asm.mov_imm(d, c);
                d
            }
        };
        self.clobber_flags();
        self.asm.mov64(RAX, a);
        self.asm.op(0xf7, true, if signed { 5 } else { 4 }, Rm::R(b), 0);
        self.release_all(i);
        for (v, reg) in [(low, RAX), (high, RDX)] {
            if v == usize::MAX {
                continue;
            }
            let r = self.st.new_root(Kind::Plain, Ty::I64, 64);
            self.st.place(r, reg);
            self.st.bind(v, r);
            if v != self.at {
                self.done[v] = true;
            }
        }
        Ok(())
    }

    /// [`Op::MulHiU`] and [`Op::MulHiS`].
    pub fn mul_high(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if i.ty == Ty::I64 {
            let low = self.partner(i, &[Op::Mul]).unwrap_or(usize::MAX);
            return self.mul_both(i, low, self.at);
        }
        // Narrower products fit in a 64-bit register.
        let signed = i.op == Op::MulHiS;
        let d = self.alloc_gpr()?;
        let t = self.alloc_gpr()?;
        let a = self.gpr(i.a)?;
        self.extend(i.ty, signed, d, a);
        match i.rhs() {
            Operand::Imm(c) => {
                let c = if signed { emu_ir::flags::sext(i.ty, c) as u64 } else { c };
                self.asm.mov_imm(t, c);
            }
            Operand::Val(v) => {
                let b = self.gpr(v)?;
                self.extend(i.ty, signed, t, b);
            }
        }
        self.clobber_flags();
        self.asm.op(0xaf | OF, true, d, Rm::R(t), 0);
        self.asm.shift_imm(Shift::Shr, Ty::I64, d, i.ty.bits() as u8);
        self.release_all(i);
        self.define(d, 64 - i.ty.bits());
        Ok(())
    }

    fn extend(&mut self, ty: Ty, signed: bool, d: Reg, s: Reg) {
        if signed {
            self.asm.movsx(ty, Ty::I64, d, Rm::R(s));
        } else {
            self.asm.movzx(ty, d, s);
        }
    }

    /// Division ops; quotient and remainder of the same operands share one instruction.
    pub fn divide(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let signed = matches!(i.op, Op::DivS | Op::RemS);
        let quotient = matches!(i.op, Op::DivU | Op::DivS);
        let other = match i.op {
            Op::DivU => Op::RemU,
            Op::RemU => Op::DivU,
            Op::DivS => Op::RemS,
            _ => Op::DivS,
        };
        let partner = self.partner(i, &[other]);
        self.vacate(RAX)?;
        self.st.gpr_lock |= 1 << RAX;
        self.vacate(RDX)?;
        self.st.gpr_lock |= 1 << RDX;
        let d = self.gpr(i.c())?;
        let lo = self.gpr(i.b)?;
        let hi_const = self.const_of(i.a);
        self.clobber_flags();
        let digit = if signed { 7 } else { 6 };
        if i.ty == Ty::I8 {
            let hi = self.gpr(i.a)?;
            self.asm.movzx(Ty::I8, RAX, lo);
            self.asm.mov32(RDX, hi);
            self.asm.shift_imm(Shift::Shl, Ty::I32, RDX, 8);
            self.asm.alu(Alu::Or, Ty::I32, RAX, Rm::R(RDX));
            self.fault_point();
            self.asm.op(0xf6, false, digit, Rm::R(d), 2);
            // Remainder in ah.
            self.asm.mov32(RDX, RAX);
            self.asm.shift_imm(Shift::Shr, Ty::I32, RDX, 8);
        } else {
            self.asm.mov64(RAX, lo);
            match hi_const {
                Some(0) => self.asm.alu(Alu::Xor, Ty::I32, RDX, Rm::R(RDX)),
                _ => {
                    let hi = self.gpr(i.a)?;
                    self.asm.mov64(RDX, hi);
                }
            }
            self.fault_point();
            let p = if i.ty == Ty::I16 { P66 } else { 0 };
            self.asm.op(0xf7 | p, i.ty == Ty::I64, digit, Rm::R(d), 0);
        }
        self.release(&[i.a, i.b, i.c()]);
        let (mine, its) = if quotient { (RAX, RDX) } else { (RDX, RAX) };
        let bits = if i.ty == Ty::I32 { 32 } else { 64 };
        self.define(mine, bits);
        if let Some(j) = partner {
            let r = self.st.new_root(Kind::Plain, Ty::I64, bits as u8);
            self.st.place(r, its);
            self.st.bind(j, r);
            self.done[j] = true;
        }
        Ok(())
    }

    /// [`Op::Not`] and [`Op::Neg`].
    pub fn not_neg(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let w = wide(i.ty);
        let s = self.gpr(i.a)?;
        let root = self.root_of(i.a);
        self.drop_dead_flags()?;
        self.release_all_late(i);
        let d = self.alloc_result(root)?;
        self.copy(w, d, s);
        let digit = if i.op == Op::Not { 2 } else { 3 };
        if i.op == Op::Neg {
            self.clobber_flags();
        }
        self.asm.op(0xf7, w == Ty::I64, digit, Rm::R(d), 0);
        self.finish(i, d, w.bits());
        Ok(())
    }

    /// [`Op::Bswap`], [`Op::Clz`], [`Op::Ctz`], [`Op::Popcnt`].
    pub fn bits(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let w = wide(i.ty);
        if i.op == Op::Bswap {
            let s = self.gpr(i.a)?;
            let root = self.root_of(i.a);
            self.release_all_late(i);
            let d = self.alloc_result(root)?;
            self.copy(w, d, s);
            if i.ty == Ty::I16 {
                self.clobber_flags();
                self.asm.shift_imm(Shift::Rol, Ty::I16, d, 8);
                self.finish(i, d, 32);
                return Ok(());
            }
            let rex = 0x40 | (d >> 3) | if w == Ty::I64 { 8 } else { 0 };
            if rex != 0x40 {
                self.asm.byte(rex);
            }
            self.asm.byte(0x0f);
            self.asm.byte(0xc8 | (d & 7));
            self.finish(i, d, w.bits());
            return Ok(());
        }
        let (ok, code) = match i.op {
            Op::Clz => (self.host.lzcnt, 0xbd),
            Op::Ctz => (self.host.tzcnt, 0xbc),
            _ => (self.host.popcnt, 0xb8),
        };
        if !ok {
            return Err(Unsupported::Op(i.op));
        }
        let s = self.gpr_clean(i.a, i.ty)?;
        let root = self.root_of(i.a);
        self.release_all_late(i);
        let d = self.alloc_result(root)?;
        self.clobber_flags();
        let narrow = i.ty.bits() < 32;
        if narrow && i.op == Op::Ctz {
            // A sentinel above the value gives the width for 0.
            self.copy(Ty::I32, d, s);
            self.asm.alu_imm(Alu::Or, Ty::I32, Rm::R(d), 1 << i.ty.bits());
            self.asm.op(code | OF | PF3, false, d, Rm::R(d), 0);
        } else {
            self.asm.op(code | OF | PF3, w == Ty::I64, d, Rm::R(s), 0);
            if narrow && i.op == Op::Clz {
                self.asm.alu_imm(Alu::Sub, Ty::I32, Rm::R(d), 32 - i.ty.bits() as i32);
            }
        }
        self.finish(i, d, 8);
        Ok(())
    }

    /// Conversions: mostly other views of the same register.
    pub fn convert(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let from = i.from_ty();
        if let Some(c) = self.const_of(i.a) {
            let r = emu_ir::scalar::convert(i.op, from, i.ty, c);
            return self.define_const(i, r);
        }
        match i.op {
            Op::Trunc => {
                self.gpr_or_vector(i.a)?;
                let r = self.root_of(i.a);
                self.st.bind(self.at, r);
                self.release(&[i.a]);
            }
            Op::Zext => {
                self.gpr_clean(i.a, from)?;
                let r = self.root_of(i.a);
                self.st.bind(self.at, r);
                self.release(&[i.a]);
            }
            _ => {
                let s = self.gpr(i.a)?;
                let root = self.root_of(i.a);
                self.release_all_late(i);
                let d = self.alloc_result(root)?;
                let to = wide(i.ty);
                self.asm.movsx(from, to, d, Rm::R(s));
                self.finish(i, d, to.bits());
            }
        }
        Ok(())
    }

    /// Makes sure an integer value is not the low part of a vector, which Trunc cannot rename.
    fn gpr_or_vector(&mut self, v: Val) -> Result<(), Unsupported> {
        let r = self.root_of(v);
        if r != NOROOT && !self.st.root(r).class.is_int() {
            self.gpr(v)?;
        }
        Ok(())
    }

    /// Emits `cmp a, b|imm` at the op's width.
    pub fn emit_cmp(&mut self, ty: Ty, a: Val, b: Operand) -> Result<(), Unsupported> {
        let ra = self.gpr(a)?;
        let c = match b {
            Operand::Imm(c) => Some(c & ty.mask()),
            Operand::Val(v) => self.const_of(v),
        };
        let c = c.and_then(|c| match ty {
            Ty::I64 => i32::try_from(c as i64).ok(),
            _ => Some(emu_ir::flags::sext(ty, c) as i32),
        });
        match (c, b) {
            (Some(0), _) => {
                self.clobber_flags();
                self.asm.test(ty, ra, ra);
            }
            (Some(c), _) => {
                self.clobber_flags();
                self.asm.alu_imm(Alu::Cmp, ty, Rm::R(ra), c);
            }
            (None, Operand::Val(v)) => {
                let rb = self.gpr(v)?;
                self.clobber_flags();
                self.asm.alu(Alu::Cmp, ty, ra, Rm::R(rb));
            }
            (None, Operand::Imm(c)) => {
                let rb = self.alloc_gpr()?;
                self.asm.mov_imm(rb, c);
                self.clobber_flags();
                self.asm.alu(Alu::Cmp, ty, ra, Rm::R(rb));
            }
        }
        Ok(())
    }

    /// [`Op::Cmp`].
    pub fn compare(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.emit_cmp(i.ty, i.a, i.rhs())?;
        self.release_all(i);
        self.define_cond(i.cond() as u8)
    }

    /// The host condition that says whether value `v` is not 0; emits a test unless the previous
    /// op left one.
    pub fn condition(&mut self, v: Val) -> Result<u8, Unsupported> {
        if let Some(p) = self.cond.take()
            && p.op == v.index()
        {
            return Ok(p.cc);
        }
        let r = self.gpr(v)?;
        self.clobber_flags();
        // Booleans are i8; other types are tested whole.
        let ty = self.block.insts[v.index()].ty;
        let ty = match self.block.insts[v.index()].op {
            Op::Cmp | Op::FlagsCond => Ty::I8,
            _ => ty,
        };
        self.asm.test(ty, r, r);
        Ok(5)
    }

    /// [`Op::Select`].
    pub fn select(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let (then, other) = (i.b, i.c());
        if !i.ty.is_int() {
            return self.vec_select(i);
        }
        // Loads and moves leave the host's flags alone, so the operands can come after the test.
        let had = self.cond.is_some();
        let cc = if had { self.condition(i.a)? } else { 0 };
        let b = self.gpr(then)?;
        let c = self.gpr(other)?;
        let cc = if had { cc } else { self.condition(i.a)? };
        let bits = {
            let (b, c) = (self.root_of(then), self.root_of(other));
            self.st.root(b).bits.max(self.st.root(c).bits)
        };
        let wide = bits > 32;
        for v in [i.a, then, other] {
            self.release_use(v);
        }
        let root_c = self.root_of(other);
        let root_b = self.root_of(then);
        let d = if root_b != root_c && self.clobberable(root_c, 0) {
            self.take_register(root_c)
        } else {
            let d = self.alloc_gpr()?;
            self.asm.mov64(d, c);
            d
        };
        self.asm.cmov(cc, wide, d, b);
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits);
        self.st.place(r, d);
        self.st.root(r).live += 1;
        for v in [i.a, then, other] {
            let r = self.root_of(v);
            if r != NOROOT {
                self.st.collect(r);
            }
        }
        self.st.bind(self.at, r);
        self.st.root(r).live -= 1;
        self.st.collect(r);
        Ok(())
    }

    /// [`Op::Lea`].
    pub fn lea(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let w = wide(i.ty);
        let disp = match imm32(w, i.imm) {
            Some(d) => d,
            None => return Err(Unsupported::Op(i.op)),
        };
        let base = if i.a.is_some() { self.gpr(i.a)? } else { NOREG };
        let index = if i.b.is_some() { self.gpr(i.b)? } else { NOREG };
        self.release_all_late(i);
        let m = Mem { base, index, shift: (i.sub & 3) as u8, disp, addr32: false };
        let d = self.alloc_result(if i.a.is_some() { self.root_of(i.a) } else { NOROOT })?;
        self.asm.lea(w, d, m);
        self.finish(i, d, w.bits());
        Ok(())
    }
}
