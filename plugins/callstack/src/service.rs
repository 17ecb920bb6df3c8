//! What the plugin keeps and gives to others.

use core::cell::{Cell, RefCell};
use core::ffi::c_void;

use plugin_api::Cpu;
use plugin_api::abi::{CallFn, CallInfo, call_event, call_flags};

use crate::stacks::{Call, Stacks, live};

/// A listener of another plugin.
#[derive(Clone, Copy)]
struct Listener {
    id: u64,
    events: u32,
    func: CallFn,
    user: *mut c_void,
}

/// The stacks and those who listen. No borrow lasts while a listener runs, so that it may ask and may end itself.
#[derive(Default)]
pub struct Calls {
    stacks: RefCell<Stacks>,
    listeners: RefCell<Vec<Listener>>,
    next_id: Cell<u64>,
    events: Cell<u32>,
}

impl Calls {
    /// Whether return instructions are of interest.
    pub fn follows_returns(&self) -> bool {
        self.events.get() & call_event::RETURN != 0
    }

    /// Forgets calls: of a thread, or all.
    pub fn forget(&self, tid: Option<u32>) {
        let mut stacks = self.stacks.borrow_mut();
        match tid {
            Some(tid) => stacks.end(tid),
            None => stacks.clear(),
        }
    }

    /// The guest forked; this is the child.
    pub fn forked(&self, child: u32, sp: u64) {
        self.stacks.borrow_mut().forked(child, sp);
    }

    /// After a call instruction: the return address is at the stack pointer.
    pub fn called(&self, cpu: &mut Cpu<'_>, pc: u64) {
        let slot = cpu.sp();
        let mut word = [0; 8];
        let size = (cpu.word_size() as usize).min(8);
        if cpu.read_mem(slot, &mut word[..size]).is_err() {
            return;
        }
        let tid = cpu.tid();
        let listened = self.events.get();
        if listened & call_event::RETURN != 0 {
            self.left(cpu, tid, slot.saturating_add(1), None);
        }
        let call = Call { slot, returns_to: u64::from_le_bytes(word), pc, callee: cpu.pc() };
        self.stacks.borrow_mut().call(tid, call);
        if listened & call_event::CALL != 0 {
            let depth = self.stacks.borrow_mut().calls(tid, slot).len() - 1;
            self.tell(cpu, call_event::CALL, &info(&call, tid, depth, 0));
        }
    }

    /// After a return instruction.
    pub fn returned(&self, cpu: &mut Cpu<'_>) {
        let (tid, sp, pc) = (cpu.tid(), cpu.sp(), cpu.pc());
        self.left(cpu, tid, sp, Some(pc));
    }

    /// Ends the calls above which the stack pointer is, innermost first; a return went to `to`.
    fn left(&self, cpu: &mut Cpu<'_>, tid: u32, sp: u64, to: Option<u64>) {
        loop {
            let (call, depth, last) = {
                let mut stacks = self.stacks.borrow_mut();
                let calls = stacks.calls(tid, sp);
                let live = live(calls, sp);
                if calls.len() == live {
                    return;
                }
                let Some(call) = calls.pop() else { return };
                (call, calls.len(), calls.len() == live)
            };
            let returned = last && to == Some(call.returns_to);
            let flags = if returned { 0 } else { call_flags::UNWOUND };
            self.tell(cpu, call_event::RETURN, &info(&call, tid, depth, flags));
        }
    }

    fn tell(&self, cpu: &Cpu<'_>, event: u32, info: &CallInfo) {
        let now: Vec<Listener> = self.listeners.borrow().clone();
        for l in now.iter().filter(|l| l.events & event != 0) {
            if self.listeners.borrow().iter().any(|other| other.id == l.id) {
                // SAFETY: whoever listens promised a function of this type; it has not ended listening.
                unsafe { (l.func)(l.user, cpu.raw(), event, info) };
            }
        }
    }

    /// The return address of the running function.
    pub fn caller(&self, cpu: &Cpu<'_>) -> Option<u64> {
        let sp = cpu.sp();
        let mut stacks = self.stacks.borrow_mut();
        let calls = stacks.calls(cpu.tid(), sp);
        let live = live(calls, sp);
        // Their ends are still to be told when somebody listens.
        if !self.follows_returns() {
            calls.truncate(live);
        }
        calls[..live].last().map(|c| c.returns_to)
    }

    /// One word of each call in progress, innermost first. Returns how many there are.
    pub fn list(&self, cpu: &Cpu<'_>, buf: &mut [u64], word: fn(&Call) -> u64) -> usize {
        let sp = cpu.sp();
        let mut stacks = self.stacks.borrow_mut();
        let calls = stacks.calls(cpu.tid(), sp);
        let live = live(calls, sp);
        for (to, call) in buf.iter_mut().zip(calls[..live].iter().rev()) {
            *to = word(call);
        }
        live
    }

    /// Adds a listener.
    pub fn listen(&self, events: u32, func: CallFn, user: *mut c_void) -> u64 {
        let id = self.next_id.get() + 1;
        self.next_id.set(id);
        self.listeners.borrow_mut().push(Listener { id, events, func, user });
        self.count();
        id
    }

    /// Ends one; whether there was one.
    pub fn unlisten(&self, id: u64) -> bool {
        let mut listeners = self.listeners.borrow_mut();
        let before = listeners.len();
        listeners.retain(|l| l.id != id);
        let found = listeners.len() < before;
        drop(listeners);
        self.count();
        found
    }

    fn count(&self) {
        self.events.set(self.listeners.borrow().iter().fold(0, |all, l| all | l.events));
    }
}

fn info(call: &Call, tid: u32, depth: usize, flags: u32) -> CallInfo {
    CallInfo {
        struct_size: CallInfo::SIZE,
        flags,
        pc: call.pc,
        callee: call.callee,
        returns_to: call.returns_to,
        slot: call.slot,
        depth: depth as u32,
        tid,
    }
}
