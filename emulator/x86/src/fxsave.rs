//! Memory images of the floating-point state: the 512 bytes of FXSAVE and the environment and
//! state images of FSTENV and FSAVE (SDM vol. 1, sections 8.1.10 and 10.5.1).
//!
//! FCS and FDS are always 0: the CPUID model says they are deprecated.

use crate::state::X87;
use crate::{Mode, X86Cpu};

/// The bits of MXCSR that exist.
pub const MXCSR_MASK: u32 = 0xffff;

/// An FXSAVE image that cannot be loaded: MXCSR has reserved bits set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadMxcsr(pub u32);

impl core::fmt::Display for BadMxcsr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "MXCSR {:#x} has reserved bits set", self.0)
    }
}

impl core::error::Error for BadMxcsr {}

/// Layout of an FXSAVE image's pointer fields and how many vector registers it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FxLayout {
    /// 32-bit mode: 32-bit pointers, xmm0 to xmm7.
    I386,
    /// FXSAVE in 64-bit mode without REX.W: 32-bit pointers, xmm0 to xmm15.
    Long32,
    /// FXSAVE64: 64-bit pointers, xmm0 to xmm15. The kernel's signal frames use this one.
    Long64,
}

impl FxLayout {
    /// The layout of an instruction in that mode, with or without REX.W.
    pub const fn of(mode: Mode, rex_w: bool) -> FxLayout {
        match (mode, rex_w) {
            (Mode::Bits32, _) => FxLayout::I386,
            (Mode::Bits64, false) => FxLayout::Long32,
            (Mode::Bits64, true) => FxLayout::Long64,
        }
    }

    /// How many vector registers it has.
    pub fn vectors(self) -> usize {
        if self == FxLayout::I386 { 8 } else { 16 }
    }
}

fn put<const N: usize>(image: &mut [u8], at: usize, bytes: [u8; N]) {
    image[at..at + N].copy_from_slice(&bytes);
}

fn get16(image: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([image[at], image[at + 1]])
}

fn get32(image: &[u8], at: usize) -> u32 {
    u32::from(get16(image, at)) | u32::from(get16(image, at + 2)) << 16
}

fn get64(image: &[u8], at: usize) -> u64 {
    u64::from(get32(image, at)) | u64::from(get32(image, at + 4)) << 32
}

/// The whole state as FXSAVE64 writes it. Bytes FXSAVE leaves alone (464 to 511) keep their value.
pub fn write_fxsave(cpu: &X86Cpu, image: &mut [u8; 512]) {
    write_fxsave_as(cpu, image, FxLayout::Long64);
}

/// Loads the whole state as FXRSTOR64 does; on error nothing has changed.
pub fn read_fxsave(cpu: &mut X86Cpu, image: &[u8; 512]) -> Result<(), BadMxcsr> {
    read_fxsave_as(cpu, image, FxLayout::Long64)
}

/// As [`write_fxsave`] with another layout; the vector registers the layout lacks are left alone.
pub fn write_fxsave_as(cpu: &X86Cpu, image: &mut [u8; 512], layout: FxLayout) {
    let x = &cpu.x87;
    put(image, 0, x.control.to_le_bytes());
    put(image, 2, x.status_word().to_le_bytes());
    image[4] = x.valid;
    image[5] = 0;
    put(image, 6, x.last_opcode.to_le_bytes());
    if layout == FxLayout::Long64 {
        put(image, 8, x.last_ip.to_le_bytes());
        put(image, 16, x.last_dp.to_le_bytes());
    } else {
        put(image, 8, u64::from(x.last_ip as u32).to_le_bytes());
        put(image, 16, u64::from(x.last_dp as u32).to_le_bytes());
    }
    put(image, 24, cpu.mxcsr.to_le_bytes());
    put(image, 28, MXCSR_MASK.to_le_bytes());
    for i in 0..8u8 {
        let at = 32 + 16 * usize::from(i);
        image[at..at + 10].copy_from_slice(&x.st[x.phys(i)].0[..10]);
        image[at + 10..at + 16].fill(0);
    }
    for (i, v) in cpu.vec.iter().take(layout.vectors()).enumerate() {
        image[160 + 16 * i..176 + 16 * i].copy_from_slice(&v.0[..16]);
    }
}

/// As [`read_fxsave`] with another layout; vector registers the layout lacks keep their value.
pub fn read_fxsave_as(
    cpu: &mut X86Cpu,
    image: &[u8; 512],
    layout: FxLayout,
) -> Result<(), BadMxcsr> {
    let mxcsr = get32(image, 24);
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(BadMxcsr(mxcsr));
    }
    cpu.mxcsr = mxcsr;
    let x = &mut cpu.x87;
    x.control = get16(image, 0) & X87::CONTROL_BITS | X87::CONTROL_FIXED;
    x.set_status_word(get16(image, 2));
    x.valid = image[4];
    x.last_opcode = get16(image, 6) & 0x7ff;
    if layout == FxLayout::Long64 {
        x.last_ip = get64(image, 8);
        x.last_dp = get64(image, 16);
    } else {
        x.last_ip = u64::from(get32(image, 8));
        x.last_dp = u64::from(get32(image, 16));
    }
    for i in 0..8u8 {
        let at = 32 + 16 * usize::from(i);
        let p = x.phys(i);
        x.st[p].0[..10].copy_from_slice(&image[at..at + 10]);
    }
    for (i, v) in cpu.vec.iter_mut().take(layout.vectors()).enumerate() {
        v.0[..16].copy_from_slice(&image[160 + 16 * i..176 + 16 * i]);
    }
    Ok(())
}

/// The two-bit-per-register tag word: 0 valid, 1 zero, 2 special, 3 empty.
pub fn full_tags(x: &X87) -> u16 {
    let mut tags = 0;
    for (i, st) in x.st.iter().enumerate() {
        let exponent = get16(&st.0, 8) & 0x7fff;
        let mantissa = get64(&st.0, 0);
        let tag = if x.valid & 1 << i == 0 {
            3
        } else if exponent == 0 && mantissa == 0 {
            1
        } else if exponent == 0 || exponent == 0x7fff || mantissa >> 63 == 0 {
            2
        } else {
            0
        };
        tags |= tag << (2 * i);
    }
    tags
}

/// Which registers a tag word says are not empty.
pub fn abridged_tags(tags: u16) -> u8 {
    (0..8).fold(0, |v, i| if tags >> (2 * i) & 3 == 3 { v } else { v | 1 << i })
}

/// Size of the environment image: 28 bytes, or 14 with a 16-bit operand size.
pub const fn env_bytes(wide: bool) -> usize {
    if wide { 28 } else { 14 }
}

/// Writes the environment (FSTENV) to the start of `image`, in protected-mode format.
///
/// # Panics
/// If `image` is shorter than [`env_bytes`].
pub fn write_env(x: &X87, image: &mut [u8], wide: bool) {
    if wide {
        // The upper halves of the 16-bit fields read as ones.
        put(image, 0, (u32::from(x.control) | 0xffff_0000).to_le_bytes());
        put(image, 4, (u32::from(x.status_word()) | 0xffff_0000).to_le_bytes());
        put(image, 8, (u32::from(full_tags(x)) | 0xffff_0000).to_le_bytes());
        put(image, 12, (x.last_ip as u32).to_le_bytes());
        put(image, 16, (u32::from(x.last_opcode) << 16).to_le_bytes());
        put(image, 20, (x.last_dp as u32).to_le_bytes());
        put(image, 24, 0xffff_0000u32.to_le_bytes());
    } else {
        put(image, 0, x.control.to_le_bytes());
        put(image, 2, x.status_word().to_le_bytes());
        put(image, 4, full_tags(x).to_le_bytes());
        put(image, 6, (x.last_ip as u16).to_le_bytes());
        put(image, 8, [0; 2]);
        put(image, 10, (x.last_dp as u16).to_le_bytes());
        put(image, 12, [0; 2]);
    }
}

/// Loads the environment (FLDENV) from the start of `image`.
///
/// # Panics
/// If `image` is shorter than [`env_bytes`].
pub fn read_env(x: &mut X87, image: &[u8], wide: bool) {
    let step = if wide { 4 } else { 2 };
    x.control = get16(image, 0) & X87::CONTROL_BITS | X87::CONTROL_FIXED;
    x.set_status_word(get16(image, step));
    x.valid = abridged_tags(get16(image, 2 * step));
    if wide {
        x.last_ip = u64::from(get32(image, 12));
        x.last_opcode = get16(image, 18) & 0x7ff;
        x.last_dp = u64::from(get32(image, 20));
    } else {
        x.last_ip = u64::from(get16(image, 6));
        x.last_opcode = 0;
        x.last_dp = u64::from(get16(image, 10));
    }
}

/// Writes environment and registers (FSAVE): 108 bytes, or 94 with a 16-bit operand size.
///
/// # Panics
/// If `image` is shorter than that.
pub fn write_fsave(x: &X87, image: &mut [u8], wide: bool) {
    write_env(x, image, wide);
    for i in 0..8u8 {
        let at = env_bytes(wide) + 10 * usize::from(i);
        image[at..at + 10].copy_from_slice(&x.st[x.phys(i)].0[..10]);
    }
}

/// Loads environment and registers (FRSTOR).
///
/// # Panics
/// If `image` is shorter than [`write_fsave`] says.
pub fn read_fsave(x: &mut X87, image: &[u8], wide: bool) {
    read_env(x, image, wide);
    for i in 0..8u8 {
        let at = env_bytes(wide) + 10 * usize::from(i);
        let p = x.phys(i);
        x.st[p].0[..10].copy_from_slice(&image[at..at + 10]);
    }
}
