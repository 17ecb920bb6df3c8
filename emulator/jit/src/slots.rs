//! Reads and writes of guest slots.

use emu_cpu::slots as hdr;
use emu_ir::{Inst, Ty, Val};

use crate::Unsupported;
use crate::alloc::cpu_mem;
use crate::analyze::{FLAG_UNIT, Next};
use crate::asm::{Alu, Mem, NOREG, R10, R11, R14, Reg, Rm, Shift};
use crate::compile::Compiler;
use crate::pins::{Vectors, has};
use crate::state::{Home, Kind, NOROOT};

/// Slots below this are 8-byte units that are always cached whole: the header's flag fields and
/// the general registers.
pub const WIDE_END: u32 = 2 * hdr::BIAS;
const WIDE_START: u32 = hdr::FLAGS_KIND;

/// Whether the unit is a flag field.
pub fn is_flag(unit: usize) -> bool {
    (FLAG_UNIT..FLAG_UNIT + 4).contains(&unit)
}

/// Whether the slot lies in such a unit.
pub fn is_wide(slot: u32) -> bool {
    (WIDE_START..WIDE_END).contains(&slot)
}

impl Compiler<'_> {
    /// Bits that can be set in the slot at `slot` when all 8 bytes are read.
    pub fn wide_bits(&self, slot: u32) -> u8 {
        if self.arch.word_bytes() == 4 && slot >= hdr::BIAS { 32 } else { 64 }
    }

    /// Caches the wide slot at `unit`, without loading it; its root.
    pub fn wide_root(&mut self, unit: usize, next: Next) -> u16 {
        let s = &mut self.st.slots[unit];
        if s.root != NOROOT {
            s.next = next;
            return s.root;
        }
        let bits = self.wide_bits(unit as u32 * 8);
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits);
        self.st.root(r).home = Home::Slot((unit * 8) as u16);
        self.st.root(r).bytes = 8;
        self.st.cache(unit, 0, 8, r, false, next);
        r
    }

    /// [`emu_ir::Op::Get`].
    pub fn get(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let slot = self.slot(i)?;
        let next = self.an.next[self.at];
        let (unit, lo) = ((slot / 8) as usize, slot % 8);
        if is_wide(slot) && i.ty.is_int() && lo + i.ty.bytes() <= 8 {
            let r = self.wide_root(unit, next);
            if lo == 0 {
                self.st.bind(self.at, r);
                return Ok(());
            }
            return self.get_part(r, slot, lo, i.ty);
        }
        let bytes = i.ty.bytes();
        let owner = match self.st.slots[unit].owner {
            0 => unit,
            o => usize::from(o),
        };
        let s = self.st.slots[owner];
        if s.root != NOROOT && owner == unit && u32::from(s.lo) == lo && u32::from(s.bytes) >= bytes
        {
            let class = self.st.root(s.root).class;
            if class.is_int() == i.ty.is_int() && (class.is_int() || class == i.ty)
                || !class.is_int() && matches!(i.ty, Ty::I32 | Ty::I64 | Ty::V128)
            {
                // What comes next for a part need not be what comes next for the rest.
                let whole = u32::from(s.bytes) <= bytes.max(8);
                self.st.slots[unit].next = if whole { next } else { next.without_kill() };
                self.st.bind(self.at, s.root);
                return Ok(());
            }
        }
        let overlaps = self.overlap(slot, bytes, |c, u| {
            c.st.slots[u].next = next;
            if c.st.slots[u].dirty {
                c.write_back(u)?;
            }
            Ok(())
        })?;
        let class = if i.ty.is_int() { Ty::I64 } else { i.ty };
        let r = self.st.new_root(Kind::Plain, class, i.ty.bits().min(64) as u8);
        self.st.root(r).home = Home::Slot(slot as u16);
        self.st.root(r).bytes = bytes as u8;
        if overlaps || lo + bytes.min(8) > 8 || !slot.is_multiple_of(bytes.min(8)) {
            // Not cacheable beside what is cached there: read it now.
            if i.ty.is_int() {
                self.root_gpr(r)?;
            } else {
                self.root_xmm(r)?;
            }
            self.st.root(r).home = Home::None;
        } else {
            self.st.cache(unit, lo as u8, bytes as u8, r, false, next);
        }
        self.st.bind(self.at, r);
        Ok(())
    }

    /// A part of a wide slot above its low byte (AH and its kind).
    fn get_part(&mut self, r: u16, slot: u32, lo: u32, ty: Ty) -> Result<(), Unsupported> {
        let root = *self.st.root(r);
        if root.reg == NOREG && matches!(root.home, Home::Slot(s) if u32::from(s) == slot - lo) {
            let d = self.alloc_gpr()?;
            self.asm.load_zx(ty.bytes(), d, cpu_mem(slot));
            self.define(d, ty.bits());
            return Ok(());
        }
        let s = self.root_gpr(r)?;
        let d = self.alloc_gpr()?;
        if lo == 1 && ty == Ty::I8 && s < 4 && d < 8 {
            // movzx from ah, ch, dh, bh: numbers 4 to 7 without a REX prefix.
            self.asm.op(0xb6 | crate::asm::OF, false, d, Rm::R(s + 4), 0);
            self.define(d, 8);
        } else {
            self.clobber_flags();
            self.asm.mov64(d, s);
            self.asm.shift_imm(Shift::Shr, Ty::I64, d, (8 * lo) as u8);
            self.define(d, 64 - 8 * lo);
        }
        Ok(())
    }

    /// Calls `f` for every cached slot that overlaps the range; whether there was one.
    fn overlap(
        &mut self,
        slot: u32,
        bytes: u32,
        mut f: impl FnMut(&mut Self, usize) -> Result<(), Unsupported>,
    ) -> Result<bool, Unsupported> {
        let mut found = false;
        for u in (slot / 8) as usize..=((slot + bytes - 1) / 8) as usize {
            let owner = match self.st.slots[u].owner {
                0 => u,
                o => usize::from(o),
            };
            let s = self.st.slots[owner];
            if s.root == NOROOT {
                continue;
            }
            let start = owner as u32 * 8 + u32::from(s.lo);
            if start < slot + bytes && slot < start + u32::from(s.bytes) {
                found = true;
                f(self, owner)?;
            } else if owner == u {
                // Another field of the same unit: one entry per unit, so it must go.
                found = true;
                if s.dirty {
                    self.write_back(owner)?;
                }
                f(self, owner)?;
            }
        }
        Ok(found)
    }

    /// Forgets a slot whose memory is about to change; values that live only there are loaded.
    pub fn drop_slot(&mut self, unit: usize) -> Result<(), Unsupported> {
        let s = self.st.slots[unit];
        if s.root == NOROOT {
            return Ok(());
        }
        let root = *self.st.root(s.root);
        if root.home == Home::Slot((unit * 8) as u16 + u16::from(s.lo)) {
            let elsewhere = root.slots > 1;
            if (root.live > 0 || elsewhere) && root.reg == NOREG && matches!(root.kind, Kind::Plain)
            {
                if root.class.is_int() {
                    self.root_gpr(s.root)?;
                } else {
                    self.root_xmm(s.root)?;
                }
            }
            self.st.root(s.root).home = Home::None;
        }
        self.st.forget(unit);
        Ok(())
    }

    /// [`emu_ir::Op::Put`].
    pub fn put(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let slot = self.slot(i)?;
        let next = self.an.next[self.at];
        let (unit, lo) = ((slot / 8) as usize, slot % 8);
        if !i.ty.is_int() {
            let r = self.root_of(i.a);
            let x = self.root_xmm(r)?;
            let class = self.st.root(r).class;
            if class != i.ty || lo != 0 {
                self.replace(slot, i.ty.bytes())?;
                self.vec_store(i.ty, cpu_mem(slot), x);
            } else {
                self.put_root(slot, i.ty.bytes(), r, next)?;
            }
            self.release(&[i.a]);
            return Ok(());
        }
        if is_wide(slot) && lo + i.ty.bytes() <= 8 && (lo != 0 || i.ty.bytes() < 4) {
            if self.an.dead_after(next, self.at) {
                // All of the slot is overwritten before anything sees it.
                self.drop_slot(unit)?;
            } else {
                self.put_part(unit, lo, i.ty, i.a, next)?;
            }
            self.release(&[i.a]);
            return Ok(());
        }
        let bytes = if i.ty == Ty::I32 { 8 } else { i.ty.bytes() };
        if lo + bytes > 8 {
            self.replace(slot, bytes)?;
            let s = self.gpr_clean(i.a, i.ty)?;
            let ty = Ty::int(bytes).unwrap_or(Ty::I64);
            self.asm.store(ty, cpu_mem(slot), s);
            self.release(&[i.a]);
            return Ok(());
        }
        // Constants stay constants; everything else needs a register while it is dirty.
        let r = match self.const_of(i.a) {
            Some(c) => self.st.new_root(Kind::Const(c), Ty::I64, 64 - c.leading_zeros() as u8),
            // What was left uncomputed for this very slot stays so.
            None if i.ty == Ty::I64
                && self.pins.reg(unit).is_some()
                && self.sum_of(i.a).is_some() =>
            {
                self.root_of(i.a)
            }
            None => {
                if i.ty == Ty::I32 {
                    self.gpr_clean(i.a, Ty::I32)?;
                } else {
                    self.gpr(i.a)?;
                }
                self.root_of(i.a)
            }
        };
        self.put_root(slot, bytes, r, next)?;
        self.release(&[i.a]);
        Ok(())
    }

    /// Forgets everything cached in the range; what lies partly outside it is written first.
    pub fn replace(&mut self, slot: u32, bytes: u32) -> Result<(), Unsupported> {
        self.overlap(slot, bytes, |c, u| {
            let s = c.st.slots[u];
            let start = u as u32 * 8 + u32::from(s.lo);
            let inside = start >= slot && start + u32::from(s.bytes) <= slot + bytes;
            if s.dirty && !inside {
                c.write_back(u)?;
            }
            c.drop_slot(u)
        })?;
        Ok(())
    }

    /// Makes `r` the new content of a slot.
    pub fn put_root(
        &mut self,
        slot: u32,
        bytes: u32,
        r: u16,
        next: Next,
    ) -> Result<(), Unsupported> {
        let (unit, lo) = ((slot / 8) as usize, slot % 8);
        let old = self.st.slots[unit];
        if old.root != NOROOT
            && u32::from(old.lo) == lo
            && u32::from(old.bytes) == bytes
            && (old.root == r || self.same_const(old.root, r))
        {
            self.st.slots[unit].next = next;
            return Ok(());
        }
        // The new content must survive if the old content's slot was its home.
        self.st.root(r).live += 1;
        self.replace(slot, bytes)?;
        self.st.root(r).live -= 1;
        self.st.cache(unit, lo as u8, bytes as u8, r, true, next);
        Ok(())
    }

    fn same_const(&self, x: u16, y: u16) -> bool {
        let (x, y) = (&self.st.roots[usize::from(x)], &self.st.roots[usize::from(y)]);
        matches!((x.kind, y.kind), (Kind::Const(a), Kind::Const(b)) if a == b)
            && x.class.is_int()
            && y.class.is_int()
    }

    /// Replaces a part of a wide slot.
    fn put_part(
        &mut self,
        unit: usize,
        lo: u32,
        ty: Ty,
        v: Val,
        next: Next,
    ) -> Result<(), Unsupported> {
        let old_next = self.st.slots[unit].next;
        let old = self.wide_root(unit, next);
        self.st.slots[unit].next = if old_next.at() == self.at as u16 { next } else { old_next };
        let src = if ty == Ty::I8 && lo == 1 { self.gpr_clean(v, ty)? } else { self.gpr(v)? };
        // Hold the value while the old content moves.
        let old_reg = self.root_gpr(old)?;
        let root = *self.st.root(old);
        let own = root.live == 0 && root.slots == 1 && matches!(root.kind, Kind::Plain);
        let bits = root.bits.max((ty.bits() + 8 * lo) as u8);
        let d = if own {
            self.st.displace(old);
            old_reg
        } else {
            let d = self.alloc_gpr()?;
            self.asm.mov64(d, old_reg);
            d
        };
        self.st.gpr_lock |= 1 << d;
        match (ty, lo) {
            (Ty::I8, 0) => self.asm.op(0x8a, false, d, Rm::R(src), 3),
            (Ty::I16, 0) => self.asm.op(0x8b | crate::asm::P66, false, d, Rm::R(src), 0),
            (Ty::I8, 1) => {
                self.clobber_flags();
                let t = self.alloc_gpr()?;
                self.asm.mov32(t, src);
                self.asm.shift_imm(Shift::Shl, Ty::I32, t, 8);
                self.asm.alu_imm(Alu::And, Ty::I64, Rm::R(d), 0xffff_00ff_u32 as i32);
                self.asm.alu(Alu::Or, Ty::I64, d, Rm::R(t));
            }
            _ => {
                // An odd part of the slot: through memory.
                if !own {
                    self.st.root(old).home = Home::None;
                }
                let m = cpu_mem(unit as u32 * 8);
                self.asm.store(Ty::I64, m, d);
                self.asm.store(ty, cpu_mem(unit as u32 * 8 + lo), src);
                self.asm.load_zx(8, d, m);
            }
        }
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits);
        self.st.place(r, d);
        let root = self.st.root(old);
        if root.home == Home::Slot((unit * 8) as u16) {
            root.home = Home::None;
        }
        self.st.forget(unit);
        self.st.cache(unit, 0, 8, r, true, next);
        Ok(())
    }

    /// Writes a dirty slot to the CPU structure; it stays cached.
    pub fn write_back(&mut self, unit: usize) -> Result<(), Unsupported> {
        let s = self.st.slots[unit];
        let m = cpu_mem(unit as u32 * 8 + u32::from(s.lo));
        self.st.slots[unit].dirty = false;
        let ty = Ty::int(u32::from(s.bytes)).unwrap_or(Ty::I64);
        let root = *self.st.root(s.root);
        match root.kind {
            _ if root.reg != NOREG => {
                if root.class.is_int() {
                    self.asm.store(ty, m, root.reg);
                } else {
                    self.vec_store(root.class, m, root.reg);
                }
            }
            Kind::Const(c) => {
                if c as i64 == i64::from(c as i32) || ty != Ty::I64 {
                    self.asm.store_imm(ty, m, c as i32);
                } else {
                    let lock = self.st.gpr_lock;
                    let d = self.root_gpr(s.root)?;
                    self.st.gpr_lock = lock;
                    self.asm.store(ty, m, d);
                }
            }
            Kind::Sum(x, y) | Kind::Diff(x, y) => {
                let op = if matches!(root.kind, Kind::Sum(..)) { Alu::Add } else { Alu::Sub };
                let lock = self.st.gpr_lock;
                let a = self.root_gpr(x)?;
                let c = match self.st.root(y).kind {
                    Kind::Const(c) => i32::try_from(c as i64).ok(),
                    _ => None,
                };
                let plus = match op {
                    Alu::Add => c,
                    _ => c.and_then(i32::checked_neg),
                };
                match (plus, self.idle_gpr()) {
                    (Some(plus), Some(t)) => {
                        self.asm.lea(Ty::I64, t, Mem::at(a, plus));
                        self.asm.store(Ty::I64, m, t);
                    }
                    _ => {
                        self.asm.store(Ty::I64, m, a);
                        self.clobber_flags();
                        match c {
                            Some(c) => self.asm.alu_imm(op, Ty::I64, Rm::M(m), c),
                            None => {
                                let b = self.root_gpr(y)?;
                                self.asm.alu_mem(op, Ty::I64, m, b);
                            }
                        }
                    }
                }
                self.st.gpr_lock = lock;
                // From now on it is an ordinary root in memory.
                let root = self.st.root(s.root);
                root.kind = Kind::Plain;
                root.home = Home::Slot((unit * 8) as u16);
                root.bytes = 8;
                for d in [x, y] {
                    self.st.root(d).live -= 1;
                    self.st.collect(d);
                }
            }
            // A sum that another slot's memory has by now.
            Kind::Plain if root.class.is_int() => {
                let lock = self.st.gpr_lock;
                let d = self.root_gpr(s.root)?;
                self.st.gpr_lock = lock;
                self.asm.store(ty, m, d);
            }
            Kind::Plain => return Err(Unsupported::Malformed),
        }
        Ok(())
    }

    /// A register without a pin that holds nothing.
    fn idle_gpr(&self) -> Option<Reg> {
        [R10, R11, R14]
            .into_iter()
            .find(|&r| self.st.gpr[usize::from(r)] == NOROOT && self.st.gpr_lock >> r & 1 == 0)
    }

    /// Writes every dirty slot that is not pinned, except those of `stay` and, if `flags` are
    /// taken care of, theirs.
    pub fn write_back_unpinned(&mut self, stay: Vectors, flags: bool) -> Result<(), Unsupported> {
        // The pinned slots are the first ones.
        for k in self.pins.count()..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            let s = self.st.slots[u];
            if s.root != NOROOT && s.dirty && !self.stays(u, stay) && !(flags && is_flag(u)) {
                self.write_back(u)?;
            }
        }
        Ok(())
    }

    /// Whether the slot at `unit` goes over to the next block in a register.
    pub fn stays(&self, unit: usize, stay: Vectors) -> bool {
        self.pins.reg(unit).is_some()
            || stay != 0 && self.vectors.number(unit).is_some_and(|n| has(stay, n))
    }

    /// Writes every dirty slot.
    pub fn write_back_all(&mut self) -> Result<(), Unsupported> {
        for k in 0..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            if self.st.slots[u].root != NOROOT && self.st.slots[u].dirty {
                self.write_back(u)?;
            }
        }
        Ok(())
    }

    /// The slot an op names, checked against the size of the CPU structure.
    fn slot(&self, i: &Inst) -> Result<u32, Unsupported> {
        let end = i.imm.saturating_add(u64::from(i.ty.bytes().max(8)));
        if end > self.arch.cpu_bytes() as u64 || end > 0x7fff {
            return Err(Unsupported::Malformed);
        }
        Ok(i.imm as u32)
    }
}
