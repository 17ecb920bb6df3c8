//! The printer.

use core::fmt;

use super::names::{FLAGS, HOOKS, JUMPS, RMWS, TRAPS, name_of, op_name};
use crate::{Block, Inst, Op, Operand, Target, Val};

/// A block with the names to print it with; use it through `Display`.
pub struct Printed<'a, T: ?Sized> {
    block: &'a Block,
    target: &'a T,
}

impl<T: ?Sized> fmt::Debug for Printed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printed").field("block", self.block).finish_non_exhaustive()
    }
}

/// `block` as text.
pub fn print<'a, T: Target + ?Sized>(block: &'a Block, target: &'a T) -> Printed<'a, T> {
    Printed { block, target }
}

/// A number as people read it: small ones decimal, others hexadecimal.
struct Num(u64);

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_some() { write!(f, "v{}", self.0) } else { f.write_str("_") }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Val(v) => v.fmt(f),
            Operand::Imm(imm) => Num(*imm).fmt(f),
        }
    }
}

impl<T: Target + ?Sized> fmt::Display for Printed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block {:#x} {{", self.block.pc)?;
        for h in &self.block.hooks {
            write!(f, "  hook_site {} pc {:#x}", name_of(HOOKS, &h.kind), h.pc)?;
            write!(f, " cell {:#x} info {:#x} detail {}", h.cell, h.info, h.detail)?;
            let word = |on, word| if on { word } else { "" };
            write!(f, "{}{}", word(h.reads_regs, " reads"), word(h.writes_regs, " writes"))?;
            f.write_str(word(h.counts_calls, " counted"))?;
            if let Some(w) = h.when.within {
                write!(f, " within {:#x} {:#x}", w.from, w.to)?;
            }
            writeln!(f, "{}", word(h.when.countdown, " countdown"))?;
        }
        for c in &self.block.counters {
            writeln!(f, "  counter_site cell {:#x} amount {}", c.cell, Num(c.amount))?;
        }
        for (at, inst) in self.block.insts.iter().enumerate() {
            f.write_str("  ")?;
            if inst.op.defines() {
                write!(f, "v{at} = ")?;
            }
            self.inst(inst, f)?;
            f.write_str("\n")?;
        }
        f.write_str("}\n")
    }
}

impl<T: Target + ?Sized> Printed<'_, T> {
    fn inst(&self, i: &Inst, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = op_name(i.op);
        let ty = i.ty.name();
        let (a, b) = (i.a, i.b);
        match i.op {
            Op::InsnStart => {
                let leads = if i.leads() { " leads" } else { "" };
                write!(f, "insn {:#x} len {}{leads}", i.imm, i.a.0)
            }
            Op::Const => write!(f, "{name}.{ty} {}", Num(i.imm)),
            Op::Get => {
                write!(f, "{name}.{ty} ")?;
                self.slot(i.imm, f)
            }
            Op::Put => {
                write!(f, "{name}.{ty} ")?;
                self.slot(i.imm, f)?;
                write!(f, ", {a}")
            }
            Op::Not | Op::Neg | Op::Bswap | Op::Clz | Op::Ctz | Op::Popcnt => {
                write!(f, "{name}.{ty} {a}")
            }
            Op::Zext | Op::Sext | Op::Trunc => {
                write!(f, "{name}.{ty} {} {a}", i.from_ty().name())
            }
            Op::Add
            | Op::Sub
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::Shl
            | Op::Shr
            | Op::Sar
            | Op::Rol
            | Op::Ror
            | Op::Mul
            | Op::MulHiU
            | Op::MulHiS => write!(f, "{name}.{ty} {a}, {}", i.rhs()),
            Op::Cmp => write!(f, "{name}.{ty} {} {a}, {}", i.cond().name(), i.rhs()),
            Op::DivU | Op::RemU | Op::DivS | Op::RemS | Op::Select | Op::AtomicCas => {
                write!(f, "{name}.{ty} {a}, {b}, {}", i.c())
            }
            Op::Lea => {
                write!(f, "{name}.{ty} ")?;
                let disp = crate::flags::sext(i.ty, i.imm);
                address(a, b, i.sub, disp, f)
            }
            Op::Load | Op::ProbeWrite | Op::Store => {
                let m = i.mem();
                write!(f, "{name}.{ty} ")?;
                if m.wrap32 {
                    f.write_str("wrap32 ")?;
                }
                if m.aligned {
                    f.write_str("aligned ")?;
                }
                address(m.base, m.index, u16::from(m.shift), i64::from(m.disp), f)?;
                if i.op == Op::Store { write!(f, ", {}", i.c()) } else { Ok(()) }
            }
            Op::AtomicRmw => {
                write!(f, "{name}.{ty} {} {a}, {b}", name_of(RMWS, &i.rmw_kind()))
            }
            Op::Fence => f.write_str(name),
            Op::FlagsSet => {
                write!(f, "{name} {}.{ty} {a}, {}", i.flag_kind().name(), i.rhs())?;
                if i.c().is_some() { write!(f, ", {}", i.c()) } else { Ok(()) }
            }
            Op::FlagsCond => write!(f, "{name} {}", i.cond().name()),
            Op::FlagsGet => {
                write!(f, "{name} ")?;
                let mut separator = "";
                for (_, word) in FLAGS.iter().filter(|(flag, _)| i.imm & u64::from(*flag) != 0) {
                    write!(f, "{separator}{word}")?;
                    separator = "|";
                }
                if separator.is_empty() { f.write_str("0") } else { Ok(()) }
            }
            Op::Vec => {
                write!(f, "{name}.{ty} {}", i.vec_op().name())?;
                let mut separator = " ";
                for v in [a, b, i.c()].into_iter().filter(|v| v.is_some()) {
                    write!(f, "{separator}{v}")?;
                    separator = ", ";
                }
                if i.vec_op().sig().has_imm() {
                    write!(f, ", {}", Num(i.imm & 0xff))
                } else {
                    Ok(())
                }
            }
            Op::Call => {
                match self.target.helper_name(i.sub) {
                    Some(helper) => write!(f, "{name}.{ty} {helper}(")?,
                    None => write!(f, "{name}.{ty} #{}(", i.sub)?,
                }
                let args = i.call_args();
                let n = args.iter().rposition(|v| v.is_some()).map_or(0, |n| n + 1);
                for (k, v) in args[..n].iter().enumerate() {
                    write!(f, "{}{v}", if k == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Op::ExitIf => {
                write!(f, "{name} {a}, {:#x}", i.imm)?;
                let sites = i.exit_counts();
                if !sites.is_empty() {
                    write!(f, " counts {} #{}", sites.len(), sites.start)?;
                }
                Ok(())
            }
            Op::Jump => write!(f, "{name}{} {:#x}", kind(i), i.imm),
            Op::JumpInd => write!(f, "{name}{} {a}", kind(i)),
            Op::Trap => write!(f, "{name} {} {:#x}", name_of(TRAPS, &i.trap_kind()), i.imm),
            Op::ReturnHint => write!(f, "{name} {:#x}", i.imm),
            Op::Hook => {
                write!(f, "{name}.{ty} #{}", i.imm)?;
                if a.is_some() {
                    write!(f, " {a}")?;
                }
                if b.is_some() { write!(f, ", {b}") } else { Ok(()) }
            }
            Op::Counter => write!(f, "{name} #{}", i.imm),
        }
    }

    fn slot(&self, slot: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A part of a register prints as an offset from it; 31 reaches all of the widest.
        let named = u32::try_from(slot).ok().and_then(|slot| {
            (0..32.min(slot)).find_map(|by| Some((self.target.slot_name(slot - by)?, by)))
        });
        match named {
            Some((name, 0)) => write!(f, "@{name}"),
            Some((name, by)) => write!(f, "@{name}+{by}"),
            None => write!(f, "@{slot:#x}"),
        }
    }
}

fn kind(i: &Inst) -> &'static str {
    name_of(JUMPS, &i.jump_kind())
}

fn address(
    base: Val,
    index: Val,
    shift: u16,
    disp: i64,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str("[")?;
    let mut separator = "";
    if base.is_some() {
        write!(f, "{base}")?;
        separator = " + ";
    }
    if index.is_some() {
        // An index without base must not read as a base.
        write!(f, "{separator}{index}*{}", 1 << (shift & 3))?;
        separator = " + ";
    }
    let magnitude = Num(disp.unsigned_abs());
    match (disp, separator) {
        (0, "") => f.write_str("0")?,
        (0, _) => {}
        (1.., _) => write!(f, "{separator}{magnitude}")?,
        (_, "") => write!(f, "-{magnitude}")?,
        _ => write!(f, " - {magnitude}")?,
    }
    f.write_str("]")
}
