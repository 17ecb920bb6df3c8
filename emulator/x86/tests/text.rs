//! Text in, text out, for what the processor cannot be the judge of.
//!
//! `tests/text/*.ir` shows the IR of a few bytes, `tests/text/*.state` what they do to registers:
//!
//! ```text
//! === what is shown
//! 64: 48 8e e0
//! rax=0 fs=2b
//! ---
//! fs=0 pc=+3
//! ```
//!
//! `BLESS=1 cargo test -p emu-x86 --test text` writes what the lifter gives now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions};
use emu_interp::{Interp, MXCSR_ALL_MASKED};
use emu_ir::{Block, HookSite};
use emu_x86::{I386, X86_64, X86Cpu};

const BASE: u64 = 0x40_0000;

struct Bytes(Vec<u8>);

impl CodeSource for Bytes {
    fn window(&mut self, pc: u64) -> &[u8] {
        let at = usize::try_from(pc.wrapping_sub(BASE)).unwrap_or(usize::MAX);
        self.0.get(at..).unwrap_or(&[])
    }
}

/// A case's first line: mode, bytes.
fn lift(line: &str) -> (&'static dyn GuestArch, Block) {
    let (mode, bytes) = line.split_once(':').expect("a mode before the bytes");
    let arch: &dyn GuestArch = if mode.trim() == "64" { &X86_64 } else { &I386 };
    let bytes: Vec<u8> = bytes
        .split_whitespace()
        .map(|b| u8::from_str_radix(b, 16).expect("bytes in hexadecimal"))
        .collect();
    let options = LiftOptions { max_insns: 64, basic_blocks: false, hypercalls: false };
    let block = arch.lift(BASE, &mut Bytes(bytes), &options);
    emu_ir::verify(&block, arch).unwrap_or_else(|e| panic!("{line}: {e}"));
    (arch, block)
}

fn ir(input: &str) -> String {
    let (arch, block) = lift(input.trim());
    emu_ir::text::print(&block, arch).to_string()
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

/// All registers of at most 8 bytes by name; pc relative to the code.
fn registers(arch: &dyn GuestArch, cpu: *mut CpuHeader) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for r in arch.registers().iter().filter(|r| r.bytes <= 8) {
        let mut b = [0; 8];
        // SAFETY: the structure is live and of this architecture.
        let n = unsafe { arch.read_reg(cpu, r.id, &mut b[..r.bytes as usize]) };
        assert!(n.is_some(), "{} cannot be read", r.name);
        all.insert(r.name, u64::from_le_bytes(b));
    }
    all
}

fn state(input: &str) -> String {
    let (code, before) = input.trim().split_once('\n').unwrap_or((input.trim(), ""));
    let (arch, block) = lift(code);
    emu_mem::host_fault::install();
    let cpu = arch.new_cpu();
    // SAFETY: the structure is live until the end; the block was lifted for it and verified.
    unsafe {
        (*cpu).pc = BASE;
        for assignment in before.split_whitespace() {
            let (name, value) = assignment.split_once('=').expect("name=value");
            let value = u64::from_str_radix(value, 16).expect("values in hexadecimal");
            if let Some(index) = name.strip_prefix("tls") {
                let index: usize = index.parse().expect("an index");
                let tls = &mut (*cpu.cast::<X86Cpu>()).tls[index];
                (tls.base, tls.limit, tls.flags) = (value as u32, 0xf_ffff, 0x51);
                continue;
            }
            let r = arch.registers().iter().find(|r| r.name == name).expect("a register");
            assert!(arch.write_reg(cpu, r.id, &value.to_le_bytes()[..r.bytes as usize]));
        }
        let was = registers(arch, cpu);
        let mut interp = Interp::new(arch.helpers(), no_hook);
        interp.run(cpu, &block, MXCSR_ALL_MASKED);
        let mut text = String::new();
        for (name, v) in registers(arch, cpu) {
            if name == "rip" || name == "eip" {
                let _ = write!(text, "pc={:+} ", v.wrapping_sub(BASE) as i64);
            } else if was.get(name) != Some(&v) {
                let _ = write!(text, "{name}={v:x} ");
            }
        }
        if let Some(t) = (*cpu).take_trap() {
            let _ = write!(text, "trap {:?}", t.kind);
        }
        arch.free_cpu(cpu);
        text.trim_end().to_string()
    }
}

fn check(extension: &str, least: usize, run: fn(&str) -> String) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text");
    let bless = std::env::var_os("BLESS").is_some();
    let mut cases = 0;
    for entry in std::fs::read_dir(&dir).expect("the directory of cases") {
        let file = entry.expect("its entries").path();
        if file.extension().is_none_or(|e| e != extension) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a text file");
        let mut blessed = String::new();
        for case in text.split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').expect("a title line");
            let (input, want) = rest.split_once("---\n").unwrap_or((rest, ""));
            let got = run(input);
            if !bless {
                assert_eq!(got.trim(), want.trim(), "{}: {title}", file.display());
            }
            let _ = write!(blessed, "=== {title}\n{}\n---\n{}\n", input.trim_end(), got.trim_end());
            cases += 1;
        }
        if bless {
            std::fs::write(&file, blessed.trim_end().to_string() + "\n").expect("writing the file");
        }
    }
    assert!(cases >= least, "only {cases} cases found");
}

#[test]
fn bytes_give_the_expected_ir() {
    check("ir", 15, ir);
}

#[test]
fn bytes_give_the_expected_state() {
    check("state", 20, state);
}
