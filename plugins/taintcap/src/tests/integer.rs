//! Rules of general registers, the stack and the x87 stack.

use super::{after, both, wide};

#[test]
fn moves() {
    both(&[
        ("mov data, %eax\n mov %eax, data+64", "64+1=1 65+1=2 66+1=3 67+1=4"),
        ("mov data, %ax\n mov %al, data+65\n mov %ah, data+64", "64+1=2 65+1=1"),
        ("mov data, %eax\n mov $0, %ah\n mov %eax, data+64", "64+1=1 66+1=3 67+1=4"),
        ("mov data, %eax\n mov $5, %eax\n mov %eax, data+64", "clean"),
        ("movzwl data, %eax\n mov %eax, data+64", "64+1=1 65+1=2"),
        ("movsbl data, %eax\n mov %eax, data+64", "64+4=1"),
        ("mov data, %al\n cbw\n cwde\n cltd\n mov %eax, data+64\n mov %edx, data+68", "64+8=1"),
        ("mov data, %ecx\n mov %ecx, data+64\n movl $7, data+65", "64+1=1"),
        (
            "mov data, %ecx\n mov data+4, %edx\n xchg %cl, %dh\n mov %ecx, data+64\n mov %edx, data+68",
            "64+1=6 65+1=2 66+1=3 67+1=4 68+1=5 69+1=1 70+1=7 71+1=8",
        ),
        ("mov data, %ecx\n xchg %ecx, data+64\n mov %ecx, data+68", "64+1=1 65+1=2 66+1=3 67+1=4"),
        ("mov data, %ecx\n bswap %ecx\n mov %ecx, data+64", "64+1=4 65+1=3 66+1=2 67+1=1"),
        ("mov data, %ecx\n movbe %ecx, data+64", "64+1=4 65+1=3 66+1=2 67+1=1"),
    ]);
    wide(&[
        ("mov data, %rax\n mov %eax, %eax\n mov %rax, data+64", "64+1=1 65+1=2 66+1=3 67+1=4"),
        ("movslq data, %rax\n mov %rax, data+64", "64+1=1 65+1=2 66+1=3 67+5=4"),
        ("mov data, %r9\n mov %r9w, %r10w\n mov %r10, data+64", "64+1=1 65+1=2"),
        ("mov data, %eax\n cltq\n cqto\n mov %rdx, data+64", "64+8=4"),
    ]);
}

#[test]
fn conditional_moves_follow_the_condition() {
    both(&[
        (
            "mov data, %ecx\n xor %edx, %edx\n cmovz %ecx, %edx\n mov %edx, data+64",
            "64+1=1 65+1=2 66+1=3 67+1=4",
        ),
        ("mov data, %ecx\n xor %edx, %edx\n cmovnz %ecx, %edx\n mov %edx, data+64", "clean"),
        (
            "mov data, %ecx\n mov $1, %edx\n cmp $2, %edx\n cmovl data+4, %ecx\n mov %ecx, data+64",
            "64+1=5 65+1=6 66+1=7 67+1=8",
        ),
        ("mov data, %ecx\n cmp %ecx, %ecx\n setz %cl\n mov %ecx, data+64", "65+1=2 66+1=3 67+1=4"),
    ]);
}

#[test]
fn carries_go_up() {
    both(&[
        (
            "mov data+1, %al\n mov $0, %ecx\n mov %al, %ch\n add $5, %ecx\n mov %ecx, data+64",
            "65+3=2",
        ),
        ("mov $1, %eax\n add data, %eax\n mov %eax, data+64", "64+1=1 65+1=1,2 66+1=1-3 67+1=1-4"),
        ("movzbl data, %eax\n addl %eax, data+64", "64+4=1"),
        ("movzbl data, %eax\n sub %eax, %eax\n mov %eax, data+64", "clean"),
        ("mov data, %eax\n xor %eax, %eax\n mov %eax, data+64", "clean"),
        ("mov data, %eax\n sbb %eax, %eax\n mov %eax, data+64", "clean"),
        ("movzbl data, %eax\n neg %eax\n inc %eax\n mov %eax, data+64", "64+4=1"),
        (
            "movzbl data, %eax\n movzbl data+1, %ecx\n lea 3(%eax,%ecx,4), %edx\n mov %edx, data+64",
            "64+4=1,2",
        ),
        (
            "movzbl data, %eax\n mov $7, %ecx\n mul %ecx\n mov %eax, data+64\n mov %edx, data+68",
            "64+8=1",
        ),
        ("movzbl data, %eax\n imul $7, %eax, %ecx\n imul %ecx, %ecx\n mov %ecx, data+64", "64+4=1"),
        ("mov data, %al\n mulb data+1\n mov %ax, data+64", "64+2=1,2"),
        (
            "movzbl data, %eax\n xor %edx, %edx\n mov $10, %ecx\n div %ecx\n mov %eax, data+64\n mov %edx, data+68",
            "64+8=1",
        ),
        (
            "movzbl data, %eax\n movzbl data+1, %ecx\n xadd %eax, %ecx\n mov %eax, data+64\n mov %ecx, data+68",
            "64+1=2 68+4=1,2",
        ),
    ]);
}

#[test]
fn logic_goes_byte_by_byte() {
    both(&[
        (
            "mov data, %eax\n xor data+4, %eax\n mov %eax, data+64",
            "64+1=1,5 65+1=2,6 66+1=3,7 67+1=4,8",
        ),
        ("mov data, %eax\n and $0xff00, %eax\n mov %eax, data+64", "65+1=2"),
        ("mov data, %eax\n or $0xff00, %eax\n mov %eax, data+64", "64+1=1 66+1=3 67+1=4"),
        ("mov data, %eax\n not %eax\n mov %eax, data+64", "64+1=1 65+1=2 66+1=3 67+1=4"),
        ("mov data, %eax\n bts $3, %eax\n mov %eax, data+64", "64+1=1 65+1=2 66+1=3 67+1=4"),
        ("mov data, %eax\n popcnt %eax, %ecx\n mov %ecx, data+64", "64+1=1-4"),
    ]);
    wide(&[(
        "mov data, %rax\n mov $-1, %rcx\n andn %rax, %rcx, %rdx\n mov %edx, data+64",
        "64+1=1 65+1=2 66+1=3 67+1=4",
    )]);
}

#[test]
fn shifts_move_bytes() {
    both(&[
        ("mov data, %eax\n shl $8, %eax\n mov %eax, data+64", "65+1=1 66+1=2 67+1=3"),
        ("mov data, %eax\n shl $9, %eax\n mov %eax, data+64", "65+1=1 66+1=1,2 67+1=2,3"),
        ("mov data, %eax\n shr $4, %eax\n mov %eax, data+64", "64+1=1,2 65+1=2,3 66+1=3,4 67+1=4"),
        ("mov data, %eax\n shr $24, %eax\n mov %eax, data+64", "64+1=4"),
        ("mov data, %eax\n sar $16, %eax\n mov %eax, data+64", "64+1=3 65+3=4"),
        ("mov data, %eax\n rol $8, %eax\n mov %eax, data+64", "64+1=4 65+1=1 66+1=2 67+1=3"),
        ("mov data, %eax\n ror $8, %eax\n mov %eax, data+64", "64+1=2 65+1=3 66+1=4 67+1=1"),
        ("mov data, %eax\n mov $16, %cl\n shr %cl, %eax\n mov %eax, data+64", "64+1=3 65+1=4"),
        ("mov $1, %eax\n mov data, %cl\n shl %cl, %eax\n mov %eax, data+64", "64+4=1"),
        (
            "mov data, %eax\n mov data+4, %ecx\n shld $8, %ecx, %eax\n mov %eax, data+64",
            "64+1=8 65+1=1 66+1=2 67+1=3",
        ),
        (
            "mov data, %eax\n mov data+4, %ecx\n shrd $8, %ecx, %eax\n mov %eax, data+64",
            "64+1=2 65+1=3 66+1=4 67+1=5",
        ),
        (
            "mov data, %eax\n mov $8, %cl\n mov data+4, %edx\n shld %cl, %edx, %eax\n mov %eax, data+64",
            "64+4=1-8",
        ),
    ]);
}

#[test]
fn the_stack() {
    for (is_wide, c, d, sp) in [(true, "%rcx", "%rdx", "%rsp"), (false, "%ecx", "%edx", "%esp")] {
        let all = "64+1=1 65+1=2 66+1=3 67+1=4";
        let cases = [
            (format!("mov data, %ecx\n push {c}\n pop {d}\n mov %edx, data+64"), all),
            (
                format!(
                    "mov data, %ecx\n push {c}\n push $0\n pop {d}\n pop {d}\n mov %edx, data+64"
                ),
                all,
            ),
            // What a call pushes is clean.
            (
                format!(
                    "mov data, %ecx\n push {c}\n pop {c}\n call 1f\n 1: pop {d}\n mov %edx, data+64"
                ),
                "clean",
            ),
            (
                format!(
                    "mov data, %ecx\n push {c}\n pop {c}\n pushf\n pop {d}\n mov %edx, data+64"
                ),
                "clean",
            ),
            (
                format!(
                    "mov data, %ecx\n sub $32, {sp}\n push {c}\n pop 8({sp})\n mov 8({sp}), %edx\n mov %edx, data+64"
                ),
                all,
            ),
        ];
        for (code, expected) in cases {
            assert_eq!(after(is_wide, &[], &code), expected, "{code}");
        }
    }
}

#[test]
fn strings() {
    let start = "mov $data, %esi\n mov $data+64, %edi\n";
    let cases = [
        ("mov $8, %ecx\n rep movsb", "64+1=1 65+1=2 66+1=3 67+1=4 68+1=5 69+1=6 70+1=7 71+1=8"),
        (
            "mov $2, %ecx\n rep movsl\n movsw",
            "64+1=1 65+1=2 66+1=3 67+1=4 68+1=5 69+1=6 70+1=7 71+1=8 72+1=9 73+1=10",
        ),
        ("lodsb\n stosb\n lodsw\n stosl", "64+1=1 65+1=2 66+1=3"),
        ("xor %eax, %eax\n mov data, %al\n mov $6, %ecx\n rep stosb", "64+6=1"),
        // The beginning is copied again and again.
        (
            "mov $2, %ecx\n rep movsb\n mov $data+64, %esi\n mov $4, %ecx\n rep movsb",
            "64+1=1 65+1=2 66+1=1 67+1=2 68+1=1 69+1=2",
        ),
        (
            "std\n add $3, %esi\n add $3, %edi\n mov $4, %ecx\n rep movsb\n cld",
            "64+1=1 65+1=2 66+1=3 67+1=4",
        ),
        (
            "mov $8, %ecx\n rep movsb\n xor %eax, %eax\n mov $4, %ecx\n mov $data+64, %edi\n rep stosb",
            "68+1=5 69+1=6 70+1=7 71+1=8",
        ),
        (
            "xor %ecx, %ecx\n rep movsb\n mov $4, %ecx\n repe cmpsb\n mov %ecx, data+64\n mov %esi, data+68",
            "clean",
        ),
    ];
    for (code, expected) in cases {
        for wide in [true, false] {
            assert_eq!(
                after(wide, &[], &format!("{start}{code}")),
                expected,
                "64-bit: {wide}, {code}"
            );
        }
    }
}

#[test]
fn tables_are_followed_through_their_index_unless_told_not_to() {
    let code = "movzbl data, %ecx\n mov data+128(%ecx), %al\n mov %al, data+64";
    let translate = "mov $data+128, %ebx\n mov data, %al\n xlatb\n mov %al, data+64";
    for wide in [true, false] {
        for code in [code, translate] {
            assert_eq!(after(wide, &[], code), "64+1=1");
            assert_eq!(after(wide, &[("pointers", "false")], code), "clean");
        }
    }
    // The address itself is no part of what is stored.
    both(&[("movzbl data, %ecx\n movb $1, data+64(%ecx)", "clean")]);
}

#[test]
fn compare_and_exchange_may_write_either() {
    both(&[
        (
            "xor %eax, %eax\n mov data, %ecx\n lock cmpxchg %ecx, data+64\n mov %eax, data+68",
            "64+1=1 65+1=2 66+1=3 67+1=4",
        ),
        (
            "mov data+4, %eax\n mov $7, %ecx\n cmpxchg %ecx, data\n mov %eax, data+64",
            "64+1=1,5 65+1=2,6 66+1=3,7 67+1=4,8",
        ),
    ]);
}

#[test]
fn what_has_no_rule_of_its_own_loses_nothing() {
    both(&[
        ("mov data, %eax\n crc32b data+8, %eax\n mov %eax, data+64", "64+4=1-4,9"),
        ("mov data, %eax\n bsf %eax, %ecx\n mov %ecx, data+64", "64+4=1-4"),
        ("rdtsc\n mov %eax, data+64", "clean"),
    ]);
}

#[test]
fn x87_results_have_all_labels_of_their_sources() {
    both(&[
        ("fildl data\n fistpl data+64", "64+4=1-4"),
        ("flds data\n fldl data+8\n faddp\n fstpl data+64", "64+8=1-4,9-16"),
        (
            "fldt data\n fldz\n fxch\n fstpt data+64\n fstpl data+80",
            "64+1=1 65+1=2 66+1=3 67+1=4 68+1=5 69+1=6 70+1=7 71+1=8 72+1=9 73+1=10",
        ),
        ("flds data\n fldz\n fstps data+64\n fmuls data+4\n fstps data+68", "68+4=1-8"),
        (
            "flds data\n fxsave data+1024\n fninit\n fldz\n fldz\n fxrstor data+1024\n fstps data+64",
            "64+4=1-4",
        ),
    ]);
}

#[test]
fn every_general_register_has_bytes_of_its_own() {
    let names = [
        ["%rax", "%eax", "%ax", "%al"],
        ["%rcx", "%ecx", "%cx", "%cl"],
        ["%rdx", "%edx", "%dx", "%dl"],
        ["%rbx", "%ebx", "%bx", "%bl"],
        ["%rbp", "%ebp", "%bp", "%bpl"],
        ["%rsi", "%esi", "%si", "%sil"],
        ["%rdi", "%edi", "%di", "%dil"],
        ["%r8", "%r8d", "%r8w", "%r8b"],
        ["%r9", "%r9d", "%r9w", "%r9b"],
        ["%r10", "%r10d", "%r10w", "%r10b"],
        ["%r11", "%r11d", "%r11w", "%r11b"],
        ["%r12", "%r12d", "%r12w", "%r12b"],
        ["%r13", "%r13d", "%r13w", "%r13b"],
        ["%r14", "%r14d", "%r14w", "%r14b"],
        ["%r15", "%r15d", "%r15w", "%r15b"],
    ];
    for (n, [r64, r32, r16, r8]) in names.into_iter().enumerate() {
        let code = format!(
            "mov data, {r64}\n mov {r8}, data+64\n mov {r16}, data+66\n mov {r32}, data+68\n mov data+8, {r8}
             mov {r64}, data+72"
        );
        let expected = "64+1=1 66+1=1 67+1=2 68+1=1 69+1=2 70+1=3 71+1=4 72+1=9 73+1=2 74+1=3 75+1=4 76+1=5 77+1=6 \
                        78+1=7 79+1=8";
        assert_eq!(after(true, &[], &code), expected, "{r64}");
        // No other register is touched.
        let other = names[(n + 1) % names.len()][0];
        let code = format!("mov data, {r8}\n mov {other}, data+64");
        assert_eq!(after(true, &[], &code), "clean", "{r8} and {other}");
    }
}
