//! Vector operations and their host encodings; the rows are in `vec_table.rs`.

use crate::Ty;

/// The shape of a vector op's operands and result.
///
/// `V` is a vector of one of the op's [lengths](VecLen), the same for all operands and the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VecSig {
    /// (V) → V
    V,
    /// (V, V) → V
    VV,
    /// (V, V, V) → V
    VVV,
    /// (V, control byte) → V
    VImm,
    /// (V, V, control byte) → V
    VVImm,
    /// (V) → integer of the op's type
    ToInt,
    /// (V, control byte) → integer of the op's type
    ToIntImm,
    /// (V, integer) → V: the integer, converted, replaces the low lane
    VInt,
    /// (V, integer, control byte) → V: the integer goes to the lane the control byte names
    VIntImm,
    /// (integer) → V, upper lanes zero
    FromInt,
    /// (V, V) → i64 holding EFLAGS bits
    Flags,
    /// (V, V128) → V: the low 64 bits of b count for every lane
    Shift,
    /// (V128) → V: made of the low lanes of a
    Widen,
    /// (V) → V128: the upper lanes that are not filled are zero
    Narrow,
    /// (V, control byte) → V128
    NarrowImm,
    /// (V, V128, control byte) → V
    Insert,
}

impl VecSig {
    /// Whether the op takes a control byte.
    pub const fn has_imm(self) -> bool {
        matches!(
            self,
            VecSig::VImm
                | VecSig::VVImm
                | VecSig::ToIntImm
                | VecSig::VIntImm
                | VecSig::NarrowImm
                | VecSig::Insert
        )
    }

    /// Whether the result is an integer.
    pub const fn gives_int(self) -> bool {
        matches!(self, VecSig::ToInt | VecSig::ToIntImm | VecSig::Flags)
    }
}

/// Opcode map of an instruction, with the value VEX gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum VecMap {
    /// `0F`
    Of = 1,
    /// `0F 38`
    Of38 = 2,
    /// `0F 3A`
    Of3A = 3,
}

/// Which vector types an op is defined on.
///
/// An op on V256 treats each half by itself, as the op on V128 would, unless its shape or its name
/// says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VecLen {
    /// V128.
    Xmm,
    /// V128 and V256.
    Both,
    /// V256.
    Ymm,
}

impl VecLen {
    /// Whether the op is defined on vectors of type `ty`.
    pub const fn admits(self, ty: Ty) -> bool {
        match self {
            VecLen::Xmm => matches!(ty, Ty::V128),
            VecLen::Both => !ty.is_int(),
            VecLen::Ymm => matches!(ty, Ty::V256),
        }
    }
}

/// Which encodings an instruction has, and which ModRM fields its operands are in.
///
/// In legacy encodings the destination is also operand `a`, unless the shape is
/// [`VecSig::V`], [`VecSig::VImm`], [`VecSig::ToInt`], [`VecSig::ToIntImm`], [`VecSig::Widen`],
/// [`VecSig::Narrow`] or [`VecSig::FromInt`]; in VEX encodings `a` is in vvvv then, if there is a
/// second vector operand. [`VecSig::Flags`] has `a` in the place of the destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VecForm {
    /// reg: destination; r/m: the last operand.
    Rm,
    /// As [`VecForm::Rm`], with `b` in r/m and `c` implicitly in XMM0.
    RmXmm0,
    /// reg: operand `a`; r/m: the (integer) destination.
    Mr,
    /// reg: opcode extension; r/m: operand `a`, which is the destination in legacy encodings.
    Digit(u8),
    /// As [`VecForm::Rm`]; the instruction has no VEX encoding.
    LegacyRm,
    /// As [`VecForm::RmXmm0`]; the instruction has no VEX encoding.
    LegacyRmXmm0,
    /// As [`VecForm::Rm`]; the instruction has only a VEX encoding.
    VexRm,
    /// reg: operand `a`; r/m: the (vector) destination. Only a VEX encoding.
    VexMr,
    /// reg: operand `a` and destination; vvvv: `b`; r/m: `c`. Only a VEX encoding.
    Fma,
}

impl VecForm {
    /// Whether the instruction has only a VEX encoding: the host needs AVX2, FMA and F16C.
    pub const fn is_vex(self) -> bool {
        matches!(self, VecForm::VexRm | VecForm::VexMr | VecForm::Fma)
    }

    /// Whether the instruction has only a legacy encoding: the host needs SHA.
    pub const fn is_legacy(self) -> bool {
        matches!(self, VecForm::LegacyRm | VecForm::LegacyRmXmm0)
    }
}

/// The REX.W (or VEX.W) bit, which gives the size of an integer operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VecWidth {
    /// 0: 32 bits, or no integer operand.
    W0,
    /// 1: 64 bits.
    W1,
    /// 1 when the op's type is i64.
    ByType,
}

/// How the host encodes a vector op. Map, prefix, opcode and form of an instruction that has a
/// legacy and a VEX encoding are the same in both, except for [`VecForm::RmXmm0`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VecEncoding {
    /// Mandatory prefix: 0 (none), 0x66, 0xf3 or 0xf2.
    pub prefix: u8,
    /// Opcode map.
    pub map: VecMap,
    /// Opcode byte.
    pub opcode: u8,
    /// REX.W.
    pub w: VecWidth,
    /// Places of the operands. A control byte, where the shape has one, follows ModRM.
    pub form: VecForm,
}

macro_rules! define_vec_ops {
    ($($name:ident $text:literal $mnemonic:literal $sig:ident $unit:ident
       $prefix:literal $map:ident $opcode:literal $w:ident $len:ident $form:expr;)*) => {
        /// A vector operation, named after the x86 instruction with the same effect on its whole
        /// destination (SDM vol. 2); scalar floating-point ops keep the upper lanes of `a`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum VecOp { $($name,)* }

        /// A row of the table, unpacked.
        struct Row {
            name: &'static str,
            mnemonic: &'static str,
            sig: VecSig,
            unit: Unit,
            len: VecLen,
            encoding: VecEncoding,
        }

        static ROWS: &[Row] = {
            use VecForm::*;
            &[$(Row {
                name: $text,
                mnemonic: $mnemonic,
                sig: VecSig::$sig,
                unit: Unit::$unit,
                len: VecLen::$len,
                encoding: VecEncoding {
                    prefix: $prefix,
                    map: VecMap::$map,
                    opcode: $opcode,
                    w: VecWidth::$w,
                    form: $form,
                },
            },)*]
        };

        impl VecOp {
            /// All ops, in numeric order.
            pub const ALL: &'static [VecOp] = &[$(VecOp::$name),*];
        }
    };
}

/// The unit that executes an op.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Int,
    Mxcsr,
}

crate::for_each_vec_op!(define_vec_ops);

impl VecOp {
    /// The op numbered `n`; the first one for numbers out of range.
    pub const fn from_u16(n: u16) -> VecOp {
        if (n as usize) < VecOp::ALL.len() { VecOp::ALL[n as usize] } else { VecOp::ALL[0] }
    }

    /// The op with that IR-text name.
    pub fn from_name(name: &str) -> Option<VecOp> {
        VecOp::ALL.iter().copied().find(|o| o.name() == name)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Name in IR text.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Mnemonic of the host instruction.
    pub fn mnemonic(self) -> &'static str {
        self.row().mnemonic
    }

    /// Shape of operands and result.
    pub fn sig(self) -> VecSig {
        self.row().sig
    }

    /// Whether the op is a floating-point op that obeys MXCSR and may set its sticky flags.
    pub fn uses_mxcsr(self) -> bool {
        self.row().unit == Unit::Mxcsr
    }

    /// The vector types the op is defined on.
    pub fn len(self) -> VecLen {
        self.row().len
    }

    /// Whether the host instruction has only a VEX encoding.
    pub const fn is_vex(self) -> bool {
        ROWS[self as usize].encoding.form.is_vex()
    }

    /// How far the control byte is shifted right for the upper half of a V256, for ops that work
    /// on each half by itself.
    pub const fn high_imm_shift(self) -> u32 {
        match self {
            VecOp::Blendps => 4,
            VecOp::Mpsadbw => 3,
            VecOp::Blendpd | VecOp::Shufpd => 2,
            _ => 0,
        }
    }

    /// Encoding of the host instruction.
    pub fn encoding(self) -> VecEncoding {
        self.row().encoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for &op in VecOp::ALL {
            assert_eq!(VecOp::from_name(op.name()), Some(op));
        }
    }

    #[test]
    fn encodings_are_unique() {
        for (n, a) in VecOp::ALL.iter().enumerate() {
            for b in &VecOp::ALL[..n] {
                assert_ne!(a.encoding(), b.encoding(), "{} and {}", a.name(), b.name());
            }
        }
    }
}
