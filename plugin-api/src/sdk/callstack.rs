//! Who called the running function.

use super::{AddrMap, Cpu, Error, Plugin, Registrar};
use crate::abi::{arch, fork_side};

/// The calls in progress on each guest thread.
///
/// Calls are recorded after they happened, returns by the stack pointer rising above the return address,
/// so `longjmp` and unwinding need no help. A guest that switches to a stack at higher addresses loses
/// the calls on the old one; their callers are then unknown until they call again.
///
/// ```
/// use plugin_api::prelude::*;
/// use plugin_api::CallStack;
///
/// struct Stores {
///     calls: CallStack,
/// }
///
/// impl Plugin for Stores {
///     fn init(reg: &mut Registrar<Self>, _: &Args) -> Result<Self, Error> {
///         CallStack::follow(reg, |this: &mut Stores| &mut this.calls)?;
///         reg.virt_mem_after_write(|this, cpu, access| {
///             let caller = this.calls.caller(cpu).unwrap_or(0);
///             tracing::debug!("{caller:#x} {:#x}: {:?}", access.pc, access.data);
///         })?;
///         Ok(Stores { calls: CallStack::default() })
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct CallStack {
    threads: AddrMap<u32, Vec<Call>>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    /// Where the return address lies.
    slot: u64,
    /// The return address.
    returns_to: u64,
}

/// A program that recurses deeper loses its outermost calls.
const DEEPEST: usize = 1 << 16;

impl CallStack {
    /// Subscribes to calls; `find` gives the value to keep up to date. The plugin's own
    /// [`Registrar::after_insn_exec`] callbacks, if it has any, see the call instructions too.
    pub fn follow<P: Plugin>(
        reg: &Registrar<P>,
        find: impl Fn(&mut P) -> &mut CallStack + 'static,
    ) -> Result<(), Error> {
        if !matches!(reg.arch(), arch::I386 | arch::X86_64) {
            return Err("callers are known only for x86 guests".into());
        }
        reg.no_regs().insn_translate(|_, _, insn| is_call(insn.bytes))?;
        let find = std::rc::Rc::new(find);
        let of_child = find.clone();
        reg.after_insn_exec(move |plugin, cpu, _| find(plugin).called(cpu))?;
        reg.no_regs().process_fork(move |plugin, _, fork| {
            if fork.side == fork_side::CHILD {
                of_child(plugin).forked(fork.parent, fork.child);
            }
        })?;
        Ok(())
    }

    /// The return address of the function that runs, if its call was seen.
    pub fn caller(&mut self, cpu: &Cpu<'_>) -> Option<u64> {
        let sp = cpu.sp();
        let calls = self.threads.get_mut(&cpu.tid())?;
        unwind(calls, sp);
        calls.last().map(|c| c.returns_to)
    }

    /// Forgets every call of every thread.
    pub fn clear(&mut self) {
        self.threads.clear();
    }

    /// The child's only thread goes on where the parent's left off.
    fn forked(&mut self, parent: u32, child: u32) {
        let calls = self.threads.remove(&parent);
        self.threads.clear();
        self.threads.extend(calls.map(|c| (child, c)));
    }

    fn called(&mut self, cpu: &Cpu<'_>) {
        let slot = cpu.sp();
        let mut word = [0; 8];
        let size = (cpu.word_size() as usize).min(8);
        if cpu.read_mem(slot, &mut word[..size]).is_err() {
            return;
        }
        let calls = self.threads.entry(cpu.tid()).or_default();
        // A call from this slot or below has returned, or this one could not be here.
        unwind(calls, slot.saturating_add(1));
        if calls.len() >= DEEPEST {
            calls.drain(..DEEPEST / 2);
        }
        calls.push(Call { slot, returns_to: u64::from_le_bytes(word) });
    }
}

fn unwind(calls: &mut Vec<Call>, sp: u64) {
    while calls.last().is_some_and(|c| c.slot < sp) {
        calls.pop();
    }
}

/// Whether an x86 instruction is a call (Intel SDM volume 2, CALL: E8, 9A, FF /2, FF /3).
fn is_call(bytes: &[u8]) -> bool {
    // In 32-bit code 40–4F are whole instructions and never followed by others.
    let prefix = |b: &u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let at = bytes.iter().position(|b| !prefix(b)).unwrap_or(bytes.len());
    match bytes[at..] {
        [0xe8 | 0x9a, ..] => true,
        [0xff, modrm, ..] => matches!(modrm >> 3 & 7, 2 | 3),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_other_instructions() {
        assert!(is_call(&[0xe8, 1, 2, 3, 4]));
        assert!(is_call(&[0xff, 0xd0]));
        assert!(is_call(&[0x41, 0xff, 0xd7]));
        assert!(is_call(&[0x67, 0xe8, 1, 2, 3, 4]));
        assert!(is_call(&[0xff, 0x15, 1, 2, 3, 4]));
        assert!(!is_call(&[0xff, 0x25, 1, 2, 3, 4]), "jmp [rip+…]");
        assert!(!is_call(&[0xff, 0xc0]), "inc eax");
        assert!(!is_call(&[0x48]), "dec eax in 32-bit code");
        assert!(!is_call(&[0xb8, 0xe8, 0, 0, 0]), "mov eax, 0xe8");
    }
}
