//! Inlined counters: events counted without a call.

use crate::OwnerId;

/// What a counter counts; numbered as `plugin_api::abi::counter_kind`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum CounterKind {
    /// Retired instructions.
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
#[derive(Clone, Debug)]
struct Counter {
    id: CounterId,
    owner: OwnerId,
    kind: CounterKind,
    /// Address of the owner's u64.
    cell: usize,
    /// What an event adds.
    amount: u64,
}

/// All counters.
#[derive(Debug, Default)]
pub struct Counters {
    list: Vec<Counter>,
    next: u64,
}

impl Counters {
    /// Adds a counter: every event of `kind` adds `amount` to the u64 at `cell`.
    ///
    /// # Safety
    /// `cell` is a u64 that stays valid, and is otherwise accessed on the run thread only, until
    /// the counter was removed and the run thread has come to a block boundary.
    pub unsafe fn add(
        &mut self,
        owner: OwnerId,
        kind: CounterKind,
        cell: *mut u64,
        amount: u64,
    ) -> CounterId {
        self.next += 1;
        let id = CounterId(self.next);
        self.list.push(Counter { id, owner, kind, cell: cell as usize, amount });
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

    /// The counters of a kind: (address of the u64, what to add).
    pub fn of(&self, kind: CounterKind) -> Vec<(usize, u64)> {
        self.list.iter().filter(|c| c.kind == kind).map(|c| (c.cell, c.amount)).collect()
    }
}
