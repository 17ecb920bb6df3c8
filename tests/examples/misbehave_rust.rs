//! A plugin that does one thing a plugin must not: `how` says what, `place` in which of its functions. In a callback
//! it does so at the third event.

use std::alloc::Layout;

use plugin_api::prelude::*;

struct Misbehave {
    how: String,
    place: String,
    events: u32,
    counters: Vec<Counter>,
    /// All of them 0.
    numbers: Vec<Vec<u64>>,
}

/// More than any address space has.
const TOO_MUCH: usize = 1 << 60;

fn misbehave(how: &str) {
    match how {
        "panic" => panic!("no good"),
        "exit" => std::process::exit(3),
        // An allocation that fails, as `Vec` and `Box` do it.
        "memory" => drop(std::hint::black_box(Vec::<u8>::with_capacity(TOO_MUCH))),
        // One that the plugin itself reports.
        "report" => std::alloc::handle_alloc_error(Layout::new::<[u8; 4096]>()),
        "thread-panic" => drop(std::thread::spawn(|| panic!("no good in a thread")).join()),
        _ => {}
    }
}

impl Plugin for Misbehave {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        let mut this = Misbehave {
            how: args.str("how").to_owned(),
            place: args.str("place").to_owned(),
            events: 0,
            counters: Vec::new(),
            numbers: Vec::new(),
        };
        if this.how == "counter" {
            let kinds = [CounterKind::Insns, CounterKind::Loads, CounterKind::Stores];
            this.counters =
                kinds.into_iter().map(|kind| reg.counter(kind)).collect::<Result<_, _>>()?;
        }
        if this.place == "init" {
            misbehave(&this.how);
        }
        reg.syscall_enter(|this, _, _| this.event("syscall"))?;
        reg.before_block_exec(|this, _, _| this.event("block"))?;
        Ok(this)
    }
}

impl Misbehave {
    fn event(&mut self, place: &str) {
        if self.place == place {
            self.events += 1;
            if self.events == 3 {
                misbehave(&self.how);
                // The rest of the block counts on; not in memory that is somebody else's by now.
                self.counters.clear();
                self.numbers.resize(1000, vec![0]);
            }
            assert!(self.numbers.iter().all(|n| n[..] == [0]), "memory was written to");
        }
    }
}

impl Drop for Misbehave {
    fn drop(&mut self) {
        if self.place == "uninit" {
            misbehave(&self.how);
        }
    }
}

export_plugin! {
    Misbehave,
    name: "misbehave_rust",
    about: "Does what a plugin must not",
    args: [
        Arg::string("how", "what to do").default("not"),
        Arg::string("place", "in which function").default("nowhere"),
    ]
}
