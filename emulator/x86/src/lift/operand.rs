//! Operand access: registers, immediates, effective addresses.

use emu_ir::{Addr, Op, Ty, Val};
use iced_x86::{Instruction, OpKind, Register};

use super::{Lifter, Mode};
use crate::state::slot;

/// The integer type of `bytes` bytes; 8 bytes for sizes that are not an integer's.
pub fn int_ty(bytes: usize) -> Ty {
    Ty::int(bytes as u32).unwrap_or(Ty::I64)
}

/// Slot and type of a general register.
pub fn gpr_slot(r: Register) -> (Ty, u32) {
    let high = matches!(r, Register::AH | Register::CH | Register::DH | Register::BH);
    let n = r.full_register().number();
    (int_ty(r.size()), slot::gpr(n) + u32::from(high))
}

/// Number of a segment register as instructions encode it: es cs ss ds fs gs.
pub fn segment_number(r: Register) -> usize {
    r.number() & 7
}

impl Lifter {
    /// Reads a general register at its own width.
    pub fn read_gpr(&mut self, r: Register) -> Val {
        let (ty, slot) = gpr_slot(r);
        self.b.get(ty, slot)
    }

    /// Writes a general register at its own width (32-bit writes zero-extend).
    pub fn write_gpr(&mut self, r: Register, v: Val) {
        let (ty, slot) = gpr_slot(r);
        self.b.put(ty, slot, v);
    }

    /// Reads an XMM register.
    pub fn read_xmm(&mut self, r: Register) -> Val {
        self.b.get(Ty::V128, slot::vec(r.number()))
    }

    /// Writes an XMM register (legacy SSE: the upper YMM half stays).
    pub fn write_xmm(&mut self, r: Register, v: Val) {
        self.b.put(Ty::V128, slot::vec(r.number()), v);
    }

    /// The integer type of operand `n`: the register's, the memory operand's or the immediate's
    /// width (an immediate that is sign-extended has the extended width).
    pub fn op_ty(&self, i: &Instruction, n: u32) -> Ty {
        match i.op_kind(n) {
            OpKind::Register => int_ty(i.op_register(n).size()),
            OpKind::Immediate8 | OpKind::Immediate8_2nd => Ty::I8,
            OpKind::Immediate16 | OpKind::Immediate8to16 => Ty::I16,
            OpKind::Immediate32 | OpKind::Immediate8to32 => Ty::I32,
            OpKind::Immediate64 | OpKind::Immediate8to64 | OpKind::Immediate32to64 => Ty::I64,
            _ => int_ty(i.memory_size().size()),
        }
    }

    /// Whether operand `n` is memory.
    pub fn is_mem(i: &Instruction, n: u32) -> bool {
        i.op_kind(n) == OpKind::Memory
    }

    /// Reads integer operand `n` (general register, memory or immediate) at its width.
    pub fn read(&mut self, i: &Instruction, n: u32) -> Val {
        match i.op_kind(n) {
            OpKind::Register => self.read_gpr(i.op_register(n)),
            OpKind::Memory => {
                let m = self.ea(i);
                self.b.load(int_ty(i.memory_size().size()), m)
            }
            _ => {
                let ty = self.op_ty(i, n);
                self.b.iconst(ty, i.immediate(n))
            }
        }
    }

    /// Writes integer operand `n` (general register or memory).
    pub fn write(&mut self, i: &Instruction, n: u32, v: Val) {
        if Self::is_mem(i, n) {
            let m = self.ea(i);
            self.b.store(int_ty(i.memory_size().size()), m, v);
        } else {
            self.write_gpr(i.op_register(n), v);
        }
    }

    /// The address of the instruction's memory operand, with its segment base.
    pub fn ea(&mut self, i: &Instruction) -> Addr {
        let addr = self.offset(i);
        self.with_segment(i, addr)
    }

    /// `addr` in the segment of the instruction's memory operand. All segments but FS and GS are
    /// flat.
    pub fn with_segment(&mut self, i: &Instruction, addr: Addr) -> Addr {
        let base_slot = match i.memory_segment() {
            Register::FS => slot::FS_BASE,
            Register::GS => slot::GS_BASE,
            _ => return addr,
        };
        let segment = self.b.get(self.mode.word(), base_slot);
        self.add_segment(segment, addr)
    }

    /// `addr` relative to a segment base.
    fn add_segment(&mut self, segment: Val, addr: Addr) -> Addr {
        let plain_offset = addr.index == Val::NONE && (!addr.wrap32 || self.mode == Mode::Bits32);
        let wrap32 = self.mode == Mode::Bits32;
        if plain_offset {
            return Addr { base: segment, index: addr.base, shift: 0, wrap32, ..addr };
        }
        let offset = self.addr_value(addr);
        Addr { base: segment, index: offset, shift: 0, disp: 0, wrap32, aligned: false }
    }

    /// The address of the instruction's memory operand without its segment base (`lea`).
    pub fn offset(&mut self, i: &Instruction) -> Addr {
        let none = Addr { wrap32: self.mode == Mode::Bits32, ..Addr::base(Val::NONE) };
        let (base, index) = (i.memory_base(), i.memory_index());
        if i.is_ip_rel_memory_operand() {
            let target = i.ip_rel_memory_address();
            if i32::try_from(target).is_ok() {
                return Addr { disp: target as i32, ..none };
            }
            let target = self.b.iconst(Ty::I64, target);
            return Addr::base(target);
        }
        let size = if base != Register::None {
            base.size()
        } else if index != Register::None {
            index.size()
        } else {
            i.memory_displ_size() as usize
        };
        if size == 2 {
            return self.offset16(i);
        }
        let displacement = i.memory_displacement64();
        // Absolute 64-bit displacements exist for mov with moffs only.
        let ty = if size == 8 { Ty::I64 } else { Ty::I32 };
        let wrap32 = ty == Ty::I32;
        if base == Register::None && index == Register::None {
            let fits = displacement as i32 as i64 as u64 == displacement || wrap32;
            if fits {
                return Addr { disp: displacement as i32, wrap32, ..none };
            }
            let at = self.b.iconst(Ty::I64, displacement);
            return Addr { wrap32, ..Addr::base(at) };
        }
        let mut part = |r: Register| match r {
            Register::None => Val::NONE,
            _ => self.b.get(ty, slot::gpr(r.full_register().number())),
        };
        let (base, index) = (part(base), part(index));
        let shift = i.memory_index_scale().trailing_zeros() as u8;
        let (base, index, shift) = match (base.is_some(), index.is_some(), shift) {
            (true, false, _) => (base, index, 0),
            (false, true, 0) => (index, base, 0),
            _ => (base, index, shift),
        };
        Addr { base, index, shift, disp: displacement as i32, wrap32, aligned: false }
    }

    /// 16-bit addressing: the sum wraps at 64 KiB.
    fn offset16(&mut self, i: &Instruction) -> Addr {
        let mut part = |r: Register| match r {
            Register::None => Val::NONE,
            _ => self.b.get(Ty::I32, slot::gpr(r.full_register().number())),
        };
        let (base, index) = (part(i.memory_base()), part(i.memory_index()));
        let disp = i.memory_displacement32() as i32;
        let sum = Addr { base, index, shift: 0, disp, wrap32: true, aligned: false };
        let sum = self.b.lea(Ty::I32, sum);
        let sum = self.b.bin(Op::And, Ty::I32, sum, 0xffff);
        Addr { wrap32: true, ..Addr::base(sum) }
    }

    /// An address as a value of the guest's word size (`i64` for 64-bit guests, else `i32`).
    pub fn addr_value(&mut self, m: Addr) -> Val {
        let word = self.mode.word();
        let bare = m.index == Val::NONE && m.disp == 0 && m.base.is_some();
        if m.wrap32 {
            let v = if bare { m.base } else { self.b.lea(Ty::I32, m) };
            return self.b.convert(Op::Zext, Ty::I32, word, v);
        }
        if bare { m.base } else { self.b.lea(Ty::I64, m) }
    }

    /// An address as an `i64`, for ops and helpers that take one.
    pub fn addr64(&mut self, m: Addr) -> Val {
        let v = self.addr_value(m);
        let word = self.mode.word();
        self.b.convert(Op::Zext, word, Ty::I64, v)
    }

    /// Reads operand `n`, an XMM register or 128 bits of memory; `aligned` for the instructions
    /// that demand it.
    pub fn read_xmm_op(&mut self, i: &Instruction, n: u32, aligned: bool) -> Val {
        if Self::is_mem(i, n) {
            let m = self.ea(i);
            self.b.load(Ty::V128, Addr { aligned, ..m })
        } else {
            self.read_xmm(i.op_register(n))
        }
    }

    /// Reads operand `n`, an XMM register or memory of the operand's own size (1 to 16 bytes),
    /// as an integer of type `ty`: the register's low part.
    pub fn read_xmm_low(&mut self, i: &Instruction, n: u32, ty: Ty) -> Val {
        if Self::is_mem(i, n) {
            let m = self.ea(i);
            self.b.load(ty, m)
        } else {
            self.b.get(ty, slot::vec(i.op_register(n).number()))
        }
    }
}
