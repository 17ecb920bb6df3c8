//! What callbacks may reach while the engine runs.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use emu_cpu::{CpuHeader, GuestArch};
use emu_ir::Within;
use emu_mem::{AddressSpace, PAGE, Prot, access};

use crate::counters::{CounterId, CounterKind, Counters};
use crate::instrument::Plan;
use crate::registry::{OwnerId, RegisterError, Registry, SubscriptionId};

/// A request to end the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StopRequest {
    /// Exit status asked for.
    pub status: i32,
    /// Why, for the log.
    pub reason: String,
}

/// What the personality lets plugins know about the guest's operating system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OsFacts {
    /// Path of the guest program.
    pub program: String,
    /// Guest process id.
    pub pid: u32,
    /// Guest thread that runs.
    pub tid: u32,
}

/// The part of the engine that outlives and interrupts its run loop: subscriptions, the guest's
/// address space, requests. Everything is behind `Cell` or `RefCell` and used on the run thread.
#[derive(Debug)]
pub struct Shared {
    /// Subscriptions.
    pub registry: RefCell<Registry>,
    /// The guest's mappings.
    pub space: RefCell<AddressSpace>,
    /// Facts about the guest.
    pub os: RefCell<OsFacts>,
    pub(crate) counters: RefCell<Counters>,
    pub(crate) arch: Cell<&'static dyn GuestArch>,
    pub(crate) stop: RefCell<Option<StopRequest>>,
    /// Guest ranges whose translations are out of date.
    pub(crate) stale: RefCell<Vec<(u64, u64)>>,
    /// Retired instructions up to the last time guest code stopped running.
    pub(crate) retired: Cell<u64>,
    /// The CPU whose guest code runs; null otherwise.
    pub(crate) running: Cell<*mut CpuHeader>,
    /// Retired instructions that counters of instructions show already, while a CPU runs.
    pub(crate) settled: Cell<u64>,
    /// What the running CPU's blocks are made by; for helpers, which are not.
    pub(crate) plan: Cell<*const Plan>,
}

impl Shared {
    pub(crate) fn new(arch: &'static dyn GuestArch) -> Rc<Shared> {
        // Known before the guest is: its first module is announced while it is being loaded.
        let pid = std::process::id();
        Rc::new(Shared {
            registry: RefCell::default(),
            space: RefCell::default(),
            os: RefCell::new(OsFacts { program: String::new(), pid, tid: pid }),
            counters: RefCell::default(),
            arch: Cell::new(arch),
            stop: RefCell::default(),
            stale: RefCell::default(),
            retired: Cell::new(0),
            running: Cell::new(core::ptr::null_mut()),
            settled: Cell::new(0),
            plan: Cell::new(core::ptr::null()),
        })
    }

    /// The shared part behind a CPU, from inside a callback.
    ///
    /// # Safety
    /// `cpu` is the CPU a callback of this engine was given, and that callback has not returned.
    pub unsafe fn of<'a>(cpu: *const CpuHeader) -> &'a Shared {
        let (cpu, _) = emu_cpu::lent(cpu.cast_mut());
        // SAFETY: the engine sets the pointer before any callback can run and outlives the run.
        unsafe { &*(*cpu).engine.cast::<Shared>() }
    }

    /// The guest architecture.
    pub fn arch(&self) -> &'static dyn GuestArch {
        self.arch.get()
    }

    /// Registers a callback; takes effect at the next block.
    pub fn register(
        &self,
        owner: OwnerId,
        kind: u32,
        func: usize,
        user: usize,
        flags: u32,
    ) -> Result<SubscriptionId, RegisterError> {
        let id = self.registry.borrow_mut().register(owner, kind, func, user, flags)?;
        self.changed(kind);
        Ok(id)
    }

    /// Removes a callback; it is not called again.
    pub fn unregister(&self, owner: OwnerId, id: SubscriptionId) -> Result<(), RegisterError> {
        self.registry.borrow_mut().unregister(owner, id)?;
        crate::request_interrupt();
        Ok(())
    }

    /// Enables or disables a callback.
    pub fn set_enabled(
        &self,
        owner: OwnerId,
        id: SubscriptionId,
        on: bool,
    ) -> Result<(), RegisterError> {
        self.registry.borrow_mut().set_enabled(owner, id, on)?;
        crate::request_interrupt();
        Ok(())
    }

    /// Restricts a callback to a range of addresses; see [`Registry::set_within`].
    pub fn set_within(
        &self,
        owner: OwnerId,
        id: SubscriptionId,
        within: Option<Within>,
    ) -> Result<(), RegisterError> {
        self.changing(|r| r.set_within(owner, id, within))
    }

    /// Makes a callback due for some events only; see [`Registry::set_countdown`].
    pub fn set_countdown(
        &self,
        owner: OwnerId,
        id: SubscriptionId,
        first: u64,
        every: u64,
    ) -> Result<(), RegisterError> {
        self.changing(|r| r.set_countdown(owner, id, first, every))
    }

    /// Removes every callback and counter of a plugin.
    pub fn remove_owner(&self, owner: OwnerId) {
        self.registry.borrow_mut().remove_owner(owner);
        if self.counters.borrow_mut().remove_owner(owner) {
            self.registry.borrow_mut().bump_epoch();
        }
        crate::request_interrupt();
    }

    /// Stops every callback of a plugin at once. For signal handlers that interrupt code of a
    /// plugin; [`Shared::remove_owner`] must follow.
    pub fn silence(&self, owner: OwnerId) {
        if let Ok(registry) = self.registry.try_borrow() {
            registry.silence(owner);
        }
    }

    /// Pc of the guest instruction that a callback which reads registers was called for; 0 when no
    /// guest code runs. For signal handlers.
    pub fn callback_pc(&self) -> u64 {
        let cpu = self.running.get();
        // SAFETY: non-null only while the engine runs that CPU, and this is the run thread.
        if cpu.is_null() { 0 } else { unsafe { (*cpu).insn_pc } }
    }

    /// Adds an inlined counter; see [`Counters::add`].
    ///
    /// # Safety
    /// As for [`Counters::add`].
    pub unsafe fn add_counter(
        &self,
        owner: OwnerId,
        kind: CounterKind,
        cell: *mut u64,
        amount: u64,
    ) -> CounterId {
        // SAFETY: the caller's promise.
        let id = unsafe { self.counters.borrow_mut().add(owner, kind, cell, amount) };
        self.registry.borrow_mut().bump_epoch();
        crate::request_interrupt();
        id
    }

    /// Removes a counter of `owner`; false if there is none.
    pub fn remove_counter(&self, owner: OwnerId, id: CounterId) -> bool {
        let removed = self.counters.borrow_mut().remove(owner, id);
        if removed {
            self.registry.borrow_mut().bump_epoch();
            crate::request_interrupt();
        }
        removed
    }

    /// Asks the run to end at the next block boundary; the first request wins.
    pub fn request_stop(&self, status: i32, reason: &str) {
        self.stop
            .borrow_mut()
            .get_or_insert_with(|| StopRequest { status, reason: reason.to_owned() });
        crate::request_interrupt();
    }

    /// The pending stop request.
    pub fn stop_request(&self) -> Option<StopRequest> {
        self.stop.borrow().clone()
    }

    /// Instructions retired so far by all guest threads; exact inside callbacks too.
    pub fn retired(&self) -> u64 {
        let cpu = self.running.get();
        if cpu.is_null() {
            return self.retired.get();
        }
        // SAFETY: non-null only while the engine runs that CPU, and this is the run thread.
        unsafe { (*cpu).retired() }
    }

    /// Reads guest memory for a plugin or the personality. False, with `buf` unspecified, unless
    /// every byte is mapped readable.
    pub fn read_memory(&self, addr: u64, buf: &mut [u8]) -> bool {
        self.space.borrow().check(addr, buf.len() as u64, Prot::READ)
            && access::read(addr, buf).is_ok()
    }

    /// Writes guest memory for a plugin. False unless every byte is mapped; read-only guest pages
    /// are refused. Translated code in the range is dropped.
    pub fn write_memory(&self, addr: u64, data: &[u8]) -> bool {
        if !self.space.borrow().check(addr, data.len() as u64, Prot::WRITE) {
            return false;
        }
        self.release_code(addr, addr + data.len() as u64);
        access::write(addr, data).is_ok()
    }

    /// Makes watched code pages that overlap `start..end` writable and drops their translations.
    pub fn release_code(&self, start: u64, end: u64) {
        let pages = self.space.borrow().code_pages(start, end);
        for page in pages {
            let released = self.space.borrow_mut().release_code(page);
            match released {
                Ok(pages) => pages.iter().for_each(|p| self.mark_stale(*p, p + PAGE)),
                Err(e) => {
                    tracing::error!("{e}");
                    self.mark_stale(page, page + PAGE);
                }
            }
        }
    }

    /// Translations of `start..end` must not run again.
    pub fn mark_stale(&self, start: u64, end: u64) {
        self.stale.borrow_mut().push((start, end));
        crate::request_interrupt();
    }

    /// Changes subscriptions; blocks that became out of date are left soon.
    fn changing<R>(&self, change: impl FnOnce(&mut Registry) -> R) -> R {
        let mut registry = self.registry.borrow_mut();
        let epoch = registry.epoch();
        let done = change(&mut registry);
        if registry.epoch() != epoch {
            crate::request_interrupt();
        }
        done
    }

    fn changed(&self, kind: u32) {
        if crate::instrument::is_compiled_in(kind) {
            crate::request_interrupt();
        }
    }
}
