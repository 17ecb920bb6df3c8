//! Inlined counters: events counted without a call.

use core::cell::Cell;
use std::rc::Rc;

use crate::OwnerId;

/// What a counter counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum CounterKind {
    /// Retired instructions. Read off the instruction budget: costs nothing.
    Insns = 1,
    /// Blocks entered.
    Blocks = 2,
    /// Data loads completed.
    Loads = 3,
    /// Data stores completed.
    Stores = 4,
}

impl CounterKind {
    /// The kind numbered `n`.
    pub fn from_u32(n: u32) -> Option<CounterKind> {
        match n {
            1 => Some(CounterKind::Insns),
            2 => Some(CounterKind::Blocks),
            3 => Some(CounterKind::Loads),
            4 => Some(CounterKind::Stores),
            _ => None,
        }
    }
}

/// Names a counter; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CounterId(pub u64);

/// A counter somebody asked for.
#[derive(Debug)]
pub(crate) struct Counter {
    pub id: CounterId,
    pub owner: OwnerId,
    pub kind: CounterKind,
    /// Events so far; for [`CounterKind::Insns`] the retired count when it was created.
    pub value: Rc<Cell<u64>>,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    list: Vec<Counter>,
    next: u64,
}

impl Counters {
    /// Creates a counter at 0; `retired` is the present instruction count.
    pub fn add(&mut self, owner: OwnerId, kind: CounterKind, retired: u64) -> CounterId {
        self.next += 1;
        let id = CounterId(self.next);
        let start = if kind == CounterKind::Insns { retired } else { 0 };
        self.list.push(Counter { id, owner, kind, value: Rc::new(Cell::new(start)) });
        id
    }

    /// Removes a counter of `owner`; false if there is none.
    pub fn remove(&mut self, owner: OwnerId, id: CounterId) -> bool {
        let before = self.list.len();
        self.list.retain(|c| !(c.id == id && c.owner == owner));
        self.list.len() != before
    }

    /// Removes every counter of `owner`; false if it had none.
    pub fn remove_owner(&mut self, owner: OwnerId) -> bool {
        let before = self.list.len();
        self.list.retain(|c| c.owner != owner);
        self.list.len() != before
    }

    /// The value of a counter of `owner`.
    pub fn read(&self, owner: OwnerId, id: CounterId, retired: u64) -> Option<u64> {
        let c = self.list.iter().find(|c| c.id == id && c.owner == owner)?;
        Some(match c.kind {
            CounterKind::Insns => retired.wrapping_sub(c.value.get()),
            _ => c.value.get(),
        })
    }

    /// The counters of a kind.
    pub fn of(&self, kind: CounterKind) -> impl Iterator<Item = &Counter> {
        self.list.iter().filter(move |c| c.kind == kind)
    }
}
