//! The safe Rust side of the contract.

mod addr_map;
mod args;
mod callstack;
mod counter;
mod cpu;
pub(crate) mod entry;
mod error;
mod host;
mod info;
mod instance;
mod logging;
mod output;
mod registrar;
mod service;
mod trampoline;

pub use addr_map::{AddrHasher, AddrMap};
pub use args::{Arg, Args, Value};
pub use callstack::{Call, CallEnd, CallListener, CallStack};
pub use counter::{Counter, CounterKind};
pub use cpu::{Cpu, Reg, Word};
pub use error::Error;
#[cfg(feature = "testing")]
pub(crate) use host::copy_prefix;
pub use info::{
    BlockExit, BlockInfo, Exec, FlushReason, ForkInfo, GuestExit, Insn, MemAccess, Module, Signal,
    SyscallInfo, ThreadInfo,
};
pub use output::Output;
pub use registrar::{Registrar, Subscription};
pub use service::{Served, ServiceTable, serve};

/// A plugin: the state its callbacks work on.
pub trait Plugin: Sized + 'static {
    /// Starts the plugin: subscribes to events and makes the state. On an error the host unloads
    /// the plugin at once and reports the error's text.
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error>;

    /// Ends the plugin; no callback comes after it. The state is dropped next, which also writes
    /// and closes its outputs.
    fn uninit(&mut self) {}

    /// Called before the host writes out the plugin's [`Output`]s ahead of a fork or its own end.
    /// For plugins that hold back results in other ways.
    fn flush(&mut self, reason: FlushReason) {
        let _ = reason;
    }
}

/// Exports a plugin from its library (`crate-type = ["cdylib"]`), once per library. `requires`, before `args`,
/// lists services of other plugins that it cannot do without.
///
/// ```
/// use plugin_api::{Arg, Args, Error, Plugin, Registrar, Str, export_plugin};
///
/// struct Nothing;
///
/// impl Plugin for Nothing {
///     fn init(_: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
///         if args.bool("fail") { Err("told to fail".into()) } else { Ok(Nothing) }
///     }
/// }
///
/// export_plugin! {
///     Nothing,
///     name: "nothing",
///     about: "Does nothing",
///     args: [
///         Arg::bool("fail", "fail at once").default("false"),
///         Arg::choice("format", "how", &[Str::new("text"), Str::new("json")]).default("text"),
///     ]
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty, name: $name:expr, about: $about:expr
     $(, requires: [$($service:expr),* $(,)?])?
     $(, args: [$($arg:expr),* $(,)?])? $(,)?) => {
        /// What a host finds in this library.
        #[allow(non_upper_case_globals)]
        #[unsafe(no_mangle)]
        pub static panda_plugin_entry_v1: $crate::abi::PluginEntry = $crate::requiring(
            $crate::entry::<$plugin>(
                $name,
                env!("CARGO_PKG_VERSION"),
                $about,
                {
                    static ARGS: &[$crate::Arg] = &[$($($arg),*)?];
                    ARGS
                },
            ),
            {
                static REQUIRES: &[$crate::Str] = &[$($($crate::Str::new($service)),*)?];
                REQUIRES
            },
        );

        /// For the host's comparison of layouts; the name is abi_stable's.
        #[allow(non_upper_case_globals)]
        #[unsafe(no_mangle)]
        pub static _1as_0lib_1header_0root_bmodule_bloader: $crate::witness::LibHeader =
            $crate::witness::header();
    };
}
