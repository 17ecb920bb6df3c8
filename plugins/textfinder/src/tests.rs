use plugin_api::Value;
use plugin_api::abi::{arch, fork_side, level};
use plugin_api::testing::MockHost;

use super::*;

fn words(report: &[u8]) -> Vec<[u64; 3]> {
    assert_eq!(report.len() % (24 + 1024), 0);
    let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap());
    report.chunks(24 + 1024).map(|r| [word(&r[..8]), word(&r[8..16]), word(&r[16..24])]).collect()
}

#[test]
fn histograms_by_tap_point_in_order() {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.store_mem(0x3000, 0x9000, b"aab");
    host.set_callers(&[0x1005]);
    host.store_mem(0x2000, 0x9000, b"x");
    // A nested call, then back: the caller is the outer one again.
    host.set_callers(&[0x1105, 0x1005]);
    host.store_mem(0x2000, 0x9000, b"y");
    host.set_callers(&[0x1005]);
    host.store_mem(0x2000, 0x9000, b"x");
    host.load_mem(0x2000, 0x9000, b"12345678");
    host.unload();
    let report = host.file_bytes("mem_report.bin");
    assert_eq!(words(&report), [[0x1005, 0x2000, 0], [0x1105, 0x2000, 0], [0, 0x3000, 0]]);
    let count = |record: usize, byte: u8| {
        let at = record * (24 + 1024) + 24 + usize::from(byte) * 4;
        u32::from_le_bytes(report[at..at + 4].try_into().unwrap())
    };
    assert_eq!((count(0, b'x'), count(0, b'y'), count(1, b'y')), (2, 0, 1));
    assert_eq!((count(2, b'a'), count(2, b'b')), (2, 1));
    let line = "Memory statistics: 1 loads, 4 stores, 8 bytes read, 6 bytes written.";
    assert!(host.log().contains(&(level::INFO, line.to_owned())), "{:?}", host.log());
}

#[test]
fn words_of_32_bit_guests_are_short_and_the_header_says_so() {
    let mut host = MockHost::new();
    host.set_arch(arch::I386);
    host.load(&panda_plugin_entry_v1, &[("header", Value::Bool(true))]).unwrap();
    host.store_mem(0x3000, 0x9000, b"a");
    host.unload();
    let report = host.file_bytes("mem_report.bin");
    assert_eq!(report.len(), 4 + 3 * 4 + 1024);
    assert_eq!(report[..4], 4u32.to_le_bytes());
    assert_eq!(report[8..12], 0x3000u32.to_le_bytes());
}

#[test]
fn a_forked_process_has_its_own_report() {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.store_mem(0x3000, 0x9000, b"a");
    host.fork(fork_side::CHILD, 1, 2);
    host.store_mem(0x4000, 0x9000, b"a");
    host.unload();
    assert_eq!(host.file_bytes("mem_report.bin"), b"");
    assert_eq!(words(&host.file_bytes("mem_report.bin.2")), [[0, 0x4000, 0]]);
}
