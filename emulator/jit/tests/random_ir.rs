//! Both tiers on random blocks.

mod common;

use common::{Bench, DATA, DATA_LEN, Rng, Shortest};
use emu_ir::{
    Addr, Block, Builder, Cond, FlagKind, JumpKind, Op, Operand, RmwKind, Ty, Val, VecOp,
};
use emu_x86::state::slot;

struct Gen<'a> {
    rng: &'a mut Rng,
    b: Builder,
    ints: Vec<(Val, Ty)>,
    vecs: Vec<Val>,
}

impl Gen<'_> {
    fn ty(&mut self) -> Ty {
        match self.rng.below(10) {
            0 => Ty::I8,
            1 => Ty::I16,
            2..=5 => Ty::I32,
            _ => Ty::I64,
        }
    }

    fn gpr(&mut self) -> u32 {
        slot::gpr(self.rng.below(16) as usize)
    }

    /// A value of type `ty`.
    fn int(&mut self, ty: Ty) -> Val {
        let known: Vec<Val> = self.ints.iter().filter(|(_, t)| *t == ty).map(|(v, _)| *v).collect();
        let recent = known.len().min(6);
        match self.rng.below(10) {
            0..=4 if recent > 0 => known[known.len() - 1 - self.rng.below(recent as u64) as usize],
            5 => {
                let c = self.rng.value();
                self.b.iconst(ty, c)
            }
            6 if ty == Ty::I8 => {
                let s = slot::gpr(self.rng.below(4) as usize) + 1;
                self.b.get(ty, s)
            }
            _ => {
                let s = self.gpr();
                self.b.get(ty, s)
            }
        }
    }

    fn vec(&mut self) -> Val {
        if !self.vecs.is_empty() && self.rng.chance(50) {
            let n = self.vecs.len().min(4);
            return self.vecs[self.vecs.len() - 1 - self.rng.below(n as u64) as usize];
        }
        let s = slot::vec(self.rng.below(16) as usize);
        self.b.get(Ty::V128, s)
    }

    fn operand(&mut self, ty: Ty) -> Operand {
        if self.rng.chance(40) {
            Operand::Imm(self.rng.value() & ty.mask())
        } else {
            Operand::Val(self.int(ty))
        }
    }

    fn addr(&mut self) -> Addr {
        if self.rng.chance(60) {
            // Inside the data, whatever the registers hold.
            let v = self.int(Ty::I64);
            let v = self.b.bin(Op::And, Ty::I64, v, (DATA_LEN - 1) as u64);
            return Addr { disp: DATA as i32, ..Addr::base(v) };
        }
        let base = self.int(Ty::I64);
        let index = if self.rng.chance(30) { self.int(Ty::I64) } else { Val::NONE };
        Addr {
            base,
            index,
            shift: self.rng.below(4) as u8,
            disp: self.rng.below(256) as i32 - 128,
            wrap32: self.rng.chance(30),
            aligned: false,
        }
    }

    fn flags(&mut self) {
        let ty = self.ty();
        let a = self.int(ty);
        let kind = FlagKind::ALL[self.rng.below(17) as usize];
        match kind {
            FlagKind::Raw => {
                let a = self.int(Ty::I64);
                self.b.flags_set(kind, Ty::I64, a, 0, Val::NONE);
            }
            FlagKind::Shl | FlagKind::Shr | FlagKind::Sar => {
                let mask = if ty == Ty::I64 { 63 } else { 31 };
                if self.rng.chance(50) {
                    let n = self.rng.below(mask + 1);
                    self.b.flags_set(kind, ty, a, n, Val::NONE);
                } else {
                    let n = self.int(Ty::I8);
                    let n = self.b.bin(Op::And, Ty::I8, n, mask);
                    self.b.flags_set(kind, ty, a, n, Val::NONE);
                }
            }
            FlagKind::Rol | FlagKind::Ror => {
                let keep = self.b.flags_get(emu_ir::flags::ALL);
                let n = self.int(Ty::I8);
                self.b.flags_set(kind, ty, a, n, keep);
            }
            FlagKind::Adc | FlagKind::Sbb => {
                let c = self.b.flags_cond(Cond::B);
                let b = self.int(ty);
                self.b.flags_set(kind, ty, a, b, c);
            }
            FlagKind::Inc | FlagKind::Dec => {
                let c = self.b.flags_cond(Cond::B);
                let op = if kind == FlagKind::Inc { Op::Add } else { Op::Sub };
                let r = self.b.bin(op, ty, a, 1);
                self.ints.push((r, ty));
                self.b.flags_set(kind, ty, r, 0, c);
            }
            FlagKind::Carry => {
                let keep = self.b.flags_get(emu_ir::flags::ALL);
                self.b.flags_set(kind, ty, a, 0, keep);
            }
            _ => {
                let b = self.operand(ty);
                self.b.flags_set(kind, ty, a, b, Val::NONE);
            }
        }
    }

    /// As lifters write `add a, b`.
    fn arithmetic(&mut self) {
        let ty = self.ty();
        let (op, kind) = match self.rng.below(5) {
            0 => (Op::Add, FlagKind::Add),
            1 => (Op::Sub, FlagKind::Sub),
            2 => (Op::And, FlagKind::Logic),
            3 => (Op::Or, FlagKind::Logic),
            _ => (Op::Xor, FlagKind::Logic),
        };
        let s = self.gpr();
        let a = self.b.get(ty, s);
        let b = self.operand(ty);
        let r = self.b.bin(op, ty, a, b);
        if kind == FlagKind::Logic {
            self.b.flags_set(kind, ty, r, 0, Val::NONE);
        } else {
            self.b.flags_set(kind, ty, a, b, Val::NONE);
        }
        self.b.put(ty, s, r);
        if self.rng.chance(30) {
            self.ints.push((r, ty));
        }
    }

    fn step(&mut self) {
        let ty = self.ty();
        match self.rng.below(30) {
            0..=4 => self.arithmetic(),
            5..=6 => {
                let ops = [Op::Add, Op::Sub, Op::And, Op::Or, Op::Xor, Op::Mul];
                let op = ops[self.rng.below(6) as usize];
                let (a, b) = (self.int(ty), self.operand(ty));
                let r = self.b.bin(op, ty, a, b);
                self.ints.push((r, ty));
            }
            7 => {
                let op = [Op::MulHiU, Op::MulHiS][self.rng.below(2) as usize];
                let (a, b) = (self.int(ty), self.operand(ty));
                let lo = self.b.bin(Op::Mul, ty, a, b);
                let hi = self.b.bin(op, ty, a, b);
                self.ints.push((lo, ty));
                self.ints.push((hi, ty));
            }
            8..=9 => {
                let ops = [Op::Shl, Op::Shr, Op::Sar, Op::Rol, Op::Ror];
                let op = ops[self.rng.below(5) as usize];
                let a = self.int(ty);
                let r = if self.rng.chance(50) {
                    let n = self.rng.below(70);
                    self.b.bin(op, ty, a, n)
                } else {
                    let n = self.int(Ty::I8);
                    self.b.bin(op, ty, a, n)
                };
                self.ints.push((r, ty));
            }
            10 => {
                let ops = [Op::Not, Op::Neg, Op::Clz, Op::Ctz, Op::Popcnt];
                let op = ops[self.rng.below(5) as usize];
                let a = self.int(ty);
                let r = self.b.un(op, ty, a);
                self.ints.push((r, ty));
                if ty != Ty::I8 {
                    let r = self.b.un(Op::Bswap, ty, a);
                    self.ints.push((r, ty));
                }
            }
            11..=12 => {
                let to = self.ty();
                let a = self.int(ty);
                let op = if to > ty {
                    [Op::Zext, Op::Sext][self.rng.below(2) as usize]
                } else {
                    Op::Trunc
                };
                let r = self.b.convert(op, ty, to, a);
                self.ints.push((r, to));
            }
            13 => {
                let conds: Vec<Cond> = Cond::ALL
                    .into_iter()
                    .filter(|c| {
                        !matches!(c, Cond::O | Cond::No | Cond::S | Cond::Ns | Cond::P | Cond::Np)
                    })
                    .collect();
                let cond = conds[self.rng.below(conds.len() as u64) as usize];
                let (a, b) = (self.int(ty), self.operand(ty));
                let c = self.b.cmp(cond, ty, a, b);
                self.condition(c);
            }
            14..=16 => {
                let c = self.b.flags_cond(Cond::from_u8(self.rng.next() as u8));
                self.condition(c);
            }
            17 => self.flags(),
            18 => {
                let w = if self.rng.chance(50) { Ty::I32 } else { Ty::I64 };
                let m = Addr {
                    base: self.int(w),
                    index: self.int(w),
                    shift: self.rng.below(4) as u8,
                    disp: self.rng.next() as i32,
                    wrap32: false,
                    aligned: false,
                };
                let r = self.b.lea(w, m);
                self.ints.push((r, w));
            }
            19..=20 => {
                let m = self.addr();
                let r = self.b.load(ty, m);
                self.ints.push((r, ty));
                if ty == Ty::I64 && self.rng.chance(30) {
                    let v = self.b.vec(VecOp::Movq, Ty::V128, r, Val::NONE, Val::NONE, 0);
                    self.vecs.push(v);
                }
            }
            21 => {
                let m = self.addr();
                let v = self.int(ty);
                self.b.store(ty, m, v);
            }
            22 => {
                let m = self.addr();
                if self.rng.chance(50) {
                    let v = self.b.load(Ty::V128, m);
                    self.vecs.push(v);
                } else {
                    let v = self.vec();
                    self.b.store(Ty::V128, m, v);
                }
            }
            23 => {
                let v = self.int(Ty::I64);
                // Aligned: the kernel slows atomics that cross a cache line down to a crawl.
                let v = self.b.bin(Op::And, Ty::I64, v, (DATA_LEN - 8) as u64);
                let a = self.b.bin(Op::Add, Ty::I64, v, DATA);
                let x = self.int(ty);
                let r = if self.rng.chance(70) {
                    let kind = RmwKind::ALL[self.rng.below(6) as usize];
                    self.b.rmw(kind, ty, a, x)
                } else {
                    let y = self.int(ty);
                    self.b.cas(ty, a, x, y)
                };
                if self.rng.chance(60) {
                    self.ints.push((r, ty));
                }
            }
            24..=25 => {
                let ops = [
                    VecOp::Paddd,
                    VecOp::Pxor,
                    VecOp::Psubq,
                    VecOp::Pand,
                    VecOp::Addsd,
                    VecOp::Mulpd,
                    VecOp::Punpcklbw,
                ];
                let op = ops[self.rng.below(ops.len() as u64) as usize];
                let (x, y) = (self.vec(), self.vec());
                let r = self.b.vec(op, Ty::V128, x, y, Val::NONE, 0);
                self.vecs.push(r);
                let s = slot::vec(self.rng.below(16) as usize);
                self.b.put(Ty::V128, s, r);
            }
            26 if self.rng.chance(40) => {
                let op = [VecOp::Ucomisd, VecOp::Ucomiss][self.rng.below(2) as usize];
                let (x, y) = (self.vec(), self.vec());
                let r = self.b.vec(op, Ty::I64, x, y, Val::NONE, 0);
                self.b.flags_set(FlagKind::Raw, Ty::I64, r, 0, Val::NONE);
                if self.rng.chance(30) {
                    self.ints.push((r, Ty::I64));
                }
                if self.rng.chance(60) {
                    let c = self.b.flags_cond(Cond::from_u8(self.rng.next() as u8));
                    self.condition(c);
                }
            }
            26 => {
                let s = slot::vec(self.rng.below(16) as usize) + 8 * self.rng.below(2) as u32;
                if self.rng.chance(50) {
                    let v = self.int(Ty::I64);
                    self.b.put(Ty::I64, s, v);
                } else {
                    let t = if self.rng.chance(50) { Ty::I32 } else { Ty::I64 };
                    let v = self.b.get(t, s);
                    self.ints.push((v, t));
                }
            }
            27 => {
                let (hi, lo, d) = (self.int(ty), self.int(ty), self.int(ty));
                let signed = self.rng.chance(50);
                let hi = if self.rng.chance(70) {
                    if signed {
                        self.b.bin(Op::Sar, ty, lo, u64::from(ty.bits() - 1))
                    } else {
                        self.b.iconst(ty, 0)
                    }
                } else {
                    hi
                };
                let d = self.b.bin(Op::Or, ty, d, 1);
                let (q, r) = if signed { (Op::DivS, Op::RemS) } else { (Op::DivU, Op::RemU) };
                let q = self.b.div(q, ty, hi, lo, d);
                let r = self.b.div(r, ty, hi, lo, d);
                self.ints.push((q, ty));
                self.ints.push((r, ty));
            }
            _ => {
                let v = self.int(ty);
                let s = if ty == Ty::I8 && self.rng.chance(40) {
                    slot::gpr(self.rng.below(4) as usize) + 1
                } else {
                    self.gpr()
                };
                self.b.put(ty, s, v);
            }
        }
    }

    fn condition(&mut self, c: Val) {
        match self.rng.below(3) {
            0 => self.b.exit_if(c, 0x5000 + self.rng.0 % 64),
            1 => {
                let ty = self.ty();
                let (x, y) = (self.int(ty), self.int(ty));
                let r = self.b.select(ty, c, x, y);
                self.ints.push((r, ty));
            }
            _ => self.ints.push((c, Ty::I8)),
        }
    }
}

fn random_block(rng: &mut Rng) -> Block {
    let steps = 1 + rng.below(40);
    let mut g = Gen { rng, b: Builder::new(0x4000), ints: Vec::new(), vecs: Vec::new() };
    for n in 0..steps {
        if n == 0 || g.rng.chance(40) {
            g.b.insn_start(0x4000 + 4 * n, 4);
        }
        g.step();
    }
    if g.rng.chance(30) {
        let v = g.int(Ty::I64);
        g.b.jump_ind(JumpKind::Jump, v);
    } else {
        g.b.jump(JumpKind::Jump, 0x6000);
    }
    g.b.finish()
}

#[test]
fn random_blocks_do_the_same_in_both_tiers() {
    let mut bench = Bench::new(&emu_x86::X86_64);
    let count = std::env::var("BLOCKS").ok().and_then(|s| s.parse().ok()).unwrap_or(20_000u64);
    let first = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1u64);
    let mut failures = Shortest::default();
    for seed in first..first + count {
        let mut rng = Rng(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let block = random_block(&mut rng);
        bench.randomize(&mut rng);
        let result = bench.check(&block);
        failures.note(block.insts.len(), result, || format!("seed {seed}"));
    }
    failures.assert_none();
    assert!(bench.compiled > count * 9 / 10, "{} compiled", bench.compiled);
    assert!(bench.faults > count / 100, "{} faults", bench.faults);
}
