//! Changing what the guest has mapped.
//!
//! These functions keep three things in step: the host's mappings, the guest's view of them in the
//! machine's [`AddressSpace`](emu_mem::AddressSpace), and the engine's translations. The calls in
//! `sys::mem` and the program loader are built on them.
//!
//! Nothing here ever replaces a host mapping that the guest does not own: holes are claimed with
//! `MAP_FIXED_NOREPLACE` before a fixed mapping covers them.

use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use emu_mem::{Mapping, PAGE, Prot};

use crate::errno::{Errno, SysResult, check};
use crate::{Event, Machine, Process};

/// Where a new mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The highest free range of the mapping area.
    Anywhere,
    /// There if free, else anywhere.
    Hint(u64),
    /// Exactly there, replacing what is mapped.
    Fixed(u64),
    /// Exactly there, or EEXIST.
    FixedNoReplace(u64),
    /// The highest free range below 2 GiB (`MAP_32BIT`).
    Low,
}

/// A request for a mapping.
#[derive(Clone, Copy, Debug)]
pub struct MapRequest<'a> {
    /// Where.
    pub place: Place,
    /// Bytes; rounded up to pages.
    pub len: u64,
    /// The guest's protection.
    pub prot: Prot,
    /// MAP_SHARED instead of MAP_PRIVATE.
    pub shared: bool,
    /// File and offset; `None` for anonymous memory.
    pub file: Option<(RawFd, u64)>,
    /// Further host flags: MAP_NORESERVE, MAP_POPULATE, MAP_LOCKED, MAP_SHARED_VALIDATE, ...
    pub host_flags: i32,
    /// Grows down on faults below it.
    pub grows_down: bool,
    /// Name of anonymous memory in `/proc/self/maps`.
    pub name: &'a str,
}

impl MapRequest<'_> {
    /// Private anonymous memory.
    pub fn anonymous(place: Place, len: u64, prot: Prot) -> MapRequest<'static> {
        MapRequest {
            place,
            len,
            prot,
            shared: false,
            file: None,
            host_flags: 0,
            grows_down: false,
            name: "",
        }
    }
}

/// Rounds up to a page; `None` on overflow.
pub fn page_up(n: u64) -> Option<u64> {
    Some(n.checked_add(PAGE - 1)? & !(PAGE - 1))
}

/// Rounds down to a page.
pub const fn page_down(n: u64) -> u64 {
    n & !(PAGE - 1)
}

/// The end of `addr..addr+len` in whole pages, if no part lies beyond what a guest may map. What
/// lies in the host's gap is not mapped, to the guest.
pub fn range_end(p: &Process, addr: u64, len: u64) -> Option<u64> {
    let end = addr.checked_add(page_up(len)?)?;
    (end <= p.abi.task_size()).then_some(end)
}

/// Maps memory; the address of its first byte.
pub fn map(p: &mut Process, m: &mut dyn Machine, request: &MapRequest<'_>) -> SysResult {
    let len = page_up(request.len).filter(|&l| l != 0).ok_or(if request.len == 0 {
        Errno::EINVAL
    } else {
        Errno::ENOMEM
    })?;
    if len > p.abi.task_size() {
        return Err(Errno::ENOMEM);
    }
    let (addr, replace) = place(p, m, request.place, len)?;
    let end = addr + len;
    let mut mapping = Mapping::anonymous(request.prot, request.name);
    mapping.shared = request.shared;
    mapping.grows_down = request.grows_down;
    if let Some((fd, offset)) = request.file {
        describe_file(fd, offset, &mut mapping)?;
    }
    if replace {
        claim_holes(m, addr, end)?;
        m.invalidate(addr, end);
    }
    let (fd, offset) = request.file.unwrap_or((-1, 0));
    let mut flags = request.host_flags
        | if replace { libc::MAP_FIXED } else { libc::MAP_FIXED_NOREPLACE }
        | if request.file.is_none() { libc::MAP_ANONYMOUS } else { 0 };
    if flags & libc::MAP_SHARED_VALIDATE != libc::MAP_SHARED_VALIDATE {
        flags |= if request.shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    }
    // SAFETY: the range lies in the guest's user space and every host mapping in it is the
    // guest's: either the kernel refuses to replace anything, or the holes were claimed above.
    let r = unsafe {
        libc::mmap(
            addr as *mut libc::c_void,
            len as usize,
            request.prot.host(),
            flags,
            fd,
            offset as libc::off_t,
        )
    };
    if r == libc::MAP_FAILED {
        let e = Errno::last();
        if replace {
            // What was there is gone, or is an unusable reservation: forget it entirely.
            host_unmap(addr, len);
            forget(p, m, addr, end);
        }
        return Err(if e == Errno::EEXIST { Errno::ENOMEM } else { e });
    }
    forget(p, m, addr, end);
    let is_module = request.file.is_some() && request.prot.has(Prot::EXEC);
    m.space().insert(addr, end, mapping);
    watch_aliases(m, addr, end, request.prot);
    if is_module {
        announce_module(p, m, addr);
    }
    Ok(addr)
}

/// The address for a new mapping, and whether it may replace others.
fn place(p: &Process, m: &mut dyn Machine, place: Place, len: u64) -> Result<(u64, bool), Errno> {
    let low = p.abi.min_address();
    let fits = |addr: u64| addr >= PAGE && p.abi.holds(addr, len);
    match place {
        Place::Fixed(addr) | Place::FixedNoReplace(addr) => {
            if !addr.is_multiple_of(PAGE) {
                return Err(Errno::EINVAL);
            }
            if !fits(addr) {
                return Err(if addr < PAGE { Errno::EPERM } else { Errno::ENOMEM });
            }
            if matches!(place, Place::Fixed(_)) {
                let free = m.space().is_free(addr, addr + len);
                return Ok((addr, !free));
            }
            if m.space().is_free(addr, addr + len) { Ok((addr, false)) } else { Err(Errno::EEXIST) }
        }
        Place::Low => {
            m.space().find_free(len, low, 0x8000_0000).map(|a| (a, false)).ok_or(Errno::ENOMEM)
        }
        Place::Hint(addr) => {
            let addr = page_down(addr).max(low);
            if fits(addr) && m.space().is_free(addr, addr + len) {
                return Ok((addr, false));
            }
            Ok((find_free(p, m, len)?, false))
        }
        Place::Anywhere => Ok((find_free(p, m, len)?, false)),
    }
}

/// The highest free range of the mapping area, or of what else the guest may map.
pub fn find_free(p: &Process, m: &mut dyn Machine, len: u64) -> Result<u64, Errno> {
    let (low, top) = (p.abi.min_address(), p.abi.mmap_top());
    let space = m.space();
    let areas = p.abi.areas().iter().rev();
    areas
        .map(|a| a.start.max(low)..a.end.min(top))
        .chain(std::iter::once(top..p.abi.task_size()))
        .find_map(|a| space.find_free(len, a.start, a.end))
        .ok_or(Errno::ENOMEM)
}

/// Reserves the unmapped parts of a range, so that a fixed mapping over all of it cannot hit a
/// mapping of the host.
fn claim_holes(m: &mut dyn Machine, start: u64, end: u64) -> Result<(), Errno> {
    let mut at = start;
    let mut holes = Vec::new();
    for (s, e, _) in m.space().overlapping(start, end) {
        if s > at {
            holes.push((at, s));
        }
        at = e;
    }
    if at < end {
        holes.push((at, end));
    }
    for (i, &(s, e)) in holes.iter().enumerate() {
        // SAFETY: NOREPLACE cannot touch an existing mapping.
        let r = unsafe {
            libc::mmap(
                s as *mut libc::c_void,
                (e - s) as usize,
                libc::PROT_NONE,
                libc::MAP_PRIVATE
                    | libc::MAP_ANONYMOUS
                    | libc::MAP_NORESERVE
                    | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if r == libc::MAP_FAILED {
            for &(s, e) in &holes[..i] {
                host_unmap(s, e - s);
            }
            return Err(Errno::ENOMEM);
        }
    }
    Ok(())
}

fn host_unmap(addr: u64, len: u64) {
    // SAFETY: callers pass ranges the guest owns.
    unsafe { libc::munmap(addr as *mut libc::c_void, len as usize) };
}

/// Fills in name, offset, device and inode of a file mapping.
fn describe_file(fd: RawFd, offset: u64, mapping: &mut Mapping) -> Result<(), Errno> {
    // SAFETY: stat is plain old data, filled by fstat.
    let st = unsafe {
        let mut st: libc::stat = core::mem::zeroed();
        check(i64::from(libc::fstat(fd, &mut st)))?;
        st
    };
    let name = std::fs::read_link(format!("/proc/self/fd/{fd}"))
        .map(|n| String::from_utf8_lossy(&n.into_os_string().into_vec()).into_owned())
        .unwrap_or_default();
    mapping.name = Arc::from(name);
    mapping.offset = offset;
    mapping.dev = st.st_dev;
    mapping.inode = st.st_ino;
    Ok(())
}

/// Drops the guest's view of a range and tells watchers about modules that end with it.
pub(crate) fn forget(p: &mut Process, m: &mut dyn Machine, start: u64, end: u64) {
    let gone: Vec<_> = m
        .space()
        .overlapping(start, end)
        .into_iter()
        .filter(|(_, _, g)| g.inode != 0 && g.prot.has(Prot::EXEC))
        .collect();
    m.space().remove(start, end);
    for (s, e, g) in gone {
        p.emit(m, &Event::ModuleUnloaded { path: &g.name, base: s, size: e - s });
    }
}

/// Tells watchers about the module whose code was just mapped at `addr`.
fn announce_module(p: &mut Process, m: &mut dyn Machine, addr: u64) {
    let found = m.space().find(addr).map(|(s, e, g)| (s, e, g.clone()));
    let Some((start, end, of)) = found else { return };
    let (mut base, mut top) = (start, end);
    let all: Vec<(u64, u64)> = m
        .space()
        .iter()
        .filter(|(_, _, o)| o.inode == of.inode && o.dev == of.dev)
        .map(|(s, e, _)| (s, e))
        .collect();
    for &(s, e) in all.iter().rev() {
        if e == base {
            base = s;
        }
    }
    for &(s, e) in &all {
        if s == top {
            top = e;
        }
    }
    let id = crate::elf::build_id(base);
    p.emit(m, &Event::ModuleLoaded { path: &of.name, base, size: top - base, build_id: &id });
}

/// Unmaps `start..end` (page-aligned, in user space).
pub fn unmap(p: &mut Process, m: &mut dyn Machine, start: u64, end: u64) -> Result<(), Errno> {
    m.invalidate(start, end);
    let parts = m.space().overlapping(start, end);
    for (s, e, _) in parts {
        // SAFETY: the guest owns what its address space lists.
        let r = unsafe { libc::munmap(s as *mut libc::c_void, (e - s) as usize) };
        check(i64::from(r))?;
    }
    forget(p, m, start, end);
    Ok(())
}

/// Unmaps everything the guest has (`execve`).
pub fn unmap_all(p: &mut Process, m: &mut dyn Machine) {
    let all: Vec<(u64, u64)> = m.space().iter().map(|(s, e, _)| (s, e)).collect();
    for (s, e) in all {
        // A range the host refuses to unmap stays recorded, so nothing is mapped over it.
        if let Err(e) = unmap(p, m, s, e) {
            tracing::warn!("could not unmap guest memory at {s:#x}: {e}");
        }
    }
}

/// Changes the protection of `start..end` (page-aligned). ENOMEM if a part is not mapped, after
/// the parts before it changed, as the kernel does.
pub fn protect(
    p: &mut Process,
    m: &mut dyn Machine,
    start: u64,
    end: u64,
    prot: Prot,
) -> Result<(), Errno> {
    let mut at = start;
    let mut new_code = Vec::new();
    let parts = m.space().overlapping(start, end);
    for (s, e, mapping) in parts {
        if s > at {
            return Err(Errno::ENOMEM);
        }
        m.invalidate(s, e);
        // SAFETY: the guest owns what its address space lists.
        let r = unsafe { libc::mprotect(s as *mut libc::c_void, (e - s) as usize, prot.host()) };
        check(i64::from(r))?;
        m.space().protect(s, e, prot);
        watch_aliases(m, s, e, prot);
        if prot.has(Prot::EXEC) && !mapping.prot.has(Prot::EXEC) && mapping.inode != 0 {
            new_code.push(s);
        }
        at = e;
    }
    for s in new_code {
        announce_module(p, m, s);
    }
    if at < end { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// Has code translated afresh that can now be written to at `start..end`, where it is mapped a
/// second time: that watches both places.
pub(crate) fn watch_aliases(m: &mut dyn Machine, start: u64, end: u64, prot: Prot) {
    if prot.has(Prot::WRITE) {
        let aliases = m.space().aliases(start, end);
        for (s, e, prot) in aliases {
            if prot.has(Prot::EXEC) {
                m.invalidate(s, e);
            }
        }
    }
}

/// Grows a stack-like mapping down to cover `addr`; false if nothing there grows.
pub fn grow_down(p: &mut Process, m: &mut dyn Machine, addr: u64) -> bool {
    let page = page_down(addr);
    if page < p.abi.min_address() || !p.abi.holds(page, PAGE) || m.space().find(page).is_some() {
        return false;
    }
    let above = m.space().iter().find(|(s, _, _)| *s > page).map(|(s, e, g)| (s, e, g.clone()));
    let Some((start, _, mapping)) = above else { return false };
    // The kernel keeps a guard of 256 pages below stacks and grows within the stack limit.
    const GUARD: u64 = 256 * PAGE;
    if !mapping.grows_down || !m.space().is_free(page.saturating_sub(GUARD), start) {
        return false;
    }
    let limit = p.limits.stack();
    let top = m
        .space()
        .iter()
        .filter(|(s, _, g)| *s >= start && g.grows_down)
        .map(|(_, e, _)| e)
        .next()
        .unwrap_or(start);
    if top - page > limit {
        return false;
    }
    let request = MapRequest {
        grows_down: true,
        name: &mapping.name,
        ..MapRequest::anonymous(Place::FixedNoReplace(page), start - page, mapping.prot)
    };
    map(p, m, &request).is_ok()
}

/// `/proc/self/maps` as the guest should see it.
pub fn maps_text(m: &mut dyn Machine) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for (s, e, g) in m.space().iter() {
        let bit = |p: Prot, c: char| if g.prot.has(p) { c } else { '-' };
        let mut line = format!(
            "{s:08x}-{e:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
            bit(Prot::READ, 'r'),
            bit(Prot::WRITE, 'w'),
            bit(Prot::EXEC, 'x'),
            if g.shared { 's' } else { 'p' },
            g.offset,
            libc::major(g.dev),
            libc::minor(g.dev),
            g.inode
        );
        if !g.name.is_empty() {
            while line.len() < 73 {
                line.push(' ');
            }
            line.push_str(&g.name);
        }
        let _ = writeln!(out, "{}", line.trim_end_matches('\0'));
    }
    out
}

/// Resizes or moves a host mapping (`mremap`); the guest's view is the caller's to change. A target
/// is free in the guest's view.
pub fn move_host(
    m: &mut dyn Machine,
    old: u64,
    old_len: u64,
    new_len: u64,
    target: Option<u64>,
    keep: bool,
) -> Result<(), Errno> {
    // Watched pages have another host protection, which would split the mapping.
    m.release_code(old, old + old_len);
    if let Some(t) = target {
        claim_holes(m, t, t + new_len)?;
    }
    let flags = match target {
        None => 0,
        Some(_) => {
            libc::MREMAP_MAYMOVE
                | libc::MREMAP_FIXED
                | if keep { libc::MREMAP_DONTUNMAP } else { 0 }
        }
    };
    // SAFETY: both ranges are the guest's: the old one is listed, the new one was just claimed.
    let r = unsafe {
        libc::mremap(
            old as *mut libc::c_void,
            old_len as usize,
            new_len as usize,
            flags,
            target.unwrap_or(0) as *mut libc::c_void,
        )
    };
    if r == libc::MAP_FAILED {
        let e = Errno::last();
        if let Some(t) = target {
            host_unmap(t, new_len);
        }
        return Err(e);
    }
    Ok(())
}
