//! Ways out of a block.
//!
//! Side exits branch to stubs behind the block, which write back what is dirty there, return the
//! part of the budget that was not used, and go on to the successor. The jump to a direct successor
//! is patchable; unlinked it falls into code that returns to the dispatcher with the exit's number.

use emu_cpu::slots;
use emu_ir::{Inst, TrapKind, Ty};

use crate::Unsupported;
use crate::alloc::cpu_mem;
use crate::asm::{Alu, Mem, NOREG, RAX, RBP, RCX, RDX, RSP, Reg, Rm};
use crate::compile::Compiler;
use crate::faults::{How, Loc, Snap};
use crate::state::spill_offset;

/// What kind of exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitKind {
    /// To the guest pc in the record; linkable.
    Direct,
    /// The budget did not suffice; nothing was executed.
    Budget,
    /// By a trap op: the kind, and the pc in the record.
    Trap(TrapKind),
    /// A helper raised a trap; the pc in the record is that of the next instruction.
    HelperTrap,
}

/// An exit of a block.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// Kind.
    pub kind: ExitKind,
    /// Guest pc it goes to.
    pub pc: u64,
    /// Guest instruction it belongs to; -1 before the first.
    pub insn: i32,
    /// That instruction's pc.
    pub insn_pc: u64,
    /// Offset in the block of the patchable displacement; 0 when not linkable.
    pub patch: u32,
    /// Offset in the block of the code that returns to the dispatcher.
    pub stub: u32,
}

/// Where the block will be.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Offset in the arena.
    pub base: u32,
    /// Number of the block's first exit.
    pub exit_base: u32,
    /// Offset in the arena of the code that leaves generated code with rax as result.
    pub leave: u32,
    /// Address of the table of indirect branch targets.
    pub table: u64,
    /// Number of its entries less one.
    pub mask: u32,
}

/// rax at `leave` for an indirect branch whose target is not in the table; pc is in the header.
pub const LEAVE_INDIRECT: u32 = u32::MAX;
/// rax at `leave` after a fault; everything is in the header.
pub const LEAVE_FAULT: u32 = u32::MAX - 1;

/// A stub still to be written out.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The branch to it.
    jcc: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Budget,
    /// Just leave.
    Plain(u32),
    /// Write back this part of the snapshots, give back budget, go on.
    Side {
        exit: u32,
        snaps: (u32, u32),
        refund: i32,
    },
}

impl Pending {
    /// The stub for too small a budget.
    pub fn budget(jcc: usize) -> Pending {
        Pending { jcc, what: What::Budget }
    }

    /// A stub that just leaves.
    pub fn plain(jcc: usize, exit: u32) -> Pending {
        Pending { jcc, what: What::Plain(exit) }
    }
}

impl Compiler<'_> {
    /// [`emu_ir::Op::ExitIf`].
    pub fn exit_if(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let cc = match self.const_of(i.a) {
            Some(0) => {
                self.release(&[i.a]);
                return Ok(());
            }
            _ => self.condition(i.a)?,
        };
        self.release(&[i.a]);
        let jcc = self.asm.jcc(cc);
        let exit = self.new_exit(ExitKind::Direct, i.imm);
        let start = self.exit_snaps.len() as u32;
        self.snapshot(false);
        let snaps = (start, self.exit_snaps.len() as u32);
        let refund = self.insn_count() - (self.insn + 1);
        self.pending.push(Pending { jcc, what: What::Side { exit, snaps, refund } });
        Ok(())
    }

    /// [`emu_ir::Op::Jump`].
    pub fn jump(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.write_back_all()?;
        self.give_back(self.insn_count() - (self.insn + 1));
        let exit = self.new_exit(ExitKind::Direct, i.imm);
        self.emit_link(exit);
        Ok(())
    }

    fn give_back(&mut self, refund: i32) {
        if refund != 0 {
            self.clobber_flags();
            self.asm.alu_imm(Alu::Add, Ty::I64, Rm::M(cpu_mem(slots::BUDGET)), refund);
        }
    }

    /// The patchable jump of an exit and, behind it, what it does while unlinked.
    fn emit_link(&mut self, exit: u32) {
        let at = self.asm.jmp();
        let stub = self.asm.len();
        self.asm.patch(at, stub);
        self.emit_leave(self.target.exit_base + exit);
        let e = &mut self.exits[exit as usize];
        e.patch = at as u32;
        e.stub = stub as u32;
    }

    /// Leaves generated code with `code`.
    fn emit_leave(&mut self, code: u32) {
        self.asm.mov_imm(RAX, u64::from(code));
        let at = self.asm.jmp() as u32;
        let rel = self.target.leave.wrapping_sub(self.target.base.wrapping_add(at + 4));
        let at = at as usize;
        self.asm.buf[at..at + 4].copy_from_slice(&rel.to_le_bytes());
    }

    /// [`emu_ir::Op::JumpInd`]: probes the table of indirect branch targets.
    pub fn jump_ind(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let ty = self.block.insts[i.a.index()].ty;
        let c = self.const_of(i.a);
        if let Some(pc) = c {
            self.write_back_all()?;
            let exit = self.new_exit(ExitKind::Direct, pc);
            self.give_back(self.insn_count() - (self.insn + 1));
            self.emit_link(exit);
            return Ok(());
        }
        let t = self.gpr_clean(i.a, ty)?;
        self.write_back_all()?;
        self.give_back(self.insn_count() - (self.insn + 1));
        let t2 = self.root_of(i.a);
        let t = match self.st.root(t2).reg {
            NOREG => t,
            r => r,
        };
        if t != RAX {
            self.asm.mov64(RAX, t);
        }
        let doubled = Mem { base: RAX, index: RAX, shift: 0, disp: 0, addr32: false };
        self.asm.lea(Ty::I32, RCX, doubled);
        self.asm.mov_imm(RDX, self.target.table);
        self.asm.alu_imm(Alu::And, Ty::I32, Rm::R(RCX), (self.target.mask * 2) as i32);
        let entry = Mem { base: RDX, index: RCX, shift: 3, disp: 0, addr32: false };
        self.asm.alu(Alu::Cmp, Ty::I64, RAX, Rm::M(entry));
        let miss = self.asm.jcc(5);
        self.asm.op(0xff, false, 4, Rm::M(Mem { disp: 8, ..entry }), 0);
        let here = self.asm.len();
        self.asm.patch(miss, here);
        self.asm.store(Ty::I64, cpu_mem(slots::PC), RAX);
        self.emit_leave(LEAVE_INDIRECT);
        Ok(())
    }

    /// [`emu_ir::Op::Trap`].
    pub fn trap(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.write_back_all()?;
        let exit = self.new_exit(ExitKind::Trap(i.trap_kind()), i.imm);
        self.emit_leave(self.target.exit_base + exit);
        Ok(())
    }

    /// Writes the stubs collected on the way.
    pub fn emit_stubs(&mut self) -> Result<(), Unsupported> {
        for k in 0..self.pending.len() {
            let p = self.pending[k];
            let here = self.asm.len();
            self.asm.patch(p.jcc, here);
            match p.what {
                What::Budget => {
                    let n = self.insn_count();
                    let budget = Rm::M(cpu_mem(slots::BUDGET));
                    self.asm.alu_imm(Alu::Add, Ty::I64, budget, n);
                    self.insn = -1;
                    let exit = self.new_exit(ExitKind::Budget, self.block.pc);
                    self.emit_leave(self.target.exit_base + exit);
                }
                What::Plain(exit) => self.emit_leave(self.target.exit_base + exit),
                What::Side { exit, snaps, refund } => {
                    self.emit_snapshot(snaps);
                    self.give_back(refund);
                    self.emit_link(exit);
                }
            }
        }
        Ok(())
    }

    /// Stores everything a snapshot says is dirty.
    fn emit_snapshot(&mut self, (from, to): (u32, u32)) {
        let simple = |l: Loc| matches!(l, Loc::Gpr(_) | Loc::Xmm(_) | Loc::Imm(_));
        for late in [false, true] {
            for k in from..to {
                let s = self.exit_snaps[k as usize];
                let easy = simple(s.x) && (s.how == How::Is || simple(s.y));
                // Sums come before the other late ones, whose loads overwrite rax and rcx.
                if easy == late {
                    continue;
                }
                self.emit_snap(&s);
            }
        }
    }

    fn emit_snap(&mut self, s: &Snap) {
        let m = cpu_mem(u32::from(s.slot));
        let ty = Ty::int(u32::from(s.bytes)).unwrap_or(Ty::I64);
        match s.x {
            Loc::Gpr(r) => self.asm.store(ty, m, r),
            Loc::Xmm(r) => {
                let ty = if s.bytes == 32 { Ty::V256 } else { Ty::V128 };
                self.vec_store(ty, m, r);
            }
            Loc::Imm(c) => self.asm.store_imm(ty, m, c),
            x => {
                let t = if matches!(s.y, Loc::Gpr(RAX)) { RCX } else { RAX };
                self.load_loc(t, x);
                self.asm.store(ty, m, t);
            }
        }
        let op = match s.how {
            How::Is => return,
            How::Sum => Alu::Add,
            How::Diff => Alu::Sub,
        };
        match s.y {
            Loc::Gpr(r) => self.asm.alu_mem(op, Ty::I64, m, r),
            Loc::Imm(c) => self.asm.alu_imm(op, Ty::I64, Rm::M(m), c),
            y => {
                self.load_loc(RAX, y);
                self.asm.alu_mem(op, Ty::I64, m, RAX);
            }
        }
    }

    fn load_loc(&mut self, d: Reg, l: Loc) {
        match l {
            Loc::Gpr(r) => self.asm.mov64(d, r),
            Loc::Imm(c) => self.asm.mov_imm(d, i64::from(c) as u64),
            Loc::Pool(n) => {
                let c = self.pool[n as usize];
                self.asm.mov_imm(d, c);
            }
            Loc::Spill(n) => self.asm.load_zx(8, d, Mem::at(RSP, spill_offset(n))),
            Loc::Cpu(s) => {
                self.asm.load_zx(8, d, Mem::at(RBP, i32::from(s) - slots::BIAS as i32));
            }
            Loc::Xmm(_) => {}
        }
    }
}
