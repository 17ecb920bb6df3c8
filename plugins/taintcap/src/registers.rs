//! The labels of a thread's registers, and where each register is in them.

use iced_x86::Register;
use plugin_api::prelude::*;

use crate::labels::Set;

const VECTORS: u16 = 16 * 8;
const X87: u16 = VECTORS + 16 * 32;
const X87_BYTES: u16 = 16;
const SIZE: usize = (X87 + 8 * X87_BYTES) as usize;

/// Bytes of a register: where they begin among all registers' bytes, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes {
    pub at: u16,
    pub len: u16,
}

/// The bytes of a register; `None` for those that are not followed (flags, segments, control registers).
pub fn bytes_of(register: Register) -> Option<Bytes> {
    use Register::{AH, BH, CH, DH};
    let number = register.full_register().number() as u16;
    let bytes = |at, len| Some(Bytes { at, len: len as u16 });
    match register {
        AH | CH | DH | BH => bytes(number * 8 + 1, 1),
        r if r.is_gpr() => bytes(number * 8, r.size()),
        r if r.is_vector_register() && number < 16 => {
            bytes(VECTORS + number * 32, r.size().min(32))
        }
        r if r.is_mm() => bytes(X87 + number * X87_BYTES, 8),
        _ => None,
    }
}

/// The bytes of the x87 register with this number, which does not depend on the top of the stack.
pub fn x87_bytes(number: u8) -> Bytes {
    Bytes { at: X87 + u16::from(number & 7) * X87_BYTES, len: 10 }
}

/// The bytes of the whole vector register with this number.
pub fn vector_bytes(number: u16) -> Bytes {
    Bytes { at: VECTORS + number * 32, len: 32 }
}

/// Which bytes of a thread's registers have labels.
#[derive(Clone, Debug)]
pub struct Registers {
    sets: Box<[Set; SIZE]>,
    tainted: u32,
}

impl Default for Registers {
    fn default() -> Registers {
        Registers { sets: Box::new([Set::CLEAN; SIZE]), tainted: 0 }
    }
}

impl Registers {
    /// Whether no byte has a label.
    pub fn is_clean(&self) -> bool {
        self.tainted == 0
    }

    /// The labels of some bytes.
    pub fn get(&self, bytes: Bytes) -> &[Set] {
        &self.sets[usize::from(bytes.at)..usize::from(bytes.at + bytes.len)]
    }

    /// Sets the labels of the bytes from `at` on.
    pub fn set(&mut self, at: u16, sets: &[Set]) {
        let tainted = |sets: &[Set]| sets.iter().filter(|s| !s.is_clean()).count() as u32;
        let target = &mut self.sets[usize::from(at)..usize::from(at) + sets.len()];
        self.tainted = self.tainted - tainted(target) + tainted(sets);
        target.copy_from_slice(sets);
    }

    /// Makes some bytes clean.
    pub fn clear(&mut self, bytes: Bytes) {
        const CLEAN: [Set; 32] = [Set::CLEAN; 32];
        self.set(bytes.at, &CLEAN[..usize::from(bytes.len)]);
    }
}

/// The guest's registers as the processor has them.
#[derive(Debug)]
pub struct Values {
    general: Vec<Reg>,
    flags: Reg,
    fs_base: Reg,
    gs_base: Reg,
    x87_status: Reg,
    mm: Vec<Reg>,
    xmm: Vec<Reg>,
    ymm: Vec<Reg>,
}

impl Values {
    /// Finds the registers.
    pub fn new<P: Plugin>(reg: &Registrar<P>) -> Result<Values, Error> {
        let wide = reg.word_size() == 8;
        let names: &[&str] = if wide {
            &[
                "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
                "r12", "r13", "r14", "r15",
            ]
        } else {
            &["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
        };
        let numbered = |class: &str, count: usize| {
            (0..count).map(|n| reg.reg(&format!("{class}{n}"))).collect::<Result<Vec<_>, _>>()
        };
        Ok(Values {
            general: names.iter().map(|name| reg.reg(name)).collect::<Result<_, _>>()?,
            flags: reg.reg(if wide { "rflags" } else { "eflags" })?,
            fs_base: reg.reg("fs_base")?,
            gs_base: reg.reg("gs_base")?,
            x87_status: reg.reg("fstat")?,
            mm: numbered("mm", 8)?,
            xmm: numbered("xmm", names.len())?,
            ymm: numbered("ymm", names.len())?,
        })
    }

    /// The handle of a general register or segment base; `None` for segments whose base is 0.
    pub fn handle(&self, register: Register) -> Option<Reg> {
        match register {
            Register::FS => Some(self.fs_base),
            Register::GS => Some(self.gs_base),
            r if r.is_gpr() => self.general.get(r.full_register().number()).copied(),
            _ => None,
        }
    }

    /// The value of a general register by number.
    pub fn general(&self, cpu: &Cpu<'_>, number: usize) -> u64 {
        cpu.reg(self.general[number]).unwrap_or_default()
    }

    /// The handle of a general register by number.
    pub fn general_handle(&self, number: usize) -> Reg {
        self.general[number]
    }

    /// The flags.
    pub fn flags(&self, cpu: &Cpu<'_>) -> u64 {
        cpu.reg(self.flags).unwrap_or_default()
    }

    /// The number of the x87 register that is the top of the stack.
    pub fn x87_top(&self, cpu: &Cpu<'_>) -> u8 {
        (cpu.reg(self.x87_status).unwrap_or_default() >> 11 & 7) as u8
    }

    /// The value of a general, MMX or vector register.
    pub fn read(&self, cpu: &Cpu<'_>, register: Register, out: &mut [u8; 32]) {
        let number = register.number();
        let handle = match register {
            r if r.is_mm() => self.mm.get(number),
            r if r.is_xmm() => self.xmm.get(number),
            r if r.is_ymm() => self.ymm.get(number),
            _ => None,
        };
        *out = [0; 32];
        match handle {
            Some(reg) => {
                // It has at most 32 bytes and was declared.
                let _ = cpu.reg_bytes(*reg, out);
            }
            None => {
                let value = self.handle(register).and_then(|r| cpu.reg(r).ok());
                out[..8].copy_from_slice(&value.unwrap_or_default().to_le_bytes());
            }
        }
    }
}
