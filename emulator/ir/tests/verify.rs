//! One malformed block for every rule of the verifier, with the message it must give.

use emu_ir::{
    Addr, Block, Builder, Cond, Effects, FlagKind, HookKind, HookSite, Inst, JumpKind, Op,
    PlainTarget, RmwKind, TrapKind, Ty, Val, VecOp, verify,
};

static TARGET: PlainTarget = PlainTarget {
    helpers: &[("pure", Effects::PURE), ("state", Effects::STATE), ("full", Effects::FULL)],
};

const R0: u32 = PlainTarget::reg(0);
const PC: u64 = 0x1000;

/// A valid block around what `f` adds to its only instruction.
fn block(f: impl FnOnce(&mut Builder)) -> Block {
    let mut b = Builder::new(PC);
    b.insn_start(PC, 4);
    f(&mut b);
    b.jump(JumpKind::Jump, PC + 4);
    b.finish()
}

/// The verifier's complaint about `block`.
fn complaint(block: &Block) -> String {
    match verify(block, &TARGET) {
        Ok(()) => "valid".to_string(),
        Err(e) => e.to_string(),
    }
}

/// The complaint about a block whose op 3 is `inst`, after v1 of i32 and v2 of i64.
fn about(inst: Inst) -> String {
    complaint(&block(|b| {
        b.get(Ty::I32, R0);
        b.get(Ty::I64, R0);
        b.push(inst);
    }))
}

fn inst(op: Op, ty: Ty, a: u16, b: u16) -> Inst {
    let mut i = Inst::new(op, ty);
    (i.a, i.b) = (Val(a), Val(b));
    i
}

const NONE: u16 = u16::MAX;

#[test]
fn a_valid_block_passes() {
    assert_eq!(complaint(&block(|_| {})), "valid");
    assert_eq!(about(inst(Op::Add, Ty::I32, 1, 1)), "valid");
}

#[test]
fn a_block_ends_exactly_once() {
    assert_eq!(complaint(&Block::default()), "op 0: the block is empty");
    let mut b = block(|_| {});
    b.insts.pop();
    assert_eq!(complaint(&b), "op 0: the last op is not a terminator");
    let twice = block(|b| b.jump(JumpKind::Ret, 0));
    assert_eq!(complaint(&twice), "op 2: code follows the terminator");
    let long = block(|b| (0..Builder::MAX_OPS).for_each(|_| b.fence()));
    assert_eq!(complaint(&long), "op 0: the block has more than 4096 ops");
}

#[test]
fn operands_are_defined_before_their_use() {
    let undefined = |v| format!("op 3: operand a is v{v}, which is not defined before this op");
    assert_eq!(about(inst(Op::Not, Ty::I32, 3, NONE)), undefined(3));
    assert_eq!(about(inst(Op::Not, Ty::I32, 4, NONE)), undefined(4));
    assert_eq!(about(inst(Op::Not, Ty::I32, 900, NONE)), undefined(900));
    let no_value = "op 3: operand a is v0, but that op defines no value";
    assert_eq!(about(inst(Op::Not, Ty::I32, 0, NONE)), no_value);
}

#[test]
fn operands_are_there_or_not_as_the_op_says() {
    assert_eq!(about(inst(Op::Not, Ty::I32, NONE, NONE)), "op 3: operand a is missing");
    let extra = "op 3: operand b is not taken by this op";
    assert_eq!(about(inst(Op::Not, Ty::I32, 1, 1)), extra);
    assert_eq!(about(inst(Op::ExitIf, Ty::I64, 1, 1)), extra);
    let extra = "op 3: operand a is not taken by this op";
    assert_eq!(about(inst(Op::Const, Ty::I32, 1, NONE)), extra);
    assert_eq!(about(inst(Op::Fence, Ty::I64, 1, NONE)), extra);
    let select = inst(Op::Select, Ty::I32, 1, 1).with_c(Val::NONE);
    assert_eq!(about(select), "op 3: operand c is missing");
    let hook = "op 3: operand b is not taken by this op";
    assert_eq!(about(inst(Op::Hook, Ty::I64, NONE, 1)), hook);
}

#[test]
fn operand_types_match() {
    let wants = |operand, found, expected| {
        format!("op 3: operand {operand} has type {found}, expected {expected}")
    };
    assert_eq!(about(inst(Op::Add, Ty::I64, 1, 2)), wants('a', "i32", "i64"));
    assert_eq!(about(inst(Op::Add, Ty::I64, 2, 1)), wants('b', "i32", "i64"));
    assert_eq!(about(inst(Op::Shl, Ty::I64, 2, 2)), wants('b', "i64", "i8"));
    let mut i = inst(Op::Put, Ty::I64, 1, NONE);
    i.imm = u64::from(R0);
    assert_eq!(about(i), wants('a', "i32", "i64"));
    let mut i = inst(Op::Zext, Ty::I64, 1, NONE);
    i.sub = Ty::I16 as u16;
    assert_eq!(about(i), wants('a', "i32", "i16"));
    let store = inst(Op::Store, Ty::I64, 2, NONE).with_c(Val(1));
    assert_eq!(about(store), wants('c', "i32", "i64"));
    let mut i = inst(Op::Vec, Ty::V128, 1, 1).with_c(Val::NONE);
    i.sub = VecOp::Paddd as u16;
    assert_eq!(about(i), wants('a', "i32", "v128"));
    let narrow = complaint(&block(|b| {
        let a = b.get(Ty::I16, R0);
        b.load(Ty::I8, Addr::base(a));
    }));
    assert_eq!(narrow, "op 2: operand a has type i16, expected i32 or i64");
    let wide = complaint(&block(|b| {
        let a = b.get(Ty::V128, R0);
        b.exit_if(a, 0);
    }));
    assert_eq!(wide, "op 2: operand a has type v128, expected an integer");
}

#[test]
fn ops_exist_for_their_type() {
    let not_on = |ty| format!("op 3: the op is not defined on {ty}");
    assert_eq!(about(inst(Op::Add, Ty::V128, 1, 1)), not_on("v128"));
    assert_eq!(about(inst(Op::Bswap, Ty::I8, 1, NONE)), not_on("i8"));
    assert_eq!(about(inst(Op::Lea, Ty::I16, 1, NONE)), not_on("i16"));
    assert_eq!(about(inst(Op::FlagsGet, Ty::I32, NONE, NONE)), not_on("i32"));
    assert_eq!(about(inst(Op::FlagsCond, Ty::I64, NONE, NONE)), not_on("i64"));
    assert_eq!(about(inst(Op::AtomicCas, Ty::V256, 2, 2)), not_on("v256"));
    assert_eq!(about(inst(Op::Call, Ty::V128, NONE, NONE)), not_on("v128"));
    let mut widening = inst(Op::Trunc, Ty::I64, 1, NONE);
    widening.sub = Ty::I32 as u16;
    assert_eq!(about(widening), not_on("i64"));
    let mut int = inst(Op::Vec, Ty::I64, 1, 1);
    int.sub = VecOp::Paddd as u16;
    assert_eq!(about(int), not_on("i64"));
}

#[test]
fn selectors_have_a_meaning() {
    let with = |op, ty, a, b, sub| {
        let mut i = inst(op, ty, a, b);
        i.sub = sub;
        about(i)
    };
    let bad = |sub: u16| format!("op 3: selector {sub:#x} is invalid for this op");
    assert_eq!(with(Op::Add, Ty::I32, 1, 1, 1), bad(1));
    assert_eq!(with(Op::Cmp, Ty::I32, 1, 1, 16), bad(16));
    assert_eq!(with(Op::Cmp, Ty::I32, 1, 1, Cond::S as u16), bad(8));
    assert_eq!(with(Op::FlagsCond, Ty::I8, NONE, NONE, 99), bad(99));
    assert_eq!(with(Op::FlagsSet, Ty::I32, 1, 1, FlagKind::ALL.len() as u16), bad(17));
    assert_eq!(with(Op::Zext, Ty::I64, 1, NONE, Ty::V128 as u16), bad(4));
    assert_eq!(with(Op::Zext, Ty::I64, 1, NONE, 0x102), bad(0x102));
    assert_eq!(with(Op::Load, Ty::I64, 2, NONE, 0x400), bad(0x400));
    assert_eq!(with(Op::Load, Ty::I64, 2, NONE, 2), bad(2));
    assert_eq!(with(Op::Lea, Ty::I64, 2, 2, 4), bad(4));
    assert_eq!(with(Op::AtomicRmw, Ty::I32, 2, 1, RmwKind::ALL.len() as u16), bad(6));
    assert_eq!(with(Op::Vec, Ty::V128, 1, 1, u16::MAX), bad(u16::MAX));
    assert_eq!(with(Op::Trap, Ty::I64, NONE, NONE, TrapKind::None as u16), bad(0));
    assert_eq!(with(Op::Trap, Ty::I64, NONE, NONE, TrapKind::ALL.len() as u16), bad(19));
    assert_eq!(with(Op::JumpInd, Ty::I64, 2, NONE, 3), bad(3));
}

#[test]
fn immediates_fit_and_unused_bits_are_zero() {
    let with = |op, ty, a, b, imm| {
        let mut i = inst(op, ty, a, b);
        i.imm = imm;
        about(i)
    };
    let bad = |imm: u64| format!("op 3: immediate {imm:#x} is invalid for this op");
    assert_eq!(with(Op::Const, Ty::I8, NONE, NONE, 0x100), bad(0x100));
    assert_eq!(with(Op::Add, Ty::I32, 1, NONE, 1 << 32), bad(1 << 32));
    assert_eq!(with(Op::Add, Ty::I32, 1, 1, 5), bad(5));
    assert_eq!(with(Op::Not, Ty::I32, 1, NONE, 5), bad(5));
    assert_eq!(with(Op::Load, Ty::I32, 2, NONE, 1 << 40), bad(1 << 8));
    assert_eq!(with(Op::Lea, Ty::I64, 2, NONE, 1 << 40), bad(1 << 40));
    assert_eq!(with(Op::FlagsGet, Ty::I64, NONE, NONE, 2), bad(2));
    assert_eq!(with(Op::FlagsSet, Ty::I8, NONE, NONE, 0), "op 3: operand a is missing");
    assert_eq!(with(Op::FlagsSet, Ty::I32, 1, 1, 3), bad(3));
    let vector = complaint(&block(|b| {
        let a = b.get(Ty::V128, R0);
        b.vec(VecOp::Paddd, Ty::V128, a, a, Val::NONE, 1);
    }));
    assert_eq!(vector, "op 2: immediate 0xffff000000000001 is invalid for this op");
}

#[test]
fn slots_lie_inside_the_structure() {
    let get = |ty, slot| {
        complaint(&block(|b| {
            b.get(ty, slot);
        }))
    };
    let outside = |slot, bytes| {
        format!(
            "op 1: slot {slot:#x} of {bytes} bytes lies outside the CPU structure (0x80..0x100)"
        )
    };
    assert_eq!(get(Ty::I64, 0xf8), "valid");
    assert_eq!(get(Ty::I64, 0xf9), outside(0xf9, 8));
    assert_eq!(get(Ty::V128, 0xf8), outside(0xf8, 16));
    assert_eq!(get(Ty::I8, 0x7f), outside(0x7f, 1));
    assert_eq!(get(Ty::I32, 0xfc), "valid");
    let put = complaint(&block(|b| {
        let v = b.get(Ty::I32, 0xfc);
        b.put(Ty::I32, 0xfc, v);
    }));
    assert!(put.starts_with("op 2: slot 0xfc of 8 bytes"), "a put of i32 writes 8 bytes: {put}");
}

#[test]
fn tables_have_what_ops_name() {
    let with = |op, sub, imm| {
        let mut i = inst(op, Ty::I64, NONE, NONE);
        (i.sub, i.imm) = (sub, imm);
        about(i)
    };
    assert_eq!(with(Op::Call, 3, 0xffff_ffff), "op 3: there is no helper 3");
    assert_eq!(with(Op::Hook, 0, 0), "op 3: there is no such hook site 0");
    assert_eq!(with(Op::Counter, 0, 7), "op 3: there is no counter site 7");
    let mut b = block(|b| {
        b.push(Inst::new(Op::Hook, Ty::I64));
    });
    b.hooks.push(HookSite::new(HookKind::AfterInsnExec, 0, PC));
    assert_eq!(complaint(&b), "op 1: there is no such hook site 0", "the kinds differ");
    b.insts[1].sub = HookKind::AfterInsnExec as u16;
    assert_eq!(complaint(&b), "valid");
}

#[test]
fn instructions_agree_with_the_list() {
    let plain = block(|_| {});
    let mut b = plain.clone();
    b.insns[0].len = 5;
    let mismatch = "op 0: the instruction mark does not match entry 0 of the instruction list";
    assert_eq!(complaint(&b), mismatch);
    let mut b = plain.clone();
    b.insns.clear();
    assert_eq!(complaint(&b), mismatch);
    let mut b = plain.clone();
    b.insns.push(b.insns[0]);
    assert_eq!(complaint(&b), "op 1: the instruction list has 2 entries for 1 marks");
    let mut b = plain;
    b.pc = 0x2000;
    assert_eq!(complaint(&b), "op 0: the first instruction is at 0x1000, the block at 0x2000");
    let mut b = Builder::new(PC);
    b.get(Ty::I64, R0);
    b.jump(JumpKind::Jump, 0);
    assert_eq!(complaint(&b.finish()), "op 0: the op belongs to no guest instruction");
}

#[test]
fn faults_come_before_changes_of_state() {
    type Change = fn(&mut Builder, Val);
    let changes: [Change; 5] = [
        |b, v| b.put(Ty::I64, R0, v),
        |b, v| b.flags_set(FlagKind::Logic, Ty::I64, v, 0, Val::NONE),
        |b, v| b.store(Ty::I64, Addr::base(v), v),
        |b, v| {
            b.rmw(RmwKind::Add, Ty::I64, v, v);
        },
        |b, v| {
            b.call(Ty::I64, 1, &[]);
            let _ = v;
        },
    ];
    let faults: [Change; 7] = [
        |b, v| {
            b.load(Ty::I8, Addr::base(v));
        },
        |b, v| b.store(Ty::I8, Addr::base(v), Val(2)),
        |b, v| b.probe_write(Ty::I8, Addr::base(v)),
        |b, v| {
            b.cas(Ty::I64, v, v, v);
        },
        |b, v| {
            b.div(Op::DivU, Ty::I64, v, v, v);
        },
        |b, v| {
            b.call(Ty::I64, 2, &[v]);
        },
        |b, _| {
            b.vec(VecOp::Addps, Ty::V128, Val(3), Val(3), Val::NONE, 0);
        },
    ];
    for change in changes {
        for fault in faults {
            let build = |split: bool| {
                complaint(&block(|b| {
                    let v = b.get(Ty::I64, R0);
                    b.get(Ty::I8, R0);
                    b.get(Ty::V128, R0);
                    change(b, v);
                    if split {
                        b.insn_start(PC + 4, 4);
                    }
                    fault(b, v);
                }))
            };
            let rule =
                "the op may fault, but op 4 of the same instruction has changed state already";
            assert_eq!(build(false), format!("op 5: {rule}"));
            assert_eq!(build(true), "valid", "the next instruction may fault");
        }
    }
    let probed = complaint(&block(|b| {
        let v = b.get(Ty::I64, R0);
        b.probe_write(Ty::I64, Addr::base(v));
        b.store(Ty::I64, Addr::base(v), v);
        b.store(Ty::I64, Addr::base(v), v);
    }));
    assert_eq!(probed, "valid", "stores that were probed do not fault");
}
