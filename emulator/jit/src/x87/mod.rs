//! The guest's x87 state in the host's x87 unit.
//!
//! Generated code executes x87 instructions as the host's own ([`emit`]). The first one moves the
//! state into the host's unit, out of line, where it stays across blocks. Whatever may look at it,
//! or uses the host's unit itself, first moves it back: helpers, callbacks, ops on its slots, and
//! the way out of generated code. A flag in the CPU structure says where it is, so code without x87
//! instructions does nothing but look at the flag before calls.
//!
//! A guest that unmasks an exception cannot be served that way. Code then leaves by
//! [`ExitKind::Unmasked`], and the engine has everything compiled anew with
//! [`Jit::use_x87`](crate::Jit::use_x87) off, which calls the helpers.

mod emit;
mod select;

use emu_cpu::{X87Unit, slots};
use emu_ir::{Inst, Ty};

use crate::Unsupported;
use crate::alloc::{BUDGET, CALLER_SAVED, cpu_mem};
use crate::asm::{Alu, Asm, Mem, OF, RAX, RBP, RDI, RSP, Rm};
use crate::compile::Compiler;
use crate::exits::{ExitKind, Pending};

pub use select::Selection;

/// Not 0: the state is in the host's unit.
const FLAG: u32 = slots::TIER;

/// Where the guest's x87 state is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the host's unit.
    Host,
    /// In the CPU structure.
    Structure,
    /// One of these; the flag says which.
    Unknown,
}

/// The code that moves the state, as offsets in the arena. It keeps all registers, but not the
/// flags.
#[derive(Clone, Copy, Default, Hash, Debug)]
pub struct Movers {
    /// Into the host's unit; the flag says whether that was possible.
    load: u32,
    /// Into the CPU structure.
    store: u32,
}

impl Movers {
    /// Appends that code to `asm`, whose first byte will be at `base` in the arena.
    pub fn write(asm: &mut Asm, base: u32, unit: &X87Unit, avx: bool) -> Movers {
        let load = base + asm.len() as u32;
        write_mover(asm, unit.load as usize as u64, avx);
        let store = base + asm.len() as u32;
        write_mover(asm, unit.store as usize as u64, avx);
        Movers { load, store }
    }

    /// Appends what moves the state to the CPU structure if it is not there.
    pub fn write_leave(&self, asm: &mut Asm, base: u32) {
        test(asm);
        let there = asm.jcc(4);
        asm.byte(0xe8);
        asm.dword(0);
        asm.patch(asm.len() - 4, (self.store - base) as usize);
        let here = asm.len();
        asm.patch(there, here);
    }
}

/// Code that calls `f` and stores its result in the flag.
fn write_mover(asm: &mut Asm, f: u64, avx: bool) {
    let saved = || (0..16u8).filter(|r| CALLER_SAVED >> r & 1 != 0);
    let push_or_pop = |asm: &mut Asm, op: u8, r: u8| {
        if r >= 8 {
            asm.byte(0x41);
        }
        asm.byte(op | (r & 7));
    };
    let vectors = |asm: &mut Asm, op: u32| {
        for n in 0..16u8 {
            let m = Mem::at(RSP, 32 * i32::from(n));
            if avx {
                asm.vex(op | OF, false, true, n, 0, Rm::M(m));
            } else {
                asm.op(op | OF, false, n, Rm::M(m), 0);
            }
        }
    };
    // The nine registers and the return address keep the stack aligned.
    const { assert!(CALLER_SAVED.count_ones() % 2 == 1) };
    for r in saved() {
        push_or_pop(asm, 0x50, r);
    }
    asm.lea(Ty::I64, RSP, Mem::at(RSP, -512));
    vectors(asm, 0x11);
    if avx {
        // vzeroupper
        for b in [0xc5, 0xf8, 0x77] {
            asm.byte(b);
        }
    }
    let budget = cpu_mem(slots::BUDGET);
    asm.store(Ty::I64, budget, BUDGET);
    asm.lea(Ty::I64, RDI, Mem::at(RBP, -(slots::BIAS as i32)));
    asm.mov_imm(RAX, f);
    asm.op(0xff, false, 2, Rm::R(RAX), 0);
    asm.load_zx(8, BUDGET, budget);
    asm.store(Ty::I32, cpu_mem(FLAG), RAX);
    vectors(asm, 0x10);
    asm.lea(Ty::I64, RSP, Mem::at(RSP, 512));
    for r in saved().rev() {
        push_or_pop(asm, 0x58, r);
    }
    asm.byte(0xc3);
}

/// Compares the flag with 0.
fn test(asm: &mut Asm) {
    asm.alu_imm(Alu::Cmp, Ty::I32, Rm::M(cpu_mem(FLAG)), 0);
}

/// A call of code at `target` in the arena.
fn call(asm: &mut Asm, target: u32) {
    asm.byte(0xe8);
    let at = asm.len();
    asm.dword(0);
    asm.point_outside(at, target);
}

impl Compiler<'_> {
    /// The unit, if x87 instructions are to become the host's.
    pub fn x87_unit(&self) -> Option<&'static X87Unit> {
        if self.target.x87.is_some() { self.arch.x87_unit() } else { None }
    }

    /// Where the x87 state is at the start of a block.
    pub fn x87_at_start(movers: Option<Movers>) -> Place {
        if movers.is_some() { Place::Unknown } else { Place::Structure }
    }

    /// Makes sure the x87 state is in the host's unit; leaves the block if the guest does not
    /// allow that.
    fn x87_to_host(&mut self, unit: &X87Unit) -> Result<(), Unsupported> {
        if self.x87 == Place::Host {
            return Ok(());
        }
        for u in (unit.slots.start / 8) as usize..unit.slots.end.div_ceil(8) as usize {
            if self.st.slots[u].root != crate::state::NOROOT {
                if self.st.slots[u].dirty {
                    self.write_back(u)?;
                }
                self.drop_slot(u)?;
            }
        }
        self.clobber_flags();
        let jump = match self.x87 {
            Place::Unknown => {
                test(self.asm);
                self.asm.jcc(4)
            }
            _ => self.asm.jmp(),
        };
        let side = self.side_exit(ExitKind::Unmasked, 0);
        self.pending.push(Pending::x87_load(jump, self.asm.len(), side));
        self.x87 = Place::Host;
        Ok(())
    }

    /// Makes sure the x87 state is in the CPU structure.
    pub fn x87_to_structure(&mut self) {
        match self.x87 {
            Place::Structure => return,
            Place::Host => self.call_x87_store(),
            Place::Unknown => {
                test(self.asm);
                let jump = self.asm.jcc(5);
                self.pending.push(Pending::x87_store(jump, self.asm.len()));
            }
        }
        self.clobber_flags();
        self.x87 = Place::Structure;
    }

    /// Before an access to a slot: makes sure the CPU structure has it.
    pub fn x87_before_slot(&mut self, i: &Inst) {
        if self.x87 != Place::Structure
            && self.x87_unit().is_some_and(|unit| select::overlaps(unit, i))
        {
            self.x87_to_structure();
        }
    }

    /// Calls the code that moves the state into the host's unit.
    pub fn call_x87_load(&mut self) {
        let Some(movers) = self.target.x87 else { return };
        call(self.asm, movers.load);
        test(self.asm);
    }

    /// Calls the code that moves the state into the CPU structure.
    pub fn call_x87_store(&mut self) {
        let Some(movers) = self.target.x87 else { return };
        call(self.asm, movers.store);
    }
}
