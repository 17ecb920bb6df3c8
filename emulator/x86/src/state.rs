//! The x86 CPU structure, shared by i386 and x86-64 guests.

use core::mem::offset_of;
use std::sync::{Mutex, MutexGuard};

use emu_cpu::CpuHeader;

/// Numbers of the general registers, as instructions encode them.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod gpr {
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
}

/// Numbers of the segment registers, as instructions encode them.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod seg {
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
}

/// EFLAGS bits outside the arithmetic flags (those are lazy, in the header).
pub mod eflags {
    /// Always set.
    pub const FIXED: u64 = 1 << 1;
    /// Trap flag: single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupts enabled; always reads as set in user mode.
    pub const IF: u64 = 1 << 9;
    /// Direction: string instructions go down.
    pub const DF: u64 = 1 << 10;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume: set in the flags that a fault saves.
    pub const RF: u64 = 1 << 16;
    /// Alignment check.
    pub const AC: u64 = 1 << 18;
    /// CPUID toggle.
    pub const ID: u64 = 1 << 21;
    /// The system flags a user program may change with popf.
    pub const USER: u64 = TF | DF | NT | AC | ID;
}

/// An x87 register: the 80-bit value in its first 10 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct St(pub [u8; 16]);

/// A vector register with room for AVX: XMM in the low 16 bytes, YMM in all 32.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VecReg(pub [u8; 32]);

impl VecReg {
    /// The upper half.
    pub fn high(&self) -> u128 {
        let mut b = [0; 16];
        b.copy_from_slice(&self.0[16..]);
        u128::from_le_bytes(b)
    }
}

/// The x87 unit. Register ST(i) is `st[(top + i) & 7]`; MMX register i is the low 8 bytes of
/// `st[i]`.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct X87 {
    /// The physical registers.
    pub st: [St; 8],
    /// Status word without TOP (bits 11..13 are 0 here).
    pub status: u16,
    /// Number of the physical register that is ST(0), 0 to 7.
    pub top: u16,
    /// Bit i set: physical register i holds a value (the abridged tag word of FXSAVE).
    pub valid: u8,
    /// Unused.
    pub pad: u8,
    /// Control word.
    pub control: u16,
    /// Opcode of the last instruction.
    pub last_opcode: u16,
    /// Unused.
    pub pad2: [u8; 6],
    /// Address of the last instruction.
    pub last_ip: u64,
    /// Address of its memory operand.
    pub last_dp: u64,
}

impl X87 {
    /// The control word's bits that can be written.
    pub const CONTROL_BITS: u16 = 0x1f3f;
    /// The control word's bit that always reads as 1.
    pub const CONTROL_FIXED: u16 = 0x40;
    /// Exception flags of the status word, at the positions of their masks in the control word.
    pub const EXCEPTIONS: u16 = 0x3f;
    /// Status word: an unmasked exception is pending (the busy bit follows it).
    pub const PENDING: u16 = 0x80;
    const BUSY: u16 = 0x8000;
    const TOP_BITS: u16 = 0x3800;

    /// Number of the physical register that is ST(i).
    #[inline(always)]
    pub fn phys(&self, i: u8) -> usize {
        usize::from(self.top_now().wrapping_add(u16::from(i)) & 7)
    }

    /// The top, loaded at its own width. A wider load, which the compiler would make of it where
    /// it can, covers two recent stores and stalls the processor.
    #[inline(always)]
    pub(crate) fn top_now(&self) -> u16 {
        // SAFETY: a live field.
        unsafe { (&raw const self.top).read_volatile() }
    }

    /// The status word with TOP.
    pub fn status_word(&self) -> u16 {
        self.status | (self.top & 7) << 11
    }

    /// Sets status and TOP; the pending and busy bits follow from flags and masks.
    pub fn set_status_word(&mut self, value: u16) {
        self.top = value >> 11 & 7;
        self.status = value & !Self::TOP_BITS;
        self.update_pending();
    }

    /// Sets the control word.
    pub fn set_control(&mut self, value: u16) {
        self.control = value & Self::CONTROL_BITS | Self::CONTROL_FIXED;
        self.update_pending();
    }

    /// Recomputes the pending and busy bits.
    pub fn update_pending(&mut self) {
        self.status &= !(Self::PENDING | Self::BUSY);
        if self.status & !self.control & Self::EXCEPTIONS != 0 {
            self.status |= Self::PENDING | Self::BUSY;
        }
    }

    /// The state after FNINIT. Register contents stay, all marked empty.
    pub fn init(&mut self) {
        self.control = 0x37f;
        self.status = 0;
        self.top = 0;
        self.valid = 0;
        self.last_opcode = 0;
        self.last_ip = 0;
        self.last_dp = 0;
    }
}

/// The x86 CPU.
///
/// In an i386 guest the upper halves of general registers are 0 and r8 to r15 unused.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct X86Cpu {
    /// Common to all guests; holds pc and the arithmetic flags.
    pub hdr: CpuHeader,
    /// General registers in encoding order: rax rcx rdx rbx rsp rbp rsi rdi r8…r15.
    pub gpr: [u64; 16],
    /// FS segment base.
    pub fs_base: u64,
    /// GS segment base.
    pub gs_base: u64,
    /// The EFLAGS bits of [`eflags::USER`].
    pub sys_flags: u64,
    /// Selectors: es cs ss ds fs gs.
    pub selectors: [u16; 6],
    /// SSE control and status.
    pub mxcsr: u32,
    /// Bases of es, cs, ss, ds for i386 guests that load their own descriptors (modify_ldt,
    /// set_thread_area in another segment); normally 0.
    pub seg_base: [u64; 4],
    /// i386 TLS descriptors set by set_thread_area: (base, limit, flags) of GDT entries 12 to 14.
    pub tls: [TlsDescriptor; 3],
    /// Operands that helpers take by address.
    pub scratch: [VecReg; 2],
    /// The x87 unit.
    pub x87: X87,
    /// Vector registers.
    pub vec: [VecReg; 16],
    /// The local descriptor table, once the program has made one; its threads share it.
    pub ldt: Option<&'static Ldt>,
}

/// A local descriptor table. It lives as long as the process, so that the CPU structure stays plain
/// data.
#[derive(Debug, Default)]
pub struct Ldt(Mutex<Vec<TlsDescriptor>>);

impl Ldt {
    /// The entries up to the last that was ever set.
    pub fn entries(&self) -> MutexGuard<'_, Vec<TlsDescriptor>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Entry `n`, if it was ever set.
    pub fn get(&self, n: usize) -> Option<TlsDescriptor> {
        self.entries().get(n).copied()
    }
}

/// A descriptor of the i386 thread area or of the local descriptor table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsDescriptor {
    /// Linear base address.
    pub base: u32,
    /// Limit in bytes or pages.
    pub limit: u32,
    /// The flag bits of Linux's `struct user_desc`.
    pub flags: u32,
    /// Unused.
    pub pad: u32,
}

impl TlsDescriptor {
    /// Bits of `flags`.
    const SEG_32BIT: u32 = 1;
    const CONTENTS: u32 = 3 << 1;
    const CODE: u32 = 2 << 1;
    const READ_EXEC_ONLY: u32 = 1 << 3;
    const LIMIT_IN_PAGES: u32 = 1 << 4;
    const NOT_PRESENT: u32 = 1 << 5;
    const USEABLE: u32 = 1 << 6;

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        *self == TlsDescriptor::default()
    }

    /// Whether a selector that names it can be loaded.
    pub fn is_present(&self) -> bool {
        !self.is_empty() && self.flags & Self::NOT_PRESENT == 0
    }

    /// Whether it describes code.
    pub fn is_code(&self) -> bool {
        self.flags & Self::CODE != 0
    }

    /// Whether it cannot be written, or if it is code, only be executed.
    pub fn is_restricted(&self) -> bool {
        self.flags & Self::READ_EXEC_ONLY != 0
    }

    /// The last byte's offset.
    pub fn last(&self) -> u32 {
        if self.flags & Self::LIMIT_IN_PAGES != 0 { self.limit << 12 | 0xfff } else { self.limit }
    }

    /// As it lies in the processor's table (arch/x86/include/asm/desc.h, `fill_ldt`).
    pub fn raw(&self) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let bit = |flag: u32, at: u32| u32::from(self.flags & flag != 0) << at;
        // Accessed, a user's, of the program's level.
        let kind =
            1 << 8 | u32::from(!self.is_restricted()) << 9 | (self.flags & Self::CONTENTS) << 9;
        let high = self.base >> 16 & 0xff
            | kind
            | 7 << 12
            | u32::from(self.flags & Self::NOT_PRESENT == 0) << 15
            | self.limit & 0xf_0000
            | bit(Self::USEABLE, 20)
            | bit(Self::SEG_32BIT, 22)
            | bit(Self::LIMIT_IN_PAGES, 23)
            | self.base & 0xff00_0000;
        u64::from(high) << 32 | u64::from(self.base << 16 | self.limit & 0xffff)
    }
}

impl Default for X86Cpu {
    fn default() -> X86Cpu {
        X86Cpu {
            hdr: CpuHeader::default(),
            gpr: [0; 16],
            fs_base: 0,
            gs_base: 0,
            sys_flags: 0,
            selectors: [0; 6],
            mxcsr: 0x1f80,
            seg_base: [0; 4],
            tls: [TlsDescriptor::default(); 3],
            scratch: [VecReg::default(); 2],
            x87: X87 {
                st: [St::default(); 8],
                status: 0,
                top: 0,
                valid: 0,
                pad: 0,
                control: 0x37f,
                last_opcode: 0,
                pad2: [0; 6],
                last_ip: 0,
                last_dp: 0,
            },
            vec: [VecReg::default(); 16],
            ldt: None,
        }
    }
}

impl X86Cpu {
    /// EFLAGS as `pushf` shows it to user code.
    pub fn eflags(&self) -> u64 {
        u64::from(self.hdr.flags()) | eflags::FIXED | eflags::IF | (self.sys_flags & eflags::USER)
    }

    /// The guest's state in a structure of its own, as a new thread starts with it.
    pub fn copy(&self) -> X86Cpu {
        let h = &self.hdr;
        X86Cpu {
            hdr: CpuHeader {
                pc: h.pc,
                flags_kind: h.flags_kind,
                flags_ty: h.flags_ty,
                flags_a: h.flags_a,
                flags_b: h.flags_b,
                flags_c: h.flags_c,
                ..CpuHeader::default()
            },
            gpr: self.gpr,
            fs_base: self.fs_base,
            gs_base: self.gs_base,
            sys_flags: self.sys_flags,
            selectors: self.selectors,
            mxcsr: self.mxcsr,
            seg_base: self.seg_base,
            tls: self.tls,
            scratch: self.scratch,
            x87: self.x87.clone(),
            vec: self.vec,
            ldt: self.ldt,
        }
    }

    /// Puts the x87 and vector units in the state a program starts with.
    pub fn reset_fp(&mut self) {
        let fresh = X86Cpu::default();
        self.x87 = fresh.x87;
        self.vec = fresh.vec;
        self.mxcsr = fresh.mxcsr;
    }

    /// Sets EFLAGS as `popf` does in user mode.
    pub fn set_eflags(&mut self, value: u64) {
        self.hdr.set_flags(value as u16);
        self.sys_flags = value & eflags::USER;
    }
}

/// Slots: byte offsets in [`X86Cpu`] that IR get/put ops name.
pub mod slot {
    use super::*;

    /// General register `n`.
    pub const fn gpr(n: usize) -> u32 {
        (offset_of!(X86Cpu, gpr) + 8 * n) as u32
    }
    /// Vector register `n`.
    pub const fn vec(n: usize) -> u32 {
        (offset_of!(X86Cpu, vec) + 32 * n) as u32
    }
    /// MMX register `n` (physical x87 register `n`).
    pub const fn mmx(n: usize) -> u32 {
        (offset_of!(X86Cpu, x87) + offset_of!(X87, st) + 16 * n) as u32
    }
    /// Selector of segment register `n`.
    pub const fn selector(n: usize) -> u32 {
        (offset_of!(X86Cpu, selectors) + 2 * n) as u32
    }
    /// Base of es, cs, ss or ds.
    pub const fn seg_base(n: usize) -> u32 {
        (offset_of!(X86Cpu, seg_base) + 8 * n) as u32
    }
    /// FS base.
    pub const FS_BASE: u32 = offset_of!(X86Cpu, fs_base) as u32;
    /// GS base.
    pub const GS_BASE: u32 = offset_of!(X86Cpu, gs_base) as u32;
    /// System flags.
    pub const SYS_FLAGS: u32 = offset_of!(X86Cpu, sys_flags) as u32;
    /// MXCSR.
    pub const MXCSR: u32 = offset_of!(X86Cpu, mxcsr) as u32;
    /// Scratch operand `n`.
    pub const fn scratch(n: usize) -> u32 {
        (offset_of!(X86Cpu, scratch) + 32 * n) as u32
    }
    /// The x87 control word.
    pub const X87_CONTROL: u32 = (offset_of!(X86Cpu, x87) + offset_of!(X87, control)) as u32;
    /// The x87 status word (without TOP).
    pub const X87_STATUS: u32 = (offset_of!(X86Cpu, x87) + offset_of!(X87, status)) as u32;
    /// The x87 top-of-stack number.
    pub const X87_TOP: u32 = (offset_of!(X86Cpu, x87) + offset_of!(X87, top)) as u32;
    /// The x87 address of the last instruction.
    pub const X87_LAST_IP: u32 = (offset_of!(X86Cpu, x87) + offset_of!(X87, last_ip)) as u32;
    /// What changes when an x87 instruction is executed, but for the address of the last one.
    pub const X87: core::ops::Range<u32> =
        offset_of!(X86Cpu, x87) as u32..(X87_VALID + size_of::<u8>() as u32);
    /// The x87 valid bits.
    pub const X87_VALID: u32 = (offset_of!(X86Cpu, x87) + offset_of!(X87, valid)) as u32;
}

const _: () = {
    assert!(
        slot::gpr(0) == 128,
        "general registers follow the header: generated code relies on it"
    );
    assert!(slot::vec(0).is_multiple_of(32));
    // The control word has a slot of its own outside the range of what instructions change.
    assert!(slot::X87_CONTROL >= slot::X87.end && slot::X87_LAST_IP.is_multiple_of(8));
};
