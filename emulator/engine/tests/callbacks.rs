//! Every callback kind that is compiled into blocks: exact events on small programs, by each tier.

#[macro_use]
mod support;

use core::ffi::c_void;

use emu_engine::{CounterKind, EngineConfig, OwnerId, Slice, Stop, Tier};
use emu_ir::TrapKind;
use iced_x86::code_asm::*;
use plugin_api::abi::{PandaCpu, kind};
use support::{Guest, Log};

fn guest(tier: Tier, f: impl FnOnce(&mut CodeAssembler, u64)) -> Guest {
    let mut g = Guest::new(EngineConfig { tier, ..EngineConfig::default() });
    g.assemble(f);
    g
}

/// `for ecx in (1..=n).rev() { nop }`: 1 + 3 n instructions.
fn nop_loop(a: &mut CodeAssembler, n: u32) {
    let mut top = a.create_label();
    a.mov(ecx, n).unwrap();
    a.set_label(&mut top).unwrap();
    a.nop().unwrap();
    a.dec(ecx).unwrap();
    a.jne(top).unwrap();
}

fn whats(log: &Log) -> Vec<&'static str> {
    log.borrow().iter().map(|s| s.what).collect()
}

fn insn_exec_fires_for_asked_instructions_only_and_counts_exactly(tier: Tier) {
    let mut g = guest(tier, |a, _| nop_loop(a, 5));
    let log = Log::default();
    let none = Log::default();
    g.record(1, kind::INSN_TRANSLATE, &log);
    g.record(1, kind::INSN_EXEC, &log);
    g.record(1, kind::AFTER_INSN_EXEC, &log);
    // Another plugin's insn_exec without a question of its own never fires.
    g.record(2, kind::INSN_EXEC, &none);
    assert_eq!(g.until_trap().kind, TrapKind::InvalidOpcode);
    let log = log.borrow();
    let asked: Vec<u64> = log.iter().filter(|s| s.what == "translate").map(|s| s.pc).collect();
    let mut once = asked.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(asked.len(), once.len(), "each instruction is asked about once");
    let counts: Vec<(&str, u64)> =
        log.iter().filter(|s| s.what != "translate").map(|s| (s.what, s.addr)).collect();
    let expect: Vec<(&str, u64)> =
        (0..5).flat_map(|i| [("insn", 1 + 3 * i), ("after_insn", 2 + 3 * i)]).collect();
    assert_eq!(counts, expect);
    assert!(none.borrow().is_empty());
    assert_eq!(g.engine.shared().retired(), 16);
}

fn any_number_of_plugins_see_only_what_they_asked_for(tier: Tier) {
    const PLUGINS: u32 = 100;
    /// Asks for `nop` when the user data is even, for `dec ecx` when it is odd.
    unsafe extern "C" fn ask(
        user: *mut c_void,
        _: *mut PandaCpu,
        _: u64,
        bytes: *const u8,
        _: u32,
    ) -> u32 {
        let wanted = if (user as usize).is_multiple_of(2) { 0x90 } else { 0xff };
        // SAFETY: an instruction has a first byte.
        u32::from(unsafe { *bytes } == wanted)
    }
    let mut g = guest(tier, |a, _| nop_loop(a, 3));
    let logs: Vec<Log> = (0..PLUGINS).map(|_| Log::default()).collect();
    for (n, log) in logs.iter().enumerate() {
        let owner = n as u32 + 1;
        let question = ask as *const () as usize;
        g.engine.shared().register(OwnerId(owner), kind::INSN_TRANSLATE, question, n, 0).unwrap();
        g.record(owner, kind::INSN_EXEC, log);
    }
    g.until_trap();
    let start = g.code;
    for (n, log) in logs.iter().enumerate() {
        // `mov ecx, imm32` has five bytes, `nop` one.
        let at = if n % 2 == 0 { 5 } else { 6 };
        let pcs: Vec<u64> = log.borrow().iter().map(|s| s.pc - start).collect();
        assert_eq!(pcs, [at; 3], "plugin {n}");
    }
}

fn blocks_are_entered_and_left_once_each(tier: Tier) {
    let mut g = guest(tier, |a, _| nop_loop(a, 3));
    let log = Log::default();
    g.record(1, kind::BEFORE_BLOCK_EXEC, &log);
    g.record(1, kind::AFTER_BLOCK_EXEC, &log);
    g.until_trap();
    let code = g.code;
    let got: Vec<_> = log.borrow().iter().map(|s| (s.what, s.pc - code, s.addr)).collect();
    assert_eq!(
        got,
        [
            ("block", 0, 0),
            ("after_block", 0, 0),
            ("block", 5, 0),
            ("after_block", 5, 0),
            ("block", 5, 0),
            ("after_block", 5, 0),
            ("block", 10, 0),
            ("after_block", 10, 2),
        ]
    );
}

fn accesses_are_reported_once_with_their_values(tier: Tier) {
    let mut g = guest(tier, |a, data| {
        a.mov(rbx, data).unwrap();
        a.mov(dword_ptr(rbx + 8), 0x1122_3344).unwrap();
        a.add(dword_ptr(rbx + 8), 1).unwrap();
        a.push(rbx).unwrap();
        a.mov(rdi, data + 0x100).unwrap();
        a.lea(rsi, qword_ptr(rbx + 8)).unwrap();
        a.mov(ecx, 2).unwrap();
        a.rep().movsb().unwrap();
        a.lock().xadd(dword_ptr(rbx + 8), ecx).unwrap();
    });
    let log = Log::default();
    for k in [
        kind::VIRT_MEM_BEFORE_READ,
        kind::VIRT_MEM_AFTER_READ,
        kind::VIRT_MEM_BEFORE_WRITE,
        kind::VIRT_MEM_AFTER_WRITE,
    ] {
        g.record(1, k, &log);
    }
    g.until_trap();
    let data = g.data;
    let bytes = |n: u32| n.to_le_bytes().to_vec();
    let after: Vec<_> = log
        .borrow()
        .iter()
        .filter(|s| s.what.starts_with("after"))
        .map(|s| (s.what, s.addr - data, s.data.clone()))
        .collect();
    assert_eq!(
        after,
        [
            ("after_write", 8, bytes(0x1122_3344)),
            ("after_read", 8, bytes(0x1122_3344)),
            ("after_write", 8, bytes(0x1122_3345)),
            ("after_write", 0x17f8, data.to_le_bytes().to_vec()),
            ("after_read", 8, vec![0x45]),
            ("after_write", 0x100, vec![0x45]),
            ("after_read", 9, vec![0x33]),
            ("after_write", 0x101, vec![0x33]),
            ("after_read", 8, bytes(0x1122_3345)),
            ("after_write", 8, bytes(0x1122_3345)),
        ]
    );
    let before = log.borrow().iter().filter(|s| s.what.starts_with("before")).count();
    assert_eq!(before, after.len());
}

fn a_wide_vector_is_one_access_and_a_masked_one_an_access_per_lane(tier: Tier) {
    if let Some(feature) = emu_x86::Level::V3.missing() {
        println!("skipped: this processor has no {feature}");
        return;
    }
    let mut g = guest(tier, |a, data| {
        a.mov(rbx, data).unwrap();
        // Across the page boundary.
        a.vmovdqu(ymm1, ymmword_ptr(rbx + 0xff0)).unwrap();
        a.vpcmpeqd(ymm2, ymm2, ymm2).unwrap();
        a.vpaddd(ymm1, ymm2, ymmword_ptr(rbx + 0xff0)).unwrap();
        a.vmovdqu(ymmword_ptr(rbx + 0x40), ymm2).unwrap();
        // A mask with lanes 0 and 5; then the mask of a gather, whose indices are all 0 or -1.
        a.vmovdqu(ymm3, ymmword_ptr(rbx + 0x80)).unwrap();
        a.vpmaskmovd(ymmword_ptr(rbx + 0x100), ymm3, ymm2).unwrap();
        a.vpgatherdd_3(ymm4, dword_ptr(rbx + ymm2 * 4 + 0x10), ymm3).unwrap();
    });
    let shared = g.engine.shared().clone();
    let wide: Vec<u8> = (1..=32).collect();
    let mut mask = [0u8; 32];
    (mask[3], mask[23]) = (0x80, 0xff);
    assert!(shared.write_memory(g.data + 0xff0, &wide));
    assert!(shared.write_memory(g.data + 0x80, &mask));
    assert!(shared.write_memory(g.data + 0xc, &[1, 2, 3, 4]));
    let log = Log::default();
    for k in [kind::VIRT_MEM_AFTER_READ, kind::VIRT_MEM_AFTER_WRITE] {
        g.record(1, k, &log);
    }
    assert_eq!(g.until_trap().kind, TrapKind::InvalidOpcode);
    let data = g.data;
    let ones = |n: usize| vec![0xff; n];
    let got: Vec<_> =
        log.borrow().iter().map(|s| (s.what, s.addr - data, s.data.clone())).collect();
    let expect = [
        ("after_read", 0xff0, wide.clone()),
        ("after_read", 0xff0, wide),
        ("after_write", 0x40, ones(32)),
        ("after_read", 0x80, mask.to_vec()),
        ("after_write", 0x100, ones(4)),
        ("after_write", 0x114, ones(4)),
        ("after_read", 0xc, vec![1, 2, 3, 4]),
        ("after_read", 0xc, vec![1, 2, 3, 4]),
    ];
    assert_eq!(got, expect);
}

fn a_wide_store_that_faults_half_way_stores_nothing(tier: Tier) {
    if let Some(feature) = emu_x86::Level::V3.missing() {
        println!("skipped: this processor has no {feature}");
        return;
    }
    // The second page, 16 bytes into the operand, is read-only.
    let mut g = guest(tier, |a, data| {
        a.mov(rbx, data + 0xff0).unwrap();
        a.vpcmpeqd(ymm2, ymm2, ymm2).unwrap();
        a.vmovdqu(ymmword_ptr(rbx), ymm2).unwrap();
    });
    let end = g.data + 0x1000;
    // SAFETY: the guest's own memory.
    let r = unsafe { libc::mprotect(end as *mut c_void, 0x1000, libc::PROT_READ) };
    assert_eq!(r, 0);
    let log = Log::default();
    g.record(1, kind::VIRT_MEM_AFTER_WRITE, &log);
    let trap = g.until_trap();
    assert_eq!((trap.kind, trap.addr, trap.write), (TrapKind::PageFault, end, true));
    assert!(log.borrow().is_empty());
    let mut left = [1; 16];
    assert!(g.engine.shared().read_memory(end - 16, &mut left));
    assert_eq!(left, [0; 16]);
}

fn a_faulting_access_is_not_reported(tier: Tier) {
    let mut g = guest(tier, |a, _| {
        a.mov(rbx, 0x10u64).unwrap();
        a.mov(rax, qword_ptr(rsp)).unwrap();
        a.push(qword_ptr(rbx)).unwrap();
    });
    let log = Log::default();
    for k in [kind::VIRT_MEM_BEFORE_READ, kind::VIRT_MEM_AFTER_READ, kind::VIRT_MEM_BEFORE_WRITE] {
        g.record(1, k, &log);
    }
    let trap = g.until_trap();
    assert_eq!((trap.kind, trap.addr, trap.write), (TrapKind::PageFault, 0x10, false));
    assert_eq!(whats(&log), ["before_read", "after_read"]);
    assert_eq!(g.engine.shared().retired(), 2);
}

fn counters_are_exact_across_faults_and_exits(tier: Tier) {
    let mut g = guest(tier, |a, data| {
        a.mov(rbx, data).unwrap();
        nop_loop(a, 4);
        a.mov(eax, dword_ptr(rbx)).unwrap();
        a.mov(dword_ptr(rbx), eax).unwrap();
        a.mov(dword_ptr(0x10), eax).unwrap();
    });
    let mut cells = [0u64; 4];
    for (n, k) in [CounterKind::Insns, CounterKind::Blocks, CounterKind::Loads, CounterKind::Stores]
        .into_iter()
        .enumerate()
    {
        let cell = &raw mut cells[n];
        // SAFETY: the cells outlive the guest.
        unsafe { g.engine.shared().add_counter(OwnerId(1), k, cell, 1) };
    }
    assert_eq!(g.until_trap().kind, TrapKind::PageFault);
    let insns = 1 + 1 + 3 * 4 + 2;
    assert_eq!(g.engine.shared().retired(), insns);
    // SAFETY: reads of the counters the guest has written.
    let seen = unsafe { core::ptr::read_volatile(&raw const cells) };
    assert_eq!(seen, [insns, 5, 1, 1]);
}

/// A counter of instructions, and what a callback found in it and in the engine's own count.
#[derive(Default)]
struct Counted {
    cell: u64,
    seen: Vec<(u64, u64)>,
}

unsafe extern "C" fn look(user: *mut Counted, cpu: *const emu_cpu::CpuHeader, _pc: u64) {
    // SAFETY: the test registers this function with a live `Counted`; the engine passes its CPU.
    unsafe {
        let retired = emu_engine::Shared::of(cpu).retired();
        (*user).seen.push((core::ptr::read_volatile(&raw const (*user).cell), retired));
    }
}

fn a_lone_counter_of_instructions_is_exact_in_callbacks(tier: Tier) {
    for asking in [false, true] {
        let mut g = guest(tier, |a, _| {
            nop_loop(a, 20);
            nop_loop(a, 5);
            a.ud2().unwrap();
        });
        let counted = Box::into_raw(Box::<Counted>::default());
        let log = Log::default();
        if asking {
            g.record(1, kind::INSN_TRANSLATE, &log);
        }
        let shared = g.engine.shared().clone();
        let func = look as *const () as usize;
        shared
            .register(OwnerId(1), kind::BEFORE_BLOCK_TRANSLATE, func, counted as usize, 0)
            .unwrap();
        // SAFETY: the cell outlives the guest.
        unsafe {
            shared.add_counter(OwnerId(1), CounterKind::Insns, &raw mut (*counted).cell, 1);
        }
        // In slices, so that runs end in the middle of things.
        while matches!(g.run(7), Stop::Budget | Stop::Interrupted) {}
        // SAFETY: made above; the guest does not run any more.
        let counted = unsafe { Box::from_raw(counted) };
        assert_eq!(counted.cell, 1 + 3 * 20 + 1 + 3 * 5);
        assert!(counted.seen.iter().any(|s| s.0 > 0), "{:?}", counted.seen);
        assert!(counted.seen.iter().all(|s| s.0 == s.1), "{:?}", counted.seen);
    }
}

fn the_instruction_budget_is_exact(tier: Tier) {
    for limit in [1, 2, 3, 7, 16] {
        let mut g =
            Guest::new(EngineConfig { tier, max_instructions: Some(limit), ..Default::default() });
        g.assemble(|a, _| nop_loop(a, 5));
        assert_eq!(g.run(1 << 20), Stop::Limit);
        assert_eq!(g.engine.shared().retired(), limit);
        assert_eq!(g.run(1 << 20), Stop::Limit);
    }
    let mut g = guest(tier, |a, _| nop_loop(a, 5));
    for _ in 0..8 {
        assert_eq!(g.run(2), Stop::Budget);
    }
    assert_eq!(g.engine.shared().retired(), 16);
}

fn a_slice_that_need_not_be_exact_ends_between_blocks(tier: Tier) {
    let mut g = guest(tier, |a, _| nop_loop(a, 1000));
    g.run(1);
    // One round of the loop: a nop, dec and jnz.
    let start = g.cpu().hdr.pc;
    for n in [3, 4, 5, 1 << 10] {
        let before = g.engine.shared().retired();
        assert_eq!(g.run_slice(Slice::About(n)), Stop::Budget);
        let ran = g.engine.shared().retired() - before;
        assert!(ran > 0 && ran <= n && n - ran < 3, "{ran} of {n}");
        assert_eq!(g.cpu().hdr.pc, start);
    }
    // Shorter than the block.
    let before = g.engine.shared().retired();
    assert_eq!(g.run_slice(Slice::About(2)), Stop::Budget);
    assert_eq!(g.engine.shared().retired() - before, 2);

    let mut g = Guest::new(EngineConfig { tier, max_instructions: Some(17), ..Default::default() });
    g.assemble(|a, _| nop_loop(a, 1000));
    while g.run_slice(Slice::About(10)) == Stop::Budget {}
    assert_eq!(g.engine.shared().retired(), 17, "the limit is exact all the same");
}

fn the_count_is_exact_after_a_request_in_the_same_block(tier: Tier) {
    unsafe extern "C" fn request(_: *mut c_void, _: *mut PandaCpu, _: u64) {
        emu_engine::request_interrupt();
    }
    let mut g = guest(tier, |a, _| nop_loop(a, 3));
    let log = Log::default();
    g.record(1, kind::INSN_TRANSLATE, &log);
    let request = request as *const () as usize;
    g.engine.shared().register(OwnerId(1), kind::INSN_EXEC, request, 0, 0).unwrap();
    g.record(1, kind::INSN_EXEC, &log);
    while g.run(1 << 20) == Stop::Interrupted {}
    let counts: Vec<u64> =
        log.borrow().iter().filter(|s| s.what == "insn").map(|s| s.addr).collect();
    // mov, then nop, dec and jnz in each round.
    assert_eq!(counts, [1, 4, 7]);
}

fn stores_into_code_take_effect_at_the_next_instruction(tier: Tier) {
    // The loop body rewrites the immediate of the instruction behind the store, within its block.
    let mut g = guest(tier, |a, _| {
        let mut target = a.create_label();
        let mut top = a.create_label();
        a.mov(ecx, 100).unwrap();
        a.xor(edx, edx).unwrap();
        a.set_label(&mut top).unwrap();
        a.lea(rbx, qword_ptr(target)).unwrap();
        a.mov(byte_ptr(rbx + 1), cl).unwrap();
        a.set_label(&mut target).unwrap();
        a.mov(eax, 0).unwrap();
        a.add(edx, eax).unwrap();
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
    });
    g.until_trap();
    assert_eq!(g.cpu().gpr[2], (1..=100).sum::<u64>());
    assert_eq!(g.engine.shared().retired(), 2 + 6 * 100);
}

fn subscriptions_change_while_the_guest_runs(tier: Tier) {
    let mut g = guest(tier, |a, _| nop_loop(a, 10));
    let log = Log::default();
    g.record(1, kind::INSN_TRANSLATE, &log);
    let id = g.record(1, kind::INSN_EXEC, &log);
    assert_eq!(g.run(1), Stop::Interrupted, "the registration asked for attention");
    assert_eq!(g.run(16), Stop::Budget);
    assert_eq!(whats(&log).iter().filter(|w| **w == "insn").count(), 5);
    g.engine.shared().set_enabled(OwnerId(1), id, false).unwrap();
    g.run(1);
    assert_eq!(g.run(6), Stop::Budget);
    g.engine.shared().set_enabled(OwnerId(1), id, true).unwrap();
    g.until_trap();
    assert_eq!(whats(&log).iter().filter(|w| **w == "insn").count(), 8);
    g.engine.shared().unregister(OwnerId(1), id).unwrap();
    assert!(g.engine.shared().unregister(OwnerId(1), id).is_err());
}

by_each_tier! {
    insn_exec_fires_for_asked_instructions_only_and_counts_exactly
    any_number_of_plugins_see_only_what_they_asked_for
    blocks_are_entered_and_left_once_each
    accesses_are_reported_once_with_their_values
    a_wide_vector_is_one_access_and_a_masked_one_an_access_per_lane
    a_wide_store_that_faults_half_way_stores_nothing
    a_faulting_access_is_not_reported
    counters_are_exact_across_faults_and_exits
    a_lone_counter_of_instructions_is_exact_in_callbacks
    counters_lack_nothing_when_a_fault_follows_a_block_callback
    the_instruction_budget_is_exact
    a_slice_that_need_not_be_exact_ends_between_blocks
    the_count_is_exact_after_a_request_in_the_same_block
    stores_into_code_take_effect_at_the_next_instruction
    subscriptions_change_while_the_guest_runs
}

fn counters_lack_nothing_when_a_fault_follows_a_block_callback(tier: Tier) {
    for hooked in [false, true] {
        let mut g = guest(tier, |a, _| {
            a.pop(rcx).unwrap();
            a.mov(rdx, 0x10u64).unwrap();
            a.rcr(dword_ptr(rdx), cl).unwrap();
        });
        let log = Log::default();
        if hooked {
            g.record(1, kind::BEFORE_BLOCK_EXEC, &log);
        }
        let cells = Box::<[core::cell::Cell<u64>; 4]>::default();
        for (cell, kind) in cells.iter().zip(1..) {
            let kind = CounterKind::from_u32(kind).unwrap();
            // SAFETY: the cells outlive the guest.
            unsafe { g.engine.shared().add_counter(OwnerId(1), kind, cell.as_ptr(), 1) };
        }
        assert_eq!(g.until_trap().kind, TrapKind::PageFault);
        assert_eq!(cells.each_ref().map(core::cell::Cell::get), [2, 1, 1, 0], "{hooked}");
    }
}
