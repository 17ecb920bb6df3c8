//! Each target for a moment: random input, and valid input with random damage. The same input in every
//! run.

use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_ir::text;
use emu_x86::{Mode, X86_64, lift_block};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// One to four random changes.
    fn damage(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut data = valid.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len().max(1));
            match self.below(5) {
                0 => data.truncate(at),
                1 => data.insert(at, (self.next() >> 32) as u8),
                2 if !data.is_empty() => drop(data.remove(at)),
                3 if !data.is_empty() => {
                    let special = [0, 1, 0x7f, 0x80, 0xff, b'"', b'[', b'=', b','];
                    data[at] = special[self.below(special.len())];
                }
                _ if !data.is_empty() => data[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        data
    }
}

/// Runs `body` on random bytes and on damaged copies of `seeds`.
fn run(body: fn(&[u8]), seeds: &[Vec<u8>], rounds: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        body(seed);
    }
    for _ in 0..rounds {
        body(&random.bytes(64));
        for seed in seeds {
            body(&random.damage(seed));
        }
    }
}

#[test]
fn elf() {
    // The headers of this test program itself, and of a 32-bit one made of zeros.
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut narrow = vec![0; 52 + 32];
    narrow[..6].copy_from_slice(b"\x7fELF\x01\x01");
    (narrow[16], narrow[18], narrow[28], narrow[42], narrow[44]) = (2, 3, 52, 32, 1);
    (narrow[52], narrow[52 + 10], narrow[52 + 20]) = (1, 0x40, 0x10);
    run(fuzz_bodies::elf, &[own[..4096].to_vec(), narrow], 200_000);
}

#[test]
fn config() {
    let seeds = [
        "plugins = [\"syscalls\", \"textprinter\"]\nplugin_path = [\"x\"]\non_plugin_failure = \"stop\"\n",
        "out_dir = '.'\n[plugin.syscalls]\noutput = \"a\"\nonly = [\"read\"]\nnames = true\nn = 0x10\nx = 1.5\n",
        "plugin.syscalls = { output = \"a\", \"odd key\" = 3 }\n",
    ];
    run(fuzz_bodies::config, &seeds.map(|s| s.as_bytes().to_vec()), 50_000);
}

#[test]
fn plugin_list() {
    let seeds =
        ["syscalls:output=calls.txt,names=true,textprinter", "./panda_x.so:a=b:c=d", "a,k=x:y"];
    run(fuzz_bodies::plugin_list, &seeds.map(|s| s.as_bytes().to_vec()), 200_000);
}

/// Code with many prefixes, lengths and operand forms.
const CODE: &[u8] =
    b"\x48\x89\xe5\xf3\x48\xa5\x66\x0f\x38\x00\xc1\xf0\x48\x0f\xb1\x0e\x0f\xc7\x0e\xd9\xc1\
    \x0f\xa2\xc5\xf8\x77\x67\x8b\x44\x24\x10\x64\x8b\x04\x25\x00\x00\x00\x00\xe8\x00\x00\x00\x00\
    \x0f\x85\x10\x00\x00\x00\xc3";

#[test]
fn lift() {
    let seeds: Vec<Vec<u8>> = (0..16u8).map(|choice| [&[choice], CODE].concat()).collect();
    run(fuzz_bodies::lift, &seeds, 20_000);
}

struct Code;

impl CodeSource for Code {
    fn window(&mut self, pc: u64) -> &[u8] {
        CODE.get(pc.wrapping_sub(fuzz_bodies::PC) as usize..).unwrap_or(&[])
    }
}

#[test]
fn ir_text() {
    let options = LiftOptions { max_insns: 64, basic_blocks: false, hypercalls: true };
    let block = lift_block(Mode::Bits64, fuzz_bodies::PC, &mut Code, &options);
    let target: &dyn GuestArch = &X86_64;
    let printed = text::print(&block, target).to_string();
    run(fuzz_bodies::ir_text, &[printed.into_bytes()], 50_000);
}
