//! The processor models, and the vector state of the newest.

use e2e::{BOTH, Case, TempDir, compile};

/// Whether this computer executes x86-64-v3.
fn has_v3() -> bool {
    let has = std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    if !has {
        println!("skipped: this processor has no AVX2, FMA or F16C");
    }
    has
}

#[test]
fn vector_state_in_signal_frames() {
    if !has_v3() {
        return;
    }
    let dir = TempDir::new();
    for width in BOTH {
        let source = include_str!("../guests/vectors.c");
        let exe = compile(&dir, "vectors", source, width, &["-mavx2"]);
        // A tier that the environment names is the one.
        if std::env::var_os(e2e::TIER_VARIABLE).is_some() {
            Case::new([&exe]).same_as_native();
            continue;
        }
        for tier in ["interp", "jit"] {
            Case::new([&exe]).host(["--tier", tier]).same_as_native();
        }
    }
}

/// What the guest prints in a model.
fn described(level: u32) -> String {
    let (v2, v3) = (u32::from(level >= 2), u32::from(level >= 3));
    let xcr0 = if level >= 3 { "xcr0 7\n" } else { "" };
    format!(
        "sse4.2 {v2}, osxsave {v3}, avx {v3}, fma {v3}\nhwcap agrees 1\n{xcr0}\
         avx2 {v3}, bmi1 {v3}, bmi2 {v3}, fsgsbase agrees 1\nlzcnt {v3}\n"
    )
}

#[test]
fn models_describe_themselves_and_refuse_what_they_have_not() {
    let dir = TempDir::new();
    for width in BOTH {
        let exe = compile(&dir, "cpu", include_str!("../guests/cpu.c"), width, &[]);
        for (level, name) in [(1, "v1"), (2, "v2"), (3, "v3")] {
            if level == 3 && !has_v3() {
                continue;
            }
            let out = Case::new([&exe]).host(["--cpu", name]).hosted();
            assert_eq!(out.stdout, described(level), "{name}");
            // An AVX instruction is an undefined opcode before v3.
            let with = [exe.as_os_str(), "avx".as_ref()];
            let out = Case::new(with).host(["--cpu", name]).hosted();
            let executed = out.stdout.contains("executed");
            assert_eq!(executed, level == 3, "{name}");
            assert_eq!(out.status.success(), level == 3, "{name}: {:?}", out.status);
        }
    }
}

#[test]
fn an_unknown_model_is_an_error_that_names_the_known_ones() {
    let out = Case::new(["/bin/true"]).host(["--cpu", "v4"]).hosted();
    assert!(out.stderr.contains("v1, v2, v3"), "{}", out.stderr);
    assert_eq!(out.status.code(), Some(125), "{}", out.stderr);
}
