//! Loads and stores at guest addresses that report faults.
//!
//! Every access is one inline instruction with an entry in the section `emu_ex_table`: when it
//! faults, [`crate::host_fault`] continues behind it with r11 set to a [`FaultKind`].

use core::arch::asm;

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FaultKind {
    /// Nothing mapped there, or access not permitted.
    Page = 1,
    /// Beyond the end of the mapped file.
    Bus = 2,
    /// Non-canonical address.
    NonCanonical = 3,
}

/// A failed access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} of guest address {addr:#x} failed ({kind:?})", if *.write { "write" } else { "read" })]
pub struct MemFault {
    /// The address the processor reported (within the access, not always its first byte).
    pub addr: u64,
    /// Whether it was a store.
    pub write: bool,
    /// Why.
    pub kind: FaultKind,
}

#[cold]
pub(crate) fn fault(code: u64, addr: u64, write: bool) -> MemFault {
    let kind = match code {
        2 => FaultKind::Bus,
        3 => FaultKind::NonCanonical,
        _ => FaultKind::Page,
    };
    let addr =
        if kind == FaultKind::NonCanonical { addr } else { crate::host_fault::last_address() };
    MemFault { addr, write, kind }
}

/// One exception-table entry: (faulting instruction, continuation), both relative to themselves.
/// The section is marked to be kept, because nothing refers to it by name where linkers look.
macro_rules! ex {
    () => {
        ".pushsection emu_ex_table, \"aR\"\n.balign 4\n.long 2b - .\n.long 3b - .\n.popsection"
    };
}

pub(crate) use ex;

/// A type guest memory is accessed as.
pub trait Scalar: Copy + Default + private::Sealed {
    /// Loads from `addr`.
    fn load(addr: u64) -> Result<Self, MemFault>;
    /// Stores to `addr`.
    fn store(addr: u64, value: Self) -> Result<(), MemFault>;
}

mod private {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for u128 {}
}

macro_rules! scalar {
    ($ty:ty, $class:ident, $load:literal, $store:literal) => {
        impl Scalar for $ty {
            #[inline(always)]
            fn load(addr: u64) -> Result<$ty, MemFault> {
                let value: $ty;
                let err: u64;
                // SAFETY: reads guest memory only, which no Rust reference covers; a bad address
                // continues at 3 with r11 set.
                unsafe {
                    asm!("xor r11d, r11d", concat!("2: ", $load), "3:", ex!(),
                        a = in(reg) addr, v = out($class) value, out("r11") err,
                        options(nostack, preserves_flags));
                }
                if err == 0 { Ok(value) } else { Err(fault(err, addr, false)) }
            }

            #[inline(always)]
            fn store(addr: u64, value: $ty) -> Result<(), MemFault> {
                let err: u64;
                // SAFETY: writes guest memory only, which no Rust reference covers; a bad address
                // continues at 3 with r11 set.
                unsafe {
                    asm!("xor r11d, r11d", concat!("2: ", $store), "3:", ex!(),
                        a = in(reg) addr, v = in($class) value, out("r11") err,
                        options(nostack));
                }
                if err == 0 { Ok(()) } else { Err(fault(err, addr, true)) }
            }
        }
    };
}

scalar!(u8, reg_byte, "mov {v}, [{a}]", "mov [{a}], {v}");
scalar!(u16, reg, "mov {v:x}, [{a}]", "mov [{a}], {v:x}");
scalar!(u32, reg, "mov {v:e}, [{a}]", "mov [{a}], {v:e}");
scalar!(u64, reg, "mov {v:r}, [{a}]", "mov [{a}], {v:r}");

impl Scalar for u128 {
    #[inline(always)]
    fn load(addr: u64) -> Result<u128, MemFault> {
        let value: core::arch::x86_64::__m128i;
        let err: u64;
        // SAFETY: as for the integer loads; movups has no alignment requirement.
        unsafe {
            asm!("xor r11d, r11d", "2: movups {v}, [{a}]", "3:", ex!(),
                a = in(reg) addr, v = out(xmm_reg) value, out("r11") err,
                options(nostack));
        }
        if err == 0 {
            // SAFETY: both are 16 plain bytes.
            Ok(unsafe { core::mem::transmute::<core::arch::x86_64::__m128i, u128>(value) })
        } else {
            Err(fault(err, addr, false))
        }
    }

    #[inline(always)]
    fn store(addr: u64, value: u128) -> Result<(), MemFault> {
        // SAFETY: both are 16 plain bytes.
        let value = unsafe { core::mem::transmute::<u128, core::arch::x86_64::__m128i>(value) };
        let err: u64;
        // SAFETY: as for the integer stores; movups has no alignment requirement.
        unsafe {
            asm!("xor r11d, r11d", "2: movups [{a}], {v}", "3:", ex!(),
                a = in(reg) addr, v = in(xmm_reg) value, out("r11") err,
                options(nostack));
        }
        if err == 0 { Ok(()) } else { Err(fault(err, addr, true)) }
    }
}

/// Loads a scalar from guest address `addr`.
#[inline(always)]
pub fn load<T: Scalar>(addr: u64) -> Result<T, MemFault> {
    T::load(addr)
}

/// Stores a scalar to guest address `addr`.
#[inline(always)]
pub fn store<T: Scalar>(addr: u64, value: T) -> Result<(), MemFault> {
    T::store(addr, value)
}

/// Copies guest memory into `dst`. On a fault the bytes before it have been copied; the error's
/// address is the first that could not be read.
pub fn read(addr: u64, dst: &mut [u8]) -> Result<(), MemFault> {
    // A word, as plugins read them, is quicker without a loop.
    if let Ok(dst) = <&mut [u8; 8]>::try_from(&mut *dst)
        && let Ok(word) = load::<u64>(addr)
    {
        *dst = word.to_ne_bytes();
        return Ok(());
    }
    let (err, left) = copy(addr, dst.as_mut_ptr() as u64, dst.len());
    if err == 0 {
        return Ok(());
    }
    let mut f = fault(err, addr, false);
    f.addr = addr.wrapping_add((dst.len() - left) as u64);
    Err(f)
}

/// Copies `src` into guest memory. On a fault the bytes before it have been written; the error's
/// address is the first that could not be written.
pub fn write(addr: u64, src: &[u8]) -> Result<(), MemFault> {
    let (err, left) = copy(src.as_ptr() as u64, addr, src.len());
    if err == 0 {
        return Ok(());
    }
    let mut f = fault(err, addr, true);
    f.addr = addr.wrapping_add((src.len() - left) as u64);
    Err(f)
}

/// `rep movsb` from `src` to `dst`: (fault code, bytes left).
fn copy(src: u64, dst: u64, len: usize) -> (u64, usize) {
    let err: u64;
    let left: usize;
    // SAFETY: one side is a live Rust slice of `len` bytes, the other guest memory; a fault on the
    // guest side continues at 3 with rcx holding what is left.
    unsafe {
        asm!("xor r11d, r11d", "2: rep movsb", "3:", ex!(),
            inout("rsi") src => _, inout("rdi") dst => _, inout("rcx") len => left,
            out("r11") err, options(nostack));
    }
    (err, left)
}

/// Checks that `addr` can be written, by an atomic that changes nothing.
pub fn probe_write(addr: u64) -> Result<(), MemFault> {
    let err: u64;
    // SAFETY: `lock or` with 0 leaves the byte as it is.
    unsafe {
        asm!("xor r11d, r11d", "2: lock or byte ptr [{a}], 0", "3:", ex!(),
            a = in(reg) addr, out("r11") err, options(nostack));
    }
    if err == 0 { Ok(()) } else { Err(fault(err, addr, true)) }
}

/// Atomic operations of one width.
pub trait Atomic: Scalar {
    /// Stores `value`; the old one.
    fn swap(addr: u64, value: Self) -> Result<Self, MemFault>;
    /// Adds `value`, wrapping; the old one.
    fn add(addr: u64, value: Self) -> Result<Self, MemFault>;
    /// Stores `new` if memory equals `expected`; the old value.
    fn cas(addr: u64, expected: Self, new: Self) -> Result<Self, MemFault>;
}

macro_rules! atomic {
    ($ty:ty, $class:ident, $acc:tt, $xchg:literal, $xadd:literal, $cas:literal) => {
        impl Atomic for $ty {
            fn swap(addr: u64, value: $ty) -> Result<$ty, MemFault> {
                let old: $ty;
                let err: u64;
                // SAFETY: as for stores.
                unsafe {
                    asm!("xor r11d, r11d", concat!("2: ", $xchg), "3:", ex!(),
                        a = in(reg) addr, v = inout($class) value => old, out("r11") err,
                        options(nostack));
                }
                if err == 0 { Ok(old) } else { Err(fault(err, addr, true)) }
            }

            fn add(addr: u64, value: $ty) -> Result<$ty, MemFault> {
                let old: $ty;
                let err: u64;
                // SAFETY: as for stores.
                unsafe {
                    asm!("xor r11d, r11d", concat!("2: ", $xadd), "3:", ex!(),
                        a = in(reg) addr, v = inout($class) value => old, out("r11") err,
                        options(nostack));
                }
                if err == 0 { Ok(old) } else { Err(fault(err, addr, true)) }
            }

            fn cas(addr: u64, expected: $ty, new: $ty) -> Result<$ty, MemFault> {
                let old: $ty;
                let err: u64;
                // SAFETY: as for stores; rax carries expected and old value.
                unsafe {
                    asm!("xor r11d, r11d", concat!("2: ", $cas), "3:", ex!(),
                        a = in(reg) addr, v = in($class) new, inout($acc) expected => old,
                        out("r11") err, options(nostack));
                }
                if err == 0 { Ok(old) } else { Err(fault(err, addr, true)) }
            }
        }
    };
}

atomic!(u8, reg_byte, "al", "xchg [{a}], {v}", "lock xadd [{a}], {v}", "lock cmpxchg [{a}], {v}");
atomic!(u16, reg, "ax", "xchg [{a}], {v:x}", "lock xadd [{a}], {v:x}", "lock cmpxchg [{a}], {v:x}");
atomic!(
    u32,
    reg,
    "eax",
    "xchg [{a}], {v:e}",
    "lock xadd [{a}], {v:e}",
    "lock cmpxchg [{a}], {v:e}"
);
atomic!(
    u64,
    reg,
    "rax",
    "xchg [{a}], {v:r}",
    "lock xadd [{a}], {v:r}",
    "lock cmpxchg [{a}], {v:r}"
);

/// Atomic compare and swap of 16 bytes (`cmpxchg16b`): the old value. `addr` must be 16-byte
/// aligned, else the result is a non-canonical fault (a general protection fault, as on hardware).
pub fn cas128(addr: u64, expected: u128, new: u128) -> Result<u128, MemFault> {
    let (mut lo, mut hi) = (expected as u64, (expected >> 64) as u64);
    let err: u64;
    // SAFETY: as for stores. rbx is saved by hand because the compiler reserves it.
    unsafe {
        asm!("xchg {nlo}, rbx", "xor r11d, r11d", "2: lock cmpxchg16b [{a}]", "3:",
            "mov rbx, {nlo}", ex!(),
            a = in(reg) addr, nlo = inout(reg) new as u64 => _, in("rcx") (new >> 64) as u64,
            inout("rax") lo, inout("rdx") hi, out("r11") err, options(nostack));
    }
    if err == 0 { Ok(u128::from(lo) | u128::from(hi) << 64) } else { Err(fault(err, addr, true)) }
}
