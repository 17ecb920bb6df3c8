//! Generated processor states.

/// The 512 bytes of FXSAVE64, general registers in encoding order, and the arithmetic flags.
#[repr(C, align(16))]
#[derive(Clone)]
pub struct State {
    pub fx: [u8; 512],
    pub gpr: [u64; 16],
    pub flags: u64,
}

/// Offsets in the FXSAVE image.
const MXCSR: usize = 24;
pub const ST: usize = 32;
pub const XMM: usize = 160;
pub const XMM_END: usize = XMM + 256;

/// A small generator of pseudo-random numbers (xorshift64*).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) as usize) % n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
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
pub fn eight(r: &mut Rng) -> u64 {
    match r.below(8) {
        0 | 1 => u64::from(r.pick(F32)) | u64::from(r.pick(F32)) << 32,
        2 | 3 => r.pick(F64),
        4 => r.pick(INT),
        5 => u64::from_le_bytes(core::array::from_fn(|_| r.pick(b"\0aabcz\x80\xff"))),
        6 => {
            // Ordinary numbers.
            let x = (r.next() >> 40) as f32 / 256.0 - 30_000.0;
            let y = (r.next() >> 40) as f32 / 65_536.0;
            if r.below(2) == 0 {
                u64::from(x.to_bits()) | u64::from(y.to_bits()) << 32
            } else {
                (f64::from(x) * f64::from(y)).to_bits()
            }
        }
        _ => r.next(),
    }
}

impl State {
    /// A state with generated registers; general registers fit in 32 bits if `narrow`.
    pub fn generate(r: &mut Rng, narrow: bool) -> State {
        let mut s = State { fx: [0; 512], gpr: [0; 16], flags: 0 };
        s.fx[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        s.fx[2..4].copy_from_slice(&((r.below(8) as u16) << 11).to_le_bytes());
        s.fx[4] = r.next() as u8;
        let controls = (r.next() as u32) & 0xe040;
        let sticky = if r.below(2) == 0 { 0 } else { r.next() as u32 & 0x3f };
        s.set_mxcsr(0x1f80 | controls | sticky);
        for n in 0..8 {
            let at = ST + 16 * n;
            s.fx[at..at + 8].copy_from_slice(&eight(r).to_le_bytes());
            s.fx[at + 8..at + 10].copy_from_slice(&(r.next() as u16).to_le_bytes());
        }
        for at in (XMM..XMM_END).step_by(8) {
            s.fx[at..at + 8].copy_from_slice(&eight(r).to_le_bytes());
        }
        for g in &mut s.gpr {
            *g = match r.below(3) {
                0 => r.below(40) as u64,
                1 => (r.below(40) as u64).wrapping_neg(),
                _ => eight(r),
            };
            if narrow {
                *g &= 0xffff_ffff;
            }
        }
        s.flags = r.next() & u64::from(emu_ir::flags::ALL);
        s
    }

    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes([self.fx[24], self.fx[25], self.fx[26], self.fx[27]])
    }

    pub fn set_mxcsr(&mut self, value: u32) {
        self.fx[MXCSR..MXCSR + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Makes an unmasked x87 exception pending.
    pub fn set_x87_pending(&mut self, r: &mut Rng) {
        let exception = 1u8 << r.below(6);
        self.fx[0] &= !exception;
        // The summary and busy bits follow from flags and masks.
        self.fx[2] = exception | 0x80;
        self.fx[3] |= 0x80;
    }

    /// What differs, register by register; empty when the states agree.
    pub fn difference(&self, native: &State) -> String {
        let mut text = String::new();
        let mut field = |name: &str, ours: &[u8], theirs: &[u8]| {
            if ours != theirs {
                let hex = |b: &[u8]| b.iter().rev().map(|x| format!("{x:02x}")).collect::<String>();
                text += &format!("  {name}: {} should be {}\n", hex(ours), hex(theirs));
            }
        };
        let mut part = |name: &str, from: usize, to: usize| {
            field(name, &self.fx[from..to], &native.fx[from..to]);
        };
        part("x87 control", 0, 2);
        part("x87 status", 2, 4);
        part("x87 tags", 4, 5);
        part("mxcsr", MXCSR, MXCSR + 4);
        for n in 0..8 {
            part(&format!("st{n}"), ST + 16 * n, ST + 16 * n + 16);
        }
        for n in 0..16 {
            part(&format!("xmm{n}"), XMM + 16 * n, XMM + 16 * n + 16);
        }
        for n in 0..16 {
            let (ours, theirs) = (self.gpr[n].to_le_bytes(), native.gpr[n].to_le_bytes());
            field(&format!("gpr{n}"), &ours, &theirs);
        }
        field("flags", &self.flags.to_le_bytes(), &native.flags.to_le_bytes());
        text
    }
}
