//! Subscribing to events, and asking the host for things outside of callbacks.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::counter::{Counter, CounterKind};
use super::info::{BlockExit, Exec, GuestExit, Insn, MemAccess, Module, Signal};
use super::instance::Instance;
use super::{Cpu, Error, Output, Plugin, Reg, Word, trampoline};
use crate::abi::{
    AnyFn, BlockInfo, CallbackDesc, ForkInfo, IdFn, PandaId, RegInfo, Str, SyscallInfo, ThreadInfo,
    flags, kind, level, status,
};

/// A subscription, to end or pause it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subscription(PandaId);

/// A plugin's connection to its host. Received by [`Plugin::init`]; a plugin may keep a clone to
/// subscribe to more later.
///
/// A callback is any closure or function on the plugin's state; it gets the state, the processor
/// and what happened. By default a subscription may read registers; [`Registrar::no_regs`] and
/// [`Registrar::writes_regs`] declare less or more.
pub struct Registrar<P> {
    pub(super) instance: Rc<Instance<P>>,
    flags: u32,
}

macro_rules! subscriptions {
    ($($(#[$doc:meta])* $name:ident: $kind:ident via $trampoline:ident as $c:ty,
       ($($arg:ty),*) $(-> $ret:ty)?;)*) => {$(
        $(#[$doc])*
        pub fn $name<F>(&self, callback: F) -> Result<Subscription, Error>
        where
            F: FnMut(&mut P, &mut Cpu<'_> $(, $arg)*) $(-> $ret)? + 'static,
        {
            let function: $c = trampoline::$trampoline::<P, F>;
            // SAFETY: only the type changes; the host calls it as the kind demands.
            let function = unsafe { core::mem::transmute::<$c, AnyFn>(function) };
            self.subscribe(kind::$kind, stringify!($name), function, callback)
        }
    )*};
}

impl<P: Plugin> Registrar<P> {
    pub(crate) fn new(instance: Rc<Instance<P>>) -> Registrar<P> {
        Registrar { instance, flags: flags::READS_REGS }
    }

    /// For subscriptions that touch no registers: the cheapest.
    pub fn no_regs(&self) -> Registrar<P> {
        Registrar { instance: self.instance.clone(), flags: flags::NONE }
    }

    /// For subscriptions that write registers.
    pub fn writes_regs(&self) -> Registrar<P> {
        Registrar { instance: self.instance.clone(), flags: flags::READS_REGS | flags::WRITES_REGS }
    }

    subscriptions! {
        /// Each instruction while it is translated, once: true asks for [`Registrar::insn_exec`]
        /// and [`Registrar::after_insn_exec`] at this instruction.
        insn_translate: INSN_TRANSLATE via insn_translate as crate::abi::InsnTranslateFn,
            (&Insn<'_>) -> bool;
        /// Before each instruction asked for.
        insn_exec: INSN_EXEC via at_pc as crate::abi::PcFn, (u64);
        /// After each instruction asked for, with that instruction's address.
        after_insn_exec: AFTER_INSN_EXEC via at_pc as crate::abi::PcFn, (u64);
        /// Before the block at an address is translated.
        before_block_translate: BEFORE_BLOCK_TRANSLATE via at_pc as crate::abi::PcFn, (u64);
        /// After a block was translated.
        after_block_translate: AFTER_BLOCK_TRANSLATE via block as crate::abi::BlockFn,
            (&BlockInfo);
        /// Before each executed block.
        before_block_exec: BEFORE_BLOCK_EXEC via block as crate::abi::BlockFn, (&BlockInfo);
        /// After each executed block.
        after_block_exec: AFTER_BLOCK_EXEC via after_block_exec as crate::abi::AfterBlockExecFn,
            (&BlockInfo, BlockExit);
        /// Before each load.
        virt_mem_before_read: VIRT_MEM_BEFORE_READ via mem as crate::abi::MemFn, (&MemAccess<'_>);
        /// After each load.
        virt_mem_after_read: VIRT_MEM_AFTER_READ via mem as crate::abi::MemFn, (&MemAccess<'_>);
        /// Before each store.
        virt_mem_before_write: VIRT_MEM_BEFORE_WRITE via mem as crate::abi::MemFn,
            (&MemAccess<'_>);
        /// After each store.
        virt_mem_after_write: VIRT_MEM_AFTER_WRITE via mem as crate::abi::MemFn, (&MemAccess<'_>);
        /// Each system call.
        syscall_enter: SYSCALL_ENTER via syscall_enter as crate::abi::SyscallEnterFn,
            (&SyscallInfo);
        /// Each result of a system call, before the guest sees it; -4095..=-1 is an error number.
        syscall_return: SYSCALL_RETURN via syscall_return as crate::abi::SyscallReturnFn,
            (&SyscallInfo, i64);
        /// The hypercall instruction (x86: CPUID): true when it was meant for this plugin; the
        /// instruction is skipped then.
        guest_hypercall: GUEST_HYPERCALL via hypercall as crate::abi::GuestHypercallFn, () -> bool;
        /// A line typed at the monitor: true when it was meant for this plugin.
        monitor: MONITOR via monitor as crate::abi::MonitorFn, (&str) -> bool;
        /// A file mapped as code.
        module_loaded: MODULE_LOADED via module as crate::abi::ModuleFn, (&Module<'_>);
        /// Such a mapping went away.
        module_unloaded: MODULE_UNLOADED via module as crate::abi::ModuleFn, (&Module<'_>);
        /// A guest thread starts.
        thread_start: THREAD_START via thread as crate::abi::ThreadFn, (&ThreadInfo);
        /// A guest thread ended.
        thread_exit: THREAD_EXIT via thread as crate::abi::ThreadFn, (&ThreadInfo);
        /// The guest forked; called in both processes.
        process_fork: PROCESS_FORK via fork as crate::abi::ForkFn, (&ForkInfo);
        /// The guest replaced its program.
        process_exec: PROCESS_EXEC via exec as crate::abi::ExecFn, (&Exec<'_>);
        /// A signal is delivered.
        signal_delivered: SIGNAL_DELIVERED via signal as crate::abi::SignalFn, (&Signal);
        /// The guest is about to run its first instruction.
        guest_ready: GUEST_READY via guest_ready as crate::abi::CpuFn, ();
        /// The guest ended.
        guest_exit: GUEST_EXIT via guest_exit as crate::abi::GuestExitFn, (GuestExit);
    }

    fn subscribe<F: 'static>(
        &self,
        kind: u32,
        what: &'static str,
        func: AnyFn,
        callback: F,
    ) -> Result<Subscription, Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let slot = self.instance.new_slot(what, callback);
        let desc = CallbackDesc {
            struct_size: CallbackDesc::SIZE,
            flags: self.flags,
            func: Some(func),
            user: slot.user(),
        };
        let mut id = 0;
        let status = match shared.host.api.register_cb {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe { f(shared.host.ptr, shared.host.plugin, kind, &desc, &mut id) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("subscribing to {what}"))?;
        self.instance.keep(id, slot);
        Ok(Subscription(id))
    }

    fn with_id(&self, id: PandaId, f: Option<IdFn>, what: &str) -> Result<(), Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let status = match f {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe { f(shared.host.ptr, shared.host.plugin, id) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("{what} a subscription"))
    }

    /// Ends a subscription; also possible from inside its own callback.
    pub fn unsubscribe(&self, subscription: Subscription) -> Result<(), Error> {
        let f = self.instance.shared.host.api.unregister_cb;
        self.with_id(subscription.0, f, "ending")?;
        self.instance.discard(subscription.0);
        Ok(())
    }

    /// Restricts a subscription to events at these addresses: those of instructions, of blocks' first
    /// instructions, or of any byte of an access. Generated code compares; nothing is called for
    /// other events. A new range takes the old one's place; `0..u64::MAX` is everywhere.
    ///
    /// For `insn_exec`, `after_insn_exec`, `before_block_exec`, `after_block_exec` and memory
    /// callbacks.
    pub fn within(&self, subscription: Subscription, addresses: Range<u64>) -> Result<(), Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let status = match shared.host.conditions.within {
            // SAFETY: host function with its handle.
            Some(f) => unsafe {
                f(shared.host.plugin, subscription.0, addresses.start, addresses.end)
            },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || {
            format!("restricting a subscription to {:#x}..{:#x}", addresses.start, addresses.end)
        })
    }

    /// Calls a subscription for every `n`-th event only. Generated code counts; nothing is called
    /// for the others. 1 is every event. For the same callbacks as [`Registrar::within`], within whose
    /// range events are counted.
    pub fn every(&self, subscription: Subscription, n: u64) -> Result<(), Error> {
        self.countdown(subscription, n, n)
    }

    /// Calls a subscription once more: for the `n`-th event from now on (1: the next). A callback
    /// may wind itself up again.
    pub fn nth(&self, subscription: Subscription, n: u64) -> Result<(), Error> {
        self.countdown(subscription, n, 0)
    }

    fn countdown(&self, subscription: Subscription, first: u64, every: u64) -> Result<(), Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let status = match shared.host.conditions.countdown {
            // SAFETY: host function with its handle.
            Some(f) => unsafe { f(shared.host.plugin, subscription.0, first, every) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("counting {first} events down"))
    }

    /// Pauses a subscription.
    pub fn disable(&self, subscription: Subscription) -> Result<(), Error> {
        self.with_id(subscription.0, self.instance.shared.host.api.disable_cb, "disabling")
    }

    /// Resumes a paused subscription.
    pub fn enable(&self, subscription: Subscription) -> Result<(), Error> {
        self.with_id(subscription.0, self.instance.shared.host.api.enable_cb, "enabling")
    }

    /// Counts events without a call for each.
    pub fn counter(&self, kind: CounterKind) -> Result<Counter, Error> {
        Counter::new(&self.instance.shared, kind, 1)
    }

    /// Opens an output file; a relative path is relative to [`Registrar::out_dir`].
    pub fn output(&self, path: impl AsRef<Path>) -> Result<Output, Error> {
        Output::open(&self.instance.shared, &self.out_dir(), path.as_ref())
    }

    /// The directory for output files.
    pub fn out_dir(&self) -> PathBuf {
        let host = &self.instance.shared.host;
        match host.os.out_dir {
            // SAFETY: host function with its handle; the text is copied at once.
            Some(f) if self.instance.shared.alive.get() => unsafe {
                PathBuf::from(&*f(host.plugin).text())
            },
            _ => PathBuf::new(),
        }
    }

    /// Path of the guest program.
    pub fn program(&self) -> PathBuf {
        let host = &self.instance.shared.host;
        match host.os.program {
            // SAFETY: host function with its handle; the text is copied at once.
            Some(f) if self.instance.shared.alive.get() => unsafe {
                PathBuf::from(&*f(host.plugin).text())
            },
            _ => PathBuf::new(),
        }
    }

    /// The guest's architecture ([`crate::abi::arch`]); 0 when the host does not say.
    pub fn arch(&self) -> u32 {
        let host = &self.instance.shared.host;
        match host.os.arch {
            // SAFETY: host function with its handle.
            Some(f) if self.instance.shared.alive.get() => unsafe { f(host.plugin) },
            _ => 0,
        }
    }

    /// Bytes in a guest word: 4 or 8.
    pub fn word_size(&self) -> u32 {
        if self.instance.shared.alive.get() { self.instance.shared.host.word_size() } else { 8 }
    }

    /// Name of a system call of the convention `abi` ([`crate::abi::syscall_abi`]).
    pub fn syscall_name(&self, abi: u32, number: u64) -> Option<Cow<'static, str>> {
        let shared = &self.instance.shared;
        shared.alive.get().then(|| shared.host.syscall_name(abi, number)).flatten()
    }

    /// A number in the hexadecimal form of a guest word.
    pub fn word(&self, value: u64) -> Word {
        Word::new(value, self.word_size())
    }

    /// Finds a register by its lower-case name: `rax`, `eip`, `xmm0`.
    pub fn reg(&self, name: &str) -> Result<Reg, Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let mut id = 0;
        let status = match shared.host.regs.by_name {
            // SAFETY: host function with its handle.
            Some(f) => unsafe { f(shared.host.plugin, Str::new(name), &mut id) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("looking for register {name}"))?;
        Ok(Reg(id))
    }

    /// The registers of the guest's architecture: name, handle, size in bytes.
    pub fn regs(&self) -> Vec<(String, Reg, u32)> {
        let shared = &self.instance.shared;
        let (Some(count), Some(describe), true) =
            (shared.host.regs.count, shared.host.regs.describe, shared.alive.get())
        else {
            return Vec::new();
        };
        // SAFETY: host functions with their handle; names are static.
        unsafe {
            (0..count(shared.host.plugin))
                .filter_map(|i| {
                    let mut info: RegInfo = core::mem::zeroed();
                    info.struct_size = RegInfo::SIZE;
                    (describe(shared.host.plugin, i, &mut info) == status::OK)
                        .then(|| (info.name.text().into_owned(), Reg(info.id), info.size))
                })
                .collect()
        }
    }

    /// Stops the guest; the host ends with `code`.
    pub fn request_stop(&self, code: i32, reason: &str) -> Result<(), Error> {
        self.instance.shared.check_alive()?;
        self.instance.shared.host.request_stop(code, reason)
    }

    /// Loads and starts another plugin, by its name or the path of its library, unless it runs. To use
    /// another's service, list it in `requires` instead: then the host does that.
    ///
    /// # Errors
    /// When it does not start; the host's log says why. `UNSUPPORTED` from a host of API 1.0.
    pub fn load_plugin(&self, name: &str) -> Result<(), Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let status = match shared.host.api.load_plugin {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe { f(shared.host.ptr, shared.host.plugin, Str::new(name)) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || format!("loading the plugin {name}"))
    }

    /// Unloads this plugin after the current callback.
    pub fn unload_self(&self) -> Result<(), Error> {
        let shared = &self.instance.shared;
        shared.check_alive()?;
        let status = match shared.host.api.unload_self {
            // SAFETY: host function with the pointers it gave us.
            Some(f) => unsafe { f(shared.host.ptr, shared.host.plugin) },
            None => status::UNSUPPORTED,
        };
        Error::unless_ok(status, || "unloading".to_owned())
    }

    /// Writes a line to the host's log at the level for what a user likes to know. The macros of
    /// the `tracing` crate do the same at any level.
    pub fn info(&self, text: &str) {
        self.instance.shared.log(level::INFO, text);
    }
}

impl<P> Clone for Registrar<P> {
    fn clone(&self) -> Registrar<P> {
        Registrar { instance: self.instance.clone(), flags: self.flags }
    }
}

impl<P> fmt::Debug for Registrar<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("flags", &self.flags).finish_non_exhaustive()
    }
}
