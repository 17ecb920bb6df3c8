//! The engine as a [`Machine`]: runs guest code and turns the personality's events into callbacks.

use std::cell::RefMut;

use emu_cpu::CpuHeader;
use emu_engine::{Engine, Shared, Slice};
use emu_ir::TrapKind;
use emu_mem::{AddressSpace, access};
use emu_x86::X86Cpu;
use plugin_api::abi::{
    self, ExecInfo, ForkInfo, ModuleInfo, SignalInfo, Str, SyscallInfo, ThreadInfo, exit_kind,
    fork_side, kind, module_flags, signal_flags, syscall_abi, syscall_entry,
};

use crate::machine::{Machine, Stop, header};
use crate::{Abi, Event, ExitStatus};

impl Machine for Engine {
    fn space(&self) -> RefMut<'_, AddressSpace> {
        self.shared().space.borrow_mut()
    }

    fn run(&mut self, cpu: &mut X86Cpu, slice: Slice) -> Stop {
        // SAFETY: the reference is exclusive for the call and of the engine's architecture, which
        // `set_abi` keeps in step with the process.
        match unsafe { Engine::run(self, header(cpu), slice) } {
            emu_engine::Stop::Trap(t) if t.kind != TrapKind::None => Stop::Trap(t),
            emu_engine::Stop::Trap(_) | emu_engine::Stop::Budget => Stop::Budget,
            emu_engine::Stop::Limit => {
                self.shared().request_stop(0, "the instruction limit is reached");
                Stop::Requested
            }
            emu_engine::Stop::Interrupted if self.shared().stop_request().is_some() => {
                Stop::Requested
            }
            emu_engine::Stop::Interrupted => Stop::Interrupted,
        }
    }

    fn retired(&self) -> u64 {
        self.shared().retired()
    }

    fn watches_calls(&self) -> bool {
        self.shared().wants_either(kind::SYSCALL_ENTER, kind::SYSCALL_RETURN)
    }

    fn invalidate(&mut self, start: u64, end: u64) {
        Engine::invalidate(self, start, end);
    }

    fn release_code(&mut self, start: u64, end: u64) {
        Engine::release_code(self, start, end);
    }

    fn set_abi(&mut self, abi: Abi) {
        self.set_arch(abi.arch());
    }

    fn event(&mut self, cpu: &mut X86Cpu, event: &Event<'_>) {
        match event {
            Event::BeforeFork => self.before_fork(),
            Event::Fork { is_child: true, .. } => self.after_fork(),
            _ => {}
        }
        let shared = self.shared().clone();
        cpu.hdr.engine = (&raw const *shared).cast_mut().cast();
        notify(&shared, header(cpu), cpu.hdr.insn_pc, event);
    }
}

/// One arm: calls every subscriber of a kind through its function type.
macro_rules! tell {
    ($shared:expr, $kind:expr, $ty:ty, $cpu:expr $(, $arg:expr)*) => {
        $shared.notify($kind, $cpu, |f, user, cpu| {
            // SAFETY: the function type belongs to the kind; arguments live for the call.
            unsafe {
                let f: $ty = core::mem::transmute(f);
                f(user, cpu $(, $arg)*);
            }
        })
    };
}

fn notify(shared: &Shared, cpu: *mut CpuHeader, pc: u64, event: &Event<'_>) {
    let (pid, tid) = {
        let os = shared.os.borrow();
        (os.pid, os.tid)
    };
    match event {
        Event::SyscallEnter { abi, number, args, .. } => {
            if shared.wants(kind::SYSCALL_ENTER) {
                let info = syscall_info(*abi, pc, *number, args, pid, tid);
                tell!(shared, kind::SYSCALL_ENTER, abi::SyscallEnterFn, cpu, &info);
            }
        }
        Event::SyscallReturn { abi, number, args, result, .. } => {
            if shared.wants(kind::SYSCALL_RETURN) {
                let info = syscall_info(*abi, pc, *number, args, pid, tid);
                tell!(shared, kind::SYSCALL_RETURN, abi::SyscallReturnFn, cpu, &info, *result);
            }
        }
        Event::ModuleLoaded { path, base, size, build_id } => {
            let info = module(shared, path, *base, *size, build_id);
            tell!(shared, kind::MODULE_LOADED, abi::ModuleFn, cpu, &info);
        }
        Event::ModuleUnloaded { path, base, size } => {
            let info = module(shared, path, *base, *size, &[]);
            tell!(shared, kind::MODULE_UNLOADED, abi::ModuleFn, cpu, &info);
        }
        Event::ThreadStart { tid } => {
            let info = thread(cpu, *tid, pid, 0);
            tell!(shared, kind::THREAD_START, abi::ThreadFn, cpu, &info);
        }
        Event::ThreadSwitch { tid } => shared.os.borrow_mut().tid = *tid as u32,
        Event::ThreadExit { tid } => {
            let info = thread(cpu, *tid, pid, 0);
            tell!(shared, kind::THREAD_EXIT, abi::ThreadFn, cpu, &info);
        }
        // Output is flushed by whoever owns it: the host, between events.
        Event::BeforeFork => {}
        Event::Fork { child, is_child } => {
            if *is_child {
                let mut os = shared.os.borrow_mut();
                os.pid = *child as u32;
                os.tid = *child as u32;
            }
            let info = ForkInfo {
                struct_size: ForkInfo::SIZE,
                side: if *is_child { fork_side::CHILD } else { fork_side::PARENT },
                parent: pid,
                child: *child as u32,
            };
            tell!(shared, kind::PROCESS_FORK, abi::ForkFn, cpu, &info);
        }
        Event::Exec { path, abi } => {
            (*path).clone_into(&mut shared.os.borrow_mut().program);
            let info = ExecInfo {
                struct_size: ExecInfo::SIZE,
                pid,
                path: Str::new(path),
                arch: match abi {
                    Abi::X86_64 => abi::arch::X86_64,
                    Abi::I386 => abi::arch::I386,
                },
                word_size: abi.word() as u32,
            };
            tell!(shared, kind::PROCESS_EXEC, abi::ExecFn, cpu, &info);
        }
        Event::Signal { signal, code, handler } => {
            let info = SignalInfo {
                struct_size: SignalInfo::SIZE,
                signo: *signal,
                code: *code,
                flags: if handler.is_none() { signal_flags::FATAL } else { 0 },
                addr: 0,
                pc: current_pc(cpu),
                handler: handler.unwrap_or(0),
                tid,
                sender: 0,
            };
            tell!(shared, kind::SIGNAL_DELIVERED, abi::SignalFn, cpu, &info);
        }
        Event::Ready { path, .. } => {
            {
                let mut os = shared.os.borrow_mut();
                (*path).clone_into(&mut os.program);
                os.pid = std::process::id();
                os.tid = os.pid;
            }
            tell!(shared, kind::GUEST_READY, abi::CpuFn, cpu);
        }
        Event::Exit { status } => {
            let (how, code) = match *status {
                ExitStatus::Code(code) => (exit_kind::EXITED, code),
                ExitStatus::Signal { signal, .. } => (exit_kind::SIGNALED, signal),
                ExitStatus::Stopped => {
                    (exit_kind::STOPPED, shared.stop_request().map_or(0, |r| r.status))
                }
            };
            tell!(shared, kind::GUEST_EXIT, abi::GuestExitFn, cpu, how, code);
        }
    }
}

fn current_pc(cpu: *mut CpuHeader) -> u64 {
    // SAFETY: `notify` got a live CPU.
    unsafe { (*cpu).pc }
}

fn syscall_info(
    abi: Abi,
    pc: u64,
    number: u64,
    args: &[u64; 6],
    pid: u32,
    tid: u32,
) -> SyscallInfo {
    let entry = match access::load::<u16>(pc) {
        Ok(0x340f) => syscall_entry::SYSENTER,
        Ok(0x80cd) => syscall_entry::INT80,
        _ => syscall_entry::SYSCALL,
    };
    let mut all = [0; 8];
    all[..6].copy_from_slice(args);
    let arg_count = crate::sys::table::lookup(abi, number)
        .map_or(u32::MAX, |row| row.args.iter().map(|a| a.words(abi)).sum::<usize>() as u32);
    SyscallInfo {
        struct_size: SyscallInfo::SIZE,
        abi: match abi {
            Abi::X86_64 => syscall_abi::LINUX_X86_64,
            Abi::I386 => syscall_abi::LINUX_I386,
        },
        entry,
        arg_count,
        tid,
        pid,
        pc,
        number,
        args: all,
    }
}

fn module(shared: &Shared, path: &str, base: u64, size: u64, build_id: &[u8]) -> ModuleInfo {
    let flags = if path == shared.os.borrow().program {
        module_flags::MAIN
    } else if path.starts_with('[') {
        module_flags::KERNEL
    } else {
        0
    };
    ModuleInfo {
        struct_size: ModuleInfo::SIZE,
        flags,
        base,
        size,
        path: Str::new(path),
        build_id: Str::from_bytes(build_id),
    }
}

fn thread(cpu: *mut CpuHeader, tid: i32, pid: u32, status: i32) -> ThreadInfo {
    // SAFETY: `notify` got a live CPU, which is an `X86Cpu` in this personality.
    let x86 = unsafe { &*cpu.cast::<X86Cpu>() };
    ThreadInfo {
        struct_size: ThreadInfo::SIZE,
        tid: tid as u32,
        pid,
        status,
        pc: x86.hdr.pc,
        sp: x86.gpr[emu_x86::state::gpr::RSP],
    }
}
