//! Running code through lifter and interpreter.

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions};
use emu_interp::{ExitKind, Interp};
use emu_ir::{Block, HookSite, TrapKind};
use emu_x86::state::eflags;
use emu_x86::{I386, X86_64, X86Cpu, fxsave};

use crate::native::Area;
use crate::state::{Bits, CODE, GS_BASE, Outcome, State};

/// The code area as the lifter sees it.
struct Code<'a>(&'a [u8]);

impl CodeSource for Code<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        let at = pc.wrapping_sub(CODE) as usize;
        self.0.get(at..).unwrap_or(&[])
    }
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

fn arch(bits: Bits) -> &'static dyn GuestArch {
    match bits {
        Bits::B32 => &I386,
        Bits::B64 => &X86_64,
    }
}

/// Code lifted once, to be run from many states.
pub(crate) struct Emulated {
    bits: Bits,
    interp: Interp,
    /// The block of the whole code, instruction by instruction if it branches.
    blocks: Vec<Block>,
}

impl Emulated {
    /// Lifts `insns` instructions at [`CODE`]: one block each.
    pub(crate) fn new(area: &Area, bits: Bits, insns: usize) -> Emulated {
        let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
        let mut blocks = Vec::new();
        let mut pc = CODE;
        for _ in 0..insns {
            let block = arch(bits).lift(pc, &mut Code(area.code()), &options);
            pc += block.guest_len();
            if let Err(e) = emu_ir::verify(&block, arch(bits)) {
                panic!("{e}:\n{}", emu_ir::text::print(&block, arch(bits)));
            }
            blocks.push(block);
        }
        Emulated { bits, interp: Interp::new(arch(bits).helpers(), no_hook), blocks }
    }

    pub(crate) fn run(&mut self, area: &Area, state: &State) -> Outcome {
        area.set_data(&state.mem);
        let state = if self.bits == Bits::B32 { state.narrowed() } else { state.clone() };
        let arch = arch(self.bits);
        let hdr = arch.new_cpu();
        // SAFETY: `new_cpu` returned a live structure of this type.
        let cpu = unsafe { &mut *hdr.cast::<X86Cpu>() };
        cpu.gpr = state.gpr;
        cpu.gs_base = GS_BASE;
        cpu.hdr.set_flags(state.flags as u16);
        cpu.sys_flags = state.flags & eflags::USER;
        if let Err(bad) = fxsave::read_fxsave(cpu, &state.fx) {
            panic!("the state under test has a reserved MXCSR bit set: {bad:?}");
        }
        for (v, high) in cpu.vec.iter_mut().zip(state.ymm_high) {
            v.0[16..].copy_from_slice(&high.to_le_bytes());
        }
        cpu.hdr.pc = CODE;
        let mut trap = TrapKind::None;
        let mut fault_addr = 0;
        loop {
            let pc = cpu.hdr.pc;
            let Some(block) = self.blocks.iter().find(|b| b.pc == pc) else { break };
            // SAFETY: the structure is live; the block was lifted for it; the fault handler is
            // installed with the area.
            let exit = unsafe {
                arch.fp_enter(hdr);
                let exit = self.interp.run(hdr, block, (*hdr.cast::<X86Cpu>()).mxcsr);
                arch.fp_leave(hdr);
                exit
            };
            if exit.kind == ExitKind::Trap {
                if let Some(t) = cpu.hdr.take_trap() {
                    trap = t.kind;
                    if t.kind == TrapKind::PageFault {
                        fault_addr = t.addr;
                    }
                }
                break;
            }
        }
        let mut after = State {
            gpr: cpu.gpr,
            flags: u64::from(cpu.hdr.flags()) | cpu.sys_flags & (eflags::DF | eflags::AC),
            fx: [0; 512],
            ymm_high: cpu.vec.map(|v| v.high()),
            mem: area.data(),
        };
        fxsave::write_fxsave(cpu, &mut after.fx);
        let pc = cpu.hdr.pc;
        // SAFETY: made by `new_cpu`, not used afterwards.
        unsafe { arch.free_cpu(hdr) };
        Outcome { state: after, pc, trap, fault_addr }
    }

    /// The ops of the lifted code, for messages.
    pub(crate) fn listing(&self) -> String {
        self.blocks.iter().map(|b| emu_ir::text::print(b, arch(self.bits)).to_string()).collect()
    }
}

/// Runs `code` (`insns` instructions) through lifter and interpreter.
pub fn run(bits: Bits, code: &[u8], insns: usize, state: &State) -> Outcome {
    let area = Area::take();
    area.set_code(code);
    Emulated::new(&area, bits, insns).run(&area, state)
}
