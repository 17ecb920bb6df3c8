//! The backward pass before emission: what is needed, how often, and what comes next.

use emu_cpu::{HelperDesc, X87Op, slots};
use emu_ir::{Block, HookKind, Op, Ty, Val, When};

use crate::Unsupported;
use crate::pins::{LONG, VectorPins, Vectors};
use crate::slots::WIDE_END;
use crate::x87::Selection;

const BAD: Unsupported = Unsupported::Malformed;

/// "None" in the tables below.
pub const NEVER: u16 = u16::MAX;

/// The next access to a slot: an op index, and whether it overwrites the slot without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Next(u16);

impl Next {
    const KILL: u16 = 0x8000;
    /// No further access in this block.
    pub const NONE: Next = Next(0x7fff);

    fn new(at: u16, kill: bool) -> Next {
        Next(at | if kill { Next::KILL } else { 0 })
    }

    /// The same access, of which is only known that it may read.
    pub fn without_kill(self) -> Next {
        Next::new(self.at(), false)
    }

    /// Op index, or more than any.
    pub fn at(self) -> u16 {
        self.0 & !Next::KILL
    }

    /// The access is a full overwrite.
    pub fn kill(self) -> bool {
        self.0 & Next::KILL != 0
    }

    /// For a slot of two parts.
    pub fn join(self, other: Next) -> Next {
        // Dead only once all of it is overwritten.
        if self.kill() && other.kill() {
            Next::new(self.at().max(other.at()), true)
        } else {
            Next::new(self.at().min(other.at()), false)
        }
    }
}

/// Facts about the block being compiled, one entry per op; the buffers are reused.
#[derive(Debug, Default)]
pub struct Analysis {
    /// The op must be executed.
    pub live: Vec<bool>,
    /// Uses of the op's value by live ops.
    pub uses: Vec<u16>,
    /// The first live op that uses the value.
    pub user: Vec<u16>,
    /// For accesses to slots and flags: the access after this one.
    pub next: Vec<Next>,
    /// The first op at or after this one that can observe the guest state.
    pub observer: Vec<u16>,
    /// The block calls out, so callee-saved registers are worth more.
    pub calls: bool,
    /// For values that are put into a slot: the slot's unit. 0 for others.
    pub put_unit: Vec<u16>,
    /// Vector slots whose lower half, or all, the block accesses as a whole, and only so.
    pub vectors: Vectors,
    /// The first op that calls out, or [`NEVER`].
    pub first_call: u16,
    /// At the start of the block: the first access to each unit.
    pub units: Vec<Next>,
    /// Ops that use MXCSR may trap; set before the pass.
    pub simd_traps: bool,
    /// Helper calls that become x87 instructions; chosen before the pass.
    pub x87: Selection,
}

/// What a slot access covers: first and last 8-byte unit, and whether it fills them.
fn cover(ty: Ty, slot: u64, put: bool) -> (usize, usize, bool) {
    let bytes = match ty {
        Ty::I32 if put => 8,
        _ => u64::from(ty.bytes()),
    };
    let last = (slot + bytes - 1) / 8;
    ((slot / 8) as usize, last as usize, slot.is_multiple_of(8) && bytes.is_multiple_of(8))
}

/// Units below this are those of the header and the general registers.
const WIDE_UNITS: usize = (WIDE_END / 8) as usize;

/// The unit of the first flag field.
pub const FLAG_UNIT: usize = (slots::FLAGS_KIND / 8) as usize;

impl Analysis {
    /// Analyses `block` for a CPU structure of `cpu_bytes` bytes, and checks what emission relies
    /// on: operands are values defined earlier, numbers name something, only the last op is a
    /// terminator.
    pub fn run(
        &mut self,
        block: &Block,
        helpers: &[HelperDesc],
        cpu_bytes: usize,
        pins: &VectorPins,
    ) -> Result<(), Unsupported> {
        let n = block.insts.len();
        self.live.clear();
        self.live.resize(n, false);
        self.uses.clear();
        self.uses.resize(n, 0);
        self.user.clear();
        self.user.resize(n, NEVER);
        self.put_unit.clear();
        self.put_unit.resize(n, 0);
        self.next.clear();
        self.next.resize(n, Next::NONE);
        self.observer.clear();
        self.observer.resize(n + 1, NEVER);
        self.units.clear();
        self.units.resize(cpu_bytes / 8 + 8, Next::NONE);
        self.calls = false;
        self.vectors = 0;
        self.first_call = NEVER;
        // What is done to vector slots: parts accessed, low and upper halves written or read.
        let (mut partly, mut upper): (Vectors, Vectors) = (0, 0);
        let (mut low, mut low_put, mut whole): (Vectors, Vectors, Vectors) = (0, 0, 0);
        let mut observer = NEVER;
        let mut flags_live = true;
        for i in (0..n).rev() {
            let inst = &block.insts[i];
            let at = i as u16;
            let (observes, live) = match inst.op {
                Op::Call if self.x87.native(i).is_some() => {
                    self.units[self.x87.units()].fill(Next::new(at, false));
                    (true, true)
                }
                Op::Call => {
                    self.calls = true;
                    self.first_call = at;
                    let helper = helpers.get(usize::from(inst.sub)).ok_or(BAD)?;
                    let e = helper.effects;
                    if e.writes {
                        // What comes after reads what the helper wrote, so before it nothing is
                        // known to be overwritten.
                        self.units.fill(Next::NONE);
                    }
                    (e.reads || e.writes || e.traps, true)
                }
                Op::Hook => {
                    let site = block.hooks.get(inst.imm as usize).ok_or(BAD)?;
                    // What is not due leaves registers alone.
                    if site.when == When::ALWAYS || site.writes_regs {
                        self.calls = true;
                        self.first_call = at;
                    }
                    if site.writes_regs {
                        self.units.fill(Next::NONE);
                    }
                    (observes(site.kind, site.reads_regs || site.writes_regs), true)
                }
                Op::Jump | Op::JumpInd | Op::Trap if i + 1 != n => return Err(BAD),
                Op::ExitIf if inst.exit_counts().end > block.counters.len() && inst.sub != 0 => {
                    return Err(BAD);
                }
                Op::Jump | Op::JumpInd | Op::Trap | Op::ExitIf => (true, true),
                Op::Counter if inst.imm as usize >= block.counters.len() => return Err(BAD),
                Op::Load
                | Op::Store
                | Op::ProbeWrite
                | Op::AtomicRmw
                | Op::AtomicCas
                | Op::DivU
                | Op::RemU
                | Op::DivS
                | Op::RemS => (true, true),
                Op::Vec => (self.simd_traps && inst.vec_op().uses_mxcsr(), true),
                Op::Put | Op::Fence | Op::InsnStart | Op::Counter => (false, true),
                Op::FlagsSet => {
                    let void = inst.flag_kind().void_if_zero_count()
                        && !inst.b.is_some()
                        && inst.imm & 0xff == 0;
                    (false, flags_live && !void)
                }
                Op::ReturnHint => (false, false),
                _ => (false, self.uses[i] > 0),
            };
            if observes {
                observer = at;
                flags_live = true;
            }
            self.observer[i] = observer;
            self.live[i] = live;
            if !live {
                continue;
            }
            match inst.op {
                Op::Get | Op::Put => {
                    let end = inst.imm.saturating_add(u64::from(inst.ty.bytes().max(8)));
                    if end > cpu_bytes as u64 {
                        return Err(BAD);
                    }
                    let put = inst.op == Op::Put;
                    let (first, last, full) = cover(inst.ty, inst.imm, put);
                    let mut next = self.units[first];
                    for u in first..=last {
                        next = next.join(self.units[u]);
                        self.units[u] = Next::new(at, put && full);
                    }
                    self.next[i] = next;
                    if last >= WIDE_UNITS {
                        for u in first..=last {
                            // A vector register has four units.
                            if let Some(n) = pins.number(u & !3) {
                                let bit = 1 << n;
                                match (inst.ty, first & 3) {
                                    (Ty::V128, 0) => {
                                        low |= bit;
                                        low_put |= if put { bit } else { 0 };
                                    }
                                    (Ty::V128, 2) => upper |= bit,
                                    (Ty::V256, 0) => whole |= bit,
                                    _ => partly |= bit,
                                }
                            }
                        }
                    }
                    if put && inst.a.index() < i {
                        self.put_unit[inst.a.index()] = first as u16;
                    }
                    if first <= FLAG_UNIT + 3 && last >= FLAG_UNIT {
                        flags_live = true;
                    }
                }
                Op::FlagsSet => {
                    let maybe_void = inst.flag_kind().void_if_zero_count() && inst.b.is_some();
                    let next = Next::new(at, !maybe_void);
                    self.next[i] = self.units[FLAG_UNIT];
                    self.units[FLAG_UNIT..FLAG_UNIT + 4].fill(next);
                    flags_live = maybe_void;
                }
                Op::FlagsCond | Op::FlagsGet => {
                    self.next[i] = self.units[FLAG_UNIT];
                    self.units[FLAG_UNIT..FLAG_UNIT + 4].fill(Next::new(at, false));
                    flags_live = true;
                }
                _ => {}
            }
            self.x87.fold(block, i, &self.uses, &self.user);
            let mut ok = true;
            // The address of a source is no operand of the instruction.
            let unused = if self.x87.native(i) == Some(X87Op::Source) { inst.b } else { Val::NONE };
            inst.for_each_operand(|v: Val| {
                if v == unused {
                    return;
                }
                let v = v.index();
                if v >= i || !block.insts[v].op.defines() {
                    ok = false;
                    return;
                }
                self.uses[v] += 1;
                self.user[v] = at;
            });
            if !ok {
                return Err(BAD);
            }
        }
        // A slot whose upper half matters is kept whole, if it is only written so.
        self.vectors = low & !(whole | partly) | (whole & !(low_put | upper | partly)) << LONG;
        Ok(())
    }

    /// Whether the content of a slot whose next access is `next` is needed after op `at` (which
    /// has been executed): false when it is overwritten before anything reads or observes it.
    pub fn dead_after(&self, next: Next, at: usize) -> bool {
        next.kill() && self.observer[at + 1] >= next.at()
    }
}

fn observes(kind: HookKind, regs: bool) -> bool {
    regs || matches!(kind, HookKind::AfterBlock)
}
