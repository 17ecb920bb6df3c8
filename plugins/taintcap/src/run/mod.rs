//! Carries out recipes: moves labels as an instruction that is about to run moves data.

mod state;
mod string;

use iced_x86::Register;
use plugin_api::prelude::*;

use crate::flags::holds;
use crate::labels::{Labels, Set};
use crate::memory::Memory;
use crate::recipe::{Action, Address, Assign, Place, Recipe, Route, Shift, Value};
use crate::registers::{Bytes, Registers, Values, bytes_of, vector_bytes, x87_bytes};

/// No instruction with a recipe accesses memory in more places: `pusha` does in so many.
pub const ADDRESSES: usize = 8;

/// Labels of everything, and the guest they belong to.
pub struct Machine<'a, 'c> {
    pub labels: &'a mut Labels,
    pub memory: &'a mut Memory,
    pub registers: &'a mut Registers,
    pub values: &'a Values,
    pub cpu: &'a Cpu<'c>,
    /// Whether what is loaded gets its address's labels.
    pub pointers: bool,
    pub scratch: &'a mut Scratch,
}

/// Room for values, kept to spare allocations.
#[derive(Default, Debug)]
pub struct Scratch {
    /// The results of an instruction, one behind the other.
    results: Vec<Set>,
    source: Vec<Set>,
}

/// What is found once for each execution of an instruction.
struct Resolved {
    addresses: [u64; ADDRESSES],
    /// The labels of the addresses.
    pointers: [Set; ADDRESSES],
    top: u8,
}

impl Machine<'_, '_> {
    /// Does what the instruction is about to do.
    pub fn run(&mut self, recipe: &Recipe) {
        let clean = self.registers.is_clean();
        match &recipe.action {
            Action::Assign(assigns) => {
                if clean && recipe.addresses.is_empty() {
                    return;
                }
                let mut at = Resolved {
                    addresses: [0; ADDRESSES],
                    pointers: [Set::CLEAN; ADDRESSES],
                    top: 0,
                };
                let mut far = true;
                for (n, address) in recipe.addresses.iter().enumerate() {
                    at.addresses[n] = self.address(address);
                    far = far
                        && address.lanes.is_none()
                        && self.memory.is_far(at.addresses[n], u64::from(address.len));
                    if self.pointers && !clean {
                        for bytes in &address.registers {
                            let set = self.labels.all(self.registers.get(*bytes));
                            at.pointers[n] = self.labels.union(at.pointers[n], set);
                        }
                    }
                }
                if clean && far {
                    return;
                }
                if recipe.x87 {
                    at.top = self.values.x87_top(self.cpu);
                }
                self.assign(assigns, recipe, &at);
            }
            Action::String { op, element, repeats, mask, segment } => {
                self.string(*op, u64::from(*element), *repeats, *mask, *segment);
            }
            Action::SaveState { extended } => {
                let at = self.address(&recipe.addresses[0]);
                self.state(at, *extended, true);
            }
            Action::LoadState { extended } => {
                let at = self.address(&recipe.addresses[0]);
                self.state(at, *extended, false);
            }
            Action::ClearVectors(whole) => {
                for n in 0..16 {
                    let all = vector_bytes(n);
                    let upper = Bytes { at: all.at + 16, len: 16 };
                    self.registers.clear(if *whole { all } else { upper });
                }
            }
        }
    }

    fn address(&self, a: &Address) -> u64 {
        let value = |reg: Option<Reg>| reg.map_or(0, |r| self.cpu.reg(r).unwrap_or_default());
        let index = a.index.map_or(0, |(r, bits)| self.cpu.reg(r).unwrap_or_default() & bits);
        let offset =
            value(a.base).wrapping_add(index.wrapping_mul(a.scale)).wrapping_add(a.displacement);
        // A 32-bit guest's addresses wrap, also with a segment.
        let limit = if self.cpu.word_size() == 4 { 0xffff_ffff } else { u64::MAX };
        value(a.segment).wrapping_add(offset & a.mask) & limit
    }

    fn assign(&mut self, assigns: &[Assign], recipe: &Recipe, at: &Resolved) {
        self.scratch.results.clear();
        for assign in assigns {
            let from = self.scratch.results.len();
            let mut result = core::mem::take(&mut self.scratch.results);
            result.resize(from + usize::from(assign.to.len()), Set::CLEAN);
            let len = usize::from(assign.len.min(assign.to.len()));
            self.evaluate(&assign.value, recipe, at, &mut result[from..from + len]);
            if assign.keep {
                self.join(assign.to, recipe, at, &mut result[from..from + len]);
            }
            self.scratch.results = result;
        }
        let results = core::mem::take(&mut self.scratch.results);
        let mut from = 0;
        for assign in assigns {
            let len = usize::from(assign.to.len());
            let sets = &results[from..from + len];
            match assign.to {
                Place::Register(bytes) => self.registers.set(bytes.at, sets),
                Place::Memory { index, .. } => {
                    self.memory.write(at.addresses[usize::from(index)], sets);
                }
                Place::X87(n) => self.registers.set(x87_register(at.top, n).at, sets),
            }
            from += len;
        }
        self.scratch.results = results;
    }

    /// The labels of a place.
    fn read(&mut self, place: Place, recipe: &Recipe, at: &Resolved, out: &mut Vec<Set>) {
        out.clear();
        match place {
            Place::Register(bytes) => out.extend_from_slice(self.registers.get(bytes)),
            Place::X87(n) => out.extend_from_slice(self.registers.get(x87_register(at.top, n))),
            Place::Memory { index, len } => {
                let index = usize::from(index);
                out.resize(usize::from(len), Set::CLEAN);
                match &recipe.addresses[index].lanes {
                    None => self.memory.read(at.addresses[index], out),
                    Some(lanes) => {
                        self.gather(&recipe.addresses[index], *lanes, at.addresses[index], out)
                    }
                }
                if !at.pointers[index].is_clean() {
                    for set in out {
                        *set = self.labels.union(*set, at.pointers[index]);
                    }
                }
            }
        }
    }

    /// What a gather may load: every element gets the labels at its own address.
    fn gather(&mut self, a: &Address, lanes: (Register, u16, u16), base: u64, out: &mut [Set]) {
        let (register, width, element) = lanes;
        let mut indices = [0; 32];
        self.values.read(self.cpu, register, &mut indices);
        for (lane, index) in
            out.chunks_mut(usize::from(element)).zip(indices.chunks(usize::from(width)))
        {
            let index = match *index {
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => 0,
            };
            self.memory
                .read(base.wrapping_add((index as u64).wrapping_mul(a.scale)) & a.mask, lane);
        }
    }

    /// Adds the labels of a place, byte by byte.
    fn join(&mut self, place: Place, recipe: &Recipe, at: &Resolved, out: &mut [Set]) {
        let mut source = core::mem::take(&mut self.scratch.source);
        self.read(place, recipe, at, &mut source);
        for (set, new) in out.iter_mut().zip(&source) {
            *set = self.labels.union(*set, *new);
        }
        self.scratch.source = source;
    }

    fn evaluate(&mut self, value: &Value, recipe: &Recipe, at: &Resolved, out: &mut [Set]) {
        match value {
            Value::Clean => {}
            Value::Copy(from) => self.join(*from, recipe, at, out),
            Value::Extend(from) => {
                self.join(*from, recipe, at, out);
                let from = usize::from(from.len());
                if from < out.len() {
                    let top = out[from - 1];
                    out[from..].fill(top);
                }
            }
            Value::Lanes(from, lane) => {
                for place in from {
                    self.join(*place, recipe, at, out);
                }
                if *lane > 1 {
                    for lane in out.chunks_mut(usize::from(*lane)) {
                        let all = self.labels.all(lane);
                        lane.fill(all);
                    }
                }
            }
            Value::Upward(from, lane) => {
                for place in from {
                    self.join(*place, recipe, at, out);
                }
                for lane in out.chunks_mut(usize::from(*lane)) {
                    let mut below = Set::CLEAN;
                    for set in lane {
                        below = self.labels.union(below, *set);
                        *set = below;
                    }
                }
            }
            Value::All(from) => {
                let all = self.all_of(from, recipe, at);
                out.fill(all);
            }
            Value::Route(from, routes) => {
                let sources = self.sources(from, recipe, at);
                for (set, route) in out.iter_mut().zip(routes) {
                    *set = self.routed(&sources, route);
                }
            }
            Value::Shift { from, how, count } => {
                let bits = self.shift_count(*count, from.len());
                let sources = self.sources(core::slice::from_ref(from), recipe, at);
                let by = bytes_of(*count)
                    .map_or(Set::CLEAN, |b| self.labels.all(&self.registers.get(b)[..1]));
                let routes = shifted(*how, from.len(), bits);
                for (set, route) in out.iter_mut().zip(&routes) {
                    let routed = self.routed(&sources, route);
                    *set = self.labels.union(routed, by);
                }
            }
            Value::Choose(condition, yes, no) => {
                let taken = holds(*condition, self.values.flags(self.cpu));
                self.join(if taken { *yes } else { *no }, recipe, at, out);
            }
            Value::Shuffle { from, by, register } => {
                let mut index = [0; 32];
                match by {
                    Place::Memory { index: n, len } => {
                        let bytes = &mut index[..usize::from(*len).min(32)];
                        // Where it cannot be read the instruction faults.
                        let _ = self.cpu.read_mem(at.addresses[usize::from(*n)], bytes);
                    }
                    _ => self.values.read(self.cpu, *register, &mut index),
                }
                let sources = self.sources(&[*from, *by], recipe, at);
                let lane = out.len().min(16);
                for (n, set) in out.iter_mut().enumerate() {
                    if index[n] & 0x80 == 0 {
                        *set = sources[0][n / lane * lane + usize::from(index[n]) % lane];
                    }
                    if self.pointers {
                        *set = self.labels.union(*set, sources[1][n]);
                    }
                }
            }
        }
    }

    fn sources(&mut self, from: &[Place], recipe: &Recipe, at: &Resolved) -> Vec<Vec<Set>> {
        from.iter()
            .map(|place| {
                let mut sets = Vec::new();
                self.read(*place, recipe, at, &mut sets);
                sets
            })
            .collect()
    }

    fn all_of(&mut self, from: &[Place], recipe: &Recipe, at: &Resolved) -> Set {
        let mut all = Set::CLEAN;
        let mut source = core::mem::take(&mut self.scratch.source);
        for place in from {
            self.read(*place, recipe, at, &mut source);
            let set = self.labels.all(&source);
            all = self.labels.union(all, set);
        }
        self.scratch.source = source;
        all
    }

    fn routed(&mut self, sources: &[Vec<Set>], route: &Route) -> Set {
        let mut set = Set::CLEAN;
        for (source, byte) in route.iter().flatten() {
            set = self.labels.union(set, sources[usize::from(*source)][usize::from(*byte)]);
        }
        set
    }

    /// The number of bits a shift by a register shifts.
    fn shift_count(&self, register: Register, len: u16) -> u32 {
        let value = self.values.general(self.cpu, register.full_register().number());
        (value & if len == 8 { 63 } else { 31 }) as u32
    }
}

/// The x87 register at a distance from the top of the stack.
fn x87_register(top: u8, distance: i8) -> Bytes {
    x87_bytes(top.wrapping_add_signed(distance))
}

/// Where the bytes of a value of `len` bytes come from when it is shifted.
pub fn shifted(how: Shift, len: u16, bits: u32) -> Vec<Route> {
    let len = i32::from(len);
    let bits = match how {
        Shift::RotateLeft | Shift::RotateRight => bits as i32 % (8 * len),
        _ => (bits as i32).min(8 * len),
    };
    let left = matches!(how, Shift::Left | Shift::RotateLeft);
    // The lower of the two bytes that a result's byte is made of.
    let lower = if left { -(bits + 7) / 8 } else { bits / 8 };
    let split = bits % 8 != 0;
    (0..len)
        .map(|n| {
            let byte = |at: i32| {
                let at = match how {
                    Shift::RotateLeft | Shift::RotateRight => at.rem_euclid(len),
                    Shift::Arithmetic => at.min(len - 1),
                    _ => at,
                };
                (0..len).contains(&at).then_some((0, at as u8))
            };
            [byte(n + lower), if split { byte(n + lower + 1) } else { None }, None, None]
        })
        .collect()
}
