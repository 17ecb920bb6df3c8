//! Encodes host instructions into a buffer.
//!
//! Opcodes are numbers with the prefix and the opcode map in higher bits ([`OF`], [`OF38`],
//! [`OF3A`], [`P66`], [`PF3`], [`PF2`]), so that tables of them stay plain data.

use emu_ir::Ty;

use crate::object::Fixup;

/// A host general register or, where the context says so, a host vector register.
pub type Reg = u8;

pub const RAX: Reg = 0;
pub const RCX: Reg = 1;
pub const RDX: Reg = 2;
pub const RBX: Reg = 3;
pub const RSP: Reg = 4;
pub const RBP: Reg = 5;
pub const RSI: Reg = 6;
pub const RDI: Reg = 7;
pub const R8: Reg = 8;
pub const R9: Reg = 9;
pub const R10: Reg = 10;
pub const R11: Reg = 11;
pub const R12: Reg = 12;
pub const R13: Reg = 13;
pub const R14: Reg = 14;
pub const R15: Reg = 15;

/// No register.
pub const NOREG: Reg = 0xff;

/// Opcode map 0F.
pub const OF: u32 = 0x100;
/// Opcode map 0F 38.
pub const OF38: u32 = 0x200;
/// Opcode map 0F 3A.
pub const OF3A: u32 = 0x300;
/// Mandatory (or operand size) prefix 66.
pub const P66: u32 = 0x1000;
/// Mandatory prefix F3.
pub const PF3: u32 = 0x2000;
/// Mandatory prefix F2.
pub const PF2: u32 = 0x3000;

/// The classic two-operand operations, numbered as in their opcodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shift and rotate operations, numbered as in their opcodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// A memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// Base register or [`NOREG`].
    pub base: Reg,
    /// Index register or [`NOREG`].
    pub index: Reg,
    /// Left shift of the index.
    pub shift: u8,
    /// Displacement.
    pub disp: i32,
    /// 32-bit address arithmetic.
    pub addr32: bool,
}

impl Mem {
    /// `[base + disp]`.
    pub const fn at(base: Reg, disp: i32) -> Mem {
        Mem { base, index: NOREG, shift: 0, disp, addr32: false }
    }
}

/// A register or memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rm {
    /// Register.
    R(Reg),
    /// Memory.
    M(Mem),
}

/// A few bytes of an instruction, in a register.
#[derive(Clone, Copy, Default)]
struct Piece {
    bytes: u64,
    count: u32,
}

impl Piece {
    #[inline(always)]
    fn put(&mut self, b: u8) {
        self.bytes |= u64::from(b) << (8 * self.count);
        self.count += 1;
    }

    #[inline(always)]
    fn put_dword(&mut self, d: u32) {
        self.bytes |= u64::from(d) << (8 * self.count);
        self.count += 4;
    }
}

/// The instruction encoder.
#[derive(Debug, Default)]
pub struct Asm {
    /// The code so far.
    pub buf: Vec<u8>,
    /// What of it depends on where it will be.
    pub fixups: Vec<Fixup>,
}

const fn w(ty: Ty) -> bool {
    matches!(ty, Ty::I64)
}

impl Asm {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Appends a byte.
    #[inline]
    pub fn byte(&mut self, b: u8) {
        self.buf.push(b);
    }

    /// Appends bytes.
    pub fn bytes(&mut self, b: &[u8]) {
        self.buf.extend_from_slice(b);
    }

    /// Appends a little-endian 32-bit number.
    #[inline]
    pub fn dword(&mut self, d: u32) {
        self.buf.extend_from_slice(&d.to_le_bytes());
    }

    /// Appends a little-endian 64-bit number.
    #[inline]
    pub fn qword(&mut self, q: u64) {
        self.buf.extend_from_slice(&q.to_le_bytes());
    }

    /// Appends the bytes of a piece.
    #[inline(always)]
    fn piece(&mut self, p: Piece) {
        let len = self.buf.len();
        // Always eight of them, for a single store.
        self.buf.extend_from_slice(&p.bytes.to_le_bytes());
        self.buf.truncate(len + p.count as usize);
    }

    /// Prefixes, opcode, ModRM and displacement. `bytes` is a mask of operands that are byte
    /// registers (1: reg, 2: rm), which need a REX prefix from number 4 on.
    #[inline]
    pub fn op(&mut self, op: u32, wide: bool, reg: Reg, rm: Rm, bytes: u8) {
        let mut head = Piece::default();
        if let Rm::M(Mem { addr32: true, .. }) = rm {
            head.put(0x67);
        }
        match op & 0xf000 {
            P66 => head.put(0x66),
            PF3 => head.put(0xf3),
            PF2 => head.put(0xf2),
            _ => {}
        }
        let mut rex = (wide as u8) << 3 | (reg >> 3 & 1) << 2;
        let mut force = bytes & 1 != 0 && reg >= 4;
        match rm {
            Rm::R(r) => {
                rex |= r >> 3 & 1;
                force |= bytes & 2 != 0 && r >= 4;
            }
            Rm::M(m) => {
                if m.base != NOREG {
                    rex |= m.base >> 3 & 1;
                }
                if m.index != NOREG {
                    rex |= (m.index >> 3 & 1) << 1;
                }
            }
        }
        if rex != 0 || force {
            head.put(0x40 | rex);
        }
        match op & 0xf00 {
            OF => head.put(0x0f),
            OF38 => {
                head.put(0x0f);
                head.put(0x38);
            }
            OF3A => {
                head.put(0x0f);
                head.put(0x3a);
            }
            _ => {}
        }
        head.put(op as u8);
        self.piece(head);
        self.modrm(reg, rm);
    }

    #[inline]
    fn modrm(&mut self, reg: Reg, rm: Rm) {
        let reg = (reg & 7) << 3;
        let mut tail = Piece::default();
        let m = match rm {
            Rm::R(r) => {
                self.byte(0xc0 | reg | (r & 7));
                return;
            }
            Rm::M(m) => m,
        };
        let index = if m.index == NOREG { 4 } else { m.index & 7 };
        if m.base == NOREG {
            tail.put(reg | 4);
            tail.put(m.shift << 6 | index << 3 | 5);
            tail.put_dword(m.disp as u32);
            self.piece(tail);
            return;
        }
        let mode = match m.disp {
            0 if m.base & 7 != 5 => 0,
            _ if i8::try_from(m.disp).is_ok() => 0x40,
            _ => 0x80,
        };
        if m.index == NOREG && m.base & 7 != 4 {
            tail.put(mode | reg | (m.base & 7));
        } else {
            tail.put(mode | reg | 4);
            tail.put(m.shift << 6 | index << 3 | (m.base & 7));
        }
        match mode {
            0x40 => tail.put(m.disp as u8),
            0x80 => tail.put_dword(m.disp as u32),
            _ => {}
        }
        self.piece(tail);
    }

    /// A VEX instruction: `op` as for [`Asm::op`], `l` for 256 bits.
    #[inline]
    pub fn vex(&mut self, op: u32, wide: bool, l: bool, reg: Reg, vvvv: Reg, rm: Rm) {
        let mut head = Piece::default();
        if let Rm::M(Mem { addr32: true, .. }) = rm {
            head.put(0x67);
        }
        let pp = match op & 0xf000 {
            P66 => 1,
            PF3 => 2,
            PF2 => 3,
            _ => 0,
        };
        let (x, b) = match rm {
            Rm::R(r) => (0, r >> 3 & 1),
            Rm::M(m) => (
                if m.index == NOREG { 0 } else { m.index >> 3 & 1 },
                if m.base == NOREG { 0 } else { m.base >> 3 & 1 },
            ),
        };
        let r = reg >> 3 & 1;
        let tail = (!vvvv & 15) << 3 | (l as u8) << 2 | pp;
        if x == 0 && b == 0 && !wide && op & 0xf00 == OF {
            head.put(0xc5);
            head.put((r ^ 1) << 7 | tail);
        } else {
            head.put(0xc4);
            head.put((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (op >> 8 & 15) as u8);
            head.put((wide as u8) << 7 | tail);
        }
        head.put(op as u8);
        self.piece(head);
        self.modrm(reg, rm);
    }

    /// `movups`: load (`op` 0x10) or store (0x11) of 16 bytes, VEX-encoded if `avx`, or then of 32
    /// if `l`.
    pub fn move_vector(&mut self, (avx, l): (bool, bool), op: u32, reg: Reg, m: Mem) {
        if avx {
            self.vex(op | OF, false, l, reg, 0, Rm::M(m));
        } else {
            self.op(op | OF, false, reg, Rm::M(m), 0);
        }
    }

    /// `mov dst, src`, 64 bits.
    pub fn mov64(&mut self, dst: Reg, src: Reg) {
        self.op(0x8b, true, dst, Rm::R(src), 0);
    }

    /// `mov dst, src`, 32 bits: clears the upper half.
    pub fn mov32(&mut self, dst: Reg, src: Reg) {
        self.op(0x8b, false, dst, Rm::R(src), 0);
    }

    /// Loads a constant without touching the flags.
    pub fn mov_imm(&mut self, dst: Reg, imm: u64) {
        if imm <= u64::from(u32::MAX) {
            if dst >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | (dst & 7));
            self.dword(imm as u32);
        } else if imm as i64 == i64::from(imm as i32) {
            self.op(0xc7, true, 0, Rm::R(dst), 0);
            self.dword(imm as u32);
        } else {
            self.byte(0x48 | (dst >> 3));
            self.byte(0xb8 | (dst & 7));
            self.qword(imm);
        }
    }

    /// Loads the address of the block's description.
    pub fn mov_info(&mut self, dst: Reg, info: u64) {
        self.byte(0x48 | (dst >> 3));
        self.byte(0xb8 | (dst & 7));
        self.fixups.push(Fixup::info(self.len()));
        self.qword(info);
    }

    /// Zero-extending load of `bytes` (1, 2, 4, 8) bytes.
    pub fn load_zx(&mut self, bytes: u32, dst: Reg, m: Mem) {
        match bytes {
            1 => self.op(0xb6 | OF, false, dst, Rm::M(m), 0),
            2 => self.op(0xb7 | OF, false, dst, Rm::M(m), 0),
            4 => self.op(0x8b, false, dst, Rm::M(m), 0),
            _ => self.op(0x8b, true, dst, Rm::M(m), 0),
        }
    }

    /// `movsx` from `from` to `to`, register or memory.
    pub fn movsx(&mut self, from: Ty, to: Ty, dst: Reg, src: Rm) {
        match from {
            Ty::I8 => self.op(0xbe | OF, w(to), dst, src, 2),
            Ty::I16 => self.op(0xbf | OF, w(to), dst, src, 0),
            _ => self.op(0x63, true, dst, src, 0),
        }
    }

    /// Zero-extends the low `ty` of `src`.
    pub fn movzx(&mut self, ty: Ty, dst: Reg, src: Reg) {
        match ty {
            Ty::I8 => self.op(0xb6 | OF, false, dst, Rm::R(src), 2),
            Ty::I16 => self.op(0xb7 | OF, false, dst, Rm::R(src), 0),
            Ty::I32 => self.mov32(dst, src),
            _ => self.mov64(dst, src),
        }
    }

    /// Stores the low `ty` of `src`.
    pub fn store(&mut self, ty: Ty, m: Mem, src: Reg) {
        match ty {
            Ty::I8 => self.op(0x88, false, src, Rm::M(m), 1),
            Ty::I16 => self.op(0x89 | P66, false, src, Rm::M(m), 0),
            _ => self.op(0x89, w(ty), src, Rm::M(m), 0),
        }
    }

    /// Stores a constant, sign-extended from 32 bits for 64-bit stores.
    pub fn store_imm(&mut self, ty: Ty, m: Mem, imm: i32) {
        match ty {
            Ty::I8 => {
                self.op(0xc6, false, 0, Rm::M(m), 0);
                self.byte(imm as u8);
            }
            Ty::I16 => {
                self.op(0xc7 | P66, false, 0, Rm::M(m), 0);
                self.buf.extend_from_slice(&(imm as u16).to_le_bytes());
            }
            _ => {
                self.op(0xc7, w(ty), 0, Rm::M(m), 0);
                self.dword(imm as u32);
            }
        }
    }

    /// `op dst, src` at width `ty`.
    pub fn alu(&mut self, op: Alu, ty: Ty, dst: Reg, src: Rm) {
        let code = (op as u32) << 3;
        match ty {
            Ty::I8 => self.op(code | 2, false, dst, src, 3),
            Ty::I16 => self.op(code | 3 | P66, false, dst, src, 0),
            _ => self.op(code | 3, w(ty), dst, src, 0),
        }
    }

    /// `op dst, imm` at width `ty`.
    pub fn alu_imm(&mut self, op: Alu, ty: Ty, dst: Rm, imm: i32) {
        let n = op as u8;
        match ty {
            Ty::I8 => {
                self.op(0x80, false, n, dst, 2);
                self.byte(imm as u8);
            }
            _ if i8::try_from(imm).is_ok() => {
                let p = if ty == Ty::I16 { P66 } else { 0 };
                self.op(0x83 | p, w(ty), n, dst, 0);
                self.byte(imm as u8);
            }
            Ty::I16 => {
                self.op(0x81 | P66, false, n, dst, 0);
                self.buf.extend_from_slice(&(imm as u16).to_le_bytes());
            }
            _ => {
                self.op(0x81, w(ty), n, dst, 0);
                self.dword(imm as u32);
            }
        }
    }

    /// `op [mem], src` at width `ty`.
    pub fn alu_mem(&mut self, op: Alu, ty: Ty, m: Mem, src: Reg) {
        let code = (op as u32) << 3;
        match ty {
            Ty::I8 => self.op(code, false, src, Rm::M(m), 1),
            Ty::I16 => self.op(code | 1 | P66, false, src, Rm::M(m), 0),
            _ => self.op(code | 1, w(ty), src, Rm::M(m), 0),
        }
    }

    /// `test a, b` at width `ty`.
    pub fn test(&mut self, ty: Ty, a: Reg, b: Reg) {
        match ty {
            Ty::I8 => self.op(0x84, false, b, Rm::R(a), 3),
            Ty::I16 => self.op(0x85 | P66, false, b, Rm::R(a), 0),
            _ => self.op(0x85, w(ty), b, Rm::R(a), 0),
        }
    }

    /// `test a, imm`, 32 bits.
    pub fn test_imm32(&mut self, a: Reg, imm: u32) {
        self.op(0xf7, false, 0, Rm::R(a), 0);
        self.dword(imm);
    }

    /// Shifts by a constant.
    pub fn shift_imm(&mut self, op: Shift, ty: Ty, dst: Reg, n: u8) {
        match ty {
            Ty::I8 => self.op(0xc0, false, op as u8, Rm::R(dst), 2),
            Ty::I16 => self.op(0xc1 | P66, false, op as u8, Rm::R(dst), 0),
            _ => self.op(0xc1, w(ty), op as u8, Rm::R(dst), 0),
        }
        self.byte(n);
    }

    /// Shifts by cl.
    pub fn shift_cl(&mut self, op: Shift, ty: Ty, dst: Reg) {
        match ty {
            Ty::I8 => self.op(0xd2, false, op as u8, Rm::R(dst), 2),
            Ty::I16 => self.op(0xd3 | P66, false, op as u8, Rm::R(dst), 0),
            _ => self.op(0xd3, w(ty), op as u8, Rm::R(dst), 0),
        }
    }

    /// `lea dst, [m]`.
    pub fn lea(&mut self, ty: Ty, dst: Reg, m: Mem) {
        self.op(0x8d, w(ty), dst, Rm::M(m), 0);
    }

    /// `setcc dst` (low byte only).
    pub fn setcc(&mut self, cc: u8, dst: Reg) {
        self.op(0x90 | OF | u32::from(cc), false, 0, Rm::R(dst), 2);
    }

    /// `cmovcc dst, src`.
    pub fn cmov(&mut self, cc: u8, wide: bool, dst: Reg, src: Reg) {
        self.op(0x40 | OF | u32::from(cc), wide, dst, Rm::R(src), 0);
    }

    /// `jcc` with a 32-bit displacement to be filled in; the position of the displacement.
    pub fn jcc(&mut self, cc: u8) -> usize {
        self.byte(0x0f);
        self.byte(0x80 | cc);
        self.dword(0);
        self.len() - 4
    }

    /// `jmp` with a 32-bit displacement to be filled in; the position of the displacement.
    pub fn jmp(&mut self) -> usize {
        self.byte(0xe9);
        self.dword(0);
        self.len() - 4
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.fixups.clear();
    }

    /// Appends other code.
    pub fn append(&mut self, code: &Asm) {
        let base = self.len() as u32;
        self.buf.extend_from_slice(&code.buf);
        self.fixups.extend(code.fixups.iter().map(|f| f.moved(base)));
    }

    /// Points the displacement at `at`, an offset in the buffer, to `target`, one in the arena.
    pub fn point_outside(&mut self, at: usize, target: u32) {
        let rel = target.wrapping_sub(at as u32 + 4);
        self.buf[at..at + 4].copy_from_slice(&rel.to_le_bytes());
        self.fixups.push(Fixup::outside(at));
    }

    /// Points the displacement at `at` to `target`, both offsets in the buffer.
    pub fn patch(&mut self, at: usize, target: usize) {
        let rel = (target as i64 - (at as i64 + 4)) as i32;
        self.buf[at..at + 4].copy_from_slice(&rel.to_le_bytes());
    }
}
