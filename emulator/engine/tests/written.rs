//! Guests that write code: what runs is what was written last, at the price it deserves.

#[macro_use]
mod support;

use emu_engine::{EngineConfig, Tier};
use iced_x86::code_asm::{CodeAssembler, CodeLabel, byte_ptr, dword_ptr};
use iced_x86::code_asm::{eax, ebx, ecx, edx, qword_ptr, r12, r12d, r13, rax, rdi};
use support::Guest;

/// `mov eax, imm32; ret`, without the immediate.
const MOV_EAX: u32 = 0xb8;
const RET: u32 = 0xc3;

fn guest(tier: Tier, f: impl FnOnce(&mut CodeAssembler, u64)) -> Guest {
    let mut g = Guest::new(EngineConfig { tier, ..EngineConfig::default() });
    let second_page = g.code + 0x1000;
    g.assemble(|a, _| f(a, second_page));
    g
}

/// Writes a function that returns `ebx` to where `rdi` points.
fn write_function(a: &mut CodeAssembler) {
    a.mov(byte_ptr(rdi), MOV_EAX).unwrap();
    a.mov(dword_ptr(rdi + 1), ebx).unwrap();
    a.mov(byte_ptr(rdi + 5), RET).unwrap();
}

/// `times` rounds of `body`, counted in `r12`.
fn repeat(a: &mut CodeAssembler, times: u32, body: impl FnOnce(&mut CodeAssembler)) {
    let mut top: CodeLabel = a.create_label();
    a.mov(r12d, times).unwrap();
    a.set_label(&mut top).unwrap();
    body(a);
    a.dec(r12).unwrap();
    a.jne(top).unwrap();
}

/// Writes the function anew and adds what it returns to `edx`, in each of so many rounds.
fn rewrite_and_run(a: &mut CodeAssembler, rounds: u32, runs: u32) {
    repeat(a, rounds, |a| {
        a.mov(ebx, r12d).unwrap();
        write_function(a);
        let mut again = a.create_label();
        a.mov(ecx, runs).unwrap();
        a.set_label(&mut again).unwrap();
        a.call(rdi).unwrap();
        a.add(edx, eax).unwrap();
        a.dec(ecx).unwrap();
        a.jne(again).unwrap();
    });
}

fn what_was_written_last_runs(tier: Tier) {
    for (rounds, runs) in [(2000, 1), (500, 7), (50, 400)] {
        let mut g = guest(tier, |a, page| {
            a.mov(rdi, page).unwrap();
            a.xor(edx, edx).unwrap();
            rewrite_and_run(a, rounds, runs);
        });
        g.until_trap();
        let sum: u64 = (1..=u64::from(rounds)).map(|n| n * u64::from(runs)).sum();
        assert_eq!(g.cpu().gpr[2], sum, "{rounds} times {runs}");
        let writes = g.engine.stats().code_writes;
        assert!(writes < 100, "{writes} of {rounds} stores faulted");
    }
}

fn code_left_alone_is_like_any_other(tier: Tier) {
    let run = |before: u32| {
        let mut g = guest(tier, |a, page| {
            a.mov(rdi, page).unwrap();
            a.xor(edx, edx).unwrap();
            rewrite_and_run(a, before, 1);
            a.xor(edx, edx).unwrap();
            rewrite_and_run(a, 1, 100_000);
        });
        g.until_trap();
        assert_eq!(g.cpu().gpr[2], 100_000);
        g.engine.stats()
    };
    let (fresh, worn) = (run(1), run(1000));
    assert!(worn.code_writes > 30, "the page was hot");
    let more = worn.blocks_interpreted - fresh.blocks_interpreted;
    if tier != Tier::Interp {
        assert!(more < 5000, "{more} more blocks in tier 0");
        let entries = worn.code_entries - fresh.code_entries;
        assert!(entries < 5000, "{entries} more entries into machine code");
    }
}

fn stores_beside_code_cost_no_translations(tier: Tier) {
    let run = |rounds: u32| {
        let mut g = guest(tier, |a, page| {
            a.mov(rdi, page).unwrap();
            a.mov(ebx, 7).unwrap();
            write_function(a);
            a.xor(edx, edx).unwrap();
            repeat(a, rounds, |a| {
                a.mov(dword_ptr(rdi + 64), r12d).unwrap();
                a.call(rdi).unwrap();
                a.add(edx, eax).unwrap();
            });
        });
        g.until_trap();
        assert_eq!(g.cpu().gpr[2], u64::from(7 * rounds));
        g.engine.stats()
    };
    let (few, many) = (run(10), run(30));
    assert_eq!(many.code_writes - few.code_writes, 20);
    // The store that faulted is translated by itself.
    assert_eq!(many.blocks_translated - few.blocks_translated, 20);
    assert_eq!(many.blocks_dropped, few.blocks_dropped);
}

fn a_page_that_stays_hot_is_compared_in_machine_code_too(tier: Tier) {
    // Data beside the code is written in every round; in the last thousand of them the function
    // returns something else, and its caller has long been linked to it if that were allowed.
    const ROUNDS: u32 = 20_000;
    let mut g = guest(tier, |a, page| {
        a.mov(rdi, page).unwrap();
        a.mov(r13, page + 64).unwrap();
        a.mov(ebx, 1).unwrap();
        write_function(a);
        a.xor(edx, edx).unwrap();
        repeat(a, ROUNDS, |a| {
            let mut same = a.create_label();
            a.cmp(r12d, 1000).unwrap();
            a.jne(same).unwrap();
            a.mov(dword_ptr(rdi + 1), 1_000_000).unwrap();
            a.set_label(&mut same).unwrap();
            a.mov(qword_ptr(r13), r12).unwrap();
            // The same way to the function every time, by a direct call.
            a.db(&[0xe8]).unwrap();
            a.dd(&[0]).unwrap();
            a.add(edx, eax).unwrap();
        });
        a.mov(rax, qword_ptr(r13)).unwrap();
    });
    let mut code = vec![0; 0x200];
    assert!(g.engine.shared().read_memory(g.code, &mut code));
    let call = code.windows(5).position(|w| w == [0xe8, 0, 0, 0, 0]).unwrap();
    let distance = (0x1000 - (call as u32 + 5)).to_le_bytes();
    code[call + 1..call + 5].copy_from_slice(&distance);
    g.put_code(&code);
    g.until_trap();
    let expected = (ROUNDS - 1000) + 1000 * 1_000_000;
    assert_eq!((g.cpu().gpr[2], g.cpu().gpr[0]), (u64::from(expected), 1));
    let stats = g.engine.stats();
    assert!(stats.code_writes < 200, "{} stores faulted", stats.code_writes);
    if tier != Tier::Interp {
        let slow = stats.blocks_interpreted;
        assert!(slow < u64::from(ROUNDS) / 2, "{slow} blocks in tier 0");
    }
}

fn a_block_may_lead_from_a_calm_page_into_a_hot_one(tier: Tier) {
    const ROUNDS: u32 = 2000;
    // mov [r13], r12: the last instruction of the first page, which the function follows.
    const STORE: u32 = 0x0065_894d;
    let mut g = guest(tier, |a, page| {
        a.mov(rdi, page).unwrap();
        a.mov(r13, page + 0x800).unwrap();
        a.mov(dword_ptr(rdi - 4), STORE).unwrap();
        a.xor(edx, edx).unwrap();
        repeat(a, ROUNDS, |a| {
            a.mov(ebx, r12d).unwrap();
            write_function(a);
            a.lea(rax, qword_ptr(rdi - 4)).unwrap();
            a.call(rax).unwrap();
            a.add(edx, eax).unwrap();
        });
        a.mov(rax, qword_ptr(r13)).unwrap();
    });
    g.until_trap();
    let sum: u64 = (1..=u64::from(ROUNDS)).sum();
    assert_eq!((g.cpu().gpr[2], g.cpu().gpr[0]), (sum, 1));
    let writes = g.engine.stats().code_writes;
    assert!(writes < 300, "{writes} stores faulted");
}

by_each_tier! {
    a_block_may_lead_from_a_calm_page_into_a_hot_one
    what_was_written_last_runs
    code_left_alone_is_like_any_other
    stores_beside_code_cost_no_translations
    a_page_that_stays_hot_is_compared_in_machine_code_too
}
