//! Random blocks that pass the verifier, for tests that compare tiers or passes.
//!
//! The blocks are small programs of guest instructions: each reads slots and memory, computes,
//! then stores, writes slots and defines flags, in the order the verifier asks for. The same seed
//! and [`Recipe`] give the same block.

use crate::{
    Addr, Block, Builder, Cond, CounterSite, FlagKind, Inst, JumpKind, Op, Operand, RmwKind,
    Target, TrapKind, Ty, Val, VecLen, VecOp, VecSig, VecWidth, flags,
};

/// A small random number generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n` (0 when `n` is 0).
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits().checked_rem(n).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// An element; `choices` must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A value likely to matter: boundaries, small numbers, single bits, or anything.
    pub fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => self.below(16),
            3 => 1 << self.below(64),
            4 => (1u64 << self.below(64)).wrapping_sub(1),
            5 => 0u64.wrapping_sub(self.below(256)),
            _ => self.bits(),
        }
    }
}

/// What random blocks may contain.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Guest pc of the block.
    pub pc: u64,
    /// Most guest instructions.
    pub max_insns: u64,
    /// Slots of integer registers, 8 bytes each.
    pub ints: Vec<u32>,
    /// Slots of vector registers, 16 bytes each (32 with [`Recipe::v256`]); empty: no vectors.
    pub vectors: Vec<u32>,
    /// Writable memory: address and size, at least 4096 bytes; `None`: no memory ops.
    pub memory: Option<(u64, u64)>,
    /// Memory ops sometimes use any address at all, and divisions may trap.
    pub faults: bool,
    /// Partial accesses at odd places inside registers, beyond what a lifter makes.
    pub odd_slots: bool,
    /// 256-bit values.
    pub v256: bool,
    /// The vector ops to use.
    pub vec_ops: Vec<VecOp>,
    /// Helpers to call, by number.
    pub helpers: Vec<u16>,
    /// Addresses of u64 cells for counters.
    pub counters: Vec<usize>,
}

impl Recipe {
    /// Integer code without memory on the integer slots given.
    pub fn integer(ints: Vec<u32>) -> Recipe {
        Recipe {
            pc: 0x40_0000,
            max_insns: 8,
            ints,
            vectors: Vec::new(),
            memory: None,
            faults: false,
            odd_slots: false,
            v256: false,
            vec_ops: Vec::new(),
            helpers: Vec::new(),
            counters: Vec::new(),
        }
    }

    /// The block that `rng` determines.
    ///
    /// # Panics
    /// When there are no integer slots.
    pub fn block(&self, rng: &mut Rng, target: &(impl Target + ?Sized)) -> Block {
        assert!(!self.ints.is_empty(), "a recipe needs integer slots");
        let mut g = Generator {
            recipe: self,
            rng,
            b: Builder::new(self.pc),
            counters: Vec::new(),
            dirty: false,
        };
        let mut pc = self.pc;
        for _ in 0..=g.rng.below(self.max_insns) {
            let len = 1 + g.rng.below(15);
            g.insn(pc, len as u8, target);
            pc = pc.wrapping_add(len);
        }
        g.terminator(pc);
        let Generator { b, counters, .. } = g;
        let mut block = b.finish();
        block.counters = counters;
        block
    }
}

const INTS: [Ty; 4] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64];

const BINARY: [Op; 8] =
    [Op::Add, Op::Sub, Op::And, Op::Or, Op::Xor, Op::Mul, Op::MulHiU, Op::MulHiS];
const SHIFTS: [Op; 5] = [Op::Shl, Op::Shr, Op::Sar, Op::Rol, Op::Ror];
const UNARY: [Op; 6] = [Op::Not, Op::Neg, Op::Bswap, Op::Clz, Op::Ctz, Op::Popcnt];
const DIVISIONS: [Op; 4] = [Op::DivU, Op::RemU, Op::DivS, Op::RemS];
const COMPARISONS: [Cond; 10] =
    [Cond::B, Cond::Ae, Cond::E, Cond::Ne, Cond::Be, Cond::A, Cond::L, Cond::Ge, Cond::Le, Cond::G];

struct Generator<'a> {
    recipe: &'a Recipe,
    rng: &'a mut Rng,
    b: Builder,
    counters: Vec<CounterSite>,
    /// The current instruction has changed state: nothing that may fault from here on.
    dirty: bool,
}

impl Generator<'_> {
    fn insn(&mut self, pc: u64, len: u8, target: &(impl Target + ?Sized)) {
        self.b.insn_start(pc, len);
        self.dirty = false;
        if !self.recipe.counters.is_empty() && self.rng.one_in(4) {
            self.counter();
        }
        for _ in 0..self.rng.below(5) {
            if self.rng.one_in(3) { self.fallible() } else { self.pure() }
        }
        if self.rng.one_in(4) {
            self.write_memory();
        }
        if !self.recipe.helpers.is_empty() && self.rng.one_in(4) {
            self.call(target);
        }
        for _ in 0..1 + self.rng.below(4) {
            match self.rng.below(4) {
                0 => self.pure(),
                1 => self.define_flags(),
                _ => self.put(),
            }
        }
        if self.rng.one_in(5) {
            let cond = self.condition();
            let pc = self.target_pc();
            self.b.exit_if(cond, pc);
        }
    }

    fn terminator(&mut self, next: u64) {
        if self.rng.one_in(3) {
            let kind = self.rng.pick(&JumpKind::ALL);
            let ty = self.rng.pick(&[Ty::I32, Ty::I64]);
            let to = self.value(ty);
            self.b.jump_ind(kind, to);
        } else if self.rng.one_in(6) {
            let trap = self.rng.pick(&[TrapKind::Syscall, TrapKind::Breakpoint]);
            self.b.trap(trap, next);
        } else {
            let kind = self.rng.pick(&JumpKind::ALL);
            let pc = self.target_pc();
            if kind == JumpKind::Call {
                self.b.return_hint(next);
            }
            self.b.jump(kind, pc);
        }
    }

    fn target_pc(&mut self) -> u64 {
        self.recipe.pc.wrapping_add(0x1000 * self.rng.below(8))
    }

    fn counter(&mut self) {
        let cell = self.rng.pick(&self.recipe.counters);
        let mut i = Inst::new(Op::Counter, Ty::I64);
        i.imm = self.counters.len() as u64;
        self.counters.push(CounterSite { cell, amount: self.rng.below(4) });
        self.b.push(i);
    }

    /// An earlier value of the type, recent ones more likely.
    fn earlier(&mut self, ty: Ty) -> Option<Val> {
        let len = self.b.len() as u64;
        let window = len.min(4 + self.rng.below(40));
        (0..6).find_map(|_| {
            let back = self.rng.below(window);
            let v = Val((len - 1 - back) as u16);
            (self.b.def(v).result_ty() == Some(ty)).then_some(v)
        })
    }

    /// A value of the type: an earlier one, a register, or a constant.
    fn value(&mut self, ty: Ty) -> Val {
        if let Some(v) = self.earlier(ty)
            && !self.rng.one_in(4)
        {
            return v;
        }
        if !ty.is_int() {
            if self.rng.one_in(6) {
                let mut i = Inst::new(Op::Const, ty);
                i.imm = self.rng.value();
                return self.b.push(i);
            }
            let slot = self.rng.pick(&self.recipe.vectors);
            return self.b.get(ty, slot);
        }
        if self.rng.one_in(6) {
            let imm = self.rng.value();
            return self.b.iconst(ty, imm);
        }
        let slot = self.int_slot(ty);
        self.b.get(ty, slot)
    }

    /// A place for an access of the type in an integer register.
    fn int_slot(&mut self, ty: Ty) -> u32 {
        let slot = self.rng.pick(&self.recipe.ints);
        let second_byte = ty == Ty::I8 && self.rng.one_in(4);
        if second_byte {
            slot + 1
        } else if self.recipe.odd_slots && ty < Ty::I32 && self.rng.one_in(3) {
            slot + self.rng.below(u64::from(9 - ty.bytes())) as u32
        } else {
            slot
        }
    }

    fn rhs(&mut self, ty: Ty) -> Operand {
        if self.rng.one_in(3) {
            Operand::Imm(self.rng.value() & ty.mask())
        } else {
            Operand::Val(self.value(ty))
        }
    }

    /// Something to test: a flag condition or a comparison, 0 or 1.
    fn condition(&mut self) -> Val {
        if self.rng.one_in(2) {
            let cond = self.rng.pick(&Cond::ALL);
            return self.b.flags_cond(cond);
        }
        let ty = self.rng.pick(&INTS);
        let a = self.value(ty);
        let b = self.rhs(ty);
        let cond = self.rng.pick(&COMPARISONS);
        self.b.cmp(cond, ty, a, b)
    }

    /// Appends an op without effects.
    fn pure(&mut self) {
        let ty = self.rng.pick(&INTS);
        match self.rng.below(12) {
            0..=3 => {
                let op = self.rng.pick(&BINARY);
                let a = self.value(ty);
                let b = self.rhs(ty);
                self.b.bin(op, ty, a, b);
            }
            4 => {
                let op = self.rng.pick(&SHIFTS);
                let a = self.value(ty);
                let n = self.rhs(Ty::I8);
                self.b.bin(op, ty, a, n);
            }
            5 => {
                let op = self.rng.pick(&UNARY);
                let ty = if op == Op::Bswap && ty == Ty::I8 { Ty::I32 } else { ty };
                let a = self.value(ty);
                self.b.un(op, ty, a);
            }
            6 => {
                let from = self.rng.pick(&INTS);
                let a = self.value(from);
                let op = if ty < from { Op::Trunc } else { self.rng.pick(&[Op::Zext, Op::Sext]) };
                self.b.convert(op, from, ty, a);
            }
            7 => {
                self.condition();
            }
            8 => {
                let cond = self.condition();
                let ty = if self.recipe.vectors.is_empty() { ty } else { self.any_type() };
                let (x, y) = (self.value(ty), self.value(ty));
                self.b.select(ty, cond, x, y);
            }
            9 => {
                let ty = self.rng.pick(&[Ty::I32, Ty::I64]);
                let m = Addr {
                    index: if self.rng.one_in(2) { self.value(ty) } else { Val::NONE },
                    disp: self.rng.value() as i32,
                    ..Addr::base(self.value(ty))
                };
                let shift = if m.index.is_some() { self.rng.below(4) as u8 } else { 0 };
                self.b.lea(ty, Addr { shift, ..m });
            }
            10 => {
                let mask = self.rng.bits() as u16 & flags::ALL;
                self.b.flags_get(mask);
            }
            _ => self.vector(false),
        }
    }

    fn any_type(&mut self) -> Ty {
        match (self.recipe.vectors.is_empty(), self.recipe.v256) {
            (true, _) => self.rng.pick(&INTS),
            (false, false) => self.rng.pick(&Ty::ALL[..5]),
            (false, true) => self.rng.pick(&Ty::ALL),
        }
    }

    /// A random vector op, if the recipe has any.
    fn vector(&mut self, may_fault: bool) {
        if self.recipe.vectors.is_empty() || self.recipe.vec_ops.is_empty() {
            return;
        }
        let op = self.rng.pick(&self.recipe.vec_ops);
        if op.uses_mxcsr() && !may_fault {
            return;
        }
        let v = match op.len() {
            VecLen::Both if self.recipe.v256 => self.rng.pick(&[Ty::V128, Ty::V256]),
            VecLen::Ymm if self.recipe.v256 => Ty::V256,
            VecLen::Ymm => return,
            _ => Ty::V128,
        };
        if self.recipe.v256 && self.rng.one_in(4) {
            let a = self.value(Ty::V128);
            self.b.convert(Op::Zext, Ty::V128, Ty::V256, a);
        }
        let width = op.encoding().w;
        let int = match width {
            VecWidth::W0 => Ty::I32,
            VecWidth::W1 => Ty::I64,
            VecWidth::ByType => self.rng.pick(&[Ty::I32, Ty::I64]),
        };
        let imm = self.rng.bits() as u8;
        let none = Val::NONE;
        match op.sig() {
            VecSig::Widen => {
                let a = self.value(Ty::V128);
                self.b.vec(op, v, a, none, none, 0);
            }
            VecSig::Narrow => {
                let a = self.value(v);
                self.b.vec(op, Ty::V128, a, none, none, 0);
            }
            VecSig::NarrowImm => {
                let a = self.value(v);
                self.b.vec(op, Ty::V128, a, none, none, imm);
            }
            VecSig::Shift => {
                let (a, b) = (self.value(v), self.value(Ty::V128));
                self.b.vec(op, v, a, b, none, 0);
            }
            VecSig::Insert => {
                let (a, b) = (self.value(v), self.value(Ty::V128));
                self.b.vec(op, v, a, b, none, imm);
            }
            VecSig::V => {
                let a = self.value(v);
                self.b.vec(op, v, a, none, none, 0);
            }
            VecSig::VImm => {
                let a = self.value(v);
                self.b.vec(op, v, a, none, none, imm);
            }
            VecSig::VV => {
                let (a, b) = (self.value(v), self.value(v));
                self.b.vec(op, v, a, b, none, 0);
            }
            VecSig::VVImm => {
                let (a, b) = (self.value(v), self.value(v));
                self.b.vec(op, v, a, b, none, imm);
            }
            VecSig::VVV => {
                let (a, b, c) = (self.value(v), self.value(v), self.value(v));
                self.b.vec(op, v, a, b, c, 0);
            }
            VecSig::ToInt => {
                let a = self.value(v);
                self.b.vec(op, int, a, none, none, 0);
            }
            VecSig::ToIntImm => {
                let a = self.value(v);
                self.b.vec(op, int, a, none, none, imm);
            }
            VecSig::VInt => {
                let (a, b) = (self.value(v), self.value(int));
                self.b.vec(op, v, a, b, none, 0);
            }
            VecSig::VIntImm => {
                let (a, b) = (self.value(v), self.value(int));
                self.b.vec(op, v, a, b, none, imm);
            }
            VecSig::FromInt => {
                let a = self.value(int);
                self.b.vec(op, v, a, none, none, 0);
            }
            VecSig::Flags => {
                let (a, b) = (self.value(v), self.value(v));
                self.b.vec(op, Ty::I64, a, b, none, 0);
            }
        }
    }

    /// An address operand with room for `ty`.
    fn address(&mut self, (start, size): (u64, u64)) -> Addr {
        let aligned = self.rng.one_in(8);
        if self.recipe.faults && self.rng.one_in(8) {
            let base = self.value(Ty::I64);
            return Addr { aligned, ..Addr::base(base) };
        }
        // index << shift stays below half of the memory, displacement and access in the rest.
        let shift = self.rng.below(4) as u8;
        let half = 1u64 << (63 - (size / 2).leading_zeros());
        let raw = self.value(Ty::I64);
        let low = if aligned && !self.recipe.faults { 31 } else { 0 };
        let index = self.b.bin(Op::And, Ty::I64, raw, ((half >> shift) - 1) & !low);
        let disp = self.rng.below(size / 2 - 64) & !low;
        if self.rng.one_in(2) && start < 1 << 31 {
            let disp = (start + disp) as i32;
            let wrap32 = self.rng.one_in(2);
            return Addr { base: Val::NONE, index, shift, disp, wrap32, aligned };
        }
        let base = self.b.iconst(Ty::I64, start);
        Addr { base, index, shift, disp: disp as i32, wrap32: false, aligned }
    }

    /// An op that may fault and changes nothing.
    fn fallible(&mut self) {
        match (self.rng.below(4), self.recipe.memory) {
            (0, _) if self.recipe.faults => self.divide(),
            (1, _) => self.vector(true),
            (2.., Some(memory)) => {
                let ty = self.any_type();
                let m = self.address(memory);
                if self.rng.one_in(6) {
                    self.b.probe_write(ty, m);
                } else {
                    self.b.load(ty, m);
                }
            }
            _ => self.pure(),
        }
    }

    fn divide(&mut self) {
        let ty = self.rng.pick(&INTS);
        let op = self.rng.pick(&DIVISIONS);
        let lo = self.value(ty);
        // As a rule a high half that only extends the low one, so that most divisions succeed.
        let hi = match self.rng.below(4) {
            0 => self.value(ty),
            1 => self.b.bin(Op::Sar, ty, lo, u64::from(ty.bits().min(32) - 1)),
            _ => self.b.iconst(ty, 0),
        };
        let d = self.value(ty);
        self.b.div(op, ty, hi, lo, d);
    }

    /// A store or an atomic, once in an instruction.
    fn write_memory(&mut self) {
        let Some(memory) = self.recipe.memory else { return };
        let m = self.address(memory);
        match self.rng.below(4) {
            0 => {
                let ty = self.rng.pick(&INTS);
                let kind = self.rng.pick(&RmwKind::ALL);
                let (addr, v) = (self.aligned(ty, m), self.value(ty));
                self.b.rmw(kind, ty, addr, v);
            }
            1 => {
                let ty = self.rng.pick(&INTS);
                let addr = self.aligned(ty, m);
                let (expected, new) = (self.value(ty), self.value(ty));
                self.b.cas(ty, addr, expected, new);
            }
            _ => {
                let ty = self.any_type();
                let v = self.value(ty);
                self.b.store(ty, m, v);
            }
        }
        self.dirty = true;
    }

    /// The address `m` rounded down: hosts may punish atomics that straddle cache lines with
    /// milliseconds of delay.
    fn aligned(&mut self, ty: Ty, m: Addr) -> Val {
        let addr = self.b.lea(Ty::I64, m);
        self.b.bin(Op::And, Ty::I64, addr, !u64::from(ty.bytes() - 1))
    }

    fn call(&mut self, target: &(impl Target + ?Sized)) {
        let helper = self.rng.pick(&self.recipe.helpers);
        let Some(effects) = target.helper_effects(helper) else { return };
        if effects.traps && self.dirty {
            return;
        }
        let args: Vec<Val> = (0..self.rng.below(5))
            .map(|_| {
                let ty = self.rng.pick(&INTS);
                self.value(ty)
            })
            .collect();
        let ty = self.rng.pick(&INTS);
        self.b.call(ty, helper, &args);
        self.dirty |= effects.writes;
    }

    fn put(&mut self) {
        let ty = self.any_type();
        let v = self.value(ty);
        let slot =
            if ty.is_int() { self.int_slot(ty) } else { self.rng.pick(&self.recipe.vectors) };
        self.b.put(ty, slot, v);
        self.dirty = true;
    }

    /// A flag definition as lifters make them: counts are masked, carries are 0 or 1.
    fn define_flags(&mut self) {
        let kind = self.rng.pick(&FlagKind::ALL);
        let ty = if kind == FlagKind::Raw { Ty::I64 } else { self.rng.pick(&INTS) };
        let a = self.value(ty);
        let b = if kind.void_if_zero_count() {
            let mask = if ty == Ty::I64 { 63 } else { 31 };
            if self.rng.one_in(2) {
                Operand::Imm(self.rng.below(mask + 1) & ty.mask())
            } else {
                let n = self.value(Ty::I8);
                Operand::Val(self.b.bin(Op::And, Ty::I8, n, mask))
            }
        } else {
            self.rhs(ty)
        };
        let c = match kind {
            FlagKind::Adc | FlagKind::Sbb => {
                if self.rng.one_in(2) {
                    self.b.flags_cond(Cond::B)
                } else {
                    self.b.flags_get(flags::CF)
                }
            }
            _ if kind.keeps() != 0 => self.b.flags_get(kind.keeps()),
            _ => Val::NONE,
        };
        self.b.flags_set(kind, ty, a, b, c);
        self.dirty = true;
        if self.rng.one_in(2) {
            let cond = self.rng.pick(&Cond::ALL);
            let r = self.b.flags_cond(cond);
            let slot = self.int_slot(Ty::I8);
            self.b.put(Ty::I8, slot, r);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effects, PlainTarget, text, verify};

    static TARGET: PlainTarget = PlainTarget {
        helpers: &[
            ("pure", Effects::PURE),
            ("state", Effects::STATE),
            ("full", Effects::FULL),
            ("reads", Effects::READS),
        ],
    };

    fn rich() -> Recipe {
        Recipe {
            vectors: vec![PlainTarget::reg(8), PlainTarget::reg(12)],
            memory: Some((0x1_0000, 0x2000)),
            faults: true,
            odd_slots: true,
            v256: true,
            vec_ops: VecOp::ALL.to_vec(),
            helpers: vec![0, 1, 2, 3],
            counters: vec![0x1000, 0x1008],
            ..Recipe::integer((0..8).map(PlainTarget::reg).collect())
        }
    }

    #[test]
    fn random_blocks_are_valid_and_survive_printing() {
        for seed in 0..3000 {
            let mut recipe = rich();
            if seed % 3 == 0 {
                recipe = Recipe::integer(recipe.ints);
            }
            let block = recipe.block(&mut Rng(seed), &TARGET);
            let printed = text::print(&block, &TARGET).to_string();
            if let Err(e) = verify(&block, &TARGET) {
                panic!("seed {seed}: {e}\n{printed}");
            }
            match text::parse(&printed, &TARGET) {
                Ok(parsed) => assert_eq!(parsed, block, "seed {seed}\n{printed}"),
                Err(e) => panic!("seed {seed}: {e}\n{printed}"),
            }
        }
    }

    #[test]
    fn random_blocks_use_every_op() {
        let mut seen = [false; Op::COUNT];
        for seed in 0..500 {
            for i in rich().block(&mut Rng(seed), &TARGET).insts {
                seen[i.op as usize] = true;
            }
        }
        // Hooks need an engine, fences have no effect to compare.
        for op in [Op::Hook, Op::Fence] {
            seen[op as usize] = true;
        }
        let unused: Vec<usize> = (0..Op::COUNT).filter(|&n| !seen[n]).collect();
        assert_eq!(unused, [0usize; 0], "numbers of the ops never generated");
    }
}
