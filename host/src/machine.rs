//! The engine with the host's plugins attached to its events.

use std::cell::RefMut;

use emu_engine::{Engine, Slice};
use emu_linux::{Abi, Event, Machine, Stop, attention};
use emu_mem::AddressSpace;
use emu_x86::X86Cpu;
use plugin_api::abi::flush_reason;

use crate::containment;
use crate::log;
use crate::monitor::console::Console;
use crate::plugin::Plugins;

/// An engine and the plugins that watch it.
#[derive(Debug)]
pub struct WatchedMachine {
    /// The engine.
    pub engine: Engine,
    /// The plugins.
    pub plugins: Plugins,
    /// Who may ask about them.
    pub console: Option<Console>,
}

impl WatchedMachine {
    /// Answers what has been asked. Between blocks.
    fn serve(&mut self) {
        if let Some(mut console) = self.console.take() {
            console.serve(self);
            self.console = Some(console);
        }
    }
}

impl Machine for WatchedMachine {
    fn space(&self) -> RefMut<'_, AddressSpace> {
        Machine::space(&self.engine)
    }

    fn run(&mut self, cpu: &mut X86Cpu, slice: Slice) -> Stop {
        let stop = Machine::run(&mut self.engine, cpu, slice);
        if matches!(stop, Stop::Interrupted | Stop::Requested) {
            self.plugins.settle();
            if attention::take() {
                self.serve();
            }
        }
        stop
    }

    fn retired(&self) -> u64 {
        Machine::retired(&self.engine)
    }

    fn watches_calls(&self) -> bool {
        Machine::watches_calls(&self.engine)
    }

    fn invalidate(&mut self, start: u64, end: u64) {
        Machine::invalidate(&mut self.engine, start, end);
    }

    fn release_code(&mut self, start: u64, end: u64) {
        Machine::release_code(&mut self.engine, start, end);
    }

    fn set_abi(&mut self, abi: Abi) {
        Machine::set_abi(&mut self.engine, abi);
    }

    fn attend(&mut self, _cpu: &mut X86Cpu) -> bool {
        self.plugins.settle();
        self.serve();
        self.engine.shared().stop_request().is_some()
    }

    fn event(&mut self, cpu: &mut X86Cpu, event: &Event<'_>) {
        if matches!(event, Event::BeforeFork) {
            self.plugins.flush(flush_reason::FORK);
        }
        if matches!(event, Event::Fork { is_child: true, .. }) {
            log::forked();
            containment::forked();
            if let Some(console) = &mut self.console {
                console.forget();
            }
        }
        containment::event_is_about(emu_linux::machine::header(cpu));
        Machine::event(&mut self.engine, cpu, event);
        containment::event_is_about(core::ptr::null_mut());
    }
}
