//! Machine states before and after.

use emu_ir::TrapKind;

/// Address of the code under test.
pub const CODE: u64 = 0x2000_0000;
/// Address of the data the code may touch. The pages around it are not mapped.
pub const DATA: u64 = 0x2010_0000;
/// Bytes of data.
pub const DATA_LEN: usize = 4096;

/// Base of GS in 64-bit code.
pub const GS_BASE: u64 = DATA + 0x800;

/// Mode of the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bits {
    /// 32-bit code.
    B32,
    /// 64-bit code.
    B64,
}

/// A machine state.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// General registers in encoding order; the upper halves and r8 to r15 are 0 in 32-bit code.
    pub gpr: [u64; 16],
    /// EFLAGS: the arithmetic flags, DF and AC.
    pub flags: u64,
    /// x87, MMX, SSE state and MXCSR as FXSAVE64 writes them.
    pub fx: [u8; 512],
    /// The upper halves of the YMM registers; kept as they are on hosts without AVX.
    pub ymm_high: [u128; 16],
    /// Memory at [`DATA`].
    pub mem: Vec<u8>,
}

/// A state after execution, with why it ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The state.
    pub state: State,
    /// Next pc; of the instruction itself after a fault.
    pub pc: u64,
    /// The trap, [`TrapKind::None`] when the code ran to its end.
    pub trap: TrapKind,
    /// Address of a page fault.
    pub fault_addr: u64,
}

/// A small deterministic generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }
}

/// An integer from near the edges of the widths, or any.
pub fn boundary(rng: &mut Rng) -> u64 {
    const EDGES: [u64; 22] = [
        0,
        1,
        2,
        0xf,
        0x10,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x7fff,
        0x8000,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x1_0000_0000,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        0x5555_5555_5555_5555,
        0xaaaa_aaaa_aaaa_aaaa,
        u64::MAX,
    ];
    match rng.below(8) {
        0..4 => EDGES[rng.below(EDGES.len() as u64) as usize],
        4 => EDGES[rng.below(EDGES.len() as u64) as usize].wrapping_sub(1),
        5 => rng.below(70),
        6 => (rng.bits() as i32) as u64,
        _ => rng.bits(),
    }
}

/// Registers that point into the data: rbx rsp rbp rsi rdi r12 r13.
const POINTERS: [usize; 7] = [3, 4, 5, 6, 7, 12, 13];

impl State {
    /// A state with x87 and SSE as after reset, everything else 0, and the pointer registers at
    /// fixed places in the data.
    pub fn new() -> State {
        let mut s = State {
            gpr: [0; 16],
            flags: 0,
            fx: [0; 512],
            ymm_high: [0; 16],
            mem: vec![0; DATA_LEN],
        };
        s.fx[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        s.fx[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        for (n, r) in POINTERS.into_iter().enumerate() {
            s.gpr[r] = DATA + 0x400 + 0x100 * n as u64;
        }
        s
    }

    /// `n` states: edge values and random ones in rax rcx rdx r8 to r11 r14 r15 and in memory, any
    /// flags (DF clear), random vector registers; rbx rsp rbp rsi rdi r12 r13 point into the data,
    /// 16-byte aligned.
    pub fn generate(seed: u64, n: usize) -> Vec<State> {
        let mut rng = Rng(seed);
        (0..n).map(|_| State::random(&mut rng)).collect()
    }

    fn random(rng: &mut Rng) -> State {
        let mut s = State::new();
        for n in 0..16 {
            if !POINTERS.contains(&n) {
                s.gpr[n] = boundary(rng);
            }
        }
        s.flags = rng.bits() & u64::from(emu_ir::flags::ALL);
        for chunk in s.mem.chunks_exact_mut(8) {
            chunk.copy_from_slice(&boundary(rng).to_le_bytes());
        }
        for n in 0..16 {
            let at = 160 + 16 * n;
            for half in [at, at + 8] {
                let v = if rng.below(2) == 0 { boundary(rng) } else { rng.bits() };
                s.fx[half..half + 8].copy_from_slice(&v.to_le_bytes());
            }
        }
        s
    }

    /// The XMM register `n`.
    pub fn xmm(&self, n: usize) -> u128 {
        let mut b = [0; 16];
        b.copy_from_slice(&self.fx[160 + 16 * n..176 + 16 * n]);
        u128::from_le_bytes(b)
    }

    /// Sets XMM register `n`.
    pub fn set_xmm(&mut self, n: usize, v: u128) {
        self.fx[160 + 16 * n..176 + 16 * n].copy_from_slice(&v.to_le_bytes());
    }

    /// Sets the MXCSR.
    pub fn set_mxcsr(&mut self, v: u32) {
        self.fx[24..28].copy_from_slice(&v.to_le_bytes());
    }

    /// The same state without what 32-bit code cannot see.
    pub fn narrowed(&self) -> State {
        let mut s = self.clone();
        for (n, r) in s.gpr.iter_mut().enumerate() {
            *r = if n < 8 { *r & 0xffff_ffff } else { 0 };
        }
        s
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const NAMES: [&str; 16] = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        for (n, name) in NAMES.iter().enumerate() {
            write!(f, "{name}={:x} ", self.gpr[n])?;
        }
        write!(f, "flags={:x}", self.flags)
    }
}
