//! `ioctl`, by table.
//!
//! A request says little about its argument, and a structure with pointers in it could make the
//! kernel touch host memory. So requests are known from [`REQUESTS`], or their number tells
//! direction and size and their driver is one whose structures hold no pointers. Others are refused, which is said
//! unless the host has no such request either.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::sys::host_call::HostCall;
use crate::sys::pass::{self, NOWHERE};
use crate::sys::{SyscallContext, fds};
use crate::{Abi, Errno};

/// What a request's argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Argument {
    /// A number, or nothing.
    Value,
    /// The kernel reads that many bytes.
    Read(u32),
    /// The kernel writes that many bytes.
    Write(u32),
    /// The kernel reads and writes that many bytes.
    Both(u32),
    /// `struct ifreq` without pointers: 40 bytes on the host, of which i386 has the first 32.
    Interface,
    /// `struct ifreq` with a pointer to data behind the name: `struct ethtool_*`, whose first word says which.
    InterfaceData,
    /// `struct iwreq`, 32 bytes, with a pointer to data behind the name.
    Wireless,
    /// `struct ifconf`.
    InterfaceList,
    /// The kernel writes a `long`.
    WriteLong,
    /// The kernel writes a `struct timeval` or `timespec`.
    WriteTime,
    /// `struct fiemap` with its extents behind it.
    Extents,
    /// `struct file_dedupe_range` with its places behind it.
    Copies,
    /// The kernel writes two `struct __fat_dirent`, which hold numbers of `long`.
    Entries,
}

use Argument::*;

/// Requests whose numbers do not tell, or tell a size that depends on the ABI.
#[rustfmt::skip]
const REQUESTS: &[(u32, Argument)] = &[
    // Files and block devices (include/uapi/linux/fs.h).
    (0x0001, Both(4)), (0x0002, Write(4)),
    (0x125d, Read(4)), (0x125e, Write(4)), (0x125f, Value), (0x1260, WriteLong), (0x1261, Value),
    (0x1262, Value), (0x1263, WriteLong), (0x1268, Write(4)), (0x1278, Write(4)),
    (0x1279, Write(4)), (0x127a, Write(4)), (0x127b, Write(4)), (0x127c, Write(4)),
    (0x127e, Write(2)),
    // Virtual terminals (kd.h, vt.h).
    (0x4b33, Write(1)), (0x4b3a, Value), (0x4b3b, Write(4)), (0x4b44, Write(4)), (0x4b45, Value),
    (0x4b2f, Value), (0x4b30, Value), (0x4b31, Write(1)), (0x4b32, Value),
    (0x5600, Write(4)), (0x5601, Write(8)), (0x5602, Read(8)), (0x5603, Write(6)),
    (0x5605, Value), (0x5606, Value), (0x5607, Value), (0x5608, Value),
    // Terminals (asm-generic/ioctls.h).
    (0x5401, Write(36)), (0x5402, Read(36)), (0x5403, Read(36)), (0x5404, Read(36)),
    (0x5405, Write(18)), (0x5406, Read(18)), (0x5407, Read(18)), (0x5408, Read(18)),
    (0x5409, Value), (0x540a, Value), (0x540b, Value), (0x540c, Value), (0x540d, Value),
    (0x540e, Value), (0x540f, Write(4)), (0x5410, Read(4)), (0x5411, Write(4)), (0x5412, Read(1)),
    (0x5413, Write(8)), (0x5414, Read(8)), (0x5415, Write(4)), (0x5416, Read(4)),
    (0x5417, Read(4)), (0x5418, Read(4)), (0x5419, Write(4)), (0x541a, Read(4)),
    (0x541b, Write(4)), (0x541d, Value), (0x5420, Read(4)), (0x5421, Read(4)), (0x5422, Value),
    (0x5423, Read(4)), (0x5424, Write(4)), (0x5425, Value), (0x5427, Value), (0x5428, Value),
    (0x5429, Write(4)), (0x5437, Value), (0x5440, Value), (0x5441, Value), (0x5450, Value),
    (0x5451, Value), (0x5452, Read(4)), (0x5456, Read(36)), (0x5457, Write(36)), (0x545c, Value),
    (0x545d, Write(4)), (0x5460, Write(8)),
    // Sockets (linux/sockios.h, asm-generic/sockios.h).
    (0x8901, Read(4)), (0x8902, Read(4)), (0x8903, Write(4)), (0x8904, Write(4)),
    (0x8905, Write(4)), (0x8906, WriteTime), (0x8907, WriteTime),
    (0x8910, Interface), (0x8912, InterfaceList), (0x8913, Interface), (0x8914, Interface),
    (0x8915, Interface), (0x8916, Interface), (0x8917, Interface), (0x8918, Interface),
    (0x8919, Interface), (0x891a, Interface), (0x891b, Interface), (0x891c, Interface),
    (0x891d, Interface), (0x891e, Interface), (0x8921, Interface), (0x8922, Interface),
    (0x8923, Interface), (0x8924, Interface), (0x8927, Interface), (0x8933, Interface),
    (0x8953, Both(68)), (0x8954, Both(68)), (0x8955, Both(68)),
    (0x8942, Interface), (0x8943, Interface), (0x8947, Interface), (0x8948, Interface),
    (0x8946, InterfaceData), (0x894b, Write(4)), (0x894c, Value), (0x8010_8906, Write(16)), (0x8010_8907, Write(16)),
    // Wireless networks (linux/wireless.h): structures by value, and those with pointers.
    (0x8b01, Both(32)), (0x8b04, Both(32)), (0x8b05, Both(32)), (0x8b06, Both(32)), (0x8b07, Both(32)),
    (0x8b08, Both(32)), (0x8b09, Both(32)), (0x8b14, Both(32)), (0x8b15, Both(32)), (0x8b20, Both(32)),
    (0x8b21, Both(32)), (0x8b22, Both(32)), (0x8b23, Both(32)), (0x8b24, Both(32)), (0x8b25, Both(32)),
    (0x8b26, Both(32)), (0x8b27, Both(32)), (0x8b28, Both(32)), (0x8b29, Both(32)), (0x8b2c, Both(32)),
    (0x8b2d, Both(32)),
    (0x8b0b, Wireless), (0x8b18, Wireless), (0x8b19, Wireless), (0x8b1a, Wireless), (0x8b1b, Wireless),
    (0x8b1c, Wireless), (0x8b1d, Wireless), (0x8b2a, Wireless), (0x8b2b, Wireless),
    // File attributes: the numbers say `long`, the kernel transfers an `int`.
    (0x8008_6601, Write(4)), (0x4008_6602, Read(4)), (0x8008_7601, Write(4)),
    (0x4008_7602, Read(4)), (0x8008_1270, Write(4)), (0x4008_1271, Read(4)),
    (0x8008_1272, Write(8)),
    (0x4004_9409, Value), (0xc020_660b, Extents),
    (0x801c_581f, Write(28)), (0x401c_5820, Read(28)),
    (0x8100_9431, Write(256)), (0x4100_9432, Read(256)),
    // File systems as a whole, copies.
    (0xc004_5877, Value), (0xc004_5878, Value), (0xc018_5879, Both(24)), (0x9408, Value),
    (0x4020_940d, Read(32)), (0xc018_9436, Copies),
    // Both names of an entry of a VFAT directory (linux/msdos_fs.h). Wine asks any directory.
    (0x8230_7201, Entries), (0x8230_7202, Entries),
    // XFS_IOC_RESVSP and its kin, which every file system has (linux/falloc.h).
    (0x4030_5828, Read(48)), (0x4030_5829, Read(48)), (0x4030_582a, Read(48)),
    (0x4030_582b, Read(48)), (0x4030_5839, Read(48)),
    // The parameters of a floppy, by which mke2fs tells one (linux/fd.h).
    (0x8020_0204, Write(32)),
    // TUN devices: the number says `int`, the kernel transfers an interface request.
    (0x4004_54ca, Interface), (0x8004_54d2, Interface),
    (0x4004_54cb, Value), (0x4004_54cc, Value), (0x4004_54cd, Value), (0x4004_54ce, Value),
    (0x4004_54d0, Value),
];

/// The i386 numbers of requests that encode `sizeof(long)`: (i386, host).
const I386_NUMBERS: &[(u32, u32)] = &[
    (0x8004_6601, 0x8008_6601),
    (0x4004_6602, 0x4008_6602),
    (0x8004_7601, 0x8008_7601),
    (0x4004_7602, 0x4008_7602),
    (0x8004_1270, 0x8008_1270),
    (0x4004_1271, 0x4008_1271),
    (0x8004_1272, 0x8008_1272),
    (0x8218_7201, 0x8230_7201),
    (0x8218_7202, 0x8230_7202),
];

/// Drivers (the type byte of a request) whose structures hold no pointers, or only ones the kernel
/// never follows.
const PLAIN_DRIVERS: &[u8] = &[
    0x12, // block devices
    b'E', // input events
    b'I', // inotify
    b'R', // random
    b'T', // terminals, timerfd
    b'f', // file attributes
    b'k', // SPI
    b'p', // real-time clock
    b'v', // file versions
    b'w', // pseudo terminals of other kinds
    0xb7, // namespaces
    0x99, // watches
    0xa8, // pidfd
];

/// Requests to these drivers that do hold pointers, or data of a length of their own behind them.
#[rustfmt::skip]
const NOT_PLAIN: &[u32] = &[
    0x4030_4580, 0x402c_4580, // EVIOCSFF, in either ABI
    0x4080_6685, 0xc004_6686, 0xc028_6687, // fs-verity
    0xc050_6617, 0xc009_6616, // fscrypt: a key, a policy
];

const DIRECTION_WRITE: u32 = 1;
const DIRECTION_READ: u32 = 2;

/// What the argument of `request` is.
fn argument(request: u32) -> Option<Argument> {
    if let Some(&(_, a)) = REQUESTS.iter().find(|(r, _)| *r == request) {
        return Some(a);
    }
    let (direction, size, driver) = (request >> 30, request >> 16 & 0x3fff, (request >> 8) as u8);
    if !PLAIN_DRIVERS.contains(&driver) || NOT_PLAIN.contains(&request) {
        return None;
    }
    match direction {
        0 if driver == 0xb7 || driver == b'E' => Some(Value),
        DIRECTION_WRITE => Some(Read(size)),
        DIRECTION_READ => Some(Write(size)),
        d if d == DIRECTION_READ | DIRECTION_WRITE => Some(Both(size)),
        _ => None,
    }
}

/// `ioctl`.
pub fn ioctl(ctx: &mut SyscallContext<'_>) -> Result<HostCall, Errno> {
    let [fd, request, arg, ..] = ctx.args;
    fds::check(fd)?;
    let mut request = request as u32;
    if ctx.abi == Abi::I386
        && let Some(&(_, host)) = I386_NUMBERS.iter().find(|(r, _)| *r == request)
    {
        request = host;
    }
    let call = HostCall::new(libc::SYS_ioctl, [fd, u64::from(request), arg, 0, 0, 0]);
    let Some(kind) = argument(request) else {
        return Err(unknown(call));
    };
    match kind {
        Value => {}
        Read(n) => ctx.check_range(arg, u64::from(n))?,
        Write(n) | Both(n) => ctx.prepare_write(arg, u64::from(n))?,
        WriteLong if ctx.abi == Abi::X86_64 => ctx.prepare_write(arg, 8)?,
        WriteTime if ctx.abi == Abi::X86_64 => ctx.prepare_write(arg, 16)?,
        Entries if ctx.abi == Abi::X86_64 => ctx.prepare_write(arg, 2 * ENTRY as u64)?,
        Interface if ctx.abi == Abi::X86_64 => ctx.prepare_write(arg, 40)?,
        WriteLong => return narrow(ctx, call, 8, |host| host[..4].to_vec()),
        WriteTime => {
            return narrow(ctx, call, 16, |host| [&host[..4], &host[8..12]].concat());
        }
        Entries => return narrow(ctx, call, 2 * ENTRY, narrow_entries),
        Interface => return interface(ctx, call),
        InterfaceData => return with_data(ctx, call, 40),
        Wireless => return with_data(ctx, call, 32),
        InterfaceList => return interface_list(ctx, call),
        Extents => {
            // fm_extent_count; an extent has 56 bytes.
            let count = u64::from(ctx.read_u32(arg.saturating_add(24))?);
            ctx.prepare_write(arg, 32 + 56 * count)?;
        }
        Copies => {
            // dest_count; a place has 32 bytes.
            let count = u64::from(ctx.read_u32(arg.saturating_add(16))? as u16);
            ctx.prepare_write(arg, 24 + 32 * count)?;
        }
    }
    Ok(call)
}

/// ENOTTY for a request that is not known; EBADF comes first. Said once per request, unless that is the host's own
/// answer: most are only tried on whatever is open. A device is not asked, which might do something.
#[cold]
fn unknown(mut call: HostCall) -> Errno {
    static SAID: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let [fd, request, ..] = call.args;
    let mut status = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structure when it succeeds.
    let mode = unsafe {
        if libc::fstat(fd as i32, status.as_mut_ptr()) != 0 {
            return Errno::EBADF;
        }
        status.assume_init().st_mode
    };
    if !matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK) {
        // An address that no program can have.
        call.args[2] = NOWHERE;
        if call.perform(false) == Err(Errno::ENOTTY) {
            return Errno::ENOTTY;
        }
    }
    if let Ok(mut said) = SAID.lock()
        && said.len() < 64
        && said.insert(request)
    {
        tracing::warn!("ioctl {request:#x} is not supported: ENOTTY");
    }
    Errno::ENOTTY
}

/// A call whose result of `size` host bytes is written to the guest in another form.
fn narrow(
    ctx: &mut SyscallContext<'_>,
    mut call: HostCall,
    size: usize,
    convert: fn(&[u8]) -> Vec<u8>,
) -> Result<HostCall, Errno> {
    let guest = ctx.args[2];
    let mut host = vec![0u8; size];
    call.args[2] = host.as_mut_ptr() as u64;
    Ok(call.then(move |ctx, result| {
        let value = result?;
        ctx.write(guest, &convert(&host))?;
        Ok(value)
    }))
}

/// Size of the host's `struct __fat_dirent`.
const ENTRY: usize = 280;

/// The i386 form of each: number and offset have 32 bits, length and name follow at once.
fn narrow_entries(host: &[u8]) -> Vec<u8> {
    host.chunks(ENTRY).flat_map(|e| [&e[..4], &e[8..12], &e[16..276]].concat()).collect()
}

/// An i386 `struct ifreq`.
fn interface(ctx: &mut SyscallContext<'_>, mut call: HostCall) -> Result<HostCall, Errno> {
    let guest = ctx.args[2];
    let mut host = ctx.read_vec(guest, 32)?;
    host.resize(40, 0);
    call.args[2] = host.as_mut_ptr() as u64;
    Ok(call.then(move |ctx, result| {
        let value = result?;
        ctx.write(guest, &host[..32])?;
        Ok(value)
    }))
}

/// What the kernel may fill behind a pointer in an interface's request: no answer is as long.
const DATA: u64 = 4096;

/// A structure of `size` bytes: a name of sixteen bytes, a pointer to data, and what the two ABIs have alike.
fn with_data(
    ctx: &mut SyscallContext<'_>,
    mut call: HostCall,
    size: usize,
) -> Result<HostCall, Errno> {
    const NAME: usize = 16;
    let guest = ctx.args[2];
    let word = ctx.abi.word() as usize;
    let rest = size - NAME - 8;
    let narrow = ctx.read_vec(guest, NAME + word + rest.min(8))?;
    let mut host = vec![0u8; size];
    host[..NAME].copy_from_slice(&narrow[..NAME]);
    host[NAME..NAME + word].copy_from_slice(&narrow[NAME..NAME + word]);
    let behind = narrow.len() - NAME - word;
    host[NAME + 8..NAME + 8 + behind].copy_from_slice(&narrow[NAME + word..]);
    let mut pointer = [0; 8];
    pointer.copy_from_slice(&host[NAME..NAME + 8]);
    let at = u64::from_le_bytes(pointer);
    let len = pass::clamp(ctx.process.abi, at, DATA).unwrap_or(0);
    if at != 0 && ctx.prepare_write(at, len.max(1)).is_err() {
        host[NAME..NAME + 8].copy_from_slice(&NOWHERE.to_le_bytes());
    }
    call.args[2] = host.as_mut_ptr() as u64;
    Ok(call.then(move |ctx, result| {
        let value = result?;
        let back = [&host[..NAME], &narrow[NAME..NAME + word], &host[NAME + 8..NAME + 8 + behind]];
        ctx.write(guest, &back.concat())?;
        Ok(value)
    }))
}

/// `SIOCGIFCONF`: the structure points to an array of interfaces.
fn interface_list(ctx: &mut SyscallContext<'_>, mut call: HostCall) -> Result<HostCall, Errno> {
    const HOST: usize = 40;
    let guest = ctx.args[2];
    let size = if ctx.abi == Abi::I386 { 32 } else { HOST };
    let room = ctx.read_u32(guest)? as i32;
    let list = ctx.read_word(guest + ctx.abi.word())?;
    // With no list the kernel only tells the size.
    let count =
        if list == 0 { 0 } else { usize::try_from(room).map_err(|_| Errno::EINVAL)? / size };
    if count > 1 << 16 {
        return Err(Errno::EINVAL);
    }
    let mut entries = vec![0u8; count * HOST];
    let pointer = if list == 0 { 0 } else { entries.as_mut_ptr() as u64 };
    let mut header = Box::new([(count * HOST) as u64, pointer]);
    call.args[2] = header.as_mut_ptr() as u64;
    Ok(call.then(move |ctx, result| {
        let value = result?;
        let found = header[0] as u32 as usize / HOST;
        for (i, entry) in entries.chunks(HOST).take(found).enumerate() {
            ctx.write(list + (i * size) as u64, &entry[..size])?;
        }
        ctx.write_u32(guest, (found * size) as u32)?;
        Ok(value)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_listed_twice() {
        let all: BTreeSet<u32> = REQUESTS.iter().map(|(r, _)| *r).collect();
        assert_eq!(all.len(), REQUESTS.len());
    }

    #[test]
    fn known_requests_agree_with_the_c_library() {
        assert_eq!(argument(libc::TCGETS as u32), Some(Write(36)));
        assert_eq!(argument(libc::TIOCGWINSZ as u32), Some(Write(8)));
        assert_eq!(argument(libc::FIONREAD as u32), Some(Write(4)));
        assert_eq!(argument(libc::FIOCLEX as u32), Some(Value));
        assert_eq!(argument(libc::FS_IOC_GETFLAGS as u32), Some(Write(4)));
        // Encoded: TIOCGPTN and TCGETS2.
        assert_eq!(argument(0x8004_5430), Some(Write(4)));
        assert_eq!(argument(0x802c_542a), Some(Write(44)));
        // FS_IOC_FSGETXATTR, FICLONERANGE.
        assert_eq!(argument(0x801c_581f), Some(Write(28)));
        assert_eq!(argument(0x4020_940d), Some(Read(32)));
        // FS_IOC_RESVSP64, FDGETPRM, SIOCGARP.
        assert_eq!(argument(0x4030_582a), Some(Read(48)));
        assert_eq!(argument(0x8020_0204), Some(Write(32)));
        // VFAT_IOCTL_READDIR_BOTH.
        assert_eq!(argument(0x8230_7201), Some(Entries));
        assert_eq!(argument(0x8954), Some(Both(68)));
        assert_eq!(argument(0x894c), Some(Value), "SIOCGSKNS: the result is a descriptor");
        // SIOCGSTAMP_NEW, SIOCGSTAMPNS_NEW: times of 64 bits in either guest.
        assert_eq!(argument(0x8010_8906), Some(Write(16)));
        assert_eq!(argument(0x8010_8907), Some(Write(16)));
    }

    #[test]
    fn entries_of_vfat_directories_shrink_for_i386() {
        let mut host = vec![0u8; 2 * ENTRY];
        for (i, entry) in host.chunks_mut(ENTRY).enumerate() {
            entry[..8].copy_from_slice(&(7 + i as u64).to_le_bytes());
            entry[8..16].copy_from_slice(&(100 + i as u64).to_le_bytes());
            entry[16..18].copy_from_slice(&5u16.to_le_bytes());
            entry[18..23].copy_from_slice(b"A.TXT");
            entry[273] = b'z';
        }
        let guest = narrow_entries(&host);
        assert_eq!(guest.len() as u32, 0x8218_7201 >> 16 & 0x3fff, "the size the request names");
        for (i, entry) in guest.chunks(268).enumerate() {
            assert_eq!(entry[..8], [7 + i as u8, 0, 0, 0, 100 + i as u8, 0, 0, 0]);
            assert_eq!(entry[8..15], *b"\x05\0A.TXT");
            assert_eq!(entry[265], b'z', "the last byte of a name");
        }
    }

    #[test]
    fn requests_with_pointers_inside_are_refused() {
        // SG_IO, KVM_CREATE_VM, USBDEVFS_SUBMITURB, XFS_IOC_FSBULKSTAT,
        // FS_IOC_ENABLE_VERITY, EVIOCSFF, BTRFS_IOC_SNAP_CREATE_V2.
        let others = [0xc020_5865, 0x4080_6685, 0x4030_4580, 0x5000_9417];
        for request in [0x2285, 0xae01, 0x8038_550a].into_iter().chain(others) {
            assert_eq!(argument(request), None, "{request:#x}");
        }
    }
}
