//! Functions that IR calls: one table row each.
//!
//! A row is `Variant "name in IR text" path::to::function EFFECTS;` where the effects are those of
//! [`Effects`]. Functions have the signature [`emu_cpu::HelperFn`].

use emu_cpu::{CpuHeader, Effects, HelperDesc};

use crate::X86Cpu;

macro_rules! helpers {
    ($($name:ident $text:literal $func:path, $effects:ident;)*) => {
        /// Number of a helper: its row in [`HELPERS`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum Helper { $($name,)* }

        /// The helper table of both x86 architectures.
        pub static HELPERS: &[HelperDesc] = &[$(
            HelperDesc { name: $text, func: $func, effects: Effects::$effects },
        )*];
    };
}

// Keep the families apart: rows are appended at the end of their family.
helpers! {
    // Integer and system.
    Rdtsc "rdtsc" int::rdtsc, PURE;

    // MMX, SSE.
    Ldmxcsr "ldmxcsr" simd::ldmxcsr, FULL;
    Stmxcsr "stmxcsr" simd::stmxcsr, STATE;
    MaskedStore "masked_store" simd::masked_store, FULL;
    Pcmpistri "pcmpistri" simd::pcmpistri, READS;
    Pcmpistrm "pcmpistrm" simd::pcmpistrm, STATE;
    Pcmpestri "pcmpestri" simd::pcmpestri, READS;
    Pcmpestrm "pcmpestrm" simd::pcmpestrm, STATE;

    // x87, state.

}

pub mod int;
pub mod simd;

/// The x86 structure behind a header.
///
/// # Safety
/// `cpu` is the header of a live [`X86Cpu`], not otherwise borrowed during `'a`.
#[inline(always)]
pub unsafe fn x86<'a>(cpu: *mut CpuHeader) -> &'a mut X86Cpu {
    // SAFETY: the header is the first field of the repr(C) structure; the caller promises the rest.
    unsafe { &mut *cpu.cast::<X86Cpu>() }
}
