//! Loads, stores, atomics, and the exact state after a fault.

mod common;

use std::sync::{Mutex, MutexGuard};

use common::{Cpu, INTS, PC, Pages, block, interesting, put_wide, reg, run};
use emu_cpu::Trap;
use emu_interp::ExitKind;
use emu_ir::{Addr, Block, FlagKind, JumpKind, Op, RmwKind, TrapKind, Ty, Val};
use libc::{PROT_NONE, PROT_READ, PROT_WRITE};

const RW: i32 = PROT_READ | PROT_WRITE;

/// The fault handler remembers one address for the one run thread there is.
fn one_run_thread() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|e| e.into_inner())
}

const ALL: [Ty; 6] = Ty::ALL;

fn load(ty: Ty, m: impl Fn(Val) -> Addr) -> Block {
    block(|b| {
        let base = b.get(Ty::I64, reg(0));
        let r = b.load(ty, m(base));
        if ty.is_int() { put_wide(b, 4, ty, r) } else { b.put(ty, reg(4), r) }
    })
}

fn store(ty: Ty, m: impl Fn(Val) -> Addr) -> Block {
    block(|b| {
        let base = b.get(Ty::I64, reg(0));
        let v = b.get(ty, reg(4));
        b.store(ty, m(base), v);
    })
}

const PATTERN: [u8; 32] = {
    let mut p = [0; 32];
    let mut n = 0;
    while n < 32 {
        p[n] = 0xa1 + n as u8;
        n += 1;
    }
    p
};

fn pattern_regs() -> [u64; 4] {
    core::array::from_fn(|n| u64::from_le_bytes(core::array::from_fn(|k| PATTERN[8 * n + k])))
}

#[test]
fn loads_and_stores_of_every_type_at_any_alignment() {
    let _one = one_run_thread();
    let pages = Pages::new(&[RW, RW]);
    for ty in ALL {
        let size = ty.bytes() as usize;
        for addr in [pages.0 + 64, pages.0 + 65, pages.0 + 4096 - size as u64 / 2] {
            pages.write(addr - 1, &[0xee; 34]);
            pages.write(addr, &PATTERN[..size]);
            let mut cpu = Cpu::default();
            cpu.regs[0] = addr;
            cpu.regs[4..8].fill(u64::MAX);
            run(&mut cpu, &load(ty, Addr::base));
            let mut want = [0; 32];
            if !ty.is_int() {
                want = [0xff; 32];
            }
            want[..size].copy_from_slice(&PATTERN[..size]);
            let written = if ty.is_int() { 8 } else { 32 };
            let got: Vec<u8> = cpu.regs[4..8].iter().flat_map(|r| r.to_le_bytes()).collect();
            assert_eq!(got[..written], want[..written], "load {ty:?}");

            pages.write(addr - 1, &[0xee; 34]);
            cpu.regs[4..8].copy_from_slice(&pattern_regs());
            let exit = run(&mut cpu, &store(ty, Addr::base));
            assert_eq!((exit.kind, exit.retired), (ExitKind::Jump, 1));
            let mut want = [0xee; 34];
            want[1..=size].copy_from_slice(&PATTERN[..size]);
            assert_eq!(pages.read::<34>(addr - 1), want, "store {ty:?}");
        }
    }
}

#[test]
fn addresses_add_scaled_index_and_displacement() {
    let _one = one_run_thread();
    let pages = Pages::new(&[RW]);
    pages.write(pages.0 + 0x128, &[0x5a]);
    let code = |wrap32| {
        block(|b| {
            let base = b.get(Ty::I64, reg(0));
            let index = b.get(Ty::I64, reg(1));
            let m = Addr { index, shift: 3, disp: -8, wrap32, ..Addr::base(base) };
            let r = b.load(Ty::I8, m);
            put_wide(b, 2, Ty::I8, r);
        })
    };
    let mut cpu = Cpu::default();
    cpu.regs[..2].copy_from_slice(&[pages.0 + 0x100, 6]);
    run(&mut cpu, &code(false));
    assert_eq!(cpu.regs[2], 0x5a);
    // Only the low 32 bits of the sum count when the address wraps; nothing is mapped there.
    let exit = run(&mut cpu, &code(true));
    assert_eq!(exit.kind, ExitKind::Trap);
    assert_eq!(cpu.hdr.trap_addr, (pages.0 + 0x128) & 0xffff_ffff);
}

/// One block whose second instruction faults: `put r1; mem op` after a completed instruction.
fn faulting(f: impl FnOnce(&mut emu_ir::Builder, Val)) -> Block {
    let mut b = emu_ir::Builder::new(PC);
    b.insn_start(PC, 4);
    let one = b.iconst(Ty::I64, 0x77);
    b.put(Ty::I64, reg(1), one);
    b.flags_set(FlagKind::Sub, Ty::I64, one, 0x77, Val::NONE);
    b.insn_start(PC + 4, 3);
    let base = b.get(Ty::I64, reg(0));
    f(&mut b, base);
    let two = b.iconst(Ty::I64, 0x88);
    b.put(Ty::I64, reg(1), two);
    b.flags_set(FlagKind::Logic, Ty::I64, two, 0, Val::NONE);
    b.jump(JumpKind::Jump, PC + 7);
    b.finish()
}

/// Runs it and checks that exactly the first instruction happened.
fn expect_fault(code: &Block, addr: u64, want: Trap) {
    let mut cpu = Cpu::default();
    cpu.regs[0] = addr;
    cpu.regs[4..8].copy_from_slice(&pattern_regs());
    let exit = run(&mut cpu, code);
    assert_eq!((exit.kind, exit.retired), (ExitKind::Trap, 1));
    assert_eq!(cpu.hdr.take_trap(), Some(want));
    assert_eq!((cpu.hdr.pc, cpu.regs[1]), (PC + 4, 0x77));
    assert_eq!(cpu.hdr.flags(), emu_ir::flags::ZF | emu_ir::flags::PF);
    assert_eq!(cpu.regs[4..8], pattern_regs());
    assert_eq!(cpu.regs[8..], [0; 8]);
}

#[test]
fn faults_leave_the_state_of_the_instruction_start() {
    let _one = one_run_thread();
    let pages = Pages::new(&[RW, PROT_NONE]);
    let bad = pages.0 + 4096;
    for ty in ALL {
        let size = u64::from(ty.bytes());
        let at = |write| Trap { kind: TrapKind::PageFault, addr: bad, write };
        // At the page, and across into it: nothing of a store may have reached the good page.
        for addr in [bad, bad - size / 2] {
            if size == 1 && addr != bad {
                continue;
            }
            let code = faulting(|b, base| {
                b.load(ty, Addr::base(base));
            });
            expect_fault(&code, addr, at(false));
            let code = faulting(|b, base| {
                let v = b.get(ty, reg(4));
                b.store(ty, Addr::base(base), v);
            });
            let tail = pages.read::<32>(bad - 32);
            expect_fault(&code, addr, at(true));
            assert_eq!(pages.read::<32>(bad - 32), tail);
            let code = faulting(|b, base| b.probe_write(ty, Addr::base(base)));
            expect_fault(&code, addr, at(true));
        }
    }
}

#[test]
fn writes_to_read_only_pages_fault_as_writes() {
    let _one = one_run_thread();
    let pages = Pages::new(&[PROT_READ]);
    let want = Trap { kind: TrapKind::PageFault, addr: pages.0, write: true };
    for ty in ALL {
        let code = faulting(|b, base| {
            let v = b.get(ty, reg(4));
            b.store(ty, Addr::base(base), v);
        });
        expect_fault(&code, pages.0, want);
        expect_fault(&faulting(|b, base| b.probe_write(ty, Addr::base(base))), pages.0, want);
    }
    for kind in RmwKind::ALL {
        for ty in INTS {
            let code = faulting(|b, base| {
                let v = b.get(ty, reg(4));
                b.rmw(kind, ty, base, v);
            });
            expect_fault(&code, pages.0, want);
        }
    }
    let nothing = Pages::new(&[PROT_NONE]);
    for kind in RmwKind::ALL {
        let code = faulting(|b, base| {
            let v = b.get(Ty::I32, reg(4));
            b.rmw(kind, Ty::I32, base, v);
        });
        expect_fault(&code, nothing.0, Trap { addr: nothing.0, ..want });
    }
}

#[test]
fn non_canonical_and_misaligned_accesses_are_protection_faults() {
    let _one = one_run_thread();
    let code = faulting(|b, base| {
        b.load(Ty::I64, Addr::base(base));
    });
    let addr = 0x8000_0000_0000_0000;
    let plain = Trap { kind: TrapKind::Protection, addr: 0, write: false };
    expect_fault(&code, addr, plain);

    let pages = Pages::new(&[RW]);
    for ty in [Ty::I16, Ty::I64, Ty::V128, Ty::V256] {
        let half = u64::from(ty.bytes()) / 2;
        let aligned = |base| Addr { aligned: true, ..Addr::base(base) };
        let load = faulting(|b, base| {
            b.load(ty, aligned(base));
        });
        expect_fault(&load, pages.0 + half, plain);
        let store = faulting(|b, base| {
            let v = b.get(ty, reg(4));
            b.store(ty, aligned(base), v);
        });
        expect_fault(&store, pages.0 + half, plain);
        expect_fault(&faulting(|b, base| b.probe_write(ty, aligned(base))), pages.0 + half, plain);
        let mut cpu = Cpu::default();
        cpu.regs[0] = pages.0 + 2 * half;
        assert_eq!(run(&mut cpu, &load).kind, ExitKind::Jump);
    }
}

#[test]
fn read_modify_writes_give_the_old_value() {
    let _one = one_run_thread();
    let pages = Pages::new(&[RW]);
    for kind in RmwKind::ALL {
        for ty in INTS {
            let code = block(|b| {
                let (base, v) = (b.get(Ty::I64, reg(0)), b.get(ty, reg(1)));
                let old = b.rmw(kind, ty, base, v);
                put_wide(b, 2, ty, old);
            });
            for x in interesting(ty) {
                for y in interesting(ty) {
                    let want = match kind {
                        RmwKind::Xchg => y,
                        RmwKind::Add => x.wrapping_add(y),
                        RmwKind::Sub => x.wrapping_sub(y),
                        RmwKind::And => x & y,
                        RmwKind::Or => x | y,
                        RmwKind::Xor => x ^ y,
                    };
                    // Neighbouring bytes keep their value.
                    pages.write(pages.0, &(x | !ty.mask()).to_le_bytes());
                    let mut cpu = Cpu::default();
                    cpu.regs[..2].copy_from_slice(&[pages.0, y]);
                    run(&mut cpu, &code);
                    assert_eq!(cpu.regs[2], x, "{kind:?} {ty:?}");
                    let got = u64::from_le_bytes(pages.read(pages.0));
                    assert_eq!(got, want & ty.mask() | !ty.mask(), "{kind:?} {ty:?} {x:#x} {y:#x}");
                }
            }
        }
    }
}

#[test]
fn compare_and_swap_stores_only_on_equality() {
    let _one = one_run_thread();
    let pages = Pages::new(&[RW]);
    for ty in [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128] {
        let code = block(|b| {
            let base = b.get(Ty::I64, reg(0));
            let (expected, new) = (b.get(ty, reg(2)), b.get(ty, reg(4)));
            let old = b.cas(ty, base, expected, new);
            b.put(ty, reg(6), old);
        });
        let memory = [0x1111_2222_3333_4444, 0x5555_6666_7777_8888u64];
        let new = [0x9999_aaaa_bbbb_ccccu64, 0xdddd_eeee_ffff_0000];
        let size = ty.bytes() as usize;
        for (expected_low, swapped) in [(memory[0], true), (memory[0] ^ 1, false)] {
            let bytes =
                |x: [u64; 2]| -> Vec<u8> { x.iter().flat_map(|w| w.to_le_bytes()).collect() };
            pages.write(pages.0, &bytes(memory));
            let mut cpu = Cpu::default();
            cpu.regs[0] = pages.0;
            cpu.regs[2..4].copy_from_slice(&[expected_low, memory[1]]);
            cpu.regs[4..6].copy_from_slice(&new);
            assert_eq!(run(&mut cpu, &code).kind, ExitKind::Jump);
            let mut want = bytes(memory);
            if swapped {
                want[..size].copy_from_slice(&bytes(new)[..size]);
            }
            assert_eq!(pages.read::<16>(pages.0).to_vec(), want, "{ty:?}");
            let old = bytes([cpu.regs[6], cpu.regs[7]]);
            assert_eq!(old[..size], bytes(memory)[..size], "{ty:?}");
        }
    }
    let code = faulting(|b, base| {
        let v = b.get(Ty::V128, reg(4));
        b.cas(Ty::V128, base, v, v);
    });
    let addr = pages.0 + 8;
    expect_fault(&code, addr, Trap { kind: TrapKind::Protection, addr: 0, write: false });
}

#[test]
fn fences_and_lea_do_not_touch_memory() {
    let mut cpu = Cpu::default();
    let code = block(|b| {
        b.fence();
        let x = b.lea(Ty::I64, Addr { disp: 1, ..Addr::base(Val::NONE) });
        let y = b.bin(Op::Add, Ty::I64, x, 1);
        b.put(Ty::I64, reg(0), y);
    });
    assert_eq!(run(&mut cpu, &code).kind, ExitKind::Jump);
    assert_eq!(cpu.regs[0], 2);
}
