//! Follows data that the guest labels: which bytes of a buffer come from which labelled buffers.
//!
//! The guest asks by hypercall, CPUID with EAX = 0xdeadbeef, EBX what to do, ECX (64-bit guests: RCX) a buffer's address,
//! EDX its length in bytes:
//!
//! * EBX = 0 labels the buffer. Labels are numbered from 1 in the order of these calls. EAX becomes the label's number.
//! * EBX = 1 queries it. EAX becomes the number of its bytes that have a label.
//!
//! EAX becomes 0xffffffff when the buffer cannot be read. The other registers stay. Any other EBX is left to others, and
//! to the processor.
//!
//! The log has a line `label <address> <length>` or `query <address> <length>` for each call (all numbers decimal). Behind
//! a query come lines `tainted <address> <length> labels <n,n,..>` for runs of bytes with the same labels, three and more
//! labels in a row as `first-last`; or the line `clean`.
//!
//! Until the first label the plugin costs nothing but at CPUID, and again when no label is left anywhere. In between it
//! sees every instruction that moves data.

mod events;
mod flags;
mod kernel;
mod labels;
mod memory;
mod recipe;
mod registers;
mod report;
mod rules;
mod run;

use iced_x86::InstructionInfoFactory;
use plugin_api::abi::arch;
use plugin_api::{AddrMap, Subscription, prelude::*};

use labels::Labels;
use memory::Memory;
use recipe::Recipe;
use registers::{Registers, Values};
use report::{Report, Request};
use rules::Rules;
use run::{Machine, Scratch};

/// What EAX has in a hypercall.
const MAGIC: u64 = 0xdead_beef;
/// Numbers of the general registers a hypercall concerns.
const A: usize = 0;
const C: usize = 1;
const D: usize = 2;
const B: usize = 3;
/// EAX after a hypercall that did nothing.
const REFUSED: u64 = 0xffff_ffff;

/// The plugin.
pub struct TaintCap {
    reg: Registrar<TaintCap>,
    values: Values,
    report: Report,
    pointers: bool,
    by_byte: bool,
    next_label: u32,
    labels: Labels,
    memory: Memory,
    /// Registers of the thread that runs.
    registers: Registers,
    tid: u32,
    threads: Threads,
    recipes: AddrMap<u64, Recipe>,
    factory: InstructionInfoFactory,
    scratch: Scratch,
    /// What there is to end when no label is left.
    watching: Vec<Subscription>,
}

/// What is remembered of guest threads.
#[derive(Default, Debug)]
struct Threads {
    /// Registers of those that do not run, unless they are clean.
    waiting: AddrMap<u32, Registers>,
    /// Registers of what signal handlers interrupted.
    interrupted: AddrMap<u32, Vec<Registers>>,
}

impl Plugin for TaintCap {
    fn init(reg: &mut Registrar<Self>, args: &Args) -> Result<Self, Error> {
        if !matches!(reg.arch(), arch::I386 | arch::X86_64) {
            return Err("only data of x86 guests can be followed".into());
        }
        reg.writes_regs().guest_hypercall(Self::hypercall)?;
        Ok(TaintCap {
            reg: reg.clone(),
            values: Values::new(reg)?,
            report: Report {
                log: reg.output(args.path("file"))?,
                json: args.str("format") == "jsonl",
            },
            pointers: args.bool("pointers"),
            by_byte: args.bool("bytes"),
            next_label: 1,
            labels: Labels::default(),
            memory: Memory::default(),
            registers: Registers::default(),
            tid: 0,
            threads: Threads::default(),
            recipes: AddrMap::default(),
            factory: InstructionInfoFactory::new(),
            scratch: Scratch::default(),
            watching: Vec::new(),
        })
    }
}

impl TaintCap {
    /// True when the call is for this plugin.
    fn hypercall(&mut self, cpu: &mut Cpu<'_>) -> bool {
        self.switch_to(cpu.tid());
        let [magic, what, length] = [A, B, D].map(|n| self.values.general(cpu, n) & 0xffff_ffff);
        if magic != MAGIC || what > 1 {
            // The processor answers.
            for n in [A, C, D, B] {
                self.clear_general(n);
            }
            return false;
        }
        let request = Request {
            pid: cpu.pid(),
            tid: cpu.tid(),
            address: self.values.general(cpu, C),
            length,
        };
        self.clear_general(A);
        let answer = if !readable(cpu, &request) {
            tracing::warn!(
                "{} bytes at {:#x} cannot be labelled or queried: not all of them can be read",
                request.length,
                request.address
            );
            REFUSED
        } else if what == 0 {
            self.label(&request)
        } else {
            let runs = self.memory.runs(request.address, request.length);
            self.report.query(&request, &runs, &self.labels);
            runs.iter().map(|r| r.1).sum()
        };
        if let Err(e) = cpu.set_reg(self.values.general_handle(A), answer) {
            tracing::warn!("the guest does not get its answer: {e}");
        }
        true
    }

    fn label(&mut self, r: &Request) -> u64 {
        let first = self.next_label;
        let count = if self.by_byte { r.length as u32 } else { 1 };
        let Some(next) = first.checked_add(count) else { return REFUSED };
        self.next_label = next;
        self.report.label(r, first, u64::from(count));
        for at in 0..r.length {
            let label = if self.by_byte { first + at as u32 } else { first };
            let set = self.labels.single(label);
            self.memory.write(r.address + at, &[set]);
        }
        if self.watching.is_empty() && !self.memory.is_empty() {
            match self.watch() {
                Ok(watching) => self.watching = watching,
                Err(e) => tracing::error!("data cannot be followed: {e}"),
            }
        }
        u64::from(first)
    }

    /// Notes an instruction; whether it does anything to labels.
    fn translated(&mut self, insn: &Insn<'_>) -> bool {
        let rules = Rules { values: &self.values, wide: self.reg.word_size() == 8 };
        match rules.recipe(insn.pc, insn.bytes, &mut self.factory) {
            Some(recipe) => {
                self.recipes.insert(insn.pc, recipe);
                true
            }
            None => false,
        }
    }

    /// Before an instruction that does something to labels.
    fn execute(&mut self, cpu: &mut Cpu<'_>, pc: u64) {
        let tid = cpu.tid();
        if tid != self.tid {
            self.switch_to(tid);
        }
        let Some(recipe) = self.recipes.get(&pc) else { return };
        let mut machine = Machine {
            labels: &mut self.labels,
            memory: &mut self.memory,
            registers: &mut self.registers,
            values: &self.values,
            cpu,
            pointers: self.pointers,
            scratch: &mut self.scratch,
        };
        machine.run(recipe);
        if self.memory.is_empty() && self.registers.is_clean() {
            self.rest();
        }
    }

    /// Makes `registers` those of a thread.
    fn switch_to(&mut self, tid: u32) {
        if tid == self.tid {
            return;
        }
        let new = self.threads.waiting.remove(&tid).unwrap_or_default();
        let old = core::mem::replace(&mut self.registers, new);
        if !old.is_clean() {
            self.threads.waiting.insert(self.tid, old);
        }
        self.tid = tid;
    }

    fn clear_general(&mut self, number: usize) {
        self.registers.clear(registers::Bytes { at: number as u16 * 8, len: 8 });
    }
}

/// Whether all of a buffer can be read.
fn readable(cpu: &Cpu<'_>, r: &Request) -> bool {
    const PAGE: u64 = 4096;
    let Some(end) = r.address.checked_add(r.length) else { return false };
    let mut at = r.address;
    while at < end {
        if cpu.read_mem(at, &mut [0]).is_err() {
            return false;
        }
        at = (at / PAGE + 1) * PAGE;
    }
    true
}

export_plugin! {
    TaintCap,
    name: "taintcap",
    about: "Follows data that the guest labels, and tells where it went",
    args: [
        Arg::path("file", "file to write").default("taintcap.txt"),
        Arg::choice(
            "format",
            "text: label, query and tainted lines; jsonl: one JSON object per label or query",
            &[Str::new("text"), Str::new("jsonl")],
        )
        .default("text"),
        Arg::bool("bytes", "give every byte of a labelled buffer a label of its own").default("false"),
        Arg::bool("pointers", "what is loaded gets the labels of its address: tables are followed").default("true"),
    ]
}

#[cfg(test)]
mod tests;
