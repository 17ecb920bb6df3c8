//! Calls about the machine and the kernel.

use crate::abi::structs::SYSINFO;
use crate::sys::SyscallContext;
use crate::sys::host_call::syscall;
use crate::{Abi, Errno, SysResult};

/// `sysinfo`: a 32-bit guest gets sizes in units large enough to fit.
pub fn sysinfo(ctx: &mut SyscallContext<'_>) -> SysResult {
    let mut host = [0u64; 14];
    syscall(libc::SYS_sysinfo, &[host.as_mut_ptr() as u64, 0, 0, 0, 0, 0], false)?;
    // Words 4 to 9, 11 and 12 are sizes; the unit is the low half of word 13.
    const SIZES: [usize; 8] = [4, 5, 6, 7, 8, 9, 11, 12];
    if ctx.abi == Abi::I386 && (host[4] >> 32 != 0 || host[8] >> 32 != 0) {
        let mut unit = host[13] as u32;
        let mut shift = 0;
        while u64::from(unit) < emu_mem::PAGE {
            unit <<= 1;
            shift += 1;
        }
        for i in SIZES {
            host[i] >>= shift;
        }
        host[13] = u64::from(unit);
    }
    let raw: Vec<u8> = host.iter().flat_map(|w| w.to_le_bytes()).collect();
    ctx.write_struct(ctx.args[0], &SYSINFO, &raw)?;
    Ok(0)
}

/// `sysfs`: what its arguments are depends on the first.
pub fn sysfs(ctx: &mut SyscallContext<'_>) -> SysResult {
    match ctx.int(0) {
        1 => ctx.check_range(ctx.args[1], 1)?,
        // The buffer's size is up to the caller; names of file systems are short.
        2 => ctx.prepare_write(ctx.args[2], 64)?,
        3 => {}
        _ => return Err(Errno::EINVAL),
    }
    ctx.host(libc::SYS_sysfs, ctx.args)
}

/// `nice`.
pub fn nice(ctx: &mut SyscallContext<'_>) -> SysResult {
    let increment = ctx.int(0).clamp(-40, 40);
    let process = [libc::PRIO_PROCESS as u64, 0, 0, 0, 0, 0];
    // The kernel's getpriority counts from 40 down to 1.
    let now = 20 - syscall(libc::SYS_getpriority, &process, false)? as i32;
    let wanted = (now + increment).clamp(-20, 19);
    let args = [libc::PRIO_PROCESS as u64, 0, wanted as u64, 0, 0, 0];
    match syscall(libc::SYS_setpriority, &args, false) {
        Err(Errno::EACCES) => Err(Errno::EPERM),
        other => other,
    }
}

/// The five fields of the first `uname` structures, cut to `width` bytes with their NUL.
fn short_names(width: usize) -> Result<Vec<u8>, Errno> {
    let mut host = [0u8; 65 * 6];
    syscall(libc::SYS_uname, &[host.as_mut_ptr() as u64, 0, 0, 0, 0, 0], false)?;
    let mut out = Vec::with_capacity(5 * width);
    for field in host.chunks(65).take(5) {
        out.extend_from_slice(&field[..width - 1]);
        out.push(0);
    }
    Ok(out)
}

/// `olduname`: five fields of 65 bytes.
pub fn olduname(ctx: &mut SyscallContext<'_>) -> SysResult {
    let names = short_names(65)?;
    ctx.write(ctx.args[0], &names)?;
    Ok(0)
}

/// `oldolduname`: five fields of 9 bytes.
pub fn oldolduname(ctx: &mut SyscallContext<'_>) -> SysResult {
    let names = short_names(9)?;
    ctx.write(ctx.args[0], &names)?;
    Ok(0)
}
