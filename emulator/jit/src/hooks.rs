//! Hooks and counters in generated code.
//!
//! A hook that is always due is a call in line. One with a condition is a test in line; the call is behind
//! the block, where it saves the registers around itself, so that what is not due costs no more than
//! the test: values stay where they are.

use core::mem::{offset_of, swap};
use core::ops::Range;

use emu_cpu::slots;
use emu_ir::{CounterSite, HookCell, HookKind, HookSite, Inst, Op, Ty, When};

use crate::Unsupported;
use crate::alloc::{BUDGET, CALLER_SAVED, cpu_mem};
use crate::asm::{Alu, Mem, NOREG, R10, RAX, RCX, RSP, Reg, Rm};
use crate::calls::{ARGS, Arg, Callee};
use crate::compile::Compiler;
use crate::mxcsr::{self, Place};
use crate::state::{Home, Kind, NOROOT, SAVED, SAVED_VECTORS, SCRATCH, spill_offset};

/// Host conditions.
const BELOW: u8 = 2;
const NOT_BELOW: u8 = 3;
const ZERO: u8 = 4;
const NOT_ZERO: u8 = 5;

/// A call out of line.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The branch to it.
    jcc: usize,
    /// Where it begins in the code that is out of line.
    start: usize,
    /// Its jump back, likewise.
    jump: usize,
    /// Where that goes to.
    back: usize,
}

/// What a memory hook reports.
#[derive(Clone, Copy)]
enum Data {
    None,
    Const(u64),
    Gpr(Reg),
    Xmm(Reg, Ty),
}

impl Compiler<'_> {
    /// [`emu_ir::Op::Hook`].
    pub fn hook(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let site = self.block.hooks[i.imm as usize];
        self.x87_to_structure();
        if site.when != When::ALWAYS {
            return self.hook_when_due(i, &site);
        }
        if site.reads_regs || site.writes_regs {
            self.write_back_all()?;
            self.store_const(self.hook_pcs(), self.pc)?;
        }
        self.park_mxcsr();
        self.store_retired(i32::from(site.kind == HookKind::AfterInsnExec));
        if site.counts_calls {
            let t = self.alloc_gpr()?;
            self.asm.mov_imm(t, site.cell as u64);
            self.clobber_flags();
            self.count_call(t);
        }
        let (mut args, n) = self.hook_args(i, &site);
        // A spill slot must last until the call.
        let mut held = None;
        if i.a.is_some() {
            args[3] = Arg::Val(i.a, self.block.insts[i.a.index()].ty);
            if i.b.is_some() {
                let spilled = self.spilled_data(i)?;
                args[5] = Arg::Frame(spilled.unwrap_or(SCRATCH));
                if spilled.is_none() {
                    let data = self.hook_data(i)?;
                    self.store_data(data);
                    self.st.release(i.b.index());
                } else {
                    held = Some(i.b.index());
                }
            }
        }
        self.call_to(Callee::Through(site.cell as u64), &args[..n], site.writes_regs)?;
        if let Some(v) = held {
            self.st.release(v);
        }
        Ok(())
    }

    /// The arguments of a hook's callback but for the address, and how many there are.
    fn hook_args(&self, i: &Inst, site: &HookSite) -> ([Arg; 6], usize) {
        let cpu = Arg::Lent(emu_cpu::withheld(site.reads_regs, site.writes_regs));
        let nothing = Arg::Imm(0);
        let pc = Arg::Imm(site.pc);
        match site.kind {
            HookKind::InsnExec | HookKind::AfterInsnExec => {
                ([Arg::User, cpu, pc, nothing, nothing, nothing], 3)
            }
            HookKind::BeforeBlock | HookKind::AfterBlock => {
                let (block, end) = (Arg::Info(site.info as u64), Arg::Imm(u64::from(site.detail)));
                ([Arg::User, cpu, block, end, nothing, nothing], 4)
            }
            HookKind::BeforeRead
            | HookKind::AfterRead
            | HookKind::BeforeWrite
            | HookKind::AfterWrite => {
                let size = Arg::Imm(u64::from(i.ty.bytes()));
                let data = if i.b.is_some() { Arg::Frame(SCRATCH) } else { nothing };
                ([Arg::User, cpu, pc, nothing, size, data], 6)
            }
        }
    }

    /// The header fields that are to hold the instruction's pc while a callback reads registers.
    fn hook_pcs(&self) -> &'static [u32] {
        // After an instruction the slot may hold where it goes on, put there before the hook; a
        // value that lives in that slot would be lost.
        let told = self.block.insts[..self.at]
            .iter()
            .rev()
            .take_while(|i| i.op != Op::InsnStart)
            .any(|i| i.op == Op::Put && i.imm == u64::from(slots::PC));
        const BOTH: &[u32] = &[slots::INSN_PC, slots::PC];
        if told { &BOTH[..1] } else { BOTH }
    }

    /// Brings what a memory hook reports into a register, unless it is a small constant.
    fn hook_data(&mut self, i: &Inst) -> Result<Data, Unsupported> {
        if !i.b.is_some() {
            return Ok(Data::None);
        }
        if !i.ty.is_int() {
            let r = self.root_of(i.b);
            return Ok(Data::Xmm(self.root_xmm(r)?, i.ty));
        }
        match self.const_of(i.b) {
            Some(c) if c as i64 == i64::from(c as i32) => Ok(Data::Const(c)),
            _ => Ok(Data::Gpr(self.gpr(i.b)?)),
        }
    }

    /// Where in the frame what a memory hook reports is, or goes to because it is still needed after the
    /// call: the offset from rsp.
    fn spilled_data(&mut self, i: &Inst) -> Result<Option<i32>, Unsupported> {
        let r = self.root_of(i.b);
        if r == NOROOT {
            return Err(Unsupported::Malformed);
        }
        let root = *self.st.root(r);
        let own = root.kind == Kind::Plain && root.class.is_int() && root.slots == 0;
        if own && root.home == Home::None && root.reg != NOREG && self.st.left[i.b.index()] > 1 {
            self.evict(r)?;
        }
        Ok(match self.st.root(r).home {
            Home::Spill(n) if own => Some(spill_offset(n)),
            _ => None,
        })
    }

    /// Puts it where the callback finds it.
    fn store_data(&mut self, data: Data) {
        let m = Mem::at(RSP, SCRATCH);
        match data {
            Data::None => {}
            Data::Const(c) => self.asm.store_imm(Ty::I64, m, c as i32),
            Data::Gpr(r) => self.asm.store(Ty::I64, m, r),
            Data::Xmm(r, ty) => self.vec_store(ty, m, r),
        }
    }

    /// Counts a call of the cell whose address is in `cell`.
    fn count_call(&mut self, cell: Reg) {
        let calls = Mem::at(cell, offset_of!(HookCell, calls) as i32);
        self.asm.alu_imm(Alu::Add, Ty::I64, Rm::M(calls), 1);
    }

    /// A hook with a condition.
    fn hook_when_due(&mut self, i: &Inst, site: &HookSite) -> Result<(), Unsupported> {
        if site.when.within.is_some() && !i.a.is_some() {
            return Err(Unsupported::Malformed);
        }
        let size = u64::from(i.ty.bytes());
        let known = if i.a.is_some() { self.const_of(i.a) } else { None };
        let mut within = site.when.within;
        if let (Some(w), Some(at)) = (within, known) {
            if !w.touches(at, size) {
                self.release(&[i.a, i.b]);
                return Ok(());
            }
            within = None;
        }
        if site.writes_regs {
            self.write_back_all()?;
            self.forget_state()?;
        }
        let data = self.hook_data(i)?;
        let addr = match known {
            None if i.a.is_some() => Some(self.gpr_clean(i.a, self.block.insts[i.a.index()].ty)?),
            _ => None,
        };
        let (t, t2) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.clobber_flags();
        let mut skip = None;
        let mut jcc = None;
        if let (Some(w), Some(addr)) = (within, addr) {
            let (first, span) = w.starts(size);
            self.test_span(t, t2, addr, first, span);
            if site.when.countdown {
                skip = Some(self.asm.jcc(NOT_BELOW));
            } else {
                jcc = Some(self.asm.jcc(BELOW));
            }
        }
        let jcc = match jcc {
            Some(jcc) => jcc,
            None if site.when.countdown => {
                self.asm.mov_imm(t, site.cell as u64);
                let left = Mem::at(t, offset_of!(HookCell, left) as i32);
                self.asm.alu_imm(Alu::Sub, Ty::I64, Rm::M(left), 1);
                self.asm.jcc(ZERO)
            }
            // Always due, as it turned out.
            None => self.asm.jmp(),
        };
        let back = self.asm.len();
        if let Some(skip) = skip {
            self.asm.patch(skip, back);
        }
        swap(self.asm, self.cold);
        let start = self.asm.len();
        self.call_due(i, site, addr, known, data);
        let jump = self.asm.jmp();
        swap(self.asm, self.cold);
        self.dues.push(Due { jcc, start, jump, back });
        self.release(&[i.a, i.b]);
        Ok(())
    }

    /// Compares: below if `addr` is one of the `span` addresses from `first` on.
    fn test_span(&mut self, t: Reg, t2: Reg, addr: Reg, first: u64, span: u64) {
        let minus = first.wrapping_neg();
        if minus as i64 == i64::from(minus as i32) {
            self.asm.lea(Ty::I64, t, Mem::at(addr, minus as i32));
        } else {
            self.asm.mov_imm(t, minus);
            self.asm.alu(Alu::Add, Ty::I64, t, Rm::R(addr));
        }
        match i32::try_from(span) {
            Ok(span) => self.asm.alu_imm(Alu::Cmp, Ty::I64, Rm::R(t), span),
            Err(_) => {
                self.asm.mov_imm(t2, span);
                self.asm.alu(Alu::Cmp, Ty::I64, t, Rm::R(t2));
            }
        }
    }

    /// The call out of line. What is known of registers and slots stays true across it.
    fn call_due(
        &mut self,
        i: &Inst,
        site: &HookSite,
        addr: Option<Reg>,
        known: Option<u64>,
        data: Data,
    ) {
        let regs = site.reads_regs || site.writes_regs;
        if regs {
            self.store_dirty();
        }
        self.store_data(data);
        self.save_registers(true);
        if let Some(addr) = addr
            && addr != ARGS[3]
        {
            self.asm.mov64(ARGS[3], addr);
        }
        const { assert!(ARGS[3] == RCX) };
        if regs {
            self.asm.mov_imm(R10, self.pc);
            for &slot in self.hook_pcs() {
                self.asm.store(Ty::I64, cpu_mem(slot), R10);
            }
        }
        self.park_for_call();
        self.store_retired(i32::from(site.kind == HookKind::AfterInsnExec));
        self.asm.store(Ty::I64, cpu_mem(slots::BUDGET), BUDGET);
        self.asm.mov_imm(RAX, site.cell as u64);
        if site.when.countdown {
            self.asm.load_zx(8, R10, Mem::at(RAX, offset_of!(HookCell, every) as i32));
            self.asm.store(Ty::I64, Mem::at(RAX, offset_of!(HookCell, left) as i32), R10);
        }
        if site.counts_calls {
            self.count_call(RAX);
        }
        let (mut args, n) = self.hook_args(i, site);
        if i.a.is_some() {
            // In place already, unless it is a constant.
            args[3] = known.map_or(Arg::Val(i.a, Ty::I64), Arg::Imm);
        }
        self.load_args(&args[..n], &[None; 6]);
        self.asm.op(0xff, false, 2, Rm::M(Mem::at(RAX, offset_of!(HookCell, func) as i32)), 0);
        self.asm.load_zx(8, BUDGET, cpu_mem(slots::BUDGET));
        if self.mxcsr == Place::Live {
            mxcsr::unpark(self.asm);
        }
        self.save_registers(false);
    }

    /// Parks the guest's MXCSR wherever it is known to be.
    fn park_for_call(&mut self) {
        match self.mxcsr {
            Place::Parked => {}
            Place::Live => mxcsr::park(self.asm),
            Place::Unknown => {
                mxcsr::test(self.asm);
                let parked = self.asm.jcc(NOT_ZERO);
                mxcsr::park(self.asm);
                let here = self.asm.len();
                self.asm.patch(parked, here);
            }
        }
    }

    /// Saves the registers in use that a callee may change, or brings them back.
    fn save_registers(&mut self, save: bool) {
        for r in 0..16u8 {
            let m = Mem::at(RSP, SAVED + 8 * i32::from(r));
            if CALLER_SAVED >> r & 1 != 0 && self.st.gpr[usize::from(r)] != NOROOT {
                if save {
                    self.asm.store(Ty::I64, m, r);
                } else {
                    self.asm.load_zx(8, r, m);
                }
            }
            let root = self.st.xmm[usize::from(r)];
            if root != NOROOT {
                let (class, m) = (self.st.root(root).class, SAVED_VECTORS + 32 * i32::from(r));
                if save {
                    self.vec_store(class, Mem::at(RSP, m), r);
                } else {
                    self.vec_load(class, r, Mem::at(RSP, m));
                }
            }
        }
    }

    /// Appends the calls out of line to the block.
    pub fn emit_dues(&mut self) {
        let base = self.asm.len();
        self.asm.append(self.cold);
        for k in 0..self.dues.len() {
            let due = self.dues[k];
            self.asm.patch(due.jcc, base + due.start);
            self.asm.patch(base + due.jump, due.back);
        }
    }

    /// [`emu_ir::Op::Counter`].
    pub fn counter(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.check_counters(i.imm as usize..i.imm as usize + 1)?;
        // The previous op may have left the address of a counter nearby.
        let (t, base) = match self.counted {
            Some((at, t, base)) if at + 1 == self.at => (t, Some(base)),
            _ => (self.alloc_gpr()?, None),
        };
        self.clobber_flags();
        let base = self.add_to_counter(t, base, i.imm as usize);
        self.counted = Some((self.at, t, base));
        Ok(())
    }

    /// Makes sure that the amounts of these sites can be operands.
    pub fn check_counters(&self, sites: Range<usize>) -> Result<(), Unsupported> {
        let fits = |s: &CounterSite| s.amount as i64 == i64::from(s.amount as i32);
        let good = self.block.counters[sites].iter().all(fits);
        if good { Ok(()) } else { Err(Unsupported::Op(Op::Counter)) }
    }

    /// Adds to the counter of a site, by way of register `t`, which may hold the address `base` already;
    /// the address it holds then.
    pub fn add_to_counter(&mut self, t: Reg, base: Option<u64>, site: usize) -> u64 {
        let CounterSite { cell, amount } = self.block.counters[site];
        let cell = cell as u64;
        let near = |b: &u64| i8::try_from(cell.wrapping_sub(*b) as i64).is_ok();
        let base = base.filter(near).unwrap_or_else(|| {
            self.asm.mov_imm(t, cell);
            cell
        });
        let m = Mem::at(t, cell.wrapping_sub(base) as i32);
        self.asm.alu_imm(Alu::Add, Ty::I64, Rm::M(m), amount as i32);
        base
    }
}
