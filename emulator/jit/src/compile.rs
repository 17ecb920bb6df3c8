//! One pass over a block's ops.

use emu_cpu::{GuestArch, slots};
use emu_ir::{Block, Inst, Op, Ty, Val};

use crate::Unsupported;
use crate::alloc::{BUDGET, cpu_mem};
use crate::analyze::{Analysis, NEVER};
use crate::asm::{Alu, Asm, Reg, Rm};
use crate::exits::{Exit, Pending, Target};
use crate::faults::{FaultPoint, PinMove, Snap};
use crate::hooks::Due;
use crate::mxcsr::{Density, Place};
use crate::pins::{LONG, Pins, VectorPins, Vectors, WANTED, home, members, part};
use crate::recipes::{FlagExit, FlagRecipe};
use crate::state::{Kind, State};
use crate::x87;

/// Most ops of a block: a few roots per op must be countable in 16 bits.
const MAX_OPS: usize = 8192;

/// What the host supports.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// AVX: vector ops use VEX encodings throughout.
    pub avx: bool,
    /// AVX2, FMA and F16C: every vector op that has a VEX encoding.
    pub v3: bool,
    /// SHA.
    pub sha: bool,
    /// BMI2: shifts by a register without flags.
    pub bmi2: bool,
    /// BMI1 and LZCNT.
    pub lzcnt: bool,
    /// TZCNT.
    pub tzcnt: bool,
    /// POPCNT.
    pub popcnt: bool,
}

impl Host {
    /// Asks the processor.
    pub fn detect() -> Host {
        Host {
            avx: std::arch::is_x86_feature_detected!("avx"),
            v3: std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
                && std::arch::is_x86_feature_detected!("f16c"),
            sha: std::arch::is_x86_feature_detected!("sha"),
            bmi2: std::arch::is_x86_feature_detected!("bmi2"),
            lzcnt: std::arch::is_x86_feature_detected!("lzcnt"),
            tzcnt: std::arch::is_x86_feature_detected!("bmi1"),
            popcnt: std::arch::is_x86_feature_detected!("popcnt"),
        }
    }
}

/// What is known of the host's flags.
#[derive(Clone, Copy, Debug)]
pub struct HostFlags {
    /// The op whose result the host's flags describe, or [`NEVER`].
    pub host_op: u16,
    /// They are those of the guest's current flag definition too.
    pub host_current: bool,
}

/// A condition computed by the previous op, to be used by this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingCond {
    /// The value it stands for.
    pub op: usize,
    /// Host condition code.
    pub cc: u8,
}

/// Buffers that outlive a compilation.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(crate) asm: Asm,
    pub(crate) an: Analysis,
    pub(crate) st: State,
    /// Exits of the block.
    pub(crate) exits: Vec<Exit>,
    /// Side exits still to be written out.
    pub(crate) pending: Vec<Pending>,
    /// State at side exits.
    pub(crate) exit_snaps: Vec<Snap>,
    /// Flags at exits that can leave them unstored.
    pub(crate) exit_flags: Vec<FlagExit>,
    /// Pinned registers that are elsewhere at side exits.
    pub(crate) exit_moves: Vec<PinMove>,
    /// The same for vectors.
    pub(crate) exit_vector_moves: Vec<(Reg, Reg)>,
    /// What the block wants in vector registers where it is entered.
    pub(crate) wants: Vectors,
    /// Where the block begins when that is the case.
    pub(crate) head: usize,
    /// Places where the block can fault.
    pub(crate) faults: Vec<FaultPoint>,
    /// State at faults.
    pub(crate) fault_snaps: Vec<Snap>,
    /// 64-bit constants in snapshots.
    pub(crate) pool: Vec<u64>,
    pub(crate) done: Vec<bool>,
    /// Calls out of line, to be appended to the block.
    pub(crate) cold: Asm,
    pub(crate) dues: Vec<Due>,
}

/// No instruction's number.
const NO_INSN: i32 = i32::MIN;

/// The compilation of one block.
pub struct Compiler<'a> {
    pub(crate) arch: &'static dyn GuestArch,
    pub(crate) host: Host,
    pub(crate) block: &'a Block,
    pub(crate) asm: &'a mut Asm,
    pub(crate) an: &'a mut Analysis,
    pub(crate) st: &'a mut State,
    pub(crate) exits: &'a mut Vec<Exit>,
    pub(crate) pending: &'a mut Vec<Pending>,
    pub(crate) exit_snaps: &'a mut Vec<Snap>,
    pub(crate) exit_flags: &'a mut Vec<FlagExit>,
    pub(crate) exit_moves: &'a mut Vec<PinMove>,
    pub(crate) exit_vector_moves: &'a mut Vec<(Reg, Reg)>,
    pub(crate) wants: &'a mut Vectors,
    /// Whether an op may raise SIMD exceptions.
    pub(crate) head: &'a mut usize,
    pub(crate) faults: &'a mut Vec<FaultPoint>,
    pub(crate) fault_snaps: &'a mut Vec<Snap>,
    pub(crate) pool: &'a mut Vec<u64>,
    /// Ops whose value was bound ahead by an earlier op.
    pub(crate) done: &'a mut Vec<bool>,
    pub(crate) cold: &'a mut Asm,
    pub(crate) dues: &'a mut Vec<Due>,
    pub(crate) pins: &'a Pins,
    pub(crate) vectors: &'a VectorPins,
    pub(crate) target: Target,
    /// Current op.
    pub(crate) at: usize,
    /// Current guest instruction: number, pc, length; number is -1 before the first.
    pub(crate) insn: i32,
    pub(crate) pc: u64,
    pub(crate) insn_len: u64,
    pub(crate) flags: HostFlags,
    pub(crate) cond: Option<PendingCond>,
    /// Where the guest's MXCSR is.
    pub(crate) mxcsr: Place,
    pub(crate) density: Density,
    /// Where the guest's x87 state is.
    pub(crate) x87: x87::Place,
    /// What the guest's slots hold must stay in place, even if nothing needs it after the op.
    pub(crate) keep_slots: bool,
    /// The last instruction that had a helper change state.
    pub(crate) wrote_state: i32,
    /// The budget is up to date in the header, too.
    pub(crate) budget_stored: bool,
    /// The last counter op: its number, a register, and the address in it.
    pub(crate) counted: Option<(usize, Reg, u64)>,
}

impl<'a> Compiler<'a> {
    /// A compiler of `block`.
    pub fn new(
        arch: &'static dyn GuestArch,
        host: Host,
        block: &'a Block,
        (pins, vectors): (&'a Pins, &'a VectorPins),
        b: &'a mut Buffers,
        target: Target,
        density: Density,
    ) -> Compiler<'a> {
        b.asm.clear();
        b.exits.clear();
        b.pending.clear();
        b.exit_snaps.clear();
        b.exit_flags.clear();
        b.exit_moves.clear();
        b.exit_vector_moves.clear();
        b.faults.clear();
        b.fault_snaps.clear();
        b.pool.clear();
        b.done.clear();
        b.cold.clear();
        b.dues.clear();
        b.done.resize(block.insts.len(), false);
        Compiler {
            arch,
            host,
            block,
            asm: &mut b.asm,
            an: &mut b.an,
            st: &mut b.st,
            exits: &mut b.exits,
            pending: &mut b.pending,
            exit_snaps: &mut b.exit_snaps,
            exit_flags: &mut b.exit_flags,
            exit_moves: &mut b.exit_moves,
            exit_vector_moves: &mut b.exit_vector_moves,
            wants: &mut b.wants,
            head: &mut b.head,
            faults: &mut b.faults,
            fault_snaps: &mut b.fault_snaps,
            pool: &mut b.pool,
            done: &mut b.done,
            cold: &mut b.cold,
            dues: &mut b.dues,
            pins,
            vectors,
            target,
            at: 0,
            insn: -1,
            pc: block.pc,
            insn_len: 0,
            flags: HostFlags { host_op: NEVER, host_current: false },
            cond: None,
            mxcsr: Compiler::mxcsr_at_start(density),
            density,
            x87: Compiler::x87_at_start(target.x87),
            budget_stored: false,
            wrote_state: NO_INSN,
            keep_slots: false,
            counted: None,
        }
    }

    /// Compiles the block into the buffers; with a recipe, for entering it with these flags.
    pub fn run(&mut self, flags: Option<&FlagRecipe>) -> Result<(), Unsupported> {
        let n = self.block.insts.len();
        if n == 0 || n > MAX_OPS || !self.block.insts[n - 1].op.is_terminator() {
            return Err(Unsupported::Malformed);
        }
        self.an.x87.select(self.block, self.arch.helpers(), self.x87_unit());
        self.an.simd_traps = self.target.simd_traps;
        self.an.run(self.block, self.arch.helpers(), self.arch.cpu_bytes(), self.vectors)?;
        self.st.reset(&self.an.uses, self.arch.cpu_bytes() / 8 + 8);
        let bits = self.wide_bits(slots::BIAS);
        self.st.seed(self.pins, bits, &self.an.units);
        *self.wants = self.wanted();
        self.st.seed_vectors(self.vectors, *self.wants, &self.an.units);
        if let Some(recipe) = flags {
            self.seed_flags(recipe);
        }
        self.emit_head();
        for at in 0..n {
            self.at = at;
            self.st.gpr_lock = 0;
            self.st.xmm_lock = 0;
            if self.st.roots.len() > 60_000 {
                return Err(Unsupported::TooLarge);
            }
            if self.an.x87.is_folded(at) {
                continue;
            }
            if !self.an.live[at] || self.done[at] {
                if self.done[at] && self.an.live[at] {
                    self.release_operands(at);
                }
                continue;
            }
            let inst = self.block.insts[at];
            self.op(&inst)?;
        }
        self.emit_dues();
        self.emit_stubs()
    }

    fn release_operands(&mut self, at: usize) {
        let inst = self.block.insts[at];
        let st = &mut *self.st;
        inst.for_each_operand(|v| st.release(v.index()));
    }

    fn op(&mut self, i: &Inst) -> Result<(), Unsupported> {
        if i.ty == Ty::V256 && !self.host.avx {
            return Err(Unsupported::Op(i.op));
        }
        match i.op {
            Op::InsnStart => {
                self.insn = i32::from(i.sub);
                self.pc = i.imm;
                self.insn_len = u64::from(i.a.0);
            }
            Op::Const => {
                let r = self.st.new_root(
                    Kind::Const(i.imm),
                    if i.ty.is_int() { Ty::I64 } else { i.ty },
                    (64 - (i.imm & i.ty.mask()).leading_zeros()) as u8,
                );
                if i.ty.is_int() {
                    self.st.root(r).kind = Kind::Const(i.imm & i.ty.mask());
                }
                self.st.bind(self.at, r);
            }
            Op::Get => {
                self.x87_before_slot(i);
                self.get(i)?
            }
            Op::Put => {
                self.x87_before_slot(i);
                self.put(i)?
            }
            Op::Add | Op::Sub | Op::And | Op::Or | Op::Xor => self.binary(i)?,
            Op::Shl | Op::Shr | Op::Sar | Op::Rol | Op::Ror => self.shift(i)?,
            Op::Mul => self.mul(i)?,
            Op::MulHiU | Op::MulHiS => self.mul_high(i)?,
            Op::DivU | Op::RemU | Op::DivS | Op::RemS => self.divide(i)?,
            Op::Not | Op::Neg => self.not_neg(i)?,
            Op::Bswap | Op::Clz | Op::Ctz | Op::Popcnt => self.bits(i)?,
            Op::Zext if i.ty == Ty::V256 => self.vec_zext(i)?,
            Op::Zext | Op::Sext | Op::Trunc => self.convert(i)?,
            Op::Cmp => self.compare(i)?,
            Op::Select => self.select(i)?,
            Op::Lea => self.lea(i)?,
            Op::Load => self.load(i)?,
            Op::Store => self.store(i)?,
            Op::ProbeWrite => self.probe_write(i)?,
            Op::AtomicRmw => self.atomic_rmw(i)?,
            Op::AtomicCas => self.atomic_cas(i)?,
            Op::Fence => {
                self.asm.byte(0x0f);
                self.asm.byte(0xae);
                self.asm.byte(0xf0);
            }
            Op::FlagsSet => self.flags_set(i)?,
            Op::FlagsCond => self.flags_cond(i)?,
            Op::FlagsGet => self.flags_get(i)?,
            Op::Vec => {
                if i.vec_op().uses_mxcsr() {
                    self.unpark_mxcsr();
                }
                self.vec(i)?
            }
            Op::Call => match self.an.x87.native(self.at) {
                Some(op) => self.native(i, op)?,
                None => self.helper(i)?,
            },
            Op::ExitIf => self.exit_if(i)?,
            Op::Jump => self.jump(i)?,
            Op::JumpInd => self.jump_ind(i)?,
            Op::Trap => self.trap(i)?,
            Op::ReturnHint => {}
            Op::Hook => self.hook(i)?,
            Op::Counter => self.counter(i)?,
        }
        Ok(())
    }

    /// The vector slots to have in registers at the block's start: those it accesses before it
    /// calls anything.
    fn wanted(&self) -> Vectors {
        let mut wanted = 0;
        for n in members(self.an.vectors) {
            let unit = self.vectors.unit(n);
            let units = &self.an.units[unit..unit + part(n).bytes() as usize / 8];
            let first = units.iter().fold(units[0], |a, b| a.join(*b));
            // Loading all of a slot that was last written in parts takes long.
            let worth = n < LONG || !first.kill();
            if worth && first.at() < self.an.first_call {
                wanted |= 1 << n;
            }
            if Vectors::count_ones(wanted) >= WANTED {
                break;
            }
        }
        wanted
    }

    /// The way in, and the budget check.
    fn emit_head(&mut self) {
        for n in members(*self.wants) {
            self.vec_load(part(n), home(n), cpu_mem(self.vectors.slot(n)));
        }
        *self.head = self.asm.len();
        let n = self.block.insns.len() as i32;
        self.asm.alu_imm(Alu::Sub, Ty::I64, Rm::R(BUDGET), n);
        let at = self.asm.jcc(8);
        let flags = self.flag_snaps();
        self.pending.push(Pending::budget(at, flags));
    }

    /// Guest instructions of the block.
    pub fn insn_count(&self) -> i32 {
        self.block.insns.len() as i32
    }

    /// Whether this value's only use is the next op, as its condition.
    pub fn used_as_next_condition(&self) -> bool {
        let next = self.at + 1;
        self.an.uses[self.at] == 1
            && usize::from(self.an.user[self.at]) == next
            && matches!(self.block.insts[next].op, Op::ExitIf | Op::Select)
            && self.block.insts[next].a == Val(self.at as u16)
    }

    /// Yields the current op's value from a host condition: for the next op, or as 0 or 1.
    pub fn define_cond(&mut self, cc: u8) -> Result<(), Unsupported> {
        if self.used_as_next_condition() {
            self.cond = Some(PendingCond { op: self.at, cc });
            return Ok(());
        }
        let d = self.alloc_gpr()?;
        self.asm.setcc(cc, d);
        self.define(d, 64);
        Ok(())
    }
}
