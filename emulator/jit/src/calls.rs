//! Calls out of generated code.

use core::mem::offset_of;

use emu_cpu::{X87Use, slots};
use emu_ir::{HookCell, Inst, Ty, Val};

use crate::Unsupported;
use crate::alloc::{BUDGET, CALLER_SAVED, cpu_mem};
use crate::asm::{Alu, Mem, R8, R9, RAX, RBP, RCX, RDI, RDX, RSI, RSP, Reg, Rm};
use crate::compile::Compiler;
use crate::exits::{Exit, ExitKind, NO_FLAGS, Pending};
use crate::mxcsr::{Density, Place};
use crate::state::{Home, Kind, NOROOT};

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// The CPU structure.
    Cpu,
    /// The CPU structure as lent to a callback, with these bits ([`emu_cpu::lend`]).
    Lent(usize),
    /// A constant.
    Imm(u64),
    /// The address of the block's description.
    Info(u64),
    /// An integer value of this type.
    Val(Val, Ty),
    /// The callback data at this offset from rsp.
    Frame(i32),
    /// The user data in the callee's cell.
    User,
}

/// Argument registers in order.
pub const ARGS: [Reg; 6] = [RDI, RSI, RDX, RCX, R8, R9];

/// Where a called function is.
#[derive(Clone, Copy, Debug)]
pub enum Callee {
    /// At this address.
    At(u64),
    /// The function of the [`HookCell`] at this address.
    Through(u64),
    /// At the address in this slot.
    Slot(u32),
}

impl Compiler<'_> {
    /// Calls the function at `target`; the result is in rax. State is neither written nor
    /// forgotten, unless `kills`: then nothing cached survives (it must be written already).
    pub fn call(&mut self, target: u64, args: &[Arg], kills: bool) -> Result<(), Unsupported> {
        self.call_to(Callee::At(target), args, kills)
    }

    /// Nothing that is cached of the state, and written already, counts any more.
    pub fn forget_state(&mut self) -> Result<(), Unsupported> {
        for k in 0..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            self.drop_slot(u)?;
        }
        // What is live must not count on slots as its memory copy either.
        for r in 0..16 {
            for root in [self.st.gpr[r], self.st.xmm[r]] {
                if root != NOROOT
                    && let Home::Slot(_) = self.st.root(root).home
                {
                    self.st.root(root).home = Home::None;
                }
            }
        }
        Ok(())
    }

    /// As [`Compiler::call`].
    pub fn call_to(&mut self, to: Callee, args: &[Arg], kills: bool) -> Result<(), Unsupported> {
        if kills {
            self.forget_state()?;
        }
        // Sources first, so that making room cannot take them away.
        let mut moves: [(Reg, Reg); 6] = [(0, 0); 6];
        let mut n = 0;
        for (arg, &dst) in args.iter().zip(&ARGS) {
            if let Arg::Val(v, ty) = *arg
                && self.const_of(v).is_none()
            {
                moves[n] = (dst, self.gpr_clean(v, ty)?);
                n += 1;
            }
        }
        let consts = args.map_consts(self);
        for arg in args {
            if let Arg::Val(v, _) = *arg {
                self.st.release(v.index());
            }
        }
        for r in 0..16u8 {
            if CALLER_SAVED >> r & 1 != 0 && self.st.gpr[usize::from(r)] != NOROOT {
                let root = self.st.gpr[usize::from(r)];
                self.evict(root)?;
            }
            let x = self.st.xmm[usize::from(r)];
            if x != NOROOT {
                self.evict(x)?;
            }
        }
        self.parallel_move(&mut moves[..n]);
        if let Callee::Through(cell) = to {
            self.asm.mov_imm(RAX, cell);
        }
        self.load_args(args, &consts);
        let budget = cpu_mem(slots::BUDGET);
        if !self.budget_stored {
            self.asm.store(Ty::I64, budget, BUDGET);
            self.budget_stored = true;
        }
        self.clobber_flags();
        match to {
            Callee::At(f) => {
                self.asm.mov_imm(RAX, f);
                self.asm.op(0xff, false, 2, Rm::R(RAX), 0);
            }
            Callee::Slot(slot) => self.asm.op(0xff, false, 2, Rm::M(cpu_mem(slot)), 0),
            Callee::Through(_) => {
                let func = Mem::at(RAX, offset_of!(HookCell, func) as i32);
                self.asm.op(0xff, false, 2, Rm::M(func), 0);
            }
        }
        // Somebody may have asked to be let in meanwhile.
        self.asm.load_zx(8, BUDGET, budget);
        Ok(())
    }

    /// Loads the arguments that are not in place: all but values, which may be constants. A cell's address
    /// is in rax.
    pub fn load_args(&mut self, args: &[Arg], consts: &[Option<u64>; 6]) {
        for (k, arg) in args.iter().enumerate() {
            let dst = ARGS[k];
            match *arg {
                Arg::Cpu | Arg::Lent(_) => {
                    let bits = if let Arg::Lent(bits) = *arg { bits as i32 } else { 0 };
                    self.asm.lea(Ty::I64, dst, Mem::at(RBP, bits - slots::BIAS as i32));
                }
                Arg::Imm(c) => self.asm.mov_imm(dst, c),
                Arg::Info(at) => self.asm.mov_info(dst, at),
                Arg::Val(..) => {
                    if let Some(c) = consts[k] {
                        self.asm.mov_imm(dst, c);
                    }
                }
                Arg::Frame(off) => self.asm.lea(Ty::I64, dst, Mem::at(RSP, off)),
                Arg::User => {
                    let user = Mem::at(RAX, offset_of!(HookCell, user) as i32);
                    self.asm.load_zx(8, dst, user);
                }
            }
        }
    }

    /// Moves registers as if all at once.
    pub fn parallel_move(&mut self, moves: &mut [(Reg, Reg)]) {
        let mut left = moves.len();
        while left > 0 {
            let mut k = 0;
            let mut progress = false;
            while k < left {
                let (dst, src) = moves[k];
                let blocked = dst != src
                    && moves[..left].iter().enumerate().any(|(j, m)| j != k && m.1 == dst);
                if !blocked {
                    if dst != src {
                        self.asm.mov64(dst, src);
                    }
                    left -= 1;
                    moves.swap(k, left);
                    progress = true;
                } else {
                    k += 1;
                }
            }
            if !progress {
                // A cycle: swap one step of it.
                let (dst, src) = moves[0];
                self.asm.op(0x87, true, dst, Rm::R(src), 0);
                for m in moves[..left].iter_mut() {
                    if m.1 == dst {
                        m.1 = src;
                    } else if m.1 == src {
                        m.1 = dst;
                    }
                }
            }
        }
    }

    /// [`emu_ir::Op::Call`].
    pub fn helper(&mut self, i: &Inst) -> Result<(), Unsupported> {
        let h = self.arch.helpers()[usize::from(i.sub)];
        let e = h.effects;
        if h.x87 != X87Use::Nothing {
            self.x87_to_structure();
        }
        if e.reads || e.writes || e.traps {
            self.unpark_mxcsr();
        }
        if e.reads || e.writes || e.traps {
            self.write_back_all()?;
            self.store_const(&[slots::INSN_PC], self.pc)?;
            self.store_retired(0);
        }
        let mut args = [Arg::Cpu, Arg::Imm(0), Arg::Imm(0), Arg::Imm(0), Arg::Imm(0)];
        for (arg, v) in args[1..].iter_mut().zip(i.call_args()) {
            if v.is_some() {
                *arg = Arg::Val(v, self.block.insts[v.index()].ty);
            }
        }
        self.call(h.func as usize as u64, &args, e.writes)?;
        if e.writes {
            self.wrote_state = self.insn;
        }
        if self.density == Density::Dense {
            // Callbacks on its accesses may have run.
            self.mxcsr = Place::Unknown;
        }
        if e.traps {
            self.asm.alu_imm(Alu::Cmp, Ty::I8, Rm::M(cpu_mem(slots::TRAP)), 0);
            let at = self.asm.jcc(5);
            let exit = self.new_exit(ExitKind::HelperTrap, self.pc.wrapping_add(self.insn_len));
            self.pending.push(Pending::plain(at, exit));
        }
        if self.st.left[self.at] > 0 {
            if i.ty.is_int() {
                self.define(RAX, 64);
            } else {
                return Err(Unsupported::Op(i.op));
            }
        }
        Ok(())
    }

    /// Stores a constant to header fields. The host's flags stay.
    pub fn store_const(&mut self, slots: &[u32], c: u64) -> Result<(), Unsupported> {
        if let Ok(c) = i32::try_from(c as i64) {
            for &slot in slots {
                self.asm.store_imm(Ty::I64, cpu_mem(slot), c);
            }
        } else {
            let t = self.alloc_gpr()?;
            self.asm.mov_imm(t, c);
            for &slot in slots {
                self.asm.store(Ty::I64, cpu_mem(slot), t);
            }
            self.st.gpr_lock &= !(1 << t);
        }
        Ok(())
    }

    /// Lets the callee see an exact count: notes how many of the instructions taken from the
    /// budget have not retired, when `more` of them retired beside the ones before this one.
    pub fn store_retired(&mut self, more: i32) {
        let left = self.insn_count() - self.insn.max(0) - more;
        self.asm.store_imm(Ty::I32, cpu_mem(slots::RETIRE_ADJUST), left);
    }

    /// A new exit at the current instruction.
    pub fn new_exit(&mut self, kind: ExitKind, pc: u64) -> u32 {
        self.exits.push(Exit {
            kind,
            pc,
            insn: self.insn,
            insn_pc: self.pc,
            dirty: 0,
            clean: 0,
            patch: 0,
            stub: 0,
            short: 0,
            flags: NO_FLAGS,
        });
        (self.exits.len() - 1) as u32
    }
}

/// Looks up constant arguments before anything moves.
trait MapConsts {
    fn map_consts(&self, c: &Compiler<'_>) -> [Option<u64>; 6];
}

impl MapConsts for &[Arg] {
    fn map_consts(&self, c: &Compiler<'_>) -> [Option<u64>; 6] {
        let mut out = [None; 6];
        for (o, arg) in out.iter_mut().zip(self.iter()) {
            if let Arg::Val(v, _) = *arg {
                let r = c.root_of(v);
                if r != NOROOT
                    && let Kind::Const(k) = c.st.roots[usize::from(r)].kind
                {
                    *o = Some(k);
                }
            }
        }
        out
    }
}
