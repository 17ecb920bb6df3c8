//! String instructions: directions, overlaps, counts, faults on the way.

use emu_x86_oracle::{Bits, DATA, DATA_LEN, Rng, State, check};

const DF: u64 = 1 << 10;
/// movs, cmps, stos, lods, scas for bytes; the next opcode is the wider form.
const OPCODES: [u8; 5] = [0xa4, 0xa6, 0xaa, 0xac, 0xae];
const PREFIXES: [&[u8]; 8] =
    [&[], &[0xf3], &[0xf2], &[0x66], &[0xf3, 0x66], &[0xf2, 0x66], &[0x48], &[0xf3, 0x48]];

/// States with short counts, both directions, and index registers near each other or the ends.
fn states(seed: u64, n: usize) -> Vec<State> {
    let mut rng = Rng(seed);
    let mut states = State::generate(seed, n);
    for s in &mut states {
        s.gpr[1] = rng.below(40);
        if rng.below(4) == 0 {
            s.gpr[1] = rng.below(3000);
        }
        s.flags |= if rng.below(2) == 0 { DF } else { 0 };
        let base = DATA + rng.below(DATA_LEN as u64 - 64);
        s.gpr[6] = base + rng.below(64);
        s.gpr[7] = base + rng.below(64);
        // Long runs of one value, so that comparisons go on for a while.
        if rng.below(2) == 0 {
            s.mem.fill(0x41);
            let at = rng.below(DATA_LEN as u64) as usize;
            s.mem[at] = 0x42;
            s.gpr[0] = 0x4141_4141_4141_4141;
        }
    }
    states
}

#[test]
fn every_direction_count_and_overlap() {
    let states = states(31, 150);
    for bits in [Bits::B32, Bits::B64] {
        for opcode in OPCODES {
            for prefix in PREFIXES {
                if bits == Bits::B32 && prefix.last() == Some(&0x48) {
                    continue;
                }
                for wide in 0..2 {
                    check(bits, &[prefix, &[opcode + wide]].concat(), &states);
                }
            }
        }
    }
}

#[test]
fn segment_and_address_size_overrides() {
    let mut states = states(32, 80);
    for s in &mut states {
        s.gpr[6] = s.gpr[6].wrapping_sub(emu_x86_oracle::GS_BASE) & 0xff;
    }
    for opcode in [0xa4, 0xa5, 0xa6, 0xac] {
        check(Bits::B64, &[0x65, 0xf3, opcode], &states);
        check(Bits::B64, &[0x65, opcode], &states);
        check(Bits::B64, &[0x65, 0x67, 0xf3, opcode], &states);
        check(Bits::B64, &[0x65, 0x67, opcode], &states);
    }
}
