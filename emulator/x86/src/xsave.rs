//! The memory image of XSAVE: x87, SSE and AVX state (SDM vol. 1, chapter 13).
//!
//! With these three components the standard and the compacted format have the same layout.

use crate::fxsave::{self, BadMxcsr, FxLayout, MXCSR_MASK};
use crate::{X86Cpu, mxcsr};

/// Component x87.
pub const X87_STATE: u64 = 1;
/// Component SSE: the XMM registers.
pub const SSE_STATE: u64 = 2;
/// Component AVX: the upper halves of the YMM registers.
pub const AVX_STATE: u64 = 4;

/// Offset of the header: XSTATE_BV, XCOMP_BV, reserved.
pub const HEADER: usize = 512;
/// Offset of the upper halves of the YMM registers.
pub const YMM: usize = 576;
/// Bytes of the whole image.
pub const AREA: usize = YMM + 256;

/// In XCOMP_BV: the compacted format.
pub const COMPACT: u64 = 1 << 63;

/// The components that are not in their initial state (XINUSE). A layout with 8 vector registers
/// does not look at the others.
pub fn in_use(cpu: &X86Cpu, layout: FxLayout) -> u64 {
    let x = &cpu.x87;
    let fresh = x.control == 0x37f
        && x.status_word() == 0
        && x.valid == 0
        && (x.last_opcode, x.last_ip, x.last_dp) == (0, 0, 0)
        && x.st.iter().all(|st| st.0[..10] == [0; 10]);
    let regs = &cpu.vec[..layout.vectors()];
    let low = regs.iter().any(|v| v.0[..16] != [0; 16]);
    let high = regs.iter().any(|v| v.high() != 0);
    let mut used = if fresh { 0 } else { X87_STATE };
    // MXCSR has no component of its own; it counts as part of SSE.
    used |= if low || cpu.mxcsr != mxcsr::DEFAULT { SSE_STATE } else { 0 };
    used | if high { AVX_STATE } else { 0 }
}

/// The whole image in the standard format, as the kernel's signal frames have it.
pub fn write(cpu: &X86Cpu, image: &mut [u8; AREA], layout: FxLayout) {
    let mut legacy = [0; 512];
    fxsave::write_fxsave_as(cpu, &mut legacy, layout);
    image[..512].copy_from_slice(&legacy);
    image[HEADER..YMM].fill(0);
    image[HEADER..HEADER + 8].copy_from_slice(&in_use(cpu, layout).to_le_bytes());
    image[YMM..].fill(0);
    for (v, to) in cpu.vec.iter().take(layout.vectors()).zip(image[YMM..].chunks_exact_mut(16)) {
        to.copy_from_slice(&v.0[16..]);
    }
}

/// Why an image cannot be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadImage {
    /// MXCSR has reserved bits set.
    #[error("MXCSR {0:#x} has reserved bits set")]
    Mxcsr(u32),
    /// The header names components that do not exist, or has reserved bits set.
    #[error("the XSAVE header is invalid")]
    Header,
}

impl From<BadMxcsr> for BadImage {
    fn from(bad: BadMxcsr) -> BadImage {
        BadImage::Mxcsr(bad.0)
    }
}

fn get64(image: &[u8], at: usize) -> u64 {
    let mut b = [0; 8];
    b.copy_from_slice(&image[at..at + 8]);
    u64::from_le_bytes(b)
}

/// The components an image holds, and whether it is compacted; checks the header.
pub fn header(image: &[u8; AREA], xcr0: u64) -> Result<(u64, bool), BadImage> {
    let (held, form) = (get64(image, HEADER), get64(image, HEADER + 8));
    let compact = form & COMPACT != 0;
    let bad = if compact {
        form & !(xcr0 | COMPACT) != 0
            || held & !form != 0
            || image[HEADER + 16..YMM].iter().any(|b| *b != 0)
    } else {
        held & !xcr0 != 0 || form != 0 || get64(image, HEADER + 16) != 0
    };
    if bad { Err(BadImage::Header) } else { Ok((held, compact)) }
}

/// Loads the components `wanted` as XRSTOR does: those the image does not hold become initial. On
/// error nothing has changed.
pub fn read(
    cpu: &mut X86Cpu,
    image: &[u8; AREA],
    wanted: u64,
    xcr0: u64,
    layout: FxLayout,
) -> Result<(), BadImage> {
    let (held, compact) = header(image, xcr0)?;
    let mut legacy = [0; 512];
    legacy.copy_from_slice(&image[..512]);
    let mxcsr_wanted = wanted & if compact { SSE_STATE } else { SSE_STATE | AVX_STATE } != 0;
    let mut value = [0; 4];
    value.copy_from_slice(&legacy[24..28]);
    let mut value = u32::from_le_bytes(value);
    if compact && held & SSE_STATE == 0 {
        value = mxcsr::DEFAULT;
    }
    if !mxcsr_wanted {
        value = cpu.mxcsr;
    } else if value & !MXCSR_MASK != 0 {
        return Err(BadImage::Mxcsr(value));
    }
    legacy[24..28].copy_from_slice(&value.to_le_bytes());
    let (x87, vec) = (cpu.x87.clone(), cpu.vec);
    fxsave::read_fxsave_as(cpu, &legacy, layout)?;
    let part = |component| (wanted & component != 0, held & component != 0);
    match part(X87_STATE) {
        (false, _) => cpu.x87 = x87,
        (true, false) => cpu.x87 = X86Cpu::default().x87,
        (true, true) => {}
    }
    let high = image[YMM..].chunks_exact(16);
    for ((v, old), from) in cpu.vec.iter_mut().zip(vec).zip(high).take(layout.vectors()) {
        match part(SSE_STATE) {
            (false, _) => v.0[..16].copy_from_slice(&old.0[..16]),
            (true, false) => v.0[..16].fill(0),
            (true, true) => {}
        }
        match part(AVX_STATE) {
            (false, _) => {}
            (true, false) => v.0[16..].fill(0),
            (true, true) => v.0[16..].copy_from_slice(from),
        }
    }
    Ok(())
}
