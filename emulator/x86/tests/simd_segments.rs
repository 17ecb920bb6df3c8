//! The implicit address of masked stores: segment override and address size.

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions};
use emu_interp::{ExitKind, Interp, MXCSR_ALL_MASKED};
use emu_ir::HookSite;
use emu_x86::{I386, X86_64, X86Cpu};

const PC: u64 = 0x1000;
const RDI: usize = 7;

struct Code<'a>(&'a [u8]);

impl CodeSource for Code<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get((pc - PC) as usize..).unwrap_or(&[])
    }
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

/// Executes `maskmovdqu xmm1, xmm2` behind `prefixes` on xmm1 = 1, 2, 3… with every other byte
/// selected.
fn masked_store(arch: &dyn GuestArch, prefixes: &[u8], fs_base: u64, rdi: u64) {
    emu_mem::host_fault::install();
    let mut cpu = X86Cpu { fs_base, ..X86Cpu::default() };
    cpu.gpr[RDI] = rdi;
    for n in 0..16 {
        cpu.vec[1].0[n] = n as u8 + 1;
        cpu.vec[2].0[n] = if n % 2 == 0 { 0x80 } else { 0x7f };
    }
    let code = [prefixes, &[0x66, 0x0f, 0xf7, 0xca]].concat();
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    let block = arch.lift(PC, &mut Code(&code), &options);
    let header = (&raw mut cpu).cast::<CpuHeader>();
    // SAFETY: the structure is live and of this architecture, the block was lifted for it.
    let exit = unsafe {
        arch.fp_enter(header);
        let exit = Interp::new(arch.helpers(), no_hook).run(header, &block, MXCSR_ALL_MASKED);
        arch.fp_leave(header);
        exit
    };
    assert_eq!(exit.kind, ExitKind::Jump);
}

const STORED: [u8; 16] = [1, 0, 3, 0, 5, 0, 7, 0, 9, 0, 11, 0, 13, 0, 15, 0];

#[test]
fn the_segment_base_is_added() {
    let mut data = [0u8; 32];
    let at = data.as_mut_ptr() as u64;
    masked_store(&X86_64, &[0x64], at - 100, 108);
    assert_eq!(data[8..24], STORED);
    assert_eq!((data[7], data[24]), (0, 0));
}

#[test]
fn the_offset_has_the_address_size() {
    let mut data = [0u8; 16];
    let at = data.as_mut_ptr() as u64;
    masked_store(&X86_64, &[0x64, 0x67], at - 0xffff_0000, 0x1234_5678_ffff_0000);
    assert_eq!(data, STORED);
}

#[test]
fn addresses_of_32_bit_guests_wrap() {
    // SAFETY: a fresh private mapping below 4 GiB.
    let page = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(core::ptr::null_mut(), 4096, rw, flags, -1, 0)
    };
    assert_ne!(page, libc::MAP_FAILED);
    let at = page as u64;
    // Base and offset add up to 4 GiB more.
    masked_store(&I386, &[0x64], at + 0x1000, 0xffff_f000);
    // SAFETY: the mapping stays.
    assert_eq!(unsafe { *page.cast::<[u8; 16]>() }, STORED);
    // A 16-bit offset ignores the upper half of edi.
    masked_store(&I386, &[0x64, 0x67], at - 0x10, 0xabcd_0030);
    // SAFETY: as above.
    assert_eq!(unsafe { *page.cast::<u8>().add(0x20).cast::<[u8; 16]>() }, STORED);
}
