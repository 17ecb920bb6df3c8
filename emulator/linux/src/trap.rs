//! Faults of guest instructions, as the signals Linux makes of them (arch/x86/kernel/traps.c,
//! arch/x86/mm/fault.c).

use emu_cpu::Trap;
use emu_ir::TrapKind;
use emu_mem::Prot;
use emu_x86::state::eflags;

use crate::signal::info::SI_KERNEL;
use crate::signal::{FaultState, SigInfo, deliver};
use crate::{Machine, Process, mm, modify};

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const BUS_ADRALN: i32 = 1;
const BUS_ADRERR: i32 = 2;
const ILL_ILLOPN: i32 = 2;
const FPE_INTDIV: i32 = 1;
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;

/// Page-fault error code bits.
mod err {
    pub const PRESENT: u64 = 1;
    pub const WRITE: u64 = 2;
    pub const USER: u64 = 4;
    pub const FETCH: u64 = 16;
}

/// Raises the signal of a fault, or repairs it (stack growth).
pub fn raise(p: &mut Process, m: &mut dyn Machine, t: &Trap) {
    let pc = p.cpu().hdr.pc;
    let cr2 = p.thread().signals.fault.cr2;
    let vector = |trapno| FaultState { trapno, err: 0, cr2 };
    let (fault, info) = match t.kind {
        TrapKind::PageFault | TrapKind::FetchFault => {
            if mm::grow_down(p, m, t.addr) {
                return;
            }
            page_fault(p, m, t)
        }
        TrapKind::BusError => {
            let err = err::USER | if t.write { err::WRITE } else { 0 };
            let fault = FaultState { trapno: 14, err, cr2: t.addr };
            (fault, SigInfo::fault(libc::SIGBUS, BUS_ADRERR, t.addr))
        }
        TrapKind::DivideError => (vector(0), SigInfo::fault(libc::SIGFPE, FPE_INTDIV, pc)),
        TrapKind::SingleStep => (vector(1), SigInfo::fault(libc::SIGTRAP, TRAP_TRACE, pc)),
        TrapKind::Debug => (vector(1), SigInfo::fault(libc::SIGTRAP, TRAP_BRKPT, pc)),
        TrapKind::Breakpoint => (vector(3), SigInfo::new(libc::SIGTRAP, SI_KERNEL)),
        TrapKind::Overflow => (vector(4), SigInfo::new(libc::SIGSEGV, SI_KERNEL)),
        TrapKind::BoundRange => (vector(5), SigInfo::new(libc::SIGSEGV, SI_KERNEL)),
        TrapKind::InvalidOpcode => (vector(6), SigInfo::fault(libc::SIGILL, ILL_ILLOPN, pc)),
        TrapKind::X87 => {
            let x = &p.cpu().x87;
            let pending = x.status & !x.control;
            (vector(16), SigInfo::fault(libc::SIGFPE, fpe_code(pending), pc))
        }
        TrapKind::Simd => {
            let mxcsr = p.cpu().mxcsr;
            let pending = (mxcsr & !(mxcsr >> 7)) as u16;
            (vector(19), SigInfo::fault(libc::SIGFPE, fpe_code(pending), pc))
        }
        TrapKind::Alignment => (vector(17), SigInfo::fault(libc::SIGBUS, BUS_ADRALN, 0)),
        TrapKind::Syscall | TrapKind::Sysenter => {
            // A 32-bit guest's `syscall` and a 64-bit guest's `sysenter`: not entry points here.
            p.cpu().hdr.pc = pc.wrapping_sub(2);
            let at = pc.wrapping_sub(2);
            (vector(6), SigInfo::fault(libc::SIGILL, ILL_ILLOPN, at))
        }
        _ => {
            let fault = FaultState { trapno: 13, err: protection_error(pc), cr2 };
            (fault, SigInfo::new(libc::SIGSEGV, SI_KERNEL))
        }
    };
    // A fault saves the resume flag, a trap does not; what becomes of the signal clears it.
    if !matches!(fault.trapno, 1 | 3 | 4) {
        p.cpu().sys_flags |= eflags::RF;
    }
    p.thread().signals.fault = fault;
    deliver::force(p, info);
}

/// The error code of a general-protection fault: for `int n` it names the gate, else it is 0.
fn protection_error(pc: u64) -> u64 {
    const IDT: u64 = 2;
    let mut insn = [0; 2];
    match emu_mem::access::read(pc, &mut insn) {
        Ok(()) if insn[0] == 0xcd => u64::from(insn[1]) << 3 | IDT,
        _ => 0,
    }
}

fn page_fault(p: &mut Process, m: &mut dyn Machine, t: &Trap) -> (FaultState, SigInfo) {
    let addr = t.addr;
    let mapping = m.space().find(addr).map(|(_, _, g)| g.prot);
    let mut error = err::USER;
    if t.kind == TrapKind::FetchFault {
        error |= err::FETCH;
    } else if t.write || modify::modifies(p.abi, p.cpu().hdr.pc) {
        error |= err::WRITE;
    }
    let present = mapping.is_some_and(|prot| prot != Prot::NONE);
    // Addresses the user cannot have look present (fault.c, `set_signal_archinfo`).
    if present || addr >= 1 << 47 {
        error |= err::PRESENT;
    }
    let code = if mapping.is_some() { SEGV_ACCERR } else { SEGV_MAPERR };
    (FaultState { trapno: 14, err: error, cr2: addr }, SigInfo::fault(libc::SIGSEGV, code, addr))
}

/// The si_code of unmasked floating-point exceptions (fpu/core.c, `fpu__exception_code`).
fn fpe_code(pending: u16) -> i32 {
    const FPE_FLTDIV: i32 = 3;
    const FPE_FLTOVF: i32 = 4;
    const FPE_FLTUND: i32 = 5;
    const FPE_FLTRES: i32 = 6;
    const FPE_FLTINV: i32 = 7;
    match pending & 0x3f {
        e if e & 1 != 0 => FPE_FLTINV,
        e if e & 4 != 0 => FPE_FLTDIV,
        e if e & 8 != 0 => FPE_FLTOVF,
        e if e & 0x12 != 0 => FPE_FLTUND,
        e if e & 0x20 != 0 => FPE_FLTRES,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_codes_follow_priority() {
        assert_eq!(fpe_code(1 | 4), 7);
        assert_eq!(fpe_code(4), 3);
        assert_eq!(fpe_code(8 | 0x20), 4);
        assert_eq!(fpe_code(2), 5);
        assert_eq!(fpe_code(0x20), 6);
    }
}
