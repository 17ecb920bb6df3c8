//! Functions that IR calls: one table row each.
//!
//! A row is `Variant "name in IR text" path::to::function, EFFECTS;` where the effects are those of
//! [`Effects`]. Behind them stands the [`X87Op`] of what an x87 unit can do in the helper's place, or
//! `Apart` if the helper has nothing to do with that unit. Functions have the signature [`emu_cpu::HelperFn`].

use emu_cpu::{CpuHeader, Effects, HelperDesc, X87Op, X87Use};

use crate::X86Cpu;

macro_rules! helpers {
    (@x87) => { X87Use::Structure };
    (@x87 Apart) => { X87Use::Nothing };
    (@x87 $op:ident) => { X87Use::Op(X87Op::$op) };
    ($($name:ident $text:literal $func:path, $effects:ident $($x87:ident)?;)*) => {
        /// Number of a helper: its row in [`HELPERS`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum Helper { $($name,)* }

        /// The helper table of both x86 architectures.
        pub static HELPERS: &[HelperDesc] = &[$(
            HelperDesc {
                name: $text,
                func: $func,
                effects: Effects::$effects,
                x87: helpers!(@x87 $($x87)?),
            },
        )*];
    };
}

// Keep the families apart: rows are appended at the end of their family.
helpers! {
    // Integer and system.
    Rdtsc "rdtsc" int::rdtsc, STATE;
    FetchFault "fetch_fault" int::fetch_fault, FULL;
    Cpuid "cpuid" int::cpuid_insn, STATE;
    Xgetbv "xgetbv" xsave::xgetbv, TRAPS;
    Xsave "xsave" xsave::xsave, FULL;
    Xrstor "xrstor" xsave::xrstor, FULL;
    Rdrand "rdrand" int::rdrand, STATE Apart;
    Rdseed "rdseed" int::rdseed, STATE Apart;
    CheckCanonical "check_canonical" int::check_canonical, TRAPS Apart;
    Pdep "pdep" int::pdep, PURE Apart;
    Pext "pext" int::pext, PURE Apart;
    Bound "bound" int::bound, TRAPS Apart;
    Crc32 "crc32" int::crc32, PURE Apart;
    LockNeg "lock_neg" int::lock_neg, TRAPS Apart;
    Cmpxchg8b "cmpxchg8b" int::cmpxchg8b, FULL Apart;
    Cmpxchg16b "cmpxchg16b" int::cmpxchg16b, FULL Apart;
    RepMovs "rep_movs" string::movs, FULL Apart;
    RepStos "rep_stos" string::stos, FULL Apart;
    RepLods "rep_lods" string::lods, FULL Apart;
    RepCmps "rep_cmps" string::cmps, FULL Apart;
    RepScas "rep_scas" string::scas, FULL Apart;
    Rcl "rcl" shift::rcl, PURE Apart;
    Rcr "rcr" shift::rcr, PURE Apart;
    RclFlags "rcl_flags" shift::rcl_flags, PURE Apart;
    RcrFlags "rcr_flags" shift::rcr_flags, PURE Apart;
    Shld16Flags "shld16_flags" shift::shld16_flags, PURE Apart;
    Shld32Flags "shld32_flags" shift::shld32_flags, PURE Apart;
    Shld64Flags "shld64_flags" shift::shld64_flags, PURE Apart;
    Shrd16Flags "shrd16_flags" shift::shrd16_flags, PURE Apart;
    Shrd32Flags "shrd32_flags" shift::shrd32_flags, PURE Apart;
    Shrd64Flags "shrd64_flags" shift::shrd64_flags, PURE Apart;
    Aaa "aaa" bcd::aaa, PURE Apart;
    Aas "aas" bcd::aas, PURE Apart;
    Daa "daa" bcd::daa, PURE Apart;
    Das "das" bcd::das, PURE Apart;
    LoadSegment32 "load_segment32" segment::load32, FULL Apart;
    LoadSegment64 "load_segment64" segment::load64, FULL Apart;
    CheckCs "check_cs" segment::check_cs, TRAPS Apart;
    Lar "lar" segment::lar, READS Apart;
    Lsl "lsl" segment::lsl, READS Apart;
    Verr "verr" segment::verr, READS Apart;
    Verw "verw" segment::verw, READS Apart;

    // MMX, SSE.
    Ldmxcsr "ldmxcsr" simd::ldmxcsr, FULL;
    Stmxcsr "stmxcsr" simd::stmxcsr, READS;
    MaskedStore "masked_store" simd::masked_store, TRAPS;
    Pcmpistri "pcmpistri" simd::pcmpistri, READS Apart;
    Pcmpistrm "pcmpistrm" simd::pcmpistrm, STATE Apart;
    Pcmpestri "pcmpestri" simd::pcmpestri, READS Apart;
    Pcmpestrm "pcmpestrm" simd::pcmpestrm, STATE Apart;
    LoadLanes "load_lanes" masked::load_lanes, FULL;
    StoreLanes "store_lanes" masked::store_lanes, TRAPS;
    Gather "gather" masked::gather, FULL;

    // x87, state.
    X87AddF32 "x87.add.f32" x87::arith::memory::<0xd8, 0>, FULL Source;
    X87MulF32 "x87.mul.f32" x87::arith::memory::<0xd8, 1>, FULL Source;
    X87SubF32 "x87.sub.f32" x87::arith::memory::<0xd8, 4>, FULL Source;
    X87SubrF32 "x87.subr.f32" x87::arith::memory::<0xd8, 5>, FULL Source;
    X87DivF32 "x87.div.f32" x87::arith::memory::<0xd8, 6>, FULL Source;
    X87DivrF32 "x87.divr.f32" x87::arith::memory::<0xd8, 7>, FULL Source;
    X87AddF64 "x87.add.f64" x87::arith::memory::<0xdc, 0>, FULL Source;
    X87MulF64 "x87.mul.f64" x87::arith::memory::<0xdc, 1>, FULL Source;
    X87SubF64 "x87.sub.f64" x87::arith::memory::<0xdc, 4>, FULL Source;
    X87SubrF64 "x87.subr.f64" x87::arith::memory::<0xdc, 5>, FULL Source;
    X87DivF64 "x87.div.f64" x87::arith::memory::<0xdc, 6>, FULL Source;
    X87DivrF64 "x87.divr.f64" x87::arith::memory::<0xdc, 7>, FULL Source;
    X87AddI32 "x87.add.i32" x87::arith::memory::<0xda, 0>, FULL Source;
    X87MulI32 "x87.mul.i32" x87::arith::memory::<0xda, 1>, FULL Source;
    X87SubI32 "x87.sub.i32" x87::arith::memory::<0xda, 4>, FULL Source;
    X87SubrI32 "x87.subr.i32" x87::arith::memory::<0xda, 5>, FULL Source;
    X87DivI32 "x87.div.i32" x87::arith::memory::<0xda, 6>, FULL Source;
    X87DivrI32 "x87.divr.i32" x87::arith::memory::<0xda, 7>, FULL Source;
    X87AddI16 "x87.add.i16" x87::arith::memory::<0xde, 0>, FULL Source;
    X87MulI16 "x87.mul.i16" x87::arith::memory::<0xde, 1>, FULL Source;
    X87SubI16 "x87.sub.i16" x87::arith::memory::<0xde, 4>, FULL Source;
    X87SubrI16 "x87.subr.i16" x87::arith::memory::<0xde, 5>, FULL Source;
    X87DivI16 "x87.div.i16" x87::arith::memory::<0xde, 6>, FULL Source;
    X87DivrI16 "x87.divr.i16" x87::arith::memory::<0xde, 7>, FULL Source;
    X87AddTop "x87.add.top" x87::arith::two::<0xc1, true, false>, FULL Stack;
    X87MulTop "x87.mul.top" x87::arith::two::<0xc9, true, false>, FULL Stack;
    X87SubTop "x87.sub.top" x87::arith::two::<0xe9, true, false>, FULL Stack;
    X87SubrTop "x87.subr.top" x87::arith::two::<0xe1, true, false>, FULL Stack;
    X87DivTop "x87.div.top" x87::arith::two::<0xf9, true, false>, FULL Stack;
    X87DivrTop "x87.divr.top" x87::arith::two::<0xf1, true, false>, FULL Stack;
    X87AddOther "x87.add.other" x87::arith::two::<0xc1, false, false>, FULL Stack;
    X87MulOther "x87.mul.other" x87::arith::two::<0xc9, false, false>, FULL Stack;
    X87SubOther "x87.sub.other" x87::arith::two::<0xe9, false, false>, FULL Stack;
    X87SubrOther "x87.subr.other" x87::arith::two::<0xe1, false, false>, FULL Stack;
    X87DivOther "x87.div.other" x87::arith::two::<0xf9, false, false>, FULL Stack;
    X87DivrOther "x87.divr.other" x87::arith::two::<0xf1, false, false>, FULL Stack;
    X87AddPop "x87.add.pop" x87::arith::two::<0xc1, false, true>, FULL Stack;
    X87MulPop "x87.mul.pop" x87::arith::two::<0xc9, false, true>, FULL Stack;
    X87SubPop "x87.sub.pop" x87::arith::two::<0xe9, false, true>, FULL Stack;
    X87SubrPop "x87.subr.pop" x87::arith::two::<0xe1, false, true>, FULL Stack;
    X87DivPop "x87.div.pop" x87::arith::two::<0xf9, false, true>, FULL Stack;
    X87DivrPop "x87.divr.pop" x87::arith::two::<0xf1, false, true>, FULL Stack;
    X87Sqrt "x87.sqrt" x87::arith::unary::<0xfa, false>, FULL Stack;
    X87Rndint "x87.rndint" x87::arith::unary::<0xfc, false>, FULL Stack;
    X872xm1 "x87.2xm1" x87::arith::unary::<0xf0, false>, FULL Stack;
    X87Sin "x87.sin" x87::arith::unary::<0xfe, true>, FULL Stack;
    X87Cos "x87.cos" x87::arith::unary::<0xff, true>, FULL Stack;
    X87Yl2x "x87.yl2x" x87::arith::binary_pop::<0xf1>, FULL Stack;
    X87Patan "x87.patan" x87::arith::binary_pop::<0xf3>, FULL Stack;
    X87Yl2xp1 "x87.yl2xp1" x87::arith::binary_pop::<0xf9>, FULL Stack;
    X87Scale "x87.scale" x87::arith::binary::<0xfd, false>, FULL Stack;
    X87Prem "x87.prem" x87::arith::binary::<0xf8, true>, FULL Stack;
    X87Prem1 "x87.prem1" x87::arith::binary::<0xf5, true>, FULL Stack;
    X87Sincos "x87.sincos" x87::arith::unary_push::<0xfb, true>, FULL Stack;
    X87Ptan "x87.ptan" x87::arith::unary_push::<0xf2, true>, FULL Stack;
    X87Xtract "x87.xtract" x87::arith::unary_push::<0xf4, false>, FULL Stack;
    X87Any "x87.any" x87::arith::any, FULL Stack;
    X87ComF32 "x87.com.f32" x87::compare::memory::<0xd8, false>, FULL Source;
    X87CompF32 "x87.comp.f32" x87::compare::memory::<0xd8, true>, FULL Source;
    X87ComF64 "x87.com.f64" x87::compare::memory::<0xdc, false>, FULL Source;
    X87CompF64 "x87.comp.f64" x87::compare::memory::<0xdc, true>, FULL Source;
    X87ComI32 "x87.com.i32" x87::compare::memory::<0xda, false>, FULL Source;
    X87CompI32 "x87.comp.i32" x87::compare::memory::<0xda, true>, FULL Source;
    X87ComI16 "x87.com.i16" x87::compare::memory::<0xde, false>, FULL Source;
    X87CompI16 "x87.comp.i16" x87::compare::memory::<0xde, true>, FULL Source;
    X87Com "x87.com" x87::compare::stack::<false, 0>, FULL Stack;
    X87Comp "x87.comp" x87::compare::stack::<false, 1>, FULL Stack;
    X87Compp "x87.compp" x87::compare::stack::<false, 2>, FULL Stack;
    X87Comi "x87.comi" x87::compare::to_flags::<false, false>, FULL Flags;
    X87Comip "x87.comip" x87::compare::to_flags::<false, true>, FULL Flags;
    X87Ucom "x87.ucom" x87::compare::stack::<true, 0>, FULL Stack;
    X87Ucomp "x87.ucomp" x87::compare::stack::<true, 1>, FULL Stack;
    X87Ucompp "x87.ucompp" x87::compare::stack::<true, 2>, FULL Stack;
    X87Ucomi "x87.ucomi" x87::compare::to_flags::<true, false>, FULL Flags;
    X87Ucomip "x87.ucomip" x87::compare::to_flags::<true, true>, FULL Flags;
    X87Tst "x87.tst" x87::compare::zero, FULL Stack;
    X87Xam "x87.xam" x87::compare::classify, FULL Stack;
    X87LdF32 "x87.ld.f32" x87::load::f32, FULL Source;
    X87LdF64 "x87.ld.f64" x87::load::f64, FULL Source;
    X87LdI16 "x87.ld.i16" x87::load::int::<16>, FULL Source;
    X87LdI32 "x87.ld.i32" x87::load::int::<32>, FULL Source;
    X87LdI64 "x87.ld.i64" x87::load::int::<64>, FULL Source;
    X87LdF80 "x87.ld.f80" x87::load::ten::<false>, FULL Address;
    X87LdBcd "x87.ld.bcd" x87::load::ten::<true>, FULL Address;
    X87LdConst "x87.ld.const" x87::load::constant, FULL Stack;
    X87StF32 "x87.st.f32" x87::store::float::<8, 23, 0xd9, 4, false>, FULL Address;
    X87StpF32 "x87.stp.f32" x87::store::float::<8, 23, 0xd9, 4, true>, FULL Address;
    X87StF64 "x87.st.f64" x87::store::float::<11, 52, 0xdd, 8, false>, FULL Address;
    X87StpF64 "x87.stp.f64" x87::store::float::<11, 52, 0xdd, 8, true>, FULL Address;
    X87StI16 "x87.st.i16" x87::store::scalar::<0xdf, 3, 2, false>, FULL Address;
    X87StpI16 "x87.stp.i16" x87::store::scalar::<0xdf, 3, 2, true>, FULL Address;
    X87StI32 "x87.st.i32" x87::store::scalar::<0xdb, 3, 4, false>, FULL Address;
    X87StpI32 "x87.stp.i32" x87::store::scalar::<0xdb, 3, 4, true>, FULL Address;
    X87StpI64 "x87.stp.i64" x87::store::scalar::<0xdf, 7, 8, true>, FULL Address;
    X87SttpI16 "x87.sttp.i16" x87::store::scalar::<0xdf, 1, 2, true>, FULL Address;
    X87SttpI32 "x87.sttp.i32" x87::store::scalar::<0xdb, 1, 4, true>, FULL Address;
    X87SttpI64 "x87.sttp.i64" x87::store::scalar::<0xdd, 1, 8, true>, FULL Address;
    X87StpF80 "x87.stp.f80" x87::store::f80, FULL Address;
    X87StpBcd "x87.stp.bcd" x87::store::bcd, FULL Address;
    X87Ld "x87.ld" x87::stack::load, FULL Stack;
    X87St "x87.st" x87::stack::store::<false>, FULL Stack;
    X87Stp "x87.stp" x87::stack::store::<true>, FULL Stack;
    X87Xch "x87.xch" x87::stack::exchange, FULL Stack;
    X87Cmov "x87.cmov" x87::stack::conditional, FULL Select;
    X87Chs "x87.chs" x87::stack::sign::<false>, FULL Stack;
    X87Abs "x87.abs" x87::stack::sign::<true>, FULL Stack;
    X87Incstp "x87.incstp" x87::stack::rotate::<true>, FULL Stack;
    X87Decstp "x87.decstp" x87::stack::rotate::<false>, FULL Stack;
    X87Free "x87.free" x87::stack::free::<false>, FULL Stack;
    X87Freep "x87.freep" x87::stack::free::<true>, FULL Stack;
    X87Wait "x87.wait" x87::control::wait, TRAPS Wait;
    X87Stsw "x87.stsw" x87::control::status, READS Status;
    X87Ldcw "x87.ldcw" x87::control::load_control, FULL Control;
    X87Clex "x87.clex" x87::control::clear, STATE Clear;
    X87Init "x87.init" x87::control::init, STATE;
    X87Stenv "x87.stenv" x87::control::store_env, FULL;
    X87Ldenv "x87.ldenv" x87::control::load_env, FULL;
    X87Save "x87.save" x87::control::save, FULL;
    X87Rstor "x87.rstor" x87::control::restore, FULL;
    Fxsave "fxsave" x87::control::fxsave, FULL;
    Fxrstor "fxrstor" x87::control::fxrstor, FULL;

}

pub mod bcd;
pub mod int;
pub(crate) mod masked;
pub mod segment;
pub mod shift;
pub mod simd;
pub mod string;
pub mod x87;
pub mod xsave;

/// The x86 structure behind a header.
///
/// # Safety
/// `cpu` is the header of a live [`X86Cpu`], not otherwise borrowed during `'a`.
#[inline(always)]
pub unsafe fn x86<'a>(cpu: *mut CpuHeader) -> &'a mut X86Cpu {
    // SAFETY: the header is the first field of the repr(C) structure; the caller promises the rest.
    unsafe { &mut *cpu.cast::<X86Cpu>() }
}
