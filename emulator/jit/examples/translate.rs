//! Shows IR and machine code of x86-64 code given as hexadecimal digits.
use emu_cpu::{CodeSource, GuestArch, LiftOptions};

struct Code(Vec<u8>);

impl CodeSource for Code {
    fn window(&mut self, pc: u64) -> &[u8] {
        self.0.get(pc.wrapping_sub(0x40_0000) as usize..).unwrap_or(&[])
    }
}

fn main() {
    let text: String = std::env::args().skip(1).collect();
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes = digits.chunks(2).map(|d| d.iter().fold(0, |n, d| n * 16 + d) as u8).collect();
    let options = LiftOptions { max_insns: 64, basic_blocks: false, hypercalls: false };
    let arch: &'static dyn GuestArch = &emu_x86::X86_64;
    let mut block = arch.lift(0x40_0000, &mut Code(bytes), &options);
    emu_ir::pass::optimize(&mut block, arch);
    println!("{}", emu_ir::text::print(&block, arch));
    let mut jit = emu_jit::Jit::new(arch, emu_jit::Config::default()).expect("memory for code");
    match jit.compile(&block) {
        Ok(b) => print!("{}", jit.disassemble(b.id)),
        Err(e) => println!("{e}"),
    }
}
