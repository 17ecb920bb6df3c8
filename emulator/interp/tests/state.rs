//! Slots, flags, helpers, hooks, counters, exits.

mod common;

use std::cell::RefCell;

use common::{Cpu, PC, block, no_hook, put_wide, reg, run, run_with};
use emu_cpu::{CpuHeader, Effects, HelperDesc, X87Use};
use emu_interp::{Exit, ExitKind, Interp, MXCSR_ALL_MASKED};
use emu_ir::{
    Addr, Builder, Cond, CounterSite, FlagKind, HookKind, HookSite, Inst, JumpKind, Op, Operand,
    TrapKind, Ty, Val, flags,
};

const BYTES: u64 = 0x8877_6655_4433_2211;

#[test]
fn gets_read_the_low_bytes() {
    for (ty, want) in [(Ty::I8, 0x11), (Ty::I16, 0x2211), (Ty::I32, 0x4433_2211), (Ty::I64, BYTES)]
    {
        let mut cpu = Cpu::default();
        cpu.regs[0] = BYTES;
        let code = block(|b| {
            let x = b.get(ty, reg(0));
            put_wide(b, 1, ty, x);
        });
        run(&mut cpu, &code);
        assert_eq!(cpu.regs[1], want);
    }
}

#[test]
fn puts_change_their_bytes_and_i32_clears_the_upper_half() {
    let put = |ty, slot| {
        let mut cpu = Cpu { regs: [u64::MAX; 16], ..Cpu::default() };
        let code = block(|b| {
            let x = if ty == Ty::V256 || ty == Ty::V128 {
                let mut i = Inst::new(Op::Const, ty);
                i.imm = BYTES;
                b.push(i)
            } else {
                b.iconst(ty, BYTES)
            };
            b.put(ty, slot, x);
        });
        run(&mut cpu, &code);
        cpu.regs[..5].to_vec()
    };
    let m = u64::MAX;
    assert_eq!(put(Ty::I8, reg(0)), [m << 8 | 0x11, m, m, m, m]);
    assert_eq!(put(Ty::I8, reg(0) + 1), [0xffff_ffff_ffff_11ff, m, m, m, m]);
    assert_eq!(put(Ty::I16, reg(0)), [m << 16 | 0x2211, m, m, m, m]);
    assert_eq!(put(Ty::I32, reg(0)), [0x4433_2211, m, m, m, m]);
    assert_eq!(put(Ty::I64, reg(0)), [BYTES, m, m, m, m]);
    assert_eq!(put(Ty::V128, reg(0)), [BYTES, BYTES, m, m, m]);
    assert_eq!(put(Ty::V256, reg(0)), [BYTES, BYTES, BYTES, BYTES, m]);
}

#[test]
fn every_flag_definition_is_recorded_and_read_back() {
    for kind in FlagKind::ALL {
        for ty in common::INTS {
            let code = block(|b| {
                let [a, c] = [0, 2].map(|n| b.get(Ty::I64, reg(n)));
                let x = b.convert(Op::Trunc, Ty::I64, ty, a);
                let y = b.get(ty, reg(1));
                let x = if kind == FlagKind::Raw { a } else { x };
                b.flags_set(kind, if kind == FlagKind::Raw { Ty::I64 } else { ty }, x, y, c);
                for (n, cond) in Cond::ALL.into_iter().enumerate() {
                    let r = b.flags_cond(cond);
                    b.put(Ty::I8, reg(4) + n as u32, r);
                }
                let all = b.flags_get(flags::ALL);
                b.put(Ty::I64, reg(8), all);
                let carry = b.flags_get(flags::CF);
                b.put(Ty::I64, reg(9), carry);
            });
            for a in [0, 1, 0x80, 0x8000_0000, 0xff, u64::MAX, 1 << 63] {
                for n in [0u64, 1, 7, 31] {
                    let mut cpu = Cpu::default();
                    let before = flags::CF | flags::SF;
                    cpu.hdr.set_flags(before);
                    cpu.regs[..3].copy_from_slice(&[a, n, 1]);
                    run(&mut cpu, &code);
                    let void = kind.void_if_zero_count() && n == 0;
                    let want = if void { before } else { flags::evaluate(kind, ty, a, n, 1) };
                    assert_eq!(cpu.regs[8], u64::from(want), "{kind:?} {ty:?} {a:#x} {n}");
                    assert_eq!(cpu.regs[9], u64::from(want & flags::CF));
                    assert_eq!(cpu.hdr.flags(), want);
                    let conds = [cpu.regs[4].to_le_bytes(), cpu.regs[5].to_le_bytes()].concat();
                    for cond in Cond::ALL {
                        let want = u8::from(flags::condition_of(want, cond));
                        assert_eq!(conds[cond as usize], want, "{kind:?} {cond:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn flag_immediates_are_sign_extended_and_masked() {
    for (ty, imm) in
        [(Ty::I8, 0xff), (Ty::I32, 0xffff_ffff), (Ty::I64, u64::MAX), (Ty::I64, 1 << 40)]
    {
        let code = block(|b| {
            let a = b.get(ty, reg(0));
            b.flags_set(FlagKind::Sub, ty, a, Operand::Imm(imm), Val::NONE);
        });
        let mut cpu = Cpu::default();
        run(&mut cpu, &code);
        assert_eq!(cpu.hdr.flags_b, imm, "{ty:?}");
        assert_eq!(cpu.hdr.flags_ty, ty as u8);
    }
}

unsafe extern "C" fn mix(cpu: *mut CpuHeader, a: u64, b: u64, c: u64, d: u64) -> u64 {
    // SAFETY: called with a live CPU.
    unsafe { (*cpu).tier = (*cpu).insn_pc };
    a | b << 8 | c << 16 | d << 24 | 0xff << 32
}

unsafe extern "C" fn trap_if(cpu: *mut CpuHeader, kind: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: called with a live CPU.
    unsafe { (*cpu).trap = kind as u8 };
    5
}

static HELPERS: [HelperDesc; 2] = [
    HelperDesc { name: "mix", func: mix, effects: Effects::PURE, x87: X87Use::Nothing },
    HelperDesc { name: "trap_if", func: trap_if, effects: Effects::FULL, x87: X87Use::Nothing },
];

#[test]
fn helpers_get_four_arguments_and_the_pc() {
    let code = block(|b| {
        let args = [1, 2, 3, 4].map(|n| b.iconst(Ty::I64, n));
        let r = b.call(Ty::I32, 0, &args);
        put_wide(b, 0, Ty::I32, r);
        let r = b.call(Ty::I64, 0, &args[..1]);
        b.put(Ty::I64, reg(1), r);
    });
    let mut cpu = Cpu::default();
    run_with(&mut cpu, &code, &HELPERS);
    assert_eq!(cpu.regs[..2], [0x0403_0201, 0xff_0000_0001]);
    assert_eq!(cpu.hdr.tier, PC);
}

#[test]
fn a_helpers_trap_ends_the_block() {
    let code = block(|b| {
        let kind = b.get(Ty::I64, reg(0));
        let r = b.call(Ty::I64, 1, &[kind]);
        b.put(Ty::I64, reg(1), r);
    });
    for (kind, pc, retired, result) in [
        (TrapKind::None, PC + 4, 1, 5),
        (TrapKind::Protection, PC, 0, 0),
        (TrapKind::Overflow, PC + 4, 1, 0),
    ] {
        let mut cpu = Cpu::default();
        cpu.regs[0] = kind as u64;
        let exit = run_with(&mut cpu, &code, &HELPERS);
        assert_eq!((cpu.hdr.pc, exit.retired, cpu.regs[1]), (pc, retired, result), "{kind:?}");
        assert_eq!(exit.kind == ExitKind::Trap, kind != TrapKind::None);
        assert_eq!(TrapKind::from_u8(cpu.hdr.trap), kind);
    }
}

/// Kind, pc, address, size, value.
type Event = (HookKind, u64, u64, u64, Option<u64>);

thread_local! {
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

unsafe fn record(cpu: *mut CpuHeader, site: &HookSite, addr: u64, size: u64, data: *const u8) {
    // SAFETY: called with a live CPU; data is null or points to `size` bytes, here at most 8.
    let (pc, value) = unsafe {
        assert_eq!((*cpu).pc, (*cpu).insn_pc);
        let value = (!data.is_null()).then(|| {
            let mut bytes = [0; 8];
            core::ptr::copy_nonoverlapping(data, bytes.as_mut_ptr(), size as usize);
            u64::from_le_bytes(bytes)
        });
        (*cpu).tier += 1;
        ((*cpu).pc, value)
    };
    EVENTS.with_borrow_mut(|e| e.push((site.kind, pc, addr, size, value)));
}

#[test]
fn hooks_and_counters_run_in_place() {
    let mut cells = [10u64, 20];
    let mut b = Builder::new(PC);
    let hook = |b: &mut Builder, n: u64, a: Val, v: Val, ty: Ty| {
        let mut i = Inst::new(Op::Hook, ty);
        (i.a, i.b, i.imm) = (a, v, n);
        b.push(i);
    };
    let count = |b: &mut Builder, n: u64| {
        let mut i = Inst::new(Op::Counter, Ty::I64);
        i.imm = n;
        b.push(i);
    };
    hook(&mut b, 0, Val::NONE, Val::NONE, Ty::I64);
    b.insn_start(PC, 2);
    hook(&mut b, 1, Val::NONE, Val::NONE, Ty::I64);
    count(&mut b, 0);
    b.insn_start(PC + 2, 2);
    let addr = b.iconst(Ty::I64, 0x1234);
    let v = b.iconst(Ty::I16, 0xabcd);
    hook(&mut b, 2, addr, Val::NONE, Ty::I32);
    hook(&mut b, 3, addr, v, Ty::I16);
    count(&mut b, 1);
    count(&mut b, 1);
    b.jump(JumpKind::Ret, PC);
    let mut code = b.finish();
    let site = |kind| HookSite::new(kind, 0, PC);
    code.hooks = vec![
        site(HookKind::BeforeBlock),
        site(HookKind::InsnExec),
        site(HookKind::BeforeRead),
        site(HookKind::AfterWrite),
    ];
    code.counters = vec![
        CounterSite { cell: &raw mut cells[0] as usize, amount: 3 },
        CounterSite { cell: &raw mut cells[1] as usize, amount: 100 },
    ];
    let mut cpu = Cpu::default();
    let mut interp = Interp::new(&[], record);
    // SAFETY: the CPU, the block and the cells are live.
    let exit = unsafe { interp.run(&raw mut cpu.hdr, &code, MXCSR_ALL_MASKED) };
    assert_eq!((exit.kind, exit.retired), (ExitKind::Jump, 2));
    // SAFETY: the block wrote through their addresses; read them the same way.
    let cells =
        unsafe { [(&raw const cells[0]).read_volatile(), (&raw const cells[1]).read_volatile()] };
    assert_eq!(cells, [13, 220]);
    assert_eq!(cpu.hdr.tier, 4);
    assert_eq!(
        EVENTS.take(),
        [
            (HookKind::BeforeBlock, PC, 0, 0, None),
            (HookKind::InsnExec, PC, 0, 0, None),
            (HookKind::BeforeRead, PC + 2, 0x1234, 4, None),
            (HookKind::AfterWrite, PC + 2, 0x1234, 2, Some(0xabcd)),
        ]
    );
}

/// Three instructions, of which the second has a side exit; `end` ends the block.
fn three(end: impl FnOnce(&mut Builder)) -> emu_ir::Block {
    let mut b = Builder::new(PC);
    b.insn_start(PC, 1);
    let c = b.get(Ty::I8, reg(0));
    b.insn_start(PC + 1, 2);
    b.exit_if(c, 0x5000);
    b.insn_start(PC + 3, 1);
    end(&mut b);
    b.finish()
}

#[test]
fn exits_name_the_op_and_count_what_retired() {
    let jump = three(|b| {
        b.return_hint(0x7000);
        b.jump(JumpKind::Call, 0x6000);
    });
    let last = |code: &emu_ir::Block| code.insts.len() as u16 - 1;
    let mut cpu = Cpu::default();
    let exit = run(&mut cpu, &jump);
    assert_eq!(exit, Exit { kind: ExitKind::Jump, exit_op: last(&jump), retired: 3 });
    assert_eq!(cpu.hdr.pc, 0x6000);
    cpu.regs[0] = 2;
    assert_eq!(run(&mut cpu, &jump), Exit { kind: ExitKind::Jump, exit_op: 3, retired: 2 });
    assert_eq!(cpu.hdr.pc, 0x5000);

    for kind in JumpKind::ALL {
        let code = three(|b| {
            let target = b.iconst(Ty::I64, 0x1_2345_6789);
            b.jump_ind(kind, target);
        });
        cpu.regs[0] = 0;
        let exit = run(&mut cpu, &code);
        assert_eq!(exit.kind, ExitKind::Indirect(kind));
        assert_eq!((exit.exit_op, exit.retired, cpu.hdr.pc), (last(&code), 3, 0x1_2345_6789));
    }
}

#[test]
fn traps_retire_by_their_kind() {
    for kind in TrapKind::ALL {
        let pc = if kind.retires() { PC + 4 } else { PC + 3 };
        let code = three(|b| b.trap(kind, pc));
        let mut cpu = Cpu::default();
        let exit = run(&mut cpu, &code);
        assert_eq!(exit.kind, ExitKind::Trap);
        assert_eq!(exit.retired, if kind.retires() { 3 } else { 2 });
        assert_eq!((cpu.hdr.pc, TrapKind::from_u8(cpu.hdr.trap)), (pc, kind));
    }
    // The next instruction cannot be fetched: the one before it retires.
    let mut cpu = Cpu::default();
    assert_eq!(run(&mut cpu, &three(|b| b.trap(TrapKind::FetchFault, PC + 4))).retired, 3);
    // Nor can the first.
    let mut b = Builder::new(PC);
    b.trap(TrapKind::FetchFault, PC);
    assert_eq!(run(&mut cpu, &b.finish()).retired, 0);
}

#[test]
fn vectors_pass_through_slots_and_ops() {
    use emu_ir::VecOp;
    for ty in [Ty::V128, Ty::V256] {
        let code = block(|b| {
            let (x, y) = (b.get(ty, reg(0)), b.get(ty, reg(4)));
            let r = b.vec(VecOp::Paddd, ty, x, y, Val::NONE, 0);
            b.put(ty, reg(8), r);
        });
        let mut cpu = Cpu::default();
        cpu.regs[..4].fill(0xffff_ffff_0000_0001);
        cpu.regs[4..8].fill(0x0000_0001_ffff_ffff);
        cpu.regs[8..12].fill(7);
        run(&mut cpu, &code);
        assert_eq!(cpu.regs[8..10], [0, 0]);
        assert_eq!(cpu.regs[10..12], if ty == Ty::V256 { [0, 0] } else { [7, 7] });
    }
}

#[test]
fn a_block_may_be_run_again() {
    let code = block(|b| {
        let x = b.get(Ty::I64, reg(0));
        let y = b.lea(Ty::I64, Addr { disp: 5, ..Addr::base(x) });
        b.put(Ty::I64, reg(0), y);
    });
    let mut cpu = Cpu::default();
    let mut interp = Interp::new(&[], no_hook);
    for _ in 0..3 {
        // SAFETY: the CPU is live.
        unsafe { interp.run(&raw mut cpu.hdr, &code, MXCSR_ALL_MASKED) };
    }
    assert_eq!(cpu.regs[0], 15);
}

#[test]
fn an_unmasked_exception_traps_before_the_result() {
    use emu_ir::VecOp;
    const DIVIDE_BY_ZERO: u32 = 1 << 9;
    let code = block(|b| {
        let (x, y) = (b.get(Ty::V128, reg(0)), b.get(Ty::V128, reg(2)));
        let r = b.vec(VecOp::Divss, Ty::V128, x, y, Val::NONE, 0);
        b.put(Ty::V128, reg(4), r);
    });
    let mut interp = Interp::new(&[], no_hook);
    for (divisor, masks, traps) in [
        (0f32, MXCSR_ALL_MASKED, false),
        (0f32, MXCSR_ALL_MASKED & !DIVIDE_BY_ZERO, true),
        (2f32, MXCSR_ALL_MASKED & !DIVIDE_BY_ZERO, false),
    ] {
        let mut cpu = Cpu::default();
        cpu.regs[0] = u64::from(1f32.to_bits());
        cpu.regs[2] = u64::from(divisor.to_bits());
        cpu.regs[4] = 7;
        // SAFETY: the CPU is live.
        let exit = unsafe { interp.run(&raw mut cpu.hdr, &code, masks) };
        let trap = cpu.hdr.take_trap().map(|t| t.kind);
        let quotient = u64::from((1f32 / divisor).to_bits());
        if traps {
            assert_eq!((trap, exit.retired, cpu.regs[4]), (Some(TrapKind::Simd), 0, 7));
            assert_eq!(cpu.hdr.pc, PC);
        } else {
            assert_eq!((trap, exit.retired, cpu.regs[4]), (None, 1, quotient));
        }
    }
}
