//! Inserts hook and counter ops into a lifted block.
//!
//! Hooks of an instruction stand where the event is certain: `insn_exec` right after the
//! instruction's start; reports of loads behind the instruction's last op that may fault, so that
//! an instruction that faults and is restarted reports nothing twice; `before_write` before its
//! store, behind a probe that proves the store will succeed; `after_insn_exec` before the branch
//! that ends the instruction, or at its end.
//!
//! Counters are merged: the events since the last payment are added by one op before the next hook, and
//! by the way out of the block that is taken, so counters are exact wherever somebody can look. When a
//! fault leaves a block between two payments, [`owed`] says what is missing.

mod events;
mod plan;

use std::rc::Rc;

use emu_ir::{
    Addr, Block, Builder, CounterSite, HookKind, HookSite, Inst, Op, TrapKind, Ty, Val, When,
};
use plugin_api::abi::block_exit;

use crate::registry::Subscription;

use events::{Edge, accesses, fallible};
pub use events::{Owed, owed, whole_basic_blocks};
pub use plan::{Plan, Tally, Verdict, is_compiled_in};
pub(crate) use plan::{count, covers};

/// Which hooks to leave out of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Omit {
    /// No `insn_exec` for the first instruction: it was already reported.
    pub first_insn_exec: bool,
}

/// The instrumented form of `block`. `verdicts[i]` is the verdict on instruction i; `info` is the
/// address of the block description passed to block callbacks. The memory of `out` is used again.
pub fn instrument(
    block: &Block,
    plan: &Plan,
    verdicts: &[Verdict],
    info: usize,
    omit: Omit,
    mut out: Block,
) -> Block {
    let (mut hooks, mut counters) =
        (core::mem::take(&mut out.hooks), core::mem::take(&mut out.counters));
    hooks.clear();
    counters.clear();
    let mut w = Writer {
        plan,
        out: Builder::reusing(out, block.pc),
        hooks,
        counters,
        map: Vec::with_capacity(block.insts.len()),
        pc: block.pc,
        start: block.pc,
        info,
        owed: Owed::default(),
        edge: Edge::default(),
    };
    for (n, insn) in block.insns.iter().enumerate() {
        let first = usize::from(insn.first);
        let end = block.insns.get(n + 1).map_or(block.insts.len(), |i| usize::from(i.first));
        let verdict = verdicts.get(n).copied().unwrap_or(0);
        w.pc = insn.pc;
        w.insn(&block.insts[first..end], n == 0, verdict, omit.first_insn_exec && n == 0);
    }
    let Writer { out, hooks, counters, .. } = w;
    let mut done = out.finish();
    done.hooks = hooks;
    done.counters = counters;
    done
}

/// Report of an access that waits for the instruction's last fallible op.
struct Report {
    kinds: &'static [HookKind],
    ty: Ty,
    addr: Val,
    value: Val,
}

/// Where an instruction goes on.
enum Next {
    Pc(u64),
    Value(Val),
    /// (condition, pc if it holds, pc if not)
    Either(Val, u64, u64),
}

impl Next {
    /// From the ops that leave an instruction whose end is at `fall_through`.
    fn of(exits: &[Inst], fall_through: u64) -> Next {
        match exits {
            [i, ..] if i.op == Op::JumpInd => Next::Value(i.a),
            [side, end, ..] if side.op == Op::ExitIf && end.op == Op::Jump => {
                Next::Either(side.a, side.imm, end.imm)
            }
            [i, ..] if i.op == Op::ExitIf => Next::Either(i.a, i.imm, fall_through),
            [i, ..] => Next::Pc(i.imm),
            [] => Next::Pc(0),
        }
    }
}

struct Writer<'a> {
    plan: &'a Plan,
    out: Builder,
    hooks: Vec<HookSite>,
    counters: Vec<CounterSite>,
    /// Old value → new value.
    map: Vec<Val>,
    pc: u64,
    /// The pc of the block.
    start: u64,
    info: usize,
    owed: Owed,
    edge: Edge,
}

impl Writer<'_> {
    fn insn(&mut self, ops: &[Inst], first: bool, verdict: Verdict, omit_exec: bool) {
        let plan = self.plan;
        let end = ops[0].imm.wrapping_add(u64::from(ops[0].a.0));
        let leads = self.edge.begins(&ops[0]);
        self.start_of(&ops[0], leads);
        if leads {
            self.owed.blocks += 1;
        }
        if first {
            self.block_hooks(HookKind::BeforeBlock, block_exit::END);
        }
        if !omit_exec {
            self.insn_hooks(HookKind::InsnExec, verdict);
        }
        let memory = plan.watches_memory();
        let accesses_memory = memory && ops.iter().any(|i| accesses(i) != (0, 0));
        let last_fallible = if accesses_memory { ops.iter().rposition(fallible) } else { None };
        if accesses_memory && self.announces() {
            // Behind an op that may fault, `owed` would not know whether that was paid.
            self.pay();
        }
        let mut reports: Vec<Report> = Vec::new();
        let mut retired = false;
        let mut left = false;
        for (n, i) in ops.iter().enumerate().skip(1) {
            if i.op.is_terminator() || i.op == Op::ExitIf {
                let trap = if i.op == Op::Trap { i.trap_kind() } else { TrapKind::None };
                let retires = trap == TrapKind::None || trap.retires();
                if retires && !retired {
                    retired = true;
                    self.retire(verdict, Next::of(&ops[n..], end));
                }
                // In a basic block the side exit is the first half of its one branch.
                if !left && (retires || trap == TrapKind::Hypercall) {
                    let exit = if retires && trap != TrapKind::None {
                        block_exit::SYSCALL
                    } else {
                        block_exit::END
                    };
                    self.block_hooks(HookKind::AfterBlock, exit);
                    left = true;
                }
                if i.op == Op::ExitIf {
                    self.edge.branch();
                } else {
                    self.pay();
                }
            }
            if i.op == Op::ExitIf {
                self.exit(i);
            } else if memory {
                self.access(i, &mut reports);
            } else {
                self.copy(i);
            }
            if last_fallible == Some(n) {
                for i in ops {
                    let (loads, stores) = accesses(i);
                    self.owed.loads += loads;
                    self.owed.stores += stores;
                }
                for r in reports.drain(..) {
                    for &k in r.kinds {
                        self.hook_all(k, r.ty, r.addr, r.value);
                    }
                }
            }
        }
        if !retired && ops.last().is_some_and(|i| !i.op.is_terminator()) {
            self.retire(verdict, Next::Pc(end));
        }
    }

    /// Whether somebody is told of accesses before they are made.
    fn announces(&self) -> bool {
        [HookKind::BeforeRead, HookKind::BeforeWrite].iter().any(|&k| !self.plan.hook(k).is_empty())
    }

    /// The instruction is complete and goes on at `next`.
    fn retire(&mut self, verdict: Verdict, next: Next) {
        self.owed.insns += 1;
        if verdict == 0 || self.plan.hook(HookKind::AfterInsnExec).is_empty() {
            return;
        }
        // Subscribers may look at the pc register: it names the next instruction by now.
        let pc = match next {
            Next::Pc(pc) => self.out.iconst(Ty::I64, pc),
            Next::Value(v) => self.map[v.index()],
            Next::Either(cond, taken, other) => {
                let taken = self.out.iconst(Ty::I64, taken);
                let other = self.out.iconst(Ty::I64, other);
                self.out.select(Ty::I64, self.map[cond.index()], taken, other)
            }
        };
        self.out.put(Ty::I64, emu_cpu::slots::PC, pc);
        self.insn_hooks(HookKind::AfterInsnExec, verdict);
    }

    /// Copies an instruction's start.
    fn start_of(&mut self, i: &Inst, leads: bool) {
        if leads {
            self.out.leading_insn_start(i.imm, i.a.0 as u8);
        } else {
            self.out.insn_start(i.imm, i.a.0 as u8);
        }
        self.map.push(Val(self.out.len() as u16 - 1));
    }

    /// Copies an op with its operands renamed.
    fn copy(&mut self, i: &Inst) -> Val {
        let mut copy = *i;
        copy.map_operands(|v| self.map[v.index()]);
        let v = self.out.push(copy);
        self.map.push(v);
        v
    }

    /// Copies a memory op with its counting and reports; other ops as they are.
    fn access(&mut self, i: &Inst, reports: &mut Vec<Report>) {
        let plan = self.plan;
        let (loads, stores) = accesses(i);
        if loads + stores == 0 {
            self.copy(i);
            return;
        }
        let wants = |k: HookKind| !plan.hook(k).is_empty();
        let before_write = stores > 0 && wants(HookKind::BeforeWrite);
        let anything = HookKind::ALL[4..].iter().any(|&k| wants(k));
        if !anything {
            self.copy(i);
            return;
        }
        let mut m = *i;
        m.map_operands(|v| self.map[v.index()]);
        let addr = if matches!(i.op, Op::Load | Op::Store) { self.address(m.mem()) } else { m.a };
        match i.op {
            Op::Load => {
                if wants(HookKind::BeforeRead) {
                    // The access must be known to succeed before it is announced.
                    let mut probe = *i;
                    probe.map_operands(|v| self.map[v.index()]);
                    self.out.push(probe);
                    self.hook_all(HookKind::BeforeRead, i.ty, addr, Val::NONE);
                }
                let value = self.copy(i);
                reports.push(Report { kinds: &[HookKind::AfterRead], ty: i.ty, addr, value });
            }
            Op::Store => {
                let value = m.c();
                if before_write {
                    self.out.probe_write(i.ty, m.mem());
                    self.hook_all(HookKind::BeforeWrite, i.ty, addr, value);
                }
                self.copy(i);
                reports.push(Report { kinds: &[HookKind::AfterWrite], ty: i.ty, addr, value });
            }
            _ => {
                // An atomic is announced once it is done: nothing may come between its halves.
                let old = self.copy(i);
                let new = self.new_value(&m, old);
                use HookKind::{AfterRead, AfterWrite, BeforeRead, BeforeWrite};
                let read: &[HookKind] = &[BeforeRead, AfterRead];
                let write: &[HookKind] = &[BeforeWrite, AfterWrite];
                reports.push(Report { kinds: read, ty: i.ty, addr, value: old });
                reports.push(Report { kinds: write, ty: i.ty, addr, value: new });
            }
        }
    }

    /// The value an atomic leaves in memory.
    fn new_value(&mut self, m: &Inst, old: Val) -> Val {
        use emu_ir::RmwKind;
        if m.op == Op::AtomicCas {
            let same = self.out.cmp(emu_ir::Cond::E, m.ty, old, m.b);
            return self.out.select(m.ty, same, m.c(), old);
        }
        let op = match m.rmw_kind() {
            RmwKind::Xchg => return m.b,
            RmwKind::Add => Op::Add,
            RmwKind::Sub => Op::Sub,
            RmwKind::And => Op::And,
            RmwKind::Or => Op::Or,
            RmwKind::Xor => Op::Xor,
        };
        self.out.bin(op, m.ty, old, m.b)
    }

    /// The address operand as an i64 value.
    fn address(&mut self, m: Addr) -> Val {
        if m.wrap32 {
            let v = self.out.lea(Ty::I32, m);
            return self.out.convert(Op::Zext, Ty::I32, Ty::I64, v);
        }
        if m.base.is_some() && !m.index.is_some() && m.disp == 0 {
            return m.base;
        }
        self.out.lea(Ty::I64, m)
    }

    /// Hooks of the plugins that asked for this instruction.
    fn insn_hooks(&mut self, kind: HookKind, verdict: Verdict) {
        let plan = self.plan;
        let Some(owners) = plan.owners(verdict) else { return };
        for sub in plan.hook(kind) {
            if owners.contains(&sub.owner) && covers(sub, self.pc) {
                self.hook(kind, sub, Ty::I64, Val::NONE, Val::NONE);
            }
        }
    }

    fn block_hooks(&mut self, kind: HookKind, detail: u32) {
        let (plan, start) = (self.plan, self.start);
        for sub in plan.hook(kind).iter().filter(|s| covers(s, start)) {
            self.hook(kind, sub, Ty::I64, Val::NONE, Val::NONE);
            if let Some(site) = self.hooks.last_mut() {
                site.detail = detail;
            }
        }
    }

    fn hook_all(&mut self, kind: HookKind, ty: Ty, addr: Val, value: Val) {
        let plan = self.plan;
        for sub in plan.hook(kind) {
            self.hook(kind, sub, ty, addr, value);
        }
    }

    fn hook(&mut self, kind: HookKind, sub: &Rc<Subscription>, ty: Ty, addr: Val, value: Val) {
        self.pay();
        let mut i = Inst::new(Op::Hook, ty);
        i.sub = kind as u16;
        i.a = addr;
        i.b = value;
        i.imm = self.hooks.len() as u64;
        self.hooks.push(HookSite {
            kind,
            cell: &raw const sub.cell as usize,
            pc: self.pc,
            info: self.info,
            detail: 0,
            reads_regs: sub.reads_regs(),
            writes_regs: sub.writes_regs(),
            counts_calls: self.plan.count_calls,
            // An instruction's address is known now.
            when: When { within: sub.when().within.filter(|_| addr.is_some()), ..sub.when() },
        });
        self.out.push(i);
    }

    /// Copies a side exit, which pays for what was counted up to it if it is taken.
    fn exit(&mut self, i: &Inst) {
        let first = self.counters.len();
        self.counters.extend(self.plan.counts(self.start, self.owed).map(site));
        let mut exit = *i;
        if !exit.set_exit_counts(first..self.counters.len()) {
            self.counters.truncate(first);
            self.pay();
        }
        self.copy(&exit);
    }

    /// Adds what was counted since the last payment.
    fn pay(&mut self) {
        for counter in self.plan.counts(self.start, core::mem::take(&mut self.owed)) {
            let mut i = Inst::new(Op::Counter, Ty::I64);
            i.imm = self.counters.len() as u64;
            self.counters.push(site(counter));
            self.out.push(i);
        }
    }
}

fn site((cell, amount): (usize, u64)) -> CounterSite {
    CounterSite { cell, amount }
}
