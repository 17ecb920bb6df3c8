use plugin_test::{End, PluginTest};

use super::*;

/// Labels `data+16..` with 1, 2, … 32, by byte.
const LABELLED: &str = "label data, 32\n";

/// Calls by name, and the end of the guest.
const MACROS: &str = "
.macro call_plugin what, at, len
 mov $0xdeadbeef, %eax
 mov $\\what, %ebx
 mov $\\at, %ecx
 mov $\\len, %edx
 cpuid
.endm
.macro label at, len
 call_plugin 0, \\at, \\len
.endm
.macro query at, len
 call_plugin 1, \\at, \\len
.endm
";

/// A guest of either width after running some code; the data's address counts as 0.
fn run(wide: bool, args: &[(&str, &str)], code: &str) -> PluginTest {
    let mut test = if wide { PluginTest::x86_64() } else { PluginTest::i386() }.unwrap();
    test.load(&panda_plugin_entry_v1, args).unwrap();
    test.asm(&format!("{MACROS}{code}\n ud2")).unwrap();
    assert_eq!(test.run(), End::Fault, "{code}");
    assert_eq!(test.failure(), None, "{code}");
    test
}

/// The log, with addresses relative to the data.
fn log(test: &mut PluginTest) -> Vec<String> {
    test.unload();
    let data = test.data();
    test.file("taintcap.txt")
        .lines()
        .map(|line| {
            let words = line.split(' ').enumerate().map(|(n, word)| match word.parse::<u64>() {
                Ok(address) if n == 1 => (address - data).to_string(),
                _ => word.to_owned(),
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// What 32 bytes at `data+64` come from after `code`, when `data..data+32` has the labels 1–32.
fn after(wide: bool, args: &[(&str, &str)], code: &str) -> String {
    let args = [args, &[("bytes", "true")]].concat();
    let code = format!("{LABELLED}{code}\n query data+64, 32");
    let lines = log(&mut run(wide, &args, &code));
    let answer: Vec<String> = lines[2..]
        .iter()
        .map(|line| line.replace("tainted ", "").replacen(' ', "+", 1).replace(" labels ", "="))
        .collect();
    answer.join(" ")
}

/// Checks rules in guests of both widths, which agree.
fn both(cases: &[(&str, &str)]) {
    for (code, expected) in cases {
        for wide in [true, false] {
            assert_eq!(after(wide, &[], code), *expected, "64-bit: {wide}, {code}");
        }
    }
}

/// Checks rules in a 64-bit guest.
fn wide(cases: &[(&str, &str)]) {
    for (code, expected) in cases {
        assert_eq!(after(true, &[], code), *expected, "{code}");
    }
}

#[test]
fn a_copy_is_found() {
    for wide in [true, false] {
        let mut test = run(
            wide,
            &[],
            "label data, 4\n mov data, %esi\n mov %esi, data+64\n mov %eax, data+128\n
             query data+60, 12\n mov %eax, data+132",
        );
        let [label, found] = [128, 132].map(|at| test.memory(test.data() + at, 4));
        assert_eq!((label, found), (vec![1, 0, 0, 0], vec![4, 0, 0, 0]), "results in EAX");
        let expected = ["label 0 4", "query 60 12", "tainted 64 4 labels 1"];
        assert_eq!(log(&mut test), expected);
    }
}

mod integer;
mod system;
mod vector;
