//! Every SIMD instruction up to x86-64-v3, and of SHA, against the host processor.
//!
//! The forms come from the decoder's tables, so that none is forgotten. Memory operands may be
//! misaligned and reach into the page after the data, which is not mapped.

#[path = "simd/forms.rs"]
mod forms;
#[path = "simd/values.rs"]
mod values;

use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::Op;
use emu_x86::{I386, X86_64};
use emu_x86_oracle::{Bits, CODE, Ignore, Rng, compare};
use iced_x86::CpuidFeature;
use values::Exceptions;

/// Runs generated instructions of every form from generated states.
fn check(bits: Bits, exceptions: Exceptions) {
    let ignore = Ignore {
        fp_pointers: true,
        // Whether an overflow also counts as inexact depends on a result nobody gets to see.
        after_simd_exception: true,
        undefined_flags_too: true,
        ..Ignore::default()
    };
    let mut failures = Vec::new();
    let mut forms = 0;
    for form in forms::all().into_iter().filter(|f| f.bits == bits) {
        if let Some(feature) = form.features().iter().find(|f| !host_has(**f)) {
            println!("{form:?}: skipped, this processor has no {feature:?}");
            continue;
        }
        forms += 1;
        // Which byte a masked store names depends on how the processor splits it.
        let ignore = Ignore { fault_offset: form.is_masked_store(), ..ignore };
        let mut r = Rng(form.code as u64);
        // Every control byte once; other tests see a sample.
        let step = if exceptions == Exceptions::Masked && bits == Bits::B64 { 1 } else { 11 };
        let (controls, states) = if form.has_imm() { (256, 1) } else { (6 * step, 10) };
        for control in (0..controls).step_by(step) {
            let code = form.encode(&form.instruction(&mut r, control as u8));
            let states: Vec<_> =
                (0..states).map(|_| values::state(&mut r, form, exceptions)).collect();
            if let Err(difference) = compare(bits, &code, &states, ignore) {
                failures.push(format!("{form:?}: {difference}"));
                break;
            }
        }
    }
    assert!(forms > 500, "the decoder's tables gave only {forms} forms");
    assert!(failures.is_empty(), "{} forms differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn long_mode_equals_the_processor() {
    check(Bits::B64, Exceptions::Masked);
}

#[test]
fn protected_mode_equals_the_processor() {
    check(Bits::B32, Exceptions::Masked);
}

#[test]
fn unmasked_exceptions_are_raised_as_by_the_processor() {
    check(Bits::B64, Exceptions::Simd);
}

#[test]
fn mmx_instructions_raise_pending_x87_exceptions() {
    check(Bits::B32, Exceptions::X87);
}

/// Whether this processor has a feature.
fn host_has(feature: CpuidFeature) -> bool {
    use std::arch::is_x86_feature_detected as has;
    match feature {
        CpuidFeature::AVX => has!("avx"),
        CpuidFeature::AVX2 => has!("avx2"),
        CpuidFeature::FMA => has!("fma"),
        CpuidFeature::F16C => has!("f16c"),
        CpuidFeature::SHA => has!("sha"),
        // Part of x86-64-v2 as this project understands it.
        _ => true,
    }
}

struct Code<'a>(&'a [u8]);

impl CodeSource for Code<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get((pc - CODE) as usize..).unwrap_or(&[])
    }
}

#[test]
fn every_form_is_lifted_to_valid_ir() {
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    let mut problems = Vec::new();
    for form in forms::all() {
        let arch: &dyn GuestArch = if form.bits == Bits::B64 { &X86_64 } else { &I386 };
        let code = form.encode(&form.instruction(&mut Rng(1), 1));
        let block = arch.lift(CODE, &mut Code(&code), &options);
        if block.insts.iter().any(|i| i.op == Op::Trap) {
            problems.push(format!("{form:?}: not lifted"));
        } else if let Err(e) = emu_ir::verify(&block, arch) {
            problems.push(format!("{form:?}: {e}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
