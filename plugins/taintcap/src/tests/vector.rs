//! Rules of vector and MMX registers.

use super::{both, wide};

/// `data+64` has labels from `first` on, one a byte.
fn run_of(at: u32, first: u32, count: u32) -> String {
    let bytes: Vec<String> = (0..count).map(|n| format!("{}+1={}", at + n, first + n)).collect();
    bytes.join(" ")
}

fn sixteen(code: &str, expected: &str) {
    both(&[(code, expected)]);
}

#[test]
fn moves() {
    let all = run_of(64, 1, 16);
    for load in ["movups", "movdqu", "movaps", "lddqu", "movapd"] {
        sixteen(&format!("{load} data, %xmm1\n movdqa %xmm1, %xmm2\n movups %xmm2, data+64"), &all);
    }
    let eight = run_of(64, 1, 8);
    both(&[
        ("movups data+16, %xmm1\n movq data, %xmm1\n movups %xmm1, data+64", &eight),
        (
            "movups data+16, %xmm1\n movups %xmm1, %xmm2\n movd %xmm2, %eax\n movd %eax, %xmm1\n movups %xmm1, data+64",
            &run_of(64, 17, 4),
        ),
        ("movups data+16, %xmm1\n movss data, %xmm1\n movups %xmm1, data+64", &run_of(64, 1, 4)),
        (
            "movups data+16, %xmm1\n movups data, %xmm2\n movss %xmm2, %xmm1\n movups %xmm1, data+64",
            &format!("{} {}", run_of(64, 1, 4), run_of(68, 21, 12)),
        ),
        (
            "movups data, %xmm1\n movhps data+16, %xmm1\n movups %xmm1, data+64",
            &format!("{} {}", run_of(64, 1, 8), run_of(72, 17, 8)),
        ),
        (
            "movups data, %xmm1\n movlps data+16, %xmm1\n movups %xmm1, data+64",
            &format!("{} {}", run_of(64, 17, 8), run_of(72, 9, 8)),
        ),
        ("movups data, %xmm1\n movhps %xmm1, data+64", &run_of(64, 9, 8)),
        (
            "movups data, %xmm1\n movups data+16, %xmm2\n movhlps %xmm2, %xmm1\n movups %xmm1, data+64",
            &format!("{} {}", run_of(64, 25, 8), run_of(72, 9, 8)),
        ),
        ("movq data, %mm1\n movq %mm1, %mm2\n movq %mm2, data+64\n emms", &eight),
        ("movups data, %xmm1\n pxor %xmm1, %xmm1\n movups %xmm1, data+64", "clean"),
        ("movups data, %xmm1\n pcmpeqb %xmm1, %xmm1\n movups %xmm1, data+64", "clean"),
    ]);
}

#[test]
fn lanes_keep_to_themselves() {
    both(&[
        (
            "movd data, %xmm1\n movd data+16, %xmm2\n pxor %xmm2, %xmm1\n movd %xmm1, data+64",
            "64+1=1,17 65+1=2,18 66+1=3,19 67+1=4,20",
        ),
        (
            "movq data, %xmm1\n paddw %xmm1, %xmm1\n movd %xmm1, data+64",
            "64+1=1 65+1=1,2 66+1=3 67+1=3,4",
        ),
        ("movq data, %xmm1\n addps %xmm1, %xmm1\n movq %xmm1, data+64", "64+4=1-4 68+4=5-8"),
        (
            "movups data, %xmm1\n addss data+16, %xmm1\n movq %xmm1, data+64",
            "64+4=1-4,17-20 68+1=5 69+1=6 70+1=7 71+1=8",
        ),
        (
            "movups data, %xmm1\n cvtsi2sdl data+16, %xmm1\n movups %xmm1, data+64",
            &format!("64+8=17-20 {}", run_of(72, 9, 8)),
        ),
        ("movq data, %xmm1\n psrlw $8, %xmm1\n movq %xmm1, data+64", "64+1=2 66+1=4 68+1=6 70+1=8"),
        (
            "movq data, %xmm1\n pslld $12, %xmm1\n movq %xmm1, data+64",
            "65+1=1 66+1=1,2 67+1=2,3 69+1=5 70+1=5,6 71+1=6,7",
        ),
        ("movq data, %xmm1\n pmovmskb %xmm1, %eax\n mov %eax, data+64", "64+2=1-8"),
    ]);
}

#[test]
fn shuffles_move_bytes() {
    let start = "movups data, %xmm1\n movups data+16, %xmm2\n";
    let cases = [
        ("pshufd $0x1b, %xmm1, %xmm3\n movq %xmm3, data+64", format!("{} {}", run_of(64, 13, 4), run_of(68, 9, 4))),
        ("pshuflw $0xb1, %xmm1, %xmm3\n movups %xmm3, data+64",
         format!("64+1=3 65+1=4 66+1=1 67+1=2 68+1=7 69+1=8 70+1=5 71+1=6 {}", run_of(72, 9, 8))),
        ("pshufhw $0xb1, %xmm1, %xmm3\n psrldq $8, %xmm3\n movq %xmm3, data+64",
         "64+1=11 65+1=12 66+1=9 67+1=10 68+1=15 69+1=16 70+1=13 71+1=14".to_owned()),
        ("punpcklbw %xmm2, %xmm1\n movd %xmm1, data+64", "64+1=1 65+1=17 66+1=2 67+1=18".to_owned()),
        ("punpckhdq %xmm2, %xmm1\n movq %xmm1, data+64", format!("{} {}", run_of(64, 9, 4), run_of(68, 25, 4))),
        ("unpcklpd %xmm2, %xmm1\n movups %xmm1, data+64", format!("{} {}", run_of(64, 1, 8), run_of(72, 17, 8))),
        ("shufps $0xe4, %xmm2, %xmm1\n movups %xmm1, data+64", format!("{} {}", run_of(64, 1, 8), run_of(72, 25, 8))),
        ("shufpd $1, %xmm2, %xmm1\n movups %xmm1, data+64", format!("{} {}", run_of(64, 9, 8), run_of(72, 17, 8))),
        ("palignr $4, %xmm2, %xmm1\n movups %xmm1, data+64", format!("{} {}", run_of(64, 21, 12), run_of(76, 1, 4))),
        ("pslldq $12, %xmm1\n movups %xmm1, data+64", run_of(76, 1, 4)),
        ("pinsrw $1, data+16, %xmm1\n movd %xmm1, data+64", "64+1=1 65+1=2 66+1=17 67+1=18".to_owned()),
        ("pextrw $3, %xmm1, %eax\n mov %eax, data+64", "64+1=7 65+1=8".to_owned()),
        ("pextrb $9, %xmm1, data+64", "64+1=10".to_owned()),
        ("pmovzxbw %xmm1, %xmm3\n movq %xmm3, data+64", "64+1=1 66+1=2 68+1=3 70+1=4".to_owned()),
        ("pmovsxwd %xmm1, %xmm3\n movq %xmm3, data+64", "64+1=1 65+3=2 68+1=3 69+3=4".to_owned()),
        ("packuswb %xmm2, %xmm1\n movups %xmm1, data+64",
         "64+1=1,2 65+1=3,4 66+1=5,6 67+1=7,8 68+1=9,10 69+1=11,12 70+1=13,14 71+1=15,16 72+1=17,18 73+1=19,20 \
          74+1=21,22 75+1=23,24 76+1=25,26 77+1=27,28 78+1=29,30 79+1=31,32".to_owned()),
        ("pblendw $0x0f, %xmm2, %xmm1\n movups %xmm1, data+64", format!("{} {}", run_of(64, 17, 8), run_of(72, 9, 8))),
        ("movddup %xmm1, %xmm3\n movups %xmm3, data+64", format!("{} {}", run_of(64, 1, 8), run_of(72, 1, 8))),
    ];
    for (code, expected) in cases {
        both(&[(&format!("{start}{code}"), &expected)]);
    }
}

#[test]
fn a_byte_shuffle_looks_at_its_mask() {
    both(&[
        (
            "movl $0x80000203, data+128\n movd data+128, %xmm2\n movups data, %xmm1\n pshufb %xmm2, %xmm1\n movd %xmm1, data+64",
            "64+1=4 65+1=3 66+1=1",
        ),
        // A table in a register, indexed by data.
        (
            "movd data, %xmm2\n pxor %xmm1, %xmm1\n pshufb %xmm2, %xmm1\n movd %xmm1, data+64",
            "64+1=1 65+1=2 66+1=3 67+1=4",
        ),
    ]);
}

#[test]
fn vex_results_clear_the_upper_half() {
    if !std::arch::is_x86_feature_detected!("avx2") {
        eprintln!("not tested: this processor has no AVX2");
        return;
    }
    let all = run_of(64, 1, 32);
    wide(&[
        ("vmovdqu data, %ymm9\n vmovdqa %ymm9, %ymm1\n vmovdqu %ymm1, data+64", &all),
        ("vmovdqu data, %ymm1\n vmovdqa %xmm1, %xmm1\n vmovdqu %ymm1, data+64", &run_of(64, 1, 16)),
        ("vmovdqu data, %ymm1\n vzeroupper\n vmovdqu %ymm1, data+64", &run_of(64, 1, 16)),
        ("vmovdqu data, %ymm1\n vpxor %ymm1, %ymm1, %ymm2\n vmovdqu %ymm2, data+64", "clean"),
        ("vmovdqu data, %ymm1\n vextracti128 $1, %ymm1, %xmm2\n vmovdqu %ymm2, data+64", &run_of(64, 17, 16)),
        ("vmovdqu data, %ymm1\n vpermq $0x4e, %ymm1, %ymm2\n vmovdqu %ymm2, data+64",
         &format!("{} {}", run_of(64, 17, 16), run_of(80, 1, 16))),
        ("vmovdqu data, %ymm1\n vinserti128 $1, data+16, %ymm1, %ymm2\n vmovdqu %ymm2, data+64", &all),
        ("vpbroadcastw data, %xmm1\n vmovq %xmm1, data+64", "64+1=1 65+1=2 66+1=1 67+1=2 68+1=1 69+1=2 70+1=1 71+1=2"),
        ("vmovdqu data, %xmm1\n vmovdqu data+16, %xmm2\n vmovss %xmm2, %xmm1, %xmm3\n vmovdqu %ymm3, data+64",
         &format!("{} {}", run_of(64, 17, 4), run_of(68, 5, 12))),
        ("movl $0, data+128\n movl $8, data+132\n vmovq data+128, %xmm2\n vpcmpeqd %xmm3, %xmm3, %xmm3\n
          mov $data, %ecx\n vpgatherdd %xmm3, (%ecx,%xmm2), %xmm1\n vmovq %xmm1, data+64",
         &format!("{} {}", run_of(64, 1, 4), run_of(68, 9, 4))),
        ("vpxor %xmm1, %xmm1, %xmm1\n vmovss data, %xmm2\n vfmadd231ss data+16, %xmm2, %xmm1\n vmovdqu %ymm1, data+64",
         "64+4=1-4,17-20"),
    ]);
}

#[test]
fn saved_state_keeps_labels_also_of_zeros() {
    let all = run_of(64, 1, 16);
    both(&[
        ("movups data, %xmm1\n fxsave data+1024\n pxor %xmm1, %xmm1\n fxrstor data+1024\n movups %xmm1, data+64", &all),
        ("movups data, %xmm1\n mov $3, %eax\n xor %edx, %edx\n xsave data+1024\n pxor %xmm1, %xmm1\n xrstor data+1024\n
          movups %xmm1, data+64", &all),
        // Only what is asked for is loaded.
        ("movups data, %xmm1\n mov $3, %eax\n xor %edx, %edx\n xsave data+1024\n pxor %xmm1, %xmm1\n mov $1, %eax\n
          xrstor data+1024\n movups %xmm1, data+64", "clean"),
        // An area that nothing was stored to.
        ("movups data, %xmm1\n mov $2, %eax\n xor %edx, %edx\n xrstor data+2048\n movups %xmm1, data+64", "clean"),
    ]);
}
