//! Random blocks that pass the verifier, for tests that compare tiers or passes.
//!
//! The blocks are small programs of guest instructions: each reads slots and memory, computes,
//! then stores, writes slots and defines flags, in the order the verifier asks for. The same seed
//! and [`Recipe`] give the same block.

mod effects;
mod generator;

use crate::{Block, Builder, Target, VecOp};
use generator::Generator;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effects, Op, PlainTarget, text, verify};

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
