//! A plugin that does one thing a plugin must not: `how` says what, `place` in which of its functions. In a callback
//! it does so at the third event.

use std::alloc::Layout;

use plugin_api::prelude::*;

struct Misbehave {
    how: String,
    place: String,
    events: u32,
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
        let this = Misbehave {
            how: args.str("how").to_owned(),
            place: args.str("place").to_owned(),
            events: 0,
        };
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
            }
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
