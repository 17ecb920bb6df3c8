//! Reasons to hand control to the engine.

/// Why a block or a helper hands control to the engine.
///
/// *Fault-like* traps report the pc of the instruction, which does not retire. *Trap-like* ones
/// report the next pc, and the instruction retires.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum TrapKind {
    /// No trap.
    None = 0,
    /// System call by the architecture's fast instruction (`syscall`, `svc`). Trap-like.
    Syscall = 1,
    /// System call by x86 `sysenter`. Trap-like.
    Sysenter = 2,
    /// System call by x86 `int 0x80`. Trap-like.
    Int80 = 3,
    /// Breakpoint (`int3`). Trap-like.
    Breakpoint = 4,
    /// `into` with overflow. Trap-like.
    Overflow = 5,
    /// Undefined or unsupported instruction. Fault-like.
    InvalidOpcode = 6,
    /// Division by zero or quotient overflow. Fault-like.
    DivideError = 7,
    /// `bound` out of range. Fault-like.
    BoundRange = 8,
    /// General protection (privileged instruction, non-canonical or misaligned access). Fault-like.
    Protection = 9,
    /// Unmapped or forbidden data access; address and kind are in the CPU header. Fault-like.
    PageFault = 10,
    /// The access lies beyond the end of the mapped file (SIGBUS). Fault-like.
    BusError = 11,
    /// Unmasked x87 exception pending. Fault-like.
    X87 = 12,
    /// Unmasked SIMD floating-point exception. Fault-like.
    Simd = 13,
    /// Instruction bytes cannot be fetched; the address is in the CPU header. Fault-like.
    FetchFault = 14,
    /// Single step (x86 TF). Trap-like.
    SingleStep = 15,
    /// `int1`/`icebp`. Trap-like.
    Debug = 16,
    /// Alignment check. Fault-like.
    Alignment = 17,
    /// `hlt` and other instructions that only the system may execute are [`TrapKind::Protection`];
    /// this is the hypercall instruction of the architecture when someone listens. Fault-like: the
    /// engine asks the listeners and then skips or executes it.
    Hypercall = 18,
}

impl TrapKind {
    /// All kinds, in numeric order.
    pub const ALL: [TrapKind; 19] = [
        TrapKind::None,
        TrapKind::Syscall,
        TrapKind::Sysenter,
        TrapKind::Int80,
        TrapKind::Breakpoint,
        TrapKind::Overflow,
        TrapKind::InvalidOpcode,
        TrapKind::DivideError,
        TrapKind::BoundRange,
        TrapKind::Protection,
        TrapKind::PageFault,
        TrapKind::BusError,
        TrapKind::X87,
        TrapKind::Simd,
        TrapKind::FetchFault,
        TrapKind::SingleStep,
        TrapKind::Debug,
        TrapKind::Alignment,
        TrapKind::Hypercall,
    ];

    /// The kind numbered `n`; [`TrapKind::None`] for numbers out of range.
    pub const fn from_u8(n: u8) -> TrapKind {
        if (n as usize) < TrapKind::ALL.len() { TrapKind::ALL[n as usize] } else { TrapKind::None }
    }

    /// Whether generated code asks the kernel behind the CPU structure first, which may do what the trap
    /// is for.
    pub const fn asks_kernel(self) -> bool {
        matches!(self, TrapKind::Syscall | TrapKind::Int80 | TrapKind::Sysenter)
    }

    /// Whether the instruction that raised it counts as retired.
    pub const fn retires(self) -> bool {
        matches!(
            self,
            TrapKind::Syscall
                | TrapKind::Sysenter
                | TrapKind::Int80
                | TrapKind::Breakpoint
                | TrapKind::Overflow
                | TrapKind::SingleStep
                | TrapKind::Debug
        )
    }
}
