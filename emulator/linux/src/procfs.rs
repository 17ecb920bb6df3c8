//! `/proc` as the guest must see it.
//!
//! The host kernel describes the host process in `/proc/self`, and other guests' in `/proc/PID`. The
//! files that would give it away or mislead the guest are made here, those of others in [`others`];
//! everything else is true for the guest too (descriptors and threads but for the host's, limits,
//! working directory, mounts).

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use emu_mem::access;

use crate::published::Guest;
use crate::{Abi, Errno, Machine, Process, cpuinfo, mm, signal};

mod listing;
mod others;

pub use listing::{Listing, is_hidden};

/// A file of `/proc` that shows the guest instead of the host.
#[derive(Clone, Debug)]
pub struct View {
    /// Which.
    pub entry: Entry,
    /// The other guest process it is of; `None` for this one.
    other: Option<Guest>,
}

/// The files there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// `exe`: the link to the program.
    Exe,
    /// `maps`: the address space.
    Maps,
    /// `smaps`: the address space with sizes.
    Smaps,
    /// `cmdline`: the arguments.
    Cmdline,
    /// `environ`: the initial environment.
    Environ,
    /// `auxv`: the auxiliary vector.
    Auxv,
    /// `stat`: numbers about the process.
    Stat,
    /// `status`: the same and more, for people.
    Status,
    /// `/proc/cpuinfo`: the processors.
    Cpuinfo,
    /// `mem`: the memory itself; refused, since it would show the host's.
    Mem,
}

/// Whether process `pid` runs under this program, too.
pub fn is_guest(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: String| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let theirs = id(format!("/proc/{pid}/exe"));
    theirs.is_some() && theirs == id("/proc/self/exe".to_owned())
}

/// Whether process `pid` has a thread `tid`.
pub fn is_thread(pid: i32, tid: i32) -> bool {
    std::fs::metadata(format!("/proc/{pid}/task/{tid}")).is_ok()
}

/// The process that has the thread `tid`.
pub fn process_of(tid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// The entry called `name`.
fn by_name(name: &[u8]) -> Option<Entry> {
    Some(match name {
        b"exe" => Entry::Exe,
        b"maps" => Entry::Maps,
        b"smaps" => Entry::Smaps,
        b"cmdline" => Entry::Cmdline,
        b"environ" => Entry::Environ,
        b"auxv" => Entry::Auxv,
        b"stat" => Entry::Stat,
        b"status" => Entry::Status,
        b"cpuinfo" => Entry::Cpuinfo,
        b"mem" => Entry::Mem,
        _ => return None,
    })
}

/// The view that `path`, relative to `dirfd`, names, if there is one.
pub fn find(dirfd: i32, path: &[u8]) -> Option<View> {
    let entry = by_name(last(path))?;
    let full = absolute(dirfd, path)?;
    let parts = below_proc(&full)?;
    let own = |id: &[u8]| matches!(id, b"self" | b"thread-self") || is_own_id(id);
    match (entry, &parts[..]) {
        (Entry::Cpuinfo, [_]) => {}
        (Entry::Cpuinfo, _) => return None,
        (_, [id, _]) if own(id) => {}
        (_, [id, b"task", tid, _]) if own(id) && is_own_id(tid) => {}
        (Entry::Stat | Entry::Status, [id, b"task", tid, _]) if id != tid => return None,
        (Entry::Stat | Entry::Status, [id, _, _, _]) if own(id) => return None,
        // What a thread runs is what its process runs.
        (_, [id, b"task", tid, _]) if own(id) && number(tid).is_some() => {}
        (
            Entry::Exe | Entry::Maps | Entry::Smaps | Entry::Stat | Entry::Status,
            [id, _] | [id, b"task", _, _],
        ) => return Some(View { entry, other: Some(other_guest(id)?) }),
        _ => return None,
    }
    Some(View { entry, other: None })
}

/// The other guest process with that id.
fn other_guest(id: &[u8]) -> Option<Guest> {
    let pid = number(id)?;
    if is_guest(pid) { Guest::find(pid) } else { None }
}

fn number(part: &[u8]) -> Option<i32> {
    std::str::from_utf8(part).ok()?.parse().ok()
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// The absolute path of `path`, relative to `dirfd`, if that lies in `/proc`.
fn absolute(dirfd: i32, path: &[u8]) -> Option<Vec<u8>> {
    if path.first() == Some(&b'/') {
        return Some(path.to_vec());
    }
    let link = match dirfd {
        libc::AT_FDCWD => "/proc/self/cwd".to_string(),
        fd => format!("/proc/self/fd/{fd}"),
    };
    let mut full = std::fs::read_link(link).ok()?.into_os_string().into_vec();
    if !full.starts_with(b"/proc") {
        return None;
    }
    full.push(b'/');
    full.extend_from_slice(path);
    Some(full)
}

/// The parts of an absolute path behind `/proc`.
fn below_proc(path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = path.split(|&b| b == b'/').filter(|p| !p.is_empty() && *p != b".");
    (parts.next() == Some(b"proc")).then(|| parts.collect())
}

fn is_own_id(part: &[u8]) -> bool {
    std::str::from_utf8(part).is_ok_and(|p| p == std::process::id().to_string())
}

/// What the guest reads from `entry`.
fn contents(entry: Entry, process: &mut Process, machine: &mut dyn Machine) -> Vec<u8> {
    match entry {
        Entry::Exe | Entry::Mem => Vec::new(),
        Entry::Maps => mm::maps_text(machine).into_bytes(),
        Entry::Smaps => smaps(machine),
        Entry::Cmdline => strings(process.program.args),
        Entry::Environ => strings(process.program.env),
        Entry::Auxv => process.program.auxv.clone(),
        Entry::Stat => stat(process, machine),
        Entry::Status => status(process, machine),
        Entry::Cpuinfo => {
            let host = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            let long_mode = process.abi == Abi::X86_64;
            cpuinfo::text(&host, emu_x86::Level::current(), long_mode).into_bytes()
        }
    }
}

/// The bytes of a guest range, as far as they can be read.
fn strings((start, end): (u64, u64)) -> Vec<u8> {
    /// More than `execve` takes.
    const MAX: u64 = 8 << 20;
    let mut buf = vec![0; end.saturating_sub(start).min(MAX) as usize];
    match access::read(start, &mut buf) {
        Ok(()) => buf,
        Err(fault) => {
            buf.truncate(fault.addr.saturating_sub(start) as usize);
            buf
        }
    }
}

/// `smaps`: each line of `maps` with the sizes programs add up.
fn smaps(machine: &mut dyn Machine) -> Vec<u8> {
    let text = mm::maps_text(machine);
    let mut out = String::new();
    for line in text.lines() {
        let size = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'))
            .and_then(|(a, b)| {
                Some(u64::from_str_radix(b, 16).ok()? - u64::from_str_radix(a, 16).ok()?)
            })
            .unwrap_or(0)
            / 1024;
        out.push_str(line);
        out.push_str(&format!("\nSize: {size:14} kB\nKernelPageSize:        4 kB\n"));
        out.push_str(&format!(
            "MMUPageSize:           4 kB\nRss: {size:15} kB\nPss: {size:15} kB\n"
        ));
    }
    out.into_bytes()
}

/// `stat`: the host's line with the fields that describe the program replaced.
fn stat(process: &Process, machine: &mut dyn Machine) -> Vec<u8> {
    let host = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((before, after)) = host.rsplit_once(')') else { return host.into_bytes() };
    let mut fields: Vec<String> = after.split_whitespace().map(str::to_string).collect();
    let vsize = size(machine);
    // Numbered as in proc(5); the first field after the name is number 3.
    let layout = &process.layout;
    let new = [
        (20, process.threads.len() as u64),
        (23, vsize),
        (28, layout.stack_top),
        (47, layout.brk_start),
        (48, process.program.args.0),
        (49, process.program.args.1),
        (50, process.program.env.0),
        (51, process.program.env.1),
    ];
    for (number, value) in new {
        if let Some(f) = fields.get_mut(number - 3) {
            *f = value.to_string();
        }
    }
    format!("{before}) {}\n", fields.join(" ")).into_bytes()
}

/// Bytes of the guest's address space.
fn size(machine: &mut dyn Machine) -> u64 {
    machine.space().iter().map(|(s, e, _)| e - s).sum()
}

/// `status`: the host's lines with those that describe the program replaced.
fn status(process: &Process, machine: &mut dyn Machine) -> Vec<u8> {
    let host = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = format!("{:8} kB", size(machine) / 1024);
    let first = process.threads.iter().find(|t| t.tid as u32 == std::process::id());
    let blocked = first.map_or(0, |t| t.signals.blocked);
    let confinement = first.map(|t| t.confinement.clone()).unwrap_or_default();
    let with = |wanted: &dyn Fn(u64) -> bool| {
        (1..=signal::COUNT)
            .filter(|&n| wanted(process.actions.get(n).handler))
            .fold(0, |set, n| set | signal::bit(n))
    };
    let ignored = with(&|handler| handler == signal::IGNORE);
    let caught = with(&|handler| handler != signal::IGNORE && handler != signal::DEFAULT);
    let mut out = String::new();
    for line in host.lines() {
        let (key, value) = line.split_once(":\t").unwrap_or((line, ""));
        let value = match key {
            "VmPeak" | "VmSize" => size.clone(),
            "Threads" => process.threads.len().to_string(),
            "Seccomp" => confinement.mode().to_string(),
            "Seccomp_filters" => confinement.filters().len().to_string(),
            "SigBlk" => format!("{blocked:016x}"),
            "SigIgn" => format!("{ignored:016x}"),
            "SigCgt" => format!("{caught:016x}"),
            _ => value.to_owned(),
        };
        out.push_str(&format!("{key}:\t{value}\n"));
    }
    out.into_bytes()
}

impl View {
    /// What the link says.
    pub fn name(&self, process: &Process) -> Option<PathBuf> {
        let kept = process.program.executable.as_ref();
        (self.entry == Entry::Exe).then(|| match &self.other {
            Some(guest) => guest.program.clone(),
            None => kept.and_then(|e| e.name()).unwrap_or_else(|| process.program.exe.clone()),
        })
    }

    /// The file that stands for it in a call that follows links.
    pub fn target(&self, process: &Process) -> Option<PathBuf> {
        match (&process.program.executable, &self.other) {
            (Some(kept), None) if self.entry == Entry::Exe => Some(kept.path()),
            _ => self.name(process),
        }
    }
}

/// Opens a view: a descriptor of the guest.
pub fn open(
    view: &View,
    flags: i32,
    process: &mut Process,
    machine: &mut dyn Machine,
) -> Result<u64, Errno> {
    if view.entry == Entry::Mem {
        return Err(Errno::EACCES);
    }
    if let Some(path) = view.target(process) {
        let path = c_path(path.as_os_str().as_bytes())?;
        // SAFETY: a NUL-terminated path.
        return crate::errno::check(i64::from(unsafe { libc::open(path.as_ptr(), flags, 0) }));
    }
    if flags & libc::O_ACCMODE != libc::O_RDONLY {
        return Err(Errno::EACCES);
    }
    let text = match view.other.as_ref().and_then(|guest| others::contents(view.entry, guest)) {
        Some(text) => text.map_err(|e| Errno::of(&e))?,
        None => contents(view.entry, process, machine),
    };
    memory_file(&text, flags & libc::O_CLOEXEC)
}

/// A new read-only descriptor of a file in memory that holds `data`.
fn memory_file(data: &[u8], cloexec: i32) -> Result<u64, Errno> {
    use std::io::Write;
    use std::os::fd::{AsRawFd, FromRawFd};
    // SAFETY: a NUL-terminated name; the descriptor is owned by the File.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"proc".as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(Errno::last());
        }
        std::fs::File::from_raw_fd(fd)
    };
    file.write_all(data).map_err(|e| Errno::of(&e))?;
    let again = c_path(format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes())?;
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::open(again.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // The guest expects the lowest free descriptor: that of the file just written.
    // SAFETY: both descriptors are ours.
    let r = unsafe { libc::dup3(fd, file.as_raw_fd(), cloexec) };
    let lowest = crate::errno::check(i64::from(r));
    // SAFETY: the descriptor is ours and not used any more.
    unsafe { libc::close(fd) };
    if lowest.is_ok() {
        // It is the guest's now.
        let _ = std::os::fd::IntoRawFd::into_raw_fd(file);
    }
    lowest
}

/// A path as a C string.
pub fn c_path(path: &[u8]) -> Result<std::ffi::CString, Errno> {
    std::ffi::CString::new(path).map_err(|_| Errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dirfd: i32, path: &[u8]) -> Option<Entry> {
        find(dirfd, path).map(|v| v.entry)
    }

    #[test]
    fn own_entries_are_found_under_every_name() {
        let pid = std::process::id();
        for path in [
            "/proc/self/maps".to_string(),
            "//proc/./self//maps".to_string(),
            "/proc/thread-self/maps".to_string(),
            format!("/proc/{pid}/maps"),
            format!("/proc/self/task/{pid}/maps"),
        ] {
            assert_eq!(entry(libc::AT_FDCWD, path.as_bytes()), Some(Entry::Maps), "{path}");
        }
    }

    #[test]
    fn other_files_are_not() {
        for path in ["/proc/1/maps", "/proc/maps", "/tmp/self/exe", "maps", "/proc/self/fd/exe"] {
            assert_eq!(entry(libc::AT_FDCWD, path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn relative_names_count_below_proc() {
        use std::os::fd::AsRawFd;
        let dir = std::fs::File::open("/proc/self").expect("/proc/self opens");
        assert_eq!(entry(dir.as_raw_fd(), b"exe"), Some(Entry::Exe));
        let dir = std::fs::File::open("/tmp").expect("/tmp opens");
        assert_eq!(entry(dir.as_raw_fd(), b"exe"), None);
    }
}
