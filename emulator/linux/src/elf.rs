//! Reading ELF executables: headers and program headers, checked.
//!
//! Everything comes from files a user names, so every number is suspect: arithmetic is checked and
//! limits are enforced here, before anything is mapped. Formats: System V gABI chapter 4 and 5.

use std::fs::File;
use std::os::unix::fs::FileExt;

use emu_mem::{PAGE, Prot};

use crate::Abi;

/// Why a file is not an executable this system can run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    /// The file does not begin with the ELF magic number.
    #[error("it is not an ELF executable or a script with #!")]
    NotElf,
    /// The file ends inside something its headers announce.
    #[error("the file is truncated: {what} ends at byte {end:#x}, the file at {size:#x}")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// Where it should end.
        end: u64,
        /// Size of the file.
        size: u64,
    },
    /// Built for another machine.
    #[error("it is built for {machine}, and only x86-64 and i386 programs can run")]
    Machine {
        /// Name or number of the machine.
        machine: String,
    },
    /// Neither an executable nor a shared object.
    #[error("it is {what}, not an executable: link it first")]
    Type {
        /// What it is.
        what: &'static str,
    },
    /// A header field has a value no valid executable has.
    #[error("the ELF headers are damaged: {0}")]
    Header(&'static str),
    /// A segment cannot be mapped.
    #[error("segment {index} cannot be mapped: {why}")]
    Segment {
        /// Index in the program header table.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two segments claim the same bytes.
    #[error("segments {first} and {second} overlap")]
    Overlap {
        /// Index of the earlier one.
        first: usize,
        /// Index of the later one.
        second: usize,
    },
    /// Reading failed.
    #[error("reading it failed: {0}")]
    Io(String),
}

/// A loadable segment, in addresses of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Index in the program header table.
    pub index: usize,
    /// Address of the first byte.
    pub vaddr: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// File offset of the first byte.
    pub offset: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Protection.
    pub prot: Prot,
}

/// The headers of an executable, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its ABI.
    pub abi: Abi,
    /// Position independent (`ET_DYN`).
    pub pie: bool,
    /// Entry point, in addresses of the file.
    pub entry: u64,
    /// Loadable segments in file order; at least one.
    pub segments: Vec<Segment>,
    /// The program interpreter's path.
    pub interp: Option<Vec<u8>>,
    /// Address of the program headers in memory, in addresses of the file; 0 when not loaded.
    pub phdr: u64,
    /// Number of program headers.
    pub phnum: u64,
    /// Wants an executable stack.
    pub exec_stack: bool,
    /// Readable memory is executable too (i386 programs without PT_GNU_STACK).
    pub read_implies_exec: bool,
    /// Largest alignment of a loadable segment.
    pub align: u64,
}

impl Image {
    /// Bytes in a program header.
    pub const fn phent(&self) -> u64 {
        match self.abi {
            Abi::X86_64 => 56,
            Abi::I386 => 32,
        }
    }

    /// The pages that the segments span: (first, one past the last).
    pub fn span(&self) -> (u64, u64) {
        let low = self.segments.iter().map(|s| s.vaddr & !(PAGE - 1)).min().unwrap_or(0);
        let high = self.segments.iter().map(|s| s.vaddr + s.memsz).max().unwrap_or(0);
        (low, (high + PAGE - 1) & !(PAGE - 1))
    }
}

/// Where the bytes of an executable come from.
pub trait Source {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Fills `buf` from `offset`; fewer bytes only at the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize>;
}

impl Source for File {
    fn size(&self) -> u64 {
        self.metadata().map(|m| m.len()).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match FileExt::read_at(self, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let Some(rest) = usize::try_from(offset).ok().and_then(|o| self.get(o..)) else {
            return Ok(0);
        };
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

/// The most bytes of program headers (as the kernel: 64 KiB).
const MAX_PHDRS: u64 = 65536;
/// The longest interpreter path.
const MAX_INTERP: u64 = libc::PATH_MAX as u64;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;

/// Little-endian fields of a byte slice; out-of-range fields read as 0 (callers pass whole
/// headers).
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        self.0.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
    }
    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }
}

fn read_exact<S: Source + ?Sized>(
    source: &S,
    offset: u64,
    len: u64,
    what: &'static str,
) -> Result<Vec<u8>, ElfError> {
    let size = source.size();
    let end = offset.checked_add(len).ok_or(ElfError::Header("an offset overflows"))?;
    if end > size {
        return Err(ElfError::Truncated { what, end, size });
    }
    let mut buf = vec![0; len as usize];
    let n = source.read_at(offset, &mut buf).map_err(|e| ElfError::Io(e.to_string()))?;
    if n < buf.len() {
        return Err(ElfError::Truncated { what, end, size: offset + n as u64 });
    }
    Ok(buf)
}

/// Reads and checks the headers of an executable.
pub fn parse<S: Source + ?Sized>(source: &S) -> Result<Image, ElfError> {
    let mut ident = [0; 16];
    let n = source.read_at(0, &mut ident).map_err(|e| ElfError::Io(e.to_string()))?;
    if n < 4 || ident[..4] != *b"\x7fELF" {
        return Err(ElfError::NotElf);
    }
    let size = source.size();
    if n < 16 {
        return Err(ElfError::Truncated { what: "the ELF header", end: 52, size });
    }
    let wide = match ident[4] {
        1 => false,
        2 => true,
        _ => return Err(ElfError::Header("unknown class")),
    };
    let header = read_exact(source, 0, if wide { 64 } else { 52 }, "the ELF header")?;
    let f = Fields(&header);
    let machine = if ident[5] == 2 { f.u16(18).swap_bytes() } else { f.u16(18) };
    let abi = match (machine, wide, ident[5]) {
        (62, true, 1) => Abi::X86_64,
        (3, false, 1) => Abi::I386,
        (62, false, 1) => return Err(ElfError::Machine { machine: "the x32 ABI".into() }),
        _ => return Err(ElfError::Machine { machine: machine_name(machine, wide) }),
    };
    let pie = match f.u16(16) {
        2 => false,
        3 => true,
        1 => return Err(ElfError::Type { what: "an object file" }),
        4 => return Err(ElfError::Type { what: "a core dump" }),
        _ => return Err(ElfError::Type { what: "of an unknown ELF type" }),
    };
    let (entry, phoff, phentsize, phnum) = if wide {
        (f.u64(24), f.u64(32), f.u16(54), f.u16(56))
    } else {
        (u64::from(f.u32(24)), u64::from(f.u32(28)), f.u16(42), f.u16(44))
    };
    let phent: u64 = if wide { 56 } else { 32 };
    if u64::from(phentsize) != phent {
        return Err(ElfError::Header("the program header size is wrong"));
    }
    if phnum == 0 {
        return Err(ElfError::Header("there are no program headers"));
    }
    let bytes = u64::from(phnum) * phent;
    if bytes > MAX_PHDRS {
        return Err(ElfError::Header("there are too many program headers"));
    }
    let table = read_exact(source, phoff, bytes, "the program header table")?;
    let mut image = Image {
        abi,
        pie,
        entry,
        segments: Vec::new(),
        interp: None,
        phdr: 0,
        phnum: u64::from(phnum),
        exec_stack: abi == Abi::I386,
        read_implies_exec: abi == Abi::I386,
        align: PAGE,
    };
    let mut phdr = None;
    for (index, raw) in table.chunks_exact(phent as usize).enumerate() {
        let h = Phdr::read(raw, wide);
        match h.kind {
            PT_LOAD => image.load_segment(index, &h, size)?,
            PT_INTERP if image.interp.is_none() => {
                image.interp = Some(read_interp(source, index, &h)?);
            }
            PT_PHDR => phdr = Some(h.vaddr),
            PT_GNU_STACK => {
                image.exec_stack = h.flags & 1 != 0;
                image.read_implies_exec = false;
            }
            _ => {}
        }
    }
    if image.segments.is_empty() {
        return Err(ElfError::Header("nothing in it is loadable"));
    }
    image.check_overlap()?;
    let in_file = image
        .segments
        .iter()
        .find(|s| phoff >= s.offset && phoff.saturating_add(bytes) <= s.offset + s.filesz)
        .map(|s| s.vaddr + (phoff - s.offset));
    image.phdr = phdr.or(in_file).unwrap_or(0);
    Ok(image)
}

struct Phdr {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    filesz: u64,
    memsz: u64,
    align: u64,
}

impl Phdr {
    fn read(raw: &[u8], wide: bool) -> Phdr {
        let f = Fields(raw);
        if wide {
            Phdr {
                kind: f.u32(0),
                flags: f.u32(4),
                offset: f.u64(8),
                vaddr: f.u64(16),
                filesz: f.u64(32),
                memsz: f.u64(40),
                align: f.u64(48),
            }
        } else {
            Phdr {
                kind: f.u32(0),
                offset: u64::from(f.u32(4)),
                vaddr: u64::from(f.u32(8)),
                filesz: u64::from(f.u32(16)),
                memsz: u64::from(f.u32(20)),
                flags: f.u32(24),
                align: u64::from(f.u32(28)),
            }
        }
    }
}

impl Image {
    fn load_segment(&mut self, index: usize, h: &Phdr, size: u64) -> Result<(), ElfError> {
        let bad = |why| Err(ElfError::Segment { index, why });
        if h.memsz == 0 {
            return Ok(());
        }
        if h.filesz > h.memsz {
            return bad("it has more bytes in the file than in memory");
        }
        if h.vaddr % PAGE != h.offset % PAGE {
            return bad("its address and its file offset differ within the page");
        }
        let end = h.vaddr.checked_add(h.memsz).filter(|&e| e <= self.abi.task_size() - PAGE);
        if end.is_none() {
            return bad("it does not fit in the guest's address space");
        }
        if !self.pie && h.vaddr & !(PAGE - 1) < self.abi.min_address() {
            return bad("it lies in the first 64 KiB, which no program may map");
        }
        let file_end = match h.offset.checked_add(h.filesz) {
            Some(e) if e <= i64::MAX as u64 => e,
            _ => return bad("its file offset overflows"),
        };
        if h.filesz != 0 && file_end > size {
            return Err(ElfError::Truncated { what: "a segment", end: file_end, size });
        }
        if h.align.is_power_of_two() && h.align <= 1 << 30 {
            self.align = self.align.max(h.align);
        }
        let bit = |mask: u32, p: Prot| if h.flags & mask != 0 { p.0 } else { 0 };
        self.segments.push(Segment {
            index,
            vaddr: h.vaddr,
            memsz: h.memsz,
            offset: h.offset,
            filesz: h.filesz,
            prot: Prot(bit(4, Prot::READ) | bit(2, Prot::WRITE) | bit(1, Prot::EXEC)),
        });
        Ok(())
    }

    fn check_overlap(&self) -> Result<(), ElfError> {
        let mut sorted: Vec<&Segment> = self.segments.iter().collect();
        sorted.sort_by_key(|s| s.vaddr);
        for pair in sorted.windows(2) {
            if pair[0].vaddr + pair[0].memsz > pair[1].vaddr {
                let (a, b) = (pair[0].index, pair[1].index);
                return Err(ElfError::Overlap { first: a.min(b), second: a.max(b) });
            }
        }
        Ok(())
    }
}

fn read_interp<S: Source + ?Sized>(
    source: &S,
    index: usize,
    h: &Phdr,
) -> Result<Vec<u8>, ElfError> {
    if h.filesz < 2 || h.filesz > MAX_INTERP {
        return Err(ElfError::Segment { index, why: "its interpreter path has a bad length" });
    }
    let mut path = read_exact(source, h.offset, h.filesz, "the interpreter path")?;
    if path.pop() != Some(0) {
        return Err(ElfError::Segment { index, why: "its interpreter path does not end" });
    }
    if let Some(n) = path.iter().position(|&b| b == 0) {
        path.truncate(n);
    }
    Ok(path)
}

fn machine_name(machine: u16, wide: bool) -> String {
    match (machine, wide) {
        (40, _) => "32-bit ARM".into(),
        (183, _) => "64-bit ARM".into(),
        (243, true) => "64-bit RISC-V".into(),
        (243, false) => "32-bit RISC-V".into(),
        (8, _) => "MIPS".into(),
        (20, _) => "PowerPC".into(),
        (21, _) => "64-bit PowerPC".into(),
        (22, _) => "IBM S/390".into(),
        (2 | 43, _) => "SPARC".into(),
        (258, _) => "LoongArch".into(),
        (n, _) => format!("machine number {n}"),
    }
}

/// The GNU build id of the module whose first page is mapped at `base`; empty when there is none.
pub fn build_id(base: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    if emu_mem::access::read(base, &mut page).is_err() || page[..4] != *b"\x7fELF" {
        return Vec::new();
    }
    let f = Fields(&page);
    let wide = page[4] == 2;
    let (phoff, phnum) =
        if wide { (f.u64(32), f.u16(56)) } else { (u64::from(f.u32(28)), f.u16(44)) };
    let phent = if wide { 56 } else { 32 };
    for i in 0..usize::from(phnum) {
        let at = usize::try_from(phoff).ok().and_then(|o| o.checked_add(i * phent));
        let Some(raw) = at.and_then(|a| page.get(a..a.checked_add(phent)?)) else { break };
        let h = Phdr::read(raw, wide);
        const PT_NOTE: u32 = 4;
        if h.kind != PT_NOTE || h.filesz > PAGE {
            continue;
        }
        let mut notes = vec![0; h.filesz as usize];
        let offset = h.offset;
        if emu_mem::access::read(base.wrapping_add(offset), &mut notes).is_err() {
            continue;
        }
        if let Some(id) = find_build_id(&notes) {
            return id;
        }
    }
    Vec::new()
}

fn find_build_id(notes: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0usize;
    while at + 12 <= notes.len() {
        let f = Fields(&notes[at..]);
        let (namesz, descsz, kind) = (f.u32(0) as usize, f.u32(4) as usize, f.u32(8));
        let name = at + 12;
        let desc = name.checked_add(namesz.checked_next_multiple_of(4)?)?;
        let end = desc.checked_add(descsz)?;
        if kind == 3 && notes.get(name..name + 4) == Some(b"GNU\0") {
            return notes.get(desc..end).map(<[u8]>::to_vec);
        }
        at = desc.checked_add(descsz.checked_next_multiple_of(4)?)?;
    }
    None
}
