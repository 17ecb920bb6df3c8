//! Warns of callbacks that do not end.
//!
//! A timer on the run thread's processor time ticks while that thread computes, and one on the time that passes
//! while there are plugins. Each tick looks whether the same callback still runs: same place on the stack, same
//! number of retired guest instructions; the second timer's, whether it waits in a system call, too. Callbacks
//! themselves note nothing.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use emu_linux::attention::Timer;
use plugin_api::abi::kind_name;

use super::rescue::callback_at;
use super::walk::{Place, place, walk};
use super::{IMAGES, guest_pc, report, shared};

/// What one timer's ticks have seen.
struct Watch {
    timer: Timer,
    clock: libc::clockid_t,
    /// Ticks until a warning; the first one may come right after the callback's start.
    ticks: u64,
    /// The callback seen last: stack pointer and retired instructions.
    last: [AtomicU64; 2],
    /// Ticks it has been seen for.
    seen: AtomicU64,
    /// The process whose timer it is.
    process: AtomicI32,
}

const fn watch(timer: Timer, clock: libc::clockid_t, ticks: u64) -> Watch {
    let last = [AtomicU64::new(0), AtomicU64::new(0)];
    Watch { timer, clock, ticks, last, seen: AtomicU64::new(0), process: AtomicI32::new(0) }
}

static COMPUTING: Watch = watch(Timer::Processor, libc::CLOCK_THREAD_CPUTIME_ID, 4);
/// Its ticks interrupt what a callback waits for, so there are fewer.
static WAITING: Watch = watch(Timer::Wall, libc::CLOCK_MONOTONIC, 2);

/// Nanoseconds until a warning; 0 when off.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Warns when a callback uses more than `seconds` of processor time, or waits for longer; 0 never warns. For the
/// calling thread, which is the run thread.
pub fn start(seconds: f64) {
    LIMIT.store((seconds * 1e9) as u64, Ordering::Release);
    emu_linux::attention::set_tick(tick);
    again();
}

/// Starts the timers, which a forked process does not inherit.
pub fn again() {
    begin(&COMPUTING);
    if IMAGES.try_lock().is_ok_and(|i| !i.is_empty()) {
        begin(&WAITING);
    }
}

/// There are plugins now, which might wait.
pub fn plugins_came() {
    begin(&WAITING);
}

/// Starts a timer in this process.
fn begin(watch: &Watch) {
    let period = LIMIT.load(Ordering::Acquire) / watch.ticks;
    // SAFETY: cannot fail.
    let process = unsafe { libc::getpid() };
    if period == 0 || watch.process.swap(process, Ordering::AcqRel) == process {
        return;
    }
    // The kernel's `struct sigevent`.
    #[repr(C)]
    struct Event {
        value: u64,
        signal: i32,
        notify: i32,
        thread: i32,
        pad: [i32; 11],
    }
    let interval = libc::timespec {
        tv_sec: (period / 1_000_000_000) as i64,
        tv_nsec: (period % 1_000_000_000) as i64,
    };
    let every = libc::itimerspec { it_interval: interval, it_value: interval };
    // SAFETY: valid structures; the timer signals this thread only. Without one there are no warnings.
    unsafe {
        let event = Event {
            value: emu_linux::attention::timer_value(watch.timer),
            signal: emu_linux::attention::SIGNAL,
            notify: libc::SIGEV_THREAD_ID,
            thread: libc::gettid(),
            pad: [0; 11],
        };
        let mut timer = 0i32;
        if libc::syscall(libc::SYS_timer_create, watch.clock, &event, &mut timer) == 0 {
            let none = core::ptr::null_mut::<libc::itimerspec>();
            libc::syscall(libc::SYS_timer_settime, timer, 0, &every, none);
        } else {
            tracing::warn!("no timer is to be had: endless callbacks will not be reported");
        }
    }
}

/// Whether the thread was interrupted in a system call: it is about to make it again, or has been told that it was.
fn in_system_call(context: &libc::ucontext_t) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let registers = &context.uc_mcontext.gregs;
    let at = registers[libc::REG_RIP as usize] as *const [u8; 2];
    let told = registers[libc::REG_RAX as usize] == i64::from(-libc::EINTR);
    // SAFETY: code that was running; two bytes before it are in the same function, as a system call is not the
    // first instruction of one.
    unsafe { at.read() == SYSCALL || told && at.sub(1).read() == SYSCALL }
}

/// One tick. Runs in signal context.
fn tick(timer: Timer, context: &mut libc::ucontext_t) {
    let watch = if timer == Timer::Wall { &WAITING } else { &COMPUTING };
    let Ok(images) = IMAGES.try_lock() else { return };
    let (mut plugin, mut entered, mut stack) = (None, 0, 0);
    if !images.is_empty() && (timer == Timer::Processor || in_system_call(context)) {
        let rip = context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64;
        walk(Some(rip), &mut |frame| match place(&images, frame.inside) {
            Place::Plugin(n) => {
                plugin = Some(n);
                entered = frame.function;
                true
            }
            Place::Host | Place::Unknown if plugin.is_some() => {
                stack = frame.sp;
                false
            }
            _ => true,
        });
    }
    let Some(n) = plugin else {
        watch.seen.store(0, Ordering::Relaxed);
        return;
    };
    let retired = shared().map_or(0, |s| s.retired());
    let same = watch.last[0].swap(stack, Ordering::Relaxed) == stack;
    if !(watch.last[1].swap(retired, Ordering::Relaxed) == retired && same) {
        watch.seen.store(0, Ordering::Relaxed);
    }
    let seen = watch.seen.fetch_add(1, Ordering::Relaxed) + 1;
    // The second warning comes after ten times as long, and so on.
    let mut due = watch.ticks;
    while due + 1 < seen {
        due *= 10;
    }
    if seen != due + 1 {
        return;
    }
    let image = &images[n];
    let passed = LIMIT.load(Ordering::Relaxed) / watch.ticks * due / 1_000_000;
    let kind = callback_at(image.owner, entered as usize).and_then(|(kind, _)| kind_name(kind));
    let guest_pc = guest_pc(image.owner, entered);
    let mut line = report::Line::new("warning");
    line.text("plugin `").text(&image.name).text("` has been ");
    match kind {
        Some(kind) => line.text("in its callback ").text(kind),
        None => line.text("running"),
    };
    line.text(" for ").number(passed);
    line.text(if timer == Timer::Wall { " ms, waiting" } else { " ms of processor time" });
    if guest_pc != 0 {
        line.text(" at guest pc ").hex(guest_pc);
    }
    line.text("; the guest waits for it").write();
}
