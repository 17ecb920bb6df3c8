//! Telling calls and returns from other x86 instructions, in 32- and 64-bit code.

/// Where the opcode begins. In 32-bit code 40–4F are whole instructions and never followed by others.
fn opcode(bytes: &[u8]) -> &[u8] {
    let prefix = |b: &u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    &bytes[bytes.iter().position(|b| !prefix(b)).unwrap_or(bytes.len())..]
}

/// Whether an instruction is a call (Intel SDM volume 2, CALL: E8, 9A, FF /2, FF /3).
pub fn is_call(bytes: &[u8]) -> bool {
    match *opcode(bytes) {
        [0xe8 | 0x9a, ..] => true,
        [0xff, modrm, ..] => matches!(modrm >> 3 & 7, 2 | 3),
        _ => false,
    }
}

/// Whether an instruction is a return (Intel SDM volume 2, RET: C3, C2, CB, CA).
pub fn is_return(bytes: &[u8]) -> bool {
    matches!(*opcode(bytes), [0xc2 | 0xc3 | 0xca | 0xcb, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_other_instructions() {
        assert!(is_call(&[0xe8, 1, 2, 3, 4]));
        assert!(is_call(&[0xff, 0xd0]));
        assert!(is_call(&[0x41, 0xff, 0xd7]));
        assert!(is_call(&[0x67, 0xe8, 1, 2, 3, 4]));
        assert!(is_call(&[0xff, 0x15, 1, 2, 3, 4]));
        assert!(!is_call(&[0xff, 0x25, 1, 2, 3, 4]), "jmp [rip+…]");
        assert!(!is_call(&[0xff, 0xc0]), "inc eax");
        assert!(!is_call(&[0x48]), "dec eax in 32-bit code");
        assert!(!is_call(&[0xb8, 0xe8, 0, 0, 0]), "mov eax, 0xe8");
    }

    #[test]
    fn returns_are_told_from_other_instructions() {
        assert!(is_return(&[0xc3]));
        assert!(is_return(&[0xf3, 0xc3]));
        assert!(is_return(&[0xc2, 8, 0]));
        assert!(!is_return(&[0xe9, 0xc3, 0, 0, 0]));
        assert!(!is_return(&[0x0f, 0xc3, 0]), "movnti");
    }
}
