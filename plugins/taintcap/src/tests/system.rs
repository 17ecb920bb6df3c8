//! What is not an instruction's data flow: hypercalls, formats, the kernel, threads' registers, watching itself.

use plugin_api::abi::kind;

use super::*;

#[test]
fn labels_have_numbers_and_meet() {
    for wide in [true, false] {
        let code = "label data, 4\n label data+8, 4\n label data+4, 2\n
            mov data, %ecx\n or data+8, %ecx\n mov %ecx, data+64\n query data, 128\n query data+256, 16\n
            query data, 0";
        let expected = [
            "label 0 4",
            "label 8 4",
            "label 4 2",
            "query 0 128",
            "tainted 0 4 labels 1",
            "tainted 4 2 labels 3",
            "tainted 8 4 labels 2",
            "tainted 64 4 labels 1,2",
            "query 256 16",
            "clean",
            "query 0 0",
            "clean",
        ];
        assert_eq!(log(&mut run(wide, &[], code)), expected);
    }
}

#[test]
fn a_new_label_replaces_the_old_one() {
    let mut test = run(true, &[], "label data, 8\n label data+2, 2\n query data, 8");
    let expected = ["tainted 0 2 labels 1", "tainted 2 2 labels 2", "tainted 4 4 labels 1"];
    assert_eq!(log(&mut test)[3..], expected);
}

#[test]
fn a_buffer_that_cannot_be_read_is_refused() {
    for wide in [true, false] {
        let mut test = run(wide, &[], "call_plugin 0, 16, 8\n mov %eax, data\n query data, 8");
        assert_eq!(test.memory(test.data(), 4), [0xff; 4]);
        assert_eq!(log(&mut test), ["query 0 8", "clean"]);
        assert!(test.log().iter().any(|l| l.2.contains("not all of them can be read")));
    }
}

#[test]
fn other_cpuid_is_the_processors() {
    for wide in [true, false] {
        // Leaf 0 has the vendor's name in EBX, EDX, ECX.
        let code = "label data, 4\n mov data, %ebx\n xor %eax, %eax\n cpuid\n mov %ebx, data+64\n query data+64, 4\n
            call_plugin 2, data, 4\n mov %ebx, data+68";
        let mut test = run(wide, &[], code);
        assert!(test.memory(test.data() + 64, 4).iter().all(u8::is_ascii_alphabetic));
        assert_ne!(test.memory(test.data() + 68, 4), [2, 0, 0, 0], "EBX = 2 is no request");
        assert_eq!(log(&mut test)[1..], ["query 64 4", "clean"]);
    }
}

#[test]
fn json_has_one_object_for_each_request() {
    let code = "label data, 2\n label data+8, 1\n mov data, %cl\n or data+8, %cl\n mov %cl, data+3\n query data, 4";
    let mut test = run(true, &[("format", "jsonl"), ("file", "taint.jsonl")], code);
    test.unload();
    let [d, three, eight] = [0, 3, 8].map(|n| format!("\"{:#x}\"", test.data() + n));
    assert_eq!(
        test.file("taint.jsonl"),
        format!(
            "{{\"event\":\"label\",\"pid\":1,\"tid\":1,\"address\":{d},\"length\":2,\"first\":1,\"count\":1}}\n\
             {{\"event\":\"label\",\"pid\":1,\"tid\":1,\"address\":{eight},\"length\":1,\"first\":2,\"count\":1}}\n\
             {{\"event\":\"query\",\"pid\":1,\"tid\":1,\"address\":{d},\"length\":4,\"tainted\":[\
             {{\"address\":{d},\"length\":2,\"labels\":[1]}},{{\"address\":{three},\"length\":1,\"labels\":[1,2]}}]}}\n"
        )
    );
}

#[test]
fn nothing_is_watched_before_the_first_label_and_after_the_last_byte() {
    let mut test = run(true, &[], "mov $1, %ecx\n 1: dec %ecx\n jnz 1b\n query data, 8");
    assert_eq!((test.calls("insn_translate"), test.calls("insn_exec")), (0, 0));
    assert_eq!(log(&mut test), ["query 0 8", "clean"]);

    let watched = |code: &str| {
        let test = run(true, &[], code);
        let host = test.calls("insn_exec");
        assert_eq!(plugin_api::abi::kind_name(kind::INSN_EXEC), Some("insn_exec"));
        host
    };
    // Subscriptions that ended are not counted: then there are none.
    assert!(watched("label data, 4\n mov $9, %ecx") > 0);
    assert_eq!(watched("label data, 4\n movl $9, data"), 0);
    // And from the next label on there are again.
    let again = "label data, 4\n movl $9, data\n label data, 4\n mov data, %cl\n mov %cl, data+64\n query data+64, 8";
    assert_eq!(log(&mut run(true, &[], again))[2..], ["query 64 8", "tainted 64 1 labels 2"]);
}

#[test]
fn a_loop_that_became_hot_before_the_label_is_followed() {
    for wide in [true, false] {
        let loop_ = "mov $data, %esi\n mov $data+64, %edi\n mov $40, %ebp\n
            2: mov (%esi), %al\n mov %al, (%edi)\n inc %esi\n inc %edi\n dec %ebp\n jnz 2b\n";
        let code = format!(
            "call 9f\n label data, 32\n call 9f\n query data+64, 64\n ud2\n 9: {loop_} ret"
        );
        let mut test = run(wide, &[], &code);
        assert_eq!(log(&mut test)[1..], ["query 64 64", "tainted 64 32 labels 1"]);
    }
}

#[test]
fn code_that_the_guest_rewrites_is_looked_at_again() {
    // mov %ecx, (%esi) becomes mov %edx, (%esi) by another ModRM byte, which is the last one.
    for wide in [true, false] {
        let code = "label data, 4\n mov data, %ecx\n xor %edx, %edx\n mov $2, %ebp\n
            1: mov $data+64, %esi\n mov %ecx, (%esi)\n 2: movb $0x16, 2b-1\n dec %ebp\n jnz 1b\n query data+64, 4";
        let mut test = run(wide, &[], code);
        assert_eq!(log(&mut test)[1..], ["query 64 4", "clean"]);
    }
}

#[test]
fn what_the_kernel_writes_is_clean() {
    for wide in [true, false] {
        let call = if wide {
            "xor %eax, %eax\n mov $3, %edi\n mov $data+4, %esi\n mov $16, %edx\n syscall"
        } else {
            "mov $3, %eax\n mov $3, %ebx\n mov $data+4, %ecx\n mov $16, %edx\n int $0x80"
        };
        let mut test = if wide { PluginTest::x86_64() } else { PluginTest::i386() }.unwrap();
        test.load(&panda_plugin_entry_v1, &[]).unwrap();
        let code = format!(
            "label data, 32\n mov data, %eax\n {call}\n mov %eax, data+64\n query data, 68\n ud2"
        );
        test.asm(&format!("{MACROS}{code}")).unwrap();
        // A short read.
        test.answers(|_, _| Some(6));
        assert_eq!(test.run(), End::Fault);
        let expected = ["query 0 68", "tainted 0 4 labels 1", "tainted 10 22 labels 1"];
        assert_eq!(log(&mut test)[1..], expected);
    }
}

#[test]
fn a_failed_call_writes_nothing_and_vectors_are_followed() {
    let mut test = PluginTest::x86_64().unwrap();
    test.load(&panda_plugin_entry_v1, &[]).unwrap();
    let code = "label data, 32\n xor %eax, %eax\n mov $data, %esi\n mov $8, %edx\n syscall\n query data, 32\n
        movq $data, data+128\n movq $4, data+136\n movq $data+8, data+144\n movq $8, data+152\n
        mov $19, %eax\n mov $data+128, %esi\n mov $2, %edx\n syscall\n query data, 32\n ud2";
    test.asm(&format!("{MACROS}{code}")).unwrap();
    test.answers(|number, _| Some(if number == 0 { -9 } else { 6 }));
    assert_eq!(test.run(), End::Fault);
    let expected = [
        "query 0 32",
        "tainted 0 32 labels 1",
        "query 0 32",
        "tainted 4 4 labels 1",
        "tainted 10 22 labels 1",
    ];
    assert_eq!(log(&mut test)[1..], expected);
}

#[test]
fn arguments_are_checked() {
    let mut test = PluginTest::x86_64().unwrap();
    let error = test.load(&panda_plugin_entry_v1, &[("format", "xml")]).unwrap_err();
    assert!(error.to_string().contains("jsonl"), "{error}");
}
