//! The first 128 bytes of every CPU structure.

use emu_ir::{FlagKind, TrapKind, Ty};
use emu_mem::{FaultKind, MemFault};

/// What a request to stop takes from [`CpuHeader::budget`]: more than any slice, so the next block head
/// sees a negative budget. The engine gives it back.
pub const WITHDRAWAL: i64 = 1 << 62;

/// State common to all guests, at offset 0 of the architecture's `repr(C)` CPU structure.
///
/// **Invariant: at every block boundary the whole guest state is in the CPU structure.** Generated
/// code addresses it relative to its end ([`slots::BIAS`]), so that header and general registers
/// are within an 8-bit displacement.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CpuHeader {
    /// Instructions left in this slice. A block head takes its length at once; a negative result
    /// means the block must not start.
    pub budget: i64,
    /// Guest pc of the next instruction; valid at block boundaries and after a trap.
    pub pc: u64,
    /// [`FlagKind`] of the last flag definition.
    pub flags_kind: u8,
    /// [`Ty`] of the last flag definition.
    pub flags_ty: u8,
    /// Unused.
    pub pad0: [u8; 6],
    /// First operand of the last flag definition.
    pub flags_a: u64,
    /// Second operand of the last flag definition.
    pub flags_b: u64,
    /// Third operand of the last flag definition.
    pub flags_c: u64,
    /// [`TrapKind`] raised by a helper or a tier; 0 when none is pending.
    pub trap: u8,
    /// For memory traps: 1 when the access was a store, 2 when it was a fetch.
    pub trap_access: u8,
    /// Not 0 when a helper has loaded an MXCSR with an exception unmasked, which generated code that
    /// goes on would not heed.
    pub mxcsr_loaded: u8,
    /// Unused.
    pub pad1: u8,
    /// Correction of [`CpuHeader::retired`] inside a block, so that callbacks see an exact count:
    /// every hook sets it to (instructions already taken from the budget for this block) -
    /// (instructions of this block that have retired). 0 outside blocks.
    pub retire_adjust: i32,
    /// For memory traps: the address.
    pub trap_addr: u64,
    /// The engine that runs this CPU; opaque here.
    pub engine: *mut core::ffi::c_void,
    /// Retired instructions = `retire_base` - `budget`, in wrapping arithmetic.
    pub retire_base: i64,
    /// Called by helpers after each access they make, when somebody listens.
    pub mem_hook: Option<&'static super::MemWatch>,
    /// Pc of the instruction being executed, set before a helper call and before a callback that
    /// reads registers.
    pub insn_pc: u64,
    /// Not 0 while the guest's MXCSR is parked: the host's holds the default for callbacks.
    pub mxcsr_parked: u32,
    /// The parked value.
    pub mxcsr: u32,
    /// Scratch of generated code.
    pub mxcsr_host: u32,
    /// The mask bits that are clear in the guest's MXCSR.
    pub simd_unmasked: u32,
    /// For the use of the tiers.
    pub tier: u64,
    /// Asked by generated code for each system call, before the trap.
    pub kernel: Kernel,
}

/// Makes the system call of a CPU that has executed the instruction for it; which one that is, a trap's number
/// ([`emu_ir::TrapKind`]) says. False when it has not: then the call is a trap, as always. After
/// [`emu_ir::TrapKind::Sysenter`] the guest goes on at the pc in the header.
pub type Kernel = unsafe extern "sysv64" fn(*mut CpuHeader, u64) -> bool;

/// The [`Kernel`] that makes none.
///
/// # Safety
/// There is nothing to keep.
pub unsafe extern "sysv64" fn no_kernel(_: *mut CpuHeader, _: u64) -> bool {
    false
}

const _: () = assert!(core::mem::size_of::<CpuHeader>() == 128);

/// Byte offsets of header fields, as IR slots and for the code generator.
pub mod slots {
    use super::CpuHeader;
    use core::mem::offset_of;
    /// [`CpuHeader::budget`].
    pub const BUDGET: u32 = offset_of!(CpuHeader, budget) as u32;
    /// [`CpuHeader::pc`].
    pub const PC: u32 = offset_of!(CpuHeader, pc) as u32;
    /// [`CpuHeader::flags_kind`]; the type is the next byte.
    pub const FLAGS_KIND: u32 = offset_of!(CpuHeader, flags_kind) as u32;
    /// [`CpuHeader::flags_a`].
    pub const FLAGS_A: u32 = offset_of!(CpuHeader, flags_a) as u32;
    /// [`CpuHeader::flags_b`].
    pub const FLAGS_B: u32 = offset_of!(CpuHeader, flags_b) as u32;
    /// [`CpuHeader::flags_c`].
    pub const FLAGS_C: u32 = offset_of!(CpuHeader, flags_c) as u32;
    /// [`CpuHeader::trap`].
    pub const TRAP: u32 = offset_of!(CpuHeader, trap) as u32;
    /// [`CpuHeader::trap_access`].
    pub const TRAP_ACCESS: u32 = offset_of!(CpuHeader, trap_access) as u32;
    /// [`CpuHeader::trap_addr`].
    pub const TRAP_ADDR: u32 = offset_of!(CpuHeader, trap_addr) as u32;
    /// [`CpuHeader::mxcsr_loaded`].
    pub const MXCSR_LOADED: u32 = offset_of!(CpuHeader, mxcsr_loaded) as u32;
    /// [`CpuHeader::retire_adjust`].
    pub const RETIRE_ADJUST: u32 = offset_of!(CpuHeader, retire_adjust) as u32;
    /// [`CpuHeader::insn_pc`].
    pub const INSN_PC: u32 = offset_of!(CpuHeader, insn_pc) as u32;
    /// [`CpuHeader::mxcsr_parked`].
    pub const MXCSR_PARKED: u32 = offset_of!(CpuHeader, mxcsr_parked) as u32;
    /// [`CpuHeader::mxcsr`].
    pub const MXCSR: u32 = offset_of!(CpuHeader, mxcsr) as u32;
    /// [`CpuHeader::mxcsr_host`].
    pub const MXCSR_HOST: u32 = offset_of!(CpuHeader, mxcsr_host) as u32;
    /// [`CpuHeader::simd_unmasked`].
    pub const SIMD_UNMASKED: u32 = offset_of!(CpuHeader, simd_unmasked) as u32;
    /// [`CpuHeader::tier`].
    pub const TIER: u32 = offset_of!(CpuHeader, tier) as u32;
    /// [`CpuHeader::kernel`].
    pub const KERNEL: u32 = offset_of!(CpuHeader, kernel) as u32;
    /// Generated code's base register points here.
    pub const BIAS: u32 = 128;
}

/// A trap with its details, taken from the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// What happened.
    pub kind: TrapKind,
    /// For memory traps: the address.
    pub addr: u64,
    /// For memory traps: the access was a store.
    pub write: bool,
}

/// Where a fetch failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchInfo {
    /// First address that could not be read.
    pub addr: u64,
}

impl Default for CpuHeader {
    fn default() -> CpuHeader {
        CpuHeader {
            budget: 0,
            pc: 0,
            flags_kind: FlagKind::Raw as u8,
            flags_ty: Ty::I64 as u8,
            pad0: [0; 6],
            flags_a: 0,
            flags_b: 0,
            flags_c: 0,
            trap: 0,
            trap_access: 0,
            mxcsr_loaded: 0,
            pad1: 0,
            retire_adjust: 0,
            trap_addr: 0,
            engine: core::ptr::null_mut(),
            retire_base: 0,
            mem_hook: None,
            insn_pc: 0,
            mxcsr_parked: 0,
            mxcsr: 0,
            mxcsr_host: 0,
            simd_unmasked: 0,
            tier: 0,
            kernel: no_kernel,
        }
    }
}

impl CpuHeader {
    /// All six arithmetic flags in their EFLAGS positions.
    pub fn flags(&self) -> u16 {
        let kind = FlagKind::from_u8(self.flags_kind);
        let ty = Ty::from_u8(self.flags_ty).unwrap_or(Ty::I64);
        emu_ir::flags::evaluate(kind, ty, self.flags_a, self.flags_b, self.flags_c)
    }

    /// Sets all six arithmetic flags.
    pub fn set_flags(&mut self, flags: u16) {
        self.flags_kind = FlagKind::Raw as u8;
        self.flags_ty = Ty::I64 as u8;
        self.flags_a = u64::from(flags & emu_ir::flags::ALL);
    }

    /// Records a lazy definition; one that is void leaves the flags alone.
    #[inline(always)]
    pub fn define_flags(&mut self, kind: FlagKind, ty: Ty, a: u64, b: u64, c: u64) {
        if kind.void_if_zero_count() && b & 0xff == 0 {
            return;
        }
        self.flags_kind = kind as u8;
        self.flags_ty = ty as u8;
        self.flags_a = a;
        self.flags_b = b;
        self.flags_c = c;
    }

    /// Raises a trap without details.
    pub fn raise(&mut self, kind: TrapKind) {
        self.trap = kind as u8;
    }

    /// Raises the trap a failed access causes.
    #[cold]
    pub fn raise_fault(&mut self, fault: MemFault) {
        self.trap = match fault.kind {
            FaultKind::Page => TrapKind::PageFault,
            FaultKind::Bus => TrapKind::BusError,
            FaultKind::NonCanonical => TrapKind::Protection,
        } as u8;
        self.trap_access = u8::from(fault.write);
        self.trap_addr = fault.addr;
    }

    /// Takes the pending trap.
    pub fn take_trap(&mut self) -> Option<Trap> {
        if self.trap == 0 {
            return None;
        }
        let kind = TrapKind::from_u8(self.trap);
        // Other traps have no address, whatever is left there from an earlier one.
        let memory =
            matches!(kind, TrapKind::PageFault | TrapKind::BusError | TrapKind::FetchFault);
        let t = Trap {
            kind,
            addr: if memory { self.trap_addr } else { 0 },
            write: memory && self.trap_access == 1,
        };
        self.trap = 0;
        Some(t)
    }

    /// Guest instructions retired so far; exact inside callbacks too.
    pub fn retired(&self) -> u64 {
        let adjust = i64::from(self.retire_adjust);
        // The rest of the block in which a request was made has its callbacks, too.
        let withdrawn = if self.budget < -(WITHDRAWAL / 2) { WITHDRAWAL } else { 0 };
        let budget = self.budget.wrapping_add(withdrawn);
        self.retire_base.wrapping_sub(budget).wrapping_sub(adjust) as u64
    }
}
