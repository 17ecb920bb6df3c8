//! A small guest: assembled code and a data page at fixed addresses, run to its first trap.
#![allow(dead_code, unused_macros, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::ffi::c_void;

use emu_cpu::{CpuHeader, GuestArch, Trap};
use emu_engine::{Engine, EngineConfig, OwnerId, Slice, Stop, SubscriptionId};
use emu_mem::{Mapping, Prot};
use emu_x86::{X86_64, X86Cpu};
use iced_x86::code_asm::CodeAssembler;
use plugin_api::abi::{PandaCpu, flags, kind};

/// What a callback saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub what: &'static str,
    pub pc: u64,
    pub addr: u64,
    pub data: Vec<u8>,
}

/// What the callbacks of one owner saw, in order.
pub type Log = RefCell<Vec<Seen>>;

pub struct Guest {
    pub engine: Engine,
    pub cpu: *mut X86Cpu,
    pub code: u64,
    pub data: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: made by new_cpu, mapped by new; nothing uses them any more.
        unsafe {
            X86_64.free_cpu(self.cpu.cast());
            libc::munmap(self.code as *mut c_void, 0x4000);
        }
    }
}

fn map(len: usize) -> u64 {
    // SAFETY: a fresh mapping.
    let p = unsafe {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        libc::mmap(core::ptr::null_mut(), len, prot, flags | libc::MAP_ANONYMOUS, -1, 0)
    };
    assert_ne!(p, libc::MAP_FAILED);
    p as u64
}

impl Guest {
    /// Two pages of writable code and two of data.
    pub fn new(config: EngineConfig) -> Guest {
        let code = map(0x4000);
        let data = code + 0x2000;
        let engine = Engine::new(&X86_64, config);
        let cpu = X86_64.new_cpu().cast::<X86Cpu>();
        {
            let mut space = engine.shared().space.borrow_mut();
            space.insert(code, code + 0x2000, Mapping::anonymous(Prot(7), "code"));
            space.insert(data, data + 0x2000, Mapping::anonymous(Prot::RW, "data"));
        }
        let mut g = Guest { engine, cpu, code, data };
        g.cpu().gpr[4] = data + 0x1800;
        g.cpu().hdr.pc = code;
        g
    }

    pub fn cpu(&mut self) -> &mut X86Cpu {
        // SAFETY: alive until drop, and only this borrow uses it.
        unsafe { &mut *self.cpu }
    }

    /// Writes code to the code page.
    pub fn put_code(&mut self, bytes: &[u8]) {
        assert!(self.engine.shared().write_memory(self.code, bytes));
    }

    /// Assembles at the start of the code page; a `ud2` follows.
    pub fn assemble(&mut self, f: impl FnOnce(&mut CodeAssembler, u64)) {
        let mut a = CodeAssembler::new(64).unwrap();
        f(&mut a, self.data);
        a.ud2().unwrap();
        let bytes = a.assemble(self.code).unwrap();
        self.put_code(&bytes);
    }

    /// Runs exactly so many instructions unless something stops it.
    pub fn run(&mut self, slice: u64) -> Stop {
        self.run_slice(Slice::Exactly(slice))
    }

    /// Runs for a slice.
    pub fn run_slice(&mut self, slice: Slice) -> Stop {
        // SAFETY: the CPU is alive and not otherwise used.
        unsafe { self.engine.run(self.cpu.cast::<CpuHeader>(), slice) }
    }

    /// Runs to the next trap, through interruptions.
    pub fn until_trap(&mut self) -> Trap {
        loop {
            match self.run(1 << 30) {
                Stop::Trap(t) => return t,
                Stop::Interrupted => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Subscribes a recording callback.
    pub fn record(&mut self, owner: u32, k: u32, log: &Log) -> SubscriptionId {
        let func = match k {
            kind::INSN_TRANSLATE => translate as *const () as usize,
            kind::INSN_EXEC => insn_exec as *const () as usize,
            kind::AFTER_INSN_EXEC => after_insn_exec as *const () as usize,
            kind::BEFORE_BLOCK_EXEC => before_block as *const () as usize,
            kind::AFTER_BLOCK_EXEC => after_block as *const () as usize,
            kind::VIRT_MEM_BEFORE_READ => before_read as *const () as usize,
            kind::VIRT_MEM_AFTER_READ => after_read as *const () as usize,
            kind::VIRT_MEM_BEFORE_WRITE => before_write as *const () as usize,
            kind::VIRT_MEM_AFTER_WRITE => after_write as *const () as usize,
            _ => panic!("kind {k}"),
        };
        let user = std::ptr::from_ref(log) as usize;
        let shared = self.engine.shared().clone();
        shared.register(OwnerId(owner), k, func, user, flags::READS_REGS).unwrap()
    }
}

fn push(user: *mut c_void, what: &'static str, pc: u64, addr: u64, data: &[u8]) {
    // SAFETY: every subscription is made with a log that outlives the run.
    let log = unsafe { &*user.cast::<Log>() };
    log.borrow_mut().push(Seen { what, pc, addr, data: data.to_vec() });
}

unsafe extern "C" fn translate(
    user: *mut c_void,
    _: *mut PandaCpu,
    pc: u64,
    bytes: *const u8,
    len: u32,
) -> u32 {
    // SAFETY: the engine passes the instruction's bytes.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, len as usize) };
    push(user, "translate", pc, 0, bytes);
    // The tests' marker instruction: nop.
    u32::from(bytes == [0x90])
}

/// The exact retired count, as the log's address field.
fn retired(cpu: *mut PandaCpu) -> u64 {
    // SAFETY: called from a callback with its CPU.
    unsafe { emu_engine::Shared::of(cpu.cast()).retired() }
}

unsafe extern "C" fn insn_exec(user: *mut c_void, cpu: *mut PandaCpu, pc: u64) {
    push(user, "insn", pc, retired(cpu), &[]);
}

unsafe extern "C" fn after_insn_exec(user: *mut c_void, cpu: *mut PandaCpu, pc: u64) {
    push(user, "after_insn", pc, retired(cpu), &[]);
}

unsafe extern "C" fn before_block(
    user: *mut c_void,
    _: *mut PandaCpu,
    block: *const plugin_api::abi::BlockInfo,
) {
    // SAFETY: the engine passes a live description.
    push(user, "block", unsafe { (*block).pc }, 0, &[]);
}

unsafe extern "C" fn after_block(
    user: *mut c_void,
    _: *mut PandaCpu,
    block: *const plugin_api::abi::BlockInfo,
    exit: u32,
) {
    // SAFETY: the engine passes a live description.
    push(user, "after_block", unsafe { (*block).pc }, u64::from(exit), &[]);
}

macro_rules! access {
    ($($name:ident $what:literal;)*) => {$(
        unsafe extern "C" fn $name(
            user: *mut c_void,
            _: *mut PandaCpu,
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
            push(user, $what, pc, addr, data);
        }
    )*};
}
access! {
    before_read "before_read";
    after_read "after_read";
    before_write "before_write";
    after_write "after_write";
}

/// Makes a test of each function named, for each tier.
macro_rules! by_each_tier {
    ($($test:ident)*) => {
        mod interp {
            $(#[test] fn $test() { super::$test(super::Tier::Interp); })*
        }
        mod jit {
            $(#[test] fn $test() { super::$test(super::Tier::Jit); })*
        }
        mod auto {
            $(#[test] fn $test() { super::$test(super::Tier::Auto); })*
        }
    };
}
