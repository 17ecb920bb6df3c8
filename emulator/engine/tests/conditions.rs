//! Conditions of callbacks, by each tier: ranges of addresses and countdowns.

#[macro_use]
mod support;

use core::ffi::c_void;

use emu_engine::{EngineConfig, OwnerId, RegisterError, Stop, SubscriptionId, Tier, Within};
use iced_x86::code_asm::*;
use plugin_api::abi::{PandaCpu, kind};
use support::{Guest, Log};

fn guest(tier: Tier, f: impl FnOnce(&mut CodeAssembler, u64)) -> Guest {
    let config = EngineConfig { tier, count_callbacks: true, ..EngineConfig::default() };
    let mut g = Guest::new(config);
    g.assemble(f);
    g
}

/// `for ecx in (1..=n).rev() { nop; mov [rbx + 8 * rcx], rcx }`: 2 + 4 n instructions.
fn store_loop(a: &mut CodeAssembler, data: u64, n: u32) {
    let mut top = a.create_label();
    a.mov(rbx, data).unwrap();
    a.mov(ecx, n).unwrap();
    a.set_label(&mut top).unwrap();
    a.nop().unwrap();
    a.mov(qword_ptr(rbx + 8 * rcx), rcx).unwrap();
    a.dec(ecx).unwrap();
    a.jne(top).unwrap();
}

fn within(g: &Guest, id: SubscriptionId, from: u64, to: u64) {
    let range = Some(Within { from, to });
    g.engine.shared().set_within(OwnerId(1), id, range).unwrap();
}

fn countdown(g: &Guest, id: SubscriptionId, first: u64, every: u64) {
    g.engine.shared().set_countdown(OwnerId(1), id, first, every).unwrap();
}

/// Runs to the trap; what was seen, and the calls that were counted for a kind.
fn run(g: &mut Guest, log: &Log, k: u32) -> (Vec<u64>, u64) {
    g.until_trap();
    let seen = log.borrow().iter().map(|s| s.addr).collect();
    (seen, g.engine.stats().callbacks.iter().filter(|c| c.kind == k).map(|c| c.calls).sum())
}

fn accesses_are_due_when_a_byte_of_them_is_in_the_range(tier: Tier) {
    const KINDS: [u32; 4] = [
        kind::VIRT_MEM_BEFORE_READ,
        kind::VIRT_MEM_AFTER_READ,
        kind::VIRT_MEM_BEFORE_WRITE,
        kind::VIRT_MEM_AFTER_WRITE,
    ];
    let mut g = guest(tier, |a, data| {
        a.mov(rbx, data).unwrap();
        for at in [0xf8, 0xf9, 0x100, 0x10f, 0x110] {
            a.mov(rax, qword_ptr(rbx + at)).unwrap();
            a.mov(dword_ptr(rbx + at), eax).unwrap();
            a.movups(xmm0, xmmword_ptr(rbx + at)).unwrap();
        }
        a.lea(rsi, qword_ptr(rbx + 0x10e)).unwrap();
        a.lea(rdi, qword_ptr(rbx + 0xfe)).unwrap();
        a.mov(ecx, 4).unwrap();
        a.rep().movsb().unwrap();
    });
    let data = g.data;
    for k in KINDS {
        let log = Log::default();
        let id = g.record(1, k, &log);
        within(&g, id, data + 0x100, data + 0x110);
        g.cpu().hdr.pc = g.code;
        let (seen, calls) = run(&mut g, &log, k);
        let expect: &[u64] = if k <= kind::VIRT_MEM_AFTER_READ {
            &[0xf8, 0xf9, 0xf9, 0x100, 0x100, 0x10f, 0x10f, 0x10e, 0x10f]
        } else {
            &[0x100, 0x10f, 0x100, 0x101]
        };
        let seen: Vec<u64> = seen.iter().map(|a| a - data).collect();
        assert_eq!((&seen[..], calls), (expect, expect.len() as u64), "kind {k}");
        g.engine.shared().unregister(OwnerId(1), id).unwrap();
    }
}

fn ranges_of_one_plugin_are_independent_and_change_at_run_time(tier: Tier) {
    let mut g = guest(tier, |a, data| store_loop(a, data, 40));
    let (low, high) = (Log::default(), Log::default());
    let data = g.data;
    let at = |n: u64| data + 8 * n;
    let a = g.record(1, kind::VIRT_MEM_AFTER_WRITE, &low);
    let b = g.record(1, kind::VIRT_MEM_AFTER_WRITE, &high);
    within(&g, a, at(3), at(6));
    within(&g, b, at(35), at(38));
    g.run(1);
    // Down to 21.
    assert_eq!(g.run(1 + 4 * 20), Stop::Budget);
    let seen =
        |log: &Log| -> Vec<u64> { log.borrow().iter().map(|s| (s.addr - data) / 8).collect() };
    assert_eq!((seen(&low), seen(&high)), (vec![], vec![37, 36, 35]));
    within(&g, a, at(18), at(20));
    g.engine.shared().unregister(OwnerId(1), b).unwrap();
    while g.run(4 * 10) == Stop::Interrupted {}
    g.engine.shared().set_within(OwnerId(1), a, None).unwrap();
    g.until_trap();
    let mut expect = vec![19, 18];
    expect.extend((1..=10).rev());
    assert_eq!((seen(&low), seen(&high).len()), (expect, 3));
}

fn countdowns_come_round_or_end(tier: Tier) {
    for (first, every, expect) in [
        (1, 1, vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (3, 3, vec![7, 4, 1]),
        (1, 4, vec![9, 5, 1]),
        (5, 0, vec![5]),
        (10, 1, vec![]),
    ] {
        let mut g = guest(tier, |a, data| store_loop(a, data, 9));
        let log = Log::default();
        let id = g.record(1, kind::VIRT_MEM_BEFORE_WRITE, &log);
        countdown(&g, id, first, every);
        let (seen, calls) = run(&mut g, &log, kind::VIRT_MEM_BEFORE_WRITE);
        let seen: Vec<u64> = seen.iter().map(|a| (a - g.data) / 8).collect();
        assert_eq!((seen, calls), (expect.clone(), expect.len() as u64));
    }
}

fn only_events_within_the_range_are_counted_down(tier: Tier) {
    let mut g = guest(tier, |a, data| store_loop(a, data, 20));
    let log = Log::default();
    let id = g.record(1, kind::VIRT_MEM_AFTER_WRITE, &log);
    within(&g, id, g.data + 8 * 5, g.data + 8 * 15);
    countdown(&g, id, 2, 3);
    let (seen, _) = run(&mut g, &log, kind::VIRT_MEM_AFTER_WRITE);
    let seen: Vec<u64> = seen.iter().map(|a| (a - g.data) / 8).collect();
    assert_eq!(seen, [13, 10, 7]);
}

fn instructions_and_blocks_have_conditions_too(tier: Tier) {
    let mut g = guest(tier, |a, data| store_loop(a, data, 12));
    let (insns, outside, blocks, ends) =
        (Log::default(), Log::default(), Log::default(), Log::default());
    g.record(1, kind::INSN_TRANSLATE, &outside);
    let insn = g.record(1, kind::INSN_EXEC, &insns);
    let elsewhere = g.record(1, kind::AFTER_INSN_EXEC, &outside);
    let block = g.record(1, kind::BEFORE_BLOCK_EXEC, &blocks);
    let end = g.record(1, kind::AFTER_BLOCK_EXEC, &ends);
    // The n-th execution of the nop; no other instruction's.
    countdown(&g, insn, 7, 0);
    within(&g, elsewhere, g.code, g.code + 10);
    // The loop's block, which begins at the nop: the entry to the first round belongs to another.
    let nop = g.code + 15;
    within(&g, block, nop, nop + 1);
    countdown(&g, block, 5, 5);
    countdown(&g, end, 13, 1);
    g.until_trap();
    // 2 before the loop, 4 in each round before the seventh.
    let seen: Vec<u64> = insns.borrow().iter().map(|s| s.addr).collect();
    assert_eq!(seen, [2 + 4 * 6]);
    assert!(outside.borrow().iter().all(|s| s.what == "translate"));
    assert_eq!(blocks.borrow().iter().map(|s| s.pc).collect::<Vec<_>>(), [nop, nop]);
    // The 13th block is the one that begins behind the loop and faults.
    assert_eq!(ends.borrow().iter().map(|s| s.addr).collect::<Vec<_>>(), [2]);
}

struct Winder {
    shared: std::rc::Rc<emu_engine::Shared>,
    id: SubscriptionId,
    seen: Vec<u64>,
}

fn a_callback_may_wind_its_countdown_up(tier: Tier) {
    unsafe extern "C" fn wind(
        user: *mut c_void,
        _: *mut PandaCpu,
        _: u64,
        addr: u64,
        _: u64,
        _: *const u8,
    ) {
        // SAFETY: the registration below; nothing else uses it during the run.
        let w = unsafe { &mut *user.cast::<Winder>() };
        w.seen.push(addr);
        let next = w.seen.len() as u64 + 1;
        w.shared.set_countdown(OwnerId(1), w.id, next, 0).unwrap();
    }
    let mut g = guest(tier, |a, data| store_loop(a, data, 20));
    let shared = g.engine.shared().clone();
    let w = Box::into_raw(Box::new(Winder { shared, id: SubscriptionId(0), seen: Vec::new() }));
    let (k, func) = (kind::VIRT_MEM_AFTER_WRITE, wind as *const () as usize);
    let id = g.engine.shared().register(OwnerId(1), k, func, w as usize, 0).unwrap();
    // SAFETY: no callback runs.
    unsafe { (*w).id = id };
    countdown(&g, id, 1, 0);
    // Winding up changes no code: the guest is not interrupted for it.
    assert_eq!(g.run(1 << 20), Stop::Interrupted);
    assert!(matches!(g.run(1 << 20), Stop::Trap(_)));
    // SAFETY: the guest has stopped.
    let w = unsafe { Box::from_raw(w) };
    let seen: Vec<u64> = w.seen.iter().map(|a| (a - g.data) / 8).collect();
    assert_eq!(seen, [20, 18, 15, 11, 6]);
}

fn other_kinds_and_foreign_ids_are_refused(tier: Tier) {
    let mut g = guest(tier, |a, data| store_loop(a, data, 1));
    let log = Log::default();
    let id = g.record(1, kind::INSN_TRANSLATE, &log);
    let shared = g.engine.shared();
    let refused = Err(RegisterError::NoConditions);
    assert_eq!(shared.set_countdown(OwnerId(1), id, 2, 2), refused);
    assert_eq!(shared.set_within(OwnerId(1), id, None), refused);
    let unknown = Err(RegisterError::UnknownSubscription);
    assert_eq!(shared.set_countdown(OwnerId(2), id, 2, 2), unknown);
}

by_each_tier! {
    accesses_are_due_when_a_byte_of_them_is_in_the_range
    ranges_of_one_plugin_are_independent_and_change_at_run_time
    countdowns_come_round_or_end
    only_events_within_the_range_are_counted_down
    instructions_and_blocks_have_conditions_too
    a_callback_may_wind_its_countdown_up
    other_kinds_and_foreign_ids_are_refused
}
