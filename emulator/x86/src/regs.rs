//! The registers plugins and debuggers see.
//!
//! Ids are the same in both modes: the general register with encoding *n* is id *n* whether it is
//! called `rax` or `eax`, so a plugin that asks by id is independent of the guest's width. They are
//! never renumbered; new registers get new ids.
//!
//! | ids | registers |
//! |---|---|
//! | 0–15 | general registers in encoding order |
//! | 16, 17 | program counter, flags |
//! | 18–23 | selectors es cs ss ds fs gs |
//! | 24–29 | bases of es cs ss ds fs gs (x86-64: only fs and gs) |
//! | 32–47 | xmm0–xmm15 (i386: to xmm7) |
//! | 48–63 | ymm0–ymm15 (i386: to ymm7), of which the xmm registers are the lower halves; 0 above those where the processor model has no AVX |
//! | 64–71 | st0–st7, relative to the top of the stack |
//! | 72–79 | mm0–mm7 |
//! | 80–86 | fctrl fstat ftag fop fip fdp mxcsr |

use emu_cpu::{RegDesc, RegKind};

use crate::{X86Cpu, fxsave};

/// Where a register lives.
#[derive(Clone, Copy, Debug)]
enum Place {
    Gpr(u8),
    Pc,
    Flags,
    Selector(u8),
    SegBase(u8),
    FsBase,
    GsBase,
    Xmm(u8),
    Ymm(u8),
    St(u8),
    Mm(u8),
    FpuControl,
    FpuStatus,
    FpuTag,
    FpuOpcode,
    FpuIp,
    FpuDp,
    Mxcsr,
}

#[derive(Clone, Copy)]
struct Row {
    desc: RegDesc,
    place: Place,
}

const fn row(name: &'static str, id: u32, bytes: u32, kind: RegKind, place: Place) -> Row {
    Row { desc: RegDesc { name, id, bytes, kind }, place }
}

/// Rows for a list of numbered registers of one class.
macro_rules! numbered {
    ($first:literal, $bytes:literal, $kind:ident, $place:ident; $($n:literal $name:literal),*) => {
        [$(row($name, $first + $n, $bytes, RegKind::$kind, Place::$place($n))),*]
    };
}

const GPR64: [Row; 16] = numbered!(0, 8, General, Gpr;
    0 "rax", 1 "rcx", 2 "rdx", 3 "rbx", 4 "rsp", 5 "rbp", 6 "rsi", 7 "rdi",
    8 "r8", 9 "r9", 10 "r10", 11 "r11", 12 "r12", 13 "r13", 14 "r14", 15 "r15");
const GPR32: [Row; 8] = numbered!(0, 4, General, Gpr;
    0 "eax", 1 "ecx", 2 "edx", 3 "ebx", 4 "esp", 5 "ebp", 6 "esi", 7 "edi");
const PC_FLAGS64: [Row; 2] =
    [row("rip", 16, 8, RegKind::Pc, Place::Pc), row("rflags", 17, 8, RegKind::Flags, Place::Flags)];
const PC_FLAGS32: [Row; 2] =
    [row("eip", 16, 4, RegKind::Pc, Place::Pc), row("eflags", 17, 4, RegKind::Flags, Place::Flags)];
const SELECTORS: [Row; 6] = numbered!(18, 2, Segment, Selector;
    0 "es", 1 "cs", 2 "ss", 3 "ds", 4 "fs", 5 "gs");
const BASES64: [Row; 2] = [
    row("fs_base", 28, 8, RegKind::Segment, Place::FsBase),
    row("gs_base", 29, 8, RegKind::Segment, Place::GsBase),
];
const BASES32: [Row; 6] = [
    row("es_base", 24, 4, RegKind::Segment, Place::SegBase(0)),
    row("cs_base", 25, 4, RegKind::Segment, Place::SegBase(1)),
    row("ss_base", 26, 4, RegKind::Segment, Place::SegBase(2)),
    row("ds_base", 27, 4, RegKind::Segment, Place::SegBase(3)),
    row("fs_base", 28, 4, RegKind::Segment, Place::FsBase),
    row("gs_base", 29, 4, RegKind::Segment, Place::GsBase),
];
const XMM_LOW: [Row; 8] = numbered!(32, 16, Vector, Xmm;
    0 "xmm0", 1 "xmm1", 2 "xmm2", 3 "xmm3", 4 "xmm4", 5 "xmm5", 6 "xmm6", 7 "xmm7");
const XMM_HIGH: [Row; 8] = numbered!(32, 16, Vector, Xmm;
    8 "xmm8", 9 "xmm9", 10 "xmm10", 11 "xmm11", 12 "xmm12", 13 "xmm13", 14 "xmm14", 15 "xmm15");
const YMM_LOW: [Row; 8] = numbered!(48, 32, Vector, Ymm;
    0 "ymm0", 1 "ymm1", 2 "ymm2", 3 "ymm3", 4 "ymm4", 5 "ymm5", 6 "ymm6", 7 "ymm7");
const YMM_HIGH: [Row; 8] = numbered!(48, 32, Vector, Ymm;
    8 "ymm8", 9 "ymm9", 10 "ymm10", 11 "ymm11", 12 "ymm12", 13 "ymm13", 14 "ymm14", 15 "ymm15");
const ST: [Row; 8] = numbered!(64, 10, Vector, St;
    0 "st0", 1 "st1", 2 "st2", 3 "st3", 4 "st4", 5 "st5", 6 "st6", 7 "st7");
const MM: [Row; 8] = numbered!(72, 8, Vector, Mm;
    0 "mm0", 1 "mm1", 2 "mm2", 3 "mm3", 4 "mm4", 5 "mm5", 6 "mm6", 7 "mm7");
const CONTROL: [Row; 7] = [
    row("fctrl", 80, 2, RegKind::Control, Place::FpuControl),
    row("fstat", 81, 2, RegKind::Control, Place::FpuStatus),
    row("ftag", 82, 2, RegKind::Control, Place::FpuTag),
    row("fop", 83, 2, RegKind::Control, Place::FpuOpcode),
    row("fip", 84, 8, RegKind::Control, Place::FpuIp),
    row("fdp", 85, 8, RegKind::Control, Place::FpuDp),
    row("mxcsr", 86, 4, RegKind::Control, Place::Mxcsr),
];

const fn concat<const N: usize>(parts: &[&[Row]]) -> [Row; N] {
    let mut out = [parts[0][0]; N];
    let (mut n, mut p) = (0, 0);
    while p < parts.len() {
        let mut i = 0;
        while i < parts[p].len() {
            out[n] = parts[p][i];
            n += 1;
            i += 1;
        }
        p += 1;
    }
    assert!(n == N);
    out
}

const fn descs<const N: usize>(rows: &[Row; N]) -> [RegDesc; N] {
    let mut out = [rows[0].desc; N];
    let mut i = 0;
    while i < N {
        out[i] = rows[i].desc;
        i += 1;
    }
    out
}

static ROWS64: [Row; 81] = concat(&[
    &GPR64,
    &PC_FLAGS64,
    &SELECTORS,
    &BASES64,
    &XMM_LOW,
    &XMM_HIGH,
    &YMM_LOW,
    &YMM_HIGH,
    &ST,
    &MM,
    &CONTROL,
]);
static ROWS32: [Row; 61] =
    concat(&[&GPR32, &PC_FLAGS32, &SELECTORS, &BASES32, &XMM_LOW, &YMM_LOW, &ST, &MM, &CONTROL]);

/// Registers of an x86-64 guest.
pub static X86_64_REGISTERS: [RegDesc; 81] = descs(&ROWS64);
/// Registers of an i386 guest.
pub static I386_REGISTERS: [RegDesc; 61] = descs(&ROWS32);

fn find(long_mode: bool, id: u32) -> Option<&'static Row> {
    // Plugins read registers in every callback.
    let (rows, places): (&[Row], _) =
        if long_mode { (&ROWS64, &PLACES64) } else { (&ROWS32, &PLACES32) };
    rows.get(usize::from(*places.get(id as usize)?))
}

/// One more than the highest id.
const IDS: usize = 87;

static PLACES64: [u8; IDS] = places(&ROWS64);
static PLACES32: [u8; IDS] = places(&ROWS32);

/// The row of each id; 255 where there is none.
const fn places<const N: usize>(rows: &[Row; N]) -> [u8; IDS] {
    let mut out = [255; IDS];
    let mut i = 0;
    while i < N {
        out[rows[i].desc.id as usize] = i as u8;
        i += 1;
    }
    out
}

/// Reads register `id` into `buf`, little-endian; the number of bytes, or `None` for an unknown
/// id or a buffer that is too small.
pub fn read(cpu: &X86Cpu, long_mode: bool, id: u32, buf: &mut [u8]) -> Option<usize> {
    let row = find(long_mode, id)?;
    let n = row.desc.bytes as usize;
    let out = buf.get_mut(..n)?;
    let value = match row.place {
        Place::Xmm(i) => {
            out.copy_from_slice(&cpu.vec[usize::from(i)].0[..16]);
            return Some(n);
        }
        Place::Ymm(i) => {
            out.copy_from_slice(&cpu.vec[usize::from(i)].0);
            return Some(n);
        }
        Place::St(i) => {
            out.copy_from_slice(&cpu.x87.st[cpu.x87.phys(i)].0[..10]);
            return Some(n);
        }
        Place::Mm(i) => {
            out.copy_from_slice(&cpu.x87.st[usize::from(i)].0[..8]);
            return Some(n);
        }
        Place::Gpr(i) => cpu.gpr[usize::from(i)],
        Place::Pc => cpu.hdr.pc,
        Place::Flags => cpu.eflags(),
        Place::Selector(i) => u64::from(cpu.selectors[usize::from(i)]),
        Place::SegBase(i) => cpu.seg_base[usize::from(i)],
        Place::FsBase => cpu.fs_base,
        Place::GsBase => cpu.gs_base,
        Place::FpuControl => u64::from(cpu.x87.control),
        Place::FpuStatus => u64::from(cpu.x87.status_word()),
        Place::FpuTag => u64::from(fxsave::full_tags(&cpu.x87)),
        Place::FpuOpcode => u64::from(cpu.x87.last_opcode),
        Place::FpuIp => cpu.x87.last_ip,
        Place::FpuDp => cpu.x87.last_dp,
        Place::Mxcsr => u64::from(cpu.mxcsr),
    };
    let bytes = value.to_le_bytes();
    // Of a size known here a copy is a move, not a call.
    match n {
        8 => out.copy_from_slice(&bytes),
        4 => out.copy_from_slice(&bytes[..4]),
        _ => out.copy_from_slice(&bytes[..n]),
    }
    Some(n)
}

/// Writes register `id` from `data`, little-endian; false for an unknown id, a wrong size, or
/// a value with reserved bits set (mxcsr).
pub fn write(cpu: &mut X86Cpu, long_mode: bool, id: u32, data: &[u8]) -> bool {
    let Some(row) = find(long_mode, id) else { return false };
    if data.len() != row.desc.bytes as usize {
        return false;
    }
    let mut low = [0; 8];
    let n = data.len().min(8);
    low[..n].copy_from_slice(&data[..n]);
    let value = u64::from_le_bytes(low);
    match row.place {
        Place::Xmm(i) => cpu.vec[usize::from(i)].0[..16].copy_from_slice(data),
        Place::Ymm(i) => cpu.vec[usize::from(i)].0.copy_from_slice(data),
        Place::St(i) => {
            let p = cpu.x87.phys(i);
            cpu.x87.st[p].0[..10].copy_from_slice(data);
        }
        Place::Mm(i) => {
            // As every MMX instruction does: the exponent field becomes all ones.
            let st = &mut cpu.x87.st[usize::from(i)].0;
            st[..8].copy_from_slice(data);
            st[8..10].fill(0xff);
        }
        Place::Gpr(i) => cpu.gpr[usize::from(i)] = value,
        Place::Pc => cpu.hdr.pc = value,
        Place::Flags => cpu.set_eflags(value),
        Place::Selector(i) => cpu.selectors[usize::from(i)] = value as u16,
        Place::SegBase(i) => cpu.seg_base[usize::from(i)] = value,
        Place::FsBase => cpu.fs_base = value,
        Place::GsBase => cpu.gs_base = value,
        Place::FpuControl => cpu.x87.set_control(value as u16),
        Place::FpuStatus => cpu.x87.set_status_word(value as u16),
        Place::FpuTag => cpu.x87.valid = fxsave::abridged_tags(value as u16),
        Place::FpuOpcode => cpu.x87.last_opcode = value as u16 & 0x7ff,
        Place::FpuIp => cpu.x87.last_ip = value,
        Place::FpuDp => cpu.x87.last_dp = value,
        Place::Mxcsr => {
            if value as u32 & !fxsave::MXCSR_MASK != 0 {
                return false;
            }
            cpu.mxcsr = value as u32;
        }
    }
    true
}
