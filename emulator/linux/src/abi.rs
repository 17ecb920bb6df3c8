//! The two system-call ABIs a guest may use.

pub mod layout;
pub mod structs;

use std::ops::Range;

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

    /// The parts of the address space a guest may map, in address order. The host process has the
    /// rest: its program lies in the gap, where the kernel puts position-independent programs, and
    /// its mappings and stack above. So a 64-bit guest finds its program, libraries and stack where
    /// the kernel would have put them, give or take: the run times of the sanitizers rely on that.
    pub const fn areas(self) -> &'static [Range<u64>] {
        const WIDE: &[Range<u64>] =
            &[0..0x5555_0000_0000, 0x5680_0000_0000..Abi::X86_64.stack_top()];
        const NARROW: &[Range<u64>] = std::slice::from_ref(&(0..Abi::I386.stack_top()));
        match self {
            Abi::X86_64 => WIDE,
            Abi::I386 => NARROW,
        }
    }

    /// One past the last address a guest may map (`TASK_SIZE`).
    pub const fn task_size(self) -> u64 {
        self.stack_top()
    }

    /// One past the last address that the kernel gives a program of this ABI (`TASK_SIZE_MAX`,
    /// `IA32_PAGE_OFFSET`): nothing of a guest lies in what is beyond [`Abi::task_size`], and it may ask for
    /// nothing to be there.
    pub const fn kernel_task_size(self) -> u64 {
        match self {
            Abi::X86_64 => (1 << 47) - 4096,
            Abi::I386 => 0xffff_e000,
        }
    }

    /// The rest of the guest's area that begins with `addr`; `None` outside the guest's areas.
    pub fn room_at(self, addr: u64) -> Option<u64> {
        self.areas().iter().find(|a| a.contains(&addr)).map(|a| a.end - addr)
    }

    /// Whether `addr..addr + len` lies in one of the guest's areas.
    pub fn holds(self, addr: u64, len: u64) -> bool {
        self.areas().iter().any(|a| a.start <= addr && addr <= a.end && len <= a.end - addr)
    }

    /// Lowest address that may be handed out. A fixed mapping may lie below it, from the second page
    /// on, where the host kernel allows it (`vm.mmap_min_addr`).
    pub const fn min_address(self) -> u64 {
        0x1_0000
    }

    /// One past the first byte of the initial stack.
    pub const fn stack_top(self) -> u64 {
        match self {
            Abi::X86_64 => 0x7ec0_0000_0000,
            Abi::I386 => 0xffff_e000,
        }
    }

    /// The top of the area `mmap` hands out, top down.
    pub const fn mmap_top(self) -> u64 {
        match self {
            Abi::X86_64 => Abi::X86_64.stack_top() - (64 << 20),
            Abi::I386 => 0xf7ff_0000,
        }
    }

    /// Where a position-independent main program is loaded.
    pub const fn pie_base(self) -> u64 {
        match self {
            Abi::X86_64 => 0x5500_0000_0000,
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
