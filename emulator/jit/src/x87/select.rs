//! Which helper calls of a block become the host's x87 instructions.

use emu_cpu::{HelperDesc, X87Op, X87Unit, X87Use};
use emu_ir::{Block, Inst, Op, Ty};

/// What moving the state to and fro costs, in units of what a helper costs more than an
/// instruction.
const MOVE_COST: usize = 6;

/// Whether a get or put touches what instructions change.
pub fn overlaps(unit: &X87Unit, i: &Inst) -> bool {
    let end = i.imm.saturating_add(u64::from(i.ty.bytes()));
    i.imm < u64::from(unit.slots.end) && end > u64::from(unit.slots.start)
}

/// What becomes of a block's ops.
#[derive(Debug, Default)]
pub struct Selection {
    any: bool,
    native: Vec<Option<X87Op>>,
    folded: Vec<bool>,
    /// The 8-byte units that the instructions use.
    units: core::ops::Range<usize>,
}

impl Selection {
    /// Decides for `block`: all x87 instructions or none, by how often something else would want
    /// the state.
    pub fn select(&mut self, block: &Block, helpers: &[HelperDesc], unit: Option<&X87Unit>) {
        self.any = false;
        let Some(unit) = unit else { return };
        let helper = |i: &Inst| helpers.get(usize::from(i.sub));
        let (mut count, mut moves) = (0, 0);
        // Blocks that loop end as they begin.
        let mut in_host = true;
        for i in &block.insts {
            let wanted = match i.op {
                Op::Call => match helper(i).map(|h| h.x87) {
                    Some(X87Use::Op(_)) => {
                        count += 1;
                        true
                    }
                    Some(X87Use::Nothing) => continue,
                    _ => false,
                },
                Op::Hook => false,
                Op::Get | Op::Put if overlaps(unit, i) => false,
                _ => continue,
            };
            moves += usize::from(wanted != in_host);
            in_host = wanted;
        }
        self.any = count > 0 && moves * MOVE_COST <= count;
        if self.any {
            self.native.clear();
            self.native.extend(block.insts.iter().map(|i| match i.op {
                Op::Call => helper(i).and_then(|h| h.x87.op()),
                _ => None,
            }));
            self.folded.clear();
            self.folded.resize(block.insts.len(), false);
            self.units = (unit.slots.start / 8) as usize..unit.slots.end.div_ceil(8) as usize;
        }
    }

    /// The instruction that op `at` becomes.
    pub fn native(&self, at: usize) -> Option<X87Op> {
        if self.any { self.native[at] } else { None }
    }

    /// Whether op `at` is left to the instruction that uses it.
    pub fn is_folded(&self, at: usize) -> bool {
        self.any && self.folded[at]
    }

    /// The 8-byte units that instructions use.
    pub fn units(&self) -> core::ops::Range<usize> {
        self.units.clone()
    }

    /// On the backward pass, once the uses of op `at` are known: leaves a load or an address to the
    /// instruction that alone uses it.
    pub fn fold(&mut self, block: &Block, at: usize, uses: &[u16], users: &[u16]) {
        if !self.any {
            return;
        }
        let i = &block.insts[at];
        let only_user = |v: usize| (uses[v] == 1).then(|| usize::from(users[v]));
        let Some(mut user) = only_user(at) else { return };
        let mut value = at;
        let wanted = match i.op {
            Op::Load if i.ty.is_int() && !i.mem().aligned => X87Op::Source,
            Op::Lea => {
                let u = &block.insts[user];
                if u.op == Op::Zext && i.ty == Ty::I32 {
                    value = user;
                    match only_user(value) {
                        Some(next) => user = next,
                        None => return,
                    }
                }
                X87Op::Address
            }
            _ => return,
        };
        // A load moves down to the instruction.
        let quiet = |i: &Inst| i.op.defines() && !i.op.may_fault() && i.op != Op::Call;
        if self.native[user] == Some(wanted)
            && block.insts[user].a.index() == value
            && (i.op == Op::Lea || block.insts[at + 1..user].iter().all(quiet))
        {
            self.folded[at] = true;
            self.folded[value] = true;
        }
    }
}
