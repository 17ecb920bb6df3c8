//! What a thread's end does to the futex words it has to do with (kernel/futex/core.c,
//! `exit_robust_list` and `exit_pi_state_list`; kernel/fork.c, `mm_release`).

use emu_mem::access;

use crate::sched::{FutexKind, Wait};
use crate::sys::futex::{OWNER_DIED, TID_MASK, WAITERS, hand_over, wake_anyone};
use crate::{Abi, Machine, Process};

/// The most elements of a list that are looked at.
const LIMIT: usize = 2048;

/// Releases the words of the current thread, which ends or runs another program: the locks on its
/// robust list, the priority-inheritance locks others wait for, its id word.
pub fn release(p: &mut Process, m: &mut dyn Machine) {
    robust_list(p, m);
    inherited_locks(p, m);
    let at = core::mem::take(&mut p.thread().clear_child_tid);
    // Nobody looks at the word of a process that ends as a whole.
    if at != 0 && p.threads.len() > 1 && p.abi.holds(at, 4) {
        m.release_code(at, at + 4);
        if access::store(at, 0u32).is_ok() {
            wake_anyone(p, at);
        }
    }
}

/// Locks with waiters go to the first of them, also if they are on no list.
fn inherited_locks(p: &mut Process, m: &mut dyn Machine) {
    let tid = p.thread().tid as u32;
    let waited = p.threads.iter().filter_map(|t| match &t.wait {
        Some(Wait::Futex(w)) if w.kind == FutexKind::Lock => Some(w.addr),
        _ => None,
    });
    let mut words: Vec<u64> = waited.collect();
    words.sort_unstable();
    words.dedup();
    for at in words {
        let Ok(value) = access::load::<u32>(at) else { continue };
        // The robust list has already taken the id out.
        if value & TID_MASK == tid || value & (TID_MASK | OWNER_DIED) == OWNER_DIED {
            let _ = hand_over(p, m, at, OWNER_DIED);
        }
    }
}

fn robust_list(p: &mut Process, m: &mut dyn Machine) {
    let (head, len) = core::mem::take(&mut p.thread().robust_list);
    if len == 0 {
        return;
    }
    let wide = p.abi == Abi::X86_64;
    let abi = p.abi;
    let word = |at: u64| match wide {
        _ if !abi.holds(at, 8) => None,
        true => access::load::<u64>(at).ok(),
        false => access::load::<u32>(at).ok().map(u64::from),
    };
    let size = p.abi.word();
    let Some(offset) = word(head.wrapping_add(size)) else { return };
    let offset = if wide { offset } else { offset as u32 as i32 as u64 };
    // An operation that was in progress: the lock may be taken and not be on the list yet.
    let pending = word(head.wrapping_add(2 * size)).unwrap_or(0);
    let mut at = word(head).unwrap_or(head);
    for _ in 0..LIMIT {
        if at & !1 == head || at & !1 == 0 {
            break;
        }
        let next = word(at & !1).unwrap_or(head);
        if at & !1 != pending & !1 {
            release_word(p, m, at, offset, false);
        }
        at = next;
    }
    if pending & !1 != 0 {
        release_word(p, m, pending, offset, true);
    }
}

/// Marks one lock (`handle_futex_death`). Bit 0 of the entry says that it inherits priority.
fn release_word(p: &mut Process, m: &mut dyn Machine, entry: u64, offset: u64, pending: bool) {
    let width = if p.abi == Abi::X86_64 { u64::MAX } else { 0xffff_ffff };
    let lock = (entry & !1).wrapping_add(offset) & width;
    let inherits = entry & 1 != 0;
    if !lock.is_multiple_of(4) || !p.abi.holds(lock, 4) {
        return;
    }
    let Ok(value) = access::load::<u32>(lock) else { return };
    let owner = value & TID_MASK;
    if pending && !inherits && owner == 0 {
        // Unlocked, and the wake-up may not have happened.
        wake_anyone(p, lock);
        return;
    }
    if owner != p.thread().tid as u32 {
        return;
    }
    m.release_code(lock, lock + 4);
    let _ = access::store(lock, value & WAITERS | OWNER_DIED);
    if !inherits && value & WAITERS != 0 {
        wake_anyone(p, lock);
    }
}
