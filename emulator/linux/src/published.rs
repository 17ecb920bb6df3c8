//! What a guest process lets other guests know, for their view of `/proc/PID`.
//!
//! There the kernel shows the host process, and to tell it otherwise takes privileges. So each guest keeps a
//! file in memory open that holds its program's path and the address of a few words ([`Word`]) of this
//! process, which a guest that looks at another reads there. A forked child has the words at the same place
//! and goes on from its parent's; a process that is gone leaves nothing.

use core::sync::atomic::{AtomicU64, Ordering};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::Process;
use crate::sys::fds;

/// The file's name, and how `/proc/PID/fd` shows it.
const NAME: &core::ffi::CStr = c"panda-guest";
const LINK: &str = "/memfd:panda-guest (deleted)";

/// What each word says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Word {
    /// [`MAGIC`].
    Magic,
    /// First address of the heap that `brk` grows.
    Heap,
    /// One past the initial stack.
    StackTop,
    /// Base of the vDSO.
    Vdso,
    /// The argument strings.
    Arguments,
    /// One past them.
    ArgumentsEnd,
    /// The environment strings.
    Environment,
    /// One past them.
    EnvironmentEnd,
    /// The thread that is none of the guest's: the companion of its first one; or 0.
    Companion,
    /// Signals that are ignored.
    Ignored,
    /// Signals that have handlers.
    Caught,
    /// The first of the words that name the host's descriptors.
    Descriptors,
}

/// What the words begin with; another number for another meaning of them.
const MAGIC: u64 = 0x7061_6e64_6131_0001;
/// How many descriptors there is room for; more are not hidden from others.
const DESCRIPTORS: usize = 128;
const WORDS: usize = Word::Descriptors as usize + DESCRIPTORS;

static SHOWN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// The file in memory of this process.
static FILE: Mutex<Option<OwnedFd>> = Mutex::new(None);

fn set(word: Word, value: u64) {
    SHOWN[word as usize].store(value, Ordering::Relaxed);
}

fn set_bit(word: usize, bit: u64, on: bool) {
    if on {
        SHOWN[word].fetch_or(bit, Ordering::Relaxed);
    } else {
        SHOWN[word].fetch_and(!bit, Ordering::Relaxed);
    }
}

/// `fd` becomes the host's, or is no longer. One thread at a time.
pub fn descriptor(fd: i32, reserved: bool) {
    let (old, new) = if reserved { (0, named(fd)) } else { (named(fd), 0) };
    let words = &SHOWN[Word::Descriptors as usize..];
    if let Some(word) = words.iter().find(|w| w.load(Ordering::Relaxed) == old) {
        word.store(new, Ordering::Relaxed);
    }
}

/// The word for descriptor `fd`; 0 is none.
fn named(fd: i32) -> u64 {
    u64::from(fd as u32) + 1
}

/// The companion of the guest's first thread; 0: there is none.
pub fn companion(tid: i32) {
    set(Word::Companion, tid as u64);
}

/// What becomes of the signals whose bits are `signals`.
pub fn action(signals: u64, ignored: bool, caught: bool) {
    set_bit(Word::Ignored as usize, signals, ignored);
    set_bit(Word::Caught as usize, signals, caught);
}

/// Lets others know the program that has just been loaded. Without memory for it they do not.
pub fn publish(p: &Process) {
    let (layout, program) = (&p.layout, &p.program);
    set(Word::Magic, MAGIC);
    set(Word::Heap, layout.brk_start);
    set(Word::StackTop, layout.stack_top);
    set(Word::Vdso, layout.vdso);
    set(Word::Arguments, program.args.0);
    set(Word::ArgumentsEnd, program.args.1);
    set(Word::Environment, program.env.0);
    set(Word::EnvironmentEnd, program.env.1);
    // SAFETY: a NUL-terminated name; the descriptor is new.
    let made = unsafe {
        match libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) {
            -1 => return,
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let mut file = File::from(fds::out_of_the_way(made));
    let mut text = (SHOWN.as_ptr() as u64).to_le_bytes().to_vec();
    text.extend_from_slice(program.exe.as_os_str().as_bytes());
    let written = file.write_all(&text);
    let mut current = FILE.lock().unwrap_or_else(|e| e.into_inner());
    let old = current.replace(file.into());
    let bad = if written.is_err() { current.take() } else { None };
    for gone in [old, bad].into_iter().flatten() {
        fds::release(gone.as_raw_fd());
    }
}

/// Another guest process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its process id.
    pub pid: i32,
    /// Its program.
    pub program: PathBuf,
    /// Where its words are.
    at: u64,
}

impl Guest {
    /// Guest process `pid`; `None` for one that is no guest, or another user's.
    pub fn find(pid: i32) -> Option<Guest> {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut paths = fds.flatten().map(|e| e.path());
        let path = paths.find(|p| std::fs::read_link(p).is_ok_and(|l| l.as_os_str() == LINK))?;
        let mut raw = Vec::new();
        File::open(path).ok()?.read_to_end(&mut raw).ok()?;
        let (at, program) = raw.split_first_chunk()?;
        let program = PathBuf::from(OsString::from_vec(program.to_vec()));
        Some(Guest { pid, program, at: u64::from_le_bytes(*at) })
    }

    /// What it shows now; `None` if this process may not look into it.
    pub fn shown(&self) -> Option<Shown> {
        let mut words = [0u64; WORDS];
        let len = size_of_val(&words);
        let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: len };
        let remote = libc::iovec { iov_base: self.at as *mut libc::c_void, iov_len: len };
        // SAFETY: fills the local words from the other process's memory.
        let n = unsafe { libc::process_vm_readv(self.pid, &local, 1, &remote, 1, 0) };
        (n == len as isize && words[Word::Magic as usize] == MAGIC).then_some(Shown(words))
    }
}

/// What another guest process shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown([u64; WORDS]);

impl Shown {
    /// One of the words.
    pub fn get(&self, word: Word) -> u64 {
        self.0[word as usize]
    }

    /// Whether descriptor `fd` is its host's.
    pub fn is_reserved(&self, fd: i32) -> bool {
        self.0[Word::Descriptors as usize..].contains(&named(fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn load(program: &str) -> Process {
        let mut p = Process::bare(crate::Abi::X86_64, crate::limits::Limits::inherited());
        p.layout.brk_start = 0x1000;
        p.program.exe = program.into();
        p
    }

    #[test]
    fn what_is_published_last_is_found() {
        publish(&load("/bin/first"));
        publish(&load("/bin/second"));
        companion(77);
        let guest = Guest::find(std::process::id() as i32).expect("this process is one");
        assert_eq!(guest.program, Path::new("/bin/second"));
        let shown = guest.shown().expect("a process may read itself");
        assert_eq!((shown.get(Word::Heap), shown.get(Word::Companion)), (0x1000, 77));
        let file = FILE.lock().unwrap().as_ref().map(AsRawFd::as_raw_fd);
        assert!(file.is_some_and(|fd| shown.is_reserved(fd)));
        assert!(!shown.is_reserved(0) && !shown.is_reserved(-1) && !shown.is_reserved(i32::MAX));
    }
}
