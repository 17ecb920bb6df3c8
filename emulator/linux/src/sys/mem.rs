//! Memory calls.

use emu_mem::{Mapping, PAGE, Prot};

use crate::mm::{self, MapRequest, Place};
use crate::sys::{SyscallContext, fds};
use crate::{Abi, Errno, SysResult};

/// `MAP_32BIT`.
const MAP_32BIT: i32 = 0x40;
/// `PROT_GROWSDOWN` and `PROT_GROWSUP`.
const PROT_GROWSDOWN: u64 = 0x0100_0000;
const PROT_GROWSUP: u64 = 0x0200_0000;

/// Host flags that pass through as they are.
const PASSED_FLAGS: i32 = libc::MAP_NORESERVE
    | libc::MAP_POPULATE
    | libc::MAP_LOCKED
    | libc::MAP_NONBLOCK
    | libc::MAP_HUGETLB
    | libc::MAP_SYNC
    | (0x3f << libc::MAP_HUGE_SHIFT);

/// `mmap`. A 32-bit guest passes the address of its six arguments.
pub fn mmap(ctx: &mut SyscallContext<'_>) -> SysResult {
    if ctx.abi == Abi::X86_64 {
        return map(ctx, ctx.args);
    }
    let raw = ctx.read_vec(ctx.args[0], 24)?;
    let mut args = [0; 6];
    for (a, w) in args.iter_mut().zip(raw.chunks_exact(4)) {
        *a = u64::from(u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
    }
    map(ctx, args)
}

/// `mmap2`: the offset counts pages.
pub fn mmap2(ctx: &mut SyscallContext<'_>) -> SysResult {
    let mut args = ctx.args;
    args[5] = args[5].checked_mul(PAGE).ok_or(Errno::EOVERFLOW)?;
    map(ctx, args)
}

fn map(ctx: &mut SyscallContext<'_>, args: [u64; 6]) -> SysResult {
    let [addr, len, prot, flags, fd, offset] = args;
    let flags = flags as i32;
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if flags & libc::MAP_ANONYMOUS == 0 {
        fds::check_open(fd)?;
    }
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let shared = match flags & libc::MAP_TYPE {
        libc::MAP_PRIVATE => false,
        libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    let file = if flags & libc::MAP_ANONYMOUS != 0 { None } else { Some((fd as i32, offset)) };
    let place = if flags & libc::MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace(addr)
    } else if flags & libc::MAP_FIXED != 0 {
        Place::Fixed(addr)
    } else if flags & MAP_32BIT != 0 && ctx.process.abi == Abi::X86_64 {
        // A hint counts where it can be had, below 2 GiB.
        let free = |end| end <= 1 << 31 && ctx.machine.space().is_free(mm::page_down(addr), end);
        let end = addr.checked_add(len).and_then(mm::page_up);
        if addr != 0 && end.is_some_and(free) { Place::Hint(addr) } else { Place::Low }
    } else if addr != 0 {
        Place::Hint(addr)
    } else {
        Place::Anywhere
    };
    let mut host_flags = flags & PASSED_FLAGS;
    if flags & libc::MAP_TYPE == libc::MAP_SHARED_VALIDATE {
        host_flags |= libc::MAP_SHARED_VALIDATE;
    }
    let request = MapRequest {
        place,
        len,
        prot: guest_prot(ctx, prot),
        shared,
        file,
        host_flags,
        grows_down: flags & libc::MAP_GROWSDOWN != 0 && file.is_none(),
        name: if shared && file.is_none() { "/dev/zero (deleted)" } else { "" },
    };
    mm::map(ctx.process, ctx.machine, &request)
}

/// The guest's protection with what its personality adds.
fn guest_prot(ctx: &SyscallContext<'_>, prot: u64) -> Prot {
    let prot = Prot((prot & 7) as u8);
    if ctx.process.layout.read_implies_exec && prot.has(Prot::READ) {
        Prot(prot.0 | Prot::EXEC.0)
    } else {
        prot
    }
}

/// The page-aligned range of a call, or the error for a bad one.
fn range(ctx: &SyscallContext<'_>, addr: u64, len: u64, beyond: Errno) -> Result<u64, Errno> {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    mm::range_end(ctx.process, addr, len).ok_or(beyond)
}

/// [`range`] for a call that the host kernel makes: nothing of the host may lie in it. The guest has
/// not mapped all of a range that does not lie in one of its areas.
fn range_to_pass(
    ctx: &SyscallContext<'_>,
    addr: u64,
    len: u64,
    beyond: Errno,
) -> Result<u64, Errno> {
    let end = range(ctx, addr, len, beyond)?;
    if !ctx.process.abi.holds(addr, end - addr) {
        return Err(Errno::ENOMEM);
    }
    Ok(end)
}

/// `mprotect`.
pub fn mprotect(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [mut addr, len, prot, ..] = ctx.args;
    let grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if prot as u32 as u64 & !(15 | PROT_GROWSDOWN | PROT_GROWSUP) != 0
        || grows == PROT_GROWSDOWN | PROT_GROWSUP
        || !addr.is_multiple_of(PAGE)
    {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let end = range(ctx, addr, len, Errno::ENOMEM)?;
    if grows != 0 {
        let found = ctx.machine.space().find(addr).map(|(s, _, g)| (s, g.grows_down));
        match found {
            Some((start, true)) if grows == PROT_GROWSDOWN => addr = start,
            None => return Err(Errno::ENOMEM),
            _ => return Err(Errno::EINVAL),
        }
    }
    let prot = guest_prot(ctx, prot);
    mm::protect(ctx.process, ctx.machine, addr, end, prot)?;
    Ok(0)
}

/// `remap_file_pages`: another part of the file that is mapped shared at the address.
pub fn remap_file_pages(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [addr, len, prot, page, ..] = ctx.args;
    let (addr, len) = (addr & !(PAGE - 1), len & !(PAGE - 1));
    if prot != 0 || len == 0 || page.checked_add(len / PAGE).is_none() {
        return Err(Errno::EINVAL);
    }
    let end = range(ctx, addr, len, Errno::EINVAL)?;
    let parts = ctx.machine.space().overlapping(addr, end);
    let mut at = addr;
    for (start, stop, part) in &parts {
        let first = &parts[0].2;
        let alike = (part.dev, part.inode, part.prot) == (first.dev, first.inode, first.prot);
        if *start != at || !part.shared || !alike {
            return Err(Errno::EINVAL);
        }
        at = *stop;
    }
    let Some((_, _, mapping)) = parts.into_iter().next().filter(|_| at == end) else {
        return Err(Errno::EINVAL);
    };
    ctx.machine.release_code(addr, end);
    ctx.machine.invalidate(addr, end);
    ctx.host(libc::SYS_remap_file_pages, [addr, len, 0, page, ctx.args[4], 0])?;
    let offset = if mapping.inode == 0 { 0 } else { page.wrapping_mul(PAGE) };
    ctx.machine.space().insert(addr, end, Mapping { offset, ..mapping });
    Ok(0)
}

/// `munmap`.
pub fn munmap(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [addr, len, ..] = ctx.args;
    let abi = ctx.process.abi;
    let end = mm::page_up(len).and_then(|len| addr.checked_add(len));
    let end = end.filter(|&end| end <= abi.kernel_task_size()).ok_or(Errno::EINVAL)?;
    if !addr.is_multiple_of(PAGE) || len == 0 {
        return Err(Errno::EINVAL);
    }
    let end = end.min(abi.task_size());
    if addr < end {
        mm::unmap(ctx.process, ctx.machine, addr, end)?;
    }
    Ok(0)
}

/// `brk`: never fails; the result is the end of the heap, moved or not.
pub fn brk(ctx: &mut SyscallContext<'_>) -> SysResult {
    let new = ctx.args[0];
    let layout = ctx.process.layout;
    let unchanged = Ok(layout.brk);
    if new < layout.brk_start {
        return unchanged;
    }
    let (Some(old_end), Some(new_end)) = (mm::page_up(layout.brk), mm::page_up(new)) else {
        return unchanged;
    };
    if !ctx.process.abi.holds(layout.brk_start, new_end - layout.brk_start) {
        return unchanged;
    }
    if new_end < old_end {
        if mm::unmap(ctx.process, ctx.machine, new_end, old_end).is_err() {
            return unchanged;
        }
    } else if new_end > old_end {
        // Linux keeps a page between the heap and the next mapping.
        if !ctx.machine.space().is_free(old_end, new_end + PAGE) || !fits_data_limit(ctx, new) {
            return unchanged;
        }
        let request = MapRequest {
            name: "[heap]",
            ..MapRequest::anonymous(
                Place::FixedNoReplace(old_end),
                new_end - old_end,
                guest_prot(ctx, Prot::RW.0.into()),
            )
        };
        if mm::map(ctx.process, ctx.machine, &request).is_err() {
            return unchanged;
        }
    }
    ctx.process.layout.brk = new;
    Ok(new)
}

/// Whether a heap that ends at `end` respects RLIMIT_DATA.
fn fits_data_limit(ctx: &SyscallContext<'_>, end: u64) -> bool {
    let limit = ctx.process.limits.get(libc::RLIMIT_DATA).map_or(u64::MAX, |l| l.0);
    end - ctx.process.layout.brk_start <= limit
}

/// `mremap`.
pub fn mremap(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [old, old_len, new_len, flags, new_addr, _] = ctx.args;
    let flags = flags as i32;
    const KNOWN: i32 = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    let may_move = flags & libc::MREMAP_MAYMOVE != 0;
    let fixed = flags & libc::MREMAP_FIXED != 0;
    let keep = flags & libc::MREMAP_DONTUNMAP != 0;
    if flags & !KNOWN != 0
        || (fixed || keep) && !may_move
        || keep && old_len != new_len
        || !old.is_multiple_of(PAGE)
    {
        return Err(Errno::EINVAL);
    }
    let new_len = mm::page_up(new_len).filter(|&n| n != 0).ok_or(Errno::EINVAL)?;
    let old_end = mm::range_end(ctx.process, old, old_len).ok_or(Errno::EFAULT)?;
    let old_len = old_end - old;
    if fixed {
        let new_end = mm::range_end(ctx.process, new_addr, new_len).ok_or(Errno::EINVAL)?;
        if !new_addr.is_multiple_of(PAGE) || new_addr < old_end && old < new_end {
            return Err(Errno::EINVAL);
        }
        if !ctx.process.abi.holds(new_addr, new_len) {
            return Err(Errno::ENOMEM);
        }
    }
    let found = ctx.machine.space().find(old).map(|(s, e, g)| (s, e, g.clone()));
    let (start, end, mut mapping) = found.ok_or(Errno::EFAULT)?;
    if old_end > end && !fixed || old_len == 0 && !mapping.shared {
        return Err(if old_len == 0 { Errno::EINVAL } else { Errno::EFAULT });
    }
    if mapping.inode != 0 {
        mapping.offset += old - start;
    }
    let (p, m) = (&mut *ctx.process, &mut *ctx.machine);
    if !fixed && !keep && old_len != 0 {
        if new_len <= old_len {
            if new_len < old_len {
                mm::unmap(p, m, old + new_len, old_end)?;
            }
            return Ok(old);
        }
        if p.abi.holds(old, new_len)
            && old_end == end
            && m.space().is_free(old_end, old + new_len)
            && mm::move_host(m, old, old_len, new_len, None, keep).is_ok()
        {
            let prot = mapping.prot;
            m.space().insert(old, old + new_len, mapping);
            mm::watch_aliases(m, old, old + new_len, prot);
            return Ok(old);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
    }
    let target = if fixed {
        mm::unmap(p, m, new_addr, new_addr + new_len)?;
        new_addr
    } else {
        let wanted = new_addr & !(PAGE - 1);
        let hinted = keep
            && wanted >= p.abi.min_address()
            && p.abi.holds(wanted, new_len)
            && m.space().is_free(wanted, wanted + new_len);
        if hinted { wanted } else { mm::find_free(p, m, new_len)? }
    };
    if fixed && new_len < old_len {
        mm::unmap(p, m, old + new_len, old_end)?;
    }
    let moved = old_len.min(new_len);
    m.invalidate(old, old + moved);
    mm::move_host(m, old, moved, new_len, Some(target), keep)?;
    if !keep && moved != 0 {
        mm::forget(p, m, old, old + moved);
    }
    let prot = mapping.prot;
    m.space().insert(target, target + new_len, mapping);
    mm::watch_aliases(m, target, target + new_len, prot);
    Ok(target)
}

/// `msync`.
pub fn msync(ctx: &mut SyscallContext<'_>) -> SysResult {
    pass_range(ctx, libc::SYS_msync, Errno::ENOMEM)
}

/// `mincore`.
pub fn mincore(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [addr, len, vec, ..] = ctx.args;
    range_to_pass(ctx, addr, len, Errno::ENOMEM)?;
    ctx.prepare_write(vec, len.div_ceil(PAGE))?;
    ctx.host(libc::SYS_mincore, ctx.args)
}

/// `madvise`.
pub fn madvise(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [addr, len, advice, ..] = ctx.args;
    let end = range_to_pass(ctx, addr, len, Errno::EINVAL)?;
    // What changes contents changes code.
    let discards = matches!(
        advice as i32,
        libc::MADV_DONTNEED | libc::MADV_FREE | libc::MADV_REMOVE | libc::MADV_WIPEONFORK
    );
    if discards && end > addr {
        ctx.machine.release_code(addr, end);
        ctx.machine.invalidate(addr, end);
    }
    ctx.host(libc::SYS_madvise, ctx.args)
}

/// A call on a range that the host kernel can be given as it is.
fn pass_range(ctx: &mut SyscallContext<'_>, number: i64, beyond: Errno) -> SysResult {
    range_to_pass(ctx, ctx.args[0], ctx.args[1], beyond)?;
    ctx.host(number, ctx.args)
}

/// `shmat`.
pub fn shmat(ctx: &mut SyscallContext<'_>) -> SysResult {
    let [id, addr, flags, ..] = ctx.args;
    let flags = flags as i32;
    const SHM_RDONLY: i32 = 0o10000;
    const SHM_RND: i32 = 0o20000;
    const SHM_REMAP: i32 = 0o40000;
    const SHM_EXEC: i32 = 0o100000;
    let addr = if flags & SHM_RND != 0 { addr & !(PAGE - 1) } else { addr };
    let len = shm_size(id as i32)?;
    let mut prot = if flags & SHM_RDONLY != 0 { Prot::READ } else { Prot::RW };
    if flags & SHM_EXEC != 0 {
        prot = Prot(prot.0 | Prot::EXEC.0);
    }
    let place = match addr {
        0 => Place::Anywhere,
        a if flags & SHM_REMAP != 0 => Place::Fixed(a),
        a => Place::FixedNoReplace(a),
    };
    // Reserve, then let the segment replace the reservation.
    let request = MapRequest {
        shared: true,
        name: "/SYSV (deleted)",
        ..MapRequest::anonymous(place, len, prot)
    };
    let at = mm::map(ctx.process, ctx.machine, &request)
        .map_err(|e| if e == Errno::EEXIST { Errno::EINVAL } else { e })?;
    let host_flags = (flags & SHM_RDONLY) | SHM_REMAP;
    let r = ctx.host(libc::SYS_shmat, [id, at, host_flags as u64, 0, 0, 0]);
    if let Err(e) = r {
        mm::unmap(ctx.process, ctx.machine, at, at + mm::page_up(len).unwrap_or(len))?;
        return Err(e);
    }
    Ok(at)
}

fn shm_size(id: i32) -> Result<u64, Errno> {
    // SAFETY: plain data, filled by the call.
    unsafe {
        let mut ds: libc::shmid_ds = core::mem::zeroed();
        crate::errno::check(i64::from(libc::shmctl(id, libc::IPC_STAT, &mut ds)))?;
        Ok(ds.shm_segsz as u64)
    }
}

/// `shmdt`.
pub fn shmdt(ctx: &mut SyscallContext<'_>) -> SysResult {
    let addr = ctx.args[0];
    let found = ctx
        .machine
        .space()
        .find(addr)
        .filter(|(s, _, g)| *s == addr && g.name.starts_with("/SYSV"))
        .map(|(_, e, _)| e);
    let end = found.ok_or(Errno::EINVAL)?;
    mm::unmap(ctx.process, ctx.machine, addr, end)?;
    Ok(0)
}

/// `mlockall`: locks what the guest has; later mappings are left to its own calls, since the
/// host's must stay unlocked.
pub fn mlockall(ctx: &mut SyscallContext<'_>) -> SysResult {
    const KNOWN: u64 = 7;
    if ctx.args[0] & !KNOWN != 0 || ctx.args[0] & 3 == 0 {
        return Err(Errno::EINVAL);
    }
    for_all(ctx, libc::SYS_mlock)
}

/// `munlockall`.
pub fn munlockall(ctx: &mut SyscallContext<'_>) -> SysResult {
    for_all(ctx, libc::SYS_munlock)
}

fn for_all(ctx: &mut SyscallContext<'_>, number: i64) -> SysResult {
    let all: Vec<(u64, u64)> = ctx
        .machine
        .space()
        .iter()
        .filter(|(_, _, g)| g.prot != Prot::NONE)
        .map(|(s, e, _)| (s, e))
        .collect();
    for (s, e) in all {
        ctx.host(number, [s, e - s, 0, 0, 0, 0])?;
    }
    Ok(0)
}
