//! Calls to subscribers.
//!
//! Hooks that are compiled into blocks arrive at [`call_hook`]; everything else goes through
//! [`Shared::notify`].

use core::arch::asm;
use core::ffi::c_void;

use emu_cpu::{CpuHeader, MemCall, MemWatch, lend, withheld};
use emu_interp::MXCSR_ALL_MASKED;
use emu_ir::{HookCell, HookKind, HookSite};
use plugin_api::abi::{self, PandaCpu, kind};

use crate::instrument::{Plan, count};
use crate::shared::Shared;

/// Puts the host's MXCSR back when a callback used floating point. Where the guest has exceptions
/// unmasked, and machine code has them so in the host's, the callback gets the default.
#[inline(always)]
fn keeping_mxcsr<R>(f: impl FnOnce() -> R) -> R {
    let (mut before, mut after) = (0u32, 0u32);
    // SAFETY: stores a control register into a local.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut before, options(nostack, preserves_flags)) };
    if before & MXCSR_ALL_MASKED != MXCSR_ALL_MASKED {
        // SAFETY: the ABI's own value.
        unsafe { emu_cpu::set_host_mxcsr(emu_cpu::HOST_MXCSR) };
    }
    let r = f();
    // SAFETY: as above; what is written back is the value the guest had.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut after, options(nostack, preserves_flags));
        if after != before {
            asm!("ldmxcsr [{}]", in(reg) &raw const before, options(nostack, preserves_flags));
        }
    }
    r
}

/// Calls the subscriber of a hook site if that is due.
///
/// # Safety
/// The site belongs to a block of the engine that runs `cpu`, its cell is alive, and `data`
/// points to `size` bytes (or is null).
pub(crate) unsafe fn call_hook(
    cpu: *mut CpuHeader,
    site: &HookSite,
    addr: u64,
    size: u64,
    data: *const u8,
) {
    // SAFETY: the entry that owns the block keeps the subscription alive.
    let cell = unsafe { &*(site.cell as *const HookCell) };
    if !site.when.due(cell, addr, size) {
        return;
    }
    if site.counts_calls {
        cell.calls.set(cell.calls.get() + 1);
    }
    let (f, user) = (cell.func.get(), cell.user.get() as *mut _);
    let cpu = lend(cpu, withheld(site.reads_regs, site.writes_regs)).cast::<PandaCpu>();
    keeping_mxcsr(|| {
        // SAFETY: the registry got the function with its kind, which says its type; the function
        // that stands in for a removed one ignores its arguments.
        unsafe {
            match site.kind {
                HookKind::InsnExec | HookKind::AfterInsnExec => {
                    let f: abi::PcFn = core::mem::transmute(f);
                    f(user, cpu, site.pc);
                }
                HookKind::BeforeBlock => {
                    let f: abi::BlockFn = core::mem::transmute(f);
                    f(user, cpu, site.info as *const _);
                }
                HookKind::AfterBlock => {
                    let f: abi::AfterBlockExecFn = core::mem::transmute(f);
                    f(user, cpu, site.info as *const _, site.detail);
                }
                HookKind::BeforeRead
                | HookKind::AfterRead
                | HookKind::BeforeWrite
                | HookKind::AfterWrite => {
                    let f: abi::MemFn = core::mem::transmute(f);
                    f(user, cpu, site.pc, addr, size, data);
                }
            }
        }
    });
}

/// What helpers are to do about their accesses, under a plan that keeps these subscriptions and counters
/// alive.
pub(crate) fn watch(plan: &Plan) -> Option<Box<MemWatch>> {
    if !plan.watches_memory() {
        return None;
    }
    // SAFETY: a counter's owner keeps the number alive until blocks no longer count it.
    let mut watch = unsafe { MemWatch::counting(&plan.loads, &plan.stores) };
    for &kind in &HookKind::ALL[HookKind::BeforeRead as usize..] {
        for sub in plan.hook(kind) {
            let call = MemCall {
                cell: &raw const sub.cell,
                withheld: withheld(sub.reads_regs(), sub.writes_regs()),
                counts_calls: plan.count_calls,
                when: sub.when(),
            };
            // SAFETY: the plan keeps the subscription; the registry got its function with its kind.
            unsafe { watch.call(kind, call) };
        }
    }
    Some(Box::new(watch))
}

impl Shared {
    /// Calls `call` with function and user data of every enabled subscriber of `kind`, in order, and
    /// with `cpu` as lent to it (null: no guest code runs). `call` casts the function to the type that
    /// belongs to the kind.
    pub fn notify(
        &self,
        kind: u32,
        cpu: *mut CpuHeader,
        mut call: impl FnMut(usize, *mut c_void, *mut PandaCpu),
    ) {
        let list = self.registry.borrow().list(kind);
        if !list.is_empty() {
            self.settle_counters();
        }
        for sub in list.iter().filter(|s| s.enabled()) {
            sub.cell.calls.set(sub.cell.calls.get() + 1);
            keeping_mxcsr(|| {
                call(sub.cell.func.get(), sub.cell.user.get() as *mut _, sub.lend(cpu));
            });
        }
    }

    /// Brings counters up to date that blocks do not add to themselves.
    pub(crate) fn settle_counters(&self) {
        if self.running.get().is_null() {
            return;
        }
        // SAFETY: the engine keeps the plan it set for as long as the CPU runs.
        let plan = unsafe { &*self.plan.get() };
        if plan.tallies() {
            let retired = self.retired();
            count(&plan.insns, retired.wrapping_sub(self.settled.replace(retired)));
            plan.settle();
        }
    }

    /// Whether anybody wants the kind.
    pub fn wants(&self, kind: u32) -> bool {
        self.registry.borrow().wants(kind)
    }

    /// Whether anybody wants one of two kinds: asked at every system call.
    #[inline]
    pub fn wants_either(&self, a: u32, b: u32) -> bool {
        let registry = self.registry.borrow();
        registry.wants(a) || registry.wants(b)
    }

    /// Asks the hypercall subscribers; true when one of them handled it. All are asked.
    pub(crate) fn hypercall(&self, cpu: *mut CpuHeader) -> bool {
        let mut handled = false;
        // SAFETY: the function type belongs to this kind.
        self.notify(kind::GUEST_HYPERCALL, cpu, |f, user, cpu| unsafe {
            let f: abi::GuestHypercallFn = core::mem::transmute(f);
            handled |= f(user, cpu) != 0;
        });
        handled
    }
}
