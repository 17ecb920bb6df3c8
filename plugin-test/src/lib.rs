//! Unit tests of plugins on real guest code: a few x86 instructions, as bytes or as assembly text, run under the
//! engine and with the callbacks that the host has, without the host program.
//!
//! ```
//! use plugin_api::prelude::*;
//! use plugin_test::{End, PluginTest};
//!
//! struct Stores(Output);
//!
//! impl Plugin for Stores {
//!     fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
//!         reg.virt_mem_after_write(|this, cpu, access| {
//!             writeln!(this.0, "{} {:?}", cpu.word(access.addr), access.data)
//!         })?;
//!         Ok(Stores(reg.output("stores.txt")?))
//!     }
//! }
//!
//! export_plugin!(Stores, name: "stores", about: "Lists stores");
//!
//! # fn main() -> Result<(), plugin_test::TestError> {
//! let mut test = PluginTest::x86_64()?;
//! test.load(&panda_plugin_entry_v1, &[])?;
//! // movb $7, (%rbx); ud2
//! test.code(&[0xc6, 0x03, 0x07, 0x0f, 0x0b])?;
//! test.set_reg("rbx", test.data());
//! assert_eq!(test.run(), End::Fault);
//! assert_eq!(test.memory(test.data(), 1), [7]);
//! assert_eq!(test.calls("virt_mem_after_write"), 1);
//! test.unload();
//! assert_eq!(test.file("stores.txt"), format!("{:016x} [7]\n", test.data()));
//! # Ok(())
//! # }
//! ```
//!
//! `plugin_api::testing::MockHost` is the other way: no guest, the test makes the events. It needs nothing but
//! `plugin-api`; this crate needs the emulator's source tree.

mod assemble;
mod syscall;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use emu_abi::{Entry, GivenValue, PluginSlot, Services, SlotConfig, check_args};
use emu_cpu::{CpuHeader, GuestArch};
use emu_engine::{Engine, EngineConfig, OwnerId, Shared, Slice, Stop, Tier};
use emu_ir::TrapKind;
use emu_mem::{Mapping, Prot};
use plugin_api::abi::{self, PandaCpu, kind, kind_name, level};

/// Process and thread id of the guest.
pub(crate) const TID: u32 = 1;

/// Bytes of code, of data, and of stack.
const SIZE: u64 = 0x10000;

/// Instructions after which a guest that does not end is stopped.
const LIMIT: u64 = 100_000_000;

/// What goes wrong in a test itself.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The guest's memory cannot be had.
    #[error("no memory for the guest: {0}")]
    Memory(std::io::Error),
    /// No assembler on this machine.
    #[error(
        "`{program}` cannot be started ({source}); install binutils, or give the code as bytes"
    )]
    NoAssembler {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The text is not assembly.
    #[error("the code does not assemble: {0}")]
    Assembler(String),
    /// Too much code.
    #[error("{0} bytes of code; there is room for {SIZE}")]
    TooLong(usize),
    /// The plugin's entry or an argument is wrong, or its init failed.
    #[error("the plugin does not start: {0}")]
    Start(String),
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// By `exit` or `exit_group`, with this status.
    Exited(i32),
    /// By an instruction that a kernel would answer with a signal: `ud2`, `int3`, an access to unmapped memory.
    Fault,
    /// A plugin asked for it: status and reason.
    Stopped(i32, String),
    /// It did not end by itself within 100 million instructions.
    Endless,
}

type Answer = Box<dyn FnMut(u64, &[u64; 8]) -> Option<i64>>;

/// A guest, and the plugins that watch it.
pub struct PluginTest {
    // Ended before the engine, the last one first.
    plugins: Vec<PluginSlot>,
    engine: Engine,
    cpu: *mut CpuHeader,
    arch: &'static dyn GuestArch,
    code: u64,
    services: Rc<Services>,
    log: Arc<Mutex<Vec<(String, u32, String)>>>,
    out_dir: PathBuf,
    answer: Answer,
}

impl PluginTest {
    /// A 64-bit guest.
    ///
    /// # Errors
    /// Without memory.
    pub fn x86_64() -> Result<PluginTest, TestError> {
        PluginTest::new(&emu_x86::X86_64, Tier::Auto)
    }

    /// A 32-bit guest.
    ///
    /// # Errors
    /// Without memory.
    pub fn i386() -> Result<PluginTest, TestError> {
        PluginTest::new(&emu_x86::I386, Tier::Auto)
    }

    fn new(arch: &'static dyn GuestArch, tier: Tier) -> Result<PluginTest, TestError> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let n = SERIAL.fetch_add(1, Ordering::Relaxed);
        let out_dir = std::env::temp_dir().join(format!("panda-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&out_dir).map_err(TestError::Memory)?;
        // SAFETY: a fresh mapping, below 4 GiB as a 32-bit guest needs it.
        let at = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(core::ptr::null_mut(), 3 * SIZE as usize, prot, flags, -1, 0)
        };
        if at == libc::MAP_FAILED {
            return Err(TestError::Memory(std::io::Error::last_os_error()));
        }
        let code = at as u64;
        let config = EngineConfig {
            tier,
            max_instructions: Some(LIMIT),
            count_callbacks: true,
            ..EngineConfig::default()
        };
        let engine = Engine::new(arch, config);
        {
            let mut space = engine.shared().space.borrow_mut();
            space.insert(code, code + SIZE, Mapping::anonymous(Prot(7), "code"));
            space.insert(code + SIZE, code + 3 * SIZE, Mapping::anonymous(Prot::RW, "data"));
        }
        {
            let mut os = engine.shared().os.borrow_mut();
            (os.pid, os.tid) = (TID, TID);
            "test".clone_into(&mut os.program);
        }
        let mut test = PluginTest {
            plugins: Vec::new(),
            cpu: arch.new_cpu(),
            engine,
            arch,
            code,
            services: Rc::default(),
            log: Arc::default(),
            out_dir,
            answer: Box::new(|_, _| None),
        };
        let sp = if arch.word_bytes() == 8 { "rsp" } else { "esp" };
        test.set_reg(sp, code + 3 * SIZE - 0x1000);
        test.set_pc(code);
        Ok(test)
    }

    /// Starts a plugin: its `panda_plugin_entry_v1`, and arguments as on the command line.
    ///
    /// # Errors
    /// When the host would refuse it, with its reason.
    pub fn load<E>(&mut self, entry: &'static E, args: &[(&str, &str)]) -> Result<(), TestError> {
        let start = |reason: String| TestError::Start(reason);
        // SAFETY: the entry of a plugin that is part of this program. Whatever version of plugin-api it was
        // made with, it says its magic number and its size first.
        let entry = unsafe { Entry::read(core::ptr::from_ref(entry).cast()) }
            .map_err(|e| start(e.to_string()))?;
        let given: Vec<_> = args
            .iter()
            .map(|(k, v)| ((*k).to_owned(), GivenValue::Text((*v).to_owned())))
            .collect();
        let values = check_args(&entry.args, &given).map_err(|e| start(e.to_string()))?;
        let log = self.log.clone();
        let config = SlotConfig {
            host_name: "plugin-test".to_owned(),
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            out_dir: self.out_dir.to_string_lossy().into_owned(),
            continued: false,
            reply: |_, _| {},
            log: Arc::new(move |name, level, text| {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push((name.to_owned(), level, text.to_owned()));
            }),
            log_level: level::TRACE,
            hide_fd: |_, _| {},
            services: self.services.clone(),
            load: Rc::new(|_, _, _| false),
        };
        let owner = OwnerId(self.plugins.len() as u32 + 1);
        // SAFETY: a part of this program is never unloaded; the guest runs on this thread.
        let slot =
            unsafe { PluginSlot::start(&entry, self.engine.shared(), owner, config, &values) };
        self.plugins.push(slot.map_err(|e| start(e.reason))?);
        Ok(())
    }

    /// Puts instructions at the start of the code and lets the guest begin there.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn code(&mut self, bytes: &[u8]) -> Result<(), TestError> {
        if bytes.len() as u64 > SIZE || !self.engine.shared().write_memory(self.code, bytes) {
            return Err(TestError::TooLong(bytes.len()));
        }
        self.engine.invalidate(self.code, self.code + SIZE);
        self.set_pc(self.code);
        Ok(())
    }

    /// The same from assembly text in the syntax of GNU `as`; the symbol `data` is [`PluginTest::data`].
    ///
    /// # Errors
    /// Without an assembler, or when it does not assemble.
    pub fn asm(&mut self, text: &str) -> Result<(), TestError> {
        let wide = self.word_size() == 8;
        let bytes = assemble::assemble(text, wide, self.code, &[("data", self.data())])?;
        self.code(&bytes)
    }

    /// What system calls return: (number, arguments) → result, or `None` for ENOSYS. `exit` and `exit_group` end
    /// the guest.
    pub fn answers(&mut self, answer: impl FnMut(u64, &[u64; 8]) -> Option<i64> + 'static) {
        self.answer = Box::new(answer);
    }

    pub(crate) fn answer(&mut self, number: u64, args: &[u64; 8]) -> Option<i64> {
        (self.answer)(number, args)
    }

    /// Runs the guest to its end. A plugin that failed is ended; see [`PluginTest::failure`].
    pub fn run(&mut self) -> End {
        let (cpu, shared) = (self.cpu(), self.shared());
        shared.notify(kind::GUEST_READY, cpu.cast(), |f, user, cpu| {
            // SAFETY: the function type belongs to the kind.
            unsafe {
                let f: abi::CpuFn = core::mem::transmute(f);
                f(user, cpu);
            }
        });
        let end = loop {
            if let Some(stop) = shared.stop_request() {
                break End::Stopped(stop.status, stop.reason);
            }
            // SAFETY: the processor is alive and not otherwise used.
            match unsafe { self.engine.run(self.cpu, Slice::About(1 << 20)) } {
                Stop::Budget | Stop::Interrupted => {}
                Stop::Limit => break End::Endless,
                Stop::Trap(trap) => match trap.kind {
                    TrapKind::Syscall | TrapKind::Sysenter | TrapKind::Int80 => {
                        if let Some(end) = syscall::serve(self, trap.kind) {
                            break end;
                        }
                    }
                    _ => break End::Fault,
                },
            }
        };
        let (how, code) = match &end {
            End::Exited(code) => (abi::exit_kind::EXITED, *code),
            End::Fault => (abi::exit_kind::SIGNALED, libc::SIGILL),
            End::Stopped(code, _) => (abi::exit_kind::STOPPED, *code),
            End::Endless => (abi::exit_kind::STOPPED, 0),
        };
        shared.notify(kind::GUEST_EXIT, cpu.cast(), |f, user, cpu| {
            // SAFETY: the function type belongs to the kind.
            unsafe {
                let f: abi::GuestExitFn = core::mem::transmute(f);
                f(user, cpu, how, code);
            }
        });
        end
    }

    /// Ends the plugins, the last one first; their files are complete then.
    pub fn unload(&mut self) {
        while self.plugins.pop().is_some() {}
    }

    /// How often a callback kind (`insn_exec`) was called, in all plugins' subscriptions that there still are.
    ///
    /// # Panics
    /// For a kind that there is not.
    pub fn calls(&self, name: &str) -> u64 {
        let known = (1..kind::COUNT).find(|k| kind_name(*k) == Some(name));
        let Some(kind) = known else { panic!("there is no callback kind `{name}`") };
        let counts = self.engine.stats().callbacks;
        counts.iter().filter(|c| c.kind == kind).map(|c| c.calls).sum()
    }

    /// What plugins logged: (plugin, [`plugin_api::abi::level`], text).
    pub fn log(&self) -> Vec<(String, u32, String)> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why a plugin failed, the first one that did.
    pub fn failure(&self) -> Option<String> {
        self.plugins.iter().find_map(PluginSlot::failure)
    }

    /// The content of a file that a plugin wrote; empty when there is none.
    pub fn file(&self, name: &str) -> String {
        let bytes = std::fs::read(self.out_dir.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where the code begins.
    pub fn code_address(&self) -> u64 {
        self.code
    }

    /// Memory for the guest's data: 64 kB of zeros.
    pub fn data(&self) -> u64 {
        self.code + SIZE
    }

    /// Bytes in a guest word.
    pub fn word_size(&self) -> u32 {
        self.arch.word_bytes()
    }

    /// Instructions the guest has retired.
    pub fn retired(&self) -> u64 {
        self.engine.shared().retired()
    }

    /// Guest memory.
    ///
    /// # Panics
    /// Where there is none.
    pub fn memory(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(self.engine.shared().read_memory(addr, &mut bytes), "no memory at {addr:#x}");
        bytes
    }

    /// Writes guest memory.
    ///
    /// # Panics
    /// Where there is none.
    pub fn set_memory(&mut self, addr: u64, bytes: &[u8]) {
        assert!(self.engine.shared().write_memory(addr, bytes), "no memory at {addr:#x}");
    }

    /// A register of at most eight bytes.
    ///
    /// # Panics
    /// For a name that the guest does not have.
    pub fn reg(&self, name: &str) -> u64 {
        let (id, _) = self.find(name);
        let mut bytes = [0; 8];
        // SAFETY: the processor is alive.
        let size = unsafe { self.arch.read_reg(self.cpu, id, &mut bytes) };
        assert!(size.is_some(), "{name} has more than eight bytes");
        u64::from_le_bytes(bytes)
    }

    /// Sets a register of at most eight bytes.
    ///
    /// # Panics
    /// For a name that the guest does not have.
    pub fn set_reg(&mut self, name: &str, value: u64) {
        let (id, size) = self.find(name);
        assert!(size <= 8, "{name} has more than eight bytes");
        // SAFETY: the processor is alive.
        let done = unsafe { self.arch.write_reg(self.cpu, id, &value.to_le_bytes()[..size]) };
        assert!(done, "{name} cannot be set");
    }

    fn find(&self, name: &str) -> (u32, usize) {
        let found = self.arch.registers().iter().find(|r| r.name == name);
        let Some(reg) = found else { panic!("the guest has no register `{name}`") };
        (reg.id, reg.bytes as usize)
    }

    pub(crate) fn pc(&self) -> u64 {
        // SAFETY: the processor is alive.
        unsafe { (*self.cpu).pc }
    }

    fn set_pc(&mut self, pc: u64) {
        // SAFETY: the processor is alive.
        unsafe { (*self.cpu).pc = pc };
    }

    pub(crate) fn cpu(&self) -> *mut PandaCpu {
        self.cpu.cast()
    }

    pub(crate) fn shared(&self) -> Rc<Shared> {
        self.engine.shared().clone()
    }
}

impl Drop for PluginTest {
    fn drop(&mut self) {
        self.unload();
        // SAFETY: made by `new`; nothing uses them any more.
        unsafe {
            self.arch.free_cpu(self.cpu);
            libc::munmap(self.code as *mut _, 3 * SIZE as usize);
        }
        let _ = std::fs::remove_dir_all(&self.out_dir);
    }
}

impl core::fmt::Debug for PluginTest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PluginTest").field("arch", &self.arch.name()).finish_non_exhaustive()
    }
}
