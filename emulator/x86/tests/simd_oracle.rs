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
use state::{Rng, State, XMM};

const RSI: usize = 6;
const RDI: usize = 7;
/// The exception masks of MXCSR.
const MASKS: u32 = 0x1f80;
/// The one of underflow, which is raised for exact tiny results only while it is unmasked: the
/// interpreter, which computes with exceptions masked, does not see those.
const UNDERFLOW_MASK: u32 = 0x0800;

/// What may go wrong in a case.
#[derive(Clone, Copy, PartialEq)]
enum Exceptions {
    /// All are masked.
    Masked,
    /// Any SIMD exception but underflow may be unmasked.
    Simd,
    /// An x87 exception is pending.
    X87,
}

/// Runs one generated case natively and as a guest; what differs.
fn case(
    form: Form,
    r: &mut Rng,
    imm: u8,
    exceptions: Exceptions,
    with: &mut (Pages, Guest),
) -> String {
    let (pages, guest) = with;
    let insn = form.instruction(r, imm);
    let bytes = form.encode(&insn);
    let mut ours = State::generate(r, form.mode == Mode::Bits32);
    match exceptions {
        Exceptions::Masked => {}
        Exceptions::Simd => {
            ours.set_mxcsr(ours.mxcsr() & !(r.next() as u32 & MASKS & !UNDERFLOW_MASK));
        }
        Exceptions::X87 => ours.set_x87_pending(r),
    }
    let mut offset = r.below(DATA_LEN - 64);
    if form.needs_alignment() {
        offset &= !15;
    }
    ours.gpr[RSI] = pages.data as u64 + offset as u64;
    ours.gpr[RDI] = pages.data as u64 + r.below(DATA_LEN - 64) as u64;
    for chunk in pages.data().chunks_exact_mut(8) {
        chunk.copy_from_slice(&state::eight(r).to_le_bytes());
    }
    if insn.mnemonic() == Mnemonic::Ldmxcsr {
        let value = r.next() as u32 & 0xffff | MASKS;
        pages.data()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
    let before = pages.data().to_vec();
    let mxcsr = ours.mxcsr();

    let mut theirs = ours.clone();
    let raised = pages.run(&bytes, &mut theirs);
    let native_data = pages.data().to_vec();

    pages.data().copy_from_slice(&before);
    let block = guest::lift(form.mode, &bytes);
    let (exit, trap) = guest.run(form.mode, &block, &mut ours);

    let left = (exit.kind == ExitKind::Trap).then(|| TrapKind::from_u8(trap));
    let should = raised.then_some(match exceptions {
        Exceptions::X87 => TrapKind::X87,
        _ => TrapKind::Simd,
    });
    if should == Some(TrapKind::Simd) {
        // Not compared: whether an overflow also counts as inexact, which depends on a result
        // nobody gets to see, and that the faulting instruction has entered MMX state.
        ours.fx[..XMM].copy_from_slice(&theirs.fx[..XMM]);
    }
    let mut text = ours.difference(&theirs);
    if left != should {
        text += &format!("  raised {left:?}, should be {should:?}\n");
    }
    for (n, (a, b)) in pages.data().iter().zip(&native_data).enumerate() {
        if a != b {
            text += &format!("  memory {n:#x} ({offset:#x}): {a:02x} should be {b:02x}\n");
        }
    }
    if !text.is_empty() {
        text = format!("{form:?} {bytes:02x?} imm {imm:#x} mxcsr {mxcsr:#x}\n{text}");
    }
    text
}

fn check(forms: impl Iterator<Item = Form>, exceptions: Exceptions) {
    let mut with = (Pages::new(), Guest::new());
    let mut failures = Vec::new();
    let mut cases = 0;
    for form in forms {
        let mut r = Rng(0x9e37_79b9_7f4a_7c15 ^ form.code as u64);
        let count = if form.has_imm() { 512 } else { 128 };
        for n in 0..count {
            cases += 1;
            let text = case(form, &mut r, n as u8, exceptions, &mut with);
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
    check(forms::all().into_iter().filter(|f| f.mode == Mode::Bits64), Exceptions::Masked);
}

#[test]
fn protected_mode_equals_the_processor() {
    check(forms::all().into_iter().filter(|f| f.mode == Mode::Bits32), Exceptions::Masked);
}

#[test]
fn unmasked_exceptions_are_raised_as_by_the_processor() {
    check(forms::all().into_iter().filter(|f| f.mode == Mode::Bits64), Exceptions::Simd);
}

#[test]
fn mmx_instructions_raise_pending_x87_exceptions() {
    check(forms::all().into_iter().filter(|f| f.mode == Mode::Bits64), Exceptions::X87);
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
