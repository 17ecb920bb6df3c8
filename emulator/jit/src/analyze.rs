//! The backward pass before emission: what is needed, how often, and what comes next.

use emu_cpu::{HelperDesc, slots};
use emu_ir::{Block, HookKind, Op, Ty, Val};

/// "None" in the tables below.
pub const NEVER: u16 = u16::MAX;

/// The next access to a slot: an op index, and whether it overwrites the slot without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Next {
    /// Op index or [`NEVER`].
    pub at: u16,
    /// The access is a full overwrite.
    pub kill: bool,
}

impl Next {
    /// No further access in this block.
    pub const NONE: Next = Next { at: NEVER, kill: false };
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
    units: Vec<Next>,
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

/// The unit of the first flag field.
pub const FLAG_UNIT: usize = (slots::FLAGS_KIND / 8) as usize;

impl Analysis {
    /// Analyses `block` for a CPU structure of `cpu_bytes` bytes.
    pub fn run(&mut self, block: &Block, helpers: &[HelperDesc], cpu_bytes: usize) {
        let n = block.insts.len();
        self.live.clear();
        self.live.resize(n, false);
        self.uses.clear();
        self.uses.resize(n, 0);
        self.user.clear();
        self.user.resize(n, NEVER);
        self.next.clear();
        self.next.resize(n, Next::NONE);
        self.observer.clear();
        self.observer.resize(n + 1, NEVER);
        self.units.clear();
        self.units.resize(cpu_bytes / 8 + 8, Next::NONE);
        self.calls = false;
        let mut observer = NEVER;
        let mut flags_live = true;
        for i in (0..n).rev() {
            let inst = &block.insts[i];
            let at = i as u16;
            let (observes, live) = match inst.op {
                Op::Call => {
                    self.calls = true;
                    let e = helpers[usize::from(inst.sub)].effects;
                    if e.writes {
                        // What comes after reads what the helper wrote, so before it nothing is
                        // known to be overwritten.
                        self.units.fill(Next::NONE);
                    }
                    (e.reads || e.writes || e.traps, true)
                }
                Op::Hook => {
                    self.calls = true;
                    let site = &block.hooks[inst.imm as usize];
                    if site.writes_regs {
                        self.units.fill(Next::NONE);
                    }
                    (observes(site.kind, site.reads_regs || site.writes_regs), true)
                }
                Op::ExitIf | Op::Jump | Op::JumpInd | Op::Trap => (true, true),
                Op::Load
                | Op::Store
                | Op::ProbeWrite
                | Op::AtomicRmw
                | Op::AtomicCas
                | Op::DivU
                | Op::RemU
                | Op::DivS
                | Op::RemS => (true, true),
                Op::Put | Op::Fence | Op::InsnStart | Op::Counter | Op::Vec => (false, true),
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
                    let put = inst.op == Op::Put;
                    let (first, last, full) = cover(inst.ty, inst.imm, put);
                    let mut next = self.units[first];
                    for u in first..=last {
                        let x = self.units[u];
                        // Dead only once all of it is overwritten.
                        let kill = next.kill && x.kill;
                        let at = if kill { next.at.max(x.at) } else { next.at.min(x.at) };
                        next = Next { at, kill };
                        self.units[u] = Next { at, kill: put && full };
                    }
                    self.next[i] = next;
                    if first <= FLAG_UNIT + 3 && last >= FLAG_UNIT {
                        flags_live = true;
                    }
                }
                Op::FlagsSet => {
                    let maybe_void = inst.flag_kind().void_if_zero_count() && inst.b.is_some();
                    let next = Next { at, kill: !maybe_void };
                    self.next[i] = self.units[FLAG_UNIT];
                    self.units[FLAG_UNIT..FLAG_UNIT + 4].fill(next);
                    flags_live = maybe_void;
                }
                Op::FlagsCond | Op::FlagsGet => {
                    self.next[i] = self.units[FLAG_UNIT];
                    self.units[FLAG_UNIT..FLAG_UNIT + 4].fill(Next { at, kill: false });
                    flags_live = true;
                }
                _ => {}
            }
            let mut used = |v: Val| {
                let v = v.index();
                self.uses[v] += 1;
                self.user[v] = at;
            };
            inst.for_each_operand(&mut used);
        }
    }

    /// Whether the content of a slot whose next access is `next` is needed after op `at` (which
    /// has been executed): false when it is overwritten before anything reads or observes it.
    pub fn dead_after(&self, next: Next, at: usize) -> bool {
        next.kill && next.at != NEVER && self.observer[at + 1] >= next.at
    }
}

fn observes(kind: HookKind, regs: bool) -> bool {
    regs || matches!(kind, HookKind::AfterBlock)
}
