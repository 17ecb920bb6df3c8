//! What signal frames of both ABIs share: placing them, and the registers around them.

use emu_x86::X86Cpu;
use emu_x86::state::gpr;

use super::{Action, AltStack, SigInfo, ThreadSignals, sa};
use crate::{Abi, Errno, Process};

pub use super::frame32::{return_old as return_old32, return_rt as return_rt32};
pub use super::frame64::return_rt as return_rt64;

/// EFLAGS bits that sigreturn restores: AC OF DF TF SF ZF AF PF CF (arch/x86, FIX_EFLAGS), and RF.
pub(super) const FIX_EFLAGS: u64 = 0x1_0000 | 0x4_0dd5;

/// A byte buffer that lies at a guest address, filled field by field.
pub(super) struct Frame {
    pub bytes: Vec<u8>,
}

impl Frame {
    pub fn new(size: usize) -> Frame {
        Frame { bytes: vec![0; size] }
    }
    pub fn u16(&mut self, at: usize, v: u16) {
        self.bytes[at..at + 2].copy_from_slice(&v.to_le_bytes());
    }
    pub fn u32(&mut self, at: usize, v: u32) {
        self.bytes[at..at + 4].copy_from_slice(&v.to_le_bytes());
    }
    pub fn u64(&mut self, at: usize, v: u64) {
        self.bytes[at..at + 8].copy_from_slice(&v.to_le_bytes());
    }
    pub fn get16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }
    pub fn get32(&self, at: usize) -> u32 {
        u32::from(self.get16(at)) | u32::from(self.get16(at + 2)) << 16
    }
    pub fn get64(&self, at: usize) -> u64 {
        u64::from(self.get32(at)) | u64::from(self.get32(at + 4)) << 32
    }
}

/// Builds the frame for a handler and points the registers at it.
pub fn set_up(p: &mut Process, info: &SigInfo, action: &Action) -> Result<(), Errno> {
    let mask = p.thread().signals.saved.unwrap_or(p.thread().signals.blocked);
    match (p.abi, action.flags & sa::SIGINFO != 0) {
        (Abi::X86_64, _) => super::frame64::set_up(p, info, action, mask),
        (Abi::I386, true) => super::frame32::set_up_rt(p, info, action, mask),
        (Abi::I386, false) => super::frame32::set_up_old(p, info, action, mask),
    }
}

/// Where a frame goes: (address above which nothing may be written, runs on the alternate stack).
pub(super) fn stack_for(
    cpu: &X86Cpu,
    signals: &ThreadSignals,
    action: &Action,
    red_zone: u64,
) -> Result<(u64, Option<AltStack>), Errno> {
    let sp = cpu.gpr[gpr::RSP];
    let alt = signals.alt;
    let below = sp.wrapping_sub(red_zone);
    if action.flags & sa::ONSTACK != 0 && alt.size != 0 && !alt.contains(sp) {
        let top = alt.sp.checked_add(alt.size).ok_or(Errno::EFAULT)?;
        return Ok((top, Some(alt)));
    }
    // Already on the alternate stack: the frame must not leave it.
    Ok((below, (alt.contains(sp)).then_some(alt)))
}

/// Refuses a frame that would overflow the alternate stack.
pub(super) fn check_fits(frame: u64, alt: Option<AltStack>) -> Result<(), Errno> {
    match alt {
        Some(a) if !a.holds(frame) => Err(Errno::EFAULT),
        _ => Ok(()),
    }
}

/// Writes a frame to guest memory.
pub(super) fn write(addr: u64, bytes: &[u8]) -> Result<(), Errno> {
    emu_mem::access::write(addr, bytes).map_err(Errno::from)
}

/// Reads a frame from guest memory.
pub(super) fn read(addr: u64, size: usize) -> Result<Frame, Errno> {
    let mut frame = Frame::new(size);
    emu_mem::access::read(addr, &mut frame.bytes)?;
    Ok(frame)
}

/// The state a handler starts with: direction and trap flag clear, floating-point units as at
/// program start (fpu__clear_user_states).
pub(super) fn handler_state(cpu: &mut X86Cpu) {
    use emu_x86::state::eflags;
    cpu.sys_flags &= !(eflags::DF | eflags::TF);
    cpu.reset_fp();
}

/// The flags sigreturn restores.
pub(super) fn restore_flags(cpu: &mut X86Cpu, value: u64) {
    let now = cpu.eflags();
    cpu.set_eflags(now & !FIX_EFLAGS | value & FIX_EFLAGS);
}
