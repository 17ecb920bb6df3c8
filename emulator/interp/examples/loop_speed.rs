//! Speed of the interpreter on an integer loop: prints millions of guest instructions a second.
//!
//! `cargo run --release -p emu-interp --example loop_speed`

use emu_cpu::CpuHeader;
use emu_interp::{Interp, MXCSR_ALL_MASKED};
use emu_ir::{Addr, Block, Builder, Cond, FlagKind, HookSite, JumpKind, Op, Ty, Val, flags};

#[repr(C, align(64))]
#[derive(Default)]
struct Cpu {
    hdr: CpuHeader,
    regs: [u64; 16],
}

const RAX: u32 = 128;
const RCX: u32 = 136;
const LOOP: u64 = 0x1000;
const ODD: u64 = 0x2000;
const DONE: u64 = 0x3000;

/// The tail both blocks share: `shr rax, 1; inc rcx; cmp rax, 1; jne LOOP`.
fn tail(b: &mut Builder, pc: u64) {
    b.insn_start(pc, 3);
    let a = b.get(Ty::I64, RAX);
    let r = b.bin(Op::Shr, Ty::I64, a, 1);
    b.put(Ty::I64, RAX, r);
    b.flags_set(FlagKind::Shr, Ty::I64, a, 1, Val::NONE);
    b.insn_start(pc + 3, 3);
    let a = b.get(Ty::I64, RCX);
    let carry = b.flags_get(flags::CF);
    let r = b.bin(Op::Add, Ty::I64, a, 1);
    b.put(Ty::I64, RCX, r);
    b.flags_set(FlagKind::Inc, Ty::I64, r, 0, carry);
    b.insn_start(pc + 6, 4);
    let a = b.get(Ty::I64, RAX);
    b.flags_set(FlagKind::Sub, Ty::I64, a, 1, Val::NONE);
    b.insn_start(pc + 10, 2);
    let c = b.flags_cond(Cond::Ne);
    b.exit_if(c, LOOP);
    b.jump(JumpKind::Jump, DONE);
}

/// `test al, 1; jne ODD`, then the tail.
fn even() -> Block {
    let mut b = Builder::new(LOOP);
    b.insn_start(LOOP, 2);
    let a = b.get(Ty::I8, RAX);
    let r = b.bin(Op::And, Ty::I8, a, 1);
    b.flags_set(FlagKind::Logic, Ty::I8, r, 0, Val::NONE);
    b.insn_start(LOOP + 2, 2);
    let c = b.flags_cond(Cond::Ne);
    b.exit_if(c, ODD);
    tail(&mut b, LOOP + 4);
    b.finish()
}

/// `lea rax, [rax + rax*2 + 1]; inc rcx`, then the tail.
fn odd() -> Block {
    let mut b = Builder::new(ODD);
    b.insn_start(ODD, 5);
    let a = b.get(Ty::I64, RAX);
    let r = b.lea(Ty::I64, Addr { index: a, shift: 1, disp: 1, ..Addr::base(a) });
    b.put(Ty::I64, RAX, r);
    tail(&mut b, ODD + 5);
    b.finish()
}

/// No hooks in these blocks.
unsafe fn no_hook(_: *mut CpuHeader, _: &HookSite, _: u64, _: u64, _: *const u8) {}

/// Processor time this process has used, in seconds: other processes do not count.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills in a local.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn measure(name: &str, even: &Block, odd: &Block) {
    let mut cpu = Cpu::default();
    let mut interp = Interp::new(&[], no_hook);
    let (mut insns, mut blocks) = (0u64, 0u64);
    let start = cpu_seconds();
    for n in 1..200_000u64 {
        cpu.regs[0] = n * 2;
        cpu.hdr.pc = LOOP;
        loop {
            let block = match cpu.hdr.pc {
                LOOP => even,
                ODD => odd,
                _ => break,
            };
            // SAFETY: the CPU is live and the blocks name only its header and two registers.
            let exit = unsafe { interp.run(&raw mut cpu.hdr, block, MXCSR_ALL_MASKED) };
            insns += u64::from(exit.retired);
            blocks += 1;
        }
    }
    let seconds = cpu_seconds() - start;
    println!(
        "{name}: {:.1} M instructions/s ({insns} instructions, {blocks} blocks, steps {})",
        insns as f64 / seconds / 1e6,
        cpu.regs[1],
    );
}

fn main() {
    let (mut e, mut o) = (even(), odd());
    measure("as lifted", &e, &o);
    for block in [&mut e, &mut o] {
        emu_ir::pass::optimize(block, &emu_ir::PlainTarget::BARE);
    }
    measure("optimised", &e, &o);
    println!("{}", emu_ir::text::print(&e, &emu_ir::PlainTarget::BARE));
}
