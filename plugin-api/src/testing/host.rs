//! The host's Rust face: loading a plugin and making events.

use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::conditions::Condition;
use super::{services, tables};
use crate::abi::{
    AfterBlockExecFn, AnyFn, ArgDesc, ArgValue, BlockFn, BlockInfo, CallStackApi, CpuFn, ExecFn,
    ExecInfo, ForkFn, ForkInfo, GuestExitFn, GuestHypercallFn, HostApi, InitInfo, InsnTranslateFn,
    MemFn, ModuleFn, ModuleInfo, MonitorFn, PandaCpu, PandaPlugin, PcFn, PluginEntry, SignalFn,
    SignalInfo, Str, SyscallEnterFn, SyscallInfo, SyscallReturnFn, ThreadFn, ThreadInfo, arch,
    arg_kind, flags, kind, status,
};
use crate::sdk::copy_prefix;
use crate::{ServiceTable, Value};

/// A registered callback.
#[derive(Clone, Copy)]
pub(super) struct Callback {
    pub(super) id: u64,
    pub(super) kind: u32,
    pub(super) func: AnyFn,
    pub(super) user: *mut c_void,
    pub(super) flags: u32,
    pub(super) enabled: bool,
    pub(super) condition: Condition,
}

/// A counter.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) id: u64,
    pub(super) kind: u32,
    pub(super) number: *mut u64,
    pub(super) amount: u64,
}

/// What a callback gets as the processor.
pub(super) struct Processor {
    pub(super) state: *const State,
    /// What its subscription declared ([`flags`]).
    pub(super) declared: u32,
}

/// What the plugin's handle points to.
pub(super) struct State {
    pub(super) arch: Cell<u32>,
    pub(super) out_dir: String,
    pub(super) continued: Cell<bool>,
    pub(super) callbacks: RefCell<Vec<Callback>>,
    pub(super) counters: RefCell<Vec<Count>>,
    pub(super) next_id: Cell<u64>,
    pub(super) memory: RefCell<BTreeMap<u64, u8>>,
    pub(super) regs: RefCell<BTreeMap<u32, u64>>,
    pub(super) tid: Cell<u32>,
    pub(super) retired: Cell<u64>,
    pub(super) stop: RefCell<Option<(i32, String)>>,
    pub(super) unload: Cell<bool>,
    pub(super) loads: RefCell<Vec<String>>,
    pub(super) replies: RefCell<Vec<String>>,
    pub(super) hidden_fds: RefCell<Vec<i32>>,
    /// Services by id.
    pub(super) services: RefCell<Vec<(String, *const c_void)>>,
    pub(super) callers: RefCell<Vec<u64>>,
    pub(super) calls: Cell<CallStackApi>,
    /// Used from any thread.
    pub(super) log: Mutex<Vec<(u32, String)>>,
    /// Used from any thread.
    pub(super) failure: Mutex<Option<String>>,
}

/// A host without a guest.
pub struct MockHost {
    state: Box<State>,
    /// For functions of services, which no subscription limits.
    processor: Box<Processor>,
    api: Box<HostApi>,
    plugin: Option<(&'static PluginEntry, *mut c_void)>,
}

impl Default for MockHost {
    fn default() -> MockHost {
        MockHost::new()
    }
}

impl MockHost {
    /// A host with a 64-bit x86 guest and an empty output directory of its own.
    ///
    /// # Panics
    /// When the directory cannot be made.
    pub fn new() -> MockHost {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("panda-mock-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory for the plugin's output");
        let mut host = MockHost {
            processor: Box::new(Processor {
                state: core::ptr::null(),
                declared: flags::READS_REGS | flags::WRITES_REGS,
            }),
            state: Box::new(State {
                arch: Cell::new(arch::X86_64),
                out_dir: dir.to_string_lossy().into_owned(),
                continued: Cell::new(false),
                callbacks: RefCell::default(),
                counters: RefCell::default(),
                next_id: Cell::new(1),
                memory: RefCell::default(),
                regs: RefCell::default(),
                tid: Cell::new(1),
                retired: Cell::new(0),
                stop: RefCell::default(),
                unload: Cell::new(false),
                loads: RefCell::default(),
                replies: RefCell::default(),
                hidden_fds: RefCell::default(),
                services: RefCell::default(),
                callers: RefCell::default(),
                calls: Cell::new(services::CALLS),
                log: Mutex::default(),
                failure: Mutex::default(),
            }),
            api: Box::new(tables::API),
            plugin: None,
        };
        host.processor.state = &raw const *host.state;
        let context = core::ptr::from_ref::<State>(&host.state).cast_mut().cast();
        host.state.calls.set(CallStackApi { context, ..services::CALLS });
        host
    }

    /// Changes the guest's architecture ([`arch`]).
    pub fn set_arch(&self, arch: u32) {
        self.state.arch.set(arch);
    }

    /// Says that the run goes on from an earlier process.
    pub fn set_continued(&self, continued: bool) {
        self.state.continued.set(continued);
    }

    /// Changes the running thread.
    pub fn set_tid(&self, tid: u32) {
        self.state.tid.set(tid);
    }

    /// Changes the number of retired instructions.
    pub fn set_retired(&self, retired: u64) {
        self.state.retired.set(retired);
    }

    /// Sets a register: by the names `rax`, `rsp`, `rip` (`eax`, … for a 32-bit guest).
    ///
    /// # Panics
    /// For other names.
    pub fn set_reg(&self, name: &str, value: u64) {
        let id = tables::reg_id(self.state.arch.get(), name).expect("a register of this host");
        self.state.regs.borrow_mut().insert(id, value);
    }

    /// A register's value.
    ///
    /// # Panics
    /// For other names than those of [`MockHost::set_reg`].
    pub fn reg(&self, name: &str) -> u64 {
        let id = tables::reg_id(self.state.arch.get(), name).expect("a register of this host");
        self.state.regs.borrow().get(&id).copied().unwrap_or(0)
    }

    /// Maps guest memory with a content.
    pub fn set_memory(&self, addr: u64, bytes: &[u8]) {
        self.state.memory.borrow_mut().extend((addr..).zip(bytes.iter().copied()));
    }

    /// Guest memory, as far as it is mapped.
    pub fn memory(&self, addr: u64, len: u64) -> Vec<u8> {
        self.state.memory.borrow().range(addr..addr + len).map(|(_, b)| *b).collect()
    }

    /// The return addresses of the calls in progress, innermost first. A mock host offers the service
    /// `panda.callstack/1` itself.
    pub fn set_callers(&self, callers: &[u64]) {
        *self.state.callers.borrow_mut() = callers.to_vec();
    }

    /// Offers another plugin's service to the plugin under test.
    pub fn offer<S: ServiceTable>(&self, table: &'static S) {
        let table = core::ptr::from_ref(table).cast();
        self.state.services.borrow_mut().push((S::ID.to_owned(), table));
    }

    /// The table of a service that the plugin offers.
    pub fn service<S: ServiceTable>(&self) -> Option<S> {
        let at = services::find(&self.state, S::ID)?;
        // SAFETY: the plugin's table of that id, which says its size.
        Some(unsafe { copy_prefix(at.cast::<S>()) })
    }

    /// What the functions of a service take for the processor.
    pub fn raw_cpu(&self) -> *mut PandaCpu {
        core::ptr::from_ref::<Processor>(&self.processor).cast_mut().cast()
    }

    /// The table plugins get, to make it older, newer or incomplete before loading one.
    pub fn api_mut(&mut self) -> &mut HostApi {
        &mut self.api
    }

    fn handle(&self) -> *mut PandaPlugin {
        core::ptr::from_ref::<State>(&self.state).cast_mut().cast()
    }

    /// Starts a plugin. The error is what it reported.
    ///
    /// # Errors
    /// When init fails; nothing it registered is left then.
    ///
    /// # Panics
    /// When a plugin is loaded already, or an argument or default does not fit its declaration.
    pub fn load(
        &mut self,
        entry: &'static PluginEntry,
        args: &[(&str, Value)],
    ) -> Result<(), String> {
        assert!(self.plugin.is_none(), "one plugin at a time");
        let descs: Vec<&ArgDesc> = (0..entry.args_count as usize)
            // SAFETY: the plugin's own table.
            .map(|i| unsafe { &*entry.args.add(i) })
            .collect();
        // SAFETY: static text.
        let name_of = |d: &ArgDesc| unsafe { d.name.text() };
        for (name, _) in args {
            assert!(descs.iter().any(|d| name_of(d) == *name), "no argument {name}");
        }
        let items: Vec<Vec<Str>> = args
            .iter()
            .map(|(_, v)| match v {
                Value::List(items) => items.iter().map(|i| Str::new(i)).collect(),
                _ => Vec::new(),
            })
            .collect();
        let values: Vec<ArgValue> = descs
            .iter()
            .filter_map(|d| match args.iter().position(|(n, _)| *n == name_of(d)) {
                Some(at) => Some(given(d, &args[at].1, &items[at])),
                None => default(d),
            })
            .collect();
        let info = InitInfo {
            struct_size: InitInfo::SIZE,
            args_count: values.len() as u32,
            arg_size: size_of::<ArgValue>() as u32,
            reserved: 0,
            args: values.as_ptr(),
        };
        let init = entry.init.expect("an init function");
        *tables::lock(&self.state.failure) = None;
        let mut state = core::ptr::null_mut();
        // SAFETY: as the contract says.
        let result = unsafe { init(&*self.api, self.handle(), &info, &mut state) };
        if result != status::OK {
            self.state.callbacks.borrow_mut().clear();
            self.state.counters.borrow_mut().clear();
            self.state.services.borrow_mut().clear();
            return Err(self.failure().unwrap_or_else(|| format!("status {result}")));
        }
        self.plugin = Some((entry, state));
        Ok(())
    }

    /// Ends the plugin.
    pub fn unload(&mut self) {
        if let Some((entry, state)) = self.plugin.take() {
            self.state.callbacks.borrow_mut().clear();
            if let Some(uninit) = entry.uninit {
                // SAFETY: init succeeded, and no callback is registered.
                unsafe { uninit(state) };
            }
            self.state.counters.borrow_mut().clear();
        }
    }

    /// Asks the plugin to write its output ([`crate::abi::flush_reason`]); the status it returned.
    pub fn flush(&self, reason: u32) -> u32 {
        match self.plugin {
            Some((PluginEntry { flush: Some(flush), .. }, state)) => {
                // SAFETY: the plugin runs.
                unsafe { flush(state, reason) }
            }
            _ => status::OK,
        }
    }

    /// What the plugin logged: ([`crate::abi::level`], text).
    pub fn log(&self) -> Vec<(u32, String)> {
        tables::lock(&self.state.log).clone()
    }

    /// Why the plugin failed, if it did.
    pub fn failure(&self) -> Option<String> {
        tables::lock(&self.state.failure).clone()
    }

    /// The stop the plugin asked for: (status, reason).
    pub fn stop_request(&self) -> Option<(i32, String)> {
        self.state.stop.borrow().clone()
    }

    /// Whether the plugin asked to be unloaded.
    pub fn unload_requested(&self) -> bool {
        self.state.unload.get()
    }

    /// The plugins that the plugin asked to be loaded, all of which a mock host says it did.
    pub fn loads(&self) -> Vec<String> {
        self.state.loads.borrow().clone()
    }

    /// What the plugin answered at the monitor.
    pub fn replies(&self) -> Vec<String> {
        self.state.replies.borrow().clone()
    }

    /// Descriptors that are hidden from the guest.
    pub fn hidden_fds(&self) -> Vec<i32> {
        self.state.hidden_fds.borrow().clone()
    }

    /// The output directory.
    pub fn out_dir(&self) -> PathBuf {
        PathBuf::from(&self.state.out_dir)
    }

    /// The content of an output file; empty when there is none.
    pub fn file(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.file_bytes(name)).into_owned()
    }

    /// The content of an output file; empty when there is none.
    pub fn file_bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.out_dir().join(name)).unwrap_or_default()
    }

    /// How many callbacks of a kind are registered and enabled.
    pub fn listeners(&self, kind: u32) -> usize {
        self.state.callbacks.borrow().iter().filter(|c| c.kind == kind && c.enabled).count()
    }

    /// The flags of the callbacks of a kind.
    pub fn flags(&self, kind: u32) -> Vec<u32> {
        let callbacks = self.state.callbacks.borrow();
        callbacks.iter().filter(|c| c.kind == kind).map(|c| c.flags).collect()
    }

    /// Calls the callbacks of a kind that are due for an event at an address, of some size.
    fn each(
        &self,
        kind: u32,
        place: (u64, u64),
        mut call: impl FnMut(AnyFn, *mut c_void, *mut PandaCpu),
    ) {
        let now: Vec<Callback> = self.state.callbacks.borrow().clone();
        for c in now.into_iter().filter(|c| c.kind == kind) {
            let due = |x: &mut Callback| x.id == c.id && x.enabled && x.condition.due(place);
            let due = self.state.callbacks.borrow_mut().iter_mut().any(due);
            if due {
                let cpu = Processor { state: &raw const *self.state, declared: c.flags };
                call(c.func, c.user, (&raw const cpu).cast_mut().cast());
            }
        }
    }

    fn tick(&self, kind: u32, times: u64) {
        for c in self.state.counters.borrow().iter().filter(|c| c.kind == kind) {
            // SAFETY: the plugin keeps the number where it is.
            unsafe { *c.number += c.amount * times };
        }
    }
}

/// Calls every callback of a kind through the function type that belongs to it.
macro_rules! fire {
    ($host:expr, @$place:expr, $kind:expr, $ty:ty, $($arg:expr),* => $result:expr) => {
        $host.each($kind, $place, |func, user, cpu| {
            // SAFETY: the plugin registered a function of the type that belongs to the kind; it
            // gets what the contract says.
            let result = unsafe {
                let func = core::mem::transmute::<AnyFn, $ty>(func);
                func(user, cpu, $($arg),*)
            };
            #[allow(clippy::redundant_closure_call)]
            ($result)(result)
        })
    };
    ($host:expr, $kind:expr, $ty:ty, $($arg:expr),* => $result:expr) => {
        fire!($host, @(0, 1), $kind, $ty, $($arg),* => $result)
    };
}

/// Events.
impl MockHost {
    /// Translates an instruction and runs it once, if the plugin asked for it: `insn_translate`, then
    /// `insn_exec` and `after_insn_exec`. Returns whether it asked. The pc register is set.
    pub fn insn(&self, pc: u64, bytes: &[u8]) -> bool {
        let asked = self.insn_translate(pc, bytes);
        self.insn_around(pc, asked, || {});
        asked
    }

    /// Translates an instruction.
    pub fn insn_translate(&self, pc: u64, bytes: &[u8]) -> bool {
        let mut asked = false;
        fire!(self, kind::INSN_TRANSLATE, InsnTranslateFn, pc, bytes.as_ptr(), bytes.len() as u32
            => |r| asked |= r != 0);
        asked
    }

    /// Runs an instruction that does what `effect` does.
    pub fn insn_around(&self, pc: u64, asked: bool, effect: impl FnOnce()) {
        self.state.regs.borrow_mut().insert(tables::PC, pc);
        if asked {
            fire!(self, @(pc, 1), kind::INSN_EXEC, PcFn, pc => |()| ());
        }
        effect();
        self.tick(crate::abi::counter_kind::INSNS, 1);
        self.state.retired.set(self.state.retired.get() + 1);
        if asked {
            fire!(self, @(pc, 1), kind::AFTER_INSN_EXEC, PcFn, pc => |()| ());
        }
    }

    /// Executes a block: `before_block_exec`, `after_block_exec`.
    pub fn block(&self, pc: u64, insn_count: u32) {
        let info = BlockInfo { struct_size: BlockInfo::SIZE, insn_count, pc, size: 4 };
        self.tick(crate::abi::counter_kind::BLOCKS, 1);
        fire!(self, @(pc, 1), kind::BEFORE_BLOCK_EXEC, BlockFn, &info => |()| ());
        self.tick(crate::abi::counter_kind::INSNS, insn_count.into());
        self.state.retired.set(self.state.retired.get() + u64::from(insn_count));
        fire!(self, @(pc, 1), kind::AFTER_BLOCK_EXEC, AfterBlockExecFn, &info, 0 => |()| ());
    }

    /// `before_block_exec` with a payload of any size.
    ///
    /// # Safety
    /// The payload has the size it says.
    pub unsafe fn raw_block(&self, info: *const BlockInfo) {
        fire!(self, kind::BEFORE_BLOCK_EXEC, BlockFn, info => |()| ());
    }

    /// Translates a block: `before_block_translate`, `after_block_translate`.
    pub fn block_translate(&self, pc: u64, insn_count: u32) {
        let info = BlockInfo { struct_size: BlockInfo::SIZE, insn_count, pc, size: 4 };
        fire!(self, kind::BEFORE_BLOCK_TRANSLATE, PcFn, pc => |()| ());
        fire!(self, kind::AFTER_BLOCK_TRANSLATE, BlockFn, &info => |()| ());
    }

    /// Loads: `virt_mem_before_read`, `virt_mem_after_read`.
    pub fn load_mem(&self, pc: u64, addr: u64, data: &[u8]) {
        let size = data.len() as u64;
        fire!(self, @(addr, size), kind::VIRT_MEM_BEFORE_READ, MemFn, pc, addr, size, core::ptr::null()
            => |()| ());
        self.tick(crate::abi::counter_kind::LOADS, 1);
        fire!(self, @(addr, size), kind::VIRT_MEM_AFTER_READ, MemFn, pc, addr, size, data.as_ptr() => |()| ());
    }

    /// Stores: `virt_mem_before_write`, `virt_mem_after_write`.
    pub fn store_mem(&self, pc: u64, addr: u64, data: &[u8]) {
        let size = data.len() as u64;
        fire!(self, @(addr, size), kind::VIRT_MEM_BEFORE_WRITE, MemFn, pc, addr, size, data.as_ptr()
            => |()| ());
        self.set_memory(addr, data);
        self.tick(crate::abi::counter_kind::STORES, 1);
        fire!(self, @(addr, size), kind::VIRT_MEM_AFTER_WRITE, MemFn, pc, addr, size, data.as_ptr() => |()| ());
    }

    /// A system call; with a result, also its return.
    pub fn syscall(&self, info: &SyscallInfo, result: Option<i64>) {
        fire!(self, kind::SYSCALL_ENTER, SyscallEnterFn, info => |()| ());
        if let Some(result) = result {
            fire!(self, kind::SYSCALL_RETURN, SyscallReturnFn, info, result => |()| ());
        }
    }

    /// The hypercall instruction; whether it was handled.
    pub fn hypercall(&self) -> bool {
        let mut handled = false;
        fire!(self, kind::GUEST_HYPERCALL, GuestHypercallFn, => |r| handled |= r != 0);
        handled
    }

    /// A monitor line; whether it was handled.
    pub fn monitor(&self, line: &str) -> bool {
        let mut handled = false;
        fire!(self, kind::MONITOR, MonitorFn, line.as_ptr(), line.len() as u64
            => |r| handled |= r != 0);
        handled
    }

    /// A module: `MODULE_LOADED` or `MODULE_UNLOADED`.
    pub fn module(&self, kind: u32, info: &ModuleInfo) {
        fire!(self, kind, ModuleFn, info => |()| ());
    }

    /// A thread: `THREAD_START` or `THREAD_EXIT`.
    pub fn thread(&self, kind: u32, info: &ThreadInfo) {
        fire!(self, kind, ThreadFn, info => |()| ());
    }

    /// A fork, seen on one side ([`crate::abi::fork_side`]).
    pub fn fork(&self, side: u32, parent: u32, child: u32) {
        let info = ForkInfo { struct_size: ForkInfo::SIZE, side, parent, child };
        fire!(self, kind::PROCESS_FORK, ForkFn, &info => |()| ());
    }

    /// A program replaced by another.
    pub fn exec(&self, path: &str) {
        let info = ExecInfo {
            struct_size: ExecInfo::SIZE,
            pid: 1,
            path: Str::new(path),
            arch: self.state.arch.get(),
            word_size: tables::word_size(self.state.arch.get()),
        };
        fire!(self, kind::PROCESS_EXEC, ExecFn, &info => |()| ());
    }

    /// A signal.
    pub fn signal(&self, info: &SignalInfo) {
        fire!(self, kind::SIGNAL_DELIVERED, SignalFn, info => |()| ());
    }

    /// The guest starts.
    pub fn guest_ready(&self) {
        fire!(self, kind::GUEST_READY, CpuFn, => |()| ());
    }

    /// The guest ends ([`crate::abi::exit_kind`]).
    pub fn guest_exit(&self, how: u32, code: i32) {
        fire!(self, kind::GUEST_EXIT, GuestExitFn, how, code => |()| ());
    }
}

fn value(d: &ArgDesc, given: u32, bits: u64, text: Str, items: &[Str]) -> ArgValue {
    let (items, items_count) = (items.as_ptr(), items.len() as u64);
    ArgValue { name: d.name, kind: d.kind, given, bits, text, items, items_count }
}

fn given(d: &ArgDesc, v: &Value, items: &[Str]) -> ArgValue {
    let (bits, text) = match v {
        Value::Bool(b) => (u64::from(*b), Str::EMPTY),
        Value::U64(n) => (*n, Str::EMPTY),
        Value::I64(n) => (*n as u64, Str::EMPTY),
        Value::F64(x) => (x.to_bits(), Str::EMPTY),
        Value::Text(s) => (0, Str::new(s)),
        Value::List(_) => (0, Str::EMPTY),
    };
    value(d, 1, bits, text, items)
}

fn default(d: &ArgDesc) -> Option<ArgValue> {
    if d.default.ptr.is_null() {
        return None;
    }
    // SAFETY: static text.
    let text = unsafe { d.default.text() };
    let bits = match d.kind {
        arg_kind::BOOL => u64::from(text == "true"),
        arg_kind::U64 => text.parse().expect("a number as default"),
        arg_kind::I64 => text.parse::<i64>().expect("a number as default") as u64,
        arg_kind::F64 => text.parse::<f64>().expect("a number as default").to_bits(),
        _ => 0,
    };
    Some(value(d, 0, bits, d.default, &[]))
}

impl Drop for MockHost {
    fn drop(&mut self) {
        self.unload();
        let _ = std::fs::remove_dir_all(self.out_dir());
    }
}

impl core::fmt::Debug for MockHost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MockHost").field("out_dir", &self.state.out_dir).finish_non_exhaustive()
    }
}
