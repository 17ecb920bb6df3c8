//! The processor the guest sees: CPUID and XGETBV.
//!
//! The answers depend on the [model](Level) only, with three exceptions ([`Extra`]). They advertise
//! exactly what the lifter executes; [`FEATURES`] lists each bit with what stands behind it.

use crate::level::{Extra, Level};
use crate::xsave;

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
    /// The oldest model that has it.
    pub since: Level,
    /// What the host must have as well.
    pub extra: Extra,
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
    Feature { name, word, bit, modes, since: Level::V1, extra: Extra::None, reason }
}

impl Feature {
    const fn since(mut self, level: Level) -> Feature {
        self.since = level;
        self
    }

    const fn with(mut self, extra: Extra) -> Feature {
        self.extra = extra;
        self
    }

    /// Whether the model has it in that mode.
    pub fn shown(&self, level: Level, long_mode: bool) -> bool {
        level >= self.since && self.modes.include(long_mode) && self.extra.on_host()
    }
}

use Level::{V2, V3};
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
    feature("pni", Leaf1Ecx, 0, Both, "SSE3, fisttp; without monitor/mwait, which are privileged")
        .since(V2),
    feature("pclmulqdq", Leaf1Ecx, 1, Both, "carry-less multiplication").since(V2),
    feature("ssse3", Leaf1Ecx, 9, Both, "SSSE3").since(V2),
    feature("cx16", Leaf1Ecx, 13, Long, "cmpxchg16b, which needs REX.W").since(V2),
    feature("sse4_1", Leaf1Ecx, 19, Both, "SSE4.1").since(V2),
    feature("sse4_2", Leaf1Ecx, 20, Both, "SSE4.2 with crc32 and the string compares").since(V2),
    feature("movbe", Leaf1Ecx, 22, Both, "movbe").since(V2),
    feature("popcnt", Leaf1Ecx, 23, Both, "popcnt").since(V2),
    feature("aes", Leaf1Ecx, 25, Both, "AES rounds").since(V2),
    feature("fma", Leaf1Ecx, 12, Both, "FMA on the host's vector unit").since(V3),
    feature("xsave", Leaf1Ecx, 26, Both, "xsave, xrstor of x87, SSE and AVX state").since(V3),
    feature("osxsave", Leaf1Ecx, 27, Both, "xgetbv; signal frames hold XSAVE images").since(V3),
    feature("avx", Leaf1Ecx, 28, Both, "AVX on the host's vector unit").since(V3),
    feature("f16c", Leaf1Ecx, 29, Both, "half-precision conversions").since(V3),
    feature("rdrand", Leaf1Ecx, 30, Both, "the host's rdrand").since(V3).with(Extra::Rdrand),
    feature("fsgsbase", Leaf7Ebx, 0, Long, "rdfsbase and its kind").since(V3),
    feature("bmi1", Leaf7Ebx, 3, Both, "BMI1 with tzcnt").since(V3),
    feature("avx2", Leaf7Ebx, 5, Both, "AVX2 on the host's vector unit; gathers").since(V3),
    feature("bmi2", Leaf7Ebx, 8, Both, "BMI2").since(V3),
    feature("rdseed", Leaf7Ebx, 18, Both, "the host's rdseed").since(V3).with(Extra::Rdseed),
    feature("adx", Leaf7Ebx, 19, Both, "adcx, adox").since(V3),
    feature("sha_ni", Leaf7Ebx, 29, Both, "SHA on the host's unit").since(V3).with(Extra::Sha),
    feature("abm", Ext1Ecx, 5, Both, "lzcnt").since(V3),
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
    feature("lahf_lm", Ext1Ecx, 0, Long, "lahf and sahf in 64-bit mode").since(V2),
    feature("syscall", Ext1Edx, 11, Long, "syscall; Intel processors show it in 64-bit mode only"),
    feature("nx", Ext1Edx, 20, Both, "pages without execute permission cannot be fetched from"),
    feature("rdtscp", Ext1Edx, 27, Both, "rdtscp"),
    feature("lm", Ext1Edx, 29, Long, "64-bit mode"),
];

/// Highest extended leaf.
const MAX_EXTENDED: u32 = 0x8000_0008;

impl Level {
    /// Highest basic leaf.
    const fn max_basic(self) -> u32 {
        match self {
            Level::V1 | Level::V2 => 7,
            Level::V3 => 13,
        }
    }

    /// Family, model and stepping: all family 6, processors of the generation that brought the
    /// level. For that of v2, C libraries prefer unaligned SSE copies and rep-string instructions,
    /// the forms that are cheap here; for that of v3 AVX2 ones.
    const fn signature(self) -> u32 {
        match self {
            Level::V1 => 0x0000_06f6,
            Level::V2 => 0x0002_06c2,
            Level::V3 => 0x0003_06c3,
        }
    }

    fn brand(self) -> [u8; 48] {
        let mut brand = [0; 48];
        let text = ["Virtual x86-64-", self.name(), " processor"].concat();
        brand[..text.len()].copy_from_slice(text.as_bytes());
        brand
    }
}

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

fn features(level: Level, word: Word, long_mode: bool) -> u32 {
    FEATURES
        .iter()
        .filter(|f| f.word == word && f.shown(level, long_mode))
        .fold(0, |bits, f| bits | 1 << f.bit)
}

/// Four text bytes as CPUID returns them.
fn text(bytes: &[u8], at: usize) -> u32 {
    (0..4).fold(0, |v, i| v | u32::from(bytes.get(at + i).copied().unwrap_or(0)) << (8 * i))
}

/// What CPUID returns for EAX = `leaf`, ECX = `subleaf`. Leaves that do not exist are 0.
pub fn cpuid(level: Level, long_mode: bool, leaf: u32, subleaf: u32) -> CpuidResult {
    let mut r = CpuidResult::default();
    match leaf {
        0 => {
            r.eax = level.max_basic();
            r.ebx = text(b"GenuineIntel", 0);
            r.edx = text(b"GenuineIntel", 4);
            r.ecx = text(b"GenuineIntel", 8);
        }
        1 => {
            r.eax = level.signature();
            // One logical processor, number 0; clflush line in units of 8 bytes.
            r.ebx = 1 << 16 | (LINE / 8) << 8;
            r.ecx = features(level, Leaf1Ecx, long_mode);
            r.edx = features(level, Leaf1Edx, long_mode);
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
        7 if subleaf == 0 => r.ebx = features(level, Leaf7Ebx, long_mode),
        13 if level.xcr0() != 0 => xstate(level, subleaf, &mut r),
        0x8000_0000 => r.eax = MAX_EXTENDED,
        0x8000_0001 => {
            r.ecx = features(level, Ext1Ecx, long_mode);
            r.edx = features(level, Ext1Edx, long_mode);
        }
        0x8000_0002..=0x8000_0004 => {
            let at = (leaf - 0x8000_0002) as usize * 16;
            let brand = level.brand();
            r.eax = text(&brand, at);
            r.ebx = text(&brand, at + 4);
            r.ecx = text(&brand, at + 8);
            r.edx = text(&brand, at + 12);
        }
        // L2: size in KiB, 16-way (code 8), line size.
        0x8000_0006 => r.ecx = 1024 << 16 | 8 << 12 | LINE,
        // 48 linear, 39 physical address bits.
        0x8000_0008 => r.eax = if long_mode { 48 << 8 | 39 } else { 32 << 8 | 36 },
        _ => {}
    }
    r
}

/// Leaf 13: the XSAVE area.
fn xstate(level: Level, subleaf: u32, r: &mut CpuidResult) {
    const AVX: u32 = 2;
    match subleaf {
        0 => {
            r.eax = level.xcr0() as u32;
            r.ebx = xsave::AREA as u32;
            r.ecx = xsave::AREA as u32;
        }
        // XSAVEOPT, XSAVEC, XGETBV of index 1.
        1 => {
            r.eax = 7;
            r.ebx = xsave::AREA as u32;
        }
        AVX => {
            r.eax = (xsave::AREA - xsave::YMM) as u32;
            r.ebx = xsave::YMM as u32;
        }
        _ => {}
    }
}

/// The auxiliary vector's AT_HWCAP: EDX of leaf 1.
pub fn hwcap(level: Level, long_mode: bool) -> u32 {
    features(level, Leaf1Edx, long_mode)
}

/// The auxiliary vector's AT_HWCAP2: bit 1 says that user code may use FSGSBASE instructions.
pub fn hwcap2(level: Level) -> u32 {
    let fsgsbase = features(level, Leaf7Ebx, true) & 1;
    fsgsbase << 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels this host can show in full.
    fn levels() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter()
    }

    fn word(level: Level, word: Word, long_mode: bool) -> u32 {
        let cpuid = |long_mode, leaf, subleaf| cpuid(level, long_mode, leaf, subleaf);
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
        for (level, long_mode) in levels().flat_map(|l| [(l, false), (l, true)]) {
            for w in [Leaf1Ecx, Leaf1Edx, Leaf7Ebx, Ext1Ecx, Ext1Edx] {
                for bit in 0..32u8 {
                    let rows: Vec<_> = FEATURES
                        .iter()
                        .filter(|f| f.word == w && f.bit == bit && f.shown(level, long_mode))
                        .collect();
                    let set = word(level, w, long_mode) >> bit & 1;
                    assert_eq!(rows.len() as u32, set, "{w:?} bit {bit}");
                    assert!(rows.iter().all(|f| !f.reason.is_empty()));
                }
            }
        }
    }

    #[test]
    fn levels_are_complete() {
        let has = |level, name: &str| {
            FEATURES.iter().any(|f| f.name == name && f.since <= level && f.extra == Extra::None)
        };
        let v1 = ["cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2", "lm"];
        let v2 = ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"];
        let v3 = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "osxsave"];
        for (level, names) in [(Level::V1, &v1[..]), (Level::V2, &v2), (Level::V3, &v3)] {
            for name in names {
                assert!(has(level, name), "{name} belongs to {level:?}");
            }
        }
        for name in v2 {
            assert!(!has(Level::V1, name), "{name} is no part of v1");
        }
        for name in v3 {
            assert!(name == "movbe" || !has(Level::V2, name), "{name} is no part of v2");
        }
    }

    #[test]
    fn nothing_beyond_the_lifter_is_shown() {
        let later = [
            (Leaf1Ecx, 12),
            (Leaf1Ecx, 26),
            (Leaf1Ecx, 27),
            (Leaf1Ecx, 28),
            (Leaf1Ecx, 29),
            (Leaf1Ecx, 30),
            (Leaf7Ebx, 3),
            (Leaf7Ebx, 5),
            (Leaf7Ebx, 8),
            (Ext1Ecx, 5),
        ];
        for (w, bit) in later {
            assert_eq!(word(Level::V2, w, true) >> bit & 1, 0, "{w:?} bit {bit}");
        }
        // AVX-512 and SHA's neighbours; XOP and FMA4.
        for (w, bit) in [(Leaf7Ebx, 16), (Leaf7Ebx, 30), (Ext1Ecx, 11), (Ext1Ecx, 16)] {
            assert_eq!(word(Level::V3, w, true) >> bit & 1, 0, "{w:?} bit {bit}");
        }
        assert_eq!(cpuid(Level::V2, true, 13, 0), CpuidResult::default());
    }

    #[test]
    fn the_xsave_area_is_described_where_it_exists() {
        let leaf = |subleaf| cpuid(Level::V3, true, 13, subleaf);
        assert_eq!((leaf(0).eax, leaf(0).ebx, leaf(0).ecx, leaf(0).edx), (7, 832, 832, 0));
        assert_eq!((leaf(2).eax, leaf(2).ebx), (256, 576));
        assert_eq!(leaf(3), CpuidResult::default());
        assert_eq!(cpuid(Level::V3, true, 0, 0).eax, 13);
        assert_eq!(hwcap2(Level::V3), 2);
        assert_eq!(hwcap2(Level::V2), 0);
    }

    #[test]
    fn i386_shows_no_long_mode() {
        let e = cpuid(Level::V2, false, 0x8000_0001, 0);
        assert_eq!(e.edx >> 29 & 1, 0);
        assert_eq!(e.edx >> 11 & 1, 0);
        assert_eq!(e.ecx, 0);
        assert_eq!(cpuid(Level::V2, false, 1, 0).ecx >> 13 & 1, 0);
    }

    #[test]
    fn caches_have_the_documented_sizes_and_end() {
        let size = |i| {
            let r = cpuid(Level::V2, true, 4, i);
            let ways = (r.ebx >> 22) + 1;
            let line = (r.ebx & 0xfff) + 1;
            ways * line * (r.ecx + 1)
        };
        assert_eq!([size(0), size(1), size(2), size(3)], [32 << 10, 32 << 10, 1 << 20, 32 << 20]);
        assert_eq!(cpuid(Level::V2, true, 4, 4).eax & 31, 0);
        assert_eq!(cpuid(Level::V2, true, 0x8000_0006, 0).ecx >> 16, 1024);
    }

    #[test]
    fn names_are_text() {
        let r = cpuid(Level::V2, true, 0, 0);
        let vendor: Vec<u8> = [r.ebx, r.edx, r.ecx].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(vendor, b"GenuineIntel");
        let brand: Vec<u8> = (2..5)
            .flat_map(|i| {
                let r = cpuid(Level::V2, true, 0x8000_0000 + i, 0);
                [r.eax, r.ebx, r.ecx, r.edx].into_iter().flat_map(|w| w.to_le_bytes())
            })
            .collect();
        assert_eq!(brand, Level::V2.brand());
        assert!(brand.starts_with(b"Virtual x86-64-v2 processor"));
        assert_eq!(brand.last(), Some(&0));
    }
}
