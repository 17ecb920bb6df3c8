//! The processor the guest sees: CPUID and XGETBV.
//!
//! The answers are constants, the same on every host. They advertise exactly what the lifter
//! executes, at the level x86-64-v2; [`FEATURES`] lists each bit with what stands behind it.

/// One CPUID answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct CpuidResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// The register of a CPUID answer that holds a feature bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Word {
    Leaf1Ecx,
    Leaf1Edx,
    Leaf7Ebx,
    Ext1Ecx,
    Ext1Edx,
}

/// In which modes a feature is advertised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Modes {
    /// i386 and x86-64.
    Both,
    /// Only x86-64: the feature does not exist outside 64-bit mode.
    Long,
    /// Only i386: Linux gives it no use in 64-bit mode.
    Legacy,
}

impl Modes {
    /// Whether the mode is one of these.
    pub fn include(self, long_mode: bool) -> bool {
        match self {
            Modes::Both => true,
            Modes::Long => long_mode,
            Modes::Legacy => !long_mode,
        }
    }
}

/// An advertised feature.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Name as in `/proc/cpuinfo`.
    pub name: &'static str,
    /// Where it is.
    pub word: Word,
    /// Which bit.
    pub bit: u8,
    /// In which modes.
    pub modes: Modes,
    /// Why it may be advertised.
    pub reason: &'static str,
}

const fn feature(
    name: &'static str,
    word: Word,
    bit: u8,
    modes: Modes,
    reason: &'static str,
) -> Feature {
    Feature { name, word, bit, modes, reason }
}

use Modes::{Both, Legacy, Long};
use Word::{Ext1Ecx, Ext1Edx, Leaf1Ecx, Leaf1Edx, Leaf7Ebx};

/// Every advertised feature bit.
pub const FEATURES: &[Feature] = &[
    feature("fpu", Leaf1Edx, 0, Both, "all x87 instructions, run on the host's x87 unit"),
    feature("tsc", Leaf1Edx, 4, Both, "rdtsc"),
    feature("cx8", Leaf1Edx, 8, Both, "cmpxchg8b"),
    feature("sep", Leaf1Edx, 11, Legacy, "sysenter enters the guest's kernel"),
    feature("cmov", Leaf1Edx, 15, Both, "cmovcc, fcmovcc, fcomi"),
    feature("clflush", Leaf1Edx, 19, Both, "clflush checks its address; line size in leaf 1"),
    feature("mmx", Leaf1Edx, 23, Both, "MMX on the x87 registers"),
    feature("fxsr", Leaf1Edx, 24, Both, "fxsave, fxrstor"),
    feature("sse", Leaf1Edx, 25, Both, "SSE on the host's vector unit"),
    feature("sse2", Leaf1Edx, 26, Both, "SSE2 on the host's vector unit"),
    feature("pni", Leaf1Ecx, 0, Both, "SSE3, fisttp; without monitor/mwait, which are privileged"),
    feature("pclmulqdq", Leaf1Ecx, 1, Both, "carry-less multiplication"),
    feature("ssse3", Leaf1Ecx, 9, Both, "SSSE3"),
    feature("cx16", Leaf1Ecx, 13, Long, "cmpxchg16b, which needs REX.W"),
    feature("sse4_1", Leaf1Ecx, 19, Both, "SSE4.1"),
    feature("sse4_2", Leaf1Ecx, 20, Both, "SSE4.2 with crc32 and the string compares"),
    feature("movbe", Leaf1Ecx, 22, Both, "movbe"),
    feature("popcnt", Leaf1Ecx, 23, Both, "popcnt"),
    feature("aes", Leaf1Ecx, 25, Both, "AES rounds"),
    feature(
        "fdp_excptn_only",
        Leaf7Ebx,
        6,
        Both,
        "the x87 data pointer changes on exceptions only",
    ),
    feature(
        "erms",
        Leaf7Ebx,
        9,
        Both,
        "rep movsb/stosb run at the host's speed for the price of one helper call, so large \
         copies should use them",
    ),
    feature("zero_fcs_fds", Leaf7Ebx, 13, Both, "FCS and FDS are always saved as 0"),
    feature("lahf_lm", Ext1Ecx, 0, Long, "lahf and sahf in 64-bit mode"),
    feature("syscall", Ext1Edx, 11, Long, "syscall; Intel processors show it in 64-bit mode only"),
    feature("nx", Ext1Edx, 20, Both, "pages without execute permission cannot be fetched from"),
    feature("rdtscp", Ext1Edx, 27, Both, "rdtscp"),
    feature("lm", Ext1Edx, 29, Long, "64-bit mode"),
];

/// Highest basic leaf.
const MAX_BASIC: u32 = 7;
/// Highest extended leaf.
const MAX_EXTENDED: u32 = 0x8000_0008;
/// Family 6, model 0x2c, stepping 2: a processor of the SSE4.2 generation, for which C libraries
/// prefer unaligned SSE copies and rep-string instructions, the forms that are cheap here.
const SIGNATURE: u32 = 0x0002_06c2;
const BRAND: &[u8; 48] = b"Virtual x86-64-v2 processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A cache as leaf 4 describes it.
struct Cache {
    /// 1 data, 2 instruction, 3 unified.
    kind: u32,
    level: u32,
    ways: u32,
    sets: u32,
}

const LINE: u32 = 64;

/// 32 KiB + 32 KiB, 1 MiB, 32 MiB. The large last level makes C libraries use `rep movsb`, not
/// loops of non-temporal stores, up to copies of many MiB.
const CACHES: [Cache; 4] = [
    Cache { kind: 1, level: 1, ways: 8, sets: 64 },
    Cache { kind: 2, level: 1, ways: 8, sets: 64 },
    Cache { kind: 3, level: 2, ways: 16, sets: 1024 },
    Cache { kind: 3, level: 3, ways: 16, sets: 32768 },
];

fn features(word: Word, long_mode: bool) -> u32 {
    FEATURES
        .iter()
        .filter(|f| f.word == word && f.modes.include(long_mode))
        .fold(0, |bits, f| bits | 1 << f.bit)
}

/// Four text bytes as CPUID returns them.
fn text(bytes: &[u8], at: usize) -> u32 {
    (0..4).fold(0, |v, i| v | u32::from(bytes.get(at + i).copied().unwrap_or(0)) << (8 * i))
}

/// What CPUID returns for EAX = `leaf`, ECX = `subleaf`. Leaves that do not exist are 0.
pub fn cpuid(long_mode: bool, leaf: u32, subleaf: u32) -> CpuidResult {
    let mut r = CpuidResult::default();
    match leaf {
        0 => {
            r.eax = MAX_BASIC;
            r.ebx = text(b"GenuineIntel", 0);
            r.edx = text(b"GenuineIntel", 4);
            r.ecx = text(b"GenuineIntel", 8);
        }
        1 => {
            r.eax = SIGNATURE;
            // One logical processor, number 0; clflush line in units of 8 bytes.
            r.ebx = 1 << 16 | (LINE / 8) << 8;
            r.ecx = features(Leaf1Ecx, long_mode);
            r.edx = features(Leaf1Edx, long_mode);
        }
        // Descriptor 0xff: "see leaf 4". AL is always 1.
        2 => r.eax = 0x0000_ff01,
        4 => {
            if let Some(c) = CACHES.get(subleaf as usize) {
                // Bit 8: self-initializing; not shared, one core.
                r.eax = c.kind | c.level << 5 | 1 << 8;
                r.ebx = (LINE - 1) | (c.ways - 1) << 22;
                r.ecx = c.sets - 1;
            }
        }
        7 if subleaf == 0 => r.ebx = features(Leaf7Ebx, long_mode),
        0x8000_0000 => r.eax = MAX_EXTENDED,
        0x8000_0001 => {
            r.ecx = features(Ext1Ecx, long_mode);
            r.edx = features(Ext1Edx, long_mode);
        }
        0x8000_0002..=0x8000_0004 => {
            let at = (leaf - 0x8000_0002) as usize * 16;
            r.eax = text(BRAND, at);
            r.ebx = text(BRAND, at + 4);
            r.ecx = text(BRAND, at + 8);
            r.edx = text(BRAND, at + 12);
        }
        // L2: size in KiB, 16-way (code 8), line size.
        0x8000_0006 => r.ecx = 1024 << 16 | 8 << 12 | LINE,
        // 48 linear, 39 physical address bits.
        0x8000_0008 => r.eax = if long_mode { 48 << 8 | 39 } else { 32 << 8 | 36 },
        _ => {}
    }
    r
}

/// What XGETBV returns for ECX = `index`: `None` (undefined opcode) as long as CPUID does not
/// show OSXSAVE.
pub fn xgetbv(_index: u32) -> Option<u64> {
    None
}

/// The auxiliary vector's AT_HWCAP: EDX of leaf 1.
pub fn hwcap(long_mode: bool) -> u32 {
    features(Leaf1Edx, long_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: Word, long_mode: bool) -> u32 {
        match word {
            Leaf1Ecx => cpuid(long_mode, 1, 0).ecx,
            Leaf1Edx => cpuid(long_mode, 1, 0).edx,
            Leaf7Ebx => cpuid(long_mode, 7, 0).ebx,
            Ext1Ecx => cpuid(long_mode, 0x8000_0001, 0).ecx,
            Ext1Edx => cpuid(long_mode, 0x8000_0001, 0).edx,
        }
    }

    #[test]
    fn every_feature_bit_has_one_row_with_a_reason() {
        for long_mode in [false, true] {
            for w in [Leaf1Ecx, Leaf1Edx, Leaf7Ebx, Ext1Ecx, Ext1Edx] {
                for bit in 0..32u8 {
                    let rows: Vec<_> = FEATURES
                        .iter()
                        .filter(|f| f.word == w && f.bit == bit && f.modes.include(long_mode))
                        .collect();
                    let set = word(w, long_mode) >> bit & 1;
                    assert_eq!(rows.len() as u32, set, "{w:?} bit {bit}");
                    assert!(rows.iter().all(|f| !f.reason.is_empty()));
                }
            }
        }
    }

    #[test]
    fn x86_64_v2_is_complete() {
        let has = |name: &str| FEATURES.iter().any(|f| f.name == name);
        for name in [
            "cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2", "cx16", "lahf_lm",
            "popcnt", "pni", "sse4_1", "sse4_2", "ssse3", "lm",
        ] {
            assert!(has(name), "{name} belongs to x86-64-v2");
        }
    }

    #[test]
    fn nothing_beyond_the_lifter_is_shown() {
        let absent = [
            (Leaf1Ecx, 12),
            (Leaf1Ecx, 26),
            (Leaf1Ecx, 27),
            (Leaf1Ecx, 28),
            (Leaf1Ecx, 29),
            (Leaf1Ecx, 30),
            (Leaf7Ebx, 3),
            (Leaf7Ebx, 5),
            (Leaf7Ebx, 8),
            (Leaf7Ebx, 16),
            (Ext1Ecx, 5),
        ];
        for (w, bit) in absent {
            assert_eq!(word(w, true) >> bit & 1, 0, "{w:?} bit {bit}");
        }
        assert_eq!(xgetbv(0), None);
        assert_eq!(cpuid(true, 13, 0), CpuidResult::default());
    }

    #[test]
    fn i386_shows_no_long_mode() {
        let e = cpuid(false, 0x8000_0001, 0);
        assert_eq!(e.edx >> 29 & 1, 0);
        assert_eq!(e.edx >> 11 & 1, 0);
        assert_eq!(e.ecx, 0);
        assert_eq!(cpuid(false, 1, 0).ecx >> 13 & 1, 0);
    }

    #[test]
    fn caches_have_the_documented_sizes_and_end() {
        let size = |i| {
            let r = cpuid(true, 4, i);
            let ways = (r.ebx >> 22) + 1;
            let line = (r.ebx & 0xfff) + 1;
            ways * line * (r.ecx + 1)
        };
        assert_eq!([size(0), size(1), size(2), size(3)], [32 << 10, 32 << 10, 1 << 20, 32 << 20]);
        assert_eq!(cpuid(true, 4, 4).eax & 31, 0);
        assert_eq!(cpuid(true, 0x8000_0006, 0).ecx >> 16, 1024);
    }

    #[test]
    fn names_are_text() {
        let r = cpuid(true, 0, 0);
        let vendor: Vec<u8> = [r.ebx, r.edx, r.ecx].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(vendor, b"GenuineIntel");
        let brand: Vec<u8> = (2..5)
            .flat_map(|i| {
                let r = cpuid(true, 0x8000_0000 + i, 0);
                [r.eax, r.ebx, r.ecx, r.edx].into_iter().flat_map(|w| w.to_le_bytes())
            })
            .collect();
        assert_eq!(brand, BRAND);
        assert_eq!(brand.last(), Some(&0));
    }
}
