use plugin_api::Value;
use plugin_api::abi::{fork_side, kind};
use plugin_api::testing::MockHost;

use super::*;

fn start(guest: u32, args: &[(&str, Value)]) -> MockHost {
    let mut host = MockHost::new();
    host.set_arch(guest);
    host.load(&panda_plugin_entry_v1, args).unwrap();
    host
}

fn text(s: &str) -> Value {
    Value::Text(s.to_owned())
}

#[test]
fn the_default_output_is_the_tutorials() {
    let mut host = start(arch::X86_64, &[]);
    host.set_reg("rax", 0x153);
    assert!(host.insn(0x77bd_70b2, &[0x0f, 0x05]));
    assert!(!host.insn(0x77bd_70b4, &[0xb8, 0, 0, 0x0f, 0x05]), "mov eax, 0x050f0000");
    host.set_reg("rax", u64::MAX);
    assert!(host.insn(0x77bd_70b2, &[0xcd, 0x80]));
    host.unload();
    assert_eq!(
        host.file("syscalls.txt"),
        "PC=0000000077bd70b2, SYSCALL=0000000000000153\n\
         PC=0000000077bd70b2, SYSCALL=ffffffffffffffff\n"
    );
}

#[test]
fn words_of_32_bit_guests_have_8_digits() {
    let mut host = start(arch::I386, &[("output", text("calls.txt"))]);
    host.set_reg("eax", 4);
    assert!(host.insn(0xf7ff_d000, &[0x0f, 0x34]));
    host.unload();
    assert_eq!(host.file("calls.txt"), "PC=f7ffd000, SYSCALL=00000004\n");
}

#[test]
fn only_instructions_that_enter_the_kernel_are_instrumented() {
    for bytes in [&[0x0f, 0x05][..], &[0x0f, 0x34], &[0xcd, 0x80], &[0x48, 0x0f, 0x05]] {
        assert!(enters_kernel(arch::X86_64, bytes), "{bytes:x?}");
    }
    for bytes in [&[0x90][..], &[0xcd, 0x03], &[0x0f, 0x0b], &[0x48], &[]] {
        assert!(!enters_kernel(arch::X86_64, bytes), "{bytes:x?}");
    }
    assert!(enters_kernel(arch::ARM, &[0, 0, 0, 0xef]), "svc 0");
    assert!(enters_kernel(arch::ARM, &[0, 0xdf]), "svc 0 (T32)");
    assert!(!enters_kernel(arch::ARM, &[0, 0, 0xa0, 0xe3]), "mov r0, 0");
    assert!(enters_kernel(arch::AARCH64, &[1, 0, 0, 0xd4]), "svc 0");
    assert!(!enters_kernel(arch::AARCH64, &[0, 0, 0x20, 0xd4]), "brk 0");
    assert!(!enters_kernel(99, &[0x0f, 0x05]));
}

#[test]
fn names_and_filters() {
    let run = |args: &[(&str, Value)]| {
        let mut host = start(arch::X86_64, args);
        host.set_memory(0x1000, &[0x0f, 0x05]);
        host.set_memory(0x2000, &[0xcd, 0x80]);
        for (pc, number) in [(0x1000, 1), (0x1000, 0), (0x2000, 4), (0x1000, 7777)] {
            host.set_reg("rax", number);
            host.insn(pc, &host.memory(pc, 2));
        }
        host.unload();
        let log = host.file("syscalls.txt");
        log.lines().map(|l| l.split("SYSCALL=000000000000").last().unwrap().to_owned()).collect()
    };
    let list = |items: &[&str]| Value::List(items.iter().map(|i| (*i).to_owned()).collect());
    let all: Vec<String> = run(&[("names", Value::Bool(true))]);
    assert_eq!(
        all,
        ["0001, NAME=write", "0000, NAME=read", "0004, NAME=write", "1e61, NAME=unknown"]
    );
    // By name in the convention of the call: number 4 of int 0x80 is write, too.
    assert_eq!(run(&[("only", list(&["write"]))]), ["0001", "0004"]);
    assert_eq!(run(&[("only", list(&["0x1e61", "0"]))]), ["0000", "1e61"]);
    assert_eq!(run(&[("except", list(&["write", "7777"]))]), ["0000"]);
}

#[test]
fn a_filter_that_makes_no_sense_fails_init() {
    let mut host = MockHost::new();
    let only = Value::List(vec!["Read!".to_owned()]);
    assert_eq!(
        host.load(&panda_plugin_entry_v1, &[("only", only)]).unwrap_err(),
        "\"Read!\" is neither the name of a system call nor a number"
    );
}

fn call(number: u64) -> SyscallInfo {
    SyscallInfo {
        struct_size: SyscallInfo::SIZE,
        abi: syscall_abi::LINUX_X86_64,
        entry: 1,
        arg_count: 3,
        tid: 1,
        pid: 1,
        pc: 0x401000,
        number,
        args: [1, 0x402000, 5, 99, 99, 99, 99, 99],
    }
}

#[test]
fn json_has_arguments_and_results() {
    let mut host = start(arch::X86_64, &[("format", text("jsonl"))]);
    assert_eq!(host.listeners(kind::INSN_TRANSLATE), 0);
    host.syscall(&call(1), Some(5));
    host.syscall(&SyscallInfo { arg_count: u32::MAX, ..call(0) }, Some(-14));
    host.syscall(&call(231), None);
    host.unload();
    assert_eq!(
        host.file("syscalls.txt"),
        "{\"pid\":1,\"tid\":1,\"pc\":\"0x401000\",\"number\":1,\"name\":\"write\",\
         \"args\":[\"0x1\",\"0x402000\",\"0x5\"],\"result\":5}\n\
         {\"pid\":1,\"tid\":1,\"pc\":\"0x401000\",\"number\":0,\"name\":\"read\",\
         \"args\":[\"0x1\",\"0x402000\",\"0x5\",\"0x63\",\"0x63\",\"0x63\"],\"result\":-14}\n\
         {\"pid\":1,\"tid\":1,\"pc\":\"0x401000\",\"number\":231,\"name\":\"exit_group\",\
         \"args\":[\"0x1\",\"0x402000\",\"0x5\"],\"result\":null}\n"
    );
}

#[test]
fn a_fork_child_does_not_repeat_the_parents_calls() {
    let mut host = start(arch::X86_64, &[("format", text("jsonl"))]);
    host.syscall(&call(1), None);
    host.fork(fork_side::CHILD, 1, 2);
    host.unload();
    assert_eq!(host.file("syscalls.txt"), "");
}

#[test]
fn what_is_pending_is_written_before_the_host_dies() {
    let host = start(arch::X86_64, &[("format", text("jsonl"))]);
    host.syscall(&call(1), None);
    host.flush(plugin_api::abi::flush_reason::FATAL);
    assert!(host.file("syscalls.txt").ends_with("\"result\":null}\n"));
}
