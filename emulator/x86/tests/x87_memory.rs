//! x87 and whole-state instructions and memory: precise faults, images, hooks.

use core::arch::asm;
use std::cell::RefCell;

use emu_cpu::{CodeSource, CpuHeader, GuestArch, LiftOptions, MemWatch, Trap};
use emu_interp::{Interp, MXCSR_ALL_MASKED};
use emu_ir::{HookCell, HookSite, TrapKind};
use emu_x86::fxsave::{self, FxLayout};
use emu_x86::{Mode, X86_64, X86Cpu, lift_block, mxcsr};

const PC: u64 = 0x10_0000;

struct Bytes<'a>(&'a [u8]);

impl CodeSource for Bytes<'_> {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(PC) as usize..).unwrap_or(&[])
    }
}

unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

/// Runs one instruction in the guest's floating-point environment.
fn run(cpu: &mut X86Cpu, mode: Mode, code: &[u8]) -> Option<Trap> {
    emu_mem::host_fault::install();
    let mut padded = code.to_vec();
    padded.resize(16, 0x90);
    let options = LiftOptions { max_insns: 1, basic_blocks: false, hypercalls: false };
    let block = lift_block(mode, PC, &mut Bytes(&padded), &options);
    mxcsr::enter(cpu);
    // SAFETY: the structure is live and of the block's architecture.
    unsafe {
        Interp::new(X86_64.helpers(), no_hook).run(&raw mut cpu.hdr, &block, MXCSR_ALL_MASKED);
    }
    mxcsr::leave(cpu);
    cpu.hdr.take_trap()
}

/// Two pages below 4 GiB, the second one without access.
struct Pages(*mut u8);

impl Pages {
    const LEN: usize = 8192;

    fn new() -> Pages {
        // SAFETY: a fresh mapping.
        let p = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let p = libc::mmap(core::ptr::null_mut(), Pages::LEN, prot, flags, -1, 0);
            assert_ne!(p, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(p.byte_add(4096), 4096, libc::PROT_NONE), 0);
            p
        };
        Pages(p.cast())
    }

    fn addr(&self) -> u64 {
        self.0 as u64
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut b = [0; N];
        emu_mem::access::read(self.addr() + at as u64, &mut b).expect("the first page");
        b
    }

    fn fill(&self, at: usize, bytes: &[u8]) {
        emu_mem::access::write(self.addr() + at as u64, bytes).expect("the first page");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.0.cast(), Pages::LEN) };
    }
}

/// A state with something everywhere.
fn state() -> X86Cpu {
    let mut cpu = X86Cpu { mxcsr: 0x1fa1, ..X86Cpu::default() };
    cpu.x87.set_control(0x0e7f);
    cpu.x87.set_status_word(0x6900 | 0x21);
    cpu.x87.valid = 0b1110_0110;
    for n in 0..8u8 {
        let st = &mut cpu.x87.st[usize::from(n)].0;
        st[..10].copy_from_slice(&[n, 1, 2, 3, 4, 5, 6, 0xc0 + n, n, 0x3f]);
    }
    for (n, v) in cpu.vec.iter_mut().enumerate() {
        v.0[..16].fill(0x40 + n as u8);
    }
    cpu
}

fn image(cpu: &X86Cpu) -> [u8; 512] {
    let mut image = [0; 512];
    fxsave::write_fxsave(cpu, &mut image);
    image
}

#[test]
fn a_fault_leaves_the_state_alone() {
    // Every access with one or more bytes beyond the page: (instruction with [rsi], size, write).
    let accesses: &[(&[u8], u64, bool)] = &[
        (&[0xd9, 0x06], 4, false),        // fld m32
        (&[0xdd, 0x06], 8, false),        // fld m64
        (&[0xdb, 0x2e], 10, false),       // fld m80
        (&[0xdf, 0x06], 2, false),        // fild m16
        (&[0xdf, 0x2e], 8, false),        // fild m64
        (&[0xdf, 0x26], 10, false),       // fbld
        (&[0xdc, 0x06], 8, false),        // fadd m64
        (&[0xd8, 0x1e], 4, false),        // fcomp m32
        (&[0xd9, 0x16], 4, true),         // fst m32
        (&[0xd9, 0x1e], 4, true),         // fstp m32
        (&[0xdd, 0x1e], 8, true),         // fstp m64
        (&[0xdb, 0x3e], 10, true),        // fstp m80
        (&[0xdf, 0x1e], 2, true),         // fistp m16
        (&[0xdf, 0x3e], 8, true),         // fistp m64
        (&[0xdd, 0x0e], 8, true),         // fisttp m64
        (&[0xdf, 0x36], 10, true),        // fbstp
        (&[0xd9, 0x2e], 2, false),        // fldcw
        (&[0xd9, 0x3e], 2, true),         // fnstcw
        (&[0xdd, 0x3e], 2, true),         // fnstsw
        (&[0xd9, 0x26], 28, false),       // fldenv
        (&[0xd9, 0x36], 28, true),        // fnstenv
        (&[0xdd, 0x26], 108, false),      // frstor
        (&[0xdd, 0x36], 108, true),       // fnsave
        (&[0x66, 0xdd, 0x26], 94, false), // frstor, 16-bit
        (&[0x66, 0xdd, 0x36], 94, true),  // fnsave, 16-bit
    ];
    let pages = Pages::new();
    let end = pages.addr() + 4096;
    for mode in [Mode::Bits32, Mode::Bits64] {
        for &(code, size, write) in accesses {
            for beyond in [1, size.div_ceil(2), size] {
                let mut cpu = state();
                // A stack with room for one more, and a small ST(0).
                cpu.x87.valid = 0xff ^ 1 << cpu.x87.phys(7);
                let start = end - size + beyond;
                cpu.gpr[6] = start;
                pages.fill(4096 - 128, &[0x5a; 128]);
                let before = image(&cpu);
                let trap =
                    run(&mut cpu, mode, code).unwrap_or_else(|| panic!("{code:02x?} succeeded"));
                assert_eq!(trap.kind, TrapKind::PageFault, "{code:02x?}");
                assert_eq!(trap.write, write, "{code:02x?}");
                assert_eq!(trap.addr, end.max(start), "{code:02x?} at {beyond}");
                assert_eq!(image(&cpu), before, "{code:02x?}");
                assert_eq!(pages.bytes::<128>(4096 - 128), [0x5a; 128], "{code:02x?} wrote a part");
                assert_eq!(cpu.hdr.pc, PC);
            }
        }
    }
}

/// The host's own FXSAVE64 after loading `image`.
fn through_the_host(image: &[u8; 512]) -> [u8; 512] {
    #[repr(C, align(16))]
    struct Aligned([u8; 512]);
    let input = Aligned(*image);
    let mut host = Aligned([0; 512]);
    let mut output = Aligned([0; 512]);
    // SAFETY: saves the host's state, loads a valid image, saves that, and restores the host's.
    unsafe {
        asm!("fxsave64 [{h}]", "fxrstor64 [{i}]", "fxsave64 [{o}]", "fxrstor64 [{h}]",
            h = in(reg) &mut host, i = in(reg) &input, o = in(reg) &mut output,
            options(nostack));
    }
    output.0
}

#[test]
fn the_image_is_what_the_processor_loads_and_saves() {
    let mut cpu = state();
    cpu.x87.last_ip = 0x1234_5678_9abc;
    cpu.x87.last_dp = 0x4321_8765_cba9;
    cpu.x87.last_opcode = 0x123;
    let ours = image(&cpu);
    let theirs = through_the_host(&ours);
    // The opcode field is kept only after an exception, and on some processors the two pointers
    // are, too; everything else is equal.
    assert_eq!(ours[..6], theirs[..6]);
    if theirs[8..24] != [0; 16] {
        assert_eq!(ours[8..24], theirs[8..24]);
    }
    assert_eq!(ours[24..28], theirs[24..28]);
    assert_eq!(ours[32..416], theirs[32..416]);

    let mut back = X86Cpu::default();
    assert_eq!(fxsave::read_fxsave(&mut back, &theirs), Ok(()));
    back.x87.last_opcode = 0x123;
    (back.x87.last_ip, back.x87.last_dp) = (cpu.x87.last_ip, cpu.x87.last_dp);
    assert_eq!(image(&back), ours);
}

#[test]
fn fxsave_and_fxrstor_carry_everything() {
    let pages = Pages::new();
    for (mode, code_save, code_load, layout, written) in [
        (Mode::Bits64, &[0x0f, 0xae, 0x06][..], &[0x0f, 0xae, 0x0e][..], FxLayout::Long32, 416),
        (Mode::Bits64, &[0x48, 0x0f, 0xae, 0x06], &[0x48, 0x0f, 0xae, 0x0e], FxLayout::Long64, 416),
        (Mode::Bits32, &[0x0f, 0xae, 0x06], &[0x0f, 0xae, 0x0e], FxLayout::I386, 288),
    ] {
        let mut cpu = state();
        cpu.gpr[6] = pages.addr();
        pages.fill(0, &[0x77; 512]);
        assert_eq!(run(&mut cpu, mode, code_save), None);
        let mut expect = [0x77; 512];
        fxsave::write_fxsave_as(&cpu, &mut expect, layout);
        assert_eq!(pages.bytes::<512>(0), expect);
        assert!(expect[written..].iter().all(|&b| b == 0x77), "{layout:?} writes no more");

        let mut other = X86Cpu::default();
        other.gpr[6] = pages.addr();
        assert_eq!(run(&mut other, mode, code_load), None);
        let mut again = [0x77; 512];
        fxsave::write_fxsave_as(&other, &mut again, layout);
        assert_eq!(again, expect);
        if mode == Mode::Bits32 {
            assert_eq!(other.vec[8].0, [0; 32], "xmm8 does not exist");
        }
    }
}

#[test]
fn fxsave_stores_flags_raised_since_the_guest_was_entered() {
    let pages = Pages::new();
    let mut cpu = X86Cpu::default();
    cpu.gpr[6] = pages.addr();
    cpu.vec[0].0[..8].copy_from_slice(&1.0f64.to_le_bytes());
    cpu.vec[1].0[..8].copy_from_slice(&3.0f64.to_le_bytes());
    // divsd xmm0, xmm1; fxsave [rsi], in one stay in guest code.
    let code = [0xf2, 0x0f, 0x5e, 0xc1, 0x0f, 0xae, 0x06];
    emu_mem::host_fault::install();
    let options = LiftOptions { max_insns: 2, basic_blocks: false, hypercalls: false };
    let mut padded = code.to_vec();
    padded.resize(32, 0x90);
    let block = lift_block(Mode::Bits64, PC, &mut Bytes(&padded), &options);
    mxcsr::enter(&mut cpu);
    // SAFETY: the structure is live and of the block's architecture.
    unsafe {
        Interp::new(X86_64.helpers(), no_hook).run(&raw mut cpu.hdr, &block, MXCSR_ALL_MASKED);
    }
    mxcsr::leave(&mut cpu);
    assert_eq!(cpu.hdr.take_trap(), None);
    assert_eq!(pages.bytes::<4>(24), 0x1fa0u32.to_le_bytes());
}

#[test]
fn fxsave_and_fxrstor_check_address_and_mxcsr() {
    let pages = Pages::new();
    for code in [[0x0f, 0xae, 0x06], [0x0f, 0xae, 0x0e]] {
        let mut cpu = state();
        cpu.gpr[6] = pages.addr() + 8;
        let before = image(&cpu);
        let trap = run(&mut cpu, Mode::Bits64, &code);
        assert_eq!(trap.map(|t| t.kind), Some(TrapKind::Protection));
        cpu.gpr[6] = pages.addr() + 4096 - 64;
        let trap = run(&mut cpu, Mode::Bits64, &code);
        assert_eq!(
            trap.map(|t| (t.kind, t.addr)),
            Some((TrapKind::PageFault, pages.addr() + 4096))
        );
        assert_eq!(image(&cpu), before);
    }
    let mut cpu = state();
    cpu.gpr[6] = pages.addr();
    let mut bad = image(&cpu);
    bad[26] = 1;
    pages.fill(0, &bad);
    let before = image(&cpu);
    let trap = run(&mut cpu, Mode::Bits64, &[0x0f, 0xae, 0x0e]);
    assert_eq!(trap.map(|t| t.kind), Some(TrapKind::Protection));
    assert_eq!(image(&cpu), before);
}

#[test]
fn an_unmasked_exception_is_reported_at_the_next_waiting_instruction() {
    let pages = Pages::new();
    let mut cpu = X86Cpu::default();
    cpu.gpr[6] = pages.addr();
    cpu.x87.set_control(0x37b); // zero divide unmasked
    cpu.hdr.insn_pc = PC;
    pages.fill(0, &0f64.to_le_bytes());
    assert_eq!(run(&mut cpu, Mode::Bits64, &[0xd9, 0xe8]), None); // fld1
    assert_eq!(run(&mut cpu, Mode::Bits64, &[0xdc, 0x36]), None); // fdiv qword [rsi]
    assert_eq!(cpu.x87.status_word() & 0x80ff, 0x8084);
    assert_eq!(cpu.x87.last_dp, pages.addr());
    assert_eq!(cpu.x87.last_opcode, 0x436);
    let one = cpu.x87.st[cpu.x87.phys(0)];
    assert_eq!(one.0[7..10], [0x80, 0xff, 0x3f], "the operand is untouched");
    // fnstsw ax does not wait, fwait does; fnclex ends it.
    assert_eq!(run(&mut cpu, Mode::Bits64, &[0xdf, 0xe0]), None);
    assert_eq!(cpu.gpr[0] & 0xffff, 0xb884);
    let trap = run(&mut cpu, Mode::Bits64, &[0x9b]);
    assert_eq!(trap.map(|t| t.kind), Some(TrapKind::X87));
    assert_eq!(run(&mut cpu, Mode::Bits64, &[0xdb, 0xe2]), None);
    assert_eq!(run(&mut cpu, Mode::Bits64, &[0x9b]), None);
}

thread_local! {
    static SEEN: RefCell<Vec<(u64, u64, bool, bool)>> = const { RefCell::new(Vec::new()) };
}

/// The user data says which kind of access it is.
unsafe extern "C" fn record(
    kind: usize,
    _: *mut CpuHeader,
    _: u64,
    addr: u64,
    size: u64,
    _: *const u8,
) {
    SEEN.with_borrow_mut(|s| s.push((addr, size, kind & 2 != 0, kind & 1 == 0)));
}

/// Reports each access.
fn each() -> &'static MemWatch {
    let cell = |n| HookCell::new(record as *const () as usize, n);
    let cells = Box::leak(Box::new([0, 1, 2, 3].map(cell)));
    // SAFETY: the cells stay; the function is of the type.
    Box::leak(Box::new(unsafe { MemWatch::each(cells) }))
}

#[test]
fn stores_are_reported_to_the_memory_hook() {
    let pages = Pages::new();
    for (code, size, write) in [
        (&[0xdd, 0x1e][..], 8, true),
        (&[0xd9, 0x1e], 4, true),
        (&[0xdb, 0x3e], 10, true),
        (&[0xdf, 0x1e], 2, true),
        (&[0xdb, 0x2e], 10, false),
        (&[0xd9, 0x36], 28, true),
    ] {
        let mut cpu = X86Cpu::default();
        cpu.gpr[6] = pages.addr();
        cpu.x87.valid = 1;
        cpu.hdr.mem_hook = Some(each());
        SEEN.with_borrow_mut(Vec::clear);
        assert_eq!(run(&mut cpu, Mode::Bits64, code), None);
        let a = pages.addr();
        let expect = vec![(a, size, write, true), (a, size, write, false)];
        assert_eq!(SEEN.with_borrow(Clone::clone), expect, "{code:02x?}");
    }
}
