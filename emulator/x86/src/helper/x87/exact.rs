//! Any x87 instruction, exactly: on the host's x87 unit with the guest's whole state.
//!
//! The guest's state is loaded with FRSTOR, the guest's own instruction executed, and the state
//! stored with FNSAVE, which also leaves the host's unit initialized. That is right in every
//! corner (stack faults, unmasked exceptions, denormals) and takes a few hundred cycles; the
//! common cases have shorter ways.
//!
//! One stub exists for each of the 512 register forms and 64 memory forms.

use core::arch::global_asm;

use emu_cpu::CpuHeader;
use emu_ir::TrapKind;

use crate::X86Cpu;
use crate::fxsave::{read_fsave, write_fsave};
use crate::state::X87;

/// Bytes of a stub.
const STUB: usize = 16;
/// Index of the first memory form.
const MEMORY_FORMS: usize = 512;

// Arguments: rdi state image, rsi memory operand, rdx flags. Result: flags. The bytes are
// frstor [rdi] and fnsave [rdi]; between them stands the instruction, its memory operand at [rsi].
global_asm!(
    ".text",
    ".balign 16",
    "emu_x86_x87_stubs:",
    ".set n, 0",
    ".rept 512",
    ".balign 16",
    "push rdx",
    "popfq",
    ".byte 0xdd, 0x27",
    ".byte 0xd8 + (n >> 6), 0xc0 + (n & 63)",
    ".byte 0xdd, 0x37",
    "pushfq",
    "pop rax",
    "ret",
    ".set n, n + 1",
    ".endr",
    ".set n, 0",
    ".rept 64",
    ".balign 16",
    "push rdx",
    "popfq",
    ".byte 0xdd, 0x27",
    ".byte 0xd8 + (n >> 3), 0x06 + ((n & 7) << 3)",
    ".byte 0xdd, 0x37",
    "pushfq",
    "pop rax",
    "ret",
    ".set n, n + 1",
    ".endr",
);

unsafe extern "C" {
    fn emu_x86_x87_stubs();
}

type Stub = unsafe extern "C" fn(*mut u8, *mut u8, u64) -> u64;

/// The memory operand of an instruction: at most 10 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default)]
pub struct Operand(pub [u8; 16]);

impl From<u64> for Operand {
    fn from(v: u64) -> Operand {
        Operand((u128::from(v)).to_le_bytes())
    }
}

/// What executing an instruction on a copy of the state gave.
pub struct Outcome {
    /// The state after it.
    pub x: X87,
    /// The arithmetic flags after it.
    pub flags: u16,
    /// Whether the destination was written: no unmasked exception other than precision came up.
    pub completed: bool,
}

/// Executes the instruction with the 11-bit opcode `fop` on a copy of `x`; `operand` is its memory
/// operand, read or written. No exception is pending in `x`.
pub fn execute(x: &X87, fop: u16, operand: &mut Operand, flags: u16) -> Outcome {
    let mut image = [0u8; 108];
    write_fsave(x, &mut image, true);
    let (esc, modrm) = (usize::from(fop >> 8 & 7), usize::from(fop & 0xff));
    let index = if modrm >= 0xc0 {
        esc << 6 | modrm & 63
    } else {
        MEMORY_FORMS + (esc << 3 | modrm >> 3 & 7)
    };
    let entry = emu_x86_x87_stubs as *const () as usize + STUB * index;
    // SAFETY: `entry` is one of the stubs. It changes the x87 unit, which it leaves initialized as
    // the calling convention wants, the image and at most 10 bytes of the operand; the flags given
    // are arithmetic ones. With no exception pending in the image none of its instructions traps.
    let flags = unsafe {
        let stub: Stub = core::mem::transmute(entry);
        stub(image.as_mut_ptr(), operand.0.as_mut_ptr(), u64::from(flags & emu_ir::flags::ALL))
    };
    let mut after = x.clone();
    read_fsave(&mut after, &image, true);
    after.last_ip = x.last_ip;
    after.last_dp = x.last_dp;
    after.last_opcode = x.last_opcode;
    let raised = after.status & !after.control & X87::EXCEPTIONS;
    const PRECISION: u16 = 1 << 5;
    Outcome {
        x: after,
        flags: flags as u16 & emu_ir::flags::ALL,
        completed: raised & !PRECISION == 0,
    }
}

/// Executes a whole instruction: raises the trap if an exception is pending, else executes it and
/// commits the result. For a memory operand `addr` is its address. The result is the flags after
/// it, or `None` after the trap.
#[cold]
#[inline(never)]
pub fn instruction(cpu: &mut X86Cpu, fop: u64, operand: u64, addr: u64) -> Option<u16> {
    if pending(cpu) {
        return None;
    }
    let mut operand = Operand::from(operand);
    let done = execute(&cpu.x87, fop as u16, &mut operand, cpu.hdr.flags());
    let flags = done.flags;
    commit(cpu, done, fop, addr);
    Some(flags)
}

/// Makes an outcome the guest's state, with the pointers to instruction and operand.
pub fn commit(cpu: &mut X86Cpu, done: Outcome, fop: u64, addr: u64) {
    cpu.x87 = done.x;
    cpu.x87.last_ip = cpu.hdr.insn_pc;
    if cpu.x87.status & X87::PENDING != 0 {
        cpu.x87.last_opcode = fop as u16 & 0x7ff;
        if fop as u8 & 0xc0 != 0xc0 {
            cpu.x87.last_dp = addr;
        }
    }
}

/// Raises the trap of a waiting instruction if an unmasked exception is pending.
#[inline(always)]
pub fn pending(cpu: &mut X86Cpu) -> bool {
    let is = cpu.x87.status & X87::PENDING != 0;
    if is {
        raise(&mut cpu.hdr);
    }
    is
}

#[cold]
fn raise(hdr: &mut CpuHeader) {
    hdr.raise(TrapKind::X87);
}
