//! Millions of guest instructions per second on an integer loop (Collatz), through the whole engine.
//!
//! `cargo run --release -p emu-engine --example loop_speed`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use emu_engine::EngineConfig;
use iced_x86::code_asm::*;
use support::Guest;

fn main() -> Result<(), iced_x86::IcedError> {
    let mut g = Guest::new(EngineConfig::default());
    g.assemble(|a, _| assemble(a).unwrap_or_else(|e| panic!("{e}")));
    let start = Instant::now();
    g.until_trap();
    let time = start.elapsed();
    let insns = g.engine.shared().retired();
    println!(
        "{insns} instructions in {:.3} s: {:.1} M/s",
        time.as_secs_f64(),
        insns as f64 / time.as_secs_f64() / 1e6
    );
    Ok(())
}

/// Total steps of the Collatz sequences from 1 up, in rdx.
fn assemble(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    let (mut outer, mut inner, mut odd, mut next, mut done) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.xor(edx, edx)?;
    a.mov(ecx, 1)?;
    a.set_label(&mut outer)?;
    a.mov(rax, rcx)?;
    a.set_label(&mut inner)?;
    a.cmp(rax, 1)?;
    a.je(done)?;
    a.inc(rdx)?;
    a.test(al, 1)?;
    a.jne(odd)?;
    a.shr(rax, 1)?;
    a.jmp(next)?;
    a.set_label(&mut odd)?;
    a.lea(rax, rax + rax * 2 + 1)?;
    a.set_label(&mut next)?;
    a.jmp(inner)?;
    a.set_label(&mut done)?;
    a.inc(rcx)?;
    a.cmp(rcx, 200_000)?;
    a.jne(outer)
}
