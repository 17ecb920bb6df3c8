//! What the fuzz targets do with their input. Each function takes any bytes and must return: a panic,
//! a crash or a hang is a finding.
//!
//! `fuzz/` holds the libFuzzer targets that call these; `cargo test` runs each for a moment on random
//! and on mutated valid input.

use std::path::Path;

use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::{text, verify};
use emu_x86::{I386, Mode, X86_64, lift_block};

/// Reads an executable. What is accepted must be sane: segments within the guest's addresses, in a
/// span that does not overflow.
pub fn elf(data: &[u8]) {
    if let Ok(image) = emu_linux::elf::parse(data) {
        let (low, high) = image.span();
        assert!(low < high, "an empty span");
        for s in &image.segments {
            assert!(s.filesz <= s.memsz && s.vaddr >= low && s.vaddr + s.memsz <= high, "{s:?}");
        }
    }
}

/// Parses a configuration file.
pub fn config(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(e) = panda_host::config::Config::parse(text, Path::new("c.toml"))
    {
        let message = e.to_string();
        assert!(message.starts_with("c.toml:"), "{message}");
    }
}

/// Parses a list of plugins.
pub fn plugin_list(data: &[u8]) {
    if let Ok(list) = std::str::from_utf8(data) {
        for request in panda_host::plugin_list::parse(list).into_iter().flatten() {
            assert!(!request.name.is_empty(), "{list:?}");
        }
    }
}

/// Lifts x86 code. The first byte chooses mode and options; every block must pass the verifier.
pub fn lift(data: &[u8]) {
    let Some((&choice, code)) = data.split_first() else { return };
    let mode = if choice & 1 == 0 { Mode::Bits64 } else { Mode::Bits32 };
    let options = LiftOptions {
        max_insns: if choice & 2 == 0 { 64 } else { 1 },
        basic_blocks: choice & 4 != 0,
        hypercalls: choice & 8 != 0,
    };
    let block = lift_block(mode, PC, &mut Code(code), &options);
    let arch: &dyn GuestArch = if mode == Mode::Bits64 { &X86_64 } else { &I386 };
    if let Err(e) = verify(&block, arch) {
        panic!("{mode:?} {code:02x?}: {e}");
    }
}

/// Parses the text of a block. What is accepted prints and parses again as the same.
pub fn ir_text(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let target: &dyn GuestArch = &X86_64;
    let Ok(block) = text::parse(input, target) else { return };
    if verify(&block, target).is_ok() {
        let printed = text::print(&block, target).to_string();
        match text::parse(&printed, target) {
            Ok(again) => assert_eq!(again, block, "{printed}"),
            Err(e) => panic!("{e:?} in\n{printed}"),
        }
    }
}

/// Where the code of [`lift`] lies.
pub const PC: u64 = 0x40_1000;

struct Code<'a>(&'a [u8]);

impl CodeSource for Code<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        usize::try_from(pc.wrapping_sub(PC)).ok().and_then(|at| self.0.get(at..)).unwrap_or(&[])
    }
}
