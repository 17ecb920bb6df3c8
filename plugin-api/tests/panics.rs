//! A panic in any callback kind, and in a thread of the plugin, stays inside the plugin.
#![cfg(feature = "testing")]

use std::cell::RefCell;
use std::thread::JoinHandle;

use plugin_api::abi::{
    ModuleInfo, SignalInfo, Str, SyscallInfo, ThreadInfo, exit_kind, fork_side, kind, kind_name,
};
use plugin_api::prelude::*;
use plugin_api::testing::MockHost;

thread_local! {
    /// The kind whose callback panics.
    static BAD: RefCell<&'static str> = const { RefCell::new("") };
    static SEEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

struct Fragile {
    worker: Option<JoinHandle<()>>,
}

fn seen(kind: &'static str) {
    if BAD.with(|b| *b.borrow() == kind) {
        panic!("in {kind}");
    }
    SEEN.with(|s| s.borrow_mut().push(kind));
}

impl Plugin for Fragile {
    fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
        macro_rules! subscribe {
            ($($kind:ident($($arg:tt),*) $result:expr;)*) => {
                $(reg.$kind(|_, _ $(, $arg)*| { seen(stringify!($kind)); $result })?;)*
            };
        }
        subscribe! {
            insn_translate(_) true;
            insn_exec(_) ();
            after_insn_exec(_) ();
            before_block_translate(_) ();
            after_block_translate(_) ();
            before_block_exec(_) ();
            after_block_exec(_, _) ();
            virt_mem_before_read(_) ();
            virt_mem_after_read(_) ();
            virt_mem_before_write(_) ();
            virt_mem_after_write(_) ();
            syscall_enter(_) ();
            syscall_return(_, _) ();
            guest_hypercall() true;
            monitor(_) true;
            module_loaded(_) ();
            module_unloaded(_) ();
            thread_start(_) ();
            thread_exit(_) ();
            process_fork(_) ();
            process_exec(_) ();
            signal_delivered(_) ();
            guest_ready() ();
            guest_exit(_) ();
        }
        let worker = BAD
            .with(|b| *b.borrow() == "thread")
            .then(|| std::thread::spawn(|| panic!("far from the run thread")));
        Ok(Fragile { worker })
    }

    fn uninit(&mut self) {
        if let Some(worker) = self.worker.take() {
            assert!(worker.join().is_err());
        }
    }
}

export_plugin!(Fragile, name: "fragile", about: "Panics where it is told to");

/// Every event once.
fn everything(host: &MockHost) {
    let call = SyscallInfo {
        struct_size: SyscallInfo::SIZE,
        abi: 2,
        entry: 1,
        arg_count: 0,
        tid: 1,
        pid: 1,
        pc: 0x1000,
        number: 39,
        args: [0; 8],
    };
    let (path, build_id) = (Str::new("/lib/x.so"), Str::EMPTY);
    let module =
        ModuleInfo { struct_size: ModuleInfo::SIZE, flags: 0, base: 0, size: 1, path, build_id };
    let thread =
        ThreadInfo { struct_size: ThreadInfo::SIZE, tid: 1, pid: 1, status: 0, pc: 0, sp: 0 };
    let signal = SignalInfo {
        struct_size: SignalInfo::SIZE,
        signo: 11,
        code: 1,
        flags: 0,
        addr: 0,
        pc: 0,
        handler: 0,
        tid: 1,
        sender: 0,
    };
    host.guest_ready();
    host.block_translate(0x1000, 1);
    host.insn(0x1000, &[0x90]);
    host.block(0x1000, 1);
    host.load_mem(0x1000, 0x100, b"a");
    host.store_mem(0x1000, 0x100, b"a");
    host.syscall(&call, Some(0));
    host.hypercall();
    host.monitor("hello");
    host.module(kind::MODULE_LOADED, &module);
    host.module(kind::MODULE_UNLOADED, &module);
    host.thread(kind::THREAD_START, &thread);
    host.thread(kind::THREAD_EXIT, &thread);
    host.fork(fork_side::PARENT, 1, 2);
    host.exec("/bin/true");
    host.signal(&signal);
    host.guest_exit(exit_kind::EXITED, 0);
}

#[test]
fn in_every_callback_kind() {
    for number in 1..kind::COUNT {
        let bad = kind_name(number).expect("a name");
        BAD.with(|b| *b.borrow_mut() = bad);
        let mut host = MockHost::new();
        host.load(&panda_plugin_entry_v1, &[]).unwrap();
        everything(&host);
        let failure = host.failure().unwrap_or_else(|| panic!("{bad} was not called"));
        assert!(failure.starts_with(&format!("panic in {bad} at ")), "{failure}");
        assert!(failure.ends_with(&format!(": in {bad}")), "{failure}");
        // Nothing of the plugin runs afterwards, and it can still be ended.
        let before = SEEN.with(|s| s.take());
        assert!(!before.contains(&bad), "{before:?}");
        everything(&host);
        assert_eq!(SEEN.with(|s| s.take()), [""; 0], "{bad}");
        host.unload();
    }
}

#[test]
fn in_none_every_kind_is_seen() {
    BAD.with(|b| *b.borrow_mut() = "");
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    everything(&host);
    assert_eq!(host.failure(), None);
    let seen = SEEN.with(|s| s.take());
    for number in 1..kind::COUNT {
        let name = kind_name(number).expect("a name");
        assert!(seen.contains(&name), "{name}");
    }
}

#[test]
fn in_a_thread_of_the_plugin() {
    BAD.with(|b| *b.borrow_mut() = "thread");
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.unload();
    assert_eq!(host.failure(), None);
    BAD.with(|b| *b.borrow_mut() = "");
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    everything(&host);
    assert_eq!(host.failure(), None);
}
