//! Masked moves and gathers (AVX, AVX2): one access per lane whose mask bit is set.

use emu_cpu::{CpuHeader, read_guest, write_guest};
use emu_mem::MemFault;

use super::x86;
use crate::X86Cpu;

/// What a masked move moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Masked {
    /// The vector register loaded or stored.
    pub register: u8,
    /// The vector register whose lanes' top bits are the mask.
    pub mask: u8,
    /// Bytes of a lane: 4 or 8.
    pub lane: u8,
    /// Bytes of the registers: 16 or 32.
    pub bytes: u8,
    /// Addresses wrap modulo 2^32.
    pub wrap32: bool,
}

impl Masked {
    /// As an argument of the helpers.
    pub const fn pack(self) -> u64 {
        u64::from_le_bytes([
            self.register,
            self.mask,
            self.lane,
            self.bytes,
            self.wrap32 as u8,
            0,
            0,
            0,
        ])
    }

    fn unpack(x: u64) -> Masked {
        let [register, mask, lane, bytes, wrap32, ..] = x.to_le_bytes();
        Masked { register: register & 15, mask: mask & 15, lane, bytes, wrap32: wrap32 != 0 }
    }

    /// Offset and address of each lane to move, and how many bytes it has.
    fn lanes(self, cpu: &X86Cpu, at: u64) -> impl Iterator<Item = (usize, u64, usize)> + use<> {
        let mask = cpu.vec[usize::from(self.mask)].0;
        let lane = usize::from(self.lane);
        let wrap = if self.wrap32 { u64::from(u32::MAX) } else { u64::MAX };
        (0..usize::from(self.bytes))
            .step_by(lane)
            .filter(move |n| mask[n + lane - 1] & 0x80 != 0)
            .map(move |n| (n, at.wrapping_add(n as u64) & wrap, lane))
    }
}

/// `vmaskmov`, `vpmaskmov` from memory: (address, a packed [`Masked`]). Other lanes become zero.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn load_lanes(
    cpu: *mut CpuHeader,
    at: u64,
    what: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let what = Masked::unpack(what);
    let mut loaded = [0; 32];
    let all = what.lanes(cpu, at).try_for_each(|(n, at, lane)| {
        let to = &mut loaded[n..n + lane];
        emu_mem::access::read(at, to)
    });
    // Reported only when all can be read: an access that faults is none.
    let all = all.and_then(|()| {
        what.lanes(cpu, at)
            .try_for_each(|(n, at, lane)| read_guest(&mut cpu.hdr, at, &mut loaded[n..n + lane]))
    });
    match all {
        Ok(()) => cpu.vec[usize::from(what.register)].0 = loaded,
        Err(fault) => cpu.hdr.raise_fault(fault),
    }
    0
}

/// `vmaskmov`, `vpmaskmov` to memory: (address, a packed [`Masked`]).
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn store_lanes(
    cpu: *mut CpuHeader,
    at: u64,
    what: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    let what = Masked::unpack(what);
    let data = cpu.vec[usize::from(what.register)].0;
    let probe = |(_, at, lane): (usize, u64, usize)| {
        emu_mem::access::probe_write(at)?;
        emu_mem::access::probe_write(at.wrapping_add(lane as u64 - 1))
    };
    let all = what.lanes(cpu, at).try_for_each(probe).and_then(|()| {
        what.lanes(cpu, at)
            .try_for_each(|(n, at, lane)| write_guest(&mut cpu.hdr, at, &data[n..n + lane]))
    });
    if let Err(fault) = all {
        cpu.hdr.raise_fault(fault);
    }
    0
}

/// What a gather gathers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gather {
    /// The vector register gathered into.
    pub dest: u8,
    /// The vector register whose lanes' top bits are the mask; its lanes become 0 one by one.
    pub mask: u8,
    /// The vector register of the indices.
    pub indices: u8,
    /// Bytes of a lane: 4 or 8.
    pub lane: u8,
    /// Bytes of an index: 4 or 8.
    pub index: u8,
    /// Left shift of the indices.
    pub shift: u8,
    /// Bytes of the wider one of the registers: 16 or 32.
    pub bytes: u8,
    /// Offsets wrap modulo 2^32.
    pub wrap32: bool,
    /// Addresses wrap modulo 2^32.
    pub mode32: bool,
}

impl Gather {
    /// As an argument of the helper.
    pub const fn pack(self) -> u64 {
        u64::from_le_bytes([
            self.dest,
            self.mask,
            self.indices,
            self.lane,
            self.index,
            self.shift,
            self.bytes,
            self.wrap32 as u8 | (self.mode32 as u8) << 1,
        ])
    }

    fn unpack(x: u64) -> Gather {
        let [dest, mask, indices, lane, index, shift, bytes, wrap] = x.to_le_bytes();
        Gather {
            dest: dest & 15,
            mask: mask & 15,
            indices: indices & 15,
            lane,
            index,
            shift,
            bytes,
            wrap32: wrap & 1 != 0,
            mode32: wrap & 2 != 0,
        }
    }

    fn run(self, cpu: &mut X86Cpu, offset: u64, segment: u64) -> Result<(), MemFault> {
        let (lane, index) = (usize::from(self.lane), usize::from(self.index));
        let count = usize::from(self.bytes) / lane.max(index);
        let (dest, mask) = (usize::from(self.dest), usize::from(self.mask));
        let indices = cpu.vec[usize::from(self.indices)].0;
        let narrow = |x: u64, yes: bool| if yes { x & u64::from(u32::MAX) } else { x };
        for n in 0..count {
            let (from, to) = (n * lane, (n + 1) * lane);
            if cpu.vec[mask].0[to - 1] & 0x80 != 0 {
                let mut bytes = [0; 8];
                bytes[..index].copy_from_slice(&indices[n * index..(n + 1) * index]);
                if index == 4 && bytes[3] & 0x80 != 0 {
                    bytes[4..].fill(0xff);
                }
                let scaled = u64::from_le_bytes(bytes) << self.shift;
                let offset = narrow(offset.wrapping_add(scaled), self.wrap32);
                let at = narrow(segment.wrapping_add(offset), self.mode32);
                let mut loaded = [0; 8];
                read_guest(&mut cpu.hdr, at, &mut loaded[..lane])?;
                cpu.vec[dest].0[from..to].copy_from_slice(&loaded[..lane]);
            }
            cpu.vec[mask].0[from..to].fill(0);
        }
        cpu.vec[dest].0[count * lane..].fill(0);
        cpu.vec[mask].0 = [0; 32];
        Ok(())
    }
}

/// `vgather*`, `vpgather*`: (offset without the index, segment base, a packed [`Gather`]). A fault
/// leaves the lanes before it gathered and their mask cleared.
///
/// # Safety
/// See [`emu_cpu::HelperFn`].
pub unsafe extern "C" fn gather(
    cpu: *mut CpuHeader,
    offset: u64,
    segment: u64,
    what: u64,
    _: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let cpu = unsafe { x86(cpu) };
    if let Err(fault) = Gather::unpack(what).run(cpu, offset, segment) {
        cpu.hdr.raise_fault(fault);
    }
    0
}
