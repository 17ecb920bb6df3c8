//! Prints what a guest writes at tap points: store instructions, each with the function that called
//! the one it is in.
//!
//! * With a file of tap points (`tap_points.txt`: lines of three hexadecimal numbers, caller, pc and address
//!   space), every byte written there goes to `tap_buffers.txt`, one line a byte:
//!   `caller pc addressspace address counter byte`. All bytes of one write share the counter.
//! * Without one, every store is watched and the printable text found goes to `textprinter.txt`, one line
//!   a text: `caller pc addressspace "text"`.

mod open;
mod taps;
mod texts;

use plugin_api::{CallStack, FlushReason, prelude::*};

use taps::{Tap, TapList};
use texts::Texts;

/// The plugin.
pub struct TextPrinter {
    calls: CallStack,
    output: Output,
    mode: Mode,
}

enum Mode {
    Taps { list: TapList, writes: u64 },
    Texts(Texts),
}

impl Plugin for TextPrinter {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        let list = TapList::read(&args.path("taps"), args.given("taps"))?;
        let calls = CallStack::new(reg)?;
        let (mode, file) = match list {
            Some(list) => {
                reg.virt_mem_after_write(Self::print_bytes)?;
                (Mode::Taps { list, writes: 0 }, "tap_buffers.txt")
            }
            None => {
                reg.virt_mem_after_write(Self::collect_text)?;
                (Mode::Texts(Texts::new(args.u64("min") as usize)), "textprinter.txt")
            }
        };
        let file = if args.given("output") { args.str("output") } else { file };
        Ok(TextPrinter { calls, output: reg.output(file)?, mode })
    }

    /// A text that is still being written belongs to the process that writes it.
    fn flush(&mut self, reason: FlushReason) {
        if matches!(reason, FlushReason::Fork | FlushReason::Fatal) {
            self.finish();
        }
    }

    fn uninit(&mut self) {
        self.finish();
    }
}

impl TextPrinter {
    fn tap(calls: &CallStack, cpu: &Cpu<'_>, pc: u64) -> Tap {
        let caller = calls.caller(cpu).unwrap_or(0);
        Tap { caller, pc, address_space: cpu.address_space() }
    }

    fn print_bytes(&mut self, cpu: &mut Cpu<'_>, access: &MemAccess<'_>) {
        let Mode::Taps { list, writes } = &mut self.mode else { return };
        if !list.has_pc(access.pc) {
            return;
        }
        let tap = Self::tap(&self.calls, cpu, access.pc);
        if !list.has(tap) {
            return;
        }
        let word = |value| cpu.word(value);
        for (addr, byte) in (access.addr..).zip(access.data) {
            writeln!(
                self.output,
                "{} {} {} {} {writes} {byte:02x}",
                word(tap.caller),
                word(tap.pc),
                word(tap.address_space),
                word(addr)
            );
        }
        *writes += 1;
    }

    fn collect_text(&mut self, cpu: &mut Cpu<'_>, access: &MemAccess<'_>) {
        let Mode::Texts(texts) = &mut self.mode else { return };
        if !texts.concerned(access.pc, access.data) {
            return;
        }
        let tap = Self::tap(&self.calls, cpu, access.pc);
        texts.write(tap, access.addr, access.data, cpu.word_size(), &mut self.output);
    }

    fn finish(&mut self) {
        if let Mode::Texts(texts) = &mut self.mode {
            texts.finish(&mut self.output);
        }
    }
}

export_plugin! {
    TextPrinter,
    name: "textprinter",
    about: "Prints the text a guest writes to memory",
    requires: [CallStack::SERVICE],
    args: [
        Arg::path("taps", "tap points to watch; all stores if the file is not there")
            .default("tap_points.txt"),
        Arg::path("output", "file to write (default: tap_buffers.txt or textprinter.txt)"),
        Arg::u64("min", "without tap points: shortest text printed").default("5"),
    ]
}

#[cfg(test)]
mod tests;
