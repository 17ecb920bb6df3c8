//! The mock host's tables.
//!
//! # Safety
//! All functions: called by the loaded plugin as the contract says, with handles of this host.

use core::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::conditions::{CONDITIONS, Condition};
use super::host::{Callback, Count, Processor, State};
use super::services;
use crate::abi::{
    ABI_MAJOR, ABI_MINOR, CallbackDesc, CountersApi, HostApi, MemApi, MonitorApi, OsApi, PandaCpu,
    PandaId, PandaPlugin, RegInfo, RegsApi, Str, arch, flags, kind, level, reg_kind, service,
    status, syscall_abi,
};

type Host = *const HostApi;
type Plugin = *mut PandaPlugin;
type Cpu = *mut PandaCpu;

/// Id of the pc.
pub(super) const PC: u32 = 16;
const SP: u32 = 4;

/// Registers: id, 64-bit name, 32-bit name.
const REGS_TABLE: [(u32, &str, &str); 6] = [
    (0, "rax", "eax"),
    (1, "rcx", "ecx"),
    (2, "rdx", "edx"),
    (3, "rbx", "ebx"),
    (SP, "rsp", "esp"),
    (PC, "rip", "eip"),
];

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn word_size(guest: u32) -> u32 {
    if matches!(guest, arch::X86_64 | arch::AARCH64) { 8 } else { 4 }
}

pub(super) fn reg_id(guest: u32, name: &str) -> Option<u32> {
    REGS_TABLE
        .iter()
        .find(|(_, wide, narrow)| name == *if word_size(guest) == 8 { wide } else { narrow })
        .map(|(id, ..)| *id)
}

pub(super) const API: HostApi = HostApi {
    struct_size: HostApi::SIZE,
    abi_major: ABI_MAJOR,
    abi_minor: ABI_MINOR,
    reserved: 0,
    name: Str::new("mock"),
    version: Str::new("1"),
    context: core::ptr::null_mut(),
    log: Some(log),
    get_extension: Some(get_extension),
    register_cb: Some(register_cb),
    unregister_cb: Some(unregister_cb),
    enable_cb: Some(enable_cb),
    disable_cb: Some(disable_cb),
    request_stop: Some(request_stop),
    plugin_failed: Some(plugin_failed),
    unload_self: Some(unload_self),
    provide_service: Some(services::provide_service),
    use_service: Some(services::use_service),
    log_level: Some(log_level),
    load_plugin: Some(load_plugin),
};

static MEM: MemApi = MemApi {
    struct_size: MemApi::SIZE,
    reserved: 0,
    read: Some(mem_read),
    write: Some(mem_write),
    read_cstr: Some(mem_read_cstr),
};

static REGS: RegsApi = RegsApi {
    struct_size: RegsApi::SIZE,
    reserved: 0,
    count: Some(regs_count),
    describe: Some(regs_describe),
    by_name: Some(regs_by_name),
    read: Some(regs_read),
    write: Some(regs_write),
    read_u64: Some(regs_read_u64),
    pc: Some(regs_pc),
    sp: Some(regs_sp),
    read_u64s: Some(regs_read_u64s),
};

static OS: OsApi = OsApi {
    struct_size: OsApi::SIZE,
    reserved: 0,
    arch: Some(os_arch),
    word_size: Some(os_word_size),
    program: Some(os_program),
    out_dir: Some(os_out_dir),
    syscall_name: Some(os_syscall_name),
    pid: Some(os_pid),
    tid: Some(os_tid),
    retired: Some(os_retired),
    in_kernel: Some(os_in_kernel),
    address_space: Some(os_address_space),
    continued: Some(os_continued),
    hide_fd: Some(os_hide_fd),
};

static COUNTERS: CountersApi = CountersApi {
    struct_size: CountersApi::SIZE,
    reserved: 0,
    add: Some(counters_add),
    remove: Some(counters_remove),
};

static MONITOR: MonitorApi =
    MonitorApi { struct_size: MonitorApi::SIZE, reserved: 0, reply: Some(reply) };

/// # Safety
/// As the module says.
pub(super) unsafe fn of<'a>(plugin: Plugin) -> &'a State {
    // SAFETY: handles of this host point to its state.
    unsafe { &*plugin.cast::<State>().cast_const() }
}

/// # Safety
/// As the module says.
unsafe fn on<'a>(cpu: Cpu) -> &'a State {
    // SAFETY: processors of this host name its state.
    unsafe { &*(*cpu.cast::<Processor>()).state }
}

/// The same for an access to registers that needs one of these flags declared.
///
/// # Safety
/// As the module says.
unsafe fn declared<'a>(cpu: Cpu, any: u32) -> Option<&'a State> {
    // SAFETY: as above.
    unsafe { ((*cpu.cast::<Processor>()).declared & any != 0).then(|| on(cpu)) }
}

const READS: u32 = flags::READS_REGS | flags::WRITES_REGS;

/// # Safety
/// As the module says.
unsafe fn owned(text: Str) -> String {
    // SAFETY: valid for the call.
    unsafe { text.text() }.into_owned()
}

unsafe extern "C" fn log(_: Host, plugin: Plugin, level: u32, text: Str) {
    // SAFETY: see the module; any thread, so only the one field is touched.
    unsafe { lock(&(*plugin.cast::<State>()).log).push((level, owned(text))) };
}

unsafe extern "C" fn log_level(_: Host, _: Plugin) -> u32 {
    level::TRACE
}

unsafe extern "C" fn plugin_failed(_: Host, plugin: Plugin, text: Str) {
    // SAFETY: see the module; any thread, so only the one field is touched.
    unsafe { lock(&(*plugin.cast::<State>()).failure).get_or_insert(owned(text)) };
}

unsafe extern "C" fn get_extension(_: Host, _: Plugin, id: Str) -> *const c_void {
    // SAFETY: see the module.
    match &*unsafe { owned(id) } {
        service::MEM => (&raw const MEM).cast(),
        service::REGS => (&raw const REGS).cast(),
        service::OS => (&raw const OS).cast(),
        service::COUNTERS => (&raw const COUNTERS).cast(),
        service::CONDITIONS => (&raw const CONDITIONS).cast(),
        service::MONITOR => (&raw const MONITOR).cast(),
        _ => core::ptr::null(),
    }
}

unsafe extern "C" fn register_cb(
    _: Host,
    plugin: Plugin,
    kind: u32,
    desc: *const CallbackDesc,
    id: *mut PandaId,
) -> u32 {
    // SAFETY: see the module.
    unsafe {
        if kind == 0 || kind >= kind::COUNT {
            return status::UNKNOWN;
        }
        let (state, desc) = (of(plugin), *desc);
        let Some(func) = desc.func else { return status::INVALID };
        *id = state.next_id.replace(state.next_id.get() + 1);
        let (user, flags) = (desc.user, desc.flags);
        let condition = Condition::NONE;
        let new = Callback { id: *id, kind, func, user, flags, enabled: true, condition };
        state.callbacks.borrow_mut().push(new);
    }
    status::OK
}

unsafe extern "C" fn unregister_cb(_: Host, plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    let mut callbacks = unsafe { of(plugin) }.callbacks.borrow_mut();
    let before = callbacks.len();
    callbacks.retain(|c| c.id != id);
    if callbacks.len() < before { status::OK } else { status::STALE_ID }
}

fn set_enabled(state: &State, id: PandaId, on: bool) -> u32 {
    match state.callbacks.borrow_mut().iter_mut().find(|c| c.id == id) {
        Some(c) => {
            c.enabled = on;
            status::OK
        }
        None => status::STALE_ID,
    }
}

unsafe extern "C" fn enable_cb(_: Host, plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    set_enabled(unsafe { of(plugin) }, id, true)
}

unsafe extern "C" fn disable_cb(_: Host, plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    set_enabled(unsafe { of(plugin) }, id, false)
}

unsafe extern "C" fn request_stop(_: Host, plugin: Plugin, code: i32, reason: Str) -> u32 {
    // SAFETY: see the module.
    unsafe { *of(plugin).stop.borrow_mut() = Some((code, owned(reason))) };
    status::OK
}

unsafe extern "C" fn unload_self(_: Host, plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    unsafe { of(plugin) }.unload.set(true);
    status::OK
}

unsafe extern "C" fn load_plugin(_: Host, plugin: Plugin, name: Str) -> u32 {
    // SAFETY: see the module.
    unsafe { of(plugin).loads.borrow_mut().push(owned(name)) };
    status::OK
}

unsafe extern "C" fn mem_read(cpu: Cpu, addr: u64, buf: *mut u8, len: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let memory = on(cpu).memory.borrow();
        for i in 0..len {
            let Some(byte) = memory.get(&(addr + i)) else { return status::FAULT };
            buf.add(i as usize).write(*byte);
        }
    }
    status::OK
}

unsafe extern "C" fn mem_write(cpu: Cpu, addr: u64, data: *const u8, len: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let mut memory = on(cpu).memory.borrow_mut();
        if !(addr..addr + len).all(|a| memory.contains_key(&a)) {
            return status::FAULT;
        }
        for i in 0..len {
            memory.insert(addr + i, data.add(i as usize).read());
        }
    }
    status::OK
}

unsafe extern "C" fn mem_read_cstr(
    cpu: Cpu,
    addr: u64,
    buf: *mut u8,
    size: u64,
    len: *mut u64,
) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let memory = on(cpu).memory.borrow();
        let Some(_) = memory.get(&addr) else { return status::FAULT };
        *len = 0;
        while *len < size {
            match memory.get(&(addr + *len)) {
                None | Some(0) => break,
                Some(byte) => buf.add(*len as usize).write(*byte),
            }
            *len += 1;
        }
    }
    status::OK
}

unsafe extern "C" fn regs_count(_: Plugin) -> u32 {
    REGS_TABLE.len() as u32
}

unsafe extern "C" fn regs_describe(plugin: Plugin, index: u32, out: *mut RegInfo) -> u32 {
    let Some((id, wide, narrow)) = REGS_TABLE.get(index as usize) else {
        return status::UNKNOWN;
    };
    // SAFETY: see the module.
    unsafe {
        let size = word_size(of(plugin).arch.get());
        (*out).id = *id;
        (*out).name = Str::new(if size == 8 { wide } else { narrow });
        (*out).size = size;
        (*out).kind = if *id == PC { reg_kind::PC } else { reg_kind::GENERAL };
    }
    status::OK
}

unsafe extern "C" fn regs_by_name(plugin: Plugin, name: Str, id: *mut u32) -> u32 {
    // SAFETY: see the module.
    unsafe {
        match reg_id(of(plugin).arch.get(), &owned(name)) {
            Some(found) => *id = found,
            None => return status::UNKNOWN,
        }
    }
    status::OK
}

unsafe extern "C" fn regs_read(cpu: Cpu, id: u32, buf: *mut u8, size: u64, out: *mut u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(state) = declared(cpu, READS) else { return status::NOT_DECLARED };
        let bytes = u64::from(word_size(state.arch.get()));
        if size < bytes {
            return status::TOO_SMALL;
        }
        let value = state.regs.borrow().get(&id).copied().unwrap_or(0).to_le_bytes();
        core::ptr::copy_nonoverlapping(value.as_ptr(), buf, bytes as usize);
        if !out.is_null() {
            *out = bytes;
        }
    }
    status::OK
}

unsafe extern "C" fn regs_write(cpu: Cpu, id: u32, data: *const u8, size: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(state) = declared(cpu, flags::WRITES_REGS) else { return status::NOT_DECLARED };
        if size != u64::from(word_size(state.arch.get())) {
            return status::INVALID;
        }
        let mut value = [0; 8];
        core::ptr::copy_nonoverlapping(data, value.as_mut_ptr(), size as usize);
        state.regs.borrow_mut().insert(id, u64::from_le_bytes(value));
    }
    status::OK
}

fn reg(state: &State, id: u32) -> u64 {
    state.regs.borrow().get(&id).copied().unwrap_or(0)
}

unsafe extern "C" fn regs_read_u64s(
    cpu: Cpu,
    ids: *const u32,
    values: *mut u64,
    count: u32,
) -> u32 {
    (0..count as usize)
        // SAFETY: the plugin gives arrays of that length.
        .map(|n| unsafe { regs_read_u64(cpu, *ids.add(n), values.add(n)) })
        .find(|s| *s != status::OK)
        .unwrap_or(status::OK)
}

unsafe extern "C" fn regs_read_u64(cpu: Cpu, id: u32, out: *mut u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(state) = declared(cpu, READS) else { return status::NOT_DECLARED };
        *out = reg(state, id);
    }
    status::OK
}

unsafe extern "C" fn regs_pc(cpu: Cpu) -> u64 {
    // SAFETY: see the module.
    unsafe { declared(cpu, READS) }.map_or(0, |s| reg(s, PC))
}

unsafe extern "C" fn regs_sp(cpu: Cpu) -> u64 {
    // SAFETY: see the module.
    unsafe { declared(cpu, READS) }.map_or(0, |s| reg(s, SP))
}

unsafe extern "C" fn os_arch(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    unsafe { of(plugin) }.arch.get()
}

unsafe extern "C" fn os_word_size(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    word_size(unsafe { of(plugin) }.arch.get())
}

unsafe extern "C" fn os_program(_: Plugin) -> Str {
    Str::new("/bin/guest")
}

unsafe extern "C" fn os_out_dir(plugin: Plugin) -> Str {
    // SAFETY: see the module.
    Str::new(&unsafe { of(plugin) }.out_dir)
}

unsafe extern "C" fn os_syscall_name(_: Plugin, abi: u32, number: u64) -> Str {
    Str::new(match (abi, number) {
        (syscall_abi::LINUX_X86_64, 0) | (syscall_abi::LINUX_I386, 3) => "read",
        (syscall_abi::LINUX_X86_64, 1) | (syscall_abi::LINUX_I386, 4) => "write",
        (syscall_abi::LINUX_X86_64, 231) | (syscall_abi::LINUX_I386, 252) => "exit_group",
        _ => "",
    })
}

unsafe extern "C" fn os_pid(_: Cpu) -> u32 {
    1
}

unsafe extern "C" fn os_tid(cpu: Cpu) -> u32 {
    // SAFETY: see the module.
    unsafe { on(cpu) }.tid.get()
}

unsafe extern "C" fn os_retired(cpu: Cpu) -> u64 {
    // SAFETY: see the module.
    unsafe { on(cpu) }.retired.get()
}

unsafe extern "C" fn os_in_kernel(_: Cpu) -> u32 {
    0
}

unsafe extern "C" fn os_address_space(_: Cpu) -> u64 {
    0
}

unsafe extern "C" fn os_continued(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    u32::from(unsafe { of(plugin) }.continued.get())
}

unsafe extern "C" fn os_hide_fd(plugin: Plugin, fd: i32, hidden: u32) -> u32 {
    // SAFETY: see the module.
    let mut fds = unsafe { of(plugin) }.hidden_fds.borrow_mut();
    fds.retain(|f| *f != fd);
    if hidden != 0 {
        fds.push(fd);
    }
    status::OK
}

unsafe extern "C" fn counters_add(
    plugin: Plugin,
    kind: u32,
    number: *mut u64,
    amount: u64,
    id: *mut PandaId,
) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let state = of(plugin);
        *id = state.next_id.replace(state.next_id.get() + 1);
        state.counters.borrow_mut().push(Count { id: *id, kind, number, amount });
    }
    status::OK
}

unsafe extern "C" fn counters_remove(plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    let mut counters = unsafe { of(plugin) }.counters.borrow_mut();
    let before = counters.len();
    counters.retain(|c| c.id != id);
    if counters.len() < before { status::OK } else { status::STALE_ID }
}

unsafe extern "C" fn reply(plugin: Plugin, text: Str) -> u32 {
    // SAFETY: see the module.
    unsafe { of(plugin).replies.borrow_mut().push(owned(text)) };
    status::OK
}
