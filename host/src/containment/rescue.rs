//! Crash signals in plugin code.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use emu_engine::OwnerId;
use emu_mem::host_fault;

use super::walk::{Frame, Place, library, place, walk};
use super::{IMAGES, Image, RUN_THREAD, guest_pc, memory, on_run_thread, report, shared};

/// Most frames that are kept of a stack: the innermost ones.
pub const FRAMES: usize = 24;
/// Most plugins that can be entangled in one crash.
const OWNERS: usize = 4;
/// Most crashes between two block boundaries.
const CRASHES: usize = 8;
/// Seconds the other plugins have to write their output when the run must end.
const LAST_WORDS: u32 = 5;

/// What a plugin was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Its init.
    Init,
    /// Its uninit.
    Uninit,
    /// Its flush.
    Flush,
    /// A callback of that kind.
    Callback(u32),
    /// A thread of its own.
    Thread,
    /// A function that another plugin, or nobody known, called.
    Other,
}

/// A crash in plugin code.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// The signal.
    pub signal: i32,
    /// For memory faults: the address.
    pub addr: u64,
    /// The plugins whose code was interrupted, the one at fault first.
    owners: [OwnerId; OWNERS],
    owner_count: usize,
    /// What the first of them was doing.
    pub doing: Doing,
    /// Pc of the guest instruction; 0 when no guest code ran.
    pub guest_pc: u64,
    /// Instructions the guest had retired.
    pub retired: u64,
    frames: [u64; FRAMES],
    frame_count: usize,
    /// Frames in all.
    pub depth: usize,
    /// Only the plugin's own code was interrupted, so that everything else can go on.
    pub contained: bool,
    /// It did not crash: it called `exit` with this status.
    pub exit: Option<i32>,
}

impl Crash {
    /// The plugins whose code was interrupted, the one at fault first.
    pub fn owners(&self) -> &[OwnerId] {
        &self.owners[..self.owner_count]
    }

    /// Addresses on the stack, innermost first.
    pub fn frames(&self) -> &[u64] {
        &self.frames[..self.frame_count]
    }
}

/// Crashes that nobody has dealt with.
static CRASHED: Mutex<Vec<Crash>> = Mutex::new(Vec::new());
/// There are some.
static ANY: AtomicBool = AtomicBool::new(false);
/// Addresses of functions of the C library that end the process on purpose, holding no lock.
static ENDINGS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
const ENDING_NAMES: [&CStr; 4] = [c"abort", c"raise", c"__assert_fail", c"__stack_chk_fail"];

/// The status with which a plugin called `exit`, until that is dealt with.
static EXITING: AtomicI64 = AtomicI64::new(NOT_EXITING);
const NOT_EXITING: i64 = i64::MAX;

unsafe extern "C" {
    /// glibc's `on_exit`, an `atexit` whose function learns the status.
    #[link_name = "on_exit"]
    fn register_on_exit(f: extern "C" fn(i32, *mut c_void), argument: *mut c_void) -> i32;
}

/// Takes the oldest crash.
pub fn take() -> Option<Crash> {
    if !ANY.load(Ordering::Acquire) {
        return None;
    }
    let mut crashed = CRASHED.lock().unwrap_or_else(PoisonError::into_inner);
    let first = (!crashed.is_empty()).then(|| crashed.remove(0));
    ANY.store(!crashed.is_empty(), Ordering::Release);
    first
}

/// Registers the handlers.
pub fn install() {
    CRASHED.lock().unwrap_or_else(PoisonError::into_inner).reserve(CRASHES);
    for (to, name) in ENDINGS.iter().zip(ENDING_NAMES) {
        // SAFETY: only asks for an address.
        to.store(
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as u64,
            Ordering::Release,
        );
    }
    host_fault::set_rescue_handler(rescue);
    static REGISTERED: Once = Once::new();
    // SAFETY: a function that lives as long as the process.
    REGISTERED.call_once(|| unsafe {
        register_on_exit(on_exit, core::ptr::null_mut());
    });
    // Until the guest is loaded, whose signal handlers pass these two on. The first `abort` in a process is
    // not to find the default action.
    for signal in [libc::SIGABRT, libc::SIGILL] {
        // SAFETY: plain data; a valid action.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, core::ptr::null_mut());
        }
    }
}

/// Called by the C library when something in the process calls `exit`. If that is a plugin, it is treated as
/// one that crashed in the C library: handlers of exits have run, so the run cannot go on.
extern "C" fn on_exit(status: i32, _: *mut c_void) {
    let mut plugin = false;
    if let Ok(images) = IMAGES.try_lock() {
        walk(None, &mut |frame| {
            plugin = matches!(place(&images, frame.inside), Place::Plugin(_));
            !plugin
        });
    }
    if !plugin {
        return;
    }
    EXITING.store(status.into(), Ordering::Release);
    // SAFETY: plain signal calls; the handler does not return here.
    unsafe {
        let mut abort: libc::sigset_t = core::mem::zeroed();
        libc::sigaddset(&mut abort, libc::SIGABRT);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &abort, core::ptr::null_mut());
        libc::raise(libc::SIGABRT);
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes valid pointers to an SA_SIGINFO handler.
    unsafe {
        if !rescue(signal, (*info).si_addr() as u64, &mut *context.cast::<libc::ucontext_t>()) {
            libc::signal(signal, libc::SIG_DFL);
            if (*info).si_code <= 0 {
                libc::raise(signal);
            }
        }
    }
}

/// What a walk found.
struct Found {
    crash: Crash,
    /// Where the callback would have returned to.
    back: Option<Frame>,
    /// Start of the function nearest to the plugin's code that it called in a library.
    called: u64,
    /// The plugin had called the host.
    in_host: bool,
    /// Start of the plugin's outermost function.
    entered: u64,
}

/// Finds the plugin at fault on the stack that begins at `rip`.
fn look(images: &[Image], rip: u64, signal: i32, addr: u64) -> Found {
    let mut found = Found {
        crash: Crash {
            signal,
            addr,
            owners: [OwnerId(0); OWNERS],
            owner_count: 0,
            doing: Doing::Other,
            guest_pc: 0,
            retired: 0,
            frames: [0; FRAMES],
            frame_count: 0,
            depth: 0,
            contained: false,
            exit: None,
        },
        back: None,
        called: 0,
        in_host: false,
        entered: 0,
    };
    walk(Some(rip), &mut |frame| {
        let crash = &mut found.crash;
        let inside_plugin = crash.owner_count > 0;
        match place(images, frame.inside) {
            Place::Plugin(n) => {
                let owner = images[n].owner;
                if !crash.owners().contains(&owner) && crash.owner_count < OWNERS {
                    crash.owners[crash.owner_count] = owner;
                    crash.owner_count += 1;
                }
                found.entered = frame.function;
            }
            Place::Library if inside_plugin => {}
            Place::Library => found.called = frame.function,
            Place::Host | Place::Unknown if inside_plugin => {
                found.back = Some(*frame);
                return false;
            }
            Place::Host => found.in_host = true,
            Place::Unknown => {}
        }
        if crash.frame_count < FRAMES {
            crash.frames[crash.frame_count] = frame.inside;
            crash.frame_count += 1;
        }
        crash.depth += 1;
        true
    });
    found
}

/// Whether the C library, called by the plugin, only ends the process: nothing of it is half done.
fn only_ends(called: u64) -> bool {
    if ENDINGS.iter().any(|f| f.load(Ordering::Acquire) == called) {
        return true;
    }
    // An exception that nobody catches, std::terminate.
    library(called).is_some_and(|info| {
        // SAFETY: the loader's own text.
        !info.dli_fname.is_null()
            && unsafe { CStr::from_ptr(info.dli_fname) }
                .to_bytes()
                .windows(9)
                .any(|w| w == b"libstdc++")
    })
}

/// What the plugin's outermost function was called for.
fn doing(images: &[Image], owner: OwnerId, entered: u64) -> Doing {
    let image = images.iter().rev().find(|i| i.owner == owner);
    let functions = image.map_or([0; 3], |i| i.functions);
    let entered = entered as usize;
    match functions.iter().position(|&f| f == entered && f != 0) {
        Some(0) => Doing::Init,
        Some(1) => Doing::Uninit,
        Some(2) => Doing::Flush,
        _ => callback_at(owner, entered).map_or(Doing::Other, |(kind, _)| Doing::Callback(kind)),
    }
}

/// Kind and flags of the callback that is the function at that address.
pub fn callback_at(owner: OwnerId, function: usize) -> Option<(u32, u32)> {
    let registry = shared()?.registry.try_borrow().ok()?;
    registry.with_function(owner, function).map(|s| (s.kind, s.flags))
}

/// The rescue handler. Runs in signal context.
fn rescue(signal: i32, addr: u64, context: &mut libc::ucontext_t) -> bool {
    const RIP: usize = libc::REG_RIP as usize;
    const RSP: usize = libc::REG_RSP as usize;
    let Ok(images) = IMAGES.try_lock() else { return false };
    if images.is_empty() {
        return false;
    }
    let regs = &mut context.uc_mcontext.gregs;
    let (old_ip, old_sp) = (regs[RIP], regs[RSP]);
    if signal == libc::SIGSEGV && addr == old_ip as u64 {
        // A call through a bad pointer: seen from its caller, the function returned at once.
        // SAFETY: the call has just pushed its return address there.
        regs[RIP] = unsafe { (old_sp as *const i64).read() };
        regs[RSP] += 8;
    }
    let mut found = look(&images, regs[RIP] as u64, signal, addr);
    let crash = &mut found.crash;
    let Some(&owner) = crash.owners().first() else {
        (regs[RIP], regs[RSP]) = (old_ip, old_sp);
        return false;
    };
    // It may have crashed for want of memory.
    memory::make_room();
    let mut own_code = !found.in_host && (found.called == 0 || only_ends(found.called));
    crash.exit = i32::try_from(EXITING.swap(NOT_EXITING, Ordering::AcqRel)).ok();
    if !on_run_thread() {
        // A thread that called `exit` is stopped in a handler of it, where nothing is half done.
        own_code |= crash.exit.is_some();
        crash.doing = Doing::Thread;
        crash.contained = own_code;
        if !own_code || !keep(*crash) {
            report::last_words(&images, crash);
            return false;
        }
        drop(images);
        park();
    }
    crash.doing = doing(&images, owner, found.entered);
    if let Some(shared) = shared() {
        crash.guest_pc = guest_pc(owner, found.entered);
        crash.retired = shared.retired();
    }
    crash.contained = own_code;
    let Some(back) = found.back.filter(|_| keep(*crash)) else {
        report::last_words(&images, crash);
        (regs[RIP], regs[RSP]) = (old_ip, old_sp);
        return false;
    };
    if !own_code {
        report::last_words(&images, crash);
        // Should the others be unable to write, for instance because the heap is locked.
        // SAFETY: plain signal calls.
        unsafe {
            libc::signal(libc::SIGALRM, libc::SIG_DFL);
            libc::alarm(LAST_WORDS);
        }
    }
    if let Some(shared) = shared() {
        crash.owners().iter().for_each(|&o| shared.silence(o));
    }
    // The callback returns 0: "no", "not handled" or nothing.
    let [rbx, rbp, r12, r13, r14, r15] = back.saved;
    for (register, value) in [
        (libc::REG_RIP, back.ip),
        (libc::REG_RSP, back.sp),
        (libc::REG_RBX, rbx),
        (libc::REG_RBP, rbp),
        (libc::REG_R12, r12),
        (libc::REG_R13, r13),
        (libc::REG_R14, r14),
        (libc::REG_R15, r15),
        (libc::REG_RAX, 0),
    ] {
        regs[register as usize] = value as i64;
    }
    const DIRECTION: i64 = 1 << 10;
    regs[libc::REG_EFL as usize] &= !DIRECTION;
    emu_engine::request_interrupt();
    true
}

/// Keeps a crash for [`take`]; false when there is no room.
fn keep(crash: Crash) -> bool {
    let Ok(mut crashed) = CRASHED.try_lock() else { return false };
    if crashed.len() >= CRASHES.min(crashed.capacity()) {
        return false;
    }
    crashed.push(crash);
    ANY.store(true, Ordering::Release);
    true
}

/// Stops the calling thread, of a plugin, for ever, and has the run thread look after the plugin.
fn park() -> ! {
    // SAFETY: plain signal calls of this process.
    unsafe {
        let run_thread = RUN_THREAD.load(Ordering::Acquire);
        emu_linux::attention::request_from(run_thread);
        let mut all: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&mut all);
        loop {
            libc::sigsuspend(&all);
        }
    }
}
