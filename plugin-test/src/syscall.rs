//! The kernel of a test's guest: it answers what the test says, and ends the guest.

use emu_ir::TrapKind;
use plugin_api::abi::{self, SyscallInfo, kind, syscall_abi, syscall_entry};

use crate::{End, PluginTest};

/// The convention of a system call: number and arguments.
struct Convention {
    abi: u32,
    number: &'static str,
    args: &'static [&'static str],
    exits: [u64; 2],
}

const LINUX_X86_64: Convention = Convention {
    abi: syscall_abi::LINUX_X86_64,
    number: "rax",
    args: &["rdi", "rsi", "rdx", "r10", "r8", "r9"],
    exits: [60, 231],
};

const LINUX_I386: Convention = Convention {
    abi: syscall_abi::LINUX_I386,
    number: "eax",
    args: &["ebx", "ecx", "edx", "esi", "edi", "ebp"],
    exits: [1, 252],
};

/// The result of a call that nobody answers, ENOSYS.
const UNKNOWN: i64 = -38;

/// Does the call behind a trap; `Some` when it ends the guest.
pub fn serve(test: &mut PluginTest, trap: TrapKind) -> Option<End> {
    let (entry, wide) = match trap {
        TrapKind::Syscall => (syscall_entry::SYSCALL, true),
        TrapKind::Sysenter => (syscall_entry::SYSENTER, false),
        _ => (syscall_entry::INT80, false),
    };
    let c = if wide && test.word_size() == 8 { &LINUX_X86_64 } else { &LINUX_I386 };
    // The names are those of the running guest's registers.
    let read = |name: &str| -> u64 {
        let own = if test.word_size() == 8 { name.replacen('e', "r", 1) } else { name.to_owned() };
        let narrow = c.abi == syscall_abi::LINUX_I386;
        if narrow { test.reg(&own) & 0xffff_ffff } else { test.reg(&own) }
    };
    let mut args = [0; 8];
    for (arg, name) in args.iter_mut().zip(c.args) {
        *arg = read(name);
    }
    let info = SyscallInfo {
        struct_size: SyscallInfo::SIZE,
        abi: c.abi,
        entry,
        arg_count: u32::MAX,
        tid: crate::TID,
        pid: crate::TID,
        // All three instructions have two bytes.
        pc: test.pc() - 2,
        number: read(c.number),
        args,
    };
    let (cpu, shared) = (test.cpu(), test.shared());
    shared.notify(kind::SYSCALL_ENTER, cpu.cast(), |f, user, cpu| {
        // SAFETY: the function type belongs to the kind; the information outlives the call.
        unsafe {
            let f: abi::SyscallEnterFn = core::mem::transmute(f);
            f(user, cpu, &info);
        }
    });
    if c.exits.contains(&info.number) {
        return Some(End::Exited(info.args[0] as i32));
    }
    let result = test.answer(info.number, &info.args).unwrap_or(UNKNOWN);
    shared.notify(kind::SYSCALL_RETURN, cpu.cast(), |f, user, cpu| {
        // SAFETY: as above.
        unsafe {
            let f: abi::SyscallReturnFn = core::mem::transmute(f);
            f(user, cpu, &info, result);
        }
    });
    let name = if test.word_size() == 8 { "rax" } else { "eax" };
    test.set_reg(name, result as u64);
    None
}
