//! Logs every system call of the guest, at the instruction that makes it.
//!
//! Only that instruction is instrumented; all others run at full speed. The default format is that
//! of PANDA's tutorial, one line for each call: `PC=<address>, SYSCALL=<number>`.

mod filter;
mod jsonl;

use plugin_api::abi::{arch, syscall_abi};
use plugin_api::{FlushReason, prelude::*};

use filter::Filter;
use jsonl::Calls;

/// The plugin.
pub struct Syscalls {
    log: Output,
    filter: Filter,
    names: bool,
    /// The register that holds the call's number.
    number: Reg,
    /// For the JSON format: calls that have not returned yet.
    calls: Calls,
}

impl Plugin for Syscalls {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        if args.str("format") == "jsonl" {
            Self::watch_calls(reg)?;
        } else {
            let guest = reg.arch();
            reg.no_regs().insn_translate(move |_, _, insn| enters_kernel(guest, insn.bytes))?;
            reg.insn_exec(Self::log_call)?;
        }
        Ok(Syscalls {
            log: reg.output(args.path("output"))?,
            filter: Filter::new(args, reg)?,
            names: args.bool("names"),
            number: reg.reg(number_register(reg.arch())?)?,
            calls: Calls::default(),
        })
    }

    fn flush(&mut self, reason: FlushReason) {
        if reason == FlushReason::Fatal {
            self.finish_calls();
        }
    }

    fn uninit(&mut self) {
        self.finish_calls();
    }
}

impl Syscalls {
    /// Runs just before an instruction that enters the kernel.
    fn log_call(&mut self, cpu: &mut Cpu<'_>, pc: u64) {
        let Ok(number) = cpu.reg(self.number) else { return };
        if !self.names && self.filter.is_empty() {
            writeln!(self.log, "PC={}, SYSCALL={}", cpu.word(pc), cpu.word(number));
            return;
        }
        let name = cpu.syscall_name(abi_at(cpu, pc), number).unwrap_or("unknown".into());
        if self.filter.wants(number, &name) {
            write!(self.log, "PC={}, SYSCALL={}", cpu.word(pc), cpu.word(number));
            if self.names {
                write!(self.log, ", NAME={name}");
            }
            writeln!(self.log);
        }
    }
}

/// Whether an instruction is one that enters the kernel.
fn enters_kernel(guest: u32, bytes: &[u8]) -> bool {
    match guest {
        arch::I386 | arch::X86_64 => {
            // Prefixes without effect are allowed; 40–4F (REX) exist in 64-bit code only.
            let prefix = |b: &u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf2 | 0xf3);
            let at = bytes.iter().position(|b| !prefix(b)).unwrap_or(bytes.len());
            // syscall, sysenter, int 0x80
            matches!(bytes[at..], [0x0f, 0x05] | [0x0f, 0x34] | [0xcd, 0x80])
        }
        // svc in A32 (any condition) and T32.
        arch::ARM => match *bytes {
            [_, _, _, top] => top & 0x0f == 0x0f && top < 0xf0,
            [_, 0xdf] => true,
            _ => false,
        },
        arch::AARCH64 => matches!(*bytes, [low, _, mid, 0xd4] if low & 0x1f == 1 && mid < 0x20),
        _ => false,
    }
}

/// Name of the register with the call's number (Linux: syscall(2), "Architecture calling
/// conventions").
fn number_register(guest: u32) -> Result<&'static str, Error> {
    match guest {
        arch::I386 => Ok("eax"),
        arch::X86_64 => Ok("rax"),
        arch::ARM => Ok("r7"),
        arch::AARCH64 => Ok("x8"),
        other => Err(format!("guest architecture {other} is not known to this plugin").into()),
    }
}

/// The convention of the call made at `pc`.
fn abi_at(cpu: &Cpu<'_>, pc: u64) -> u32 {
    let mut bytes = [0; 2];
    // A 64-bit program may use the 32-bit calls by int 0x80.
    let int80 = cpu.read_mem(pc, &mut bytes).is_ok() && bytes == [0xcd, 0x80];
    if int80 || cpu.word_size() == 4 { syscall_abi::LINUX_I386 } else { syscall_abi::LINUX_X86_64 }
}

export_plugin! {
    Syscalls,
    name: "syscalls",
    about: "Logs every system call of the guest",
    args: [
        Arg::path("output", "file to write").default("syscalls.txt"),
        Arg::choice(
            "format",
            "panda: PC and number; jsonl: one JSON object per call, with arguments and result",
            &[Str::new("panda"), Str::new("jsonl")],
        )
        .default("panda"),
        Arg::bool("names", "add the calls' names").default("false"),
        Arg::list("only", "log only these calls (names or numbers)"),
        Arg::list("except", "do not log these calls (names or numbers)"),
    ]
}

#[cfg(test)]
mod tests;
