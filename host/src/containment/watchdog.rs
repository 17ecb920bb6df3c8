//! Warns of callbacks that do not end.
//!
//! A timer on the run thread's processor time ticks while that thread computes. Each tick looks whether the
//! same callback still runs: same place on the stack, same number of retired guest instructions. Callbacks
//! themselves note nothing.

use core::sync::atomic::{AtomicU64, Ordering};

use plugin_api::abi::kind_name;

use super::rescue::callback_at;
use super::walk::{Place, place, walk};
use super::{IMAGES, guest_pc, report, shared};

/// Ticks until a warning; the first one may come right after the callback's start.
const TICKS: u64 = 4;

/// Nanoseconds between ticks; 0 when off.
static PERIOD: AtomicU64 = AtomicU64::new(0);
/// The callback seen last: stack pointer and retired instructions.
static LAST: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Ticks it has been seen for.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Warns when a callback uses more than `seconds` of processor time; 0 never warns. For the calling thread,
/// which is the run thread.
pub fn start(seconds: f64) {
    let period = (seconds * 1e9) as u64 / TICKS;
    PERIOD.store(period, Ordering::Release);
    emu_linux::attention::set_tick(tick);
    again();
}

/// Starts the timer, which a forked process does not inherit.
pub fn again() {
    let period = PERIOD.load(Ordering::Acquire);
    if period == 0 {
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
            value: emu_linux::attention::timer_value(),
            signal: emu_linux::attention::SIGNAL,
            notify: libc::SIGEV_THREAD_ID,
            thread: libc::gettid(),
            pad: [0; 11],
        };
        let mut timer = 0i32;
        let clock = libc::CLOCK_THREAD_CPUTIME_ID;
        if libc::syscall(libc::SYS_timer_create, clock, &event, &mut timer) == 0 {
            let none = core::ptr::null_mut::<libc::itimerspec>();
            libc::syscall(libc::SYS_timer_settime, timer, 0, &every, none);
        } else {
            tracing::warn!("no timer is to be had: endless callbacks will not be reported");
        }
    }
}

/// One tick. Runs in signal context.
fn tick(context: &mut libc::ucontext_t) {
    let Ok(images) = IMAGES.try_lock() else { return };
    let (mut plugin, mut entered, mut stack) = (None, 0, 0);
    if !images.is_empty() {
        let rip = context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64;
        walk(rip, &mut |frame| match place(&images, frame.inside) {
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
        SEEN.store(0, Ordering::Relaxed);
        return;
    };
    let retired = shared().map_or(0, |s| s.retired());
    let same = LAST[0].swap(stack, Ordering::Relaxed) == stack;
    if !(LAST[1].swap(retired, Ordering::Relaxed) == retired && same) {
        SEEN.store(0, Ordering::Relaxed);
    }
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    // The second warning comes after ten times as long, and so on.
    let mut due = TICKS;
    while due + 1 < seen {
        due *= 10;
    }
    if seen != due + 1 {
        return;
    }
    let image = &images[n];
    let period = PERIOD.load(Ordering::Relaxed);
    let kind = callback_at(image.owner, entered as usize).and_then(|(kind, _)| kind_name(kind));
    let guest_pc = guest_pc(image.owner, entered);
    let mut line = report::Line::new("warning");
    line.text("plugin `").text(&image.name).text("` has been ");
    match kind {
        Some(kind) => line.text("in its callback ").text(kind),
        None => line.text("running"),
    };
    line.text(" for ").number(due * period / 1_000_000).text(" ms of processor time");
    if guest_pc != 0 {
        line.text(" at guest pc ").hex(guest_pc);
    }
    line.text("; the guest waits for it").write();
}
