//! Integer and system instructions: which function lifts which mnemonic.

use emu_ir::{Cond, FlagKind, Op, RmwKind, TrapKind};
use iced_x86::{ConditionCode, Instruction, Mnemonic as M, OpKind};

use super::shift::Rotate;
use super::{
    Lifter, Mode, arith, atomic, bcd, bits, bmi, control, data, logic, muldiv, shift, stack,
    string, system,
};
use crate::Level;
use crate::helper::Helper;
use crate::helper::xsave::COMPACTED;
use crate::state::slot;

/// The IR condition of a conditional instruction.
fn condition(i: &Instruction) -> Cond {
    match i.condition_code() {
        ConditionCode::o => Cond::O,
        ConditionCode::no => Cond::No,
        ConditionCode::b => Cond::B,
        ConditionCode::ae => Cond::Ae,
        ConditionCode::e => Cond::E,
        ConditionCode::ne => Cond::Ne,
        ConditionCode::be => Cond::Be,
        ConditionCode::a => Cond::A,
        ConditionCode::s => Cond::S,
        ConditionCode::ns => Cond::Ns,
        ConditionCode::p => Cond::P,
        ConditionCode::np => Cond::Np,
        ConditionCode::l => Cond::L,
        ConditionCode::ge => Cond::Ge,
        ConditionCode::le => Cond::Le,
        _ => Cond::G,
    }
}

/// Lifts one instruction of this family; false when it is not one.
pub(super) fn lift(l: &mut Lifter, i: &Instruction) -> bool {
    let only32 = l.mode == Mode::Bits32;
    match i.mnemonic() {
        // Arithmetic.
        M::Add => arith::binary(l, i, Op::Add, FlagKind::Add, RmwKind::Add),
        M::Sub => arith::binary(l, i, Op::Sub, FlagKind::Sub, RmwKind::Sub),
        M::Adc => arith::with_carry(l, i, Op::Add, FlagKind::Adc, RmwKind::Add),
        M::Sbb => arith::with_carry(l, i, Op::Sub, FlagKind::Sbb, RmwKind::Sub),
        M::Cmp => arith::cmp(l, i),
        M::Inc => arith::step(l, i, Op::Add, FlagKind::Inc, RmwKind::Add),
        M::Dec => arith::step(l, i, Op::Sub, FlagKind::Dec, RmwKind::Sub),
        M::Neg => arith::neg(l, i),
        M::Mul => muldiv::mul(l, i),
        M::Imul => muldiv::imul(l, i),
        M::Div => muldiv::div(l, i, Op::DivU, Op::RemU),
        M::Idiv => muldiv::div(l, i, Op::DivS, Op::RemS),

        // Logic.
        M::And => logic::binary(l, i, Op::And, RmwKind::And),
        M::Or => logic::binary(l, i, Op::Or, RmwKind::Or),
        M::Xor => logic::binary(l, i, Op::Xor, RmwKind::Xor),
        M::Test => logic::test(l, i),
        M::Not => logic::not(l, i),

        // Shifts and rotates.
        M::Shl | M::Sal => shift::shift(l, i, Op::Shl, FlagKind::Shl),
        M::Shr => shift::shift(l, i, Op::Shr, FlagKind::Shr),
        M::Sar => shift::shift(l, i, Op::Sar, FlagKind::Sar),
        M::Rol => shift::rotate(l, i, Op::Rol, FlagKind::Rol),
        M::Ror => shift::rotate(l, i, Op::Ror, FlagKind::Ror),
        M::Rcl => shift::through_carry(l, i, Rotate::Left),
        M::Rcr => shift::through_carry(l, i, Rotate::Right),
        M::Shld => shift::double(l, i, Rotate::Left),
        M::Shrd => shift::double(l, i, Rotate::Right),

        // Bits.
        M::Bt => bits::bt(l, i, None),
        M::Bts => bits::bt(l, i, Some(RmwKind::Or)),
        M::Btr => bits::bt(l, i, Some(RmwKind::And)),
        M::Btc => bits::bt(l, i, Some(RmwKind::Xor)),
        M::Bsf => bits::scan(l, i, false),
        M::Bsr => bits::scan(l, i, true),
        // Processors without them ignore the prefix.
        M::Lzcnt | M::Tzcnt if Level::current() < Level::V3 => {
            bits::scan(l, i, i.mnemonic() == M::Lzcnt);
        }
        M::Lzcnt => bits::count_zeros(l, i, Op::Clz),
        M::Tzcnt => bits::count_zeros(l, i, Op::Ctz),
        M::Andn => bmi::andn(l, i),
        M::Blsi => bmi::lowest(l, i, bmi::Lowest::Isolate),
        M::Blsmsk => bmi::lowest(l, i, bmi::Lowest::Mask),
        M::Blsr => bmi::lowest(l, i, bmi::Lowest::Reset),
        M::Bextr if i.op2_kind() == OpKind::Register => bmi::bextr(l, i),
        M::Bzhi => bmi::bzhi(l, i),
        M::Mulx => bmi::mulx(l, i),
        M::Rorx => bmi::rorx(l, i),
        M::Sarx => bmi::shift(l, i, Op::Sar),
        M::Shlx => bmi::shift(l, i, Op::Shl),
        M::Shrx => bmi::shift(l, i, Op::Shr),
        M::Pdep => bmi::scatter(l, i, Helper::Pdep),
        M::Pext => bmi::scatter(l, i, Helper::Pext),
        M::Adcx => bmi::add_carry(l, i, false),
        M::Adox => bmi::add_carry(l, i, true),
        M::Popcnt => bits::popcnt(l, i),
        M::Crc32 => bits::crc32(l, i),

        // Data movement.
        M::Mov | M::Movnti => return data::mov(l, i),
        M::Movzx => data::extend(l, i, Op::Zext),
        M::Movsx | M::Movsxd => data::extend(l, i, Op::Sext),
        M::Lea => data::lea(l, i),
        M::Movbe => data::movbe(l, i),
        M::Bswap => data::bswap(l, i),
        M::Cbw | M::Cwde | M::Cdqe => data::sign_extend_acc(l, i),
        M::Cwd | M::Cdq | M::Cqo => data::sign_fill_dx(l, i),
        M::Xlatb => data::xlat(l, i),
        M::Lds | M::Les | M::Lss | M::Lfs | M::Lgs => data::load_far_pointer(l, i),
        M::Seto
        | M::Setno
        | M::Setb
        | M::Setae
        | M::Sete
        | M::Setne
        | M::Setbe
        | M::Seta
        | M::Sets
        | M::Setns
        | M::Setp
        | M::Setnp
        | M::Setl
        | M::Setge
        | M::Setle
        | M::Setg => data::setcc(l, i, condition(i)),
        M::Cmovo
        | M::Cmovno
        | M::Cmovb
        | M::Cmovae
        | M::Cmove
        | M::Cmovne
        | M::Cmovbe
        | M::Cmova
        | M::Cmovs
        | M::Cmovns
        | M::Cmovp
        | M::Cmovnp
        | M::Cmovl
        | M::Cmovge
        | M::Cmovle
        | M::Cmovg => data::cmov(l, i, condition(i)),

        // Exchanges.
        M::Xchg => atomic::xchg(l, i),
        M::Xadd => atomic::xadd(l, i),
        M::Cmpxchg => atomic::cmpxchg(l, i),
        M::Cmpxchg8b => atomic::cmpxchg_wide(l, i, Helper::Cmpxchg8b),
        M::Cmpxchg16b => atomic::cmpxchg_wide(l, i, Helper::Cmpxchg16b),

        // Stack.
        M::Push => stack::push(l, i),
        M::Pop => return stack::pop(l, i),
        M::Pusha | M::Pushad => stack::push_all(l, i),
        M::Popa | M::Popad => stack::pop_all(l, i),
        M::Pushf | M::Pushfd | M::Pushfq => stack::pushf(l, i),
        M::Popf | M::Popfd | M::Popfq => stack::popf(l, i),
        M::Enter => stack::enter(l, i),
        M::Leave => stack::leave(l, i),

        // Control.
        M::Jmp => return control::jmp(l, i),
        M::Call => return control::call(l, i),
        M::Ret => control::ret(l, i),
        M::Jo
        | M::Jno
        | M::Jb
        | M::Jae
        | M::Je
        | M::Jne
        | M::Jbe
        | M::Ja
        | M::Js
        | M::Jns
        | M::Jp
        | M::Jnp
        | M::Jl
        | M::Jge
        | M::Jle
        | M::Jg => control::jcc(l, i, condition(i)),
        M::Jcxz | M::Jecxz | M::Jrcxz => control::jcxz(l, i),
        M::Loop => control::loop_(l, i, None),
        M::Loope => control::loop_(l, i, Some(Cond::E)),
        M::Loopne => control::loop_(l, i, Some(Cond::Ne)),
        M::Int3 => l.trap(TrapKind::Breakpoint),
        M::Int1 => l.trap(TrapKind::Debug),
        M::Int if i.immediate8() == 3 => l.trap(TrapKind::Breakpoint),
        M::Int if i.immediate8() == 4 => l.trap(TrapKind::Overflow),
        M::Int if i.immediate8() == 0x80 => l.trap(TrapKind::Int80),
        M::Into => control::into(l),
        M::Bound => control::bound(l, i),
        M::Syscall if !only32 => control::syscall(l),
        M::Sysenter if only32 => l.trap(TrapKind::Sysenter),

        // Strings.
        M::Movsb | M::Movsw | M::Movsd | M::Movsq if i.is_string_instruction() => {
            string::movs(l, i);
        }
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq if i.is_string_instruction() => {
            string::cmps(l, i);
        }
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => string::scas(l, i),
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => string::lods(l, i),
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => string::stos(l, i),

        // Flags.
        M::Sahf | M::Lahf if !only32 && Level::current() < Level::V2 => return false,
        M::Sahf => system::sahf(l),
        M::Lahf => system::lahf(l),
        M::Clc => system::set_carry(l, system::Carry::Clear),
        M::Stc => system::set_carry(l, system::Carry::Set),
        M::Cmc => system::set_carry(l, system::Carry::Complement),
        M::Cld => system::set_direction(l, false),
        M::Std => system::set_direction(l, true),
        M::Salc => bcd::salc(l),

        // Decimal.
        M::Aaa => bcd::adjust(l, Helper::Aaa),
        M::Aas => bcd::adjust(l, Helper::Aas),
        M::Daa => bcd::adjust(l, Helper::Daa),
        M::Das => bcd::adjust(l, Helper::Das),
        M::Aam => bcd::aam(l, i),
        M::Aad => bcd::aad(l, i),

        // No effect on user state.
        M::Nop
        | M::Pause
        | M::Endbr64
        | M::Endbr32
        // Bound checks, shadow stacks and cache hints are no-ops where they are absent.
        | M::Bndcl
        | M::Bndcn
        | M::Bndcu
        | M::Bndldx
        | M::Bndmk
        | M::Bndmov
        | M::Bndstx
        | M::Cldemote
        | M::Prefetchit0
        | M::Prefetchit1
        | M::Rdsspd
        | M::Rdsspq
        | M::Prefetch
        | M::Prefetchw
        | M::Prefetchwt1
        | M::Prefetchnta
        | M::Prefetcht0
        | M::Prefetcht1
        | M::Prefetcht2
        | M::Reservednop
        | M::Lfence
        | M::Sfence => {}
        M::Mfence => l.b.fence(),
        M::Clflush | M::Clflushopt => system::clflush(l, i),

        // System.
        M::Cpuid => system::cpuid(l),
        M::Rdtsc => system::rdtsc(l, false),
        M::Rdtscp => system::rdtsc(l, true),
        M::Xgetbv => system::xgetbv(l),
        M::Xsave | M::Xsaveopt => system::xsave(l, i, Helper::Xsave, 0, false),
        M::Xsave64 | M::Xsaveopt64 => system::xsave(l, i, Helper::Xsave, 0, true),
        M::Xsavec => system::xsave(l, i, Helper::Xsave, COMPACTED, false),
        M::Xsavec64 => system::xsave(l, i, Helper::Xsave, COMPACTED, true),
        M::Xrstor => system::xsave(l, i, Helper::Xrstor, 0, false),
        M::Xrstor64 => system::xsave(l, i, Helper::Xrstor, 0, true),
        M::Rdrand => system::random(l, i, Helper::Rdrand),
        M::Rdseed => system::random(l, i, Helper::Rdseed),
        M::Rdfsbase => system::read_base(l, i, slot::FS_BASE),
        M::Rdgsbase => system::read_base(l, i, slot::GS_BASE),
        M::Wrfsbase => system::write_base(l, i, slot::FS_BASE),
        M::Wrgsbase => system::write_base(l, i, slot::GS_BASE),
        M::Arpl => system::arpl(l, i),
        M::Lar => system::lar(l, i, Helper::Lar),
        M::Lsl => system::lar(l, i, Helper::Lsl),
        M::Verr => system::verify(l, i, Helper::Verr),
        M::Verw => system::verify(l, i, Helper::Verw),

        // Privileged, or refused to user code (the descriptor-table reads by UMIP).
        M::Int
        | M::Hlt
        | M::Cli
        | M::Sti
        | M::In
        | M::Out
        | M::Insb
        | M::Insw
        | M::Insd
        | M::Outsb
        | M::Outsw
        | M::Outsd
        | M::Lgdt
        | M::Lidt
        | M::Lldt
        | M::Ltr
        | M::Lmsw
        | M::Clts
        | M::Invd
        | M::Wbinvd
        | M::Invlpg
        | M::Rdmsr
        | M::Wrmsr
        | M::Rdpmc
        | M::Sysexit
        | M::Sysexitq
        | M::Sysret
        | M::Sysretq
        | M::Swapgs
        | M::Xsetbv
        | M::Sgdt
        | M::Sidt
        | M::Sldt
        | M::Str
        | M::Smsw => l.trap(TrapKind::Protection),

        // Far transfers within the flat code segment.
        M::Retf => control::retf(l, i),
        M::Iret | M::Iretd | M::Iretq => control::iret(l, i),
        _ => return false,
    }
    true
}
