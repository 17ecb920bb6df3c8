//! Integer instructions against the host processor.

use emu_x86_oracle::{Bits, State, check};

#[test]
fn smoke() {
    for bits in [Bits::B32, Bits::B64] {
        check(bits, &[0x01, 0xd8], &State::generate(1, 100)); // add eax, ebx
        check(bits, &[0x01, 0x03], &State::generate(1, 100)); // add [ebx], eax
    }
}
