//! vfork on top of fork: the parent waits until its child runs another program or ends, and then
//! sees what the child wrote to memory, as if they had shared it.
//!
//! The child tells the parent over a socket pair and waits for the answer; the parent finds the
//! child's own pages in the child's `/proc/self/pagemap` (bit 56, "exclusively mapped": after a fork only pages
//! that one side has written are) and copies them. A page is exclusive as well when it was this
//! side that wrote it: while the parent waits that is the host kernel alone, with the results of
//! calls other guest threads are in, and those results are kept.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use emu_mem::{PAGE, Prot, access};

use crate::sys::fds;
use crate::{Errno, Machine, Process};

/// The child's end.
#[derive(Debug)]
pub struct VforkChild {
    stream: UnixStream,
    /// The child's page map. It opens it at once: later `/proc` may be out of reach, of a child
    /// that has changed its root directory, and in a PID namespace it has another name there.
    pagemap: Option<File>,
}

/// The parent's end.
#[derive(Debug)]
pub struct VforkParent(UnixStream);

/// Connects a parent and the child it is about to make.
pub fn pair() -> Result<(VforkParent, VforkChild), Errno> {
    let (a, b) = UnixStream::pair().map_err(|e| Errno::of(&e))?;
    let away = |end: UnixStream| UnixStream::from(fds::out_of_the_way(end.into()));
    Ok((VforkParent(away(a)), VforkChild { stream: away(b), pagemap: None }))
}

impl Drop for VforkChild {
    fn drop(&mut self) {
        fds::release(self.stream.as_raw_fd());
        if let Some(pagemap) = &self.pagemap {
            fds::release(pagemap.as_raw_fd());
        }
    }
}

impl Drop for VforkParent {
    fn drop(&mut self) {
        fds::release(self.0.as_raw_fd());
    }
}

impl VforkChild {
    /// What the child does first.
    pub fn begin(mut self) -> VforkChild {
        let pagemap = File::open("/proc/self/pagemap").ok();
        self.pagemap = pagemap.map(|f| fds::out_of_the_way(f.into()).into());
        self
    }

    /// Lets the parent go on; returns when it has taken over the child's memory.
    pub fn release(mut self) {
        let fd = self.pagemap.as_ref().map_or(-1, |f| f.as_raw_fd());
        // Without an answer the parent is gone, and nobody waits.
        if self.stream.write_all(&fd.to_le_bytes()).is_ok() {
            let _ = self.stream.read_exact(&mut [0]);
        }
    }
}

impl VforkParent {
    /// Waits for the child to run another program or to end. The ranges `kept` are not taken over
    /// from it.
    pub fn wait(mut self, m: &mut dyn Machine, child: i32, kept: &[(u64, u64)]) {
        let mut fd = [0; 4];
        // End of file: the child died without a word.
        if self.0.read_exact(&mut fd).is_ok() {
            let pagemap = taken_from(child, i32::from_le_bytes(fd))
                .or_else(|_| File::open(format!("/proc/{child}/pagemap")));
            if let Err(e) = pagemap.and_then(|p| copy_pages(m, child, &p, kept)) {
                tracing::warn!("the memory of vfork child {child} was not taken over: {e}");
            }
            let _ = self.0.write_all(&[1]);
        }
    }
}

/// A copy of descriptor `fd` of the child (since Linux 5.6).
fn taken_from(child: i32, fd: i32) -> std::io::Result<File> {
    let made = |n: i64| match n {
        -1 => Err(std::io::Error::last_os_error()),
        // SAFETY: the descriptor is new.
        n => Ok(unsafe { OwnedFd::from_raw_fd(n as i32) }),
    };
    // SAFETY: only makes a descriptor.
    let process = made(unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) })?;
    // SAFETY: as above.
    made(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
        .map(File::from)
}

/// Copies the pages the child has written into this process.
fn copy_pages(
    m: &mut dyn Machine,
    child: i32,
    pagemap: &File,
    kept: &[(u64, u64)],
) -> std::io::Result<()> {
    let writable: Vec<(u64, u64)> = m
        .space()
        .iter()
        .filter(|(_, _, g)| !g.shared && g.prot.has(Prot::WRITE))
        .map(|(s, e, _)| (s, e))
        .collect();
    for (start, end) in writable {
        let mut at = start;
        while at < end {
            const CHUNK: u64 = 4096;
            let pages = ((end - at) / PAGE).min(CHUNK);
            let mut raw = vec![0; (pages * 8) as usize];
            pagemap.read_exact_at(&mut raw, at / PAGE * 8)?;
            for (i, entry) in raw.chunks_exact(8).enumerate() {
                const EXCLUSIVE: u8 = 1;
                const PRESENT: u8 = 0x80;
                const FILE: u8 = 0x20;
                let top = entry[7];
                if top & (EXCLUSIVE | PRESENT | FILE) == EXCLUSIVE | PRESENT {
                    copy_page(m, child, at + i as u64 * PAGE, kept)?;
                }
            }
            at += pages * PAGE;
        }
    }
    Ok(())
}

fn copy_page(
    m: &mut dyn Machine,
    child: i32,
    page: u64,
    kept: &[(u64, u64)],
) -> std::io::Result<()> {
    let mut theirs = [0u8; PAGE as usize];
    let local = libc::iovec { iov_base: theirs.as_mut_ptr().cast(), iov_len: theirs.len() };
    let remote = libc::iovec { iov_base: page as *mut libc::c_void, iov_len: theirs.len() };
    // SAFETY: fills the local buffer from the child's memory.
    let n = unsafe { libc::process_vm_readv(child, &local, 1, &remote, 1, 0) };
    if n != theirs.len() as isize {
        return Err(std::io::Error::last_os_error());
    }
    for (start, end) in outside(kept, page, page + PAGE) {
        let theirs = &theirs[(start - page) as usize..(end - page) as usize];
        let mut ours = vec![0; theirs.len()];
        if access::read(start, &mut ours).is_ok() && ours != theirs {
            m.release_code(start, end);
            // The guest may write there: it is in a writable mapping.
            let _ = access::write(start, theirs);
        }
    }
    Ok(())
}

/// What of `start..end` lies outside of the ranges `kept`.
fn outside(kept: &[(u64, u64)], start: u64, end: u64) -> Vec<(u64, u64)> {
    let mut inside: Vec<_> = kept.iter().filter(|k| k.0 < end && k.1 > start).collect();
    inside.sort_unstable();
    let mut parts = Vec::new();
    let mut at = start;
    for &&(from, to) in &inside {
        if from > at {
            parts.push((at, from));
        }
        at = at.max(to);
    }
    if at < end {
        parts.push((at, end));
    }
    parts
}

/// Lets a waiting vfork parent go on, if there is one.
pub fn release_parent(p: &mut Process) {
    if let Some(child) = p.vfork.take() {
        child.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_ranges_are_left_out() {
        assert_eq!(outside(&[], 10, 20), [(10, 20)]);
        assert_eq!(outside(&[(0, 10), (20, 30)], 10, 20), [(10, 20)]);
        assert_eq!(outside(&[(0, 30)], 10, 20), []);
        assert_eq!(outside(&[(15, 16), (5, 12), (11, 13), (19, 25)], 10, 20), [(13, 15), (16, 19)]);
    }
}
