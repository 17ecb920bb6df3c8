use plugin_api::Value;
use plugin_api::abi::{flush_reason, fork_side, kind};
use plugin_api::testing::MockHost;

use super::*;

fn start() -> MockHost {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.guest_ready();
    host
}

#[test]
fn counts_without_callbacks() {
    let mut host = start();
    host.block(0x1000, 10);
    host.block(0x1010, 5);
    host.load_mem(0x1000, 0x2000, &[1]);
    host.store_mem(0x1000, 0x2000, &[1]);
    host.store_mem(0x1000, 0x2000, &[1]);
    for k in 1..kind::GUEST_HYPERCALL {
        assert_eq!(host.listeners(k), 0);
    }
    host.unload();
    let line = "pid 1: 15 instructions, 2 blocks, 1 loads, 2 stores\n";
    assert_eq!(host.file("insncount.txt"), line);
}

#[test]
fn each_process_counts_for_itself() {
    let mut host = start();
    host.block(0x1000, 10);
    host.fork(fork_side::PARENT, 1, 2);
    host.fork(fork_side::CHILD, 1, 2);
    host.block(0x1000, 3);
    host.unload();
    let line = "pid 2: 3 instructions, 1 blocks, 0 loads, 0 stores\n";
    assert_eq!(host.file("insncount.txt"), line);
}

#[test]
fn a_fatal_end_is_reported_once() {
    let mut host = start();
    host.flush(flush_reason::FORK);
    assert_eq!(host.file("insncount.txt"), "");
    host.flush(flush_reason::FATAL);
    host.unload();
    assert_eq!(host.file("insncount.txt").lines().count(), 1);
}

#[test]
fn counts_what_it_is_asked_for() {
    let no = || Value::Bool(false);
    for (args, line) in [
        (&[("blocks", no())][..], "pid 1: 10 instructions, 1 loads, 0 stores\n"),
        (&[("memory", no())], "pid 1: 10 instructions, 1 blocks\n"),
        (&[("blocks", no()), ("memory", no())], "pid 1: 10 instructions\n"),
    ] {
        let mut host = MockHost::new();
        host.load(&panda_plugin_entry_v1, args).unwrap();
        host.guest_ready();
        host.block(0x1000, 10);
        host.load_mem(0x1000, 0x2000, &[1]);
        host.unload();
        assert_eq!(host.file("insncount.txt"), line);
    }
}
