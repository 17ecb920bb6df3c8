//! Measures what translation costs per guest instruction: lifts, optimizes and compiles the code
//! section of an x86-64 ELF file block by block, and prints nanoseconds for each step.
//!
//! `cargo run --release -p emu-jit --example translation_cost -- /usr/bin/python3`
use std::time::{Duration, Instant};

use emu_cpu::{CodeSource, GuestArch, LiftOptions};
use emu_jit::{Config, Jit, JitError};
use object::{Object, ObjectSection};

struct Code {
    start: u64,
    bytes: Vec<u8>,
}

impl CodeSource for Code {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.bytes.get(pc.wrapping_sub(self.start) as usize..).unwrap_or(&[])
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/proc/self/exe".into());
    let file = std::fs::read(path)?;
    let elf = object::File::parse(&*file)?;
    let text = elf.section_by_name(".text").ok_or("no .text section")?;
    let mut code = Code { start: text.address(), bytes: text.data()?.to_vec() };
    let arch: &'static dyn GuestArch = &emu_x86::X86_64;
    let options = LiftOptions { max_insns: 64, basic_blocks: false, hypercalls: false };
    let mut optimizer = emu_ir::pass::Optimizer::default();
    let mut jit = Jit::new(arch, Config::default())?;
    let (mut lift, mut passes, mut compile) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut insns, mut blocks, mut ops, mut declined) = (0u64, 0u64, 0u64, 0u64);
    let end = code.start + code.bytes.len().min(1 << 20) as u64;
    let mut pc = code.start;
    while pc < end {
        let t0 = Instant::now();
        let mut block = arch.lift(pc, &mut code, &options);
        let t1 = Instant::now();
        optimizer.run(&mut block, arch);
        let t2 = Instant::now();
        match jit.compile(&block) {
            Ok(_) => {}
            Err(JitError::Full) => jit.flush(),
            Err(_) => declined += 1,
        }
        lift += t1 - t0;
        passes += t2 - t1;
        compile += t2.elapsed();
        insns += block.insns.len() as u64;
        ops += block.insts.len() as u64;
        blocks += 1;
        pc += u64::from(block.insns.first().map_or(1, |i| i.len)).max(1) + block.guest_len() / 2;
    }
    let per = |d: Duration| d.as_nanos() as f64 / insns as f64;
    println!("{blocks} blocks, {insns} guest instructions, {ops} ops, {declined} declined");
    println!("lift      {:7.1} ns per guest instruction", per(lift));
    println!("optimize  {:7.1}", per(passes));
    println!("compile   {:7.1}", per(compile));
    println!("code      {:7.1} bytes", jit.stats().code_bytes as f64 / insns as f64);
    Ok(())
}
