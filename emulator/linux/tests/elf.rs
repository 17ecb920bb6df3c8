//! The ELF reader on hostile files: a clear error or a sane image, never a panic.

use emu_linux::elf::{ElfError, Image, parse};
use proptest::prelude::*;

/// A small valid x86-64 executable: one segment of code, one of data with bss.
fn valid() -> Vec<u8> {
    let mut f = vec![0u8; 0x3000];
    f[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    put16(&mut f, 16, 2);
    put16(&mut f, 18, 62);
    put64(&mut f, 24, 0x40_1000);
    put64(&mut f, 32, 64);
    put16(&mut f, 52, 64);
    put16(&mut f, 54, 56);
    put16(&mut f, 56, 2);
    segment(&mut f, 0, [1, 5], [0x1000, 0x40_1000, 0x1000, 0x1000]);
    segment(&mut f, 1, [1, 6], [0x2010, 0x40_3010, 0x100, 0x5000]);
    f
}

fn put16(f: &mut [u8], at: usize, v: u16) {
    f[at..at + 2].copy_from_slice(&v.to_le_bytes());
}
fn put32(f: &mut [u8], at: usize, v: u32) {
    f[at..at + 4].copy_from_slice(&v.to_le_bytes());
}
fn put64(f: &mut [u8], at: usize, v: u64) {
    f[at..at + 8].copy_from_slice(&v.to_le_bytes());
}

/// Program header `n`: (type, flags), (offset, address, bytes in the file, bytes in memory).
fn segment(f: &mut [u8], n: usize, [kind, flags]: [u32; 2], [off, addr, filesz, memsz]: [u64; 4]) {
    let at = 64 + 56 * n;
    put32(f, at, kind);
    put32(f, at + 4, flags);
    for (i, v) in [off, addr, addr, filesz, memsz, 0x1000].into_iter().enumerate() {
        put64(f, at + 8 + 8 * i, v);
    }
}

fn error(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut f = valid();
    change(&mut f);
    parse(&f[..]).expect_err("refused").to_string()
}

#[test]
fn a_valid_file_is_read() {
    let image = parse(&valid()[..]).expect("valid");
    assert_eq!(image.span(), (0x40_1000, 0x40_9000));
    assert_eq!(image.segments.len(), 2);
    assert!(!image.pie && image.interp.is_none() && !image.exec_stack);
}

#[test]
fn hostile_files_get_errors_that_name_the_problem() {
    let segment_error = |[off, addr, filesz, memsz]: [u64; 4]| {
        error(|f| segment(f, 1, [1, 6], [off, addr, filesz, memsz]))
    };
    let cases = [
        (error(|f| f.truncate(40)), "truncated: the ELF header"),
        (error(|f| f.truncate(100)), "truncated: the program header table"),
        (error(|f| f.truncate(0x2050)), "truncated: a segment"),
        (error(|f| f[0] = 0), "not an ELF executable"),
        (error(|f| f.clear()), "not an ELF executable"),
        (error(|f| f[4] = 9), "unknown class"),
        (error(|f| put16(f, 18, 183)), "64-bit ARM"),
        (error(|f| put16(f, 16, 1)), "an object file"),
        (error(|f| put16(f, 16, 4)), "a core dump"),
        (error(|f| put16(f, 54, 0)), "program header size"),
        (error(|f| put16(f, 56, 0)), "no program headers"),
        (error(|f| put16(f, 56, 0xffff)), "too many program headers"),
        (error(|f| put64(f, 32, u64::MAX - 8)), "overflows"),
        (segment_error([0x2010, 0x40_1010, 0x100, 0x100]), "segments 0 and 1 overlap"),
        (segment_error([0x2011, 0x40_3010, 0x100, 0x100]), "differ within the page"),
        (segment_error([0x2010, 0x40_3010, 0x200, 0x100]), "more bytes in the file"),
        (segment_error([0x2010, 0x40_3010, 0x100, u64::MAX - 0x1000]), "does not fit"),
        (segment_error([0x2010, 0x7fff_ffff_f010, 0x100, 0x100]), "does not fit"),
        (segment_error([0x2010, 0x1010, 0x100, 0x100]), "first 64 KiB"),
        (segment_error([u64::MAX - 0xfef, 0x40_3010, 0x100, 0x100]), "overflows"),
    ];
    for (got, want) in &cases {
        assert!(got.contains(want), "{got:?} should say {want:?}");
    }
}

#[test]
fn interpreter_paths_are_checked() {
    let with = |path: &[u8], filesz: u64| {
        let mut f = valid();
        put16(&mut f, 56, 3);
        f[0x800..0x800 + path.len()].copy_from_slice(path);
        segment(&mut f, 2, [3, 4], [0x800, 0x800, filesz, filesz]);
        parse(&f[..]).map(|i| i.interp)
    };
    assert_eq!(with(b"/lib/ld.so\0", 11), Ok(Some(b"/lib/ld.so".to_vec())));
    assert!(matches!(with(b"/lib/ld.so", 10), Err(ElfError::Segment { index: 2, .. })));
    assert!(matches!(with(b"", 1), Err(ElfError::Segment { index: 2, .. })));
    assert!(matches!(with(b"", 1 << 20), Err(ElfError::Segment { index: 2, .. })));
}

/// What every accepted image promises to the loader.
fn is_sane(image: &Image) {
    let (low, high) = image.span();
    assert!(low < high && high <= image.abi.task_size());
    for s in &image.segments {
        assert!(s.filesz <= s.memsz && s.memsz > 0);
        assert_eq!(s.vaddr % 4096, s.offset % 4096);
    }
}

proptest! {
    #[test]
    fn mutated_files_never_panic(edits in prop::collection::vec((0usize..400, any::<u8>()), 1..12),
                                 cut in prop::option::of(0usize..0x3000)) {
        let mut f = valid();
        for (at, v) in edits {
            f[at] = v;
        }
        if let Some(n) = cut {
            f.truncate(n);
        }
        if let Ok(image) = parse(&f[..]) {
            is_sane(&image);
        }
    }

    #[test]
    fn noise_never_panics(mut f in prop::collection::vec(any::<u8>(), 0..600), wide: bool) {
        if f.len() > 24 {
            f[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            f[4] = if wide { 2 } else { 1 };
            put16(&mut f, 18, if wide { 62 } else { 3 });
        }
        if let Ok(image) = parse(&f[..]) {
            is_sane(&image);
        }
    }

    #[test]
    fn shebang_parsing_never_panics(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut start = b"#!".to_vec();
        start.extend(line);
        start.truncate(256);
        if let Some((interp, arg)) = emu_linux::load::parse_shebang(&start) {
            prop_assert!(!interp.is_empty() && arg.is_none_or(|a| !a.is_empty()));
        }
    }
}
