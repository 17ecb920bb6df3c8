//! The i386 signal frames (arch/x86/include/asm/sigframe.h, `struct sigframe_ia32` and
//! `struct rt_sigframe_ia32`).

use emu_x86::fxsave::{self, FxLayout};
use emu_x86::state::{gpr, seg};
use emu_x86::{Level, X86Cpu};

use super::frame::{self, Frame, fpstate};
use super::{Action, AltStack, SS_AUTODISARM, SigInfo, sa};
use crate::vdso::{RT_SIGRETURN, SIGRETURN};
use crate::{Abi, Errno, Process};

/// Bytes of the larger frame.
pub(super) const SIZE: usize = OLD_SIZE;

// struct sigframe_ia32
const OLD_SC: usize = 8;
const OLD_EXTRAMASK: usize = OLD_SC + 88 + 624;
const OLD_RETCODE: usize = OLD_EXTRAMASK + 4;
const OLD_SIZE: usize = OLD_RETCODE + 8;

// struct rt_sigframe_ia32
const RT_INFO: usize = 16;
const RT_UC: usize = RT_INFO + 128;
const RT_LINK: usize = RT_UC + 4;
const RT_STACK: usize = RT_UC + 8;
const RT_SC: usize = RT_UC + 20;
const RT_MASK: usize = RT_SC + 88;
const RT_RETCODE: usize = RT_MASK + 8;
const RT_SIZE: usize = RT_RETCODE + 8;

/// Bytes of the FSAVE header in front of the FXSAVE image.
const FSAVE: usize = 112;
/// In it, the segments of the last instruction and of its operand.
const FCS: usize = 16;
const FOS: usize = 24;

/// The general registers in the order of `struct sigcontext_32`, from offset 16 on.
const ORDER: [usize; 8] =
    [gpr::RDI, gpr::RSI, gpr::RBP, gpr::RSP, gpr::RBX, gpr::RDX, gpr::RCX, gpr::RAX];
const TRAPNO: usize = 48;
const ERR: usize = 52;
const IP: usize = 56;
const CS: usize = 60;
const FLAGS: usize = 64;
const SP_AT_SIGNAL: usize = 68;
const SS: usize = 72;
const FPSTATE: usize = 76;
const OLDMASK: usize = 80;
const CR2: usize = 84;

/// Room for a frame of `size` bytes and the floating-point state, which is written at once:
/// (frame address, floating-point state address).
fn place(p: &mut Process, action: &Action, size: usize) -> Result<(u64, u64), Errno> {
    let thread = p.thread();
    let cpu = &*thread.cpu;
    let (top, alt) = frame::stack_for(cpu, &thread.signals, action, 0)?;
    let fx = top.wrapping_sub(fpstate::size() as u64) & !63;
    let fp = fx.wrapping_sub(FSAVE as u64);
    let at = (fp.wrapping_sub(size as u64).wrapping_add(4) & !15).wrapping_sub(4);
    frame::check_fits(at, alt)?;
    if at > fp || top > Abi::I386.task_size() {
        return Err(Errno::EFAULT);
    }
    let mut header = [0u8; FSAVE];
    fxsave::write_fsave(&cpu.x87, &mut header[..108], true);
    // The status word again, and magic 0: an FXSAVE image follows.
    header[108..110].copy_from_slice(&cpu.x87.status_word().to_le_bytes());
    // Where the last instruction was is not known to a 64-bit kernel: the present segments.
    let (cs, ds) = (cpu.selectors[seg::CS], cpu.selectors[seg::DS]);
    header[FCS..FCS + 4].copy_from_slice(&u32::from(cs).to_le_bytes());
    header[FOS..FOS + 4].copy_from_slice(&(u32::from(ds) | 0xffff_0000).to_le_bytes());
    frame::write(fp, &header)?;
    fpstate::save(cpu, fx, FxLayout::I386)?;
    Ok((at, fp))
}

fn put_context(f: &mut Frame, at: usize, p: &mut Process, fp: u64, mask: u64) {
    let thread = p.thread();
    let cpu = &*thread.cpu;
    for (i, s) in [seg::GS, seg::FS, seg::ES, seg::DS].into_iter().enumerate() {
        f.u32(at + 4 * i, u32::from(cpu.selectors[s]));
    }
    for (i, &r) in ORDER.iter().enumerate() {
        f.u32(at + 16 + 4 * i, cpu.gpr[r] as u32);
    }
    f.u32(at + TRAPNO, thread.signals.fault.trapno as u32);
    f.u32(at + ERR, thread.signals.fault.err as u32);
    f.u32(at + IP, cpu.hdr.pc as u32);
    f.u32(at + CS, u32::from(cpu.selectors[seg::CS]));
    f.u32(at + FLAGS, frame::saved_flags(cpu) as u32);
    f.u32(at + SP_AT_SIGNAL, cpu.gpr[gpr::RSP] as u32);
    f.u32(at + SS, u32::from(cpu.selectors[seg::SS]));
    f.u32(at + FPSTATE, fp as u32);
    f.u32(at + OLDMASK, mask as u32);
    f.u32(at + CR2, thread.signals.fault.cr2 as u32);
}

/// The frame of a handler without SA_SIGINFO.
pub(super) fn set_up_old(
    p: &mut Process,
    info: &SigInfo,
    action: &Action,
    mask: u64,
) -> Result<(), Errno> {
    let (at, fp) = place(p, action, OLD_SIZE)?;
    let mut f = frame::read(at, OLD_SIZE)?;
    f.u32(0, return_address(action, p.layout.sigreturn));
    f.u32(4, info.signal() as u32);
    put_context(&mut f, OLD_SC, p, fp, mask);
    f.u32(OLD_EXTRAMASK, (mask >> 32) as u32);
    f.bytes[OLD_RETCODE..].copy_from_slice(&SIGRETURN);
    frame::write(at, &f.bytes)?;
    enter(p.cpu(), action, info, at, 0, 0);
    Ok(())
}

/// The frame of a handler with SA_SIGINFO.
pub(super) fn set_up_rt(
    p: &mut Process,
    info: &SigInfo,
    action: &Action,
    mask: u64,
) -> Result<(), Errno> {
    let (at, fp) = place(p, action, RT_SIZE)?;
    let (info_at, uc_at) = (at + RT_INFO as u64, at + RT_UC as u64);
    let mut f = frame::read(at, RT_SIZE)?;
    f.u32(0, return_address(action, p.layout.rt_sigreturn));
    f.u32(4, info.signal() as u32);
    f.u32(8, info_at as u32);
    f.u32(12, uc_at as u32);
    // UC_FP_XSTATE tells of an XSAVE image.
    f.u32(RT_UC, u32::from(Level::current().xcr0() != 0));
    f.bytes[RT_INFO..RT_INFO + 128].copy_from_slice(&info.to_guest(Abi::I386));
    f.u32(RT_LINK, 0);
    let alt = p.thread().signals.alt;
    f.u32(RT_STACK, alt.sp as u32);
    f.u32(RT_STACK + 4, alt.flags);
    f.u32(RT_STACK + 8, alt.size as u32);
    put_context(&mut f, RT_SC, p, fp, mask);
    f.u64(RT_MASK, mask);
    f.bytes[RT_RETCODE..RT_RETCODE + 7].copy_from_slice(&RT_SIGRETURN);
    f.bytes[RT_RETCODE + 7] = 0;
    frame::write(at, &f.bytes)?;
    enter(p.cpu(), action, info, at, info_at, uc_at);
    if alt.flags & SS_AUTODISARM != 0 {
        p.thread().signals.alt = AltStack::default();
    }
    Ok(())
}

fn return_address(action: &Action, vdso: u64) -> u32 {
    (if action.flags & sa::RESTORER != 0 { action.restorer } else { vdso }) as u32
}

fn enter(cpu: &mut X86Cpu, action: &Action, info: &SigInfo, at: u64, info_at: u64, uc_at: u64) {
    cpu.gpr[gpr::RSP] = at;
    cpu.hdr.pc = action.handler;
    cpu.gpr[gpr::RAX] = info.signal() as u64;
    cpu.gpr[gpr::RDX] = info_at;
    cpu.gpr[gpr::RCX] = uc_at;
    for s in [seg::DS, seg::ES, seg::SS] {
        cpu.selectors[s] = 0x2b;
        cpu.seg_base[s] = 0;
    }
    cpu.selectors[seg::CS] = 0x23;
    frame::handler_state(cpu);
}

/// `sigreturn`: the old frame, whose first two words the return sequence has popped.
pub fn return_old(p: &mut Process) -> Result<(), Errno> {
    let at = p.cpu().gpr[gpr::RSP].wrapping_sub(8) & 0xffff_ffff;
    let f = frame::read(at, OLD_SIZE)?;
    let mask = u64::from(f.get32(OLD_SC + OLDMASK)) | u64::from(f.get32(OLD_EXTRAMASK)) << 32;
    restore_context(p, &f, OLD_SC)?;
    super::deliver::set_blocked(p, mask);
    Ok(())
}

/// `rt_sigreturn`.
pub fn return_rt(p: &mut Process) -> Result<(), Errno> {
    let at = p.cpu().gpr[gpr::RSP].wrapping_sub(4) & 0xffff_ffff;
    let f = frame::read(at, RT_SIZE)?;
    restore_context(p, &f, RT_SC)?;
    super::deliver::set_blocked(p, f.get64(RT_MASK));
    let alt = AltStack {
        sp: u64::from(f.get32(RT_STACK)),
        flags: f.get32(RT_STACK + 4),
        size: u64::from(f.get32(RT_STACK + 8)),
    };
    // Errors of the stack are ignored, as in the kernel (compat_restore_altstack).
    let _ = super::deliver::set_alt_stack(p, alt);
    Ok(())
}

fn restore_context(p: &mut Process, f: &Frame, at: usize) -> Result<(), Errno> {
    let fp = u64::from(f.get32(at + FPSTATE));
    let mut header = [0u8; FSAVE];
    if fp != 0 {
        emu_mem::access::read(fp, &mut header)?;
    }
    let cpu = p.cpu();
    if fp != 0 {
        fpstate::load(cpu, fp + FSAVE as u64, FxLayout::I386)?;
        // The x87 environment and registers come from the FSAVE header (convert_to_fxsr).
        fxsave::read_fsave(&mut cpu.x87, &header[..108], true);
    } else {
        cpu.reset_fp();
    }
    for (i, &r) in ORDER.iter().enumerate() {
        cpu.gpr[r] = u64::from(f.get32(at + 16 + 4 * i));
    }
    cpu.hdr.pc = u64::from(f.get32(at + IP));
    frame::restore_flags(cpu, u64::from(f.get32(at + FLAGS)));
    for (i, s) in [seg::GS, seg::FS, seg::ES, seg::DS].into_iter().enumerate() {
        let selector = f.get16(at + 4 * i);
        if selector != cpu.selectors[s] {
            crate::segments::load(cpu, s, selector);
        }
    }
    Ok(())
}
