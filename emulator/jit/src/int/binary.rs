//! Additions, subtractions and bitwise operations, and the flags that go with them.

use emu_ir::{FlagKind, Inst, Op, Operand, Ty};

use super::{imm32, wide};
use crate::Unsupported;
use crate::asm::{Alu, Mem, NOREG, Reg, Rm};
use crate::compile::Compiler;
use crate::state::{Kind, NOROOT};

/// How far ahead of an addition its flags.set is looked for.
const WINDOW: usize = 10;

impl Compiler<'_> {
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
}
