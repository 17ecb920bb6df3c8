//! The two system-call ABIs a guest may use.

pub mod layout;
pub mod structs;

/// A guest ABI: the architecture of its executable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Abi {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    I386,
}

impl Abi {
    /// The architecture that executes it.
    pub fn arch(self) -> &'static dyn emu_cpu::GuestArch {
        match self {
            Abi::X86_64 => &emu_x86::X86_64,
            Abi::I386 => &emu_x86::I386,
        }
    }

    /// Bytes in a guest word (`long`, pointer).
    pub const fn word(self) -> u64 {
        match self {
            Abi::X86_64 => 8,
            Abi::I386 => 4,
        }
    }

    /// One past the last address a guest may map (`TASK_SIZE`).
    pub const fn task_size(self) -> u64 {
        match self {
            Abi::X86_64 => 0x5500_0000_0000,
            Abi::I386 => 0xffff_e000,
        }
    }

    /// Lowest address that may be handed out. A fixed mapping may lie below it, from the second page
    /// on, where the host kernel allows it (`vm.mmap_min_addr`).
    pub const fn min_address(self) -> u64 {
        0x1_0000
    }

    /// One past the first byte of the initial stack.
    pub const fn stack_top(self) -> u64 {
        match self {
            Abi::X86_64 => 0x5400_0000_0000,
            Abi::I386 => 0xffff_e000,
        }
    }

    /// The top of the area `mmap` hands out, top down.
    pub const fn mmap_top(self) -> u64 {
        match self {
            Abi::X86_64 => 0x5400_0000_0000 - (64 << 20),
            Abi::I386 => 0xf7ff_0000,
        }
    }

    /// Where a position-independent main program is loaded.
    pub const fn pie_base(self) -> u64 {
        match self {
            Abi::X86_64 => 0x4000_0000_0000,
            Abi::I386 => 0x5655_5000,
        }
    }

    /// The name `uname -m` and `AT_PLATFORM` use.
    pub const fn machine(self) -> &'static str {
        match self {
            Abi::X86_64 => "x86_64",
            Abi::I386 => "i686",
        }
    }

    /// The name of the guest architecture (`GuestArch::name`).
    pub const fn arch_name(self) -> &'static str {
        match self {
            Abi::X86_64 => "x86_64",
            Abi::I386 => "i386",
        }
    }
}
