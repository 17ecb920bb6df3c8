//! From guest code to an instrumented, optimised block.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use emu_cpu::{CpuHeader, LiftOptions};
use emu_ir::{Block, HookKind};
use emu_mem::{PAGE, access};
use plugin_api::abi::{self, BlockInfo, kind};

use super::{Engine, HOT_PAGE, MAX_INSNS, Step};
use crate::blocks::{Code, Entry, pages_of};
use crate::code::GuestCode;
use crate::instrument::{Omit, Verdict, instrument};

impl Engine {
    /// Translates the block at `pc` and keeps it.
    pub(super) fn translate(&mut self, cpu: *mut CpuHeader, pc: u64) -> Rc<Entry> {
        let options = LiftOptions {
            max_insns: MAX_INSNS,
            basic_blocks: self.plan.basic_blocks(),
            hypercalls: self.plan.hypercalls,
        };
        let mut entry = self.make_entry(cpu, pc, options, Omit::default());
        let pages = pages_of(&entry.block);
        if pages.iter().any(|p| self.heat.get(p).is_some_and(|&n| n >= HOT_PAGE)) {
            // The block must not outrun its own stores: it ends behind the first one.
            if let Some(n) = first_store(&entry.block)
                && n + 1 < entry.block.insns.len()
            {
                let options = LiftOptions { max_insns: n + 1, ..options };
                entry = self.make_entry(cpu, pc, options, Omit::default());
            }
            entry.snapshot = Some(snapshot(&entry.block));
        } else {
            let mut space = self.shared.space.borrow_mut();
            if space.find(pc).is_none() {
                return Rc::new(entry);
            }
            for page in pages_of(&entry.block) {
                if let Err(e) = space.protect_code(page) {
                    tracing::error!("{e}");
                }
            }
        }
        self.blocks.insert(entry)
    }

    /// Translates a few instructions for a single use.
    pub(super) fn translate_step(&mut self, cpu: *mut CpuHeader, pc: u64, step: Step) -> Rc<Entry> {
        let options = LiftOptions {
            max_insns: step.insns.clamp(1, MAX_INSNS),
            basic_blocks: self.plan.basic_blocks(),
            hypercalls: step.hypercalls,
        };
        Rc::new(self.make_entry(cpu, pc, options, step.omit))
    }

    fn make_entry(
        &mut self,
        cpu: *mut CpuHeader,
        pc: u64,
        options: LiftOptions,
        omit: Omit,
    ) -> Entry {
        let shared = self.shared.clone();
        // SAFETY: the function type belongs to the kind.
        shared.notify(kind::BEFORE_BLOCK_TRANSLATE, |f, user| unsafe {
            let f: abi::PcFn = core::mem::transmute(f);
            f(user, cpu.cast(), pc);
        });
        let start = Instant::now();
        let lifted = self.lift(pc, &options);
        self.stats.blocks_translated += 1;
        self.stats.instructions_translated += lifted.insns.len() as u64;
        let info = Box::new(BlockInfo {
            struct_size: BlockInfo::SIZE,
            insn_count: lifted.insns.len() as u32,
            pc,
            size: lifted.guest_len(),
        });
        let block = if self.plan.is_empty() {
            let mut lifted = lifted;
            self.optimizer.run(&mut lifted, self.arch);
            self.stats.translation += start.elapsed();
            lifted
        } else {
            let asked = Instant::now();
            let verdicts = self.verdicts(cpu, &lifted);
            self.answers.add(&verdicts);
            self.expect_callbacks();
            let asking = asked.elapsed();
            let address = &raw const *info as usize;
            let mut block = instrument(&lifted, &self.plan, &verdicts, address, omit);
            self.optimizer.run(&mut block, self.arch);
            self.stats.translation += start.elapsed().saturating_sub(asking);
            block
        };
        let mut subscriptions = Vec::new();
        if !block.hooks.is_empty() || self.plan.count_calls {
            for k in HookKind::ALL {
                subscriptions.extend(self.plan.hook(k).iter().cloned());
            }
        }
        let described: *const BlockInfo = &*info;
        // SAFETY: the function type belongs to the kind; the description is alive.
        shared.notify(kind::AFTER_BLOCK_TRANSLATE, |f, user| unsafe {
            let f: abi::BlockFn = core::mem::transmute(f);
            f(user, cpu.cast(), described);
        });
        Entry {
            block,
            info,
            subscriptions,
            snapshot: None,
            runs: Cell::new(0),
            code: Cell::new(Code::None),
        }
    }

    pub(super) fn lift(&mut self, pc: u64, options: &LiftOptions) -> Block {
        let space = self.shared.space.borrow();
        let mut code = GuestCode::new(&space, core::mem::take(&mut self.code_buf));
        let block = self.arch.lift(pc, &mut code, options);
        self.code_buf = code.into_buf();
        block
    }

    /// Asks insn_translate about every instruction not asked about in this epoch.
    fn verdicts(&mut self, cpu: *mut CpuHeader, block: &Block) -> Vec<Verdict> {
        if self.plan.translate.is_empty() {
            return Vec::new();
        }
        let mut all = Vec::with_capacity(block.insns.len());
        for insn in &block.insns {
            let page = self.verdicts.entry(insn.pc & !(PAGE - 1)).or_default();
            if let Some(&v) = page.get(&insn.pc) {
                all.push(v);
                continue;
            }
            let mut bytes = [0; 16];
            let len = usize::from(insn.len).min(15);
            if access::read(insn.pc, &mut bytes[..len]).is_err() {
                all.push(0);
                continue;
            }
            let mut verdict: Verdict = 0;
            for (n, sub) in self.plan.translate.iter().enumerate() {
                if !sub.enabled() {
                    continue;
                }
                sub.cell.calls.set(sub.cell.calls.get() + 1);
                // SAFETY: the function type belongs to the kind; the bytes are alive.
                let yes = unsafe {
                    let f: abi::InsnTranslateFn = core::mem::transmute(sub.cell.func.get());
                    let user = sub.cell.user.get() as *mut _;
                    f(user, cpu.cast(), insn.pc, bytes.as_ptr(), len as u32)
                };
                if yes != 0 {
                    verdict |= 1 << n.min(63);
                }
            }
            page.insert(insn.pc, verdict);
            all.push(verdict);
        }
        all
    }

    /// Names an instruction the lifter does not know, once.
    pub(super) fn report_invalid(&mut self, pc: u64) {
        let mut bytes = [0; 15];
        let mut len = 15;
        if let Err(fault) = access::read(pc, &mut bytes) {
            len = (fault.addr.saturating_sub(pc) as usize).min(15);
        }
        let (text, defined) = self.arch.describe(pc, &bytes[..len]);
        if !defined || self.reported.contains(&text) {
            return;
        }
        tracing::warn!(
            "instruction not supported: `{text}` at {pc:#x} ({:02x?}); the guest gets SIGILL",
            &bytes[..len]
        );
        self.reported.push(text);
    }
}

/// The number of the first instruction that may store.
fn first_store(block: &Block) -> Option<usize> {
    use emu_ir::Op;
    let stores = |op| matches!(op, Op::Store | Op::AtomicRmw | Op::AtomicCas | Op::Call);
    let at = block.insts.iter().position(|i| stores(i.op))?;
    block.insn_of(at).map(|(n, _)| n)
}

/// The code bytes of a block.
fn snapshot(block: &Block) -> Vec<(u64, Box<[u8]>)> {
    let read = |pc, len: u8| {
        let mut bytes = vec![0; usize::from(len)].into_boxed_slice();
        access::read(pc, &mut bytes).ok().map(|()| (pc, bytes))
    };
    block.insns.iter().filter_map(|i| read(i.pc, i.len)).collect()
}

/// Whether guest memory still holds the code of a snapshot.
pub(super) fn unchanged(snapshot: &[(u64, Box<[u8]>)]) -> bool {
    let mut now = [0; 16];
    snapshot.iter().all(|(pc, bytes)| {
        let now = &mut now[..bytes.len()];
        access::read(*pc, now).is_ok() && *now == **bytes
    })
}
