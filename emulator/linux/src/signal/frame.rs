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
    fn new(size: usize) -> Frame {
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

/// Reads a frame from guest memory. A new one begins like that, too: what is not filled in stays.
pub(super) fn read(addr: u64, size: usize) -> Result<Frame, Errno> {
    let mut frame = Frame::new(size);
    emu_mem::access::read(addr, &mut frame.bytes)?;
    Ok(frame)
}

/// How the floating-point state of a frame is laid out (arch/x86/kernel/fpu/signal.c): an FXSAVE
/// image, or with XSAVE an XSAVE image with two magic numbers around it.
pub(super) mod fpstate {
    use emu_x86::fxsave::{self, FxLayout};
    use emu_x86::xsave::{self, AREA};
    use emu_x86::{Level, X86Cpu};

    use crate::Errno;

    /// Offset of `struct _fpx_sw_bytes` in the FXSAVE image.
    const SOFTWARE: usize = 464;
    const MAGIC1: u32 = 0x4650_5853;
    /// Follows the image.
    const MAGIC2: u32 = 0x4650_5845;

    /// Bytes of the state.
    pub fn size() -> usize {
        if Level::current().xcr0() == 0 { 512 } else { AREA + 4 }
    }

    /// Reserved bytes of the FXSAVE image that the processor does not write.
    const UNWRITTEN: core::ops::Range<usize> = 416..464;

    /// Writes the state to a frame.
    pub fn save(cpu: &X86Cpu, at: u64, layout: FxLayout) -> Result<(), Errno> {
        let image = image(cpu, layout);
        super::write(at, &image[..UNWRITTEN.start])?;
        super::write(at.wrapping_add(UNWRITTEN.end as u64), &image[UNWRITTEN.end..])
    }

    fn image(cpu: &X86Cpu, layout: FxLayout) -> Vec<u8> {
        let xcr0 = Level::current().xcr0();
        if xcr0 == 0 {
            let mut image = [0; 512];
            fxsave::write_fxsave_as(cpu, &mut image, layout);
            return image.to_vec();
        }
        let mut image = [0; AREA];
        xsave::write(cpu, &mut image, layout);
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(SOFTWARE, &MAGIC1.to_le_bytes());
        put(SOFTWARE + 4, &(AREA as u32 + 4 + extra(layout)).to_le_bytes());
        put(SOFTWARE + 8, &xcr0.to_le_bytes());
        put(SOFTWARE + 16, &(AREA as u32).to_le_bytes());
        [&image[..], &MAGIC2.to_le_bytes()].concat()
    }

    /// The FSAVE header of i386 frames counts as a part of the state.
    fn extra(layout: FxLayout) -> u32 {
        if layout == FxLayout::I386 { 112 } else { 0 }
    }

    /// Loads the state from a frame. An image without the magic numbers is an FXSAVE image: the
    /// other components become initial.
    pub fn load(cpu: &mut X86Cpu, at: u64, layout: FxLayout) -> Result<(), Errno> {
        let mut image = [0; AREA];
        emu_mem::access::read(at, &mut image[..512])?;
        let xcr0 = Level::current().xcr0();
        let wanted = if xcr0 == 0 { None } else { extended(&image, at, xcr0) };
        let Some(wanted) = wanted else {
            let mut legacy = [0; 512];
            legacy.copy_from_slice(&image[..512]);
            fxsave::read_fxsave_as(cpu, &legacy, layout).map_err(|_| Errno::EFAULT)?;
            cpu.vec.iter_mut().take(layout.vectors()).for_each(|v| v.0[16..].fill(0));
            return Ok(());
        };
        emu_mem::access::read(at, &mut image)?;
        // The legacy part holds MXCSR whatever the header says.
        xsave::read(cpu, &image, wanted, xcr0, layout).map_err(|_| Errno::EFAULT)?;
        let fresh = X86Cpu::default();
        if wanted & xsave::X87_STATE == 0 {
            cpu.x87 = fresh.x87;
        }
        for v in cpu.vec.iter_mut().take(layout.vectors()) {
            if wanted & xsave::SSE_STATE == 0 {
                v.0[..16].fill(0);
            }
            if wanted & xsave::AVX_STATE == 0 {
                v.0[16..].fill(0);
            }
        }
        Ok(())
    }

    /// The components that the software-reserved bytes name, if they and the second magic number
    /// say that an XSAVE image is there (`check_xstate_in_sigframe`).
    fn extended(image: &[u8; AREA], at: u64, xcr0: u64) -> Option<u64> {
        let word = |at: usize| {
            let mut b = [0; 4];
            b.copy_from_slice(&image[at..at + 4]);
            u32::from_le_bytes(b)
        };
        let (extended, size) = (word(SOFTWARE + 4), word(SOFTWARE + 16));
        let ok = word(SOFTWARE) == MAGIC1
            && size as usize >= xsave::YMM
            && size as usize <= AREA
            && size <= extended;
        if !ok {
            return None;
        }
        let mut magic2 = [0; 4];
        emu_mem::access::read(at.wrapping_add(u64::from(size)), &mut magic2).ok()?;
        let features = u64::from(word(SOFTWARE + 8)) | u64::from(word(SOFTWARE + 12)) << 32;
        (u32::from_le_bytes(magic2) == MAGIC2).then_some(features & xcr0)
    }
}

/// The state a handler starts with: direction and trap flag clear, floating-point units as at
/// program start (fpu__clear_user_states).
pub(super) fn handler_state(cpu: &mut X86Cpu) {
    use emu_x86::state::eflags;
    cpu.sys_flags &= !(eflags::DF | eflags::TF | eflags::RF);
    cpu.reset_fp();
}

/// The flags as a frame holds them. In the resume flag a fault is told from a trap.
pub(super) fn saved_flags(cpu: &X86Cpu) -> u64 {
    cpu.eflags() | cpu.sys_flags & emu_x86::state::eflags::RF
}

/// The flags sigreturn restores.
pub(super) fn restore_flags(cpu: &mut X86Cpu, value: u64) {
    let now = cpu.eflags();
    cpu.set_eflags(now & !FIX_EFLAGS | value & FIX_EFLAGS);
}
