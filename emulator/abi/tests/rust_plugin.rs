//! A Rust plugin on a real engine, through the C tables.

mod support;

use std::cell::RefCell;

use emu_ir::TrapKind;
use plugin_api::abi::{PluginEntry, status};
use plugin_api::prelude::*;
use support::Guest;

thread_local! {
    /// What the plugin is to do; tests run on threads of their own.
    static ACT: RefCell<&'static str> = const { RefCell::new("") };
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn act() -> &'static str {
    ACT.with(|a| *a.borrow())
}

fn saw(what: String) {
    SEEN.with(|s| s.borrow_mut().push(what));
}

fn seen() -> Vec<String> {
    SEEN.with(|s| s.take())
}

struct Probe {
    reg: Registrar<Probe>,
    insns: Counter,
    loads: Counter,
    stores: Counter,
    rcx: Reg,
    rbx: Reg,
    xmm0: Reg,
}

impl Plugin for Probe {
    fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
        reg.insn_translate(|_, _, insn| insn.bytes == [0x90])?;
        reg.writes_regs().insn_exec(Self::at_nop)?;
        reg.after_insn_exec(|_, cpu, pc| {
            if act() == "count" {
                saw(format!("after +{} retired {}", cpu.pc() - pc, cpu.retired()));
            }
        })?;
        if act() == "fail init" {
            return Err("not today".into());
        }
        Ok(Probe {
            reg: reg.clone(),
            insns: reg.counter(CounterKind::Insns)?,
            loads: reg.counter(CounterKind::Loads)?,
            stores: reg.counter(CounterKind::Stores)?,
            rcx: reg.reg("rcx")?,
            rbx: reg.reg("rbx")?,
            xmm0: reg.reg("xmm0")?,
        })
    }

    fn uninit(&mut self) {
        saw(format!(
            "{} insns {} loads {} stores",
            self.insns.get(),
            self.loads.get(),
            self.stores.get()
        ));
    }
}

impl Probe {
    fn at_nop(&mut self, cpu: &mut Cpu<'_>, pc: u64) {
        let rcx = cpu.reg(self.rcx).unwrap();
        match act() {
            "count" => {
                assert_eq!(cpu.pc(), pc);
                saw(format!("rcx {rcx} retired {}", cpu.retired()));
            }
            // Takes two rounds off the loop.
            "skip" => cpu.set_reg(self.rcx, 1).unwrap(),
            "memory" => {
                let data = cpu.reg(self.rbx).unwrap();
                cpu.write_mem(data + 0x100, b"text\0").unwrap();
                saw(String::from_utf8(cpu.read_cstr(data + 0x100, 64).unwrap()).unwrap());
                let mut buf = [0; 4];
                cpu.read_mem(data, &mut buf).unwrap();
                saw(format!("{}", u32::from_le_bytes(buf)));
                for bad in [0, 8, u64::MAX - 1, data + 0xffe] {
                    let e = cpu.read_mem(bad, &mut buf).unwrap_err();
                    assert_eq!(e.status(), Some(status::FAULT));
                }
                assert!(cpu.write_mem(0, b"x").is_err());
                assert!(cpu.read_cstr(0, 4).is_err());
                // Cut at the end of what is mapped.
                cpu.write_mem(data + 0xffd, b"end").unwrap();
                assert_eq!(cpu.read_cstr(data + 0xffd, 64).unwrap(), b"end");
            }
            "registers" => {
                let mut xmm = [0; 16];
                let e = cpu.reg_bytes(self.xmm0, &mut xmm[..8]).unwrap_err();
                assert_eq!(e.status(), Some(status::TOO_SMALL));
                assert_eq!(cpu.reg(self.xmm0).unwrap_err().status(), Some(status::TOO_SMALL));
                cpu.set_reg_bytes(self.xmm0, &[7; 16]).unwrap();
                assert_eq!(cpu.reg_bytes(self.xmm0, &mut xmm).unwrap(), 16);
                assert_eq!(xmm, [7; 16]);
                let e = cpu.reg(Reg(9999)).unwrap_err();
                assert_eq!(e.status(), Some(status::UNKNOWN));
                assert_eq!(self.reg.reg("nonsense").unwrap_err().status(), Some(status::UNKNOWN));
                assert!(
                    self.reg.regs().iter().any(|(n, r, s)| n == "rcx" && *r == self.rcx && *s == 8)
                );
                assert_eq!(self.reg.arch(), plugin_api::abi::arch::X86_64);
                assert_eq!(cpu.word(1).to_string(), "0000000000000001");
                let name = |n| cpu.syscall_name(2, n).map(|n| n.into_owned());
                assert_eq!(name(231).as_deref(), Some("exit_group"));
                assert_eq!(name(99999), None);
                assert_eq!(cpu.syscall_name(1, 4).as_deref(), Some("write"));
                saw("ok".to_owned());
            }
            "panic" => panic!("at {rcx}"),
            "stop" => cpu.request_stop(9, "seen enough").unwrap(),
            "unload" => {
                saw(format!("at {rcx}"));
                self.reg.unload_self().unwrap();
            }
            "subscribe" if rcx == 2 => {
                self.reg
                    .virt_mem_after_write(|_, _, a| saw(format!("store {:?}", a.data)))
                    .unwrap();
            }
            _ => {}
        }
    }
}

static PROBE: PluginEntry = plugin_api::entry::<Probe>("probe", "1", "Is tested", &[]);

fn run(what: &'static str) -> (Guest, emu_abi::PluginSlot, Option<TrapKind>) {
    ACT.with(|a| *a.borrow_mut() = what);
    let mut guest = Guest::new();
    let slot = guest.start(&PROBE).unwrap();
    let trap = guest.run();
    assert_eq!(slot.failure().filter(|_| what != "panic"), None);
    (guest, slot, trap)
}

#[test]
fn events_and_counters_are_exact() {
    let (_guest, slot, trap) = run("count");
    assert_eq!(trap, Some(TrapKind::InvalidOpcode));
    drop(slot);
    let expected = [
        "rcx 3 retired 1",
        "after +1 retired 2",
        "rcx 2 retired 6",
        "after +1 retired 7",
        "rcx 1 retired 11",
        "after +1 retired 12",
        "16 insns 3 loads 3 stores",
    ];
    assert_eq!(seen(), expected);
}

#[test]
fn registers_written_by_a_callback_take_effect() {
    let (_guest, slot, _) = run("skip");
    drop(slot);
    assert_eq!(seen(), ["6 insns 1 loads 1 stores"]);
}

#[test]
fn memory_is_checked() {
    let (_guest, _slot, _) = run("memory");
    assert_eq!(seen(), ["text", "0", "text", "3", "text", "2"]);
}

#[test]
fn registers_are_checked() {
    let (_guest, _slot, _) = run("registers");
    assert_eq!(seen(), ["ok", "ok", "ok"]);
}

#[test]
fn a_panic_removes_the_plugins_callbacks_and_the_guest_goes_on() {
    let (mut guest, slot, trap) = run("panic");
    assert_eq!(trap, Some(TrapKind::InvalidOpcode));
    assert!(slot.failed());
    let failure = slot.failure().unwrap();
    assert!(
        failure.starts_with("panic in insn_exec at ") && failure.ends_with(": at 3"),
        "{failure}"
    );
    assert_eq!(guest.engine.shared().registry.borrow().iter().count(), 0);
    guest.run();
    drop(slot);
}

#[test]
fn a_stop_request_ends_the_run() {
    let (guest, _slot, trap) = run("stop");
    assert_eq!(trap, None);
    let stop = guest.engine.shared().stop_request().unwrap();
    assert_eq!((stop.status, stop.reason.as_str()), (9, "plugin probe: seen enough"));
}

#[test]
fn a_plugin_may_unload_itself_from_a_callback() {
    let (_guest, slot, trap) = run("unload");
    assert_eq!(trap, Some(TrapKind::InvalidOpcode));
    assert!(slot.unload_requested());
    assert_eq!(seen(), ["at 3"]);
}

#[test]
fn subscriptions_made_in_a_callback_take_effect() {
    let (_guest, _slot, _) = run("subscribe");
    let stores = seen();
    assert!(stores.contains(&"store [1, 0, 0, 0]".to_owned()), "{stores:?}");
    assert!(!stores.contains(&"store [3, 0, 0, 0]".to_owned()), "{stores:?}");
}

#[test]
fn a_failed_init_leaves_nothing() {
    ACT.with(|a| *a.borrow_mut() = "fail init");
    let guest = Guest::new();
    assert_eq!(guest.start(&PROBE).unwrap_err().reason, "not today");
    assert_eq!(guest.engine.shared().registry.borrow().iter().count(), 0);
    ACT.with(|a| *a.borrow_mut() = "");
    guest.start(&PROBE).unwrap();
}

#[test]
fn loading_and_unloading_leaves_nothing() {
    ACT.with(|a| *a.borrow_mut() = "");
    let mut guest = Guest::new();
    for _ in 0..100 {
        let slot = guest.start(&PROBE).unwrap();
        guest.run();
        drop(slot);
        assert_eq!(guest.engine.shared().registry.borrow().iter().count(), 0);
    }
    assert!(seen().iter().all(|s| s == "16 insns 3 loads 3 stores"));
    guest.run();
}
