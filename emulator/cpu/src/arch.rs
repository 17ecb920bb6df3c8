//! The description of a guest architecture.

use emu_ir::Block;

use crate::{CpuHeader, HelperDesc, X87Unit};

/// Where a lifter gets guest code from.
pub trait CodeSource {
    /// Readable guest bytes from `pc` on: at least 16 unless the bytes after them cannot be read.
    /// Empty when `pc` itself cannot be fetched.
    fn window(&mut self, pc: u64) -> &[u8];
}

/// What the engine wants of a lifted block.
#[derive(Clone, Copy, Debug)]
pub struct LiftOptions {
    /// Most guest instructions (1 for single-stepping).
    pub max_insns: usize,
    /// End at every branch, so that blocks are basic blocks (somebody watches blocks).
    pub basic_blocks: bool,
    /// Raise [`emu_ir::TrapKind::Hypercall`] at the hypercall instruction (somebody listens).
    pub hypercalls: bool,
}

/// The role of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegKind {
    /// General purpose.
    General,
    /// Program counter.
    Pc,
    /// Status flags.
    Flags,
    /// Segment selector or base.
    Segment,
    /// Floating point or vector.
    Vector,
    /// x87 and control state.
    Control,
}

/// A register as plugins and debuggers see it.
#[derive(Clone, Copy, Debug)]
pub struct RegDesc {
    /// Lower-case name: `rax`, `eip`, `xmm0`.
    pub name: &'static str,
    /// Stable id; never renumbered.
    pub id: u32,
    /// Size in bytes.
    pub bytes: u32,
    /// Role.
    pub kind: RegKind,
}

/// A guest architecture in one mode (`x86_64`, `i386`): everything the engine and the tiers need.
///
/// # Safety
/// Implementations promise that [`GuestArch::new_cpu`] returns a structure that begins with a
/// [`CpuHeader`], and that slots used in lifted blocks lie inside it.
pub unsafe trait GuestArch: Sync + core::fmt::Debug {
    /// Name: `x86_64`, `i386`.
    fn name(&self) -> &'static str;
    /// Bytes in a guest word: 4 or 8.
    fn word_bytes(&self) -> u32;
    /// Size of the CPU structure in bytes.
    fn cpu_bytes(&self) -> usize;
    /// A CPU structure in reset state, 64-byte aligned, owned by the caller, who returns it to
    /// [`GuestArch::free_cpu`].
    fn new_cpu(&self) -> *mut CpuHeader;
    /// A copy of a CPU structure.
    ///
    /// # Safety
    /// `cpu` came from [`GuestArch::new_cpu`] of the same architecture.
    unsafe fn clone_cpu(&self, cpu: *const CpuHeader) -> *mut CpuHeader;
    /// Frees a CPU structure.
    ///
    /// # Safety
    /// `cpu` came from this architecture and is not used afterwards.
    unsafe fn free_cpu(&self, cpu: *mut CpuHeader);
    /// The helper table, indexed by [`emu_ir::Op::Call`]'s `sub`.
    fn helpers(&self) -> &'static [HelperDesc];
    /// The name of the register at a slot, for IR text (`rax`, `xmm3`).
    fn slot_name(&self, slot: u32) -> Option<&'static str>;
    /// The slot with that name.
    fn slot_by_name(&self, name: &str) -> Option<u32>;
    /// Registers visible to plugins.
    fn registers(&self) -> &'static [RegDesc];
    /// Reads a register into `buf`; the number of bytes, or `None` for an unknown id or a buffer
    /// that is too small.
    ///
    /// # Safety
    /// `cpu` is a live CPU structure of this architecture.
    unsafe fn read_reg(&self, cpu: *const CpuHeader, id: u32, buf: &mut [u8]) -> Option<usize>;
    /// Writes a register from `data`; false for an unknown id or a wrong size.
    ///
    /// # Safety
    /// `cpu` is a live CPU structure of this architecture.
    unsafe fn write_reg(&self, cpu: *mut CpuHeader, id: u32, data: &[u8]) -> bool;
    /// Lifts the block at `pc`. Never fails: an instruction that cannot be fetched, decoded or
    /// lifted becomes a trap op at its place.
    fn lift(&self, pc: u64, code: &mut dyn CodeSource, options: &LiftOptions) -> Block {
        let mut block = Block::default();
        self.lift_into(pc, code, options, &mut block);
        block
    }
    /// [`GuestArch::lift`] into a block whose memory is used again; what it held is replaced.
    fn lift_into(
        &self,
        pc: u64,
        code: &mut dyn CodeSource,
        options: &LiftOptions,
        block: &mut Block,
    );
    /// Slots of 8 bytes that hold the registers programs use most, in the order of their numbers; a
    /// tier may keep them in host registers across blocks.
    fn hot_slots(&self) -> &'static [u32] {
        &[]
    }
    /// Slots of 16 bytes that hold vector registers, in the order of their numbers, for the same
    /// purpose.
    fn vector_slots(&self) -> &'static [u32] {
        &[]
    }
    /// The x87 unit, if the guest has one.
    fn x87_unit(&self) -> Option<&'static X87Unit> {
        None
    }
    /// The slot of a 32-bit MXCSR with the guest's exception mask bits; `None` when vector ops
    /// never trap.
    fn mxcsr_slot(&self) -> Option<u32> {
        None
    }
    /// The instruction at the start of `bytes` as text, and whether the architecture defines it (an
    /// instruction meant to be undefined, such as `ud2`, is not defined).
    fn describe(&self, pc: u64, bytes: &[u8]) -> (String, bool);
    /// Loads the guest's floating-point control state into the host's units.
    ///
    /// # Safety
    /// `cpu` is a live CPU structure of this architecture.
    unsafe fn fp_enter(&self, cpu: *mut CpuHeader);
    /// Saves the sticky state back and restores the host's.
    ///
    /// # Safety
    /// `cpu` is a live CPU structure of this architecture.
    unsafe fn fp_leave(&self, cpu: *mut CpuHeader);
}

impl emu_ir::Target for dyn GuestArch + '_ {
    fn slots(&self) -> core::ops::Range<u32> {
        size_of::<CpuHeader>() as u32..self.cpu_bytes() as u32
    }

    fn helper_effects(&self, n: u16) -> Option<emu_ir::Effects> {
        self.helpers().get(usize::from(n)).map(|h| h.effects)
    }

    fn helper_name(&self, n: u16) -> Option<&str> {
        self.helpers().get(usize::from(n)).map(|h| h.name)
    }

    fn slot_name(&self, slot: u32) -> Option<&str> {
        GuestArch::slot_name(self, slot)
    }

    fn slot_by_name(&self, name: &str) -> Option<u32> {
        GuestArch::slot_by_name(self, name)
    }
}
