//! Passes over one block.
//!
//! [`Optimizer::run`] is what translation uses: a forward sweep ([`Pass::Forward`]) that reuses
//! known register values, folds constants and turns flag conditions into comparisons, then a
//! backward sweep ([`Pass::Dead`]) that removes flag definitions and values nothing reads, with
//! the renumbering this needs. A pass takes a verified block and leaves a verified block with the
//! same effects in the same order; state is exact at every exit, at every op that may fault, and
//! wherever a hook or a helper looks at it.

mod dead;
mod fold;
mod forward;
mod slots;

use crate::inst::ValTable;
use crate::{Block, HookSite, Op, Target, Val};

/// A pass by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// Value forwarding, constant folding, flag conditions as comparisons.
    Forward,
    /// Removal of dead flag definitions and dead values.
    Dead,
    /// Both, in that order.
    All,
}

impl Pass {
    /// Name in tests and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Dead => "dead",
            Pass::All => "all",
        }
    }

    /// The pass with that name.
    pub fn from_name(name: &str) -> Option<Pass> {
        [Pass::Forward, Pass::Dead, Pass::All].into_iter().find(|p| p.name() == name)
    }
}

/// Runs passes, keeping their buffers between blocks.
#[derive(Debug, Default)]
pub struct Optimizer {
    forward: forward::Forward,
    dead: dead::Dead,
}

impl Optimizer {
    /// Optimises a verified block.
    pub fn run(&mut self, block: &mut Block, target: &(impl Target + ?Sized)) {
        self.run_pass(Pass::All, block, target);
    }

    /// Says whether vector ops that use MXCSR may trap, so that whoever handles that sees the flags
    /// they find. At first they may not.
    pub fn set_vector_traps(&mut self, on: bool) {
        self.dead.vector_traps = on;
    }

    /// Runs one pass on a verified block.
    pub fn run_pass(&mut self, pass: Pass, block: &mut Block, target: &(impl Target + ?Sized)) {
        if pass != Pass::Dead {
            self.forward.run(block, target);
        }
        if pass != Pass::Forward {
            self.dead.run(block, target);
        }
    }
}

/// Optimises a single verified block; see [`Optimizer`] for many.
pub fn optimize(block: &mut Block, target: &(impl Target + ?Sized)) {
    Optimizer::default().run(block, target);
}

/// A table with an entry for every value number. Zeroed memory comes fresh from the system, so only
/// the pages in use are ever touched.
fn val_table<T: core::fmt::Debug>(zeroed: Vec<T>) -> Box<ValTable<T>> {
    match zeroed.into_boxed_slice().try_into() {
        Ok(table) => table,
        Err(_) => unreachable!("the vector has that length"),
    }
}

/// A table of value numbers whose entry for [`Val::NONE`] is [`Val::NONE`]; the others are to be
/// written before they are read.
fn number_table() -> Box<ValTable<u16>> {
    let mut table = val_table(vec![0; 1 << 16]);
    table[Val::NONE.index()] = Val::NONE.0;
    table
}

/// What a helper call or a hook does to the state a pass tracks.
#[derive(Clone, Copy)]
struct Touch {
    reads: bool,
    writes: bool,
}

/// How op `i` touches state other than by naming it; `None` for ops that do not.
fn touch(hooks: &[HookSite], i: &crate::Inst, target: &(impl Target + ?Sized)) -> Option<Touch> {
    match i.op {
        Op::Call => Some(match target.helper_effects(i.sub) {
            // A helper that traps shows the state it found.
            Some(e) => Touch { reads: e.reads || e.traps, writes: e.writes },
            None => Touch { reads: true, writes: true },
        }),
        Op::Hook => Some(match hooks.get(i.imm as usize) {
            Some(h) => Touch { reads: h.reads_regs || h.writes_regs, writes: h.writes_regs },
            None => Touch { reads: true, writes: true },
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recipe, Rng};
    use crate::{PlainTarget, text, verify};

    #[test]
    fn passes_keep_blocks_valid_and_settle() {
        let mut recipe = Recipe::integer((0..8).map(PlainTarget::reg).collect());
        recipe.memory = Some((0x1_0000, 0x2000));
        recipe.odd_slots = true;
        let target = PlainTarget::BARE;
        let mut optimizer = Optimizer::default();
        let mut removed = 0;
        for seed in 0..2000 {
            let before = recipe.block(&mut Rng(seed), &target);
            let mut after = before.clone();
            optimizer.run(&mut after, &target);
            if let Err(e) = verify(&after, &target) {
                panic!(
                    "seed {seed}: {e}\n{}{}",
                    text::print(&before, &target),
                    text::print(&after, &target)
                );
            }
            removed += before.insts.len() - after.insts.len();
        }
        assert!(removed > 10_000, "{removed} ops removed");
    }
}
