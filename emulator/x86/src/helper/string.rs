//! Repeated string instructions.
//!
//! Arguments of all of them: element bytes, bytes of the index registers, base of the source
//! segment, mode (bit 0: `repne`; bit 1: linear addresses are 32 bits). On a fault the registers
//! show exactly the elements done, as on the processor.

use emu_cpu::{CpuHeader, Reporter, may_bulk, report_bulk, write_guest};
use emu_ir::{FlagKind, Ty};
use emu_mem::access::{self, Scalar};
use emu_mem::{MemFault, bulk};

use super::x86;
use crate::X86Cpu;
use crate::state::{eflags, gpr};

/// The parameters of one repeated instruction.
#[derive(Clone, Copy)]
struct Rep {
    size: u64,
    /// Bits of an index register that count.
    mask: u64,
    address_bytes: u64,
    source_base: u64,
    linear_mask: u64,
    until_equal: bool,
    down: bool,
}

impl Rep {
    fn new(cpu: &X86Cpu, size: u64, address_bytes: u64, source_base: u64, mode: u64) -> Rep {
        Rep {
            size,
            mask: if address_bytes == 8 { u64::MAX } else { (1 << (8 * address_bytes)) - 1 },
            address_bytes,
            source_base,
            linear_mask: if mode & 2 != 0 { 0xffff_ffff } else { u64::MAX },
            until_equal: mode & 1 != 0,
            down: cpu.sys_flags & eflags::DF != 0,
        }
    }

    fn ty(&self) -> Ty {
        Ty::int(self.size as u32).unwrap_or(Ty::I8)
    }

    fn count(&self, cpu: &X86Cpu) -> u64 {
        cpu.gpr[gpr::RCX] & self.mask
    }

    fn source(&self, cpu: &X86Cpu) -> u64 {
        self.source_base.wrapping_add(cpu.gpr[gpr::RSI] & self.mask) & self.linear_mask
    }

    fn destination(&self, cpu: &X86Cpu) -> u64 {
        cpu.gpr[gpr::RDI] & self.mask & self.linear_mask
    }

    /// Moves index register `n` on by `elements`.
    fn advance(&self, cpu: &mut X86Cpu, n: usize, elements: u64) {
        let by = elements.wrapping_mul(self.size);
        let old = cpu.gpr[n];
        let new = if self.down { old.wrapping_sub(by) } else { old.wrapping_add(by) };
        self.set(cpu, n, new);
    }

    /// Does something at the offsets of `n` elements, up to one that fails; how many were done.
    #[inline(always)]
    fn each(
        &self,
        n: u64,
        mut element: impl FnMut(u64) -> Result<(), MemFault>,
    ) -> (u64, Result<(), MemFault>) {
        let step = if self.down { self.size.wrapping_neg() } else { self.size };
        let mut offset = 0u64;
        for done in 0..n {
            if let Err(fault) = element(offset) {
                return (done, Err(fault));
            }
            offset = offset.wrapping_add(step);
        }
        (n, Ok(()))
    }

    fn take(&self, cpu: &mut X86Cpu, elements: u64) {
        let left = cpu.gpr[gpr::RCX].wrapping_sub(elements);
        self.set(cpu, gpr::RCX, left);
    }

    /// Writes a register at the address width: 32 bits zero-extend, 16 bits leave the rest.
    fn set(&self, cpu: &mut X86Cpu, n: usize, v: u64) {
        cpu.gpr[n] = match self.address_bytes {
            2 => cpu.gpr[n] & !0xffff | v & 0xffff,
            _ => v & self.mask,
        };
    }

    /// Whether `count` elements from linear address `at`, reached through index register `n`, lie
    /// in one piece without wrapping.
    fn contiguous(&self, cpu: &X86Cpu, n: usize, at: u64, count: u64) -> bool {
        let Some(bytes) = count.checked_mul(self.size) else { return false };
        let index = cpu.gpr[n] & self.mask;
        let fits = |offset: u64, limit: u64| {
            if self.down {
                offset >= bytes && offset <= limit - (self.size - 1)
            } else {
                offset.checked_add(bytes).is_some_and(|end| end <= limit)
            }
        };
        fits(index, self.mask) && fits(at, self.linear_mask)
    }
}

/// What the elements are.
trait Element: Scalar + Into<u64> {
    fn low(v: u64) -> Self;
}

macro_rules! elements {
    ($($ty:ty)*) => {$(
        impl Element for $ty {
            fn low(v: u64) -> $ty {
                v as $ty
            }
        }
    )*};
}
elements!(u8 u16 u32 u64);

/// Calls a function for the type of the elements.
macro_rules! by_size {
    ($f:ident($r:expr $(, $arg:expr)*)) => {
        match $r.size {
            1 => $f::<u8>($r $(, $arg)*),
            2 => $f::<u16>($r $(, $arg)*),
            4 => $f::<u32>($r $(, $arg)*),
            _ => $f::<u64>($r $(, $arg)*),
        }
    };
}

/// Accesses the elements, and reports that if somebody wants to know.
#[derive(Clone, Copy)]
struct Memory(Option<Reporter<'static>>);

impl Memory {
    fn new(cpu: &mut X86Cpu) -> Memory {
        Memory(cpu.hdr.mem_hook.map(|watch| watch.reporter(&mut cpu.hdr)))
    }

    /// How many of `count` elements may be done before the registers show it: all, if they are in one
    /// piece and nobody looks.
    fn unseen(self, count: u64, contiguous: impl FnOnce(u64) -> bool) -> u64 {
        let seen = self.0.is_some_and(|reporter| reporter.shows_registers());
        if !seen && contiguous(count) { count } else { 1 }
    }

    #[inline(always)]
    fn load<T: Element>(self, cpu: &mut X86Cpu, at: u64) -> Result<u64, MemFault> {
        let v: T = match self.0 {
            None => access::load(at)?,
            Some(reporter) => reporter.load(&mut cpu.hdr, at)?,
        };
        Ok(v.into())
    }

    #[inline(always)]
    fn store<T: Element>(self, cpu: &mut X86Cpu, at: u64, v: u64) -> Result<(), MemFault> {
        match self.0 {
            // All or nothing, at the border of two pages too.
            None => write_guest(&mut cpu.hdr, at, &v.to_le_bytes()[..size_of::<T>()]),
            Some(reporter) => reporter.store(&mut cpu.hdr, at, T::low(v)),
        }
    }
}

/// Runs `body`; a failed access becomes the trap.
fn run(cpu: &mut X86Cpu, r: Rep, body: impl FnOnce(&mut X86Cpu) -> Result<(), MemFault>) -> u64 {
    // ECX as the counter zero-extends even when it is 0.
    r.take(cpu, 0);
    if let Err(fault) = body(cpu) {
        cpu.hdr.raise_fault(fault);
    }
    0
}

/// `rep movs`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn movs(
    cpu: *mut CpuHeader,
    size: u64,
    ab: u64,
    base: u64,
    mode: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let r = Rep::new(cpu, size, ab, base, mode);
    run(cpu, r, |cpu| {
        let count = r.count(cpu);
        let (src, dst) = (r.source(cpu), r.destination(cpu));
        if may_bulk(&cpu.hdr)
            && r.contiguous(cpu, gpr::RSI, src, count)
            && r.contiguous(cpu, gpr::RDI, dst, count)
        {
            let p = bulk::movs(r.size as u32, dst, src, count, r.down);
            report_bulk(&mut cpu.hdr, count - p.left, count - p.left);
            if count != 0 {
                r.advance(cpu, gpr::RSI, count - p.left);
                r.advance(cpu, gpr::RDI, count - p.left);
                r.take(cpu, count - p.left);
            }
            return p.fault.map_or(Ok(()), Err);
        }
        by_size!(move_each(r, cpu))
    })
}

fn move_each<T: Element>(r: Rep, cpu: &mut X86Cpu) -> Result<(), MemFault> {
    let memory = Memory::new(cpu);
    while r.count(cpu) != 0 {
        let (src, dst) = (r.source(cpu), r.destination(cpu));
        let n = memory.unseen(r.count(cpu), |n| {
            r.contiguous(cpu, gpr::RSI, src, n) && r.contiguous(cpu, gpr::RDI, dst, n)
        });
        let (done, result) = r.each(n, |offset| {
            let v = memory.load::<T>(cpu, src.wrapping_add(offset))?;
            memory.store::<T>(cpu, dst.wrapping_add(offset), v)
        });
        r.advance(cpu, gpr::RSI, done);
        r.advance(cpu, gpr::RDI, done);
        r.take(cpu, done);
        result?;
    }
    Ok(())
}

/// `rep stos`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn stos(
    cpu: *mut CpuHeader,
    size: u64,
    ab: u64,
    base: u64,
    mode: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let r = Rep::new(cpu, size, ab, base, mode);
    run(cpu, r, |cpu| {
        let count = r.count(cpu);
        let dst = r.destination(cpu);
        let value = cpu.gpr[gpr::RAX];
        if may_bulk(&cpu.hdr) && r.contiguous(cpu, gpr::RDI, dst, count) {
            let p = bulk::stos(r.size as u32, dst, value, count, r.down);
            report_bulk(&mut cpu.hdr, 0, count - p.left);
            if count != 0 {
                r.advance(cpu, gpr::RDI, count - p.left);
                r.take(cpu, count - p.left);
            }
            return p.fault.map_or(Ok(()), Err);
        }
        by_size!(store_each(r, cpu, value))
    })
}

fn store_each<T: Element>(r: Rep, cpu: &mut X86Cpu, value: u64) -> Result<(), MemFault> {
    let memory = Memory::new(cpu);
    while r.count(cpu) != 0 {
        let dst = r.destination(cpu);
        let n = memory.unseen(r.count(cpu), |n| r.contiguous(cpu, gpr::RDI, dst, n));
        let (done, result) =
            r.each(n, |offset| memory.store::<T>(cpu, dst.wrapping_add(offset), value));
        r.advance(cpu, gpr::RDI, done);
        r.take(cpu, done);
        result?;
    }
    Ok(())
}

/// `rep lods`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn lods(
    cpu: *mut CpuHeader,
    size: u64,
    ab: u64,
    base: u64,
    mode: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let r = Rep::new(cpu, size, ab, base, mode);
    run(cpu, r, |cpu| by_size!(load_each(r, cpu)))
}

fn load_each<T: Element>(r: Rep, cpu: &mut X86Cpu) -> Result<(), MemFault> {
    let memory = Memory::new(cpu);
    while r.count(cpu) != 0 {
        let v = memory.load::<T>(cpu, r.source(cpu))?;
        let rax = cpu.gpr[gpr::RAX];
        cpu.gpr[gpr::RAX] = match r.size {
            1 => rax & !0xff | v,
            2 => rax & !0xffff | v,
            _ => v,
        };
        r.advance(cpu, gpr::RSI, 1);
        r.take(cpu, 1);
    }
    Ok(())
}

/// The common part of `cmps` and `scas`: compares until the condition fails or the count is used
/// up. `next` loads a pair and moves the index registers on.
fn compare(
    cpu: &mut X86Cpu,
    r: Rep,
    mut next: impl FnMut(&mut X86Cpu) -> Result<(u64, u64), MemFault>,
) -> Result<(), MemFault> {
    let mut last = None;
    while r.count(cpu) != 0 {
        // A fault keeps the progress, but not the flags: they are those of before.
        let (a, b) = next(cpu)?;
        r.take(cpu, 1);
        last = Some((a, b));
        if (a == b) == r.until_equal {
            break;
        }
    }
    if let Some((a, b)) = last {
        cpu.hdr.define_flags(FlagKind::Sub, r.ty(), a, b, 0);
    }
    Ok(())
}

/// `repe cmps`, `repne cmps`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn cmps(
    cpu: *mut CpuHeader,
    size: u64,
    ab: u64,
    base: u64,
    mode: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let r = Rep::new(cpu, size, ab, base, mode);
    run(cpu, r, |cpu| by_size!(compare_each(r, cpu)))
}

fn compare_each<T: Element>(r: Rep, cpu: &mut X86Cpu) -> Result<(), MemFault> {
    let memory = Memory::new(cpu);
    compare(cpu, r, |cpu| {
        let b = memory.load::<T>(cpu, r.destination(cpu))?;
        let a = memory.load::<T>(cpu, r.source(cpu))?;
        r.advance(cpu, gpr::RSI, 1);
        r.advance(cpu, gpr::RDI, 1);
        Ok((a, b))
    })
}

/// `repe scas`, `repne scas`.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn scas(
    cpu: *mut CpuHeader,
    size: u64,
    ab: u64,
    base: u64,
    mode: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let r = Rep::new(cpu, size, ab, base, mode);
    run(cpu, r, |cpu| by_size!(scan_each(r, cpu)))
}

fn scan_each<T: Element>(r: Rep, cpu: &mut X86Cpu) -> Result<(), MemFault> {
    let memory = Memory::new(cpu);
    let a = cpu.gpr[gpr::RAX] & r.ty().mask();
    compare(cpu, r, |cpu| {
        let b = memory.load::<T>(cpu, r.destination(cpu))?;
        r.advance(cpu, gpr::RDI, 1);
        Ok((a, b))
    })
}
