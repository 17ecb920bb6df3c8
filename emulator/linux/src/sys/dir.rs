//! Directory entries, and positions in directories.
//!
//! File systems hand out 64-bit directory positions (hashes). A 32-bit program without large-file
//! support cannot hold them, and a 64-bit host process cannot ask the kernel for 32-bit ones, as
//! the kernel would give a 32-bit process. So positions that do not fit are given short names here.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::abi::structs::I64;
use crate::procfs::Listing;
use crate::sys::host_call::syscall;
use crate::sys::{SyscallContext, fds, pass};
use crate::{Abi, Errno, SysResult};

/// Short names of long directory positions.
#[derive(Default)]
struct Positions {
    names: HashMap<u64, u32>,
    long: Vec<u64>,
}

/// Short names count up from here: above any position a small file system uses.
const FIRST_NAME: u32 = 0x4000_0000;
/// Most names kept; beyond it the oldest meaning of a name is lost.
const MAX_NAMES: usize = 1 << 20;

static POSITIONS: Mutex<Option<Positions>> = Mutex::new(None);

fn shorten(position: u64) -> u32 {
    if position < u64::from(FIRST_NAME) {
        return position as u32;
    }
    let mut guard = POSITIONS.lock().unwrap_or_else(|e| e.into_inner());
    let p = guard.get_or_insert_default();
    if let Some(&name) = p.names.get(&position) {
        return name;
    }
    if p.long.len() >= MAX_NAMES {
        *p = Positions::default();
    }
    let name = FIRST_NAME + p.long.len() as u32;
    p.long.push(position);
    p.names.insert(position, name);
    name
}

fn lengthen(name: u64) -> u64 {
    let guard = POSITIONS.lock().unwrap_or_else(|e| e.into_inner());
    let index = name.wrapping_sub(u64::from(FIRST_NAME)) as usize;
    guard.as_ref().and_then(|p| p.long.get(index)).copied().unwrap_or(name)
}

fn is_directory(fd: u64) -> bool {
    let mut st = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the buffer is a stat structure; it is read only after success.
    unsafe {
        libc::fstat(fd as i32, st.as_mut_ptr()) == 0
            && st.assume_init().st_mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// A seek on behalf of a 32-bit guest.
fn seek(fd: u64, offset: u64, whence: u64) -> SysResult {
    fds::check(fd)?;
    let named = whence as i32 == libc::SEEK_SET && offset >= u64::from(FIRST_NAME);
    let directory = (named || whence as i32 == libc::SEEK_CUR) && is_directory(fd);
    let offset = if named && directory { lengthen(offset) } else { offset };
    let at = syscall(libc::SYS_lseek, &[fd, offset, whence, 0, 0, 0], false)?;
    Ok(if directory { u64::from(shorten(at)) } else { at })
}

/// `lseek`.
pub fn lseek(ctx: &mut SyscallContext<'_>) -> SysResult {
    if ctx.abi == Abi::X86_64 {
        fds::check(ctx.args[0])?;
        return ctx.host(libc::SYS_lseek, ctx.args);
    }
    let at = seek(ctx.args[0], ctx.args[1], ctx.args[2])?;
    if at > i32::MAX as u64 { Err(Errno::EOVERFLOW) } else { Ok(at) }
}

/// `_llseek`.
pub fn llseek(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [fd, high, low, result, whence, _] = ctx.args;
    let at = seek(fd, high << 32 | low, whence)?;
    ctx.write_struct(result, &I64, &at.to_le_bytes())?;
    Ok(0)
}

/// One entry of the host's `getdents64`.
struct Entry<'a> {
    inode: u64,
    next: u64,
    kind: u8,
    name: &'a [u8],
}

fn entries(raw: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        let word = |at: usize| Some(u64::from_le_bytes(rest.get(at..at + 8)?.try_into().ok()?));
        let (inode, next) = (word(0)?, word(8)?);
        let len = usize::from(u16::from_le_bytes(rest.get(16..18)?.try_into().ok()?));
        let record = rest.get(..len)?;
        let name = record.get(19..)?.split(|&b| b == 0).next()?;
        rest = &rest[len..];
        Some(Entry { inode, next, kind: record[18], name })
    })
}

/// Reads entries of the host for a guest buffer of `room` bytes.
fn read_host(ctx: &SyscallContext<'_>, room: u64) -> Result<Vec<u8>, Errno> {
    /// What the C libraries ask for at most.
    const MOST: u64 = 1 << 20;
    fds::check(ctx.args[0])?;
    let mut buf = vec![0; room.min(MOST) as usize];
    let args = [ctx.args[0], buf.as_mut_ptr() as u64, buf.len() as u64, 0, 0, 0];
    loop {
        let n = ctx.host(libc::SYS_getdents64, args)? as usize;
        let left = hide(ctx, &mut buf[..n], 19);
        // Nothing would mean the end.
        if left > 0 || n == 0 {
            buf.truncate(left);
            return Ok(buf);
        }
    }
}

/// Takes the host's descriptors and threads out of a directory of such: `records` of 64-bit entries
/// whose names begin at byte `name`; what length is left.
fn hide(ctx: &SyscallContext<'_>, records: &mut [u8], name: usize) -> usize {
    let listing = if records.is_empty() { None } else { Listing::of(ctx.int(0)) };
    let Some(listing) = listing else { return records.len() };
    let (mut from, mut to) = (0, 0);
    while let Some(&[low, high]) = records.get(from + 16..from + 18) {
        let end = (from + usize::from(u16::from_le_bytes([low, high])).max(1)).min(records.len());
        let text = records.get(from + name..end).unwrap_or_default();
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        if !listing.hides(text, ctx.process) {
            records.copy_within(from..end, to);
            to += end - from;
        }
        from = end;
    }
    to
}

/// The host's call on the guest's buffer, which needs no conversion; names begin at byte `name`.
fn read_directly(ctx: &mut SyscallContext<'_>, number: i64, name: usize) -> SysResult {
    let call = pass::prepare(ctx, number)?;
    loop {
        let n = call.perform(false)?;
        if n == 0 || Listing::of(ctx.int(0)).is_none() {
            return Ok(n);
        }
        let mut records = ctx.read_vec(ctx.args[1], n as usize)?;
        let left = hide(ctx, &mut records, name);
        if left > 0 {
            ctx.write(ctx.args[1], &records[..left])?;
            return Ok(left as u64);
        }
    }
}

/// `getdents64`.
pub fn getdents64(ctx: &mut SyscallContext<'_>) -> SysResult {
    if ctx.abi == Abi::X86_64 {
        return read_directly(ctx, libc::SYS_getdents64, 19);
    }
    let mut raw = read_host(ctx, ctx.args[2])?;
    let mut at = 0;
    while at + 18 <= raw.len() {
        let mut next = [0; 8];
        next.copy_from_slice(&raw[at + 8..at + 16]);
        let short = u64::from(shorten(u64::from_le_bytes(next)));
        raw[at + 8..at + 16].copy_from_slice(&short.to_le_bytes());
        at += usize::from(u16::from_le_bytes([raw[at + 16], raw[at + 17]])).max(1);
    }
    ctx.write(ctx.args[1], &raw)?;
    Ok(raw.len() as u64)
}

/// `getdents`.
pub fn getdents(ctx: &mut SyscallContext<'_>) -> SysResult {
    if ctx.abi == Abi::X86_64 {
        return read_directly(ctx, libc::SYS_getdents, 18);
    }
    // A 32-bit record is never longer than the host's of the same entry.
    let raw = read_host(ctx, ctx.args[2])?;
    let mut out = Vec::with_capacity(raw.len());
    for e in entries(&raw) {
        let start = out.len();
        let len = (10 + e.name.len() + 2).next_multiple_of(4);
        out.extend((e.inode as u32).to_le_bytes());
        out.extend(shorten(e.next).to_le_bytes());
        out.extend((len as u16).to_le_bytes());
        out.extend(e.name);
        out.resize(start + len, 0);
        out[start + len - 1] = e.kind;
    }
    ctx.write(ctx.args[1], &out)?;
    Ok(out.len() as u64)
}

/// `readdir`, the call of before Linux 1.3: one entry each time.
pub fn readdir(ctx: &mut SyscallContext<'_>) -> SysResult {
    let before = syscall(libc::SYS_lseek, &[ctx.args[0], 0, libc::SEEK_CUR as u64, 0, 0, 0], false);
    let raw = read_host(ctx, 4096)?;
    let Some(e) = entries(&raw).next() else { return Ok(0) };
    // The others are read again by the next call.
    let next = if raw.len() > usize::from(u16::from_le_bytes([raw[16], raw[17]])) {
        Some(e.next)
    } else {
        None
    };
    let mut out = Vec::new();
    out.extend((e.inode as u32).to_le_bytes());
    out.extend((before.unwrap_or(0) as u32).to_le_bytes());
    out.extend((e.name.len() as u16).to_le_bytes());
    out.extend(e.name);
    out.push(0);
    ctx.write(ctx.args[1], &out)?;
    if let Some(next) = next {
        syscall(libc::SYS_lseek, &[ctx.args[0], next, libc::SEEK_SET as u64, 0, 0, 0], false)?;
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_positions_survive_the_round_trip() {
        for p in [0, 5, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff_ffff_ffff, 0x0123_4567_89ab_cdef] {
            let short = shorten(p);
            assert!(short <= i32::MAX as u32);
            assert_eq!(lengthen(u64::from(short)), p);
            assert_eq!(shorten(p), short);
        }
    }

    #[test]
    fn entries_of_the_host_are_read() {
        let mut raw = Vec::new();
        raw.extend(7u64.to_le_bytes());
        raw.extend(9u64.to_le_bytes());
        raw.extend(24u16.to_le_bytes());
        raw.push(4);
        raw.extend(b"abc\0\0");
        let got: Vec<_> =
            entries(&raw).map(|e| (e.inode, e.next, e.kind, e.name.to_vec())).collect();
        assert_eq!(got, [(7, 9, 4, b"abc".to_vec())]);
    }
}
