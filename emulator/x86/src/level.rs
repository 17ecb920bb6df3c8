//! The processor models: the x86-64 micro-architecture levels of the psABI.
//!
//! Guest vector instructions run on the host's own, so a host executes the levels it has itself.
//! The model is one per process: it is chosen once, before guest code is translated.

use core::sync::atomic::{AtomicU8, Ordering};

use iced_x86::{CpuidFeature as F, Instruction};

/// A processor model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// x86-64-v1: SSE2.
    V1 = 1,
    /// x86-64-v2: SSE4.2, POPCNT, CMPXCHG16B; also MOVBE, AES and PCLMULQDQ.
    V2 = 2,
    /// x86-64-v3: AVX2, FMA, F16C, BMI1, BMI2, LZCNT, XSAVE; also ADX, FSGSBASE, and where the
    /// host has them SHA, RDRAND and RDSEED.
    V3 = 3,
}

/// A model the host's processor cannot execute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "this computer's processor has no {feature}, which the model {} needs: use --cpu {}",
    level.name(),
    Level::best().name()
)]
pub struct UnsupportedLevel {
    /// The model.
    pub level: Level,
    /// What the host lacks.
    pub feature: &'static str,
}

/// The chosen model; 0 as long as none is.
static CURRENT: AtomicU8 = AtomicU8::new(0);

/// What the host has beyond v2 that guest instructions run on.
macro_rules! host_has {
    ($feature:tt) => {
        std::arch::is_x86_feature_detected!($feature)
    };
}

/// More than the decoder has instruction codes.
const CODES: usize = 5120;

impl Level {
    /// All models, oldest first.
    pub const ALL: [Level; 3] = [Level::V1, Level::V2, Level::V3];

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Level::V1 => "v1",
            Level::V2 => "v2",
            Level::V3 => "v3",
        }
    }

    /// What the host's processor lacks for this model.
    pub fn missing(self) -> Option<&'static str> {
        let needs =
            [("AVX2", host_has!("avx2")), ("FMA", host_has!("fma")), ("F16C", host_has!("f16c"))];
        match self {
            Level::V1 | Level::V2 => None,
            Level::V3 => needs.into_iter().find(|(_, has)| !has).map(|(name, _)| name),
        }
    }

    /// The newest model the host can execute.
    pub fn best() -> Level {
        if Level::V3.missing().is_none() { Level::V3 } else { Level::V2 }
    }

    /// Chooses this model.
    pub fn select(self) -> Result<(), UnsupportedLevel> {
        if let Some(feature) = self.missing() {
            return Err(UnsupportedLevel { level: self, feature });
        }
        CURRENT.store(self as u8, Ordering::Relaxed);
        Ok(())
    }

    /// The chosen model, [`Level::best`] unless another was selected.
    pub fn current() -> Level {
        match CURRENT.load(Ordering::Relaxed) {
            1 => Level::V1,
            2 => Level::V2,
            3 => Level::V3,
            _ => {
                let best = Level::best();
                CURRENT.store(best as u8, Ordering::Relaxed);
                best
            }
        }
    }

    /// XCR0: the state components the guest's kernel has enabled; 0 without XSAVE.
    pub const fn xcr0(self) -> u64 {
        match self {
            Level::V1 | Level::V2 => 0,
            // x87, SSE, AVX.
            Level::V3 => 7,
        }
    }

    /// Whether the model has the instruction. Says yes of instructions that are in no model: the
    /// lifter does not know those.
    pub(crate) fn has(self, i: &Instruction) -> bool {
        static ANSWERS: [AtomicU8; CODES] = [const { AtomicU8::new(0) }; CODES];
        let answer = || i.cpuid_features().iter().all(|f| self.has_feature(*f));
        let Some(known) = ANSWERS.get(i.code() as usize) else { return answer() };
        // A level is at least 1.
        let yes = (self as u8) << 1 | 1;
        match known.load(Ordering::Relaxed) {
            n if n | 1 == yes => n == yes,
            _ => {
                let has = answer();
                known.store(yes & !u8::from(!has), Ordering::Relaxed);
                has
            }
        }
    }

    fn has_feature(self, feature: F) -> bool {
        let since = match feature {
            F::SSE3
            | F::SSSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::POPCNT
            | F::CMPXCHG16B
            | F::MOVBE
            | F::AES
            | F::PCLMULQDQ => Level::V2,
            F::AVX
            | F::AVX2
            | F::FMA
            | F::F16C
            | F::BMI1
            | F::BMI2
            | F::LZCNT
            | F::ADX
            | F::FSGSBASE
            | F::XSAVE
            | F::XSAVEOPT
            | F::XSAVEC => Level::V3,
            F::SHA => return self >= Level::V3 && Extra::Sha.on_host(),
            F::RDRAND => return self >= Level::V3 && Extra::Rdrand.on_host(),
            F::RDSEED => return self >= Level::V3 && Extra::Rdseed.on_host(),
            // Vector instructions beyond v3 that share their mnemonics with others.
            F::VAES | F::VPCLMULQDQ => return false,
            _ => Level::V1,
        };
        self >= since
    }
}

/// What v3 has only where the host has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    /// Nothing: v3 has it everywhere.
    None,
    /// SHA.
    Sha,
    /// RDRAND.
    Rdrand,
    /// RDSEED.
    Rdseed,
}

impl Extra {
    /// Whether the host has it.
    pub fn on_host(self) -> bool {
        match self {
            Extra::None => true,
            Extra::Sha => host_has!("sha"),
            Extra::Rdrand => host_has!("rdrand"),
            Extra::Rdseed => host_has!("rdseed"),
        }
    }
}
