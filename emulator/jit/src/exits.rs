//! Ways out of a block.
//!
//! Side exits branch to stubs behind the block, which write back what is dirty there, return the
//! part of the budget that was not used, and go on to the successor. The jump to a direct successor
//! is patchable; unlinked it falls into code that returns to the dispatcher with the exit's number.

use emu_cpu::slots;
use emu_ir::{Inst, TrapKind, Ty};

use crate::Unsupported;
use crate::alloc::{BUDGET, cpu_mem};
use crate::arena::NO_JUMP;
use crate::asm::{Alu, Mem, NOREG, R10, R11, R14, RAX, RBP, RSP, Reg, Rm};
use crate::calls::{Arg, Callee};
use crate::compile::Compiler;
use crate::faults::{How, Loc, PinMove, Snap};
use crate::mxcsr;
use crate::object::Fixup;
use crate::pins::{MAX_PINS, MAX_VECTORS, Vectors, home, members, part};
use crate::recipes::TEMPS;
use crate::state::{SCRATCH, spill_offset};
use crate::vec::TEMP;
use crate::x87::Movers;

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
    /// The instruction unmasks an x87 exception, or one is unmasked; it was not executed.
    Unmasked,
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
    /// Vector slots that are in their registers and newer than memory.
    pub dirty: Vectors,
    /// Vector slots that are in their registers and in memory.
    pub clean: Vectors,
    /// Offset in the block of the patchable displacement; 0 when not linkable.
    pub patch: u32,
    /// Offset in the block of the code that returns to the dispatcher.
    pub stub: u32,
    /// Offset in the block of the place for a jump that leaves the flags unstored; 0 when there is none.
    pub short: u32,
    /// What such a jump leaves behind: a number of the block, later of the code cache, in the flags of
    /// exits; or [`NO_FLAGS`].
    pub flags: u32,
}

/// See [`Exit::flags`].
pub const NO_FLAGS: u32 = u32::MAX;

/// What the block is compiled for. Where it will be is left to [`crate::object`].
#[derive(Clone, Copy, Hash, Debug)]
pub struct Target {
    /// Offset in the arena of the code that leaves generated code with r10 as result, all state
    /// being in the CPU structure.
    pub leave: u32,
    /// The same while the pinned slots are in their registers.
    pub leave_pinned: u32,
    /// Address of the table of indirect branch targets.
    pub table: u64,
    /// The bits of a pc that choose an entry, a quarter of its offset.
    pub mask: u32,
    /// What moves the x87 state, if x87 instructions become the host's.
    pub x87: Option<Movers>,
    /// SIMD exceptions may be unmasked.
    pub simd_traps: bool,
}

/// r10 at `leave` for an indirect branch whose target is not in the table; pc is in the header.
pub const LEAVE_INDIRECT: u32 = u32::MAX;
/// r10 at `leave` after a fault; everything is in the header.
pub const LEAVE_FAULT: u32 = u32::MAX - 1;

/// The number that generated code is left with.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// That of an exit of the block.
    Exit(u32),
    /// Always the same.
    Fixed(u32),
}

/// A stub still to be written out.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The branch to it.
    jcc: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The budget does not suffice; these are the flags in the snapshots of exits.
    Budget((u32, u32)),
    /// Just leave.
    Plain(u32),
    /// Leave the block before its end.
    Side(Side),
    /// Move the x87 state into the host's unit and go on there, or leave the block.
    X87Load { back: usize, side: Side },
    /// Move the x87 state to the CPU structure and go on there.
    X87Store { back: usize },
    /// Park the guest's MXCSR, or bring it back, and go on there.
    Mxcsr { back: usize, parks: bool },
}

/// How to leave a block before its end: write back this part of the snapshots, give back budget, go
/// on.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    exit: u32,
    snaps: (u32, u32),
    moves: (u32, u32),
    vectors: (u32, u32),
    refund: i32,
    unpark: bool,
    /// Counters to add to: as [`emu_ir::Inst::exit_counts`] has them.
    counts: u16,
}

impl Pending {
    /// A stub that leaves the block.
    pub fn side(jcc: usize, side: Side) -> Pending {
        Pending { jcc, what: What::Side(side) }
    }

    /// A stub that moves the x87 state into the host's unit and goes on at `back`, or leaves.
    pub fn x87_load(jcc: usize, back: usize, side: Side) -> Pending {
        Pending { jcc, what: What::X87Load { back, side } }
    }

    /// A stub that moves the x87 state to the CPU structure and goes on at `back`.
    pub fn x87_store(jcc: usize, back: usize) -> Pending {
        Pending { jcc, what: What::X87Store { back } }
    }

    /// The stub for too small a budget, which stores those snapshots.
    pub fn budget(jcc: usize, flags: (u32, u32)) -> Pending {
        Pending { jcc, what: What::Budget(flags) }
    }

    /// A stub that parks the guest's MXCSR or brings it back and goes on at `back`.
    pub fn mxcsr(jcc: usize, back: usize, parks: bool) -> Pending {
        Pending { jcc, what: What::Mxcsr { back, parks } }
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
        if i.sub != 0 {
            self.check_counters(i.exit_counts())?;
        }
        let jcc = self.asm.jcc(cc);
        let mut side = self.side_exit(ExitKind::Direct, i.imm);
        side.counts = i.sub;
        self.pending.push(Pending::side(jcc, side));
        Ok(())
    }

    /// A new exit with the present state: behind the current instruction, or before it if it was
    /// not executed.
    pub fn side_exit(&mut self, kind: ExitKind, pc: u64) -> Side {
        let exit = self.new_exit(kind, pc);
        let start = self.exit_snaps.len() as u32;
        let first_move = self.exit_moves.len() as u32;
        let first_vector = self.exit_vector_moves.len() as u32;
        self.exit_state(exit);
        let snaps = (start, self.exit_snaps.len() as u32);
        let moves = (first_move, self.exit_moves.len() as u32);
        let vectors = (first_vector, self.exit_vector_moves.len() as u32);
        let executed = i32::from(kind != ExitKind::Unmasked);
        let refund = self.insn_count() - (self.insn + executed);
        Side { exit, snaps, moves, vectors, refund, unpark: self.unparks_at_exit(), counts: 0 }
    }

    /// [`emu_ir::Op::Jump`].
    pub fn jump(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.leave_to(i.imm)
    }

    /// Ends the block with a direct exit to `pc`.
    fn leave_to(&mut self, pc: u64) -> Result<(), Unsupported> {
        let exit = self.new_exit(ExitKind::Direct, pc);
        let first = self.exit_vector_moves.len();
        let stay = self.vectors_at_exit(exit);
        let loaded = self.wrote_state == self.insn;
        let flags = if loaded { None } else { self.flags_at_exit() };
        self.write_back_unpinned(stay, flags.is_some())?;
        self.emit_vector_moves(first, self.exit_vector_moves.len());
        let first = self.exit_moves.len();
        self.pin_moves();
        if let Some((n, temps)) = flags {
            self.temp_moves(temps);
            self.exits[exit as usize].flags = n;
        }
        self.emit_moves(first, self.exit_moves.len());
        if self.unparks_at_exit() {
            mxcsr::unpark(self.asm);
        }
        self.give_back(self.insn_count() - (self.insn + 1));
        self.emit_link(exit, loaded);
        Ok(())
    }

    /// Brings vectors to the registers where they are between blocks.
    fn emit_vector_moves(&mut self, from: usize, to: usize) {
        let mut moves = [(0, 0); MAX_VECTORS];
        // All of a register, whatever part of it counts.
        let ty = if self.host.avx { Ty::V256 } else { Ty::V128 };
        let n = to - from;
        moves[..n].copy_from_slice(&self.exit_vector_moves[from..to]);
        let mut left = n;
        while left > 0 {
            let blocked = |k: usize| {
                let (dst, src): (Reg, Reg) = moves[k];
                dst != src && moves[..left].iter().enumerate().any(|(j, m)| j != k && m.1 == dst)
            };
            match (0..left).find(|&k| !blocked(k)) {
                Some(k) => {
                    let (dst, src) = moves[k];
                    self.vec_move(ty, dst, src);
                    left -= 1;
                    moves.swap(k, left);
                }
                None => {
                    // A cycle: one content steps aside to the register no value lives in.
                    let src = moves[0].1;
                    self.vec_move(ty, TEMP, src);
                    for m in moves[..left].iter_mut().filter(|m| m.1 == src) {
                        m.1 = TEMP;
                    }
                }
            }
        }
    }

    /// Brings pinned slots to their registers. The host's flags stay.
    fn emit_moves(&mut self, from: usize, to: usize) {
        let mut moves = [(0, 0); MAX_PINS + TEMPS.len()];
        let mut n = 0;
        for k in from..to {
            let m = self.exit_moves[k];
            if let Loc::Gpr(r) = m.from {
                moves[n] = (m.to, r);
                n += 1;
            }
        }
        self.parallel_move(&mut moves[..n]);
        for k in from..to {
            let m = self.exit_moves[k];
            if !matches!(m.from, Loc::Gpr(_)) {
                self.load_loc(m.to, m.from);
            }
            if m.plus != 0 {
                self.asm.lea(Ty::I64, m.to, Mem::at(m.to, m.plus));
            }
        }
    }

    fn give_back(&mut self, refund: i32) {
        if refund != 0 {
            self.asm.lea(Ty::I64, BUDGET, Mem::at(BUDGET, refund));
        }
    }

    /// The patchable jump of an exit and, behind it, what it does while unlinked; or at once, if it
    /// `looks` whether a helper has loaded an MXCSR that generated code does not heed.
    fn emit_link(&mut self, exit: u32, looks: bool) {
        let flags = self.exits[exit as usize].flags;
        if flags != NO_FLAGS {
            self.exits[exit as usize].short = self.asm.len() as u32;
            self.asm.bytes(&NO_JUMP);
            let flags = self.exit_flags[flags as usize];
            self.store_flags(flags);
        }
        let unlinked = looks.then(|| {
            self.asm.alu_imm(Alu::Cmp, Ty::I8, Rm::M(cpu_mem(slots::MXCSR_LOADED)), 0);
            self.asm.jcc(5)
        });
        let at = self.asm.jmp();
        let stub = self.asm.len();
        self.asm.patch(at, stub);
        if let Some(at) = unlinked {
            self.asm.patch(at, stub);
        }
        self.store_vectors(self.exits[exit as usize].dirty);
        self.emit_leave_pinned(Number::Exit(exit));
        let e = &mut self.exits[exit as usize];
        e.patch = at as u32;
        e.stub = stub as u32;
    }

    /// Stores the vector slots of `set` from where they are between blocks.
    fn store_vectors(&mut self, set: Vectors) {
        for n in members(set) {
            self.vec_store(part(n), cpu_mem(self.vectors.slot(n)), home(n));
        }
    }

    /// Leaves generated code with that number; all state is in the CPU structure.
    fn emit_leave(&mut self, number: Number) {
        self.emit_leave_by(number, self.target.leave);
    }

    /// Leaves generated code with that number; the pinned slots are in their registers.
    fn emit_leave_pinned(&mut self, number: Number) {
        self.emit_leave_by(number, self.target.leave_pinned);
    }

    fn emit_leave_by(&mut self, number: Number, leave: u32) {
        let (n, own) = match number {
            Number::Fixed(n) => (n, false),
            Number::Exit(n) => (n, true),
        };
        self.asm.mov_imm(R10, u64::from(n));
        if own {
            self.asm.fixups.push(Fixup::exit(self.asm.len() - 4));
        }
        let at = self.asm.jmp();
        self.asm.point_outside(at, leave);
    }

    /// [`emu_ir::Op::JumpInd`]: probes the table of indirect branch targets.
    pub fn jump_ind(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let ty = self.block.insts[i.a.index()].ty;
        let c = self.const_of(i.a);
        if let Some(pc) = c {
            return self.leave_to(pc);
        }
        let t = self.gpr_clean(i.a, ty)?;
        self.write_back_unpinned(0, false)?;
        self.give_back(self.insn_count() - (self.insn + 1));
        let t2 = self.root_of(i.a);
        let t = match self.st.root(t2).reg {
            NOREG => t,
            r => r,
        };
        // The target goes to a register without a pin, along with the pinned slots to theirs.
        let first = self.exit_moves.len();
        self.pin_moves();
        self.exit_moves.push(PinMove { to: R10, from: Loc::Gpr(t), plus: 0 });
        self.emit_moves(first, self.exit_moves.len());
        self.probe();
        Ok(())
    }

    /// Jumps to the block at the pc in r10, with the pinned slots in place.
    fn probe(&mut self) {
        if self.unparks_at_exit() {
            mxcsr::unpark(self.asm);
        }
        self.asm.mov32(R11, R10);
        self.asm.mov_imm(R14, self.target.table);
        self.asm.alu_imm(Alu::And, Ty::I32, Rm::R(R11), self.target.mask as i32);
        let entry = Mem { base: R14, index: R11, shift: 2, disp: 0, addr32: false };
        self.asm.alu(Alu::Cmp, Ty::I64, R10, Rm::M(entry));
        let miss = self.asm.jcc(5);
        self.asm.op(0xff, false, 4, Rm::M(Mem { disp: 8, ..entry }), 0);
        let here = self.asm.len();
        self.asm.patch(miss, here);
        self.asm.store(Ty::I64, cpu_mem(slots::PC), R10);
        self.emit_leave_pinned(Number::Fixed(LEAVE_INDIRECT));
    }

    /// [`emu_ir::Op::Trap`].
    pub fn trap(&mut self, i: &Inst) -> Result<(), Unsupported> {
        self.write_back_all()?;
        let exit = self.new_exit(ExitKind::Trap(i.trap_kind()), i.imm);
        if !i.trap_kind().asks_kernel() {
            self.emit_leave(Number::Exit(exit));
            return Ok(());
        }
        let kind = Arg::Imm(i.trap_kind() as u64);
        self.call_to(Callee::Slot(slots::KERNEL), &[Arg::Cpu, kind], true)?;
        self.asm.alu_imm(Alu::Cmp, Ty::I8, Rm::R(RAX), 0);
        let declined = self.asm.jcc(4);
        self.pending.push(Pending::plain(declined, exit));
        if i.trap_kind() != TrapKind::Sysenter {
            return self.leave_to(i.imm);
        }
        // It goes on where the kernel says.
        self.give_back(self.insn_count() - (self.insn + 1));
        let first = self.exit_moves.len();
        self.pin_moves();
        self.emit_moves(first, self.exit_moves.len());
        self.asm.load_zx(8, R10, cpu_mem(slots::PC));
        self.probe();
        Ok(())
    }

    /// Writes the stubs collected on the way.
    pub fn emit_stubs(&mut self) -> Result<(), Unsupported> {
        for k in 0..self.pending.len() {
            let p = self.pending[k];
            let here = self.asm.len();
            self.asm.patch(p.jcc, here);
            match p.what {
                What::Budget(flags) => {
                    self.emit_snapshot(flags);
                    let n = self.insn_count();
                    self.give_back(n);
                    self.store_vectors(*self.wants);
                    self.insn = -1;
                    let exit = self.new_exit(ExitKind::Budget, self.block.pc);
                    self.emit_leave_pinned(Number::Exit(exit));
                }
                What::Mxcsr { back, parks } => {
                    if parks {
                        mxcsr::park(self.asm);
                    } else {
                        mxcsr::unpark(self.asm);
                    }
                    let at = self.asm.jmp();
                    self.asm.patch(at, back);
                }
                What::Plain(exit) => self.emit_leave(Number::Exit(exit)),
                What::Side(side) => self.emit_side(&side),
                What::X87Load { back, side } => {
                    self.call_x87_load();
                    let loaded = self.asm.jcc(5);
                    self.asm.patch(loaded, back);
                    self.emit_side(&side);
                }
                What::X87Store { back } => {
                    self.call_x87_store();
                    let at = self.asm.jmp();
                    self.asm.patch(at, back);
                }
            }
        }
        Ok(())
    }

    fn emit_side(&mut self, s: &Side) {
        self.emit_snapshot(s.snaps);
        self.emit_vector_moves(s.vectors.0 as usize, s.vectors.1 as usize);
        self.emit_moves(s.moves.0 as usize, s.moves.1 as usize);
        if s.unpark {
            mxcsr::unpark(self.asm);
        }
        // No pinned slot is in r10.
        let mut exit = Inst::new(emu_ir::Op::ExitIf, Ty::I64);
        exit.sub = s.counts;
        let mut base = None;
        for n in exit.exit_counts() {
            base = Some(self.add_to_counter(R10, base, n));
        }
        self.give_back(s.refund);
        if self.exits[s.exit as usize].kind == ExitKind::Direct {
            self.emit_link(s.exit, false);
        } else {
            self.store_vectors(self.exits[s.exit as usize].dirty);
            self.emit_leave_pinned(Number::Exit(s.exit));
        }
    }

    /// Stores everything a snapshot says is dirty. All registers keep their content.
    fn emit_snapshot(&mut self, (from, to): (u32, u32)) {
        for k in from..to {
            let s = self.exit_snaps[k as usize];
            self.emit_snap(&s);
        }
    }

    pub fn emit_snap(&mut self, s: &Snap) {
        let m = cpu_mem(u32::from(s.slot));
        let ty = Ty::int(u32::from(s.bytes)).unwrap_or(Ty::I64);
        let scratch = [R10, R11].into_iter().find(|&r| s.x != Loc::Gpr(r) && s.y != Loc::Gpr(r));
        let scratch = scratch.unwrap_or(R14);
        let save = Mem::at(RSP, SCRATCH);
        let simple = |l: Loc| matches!(l, Loc::Gpr(_) | Loc::Xmm(_) | Loc::Imm(_));
        let borrow = !(simple(s.x) && (s.how == How::Is || simple(s.y)));
        if borrow {
            self.asm.store(Ty::I64, save, scratch);
        }
        match s.x {
            Loc::Gpr(r) => self.asm.store(ty, m, r),
            Loc::Xmm(r) => {
                let ty = if s.bytes == 32 { Ty::V256 } else { Ty::V128 };
                self.vec_store(ty, m, r);
            }
            Loc::Imm(c) => self.asm.store_imm(ty, m, c),
            x => {
                self.load_loc(scratch, x);
                self.asm.store(ty, m, scratch);
            }
        }
        let op = match s.how {
            How::Is => None,
            How::Sum => Some(Alu::Add),
            How::Diff => Some(Alu::Sub),
        };
        if let Some(op) = op {
            match s.y {
                Loc::Gpr(r) => self.asm.alu_mem(op, Ty::I64, m, r),
                Loc::Imm(c) => self.asm.alu_imm(op, Ty::I64, Rm::M(m), c),
                y => {
                    self.load_loc(scratch, y);
                    self.asm.alu_mem(op, Ty::I64, m, scratch);
                }
            }
        }
        if borrow {
            self.asm.load_zx(8, scratch, save);
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
