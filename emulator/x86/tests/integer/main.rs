//! Integer instructions against the host processor.

mod forms;

use emu_x86_oracle::{Bits, Ignore, State, compare};
use iced_x86::Mnemonic;

/// What the manual leaves undefined beyond flags.
fn ignore(f: &forms::Form) -> Ignore {
    // A double shift by more than 16 bits of a 16-bit operand.
    let short = f.insn.op1_register().size() == 2;
    if matches!(f.insn.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) && short {
        return Ignore { flags: u64::from(emu_ir::flags::ALL), ..Ignore::default() };
    }
    Ignore::default()
}

fn every_form(bits: Bits) {
    let states = State::generate(7, 40);
    let forms = forms::all(bits, 3);
    assert!(forms.len() > 900, "only {} forms", forms.len());
    let failures: Vec<String> =
        forms.iter().filter_map(|f| compare(bits, &f.bytes, &states, ignore(f)).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} forms differ:\n{}",
        failures.len(),
        forms.len(),
        failures.join("\n")
    );
}

#[test]
fn every_form_in_64_bit_code() {
    every_form(Bits::B64);
}

#[test]
fn every_form_in_32_bit_code() {
    every_form(Bits::B32);
}
