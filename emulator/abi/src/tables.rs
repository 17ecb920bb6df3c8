//! The service tables.
//!
//! # Safety
//! All functions: called by a plugin with the handle its `init` received, or inside a callback with
//! the processor that the callback got, and with arguments as `plugin_api::abi` says.

use std::sync::OnceLock;

use emu_cpu::{CpuHeader, NO_READS, NO_WRITES, RegKind, lent};
use emu_engine::{CounterId, CounterKind, Shared, SubscriptionId, Within};
use plugin_api::abi::{
    ConditionsApi, CountersApi, MemApi, MonitorApi, OsApi, PandaCpu, PandaId, PandaPlugin, RegInfo,
    RegsApi, Str, arch, reg_kind, status, syscall_abi,
};

use crate::core_table::{done, inner, text};

type Cpu = *mut PandaCpu;
type Plugin = *mut PandaPlugin;

pub(crate) static MEM: MemApi = MemApi {
    struct_size: MemApi::SIZE,
    reserved: 0,
    read: Some(mem_read),
    write: Some(mem_write),
    read_cstr: Some(mem_read_cstr),
};

pub(crate) static REGS: RegsApi = RegsApi {
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

pub(crate) static OS: OsApi = OsApi {
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

pub(crate) static COUNTERS: CountersApi = CountersApi {
    struct_size: CountersApi::SIZE,
    reserved: 0,
    add: Some(counters_add),
    remove: Some(counters_remove),
};

pub(crate) static CONDITIONS: ConditionsApi = ConditionsApi {
    struct_size: ConditionsApi::SIZE,
    reserved: 0,
    within: Some(conditions_within),
    countdown: Some(conditions_countdown),
};

pub(crate) static MONITOR: MonitorApi =
    MonitorApi { struct_size: MonitorApi::SIZE, reserved: 0, reply: Some(monitor_reply) };

/// The engine behind a processor, if there is one.
///
/// # Safety
/// As the module says.
unsafe fn of<'a>(cpu: Cpu) -> Option<(&'a Shared, *mut CpuHeader)> {
    let (cpu, _) = lent(cpu.cast());
    // SAFETY: not null means: the processor a callback got.
    unsafe {
        if cpu.is_null() || (*cpu).engine.is_null() {
            return None;
        }
        Some((Shared::of(cpu), cpu))
    }
}

/// The same for an access to registers that its subscription must have declared.
///
/// # Safety
/// As the module says.
unsafe fn declared<'a>(cpu: Cpu, undeclared: usize) -> Result<(&'a Shared, *mut CpuHeader), u32> {
    // SAFETY: as above.
    let found = unsafe { of(cpu) }.ok_or(status::NOT_NOW)?;
    if lent(cpu.cast()).1 & undeclared == 0 { Ok(found) } else { Err(status::NOT_DECLARED) }
}

unsafe extern "C" fn mem_read(cpu: Cpu, addr: u64, buf: *mut u8, len: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some((shared, _)) = of(cpu) else { return status::NOT_NOW };
        if len == 0 {
            return status::OK;
        }
        if buf.is_null() || len > isize::MAX as u64 {
            return status::INVALID;
        }
        let buf = core::slice::from_raw_parts_mut(buf, len as usize);
        if shared.read_memory(addr, buf) { status::OK } else { status::FAULT }
    }
}

unsafe extern "C" fn mem_write(cpu: Cpu, addr: u64, data: *const u8, len: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some((shared, _)) = of(cpu) else { return status::NOT_NOW };
        if len == 0 {
            return status::OK;
        }
        if data.is_null() || len > isize::MAX as u64 {
            return status::INVALID;
        }
        let data = core::slice::from_raw_parts(data, len as usize);
        if shared.write_memory(addr, data) { status::OK } else { status::FAULT }
    }
}

unsafe extern "C" fn mem_read_cstr(
    cpu: Cpu,
    addr: u64,
    buf: *mut u8,
    size: u64,
    len: *mut u64,
) -> u32 {
    const PAGE: u64 = 4096;
    // SAFETY: see the module.
    unsafe {
        let Some((shared, _)) = of(cpu) else { return status::NOT_NOW };
        if buf.is_null() || len.is_null() || size > isize::MAX as u64 {
            return status::INVALID;
        }
        let buf = core::slice::from_raw_parts_mut(buf, size as usize);
        let mut have = 0;
        while have < buf.len() {
            let Some(at) = addr.checked_add(have as u64) else { break };
            let chunk = (PAGE - at % PAGE).min((buf.len() - have) as u64) as usize;
            let part = &mut buf[have..have + chunk];
            if !shared.read_memory(at, part) {
                if have == 0 {
                    return status::FAULT;
                }
                break;
            }
            if let Some(end) = part.iter().position(|b| *b == 0) {
                have += end;
                break;
            }
            have += chunk;
        }
        *len = have as u64;
    }
    status::OK
}

unsafe extern "C" fn regs_count(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    unsafe { inner(plugin) }.map_or(0, |p| p.shared.arch().registers().len() as u32)
}

unsafe extern "C" fn regs_describe(plugin: Plugin, index: u32, out: *mut RegInfo) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(p) = inner(plugin) else { return status::INVALID };
        if out.is_null() || (*out).struct_size < RegInfo::SIZE {
            return status::INVALID;
        }
        let Some(reg) = p.shared.arch().registers().get(index as usize) else {
            return status::UNKNOWN;
        };
        (*out).id = reg.id;
        (*out).name = Str::new(reg.name);
        (*out).size = reg.bytes;
        (*out).kind = match reg.kind {
            RegKind::General => reg_kind::GENERAL,
            RegKind::Pc => reg_kind::PC,
            RegKind::Flags => reg_kind::FLAGS,
            RegKind::Segment => reg_kind::SEGMENT,
            RegKind::Vector => reg_kind::VECTOR,
            RegKind::Control => reg_kind::CONTROL,
        };
    }
    status::OK
}

unsafe extern "C" fn regs_by_name(plugin: Plugin, name: Str, id: *mut u32) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(p) = inner(plugin) else { return status::INVALID };
        if id.is_null() {
            return status::INVALID;
        }
        let name = text(name);
        match p.shared.arch().registers().iter().find(|r| r.name == name) {
            Some(reg) => *id = reg.id,
            None => return status::UNKNOWN,
        }
    }
    status::OK
}

unsafe extern "C" fn regs_read(cpu: Cpu, id: u32, buf: *mut u8, size: u64, out: *mut u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let (shared, cpu) = match declared(cpu, NO_READS) {
            Ok(found) => found,
            Err(status) => return status,
        };
        if buf.is_null() || size > isize::MAX as u64 {
            return status::INVALID;
        }
        let arch = shared.arch();
        match arch.registers().iter().find(|r| r.id == id) {
            None => return status::UNKNOWN,
            Some(r) if u64::from(r.bytes) > size => return status::TOO_SMALL,
            Some(_) => {}
        }
        let buf = core::slice::from_raw_parts_mut(buf, size as usize);
        let Some(n) = arch.read_reg(cpu, id, buf) else { return status::UNKNOWN };
        if !out.is_null() {
            *out = n as u64;
        }
    }
    status::OK
}

unsafe extern "C" fn regs_read_u64(cpu: Cpu, id: u32, out: *mut u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let (shared, cpu) = match declared(cpu, NO_READS) {
            Ok(found) => found,
            Err(status) => return status,
        };
        if out.is_null() {
            return status::INVALID;
        }
        let arch = shared.arch();
        let mut buf = [0; 8];
        if arch.read_reg(cpu, id, &mut buf).is_none() {
            let known = arch.registers().iter().any(|r| r.id == id);
            return if known { status::TOO_SMALL } else { status::UNKNOWN };
        }
        *out = u64::from_le_bytes(buf);
    }
    status::OK
}

unsafe extern "C" fn regs_read_u64s(
    cpu: Cpu,
    ids: *const u32,
    values: *mut u64,
    count: u32,
) -> u32 {
    // SAFETY: see the module.
    unsafe {
        if count > 0 && (ids.is_null() || values.is_null()) {
            return status::INVALID;
        }
        let (shared, header) = match declared(cpu, NO_READS) {
            Ok(found) => found,
            Err(status) => return status,
        };
        let arch = shared.arch();
        for n in 0..count as usize {
            let mut buf = [0; 8];
            if arch.read_reg(header, *ids.add(n), &mut buf).is_none() {
                // It says why.
                return regs_read_u64(cpu, *ids.add(n), values.add(n));
            }
            *values.add(n) = u64::from_le_bytes(buf);
        }
    }
    status::OK
}

unsafe extern "C" fn regs_write(cpu: Cpu, id: u32, data: *const u8, size: u64) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let (shared, cpu) = match declared(cpu, NO_WRITES) {
            Ok(found) => found,
            Err(status) => return status,
        };
        if data.is_null() || size > 64 {
            return status::INVALID;
        }
        let data = core::slice::from_raw_parts(data, size as usize);
        let arch = shared.arch();
        if arch.write_reg(cpu, id, data) {
            status::OK
        } else if arch.registers().iter().any(|r| r.id == id) {
            status::INVALID
        } else {
            status::UNKNOWN
        }
    }
}

unsafe extern "C" fn regs_pc(cpu: Cpu) -> u64 {
    // SAFETY: see the module.
    unsafe { declared(cpu, NO_READS).map_or(0, |(_, cpu)| (*cpu).pc) }
}

unsafe extern "C" fn regs_sp(cpu: Cpu) -> u64 {
    // SAFETY: see the module.
    unsafe {
        let Ok((shared, cpu)) = declared(cpu, NO_READS) else { return 0 };
        // Both x86 modes have one CPU structure; plugins ask this for every store.
        static SLOT: OnceLock<Option<u32>> = OnceLock::new();
        let Some(slot) = *SLOT.get_or_init(|| shared.arch().slot_by_name("rsp")) else { return 0 };
        cpu.cast::<u8>().add(slot as usize).cast::<u64>().read()
    }
}

unsafe extern "C" fn os_arch(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    match unsafe { inner(plugin) }.map(|p| p.shared.arch().name()) {
        Some("x86_64") => arch::X86_64,
        Some("i386") => arch::I386,
        _ => 0,
    }
}

unsafe extern "C" fn os_word_size(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    unsafe { inner(plugin) }.map_or(0, |p| p.shared.arch().word_bytes())
}

unsafe extern "C" fn os_program(plugin: Plugin) -> Str {
    // SAFETY: see the module.
    let Some(p) = (unsafe { inner(plugin) }) else { return Str::EMPTY };
    let now = p.shared.os.borrow();
    let mut handed = p.program.borrow_mut();
    // Replaced only when it changed, so that a text handed out before stays valid.
    if *handed != now.program {
        handed.clone_from(&now.program);
    }
    Str::new(&handed)
}

unsafe extern "C" fn os_out_dir(plugin: Plugin) -> Str {
    // SAFETY: see the module.
    unsafe { inner(plugin) }.map_or(Str::EMPTY, |p| Str::new(&p.config.out_dir))
}

unsafe extern "C" fn os_syscall_name(_: Plugin, abi: u32, number: u64) -> Str {
    let Ok(number) = usize::try_from(number) else { return Str::EMPTY };
    let name = match abi {
        syscall_abi::LINUX_X86_64 => syscalls::x86_64::Sysno::new(number).map(|s| s.name()),
        syscall_abi::LINUX_I386 => syscalls::x86::Sysno::new(number).map(|s| s.name()),
        _ => None,
    };
    name.map_or(Str::EMPTY, Str::new)
}

unsafe extern "C" fn os_pid(cpu: Cpu) -> u32 {
    // SAFETY: see the module.
    unsafe { of(cpu) }.map_or(0, |(shared, _)| shared.os.borrow().pid)
}

unsafe extern "C" fn os_tid(cpu: Cpu) -> u32 {
    // SAFETY: see the module.
    unsafe { of(cpu) }.map_or(0, |(shared, _)| shared.os.borrow().tid)
}

unsafe extern "C" fn os_retired(cpu: Cpu) -> u64 {
    // SAFETY: see the module.
    unsafe { of(cpu) }.map_or(0, |(shared, _)| shared.retired())
}

unsafe extern "C" fn os_in_kernel(_: Cpu) -> u32 {
    0
}

unsafe extern "C" fn os_address_space(_: Cpu) -> u64 {
    0
}

unsafe extern "C" fn os_continued(plugin: Plugin) -> u32 {
    // SAFETY: see the module.
    unsafe { inner(plugin) }.map_or(0, |p| u32::from(p.config.continued))
}

unsafe extern "C" fn os_hide_fd(plugin: Plugin, fd: i32, hidden: u32) -> u32 {
    // SAFETY: see the module.
    let Some(p) = (unsafe { inner(plugin) }) else { return status::INVALID };
    (p.config.hide_fd)(fd, hidden != 0);
    status::OK
}

unsafe extern "C" fn counters_add(
    plugin: Plugin,
    kind: u32,
    number: *mut u64,
    amount: u64,
    id: *mut PandaId,
) -> u32 {
    // SAFETY: see the module; the plugin keeps the number where it is.
    unsafe {
        let Some(p) = inner(plugin) else { return status::INVALID };
        if number.is_null() || !number.is_aligned() || id.is_null() {
            return status::INVALID;
        }
        let Some(kind) = CounterKind::from_u32(kind) else { return status::UNKNOWN };
        *id = p.shared.add_counter(p.owner, kind, number, amount).0;
    }
    status::OK
}

unsafe extern "C" fn counters_remove(plugin: Plugin, id: PandaId) -> u32 {
    // SAFETY: see the module.
    let Some(p) = (unsafe { inner(plugin) }) else { return status::INVALID };
    if p.shared.remove_counter(p.owner, CounterId(id)) { status::OK } else { status::STALE_ID }
}

unsafe extern "C" fn conditions_within(plugin: Plugin, id: PandaId, from: u64, to: u64) -> u32 {
    // SAFETY: see the module.
    let Some(p) = (unsafe { inner(plugin) }) else { return status::INVALID };
    if from >= to {
        return status::INVALID;
    }
    let within = ((from, to) != (0, u64::MAX)).then_some(Within { from, to });
    done(p.shared.set_within(p.owner, SubscriptionId(id), within))
}

unsafe extern "C" fn conditions_countdown(
    plugin: Plugin,
    id: PandaId,
    first: u64,
    every: u64,
) -> u32 {
    // SAFETY: see the module.
    let Some(p) = (unsafe { inner(plugin) }) else { return status::INVALID };
    if first == 0 {
        return status::INVALID;
    }
    done(p.shared.set_countdown(p.owner, SubscriptionId(id), first, every))
}

unsafe extern "C" fn monitor_reply(plugin: Plugin, line: Str) -> u32 {
    // SAFETY: see the module.
    unsafe {
        let Some(p) = inner(plugin) else { return status::INVALID };
        (p.config.reply)(&p.name, &text(line));
    }
    status::OK
}
