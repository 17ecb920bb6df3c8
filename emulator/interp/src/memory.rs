//! Guest memory accesses by IR type.

use emu_ir::{RmwKind, Ty};
use emu_mem::access::{self, Atomic};
use emu_mem::{MemFault, PAGE};

use crate::Value;

/// Loads an integer.
#[inline(always)]
pub fn load_int(ty: Ty, addr: u64) -> Result<u64, MemFault> {
    match ty {
        Ty::I8 => access::load::<u8>(addr).map(u64::from),
        Ty::I16 => access::load::<u16>(addr).map(u64::from),
        Ty::I32 => access::load::<u32>(addr).map(u64::from),
        _ => access::load::<u64>(addr),
    }
}

/// Stores an integer.
#[inline(always)]
pub fn store_int(ty: Ty, addr: u64, x: u64) -> Result<(), MemFault> {
    match ty {
        Ty::I8 => access::store(addr, x as u8),
        Ty::I16 => access::store(addr, x as u16),
        Ty::I32 => access::store(addr, x as u32),
        _ => access::store(addr, x),
    }
}

/// Loads a vector.
#[inline(never)]
pub fn load_vector(ty: Ty, addr: u64) -> Result<Value, MemFault> {
    let low = access::load::<u128>(addr)?;
    if ty == Ty::V128 {
        return Ok(Value::from_u128(low));
    }
    Ok(Value::from_halves(low, access::load::<u128>(addr.wrapping_add(16))?))
}

/// Stores a vector; when it faults nothing was written.
#[inline(never)]
pub fn store_vector(ty: Ty, addr: u64, v: &Value) -> Result<(), MemFault> {
    if ty == Ty::V128 {
        return access::store(addr, v.u128());
    }
    // Within one page either both halves fault or none.
    if crosses_page(addr, 32) {
        probe_write(ty, addr)?;
    }
    access::store(addr, v.u128())?;
    access::store(addr.wrapping_add(16), v.high())
}

/// Checks that `ty` bytes at `addr` can be written.
#[inline(never)]
pub fn probe_write(ty: Ty, addr: u64) -> Result<(), MemFault> {
    let size = u64::from(ty.bytes());
    access::probe_write(addr)?;
    if crosses_page(addr, size) {
        // The first byte of the second page, as the processor reports it.
        access::probe_write(addr.wrapping_add(size - 1) & !(PAGE - 1))?;
    }
    Ok(())
}

fn crosses_page(addr: u64, size: u64) -> bool {
    addr % PAGE > PAGE - size
}

/// An integer type with atomics, as the interpreter holds it.
pub trait Word: Atomic + PartialEq {
    /// From the container.
    fn from_u64(x: u64) -> Self;
    /// To the container.
    fn to_u64(self) -> u64;
}

macro_rules! word {
    ($($ty:ty)*) => {$(
        impl Word for $ty {
            #[inline(always)]
            fn from_u64(x: u64) -> $ty {
                x as $ty
            }
            #[inline(always)]
            fn to_u64(self) -> u64 {
                u64::from(self)
            }
        }
    )*};
}
word!(u8 u16 u32 u64);

/// An atomic read-modify-write; the old value.
#[inline(never)]
pub fn rmw(kind: RmwKind, ty: Ty, addr: u64, b: u64) -> Result<u64, MemFault> {
    match ty {
        Ty::I8 => rmw_word::<u8>(kind, addr, b),
        Ty::I16 => rmw_word::<u16>(kind, addr, b),
        Ty::I32 => rmw_word::<u32>(kind, addr, b),
        _ => rmw_word::<u64>(kind, addr, b),
    }
}

fn rmw_word<T: Word>(kind: RmwKind, addr: u64, b: u64) -> Result<u64, MemFault> {
    let old = match kind {
        RmwKind::Xchg => T::swap(addr, T::from_u64(b))?,
        RmwKind::Add => T::add(addr, T::from_u64(b))?,
        RmwKind::Sub => T::add(addr, T::from_u64(b.wrapping_neg()))?,
        RmwKind::And => retry::<T>(addr, |old| old & b)?,
        RmwKind::Or => retry::<T>(addr, |old| old | b)?,
        RmwKind::Xor => retry::<T>(addr, |old| old ^ b)?,
    };
    Ok(old.to_u64())
}

fn retry<T: Word>(addr: u64, f: impl Fn(u64) -> u64) -> Result<T, MemFault> {
    // To the guest the whole operation is a write.
    let mut old = T::load(addr).map_err(|e| MemFault { write: true, ..e })?;
    loop {
        let seen = T::cas(addr, old, T::from_u64(f(old.to_u64())))?;
        if seen == old {
            return Ok(old);
        }
        old = seen;
    }
}

/// An atomic compare and swap; the old value.
#[inline(never)]
pub fn cas(ty: Ty, addr: u64, expected: &Value, new: &Value) -> Result<Value, MemFault> {
    fn narrow<T: Word>(addr: u64, expected: &Value, new: &Value) -> Result<Value, MemFault> {
        let old = T::cas(addr, T::from_u64(expected.u64()), T::from_u64(new.u64()))?;
        Ok(Value::from_u64(old.to_u64()))
    }
    match ty {
        Ty::I8 => narrow::<u8>(addr, expected, new),
        Ty::I16 => narrow::<u16>(addr, expected, new),
        Ty::I32 => narrow::<u32>(addr, expected, new),
        Ty::I64 => narrow::<u64>(addr, expected, new),
        _ => access::cas128(addr, expected.u128(), new.u128()).map(Value::from_u128),
    }
}
