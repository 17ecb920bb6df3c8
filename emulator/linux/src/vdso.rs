//! The vDSO: a small shared object the kernel maps into every process, made by us.
//!
//! On i386 its `__kernel_vsyscall` executes `sysenter`, with Linux's convention
//! (arch/x86/entry/vdso/vdso32/system_call.S): ecx, edx and ebp are saved on the stack, ebp points
//! there, and the kernel resumes at the landing pad behind an `int 0x80`, which only a restarted
//! call executes. On x86-64 the time functions are plain `syscall`s, so every call is seen.

use emu_mem::PAGE;

use crate::Abi;

/// Symbols of the vDSO that the personality needs, as offsets in the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offsets {
    /// `__kernel_vsyscall`.
    pub vsyscall: u64,
    /// Where a `sysenter` resumes.
    pub landing: u64,
    /// `__kernel_sigreturn`.
    pub sigreturn: u64,
    /// `__kernel_rt_sigreturn`.
    pub rt_sigreturn: u64,
}

struct Function {
    name: &'static str,
    code: &'static [u8],
}

/// i386: push ecx; push edx; push ebp; mov ebp, esp; sysenter; int 0x80; pop ebp; pop edx;
/// pop ecx; ret.
const VSYSCALL: &[u8] =
    &[0x51, 0x52, 0x55, 0x89, 0xe5, 0x0f, 0x34, 0xcd, 0x80, 0x5d, 0x5a, 0x59, 0xc3];
/// Offset of the landing pad in [`VSYSCALL`].
const LANDING: u64 = 9;
/// i386: pop eax; mov eax, 119; int 0x80. Unwinders know these bytes.
pub const SIGRETURN: [u8; 8] = [0x58, 0xb8, 0x77, 0, 0, 0, 0xcd, 0x80];
/// i386: mov eax, 173; int 0x80.
pub const RT_SIGRETURN: [u8; 7] = [0xb8, 0xad, 0, 0, 0, 0xcd, 0x80];

const I386: [Function; 3] = [
    Function { name: "__kernel_vsyscall", code: VSYSCALL },
    Function { name: "__kernel_sigreturn", code: &SIGRETURN },
    Function { name: "__kernel_rt_sigreturn", code: &RT_SIGRETURN },
];

/// x86-64: mov eax, number; syscall; ret.
const X86_64: [Function; 5] = [
    Function { name: "__vdso_clock_gettime", code: &[0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0xc3] },
    Function { name: "__vdso_gettimeofday", code: &[0xb8, 96, 0, 0, 0, 0x0f, 0x05, 0xc3] },
    Function { name: "__vdso_time", code: &[0xb8, 201, 0, 0, 0, 0x0f, 0x05, 0xc3] },
    Function { name: "__vdso_getcpu", code: &[0xb8, 0x35, 1, 0, 0, 0x0f, 0x05, 0xc3] },
    Function { name: "__vdso_clock_getres", code: &[0xb8, 229, 0, 0, 0, 0x0f, 0x05, 0xc3] },
];

const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_SYMENT: u64 = 11;
const DT_SONAME: u64 = 14;
const DT_VERSYM: u64 = 0x6fff_fff0;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERDEFNUM: u64 = 0x6fff_fffd;

/// The symbol-hash function of the System V ABI.
fn elf_hash(name: &[u8]) -> u32 {
    let mut h: u32 = 0;
    for &b in name {
        h = (h << 4).wrapping_add(u32::from(b));
        let g = h & 0xf000_0000;
        h = (h ^ (g >> 24)) & !g;
    }
    h
}

/// Lays out little-endian words of the image's class.
struct Writer {
    bytes: Vec<u8>,
    wide: bool,
}

impl Writer {
    fn u16(&mut self, v: u16) {
        self.bytes.extend(v.to_le_bytes());
    }
    fn u32(&mut self, v: u32) {
        self.bytes.extend(v.to_le_bytes());
    }
    fn word(&mut self, v: u64) {
        if self.wide { self.bytes.extend(v.to_le_bytes()) } else { self.u32(v as u32) }
    }
    fn align(&mut self, n: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(n), 0);
    }
    fn at(&self) -> u64 {
        self.bytes.len() as u64
    }
}

struct StringTable(Vec<u8>);

impl StringTable {
    fn add(&mut self, s: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(s.bytes());
        self.0.push(0);
        at
    }
}

/// Builds the image (one page) for an ABI.
pub fn build(abi: Abi) -> (Vec<u8>, Offsets) {
    let wide = abi == Abi::X86_64;
    let functions: &[Function] = if wide { &X86_64 } else { &I386 };
    let version = if wide { "LINUX_2.6" } else { "LINUX_2.5" };
    let soname = if wide { "linux-vdso.so.1" } else { "linux-gate.so.1" };
    let (ehsize, phsize, symsize) = if wide { (64u64, 56u64, 24u64) } else { (52, 32, 16) };
    let headers = ehsize + 2 * phsize;

    let mut strings = StringTable(vec![0]);
    let names: Vec<u32> = functions.iter().map(|f| strings.add(f.name)).collect();
    let soname_at = strings.add(soname);
    let version_at = strings.add(version);

    let mut w = Writer { bytes: vec![0; headers as usize], wide };
    // Code, each function on its own 16 bytes.
    let mut code = Vec::new();
    for f in functions {
        w.align(16);
        code.push(w.at());
        w.bytes.extend(f.code);
    }
    w.align(8);
    let nsyms = functions.len() as u32 + 1;
    let hash = w.at();
    w.u32(1);
    w.u32(nsyms);
    w.u32(1);
    for i in 0..nsyms {
        w.u32(if i == 0 || i + 1 == nsyms { 0 } else { i + 1 });
    }
    w.align(8);
    let symtab = w.at();
    w.bytes.resize(w.bytes.len() + symsize as usize, 0);
    for ((f, &name), &at) in functions.iter().zip(&names).zip(&code) {
        const GLOBAL_FUNC: u8 = 0x12;
        w.u32(name);
        if wide {
            w.bytes.extend([GLOBAL_FUNC, 0]);
            w.u16(1);
            w.word(at);
            w.word(f.code.len() as u64);
        } else {
            w.u32(at as u32);
            w.u32(f.code.len() as u32);
            w.bytes.extend([GLOBAL_FUNC, 0]);
            w.u16(1);
        }
    }
    let versym = w.at();
    w.u16(0);
    for _ in functions {
        w.u16(2);
    }
    w.align(8);
    let verdef = w.at();
    for (flags, index, name, text, next) in
        [(1, 1, soname_at, soname, 28u32), (0, 2, version_at, version, 0)]
    {
        w.u16(1);
        w.u16(flags);
        w.u16(index);
        w.u16(1);
        w.u32(elf_hash(text.as_bytes()));
        w.u32(20);
        w.u32(next);
        w.u32(name);
        w.u32(0);
    }
    let strtab = w.at();
    let strsize = strings.0.len() as u64;
    w.bytes.extend(&strings.0);
    w.align(8);
    let dynamic = w.at();
    for (tag, value) in [
        (DT_SONAME, u64::from(soname_at)),
        (DT_HASH, hash),
        (DT_STRTAB, strtab),
        (DT_SYMTAB, symtab),
        (DT_STRSZ, strsize),
        (DT_SYMENT, symsize),
        (DT_VERSYM, versym),
        (DT_VERDEF, verdef),
        (DT_VERDEFNUM, 2),
        (0, 0),
    ] {
        w.word(tag);
        w.word(value);
    }
    let dynamic_size = w.at() - dynamic;
    w.align(PAGE as usize);
    let total = w.at();

    let mut h = Writer { bytes: Vec::new(), wide };
    h.bytes.extend([0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1, 0]);
    h.bytes.extend([0; 8]);
    h.u16(3);
    h.u16(if wide { 62 } else { 3 });
    h.u32(1);
    h.word(code[0]);
    h.word(ehsize);
    h.word(0);
    h.u32(0);
    h.u16(ehsize as u16);
    h.u16(phsize as u16);
    h.u16(2);
    h.u16(0);
    h.u16(0);
    h.u16(0);
    const PT_LOAD: u32 = 1;
    const PT_DYNAMIC: u32 = 2;
    for (kind, flags, at, size, align) in
        [(PT_LOAD, 5, 0, total, PAGE), (PT_DYNAMIC, 4, dynamic, dynamic_size, 8)]
    {
        h.u32(kind);
        if wide {
            h.u32(flags);
        }
        h.word(at);
        h.word(at);
        h.word(at);
        h.word(size);
        h.word(size);
        if !wide {
            h.u32(flags);
        }
        h.word(align);
    }
    w.bytes[..h.bytes.len()].copy_from_slice(&h.bytes);
    let offsets = if wide {
        Offsets::default()
    } else {
        Offsets {
            vsyscall: code[0],
            landing: code[0] + LANDING,
            sigreturn: code[1],
            rt_sigreturn: code[2],
        }
    };
    (w.bytes, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSymbol};

    #[test]
    fn images_are_shared_objects_with_the_symbols() {
        for (abi, functions) in [(Abi::X86_64, &X86_64[..]), (Abi::I386, &I386[..])] {
            let (image, _) = build(abi);
            assert_eq!(image.len() as u64, PAGE);
            let parsed = crate::elf::parse(&image[..]).expect("own loader accepts it");
            assert!(parsed.pie && parsed.abi == abi);
            let file = object::File::parse(&image[..]).expect("valid ELF");
            assert_eq!(file.kind(), object::ObjectKind::Dynamic);
            // Symbols are found through the dynamic section only: there are no section headers.
            let elf_names: Vec<_> =
                functions.iter().filter(|f| contains(&image, f.name.as_bytes())).collect();
            assert_eq!(elf_names.len(), functions.len());
            assert_eq!(file.dynamic_symbols().filter_map(|s| s.name().ok().map(|_| ())).count(), 0);
        }
    }

    #[test]
    fn landing_pad_follows_the_restart_instruction() {
        let (image, o) = build(Abi::I386);
        let at = o.landing as usize;
        assert_eq!(image[at - 2..at], [0xcd, 0x80], "a restart executes int 0x80");
        assert_eq!(image[at - 4..at - 2], [0x0f, 0x34], "calls execute sysenter");
        assert_eq!(image[at..at + 4], [0x5d, 0x5a, 0x59, 0xc3]);
        assert_eq!(image[o.sigreturn as usize..][..8], SIGRETURN);
        assert_eq!(image[o.rt_sigreturn as usize..][..7], RT_SIGRETURN);
    }

    #[test]
    fn hash_matches_the_abi_example() {
        assert_eq!(elf_hash(b"LINUX_2.6"), 61765110);
        assert_eq!(elf_hash(b"LINUX_2.5"), 61765109);
    }

    fn contains(hay: &[u8], needle: &[u8]) -> bool {
        hay.windows(needle.len()).any(|w| w == needle)
    }
}
