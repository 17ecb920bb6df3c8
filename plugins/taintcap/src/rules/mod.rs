//! From an instruction to its [`Recipe`].
//!
//! Exact rules are in the modules by kind of instruction; [`generic`] is for everything else: what is written gets all
//! labels of what is read.
//!
//! Only data flows. Flags have no labels, and neither have results of comparisons, in vector registers either.

mod generic;
mod integer;
mod shuffle;
mod vector;
mod x87;

use iced_x86::{
    Decoder, DecoderOptions, EncodingKind, Instruction, InstructionInfoFactory, OpKind, Register,
};

use crate::recipe::{Action, Address, Assign, Place, Recipe, Route, StringOp, Value};
use crate::registers::{Bytes, Values, bytes_of};

/// Finds recipes.
pub struct Rules<'a> {
    /// The guest's registers.
    pub values: &'a Values,
    /// Whether it is a 64-bit guest.
    pub wide: bool,
}

impl Rules<'_> {
    /// What the instruction at `pc` does to labels; `None` if it never does anything.
    pub fn recipe(
        &self,
        pc: u64,
        bytes: &[u8],
        factory: &mut InstructionInfoFactory,
    ) -> Option<Recipe> {
        let bits = if self.wide { 64 } else { 32 };
        let i = Decoder::with_ip(bits, bytes, pc, DecoderOptions::NONE).decode();
        let mut b = Builder {
            i: &i,
            values: self.values,
            wide: self.wide,
            vex: i.encoding() != EncodingKind::Legacy,
            addresses: Vec::new(),
            operand: None,
            assigns: Vec::new(),
            x87: false,
        };
        let name = format!("{:?}", i.mnemonic()).to_lowercase();
        if let Some(action) = b.special(&name) {
            return Some(Recipe { addresses: b.addresses, action, x87: true });
        }
        let name = if b.vex { name.strip_prefix('v').unwrap_or(&name) } else { &name };
        let known = integer::rule(&mut b, name)
            || vector::rule(&mut b, name)
            || shuffle::rule(&mut b, name)
            || x87::rule(&mut b, name);
        if !known {
            // Half a rule is none.
            b.addresses.clear();
            b.operand = None;
            b.assigns.clear();
            generic::rule(&mut b, factory.info(&i));
        }
        let Builder { addresses, assigns, x87, .. } = b;
        if assigns.is_empty() {
            return None;
        }
        Some(Recipe { addresses, action: Action::Assign(assigns), x87 })
    }
}

/// A recipe in the making.
struct Builder<'a> {
    i: &'a Instruction,
    values: &'a Values,
    wide: bool,
    /// The encoding makes a vector register's upper part 0.
    vex: bool,
    addresses: Vec<Address>,
    /// Which address is the memory operand's.
    operand: Option<u8>,
    assigns: Vec<Assign>,
    x87: bool,
}

impl Builder<'_> {
    /// Instructions that are more than a few assignments.
    fn special(&mut self, name: &str) -> Option<Action> {
        let trimmed = name.strip_suffix("64").unwrap_or(name);
        match trimmed {
            "fxsave" | "fxrstor" | "xsave" | "xsavec" | "xsaveopt" | "xsaves" | "xrstor"
            | "xrstors" => {
                self.memory(0);
                let extended = trimmed.starts_with('x');
                return Some(if trimmed.contains("save") {
                    Action::SaveState { extended }
                } else {
                    Action::LoadState { extended }
                });
            }
            "vzeroupper" => return Some(Action::ClearVectors(false)),
            "vzeroall" => return Some(Action::ClearVectors(true)),
            _ => {}
        }
        if !self.i.is_string_instruction() {
            return None;
        }
        let op = match &name[..name.len() - 1] {
            "movs" => StringOp::Move,
            "stos" => StringOp::Store,
            "lods" => StringOp::Load,
            _ => return None,
        };
        let index = self.i.op_kinds().find_map(index_of)?;
        let element = match name.as_bytes()[name.len() - 1] {
            b'b' => 1,
            b'w' => 2,
            b'd' => 4,
            _ => 8,
        };
        let repeats = self.i.has_rep_prefix() || self.i.has_repne_prefix();
        let segment = self.values.handle(self.i.memory_segment());
        Some(Action::String { op, element, repeats, mask: mask_of(index), segment })
    }

    /// An operand; `None` for immediates and what is not followed.
    fn operand(&mut self, n: u32) -> Option<Place> {
        match self.i.op_kind(n) {
            OpKind::Register => bytes_of(self.i.op_register(n)).map(Place::Register),
            OpKind::Memory => Some(self.memory(self.i.memory_size().size() as u16)),
            _ => None,
        }
    }

    /// Those operands that are followed.
    fn operands<const N: usize>(&mut self, which: [u32; N]) -> Vec<Place> {
        which.into_iter().filter_map(|n| self.operand(n)).collect()
    }

    /// The memory operand.
    fn memory(&mut self, len: u16) -> Place {
        if let Some(index) = self.operand {
            return Place::Memory { index, len };
        }
        self.operand = Some(self.addresses.len() as u8);
        let i = self.i;
        let (base, index) = (i.memory_base(), i.memory_index());
        let absolute = matches!(base, Register::RIP | Register::EIP);
        let base = if absolute { Register::None } else { base };
        let sized = [base, index].into_iter().find(|r| r.is_gpr());
        let mask = match sized {
            Some(register) => mask_of(register),
            None if self.wide => u64::MAX,
            None => 0xffff_ffff,
        };
        let displacement = i.memory_displacement64();
        let scale = i.memory_index_scale();
        let place = self.address(i.memory_segment(), base, index, scale, displacement, mask, len);
        if index.is_vector_register() { self.gather(index, len) } else { place }
    }

    /// The memory operand of a gather, which is as long as all its elements.
    fn gather(&mut self, index: Register, element: u16) -> Place {
        let wide = format!("{:?}", self.i.mnemonic()).to_lowercase();
        // vpgatherdd, vgatherqps: the letter behind "gather" is the indices' size.
        let wide = wide.split("gather").nth(1).is_some_and(|s| s.starts_with('q'));
        let width = if wide { 8 } else { 4 };
        let elements =
            (index.size() as u16 / width).min(self.i.op_register(0).size() as u16 / element);
        let Some(address) = self.addresses.last_mut() else { return Place::X87(0) };
        address.lanes = Some((index, width, element));
        Place::Memory { index: self.addresses.len() as u8 - 1, len: elements * element }
    }

    /// Memory at the stack pointer plus `offset`.
    fn stack(&mut self, offset: i64, len: u16) -> Place {
        let (base, mask) =
            if self.wide { (Register::RSP, u64::MAX) } else { (Register::ESP, 0xffff_ffff) };
        self.address(Register::SS, base, Register::None, 1, offset as u64, mask, len)
    }

    #[allow(clippy::too_many_arguments)]
    fn address(
        &mut self,
        segment: Register,
        base: Register,
        index: Register,
        scale: u32,
        displacement: u64,
        mask: u64,
        len: u16,
    ) -> Place {
        let registers = [base, index].into_iter().filter_map(bytes_of).collect();
        let index =
            (index.is_gpr()).then(|| self.values.handle(index).map(|r| (r, mask_of(index))));
        let address = Address {
            segment: self.values.handle(segment),
            base: self.values.handle(base),
            index: index.flatten(),
            scale: u64::from(scale),
            displacement,
            mask,
            len,
            registers,
            lanes: None,
        };
        self.addresses.push(address);
        Place::Memory { index: self.addresses.len() as u8 - 1, len }
    }

    /// Operand `n` becomes `value`.
    fn set(&mut self, n: u32, value: Value) {
        self.set_low(n, u16::MAX, value);
    }

    /// Operand `n` becomes `value` of `len` bytes; the rest of it becomes clean.
    fn set_low(&mut self, n: u32, len: u16, value: Value) {
        if let Some(to) = self.operand(n) {
            let len = len.min(to.len());
            self.set_place(self.widened(n, to), len, value);
        }
    }

    /// `to` becomes `value` of `len` bytes; the rest of it becomes clean.
    fn set_place(&mut self, to: Place, len: u16, value: Value) {
        self.assigns.push(Assign { to, len, value, keep: false });
    }

    /// A general register becomes `value` of `len` bytes.
    fn set_general(&mut self, number: u16, len: u16, value: Value) {
        let to = self.general(number, if len == 4 { 8 } else { len });
        self.set_place(to, len, value);
    }

    /// A general register's low bytes.
    fn general(&self, number: u16, len: u16) -> Place {
        Place::Register(Bytes { at: number * 8, len })
    }

    /// All that a write to operand `n` changes: 32-bit results clear the upper half of a 64-bit register, VEX results the
    /// upper part of a vector register.
    fn widened(&self, n: u32, to: Place) -> Place {
        let Place::Register(bytes) = to else { return to };
        match self.i.op_register(n) {
            r if r.is_gpr32() => Place::Register(Bytes { len: 8, ..bytes }),
            r if r.is_vector_register() && self.vex => Place::Register(Bytes { len: 32, ..bytes }),
            _ => to,
        }
    }

    /// Whether two operands are the same register.
    fn same(&self, a: u32, b: u32) -> bool {
        self.i.op_count() > a.max(b)
            && self.i.op_kind(a) == OpKind::Register
            && self.i.op_kind(b) == OpKind::Register
            && self.i.op_register(a) == self.i.op_register(b)
    }

    /// The last operand, if it is an immediate.
    fn immediate(&self) -> Option<u64> {
        let last = self.i.op_count().checked_sub(1)?;
        self.i.try_immediate(last).ok()
    }

    /// The sources of an operation with two inputs: the operands before an immediate, without the target where it
    /// is not an input.
    fn inputs(&self) -> [u32; 2] {
        let count = self.i.op_count() - u32::from(self.immediate().is_some());
        if count >= 3 { [1, 2] } else { [0, 1] }
    }

    /// Operand 0 becomes bytes of the sources, as `from` says for each byte.
    fn route(&mut self, sources: Vec<Place>, from: impl Fn(u16) -> Route) {
        if let Some(to) = self.operand(0) {
            self.set(0, Value::Route(sources, (0..to.len()).map(from).collect()));
        }
    }
}

/// The register of a string operand's address.
fn index_of(kind: OpKind) -> Option<Register> {
    match kind {
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(Register::RSI),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(Register::ESI),
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(Register::SI),
        _ => None,
    }
}

/// The bits of addresses in a register of this size.
fn mask_of(register: Register) -> u64 {
    match register.size() {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// A route from one byte.
fn one(source: u8, byte: u16) -> Route {
    [Some((source, byte as u8)), None, None, None]
}
