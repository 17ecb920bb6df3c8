//! The interpreter loop.
//!
//! The loop indexes the op list without bounds checks and reads the CPU structure at the offsets
//! the ops name. **Invariant: only blocks that pass `emu_ir`'s verifier for the CPU structure at
//! hand are executed**: their last op is a terminator and their slots lie inside the structure.
//! Value numbers need no check: the container has room for every number a [`Val`] can hold, and
//! [`Val::NONE`] names a container that is never written, so an absent operand reads as 0.

use emu_cpu::{CpuHeader, HelperDesc};
use emu_ir::{HookKind, HookSite, Inst, JumpKind, Op, Ops, TrapKind, Ty, Val, scalar};
use emu_mem::MemFault;

use crate::{Value, memory, simd, vec};

/// Room for every number a [`Val`] can hold. Only the pages that blocks use are ever touched.
const CONTAINERS: usize = 1 << 16;

/// Calls the subscriber of a hook op: (CPU, site, address, size in bytes, data).
///
/// For memory hooks, address and size are those of the access and data points to its value in
/// guest byte order, or is null where the value is not known (before a load). For other hooks they
/// are 0 and null.
///
/// # Safety
/// The CPU is live and not otherwise borrowed, its whole state is in the structure; the site
/// belongs to a block that stays alive during the call; data, unless null, points to that many
/// bytes.
pub type HookFn = unsafe fn(*mut CpuHeader, &HookSite, u64, u64, *const u8);

/// How a block was left. The next guest pc is in the CPU header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitKind {
    /// By a jump to a pc the exit op names: the engine may remember the successor.
    Jump,
    /// By a jump to a computed pc.
    Indirect(JumpKind),
    /// By a trap, whose details are in the CPU header.
    Trap,
}

/// How and where a block was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// How.
    pub kind: ExitKind,
    /// Index of the op that left.
    pub exit_op: u16,
    /// Guest instructions of the block that retired.
    pub retired: u32,
}

/// All exceptions masked, in MXCSR: no vector op can trap.
pub const MXCSR_ALL_MASKED: u32 = 0x1f80;

/// The containers. Memory fresh from the system is zero and pages no block uses stay untouched; an
/// allocation of that alignment would be cleared by hand, so the alignment is found within one.
struct Containers {
    words: Vec<u64>,
    skip: usize,
}

impl Containers {
    fn new() -> Containers {
        let words = vec![0u64; CONTAINERS * size_of::<Value>() / 8 + align_of::<Value>() / 8];
        let skip = words.as_ptr().align_offset(align_of::<Value>());
        Containers { words, skip }
    }

    /// The container of value 0, followed by the others.
    fn as_mut_ptr(&mut self) -> *mut Value {
        self.words[self.skip..][..CONTAINERS * size_of::<Value>() / 8].as_mut_ptr().cast()
    }
}

/// The interpreter: executes one block at a time, straight through.
pub struct Interp {
    vals: Containers,
    helpers: &'static [HelperDesc],
    hook: HookFn,
}

impl core::fmt::Debug for Interp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Interp").field("helpers", &self.helpers.len()).finish_non_exhaustive()
    }
}

impl Interp {
    /// An interpreter for the architecture with these helpers.
    pub fn new(helpers: &'static [HelperDesc], hook: HookFn) -> Interp {
        Interp { vals: Containers::new(), helpers, hook }
    }

    /// Executes `block` from its first op to the exit it takes.
    ///
    /// Afterwards `pc` in the CPU header is the next pc, after a fault that of the instruction
    /// that faulted; a trap is described in the header. All other state is exact.
    ///
    /// `mxcsr_masks` are the exception mask bits of the guest's own MXCSR; pass
    /// [`MXCSR_ALL_MASKED`] for guests without one. When one is clear, a vector op that newly
    /// raises that exception traps with [`TrapKind::Simd`], and the sticky bits of that op are in
    /// the host's MXCSR. A block must not change the masks and go on with vector ops.
    ///
    /// # Safety
    /// `cpu` is the header of a live CPU structure, not otherwise borrowed, for whose size and
    /// architecture the block passed the verifier. The block, the subscribers of its hook sites and
    /// the cells of its counters stay alive until `run` returns. The thread has the fault handler
    /// of `emu_mem` installed.
    #[inline]
    pub unsafe fn run<'a>(
        &mut self,
        cpu: *mut CpuHeader,
        block: impl Into<Ops<'a>>,
        mxcsr_masks: u32,
    ) -> Exit {
        let block = block.into();
        // SAFETY: the caller's promises are those of `execute`.
        unsafe {
            if mxcsr_masks & MXCSR_ALL_MASKED == MXCSR_ALL_MASKED {
                self.execute::<false>(cpu, block, 0)
            } else {
                self.execute::<true>(cpu, block, mxcsr_masks)
            }
        }
    }

    /// The loop. `SIMD` says whether vector ops can trap.
    ///
    /// # Safety
    /// As [`Interp::run`].
    unsafe fn execute<const SIMD: bool>(
        &mut self,
        cpu: *mut CpuHeader,
        block: Ops<'_>,
        mxcsr_masks: u32,
    ) -> Exit {
        let vals = Vals(self.vals.as_mut_ptr());
        let insts = block.insts.as_ptr();
        // Ops before the first instruction (block hooks) belong to none: 0xffff + 1 retired.
        let mut head = Inst::new(Op::InsnStart, Ty::I64);
        head.sub = u16::MAX;
        head.imm = block.pc;
        let mut insn: &Inst = &head;
        let mut ip = insts;
        let mut out = vals.0;

        macro_rules! exit {
            ($kind:expr, $retired:expr) => {{
                // SAFETY: both point into the op list.
                let exit_op = unsafe { ip.offset_from(insts) } as u16;
                return Exit { kind: $kind, exit_op, retired: u32::from($retired) };
            }};
        }
        macro_rules! jump {
            ($kind:expr, $pc:expr) => {{
                // SAFETY: cpu is live.
                unsafe { (*cpu).pc = $pc };
                exit!($kind, insn.sub.wrapping_add(1))
            }};
        }
        macro_rules! fault {
            ($what:expr) => {{
                // SAFETY: cpu is live.
                unsafe { raise(&mut *cpu, insn.imm, $what) };
                exit!(ExitKind::Trap, insn.sub.wrapping_add(1).saturating_sub(1))
            }};
        }
        macro_rules! attempt {
            ($e:expr) => {
                match $e {
                    Ok(x) => x,
                    Err(what) => fault!(what),
                }
            };
        }

        loop {
            // SAFETY: `ip` has not passed the terminator, which is the last op.
            let i = unsafe { &*ip };
            let ty = i.ty;
            macro_rules! set {
                ($x:expr) => {{
                    let x: u64 = $x;
                    // SAFETY: `out` is the container of the current op, whose number fits 16 bits.
                    unsafe { (*out).0[0] = x }
                }};
            }
            macro_rules! set_value {
                ($x:expr) => {{
                    let x: Value = $x;
                    // SAFETY: as for `set`.
                    unsafe { *out = x }
                }};
            }
            macro_rules! binary {
                ($op:expr) => {
                    set!(scalar::binary($op, ty, vals.int(i.a), vals.rhs(i)))
                };
            }
            macro_rules! unary {
                ($op:expr) => {
                    set!(scalar::unary($op, ty, vals.int(i.a)))
                };
            }
            macro_rules! convert {
                ($op:expr) => {
                    set!(scalar::convert($op, i.from_ty(), ty, vals.int(i.a)))
                };
            }
            match i.op {
                Op::InsnStart => insn = i,
                Op::Const => match ty {
                    Ty::V128 => set_value!(Value([i.imm, i.imm, 0, 0])),
                    Ty::V256 => set_value!(Value([i.imm; 4])),
                    _ => set!(i.imm),
                },
                // SAFETY: the verifier checked that the slot lies inside the structure.
                Op::Get => unsafe { get(&mut *out, slot(cpu, i.imm), ty) },
                // SAFETY: as for get.
                Op::Put => unsafe { put(vals.value(i.a), slot(cpu, i.imm), ty) },

                Op::Add => binary!(Op::Add),
                Op::Sub => binary!(Op::Sub),
                Op::And => binary!(Op::And),
                Op::Or => binary!(Op::Or),
                Op::Xor => binary!(Op::Xor),
                Op::Shl => binary!(Op::Shl),
                Op::Shr => binary!(Op::Shr),
                Op::Sar => binary!(Op::Sar),
                Op::Rol => binary!(Op::Rol),
                Op::Ror => binary!(Op::Ror),
                Op::Mul => binary!(Op::Mul),
                Op::MulHiU => binary!(Op::MulHiU),
                Op::MulHiS => binary!(Op::MulHiS),
                Op::DivU | Op::RemU | Op::DivS | Op::RemS => {
                    match divide(i.op, ty, vals.int(i.a), vals.int(i.b), vals.int(i.c())) {
                        Some(r) => set!(r),
                        None => fault!(Raise::Plain(TrapKind::DivideError)),
                    }
                }
                Op::Not => unary!(Op::Not),
                Op::Neg => unary!(Op::Neg),
                Op::Bswap => unary!(Op::Bswap),
                Op::Clz => unary!(Op::Clz),
                Op::Ctz => unary!(Op::Ctz),
                Op::Popcnt => unary!(Op::Popcnt),
                // The upper half of a v128 is zero.
                Op::Zext if ty == Ty::V256 => set_value!(*vals.value(i.a)),
                Op::Zext => convert!(Op::Zext),
                Op::Sext => convert!(Op::Sext),
                Op::Trunc => convert!(Op::Trunc),
                Op::Cmp => {
                    set!(u64::from(scalar::compare(i.cond(), ty, vals.int(i.a), vals.rhs(i))));
                }
                Op::Select => {
                    let from = if vals.int(i.a) != 0 { i.b } else { i.c() };
                    if ty.is_int() {
                        set!(vals.int(from));
                    } else {
                        set_value!(*vals.value(from));
                    }
                }
                Op::Lea => {
                    let index = vals.int(i.b) << (i.sub & 3);
                    let sum = vals.int(i.a).wrapping_add(index).wrapping_add(i.imm);
                    set!(sum & ty.mask());
                }

                Op::Load => {
                    let addr = vals.address(i);
                    if i.mem().aligned && misaligned(addr, ty) {
                        fault!(Raise::Plain(TrapKind::Protection));
                    }
                    if ty.is_int() {
                        set!(attempt!(memory::load_int(ty, addr)));
                    } else {
                        set_value!(attempt!(memory::load_vector(ty, addr)));
                    }
                }
                Op::Store => {
                    let addr = vals.address(i);
                    if i.mem().aligned && misaligned(addr, ty) {
                        fault!(Raise::Plain(TrapKind::Protection));
                    }
                    if ty.is_int() {
                        attempt!(memory::store_int(ty, addr, vals.int(i.c())));
                    } else {
                        attempt!(memory::store_vector(ty, addr, vals.value(i.c())));
                    }
                }
                Op::ProbeWrite => {
                    let addr = vals.address(i);
                    if i.mem().aligned && misaligned(addr, ty) {
                        fault!(Raise::Plain(TrapKind::Protection));
                    }
                    attempt!(memory::probe_write(ty, addr));
                }
                Op::AtomicRmw => {
                    set!(attempt!(memory::rmw(i.rmw_kind(), ty, vals.int(i.a), vals.int(i.b))));
                }
                Op::AtomicCas => {
                    let (expected, new) = (vals.value(i.b), vals.value(i.c()));
                    set_value!(attempt!(memory::cas(ty, vals.int(i.a), expected, new)));
                }
                Op::Fence => core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst),

                Op::FlagsSet => {
                    let b = match i.b {
                        Val::NONE => (i.imm as i32 as u64) & ty.mask(),
                        b => vals.int(b),
                    };
                    let (a, c) = (vals.int(i.a), vals.int(i.c()));
                    // SAFETY: cpu is live.
                    unsafe { (*cpu).define_flags(i.flag_kind(), ty, a, b, c) };
                }
                Op::FlagsCond => {
                    // SAFETY: cpu is live.
                    let cpu = unsafe { &*cpu };
                    let kind = emu_ir::FlagKind::from_u8(cpu.flags_kind);
                    let fty = Ty::from_u8(cpu.flags_ty).unwrap_or(Ty::I64);
                    let (a, b, c) = (cpu.flags_a, cpu.flags_b, cpu.flags_c);
                    set!(u64::from(emu_ir::flags::condition(kind, fty, a, b, c, i.cond())));
                }
                Op::FlagsGet => {
                    // SAFETY: cpu is live.
                    let cpu = unsafe { &*cpu };
                    if i.imm == u64::from(emu_ir::flags::CF) {
                        let kind = emu_ir::FlagKind::from_u8(cpu.flags_kind);
                        let fty = Ty::from_u8(cpu.flags_ty).unwrap_or(Ty::I64);
                        let (a, b, c) = (cpu.flags_a, cpu.flags_b, cpu.flags_c);
                        set!(u64::from(emu_ir::flags::carry(kind, fty, a, b, c)));
                    } else {
                        set!(u64::from(cpu.flags()) & i.imm);
                    }
                }

                Op::Vec => match vector::<SIMD>(vals, i, mxcsr_masks) {
                    Some(r) => set_value!(r),
                    None => fault!(Raise::Plain(TrapKind::Simd)),
                },
                Op::Call => {
                    // SAFETY: cpu is live, and the helper belongs to its architecture.
                    let (r, trapped) = unsafe { call(self.helpers, cpu, vals, i, insn) };
                    set!(r);
                    if trapped {
                        // SAFETY: cpu is live.
                        let retires = unsafe { leave_after_helper(&mut *cpu, insn) };
                        let before = insn.sub.wrapping_add(1).saturating_sub(1);
                        exit!(ExitKind::Trap, before + u16::from(retires));
                    }
                }

                Op::ExitIf => {
                    if vals.int(i.a) != 0 {
                        for n in i.exit_counts() {
                            // SAFETY: the verifier checked the sites, the caller keeps the cells.
                            unsafe { count(block, n) };
                        }
                        jump!(ExitKind::Jump, i.imm);
                    }
                }
                Op::Jump => jump!(ExitKind::Jump, i.imm),
                Op::JumpInd => jump!(ExitKind::Indirect(i.jump_kind()), vals.int(i.a)),
                Op::Trap => {
                    let kind = i.trap_kind();
                    // A fault-like trap that names another pc stands for the instruction there,
                    // not for the current one.
                    let retires = kind.retires() || i.imm != insn.imm;
                    // SAFETY: cpu is live.
                    unsafe {
                        (*cpu).raise(kind);
                        (*cpu).pc = i.imm;
                        (*cpu).insn_pc = insn.imm;
                    }
                    let done = insn.sub.wrapping_add(1);
                    exit!(ExitKind::Trap, if retires { done } else { done.saturating_sub(1) });
                }
                Op::ReturnHint => {}

                // SAFETY: cpu is live and holds the whole state, the block outlives the call.
                Op::Hook => unsafe { hook(self.hook, cpu, block, vals, i, insn) },
                // SAFETY: the caller keeps the cells alive.
                Op::Counter => unsafe { count(block, i.imm as usize) },
            }
            // SAFETY: the op was not the terminator, so there is another one, with its container.
            unsafe {
                ip = ip.add(1);
                out = out.add(1);
            }
        }
    }
}

/// The containers, one for every number a [`Val`] can hold.
#[derive(Clone, Copy)]
struct Vals(*mut Value);

impl Vals {
    /// The value `v`; what it holds is 0 when absent.
    #[inline(always)]
    fn value<'a>(self, v: Val) -> &'a Value {
        // SAFETY: there is a container for every 16-bit number, alive while the loop runs; the
        // reference is used up before the loop writes the next result.
        unsafe { &*self.0.add(v.index()) }
    }

    /// The integer `v`; 0 when absent.
    #[inline(always)]
    fn int(self, v: Val) -> u64 {
        self.value(v).0[0]
    }

    /// The second operand of an op that takes an immediate. The verifier sees to it that only one
    /// of value and immediate is there, and the absent one is 0.
    #[inline(always)]
    fn rhs(self, i: &Inst) -> u64 {
        self.int(i.b) | i.imm
    }

    /// The address of a memory op.
    #[inline(always)]
    fn address(self, i: &Inst) -> u64 {
        let m = i.mem();
        let sum = self
            .int(m.base)
            .wrapping_add(self.int(m.index) << m.shift)
            .wrapping_add(i64::from(m.disp) as u64);
        if m.wrap32 { sum & 0xffff_ffff } else { sum }
    }
}

#[inline(always)]
const fn misaligned(addr: u64, ty: Ty) -> bool {
    addr & (ty.bytes() as u64 - 1) != 0
}

/// The address of a slot.
///
/// # Safety
/// The slot lies inside the CPU structure.
#[inline(always)]
unsafe fn slot(cpu: *mut CpuHeader, offset: u64) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { cpu.cast::<u8>().add(offset as usize) }
}

/// Reads a value from a slot.
///
/// # Safety
/// `ty` bytes at `from` are readable.
#[inline(always)]
unsafe fn get(out: &mut Value, from: *const u8, ty: Ty) {
    // SAFETY: the caller's promise; slots need not be aligned.
    unsafe {
        match ty {
            Ty::I8 => out.0[0] = u64::from(*from),
            Ty::I16 => out.0[0] = u64::from(from.cast::<u16>().read_unaligned()),
            Ty::I32 => out.0[0] = u64::from(from.cast::<u32>().read_unaligned()),
            Ty::I64 => out.0[0] = from.cast::<u64>().read_unaligned(),
            Ty::V128 => *out = Value::from_u128(from.cast::<u128>().read_unaligned()),
            Ty::V256 => {
                let half = from.cast::<u128>();
                *out = Value::from_halves(half.read_unaligned(), half.add(1).read_unaligned());
            }
        }
    }
}

/// Writes a value to a slot.
///
/// # Safety
/// The bytes [`Op::Put`] writes for `ty` are writable at `to`.
#[inline(always)]
unsafe fn put(v: &Value, to: *mut u8, ty: Ty) {
    // SAFETY: the caller's promise; slots need not be aligned.
    unsafe {
        match ty {
            Ty::I8 => *to = v.0[0] as u8,
            Ty::I16 => to.cast::<u16>().write_unaligned(v.0[0] as u16),
            // Integers are zero-extended in their container.
            Ty::I32 | Ty::I64 => to.cast::<u64>().write_unaligned(v.0[0]),
            Ty::V128 => to.cast::<u128>().write_unaligned(v.u128()),
            Ty::V256 => {
                let half = to.cast::<u128>();
                half.write_unaligned(v.u128());
                half.add(1).write_unaligned(v.high());
            }
        }
    }
}

// The rarer ops are functions of their own, which keeps the loop's registers for the common ones.

#[inline(never)]
fn divide(op: Op, ty: Ty, hi: u64, lo: u64, d: u64) -> Option<u64> {
    scalar::divide(op, ty, hi, lo, d)
}

/// A vector op; `None` when it traps.
#[inline(never)]
fn vector<const SIMD: bool>(vals: Vals, i: &Inst, mxcsr_masks: u32) -> Option<Value> {
    let (a, b, c) = (vals.value(i.a), vals.value(i.b), vals.value(i.c()));
    let op = i.vec_op();
    let eval = || vec::eval(op, i.ty, a, b, c, i.imm as u8);
    if SIMD && op.uses_mxcsr() { simd::checked(mxcsr_masks, eval) } else { Some(eval()) }
}

/// A helper call: its result, and whether it raised a trap.
///
/// # Safety
/// `cpu` is live and of the architecture the helpers belong to.
#[inline(never)]
unsafe fn call(
    helpers: &[HelperDesc],
    cpu: *mut CpuHeader,
    vals: Vals,
    i: &Inst,
    insn: &Inst,
) -> (u64, bool) {
    let helper = &helpers[usize::from(i.sub)];
    let [a, b, c, d] = i.call_args().map(|v| vals.int(v));
    // SAFETY: the caller's promise.
    unsafe {
        (*cpu).insn_pc = insn.imm;
        (*cpu).retire_adjust = -(i32::from(insn.sub.wrapping_add(1)) - 1).max(0);
        let r = (helper.func)(cpu, a, b, c, d);
        // Callbacks on its accesses may have run.
        (*cpu).unpark_mxcsr();
        (r & i.ty.mask(), helper.effects.traps && (*cpu).trap != 0)
    }
}

/// A hook op.
///
/// # Safety
/// The hook's: `cpu` is live and holds the whole state, the block stays alive during the call.
#[inline(never)]
unsafe fn hook(f: HookFn, cpu: *mut CpuHeader, block: Ops<'_>, vals: Vals, i: &Inst, insn: &Inst) {
    let site = &block.hooks[i.imm as usize];
    let (size, data) = match (i.a.is_some(), i.b.is_some()) {
        (false, _) => (0, core::ptr::null()),
        (true, false) => (u64::from(i.ty.bytes()), core::ptr::null()),
        (true, true) => {
            (u64::from(i.ty.bytes()), core::ptr::from_ref(vals.value(i.b)).cast::<u8>())
        }
    };
    // SAFETY: the caller's promise; data is a value of that size.
    unsafe {
        let after = site.kind == HookKind::AfterInsnExec;
        if !after {
            (*cpu).pc = insn.imm;
        }
        (*cpu).insn_pc = insn.imm;
        let done = i32::from(insn.sub.wrapping_add(1)) - i32::from(!after);
        (*cpu).retire_adjust = -done.max(0);
        f(cpu, site, vals.int(i.a), size, data);
    }
}

/// Adds to a counter.
///
/// # Safety
/// The cell is alive.
#[inline(never)]
unsafe fn count(block: Ops<'_>, site: usize) {
    let site = &block.counters[site];
    let cell = site.cell as *mut u64;
    // SAFETY: the caller's promise.
    unsafe { *cell = (*cell).wrapping_add(site.amount) };
}

/// What a fault reports.
enum Raise {
    Plain(TrapKind),
    Memory(MemFault),
}

impl From<MemFault> for Raise {
    fn from(f: MemFault) -> Raise {
        Raise::Memory(f)
    }
}

/// Puts a fault of the instruction at `pc` into the header.
#[cold]
fn raise(cpu: &mut CpuHeader, pc: u64, what: impl Into<Raise>) {
    match what.into() {
        Raise::Plain(kind) => cpu.raise(kind),
        Raise::Memory(f) => cpu.raise_fault(f),
    }
    cpu.pc = pc;
    cpu.insn_pc = pc;
}

/// Sets the pc after a helper raised a trap; whether the instruction retires.
#[cold]
fn leave_after_helper(cpu: &mut CpuHeader, insn: &Inst) -> bool {
    let retires = TrapKind::from_u8(cpu.trap).retires();
    let len = if retires { u64::from(insn.a.0) } else { 0 };
    cpu.pc = insn.imm.wrapping_add(len);
    retires
}
