//! Registers: where values go, and what makes room for them.

use emu_cpu::slots;
use emu_ir::{Ty, Val};

use crate::Unsupported;
use crate::analyze::NEVER;
use crate::asm::{Alu, Mem, NOREG, R15, RBP, RSP, Reg, Rm};
use crate::compile::Compiler;
use crate::pins::{has, home, members};
use crate::state::{Home, Kind, NOROOT, spill_offset};

/// Registers a called function may change: rax rcx rdx rsi rdi r8 to r11.
pub const CALLER_SAVED: u32 = 0b0000_1111_1100_0111;

/// Order of preference: those no slot is pinned to first; rcx, rdx and rax last, because some
/// instructions want them.
const ORDER: [Reg; 13] = [10, 11, 14, 9, 8, 3, 13, 12, 7, 6, 1, 2, 0];
/// The same for blocks that call.
const ORDER_CALLS: [Reg; 13] = [14, 10, 11, 13, 12, 3, 9, 8, 7, 6, 1, 2, 0];

/// What is left of the budget, while generated code runs: the header's field is up to date only
/// during calls.
pub const BUDGET: Reg = R15;

/// The CPU structure's byte at `slot`.
pub const fn cpu_mem(slot: u32) -> Mem {
    Mem::at(RBP, slot as i32 - slots::BIAS as i32)
}

impl Compiler<'_> {
    /// The root of a value.
    pub fn root_of(&self, v: Val) -> u16 {
        self.st.val[v.index()]
    }

    /// The constant a value is known to be.
    pub fn const_of(&self, v: Val) -> Option<u64> {
        let r = self.root_of(v);
        if r == NOROOT {
            return None;
        }
        match self.st.roots[usize::from(r)].kind {
            // The root may be wider: a narrow read of a slot that holds a constant.
            Kind::Const(c) => Some(c & self.block.insts[v.index()].ty.mask()),
            _ => None,
        }
    }

    /// A free general register, locked for the current op.
    pub fn alloc_gpr(&mut self) -> Result<Reg, Unsupported> {
        let order = if self.an.calls { &ORDER_CALLS } else { &ORDER };
        for &r in order {
            if self.st.gpr[usize::from(r)] == NOROOT && self.st.gpr_lock >> r & 1 == 0 {
                self.st.gpr_lock |= 1 << r;
                return Ok(r);
            }
        }
        let mut best: Option<(u32, Reg)> = None;
        for &r in order {
            if self.st.gpr_lock >> r & 1 == 0 {
                let score = self.eviction_score(self.st.gpr[usize::from(r)]);
                if best.is_none_or(|(s, _)| score > s) {
                    best = Some((score, r));
                }
            }
        }
        let (_, r) = best.ok_or(Unsupported::Registers)?;
        self.evict(self.st.gpr[usize::from(r)])?;
        self.st.gpr_lock |= 1 << r;
        Ok(r)
    }

    /// A general register for the result of the current op, locked: the one its slot is pinned to,
    /// if that is free for it.
    pub fn result_gpr(&mut self) -> Result<Reg, Unsupported> {
        self.gpr_for(self.at)
    }

    /// The same for the result of op `at`.
    pub fn gpr_for(&mut self, at: usize) -> Result<Reg, Unsupported> {
        let unit = usize::from(self.an.put_unit[at]);
        if let Some(h) = self.pins.reg(unit)
            && self.st.gpr_lock >> h & 1 == 0
        {
            let r = self.st.gpr[usize::from(h)];
            if r == NOROOT || self.clobberable(r, 0) {
                if r != NOROOT {
                    self.take_register(r);
                }
                self.st.gpr_lock |= 1 << h;
                return Ok(h);
            }
        }
        self.alloc_gpr()
    }

    /// A free vector register, locked for the current op.
    pub fn alloc_xmm(&mut self) -> Result<Reg, Unsupported> {
        self.alloc_xmm_hinted(None)
    }

    /// The same for the result of op `at`: if possible the one where its slot is between blocks. What
    /// is there is given up, so an op that can fault records its fault point before.
    pub fn xmm_for(&mut self, at: usize) -> Result<Reg, Unsupported> {
        let unit = usize::from(self.an.put_unit[at]);
        let n = self.vectors.number(unit);
        self.alloc_xmm_hinted(n)
    }

    fn alloc_xmm_hinted(&mut self, hint: Option<usize>) -> Result<Reg, Unsupported> {
        if let Some(n) = hint
            && has(self.an.vectors, n)
            && self.st.xmm_lock >> home(n) & 1 == 0
        {
            let r = self.st.xmm[usize::from(home(n))];
            if r == NOROOT || self.clobberable(r, 0) {
                if r != NOROOT {
                    self.take_register(r);
                }
                self.st.xmm_lock |= 1 << home(n);
                return Ok(home(n));
            }
        }
        let homes = members(self.an.vectors).fold(0u32, |set, n| set | 1 << home(n));
        for avoid in [homes, 0] {
            for r in 1..16u8 {
                let free = self.st.xmm[usize::from(r)] == NOROOT;
                if free && (self.st.xmm_lock | avoid) >> r & 1 == 0 {
                    self.st.xmm_lock |= 1 << r;
                    return Ok(r);
                }
            }
        }
        let mut best: Option<(u32, Reg)> = None;
        for r in 1..16u8 {
            if self.st.xmm_lock >> r & 1 == 0 {
                let score = self.eviction_score(self.st.xmm[usize::from(r)]);
                if best.is_none_or(|(s, _)| score > s) {
                    best = Some((score, r));
                }
            }
        }
        let (_, r) = best.ok_or(Unsupported::Registers)?;
        self.evict(self.st.xmm[usize::from(r)])?;
        self.st.xmm_lock |= 1 << r;
        Ok(r)
    }

    /// How gladly a root leaves its register.
    fn eviction_score(&self, r: u16) -> u32 {
        if r == NOROOT {
            return u32::MAX;
        }
        let root = &self.st.roots[usize::from(r)];
        if matches!(root.kind, Kind::Const(_)) {
            return 1 << 24;
        }
        let mut next = u32::from(NEVER);
        let mut dirty = false;
        if root.slots > 0 {
            for &u in &self.st.touched {
                let s = &self.st.slots[usize::from(u)];
                if s.root == r {
                    if !s.next.kill() {
                        next = next.min(u32::from(s.next.at()));
                    }
                    dirty |= s.dirty;
                }
            }
        }
        let mut score = next * 2 + u32::from(!dirty);
        if root.live > 0 {
            score = if root.home == Home::None && root.slots == 0 { 0 } else { score / 4 };
        }
        score
    }

    /// Takes a root out of its register, saving what is still needed.
    pub fn evict(&mut self, r: u16) -> Result<(), Unsupported> {
        if r == NOROOT {
            return Ok(());
        }
        let root = *self.st.root(r);
        if matches!(root.kind, Kind::Const(_)) && root.class.is_int() {
            self.st.displace(r);
            return Ok(());
        }
        if root.slots > 0 {
            for k in 0..self.st.touched.len() {
                let u = usize::from(self.st.touched[k]);
                let s = self.st.slots[u];
                if s.root != r {
                    continue;
                }
                if s.dirty {
                    if self.dead_before(s.next) {
                        self.st.forget(u);
                        continue;
                    }
                    self.write_back(u)?;
                }
                // Narrow slots do not hold all of a wider root.
                if u32::from(s.bytes) >= u32::from(root.bits).div_ceil(8)
                    || !root.class.is_int() && u32::from(s.bytes) == root.class.bytes()
                {
                    let root = self.st.root(r);
                    root.home = Home::Slot((u * 8) as u16 + u16::from(s.lo));
                    root.bytes = s.bytes;
                }
            }
        }
        let root = *self.st.root(r);
        if root.reg == NOREG {
            return Ok(());
        }
        if root.home == Home::None {
            if root.live > 0 {
                let n = self.st.take_spill(root.class).ok_or(Unsupported::Registers)?;
                let m = Mem::at(RSP, spill_offset(n));
                if root.class.is_int() {
                    self.asm.store(Ty::I64, m, root.reg);
                } else {
                    self.vec_store(root.class, m, root.reg);
                }
                let root = self.st.root(r);
                root.home = Home::Spill(n);
                root.bytes = root.class.bytes() as u8;
            } else {
                // Only clean slots that cannot serve as home name it: drop them.
                for k in 0..self.st.touched.len() {
                    let u = usize::from(self.st.touched[k]);
                    if self.st.slots[u].root == r {
                        self.st.forget(u);
                    }
                }
            }
        }
        self.st.displace(r);
        Ok(())
    }

    /// Whether the content of a slot is not needed from the current op on.
    pub fn dead_before(&self, next: crate::analyze::Next) -> bool {
        next.kill() && self.an.observer[self.at] >= next.at()
    }

    /// Frees a particular general register; what was there moves elsewhere.
    pub fn vacate(&mut self, reg: Reg) -> Result<(), Unsupported> {
        let r = self.st.gpr[usize::from(reg)];
        if r == NOROOT {
            return Ok(());
        }
        if matches!(self.st.root(r).kind, Kind::Const(_)) {
            self.st.displace(r);
            return Ok(());
        }
        self.st.gpr_lock |= 1 << reg;
        let free = (0..16u8).find(|&f| {
            f != RSP
                && f != RBP
                && f != BUDGET
                && f != reg
                && self.st.gpr[usize::from(f)] == NOROOT
                && self.st.gpr_lock >> f & 1 == 0
        });
        match free {
            Some(f) => {
                self.asm.mov64(f, reg);
                self.st.displace(r);
                self.st.place(r, f);
                Ok(())
            }
            None => self.evict(r),
        }
    }

    /// Brings a root into a general register, locked for the current op.
    pub fn root_gpr(&mut self, r: u16) -> Result<Reg, Unsupported> {
        if r == NOROOT {
            return Err(Unsupported::Malformed);
        }
        let root = *self.st.root(r);
        if !root.class.is_int() {
            return Err(Unsupported::Malformed);
        }
        if root.reg != NOREG {
            self.st.gpr_lock |= 1 << root.reg;
            return Ok(root.reg);
        }
        let d = match root.kind {
            Kind::Const(c) => {
                let d = self.alloc_gpr()?;
                self.emit_const(d, c);
                d
            }
            Kind::Plain => {
                let d = match root.home {
                    Home::Slot(s) => match self.pins.reg(usize::from(s / 8)) {
                        Some(h)
                            if self.st.gpr[usize::from(h)] == NOROOT
                                && self.st.gpr_lock >> h & 1 == 0 =>
                        {
                            self.st.gpr_lock |= 1 << h;
                            h
                        }
                        _ => self.alloc_gpr()?,
                    },
                    _ => self.alloc_gpr()?,
                };
                let m = self.home_mem(r)?;
                let root = *self.st.root(r);
                self.asm.load_zx(u32::from(root.bytes), d, m);
                d
            }
            Kind::Sum(x, y) | Kind::Diff(x, y) => {
                if let Some(d) = self.sum_in_place(r, x, y) {
                    return Ok(d);
                }
                let d = self.alloc_gpr()?;
                self.emit_sum(d, x, y, matches!(root.kind, Kind::Diff(..)))?;
                self.st.root(r).kind = Kind::Plain;
                for dep in [x, y] {
                    self.st.root(dep).live -= 1;
                    self.st.collect(dep);
                }
                d
            }
        };
        self.st.place(r, d);
        Ok(d)
    }

    /// A value that is the uncomputed sum of a root and a constant.
    pub fn sum_of(&self, v: Val) -> Option<(u16, i32)> {
        let r = self.root_of(v);
        if r == NOROOT { None } else { self.sum_of_root(r) }
    }

    /// The same for a root.
    pub fn sum_of_root(&self, r: u16) -> Option<(u16, i32)> {
        let Kind::Sum(x, y) = self.st.roots[usize::from(r)].kind else { return None };
        match self.st.roots[usize::from(y)].kind {
            Kind::Const(c) => i32::try_from(c as i64).ok().map(|c| (x, c)),
            _ => None,
        }
    }

    /// Computes the sum `r` of `x` and a constant in the register of `x`, if nothing else needs that.
    fn sum_in_place(&mut self, r: u16, x: u16, y: u16) -> Option<Reg> {
        let (_, c) = self.sum_of_root(r)?;
        let root = *self.st.root(x);
        if root.live != 1
            || root.slots != 0
            || root.reg == NOREG
            || root.kind != Kind::Plain
            || self.st.gpr_lock >> root.reg & 1 != 0
        {
            return None;
        }
        let d = root.reg;
        self.asm.lea(Ty::I64, d, Mem::at(d, c));
        self.st.displace(x);
        self.st.root(r).kind = Kind::Plain;
        for dep in [x, y] {
            self.st.root(dep).live -= 1;
            self.st.collect(dep);
        }
        self.st.place(r, d);
        self.st.gpr_lock |= 1 << d;
        Some(d)
    }

    /// `d = x ± y`.
    fn emit_sum(&mut self, d: Reg, x: u16, y: u16, minus: bool) -> Result<(), Unsupported> {
        let a = self.root_gpr(x)?;
        if let Kind::Const(c) = self.st.root(y).kind {
            let c = if minus { c.wrapping_neg() } else { c };
            if c as i64 == i64::from(c as i32) {
                self.asm.lea(Ty::I64, d, Mem::at(a, c as i32));
                return Ok(());
            }
        }
        let b = self.root_gpr(y)?;
        if minus {
            self.clobber_flags();
            self.asm.mov64(d, a);
            self.asm.alu(Alu::Sub, Ty::I64, d, Rm::R(b));
        } else {
            let m = Mem { base: a, index: b, shift: 0, disp: 0, addr32: false };
            self.asm.lea(Ty::I64, d, m);
        }
        Ok(())
    }

    /// Loads a constant, from a register that holds one nearby if that is shorter.
    fn emit_const(&mut self, d: Reg, c: u64) {
        if c > u64::from(u32::MAX) && c as i64 != i64::from(c as i32) {
            for r in 0..16u8 {
                let root = self.st.gpr[usize::from(r)];
                if root == NOROOT {
                    continue;
                }
                if let Kind::Const(near) = self.st.roots[usize::from(root)].kind {
                    let delta = c.wrapping_sub(near) as i64;
                    if delta == i64::from(delta as i32) {
                        self.asm.lea(Ty::I64, d, Mem::at(r, delta as i32));
                        return;
                    }
                }
            }
        }
        self.asm.mov_imm(d, c);
    }

    /// The memory a root can be loaded from.
    pub fn home_mem(&mut self, r: u16) -> Result<Mem, Unsupported> {
        match self.st.root(r).home {
            Home::Slot(s) => Ok(cpu_mem(u32::from(s))),
            Home::Spill(n) => Ok(Mem::at(RSP, spill_offset(n))),
            Home::None => Err(Unsupported::Malformed),
        }
    }

    /// Brings an integer value into a general register; its bits above the type are undefined.
    pub fn gpr(&mut self, v: Val) -> Result<Reg, Unsupported> {
        let r = self.root_of(v);
        if r != NOROOT && !self.st.root(r).class.is_int() {
            // An integer that is the low part of a vector register.
            let x = self.root_xmm(r)?;
            let d = self.alloc_gpr()?;
            self.vec_to_gpr(d, x);
            let n = self.st.new_root(Kind::Plain, Ty::I64, 64);
            self.st.place(n, d);
            self.rebind(v, n);
            return Ok(d);
        }
        self.root_gpr(r)
    }

    /// Brings an integer value of type `ty` into a general register, zero-extended.
    pub fn gpr_clean(&mut self, v: Val, ty: Ty) -> Result<Reg, Unsupported> {
        let s = self.gpr(v)?;
        let r = self.root_of(v);
        if u32::from(self.st.root(r).bits) <= ty.bits() {
            return Ok(s);
        }
        let d = self.alloc_gpr()?;
        self.asm.movzx(ty, d, s);
        let n = self.st.new_root(Kind::Plain, Ty::I64, ty.bits() as u8);
        self.st.place(n, d);
        self.rebind(v, n);
        Ok(d)
    }

    /// Makes `n` the root of value `v` in place of its old one.
    pub fn rebind(&mut self, v: Val, n: u16) {
        let old = self.root_of(v);
        self.st.val[v.index()] = n;
        if self.st.left[v.index()] > 0 {
            self.st.root(n).live += 1;
            let o = self.st.root(old);
            o.live = o.live.saturating_sub(1);
        }
        self.st.collect(old);
    }

    /// Brings a vector root into a vector register, locked for the current op.
    pub fn root_xmm(&mut self, r: u16) -> Result<Reg, Unsupported> {
        if r == NOROOT {
            return Err(Unsupported::Malformed);
        }
        let root = *self.st.root(r);
        if root.class.is_int() {
            return Err(Unsupported::Malformed);
        }
        if root.reg != NOREG {
            self.st.xmm_lock |= 1 << root.reg;
            return Ok(root.reg);
        }
        let d = self.alloc_xmm()?;
        match root.kind {
            Kind::Const(c) => self.vec_const(root.class, d, c)?,
            _ => {
                let m = self.home_mem(r)?;
                self.vec_load(root.class, d, m);
            }
        }
        self.st.place(r, d);
        Ok(d)
    }

    /// Notes the current op's use of its operands, so that their registers can be reused.
    pub fn release(&mut self, vals: &[Val]) {
        for v in vals {
            if v.is_some() {
                self.st.release(v.index());
            }
        }
    }

    /// Whether the register of root `r` may be overwritten by the current op: nothing after the
    /// op needs its content, given that the op's own uses are released.
    pub fn clobberable(&mut self, r: u16, live: u16) -> bool {
        let root = *self.st.root(r);
        if root.reg == NOREG || !matches!(root.kind, Kind::Plain) || root.live > live {
            return false;
        }
        if root.slots == 0 || self.keep_slots {
            return root.slots == 0;
        }
        self.st.touched.iter().all(|&u| {
            let s = &self.st.slots[usize::from(u)];
            s.root != r || self.an.dead_after(s.next, self.at)
        })
    }

    /// Takes the register away from a root that is [`Compiler::clobberable`], for reuse.
    pub fn take_register(&mut self, r: u16) -> Reg {
        let reg = self.st.root(r).reg;
        self.st.displace(r);
        for k in 0..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            if self.st.slots[u].root == r {
                self.st.forget(u);
            }
        }
        reg
    }

    /// A register for the result of the current op: that of operand `a` when it is free for that.
    /// The operand's uses are released already.
    pub fn alloc_result(&mut self, a: u16) -> Result<Reg, Unsupported> {
        if a != NOROOT && self.st.root(a).class.is_int() && self.clobberable(a, 0) {
            let reg = self.take_register(a);
            self.st.gpr_lock |= 1 << reg;
            return Ok(reg);
        }
        self.result_gpr()
    }

    /// Binds the current op's value to a new root in general register `d`.
    pub fn define(&mut self, d: Reg, bits: u32) -> u16 {
        let r = self.st.new_root(Kind::Plain, Ty::I64, bits as u8);
        self.st.place(r, d);
        self.st.bind(self.at, r);
        r
    }

    /// Binds the current op's value to a new root in vector register `d`.
    pub fn define_xmm(&mut self, d: Reg, class: Ty) -> u16 {
        let r = self.st.new_root(Kind::Plain, class, 0);
        self.st.place(r, d);
        self.st.bind(self.at, r);
        r
    }

    /// Notes that the host's flags change.
    pub fn clobber_flags(&mut self) {
        self.flags.host_op = NEVER;
        self.flags.host_current = false;
    }
}
