use plugin_api::Value;
use plugin_api::abi::{kind, level};
use plugin_api::testing::MockHost;

use super::*;

fn start(args: &[(&str, Value)]) -> MockHost {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, args).unwrap();
    host
}

#[test]
fn blocks_are_logged_with_their_successors() {
    let mut host = start(&[]);
    host.block(0x1000, 2);
    host.block(0x2000, 2);
    host.unload();
    assert_eq!(
        host.file("sample_tblog.txt"),
        "Next TB: 1000, CR3=0\nAfter TB 1000, CR3=0 next TB: 2000\n\
         Next TB: 2000, CR3=0\nAfter TB 2000, CR3=0 next TB: 0\n"
    );
    assert!(host.log().contains(&(level::INFO, "before_block_exec: 2".to_owned())));
}

#[test]
fn begin_and_end_are_counted_in_instructions() {
    let mut host = start(&[("begin_at", Value::U64(4)), ("exit_at", Value::U64(6))]);
    for pc in [0x1000, 0x2000, 0x3000] {
        host.block(pc, 2);
        assert_eq!(host.stop_request(), None);
    }
    host.block(0x4000, 2);
    assert_eq!(host.stop_request(), Some((0, "exit_at is reached".to_owned())));
    host.unload();
    assert!(host.file("sample_tblog.txt").starts_with("After TB 2000, CR3=0 next TB: 3000\n"));
}

#[test]
fn every_kind_is_subscribed_to() {
    let host = start(&[("memory", Value::Bool(true))]);
    for k in 1..kind::COUNT {
        assert_eq!(host.listeners(k), 1, "{:?}", plugin_api::abi::kind_name(k));
    }
}

#[test]
fn hypercall_and_monitor_answer_what_is_theirs() {
    let host = start(&[]);
    host.set_reg("rax", 0x1);
    assert!(!host.hypercall());
    host.set_reg("rax", 0xdead_beef);
    assert!(host.hypercall());
    assert!(host.log().contains(&(level::INFO, "Hypercall called!".to_owned())));
    assert!(host.monitor("sample_foo"));
    assert!(!host.monitor("something_else"));
    assert_eq!(host.replies(), ["Doing the foo action"]);
}

#[test]
fn instructions_are_watched_on_request() {
    let host = start(&[]);
    assert!(!host.insn(0x1000, &[0x90]));
    let host = start(&[("insns", Value::Bool(true))]);
    assert!(host.insn(0x1000, &[0x90]));
    assert!(host.log().contains(&(level::INFO, "User insn 0x1000 executed.".to_owned())));
}
