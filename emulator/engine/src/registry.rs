//! Subscriptions: who wants which callback.

use core::cell::Cell;
use std::rc::Rc;

use emu_cpu::CpuHeader;
use emu_ir::{HookCell, When, Within};
use plugin_api::abi::{PandaCpu, flags, kind};

/// Identifies the plugin a subscription belongs to; ids grow in load order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnerId(pub u32);

/// Names a subscription. Carries a generation: the id of a removed subscription never names
/// another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscriptionId(pub u64);

/// One registered callback.
#[derive(Debug)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The callback kind (`plugin_api::abi`).
    pub kind: u32,
    /// Subscription flags (`plugin_api::abi`).
    pub flags: u32,
    /// The callback itself while enabled.
    pub cell: HookCell,
    func: usize,
    enabled: Cell<bool>,
    when: Cell<When>,
}

impl Subscription {
    /// Whether it is enabled.
    pub fn enabled(&self) -> bool {
        self.enabled.get()
    }

    /// Whether its callback may read registers; writing includes that.
    pub fn reads_regs(&self) -> bool {
        self.flags & (flags::READS_REGS | flags::WRITES_REGS) != 0
    }

    /// Whether its callback may write registers.
    pub fn writes_regs(&self) -> bool {
        self.flags & flags::WRITES_REGS != 0
    }

    /// The processor as its callback gets it.
    pub fn lend(&self, cpu: *mut CpuHeader) -> *mut PandaCpu {
        emu_cpu::lend(cpu, emu_cpu::withheld(self.reads_regs(), self.writes_regs())).cast()
    }

    /// Its conditions.
    pub fn when(&self) -> When {
        self.when.get()
    }

    /// Whether an event at `size` bytes from `addr` on is due; counts it down.
    pub fn due(&self, addr: u64, size: u64) -> bool {
        self.when().due(&self.cell, addr, size)
    }
}

/// Why a registration or a change was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegisterError {
    /// The kind is not one this engine has.
    #[error("there is no callback kind {0}")]
    UnknownKind(u32),
    /// The function pointer is null.
    #[error("the callback function is null")]
    NullFunction,
    /// The id was never given out, is stale, or belongs to another plugin.
    #[error("there is no such subscription of this plugin")]
    UnknownSubscription,
    /// The kind has no conditions.
    #[error("callbacks of this kind cannot have conditions")]
    NoConditions,
}

/// One more than the highest callback kind.
pub(crate) const KINDS: usize = plugin_api::abi::kind::COUNT as usize;

type List = Rc<[Rc<Subscription>]>;

/// All subscriptions, by kind, in load order and then registration order.
#[derive(Debug)]
pub struct Registry {
    lists: Vec<List>,
    next: u64,
    /// Grows with every change that makes translated code out of date.
    epoch: u64,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry { lists: (0..KINDS).map(|_| List::from([])).collect(), next: 1, epoch: 0 }
    }
}

/// Takes the place of a callback that is disabled or gone. Every callback's result of 0 means
/// "no", "not handled" or is ignored.
extern "C" fn nothing() -> u64 {
    0
}

impl Registry {
    /// Registers a callback.
    pub fn register(
        &mut self,
        owner: OwnerId,
        kind: u32,
        func: usize,
        user: usize,
        flags: u32,
    ) -> Result<SubscriptionId, RegisterError> {
        let list = match self.lists.get(kind as usize) {
            Some(list) if kind != 0 => list,
            _ => return Err(RegisterError::UnknownKind(kind)),
        };
        if func == 0 {
            return Err(RegisterError::NullFunction);
        }
        let id = SubscriptionId(self.next);
        self.next += 1;
        let sub = Rc::new(Subscription {
            id,
            owner,
            kind,
            flags,
            cell: HookCell::new(func, user),
            func,
            enabled: Cell::new(true),
            when: Cell::new(When::ALWAYS),
        });
        let mut new: Vec<_> = list.to_vec();
        let at = new.partition_point(|s| s.owner <= owner);
        new.insert(at, sub);
        self.lists[kind as usize] = new.into();
        self.changed(kind);
        Ok(id)
    }

    /// Removes one subscription of `owner`.
    pub fn unregister(&mut self, owner: OwnerId, id: SubscriptionId) -> Result<(), RegisterError> {
        let sub = self.find(owner, id)?;
        self.retain(sub.kind as usize, |s| s.id != id);
        Ok(())
    }

    /// Removes every subscription of `owner`.
    pub fn remove_owner(&mut self, owner: OwnerId) {
        for kind in 0..self.lists.len() {
            if self.lists[kind].iter().any(|s| s.owner == owner) {
                self.retain(kind, |s| s.owner != owner);
            }
        }
    }

    /// Makes every subscription of `owner` do nothing, without allocating or freeing.
    pub fn silence(&self, owner: OwnerId) {
        for s in self.iter().filter(|s| s.owner == owner) {
            s.enabled.set(false);
            s.cell.func.set(nothing as *const () as usize);
        }
    }

    /// The subscription of `owner` whose function is at `func`.
    pub fn with_function(&self, owner: OwnerId, func: usize) -> Option<&Subscription> {
        self.iter().find(|s| s.owner == owner && s.func == func).map(|s| &**s)
    }

    /// Enables or disables a subscription of `owner`.
    pub fn set_enabled(
        &mut self,
        owner: OwnerId,
        id: SubscriptionId,
        on: bool,
    ) -> Result<(), RegisterError> {
        let sub = self.find(owner, id)?;
        if sub.enabled.replace(on) != on {
            sub.cell.func.set(if on { sub.func } else { nothing as *const () as usize });
            self.changed(sub.kind);
        }
        Ok(())
    }

    /// Restricts a subscription of `owner` to a range of addresses; `None` is everywhere.
    pub fn set_within(
        &mut self,
        owner: OwnerId,
        id: SubscriptionId,
        within: Option<Within>,
    ) -> Result<(), RegisterError> {
        let sub = self.conditional(owner, id)?;
        self.set_when(&sub, When { within, ..sub.when() });
        Ok(())
    }

    /// Makes a subscription of `owner` due for the `first`-th event from now on (at least 1), then for every
    /// `every`-th (0: never again).
    pub fn set_countdown(
        &mut self,
        owner: OwnerId,
        id: SubscriptionId,
        first: u64,
        every: u64,
    ) -> Result<(), RegisterError> {
        let sub = self.conditional(owner, id)?;
        sub.cell.left.set(first);
        sub.cell.every.set(every);
        self.set_when(&sub, When { countdown: (first, every) != (1, 1), ..sub.when() });
        Ok(())
    }

    fn conditional(
        &self,
        owner: OwnerId,
        id: SubscriptionId,
    ) -> Result<Rc<Subscription>, RegisterError> {
        let sub = self.find(owner, id)?;
        match sub.kind {
            kind::INSN_EXEC | kind::AFTER_INSN_EXEC => Ok(sub),
            kind::BEFORE_BLOCK_EXEC..=kind::VIRT_MEM_AFTER_WRITE => Ok(sub),
            _ => Err(RegisterError::NoConditions),
        }
    }

    fn set_when(&mut self, sub: &Subscription, when: When) {
        // A countdown that is only wound up leaves the code as it is.
        if sub.when.replace(when) != when {
            self.changed(sub.kind);
        }
    }

    /// The subscriptions of a kind, in call order. The snapshot stays valid when a callback
    /// changes the registry; removed entries do nothing when called.
    pub fn list(&self, kind: u32) -> List {
        self.lists.get(kind as usize).cloned().unwrap_or_else(|| List::from([]))
    }

    /// Whether anybody enabled wants the kind.
    #[inline]
    pub fn wants(&self, kind: u32) -> bool {
        self.lists.get(kind as usize).is_some_and(|l| l.iter().any(|s| s.enabled()))
    }

    /// Every subscription there is.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Subscription>> {
        self.lists.iter().flat_map(|l| l.iter())
    }

    /// The instrumentation epoch: translated code of an older epoch is out of date.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Starts a new epoch.
    pub fn bump_epoch(&mut self) {
        self.epoch += 1;
    }

    fn find(&self, owner: OwnerId, id: SubscriptionId) -> Result<Rc<Subscription>, RegisterError> {
        self.iter()
            .find(|s| s.id == id && s.owner == owner)
            .cloned()
            .ok_or(RegisterError::UnknownSubscription)
    }

    fn retain(&mut self, kind: usize, keep: impl Fn(&Subscription) -> bool) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.lists[kind].iter().cloned().partition(|s| keep(s));
        for s in &gone {
            s.enabled.set(false);
            s.cell.func.set(nothing as *const () as usize);
        }
        self.lists[kind] = kept.into();
        self.changed(kind as u32);
    }

    fn changed(&mut self, kind: u32) {
        if crate::instrument::is_compiled_in(kind) {
            self.epoch += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_order_then_registration_order() {
        let mut r = Registry::default();
        let b = r.register(OwnerId(2), 2, 1, 0, 0).unwrap();
        let a1 = r.register(OwnerId(1), 2, 1, 0, 0).unwrap();
        let a2 = r.register(OwnerId(1), 2, 1, 0, 0).unwrap();
        let ids: Vec<_> = r.list(2).iter().map(|s| s.id).collect();
        assert_eq!(ids, [a1, a2, b]);
    }

    #[test]
    fn stale_and_foreign_ids_are_refused() {
        let mut r = Registry::default();
        let id = r.register(OwnerId(1), 2, 1, 0, 0).unwrap();
        assert_eq!(r.unregister(OwnerId(2), id), Err(RegisterError::UnknownSubscription));
        assert_eq!(r.unregister(OwnerId(1), id), Ok(()));
        assert_eq!(r.unregister(OwnerId(1), id), Err(RegisterError::UnknownSubscription));
        assert_eq!(r.register(OwnerId(1), 0, 1, 0, 0), Err(RegisterError::UnknownKind(0)));
        assert_eq!(r.register(OwnerId(1), 999, 1, 0, 0), Err(RegisterError::UnknownKind(999)));
        assert_eq!(r.register(OwnerId(1), 2, 0, 0, 0), Err(RegisterError::NullFunction));
    }

    #[test]
    fn a_removed_subscription_in_a_snapshot_does_nothing() {
        let mut r = Registry::default();
        let id = r.register(OwnerId(1), 2, 0x1234, 0, 0).unwrap();
        let snapshot = r.list(2);
        r.set_enabled(OwnerId(1), id, false).unwrap();
        assert_ne!(snapshot[0].cell.func.get(), 0x1234);
        r.set_enabled(OwnerId(1), id, true).unwrap();
        assert_eq!(snapshot[0].cell.func.get(), 0x1234);
        r.remove_owner(OwnerId(1));
        assert_ne!(snapshot[0].cell.func.get(), 0x1234);
        assert!(!r.wants(2));
    }
}
