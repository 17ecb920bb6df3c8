//! Walking the stack from a signal handler.

use core::ffi::c_void;
use core::sync::atomic::Ordering;
use std::ops::Range;

use super::{HOST_END, HOST_START, Image};

/// A frame's registers. Numbers are those of the psABI's DWARF register table.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Where it goes on: for all but the innermost one, the address it called from.
    pub ip: u64,
    /// Stack pointer there.
    pub sp: u64,
    /// First address of its function; 0 when not known.
    pub function: u64,
    /// rbx, rbp, r12, r13, r14, r15 there.
    pub saved: [u64; 6],
    /// An address inside the instruction that is executing.
    pub inside: u64,
}

/// Whose code an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The plugin image with that index.
    Plugin(usize),
    /// The host's executable.
    Host,
    /// Another shared library.
    Library,
    /// Generated code, or none at all.
    Unknown,
}

/// Whose code `at` is.
pub fn place(images: &[Image], at: u64) -> Place {
    if let Some(n) = images.iter().rposition(|i| i.range.contains(&at)) {
        return Place::Plugin(n);
    }
    if (HOST_START.load(Ordering::Acquire)..HOST_END.load(Ordering::Acquire)).contains(&at) {
        return Place::Host;
    }
    if library(at).is_some() { Place::Library } else { Place::Unknown }
}

/// What the dynamic loader knows of an address in a library.
pub fn library(at: u64) -> Option<libc::Dl_info> {
    // SAFETY: plain data, filled by the call; any address may be asked about.
    unsafe {
        let mut info: libc::Dl_info = core::mem::zeroed();
        (libc::dladdr(at as *const c_void, &mut info) != 0).then_some(info)
    }
}

/// The addresses of the host's own executable.
pub fn host_range() -> Range<u64> {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        out: *mut c_void,
    ) -> i32 {
        // SAFETY: the loader passes a valid description, the caller a range.
        unsafe {
            let (info, out) = (&*info, &mut *out.cast::<Range<u64>>());
            let headers = core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
            let loaded = headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
            let end = loaded.map(|h| h.p_vaddr + h.p_memsz).max().unwrap_or(0);
            *out = info.dlpi_addr..info.dlpi_addr + end;
        }
        // The program itself comes first; nothing else is wanted.
        1
    }
    let mut range = 0..0;
    // SAFETY: the callback gets the range it expects.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut range).cast()) };
    range
}

/// The unwinder of the C runtime (Itanium C++ ABI: Exception Handling, "1.5"; `_Unwind_Backtrace` is
/// libgcc's).
mod unwinder {
    use core::ffi::c_void;

    #[repr(C)]
    pub struct Context {
        private: [u8; 0],
    }

    pub type Visit = unsafe extern "C" fn(*mut Context, *mut c_void) -> i32;

    unsafe extern "C" {
        #[link_name = "_Unwind_Backtrace"]
        pub fn backtrace(visit: Visit, data: *mut c_void) -> i32;
        #[link_name = "_Unwind_GetIPInfo"]
        pub fn ip(context: *mut Context, before: *mut i32) -> usize;
        #[link_name = "_Unwind_GetCFA"]
        pub fn cfa(context: *mut Context) -> usize;
        #[link_name = "_Unwind_GetGR"]
        pub fn register(context: *mut Context, number: i32) -> usize;
        #[link_name = "_Unwind_GetRegionStart"]
        pub fn function(context: *mut Context) -> usize;
    }
}

struct Walk<'a> {
    /// Frames before the one at this address are the handler's own.
    from: Option<u64>,
    visit: &'a mut dyn FnMut(&Frame) -> bool,
}

/// Visits the frames of the calling thread's stack, innermost first, beginning with the one that was
/// interrupted at `from` if that is given, until `visit` says no. Ends at code the compiler described no
/// frames for.
pub fn walk(from: Option<u64>, visit: &mut dyn FnMut(&Frame) -> bool) {
    unsafe extern "C" fn step(context: *mut unwinder::Context, data: *mut c_void) -> i32 {
        const GO_ON: i32 = 0;
        const STOP: i32 = 4;
        // SAFETY: the unwinder's own context; the data is the walk.
        unsafe {
            let walk = &mut *data.cast::<Walk<'_>>();
            let mut before = 0;
            let ip = unwinder::ip(context, &mut before) as u64;
            if let Some(from) = walk.from {
                if ip != from {
                    return GO_ON;
                }
                walk.from = None;
            }
            let saved = [3, 6, 12, 13, 14, 15].map(|n| unwinder::register(context, n) as u64);
            let frame = Frame {
                ip,
                sp: unwinder::cfa(context) as u64,
                function: unwinder::function(context) as u64,
                saved,
                inside: if before != 0 { ip } else { ip.wrapping_sub(1) },
            };
            if (walk.visit)(&frame) { GO_ON } else { STOP }
        }
    }
    let mut walk = Walk { from, visit };
    // SAFETY: the step gets the walk it expects, and returns before the walk is gone.
    unsafe { unwinder::backtrace(step, (&raw mut walk).cast()) };
}
