//! Keeps callbacks' floating-point operations out of the guest's, whose controls and sticky flags are in
//! the host's MXCSR while generated code runs.
//!
//! Ahead of a callback the guest's MXCSR is *parked* in the CPU structure, and the host's default
//! takes its place; before a floating-point operation or a helper it comes back. Both are slow on
//! some processors, so nothing happens where it is known to be parked, or not.
//!
//! Where callbacks are few ([`Density::Sparse`]), blocks begin and end with the guest's MXCSR in
//! place, so blocks without callbacks know nothing of all this. Where they are many
//! ([`Density::Dense`]), it stays parked over block boundaries, and each block checks.
//!
//! Generated code runs with the guest's exception masks ([`unmask`], [`mask`]); everything else runs
//! with all exceptions masked. An exception the guest has unmasked then is the host's SIGFPE, at a
//! fault point.

use emu_cpu::HOST_MXCSR;
use emu_cpu::slots::{MXCSR, MXCSR_HOST, MXCSR_LOADED, MXCSR_PARKED, SIMD_UNMASKED};
use emu_ir::Ty;

use crate::alloc::cpu_mem;
use crate::asm::{Alu, Asm, OF, RAX, Rm};
use crate::compile::Compiler;
use crate::exits::Pending;

/// How many callbacks to expect.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub enum Density {
    /// In few blocks.
    #[default]
    Sparse,
    /// In most blocks.
    Dense,
}

/// What is known of the guest's MXCSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the host's MXCSR.
    Live,
    /// In the CPU structure.
    Parked,
    /// One of these; the CPU structure says which.
    Unknown,
}

const STMXCSR: u8 = 3;
const LDMXCSR: u8 = 2;

fn mxcsr(asm: &mut Asm, op: u8, slot: u32) {
    asm.op(0xae | OF, false, op, Rm::M(cpu_mem(slot)), 0);
}

/// Parks the guest's MXCSR. Registers and flags stay.
pub fn park(asm: &mut Asm) {
    mxcsr(asm, STMXCSR, MXCSR);
    asm.store_imm(Ty::I32, cpu_mem(MXCSR_PARKED), 1);
    asm.store_imm(Ty::I32, cpu_mem(MXCSR_HOST), HOST_MXCSR as i32);
    mxcsr(asm, LDMXCSR, MXCSR_HOST);
}

/// Brings the guest's MXCSR back. Registers and flags stay.
pub fn unpark(asm: &mut Asm) {
    mxcsr(asm, LDMXCSR, MXCSR);
    asm.store_imm(Ty::I32, cpu_mem(MXCSR_PARKED), 0);
}

/// Takes over the guest's exception masks, on the way into generated code. Changes rax.
pub fn unmask(asm: &mut Asm) {
    let none = skip_if_masked(asm);
    asm.store_imm(Ty::I8, cpu_mem(MXCSR_LOADED), 0);
    mxcsr(asm, STMXCSR, MXCSR_HOST);
    asm.load_zx(4, RAX, cpu_mem(SIMD_UNMASKED));
    // xor [mem], eax
    asm.op(0x31, false, RAX, Rm::M(cpu_mem(MXCSR_HOST)), 0);
    mxcsr(asm, LDMXCSR, MXCSR_HOST);
    let here = asm.len();
    asm.patch(none, here);
}

/// Masks all exceptions, on the way out of generated code.
pub fn mask(asm: &mut Asm) {
    let none = skip_if_masked(asm);
    mxcsr(asm, STMXCSR, MXCSR_HOST);
    asm.alu_imm(Alu::Or, Ty::I32, Rm::M(cpu_mem(MXCSR_HOST)), MASKS);
    mxcsr(asm, LDMXCSR, MXCSR_HOST);
    let here = asm.len();
    asm.patch(none, here);
}

/// The exception masks in MXCSR.
const MASKS: i32 = 0x1f80;

fn skip_if_masked(asm: &mut Asm) -> usize {
    asm.alu_imm(Alu::Cmp, Ty::I32, Rm::M(cpu_mem(SIMD_UNMASKED)), 0);
    asm.jcc(4)
}

/// Compares the flag with 0.
pub fn test(asm: &mut Asm) {
    asm.alu_imm(Alu::Cmp, Ty::I32, Rm::M(cpu_mem(MXCSR_PARKED)), 0);
}

impl Compiler<'_> {
    /// Where the guest's MXCSR is at the start of a block.
    pub fn mxcsr_at_start(density: Density) -> Place {
        match density {
            Density::Sparse => Place::Live,
            Density::Dense => Place::Unknown,
        }
    }

    /// Makes sure the guest's MXCSR is parked.
    pub fn park_mxcsr(&mut self) {
        match self.mxcsr {
            Place::Parked => return,
            Place::Live => park(self.asm),
            Place::Unknown => self.mxcsr_out_of_line(4, true),
        }
        self.mxcsr = Place::Parked;
    }

    /// Makes sure the guest's MXCSR is live.
    pub fn unpark_mxcsr(&mut self) {
        match self.mxcsr {
            Place::Live => return,
            Place::Parked => unpark(self.asm),
            Place::Unknown => self.mxcsr_out_of_line(5, false),
        }
        self.mxcsr = Place::Live;
    }

    /// Goes out of line to park or unpark when the flag's comparison with 0 says so.
    fn mxcsr_out_of_line(&mut self, cc: u8, parks: bool) {
        self.clobber_flags();
        test(self.asm);
        let jcc = self.asm.jcc(cc);
        let back = self.asm.len();
        self.pending.push(Pending::mxcsr(jcc, back, parks));
    }

    /// Whether the guest's MXCSR must come back at the block's exits.
    pub fn unparks_at_exit(&self) -> bool {
        self.density == Density::Sparse && self.mxcsr == Place::Parked
    }
}
