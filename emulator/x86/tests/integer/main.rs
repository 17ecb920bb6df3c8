//! Integer instructions against the host processor.

mod control;
mod forms;
mod strings;

use emu_x86_oracle::{Bits, DATA, DATA_LEN, Ignore, Rng, State, compare};
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

/// States whose pointer registers are at, before and across the ends of the data.
fn at_the_edges(seed: u64, n: usize) -> Vec<State> {
    let mut rng = Rng(seed);
    let mut states = State::generate(seed, n);
    for s in &mut states {
        for r in [3, 4, 5, 6, 7, 12, 13] {
            let edge = DATA + if rng.below(2) == 0 { 0 } else { DATA_LEN as u64 };
            if rng.below(3) != 0 {
                s.gpr[r] = edge.wrapping_add(rng.below(20)).wrapping_sub(10);
            }
        }
    }
    states
}

/// Instructions of several accesses: the processor keeps the effect of those before a fault.
fn accesses_several(f: &forms::Form) -> bool {
    matches!(
        f.insn.mnemonic(),
        Mnemonic::Pusha | Mnemonic::Pushad | Mnemonic::Popa | Mnemonic::Popad | Mnemonic::Enter
    )
}

fn every_form(bits: Bits) {
    let states = State::generate(7, 20);
    let edges = at_the_edges(8, 10);
    let forms = forms::all(bits, 3);
    assert!(forms.len() > 5000, "only {} forms", forms.len());
    let mut failures = Vec::new();
    for f in &forms {
        failures.extend(compare(bits, &f.bytes, &states, ignore(f)).err());
        if !accesses_several(f) {
            failures.extend(compare(bits, &f.bytes, &edges, ignore(f)).err());
        }
    }
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
