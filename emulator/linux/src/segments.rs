//! Segment selectors as the kernel manages them: the three thread-area entries of the descriptor
//! table (GDT entries 12 to 14 on an x86-64 kernel), and the local descriptor table of a process.
//!
//! Source of facts: arch/x86/kernel/{tls,ldt}.c.

use emu_x86::X86Cpu;
use emu_x86::state::{TlsDescriptor, seg};

use crate::Errno;

/// First thread-area entry.
pub const FIRST_TLS: u32 = 12;

/// Bits of `struct user_desc`'s flag word (arch/x86/include/uapi/asm/ldt.h).
mod desc {
    pub const SEG_32BIT: u32 = 1;
    pub const READ_EXEC_ONLY: u32 = 1 << 3;
    pub const NOT_PRESENT: u32 = 1 << 5;
    /// Contents 0 or 1: data; 2 and 3: code.
    pub const CODE: u32 = 1 << 2;
    pub const CONFORMING: u32 = 3 << 1;
    pub const USEABLE: u32 = 1 << 6;
}

/// `struct user_desc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UserDesc {
    /// Entry number, or all ones for "any free one".
    pub entry: u32,
    /// Base address.
    pub base: u32,
    /// Limit in bytes or pages.
    pub limit: u32,
    /// Flag bits.
    pub flags: u32,
}

impl UserDesc {
    /// From its 16 bytes.
    pub fn from_bytes(b: [u8; 16]) -> UserDesc {
        let w = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        UserDesc { entry: w(0), base: w(4), limit: w(8), flags: w(12) }
    }

    /// To its 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut b = [0; 16];
        for (i, w) in [self.entry, self.base, self.limit, self.flags].into_iter().enumerate() {
            b[4 * i..4 * i + 4].copy_from_slice(&w.to_le_bytes());
        }
        b
    }

    /// Whether it clears its entry: all zero, or only "read-only" and "not present" set.
    fn is_empty(&self) -> bool {
        let zero = self.base == 0 && self.limit == 0 && self.flags & 0x7f == 0;
        zero || self.is_empty_ldt()
    }

    /// Whether it clears an entry of a local table.
    fn is_empty_ldt(&self) -> bool {
        let flags = desc::READ_EXEC_ONLY | desc::NOT_PRESENT;
        self.base == 0 && self.limit == 0 && self.flags & 0x7f == flags
    }
}

/// `set_thread_area`: installs a descriptor; the entry used.
pub fn set_thread_area(cpu: &mut X86Cpu, d: UserDesc) -> Result<u32, Errno> {
    if !d.is_empty() && (d.flags & desc::SEG_32BIT == 0 || d.flags & desc::CODE != 0) {
        return Err(Errno::EINVAL);
    }
    let entry = if d.entry == u32::MAX {
        let free = cpu.tls.iter().position(|t| *t == TlsDescriptor::default());
        FIRST_TLS + free.ok_or(Errno::ESRCH)? as u32
    } else {
        d.entry
    };
    let slot = entry
        .checked_sub(FIRST_TLS)
        .and_then(|i| cpu.tls.get_mut(i as usize))
        .ok_or(Errno::EINVAL)?;
    *slot = if d.is_empty() {
        TlsDescriptor::default()
    } else {
        TlsDescriptor { base: d.base, limit: d.limit, flags: d.flags & 0x7f, pad: 0 }
    };
    // Segments that use the entry are reloaded.
    for s in [seg::FS, seg::GS] {
        let selector = cpu.selectors[s];
        if selector == (entry << 3 | 3) as u16 {
            load(cpu, s, selector);
        }
    }
    Ok(entry)
}

/// `get_thread_area`.
pub fn get_thread_area(cpu: &X86Cpu, entry: u32) -> Result<UserDesc, Errno> {
    let t =
        entry.checked_sub(FIRST_TLS).and_then(|i| cpu.tls.get(i as usize)).ok_or(Errno::EINVAL)?;
    let empty = *t == TlsDescriptor::default();
    let flags = if empty { desc::READ_EXEC_ONLY | desc::NOT_PRESENT } else { t.flags };
    Ok(UserDesc { entry, base: t.base, limit: t.limit, flags })
}

/// Entries of a local descriptor table.
const LDT_ENTRIES: usize = 8192;

/// `modify_ldt` with a new descriptor for `table`. The `first` form of the call knows no "useable" bit.
pub fn set_ldt(table: &mut Vec<TlsDescriptor>, d: UserDesc, first: bool) -> Result<(), Errno> {
    let entry = d.entry as usize;
    if entry >= LDT_ENTRIES {
        return Err(Errno::EINVAL);
    }
    let code = d.flags & desc::CODE != 0;
    if d.flags & desc::CONFORMING == desc::CONFORMING && (first || d.flags & desc::NOT_PRESENT == 0)
    {
        return Err(Errno::EINVAL);
    }
    let mut new = TlsDescriptor::default();
    if !(d.is_empty_ldt() || first && d.base == 0 && d.limit == 0) {
        if d.flags & desc::SEG_32BIT == 0 || code && d.flags & desc::NOT_PRESENT == 0 {
            return Err(no_such_segment());
        }
        let known = if first { desc::USEABLE - 1 } else { 2 * desc::USEABLE - 1 };
        let limit = d.limit & 0xf_ffff;
        new = TlsDescriptor { base: d.base, limit, flags: d.flags & known, pad: 0 };
    }
    table.resize(table.len().max(entry + 1), TlsDescriptor::default());
    table[entry] = new;
    Ok(())
}

/// Says once that a program wanted a segment that the emulator cannot execute or address by.
#[cold]
fn no_such_segment() -> Errno {
    use std::sync::Once;
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!("modify_ldt: code and 16-bit segments are refused with EINVAL");
    });
    Errno::EINVAL
}

/// Loads a selector as the kernel does for a program: an invalid one becomes null.
pub fn load(cpu: &mut X86Cpu, segment: usize, selector: u16) {
    let entry = u32::from(selector >> 3);
    let own = if selector & 4 != 0 {
        cpu.ldt.and_then(|ldt| ldt.get(entry as usize))
    } else {
        entry.checked_sub(FIRST_TLS).and_then(|i| cpu.tls.get(i as usize)).copied()
    };
    let (selector, base) = match (selector, own) {
        (0x2b | 0x23 | 0x33, _) => (selector, 0),
        (s, Some(t)) if t.is_present() => (s, u64::from(t.base)),
        _ => (0, 0),
    };
    cpu.selectors[segment] = selector;
    match segment {
        seg::FS => cpu.fs_base = base,
        seg::GS => cpu.gs_base = base,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_areas_are_allocated_and_read_back() {
        let mut cpu = X86Cpu::default();
        // What glibc asks for: 32-bit, limit in pages, usable.
        let d = UserDesc { entry: u32::MAX, base: 0x1234_5000, limit: 0xfffff, flags: 0x51 };
        assert_eq!(set_thread_area(&mut cpu, d), Ok(12));
        assert_eq!(set_thread_area(&mut cpu, d), Ok(13));
        load(&mut cpu, seg::GS, 0x63);
        assert_eq!((cpu.selectors[seg::GS], cpu.gs_base), (0x63, 0x1234_5000));
        assert_eq!(get_thread_area(&cpu, 12), Ok(UserDesc { entry: 12, ..d }));
        assert_eq!(set_thread_area(&mut cpu, UserDesc { entry: 9, ..d }), Err(Errno::EINVAL));
        assert_eq!(get_thread_area(&cpu, 15), Err(Errno::EINVAL));
        let moved = UserDesc { entry: 12, base: 0x9000, ..d };
        assert_eq!(set_thread_area(&mut cpu, moved), Ok(12));
        assert_eq!(cpu.gs_base, 0x9000, "a loaded selector follows its entry");
    }

    #[test]
    fn bad_selectors_become_null() {
        let mut cpu = X86Cpu::default();
        load(&mut cpu, seg::FS, 0x6b);
        assert_eq!((cpu.selectors[seg::FS], cpu.fs_base), (0, 0));
    }
}
