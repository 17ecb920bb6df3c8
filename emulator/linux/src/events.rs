//! What happens to a guest process that plugins may want to know.

use crate::{Abi, ExitStatus};

/// An event. Addresses are guest addresses.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Before a system call runs; the guest's registers hold number and arguments.
    SyscallEnter {
        /// The ABI the call uses (an x86-64 guest may use `int 0x80`).
        abi: Abi,
        /// Address of the instruction after the system-call instruction.
        pc: u64,
        /// Call number.
        number: u64,
        /// Arguments, zero-extended guest words.
        args: [u64; 6],
    },
    /// After a system call; the guest's result register is set.
    SyscallReturn {
        /// The ABI the call used.
        abi: Abi,
        /// Address of the instruction after the system-call instruction.
        pc: u64,
        /// Call number.
        number: u64,
        /// Arguments, zero-extended guest words.
        args: [u64; 6],
        /// Result: -4095 to -1 are errors.
        result: i64,
    },
    /// An executable file was mapped as code.
    ModuleLoaded {
        /// Path.
        path: &'a str,
        /// Address of the first byte.
        base: u64,
        /// Bytes from the first to the last mapped byte.
        size: u64,
        /// GNU build id; empty when absent.
        build_id: &'a [u8],
    },
    /// A module's code was unmapped.
    ModuleUnloaded {
        /// Path.
        path: &'a str,
        /// Address of the first byte.
        base: u64,
        /// Bytes from the first to the last mapped byte.
        size: u64,
    },
    /// A guest thread begins.
    ThreadStart {
        /// Thread id.
        tid: i32,
    },
    /// Another guest thread takes its turn.
    ThreadSwitch {
        /// Thread id.
        tid: i32,
    },
    /// A guest thread ended.
    ThreadExit {
        /// Thread id.
        tid: i32,
    },
    /// About to fork: buffered output must be written now, or parent and child will both write it.
    BeforeFork,
    /// The process forked; delivered in the parent and in the child.
    Fork {
        /// Process id of the child, in both.
        child: i32,
        /// This is the child.
        is_child: bool,
    },
    /// The process now runs another program.
    Exec {
        /// Path of the new program.
        path: &'a str,
        /// Architecture of the new program.
        abi: Abi,
    },
    /// A signal is about to run its handler or its default action.
    Signal {
        /// Signal number.
        signal: i32,
        /// `si_code`.
        code: i32,
        /// Address of the handler; `None` for the default action.
        handler: Option<u64>,
    },
    /// The program is loaded and about to run its first instruction.
    Ready {
        /// Path of the program.
        path: &'a str,
        /// Entry point of the program itself (not of its interpreter).
        entry: u64,
    },
    /// The process is about to end; no guest instruction runs any more.
    Exit {
        /// How.
        status: ExitStatus,
    },
}
