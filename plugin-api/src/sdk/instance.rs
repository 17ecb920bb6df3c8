//! A running plugin: its state, its callbacks, and the wall that panics do not cross.

use core::any::Any;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use super::counter::Number;
use super::cpu::Cpu;
use super::host::Host;
use super::output::Inner as OutputInner;
use super::service::Exchange;
use super::{Error, Plugin, logging};
use crate::abi::{PandaCpu, PandaId, level, status};

/// What a plugin's helpers share, whatever its type.
pub(crate) struct Shared {
    pub(crate) host: Host,
    /// False once the host's tables may no longer be used.
    pub(crate) alive: Cell<bool>,
    pub(crate) outputs: RefCell<Vec<Weak<RefCell<OutputInner>>>>,
    pub(crate) exchange: RefCell<Exchange>,
    /// Numbers of counters that were removed: kept until the plugin ends, which is never inside a block.
    pub(crate) removed: RefCell<Vec<Number>>,
}

impl Shared {
    pub(crate) fn log(&self, level: u32, text: &str) {
        if self.alive.get() {
            self.host.log(level, text);
        }
    }

    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        let status = if self.alive.get() { status::OK } else { status::NOT_NOW };
        Error::unless_ok(status, || "the plugin has ended".to_owned())
    }

    /// Tells the host of a descriptor that the guest must not see, or that is about to be closed.
    pub(crate) fn hide_fd(&self, fd: i32, hidden: bool) {
        if let Some(f) = self.host.os.hide_fd
            && self.alive.get()
        {
            // SAFETY: host function with its handle. A host that cannot hide it has no guest that
            // could see it.
            let _ = unsafe { f(self.host.plugin, fd, u32::from(hidden)) };
        }
    }

    /// Writes what outputs hold; false when some of it could not be written.
    pub(crate) fn flush_outputs(&self) -> bool {
        let mut good = true;
        let mut outputs = self.outputs.borrow_mut();
        outputs.retain(|o| o.strong_count() > 0);
        for output in outputs.iter().filter_map(Weak::upgrade) {
            good &= output.try_borrow_mut().is_ok_and(|mut o| o.flush_all());
        }
        good
    }
}

/// A callback's closure with the way back to its plugin; the user data of a registration.
pub(crate) struct Slot<P, F> {
    instance: *const Instance<P>,
    /// Used only while the plugin's state is borrowed, so by one caller at a time.
    callback: UnsafeCell<F>,
    what: &'static str,
}

/// A slot on the heap. Not a `Box`: the host holds its address, and moving a `Box` claims to be the
/// only user.
pub(crate) struct OwnedSlot(*mut dyn Any);

impl OwnedSlot {
    /// The user data for the host.
    pub(crate) fn user(&self) -> *mut c_void {
        self.0.cast()
    }
}

impl Drop for OwnedSlot {
    fn drop(&mut self) {
        // SAFETY: made by `into_raw` in `new_slot`, owned here alone.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// No state: during init and after uninit.
const ABSENT: u8 = 0;
/// There is a state and no callback uses it.
const READY: u8 = 1;
/// A callback runs on the state.
const BUSY: u8 = 2;
/// The plugin failed while a callback ran; the state stays, and nothing runs on it any more.
const FAILED: u8 = 3;

/// A plugin between init and uninit.
pub(crate) struct Instance<P> {
    pub(crate) shared: Rc<Shared>,
    /// Initialised and unused by callbacks exactly while `standing` is [`READY`].
    state: UnsafeCell<MaybeUninit<P>>,
    standing: Cell<u8>,
    /// `dead` is not empty.
    burials: Cell<bool>,
    slots: RefCell<Vec<(PandaId, OwnedSlot)>>,
    /// Closures of ended subscriptions; one of them may be running.
    dead: RefCell<Vec<OwnedSlot>>,
}

impl<P: Plugin> Instance<P> {
    pub(crate) fn new(host: Host) -> Instance<P> {
        Instance {
            shared: Rc::new(Shared {
                host,
                alive: Cell::new(true),
                outputs: RefCell::new(Vec::new()),
                exchange: RefCell::default(),
                removed: RefCell::default(),
            }),
            state: UnsafeCell::new(MaybeUninit::uninit()),
            standing: Cell::new(ABSENT),
            burials: Cell::new(false),
            slots: RefCell::new(Vec::new()),
            dead: RefCell::new(Vec::new()),
        }
    }

    /// Makes the user data for a callback; `keep` must follow once it is registered.
    pub(crate) fn new_slot<F: 'static>(&self, what: &'static str, f: F) -> OwnedSlot {
        let slot = Slot { instance: self, callback: UnsafeCell::new(f), what };
        OwnedSlot(Box::into_raw(Box::new(slot)))
    }

    pub(crate) fn keep(&self, id: PandaId, slot: OwnedSlot) {
        self.slots.borrow_mut().push((id, slot));
    }

    pub(crate) fn discard(&self, id: PandaId) {
        let mut slots = self.slots.borrow_mut();
        if let Some(at) = slots.iter().position(|(i, _)| *i == id) {
            self.dead.borrow_mut().push(slots.swap_remove(at).1);
            self.burials.set(true);
        }
    }

    /// Drops every closure. No callback may be running.
    pub(crate) fn discard_all(&self) {
        let gone = (self.slots.take(), self.dead.take());
        self.guarded("end of a callback", (), || drop(gone));
    }

    /// Runs plugin code; a panic ends the plugin and gives `otherwise`.
    pub(crate) fn guarded<R>(&self, what: &str, otherwise: R, go: impl FnOnce() -> R) -> R {
        match catch_unwind(AssertUnwindSafe(go)) {
            Ok(result) => result,
            Err(payload) => {
                if self.standing.get() == READY {
                    self.standing.set(FAILED);
                }
                self.panicked(what, payload);
                otherwise
            }
        }
    }

    /// Reports a panic to the host.
    #[cold]
    fn panicked(&self, what: &str, payload: Box<dyn Any + Send>) {
        let text = logging::panic_text(&*payload);
        // Dropping the payload is plugin code too.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            core::mem::forget(second);
        }
        if self.shared.alive.get() {
            self.shared.host.failed(&format!("panic in {what}{text}"));
        }
    }

    /// Runs plugin code on the plugin's state. Gives `otherwise` when there is no state to run on:
    /// during init, after a failure, or from inside another callback.
    pub(crate) fn run<R>(
        &self,
        what: &str,
        cpu: *mut PandaCpu,
        otherwise: R,
        go: impl FnOnce(&mut P, &mut Cpu<'_>) -> R,
    ) -> R {
        if self.standing.get() != READY {
            self.left_out(what);
            return otherwise;
        }
        self.standing.set(BUSY);
        // SAFETY: the standing said that the state is initialised and unused; now it is ours.
        let state = unsafe { (*self.state.get()).assume_init_mut() };
        let mut cpu = Cpu::new(cpu, &self.shared.host);
        match catch_unwind(AssertUnwindSafe(|| go(state, &mut cpu))) {
            Ok(result) => {
                self.standing.set(READY);
                result
            }
            Err(payload) => {
                self.standing.set(FAILED);
                self.panicked(what, payload);
                otherwise
            }
        }
    }

    /// Gives the plugin its state, at the end of init.
    pub(crate) fn begin(&self, state: P) {
        if self.standing.get() == ABSENT {
            // SAFETY: without a state nobody uses the cell.
            unsafe { (*self.state.get()).write(state) };
            self.standing.set(READY);
        }
    }

    /// Takes the state away, for uninit; `None` when there is none or a callback uses it.
    pub(crate) fn end(&self) -> Option<P> {
        if !matches!(self.standing.get(), READY | FAILED) {
            return None;
        }
        self.standing.set(ABSENT);
        // SAFETY: the standing said that the state is initialised and unused; it is gone from now on.
        Some(unsafe { (*self.state.get()).assume_init_read() })
    }

    #[cold]
    fn left_out(&self, what: &str) {
        if self.standing.get() == BUSY {
            self.shared.log(level::WARN, &format!("{what} inside another callback left out"));
        }
    }

    #[cold]
    fn bury(&self) {
        self.burials.set(false);
        let gone = self.dead.take();
        self.guarded("end of a callback", (), || drop(gone));
    }
}

/// Enters a plugin through a callback's user data.
///
/// # Safety
/// `user` is a slot for `P` and `F` whose subscription is registered, on the run thread.
pub(crate) unsafe fn enter<P: Plugin, F, R: Copy>(
    user: *mut c_void,
    cpu: *mut PandaCpu,
    otherwise: R,
    go: impl FnOnce(&mut F, &mut P, &mut Cpu<'_>) -> R,
) -> R {
    // SAFETY: promised by the caller; a slot lives until its subscription ended and returned.
    let slot = unsafe { &*user.cast::<Slot<P, F>>() };
    // SAFETY: the instance owns the slot.
    let instance = unsafe { &*slot.instance };
    let result = instance.run(slot.what, cpu, otherwise, |state, cpu| {
        // SAFETY: the borrow of the state keeps other callers out.
        go(unsafe { &mut *slot.callback.get() }, state, cpu)
    });
    if instance.burials.get() {
        instance.bury();
    }
    result
}
