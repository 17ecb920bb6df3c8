//! Every SIMD instruction of x86-64-v2 against the real processor.
//!
//! The forms come from the decoder's tables, so that none is forgotten. SIMD instructions mean the
//! same in both modes; the 32-bit ones are executed by the processor in 64-bit mode, where their
//! bytes are the same instruction.
#![cfg(target_arch = "x86_64")]

#[path = "simd/forms.rs"]
mod forms;
#[path = "simd/guest.rs"]
mod guest;
#[path = "simd/native.rs"]
mod native;
#[path = "simd/state.rs"]
mod state;

use emu_interp::ExitKind;
use emu_ir::{Op, TrapKind};
use emu_x86::Mode;
use forms::Form;
use guest::Guest;
use iced_x86::Mnemonic;
use native::{DATA_LEN, Pages};
use state::{Rng, State};

const RSI: usize = 6;
const RDI: usize = 7;

/// Runs one generated case natively and as a guest; what differs.
fn case(form: Form, r: &mut Rng, imm: u8, pages: &mut Pages, guest: &mut Guest) -> String {
    let insn = form.instruction(r, imm);
    let bytes = form.encode(&insn);
    let mut ours = State::generate(r, form.mode == Mode::Bits32);
    let mut offset = r.below(DATA_LEN - 64);
    if form.needs_alignment() {
        offset &= !15;
    }
    ours.gpr[RSI] = pages.data as u64 + offset as u64;
    ours.gpr[RDI] = pages.data as u64 + r.below(DATA_LEN - 64) as u64;
    for chunk in pages.data()[..].chunks_exact_mut(8) {
        chunk.copy_from_slice(&state::eight(r).to_le_bytes());
    }
    if insn.mnemonic() == Mnemonic::Ldmxcsr {
        let value = r.next() as u32 & 0xffff | 0x1f80;
        pages.data()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
    let before = pages.data().to_vec();
    let initial = ours.clone();

    let mut theirs = ours.clone();
    pages.run(&bytes, &mut theirs);
    let native_data = pages.data().to_vec();

    pages.data().copy_from_slice(&before);
    let block = guest::lift(form.mode, &bytes);
    let (exit, trap) = guest.run(form.mode, &block, &mut ours);

    let mut text = ours.difference(&theirs);
    if exit.kind != ExitKind::Jump {
        text = format!("  left by {:?}, trap {trap}\n", exit.kind);
    }
    for (n, (a, b)) in pages.data().iter().zip(&native_data).enumerate() {
        if a != b {
            text += &format!("  memory {n:#x} ({offset:#x}): {a:02x} should be {b:02x}\n");
        }
    }
    if !text.is_empty() {
        let mxcsr = &initial.fx[state::MXCSR..state::MXCSR + 4];
        text = format!("{form:?} {bytes:02x?} imm {imm:#x} mxcsr {mxcsr:02x?}\n{text}");
    }
    text
}

fn check(forms: impl Iterator<Item = Form>) {
    let (mut pages, mut guest) = (Pages::new(), Guest::new());
    let mut failures = Vec::new();
    let mut cases = 0;
    for form in forms {
        let mut r = Rng(0x9e37_79b9_7f4a_7c15 ^ form.code as u64);
        let count = if form.has_imm() { 512 } else { 128 };
        for n in 0..count {
            cases += 1;
            let text = case(form, &mut r, n as u8, &mut pages, &mut guest);
            if !text.is_empty() {
                failures.push(text);
                break;
            }
        }
    }
    assert!(cases > 10_000, "the decoder's tables gave only {cases} cases");
    assert!(failures.is_empty(), "{} forms differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn long_mode_equals_the_processor() {
    check(forms::all().into_iter().filter(|f| f.mode == Mode::Bits64));
}

#[test]
fn protected_mode_equals_the_processor() {
    check(forms::all().into_iter().filter(|f| f.mode == Mode::Bits32));
}

#[test]
fn every_form_is_lifted() {
    let mut missing = Vec::new();
    for form in forms::all() {
        let insn = form.instruction(&mut Rng(1), 1);
        let block = guest::lift(form.mode, &form.encode(&insn));
        if block.insts.iter().any(|i| i.op == Op::Trap) {
            missing.push(format!("{form:?}"));
        }
    }
    assert!(missing.is_empty(), "not lifted:\n{}", missing.join("\n"));
}

#[test]
fn misaligned_operands_are_protection_faults() {
    let (pages, mut guest) = (Pages::new(), Guest::new());
    let mut seen = 0;
    for form in forms::all().into_iter().filter(|f| f.needs_alignment()) {
        let mut r = Rng(7);
        let insn = form.instruction(&mut r, 0);
        let mut state = State::generate(&mut r, form.mode == Mode::Bits32);
        state.gpr[RSI] = pages.data as u64 + 8;
        let before = state.clone();
        let block = guest::lift(form.mode, &form.encode(&insn));
        let (exit, trap) = guest.run(form.mode, &block, &mut state);
        assert_eq!((exit.kind, exit.retired), (ExitKind::Trap, 0), "{form:?}");
        assert_eq!(TrapKind::from_u8(trap), TrapKind::Protection, "{form:?}");
        assert_eq!(state.difference(&before), "", "{form:?}");
        seen += 1;
    }
    assert!(seen > 200, "only {seen} forms");
}
