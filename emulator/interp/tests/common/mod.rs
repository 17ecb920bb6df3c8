//! A guest processor for tests: a header and sixteen registers.
#![allow(dead_code, reason = "each test binary uses a part")]

use emu_cpu::{CpuHeader, HelperDesc};
use emu_interp::{Exit, Interp, MXCSR_ALL_MASKED};
use emu_ir::{Block, Builder, HookSite, JumpKind, Op, Ty, Val};

#[repr(C, align(64))]
#[derive(Default)]
pub struct Cpu {
    pub hdr: CpuHeader,
    pub regs: [u64; 16],
}

/// Slot of register `n`.
pub fn reg(n: usize) -> u32 {
    128 + 8 * n as u32
}

pub unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

/// Pc of the only instruction of a block built by [`block`].
pub const PC: u64 = 0x40_0000;

/// A block of one instruction, ended by a jump to the next one.
pub fn block(f: impl FnOnce(&mut Builder)) -> Block {
    let mut b = Builder::new(PC);
    b.insn_start(PC, 4);
    f(&mut b);
    b.jump(JumpKind::Jump, PC + 4);
    b.finish()
}

pub fn run_with(cpu: &mut Cpu, block: &Block, helpers: &'static [HelperDesc]) -> Exit {
    emu_mem::host_fault::install();
    // SAFETY: the CPU is live, the tests' blocks name only its slots.
    unsafe { Interp::new(helpers, no_hook).run(&raw mut cpu.hdr, block, MXCSR_ALL_MASKED) }
}

pub fn run(cpu: &mut Cpu, block: &Block) -> Exit {
    thread_local! {
        static INTERP: core::cell::RefCell<Interp> =
            core::cell::RefCell::new(Interp::new(&[], no_hook));
    }
    emu_mem::host_fault::install();
    INTERP.with_borrow_mut(|interp| {
        // SAFETY: as in `run_with`.
        unsafe { interp.run(&raw mut cpu.hdr, block, MXCSR_ALL_MASKED) }
    })
}

/// Puts `v` of type `ty`, zero-extended, in register `n`.
pub fn put_wide(b: &mut Builder, n: usize, ty: Ty, v: Val) {
    let v = b.convert(Op::Zext, ty, Ty::I64, v);
    b.put(Ty::I64, reg(n), v);
}

pub const INTS: [Ty; 4] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64];

/// Values of `ty` at which results change character, and a few others.
pub fn interesting(ty: Ty) -> Vec<u64> {
    let m = ty.mask();
    let top = 1u64 << (ty.bits() - 1);
    let mut v = vec![0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 0x7f, 0x80, 0x81, 0xff];
    v.extend([m, m - 1, top, top - 1, top + 1, top | 0x55, 0x1234_5678_9abc_def0 & m]);
    v.extend([0xfedc_ba98_7654_3210 & m, 0xaaaa_aaaa_aaaa_aaaa & m, m >> (ty.bits() / 2)]);
    v.retain(|x| x & m == *x);
    v.sort_unstable();
    v.dedup();
    v
}

/// Maps pages at an address the host chooses: `prot` gives the protection of each page.
pub struct Pages(pub u64, usize);

impl Pages {
    pub fn new(prot: &[i32]) -> Pages {
        let len = prot.len() * 4096;
        // SAFETY: a fresh private mapping.
        let p = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(p, libc::MAP_FAILED);
        for (n, &prot) in prot.iter().enumerate() {
            // SAFETY: a page of that mapping.
            assert_eq!(unsafe { libc::mprotect(p.byte_add(n * 4096), 4096, prot) }, 0);
        }
        Pages(p as u64, len)
    }

    pub fn read<const N: usize>(&self, addr: u64) -> [u8; N] {
        let mut b = [0; N];
        emu_mem::access::read(addr, &mut b).expect("a test page");
        b
    }

    pub fn write(&self, addr: u64, data: &[u8]) {
        emu_mem::access::write(addr, data).expect("a test page");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.0 as *mut libc::c_void, self.1) };
    }
}
