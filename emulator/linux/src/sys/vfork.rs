//! vfork on top of fork: the parent waits until its child runs another program or ends, and then
//! sees what the child wrote to memory, as if they had shared it.
//!
//! The child tells the parent over a socket pair and waits for the answer; the parent finds the
//! child's own pages in `/proc/PID/pagemap` (bit 56, "exclusively mapped": after a fork only pages
//! that one side has written are) and copies them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use emu_mem::{PAGE, Prot, access};

use crate::sys::fds;
use crate::{Errno, Machine, Process};

/// The child's end.
#[derive(Debug)]
pub struct VforkChild(UnixStream);

/// The parent's end.
#[derive(Debug)]
pub struct VforkParent(UnixStream);

/// Connects a parent and the child it is about to make.
pub fn pair() -> Result<(VforkParent, VforkChild), Errno> {
    let (a, b) = UnixStream::pair().map_err(|e| Errno::of(&e))?;
    fds::reserve(a.as_raw_fd());
    fds::reserve(b.as_raw_fd());
    Ok((VforkParent(a), VforkChild(b)))
}

impl Drop for VforkChild {
    fn drop(&mut self) {
        fds::release(self.0.as_raw_fd());
    }
}

impl Drop for VforkParent {
    fn drop(&mut self) {
        fds::release(self.0.as_raw_fd());
    }
}

impl VforkChild {
    /// Lets the parent go on; returns when it has taken over the child's memory.
    pub fn release(mut self) {
        // Without an answer the parent is gone, and nobody waits.
        if self.0.write_all(&[1]).is_ok() {
            let _ = self.0.read_exact(&mut [0]);
        }
    }
}

impl VforkParent {
    /// Waits for the child to run another program or to end.
    pub fn wait(mut self, m: &mut dyn Machine, child: i32) {
        // End of file: the child died without a word.
        if read_uninterrupted(&mut self.0) {
            if let Err(e) = copy_pages(m, child) {
                tracing::warn!("the memory of vfork child {child} was not taken over: {e}");
            }
            let _ = self.0.write_all(&[1]);
        }
    }
}

/// Reads one byte whatever signals arrive; false at the end of the file.
fn read_uninterrupted(stream: &mut UnixStream) -> bool {
    loop {
        match stream.read(&mut [0]) {
            Ok(n) => return n == 1,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Copies the pages the child has written into this process.
fn copy_pages(m: &mut dyn Machine, child: i32) -> std::io::Result<()> {
    let pagemap = File::open(format!("/proc/{child}/pagemap"))?;
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
                    copy_page(m, child, at + i as u64 * PAGE)?;
                }
            }
            at += pages * PAGE;
        }
    }
    Ok(())
}

fn copy_page(m: &mut dyn Machine, child: i32, page: u64) -> std::io::Result<()> {
    let mut theirs = [0u8; PAGE as usize];
    let local = libc::iovec { iov_base: theirs.as_mut_ptr().cast(), iov_len: theirs.len() };
    let remote = libc::iovec { iov_base: page as *mut libc::c_void, iov_len: theirs.len() };
    // SAFETY: fills the local buffer from the child's memory.
    let n = unsafe { libc::process_vm_readv(child, &local, 1, &remote, 1, 0) };
    if n != theirs.len() as isize {
        return Err(std::io::Error::last_os_error());
    }
    let mut ours = [0u8; PAGE as usize];
    if access::read(page, &mut ours).is_ok() && ours != theirs {
        m.release_code(page, page + PAGE);
        // The guest may write there: it is in a writable mapping.
        let _ = access::write(page, &theirs);
    }
    Ok(())
}

/// Lets a waiting vfork parent go on, if there is one.
pub fn release_parent(p: &mut Process) {
    if let Some(child) = p.vfork.take() {
        child.release();
    }
}
