//! Comparing the two.

use std::fmt::{self, Write as _};

use emu_ir::{TrapKind, flags};
use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction, Mnemonic, OpKind, RflagsBits};

use crate::emulated::Emulated;
use crate::native::Area;
use crate::state::{Bits, CODE, Outcome, State};

/// What a comparison leaves out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore {
    /// Flags, beyond those the manual leaves undefined.
    pub flags: u64,
    /// General registers, by number.
    pub gprs: u16,
    /// The x87 last-instruction pointers and opcode.
    pub fp_pointers: bool,
    /// The x87 status word's condition codes (bits of the status word).
    pub x87_status: u16,
    /// The whole of x87 and MMX.
    pub x87: bool,
    /// Which byte of its page a fault names.
    pub fault_offset: bool,
    /// After a SIMD exception: MXCSR, x87 and MMX.
    pub after_simd_exception: bool,
    /// After a fault in a repeated comparison: the flags, and which operand it was. Processors read
    /// the operands in either order, and some set flags for the elements done.
    pub comparison_fault: bool,
    /// After a fault in a gather, what is not certain then.
    pub gather: Option<Gather>,
    /// Compare arithmetic flags even where the manual calls them undefined.
    pub undefined_flags_too: bool,
}

/// The registers of a gather. Only the signs of its mask's elements count; some processors extend them first and clear
/// what lies above 128 bits of mask and destination, others do so at the end: a fault that interrupts it shows either.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// Vector register of the mask.
    mask: usize,
    destination: usize,
    /// The signs in each half of the register.
    signs: u128,
    /// One of them has 256 bits.
    wide: bool,
}

impl Gather {
    fn of(i: &Instruction) -> Option<Gather> {
        use Mnemonic::*;
        let bits = match i.mnemonic() {
            Vpgatherdd | Vpgatherqd | Vgatherdps | Vgatherqps => 32,
            Vpgatherdq | Vpgatherqq | Vgatherdpd | Vgatherqpd => 64,
            _ => return None,
        };
        let signs = (0..128 / bits).fold(0, |signs, n| signs | 1u128 << (bits * n + bits - 1));
        let mask = i.op2_register();
        let wide = mask.is_ymm() || i.op0_register().is_ymm();
        Some(Gather { mask: mask.number(), destination: i.op0_register().number(), signs, wide })
    }
}

/// The instructions of `code`.
fn decode(bits: Bits, code: &[u8]) -> Vec<Instruction> {
    let bitness = if bits == Bits::B32 { 32 } else { 64 };
    Decoder::with_ip(bitness, code, CODE, DecoderOptions::NONE).iter().collect()
}

/// The flags the manual leaves undefined after any of the instructions.
fn undefined(insns: &[Instruction]) -> u64 {
    const TABLE: [(u32, u16); 6] = [
        (RflagsBits::OF, flags::OF),
        (RflagsBits::SF, flags::SF),
        (RflagsBits::ZF, flags::ZF),
        (RflagsBits::AF, flags::AF),
        (RflagsBits::CF, flags::CF),
        (RflagsBits::PF, flags::PF),
    ];
    let mut mask = 0;
    for i in insns {
        for (bit, flag) in TABLE {
            if i.rflags_undefined() & bit != 0 {
                mask |= u64::from(flag);
            }
        }
    }
    mask
}

/// The overflow flag, if any of the instructions rotates through carry by a whole number of turns:
/// processors differ.
fn rotated_around(insns: &[Instruction]) -> u64 {
    let around = |i: &Instruction| {
        let bits = 8 * i.memory_size().size().max(i.op0_register().size()) as u32;
        matches!(i.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr)
            && i.op1_kind() == OpKind::Immediate8
            && (u32::from(i.immediate8()) & 31).is_multiple_of(bits + 1)
    };
    if insns.iter().any(around) { u64::from(flags::OF) } else { 0 }
}

fn repeated_comparison(i: &Instruction) -> bool {
    use Mnemonic::{Cmpsb, Cmpsd, Cmpsq, Cmpsw, Scasb, Scasd, Scasq, Scasw};
    (i.has_rep_prefix() || i.has_repne_prefix())
        && matches!(i.mnemonic(), Cmpsb | Cmpsw | Cmpsd | Cmpsq | Scasb | Scasw | Scasd | Scasq)
}

/// Runs `code` from each state both ways and panics with the first difference. Flags the manual
/// leaves undefined are not compared.
pub fn check(bits: Bits, code: &[u8], states: &[State]) {
    check_with(bits, code, states, Ignore::default());
}

/// [`check`], leaving out `ignore`.
pub fn check_with(bits: Bits, code: &[u8], states: &[State], ignore: Ignore) {
    if let Err(message) = compare(bits, code, states, ignore) {
        panic!("{message}");
    }
}

/// [`check_with`], returning the description of the first difference.
pub fn compare(bits: Bits, code: &[u8], states: &[State], ignore: Ignore) -> Result<(), String> {
    let insns = decode(bits, code);
    let mut ignore = ignore;
    if !ignore.undefined_flags_too {
        ignore.flags |= undefined(&insns);
    }
    ignore.flags |= rotated_around(&insns);
    ignore.comparison_fault |= insns.iter().any(repeated_comparison);
    let converts =
        insns.iter().any(|i| i.mnemonic() == Mnemonic::Vcvtps2ph && i.op0_kind() == OpKind::Memory);
    ignore.gather = insns.iter().find_map(Gather::of);
    let area = Area::take();
    area.set_code(code);
    let mut emulated = Emulated::new(&area, bits, insns.len());
    for state in states {
        let want = area.run_native(bits, state);
        let got = emulated.run(&area, state);
        if converts && got.trap == TrapKind::PageFault {
            // Some processors raise the exceptions of the conversion first.
            if matches!(want.trap, TrapKind::PageFault | TrapKind::Simd) {
                continue;
            }
        }
        let different = differences(&want, &got, ignore);
        if !different.is_empty() {
            return Err(format!(
                "{} ({bits:?}, {code:02x?})\n  from {state:?}\n  (processor, emulated)\n{different}{}",
                text(&insns),
                emulated.listing()
            ));
        }
    }
    Ok(())
}

fn text(insns: &[Instruction]) -> String {
    let mut formatter = FastFormatter::new();
    let mut s = String::new();
    for i in insns {
        if !s.is_empty() {
            s.push_str("; ");
        }
        formatter.format(i, &mut s);
    }
    s
}

fn differences(want: &Outcome, got: &Outcome, ignore: Ignore) -> String {
    let mut s = String::new();
    if want == got {
        return s;
    }
    let mut line = |name: fmt::Arguments<'_>, w: u128, g: u128| {
        if w != g {
            let _ = writeln!(s, "  {name}: {w:#x}, {g:#x}");
        }
    };
    line(format_args!("trap"), want.trap as u128, got.trap as u128);
    line(format_args!("pc"), want.pc.into(), got.pc.into());
    let comparison_fault = ignore.comparison_fault && want.trap != TrapKind::None;
    if !comparison_fault {
        let mask = if ignore.fault_offset { !0xfff } else { !0 };
        let (w, g) = (want.fault_addr & mask, got.fault_addr & mask);
        line(format_args!("fault address"), w.into(), g.into());
    }
    let (w, g) = (&want.state, &got.state);
    for n in 0..16 {
        if ignore.gprs >> n & 1 == 0 {
            line(format_args!("gpr {n}"), w.gpr[n].into(), g.gpr[n].into());
        }
    }
    let skip = if comparison_fault { u64::from(flags::ALL) } else { ignore.flags };
    line(format_args!("flags"), (w.flags & !skip).into(), (g.flags & !skip).into());
    let gather = ignore.gather.filter(|_| want.trap != TrapKind::None);
    for n in 0..16 {
        let (low, high) = match gather {
            Some(g) if g.mask == n && g.wide => (g.signs, g.signs),
            Some(g) if g.mask == n => (g.signs, 0),
            Some(g) if g.destination == n && !g.wide => (!0, 0),
            _ => (!0, !0),
        };
        line(format_args!("xmm{n}"), w.xmm(n) & low, g.xmm(n) & low);
        line(format_args!("upper half of ymm{n}"), w.ymm_high[n] & high, g.ymm_high[n] & high);
    }
    let word = |s: &State, at: usize, n: usize| {
        s.fx[at..at + n].iter().rev().fold(0u128, |v, b| v << 8 | u128::from(*b))
    };
    let skip = ignore.after_simd_exception && want.trap == TrapKind::Simd;
    if !skip {
        line(format_args!("mxcsr"), word(w, 24, 4), word(g, 24, 4));
    }
    if !ignore.x87 && !skip {
        line(format_args!("fctrl"), word(w, 0, 2), word(g, 0, 2));
        let mask = !u128::from(ignore.x87_status);
        line(format_args!("fstat"), word(w, 2, 2) & mask, word(g, 2, 2) & mask);
        line(format_args!("ftag"), word(w, 4, 1), word(g, 4, 1));
        if !ignore.fp_pointers {
            line(format_args!("fop"), word(w, 6, 2), word(g, 6, 2));
            line(format_args!("fip"), word(w, 8, 8), word(g, 8, 8));
            line(format_args!("fdp"), word(w, 16, 8), word(g, 16, 8));
        }
        for n in 0..8 {
            line(format_args!("st{n}"), word(w, 32 + 16 * n, 10), word(g, 32 + 16 * n, 10));
        }
    }
    for (at, (a, b)) in w.mem.iter().zip(&g.mem).enumerate() {
        if a != b {
            line(format_args!("byte {at:#x} of the data"), u128::from(*a), u128::from(*b));
        }
    }
    s
}
