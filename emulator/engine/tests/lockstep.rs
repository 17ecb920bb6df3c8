//! Both tiers in lockstep on random programs: branches, loops, calls, returns and computed jumps between
//! blocks of random instructions, with random callbacks, random slices and pages that come and go. State,
//! memory, instruction counts and callbacks must be equal after every slice.

use core::ffi::c_void;
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};

use emu_cpu::{CpuHeader, GuestArch};
use emu_engine::{
    CounterKind, Engine, EngineConfig, OwnerId, Shared, Slice, Stop, SubscriptionId, Tier, Within,
};
use emu_mem::{Mapping, Prot};
use emu_x86::X86Cpu;
use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};
use plugin_api::abi::{BlockInfo, PandaCpu, flags, kind};

const CODE: u64 = 0x2100_0000;
const CODE_LEN: usize = 0x4000;
const DATA: u64 = 0x2200_0000;
const DATA_LEN: usize = 0x3000;
const PAGE: u64 = 0x1000;

/// A small generator of random numbers, so that failures can be repeated by seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Opcodes of the one-byte map that programs are made of.
const COMMON: &[u8] = &[
    0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x39, 0x3b,
    0x00, 0x02, 0x28, 0x3a, 0x63, 0x69, 0x6b, 0x81, 0x83, 0x83, 0x84, 0x85, 0x87, 0x88, 0x89, 0x89,
    0x8b, 0x8b, 0x8d, 0x8d, 0x98, 0x99, 0xc1, 0xc7, 0xd1, 0xd3, 0xf7, 0xff, 0x50, 0x58, 0x50, 0x58,
    0xa4, 0xab, 0xb8,
];

/// Second bytes of the two-byte map.
const COMMON_0F: &[u8] = &[
    0x10, 0x11, 0x28, 0x29, 0x2a, 0x2c, 0x2e, 0x40, 0x44, 0x51, 0x54, 0x57, 0x58, 0x59, 0x5c, 0x5e,
    0x6e, 0x6f, 0x70, 0x7e, 0x7f, 0x94, 0xa3, 0xa4, 0xaf, 0xb1, 0xb6, 0xbe, 0xc1, 0xd4, 0xd6, 0xef,
    0xfe,
];

/// Whether an instruction may stand in the middle of a block, and does the same in every run.
fn usable(i: &Instruction) -> bool {
    use Mnemonic as M;
    i.flow_control() == FlowControl::Next
        && !i.is_privileged()
        && !i.op_kinds().any(|k| k == OpKind::Memory && i.is_ip_rel_memory_operand())
        && i.memory_segment() as u32 >= iced_x86::Register::ES as u32
        && !matches!(
            i.mnemonic(),
            M::Cpuid
                | M::Rdtsc
                | M::Rdtscp
                | M::Rdrand
                | M::Rdseed
                | M::Xgetbv
                | M::Popf
                | M::Popfq
        )
}

fn instruction(rng: &mut Rng, bitness: u32) -> Vec<u8> {
    loop {
        let mut code = Vec::new();
        if rng.chance(20) {
            code.push([0x66, 0xf2, 0xf3][rng.below(3) as usize]);
        }
        if bitness == 64 && rng.chance(50) {
            code.push([0x48, 0x40 | rng.below(16) as u8][rng.below(2) as usize]);
        }
        if rng.chance(65) {
            let op = COMMON[rng.below(COMMON.len() as u64) as usize];
            let low = if matches!(op, 0x50 | 0x58 | 0xb8) { rng.below(8) as u8 } else { 0 };
            // Pushes and pops of the stack pointer itself lead out of the stack at once.
            code.push(op | if low == 4 { 3 } else { low });
        } else {
            code.extend([0x0f, COMMON_0F[rng.below(COMMON_0F.len() as u64) as usize]]);
        }
        if rng.chance(55) {
            code.push(0xc0 | rng.next() as u8);
        } else {
            code.push(0x40 | (rng.next() as u8 & 0x3f));
            code.push(rng.below(64) as u8);
        }
        code.extend((0..8).map(|_| rng.below(24) as u8));
        let mut d = Decoder::with_ip(bitness, &code, CODE, DecoderOptions::NONE);
        let i = d.decode();
        if d.last_error() == DecoderError::None && usable(&i) && i.op0_kind() != OpKind::FarBranch32
        {
            code.truncate(i.len());
            return code;
        }
    }
}

/// A program: its bytes and where its blocks begin.
struct Program {
    code: Vec<u8>,
    starts: Vec<u64>,
}

fn program(rng: &mut Rng, bitness: u32) -> Program {
    let count = 3 + rng.below(6) as usize;
    let bodies: Vec<Vec<u8>> = (0..count)
        .map(|_| (0..1 + rng.below(9)).flat_map(|_| instruction(rng, bitness)).collect())
        .collect();
    // Ways out have 16 bytes each, so all addresses are known before any is written.
    let mut at = CODE;
    let starts: Vec<u64> = bodies
        .iter()
        .map(|b| {
            let start = at;
            at += b.len() as u64 + 16;
            start
        })
        .collect();
    let mut code = Vec::new();
    for body in &bodies {
        code.extend(body);
        let end = code.len() + 16;
        let target = |rng: &mut Rng| starts[rng.below(count as u64) as usize];
        let relative = |code: &Vec<u8>, to: u64| {
            (to.wrapping_sub(CODE + code.len() as u64 + 4) as u32).to_le_bytes()
        };
        match rng.below(8) {
            0 | 1 => {
                code.extend([0x0f, 0x80 | rng.below(16) as u8]);
                let to = target(rng);
                code.extend(relative(&code, to));
            }
            2 => {
                // dec ecx; jnz
                code.extend([0xff, 0xc9, 0x0f, 0x85]);
                let to = target(rng);
                code.extend(relative(&code, to));
            }
            3 => {
                code.push(0xe8);
                let to = target(rng);
                code.extend(relative(&code, to));
            }
            4 => {
                // mov eax, target; jmp rax
                code.push(0xb8);
                code.extend((target(rng) as u32).to_le_bytes());
                code.extend([0xff, 0xe0]);
            }
            5 => {
                // push target; ret: not to where a call came from
                code.push(0x68);
                code.extend((target(rng) as u32).to_le_bytes());
                code.push(0xc3);
            }
            6 => {
                // call; jnz over the return: to whatever is on the stack
                let to = target(rng);
                code.push(0xe8);
                code.extend(relative(&code, to));
                code.extend([0x75, 1, 0xc3]);
            }
            _ => {}
        }
        while code.len() + 5 < end {
            code.push(0x90);
        }
        code.push(0xe9);
        let to = target(rng);
        code.extend(relative(&code, to));
        assert_eq!(code.len(), end);
    }
    Program { code, starts }
}

/// What one owner's callbacks have seen, as a hash; and whom they ask for.
struct Watcher {
    hash: RefCell<DefaultHasher>,
    calls: RefCell<u64>,
    /// Of 8 instructions, so many are asked for.
    density: u64,
    /// Registers are looked at.
    reads: bool,
    /// A register is changed.
    writes: bool,
}

impl Watcher {
    fn saw(&self, cpu: *mut PandaCpu, what: (u32, u64, u64, &[u8])) {
        let mut hash = self.hash.borrow_mut();
        what.hash(&mut *hash);
        // SAFETY: called from a callback with its CPU.
        unsafe {
            emu_engine::Shared::of(cpu.cast()).retired().hash(&mut *hash);
            if self.reads {
                let cpu = &*emu_cpu::lent(cpu.cast()).0.cast::<X86Cpu>();
                (cpu.gpr, cpu.hdr.flags()).hash(&mut *hash);
            }
            if self.writes {
                (*cpu.cast::<X86Cpu>()).gpr[1] ^= 1;
            }
        }
        *self.calls.borrow_mut() += 1;
        // What a plugin may do: floating-point operations of its own.
        std::hint::black_box(std::hint::black_box(1.0f64) / std::hint::black_box(3.0f64));
    }
}

unsafe fn watcher<'a>(user: *mut c_void) -> &'a Watcher {
    // SAFETY: every subscription is made with a watcher that outlives the engine.
    unsafe { &*user.cast::<Watcher>() }
}

unsafe extern "C" fn translate(
    user: *mut c_void,
    _: *mut PandaCpu,
    pc: u64,
    _: *const u8,
    _: u32,
) -> u32 {
    // SAFETY: see `watcher`.
    u32::from(pc.wrapping_mul(0x9e37_79b9) >> 20 & 7 < unsafe { watcher(user) }.density)
}

unsafe extern "C" fn insn_exec(user: *mut c_void, cpu: *mut PandaCpu, pc: u64) {
    // SAFETY: see `watcher`.
    unsafe { watcher(user) }.saw(cpu, (0, pc, 0, &[]));
}

unsafe extern "C" fn after_insn_exec(user: *mut c_void, cpu: *mut PandaCpu, pc: u64) {
    // SAFETY: see `watcher`.
    unsafe { watcher(user) }.saw(cpu, (1, pc, 0, &[]));
}

unsafe extern "C" fn before_block(user: *mut c_void, cpu: *mut PandaCpu, b: *const BlockInfo) {
    // SAFETY: see `watcher`; the description is alive.
    unsafe { watcher(user).saw(cpu, (2, (*b).pc, 0, &[])) };
}

unsafe extern "C" fn after_block(
    user: *mut c_void,
    cpu: *mut PandaCpu,
    b: *const BlockInfo,
    exit: u32,
) {
    // SAFETY: see `watcher`; the description is alive.
    unsafe { watcher(user).saw(cpu, (3, (*b).pc, exit.into(), &[])) };
}

unsafe extern "C" fn access<const KIND: u32>(
    user: *mut c_void,
    cpu: *mut PandaCpu,
    pc: u64,
    addr: u64,
    size: u64,
    data: *const u8,
) {
    let data = if data.is_null() {
        &[][..]
    } else {
        // SAFETY: the engine passes that many bytes.
        unsafe { core::slice::from_raw_parts(data, size as usize) }
    };
    // SAFETY: see `watcher`.
    unsafe { watcher(user) }.saw(cpu, (KIND, pc, addr, data));
}

fn subscribe(engine: &Engine, watcher: &Watcher, which: u64) -> Vec<(u32, SubscriptionId)> {
    let mut kinds = Vec::new();
    if which & 1 != 0 {
        kinds.push((kind::INSN_TRANSLATE, translate as *const () as usize));
        kinds.push((kind::INSN_EXEC, insn_exec as *const () as usize));
    }
    if which & 3 == 3 {
        kinds.push((kind::AFTER_INSN_EXEC, after_insn_exec as *const () as usize));
    }
    if which & 4 != 0 {
        kinds.push((kind::BEFORE_BLOCK_EXEC, before_block as *const () as usize));
        kinds.push((kind::AFTER_BLOCK_EXEC, after_block as *const () as usize));
    }
    if which & 8 != 0 {
        kinds.push((kind::VIRT_MEM_AFTER_READ, access::<4> as *const () as usize));
        kinds.push((kind::VIRT_MEM_AFTER_WRITE, access::<5> as *const () as usize));
    }
    if which & 16 != 0 {
        kinds.push((kind::VIRT_MEM_BEFORE_READ, access::<6> as *const () as usize));
        kinds.push((kind::VIRT_MEM_BEFORE_WRITE, access::<7> as *const () as usize));
    }
    let user = std::ptr::from_ref(watcher) as usize;
    let access = if watcher.reads { flags::READS_REGS } else { 0 };
    let access = access | if watcher.writes { flags::WRITES_REGS } else { 0 };
    let register = |(k, f)| (k, engine.shared().register(OwnerId(1), k, f, user, access).unwrap());
    kinds.into_iter().map(register).collect()
}

/// Gives a subscription conditions, other ones, or none.
fn restrict(shared: &Shared, rng: &mut Rng, k: u32, id: SubscriptionId) {
    let (start, len) = match k {
        kind::INSN_TRANSLATE => return,
        kind::VIRT_MEM_BEFORE_READ.. => (DATA, DATA_LEN as u64),
        _ => (CODE, 0x100),
    };
    let from = start + rng.below(len);
    let within = Within { from, to: from + 1 + rng.below(len / 2) };
    let within = if rng.chance(50) { Some(within) } else { None };
    shared.set_within(OwnerId(1), id, within).unwrap();
    let (first, every) = if rng.chance(50) { (1, 1) } else { (1 + rng.below(20), rng.below(20)) };
    shared.set_countdown(OwnerId(1), id, first, every).unwrap();
}

fn map(addr: u64, len: usize) {
    // SAFETY: a fixed range that nothing else in the test process uses.
    let p = unsafe {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        libc::mmap(addr as *mut c_void, len, prot, flags, -1, 0)
    };
    assert_eq!(p as u64, addr);
}

fn protect(addr: u64, len: usize, prot: i32) {
    // SAFETY: pages that `map` mapped.
    let r = unsafe { libc::mprotect(addr as *mut c_void, len, prot) };
    assert_eq!(r, 0);
}

fn bytes(addr: u64, len: usize) -> &'static mut [u8] {
    // SAFETY: mapped by `map` for the whole run; only one slice is used at a time.
    unsafe { core::slice::from_raw_parts_mut(addr as *mut u8, len) }
}

/// Gives registers that lead to the data.
fn refresh(cpu: &mut X86Cpu, rng: &mut Rng, program: &Program, wide: bool) {
    for n in 0..if wide { 16 } else { 8 } {
        let v = match rng.below(4) {
            0 => rng.below(200),
            1 if wide => rng.next(),
            _ => DATA + 0x100 + rng.below(DATA_LEN as u64 - 0x200),
        };
        cpu.gpr[n] = if wide { v } else { u64::from(v as u32) };
    }
    cpu.gpr[4] = (DATA + DATA_LEN as u64 / 2) & !15;
    cpu.hdr.pc = program.starts[rng.below(program.starts.len() as u64) as usize];
}

/// What a run showed.
struct Run {
    /// One line for each slice.
    lines: Vec<String>,
    /// The counters of instructions, blocks, loads and stores after each slice.
    counts: Vec<[u64; 4]>,
    retired: u64,
    /// Blocks compiled for flags left unstored.
    versions: u64,
    /// Blocks whose machine code was found in the store.
    reused: u64,
}

unsafe extern "C" fn ignore(_: *mut c_void, _: *mut PandaCpu, _: *const BlockInfo) {}

/// Runs a program. `beside`: another plugin watches blocks, which splits them differently.
/// How a program is run.
#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    Alone,
    /// With another plugin's callback in every block.
    Beside,
    /// As by a process that forks all the time, or executes the program anew, where others have compiled it.
    Forking,
}

fn run(arch: &'static dyn GuestArch, tier: Tier, seed: u64, how: How) -> Run {
    let wide = arch.word_bytes() == 8;
    let mut rng = Rng(seed);
    let program = program(&mut rng, if wide { 64 } else { 32 });
    map(CODE, CODE_LEN);
    map(DATA, DATA_LEN);
    bytes(CODE, program.code.len()).copy_from_slice(&program.code);
    // Programs that change themselves would sooner or later read the time stamp counter.
    protect(CODE, CODE_LEN, libc::PROT_READ);
    for b in bytes(DATA, DATA_LEN).chunks_mut(8) {
        let v = if rng.chance(30) { DATA + rng.below(DATA_LEN as u64) } else { rng.next() };
        b.copy_from_slice(&v.to_le_bytes());
    }
    let which = if rng.chance(40) { 0 } else { rng.below(32) };
    let watcher = Watcher {
        hash: RefCell::default(),
        calls: RefCell::default(),
        density: [1, 4, 8][rng.below(3) as usize],
        reads: rng.chance(50),
        writes: rng.chance(15),
    };
    let mut engine = Engine::new(arch, EngineConfig { tier, ..EngineConfig::default() });
    {
        let mut space = engine.shared().space.borrow_mut();
        // Of a file: code that comes from nowhere is not shared.
        let code = Mapping { inode: 1, ..Mapping::anonymous(Prot(5), "code") };
        space.insert(CODE, CODE + CODE_LEN as u64, code);
        space.insert(DATA, DATA + DATA_LEN as u64, Mapping::anonymous(Prot::RW, "data"));
    }
    let subscriptions = subscribe(&engine, &watcher, which);
    let cells = Box::<[Cell<u64>; 4]>::default();
    let counted = rng.chance(50);
    for (cell, kind) in cells.iter().zip(1..) {
        if counted && rng.chance(80) {
            let kind = CounterKind::from_u32(kind).unwrap();
            // SAFETY: the cells outlive the engine.
            unsafe { engine.shared().add_counter(OwnerId(1), kind, cell.as_ptr(), 1) };
        }
    }
    if how == How::Forking {
        engine.before_fork();
    }
    if how == How::Beside {
        let f = ignore as *const () as usize;
        engine.shared().register(OwnerId(2), kind::BEFORE_BLOCK_EXEC, f, 0, 0).unwrap();
    }
    let restricted = rng.chance(60);
    if restricted {
        for &(k, id) in &subscriptions {
            restrict(engine.shared(), &mut rng, k, id);
        }
    }
    let cpu = arch.new_cpu().cast::<X86Cpu>();
    // SAFETY: made above, freed below, used by the engine only while it runs.
    let state = unsafe { &mut *cpu };
    for v in &mut state.vec {
        // Small numbers, so that floating-point operations are not all on NaNs.
        for lane in v.0[..16].chunks_mut(8) {
            lane.copy_from_slice(&(rng.below(1000) as f64 / 7.0).to_le_bytes());
        }
    }
    refresh(state, &mut rng, &program, wide);
    let (mut lines, mut counts) = (Vec::new(), Vec::new());
    let mut hidden = None;
    for slice in 0..40 {
        if how == How::Forking && slice % 3 == 2 {
            engine.after_fork();
        }
        // insn_translate would be asked again.
        if how == How::Forking && slice % 7 == 6 && which & 1 == 0 {
            engine.set_arch(arch);
        }
        if let Some(page) = hidden.take() {
            protect(page, PAGE as usize, libc::PROT_READ | libc::PROT_WRITE);
        } else if rng.chance(15) {
            let page = DATA + PAGE * rng.below(DATA_LEN as u64 / PAGE);
            protect(
                page,
                PAGE as usize,
                if rng.chance(50) { libc::PROT_READ } else { libc::PROT_NONE },
            );
            hidden = Some(page);
        }
        if restricted && rng.chance(10) && !subscriptions.is_empty() {
            let (k, id) = subscriptions[rng.below(subscriptions.len() as u64) as usize];
            restrict(engine.shared(), &mut rng, k, id);
        }
        let slice = if rng.chance(30) { 1 + rng.below(8) } else { 20 + rng.below(400) };
        // SAFETY: the CPU is alive and not otherwise used meanwhile.
        let stop = unsafe { engine.run(cpu.cast::<CpuHeader>(), Slice::Exactly(slice)) };
        if let Some(page) = hidden {
            protect(page, PAGE as usize, libc::PROT_READ | libc::PROT_WRITE);
        }
        let mut hash = DefaultHasher::new();
        (state.gpr, state.hdr.flags(), state.mxcsr).hash(&mut hash);
        state.vec.iter().for_each(|v| v.0.hash(&mut hash));
        let registers = hash.finish();
        bytes(DATA, DATA_LEN).hash(&mut hash);
        counts.push(cells.each_ref().map(Cell::get));
        lines.push(format!(
            "{stop:?} pc {:#x} retired {} registers {registers:x} all {:x} calls {} {:x} {:?}",
            state.hdr.pc,
            engine.shared().retired(),
            hash.finish(),
            watcher.calls.borrow(),
            watcher.hash.borrow().finish(),
            counts.last(),
        ));
        if let Some(page) = hidden {
            protect(page, PAGE as usize, libc::PROT_NONE);
        }
        if matches!(stop, Stop::Trap(_)) {
            refresh(state, &mut rng, &program, wide);
        }
    }
    if let Some(page) = hidden {
        protect(page, PAGE as usize, libc::PROT_READ | libc::PROT_WRITE);
    }
    let (retired, stats) = (engine.shared().retired(), engine.stats());
    let (versions, reused) = (stats.block_versions, stats.blocks_reused);
    drop(engine);
    // SAFETY: made above, used by nobody any more.
    unsafe { arch.free_cpu(cpu.cast()) };
    Run { lines, counts, retired, versions, reused }
}

fn lockstep(arch: &'static dyn GuestArch) {
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(default)
    };
    let (count, first) = (number("PROGRAMS", 400u64), number("SEED", 1u64));
    let (mut total, mut versions, mut reused) = (0, 0, 0);
    for n in first..first + count {
        let seed = n.wrapping_mul(0x1234_5678_9abc_def1);
        let Run { lines: interp, counts, retired, .. } = run(arch, Tier::Interp, seed, How::Alone);
        total += retired;
        let beside = run(arch, Tier::Jit, seed, How::Beside);
        assert_eq!(counts, beside.counts, "program {n} counts otherwise beside a plugin");
        let ways = [(Tier::Jit, How::Alone), (Tier::Auto, How::Alone), (Tier::Jit, How::Forking)];
        for (tier, how) in ways {
            let Run { lines: other, versions: more, reused: also, .. } = run(arch, tier, seed, how);
            versions += more;
            reused += also;
            let at = interp.iter().zip(&other).position(|(a, b)| a != b);
            if let Some(at) = at {
                let mut rng = Rng(seed);
                let program = program(&mut rng, 8 * arch.word_bytes());
                panic!(
                    "program {n} differs in {tier:?} {how:?} at slice {at}:\nbefore      {}\ninterpreter {}\n\
                     other       {}\n{}",
                    if at > 0 { &interp[at - 1] } else { "the start" },
                    interp[at],
                    other[at],
                    listing(&program, 8 * arch.word_bytes()),
                );
            }
        }
    }
    assert!(total > count * 500, "{total} instructions in {count} programs");
    assert!(reused > count * 5, "{reused} blocks reused in {count} programs");
    assert!(versions > count, "{versions} versions in {count} programs");
}

fn listing(program: &Program, bitness: u32) -> String {
    let mut out = format!("{:x?}\n", program.starts);
    let mut text = String::new();
    let mut formatter = iced_x86::FastFormatter::new();
    for i in &mut Decoder::with_ip(bitness, &program.code, CODE, DecoderOptions::NONE) {
        text.clear();
        formatter.format(&i, &mut text);
        out.push_str(&format!("{:#x}  {text}\n", i.ip()));
    }
    out
}

/// One test: the programs share addresses and the process's fault handler.
#[test]
fn random_programs_do_the_same_in_both_tiers() {
    lockstep(&emu_x86::X86_64);
    lockstep(&emu_x86::I386);
}
