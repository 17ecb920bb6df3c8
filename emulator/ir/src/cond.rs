//! Conditions.

/// A condition, numbered as in the x86 manual (SDM vol. 1, appendix B), so `cc ^ 1` negates.
///
/// [`crate::Op::FlagsCond`] takes any of them; [`crate::Op::Cmp`] all but O, NO, S, NS, P, NP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Cond {
    /// Overflow.
    O = 0,
    /// No overflow.
    No = 1,
    /// Unsigned less; carry.
    B = 2,
    /// Unsigned greater or equal; no carry.
    Ae = 3,
    /// Equal; zero.
    E = 4,
    /// Not equal; not zero.
    Ne = 5,
    /// Unsigned less or equal.
    Be = 6,
    /// Unsigned greater.
    A = 7,
    /// Sign set.
    S = 8,
    /// Sign clear.
    Ns = 9,
    /// Parity even.
    P = 10,
    /// Parity odd.
    Np = 11,
    /// Signed less.
    L = 12,
    /// Signed greater or equal.
    Ge = 13,
    /// Signed less or equal.
    Le = 14,
    /// Signed greater.
    G = 15,
}

impl Cond {
    /// All conditions, in numeric order.
    pub const ALL: [Cond; 16] = [
        Cond::O,
        Cond::No,
        Cond::B,
        Cond::Ae,
        Cond::E,
        Cond::Ne,
        Cond::Be,
        Cond::A,
        Cond::S,
        Cond::Ns,
        Cond::P,
        Cond::Np,
        Cond::L,
        Cond::Ge,
        Cond::Le,
        Cond::G,
    ];

    /// The condition numbered `n & 15`.
    pub const fn from_u8(n: u8) -> Cond {
        Cond::ALL[(n & 15) as usize]
    }

    /// The opposite condition.
    pub const fn not(self) -> Cond {
        Cond::from_u8(self as u8 ^ 1)
    }

    /// Lower-case name used in IR text.
    pub const fn name(self) -> &'static str {
        match self {
            Cond::O => "o",
            Cond::No => "no",
            Cond::B => "b",
            Cond::Ae => "ae",
            Cond::E => "e",
            Cond::Ne => "ne",
            Cond::Be => "be",
            Cond::A => "a",
            Cond::S => "s",
            Cond::Ns => "ns",
            Cond::P => "p",
            Cond::Np => "np",
            Cond::L => "l",
            Cond::Ge => "ge",
            Cond::Le => "le",
            Cond::G => "g",
        }
    }

    /// The flags this condition reads.
    pub const fn uses(self) -> super::FlagMask {
        use super::flags::{CF, OF, PF, SF, ZF};
        match self {
            Cond::O | Cond::No => OF,
            Cond::B | Cond::Ae => CF,
            Cond::E | Cond::Ne => ZF,
            Cond::Be | Cond::A => CF | ZF,
            Cond::S | Cond::Ns => SF,
            Cond::P | Cond::Np => PF,
            Cond::L | Cond::Ge => SF | OF,
            Cond::Le | Cond::G => ZF | SF | OF,
        }
    }
}
