//! The two x86 architectures as the engine and the tiers see them.

use emu_cpu::{CodeSource, CpuHeader, GuestArch, HelperDesc, LiftOptions, RegDesc, X87Unit};
use emu_ir::Block;

use crate::state::{seg, slot};
use crate::{Mode, X86Cpu, helper, lift_block_into, mxcsr, regs};

/// x86 in one mode.
#[derive(Debug)]
pub struct X86Arch {
    mode: Mode,
}

/// 64-bit guests.
pub static X86_64: X86Arch = X86Arch { mode: Mode::Bits64 };
/// 32-bit guests.
pub static I386: X86Arch = X86Arch { mode: Mode::Bits32 };

/// Selectors Linux gives a new process.
mod selectors {
    pub const CODE64: u16 = 0x33;
    pub const CODE32: u16 = 0x23;
    pub const DATA: u16 = 0x2b;
}

/// Names of slots in IR text; ids and plugins have nothing to do with them.
static SLOTS: &[(u32, &str)] = &[
    (slot::gpr(0), "rax"),
    (slot::gpr(1), "rcx"),
    (slot::gpr(2), "rdx"),
    (slot::gpr(3), "rbx"),
    (slot::gpr(4), "rsp"),
    (slot::gpr(5), "rbp"),
    (slot::gpr(6), "rsi"),
    (slot::gpr(7), "rdi"),
    (slot::gpr(8), "r8"),
    (slot::gpr(9), "r9"),
    (slot::gpr(10), "r10"),
    (slot::gpr(11), "r11"),
    (slot::gpr(12), "r12"),
    (slot::gpr(13), "r13"),
    (slot::gpr(14), "r14"),
    (slot::gpr(15), "r15"),
    (slot::gpr(0) + 1, "ah"),
    (slot::gpr(1) + 1, "ch"),
    (slot::gpr(2) + 1, "dh"),
    (slot::gpr(3) + 1, "bh"),
    (slot::vec(0), "xmm0"),
    (slot::vec(1), "xmm1"),
    (slot::vec(2), "xmm2"),
    (slot::vec(3), "xmm3"),
    (slot::vec(4), "xmm4"),
    (slot::vec(5), "xmm5"),
    (slot::vec(6), "xmm6"),
    (slot::vec(7), "xmm7"),
    (slot::vec(8), "xmm8"),
    (slot::vec(9), "xmm9"),
    (slot::vec(10), "xmm10"),
    (slot::vec(11), "xmm11"),
    (slot::vec(12), "xmm12"),
    (slot::vec(13), "xmm13"),
    (slot::vec(14), "xmm14"),
    (slot::vec(15), "xmm15"),
    (slot::mmx(0), "mm0"),
    (slot::mmx(1), "mm1"),
    (slot::mmx(2), "mm2"),
    (slot::mmx(3), "mm3"),
    (slot::mmx(4), "mm4"),
    (slot::mmx(5), "mm5"),
    (slot::mmx(6), "mm6"),
    (slot::mmx(7), "mm7"),
    (slot::selector(0), "es"),
    (slot::selector(1), "cs"),
    (slot::selector(2), "ss"),
    (slot::selector(3), "ds"),
    (slot::selector(4), "fs"),
    (slot::selector(5), "gs"),
    (slot::seg_base(0), "es_base"),
    (slot::seg_base(1), "cs_base"),
    (slot::seg_base(2), "ss_base"),
    (slot::seg_base(3), "ds_base"),
    (slot::FS_BASE, "fs_base"),
    (slot::GS_BASE, "gs_base"),
    (slot::SYS_FLAGS, "sys_flags"),
    (slot::MXCSR, "mxcsr"),
    (slot::scratch(0), "scratch0"),
    (slot::scratch(1), "scratch1"),
    (slot::X87_CONTROL, "fctrl"),
    (slot::X87_STATUS, "fstat"),
    (slot::X87_TOP, "ftop"),
    (slot::X87_VALID, "fvalid"),
];

impl X86Arch {
    fn long_mode(&self) -> bool {
        self.mode == Mode::Bits64
    }
}

// SAFETY: `X86Cpu` is `repr(C)` and begins with a `CpuHeader`; lifted blocks name only slots from
// `state::slot`, which are offsets of its fields.
unsafe impl GuestArch for X86Arch {
    fn name(&self) -> &'static str {
        if self.long_mode() { "x86_64" } else { "i386" }
    }

    fn word_bytes(&self) -> u32 {
        if self.long_mode() { 8 } else { 4 }
    }

    fn hot_slots(&self) -> &'static [u32] {
        const ALL: [u32; 16] = {
            let mut all = [0; 16];
            let mut n = 0;
            while n < 16 {
                all[n] = slot::gpr(n);
                n += 1;
            }
            all
        };
        if self.long_mode() { &ALL } else { &ALL[..8] }
    }

    fn vector_slots(&self) -> &'static [u32] {
        const ALL: [u32; 16] = {
            let mut all = [0; 16];
            let mut n = 0;
            while n < 16 {
                all[n] = slot::vec(n);
                n += 1;
            }
            all
        };
        if self.long_mode() { &ALL } else { &ALL[..8] }
    }

    fn cpu_bytes(&self) -> usize {
        size_of::<X86Cpu>()
    }

    fn new_cpu(&self) -> *mut CpuHeader {
        let mut cpu = Box::new(X86Cpu::default());
        cpu.selectors[seg::SS] = selectors::DATA;
        if self.long_mode() {
            cpu.selectors[seg::CS] = selectors::CODE64;
        } else {
            cpu.selectors[seg::CS] = selectors::CODE32;
            cpu.selectors[seg::DS] = selectors::DATA;
            cpu.selectors[seg::ES] = selectors::DATA;
        }
        Box::into_raw(cpu).cast()
    }

    unsafe fn clone_cpu(&self, cpu: *const CpuHeader) -> *mut CpuHeader {
        // SAFETY: the caller passes a live `X86Cpu`; it is plain data without drop code.
        let copy = unsafe { cpu.cast::<X86Cpu>().read() };
        Box::into_raw(Box::new(copy)).cast()
    }

    unsafe fn free_cpu(&self, cpu: *mut CpuHeader) {
        // SAFETY: the caller returns what `new_cpu` or `clone_cpu` made from a box.
        drop(unsafe { Box::from_raw(cpu.cast::<X86Cpu>()) });
    }

    fn helpers(&self) -> &'static [HelperDesc] {
        helper::HELPERS
    }

    fn slot_name(&self, slot: u32) -> Option<&'static str> {
        SLOTS.iter().find(|(s, _)| *s == slot).map(|(_, name)| *name)
    }

    fn slot_by_name(&self, name: &str) -> Option<u32> {
        SLOTS.iter().find(|(_, n)| *n == name).map(|(s, _)| *s)
    }

    fn registers(&self) -> &'static [RegDesc] {
        if self.long_mode() { &regs::X86_64_REGISTERS } else { &regs::I386_REGISTERS }
    }

    unsafe fn read_reg(&self, cpu: *const CpuHeader, id: u32, buf: &mut [u8]) -> Option<usize> {
        // SAFETY: the caller passes a live `X86Cpu`.
        regs::read(unsafe { &*cpu.cast::<X86Cpu>() }, self.long_mode(), id, buf)
    }

    unsafe fn write_reg(&self, cpu: *mut CpuHeader, id: u32, data: &[u8]) -> bool {
        // SAFETY: the caller passes a live `X86Cpu`.
        regs::write(unsafe { &mut *cpu.cast::<X86Cpu>() }, self.long_mode(), id, data)
    }

    fn lift_into(
        &self,
        pc: u64,
        code: &mut dyn CodeSource,
        options: &LiftOptions,
        block: &mut Block,
    ) {
        lift_block_into(self.mode, pc, code, options, block);
    }

    fn x87_unit(&self) -> Option<&'static X87Unit> {
        Some(&helper::x87::unit::UNIT)
    }

    fn mxcsr_slot(&self) -> Option<u32> {
        Some(slot::MXCSR)
    }

    fn describe(&self, pc: u64, bytes: &[u8]) -> (String, bool) {
        use iced_x86::{Decoder, DecoderOptions, FastFormatter, Mnemonic};
        let bits = if self.long_mode() { 64 } else { 32 };
        let insn = Decoder::with_ip(bits, bytes, pc, DecoderOptions::NONE).decode();
        let mut text = String::new();
        FastFormatter::new().format(&insn, &mut text);
        let undefined = matches!(
            insn.mnemonic(),
            Mnemonic::INVALID | Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2
        );
        (text, !undefined)
    }

    unsafe fn fp_enter(&self, cpu: *mut CpuHeader) {
        // SAFETY: the caller passes a live `X86Cpu`.
        mxcsr::enter(unsafe { &mut *cpu.cast::<X86Cpu>() });
    }

    unsafe fn fp_leave(&self, cpu: *mut CpuHeader) {
        // SAFETY: the caller passes a live `X86Cpu`.
        mxcsr::leave(unsafe { &mut *cpu.cast::<X86Cpu>() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `f` with a fresh CPU structure.
    fn with_cpu(arch: &X86Arch, f: impl FnOnce(*mut CpuHeader)) {
        let cpu = arch.new_cpu();
        f(cpu);
        // SAFETY: `new_cpu` made it and nothing uses it any more.
        unsafe { arch.free_cpu(cpu) };
    }

    #[test]
    fn registers_round_trip() {
        for arch in [&X86_64, &I386] {
            with_cpu(arch, |cpu| {
                // SAFETY: `cpu` is live and belongs to `arch`.
                unsafe {
                    for r in arch.registers() {
                        let mut before = [0xaa; 32];
                        let n = r.bytes as usize;
                        assert_eq!(arch.read_reg(cpu, r.id, &mut before), Some(n), "{}", r.name);
                        let mut value: Vec<u8> = (1..=n as u8).map(|i| i * 3).collect();
                        match r.name {
                            "rflags" | "eflags" => value[..4].copy_from_slice(&[0xd7, 0x0e, 0, 0]),
                            "fctrl" => value.copy_from_slice(&[0x72, 0x0f]),
                            "fstat" => value.copy_from_slice(&[0x21, 0x78]),
                            "ftag" => value.copy_from_slice(&[0xff, 0xff]),
                            "mxcsr" => value.copy_from_slice(&[0x80, 0x7f, 0, 0]),
                            _ => {}
                        }
                        if n > 4 && r.name == "rflags" {
                            value[4..].fill(0);
                        }
                        assert!(arch.write_reg(cpu, r.id, &value), "{}", r.name);
                        let mut after = [0; 32];
                        arch.read_reg(cpu, r.id, &mut after);
                        let expect: &[u8] = match r.name {
                            // A valid selection of flags: what was unmasked is pending now.
                            "fstat" => &[0xa1, 0xf8],
                            _ => &value,
                        };
                        assert_eq!(&after[..n], expect, "{} of {}", r.name, arch.name());
                        assert!(!arch.write_reg(cpu, r.id, &value[1..]), "{} short", r.name);
                        assert_eq!(arch.read_reg(cpu, r.id, &mut after[..n - 1]), None);
                    }
                    assert_eq!(arch.read_reg(cpu, 9999, &mut [0; 8]), None);
                    assert!(!arch.write_reg(cpu, 9999, &[0; 8]));
                }
            });
        }
    }

    #[test]
    fn names_and_ids_are_unique() {
        for arch in [&X86_64, &I386] {
            let regs = arch.registers();
            for (n, r) in regs.iter().enumerate() {
                assert!(regs[n + 1..].iter().all(|o| o.id != r.id && o.name != r.name));
            }
        }
        for (n, (slot, name)) in SLOTS.iter().enumerate() {
            assert!(SLOTS[n + 1..].iter().all(|(s, m)| s != slot && m != name), "{name}");
            assert_eq!(X86_64.slot_by_name(name), Some(*slot));
            assert_eq!(X86_64.slot_name(*slot), Some(*name));
        }
    }

    #[test]
    fn st_registers_follow_the_stack_top() {
        with_cpu(&X86_64, |cpu| {
            // SAFETY: `cpu` is live and belongs to the architecture.
            unsafe {
                (*cpu.cast::<X86Cpu>()).x87.top = 6;
                assert!(X86_64.write_reg(cpu, 64, &[7; 10]));
                assert_eq!((&(*cpu.cast::<X86Cpu>()).x87.st)[6].0[..10], [7; 10]);
                assert!(X86_64.write_reg(cpu, 66, &[9; 10]));
                assert_eq!((&(*cpu.cast::<X86Cpu>()).x87.st)[0].0[..10], [9; 10]);
            }
        });
    }

    #[test]
    fn a_reserved_mxcsr_bit_is_refused() {
        with_cpu(&I386, |cpu| {
            // SAFETY: `cpu` is live and belongs to the architecture.
            assert!(!unsafe { I386.write_reg(cpu, 86, &0x1_1f80u32.to_le_bytes()) });
        });
    }

    #[test]
    fn a_clone_is_independent() {
        with_cpu(&X86_64, |cpu| {
            // SAFETY: both structures are live and belong to the architecture.
            unsafe {
                X86_64.write_reg(cpu, 0, &5u64.to_le_bytes());
                let copy = X86_64.clone_cpu(cpu);
                X86_64.write_reg(cpu, 0, &6u64.to_le_bytes());
                let mut buf = [0; 8];
                X86_64.read_reg(copy, 0, &mut buf);
                assert_eq!(u64::from_le_bytes(buf), 5);
                X86_64.free_cpu(copy);
            }
        });
    }
}
