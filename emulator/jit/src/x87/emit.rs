//! Emits x87 instructions.

use emu_cpu::{X87Op, X87Unit};
use emu_ir::{Inst, Op, Ty, Val};

use crate::Unsupported;
use crate::alloc::cpu_mem;
use crate::analyze::Next;
use crate::asm::{Alu, Mem, OF, RAX, RSP, Reg, Rm};
use crate::compile::Compiler;
use crate::exits::ExitKind;
use crate::state::{Kind, SCRATCH};

/// The control word's exception masks.
const MASKS: i32 = 0x3f;
/// The bits of the control word that can be set, and the one that is.
const CONTROL_BITS: i32 = 0x1f3f;
const CONTROL_FIXED: i32 = 0x40;

const FNSTSW_AX: [u8; 2] = [0xdf, 0xe0];
const FNCLEX: [u8; 2] = [0xdb, 0xe2];
/// `fcmovne st(0), st(0)`.
const FCMOVNE: u16 = 0x3c8;

impl Compiler<'_> {
    /// A call of the helper that `op` stands for, as an instruction.
    pub fn native(&mut self, i: &Inst, op: X87Op) -> Result<(), Unsupported> {
        let Some(unit) = self.x87_unit() else { return Err(Unsupported::Op(i.op)) };
        self.x87_to_host(unit)?;
        let [a, b, c, _] = i.call_args();
        match op {
            X87Op::Stack => {
                let opcode = self.opcode(a)?;
                self.on_stack(opcode);
                self.release(&[a]);
                self.note_ip(unit)
            }
            X87Op::Source => {
                let opcode = self.opcode(c)?;
                let m = if self.an.x87.is_folded(a.index()) {
                    self.folded_address(a)?
                } else {
                    let ty = self.block.insts[a.index()].ty;
                    let r = self.gpr(a)?;
                    let m = Mem::at(RSP, SCRATCH);
                    self.asm.store(ty, m, r);
                    m
                };
                self.on_memory(opcode, m);
                // The address is no operand of the instruction.
                self.release_address(a);
                self.release(&[c]);
                self.note_ip(unit)
            }
            X87Op::Address => {
                let opcode = self.opcode(b)?;
                let m = if self.an.x87.is_folded(a.index()) {
                    self.folded_address(a)?
                } else {
                    Mem::at(self.gpr_clean(a, self.block.insts[a.index()].ty)?, 0)
                };
                self.on_memory(opcode, m);
                self.release_address(a);
                self.release(&[b]);
                self.note_ip(unit)
            }
            X87Op::Flags => {
                let opcode = self.opcode(a)?;
                self.vacate(RAX)?;
                self.st.gpr_lock |= 1 << RAX;
                self.on_stack(opcode);
                // lahf leaves the host's flags alone, so that a branch can follow at once.
                self.asm.byte(0x9f);
                // movzx eax, ah
                self.asm.op(0xb6 | OF, false, RAX, Rm::R(4), 0);
                self.release(&[a]);
                self.note_ip(unit)?;
                self.host_flags_of_this();
                self.define(RAX, 8);
                Ok(())
            }
            X87Op::Select => {
                let opcode = self.opcode(b)?;
                let r = self.gpr(a)?;
                self.clobber_flags();
                self.asm.test(Ty::I8, r, r);
                self.on_stack(FCMOVNE | opcode & 7);
                self.release(&[a, b]);
                self.note_ip(unit)
            }
            X87Op::Control => self.control(unit, a),
            X87Op::Status => {
                if self.st.left[self.at] > 0 {
                    self.vacate(RAX)?;
                    self.st.gpr_lock |= 1 << RAX;
                    self.bytes(FNSTSW_AX);
                    self.asm.movzx(Ty::I16, RAX, RAX);
                    self.define(RAX, 16);
                }
                Ok(())
            }
            X87Op::Clear => {
                self.bytes(FNCLEX);
                Ok(())
            }
            // Nothing is pending while everything is masked.
            X87Op::Wait => Ok(()),
        }
    }

    fn bytes(&mut self, bytes: [u8; 2]) {
        bytes.into_iter().for_each(|b| self.asm.byte(b));
    }

    fn opcode(&self, v: Val) -> Result<u16, Unsupported> {
        self.const_of(v).map(|c| c as u16 & 0x7ff).ok_or(Unsupported::Malformed)
    }

    fn on_stack(&mut self, opcode: u16) {
        self.bytes([0xd8 | (opcode >> 8) as u8, opcode as u8]);
    }

    fn on_memory(&mut self, opcode: u16, m: Mem) {
        let reg = (opcode >> 3 & 7) as Reg;
        self.fault_point();
        self.asm.op(0xd8 | u32::from(opcode >> 8), false, reg, Rm::M(m), 0);
    }

    /// The op that computes the folded operand `v`.
    fn folded(&self, v: Val) -> Inst {
        let i = self.block.insts[v.index()];
        if i.op == Op::Zext { self.block.insts[i.a.index()] } else { i }
    }

    /// The memory operand that `v` names, which no op has computed.
    fn folded_address(&mut self, v: Val) -> Result<Mem, Unsupported> {
        let i = self.folded(v);
        let mut a = i.mem();
        a.wrap32 |= i.op == Op::Lea && i.ty == Ty::I32;
        self.address(&a)
    }

    /// Notes the use of the memory operand `v`.
    fn release_address(&mut self, v: Val) {
        if self.an.x87.is_folded(v.index()) {
            let i = self.folded(v);
            self.release(&[i.a, i.b]);
        }
        self.release(&[v]);
    }

    /// Makes this instruction the last one.
    fn note_ip(&mut self, unit: &X87Unit) -> Result<(), Unsupported> {
        let r = self.st.new_root(Kind::Const(self.pc), Ty::I64, 64);
        self.put_root(unit.last_ip, 8, r, Next::NONE)
    }

    /// FLDCW of `v`: one that unmasks an exception is left to the helper.
    fn control(&mut self, unit: &X87Unit, v: Val) -> Result<(), Unsupported> {
        let s = self.gpr(v)?;
        let t = self.alloc_gpr()?;
        self.clobber_flags();
        self.asm.mov32(t, s);
        // not t
        self.asm.op(0xf7, false, 2, Rm::R(t), 0);
        self.asm.test_imm32(t, MASKS as u32);
        let jump = self.asm.jcc(5);
        let side = self.side_exit(ExitKind::Unmasked, 0);
        self.pending.push(crate::exits::Pending::side(jump, side));
        self.asm.mov32(t, s);
        self.asm.alu_imm(Alu::And, Ty::I32, Rm::R(t), CONTROL_BITS);
        self.asm.alu_imm(Alu::Or, Ty::I32, Rm::R(t), CONTROL_FIXED);
        self.release(&[v]);
        self.replace(unit.control, 2)?;
        let m = cpu_mem(unit.control);
        self.asm.store(Ty::I16, m, t);
        // fldcw
        self.asm.op(0xd9, false, 5, Rm::M(m), 0);
        Ok(())
    }
}
