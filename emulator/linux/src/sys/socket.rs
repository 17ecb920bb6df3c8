//! Sockets.

use crate::abi::structs::{MSGHDR, TIMESPEC, TIMESPEC64, TIMEVAL};
use crate::sys::cmsg::{self, Control};
use crate::sys::host_call::{Buffer, HostCall, syscall};
use crate::sys::vec::read_iovec;
use crate::sys::{SyscallContext, fds, multiplex, pass};
use crate::{Abi, Errno};

const SOL_SOCKET: i32 = 1;
const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
const SOL_TCP: i32 = 6;
/// The options that hold a `timeval`.
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
/// The options that hold a `struct sock_fprog`, which points to a program.
const SO_ATTACH_FILTER: i32 = 26;
const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
/// The group options (MCAST_*), whose structures are laid out differently for i386.
const MCAST_FIRST: i32 = 42;
const MCAST_LAST: i32 = 48;
/// Maps received data into memory.
const TCP_ZEROCOPY_RECEIVE: i32 = 35;

/// Makes ready what the kernel writes to a socket address buffer: as much as the guest's length
/// word says. Without an address the length is not looked at.
fn address_out(ctx: &mut SyscallContext<'_>, addr: u64, len_at: u64) -> Result<u64, Errno> {
    let mut check = || {
        if addr == 0 {
            return pass::check_start(ctx, len_at);
        }
        let len = ctx.read_u32(len_at)?;
        // The kernel refuses a negative length without a look at the address.
        if (len as i32) >= 0 {
            ctx.prepare_write(addr, u64::from(len))?;
        }
        ctx.prepare_write(len_at, 4)
    };
    match check() {
        Err(Errno::EFAULT) => Ok(pass::NOWHERE),
        other => other.map(|()| len_at),
    }
}

fn with_address(ctx: &mut SyscallContext<'_>, number: i64) -> Result<HostCall, Errno> {
    fds::check(ctx.args[0])?;
    let len = address_out(ctx, ctx.args[1], ctx.args[2])?;
    let [fd, addr, _, flags, ..] = ctx.args;
    Ok(HostCall::new(number, [fd, addr, len, flags, 0, 0]))
}

/// `accept`.
pub fn accept(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    with_address(ctx, libc::SYS_accept)
}

/// `accept4`.
pub fn accept4(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    with_address(ctx, libc::SYS_accept4)
}

/// `getsockname`.
pub fn getsockname(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    with_address(ctx, libc::SYS_getsockname)
}

/// `getpeername`.
pub fn getpeername(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    with_address(ctx, libc::SYS_getpeername)
}

/// `recvfrom`.
pub fn recvfrom(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let mut call = pass::prepare(ctx, libc::SYS_recvfrom)?;
    if ctx.args[4] != 0 {
        call.args[5] = address_out(ctx, ctx.args[4], ctx.args[5])?;
    }
    Ok(call)
}

/// A message header as the guest wrote it, in the host's words.
struct Header {
    guest: u64,
    /// name, namelen, iov, iovlen, control, controllen, flags.
    words: [u64; 7],
}

impl Header {
    fn read(ctx: &SyscallContext<'_>, guest: u64) -> Result<Header, Errno> {
        let raw = ctx.read_struct(guest, &MSGHDR)?;
        let mut words = [0; 7];
        for (w, b) in words.iter_mut().zip(raw.chunks(8)) {
            *w = b.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        }
        Ok(Header { guest, words })
    }

    fn name(&self) -> (u64, u32) {
        (self.words[0], self.words[1] as u32)
    }

    fn control(&self) -> (u64, u64) {
        (self.words[4], self.words[5])
    }
}

/// A host message header with all it points to.
struct Message {
    header: Header,
    host: Box<[u64; 7]>,
    /// What the header's iov points to.
    _iov: Buffer,
    control: Control,
}

impl Message {
    /// The host address of the header.
    fn address(&mut self) -> u64 {
        self.host.as_mut_ptr() as u64
    }

    fn prepare(ctx: &mut SyscallContext<'_>, guest: u64, receives: bool) -> Result<Message, Errno> {
        let header = Header::read(ctx, guest)?;
        let (name, name_len) = header.name();
        if (name_len as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        let iov = read_iovec(ctx, header.words[2], header.words[3], receives, EMSGSIZE)?;
        let (control_at, control_len) = header.control();
        let control = if receives {
            ctx.prepare_write(name, u64::from(name_len))?;
            ctx.prepare_write(control_at, control_len.min(cmsg::MAX as u64))?;
            cmsg::room(ctx.abi, control_at, control_len)
        } else {
            ctx.check_range(name, u64::from(name_len))?;
            cmsg::to_host(ctx, control_at, control_len)?
        };
        let mut host = Box::new(header.words);
        host[2] = iov.address();
        host[4] = control.address();
        host[5] = control.size();
        Ok(Message { header, host, _iov: iov, control })
    }

    /// Writes back what a receiving call changed.
    fn received(&self, ctx: &mut SyscallContext<'_>) -> Result<(), Errno> {
        let (control_at, room) = self.header.control();
        let mut words = self.header.words;
        words[1] = self.host[1];
        words[6] = self.host[6];
        let got = self.control.bytes(self.host[5]);
        let (raw, truncated) = cmsg::to_guest(ctx.abi, &got, room as usize);
        words[5] = raw.len() as u64;
        if truncated {
            words[6] |= libc::MSG_CTRUNC as u64;
        }
        if !raw.is_empty() {
            ctx.write(control_at, &raw)?;
        }
        let host: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        ctx.write_struct(self.header.guest, &MSGHDR, &host)
    }
}

const EMSGSIZE: Errno = Errno(libc::EMSGSIZE);

/// `sendmsg`.
pub fn sendmsg(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    fds::check(ctx.args[0])?;
    let mut message = Message::prepare(ctx, ctx.args[1], false)?;
    let args = [ctx.args[0], message.address(), ctx.args[2], 0, 0, 0];
    Ok(HostCall::new(libc::SYS_sendmsg, args).then(move |_, result| {
        drop(message);
        result
    }))
}

/// `recvmsg`.
pub fn recvmsg(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    fds::check(ctx.args[0])?;
    let mut message = Message::prepare(ctx, ctx.args[1], true)?;
    let flags = ctx.args[2];
    let args = [ctx.args[0], message.address(), flags, 0, 0, 0];
    Ok(HostCall::new(libc::SYS_recvmsg, args).then(move |ctx, result| {
        let received = result?;
        message.received(ctx)?;
        Ok(received)
    }))
}

/// Words of the host's `struct mmsghdr`.
const MMSG_WORDS: usize = 8;

/// The headers of a vector of messages: host array, and the messages behind it.
fn vector(
    ctx: &mut SyscallContext<'_>,
    receives: bool,
) -> Result<(Box<[u64]>, Vec<Message>), Errno> {
    fds::check(ctx.args[0])?;
    let (guest, count) = (ctx.args[1], ctx.args[2].min(1024));
    let step = stride(ctx.abi);
    ctx.prepare_write(guest, count * step)?;
    let mut host = vec![0; MMSG_WORDS * count as usize].into_boxed_slice();
    let mut messages = Vec::new();
    for (i, words) in host.chunks_mut(MMSG_WORDS).enumerate() {
        // A bad message ends the vector there: those before it are still transferred.
        match Message::prepare(ctx, guest + i as u64 * step, receives) {
            Ok(m) => {
                words[..7].copy_from_slice(&*m.host);
                messages.push(m);
            }
            Err(e) if i == 0 => return Err(e),
            Err(_) => break,
        }
    }
    Ok((host, messages))
}

/// Bytes from one `struct mmsghdr` of the guest to the next.
fn stride(abi: Abi) -> u64 {
    match abi {
        Abi::X86_64 => 64,
        Abi::I386 => 32,
    }
}

/// Writes the transferred length of message `i`.
fn write_len(
    ctx: &mut SyscallContext<'_>,
    guest: u64,
    i: usize,
    host: &[u64],
) -> Result<(), Errno> {
    let at = guest + i as u64 * stride(ctx.abi) + ctx.size_of(&MSGHDR) as u64;
    ctx.write_u32(at, host[MMSG_WORDS * i + 7] as u32)
}

/// `sendmmsg`.
pub fn sendmmsg(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let (mut host, messages) = vector(ctx, false)?;
    let guest = ctx.args[1];
    let args = [ctx.args[0], host.as_mut_ptr() as u64, messages.len() as u64, ctx.args[3], 0, 0];
    Ok(HostCall::new(libc::SYS_sendmmsg, args).then(move |ctx, result| {
        let sent = result?;
        for i in 0..messages.len().min(sent as usize) {
            write_len(ctx, guest, i, &host)?;
        }
        Ok(sent)
    }))
}

/// `recvmmsg`, `recvmmsg_time64`.
pub fn recvmmsg(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let (mut host, mut messages) = vector(ctx, true)?;
    let [fd, guest, _, flags, timeout_at, _] = ctx.args;
    let shape = if ctx.row.name.ends_with("time64") { &TIMESPEC64 } else { &TIMESPEC };
    let timeout = match timeout_at {
        0 => None,
        at => {
            let raw = ctx.read_struct(at, shape)?;
            let words: Vec<u64> = raw
                .chunks(8)
                .map(|b| b.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
                .collect();
            Some(Buffer::input(words.into_boxed_slice()))
        }
    };
    let timeout_host = timeout.as_ref().map_or(0, Buffer::address);
    let args = [fd, host.as_mut_ptr() as u64, messages.len() as u64, flags, timeout_host, 0];
    Ok(HostCall::new(libc::SYS_recvmmsg, args).then(move |ctx, result| {
        let received = result?;
        for (i, m) in messages.iter_mut().enumerate().take(received as usize) {
            m.host.copy_from_slice(&host[MMSG_WORDS * i..][..7]);
            m.received(ctx)?;
            write_len(ctx, guest, i, &host)?;
        }
        if let (Some(t), 1..) = (&timeout, received) {
            let raw: Vec<u8> = t.host.iter().flat_map(|w| w.to_le_bytes()).collect();
            ctx.write_struct(timeout_at, shape, &raw)?;
        }
        Ok(received)
    }))
}

/// Whether an option is netfilter's, whose structures hold pointers. IPv6 has options of its own
/// among the numbers: `IPV6_RECVTCLASS` (66) and `IPV6_TCLASS`, 70 to 78.
fn netfilter(level: i32, option: i32) -> bool {
    match level {
        SOL_IP => option >= 64,
        SOL_IPV6 => matches!(option, 64 | 65 | 68 | 69 | 79..),
        _ => false,
    }
}

/// `setsockopt`.
pub fn setsockopt(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [fd, level, option, value, len, _] = ctx.args;
    fds::check(fd)?;
    if (len as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let len = pass::clamp(ctx.process.abi, value, len)?;
    let call = |value: u64, len: u64| {
        HostCall::new(libc::SYS_setsockopt, [fd, level, option, value, len, 0])
    };
    match (level as i32, option as i32) {
        (level, option) if netfilter(level, option) => Err(Errno::EPERM),
        (SOL_SOCKET, SO_ATTACH_FILTER | SO_ATTACH_REUSEPORT_CBPF) => {
            let word = ctx.abi.word();
            if len < 2 * word {
                return Err(Errno::EINVAL);
            }
            let count = ctx.read_u32(value)? as u16;
            let program = ctx.read_word(value + word)?;
            ctx.check_range(program, 8 * u64::from(count))?;
            let host = Buffer::input(Box::new([u64::from(count), program]));
            Ok(call(host.address(), 16).with(host))
        }
        (SOL_SOCKET, SO_RCVTIMEO | SO_SNDTIMEO) if ctx.abi == Abi::I386 => {
            if len < TIMEVAL.guest_size as u64 {
                return Err(Errno::EINVAL);
            }
            let raw = ctx.read_struct(value, &TIMEVAL)?;
            let words =
                raw.chunks(8).map(|b| b.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)));
            let host = Buffer::input(words.collect());
            Ok(call(host.address(), 16).with(host))
        }
        (SOL_IP | SOL_IPV6, MCAST_FIRST..=MCAST_LAST) if ctx.abi == Abi::I386 => {
            // The interface number, then addresses: 4 bytes of padding more on the host.
            let raw = ctx.read_vec(value, len.min(4096) as usize)?;
            if raw.len() < 4 {
                return Err(Errno::EINVAL);
            }
            let mut host = raw[..4].to_vec();
            host.extend([0; 4]);
            host.extend(&raw[4..]);
            let len = host.len() as u64;
            let words =
                host.chunks(8).map(|b| b.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)));
            let host = Buffer::input(words.collect());
            Ok(call(host.address(), len).with(host))
        }
        _ => Ok(call(value, len)),
    }
}

/// `getsockopt`.
pub fn getsockopt(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [fd, level, option, value, len_at, _] = ctx.args;
    fds::check(fd)?;
    let len = ctx.read_u32(len_at)?;
    if (len as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    match (level as i32, option as i32) {
        (level, option) if netfilter(level, option) => return Err(Errno(libc::ENOPROTOOPT)),
        (SOL_TCP, TCP_ZEROCOPY_RECEIVE) => return Err(Errno(libc::ENOPROTOOPT)),
        (SOL_SOCKET, SO_RCVTIMEO | SO_SNDTIMEO) if ctx.abi == Abi::I386 => {
            let mut time = [0u64; 2];
            let mut host_len = 16u32;
            let args = [fd, level, option, time.as_mut_ptr() as u64, (&raw mut host_len) as u64, 0];
            syscall(libc::SYS_getsockopt, &args, false)?;
            let short = [time[0] as u32, time[1] as u32].map(u32::to_le_bytes).concat();
            let n = short.len().min(len as usize);
            ctx.write(value, &short[..n])?;
            ctx.write_u32(len_at, n as u32)?;
            return Ok(HostCall::ready(0));
        }
        _ => {}
    }
    ctx.prepare_write(value, u64::from(len))?;
    ctx.prepare_write(len_at, 4)?;
    Ok(HostCall::new(libc::SYS_getsockopt, [fd, level, option, value, len_at, 0]))
}

/// The i386 call numbers behind the sub-calls of `socketcall`, and how many arguments each has
/// (net/socket.c).
const SOCKETCALLS: [(u64, usize); 21] = [
    (0, 0),
    (359, 3), // socket
    (361, 3), // bind
    (362, 3), // connect
    (363, 2), // listen
    (364, 3), // accept
    (367, 3), // getsockname
    (368, 3), // getpeername
    (360, 4), // socketpair
    (369, 4), // send
    (371, 4), // recv
    (369, 6), // sendto
    (371, 6), // recvfrom
    (373, 2), // shutdown
    (366, 5), // setsockopt
    (365, 5), // getsockopt
    (370, 3), // sendmsg
    (372, 3), // recvmsg
    (364, 4), // accept4
    (337, 5), // recvmmsg
    (345, 4), // sendmmsg
];

/// `socketcall`: all socket calls of i386 through one number, the arguments in memory.
pub fn socketcall(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [call, args_at, ..] = *ctx.registers;
    let &(number, count) = SOCKETCALLS.get(call as usize).ok_or(Errno::EINVAL)?;
    if number == 0 {
        return Err(Errno::EINVAL);
    }
    let mut registers = [0; 6];
    for (register, raw) in registers.iter_mut().zip(ctx.read_vec(args_at, 4 * count)?.chunks(4)) {
        *register = raw.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    }
    multiplex(ctx, number, registers)
}
