//! Precise faults: where the guest's state is at every host instruction that can fault.
//!
//! Nothing is written back before an access. Instead each access records which slots are dirty and
//! where their content is; the signal handler completes the CPU structure from the interrupted
//! context.

use core::cell::Cell;

use emu_cpu::{CpuHeader, slots};
use emu_ir::TrapKind;
use emu_mem::host_fault::HostFault;
use emu_mem::{FaultKind, MemFault};

use crate::alloc::BUDGET;
use crate::asm::NOREG;
use crate::compile::Compiler;
use crate::exits::{ExitKind, LEAVE_FAULT};
use crate::pins::{Pins, Vectors, home, members, part};
use crate::slots::is_flag;
use crate::state::{Home, Kind, NOROOT, VSPILL, spill_offset};

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loc {
    /// General register.
    Gpr(u8),
    /// Vector register.
    Xmm(u8),
    /// A sign-extended constant.
    Imm(i32),
    /// A constant in the pool.
    Pool(u32),
    /// Spill slot.
    Spill(u8),
    /// 8 bytes of the CPU structure.
    Cpu(u16),
}

/// How a slot's content follows from its locations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// x.
    Is,
    /// x + y.
    Sum,
    /// x - y.
    Diff,
}

/// Brings a pinned slot to its register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinMove {
    /// The register.
    pub to: u8,
    /// Where the content is, but for the addend.
    pub from: Loc,
    /// What to add.
    pub plus: i32,
}

/// A dirty slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snap {
    /// Byte offset in the CPU structure.
    pub slot: u16,
    /// Its size.
    pub bytes: u8,
    /// How to compute it.
    pub how: How,
    /// First location.
    pub x: Loc,
    /// Second location.
    pub y: Loc,
}

/// A host instruction that can fault.
#[derive(Clone, Copy, Debug)]
pub struct FaultPoint {
    /// Its offset in the block, later in the arena.
    pub off: u32,
    /// First snapshot entry.
    pub start: u32,
    /// Number of snapshot entries.
    pub len: u16,
    /// What the budget gets back: the instructions that did not retire.
    pub refund: u16,
    /// Bit n: the slot of pin n is newer in its register than in memory.
    pub pinned: u16,
    /// To the guest the access is a write, whatever the host instruction does.
    pub write: bool,
    /// The host instruction touches the last byte of an access whose first one is known to be
    /// good: what faults for the guest is the first byte of the page.
    pub last_byte: bool,
    /// Guest pc.
    pub pc: u64,
}

impl Compiler<'_> {
    /// Records that the next host instruction can fault.
    pub fn fault_point(&mut self) {
        let start = self.fault_snaps.len();
        let pinned = self.snapshot();
        let new = &self.fault_snaps[start..];
        let mut range = (start as u32, new.len() as u16);
        if let Some(last) = self.faults.last() {
            let (s, n) = (last.start as usize, usize::from(last.len));
            if n == new.len() && self.fault_snaps[s..s + n] == *new {
                range = (last.start, last.len);
                self.fault_snaps.truncate(start);
            }
        }
        self.faults.push(FaultPoint {
            off: self.asm.len() as u32,
            start: range.0,
            len: range.1,
            refund: (self.insn_count() - self.insn.max(0)) as u16,
            pinned,
            write: false,
            last_byte: false,
            pc: self.pc,
        });
    }

    /// Appends the dirty slots to the snapshots of faults, but for the pinned ones that are in
    /// place; a bit for each of those.
    fn snapshot(&mut self) -> u16 {
        let mut pinned = 0;
        for (n, (u, h)) in self.pins.iter().enumerate() {
            let s = self.st.slots[u];
            if s.root == NOROOT || !s.dirty || self.dead_before(s.next) {
                continue;
            }
            if self.st.root(s.root).reg == h {
                pinned |= 1 << n;
            } else {
                let snap = self.snap(u);
                self.fault_snaps.push(snap);
            }
        }
        self.snapshot_unpinned(true, 0, false);
        pinned
    }

    /// Appends the dirty slots that are not pinned to the snapshots of faults or of exits; not the
    /// `flags` if they are taken care of.
    fn snapshot_unpinned(&mut self, fault: bool, stay: Vectors, flags: bool) {
        // The pinned slots are the first ones.
        for k in self.pins.count()..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            let s = self.st.slots[u];
            if s.root == NOROOT || !s.dirty || self.stays(u, stay) {
                continue;
            }
            if self.dead_before(s.next) || flags && is_flag(u) {
                continue;
            }
            let snap = self.snap(u);
            if fault {
                self.fault_snaps.push(snap);
            } else {
                self.exit_snaps.push(snap);
            }
        }
    }

    /// Stores every dirty slot, in code that comes back with the slots still dirty.
    pub fn store_dirty(&mut self) {
        for k in 0..self.st.touched.len() {
            let u = usize::from(self.st.touched[k]);
            let s = self.st.slots[u];
            if s.root != NOROOT && s.dirty {
                let snap = self.snap(u);
                self.emit_snap(&snap);
            }
        }
    }

    /// Records the state at a side exit: what is to be stored, and which pinned slots are to be
    /// brought back to their registers.
    pub fn exit_state(&mut self, exit: u32) {
        let stay = self.vectors_at_exit(exit);
        let flags = match self.exits[exit as usize].kind {
            ExitKind::Direct => self.flags_at_exit(),
            _ => None,
        };
        self.snapshot_unpinned(false, stay, flags.is_some());
        self.pin_moves();
        if let Some((n, temps)) = flags {
            self.temp_moves(temps);
            self.exits[exit as usize].flags = n;
        }
    }

    /// Decides which vector slots an exit leaves in registers, and records how they get there.
    pub fn vectors_at_exit(&mut self, exit: u32) -> Vectors {
        let (mut dirty, mut clean) = (0, 0);
        for n in members(self.an.vectors) {
            let s = self.st.slots[self.vectors.unit(n)];
            let ty = part(n);
            if s.root == NOROOT || u32::from(s.bytes) != ty.bytes() || s.lo != 0 {
                continue;
            }
            let root = *self.st.root(s.root);
            if root.class != ty || root.reg == NOREG {
                continue;
            }
            if s.dirty {
                dirty |= 1 << n;
            } else {
                clean |= 1 << n;
            }
            self.exit_vector_moves.push((home(n), root.reg));
        }
        let e = &mut self.exits[exit as usize];
        e.dirty = dirty;
        e.clean = clean;
        dirty | clean
    }

    /// Appends where the pinned slots are that are not in place to the moves of exits.
    pub fn pin_moves(&mut self) {
        for (u, h) in self.pins.iter() {
            let s = self.st.slots[u];
            if s.root != NOROOT && self.st.root(s.root).reg == h {
                continue;
            }
            let (from, plus) = match s.root {
                NOROOT => (Loc::Cpu((u * 8) as u16), 0),
                r if self.st.root(r).reg == NOREG && !s.dirty => (Loc::Cpu((u * 8) as u16), 0),
                r => match self.sum_of_root(r) {
                    Some((x, c)) => (self.location(x), c),
                    None => (self.location(r), 0),
                },
            };
            self.exit_moves.push(PinMove { to: h, from, plus });
        }
    }

    /// Where the content of a dirty slot is.
    pub fn snap(&mut self, u: usize) -> Snap {
        let s = self.st.slots[u];
        let (how, x, y) = match self.st.root(s.root).kind {
            Kind::Sum(x, y) => (How::Sum, self.location(x), self.location(y)),
            Kind::Diff(x, y) => (How::Diff, self.location(x), self.location(y)),
            _ => (How::Is, self.location(s.root), Loc::Imm(0)),
        };
        let slot = (u * 8) as u16 + u16::from(s.lo);
        Snap { slot, bytes: s.bytes, how, x, y }
    }

    pub fn location(&mut self, r: u16) -> Loc {
        let root = *self.st.root(r);
        if root.reg != NOREG {
            return if root.class.is_int() { Loc::Gpr(root.reg) } else { Loc::Xmm(root.reg) };
        }
        match (root.kind, root.home) {
            (Kind::Const(c), _) if c as i64 == i64::from(c as i32) => Loc::Imm(c as i32),
            (Kind::Const(c), _) => {
                self.pool.push(c);
                Loc::Pool((self.pool.len() - 1) as u32)
            }
            (_, Home::Spill(n)) => Loc::Spill(n),
            (_, Home::Slot(s)) => Loc::Cpu(s),
            // Dirty roots always have a location; keep the slot's own memory if not.
            (_, Home::None) => Loc::Imm(0),
        }
    }
}

/// What the signal handler needs to know about generated code.
#[derive(Debug, Default)]
pub struct FaultMap {
    /// First executable address.
    pub start: u64,
    /// Executable bytes in use.
    pub len: u64,
    /// Bytes at the start that enter and leave the code: registers are the host's there.
    pub entry_len: u64,
    /// Address that leaves generated code.
    pub leave: u64,
    /// All fault points, by offset.
    pub points: Vec<FaultPoint>,
    /// Their snapshots.
    pub snaps: Vec<Snap>,
    /// Constants in them.
    pub pool: Vec<u64>,
    /// The tables of blocks that keep their own, by offset.
    pub tables: Vec<FaultTable>,
    /// Slots in host registers.
    pub pins: Option<Pins>,
    /// Of the last fault: its offset, and the instructions that did not retire.
    pub last: Cell<(u32, u16)>,
}

/// The faults of a block, where its offsets and numbers count from its first, in memory that lives as long
/// as the code.
#[derive(Clone, Copy, Debug)]
pub struct FaultTable {
    /// Offset of the block in the arena.
    pub off: u32,
    /// Its fault points.
    pub points: &'static [FaultPoint],
    /// Their snapshots.
    pub snaps: &'static [Snap],
    /// Constants in them.
    pub pool: &'static [u64],
}

impl FaultMap {
    /// The fault point at an offset of the arena, its snapshots, and what has their constants.
    fn find(&self, off: u32) -> Option<(FaultPoint, &[Snap], &[u64])> {
        let (p, snaps, pool) = match self.points.binary_search_by_key(&off, |p| p.off) {
            Ok(n) => (self.points[n], &*self.snaps, &*self.pool),
            Err(_) => {
                let n = self.tables.partition_point(|t| t.off <= off).checked_sub(1)?;
                let t = &self.tables[n];
                let n = t.points.binary_search_by_key(&(off - t.off), |p| p.off).ok()?;
                (FaultPoint { off, ..t.points[n] }, t.snaps, t.pool)
            }
        };
        let from = p.start as usize;
        Some((p, snaps.get(from..from + usize::from(p.len)).unwrap_or(&[]), pool))
    }

    /// Forgets the fault points of all blocks.
    pub fn clear(&mut self) {
        self.points.clear();
        self.snaps.clear();
        self.pool.clear();
        self.tables.clear();
    }
}

// Constant-initialised and without drop code, so the signal handler may use it.
thread_local! {
    /// The map of the code arena that runs on this thread.
    static ACTIVE: Cell<*mut FaultMap> = const { Cell::new(core::ptr::null_mut()) };
}

/// Makes `map` the one the signal handler uses on this thread.
///
/// # Safety
/// The map stays valid, and is not changed while generated code runs, until another is activated
/// or [`deactivate`] is called.
pub unsafe fn activate(map: *mut FaultMap) {
    ACTIVE.set(map);
    emu_mem::host_fault::set_code_handler(handle);
}

/// Forgets `map` if it is the active one.
pub fn deactivate(map: *mut FaultMap) {
    if ACTIVE.get() == map {
        ACTIVE.set(core::ptr::null_mut());
    }
}

/// Takes `amount` from the budget that generated code holds in a register, if `context` was
/// interrupted in it. Async-signal-safe.
pub fn withdraw(context: &mut libc::ucontext_t, amount: i64) {
    let map = ACTIVE.get();
    if map.is_null() {
        return;
    }
    // SAFETY: `activate`'s caller keeps the map valid; start and len are plain numbers.
    let (start, len, entry) = unsafe { ((*map).start, (*map).len, (*map).entry_len) };
    let regs = &mut context.uc_mcontext.gregs;
    // On the way in or out the register is the host's; the request is seen at the next way in, or
    // when the slice ends.
    if (entry..len).contains(&(regs[libc::REG_RIP as usize] as u64).wrapping_sub(start)) {
        let budget = &mut regs[GREGS[usize::from(BUDGET)]];
        *budget = budget.wrapping_sub(amount);
    }
}

/// The general registers of a context in encoding order.
const GREGS: [usize; 16] = [
    libc::REG_RAX as usize,
    libc::REG_RCX as usize,
    libc::REG_RDX as usize,
    libc::REG_RBX as usize,
    libc::REG_RSP as usize,
    libc::REG_RBP as usize,
    libc::REG_RSI as usize,
    libc::REG_RDI as usize,
    libc::REG_R8 as usize,
    libc::REG_R9 as usize,
    libc::REG_R10 as usize,
    libc::REG_R11 as usize,
    libc::REG_R12 as usize,
    libc::REG_R13 as usize,
    libc::REG_R14 as usize,
    libc::REG_R15 as usize,
];

/// Offset of the upper halves of the ymm registers in the standard XSAVE layout.
const YMM_HIGH: usize = 576;

fn handle(fault: &HostFault, context: &mut libc::ucontext_t) -> bool {
    let map = ACTIVE.get();
    if map.is_null() {
        return false;
    }
    // SAFETY: `activate`'s caller keeps the map valid and unchanged while generated code runs.
    let map = unsafe { &*map };
    let regs = &mut context.uc_mcontext.gregs;
    let off = (regs[libc::REG_RIP as usize] as u64).wrapping_sub(map.start);
    if off >= map.len {
        return false;
    }
    let Some((p, snaps, pool)) = map.find(off as u32) else { return false };
    map.last.set((p.off, p.refund));
    let cpu = (regs[libc::REG_RBP as usize] as u64).wrapping_sub(u64::from(slots::BIAS));
    let stack = regs[libc::REG_RSP as usize] as u64;
    let fp = context.uc_mcontext.fpregs;
    let get = |l: Loc| -> u64 {
        match l {
            Loc::Gpr(r) => regs[GREGS[usize::from(r & 15)]] as u64,
            Loc::Imm(c) => i64::from(c) as u64,
            Loc::Pool(n) => pool.get(n as usize).copied().unwrap_or(0),
            Loc::Spill(n) => {
                let at = stack.wrapping_add_signed(i64::from(spill_offset(n & !VSPILL)));
                // SAFETY: in generated code rsp points to the frame, which has that slot.
                unsafe { *(at as *const u64) }
            }
            // SAFETY: rbp points into the CPU structure, and the slot lies in it.
            Loc::Cpu(s) => unsafe { ((cpu + u64::from(s)) as *const u64).read_unaligned() },
            Loc::Xmm(_) => 0,
        }
    };
    for (n, (unit, reg)) in map.pins.iter().flat_map(Pins::iter).enumerate() {
        if p.pinned >> n & 1 != 0 {
            // SAFETY: the slot lies in the structure, aligned to its 8 bytes.
            unsafe { *((cpu + unit as u64 * 8) as *mut u64) = get(Loc::Gpr(reg)) };
        }
    }
    for s in snaps {
        let to = (cpu + u64::from(s.slot)) as *mut u8;
        if let Loc::Xmm(r) = s.x {
            // SAFETY: the kernel saved the vector registers; the slot lies in the structure.
            unsafe {
                let low = (&raw const (*fp)._xmm[usize::from(r & 15)]).cast::<u8>();
                core::ptr::copy_nonoverlapping(low, to, 16);
                if s.bytes == 32 {
                    let high = fp.cast::<u8>().add(YMM_HIGH + 16 * usize::from(r & 15));
                    core::ptr::copy_nonoverlapping(high, to.add(16), 16);
                }
            }
            continue;
        }
        let x = match s.how {
            How::Is => get(s.x),
            How::Sum => get(s.x).wrapping_add(get(s.y)),
            How::Diff => get(s.x).wrapping_sub(get(s.y)),
        };
        let bytes = x.to_le_bytes();
        // SAFETY: the slot lies in the structure and has at most 8 bytes here.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, usize::from(s.bytes).min(8));
        }
    }
    // SAFETY: the structure belongs to the interrupted code, which does not go on.
    let h = unsafe { &mut *(cpu as *mut CpuHeader) };
    if h.mxcsr_parked != 0 {
        h.mxcsr_parked = 0;
        // SAFETY: the kernel saved the vector unit.
        unsafe { (*fp).mxcsr = h.mxcsr };
    }
    let budget = &mut regs[GREGS[usize::from(BUDGET)]];
    *budget += i64::from(p.refund);
    h.budget = *budget;
    h.pc = p.pc;
    h.insn_pc = p.pc;
    if fault.signal == libc::SIGFPE {
        const FPE_INTDIV: u64 = 1;
        let divide = fault.code == FPE_INTDIV;
        h.raise(if divide { TrapKind::DivideError } else { TrapKind::Simd });
    } else {
        let kind = match fault.code {
            2 => FaultKind::Bus,
            3 => FaultKind::NonCanonical,
            _ => FaultKind::Page,
        };
        let addr = if p.last_byte { fault.addr & !(emu_mem::PAGE - 1) } else { fault.addr };
        h.raise_fault(MemFault { addr, write: fault.write || p.write, kind });
    }
    regs[libc::REG_RIP as usize] = map.leave as i64;
    regs[libc::REG_R10 as usize] = i64::from(LEAVE_FAULT);
    true
}
