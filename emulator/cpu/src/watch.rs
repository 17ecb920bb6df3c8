//! Who wants to know of the accesses that helpers make.

use emu_ir::{HookCell, HookKind, When};
use emu_mem::access::{self, Scalar};
use emu_mem::{MemFault, PAGE};

use crate::{CpuHeader, NO_READS, lend};

/// A subscriber of accesses: (user data, processor, pc, address, size, data or null).
type AccessFn = unsafe extern "C" fn(usize, *mut CpuHeader, u64, u64, u64, *const u8);

/// One call for each access.
#[derive(Clone, Copy, Debug)]
pub struct MemCall {
    /// What is called.
    pub cell: *const HookCell,
    /// What the processor is lent without: [`crate::withheld`].
    pub withheld: usize,
    /// The cell counts calls.
    pub counts_calls: bool,
    /// Which accesses are due.
    pub when: When,
}

/// A call, and what is quickly looked at.
#[derive(Clone, Copy, Debug)]
struct Call {
    call: MemCall,
    /// Always due, and not counted.
    plain: bool,
}

impl core::ops::Deref for Call {
    type Target = MemCall;

    fn deref(&self) -> &MemCall {
        &self.call
    }
}

impl MemCall {
    /// Calls.
    #[inline(always)]
    fn make(&self, cpu: &mut CpuHeader, pc: u64, addr: u64, size: u64, data: *const u8) {
        // SAFETY: promised to [`MemWatch::call`]: the cell is alive, and its function is of that type, or
        // stands in for one and ignores arguments; data is null or points to the access's bytes.
        unsafe {
            let cell = &*self.cell;
            let f: AccessFn = core::mem::transmute(cell.func.get());
            f(cell.user.get(), lend(cpu, self.withheld), pc, addr, size, data);
        }
    }
}

/// What to do about accesses: the calls by kind, and the counters, as (address of a u64, what to add).
#[derive(Debug, Default)]
pub struct MemWatch {
    calls: [Vec<Call>; 4],
    loads: Vec<(usize, u64)>,
    stores: Vec<(usize, u64)>,
}

impl MemWatch {
    /// Accesses that are only counted.
    ///
    /// # Safety
    /// The numbers stay valid, and the run thread's alone, as long as this does.
    pub unsafe fn counting(loads: &[(usize, u64)], stores: &[(usize, u64)]) -> MemWatch {
        MemWatch { loads: loads.to_vec(), stores: stores.to_vec(), ..MemWatch::default() }
    }

    /// A call of every access: of these cells, in the order of the hooks.
    ///
    /// # Safety
    /// As for [`MemWatch::call`].
    pub unsafe fn each(cells: &[HookCell; 4]) -> MemWatch {
        let mut watch = MemWatch::default();
        for (cell, &kind) in cells.iter().zip(&HookKind::ALL[FIRST..]) {
            let call = MemCall { cell, withheld: 0, counts_calls: false, when: When::ALWAYS };
            // SAFETY: the caller's promise.
            unsafe { watch.call(kind, call) };
        }
        watch
    }

    /// Adds a call to those of a memory hook.
    ///
    /// # Safety
    /// The cell stays valid as long as this does; its function is of the memory hooks' type.
    pub unsafe fn call(&mut self, kind: HookKind, call: MemCall) {
        if let Some(calls) = (kind as usize).checked_sub(FIRST).and_then(|n| self.calls.get_mut(n))
        {
            let plain = call.when == When::ALWAYS && !call.counts_calls;
            calls.push(Call { call, plain });
        }
    }

    /// Whether nobody wants more than the number of accesses.
    pub fn only_counts(&self) -> bool {
        self.calls.iter().all(Vec::is_empty)
    }

    /// Counts accesses that are over.
    pub fn count(&self, loads: u64, stores: u64) {
        for (events, counters) in [(loads, &self.loads), (stores, &self.stores)] {
            for &(cell, amount) in counters {
                // SAFETY: promised by who made this.
                unsafe {
                    let cell = cell as *mut u64;
                    *cell = (*cell).wrapping_add(amount.wrapping_mul(events));
                }
            }
        }
    }

    /// What reports accesses of the present instruction. Until the instruction is done, no guest
    /// floating-point operation follows.
    #[inline(always)]
    pub fn reporter(&self, cpu: &mut CpuHeader) -> Reporter<'_> {
        if !self.only_counts() {
            cpu.park_mxcsr();
        }
        Reporter { watch: self, pc: cpu.insn_pc }
    }
}

/// Reports the accesses of one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    watch: &'a MemWatch,
    pc: u64,
}

impl Reporter<'_> {
    /// Whether somebody may look at registers while accesses are reported.
    pub fn shows_registers(&self) -> bool {
        let calls = self.watch.calls.iter().flatten();
        calls.fold(NO_READS, |hidden, c| hidden & c.withheld) == 0
    }

    /// Reports an access to those who are due.
    #[inline(always)]
    fn report(&self, cpu: &mut CpuHeader, kind: HookKind, addr: u64, size: u64, data: *const u8) {
        match &self.watch.calls[kind as usize - FIRST][..] {
            [] => {}
            [only] if only.plain => only.make(cpu, self.pc, addr, size, data),
            [only] if only.when.within.is_some_and(|w| !w.touches(addr, size)) => {}
            several => self.report_to(several, cpu, addr, size, data),
        }
    }

    #[inline(never)]
    fn report_to(
        &self,
        calls: &[Call],
        cpu: &mut CpuHeader,
        addr: u64,
        size: u64,
        data: *const u8,
    ) {
        for call in calls {
            // SAFETY: promised by who made this.
            let cell = unsafe { &*call.cell };
            if call.when.due(cell, addr, size) {
                if call.counts_calls {
                    cell.calls.set(cell.calls.get() + 1);
                }
                call.make(cpu, self.pc, addr, size, data);
            }
        }
    }

    /// Reports a load that yielded `data`.
    #[inline(always)]
    pub fn loaded(&self, cpu: &mut CpuHeader, addr: u64, data: &[u8]) {
        self.report(cpu, HookKind::BeforeRead, addr, data.len() as u64, core::ptr::null());
        if !self.watch.loads.is_empty() {
            self.watch.count(1, 0);
        }
        self.report(cpu, HookKind::AfterRead, addr, data.len() as u64, data.as_ptr());
    }

    /// Announces a store that is known to succeed.
    #[inline(always)]
    pub fn storing(&self, cpu: &mut CpuHeader, addr: u64, data: &[u8]) {
        self.report(cpu, HookKind::BeforeWrite, addr, data.len() as u64, data.as_ptr());
    }

    /// Reports a store.
    #[inline(always)]
    pub fn stored(&self, cpu: &mut CpuHeader, addr: u64, data: &[u8]) {
        if !self.watch.stores.is_empty() {
            self.watch.count(0, 1);
        }
        self.report(cpu, HookKind::AfterWrite, addr, data.len() as u64, data.as_ptr());
    }

    /// Loads a value and reports that.
    #[inline(always)]
    pub fn load<T: Scalar>(&self, cpu: &mut CpuHeader, addr: u64) -> Result<T, MemFault> {
        let v = access::load::<T>(addr)?;
        self.loaded(cpu, addr, bytes(&v));
        Ok(v)
    }

    /// Stores a value and reports that.
    #[inline(always)]
    pub fn store<T: Scalar>(&self, cpu: &mut CpuHeader, addr: u64, v: T) -> Result<(), MemFault> {
        let last = addr.wrapping_add(size_of::<T>() as u64 - 1);
        let announced = !self.watch.calls[HookKind::BeforeWrite as usize - FIRST].is_empty();
        // All or nothing, at the border of two pages too.
        if announced || addr % PAGE > last % PAGE {
            access::probe_write(addr)?;
            access::probe_write(last & !(PAGE - 1))?;
            self.storing(cpu, addr, bytes(&v));
        }
        access::store(addr, v)?;
        self.stored(cpu, addr, bytes(&v));
        Ok(())
    }
}

/// Number of the first memory hook.
const FIRST: usize = HookKind::BeforeRead as usize;

fn bytes<T: Scalar>(v: &T) -> &[u8] {
    // SAFETY: scalars are plain integers.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(v).cast(), size_of::<T>()) }
}
