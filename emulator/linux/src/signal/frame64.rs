//! The x86-64 signal frame (arch/x86/include/asm/sigframe.h, `struct rt_sigframe`).

use emu_x86::Level;
use emu_x86::fxsave::FxLayout;
use emu_x86::state::{gpr, seg};

use super::frame::{self, Frame, fpstate};
use super::{Action, AltStack, SS_AUTODISARM, SigInfo, sa};
use crate::{Errno, Process};

/// Bytes of the frame: return address, ucontext, siginfo.
pub(super) const SIZE: usize = UC + UC_SIZE + 128;
const UC: usize = 8;
const UC_SIZE: usize = 304;
const UC_LINK: usize = UC + 8;
const UC_STACK: usize = UC + 16;
const MCONTEXT: usize = UC + 40;
const SIGMASK: usize = UC + 296;
const INFO: usize = UC + UC_SIZE;

/// `UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`; `UC_FP_XSTATE` (1) tells of an XSAVE image.
const UC_FLAGS: u64 = 6;

/// The general registers in the order of `struct sigcontext`.
const ORDER: [usize; 16] = [
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    gpr::RDI,
    gpr::RSI,
    gpr::RBP,
    gpr::RBX,
    gpr::RDX,
    gpr::RAX,
    gpr::RCX,
    gpr::RSP,
];
const RIP: usize = MCONTEXT + 128;
const FLAGS: usize = MCONTEXT + 136;
const CS: usize = MCONTEXT + 144;
const SS: usize = MCONTEXT + 150;
const ERR: usize = MCONTEXT + 152;
const TRAPNO: usize = MCONTEXT + 160;
const OLDMASK: usize = MCONTEXT + 168;
const CR2: usize = MCONTEXT + 176;
const FPSTATE: usize = MCONTEXT + 184;

const RED_ZONE: u64 = 128;

/// Builds the frame and enters the handler.
pub(super) fn set_up(
    p: &mut Process,
    info: &SigInfo,
    action: &Action,
    mask: u64,
) -> Result<(), Errno> {
    if action.flags & sa::RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let thread = p.thread();
    let signals = thread.signals.clone();
    let cpu = &mut *thread.cpu;
    let (top, alt) = frame::stack_for(cpu, &signals, action, RED_ZONE)?;
    let fp = top.wrapping_sub(fpstate::size() as u64) & !63;
    let at = (fp.wrapping_sub(SIZE as u64) & !15).wrapping_sub(8);
    frame::check_fits(at, alt)?;

    fpstate::save(cpu, fp, FxLayout::Long64)?;

    let mut f = frame::read(at, SIZE)?;
    f.u64(0, action.restorer);
    f.u64(UC, UC_FLAGS | u64::from(Level::current().xcr0() != 0));
    f.u64(UC_LINK, 0);
    put_stack(&mut f, &signals.alt);
    for (i, &r) in ORDER.iter().enumerate() {
        f.u64(MCONTEXT + 8 * i, cpu.gpr[r]);
    }
    f.u64(RIP, cpu.hdr.pc);
    f.u64(FLAGS, frame::saved_flags(cpu));
    // With GS and FS, which are not in use.
    f.u32(CS, u32::from(cpu.selectors[seg::CS]));
    f.u16(CS + 4, 0);
    f.u16(SS, cpu.selectors[seg::SS]);
    f.u64(ERR, signals.fault.err);
    f.u64(TRAPNO, signals.fault.trapno);
    f.u64(OLDMASK, mask);
    f.u64(CR2, signals.fault.cr2);
    f.u64(FPSTATE, fp);
    f.u64(SIGMASK, mask);
    if action.flags & sa::SIGINFO != 0 {
        f.bytes[INFO..].copy_from_slice(&info.0);
    }
    frame::write(at, &f.bytes)?;

    cpu.gpr[gpr::RDI] = info.signal() as u64;
    cpu.gpr[gpr::RAX] = 0;
    cpu.gpr[gpr::RSI] = at + INFO as u64;
    cpu.gpr[gpr::RDX] = at + UC as u64;
    cpu.gpr[gpr::RSP] = at;
    cpu.hdr.pc = action.handler;
    frame::handler_state(cpu);
    if signals.alt.flags & SS_AUTODISARM != 0 {
        p.thread().signals.alt = AltStack::default();
    }
    Ok(())
}

fn put_stack(f: &mut Frame, alt: &AltStack) {
    f.u64(UC_STACK, alt.sp);
    f.u32(UC_STACK + 8, alt.flags);
    f.u64(UC_STACK + 16, alt.size);
}

/// `rt_sigreturn`: restores what the frame below the stack pointer holds.
pub fn return_rt(p: &mut Process) -> Result<(), Errno> {
    let sp = p.cpu().gpr[gpr::RSP];
    let f = frame::read(sp.wrapping_sub(8), SIZE)?;
    let fp = f.get64(FPSTATE);
    let cpu = p.cpu();
    if fp == 0 {
        cpu.reset_fp();
    } else {
        fpstate::load(cpu, fp, FxLayout::Long64)?;
    }
    for (i, &r) in ORDER.iter().enumerate() {
        cpu.gpr[r] = f.get64(MCONTEXT + 8 * i);
    }
    cpu.hdr.pc = f.get64(RIP);
    frame::restore_flags(cpu, f.get64(FLAGS));
    let alt = AltStack {
        sp: f.get64(UC_STACK),
        flags: f.get32(UC_STACK + 8),
        size: f.get64(UC_STACK + 16),
    };
    super::deliver::set_blocked(p, f.get64(SIGMASK));
    // Errors of the stack are ignored, as in the kernel (restore_altstack).
    let _ = super::deliver::set_alt_stack(p, alt);
    Ok(())
}
