//! The guest's flags on their way from one block to the next.
//!
//! A block's last definition of the flags is seldom looked at behind a jump, but storing it takes three
//! stores on every way out. So a direct exit has two ways: the ordinary one stores the definition; the
//! other leaves the header alone and says by a *recipe* where the definition's operands are. Only a
//! block compiled for that very recipe can be entered that way. It begins with the definition known, as
//! if it had made it itself.

use emu_cpu::slots;
use emu_ir::{FlagKind, Ty};

use crate::alloc::cpu_mem;
use crate::analyze::FLAG_UNIT;
use crate::asm::{Alu, Mem, NOREG, R10, R11, R14, Reg, Rm};
use crate::compile::Compiler;
use crate::faults::{How, PinMove, Snap};
use crate::flags::operands;
use crate::slots::WIDE_END;
use crate::state::{Home, Kind, NOROOT};

/// The registers of operands that are in no slot. None of them is pinned; r10 stays free for the
/// exit's own needs.
pub const TEMPS: [Reg; 2] = [R14, R11];

/// Where a part of an operand is between two blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Src {
    /// What the general register at this unit holds.
    Unit(u8),
    /// In this one of [`TEMPS`].
    Temp(u8),
    /// A sign-extended constant.
    Signed(i32),
    /// A zero-extended constant.
    Word(u32),
}

/// An operand: x, x + y or x - y.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    how: How,
    x: Src,
    y: Src,
}

/// A definition of the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlagRecipe {
    /// Kind and type, as in the header.
    code: u16,
    /// The operands a, b and c, where the kind uses them.
    terms: [Option<Term>; 3],
}

/// The flags at an exit.
#[derive(Clone, Copy, Debug)]
pub struct FlagExit {
    /// What the exit leaves behind.
    pub recipe: FlagRecipe,
    /// Bit n: header field n is to be stored if it must be right in memory.
    dirty: u8,
}

/// Operands that go to [`TEMPS`], by root.
type Temps = [u16; TEMPS.len()];

impl Compiler<'_> {
    /// The flags at an exit from here, if a block can be compiled for them: a number in
    /// `exit_flags`, and what must go to [`TEMPS`] ahead of it.
    pub fn flags_at_exit(&mut self) -> Option<(u32, Temps)> {
        let Kind::Const(code) = self.st.roots.get(usize::from(self.flag_root(FLAG_UNIT)))?.kind
        else {
            return None;
        };
        let (a, b, c) = operands(FlagKind::from_u8(code as u8));
        Ty::from_u8((code >> 8) as u8)?;
        let mut temps = [NOROOT; TEMPS.len()];
        let mut terms = [None; 3];
        let mut dirty = u8::from(self.st.slots[FLAG_UNIT].dirty);
        for (n, used) in [a, b, c].into_iter().enumerate() {
            let slot = self.st.slots[FLAG_UNIT + 1 + n];
            if used {
                terms[n] = Some(self.term(self.flag_root(FLAG_UNIT + 1 + n), &mut temps)?);
            } else if slot.root != NOROOT {
                return None;
            }
            dirty |= u8::from(slot.dirty) << (n + 1);
        }
        if dirty == 0 {
            return None;
        }
        let recipe = FlagRecipe { code: code as u16, terms };
        self.exit_flags.push(FlagExit { recipe, dirty });
        Some((self.exit_flags.len() as u32 - 1, temps))
    }

    fn term(&self, root: u16, temps: &mut Temps) -> Option<Term> {
        let (how, x, y) = match self.st.roots.get(usize::from(root))?.kind {
            // What a slot holds needs no computation.
            _ if self.unit_of(root).is_some() => (How::Is, root, NOROOT),
            Kind::Sum(x, y) => (How::Sum, x, y),
            Kind::Diff(x, y) => (How::Diff, x, y),
            _ => (How::Is, root, NOROOT),
        };
        let (x, y) = match how {
            How::Is => (self.src(x, temps)?, Src::Signed(0)),
            _ => (self.src(x, temps)?, self.src(y, temps)?),
        };
        let computed = |s| !matches!(s, Src::Word(_));
        (how == How::Is || computed(x) && computed(y)).then_some(Term { how, x, y })
    }

    fn src(&self, root: u16, temps: &mut Temps) -> Option<Src> {
        let r = &self.st.roots[usize::from(root)];
        if let Kind::Const(c) = r.kind {
            return match (i32::try_from(c as i64), u32::try_from(c)) {
                (Ok(c), _) => Some(Src::Signed(c)),
                (_, Ok(c)) => Some(Src::Word(c)),
                _ => None,
            };
        }
        if let Some(unit) = self.unit_of(root) {
            return Some(Src::Unit(unit));
        }
        let somewhere = r.reg != NOREG || matches!(r.home, Home::Spill(_) | Home::Slot(_));
        if r.kind != Kind::Plain || !r.class.is_int() || !somewhere {
            return None;
        }
        let n = temps.iter().position(|&t| t == NOROOT || t == root)?;
        temps[n] = root;
        Some(Src::Temp(n as u8))
    }

    /// The general register that holds just what `root` stands for.
    fn unit_of(&self, root: u16) -> Option<u8> {
        if self.st.roots[usize::from(root)].slots == 0 {
            return None;
        }
        let units = (slots::BIAS / 8) as usize..(WIDE_END / 8) as usize;
        units.into_iter().find_map(|u| {
            let s = self.st.slots.get(u)?;
            (s.root == root && s.lo == 0 && s.bytes == 8).then_some(u as u8)
        })
    }

    /// Appends the way of those operands to their registers to the moves of exits.
    pub fn temp_moves(&mut self, temps: Temps) {
        for (to, root) in TEMPS.into_iter().zip(temps) {
            if root != NOROOT {
                let from = self.location(root);
                self.exit_moves.push(PinMove { to, from, plus: 0 });
            }
        }
    }

    /// Stores a definition to the header; pinned slots and operands are in their registers, all
    /// else in memory.
    pub fn store_flags(&mut self, f: FlagExit) {
        if f.dirty & 1 != 0 {
            self.asm.store_imm(Ty::I64, cpu_mem(slots::FLAGS_KIND), i32::from(f.recipe.code));
        }
        for (n, term) in f.recipe.terms.into_iter().enumerate() {
            let Some(t) = term.filter(|_| f.dirty >> (n + 1) & 1 != 0) else { continue };
            let m = cpu_mem((FLAG_UNIT + 1 + n) as u32 * 8);
            match (t.how, t.x) {
                (How::Is, Src::Signed(c)) => {
                    self.asm.store_imm(Ty::I64, m, c);
                    continue;
                }
                (How::Is, x) => {
                    let r = self.src_reg(x);
                    self.asm.store(Ty::I64, m, r);
                    continue;
                }
                _ => {}
            }
            let x = self.src_reg(t.x);
            match (t.how, t.y) {
                (How::Sum, Src::Signed(c)) => self.asm.lea(Ty::I64, R10, Mem::at(x, c)),
                (How::Diff, Src::Signed(c)) if c != i32::MIN => {
                    self.asm.lea(Ty::I64, R10, Mem::at(x, -c));
                }
                (how, y) => {
                    let op = if how == How::Sum { Alu::Add } else { Alu::Sub };
                    if x != R10 {
                        self.asm.mov64(R10, x);
                    }
                    match y {
                        Src::Signed(c) => self.asm.alu_imm(op, Ty::I64, Rm::R(R10), c),
                        y => {
                            let y = self.src_rm(y);
                            self.asm.alu(op, Ty::I64, R10, y);
                        }
                    }
                }
            }
            self.asm.store(Ty::I64, m, R10);
        }
    }

    fn src_rm(&self, s: Src) -> Rm {
        match s {
            Src::Unit(u) => match self.pins.reg(usize::from(u)) {
                Some(r) => Rm::R(r),
                None => Rm::M(cpu_mem(u32::from(u) * 8)),
            },
            Src::Temp(n) => Rm::R(TEMPS[usize::from(n)]),
            Src::Signed(_) | Src::Word(_) => Rm::R(R10),
        }
    }

    /// The register a source is in, or r10 after loading it.
    fn src_reg(&mut self, s: Src) -> Reg {
        match (self.src_rm(s), s) {
            (_, Src::Signed(c)) => self.asm.mov_imm(R10, i64::from(c) as u64),
            (_, Src::Word(c)) => self.asm.mov_imm(R10, u64::from(c)),
            (Rm::R(r), _) => return r,
            (Rm::M(m), _) => self.asm.load_zx(8, R10, m),
        }
        R10
    }

    /// Begins the block with the flags that `recipe` says.
    pub fn seed_flags(&mut self, recipe: &FlagRecipe) {
        let next = self.an.units[FLAG_UNIT];
        let mut temps = [NOROOT; TEMPS.len()];
        let code = self.st.new_root(Kind::Const(u64::from(recipe.code)), Ty::I64, 16);
        self.st.cache(FLAG_UNIT, 0, 8, code, true, next);
        for (n, term) in recipe.terms.into_iter().enumerate() {
            let Some(t) = term else { continue };
            let x = self.seed_src(t.x, &mut temps);
            let root = match t.how {
                How::Is => x,
                how => {
                    let y = self.seed_src(t.y, &mut temps);
                    let kind = if how == How::Sum { Kind::Sum(x, y) } else { Kind::Diff(x, y) };
                    for r in [x, y] {
                        self.st.root(r).live += 1;
                    }
                    self.st.new_root(kind, Ty::I64, 64)
                }
            };
            self.st.cache(FLAG_UNIT + 1 + n, 0, 8, root, true, next);
        }
    }

    fn seed_src(&mut self, s: Src, temps: &mut Temps) -> u16 {
        match s {
            Src::Signed(c) => self.st.new_root(Kind::Const(i64::from(c) as u64), Ty::I64, 64),
            Src::Word(c) => self.st.new_root(Kind::Const(u64::from(c)), Ty::I64, 32),
            Src::Unit(u) => {
                let next = self.an.units[usize::from(u)];
                self.wide_root(usize::from(u), next)
            }
            Src::Temp(n) => {
                let n = usize::from(n);
                if temps[n] == NOROOT {
                    temps[n] = self.st.new_root(Kind::Plain, Ty::I64, 64);
                    self.st.place(temps[n], TEMPS[n]);
                }
                temps[n]
            }
        }
    }

    /// Appends the flags as they are now to the snapshots of exits; none if memory has them.
    pub fn flag_snaps(&mut self) -> (u32, u32) {
        let start = self.exit_snaps.len() as u32;
        for u in FLAG_UNIT..FLAG_UNIT + 4 {
            let s = self.st.slots[u];
            if s.root != NOROOT && s.dirty {
                let snap: Snap = self.snap(u);
                self.exit_snaps.push(snap);
            }
        }
        (start, self.exit_snaps.len() as u32)
    }
}
