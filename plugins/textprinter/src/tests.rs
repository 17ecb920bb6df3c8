use plugin_api::Value;
use plugin_api::abi::flush_reason;
use plugin_api::testing::MockHost;

use super::*;

fn text(s: &str) -> Value {
    Value::Text(s.to_owned())
}

#[test]
fn prints_every_byte_written_at_listed_taps() {
    let mut host = MockHost::new();
    let taps = host.out_dir().join("taps");
    std::fs::write(&taps, "0 401000 0\n\n0x1234 0x402000 0\n").unwrap();
    let args = [("taps", text(taps.to_str().unwrap()))];
    host.load(&panda_plugin_entry_v1, &args).unwrap();
    host.store_mem(0x401000, 0x10, b"A\n");
    host.store_mem(0x402000, 0x10, b"not the caller");
    host.store_mem(0x403000, 0x10, b"not listed");
    host.store_mem(0x401000, 0x20, b"B");
    host.unload();
    let tap = "0000000000000000 0000000000401000 0000000000000000";
    assert_eq!(
        host.file("tap_buffers.txt"),
        format!(
            "{tap} 0000000000000010 0 41\n{tap} 0000000000000011 0 0a\n\
             {tap} 0000000000000020 1 42\n"
        )
    );
}

#[test]
fn a_bad_or_missing_tap_file_is_an_error_with_its_place() {
    let mut host = MockHost::new();
    let taps = host.out_dir().join("taps");
    let args = [("taps", text(taps.to_str().unwrap()))];
    let error = host.load(&panda_plugin_entry_v1, &args).unwrap_err();
    assert!(error.starts_with("cannot read "), "{error}");
    std::fs::write(&taps, "0 1 2\n0 1\n").unwrap();
    let error = host.load(&panda_plugin_entry_v1, &args).unwrap_err();
    assert!(
        error
            .ends_with("taps:2: \"0 1\" is not three hexadecimal numbers (caller pc addressspace)"),
        "{error}"
    );
}

/// The texts found without a file of tap points.
fn texts(min: u64, stores: &[(u64, u64, &[u8])]) -> Vec<String> {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[("min", Value::U64(min))]).unwrap();
    for (pc, addr, data) in stores {
        host.store_mem(*pc, *addr, data);
    }
    host.unload();
    host.file("textprinter.txt")
        .lines()
        .map(|l| {
            let mut parts = l.splitn(4, ' ');
            let pc = parts.nth(1).unwrap().trim_start_matches('0').to_owned();
            format!("{pc} {}", parts.nth(1).unwrap())
        })
        .collect()
}

#[test]
fn text_grows_over_stores_and_ends_at_a_byte_that_is_none() {
    let stores: &[(u64, u64, &[u8])] = &[
        (0x1000, 0x10, b"Hel"),
        (0x2000, 0x90, b"abc"),
        (0x1000, 0x13, b"lo\n"),
        (0x1000, 0x16, b"\0"),
        (0x2000, 0x93, b"de\0fghij"),
        (0x3000, 0x50, b"\x01\x02"),
    ];
    assert_eq!(texts(5, stores), ["1000 \"Hello\\n\"", "2000 \"abcde\"", "2000 \"fghij\""]);
    assert_eq!(texts(6, stores), ["1000 \"Hello\\n\""]);
}

#[test]
fn a_long_text_is_printed_in_pieces() {
    let long = vec![b'x'; 10_000];
    let found = texts(5, &[(1, 0x1000, &long), (1, 0x1000 + 10_000, b"\0ab\0abcdef\0")]);
    let lengths: Vec<usize> = found.iter().map(|l| l.len() - "1 \"\"".len()).collect();
    assert_eq!(lengths, [4096, 4096, 10_000 - 2 * 4096, 6]);
}

#[test]
fn stores_elsewhere_begin_a_new_text_stores_in_place_do_not() {
    assert_eq!(texts(2, &[(1, 0x10, b"ab"), (1, 0x80, b"cd")]), ["1 \"ab\"", "1 \"cd\""]);
    assert_eq!(texts(2, &[(1, 0x10, b"a"), (1, 0x10, b"b"), (1, 0x10, b"c")]), ["1 \"abc\""]);
}

#[test]
fn text_being_written_is_not_doubled_by_a_fork() {
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.store_mem(0x1000, 0x10, b"before");
    host.flush(flush_reason::FORK);
    host.unload();
    assert_eq!(host.file("textprinter.txt").matches("before").count(), 1);
}
