//! Runs one instruction as a guest.

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions};
use emu_interp::{Exit, Interp, MXCSR_ALL_MASKED};
use emu_ir::{Block, HookSite};
use emu_x86::fxsave::{read_fxsave, write_fxsave};
use emu_x86::{I386, Mode, X86_64, X86Cpu, lift_block};

use super::state::State;

pub const PC: u64 = 0x40_0000;

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get((pc - PC) as usize..).unwrap_or(&[])
    }
}

/// Lifts the single instruction in `bytes`.
pub fn lift(mode: Mode, bytes: &[u8]) -> Block {
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    lift_block(mode, PC, &mut Bytes(bytes), &options)
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

pub struct Guest {
    interp: Interp,
}

impl Guest {
    pub fn new() -> Guest {
        emu_mem::host_fault::install();
        Guest { interp: Interp::new(emu_x86::helper::HELPERS, no_hook) }
    }

    /// Executes `block` in `state`; how it left and the pending trap's number.
    pub fn run(&mut self, mode: Mode, block: &Block, state: &mut State) -> (Exit, u8) {
        let arch: &dyn GuestArch = if mode == Mode::Bits64 { &X86_64 } else { &I386 };
        let mut cpu = X86Cpu { gpr: state.gpr, ..X86Cpu::default() };
        read_fxsave(&mut cpu, &state.fx).expect("generated states are valid");
        cpu.hdr.set_flags(state.flags as u16);
        let header = (&raw mut cpu).cast::<CpuHeader>();
        // SAFETY: the structure is live and of this architecture; the block was lifted for it.
        let exit = unsafe {
            arch.fp_enter(header);
            let exit = self.interp.run(header, block, state.mxcsr() & MXCSR_ALL_MASKED);
            arch.fp_leave(header);
            exit
        };
        write_fxsave(&cpu, &mut state.fx);
        state.gpr = cpu.gpr;
        state.flags = u64::from(cpu.hdr.flags());
        (exit, cpu.hdr.trap)
    }
}
