//! Vector operations: one table row each.

/// The shape of a vector op's operands and result.
///
/// `V` is a vector (V128, or V256 where the op is also defined on it), `I` an integer.
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
    /// (V, integer) → V: the integer goes to the lane the control byte names, or is converted
    VIntImm,
    /// (integer) → V, upper lanes zero
    FromInt,
    /// (V, V) → i64 holding EFLAGS bits
    Flags,
}

macro_rules! vec_ops {
    ($($(#[$doc:meta])* $name:ident $text:literal $sig:ident;)*) => {
        /// A vector operation, named after the x86 instruction with the same effect on its whole
        /// destination (SDM vol. 2); scalar floating-point ops keep the upper lanes of `a`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum VecOp { $($(#[$doc])* $name,)* }

        impl VecOp {
            /// All ops, in numeric order.
            pub const ALL: &'static [VecOp] = &[$(VecOp::$name),*];

            /// Name in IR text.
            pub const fn name(self) -> &'static str {
                match self { $(VecOp::$name => $text),* }
            }

            /// Shape of operands and result.
            pub const fn sig(self) -> VecSig {
                match self { $(VecOp::$name => VecSig::$sig),* }
            }
        }
    };
}

impl VecOp {
    /// The op numbered `n`; the first one for numbers out of range.
    pub const fn from_u16(n: u16) -> VecOp {
        if (n as usize) < VecOp::ALL.len() { VecOp::ALL[n as usize] } else { VecOp::ALL[0] }
    }

    /// The op with that IR-text name.
    pub fn from_name(name: &str) -> Option<VecOp> {
        VecOp::ALL.iter().copied().find(|o| o.name() == name)
    }
}

vec_ops! {
    Paddb "paddb" VV;
    Paddw "paddw" VV;
    Paddd "paddd" VV;
    Paddq "paddq" VV;
    Pand "pand" VV;
    Por "por" VV;
    Pxor "pxor" VV;
    Pandn "pandn" VV;
}
