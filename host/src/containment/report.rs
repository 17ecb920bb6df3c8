//! Saying what a plugin did.

use core::ffi::CStr;
use std::fmt::Write;

use object::{Object, ObjectSymbol};
use plugin_api::abi::kind_name;

use super::rescue::{Crash, Doing};
use super::walk::{Place, library, place};
use super::{Image, images};
use crate::log;

/// A line for the log made without allocating, for signal handlers.
pub struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Line {
    /// Begins a line as the log begins them.
    pub fn new(level: &str) -> Line {
        let mut line = Line { bytes: [0; 512], len: 0 };
        line.text("host: ").text(level).text(": ");
        line
    }

    /// Adds text; what does not fit is cut off.
    pub fn text(&mut self, text: &str) -> &mut Line {
        let room = self.bytes.len() - 1 - self.len;
        let part = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
        self
    }

    fn digits(&mut self, mut n: u64, base: u64) -> &mut Line {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdef"[(n % base) as usize];
            n /= base;
            if n == 0 {
                break;
            }
        }
        self.text(core::str::from_utf8(&digits[at..]).unwrap_or_default())
    }

    /// Adds a decimal number.
    pub fn number(&mut self, n: u64) -> &mut Line {
        self.digits(n, 10)
    }

    /// Adds a hexadecimal number.
    pub fn hex(&mut self, n: u64) -> &mut Line {
        self.text("0x").digits(n, 16)
    }

    /// Ends the line and writes it to the log.
    pub fn write(&mut self) {
        self.bytes[self.len] = b'\n';
        log::write_raw(&self.bytes[..=self.len]);
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        _ => "a signal",
    }
}

fn doing_words(doing: Doing) -> (&'static str, &'static str) {
    match doing {
        Doing::Init => (" in its init", ""),
        Doing::Uninit => (" in its uninit", ""),
        Doing::Flush => (" in its flush", ""),
        Doing::Callback(kind) => (" in its callback ", kind_name(kind).unwrap_or("?")),
        Doing::Thread => (" in a thread of its own", ""),
        Doing::Other => ("", ""),
    }
}

/// The plugin whose code is innermost on the stack.
fn culprit<'a>(images: &'a [Image], crash: &Crash) -> Option<&'a Image> {
    crash.frames().iter().find_map(|&at| match place(images, at) {
        Place::Plugin(n) => Some(&images[n]),
        _ => None,
    })
}

fn faulted(signal: i32) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS)
}

/// Says, without allocating, why the process is about to end: the crash was not in the plugin's own code
/// alone.
pub fn last_words(images: &[Image], crash: &Crash) {
    let name = culprit(images, crash).map_or("?", |i| &i.name);
    let mut line = Line::new("error");
    let (doing, kind) = doing_words(crash.doing);
    line.text("plugin `").text(name).text("` ");
    match crash.exit {
        Some(status) => {
            line.text("called exit(").number(status as u64).text(")").text(doing).text(kind);
        }
        None => {
            line.text("crashed").text(doing).text(kind).text(": ").text(signal_name(crash.signal));
            if faulted(crash.signal) {
                line.text(" at ").hex(crash.addr);
            }
        }
    }
    if crash.guest_pc != 0 {
        line.text(", guest pc ").hex(crash.guest_pc);
    }
    let why = if crash.exit.is_some() {
        "; the run ends"
    } else {
        "; not in its own code, so the run ends"
    };
    line.text(why).write();
    for &at in crash.frames() {
        let mut line = Line::new("error");
        line.text("  ").hex(at);
        match place(images, at) {
            Place::Plugin(n) => {
                line.text(" ").text(&images[n].name).text("+").hex(at - images[n].range.start);
            }
            _ => {
                if let Some(info) = library(at).filter(|i| !i.dli_fname.is_null()) {
                    // SAFETY: the loader's own texts.
                    let (file, symbol) = unsafe {
                        (
                            CStr::from_ptr(info.dli_fname),
                            (!info.dli_sname.is_null()).then(|| CStr::from_ptr(info.dli_sname)),
                        )
                    };
                    line.text(" ").text(file.to_str().unwrap_or("?"));
                    line.text("+").hex(at.wrapping_sub(info.dli_fbase as u64));
                    if let Some(symbol) = symbol.and_then(|s| s.to_str().ok()) {
                        line.text(" ").text(symbol);
                    }
                }
            }
        }
        line.write();
    }
}

/// What happened, in a sentence without the plugin's name.
pub fn describe(crash: &Crash) -> String {
    let (doing, kind) = doing_words(crash.doing);
    let mut out = match crash.exit {
        Some(status) => format!("it called exit({status}){doing}{kind}"),
        None => format!("it crashed{doing}{kind}: {}", signal_name(crash.signal)),
    };
    if crash.exit.is_none() && faulted(crash.signal) {
        let _ = write!(out, " at {:#x}", crash.addr);
    }
    if crash.guest_pc != 0 {
        let _ = write!(out, ", guest pc {:#x}", crash.guest_pc);
    }
    if crash.retired != 0 {
        let _ = write!(out, " after {} instructions", crash.retired);
    }
    out
}

/// The stack of a crash, a line a frame, each after a line end.
pub fn stack(crash: &Crash) -> String {
    let mut out = String::new();
    let images = images();
    let mut last = 0;
    let mut again = 0;
    for &at in crash.frames() {
        // Recursion.
        if at == last {
            again += 1;
            continue;
        }
        if again > 0 {
            let _ = write!(out, "\n  … {again} times more");
        }
        (last, again) = (at, 0);
        let _ = write!(out, "\n  {at:#x} {}", symbol(&images, at));
    }
    if crash.depth > crash.frames().len() {
        let _ = write!(out, "\n  … {} frames in all", crash.depth);
    }
    out
}

/// `FUNCTION (FILE+OFFSET)` of an address.
fn symbol(images: &[Image], at: u64) -> String {
    if let Place::Plugin(n) = place(images, at) {
        let image = &images[n];
        let offset = at - image.range.start;
        let file = image.path.file_name().unwrap_or_default().to_string_lossy();
        return match function(image, offset) {
            Some(name) => format!("{name} ({file}+{offset:#x})"),
            None => format!("{file}+{offset:#x}"),
        };
    }
    let Some(info) = library(at) else { return "generated code".to_owned() };
    let text = |p: *const core::ffi::c_char| {
        // SAFETY: null or the loader's own text.
        (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned())
    };
    let file = text(info.dli_fname).unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or_default();
    let offset = at.wrapping_sub(info.dli_fbase as u64);
    match text(info.dli_sname) {
        Some(name) => format!("{} ({file}+{offset:#x})", rustc_demangle::demangle(&name)),
        None => format!("{file}+{offset:#x}"),
    }
}

/// The function at an offset of a plugin's image, if its file is still the one that was loaded.
fn function(image: &Image, offset: u64) -> Option<String> {
    let changed = std::fs::metadata(&image.path).ok()?.modified().ok()?;
    if changed > image.loaded {
        return None;
    }
    let bytes = std::fs::read(&image.path).ok()?;
    let file = object::File::parse(&*bytes).ok()?;
    let symbol = file
        .symbols()
        .chain(file.dynamic_symbols())
        .find(|s| s.is_definition() && (s.address()..s.address() + s.size()).contains(&offset))?;
    Some(format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?)))
}
