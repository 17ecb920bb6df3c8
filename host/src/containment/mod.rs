//! What a plugin does wrong stays its own: crashes in its code, and callbacks that do not end.
//!
//! Nothing is done while plugins behave: no callback is prepared for its failure, and none notes that it
//! runs. Who was at fault is read off the stack afterwards ([`walk`]): a frame in a plugin's image
//! ([`watch_image`]) says which plugin, the start of its outermost function says which callback, and the
//! first frame of the host behind it is where the callback would have returned to.
//!
//! * [`rescue`](mod@rescue) gets crash signals. If only the plugin's own code was interrupted it lets the
//!   callback return, silences the plugin and leaves the rest to [`take`]. If something else was (the
//!   C library, the host), the run ends as soon as the other plugins have written their output.
//! * [`watchdog`] gets timer ticks and warns of a callback that goes on and on.

pub mod memory;
pub mod report;
mod rescue;
mod walk;
pub mod watchdog;

use core::ffi::c_void;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use emu_cpu::CpuHeader;
use emu_engine::{OwnerId, Shared};
use plugin_api::abi::flags;

pub use rescue::{Crash, take};

/// A plugin's code in memory.
#[derive(Clone, Debug)]
pub struct Image {
    /// Whose it is.
    pub owner: OwnerId,
    /// Its name.
    pub name: String,
    /// The file it came from.
    pub path: PathBuf,
    /// When; a file that is newer is another one.
    pub loaded: SystemTime,
    /// Where it is mapped.
    pub range: Range<u64>,
    /// Addresses of init, uninit and flush.
    pub functions: [usize; 3],
}

/// The images of plugins, running and retired. Changed on the run thread only, while no code of a plugin
/// runs; handlers that find it locked know that none does.
static IMAGES: Mutex<Vec<Image>> = Mutex::new(Vec::new());
/// What callbacks of the present run reach.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(core::ptr::null_mut());
/// See [`event_is_about`].
static EVENT_CPU: AtomicPtr<CpuHeader> = AtomicPtr::new(core::ptr::null_mut());
/// Host thread id of the run thread.
static RUN_THREAD: AtomicI32 = AtomicI32::new(0);
/// Bounds of the host's own executable.
static HOST_START: AtomicU64 = AtomicU64::new(0);
static HOST_END: AtomicU64 = AtomicU64::new(0);

fn images() -> MutexGuard<'static, Vec<Image>> {
    IMAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts containing failures of plugins that run on this thread against `shared`, which then lives until
/// the process ends.
pub fn start(shared: &Rc<Shared>) {
    let shared = core::mem::ManuallyDrop::new(shared.clone());
    SHARED.store(Rc::as_ptr(&shared).cast_mut(), Ordering::Release);
    // SAFETY: cannot fail.
    RUN_THREAD.store(unsafe { libc::gettid() }, Ordering::Release);
    let host = walk::host_range();
    HOST_START.store(host.start, Ordering::Release);
    HOST_END.store(host.end, Ordering::Release);
    emu_linux::attention::install();
    rescue::install();
}

/// To be called in a process that the guest forked.
pub fn forked() {
    // SAFETY: cannot fail.
    RUN_THREAD.store(unsafe { libc::gettid() }, Ordering::Release);
    watchdog::again();
}

/// Code in this image is the plugin's from now on.
pub fn watch_image(image: Image) {
    images().push(image);
    memory::reserve();
    watchdog::plugins_came();
}

/// The plugin has ended, the image stays mapped.
pub fn retire_image(range: &Range<u64>) {
    images().iter_mut().filter(|i| i.range == *range).for_each(|i| i.owner = RETIRED);
}

/// The image is no longer mapped.
pub fn forget_image(range: &Range<u64>) {
    images().retain(|i| i.range != *range);
}

/// The file a plugin came from.
pub fn path_of(owner: OwnerId) -> Option<PathBuf> {
    images().iter().find(|i| i.owner == owner).map(|i| i.path.clone())
}

/// Owner of images whose plugin has ended.
const RETIRED: OwnerId = OwnerId(0);

core::arch::global_asm!(
    ".pushsection .text.panda_host_wall,\"ax\",@progbits",
    ".balign 16",
    "nop",
    // rdi: argument, rsi: function. No unwind information is given for it.
    "panda_host_wall:",
    "push rbp",
    "mov rbp, rsp",
    "call rsi",
    "nop",
    "pop rbp",
    "ret",
    ".popsection",
);

/// Calls `go` behind a frame that no exception can cross. A C++ exception that leaves a plugin finds no
/// handler then, so it ends in `std::terminate` with the plugin still on the stack, and is rescued like any
/// `abort`. Otherwise the handler around the program's `main` would be found, and everything unwound.
pub fn keeping_exceptions_in<R>(go: impl FnOnce() -> R) -> R {
    struct Call<F, R>(Option<F>, Option<R>);
    unsafe extern "C-unwind" fn enter<F: FnOnce() -> R, R>(call: *mut c_void) {
        // SAFETY: the one below.
        let call = unsafe { &mut *call.cast::<Call<F, R>>() };
        call.1 = call.0.take().map(|go| go());
    }
    fn function<F: FnOnce() -> R, R>(_: &F) -> unsafe extern "C-unwind" fn(*mut c_void) {
        enter::<F, R>
    }
    unsafe extern "C" {
        fn panda_host_wall(call: *mut c_void, f: unsafe extern "C-unwind" fn(*mut c_void));
    }
    let f = function::<_, R>(&go);
    let mut call = Call(Some(go), None);
    // SAFETY: the function gets the call it was made for.
    unsafe { panda_host_wall((&raw mut call).cast(), f) };
    // It is there: the function returned, and nothing unwinds through the wall.
    call.1.unwrap_or_else(|| std::process::abort())
}

/// The processor that an event is about, while its callbacks run; null otherwise.
pub fn event_is_about(cpu: *mut CpuHeader) {
    EVENT_CPU.store(cpu, Ordering::Release);
}

/// Pc of the guest instruction for which the plugin's callback at `entered` was called; 0 when there is none, or
/// it is not known because the subscription asks for no registers. For handlers on the run thread.
fn guest_pc(owner: OwnerId, entered: u64) -> u64 {
    let cpu = EVENT_CPU.load(Ordering::Acquire);
    if !cpu.is_null() {
        // SAFETY: alive while the event's callbacks run, on this thread.
        return unsafe { (*cpu).insn_pc };
    }
    match rescue::callback_at(owner, entered as usize) {
        Some((_, flags::NONE)) => 0,
        _ => shared().map_or(0, Shared::callback_pc),
    }
}

/// The run's shared part, for handlers on the run thread.
fn shared() -> Option<&'static Shared> {
    // SAFETY: null, or as `start` was promised; only the run thread gets here.
    unsafe { SHARED.load(Ordering::Acquire).cast_const().as_ref() }
}

fn on_run_thread() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::gettid() == RUN_THREAD.load(Ordering::Acquire) }
}
