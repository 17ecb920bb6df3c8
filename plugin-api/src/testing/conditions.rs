//! The mock host's conditions of subscriptions.
//!
//! # Safety
//! All functions: called by the loaded plugin as the contract says, with handles of this host.

use super::host::{Callback, State};
use super::tables::of;
use crate::abi::{ConditionsApi, PandaId, PandaPlugin, kind, status};

pub(super) static CONDITIONS: ConditionsApi = ConditionsApi {
    struct_size: ConditionsApi::SIZE,
    reserved: 0,
    within: Some(within),
    countdown: Some(countdown),
};

/// When a callback is called.
#[derive(Clone, Copy)]
pub(super) struct Condition {
    /// First address and the one behind the last.
    range: (u64, u64),
    /// Events up to the next call, and from that to the one after it.
    countdown: (u64, u64),
}

impl Condition {
    pub(super) const NONE: Condition = Condition { range: (0, u64::MAX), countdown: (1, 1) };

    /// Whether a callback is due for an event at these addresses; notes the event.
    pub(super) fn due(&mut self, (addr, size): (u64, u64)) -> bool {
        let (from, to) = self.range;
        if addr >= to || addr.saturating_add(size) <= from {
            return false;
        }
        let (left, every) = &mut self.countdown;
        *left = left.wrapping_sub(1);
        let due = *left == 0;
        if due {
            *left = *every;
        }
        due
    }
}

fn set(state: &State, id: PandaId, change: impl FnOnce(&mut Condition)) -> u32 {
    let mut callbacks = state.callbacks.borrow_mut();
    match callbacks.iter_mut().find(|c| c.id == id) {
        None => status::STALE_ID,
        Some(Callback { kind, condition, .. }) => {
            if !has_conditions(*kind) {
                return status::UNSUPPORTED;
            }
            change(condition);
            status::OK
        }
    }
}

fn has_conditions(k: u32) -> bool {
    matches!(k, kind::INSN_EXEC | kind::AFTER_INSN_EXEC)
        || (kind::BEFORE_BLOCK_EXEC..=kind::VIRT_MEM_AFTER_WRITE).contains(&k)
}

unsafe extern "C" fn within(plugin: *mut PandaPlugin, id: PandaId, from: u64, to: u64) -> u32 {
    if from >= to {
        return status::INVALID;
    }
    // SAFETY: see the module.
    set(unsafe { of(plugin) }, id, |c| c.range = (from, to))
}

unsafe extern "C" fn countdown(
    plugin: *mut PandaPlugin,
    id: PandaId,
    first: u64,
    every: u64,
) -> u32 {
    if first == 0 {
        return status::INVALID;
    }
    // SAFETY: see the module.
    set(unsafe { of(plugin) }, id, |c| c.countdown = (first, every))
}
