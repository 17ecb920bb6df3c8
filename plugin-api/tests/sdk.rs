//! The SDK against a host that behaves, misbehaves, is older or newer.
#![cfg(feature = "testing")]

use std::cell::RefCell;

use plugin_api::abi::{self, BlockInfo, PluginEntry, flags, kind, level, status};
use plugin_api::testing::MockHost;
use plugin_api::{Args, Error, FlushReason, Subscription, Value, prelude::*};

thread_local! {
    /// What the plugin under test is to do; tests run on threads of their own.
    static ACT: RefCell<&'static str> = const { RefCell::new("") };
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn act() -> &'static str {
    ACT.with(|a| *a.borrow())
}

fn saw(what: impl Into<String>) {
    SEEN.with(|s| s.borrow_mut().push(what.into()));
}

fn seen() -> Vec<String> {
    SEEN.with(|s| s.take())
}

struct Probe {
    reg: Registrar<Probe>,
    sub: Option<Subscription>,
    insns: Counter,
    log: Output,
    blocks: u32,
}

impl Plugin for Probe {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        saw(format!(
            "{} {} {:?} {:?} {}",
            args.str("mode"),
            args.u64("n"),
            args.list("l"),
            args.get("absent"),
            args.given("n")
        ));
        let sub = reg.before_block_exec(|this, cpu, block| {
            this.blocks += 1;
            match act() {
                "panic" => panic!("boom {}", this.blocks),
                "unsubscribe" => this.reg.unsubscribe(this.sub.unwrap()).unwrap(),
                "log" => tracing::warn!(pc = block.pc, "seen"),
                "mem" => {
                    let mut buf = [0; 2];
                    cpu.read_mem(0x100, &mut buf).unwrap();
                    saw(format!("{buf:?}"));
                    assert_eq!(cpu.read_cstr(0x100, 9).unwrap(), b"ab");
                    let e = cpu.read_mem(0x102, &mut buf).unwrap_err();
                    assert_eq!(e.status(), Some(status::FAULT));
                    saw(e.to_string());
                    cpu.write_mem(0x100, b"xy").unwrap();
                }
                "load" => this.reg.load_plugin("other").unwrap(),
                "subscribe" => {
                    this.reg.before_block_exec(|_, _, _| saw("new")).unwrap();
                }
                _ => {}
            }
        })?;
        reg.no_regs().monitor(|_, cpu, line| {
            saw(format!("monitor {line} {:?}", cpu.pid()));
            line == "hello"
        })?;
        reg.writes_regs().guest_hypercall(|this, cpu| {
            let rax = this.reg.reg("rax").unwrap();
            let old = cpu.reg(rax).unwrap();
            cpu.set_reg(rax, old + 1).unwrap();
            cpu.request_stop(3, "enough").unwrap();
            true
        })?;
        match act() {
            "fail init" => return Err("no reason at all".into()),
            "panic in init" => panic!("init went wrong"),
            _ => {}
        }
        Ok(Probe {
            reg: reg.clone(),
            sub: Some(sub),
            insns: reg.counter(CounterKind::Insns)?,
            log: reg.output("probe.txt")?,
            blocks: 0,
        })
    }

    fn flush(&mut self, reason: FlushReason) {
        saw(format!("flush {reason:?}"));
    }

    fn uninit(&mut self) {
        writeln!(self.log, "{} blocks, {} insns", self.blocks, self.insns.get());
        if act() == "panic in uninit" {
            panic!("last words");
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        saw("dropped");
    }
}

export_plugin! {
    Probe,
    name: "probe",
    about: "Is tested",
    args: [
        Arg::choice("mode", "how", &[Str::new("a"), Str::new("b")]).default("a"),
        Arg::u64("n", "a number").default("7"),
        Arg::list("l", "a list"),
        Arg::string("absent", "nothing"),
    ]
}

fn start(what: &'static str) -> MockHost {
    ACT.with(|a| *a.borrow_mut() = what);
    let mut host = MockHost::new();
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host
}

#[test]
fn the_entry_describes_the_plugin() {
    let e = &panda_plugin_entry_v1;
    assert_eq!((e.magic, e.abi_major), (abi::ENTRY_MAGIC, 1));
    assert_eq!(e.struct_size as usize, size_of::<PluginEntry>());
    // SAFETY: static texts.
    unsafe {
        assert_eq!(e.name.text(), "probe");
        assert_eq!(e.version.text(), env!("CARGO_PKG_VERSION"));
        assert_eq!((*e.args).name.text(), "mode");
        assert_eq!((*(*e.args).choices.add(1)).text(), "b");
    }
    assert_eq!(e.args_count, 4);
}

#[test]
fn arguments_arrive_with_defaults() {
    let mut host = start("");
    assert_eq!(seen(), ["a 7 [] None false"]);
    host.unload();
    let list = Value::List(vec!["x".into(), "y".into()]);
    let args = [("mode", Value::Text("b".into())), ("n", Value::U64(1)), ("l", list)];
    host.load(&panda_plugin_entry_v1, &args).unwrap();
    assert_eq!(seen()[1..], [r#"b 1 ["x", "y"] None true"#]);
}

#[test]
fn counts_and_output_are_complete_at_the_end() {
    let mut host = start("");
    host.block(0x1000, 5);
    host.block(0x1005, 2);
    host.unload();
    assert_eq!(host.file("probe.txt"), "2 blocks, 7 insns\n");
    assert_eq!(seen().last().unwrap(), "dropped");
}

#[test]
fn flags_are_those_declared() {
    let host = start("");
    assert_eq!(host.flags(kind::BEFORE_BLOCK_EXEC), [flags::READS_REGS]);
    assert_eq!(host.flags(kind::MONITOR), [flags::NONE]);
    assert_eq!(host.flags(kind::GUEST_HYPERCALL), [flags::READS_REGS | flags::WRITES_REGS]);
}

#[test]
fn a_panic_in_a_callback_ends_the_plugin_only() {
    let mut host = start("panic");
    host.block(0x1000, 1);
    let failure = host.failure().unwrap();
    assert!(failure.starts_with("panic in before_block_exec at "), "{failure}");
    assert!(failure.contains("tests/sdk.rs:") && failure.ends_with(": boom 1"), "{failure}");
    // Callbacks that a slow host still makes do nothing.
    host.block(0x1000, 1);
    host.unload();
    assert_eq!(host.file("probe.txt"), "1 blocks, 2 insns\n");
}

#[test]
fn a_panic_in_uninit_is_reported_and_output_is_written() {
    let mut host = start("panic in uninit");
    host.unload();
    assert!(host.failure().unwrap().contains("panic in uninit"));
    assert_eq!(host.file("probe.txt"), "0 blocks, 0 insns\n");
    assert_eq!(seen().last().unwrap(), "dropped");
}

#[test]
fn failed_inits_say_why() {
    for (what, why) in [("fail init", "no reason at all"), ("panic in init", "init went wrong")] {
        ACT.with(|a| *a.borrow_mut() = what);
        let mut host = MockHost::new();
        let error = host.load(&panda_plugin_entry_v1, &[]).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert_eq!(host.listeners(kind::BEFORE_BLOCK_EXEC), 0);
        // The next attempt is not affected.
        ACT.with(|a| *a.borrow_mut() = "");
        host.load(&panda_plugin_entry_v1, &[]).unwrap();
    }
}

#[test]
fn a_callback_may_end_its_own_subscription() {
    let mut host = start("unsubscribe");
    host.block(0x1000, 1);
    host.block(0x1000, 1);
    assert_eq!(host.listeners(kind::BEFORE_BLOCK_EXEC), 0);
    assert_eq!(host.failure(), None);
    host.unload();
    assert_eq!(host.file("probe.txt"), "1 blocks, 2 insns\n");
}

#[test]
fn a_callback_may_subscribe() {
    let host = start("subscribe");
    host.block(0x1000, 1);
    ACT.with(|a| *a.borrow_mut() = "");
    seen();
    host.block(0x1000, 1);
    assert_eq!(seen(), ["new"]);
}

#[test]
fn a_callback_may_load_another_plugin() {
    let host = start("load");
    host.block(0x1000, 1);
    assert_eq!(host.loads(), ["other"]);
}

#[test]
fn tracing_goes_to_the_host() {
    let host = start("log");
    host.block(0x1234, 1);
    assert_eq!(host.log(), [(level::WARN, "seen pc=4660".to_owned())]);
}

#[test]
fn memory_and_registers() {
    let host = start("mem");
    host.set_memory(0x100, b"ab\0");
    seen();
    host.block(0x1000, 1);
    assert_eq!(host.failure(), None);
    let expected = ["[97, 98]", "reading 2 bytes at 0x102: guest memory not accessible"];
    assert_eq!(seen(), expected);
    assert_eq!(host.memory(0x100, 3), b"xy\0");
    host.set_reg("rax", 41);
    assert!(host.hypercall());
    assert_eq!(host.reg("rax"), 42);
    assert_eq!(host.stop_request(), Some((3, "enough".to_owned())));
    assert!(host.monitor("hello"));
    assert!(!host.monitor("bye"));
}

#[test]
fn flush_asks_the_plugin_and_writes() {
    let host = start("");
    seen();
    assert_eq!(host.flush(abi::flush_reason::FORK), status::OK);
    assert_eq!(host.flush(99), status::OK);
    assert_eq!(seen(), ["flush Fork", "flush Request"]);
}

#[test]
fn a_host_with_a_short_table_is_tolerated() {
    ACT.with(|a| *a.borrow_mut() = "");
    let mut host = MockHost::new();
    // Only as far as `get_extension`: no callbacks at all.
    host.api_mut().struct_size = core::mem::offset_of!(abi::HostApi, register_cb) as u32;
    let error = host.load(&panda_plugin_entry_v1, &[]);
    // Nor `plugin_failed`: the reason is in the log.
    assert_eq!(error, Err(format!("status {}", status::FAILED)));
    let expected = "subscribing to before_block_exec: not supported by this host";
    assert_eq!(host.log(), [(level::ERROR, expected.to_owned())]);
    // A newer host has a longer table.
    host.api_mut().struct_size = 4096;
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
}

/// Loads the probe and lets it see something; whether it started.
fn tolerates(change: impl FnOnce(&mut abi::HostApi), what: &str) -> bool {
    ACT.with(|a| *a.borrow_mut() = "mem");
    let mut host = MockHost::new();
    change(host.api_mut());
    host.set_memory(0x100, b"ab");
    match host.load(&panda_plugin_entry_v1, &[]) {
        Ok(()) => {
            host.block(0x1000, 1);
            assert_eq!(host.failure(), None, "{what}");
            host.monitor("hello");
            host.unload();
            true
        }
        Err(reason) => {
            let known =
                reason.contains("not supported by this host") || reason.starts_with("status ");
            assert!(known, "{what}: {reason}");
            false
        }
    }
}

#[test]
fn any_function_may_be_missing_and_the_table_may_end_anywhere() {
    let first = core::mem::offset_of!(abi::HostApi, log);
    let word = size_of::<usize>();
    let functions = (size_of::<abi::HostApi>() - first) / word;
    let mut started = (0, 0);
    for n in 0..functions {
        let at = first + n * word;
        let missing = |api: &mut abi::HostApi| {
            // SAFETY: the slot of an optional function, for which null is a value.
            unsafe { core::ptr::from_mut(api).cast::<u8>().add(at).cast::<usize>().write(0) };
        };
        started.0 += u32::from(tolerates(missing, &format!("no function at {at}")));
        let short = |api: &mut abi::HostApi| api.struct_size = at as u32;
        started.1 += u32::from(tolerates(short, &format!("{at} bytes")));
    }
    // What it cannot do without: tables, and registering.
    assert_eq!(started.0 as usize, functions - 2);
    // Everything behind register_cb may be cut off.
    assert_eq!(started.1 as usize, functions - 3);
}

#[test]
fn hosts_of_other_minor_versions_are_tolerated() {
    for minor in [0, abi::ABI_MINOR, abi::ABI_MINOR + 1, u32::MAX] {
        assert!(tolerates(|api| api.abi_minor = minor, &format!("host of minor version {minor}")));
    }
}

#[test]
fn payloads_of_other_sizes_are_tolerated() {
    #[repr(C)]
    struct Newer {
        info: BlockInfo,
        more: [u64; 4],
    }
    let host = start("");
    let info = BlockInfo { struct_size: size_of::<Newer>() as u32, insn_count: 1, pc: 5, size: 1 };
    let newer = Newer { info, more: [0; 4] };
    assert_eq!(newer.more, [0; 4]);
    let cut = BlockInfo { struct_size: 8, ..info };
    for payload in [&raw const newer.info, &raw const cut] {
        // SAFETY: as a host does; the payload has at least the size it says.
        unsafe { host.raw_block(payload) };
    }
    assert_eq!(host.failure(), None);
}

#[test]
fn an_output_that_cannot_be_opened_fails_init() {
    ACT.with(|a| *a.borrow_mut() = "");
    let mut host = MockHost::new();
    let path = host.out_dir().join("probe.txt");
    std::fs::create_dir(&path).unwrap();
    let error = host.load(&panda_plugin_entry_v1, &[]).unwrap_err();
    assert!(error.starts_with(&format!("cannot open {}: ", path.display())), "{error}");
}

#[test]
fn output_is_emptied_unless_the_run_goes_on() {
    ACT.with(|a| *a.borrow_mut() = "");
    let mut host = MockHost::new();
    std::fs::write(host.out_dir().join("probe.txt"), "old\n").unwrap();
    host.set_continued(true);
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.unload();
    assert_eq!(host.file("probe.txt"), "old\n0 blocks, 0 insns\n");
    host.set_continued(false);
    host.load(&panda_plugin_entry_v1, &[]).unwrap();
    host.unload();
    assert_eq!(host.file("probe.txt"), "0 blocks, 0 insns\n");
}

/// Writes more than a full disk takes.
struct Writer(Output);

impl Plugin for Writer {
    fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
        reg.guest_ready(|this, _| {
            for i in 0..20_000 {
                writeln!(this.0, "line {i}");
            }
        })?;
        Ok(Writer(reg.output("/dev/full")?))
    }
}

/// Not exported by the macro: there is one exported plugin in a library.
static WRITER: PluginEntry = plugin_api::entry::<Writer>("writer", "1", "Writes a lot", &[]);

#[test]
fn a_full_disk_is_reported_once_with_what_was_lost() {
    let mut host = MockHost::new();
    host.load(&WRITER, &[]).unwrap();
    host.guest_ready();
    host.unload();
    let lines: Vec<String> = host.log().into_iter().map(|(_, text)| text).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("cannot write /dev/full: No space left"), "{lines:?}");
    assert_eq!(lines[1], "208890 bytes of /dev/full were lost");
}

/// Samples blocks, and watches a few addresses.
struct Watcher {
    reg: Registrar<Watcher>,
    sample: Subscription,
    watch: Subscription,
}

impl Plugin for Watcher {
    fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
        let sample = reg.before_block_exec(|_, _, b| saw(format!("block {:x}", b.pc)))?;
        reg.every(sample, 3)?;
        let watch = reg.virt_mem_after_write(|this, _, a| {
            saw(format!("store {:x}", a.addr));
            this.reg.nth(this.watch, 2).unwrap();
        })?;
        reg.within(watch, 0x100..0x110)?;
        let ready = reg.guest_ready(|_, _| saw("ready"))?;
        let error = reg.every(ready, 2).unwrap_err();
        saw(error.to_string());
        saw(reg.within(watch, 5..5).unwrap_err().to_string());
        saw(reg.nth(watch, 0).unwrap_err().to_string());
        reg.monitor(|this, _, _| {
            this.reg.within(this.watch, 0..u64::MAX).unwrap();
            this.reg.every(this.watch, 1).unwrap();
            this.reg.unsubscribe(this.sample).unwrap();
            true
        })?;
        Ok(Watcher { reg: reg.clone(), sample, watch })
    }
}

static WATCHER: PluginEntry = plugin_api::entry::<Watcher>("watcher", "1", "Watches", &[]);

#[test]
fn conditions_leave_out_what_is_not_due() {
    let mut host = MockHost::new();
    seen();
    host.load(&WATCHER, &[]).unwrap();
    assert_eq!(
        seen(),
        [
            "counting 2 events down: not supported by this host",
            "restricting a subscription to 0x5..0x5: invalid argument",
            "counting 0 events down: invalid argument",
        ]
    );
    (1..=7).for_each(|pc| host.block(pc, 1));
    assert_eq!(seen(), ["block 3", "block 6"]);
    for addr in [0xf8, 0xf9, 0x100, 0x10f, 0x110, 0x104] {
        host.store_mem(1, addr, &[0; 8]);
    }
    assert_eq!(seen(), ["store f9", "store 10f"]);
    assert!(host.monitor(""));
    // Now without the range; the callback winds itself up at each call.
    for addr in [0, 1, 2, 3] {
        host.store_mem(1, addr, &[0]);
    }
    (1..=7).for_each(|pc| host.block(pc, 1));
    assert_eq!(seen(), ["store 0", "store 2"]);
}
