//! The parser.

use super::lex::{Lexer, Token};
use super::names::{BARE, FLAGS, HOOKS, JUMPS, PLAIN, RMWS, TRAPS, by_name};
use crate::{
    Addr, Block, Builder, Cond, CounterSite, FlagKind, GuestInsn, HookKind, HookSite, Inst, Op,
    Target, Ty, Val, VecOp, When, Within,
};

/// Why text is not a block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What the grammar wants.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A word that is none of the names possible here.
    #[error("unknown {what} `{word}`")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The word.
        word: String,
    },
    /// Digits that are not a number of at most 64 bits.
    #[error("`{0}` is not a number")]
    Number(String),
    /// A number too large for its place.
    #[error("{0:#x} is out of range here")]
    Range(u64),
    /// A value nobody defined above.
    #[error("value `{0}` is not defined above")]
    Undefined(String),
    /// A value defined a second time.
    #[error("value `{0}` is defined twice")]
    Redefined(String),
    /// `v1 =` before an op without result.
    #[error("`{0}` defines no value")]
    NoResult(&'static str),
    /// An op with a result lacks `v1 =`.
    #[error("the result of `{0}` needs a name")]
    Unnamed(&'static str),
    /// More ops than a block can hold.
    #[error("more than {} ops", Builder::MAX_OPS)]
    TooLong,
    /// The closing brace is missing.
    #[error("the block is not closed")]
    NotClosed,
}

/// A problem and its place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// The block that `text` describes. It is well-formed text, not necessarily a valid block: see
/// [`crate::verify`].
pub fn parse(text: &str, target: &(impl Target + ?Sized)) -> Result<Block, ParseError> {
    let mut block: Option<Block> = None;
    let mut names = Vec::new();
    let mut closed = false;
    let mut last = 0;
    for (n, line) in text.lines().enumerate() {
        last = n + 1;
        let mut p = Line { lex: Lexer::new(line), target, names: &mut names };
        let result = match (&mut block, closed) {
            _ if p.lex.peek() == Token::End => Ok(()),
            (None, _) => p.header().map(|pc| block = Some(Block { pc, ..Block::default() })),
            (Some(_), true) => p.end(),
            (Some(_), false) if p.lex.peek() == Token::Mark('}') => {
                closed = true;
                p.accept('}');
                p.end()
            }
            (Some(block), false) => p.line(block),
        };
        result.map_err(|problem| ParseError { line: last, column: p.lex.start + 1, problem })?;
    }
    match block {
        Some(block) if closed => Ok(block),
        _ => Err(ParseError { line: last.max(1), column: 1, problem: Problem::NotClosed }),
    }
}

struct Line<'a, T: ?Sized> {
    lex: Lexer<'a>,
    target: &'a T,
    /// Value names and the ops they stand for.
    names: &'a mut Vec<(String, Val)>,
}

type Parsed<T> = Result<T, Problem>;

impl<T: Target + ?Sized> Line<'_, T> {
    fn take(&mut self) -> Parsed<Token<'_>> {
        self.lex.next().map_err(|word| Problem::Number(word.to_string()))
    }

    fn expected<R>(&mut self, expected: &'static str) -> Parsed<R> {
        let found = match self.take()? {
            Token::Word(w) => format!("`{w}`"),
            Token::Num(n) => format!("{n:#x}"),
            Token::Mark(c) => format!("`{c}`"),
            Token::End | Token::Bad => "the end of the line".to_string(),
        };
        Err(Problem::Expected { expected, found })
    }

    fn end(&mut self) -> Parsed<()> {
        if self.lex.peek() == Token::End { Ok(()) } else { self.expected("the end of the line") }
    }

    fn mark(&mut self, c: char, name: &'static str) -> Parsed<()> {
        if self.accept(c) { Ok(()) } else { self.expected(name) }
    }

    fn accept(&mut self, c: char) -> bool {
        let there = self.lex.peek() == Token::Mark(c);
        if there {
            let _ = self.lex.next();
        }
        there
    }

    fn comma(&mut self) -> Parsed<()> {
        self.mark(',', "`,`")
    }

    fn word(&mut self, what: &'static str) -> Parsed<String> {
        match self.lex.peek() {
            Token::Word(w) => {
                self.take()?;
                Ok(w.to_string())
            }
            _ => self.expected(what),
        }
    }

    fn keyword(&mut self, word: &'static str) -> Parsed<()> {
        if self.accept_word(word) { Ok(()) } else { self.expected(word) }
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let there = self.lex.peek() == Token::Word(word);
        if there {
            let _ = self.lex.next();
        }
        there
    }

    fn named<R>(&mut self, what: &'static str, find: impl Fn(&str) -> Option<R>) -> Parsed<R> {
        let word = self.word(what)?;
        find(&word).ok_or(Problem::Unknown { what, word })
    }

    fn number(&mut self) -> Parsed<u64> {
        match self.lex.peek() {
            Token::Num(n) => self.take().map(|_| n),
            _ => self.expected("a number"),
        }
    }

    /// A number of the type, possibly negative.
    fn immediate(&mut self, ty: Ty) -> Parsed<u64> {
        let negative = self.accept('-');
        let n = self.number()?;
        let limit = if negative { ty.mask() / 2 + 1 } else { ty.mask() };
        if n > limit {
            return Err(Problem::Range(n));
        }
        Ok(if negative { n.wrapping_neg() & ty.mask() } else { n })
    }

    fn value(&mut self) -> Parsed<Val> {
        let name = self.word("a value")?;
        self.value_named(name)
    }

    fn value_named(&mut self, name: String) -> Parsed<Val> {
        let found = self.names.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| *v).ok_or(Problem::Undefined(name))
    }

    /// A value, or `_` for none.
    fn optional(&mut self) -> Parsed<Val> {
        if self.accept_word("_") { Ok(Val::NONE) } else { self.value() }
    }

    fn header(&mut self) -> Parsed<u64> {
        self.keyword("block")?;
        let pc = self.number()?;
        self.mark('{', "`{`")?;
        self.end()?;
        Ok(pc)
    }

    fn line(&mut self, block: &mut Block) -> Parsed<()> {
        if self.accept_word("hook_site") {
            block.hooks.push(self.hook_site()?);
            return self.end();
        }
        if self.accept_word("counter_site") {
            self.keyword("cell")?;
            let cell = self.number()? as usize;
            self.keyword("amount")?;
            block.counters.push(CounterSite { cell, amount: self.number()? });
            return self.end();
        }
        if block.insts.len() >= Builder::MAX_OPS {
            return Err(Problem::TooLong);
        }
        let mut word = self.word("an op, or `}`")?;
        let name = if self.accept('=') {
            if self.names.iter().any(|(n, _)| *n == word) {
                return Err(Problem::Redefined(word));
            }
            Some(core::mem::replace(&mut word, self.word("an op")?))
        } else {
            None
        };
        let (op, text, ty) = op_and_type(&word)?;
        match (op.defines(), name.is_some()) {
            (true, false) => return Err(Problem::Unnamed(text)),
            (false, true) => return Err(Problem::NoResult(text)),
            _ => {}
        }
        let mut i = Inst::new(op, ty);
        if matches!(op, Op::Jump | Op::JumpInd) {
            i.sub = jump_kind(&word);
        }
        self.operands(&mut i, block)?;
        self.end()?;
        if let Some(name) = name {
            self.names.push((name, Val(block.insts.len() as u16)));
        }
        block.insts.push(i);
        Ok(())
    }

    fn hook_site(&mut self) -> Parsed<HookSite> {
        let kind: HookKind = self.named("hook kind", |w| by_name(HOOKS, w))?;
        self.keyword("pc")?;
        let pc = self.number()?;
        self.keyword("cell")?;
        let cell = self.number()? as usize;
        self.keyword("info")?;
        let info = self.number()? as usize;
        self.keyword("detail")?;
        let detail = self.number()? as u32;
        let reads_regs = self.accept_word("reads");
        let writes_regs = self.accept_word("writes");
        let counts_calls = self.accept_word("counted");
        let within = match self.accept_word("within") {
            true => Some(Within { from: self.number()?, to: self.number()? }),
            false => None,
        };
        let when = When { within, countdown: self.accept_word("countdown") };
        Ok(HookSite { kind, cell, pc, info, detail, reads_regs, writes_regs, counts_calls, when })
    }

    fn operands(&mut self, i: &mut Inst, block: &mut Block) -> Parsed<()> {
        match i.op {
            Op::InsnStart => {
                i.imm = self.number()?;
                self.keyword("len")?;
                let len = self.number()?;
                let len = u8::try_from(len).map_err(|_| Problem::Range(len))?;
                i.a = Val(u16::from(len));
                i.sub = block.insns.len() as u16;
                let first = block.insts.len() as u16;
                block.insns.push(GuestInsn { pc: i.imm, len, first });
                if self.accept_word("leads") {
                    i.set_leads();
                }
            }
            Op::Const => i.imm = self.immediate(i.ty)?,
            Op::Get => i.imm = self.slot()?,
            Op::Put => {
                i.imm = self.slot()?;
                self.comma()?;
                i.a = self.value()?;
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
            | Op::MulHiS => {
                i.a = self.value()?;
                self.rhs(i)?;
            }
            Op::Cmp => {
                i.sub = self.cond()?;
                i.a = self.value()?;
                self.rhs(i)?;
            }
            Op::Not | Op::Neg | Op::Bswap | Op::Clz | Op::Ctz | Op::Popcnt => i.a = self.value()?,
            Op::Zext | Op::Sext | Op::Trunc => {
                i.sub = self.named("type", ty_by_name)? as u16;
                i.a = self.value()?;
            }
            Op::DivU | Op::RemU | Op::DivS | Op::RemS | Op::Select | Op::AtomicCas => {
                i.a = self.value()?;
                self.comma()?;
                i.b = self.value()?;
                self.comma()?;
                *i = i.with_c(self.value()?);
            }
            Op::Lea => {
                let (m, disp) = self.address()?;
                (i.a, i.b, i.sub) = (m.base, m.index, u16::from(m.shift));
                i.imm = i64::from(disp) as u64 & i.ty.mask();
            }
            Op::Load | Op::ProbeWrite | Op::Store => {
                let wrap32 = self.accept_word("wrap32");
                let aligned = self.accept_word("aligned");
                let (m, disp) = self.address()?;
                *i = i.with_mem(Addr { disp, wrap32, aligned, ..m });
                if i.op == Op::Store {
                    self.comma()?;
                    *i = i.with_c(self.value()?);
                }
            }
            Op::AtomicRmw => {
                i.sub = self.named("operation", |w| by_name(RMWS, w))? as u16;
                i.a = self.value()?;
                self.comma()?;
                i.b = self.value()?;
            }
            Op::Fence => {}
            Op::FlagsSet => {
                let (kind, ty) = self.named("flag kind and type", |w| {
                    let (kind, ty) = w.split_once('.')?;
                    let kind = FlagKind::ALL.into_iter().find(|k| k.name() == kind)?;
                    Some((kind, ty_by_name(ty)?))
                })?;
                (i.sub, i.ty) = (kind as u16, ty);
                i.a = self.value()?;
                self.rhs(i)?;
                let c = if self.accept(',') { self.value()? } else { Val::NONE };
                *i = i.with_c(c);
            }
            Op::FlagsCond => i.sub = self.cond()?,
            Op::FlagsGet => {
                if self.lex.peek() == Token::Num(0) {
                    self.take()?;
                    return Ok(());
                }
                loop {
                    i.imm |= u64::from(self.named("flag", |w| by_name(FLAGS, w))?);
                    if !self.accept('|') {
                        break;
                    }
                }
            }
            Op::Vec => self.vector(i)?,
            Op::Call => self.call(i)?,
            Op::ExitIf => {
                i.a = self.value()?;
                self.comma()?;
                i.imm = self.number()?;
                if self.accept_word("counts") {
                    let n = self.number()?;
                    let first = self.site()?;
                    if !i.set_exit_counts(first as usize..first.saturating_add(n) as usize) {
                        return Err(Problem::Range(first));
                    }
                }
            }
            Op::Jump | Op::ReturnHint => i.imm = self.number()?,
            Op::JumpInd => i.a = self.value()?,
            Op::Trap => {
                i.sub = self.named("trap", |w| by_name(TRAPS, w))? as u16;
                i.imm = self.number()?;
            }
            Op::Hook => {
                i.imm = self.site()?;
                let site = usize::try_from(i.imm).ok().and_then(|n| block.hooks.get(n));
                i.sub = site.ok_or(Problem::Range(i.imm))?.kind as u16;
                if self.lex.peek() != Token::End {
                    i.a = self.value()?;
                    i.b = if self.accept(',') { self.value()? } else { Val::NONE };
                }
            }
            Op::Counter => i.imm = self.site()?,
        }
        Ok(())
    }

    fn site(&mut self) -> Parsed<u64> {
        self.mark('#', "`#`")?;
        self.number()
    }

    fn cond(&mut self) -> Parsed<u16> {
        self.named("condition", |w| Cond::ALL.into_iter().find(|c| c.name() == w)).map(|c| c as u16)
    }

    /// `, v1` or `, 8`.
    fn rhs(&mut self, i: &mut Inst) -> Parsed<()> {
        self.comma()?;
        if let Token::Word(_) = self.lex.peek() {
            i.b = self.value()?;
            return Ok(());
        }
        let imm = self.immediate(i.ty)?;
        if i.op == Op::FlagsSet {
            let signed = crate::flags::sext(i.ty, imm);
            if i64::from(signed as i32) != signed {
                return Err(Problem::Range(imm));
            }
            i.imm = u64::from(imm as u32);
        } else {
            i.imm = imm;
        }
        Ok(())
    }

    /// `[v1 + v2*4 - 8]`; the displacement apart.
    fn address(&mut self) -> Parsed<(Addr, i32)> {
        let mut m = Addr::base(Val::NONE);
        let mut disp = 0i64;
        self.mark('[', "`[`")?;
        let mut negative = self.accept('-');
        loop {
            if let (Token::Word(_), false) = (self.lex.peek(), negative) {
                let v = self.value()?;
                if self.accept('*') {
                    if m.index.is_some() {
                        return self.expected("one index only");
                    }
                    let scale = self.number()?;
                    m.index = v;
                    m.shift = match scale {
                        1 | 2 | 4 | 8 => scale.trailing_zeros() as u8,
                        _ => return Err(Problem::Range(scale)),
                    };
                } else if m.base.is_some() || m.index.is_some() {
                    return self.expected("one base only, before the index");
                } else {
                    m.base = v;
                }
            } else {
                let n = self.number()?;
                let signed = i64::try_from(n).map_err(|_| Problem::Range(n))?;
                disp = disp.wrapping_add(if negative { -signed } else { signed });
            }
            if self.accept(']') {
                break;
            }
            negative = self.accept('-');
            if !negative {
                self.mark('+', "`+`, `-` or `]`")?;
            }
        }
        let disp = i32::try_from(disp).map_err(|_| Problem::Range(disp as u64))?;
        Ok((m, disp))
    }

    /// `@rax`, `@rax+1` or `@0x80`.
    fn slot(&mut self) -> Parsed<u64> {
        self.mark('@', "`@`")?;
        if let Token::Num(_) = self.lex.peek() {
            return self.number();
        }
        let target = self.target;
        let slot = self.named("slot", |w| target.slot_by_name(w))?;
        let by = if self.accept('+') { self.number()? } else { 0 };
        Ok(u64::from(slot).wrapping_add(by))
    }

    fn vector(&mut self, i: &mut Inst) -> Parsed<()> {
        let op = self.named("vector op", VecOp::from_name)?;
        i.sub = op as u16;
        let mut values = [Val::NONE; 3];
        let mut n = 0;
        loop {
            if let Token::Num(_) = self.lex.peek() {
                i.imm = self.immediate(Ty::I8)?;
                break;
            }
            let v = self.value()?;
            match values.get_mut(n) {
                Some(slot) => *slot = v,
                None => return self.expected("at most three operands"),
            }
            n += 1;
            if !self.accept(',') {
                break;
            }
        }
        [i.a, i.b] = [values[0], values[1]];
        *i = i.with_c(values[2]);
        Ok(())
    }

    fn call(&mut self, i: &mut Inst) -> Parsed<()> {
        i.sub = if self.accept('#') {
            let n = self.number()?;
            u16::try_from(n).map_err(|_| Problem::Range(n))?
        } else {
            let target = self.target;
            self.named("helper", |w| target.helper_by_name(w))?
        };
        self.mark('(', "`(`")?;
        let mut args = [Val::NONE; 4];
        let mut n = 0;
        while !self.accept(')') {
            if n > 0 {
                self.comma()?;
            }
            let v = self.optional()?;
            match args.get_mut(n) {
                Some(slot) => *slot = v,
                None => return self.expected("at most four arguments"),
            }
            n += 1;
        }
        let [a, b, c, d] = args;
        (i.a, i.b, i.imm) = (a, b, u64::from(c.0) | u64::from(d.0) << 16);
        Ok(())
    }
}

fn ty_by_name(name: &str) -> Option<Ty> {
    Ty::ALL.into_iter().find(|t| t.name() == name)
}

fn jump_kind(word: &str) -> u16 {
    let suffix = word.find('.').map_or("", |at| &word[at..]);
    by_name(JUMPS, suffix).map_or(0, |k| k as u16)
}

/// The op a word names, its canonical name, and its type.
fn op_and_type(word: &str) -> Parsed<(Op, &'static str, Ty)> {
    let unknown = || Problem::Unknown { what: "op", word: word.to_string() };
    if let Some((op, name)) = BARE.iter().find(|(_, name)| *name == word) {
        let ty = if *op == Op::FlagsCond { Ty::I8 } else { Ty::I64 };
        return Ok((*op, name, ty));
    }
    let (stem, suffix) = word.split_once('.').ok_or_else(unknown)?;
    if let Some((op, name)) = BARE.iter().find(|(_, name)| *name == stem) {
        let jump = matches!(op, Op::Jump | Op::JumpInd) && matches!(suffix, "call" | "ret");
        return match (jump, *op, ty_by_name(suffix)) {
            (true, ..) => Ok((*op, name, Ty::I64)),
            (_, Op::Hook, Some(ty)) => Ok((*op, name, ty)),
            _ => Err(unknown()),
        };
    }
    let (op, name) = PLAIN.iter().find(|(_, name)| *name == stem).ok_or_else(unknown)?;
    let ty =
        ty_by_name(suffix).ok_or(Problem::Unknown { what: "type", word: suffix.to_string() })?;
    Ok((*op, name, ty))
}
