//! Guests that have SIMD exceptions unmasked: their code stays machine code, and what was compiled and
//! linked before does not miss an exception.

mod support;

use emu_engine::{EngineConfig, Stop, Tier};
use emu_ir::TrapKind;
use iced_x86::code_asm::*;
use support::Guest;

/// Rounds of the loop of integer instructions.
const LONG: u32 = 100_000;
/// Rounds of the loop that divides by zero.
const SHORT: u32 = 100;
/// All exceptions masked but division by zero.
const UNMASKED: u32 = 0x1d80;

/// Divides by zero in a loop, unmasks that, runs a long loop, and begins again.
fn divider(tier: Tier) -> Guest {
    let mut g = Guest::new(EngineConfig { tier, ..EngineConfig::default() });
    g.assemble(|a, data| {
        let (mut divide, mut add) = (a.create_label(), a.create_label());
        a.mov(rbx, data).unwrap();
        a.mov(dword_ptr(rbx), UNMASKED).unwrap();
        a.mov(eax, 1).unwrap();
        a.xorps(xmm1, xmm1).unwrap();
        a.mov(ecx, SHORT).unwrap();
        a.set_label(&mut divide).unwrap();
        a.inc(edx).unwrap();
        a.cvtsi2ss(xmm0, eax).unwrap();
        a.divss(xmm0, xmm1).unwrap();
        a.dec(ecx).unwrap();
        a.jne(divide).unwrap();
        a.ldmxcsr(dword_ptr(rbx)).unwrap();
        a.mov(ecx, LONG).unwrap();
        a.set_label(&mut add).unwrap();
        a.inc(esi).unwrap();
        a.dec(ecx).unwrap();
        a.jne(add).unwrap();
        a.mov(ecx, SHORT).unwrap();
        a.jmp(divide).unwrap();
    });
    g
}

#[test]
fn exceptions_come_in_code_that_was_linked_before() {
    for tier in [Tier::Interp, Tier::Auto, Tier::Jit] {
        let mut g = divider(tier);
        for round in 1..20u64 {
            let trap = g.until_trap();
            assert_eq!(trap.kind, TrapKind::Simd, "{tier:?} {round}");
            // The instruction has changed nothing, the one before it was executed.
            let [_, left, divided, _, _, _, added, ..] = g.cpu().gpr;
            assert_eq!(divided, u64::from(SHORT) * round + 1, "{tier:?} {round}");
            assert_eq!(added, u64::from(LONG) * round, "{tier:?} {round}");
            assert_eq!(left, u64::from(SHORT), "{tier:?} {round}");
            // As a handler would: masked, and the whole round again.
            g.cpu().mxcsr = 0x1f80;
            g.cpu().gpr[2] -= 1;
            g.cpu().hdr.pc -= 6;
        }
    }
}

#[test]
fn code_is_not_interpreted() {
    let mut g = divider(Tier::Auto);
    assert_eq!(g.until_trap().kind, TrapKind::Simd);
    // Without what is unmasked, floating point goes on, too.
    g.cpu().vec[1].0[..4].copy_from_slice(&3f32.to_le_bytes());
    g.cpu().gpr[1] = u64::from(LONG);
    let pc = g.cpu().hdr.pc;
    assert_eq!(g.run(u64::from(LONG) * 4), Stop::Budget, "from {pc:#x}");
    let interpreted = g.engine.stats().blocks_interpreted;
    assert!(interpreted < u64::from(LONG) / 100, "{interpreted} blocks interpreted");
}

/// The way behind the load of MXCSR is linked while it loads masks.
#[test]
fn masks_count_from_the_next_instruction() {
    for tier in [Tier::Interp, Tier::Auto, Tier::Jit] {
        let mut g = Guest::new(EngineConfig { tier, ..EngineConfig::default() });
        g.assemble(|a, data| {
            let (mut top, mut same) = (a.create_label(), a.create_label());
            a.mov(rbx, data).unwrap();
            a.mov(dword_ptr(rbx), 0x1f80).unwrap();
            a.mov(eax, 1).unwrap();
            a.xorps(xmm1, xmm1).unwrap();
            a.mov(ecx, LONG).unwrap();
            a.set_label(&mut top).unwrap();
            a.cmp(ecx, 7).unwrap();
            a.jne(same).unwrap();
            a.mov(dword_ptr(rbx), UNMASKED).unwrap();
            a.set_label(&mut same).unwrap();
            a.ldmxcsr(dword_ptr(rbx)).unwrap();
            a.cvtsi2ss(xmm0, eax).unwrap();
            a.divss(xmm0, xmm1).unwrap();
            a.dec(ecx).unwrap();
            a.jne(top).unwrap();
        });
        assert_eq!(g.until_trap().kind, TrapKind::Simd, "{tier:?}");
        assert_eq!(g.cpu().gpr[1], 7, "{tier:?}");
    }
}
