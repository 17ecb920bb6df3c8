//! States with values that SIMD instructions care about.

use emu_x86_oracle::{Bits, DATA, DATA_LEN, Rng, State};

use super::forms::Form;

/// The exception masks of MXCSR.
pub const MASKS: u32 = 0x1f80;
/// What may go wrong in a case.
#[derive(Clone, Copy, PartialEq)]
pub enum Exceptions {
    /// All are masked.
    Masked,
    /// Any SIMD exception may be unmasked.
    Simd,
    /// An x87 exception is pending.
    X87,
}

const F32: &[u32] = &[
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x3fc0_0000,
    0x4020_0000,
    0xbf00_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7fc1_2345,
    0xffc0_0000,
    0x7f80_0001,
    0xffa0_5555,
    0x4eff_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0x5f00_0000,
    0x0d80_0000,
    0x3eaa_aaab,
    0x4b80_0001,
    0xc2c8_0000,
];
const F64: &[u64] = &[
    0,
    1 << 63,
    1,
    0x800f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x3ff8_0000_0000_0000,
    0x4004_0000_0000_0000,
    0xbfe0_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7ff8_dead_beef_0001,
    0x7ff0_0000_0000_0001,
    0xfff4_0000_0000_0000,
    0x41df_ffff_ffc0_0000,
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0020_0000,
    0x43e0_0000_0000_0000,
    0x36a0_0000_0000_0000,
    0x47ef_ffff_f000_0000,
    0x380f_ffff_c000_0000,
    0x3fd5_5555_5555_5555,
];
const INT: &[u64] = &[
    0,
    u64::MAX,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    1 << 63,
    0x0180_7f80_00ff_017f,
    0x8000_8000_7fff_7fff,
    8,
    15,
    16,
    31,
    32,
    63,
    64,
    0x0102_0304_0506_0708,
];

/// Eight bytes, in one of the shapes instructions care about.
fn eight(r: &mut Rng) -> u64 {
    match r.below(8) {
        0 | 1 => u64::from(pick(r, F32)) | u64::from(pick(r, F32)) << 32,
        2 | 3 => pick(r, F64),
        4 => pick(r, INT),
        5 => u64::from_le_bytes(core::array::from_fn(|_| pick(r, b"\0aabcz\x80\xff"))),
        6 => {
            // Ordinary numbers.
            let x = (r.bits() >> 40) as f32 / 256.0 - 30_000.0;
            let y = (r.bits() >> 40) as f32 / 65_536.0;
            if r.below(2) == 0 {
                u64::from(x.to_bits()) | u64::from(y.to_bits()) << 32
            } else {
                (f64::from(x) * f64::from(y)).to_bits()
            }
        }
        _ => r.bits(),
    }
}

/// One of `from`.
pub fn pick<T: Copy>(r: &mut Rng, from: &[T]) -> T {
    from[r.below(from.len() as u64) as usize]
}

/// A state for an instruction of `form`.
pub fn state(r: &mut Rng, form: Form, exceptions: Exceptions) -> State {
    let mut s = State::new();
    set(&mut s, 2, &((r.below(8) as u16) << 11).to_le_bytes());
    set(&mut s, 4, &[r.bits() as u8]);
    let controls = r.bits() as u32 & 0xe040;
    let sticky = if r.below(2) == 0 { 0 } else { r.bits() as u32 & 0x3f };
    let unmasked = match exceptions {
        Exceptions::Simd => r.bits() as u32 & MASKS,
        _ => 0,
    };
    s.set_mxcsr((MASKS | controls | sticky) & !unmasked);
    if exceptions == Exceptions::X87 {
        // The summary and busy bits follow from flags and masks.
        let exception = 1u8 << r.below(6);
        s.fx[0] &= !exception;
        set(&mut s, 2, &[exception | 0x80, 0x80]);
    }
    for n in 0..8 {
        let significand = eight(r).to_le_bytes();
        set(&mut s, 32 + 16 * n, &significand);
        set(&mut s, 40 + 16 * n, &(r.bits() as u16).to_le_bytes());
    }
    for n in 0..16 {
        s.set_xmm(n, u128::from(eight(r)) | u128::from(eight(r)) << 64);
        s.ymm_high[n] = u128::from(eight(r)) | u128::from(eight(r)) << 64;
    }
    if let Some(bytes) = form.index_bytes() {
        let mut indices = || {
            (0..16 / bytes).fold(0, |v, n| {
                let index =
                    (r.below(64) as u128).wrapping_sub(32) & (u128::MAX >> (128 - 8 * bytes));
                v | index << (8 * bytes * n)
            })
        };
        s.set_xmm(super::forms::INDICES, indices());
        s.ymm_high[super::forms::INDICES] = indices();
    }
    for g in &mut s.gpr {
        *g = match r.below(3) {
            0 => r.below(40),
            1 => r.below(40).wrapping_neg(),
            _ => eight(r),
        };
    }
    // Processors disagree on whether operands of SHA instructions must be aligned.
    let aligned = form.features() == [iced_x86::CpuidFeature::SHA];
    let offset = match if aligned { 2 } else { r.below(16) } {
        0 => r.below(DATA_LEN as u64 - 16),
        // Across the end of the data, or just before it.
        1 if !form.stores_mmx() => DATA_LEN as u64 - 1 - r.below(16),
        _ => r.below(DATA_LEN as u64 / 16) * 16,
    };
    let around = (offset as usize & !15).min(DATA_LEN - 48);
    for chunk in s.mem[around..around + 48].chunks_exact_mut(8) {
        chunk.copy_from_slice(&eight(r).to_le_bytes());
    }
    s.gpr[RSI] = DATA + offset;
    s.gpr[RDI] = DATA + r.below(DATA_LEN as u64 - 16);
    if matches!(form.code.mnemonic(), iced_x86::Mnemonic::Ldmxcsr | iced_x86::Mnemonic::Vldmxcsr)
        && r.below(8) != 0
    {
        let value = r.bits() as u32 & 0xffff;
        let at = (offset as usize).min(DATA_LEN - 4);
        s.mem[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    s.flags = r.bits() & u64::from(emu_ir::flags::ALL);
    if form.bits == Bits::B32 { s.narrowed() } else { s }
}

const RSI: usize = 6;
const RDI: usize = 7;

fn set(s: &mut State, at: usize, bytes: &[u8]) {
    s.fx[at..at + bytes.len()].copy_from_slice(bytes);
}
