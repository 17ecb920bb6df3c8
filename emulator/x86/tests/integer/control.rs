//! Control transfers and the stack, with targets inside the test area.

use emu_x86_oracle::{Bits, CODE, DATA, State, check, run_emulated};

const BOTH: [Bits; 2] = [Bits::B32, Bits::B64];

/// States whose stack top, memory at rbx and rax all hold code addresses.
fn with_targets() -> Vec<State> {
    let mut states = State::generate(21, 20);
    for (n, s) in states.iter_mut().enumerate() {
        let target = CODE + 0x100 + n as u64;
        s.gpr[0] = target;
        for at in [0x500, 0x508, 0x400] {
            s.mem[at..at + 8].copy_from_slice(&target.to_le_bytes());
        }
    }
    states
}

#[test]
fn indirect_transfers() {
    for bits in BOTH {
        for code in [
            &[0xc3][..],               // ret
            &[0xc2, 0x08, 0x00],       // ret 8
            &[0xc2, 0xff, 0xff],       // ret 0xffff
            &[0xff, 0xd0],             // call rax
            &[0xff, 0xe0],             // jmp rax
            &[0xff, 0x13],             // call [rbx]
            &[0xff, 0x23],             // jmp [rbx]
            &[0xff, 0x14, 0x24],       // call [rsp]
            &[0xff, 0x64, 0x24, 0x08], // jmp [rsp+8]
            &[0xff, 0x54, 0x24, 0x08], // call [rsp+8]
            &[0xf3, 0xc3],             // repz ret
        ] {
            // 32-bit pushes leave the second slot of the 8-byte pattern in place.
            let mut states = with_targets();
            if bits == Bits::B32 {
                for s in &mut states {
                    let low = s.mem[0x500..0x504].to_vec();
                    s.mem[0x504..0x508].copy_from_slice(&low);
                }
            }
            check(bits, code, &states);
        }
    }
}

#[test]
fn popf_takes_the_user_flags() {
    // TF would stop the processor inside the test, AC make it check alignment, so both stay clear;
    // NT does not survive the kernel's return from a signal.
    const TAKEN: u64 = 0xcd5 | 1 << 21;
    let mut states = State::generate(22, 60);
    for s in &mut states {
        let mut b = [0; 8];
        b.copy_from_slice(&s.mem[0x500..0x508]);
        let v = u64::from_le_bytes(b) & TAKEN;
        s.mem[0x500..0x508].copy_from_slice(&v.to_le_bytes());
    }
    for bits in BOTH {
        check(bits, &[0x9d], &states);
        check(bits, &[0x66, 0x9d], &states);
    }
}

#[test]
fn sequences_carry_flags_and_registers() {
    let states = State::generate(23, 40);
    for bits in BOTH {
        for code in [
            // add eax, ecx; adc edx, eax; sbb ecx, edx; inc eax; rcl edx, 1; setb al
            &[0x01, 0xc8, 0x11, 0xc2, 0x19, 0xd1, 0xff, 0xc0, 0xd1, 0xd2, 0x0f, 0x92, 0xc0][..],
            // sub eax, ecx; pushf; pop rdx
            &[0x29, 0xc8, 0x9c, 0x5a],
            // cmp eax, ecx; lahf; sahf; cmovl eax, edx
            &[0x39, 0xc8, 0x9f, 0x9e, 0x0f, 0x4c, 0xc2],
            // push rsp; pop rax; push rbx; pop [rsp]; push [rsp-8]; pop rsp
            &[0x54, 0x58, 0x53, 0x8f, 0x04, 0x24, 0xff, 0x74, 0x24, 0xf8, 0x5c],
        ] {
            check(bits, code, &states);
        }
    }
}

#[test]
fn gs_relative_accesses() {
    let mut states = State::generate(24, 20);
    for (n, s) in states.iter_mut().enumerate() {
        s.gpr[1] = n as u64 * 8;
        s.gpr[2] = (-8i64 * n as i64) as u64;
    }
    for code in [
        &[0x65, 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0][..], // mov rax, gs:[0x10]
        &[0x65, 0x48, 0x89, 0x41, 0x20],                    // mov gs:[rcx+0x20], rax
        &[0x65, 0x48, 0x03, 0x44, 0x4a, 0x08],              // add rax, gs:[rdx+rcx*2+8]
        &[0x65, 0x67, 0x8b, 0x01],                          // mov eax, gs:[ecx]
        &[0x65, 0x67, 0x8b, 0x44, 0x4a, 0x08],              // mov eax, gs:[edx+ecx*2+8]
        &[0x65, 0xf0, 0x48, 0x0f, 0xc1, 0x01],              // lock xadd gs:[rcx], rax
    ] {
        check(Bits::B64, code, &states);
    }
}

#[test]
fn addressing_modes() {
    let states = State::generate(25, 40);
    for bits in BOTH {
        // lea eax, m for every ModRM and SIB without and with a displacement.
        for modrm in (0..=255u8).filter(|m| m & 0xf8 & 0x38 == 0 && *m < 0xc0) {
            for sib in (0..=255u8).step_by(if modrm & 7 == 4 { 3 } else { 256 }) {
                let mut code = vec![0x8d, modrm];
                if modrm & 7 == 4 {
                    code.push(sib);
                }
                code.extend([0x45, 0x67, 0x89, 0xfb]);
                for prefix in [&[][..], &[0x67], &[0x66], &[0x48], &[0x67, 0x48], &[0x4f]] {
                    if bits == Bits::B32 && prefix.last().is_some_and(|p| *p < 0x60) {
                        continue;
                    }
                    let bytes = [prefix, &code].concat();
                    let bitness = if bits == Bits::B32 { 32 } else { 64 };
                    let mut d = iced_x86::Decoder::with_ip(bitness, &bytes, CODE, 0);
                    let len = d.decode().len();
                    check(bits, &bytes[..len], &states[..3]);
                }
            }
        }
    }
}

#[test]
fn syscall_sets_rcx_and_r11() {
    let mut s = State::new();
    s.flags = 0x8d5;
    let after = run_emulated(Bits::B64, &[0x0f, 0x05], 1, &s);
    assert_eq!(after.trap, emu_ir::TrapKind::Syscall);
    assert_eq!(after.pc, CODE + 2);
    assert_eq!(after.state.gpr[1], CODE + 2);
    assert_eq!(after.state.gpr[11], 0x8d5 | 0x202);
}

#[test]
fn software_interrupts_report_where_they_return() {
    use emu_ir::TrapKind as T;
    for (bits, code, trap, pc) in [
        (Bits::B32, &[0xcd, 0x80][..], T::Int80, 2),
        (Bits::B64, &[0xcd, 0x80], T::Int80, 2),
        (Bits::B32, &[0x0f, 0x34], T::Sysenter, 2),
        (Bits::B64, &[0x0f, 0x34], T::InvalidOpcode, 0),
        (Bits::B32, &[0x0f, 0x05], T::InvalidOpcode, 0),
        (Bits::B64, &[0xcc], T::Breakpoint, 1),
        (Bits::B64, &[0xcd, 0x03], T::Breakpoint, 2),
        (Bits::B64, &[0xcd, 0x21], T::Protection, 0),
        (Bits::B64, &[0xf4], T::Protection, 0),
        (Bits::B64, &[0x0f, 0xff, 0xc0], T::InvalidOpcode, 0),
        (Bits::B64, &[0x0f, 0x01, 0x00], T::Protection, 0), // sgdt
        (Bits::B64, &[0xf1], T::Debug, 1),
    ] {
        let after = run_emulated(bits, code, 1, &State::new());
        assert_eq!((after.trap, after.pc), (trap, CODE + pc), "{code:02x?} {bits:?}");
    }
}

#[test]
fn selectors_of_the_flat_segments_are_described_as_by_the_kernel() {
    let states: Vec<State> = [0, 3, 0x23, 0x2b, 0x33, 0x20, 0x30, 8, 0x10, 0x18, 0x63, 0x6b, 0x73]
        .into_iter()
        .map(|selector| {
            let mut s = State::new();
            s.gpr[0] = 0x1234_5678_9abc_def0;
            s.gpr[1] = selector;
            s.mem[0x400] = selector as u8;
            s.flags = 0x8d5;
            s
        })
        .collect();
    for bits in BOTH {
        for opcode in [2, 3] {
            check(bits, &[0x0f, opcode, 0xc1], &states); // lar, lsl eax, cx
            check(bits, &[0x66, 0x0f, opcode, 0xc1], &states);
            check(bits, &[0x0f, opcode, 0x03], &states);
        }
        check(bits, &[0x0f, 0x00, 0xe1], &states); // verr cx
        check(bits, &[0x0f, 0x00, 0xe9], &states); // verw cx
    }
    check(Bits::B64, &[0x48, 0x0f, 0x02, 0xc1], &states);
    check(Bits::B64, &[0x48, 0x0f, 0x03, 0xc1], &states);
}

/// `bytes` with the little-endian number `v` of `n` bytes behind them.
fn with(bytes: &[u8], v: u64, n: usize) -> Vec<u8> {
    [bytes, &v.to_le_bytes()[..n]].concat()
}

#[test]
fn absolute_and_pc_relative_addresses() {
    let states = State::generate(26, 10);
    let at = DATA + 0x30;
    for opcode in 0xa0..=0xa3 {
        check(Bits::B32, &with(&[opcode], at, 4), &states);
        check(Bits::B64, &with(&[opcode], at, 8), &states);
        check(Bits::B64, &with(&[0x67, opcode], at, 4), &states);
        check(Bits::B64, &with(&[0x48, opcode], at, 8), &states);
        check(Bits::B32, &with(&[0x66, opcode], at, 4), &states);
        // An address that needs 64 bits, and one that is not canonical.
        check(Bits::B64, &with(&[opcode], 0x2345_6789_a000, 8), &states);
        check(Bits::B64, &with(&[opcode], 0x8888_2345_6789_a000, 8), &states);
    }
    check(Bits::B32, &with(&[0x01, 0x05], at, 4), &states); // add [disp32], eax
    check(Bits::B64, &with(&[0x01, 0x04, 0x25], at, 4), &states); // add [disp32], eax
    check(Bits::B64, &with(&[0x01, 0x05], at - CODE - 6, 4), &states); // add [rip+disp32], eax
    check(Bits::B64, &with(&[0x67, 0x01, 0x05], at - CODE - 7, 4), &states);
    check(Bits::B64, &with(&[0x83, 0x05], (at - CODE - 7) | 5 << 32, 5), &states); // add [rip+d], 5
}

/// Puts `words` of `n` bytes on the stack of a state.
fn push_words(s: &mut State, words: &[u64], n: usize) {
    for (at, w) in words.iter().enumerate() {
        let at = 0x500 + at * n;
        s.mem[at..at + n].copy_from_slice(&w.to_le_bytes()[..n]);
    }
}

#[test]
fn far_returns_within_the_code_segment() {
    for (bits, code, n) in [
        (Bits::B32, &[0xcb][..], 4),
        (Bits::B32, &[0xca, 0x10, 0x00], 4),
        (Bits::B64, &[0xcb], 4),
        (Bits::B64, &[0x48, 0xcb], 8),
        (Bits::B64, &[0x48, 0xca, 0x10, 0x00], 8),
    ] {
        let own = if bits == Bits::B32 { 0x23 } else { 0x33 };
        let states: Vec<State> = [own, 0x10, 0x2b, 0, 0xfff3]
            .into_iter()
            .map(|cs| {
                let mut s = State::new();
                push_words(&mut s, &[CODE + 0x40, cs], n);
                s
            })
            .collect();
        check(bits, code, &states);
    }
}

#[test]
fn interrupt_returns_within_the_code_segment() {
    for (bits, code, n) in
        [(Bits::B32, &[0xcf][..], 4), (Bits::B64, &[0xcf], 4), (Bits::B64, &[0x48, 0xcf], 8)]
    {
        let cs = if bits == Bits::B32 { 0x23 } else { 0x33 };
        let states: Vec<State> = [0x202, 0xad7, 0x602, 0x246]
            .into_iter()
            .map(|flags| {
                let mut s = State::new();
                push_words(&mut s, &[CODE + 0x40, cs, flags, DATA + 0x700, 0x2b], n);
                s
            })
            .collect();
        check(bits, code, &states);
    }
}

#[test]
fn far_pointers_and_segment_loads() {
    // Selectors of the flat data segment, or none the user may load.
    let states: Vec<State> = [0x2b, 0x28, 0x10, 0x18, 0x7ff3, 0x2f]
        .into_iter()
        .map(|selector: u64| {
            let mut s = State::new();
            s.gpr[0] = selector;
            push_words(&mut s, &[selector], 8);
            s.mem[0x400..0x404].copy_from_slice(&[1, 2, 3, 4]);
            s.mem[0x404..0x406].copy_from_slice(&selector.to_le_bytes()[..2]);
            s.mem[0x402..0x404].copy_from_slice(&selector.to_le_bytes()[..2]);
            s
        })
        .collect();
    for code in [
        &[0xc4, 0x0b][..],   // les ecx, [ebx]
        &[0xc5, 0x0b],       // lds ecx, [ebx]
        &[0x66, 0xc5, 0x0b], // lds cx, [ebx]
        &[0x8e, 0xc0],       // mov es, ax
        &[0x8e, 0x1c, 0x24], // mov ds, [esp]
        &[0x1f],             // pop ds
        &[0x07],             // pop es
        &[0x66, 0x07],       // pop es, 16-bit
    ] {
        check(Bits::B32, code, &states);
    }
}
