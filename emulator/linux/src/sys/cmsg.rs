//! Control messages of sockets: descriptors, credentials, timestamps.
//!
//! A message is a header (length, level, type) and data. Both are aligned to the guest's word, so
//! an i386 guest's are packed tighter than the host's.

use crate::sys::{SyscallContext, fds};
use crate::{Abi, Errno};

/// The most control bytes a call takes: above any `net.core.optmem_max` in use.
pub const MAX: usize = 1 << 17;

const HOST_HEADER: usize = 16;
const I386_HEADER: usize = 12;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
/// `SO_TIMESTAMP`, `SO_TIMESTAMPNS` (and with three times `SO_TIMESTAMPING`), in their old form,
/// which holds `long`s.
const SCM_TIMESTAMP: i32 = 29;
const SCM_TIMESTAMPNS: i32 = 35;
const SCM_TIMESTAMPING: i32 = 37;

/// A control message.
struct Message<'a> {
    level: i32,
    kind: i32,
    data: &'a [u8],
}

/// Splits control data of `abi` into messages; stops at the first bad one.
fn split(abi: Abi, raw: &[u8]) -> Vec<Message<'_>> {
    let (header, word) = layout(abi);
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(head) = raw.get(at..at + header) {
        let int = |n: usize| i32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]);
        let len = head[..word].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        let Ok(len) = usize::try_from(len) else { break };
        if len < header || len > raw.len() - at {
            break;
        }
        out.push(Message {
            level: int(word),
            kind: int(word + 4),
            data: &raw[at + header..at + len],
        });
        at += len.next_multiple_of(word);
    }
    out
}

/// Bytes of the header and of the alignment.
fn layout(abi: Abi) -> (usize, usize) {
    match abi {
        Abi::X86_64 => (HOST_HEADER, 8),
        Abi::I386 => (I386_HEADER, 4),
    }
}

/// Appends a message in the layout of `abi`.
fn append(abi: Abi, out: &mut Vec<u8>, level: i32, kind: i32, data: &[u8]) {
    let (header, word) = layout(abi);
    out.resize(out.len().next_multiple_of(word), 0);
    let len = (header + data.len()) as u64;
    out.extend(&len.to_le_bytes()[..word]);
    out.extend(level.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(data);
}

/// Control data in host memory, aligned as the kernel wants it.
#[derive(Default)]
pub struct Control {
    words: Box<[u64]>,
    len: usize,
}

impl Control {
    fn new(bytes: &[u8]) -> Control {
        let words = bytes
            .chunks(8)
            .map(|b| b.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
            .collect();
        Control { words, len: bytes.len() }
    }

    /// Address, or 0 when there is none.
    pub fn address(&self) -> u64 {
        if self.len == 0 { 0 } else { self.words.as_ptr() as u64 }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.len as u64
    }

    /// The first `len` bytes.
    pub fn bytes(&self, len: u64) -> Vec<u8> {
        let len = self.len.min(len as usize);
        self.words.iter().flat_map(|w| w.to_le_bytes()).take(len).collect()
    }
}

/// The control data of a message to send, for the host.
pub fn to_host(ctx: &SyscallContext<'_>, at: u64, len: u64) -> Result<Control, Errno> {
    if len == 0 || at == 0 {
        return Ok(Control::default());
    }
    if len > MAX as u64 {
        return Err(Errno(libc::ENOBUFS));
    }
    let raw = ctx.read_vec(at, len as usize)?;
    let messages = split(ctx.abi, &raw);
    for m in messages.iter().filter(|m| (m.level, m.kind) == (SOL_SOCKET, SCM_RIGHTS)) {
        for fd in m.data.chunks_exact(4) {
            fds::check(u64::from(u32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]])))?;
        }
    }
    let host = match ctx.abi {
        Abi::X86_64 => raw,
        Abi::I386 => {
            let mut host = Vec::new();
            for m in &messages {
                append(Abi::X86_64, &mut host, m.level, m.kind, m.data);
            }
            if messages.is_empty() {
                return Err(Errno::EINVAL);
            }
            host
        }
    };
    Ok(Control::new(&host))
}

/// Host memory for the control data of a message to receive.
pub fn room(abi: Abi, at: u64, len: u64) -> Control {
    if len == 0 || at == 0 {
        return Control::default();
    }
    let len = len.min(MAX as u64) as usize;
    // An i386 guest's room holds what takes more on the host: at most twice as much.
    Control::new(&vec![0; if abi == Abi::I386 { 2 * len } else { len }])
}

/// Received control data for the guest, and whether it had to be cut. Descriptors that do not fit
/// are closed, as the kernel does not install them.
pub fn to_guest(abi: Abi, raw: &[u8], room: usize) -> (Vec<u8>, bool) {
    if abi == Abi::X86_64 {
        return (raw[..raw.len().min(room)].to_vec(), raw.len() > room);
    }
    let mut out = Vec::new();
    let mut cut = false;
    for m in split(Abi::X86_64, raw) {
        let data = match (m.level, m.kind) {
            (SOL_SOCKET, SCM_TIMESTAMP | SCM_TIMESTAMPNS | SCM_TIMESTAMPING) => {
                m.data.chunks_exact(8).flat_map(|w| w[..4].to_vec()).collect()
            }
            _ => m.data.to_vec(),
        };
        let left = room.saturating_sub(out.len().next_multiple_of(4) + I386_HEADER);
        let rights = (m.level, m.kind) == (SOL_SOCKET, SCM_RIGHTS);
        let fits = if rights { data.len().min(left & !3) } else { data.len().min(left) };
        if fits < data.len() {
            cut = true;
            if rights {
                for fd in data[fits..].chunks_exact(4) {
                    // SAFETY: the descriptor was just received and nobody else knows it.
                    unsafe { libc::close(i32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]])) };
                }
            }
        }
        if fits > 0 || data.is_empty() {
            append(Abi::I386, &mut out, m.level, m.kind, &data[..fits]);
        }
    }
    if out.len().next_multiple_of(4) <= room {
        out.resize(out.len().next_multiple_of(4), 0);
    }
    (out, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_both_conversions() {
        let mut host = Vec::new();
        append(Abi::X86_64, &mut host, 1, 2, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        append(Abi::X86_64, &mut host, 7, 8, &[9; 3]);
        let (guest, cut) = to_guest(Abi::I386, &host, 100);
        assert!(!cut);
        let got = split(Abi::I386, &guest);
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].level, got[0].kind, got[0].data.len()), (1, 2, 12));
        assert_eq!((got[1].level, got[1].kind, got[1].data), (7, 8, &[9u8; 3][..]));
        assert_eq!(guest.len(), 24 + 16);
    }

    #[test]
    fn old_timestamps_get_shorter() {
        let mut host = Vec::new();
        let time = [5u64.to_le_bytes(), 6u64.to_le_bytes()].concat();
        append(Abi::X86_64, &mut host, SOL_SOCKET, SCM_TIMESTAMP, &time);
        let (guest, _) = to_guest(Abi::I386, &host, 64);
        assert_eq!(split(Abi::I386, &guest)[0].data, [5, 0, 0, 0, 6, 0, 0, 0]);
    }

    #[test]
    fn lengths_that_lie_end_the_list() {
        for len in [0u64, 3, 11, 17, u64::MAX] {
            let mut raw = len.to_le_bytes().to_vec();
            raw.extend([0; 8]);
            assert!(split(Abi::X86_64, &raw).is_empty(), "{len}");
        }
    }
}
