//! Every integer op at every width against plain arithmetic on wide integers.

mod common;

use common::{Cpu, INTS, block, interesting, put_wide, reg, run};
use emu_cpu::CpuHeader;
use emu_interp::ExitKind;
use emu_ir::{Addr, Builder, Cond, Op, Operand, TrapKind, Ty, Val};

fn signed(ty: Ty, x: u64) -> i128 {
    let x = i128::from(x & ty.mask());
    if x >> (ty.bits() - 1) & 1 != 0 { x - (1i128 << ty.bits()) } else { x }
}

fn wrap(ty: Ty, x: i128) -> u64 {
    (x & i128::from(ty.mask())) as u64
}

fn count(ty: Ty, n: u64) -> u32 {
    (n % if ty == Ty::I64 { 64 } else { 32 }) as u32
}

/// What each binary op must give, written without the shifts and masks of the implementation.
fn reference(op: Op, ty: Ty, a: u64, b: u64) -> u64 {
    let (ua, ub) = (i128::from(a), i128::from(b));
    let (sa, sb) = (signed(ty, a), signed(ty, b));
    let rotated = |right: bool| {
        let bits = ty.bits();
        (0..bits).fold(0, |r, n| {
            let by = (b as u32 & 0xff) % bits;
            let to = if right { (n + bits - by) % bits } else { (n + by) % bits };
            r | (a >> n & 1) << to
        })
    };
    match op {
        Op::Add => wrap(ty, ua + ub),
        Op::Sub => wrap(ty, ua - ub),
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => (a | b) - (a & b),
        Op::Shl => wrap(ty, ua << count(ty, b)),
        Op::Shr => wrap(ty, ua >> count(ty, b)),
        Op::Sar => wrap(ty, sa >> count(ty, b)),
        Op::Rol => rotated(false),
        Op::Ror => rotated(true),
        Op::Mul => wrap(ty, sa.wrapping_mul(sb)),
        Op::MulHiU => ((u128::from(a) * u128::from(b)) >> ty.bits()) as u64,
        Op::MulHiS => wrap(ty, (sa * sb) >> ty.bits()),
        _ => unreachable!("not a binary op"),
    }
}

const BINARY: [Op; 13] = [
    Op::Add,
    Op::Sub,
    Op::And,
    Op::Or,
    Op::Xor,
    Op::Shl,
    Op::Shr,
    Op::Sar,
    Op::Rol,
    Op::Ror,
    Op::Mul,
    Op::MulHiU,
    Op::MulHiS,
];

#[test]
fn binary_ops() {
    for op in BINARY {
        let shift = matches!(op, Op::Shl | Op::Shr | Op::Sar | Op::Rol | Op::Ror);
        for ty in INTS {
            let count_ty = if shift { Ty::I8 } else { ty };
            let by_value = block(|b| {
                let x = b.get(ty, reg(0));
                let y = b.get(count_ty, reg(1));
                let r = b.bin(op, ty, x, y);
                put_wide(b, 2, ty, r);
            });
            for x in interesting(ty) {
                for y in interesting(count_ty) {
                    let mut cpu = Cpu::default();
                    // Bits above the width must not matter.
                    cpu.regs[0] = x | !ty.mask();
                    cpu.regs[1] = y | !count_ty.mask();
                    let want = reference(op, ty, x, y);
                    run(&mut cpu, &by_value);
                    assert_eq!(cpu.regs[2], want, "{op:?}.{ty:?} {x:#x}, {y:#x}");
                    let by_imm = block(|b| {
                        let x = b.get(ty, reg(0));
                        let r = b.bin(op, ty, x, y);
                        put_wide(b, 2, ty, r);
                    });
                    run(&mut cpu, &by_imm);
                    assert_eq!(cpu.regs[2], want, "{op:?}.{ty:?} {x:#x}, immediate {y:#x}");
                }
            }
        }
    }
}

#[test]
fn unary_ops() {
    for ty in INTS {
        for x in interesting(ty) {
            let bits: Vec<bool> = (0..ty.bits()).map(|n| x >> n & 1 != 0).collect();
            let ones = bits.iter().filter(|b| **b).count() as u64;
            let clz = bits.iter().rev().take_while(|b| !**b).count() as u64;
            let ctz = bits.iter().take_while(|b| !**b).count() as u64;
            let mut bytes = x.to_le_bytes()[..ty.bytes() as usize].to_vec();
            bytes.reverse();
            bytes.resize(8, 0);
            let swapped = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
            for (op, want) in [
                (Op::Not, ty.mask() - x),
                (Op::Neg, wrap(ty, -i128::from(x))),
                (Op::Bswap, swapped),
                (Op::Clz, clz),
                (Op::Ctz, ctz),
                (Op::Popcnt, ones),
            ] {
                let mut cpu = Cpu::default();
                cpu.regs[0] = x | !ty.mask();
                let code = block(|b| {
                    let x = b.get(ty, reg(0));
                    let r = b.un(op, ty, x);
                    put_wide(b, 1, ty, r);
                });
                run(&mut cpu, &code);
                assert_eq!(cpu.regs[1], want, "{op:?}.{ty:?} {x:#x}");
            }
        }
    }
}

#[test]
fn conversions() {
    for from in INTS {
        for to in INTS {
            for x in interesting(from) {
                let ops: &[(Op, u64)] = if to > from {
                    &[(Op::Zext, x), (Op::Sext, wrap(to, signed(from, x)))]
                } else if to < from {
                    &[(Op::Trunc, x & to.mask())]
                } else {
                    &[]
                };
                for &(op, want) in ops {
                    let mut cpu = Cpu::default();
                    cpu.regs[0] = x;
                    let code = block(|b| {
                        let x = b.get(from, reg(0));
                        let r = b.convert(op, from, to, x);
                        put_wide(b, 1, to, r);
                    });
                    run(&mut cpu, &code);
                    assert_eq!(cpu.regs[1], want, "{op:?} {from:?} to {to:?} {x:#x}");
                }
            }
        }
    }
}

#[test]
fn comparisons() {
    for ty in INTS {
        for x in interesting(ty) {
            for y in interesting(ty) {
                let (sx, sy) = (signed(ty, x), signed(ty, y));
                for (cond, want) in [
                    (Cond::B, x < y),
                    (Cond::Ae, x >= y),
                    (Cond::E, x == y),
                    (Cond::Ne, x != y),
                    (Cond::Be, x <= y),
                    (Cond::A, x > y),
                    (Cond::L, sx < sy),
                    (Cond::Ge, sx >= sy),
                    (Cond::Le, sx <= sy),
                    (Cond::G, sx > sy),
                ] {
                    for rhs in [None, Some(y)] {
                        let code = block(|b| {
                            let a = b.get(ty, reg(0));
                            let operand = match rhs {
                                Some(y) => Operand::Imm(y),
                                None => Operand::Val(b.get(ty, reg(1))),
                            };
                            let r = b.cmp(cond, ty, a, operand);
                            put_wide(b, 2, Ty::I8, r);
                        });
                        let mut cpu = Cpu::default();
                        cpu.regs[..2].copy_from_slice(&[x, y]);
                        run(&mut cpu, &code);
                        assert_eq!(cpu.regs[2], u64::from(want), "{ty:?} {x:#x} {cond:?} {y:#x}");
                    }
                }
            }
        }
    }
}

/// Quotient and remainder of `hi:lo` by `d`, or `None` where the op must trap.
fn division(is_signed: bool, ty: Ty, hi: u64, lo: u64, d: u64) -> Option<(u64, u64)> {
    if d == 0 {
        return None;
    }
    if is_signed {
        let wide = u128::from(hi) << ty.bits() | u128::from(lo);
        let unused = 128 - 2 * ty.bits();
        let (n, d) = ((wide << unused) as i128 >> unused, signed(ty, d));
        let (q, r) = (n.checked_div(d)?, n.checked_rem(d)?);
        (signed(ty, wrap(ty, q)) == q).then(|| (wrap(ty, q), wrap(ty, r)))
    } else {
        let n = u128::from(hi) << ty.bits() | u128::from(lo);
        let (q, r) = (n / u128::from(d), n % u128::from(d));
        (q <= u128::from(ty.mask())).then_some((q as u64, r as u64))
    }
}

#[test]
fn divisions_and_their_traps() {
    let ops = [(Op::DivU, Op::RemU, false), (Op::DivS, Op::RemS, true)];
    let (mut traps, mut results) = (0, 0);
    for (div, rem, is_signed) in ops {
        for ty in INTS {
            let code = block(|b| {
                let [hi, lo, d] = [0, 1, 2].map(|n| b.get(ty, reg(n)));
                let q = b.div(div, ty, hi, lo, d);
                let r = b.div(rem, ty, hi, lo, d);
                put_wide(b, 3, ty, q);
                put_wide(b, 4, ty, r);
            });
            for hi in interesting(ty) {
                for lo in interesting(ty) {
                    for d in interesting(ty) {
                        let mut cpu = Cpu::default();
                        cpu.regs[..3].copy_from_slice(&[hi, lo, d]);
                        let exit = run(&mut cpu, &code);
                        match division(is_signed, ty, hi, lo, d) {
                            Some((q, r)) => {
                                let got = (cpu.regs[3], cpu.regs[4]);
                                assert_eq!(got, (q, r), "{div:?}.{ty:?} {hi:#x}:{lo:#x} / {d:#x}");
                                results += 1;
                            }
                            None => {
                                assert_eq!(exit.kind, ExitKind::Trap);
                                assert_eq!(exit.retired, 0);
                                assert_eq!(trap(&mut cpu.hdr), Some(TrapKind::DivideError));
                                assert_eq!(cpu.hdr.pc, common::PC);
                                assert_eq!(cpu.regs[3..5], [0, 0]);
                                traps += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(traps > 1000 && results > 1000, "{traps} traps, {results} results");
}

fn trap(hdr: &mut CpuHeader) -> Option<TrapKind> {
    hdr.take_trap().map(|t| t.kind)
}

#[test]
fn select_takes_any_nonzero_condition() {
    for (cond, want) in [(0, 22), (1, 11), (0x80, 11)] {
        let code = block(|b| {
            let c = b.get(Ty::I8, reg(0));
            let (x, y) = (b.get(Ty::I32, reg(1)), b.get(Ty::I32, reg(2)));
            let r = b.select(Ty::I32, c, x, y);
            put_wide(b, 3, Ty::I32, r);
            let (x, y) = (b.get(Ty::V128, reg(4)), b.get(Ty::V128, reg(6)));
            let r = b.select(Ty::V128, c, x, y);
            b.put(Ty::V128, reg(8), r);
        });
        let mut cpu = Cpu::default();
        cpu.regs[..8].copy_from_slice(&[cond, 11, 22, 0, 11, 11, 22, 22]);
        run(&mut cpu, &code);
        assert_eq!(cpu.regs[3], want);
        assert_eq!(cpu.regs[8..10], [want, want]);
    }
}

#[test]
fn lea_wraps_and_lets_operands_be_absent() {
    let lea = |ty: Ty, build: &dyn Fn(&mut Builder) -> Addr| {
        let code = block(|b| {
            let m = build(b);
            let r = b.lea(ty, m);
            put_wide(b, 3, ty, r);
        });
        let mut cpu = Cpu::default();
        cpu.regs[..2].copy_from_slice(&[0xffff_fff0, 0x10]);
        run(&mut cpu, &code);
        cpu.regs[3]
    };
    for (ty, full) in [(Ty::I32, 0x6d), (Ty::I64, 0x1_0000_006d)] {
        let got = lea(ty, &|b| {
            let (x, y) = (b.get(ty, reg(0)), b.get(ty, reg(1)));
            Addr { index: y, shift: 3, disp: -3, ..Addr::base(x) }
        });
        assert_eq!(got, full);
    }
    let only =
        |b: &mut Builder| Addr { index: b.get(Ty::I64, reg(1)), shift: 1, ..Addr::base(Val::NONE) };
    assert_eq!(lea(Ty::I64, &only), 0x20);
    let none = |_: &mut Builder| Addr { disp: -1, ..Addr::base(Val::NONE) };
    assert_eq!(lea(Ty::I64, &none), u64::MAX);
    assert_eq!(lea(Ty::I32, &none), 0xffff_ffff);
}
