//! Any instruction: everything written gets all labels of everything read.

use iced_x86::{InstructionInfo, OpAccess, Register, UsedMemory};

use super::{Builder, mask_of};
use crate::recipe::{Assign, Place, Value};
use crate::registers::{Bytes, bytes_of};
use crate::run::ADDRESSES;

/// Adds what the instruction does, as far as it is known.
pub fn rule(b: &mut Builder<'_>, info: &InstructionInfo) {
    let memory: Vec<(Place, OpAccess)> = info
        .used_memory()
        .iter()
        .take(ADDRESSES)
        .map(|used| (place(b, used), used.access()))
        .collect();
    let mut from: Vec<Place> = memory.iter().filter(|m| reads(m.1)).map(|m| m.0).collect();
    for used in info.used_registers() {
        let register = used.register();
        if reads(used.access()) && !only_address(b, info, register) {
            from.extend(bytes_of(register).map(Place::Register));
        }
    }
    let assign = |to: Place, len: u16, access: OpAccess| {
        let value = if from.is_empty() { Value::Clean } else { Value::All(from.clone()) };
        let keep = matches!(access, OpAccess::CondWrite | OpAccess::ReadCondWrite);
        Assign { to, len, value, keep }
    };
    let mut assigns = Vec::new();
    for used in info.used_registers() {
        let register = used.register();
        let stack = register.full_register() == Register::RSP;
        if !writes(used.access()) || stack {
            continue;
        }
        if let Some(bytes) = bytes_of(register) {
            let len = narrow(b, register).unwrap_or(bytes.len);
            let bytes = Bytes { len: bytes.len.max(len), ..bytes };
            assigns.push(assign(Place::Register(bytes), len, used.access()));
        }
    }
    for (to, access) in memory {
        if writes(access) {
            assigns.push(assign(to, to.len(), access));
        }
    }
    b.assigns = assigns;
}

fn reads(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

/// Whether a register serves only as part of an address.
fn only_address(b: &Builder<'_>, info: &InstructionInfo, register: Register) -> bool {
    let full = register.full_register();
    let operand = (0..b.i.op_count()).any(|n| b.i.op_register(n).full_register() == full);
    !operand
        && info
            .used_memory()
            .iter()
            .any(|m| m.base().full_register() == full || m.index().full_register() == full)
}

/// The length of the result where less is computed than is written: 32-bit results clear the rest of a 64-bit
/// register, VEX results that of a vector register.
fn narrow(b: &Builder<'_>, written: Register) -> Option<u16> {
    let operand = (0..b.i.op_count())
        .map(|n| b.i.op_register(n))
        .find(|r| *r != Register::None && r.full_register() == written.full_register())?;
    let smaller = operand.is_gpr32() && written.is_gpr64()
        || b.vex && operand.is_vector_register() && written.is_vector_register();
    smaller.then(|| operand.size() as u16)
}

/// A memory operand.
fn place(b: &mut Builder<'_>, used: &UsedMemory) -> Place {
    let (base, index) = (used.base(), used.index());
    let absolute = matches!(base, Register::RIP | Register::EIP);
    let base = if absolute { Register::None } else { base };
    let mask = match [base, index].into_iter().find(|r| r.is_gpr()) {
        Some(register) => mask_of(register),
        None if b.wide => u64::MAX,
        None => 0xffff_ffff,
    };
    let len = used.memory_size().size() as u16;
    let scale = used.scale();
    if index.is_vector_register() {
        return b.memory(len);
    }
    b.address(used.segment(), base, index, scale, used.displacement(), mask, len)
}
