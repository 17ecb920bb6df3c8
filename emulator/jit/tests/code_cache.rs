//! Linking, invalidation, budget, hooks and counters in generated code.

use std::cell::RefCell;

use emu_cpu::{CpuHeader, GuestArch};
use emu_ir::flags::{CF, SF, ZF};
use emu_ir::{
    Addr, Block, Builder, CounterSite, FlagKind, HookKind, HookSite, Inst, JumpKind, Op, Ty, Val,
};
use emu_jit::{CompiledBlock, Config, Jit, JitError, JitExit};
use emu_x86::state::slot;
use emu_x86::{X86_64, X86Cpu};

struct Guest {
    jit: Jit,
    cpu: *mut X86Cpu,
}

impl Guest {
    fn new() -> Guest {
        emu_mem::host_fault::install();
        let jit = Jit::new(&X86_64, Config::default()).unwrap();
        Guest { jit, cpu: X86_64.new_cpu().cast() }
    }

    fn cpu(&mut self) -> &mut X86Cpu {
        // SAFETY: made in `new`, freed in drop.
        unsafe { &mut *self.cpu }
    }

    fn enter(&mut self, block: &CompiledBlock) -> JitExit {
        // SAFETY: the structure is live, the tests only enter valid blocks.
        unsafe { self.jit.enter(self.cpu.cast(), block.entry) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: not used afterwards.
        unsafe { X86_64.free_cpu(self.cpu.cast()) };
    }
}

/// `rax += n`, then on to `next`.
fn add_block(pc: u64, n: u64, next: u64) -> Block {
    let mut b = Builder::new(pc);
    b.insn_start(pc, 4);
    let v = b.get(Ty::I64, slot::gpr(0));
    let v = b.bin(Op::Add, Ty::I64, v, n);
    b.put(Ty::I64, slot::gpr(0), v);
    b.insn_start(pc + 4, 2);
    b.jump(JumpKind::Jump, next);
    b.finish()
}

#[test]
fn linked_blocks_run_without_return_until_unlinked() {
    let mut g = Guest::new();
    let a = g.jit.compile(&add_block(0x1000, 1, 0x2000)).unwrap();
    let b = g.jit.compile(&add_block(0x2000, 10, 0x3000)).unwrap();
    g.cpu().hdr.budget = 100;
    let JitExit::Direct(exit) = g.enter(&a) else { panic!("not a direct exit") };
    assert_eq!((g.cpu().hdr.pc, g.cpu().gpr[0], g.cpu().hdr.budget), (0x2000, 1, 98));
    g.jit.link(exit, b.id);
    assert!(matches!(g.enter(&a), JitExit::Direct(_)));
    assert_eq!((g.cpu().hdr.pc, g.cpu().gpr[0], g.cpu().hdr.budget), (0x3000, 12, 94));
    g.jit.invalidate(b.id);
    assert!(matches!(g.enter(&a), JitExit::Direct(_)));
    assert_eq!((g.cpu().hdr.pc, g.cpu().gpr[0], g.cpu().hdr.budget), (0x2000, 13, 92));
    // An exit can be linked again, but not to a block that is gone.
    g.jit.link(exit, b.id);
    g.enter(&a);
    assert_eq!(g.cpu().hdr.pc, 0x2000);
}

#[test]
fn a_block_that_loops_to_itself_stops_when_the_budget_is_used_up() {
    let mut g = Guest::new();
    let a = g.jit.compile(&add_block(0x1000, 1, 0x1000)).unwrap();
    g.cpu().hdr.budget = 7;
    let JitExit::Direct(exit) = g.enter(&a) else { panic!("not a direct exit") };
    g.jit.link(exit, a.id);
    assert_eq!(g.enter(&a), JitExit::Budget);
    // Three times two instructions; the one left is not enough for another round.
    assert_eq!((g.cpu().hdr.pc, g.cpu().gpr[0], g.cpu().hdr.budget), (0x1000, 3, 1));
}

/// `rcx -= 1` with its flags, then on to itself.
fn countdown_block(pc: u64) -> Block {
    let mut b = Builder::new(pc);
    b.insn_start(pc, 4);
    let old = b.get(Ty::I64, slot::gpr(1));
    let new = b.bin(Op::Sub, Ty::I64, old, 1);
    b.flags_set(FlagKind::Sub, Ty::I64, old, 1, Val::NONE);
    b.put(Ty::I64, slot::gpr(1), new);
    b.insn_start(pc + 4, 2);
    b.jump(JumpKind::Jump, pc);
    b.finish()
}

#[test]
fn a_version_for_unstored_flags_leaves_them_right_and_goes_with_its_block() {
    let mut g = Guest::new();
    let block = countdown_block(0x1000);
    let a = g.jit.compile(&block).unwrap();
    assert!(g.jit.wish(a.id).is_none(), "nothing jumps to it");
    g.cpu().hdr.budget = 1000;
    g.cpu().gpr[1] = 103;
    let JitExit::Direct(exit) = g.enter(&a) else { panic!("not a direct exit") };
    g.jit.link(exit, a.id);
    let wish = g.jit.wish(a.id).unwrap();
    g.jit.compile_version(&block, a.id, wish).unwrap();
    // Round for round: the flags are those of the last one wherever the slice ends.
    for left in (0..102).rev() {
        g.cpu().hdr.budget = 2;
        assert_eq!(g.enter(&a), JitExit::Budget);
        assert_eq!((g.cpu().gpr[1], g.cpu().hdr.pc), (left, 0x1000));
        assert_eq!(g.cpu().hdr.flags() & ZF != 0, left == 0);
    }
    // The version's own way out is linked like any other.
    g.cpu().hdr.budget = 4;
    let JitExit::Direct(exit) = g.enter(&a) else { panic!("not a direct exit") };
    assert_eq!((g.cpu().gpr[1], g.cpu().hdr.flags() & (ZF | SF | CF)), (u64::MAX - 1, SF));
    g.jit.link(exit, a.id);
    for (rounds, left) in [(5, u64::MAX - 6), (4, u64::MAX - 10)] {
        g.cpu().hdr.budget = 2 * rounds;
        assert_eq!(g.enter(&a), JitExit::Budget);
        assert_eq!((g.cpu().gpr[1], g.cpu().hdr.budget), (left, 0));
        assert_eq!(g.cpu().hdr.flags() & (ZF | SF | CF), SF);
    }
    // Its way round now leads to the version, so nobody wishes for another.
    assert!(g.jit.wish(a.id).is_none());
    assert_eq!((g.jit.stats().blocks, g.jit.stats().versions), (1, 1));
    // Without its block a version is not reached; one jump leads out of it.
    g.jit.invalidate(a.id);
    let a = g.jit.compile(&block).unwrap();
    g.cpu().hdr.budget = 1000;
    g.cpu().gpr[1] = 1;
    assert!(matches!(g.enter(&a), JitExit::Direct(_)));
    assert_eq!((g.cpu().gpr[1], g.cpu().hdr.budget), (0, 998));
    assert_eq!(g.cpu().hdr.flags() & ZF, ZF);
}

#[test]
fn indirect_branches_find_remembered_blocks_only() {
    let mut g = Guest::new();
    let mut b = Builder::new(0x1000);
    b.insn_start(0x1000, 2);
    let v = b.get(Ty::I64, slot::gpr(3));
    b.jump_ind(JumpKind::Ret, v);
    let a = g.jit.compile(&b.finish()).unwrap();
    let b = g.jit.compile(&add_block(0x2000, 5, 0x3000)).unwrap();
    g.cpu().hdr.budget = 100;
    g.cpu().gpr[3] = 0x2000;
    assert_eq!(g.enter(&a), JitExit::Indirect);
    assert_eq!((g.cpu().hdr.pc, g.cpu().gpr[0]), (0x2000, 0));
    g.jit.remember_indirect(b.id);
    assert!(matches!(g.enter(&a), JitExit::Direct(_)));
    assert_eq!((g.cpu().hdr.pc, g.cpu().gpr[0]), (0x3000, 5));
    // Another pc with the same place in the table, and pcs no block can have.
    for pc in [0x2000 + (1 << 14), 0, u64::MAX, 0x2001] {
        g.cpu().gpr[3] = pc;
        assert_eq!(g.enter(&a), JitExit::Indirect);
        assert_eq!(g.cpu().hdr.pc, pc);
    }
    g.jit.invalidate(b.id);
    g.cpu().gpr[3] = 0x2000;
    assert_eq!(g.enter(&a), JitExit::Indirect);
}

#[test]
fn a_full_arena_is_reported_and_usable_after_a_flush() {
    let mut g = Guest::new();
    g.jit = Jit::new(&X86_64, Config { code_bytes: 1 << 16, table_entries: 16 }).unwrap();
    let generation = g.jit.generation();
    let mut count = 0;
    loop {
        match g.jit.compile(&add_block(0x1000 + 16 * count, 1, 0x10)) {
            Ok(_) => count += 1,
            Err(JitError::Full) => break,
            Err(e) => panic!("{e}"),
        }
    }
    assert!(count > 100);
    g.jit.flush();
    assert_ne!(g.jit.generation(), generation);
    let a = g.jit.compile(&add_block(0x1000, 1, 0x10)).unwrap();
    g.cpu().hdr.budget = 100;
    g.enter(&a);
    assert_eq!(g.cpu().gpr[0], 1);
    g.jit.after_fork().unwrap();
    let a = g.jit.compile(&add_block(0x1000, 1, 0x10)).unwrap();
    g.enter(&a);
    assert_eq!(g.cpu().gpr[0], 2);
}

thread_local! {
    static CALLS: RefCell<Vec<[u64; 6]>> = const { RefCell::new(Vec::new()) };
}

#[repr(C)]
struct Cell {
    func: usize,
    user: usize,
}

unsafe extern "C" fn on_insn(user: u64, cpu: *mut CpuHeader, pc: u64) {
    // SAFETY: the structure under test.
    let rax = unsafe { (*emu_cpu::lent(cpu).0.cast::<X86Cpu>()).gpr[0] };
    CALLS.with_borrow_mut(|c| c.push([user, pc, rax, 0, 0, 0]));
}

unsafe extern "C" fn set_rax(_: u64, cpu: *mut CpuHeader, _: u64) {
    // SAFETY: the structure under test.
    unsafe { (*emu_cpu::lent(cpu).0.cast::<X86Cpu>()).gpr[0] = 1000 };
}

unsafe extern "C" fn on_access(
    user: u64,
    _: *mut CpuHeader,
    pc: u64,
    addr: u64,
    size: u64,
    data: *const u64,
) {
    let mut value = 0;
    if !data.is_null() {
        // SAFETY: data points to size bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(
                data.cast::<u8>(),
                (&raw mut value).cast::<u8>(),
                size as usize,
            );
        }
    }
    CALLS.with_borrow_mut(|c| c.push([user, pc, addr, size, value, u64::from(data.is_null())]));
}

fn hook(b: &mut Builder, n: u64, ty: Ty, addr: Val, value: Val) {
    let mut i = Inst::new(Op::Hook, ty);
    i.imm = n;
    i.a = addr;
    i.b = value;
    b.push(i);
}

fn site(kind: HookKind, cell: &Cell, pc: u64, reads_regs: bool, writes_regs: bool) -> HookSite {
    let cell = std::ptr::from_ref(cell) as usize;
    HookSite { reads_regs, writes_regs, ..HookSite::new(kind, cell, pc) }
}

#[test]
fn hooks_see_state_in_order_and_may_change_it() {
    let mut g = Guest::new();
    let look = Cell { func: on_insn as *const () as usize, user: 7 };
    let change = Cell { func: set_rax as *const () as usize, user: 0 };
    let rax = slot::gpr(0);
    let mut b = Builder::new(0x1000);
    for n in 0..3u64 {
        b.insn_start(0x1000 + 4 * n, 4);
        hook(&mut b, n, Ty::I64, Val::NONE, Val::NONE);
        if n == 1 {
            hook(&mut b, 3, Ty::I64, Val::NONE, Val::NONE);
        }
        let v = b.get(Ty::I64, rax);
        let v = b.bin(Op::Add, Ty::I64, v, 1);
        b.put(Ty::I64, rax, v);
    }
    b.jump(JumpKind::Jump, 0x2000);
    let mut block = b.finish();
    block.hooks = (0..3)
        .map(|n| site(HookKind::InsnExec, &look, 0x1000 + 4 * n, true, false))
        .chain([site(HookKind::InsnExec, &change, 0x1004, true, true)])
        .collect();
    let a = g.jit.compile(&block).unwrap();
    g.cpu().hdr.budget = 100;
    CALLS.take();
    g.enter(&a);
    let calls = CALLS.take();
    let seen: Vec<_> = calls.iter().map(|c| (c[0], c[1], c[2])).collect();
    assert_eq!(seen, [(7, 0x1000, 0), (7, 0x1004, 1), (7, 0x1008, 1001)]);
    assert_eq!(g.cpu().gpr[0], 1002);
}

#[test]
fn memory_hooks_get_address_size_and_value() {
    let mut g = Guest::new();
    let look = Cell { func: on_access as *const () as usize, user: 9 };
    let memory = Box::new([0x1122_3344_5566_7788u64, 0]);
    let mut b = Builder::new(0x1000);
    b.insn_start(0x1000, 4);
    let base = b.get(Ty::I64, slot::gpr(3));
    let at = b.bin(Op::Add, Ty::I64, base, 2);
    hook(&mut b, 0, Ty::I16, at, Val::NONE);
    let v = b.load(Ty::I16, Addr::base(at));
    hook(&mut b, 1, Ty::I16, at, v);
    let to = b.bin(Op::Add, Ty::I64, base, 8);
    let v = b.convert(Op::Zext, Ty::I16, Ty::I64, v);
    hook(&mut b, 2, Ty::I64, to, v);
    b.store(Ty::I64, Addr::base(to), v);
    b.put(Ty::I64, slot::gpr(0), v);
    b.jump(JumpKind::Jump, 0x2000);
    let mut block = b.finish();
    block.hooks = [HookKind::BeforeRead, HookKind::AfterRead, HookKind::BeforeWrite]
        .map(|k| site(k, &look, 0x1000, false, false))
        .to_vec();
    let a = g.jit.compile(&block).unwrap();
    let at = memory.as_ptr() as u64;
    g.cpu().hdr.budget = 100;
    g.cpu().gpr[3] = at;
    CALLS.take();
    g.enter(&a);
    assert_eq!(
        CALLS.take(),
        [
            [9, 0x1000, at + 2, 2, 0, 1],
            [9, 0x1000, at + 2, 2, 0x5566, 0],
            [9, 0x1000, at + 8, 8, 0x5566, 0],
        ]
    );
    assert_eq!((memory[1], g.cpu().gpr[0]), (0x5566, 0x5566));
}

#[test]
fn counters_count_what_was_executed() {
    let mut g = Guest::new();
    let counter = Box::new(0u64);
    let mut b = Builder::new(0x1000);
    for n in 0..4u64 {
        b.insn_start(0x1000 + n, 1);
        let mut i = Inst::new(Op::Counter, Ty::I64);
        i.imm = 0;
        b.push(i);
        if n == 1 {
            let v = b.get(Ty::I64, slot::gpr(1));
            let c = b.cmp(emu_ir::Cond::Ne, Ty::I64, v, 0);
            b.exit_if(c, 0x5000);
        }
    }
    b.jump(JumpKind::Jump, 0x2000);
    let mut block = b.finish();
    let cell = std::ptr::from_ref(&*counter) as usize;
    block.counters = vec![CounterSite { cell, amount: 3 }];
    let a = g.jit.compile(&block).unwrap();
    g.cpu().hdr.budget = 100;
    g.enter(&a);
    // SAFETY: generated code wrote behind the compiler's back.
    let now = || unsafe { std::ptr::read_volatile(&raw const *counter) };
    assert_eq!((now(), g.cpu().hdr.pc, g.cpu().hdr.budget), (12, 0x2000, 96));
    g.cpu().gpr[1] = 1;
    g.enter(&a);
    assert_eq!((now(), g.cpu().hdr.pc, g.cpu().hdr.budget), (18, 0x5000, 94));
}
