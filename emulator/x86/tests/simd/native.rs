//! Runs one instruction on the real processor.

use core::arch::global_asm;
use core::cell::Cell;
use core::mem::offset_of;

use super::state::State;

global_asm!(
    ".globl simd_oracle_run",
    // rdi: state, rsi: code that ends with ret.
    "simd_oracle_run:",
    "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
    "push rsi",
    "push rdi",
    "fxrstor64 [rdi + {fx}]",
    "push qword ptr [rdi + {flags}]",
    "popfq",
    "mov rax, [rdi + {gpr}]",
    "mov rcx, [rdi + {gpr} + 8]",
    "mov rdx, [rdi + {gpr} + 16]",
    "mov rbx, [rdi + {gpr} + 24]",
    "mov rbp, [rdi + {gpr} + 40]",
    "mov rsi, [rdi + {gpr} + 48]",
    "mov r8, [rdi + {gpr} + 64]",
    "mov r9, [rdi + {gpr} + 72]",
    "mov r10, [rdi + {gpr} + 80]",
    "mov r11, [rdi + {gpr} + 88]",
    "mov r12, [rdi + {gpr} + 96]",
    "mov r13, [rdi + {gpr} + 104]",
    "mov r14, [rdi + {gpr} + 112]",
    "mov r15, [rdi + {gpr} + 120]",
    "mov rdi, [rdi + {gpr} + 56]",
    "call [rsp + 8]",
    "xchg rdi, [rsp]",
    "mov [rdi + {gpr}], rax",
    "mov [rdi + {gpr} + 8], rcx",
    "mov [rdi + {gpr} + 16], rdx",
    "mov [rdi + {gpr} + 24], rbx",
    "mov [rdi + {gpr} + 40], rbp",
    "mov [rdi + {gpr} + 48], rsi",
    "mov [rdi + {gpr} + 64], r8",
    "mov [rdi + {gpr} + 72], r9",
    "mov [rdi + {gpr} + 80], r10",
    "mov [rdi + {gpr} + 88], r11",
    "mov [rdi + {gpr} + 96], r12",
    "mov [rdi + {gpr} + 104], r13",
    "mov [rdi + {gpr} + 112], r14",
    "mov [rdi + {gpr} + 120], r15",
    "pushfq",
    "pop [rdi + {flags}]",
    "fxsave64 [rdi + {fx}]",
    "pop rax",
    "mov [rdi + {gpr} + 56], rax",
    "fninit",
    "mov dword ptr [rsp], 0x1f80",
    "ldmxcsr [rsp]",
    "pop rsi",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
    "ret",
    fx = const offset_of!(State, fx),
    gpr = const offset_of!(State, gpr),
    flags = const offset_of!(State, flags),
);

unsafe extern "C" {
    fn simd_oracle_run(state: *mut State, code: *const u8);
}

thread_local! {
    /// Floating-point exceptions this thread caught so far.
    static CAUGHT: Cell<u32> = const { Cell::new(0) };
}

/// Counts the exception and leaves the instruction as if it had returned to the trampoline.
extern "C" fn on_sigfpe(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    CAUGHT.set(CAUGHT.get() + 1);
    // SAFETY: the kernel passes a ucontext; the only instructions of this process that raise the
    // signal are those the trampoline calls, so the stack pointer is at its return address.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let stack = registers[libc::REG_RSP as usize] as *const i64;
        registers[libc::REG_RIP as usize] = *stack;
        registers[libc::REG_RSP as usize] += 8;
    }
}

/// A page of code and a page of data below 4 GiB.
pub struct Pages {
    code: *mut u8,
    pub data: *mut u8,
}

pub const DATA_LEN: usize = 256;

impl Pages {
    pub fn new() -> Pages {
        let map = |prot| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
            // SAFETY: a fresh private mapping.
            let p = unsafe { libc::mmap(core::ptr::null_mut(), 4096, prot, flags, -1, 0) };
            assert_ne!(p, libc::MAP_FAILED);
            p.cast::<u8>()
        };
        // SAFETY: the handler is async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = on_sigfpe as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGFPE, &action, core::ptr::null_mut()), 0);
        }
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        Pages { code: map(rw | libc::PROT_EXEC), data: map(rw) }
    }

    pub fn data(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has that size and lives as long as `self`.
        unsafe { core::slice::from_raw_parts_mut(self.data, DATA_LEN) }
    }

    /// Executes `instruction` in `state`; whether it raised a floating-point exception.
    pub fn run(&mut self, instruction: &[u8], state: &mut State) -> bool {
        assert!(instruction.len() < 16);
        let before = CAUGHT.get();
        // SAFETY: the code page is writable and executable; the instruction touches only registers
        // the trampoline saves, and the data page.
        unsafe {
            self.code.copy_from_nonoverlapping(instruction.as_ptr(), instruction.len());
            *self.code.add(instruction.len()) = 0xc3;
            simd_oracle_run(state, self.code);
        }
        state.flags &= u64::from(emu_ir::flags::ALL);
        CAUGHT.get() != before
    }
}
