//! Memory that is not to be had, neither for a plugin nor for the host.
//!
//! Address space is set aside while there are plugins. A plugin that crashes may do so for want of memory, and
//! the host itself may find none because a plugin took it all. Then what was set aside is given up: it is enough
//! to tell of it, to let the plugins write their output, and to end.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};

use super::{RUN_THREAD, report};

/// Address of what is set aside; 0: nothing. It is never used.
static RESERVE: AtomicU64 = AtomicU64::new(0);
const RESERVE_BYTES: usize = 32 << 20;
/// The host found no memory.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// Sets address space aside, if there is none.
pub fn reserve() {
    if RESERVE.load(Ordering::Acquire) != 0 {
        return;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping.
    let at =
        unsafe { libc::mmap(core::ptr::null_mut(), RESERVE_BYTES, libc::PROT_NONE, flags, -1, 0) };
    if at != libc::MAP_FAILED {
        RESERVE.store(at as u64, Ordering::Release);
    }
}

/// Gives it up; whether there was any. Async-signal-safe.
pub fn make_room() -> bool {
    let at = RESERVE.swap(0, Ordering::AcqRel);
    if at != 0 {
        // SAFETY: mapped by `reserve`, and never used.
        unsafe { libc::munmap(at as *mut c_void, RESERVE_BYTES) };
    }
    at != 0
}

/// Whether the host found no memory since the last look: the run must end.
pub fn exhausted() -> bool {
    EXHAUSTED.load(Ordering::Relaxed) && EXHAUSTED.swap(false, Ordering::AcqRel)
}

/// The C library's allocator, which is tried again with the address space that was set aside.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

impl Allocator {
    /// Asks for `size` bytes, twice if need be.
    fn ask(size: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
        let at = allocate();
        // More than that would not be there after all.
        if at.is_null() && size < RESERVE_BYTES && Self::give_up_reserve() {
            allocate()
        } else {
            at
        }
    }

    #[cold]
    fn give_up_reserve() -> bool {
        let had = make_room();
        if had {
            let mut line = report::Line::new("error");
            line.text("memory is exhausted, perhaps by a plugin; the run ends").write();
            EXHAUSTED.store(true, Ordering::Release);
            emu_linux::attention::request_from(RUN_THREAD.load(Ordering::Acquire));
        }
        had
    }
}

// SAFETY: everything is the system's, asked once or twice for the same.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        Self::ask(layout.size(), || unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        Self::ask(layout.size(), || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise; what could not be moved is as it was.
        Self::ask(size, || unsafe { System.realloc(old, layout, size) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) };
    }
}
