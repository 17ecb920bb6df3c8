//! What `execve` does: find the program, check it, map it, build its stack.
//!
//! [`prepare`] does everything that can be refused without harm; [`Prepared::commit`] replaces the
//! guest's address space.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use emu_mem::{PAGE, Prot, access};
use emu_x86::state::{gpr, seg};
use emu_x86::{Level, X86Cpu, cpuid};

use crate::elf::{self, ElfError, Image};
use crate::executable::Executable;
use crate::mm::{self, MapRequest, Place};
use crate::process::Program;
use crate::stack::{self, StackSpec, at};
use crate::{Abi, Errno, Event, Machine, Process, published, title, vdso};

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("{path}: not found; give the path of a program, or a name that is in PATH")]
    NotFound {
        /// The path.
        path: String,
    },
    /// It may not be executed.
    #[error("{path}: cannot be executed: {why}")]
    NotExecutable {
        /// The path.
        path: String,
        /// The kernel's reason.
        errno: Errno,
        /// What to do.
        why: String,
    },
    /// Not a valid executable.
    #[error("{path}: {source}")]
    Elf {
        /// The path.
        path: String,
        /// What is wrong with it.
        source: ElfError,
    },
    /// The interpreter it names is missing or bad.
    #[error("{path}: its interpreter {interp} {why}")]
    Interpreter {
        /// The path.
        path: String,
        /// The interpreter's path.
        interp: String,
        /// What is wrong with it.
        why: String,
        /// The kernel's reason.
        errno: Errno,
    },
    /// Scripts that name scripts, too deep.
    #[error("{path}: scripts name each other as interpreters more than 4 deep")]
    TooDeep {
        /// The path.
        path: String,
    },
    /// Too much to hand over.
    #[error("{path}: the argument list and environment are too long")]
    TooLong {
        /// The path.
        path: String,
    },
    /// Mapping it failed.
    #[error("{path}: mapping it into memory failed: {errno}")]
    Map {
        /// The path.
        path: String,
        /// The kernel's reason.
        errno: Errno,
    },
}

impl LoadError {
    /// The exit status a shell gives: 127 not found, 126 not runnable.
    pub fn exit_code(&self) -> i32 {
        match self {
            LoadError::NotFound { .. } => 127,
            _ => 126,
        }
    }

    /// What `execve` returns.
    pub fn errno(&self) -> Errno {
        match self {
            LoadError::NotFound { .. } => Errno::ENOENT,
            LoadError::NotExecutable { errno, .. }
            | LoadError::Interpreter { errno, .. }
            | LoadError::Map { errno, .. } => *errno,
            LoadError::Elf { source: ElfError::Io(_), .. } => Errno::EIO,
            LoadError::Elf { .. } => Errno::ENOEXEC,
            LoadError::TooDeep { .. } => Errno::ELOOP,
            LoadError::TooLong { .. } => Errno::E2BIG,
        }
    }
}

/// A program to load.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// Path of the executable or script.
    pub path: Vec<u8>,
    /// Where the file really is, if `path` is a name that only the guest knows it by.
    pub place: Option<PathBuf>,
    /// Arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Environment, `NAME=value`.
    pub envp: Vec<Vec<u8>>,
}

/// A program that is known to be loadable.
#[derive(Debug)]
pub struct Prepared {
    image: Image,
    file: File,
    exe: PathBuf,
    interp: Option<(Image, File, String)>,
    argv: Vec<Vec<u8>>,
    envp: Vec<Vec<u8>>,
    execfn: Vec<u8>,
}

/// Finds a program as a shell does: a name without a slash is looked up in `path_var`.
pub fn find_program(name: &str, path_var: Option<&OsStr>) -> Result<PathBuf, LoadError> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let mut denied = None;
    let default = OsStr::new("/bin:/usr/bin");
    for dir in std::env::split_paths(path_var.unwrap_or(default)) {
        let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
        let candidate = dir.join(name);
        match std::fs::metadata(&candidate) {
            Ok(m) if m.is_file() && m.permissions().mode() & 0o111 != 0 => return Ok(candidate),
            Ok(m) if m.is_file() => denied = Some(candidate),
            _ => {}
        }
    }
    denied.ok_or_else(|| LoadError::NotFound { path: name.to_owned() })
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Opens a file for execution, with the kernel's checks.
fn open(path: &[u8]) -> Result<File, LoadError> {
    let shown = || show(path);
    let deny =
        |errno, why: &str| LoadError::NotExecutable { path: shown(), errno, why: why.to_owned() };
    let os = Path::new(OsStr::from_bytes(path));
    let file = File::open(os).map_err(|e| match Errno::of(&e) {
        Errno::ENOENT => LoadError::NotFound { path: shown() },
        Errno::EACCES => deny(Errno::EACCES, "permission denied"),
        errno => deny(errno, &errno.to_string()),
    })?;
    let meta = file.metadata().map_err(|e| deny(Errno::of(&e), "its attributes are unreadable"))?;
    if meta.is_dir() {
        return Err(deny(Errno::EACCES, "it is a directory"));
    }
    if !meta.is_file() {
        return Err(deny(Errno::EACCES, "it is not a regular file"));
    }
    let c_path = std::ffi::CString::new(path).map_err(|_| LoadError::NotFound { path: shown() })?;
    // SAFETY: the path is NUL-terminated. Effective ids decide, as for execve.
    let ok = unsafe {
        libc::faccessat(libc::AT_FDCWD, c_path.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0
    };
    if !ok {
        let why = "it lacks execute permission (chmod +x)";
        return Err(deny(Errno::EACCES, why));
    }
    Ok(file)
}

/// The path of an open file with links resolved.
fn resolved(file: &File, path: &[u8]) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .unwrap_or_else(|_| PathBuf::from(OsStr::from_bytes(path)))
}

/// Checks everything about a program that can be checked before the old one is gone.
/// `stack_limit` bounds arguments and environment.
pub fn prepare(request: &LoadRequest, stack_limit: u64) -> Result<Prepared, LoadError> {
    let mut path = request.path.clone();
    let mut argv = request.argv.clone();
    // A program without a name gets an empty one (as the kernel since 5.18).
    if argv.is_empty() {
        argv.push(Vec::new());
    }
    let mut file = match &request.place {
        Some(place) => open(place.as_os_str().as_bytes())?,
        None => open(&path)?,
    };
    for depth in 0.. {
        let Some((interp, arg)) = read_shebang(&file) else { break };
        if depth == 5 {
            return Err(LoadError::TooDeep { path: show(&request.path) });
        }
        let mut new = vec![interp.clone()];
        new.extend(arg);
        new.push(path.clone());
        new.extend(argv.into_iter().skip(1));
        argv = new;
        file = open(&interp).map_err(|e| LoadError::Interpreter {
            path: show(&path),
            interp: show(&interp),
            why: "cannot be run: correct the first line of the script or install it".into(),
            errno: e.errno(),
        })?;
        path = interp;
    }
    let image = elf::parse(&file).map_err(|source| LoadError::Elf { path: show(&path), source })?;
    let interp = match &image.interp {
        None => None,
        Some(p) => Some(open_interp(&path, p, image.abi)?),
    };
    if !stack::fits(image.abi, &argv, &request.envp, stack_limit) {
        return Err(LoadError::TooLong { path: show(&request.path) });
    }
    Ok(Prepared {
        exe: resolved(&file, &path),
        image,
        file,
        interp,
        argv,
        envp: request.envp.clone(),
        execfn: request.path.clone(),
    })
}

/// The interpreter and its one argument, if the file begins with `#!` (fs/binfmt_script.c).
fn read_shebang(file: &File) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut buf = [0; 256];
    let n = elf::Source::read_at(file, 0, &mut buf).ok()?;
    parse_shebang(&buf[..n])
}

/// [`read_shebang`] on the first bytes of the file (at most 256).
pub fn parse_shebang(start: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let line = start.strip_prefix(b"#!")?;
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let end = line.iter().position(|&b| b == b'\n' || b == 0);
    let whole = end.is_some() || start.len() < 256;
    let line = &line[..end.unwrap_or(line.len())];
    let first = line.iter().position(|b| !blank(b))?;
    let line = &line[first..];
    let last = line.iter().rposition(|b| !blank(b))?;
    let line = &line[..=last];
    let (interp, rest) = match line.iter().position(blank) {
        Some(n) => (&line[..n], &line[n..]),
        // A path cut off by the end of the buffer would be another path.
        None if !whole => return None,
        None => (line, &line[..0]),
    };
    let arg = rest.iter().position(|b| !blank(b)).map(|n| rest[n..].to_vec());
    Some((interp.to_vec(), arg))
}

fn open_interp(path: &[u8], interp: &[u8], abi: Abi) -> Result<(Image, File, String), LoadError> {
    let bad = |why: String, errno| LoadError::Interpreter {
        path: show(path),
        interp: show(interp),
        why,
        errno,
    };
    let file = open(interp).map_err(|e| match e {
        LoadError::NotFound { .. } => {
            let hint = match abi {
                Abi::X86_64 => "is missing: install the C library it was built for",
                Abi::I386 => "is missing: install the 32-bit C library (libc6-i386)",
            };
            bad(hint.into(), Errno::ENOENT)
        }
        e => bad(format!("cannot be opened: {}", e.errno()), e.errno()),
    })?;
    let image = elf::parse(&file).map_err(|e| bad(format!("is damaged: {e}"), Errno::ELIBBAD))?;
    if image.abi != abi {
        return Err(bad("is for another architecture".into(), Errno::ELIBBAD));
    }
    Ok((image, file, show(interp)))
}

impl Prepared {
    /// ABI of the program.
    pub fn abi(&self) -> Abi {
        self.image.abi
    }

    /// Replaces the guest's address space by the program and sets the registers of the current
    /// thread. After an error the process has no program any more.
    pub fn commit(self, p: &mut Process, m: &mut dyn Machine) -> Result<(), LoadError> {
        let path = show(&self.execfn);
        self.commit_inner(p, m).map_err(|errno| LoadError::Map { path, errno })
    }

    fn commit_inner(self, p: &mut Process, m: &mut dyn Machine) -> Result<(), Errno> {
        let abi = self.image.abi;
        // Drops all translations at once; unmapping finds none.
        m.set_abi(abi);
        mm::unmap_all(p, m);
        p.abi = abi;
        p.layout = crate::process::Layout {
            read_implies_exec: self.image.read_implies_exec,
            ..Default::default()
        };
        let exec_stack = self.image.exec_stack;
        self.map_stack(p, m, exec_stack)?;

        let bias = if self.image.pie {
            let align = self.image.align;
            let base = abi.pie_base().next_multiple_of(align);
            base.wrapping_sub(self.image.span().0 & !(align - 1))
        } else {
            0
        };
        map_image(p, m, &self.image, &self.file, bias)?;
        let end = mm::page_up(self.image.span().1.wrapping_add(bias)).ok_or(Errno::ENOMEM)?;
        p.layout.brk_start = end;
        p.layout.brk = end;

        let entry = self.image.entry.wrapping_add(bias);
        let (start, base) = match &self.interp {
            None => (entry, 0),
            Some((image, file, _)) => {
                let bias = interp_bias(p, m, image)?;
                map_image(p, m, image, file, bias)?;
                (image.entry.wrapping_add(bias), bias)
            }
        };
        map_vdso(p, m)?;
        let phdr = if self.image.phdr == 0 { 0 } else { self.image.phdr.wrapping_add(bias) };
        let aux = aux_vector(p, &self.image, phdr, base, entry);
        let stack = stack::build(&StackSpec {
            abi,
            top: p.layout.stack_top,
            argv: &self.argv,
            envp: &self.envp,
            execfn: &self.execfn,
            random: crate::nondet::at_random(),
            aux: &aux,
        });
        access::write(stack.sp, &stack.bytes)?;
        let name = self.execfn.rsplit(|&b| b == b'/').next().unwrap_or_default();
        p.program = Program {
            exe: self.exe.clone(),
            executable: self.file.try_clone().ok().map(|f| Executable::keep(f.into())),
            execfn: self.execfn.clone(),
            auxv: stack.auxv,
            args: stack.args,
            env: stack.env,
            entry,
        };
        title::set_name(name);
        title::set_arguments(p);
        published::publish(p);
        reset_cpu(p.cpu(), abi, start, stack.sp);
        Ok(())
    }

    fn map_stack(&self, p: &mut Process, m: &mut dyn Machine, exec: bool) -> Result<(), Errno> {
        // The whole stack is mapped at once: system calls then see it as the kernel would grow it.
        const MOST: u64 = 60 << 20;
        let top = p.abi.stack_top();
        let size = mm::page_down(p.limits.stack().clamp(128 << 10, MOST));
        let prot = Prot(Prot::RW.0 | if exec { Prot::EXEC.0 } else { 0 });
        let request = MapRequest {
            host_flags: libc::MAP_NORESERVE,
            name: "[stack]",
            grows_down: true,
            ..MapRequest::anonymous(Place::FixedNoReplace(top - size), size, prot)
        };
        mm::map(p, m, &request)?;
        p.layout.stack_top = top;
        p.layout.stack_limit = top - size;
        Ok(())
    }
}

/// Maps the segments of an image at their addresses plus `bias`.
fn map_image(
    p: &mut Process,
    m: &mut dyn Machine,
    image: &Image,
    file: &File,
    bias: u64,
) -> Result<(), Errno> {
    let (low, high) = image.span();
    let (low, high) = (low.wrapping_add(bias), high.wrapping_add(bias));
    if low < p.abi.min_address() || low >= high || !p.abi.holds(low, high - low) {
        return Err(Errno::ENOMEM);
    }
    if !m.space().is_free(low, high) {
        return Err(Errno::ENOMEM);
    }
    for s in &image.segments {
        let vaddr = s.vaddr.wrapping_add(bias);
        let start = mm::page_down(vaddr);
        let file_end = vaddr + s.filesz;
        let mut prot = s.prot;
        if p.layout.read_implies_exec && prot.has(Prot::READ) {
            prot = Prot(prot.0 | Prot::EXEC.0);
        }
        let mut mapped_to = start;
        if s.filesz != 0 {
            mapped_to = mm::page_up(file_end).ok_or(Errno::ENOMEM)?;
            let request = MapRequest {
                file: Some((file.as_raw_fd(), mm::page_down(s.offset))),
                ..MapRequest::anonymous(Place::Fixed(start), mapped_to - start, prot)
            };
            mm::map(p, m, &request)?;
            if s.memsz > s.filesz && s.prot.has(Prot::WRITE) {
                let zeros = vec![0; (mapped_to - file_end) as usize];
                access::write(file_end, &zeros)?;
            }
        }
        let end = mm::page_up(vaddr + s.memsz).ok_or(Errno::ENOMEM)?;
        if end > mapped_to {
            let request = MapRequest::anonymous(Place::Fixed(mapped_to), end - mapped_to, prot);
            mm::map(p, m, &request)?;
        }
    }
    Ok(())
}

/// Where the program interpreter goes: its own addresses, or the top of the mapping area.
fn interp_bias(p: &Process, m: &mut dyn Machine, image: &Image) -> Result<u64, Errno> {
    if !image.pie {
        return Ok(0);
    }
    let (low, high) = image.span();
    let align = image.align;
    let len = (high - low).checked_add(align - PAGE).ok_or(Errno::ENOMEM)?;
    let base = mm::find_free(p, m, len)?;
    Ok(base.next_multiple_of(align).wrapping_sub(low & !(align - 1)))
}

fn map_vdso(p: &mut Process, m: &mut dyn Machine) -> Result<(), Errno> {
    let (image, offsets) = vdso::build(p.abi);
    let request = MapRequest {
        name: "[vdso]",
        ..MapRequest::anonymous(Place::Anywhere, image.len() as u64, Prot::RW)
    };
    let base = mm::map(p, m, &request)?;
    access::write(base, &image)?;
    let prot = Prot(Prot::READ.0 | Prot::EXEC.0);
    mm::protect(p, m, base, base + image.len() as u64, prot)?;
    p.layout.vdso = base;
    if p.abi == Abi::I386 {
        p.layout.vsyscall = base + offsets.vsyscall;
        p.layout.sysenter_return = base + offsets.landing;
        p.layout.sigreturn = base + offsets.sigreturn;
        p.layout.rt_sigreturn = base + offsets.rt_sigreturn;
    }
    Ok(())
}

/// The auxiliary vector in the kernel's order; [`stack::build`] fills in what points to the stack.
fn aux_vector(p: &Process, image: &Image, phdr: u64, base: u64, entry: u64) -> Vec<(u64, u64)> {
    // SAFETY: these calls cannot fail.
    let (uid, euid, gid, egid) =
        unsafe { (libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()) };
    let level = Level::current();
    let mut aux = Vec::with_capacity(24);
    if p.abi == Abi::I386 {
        aux.push((at::SYSINFO, p.layout.vsyscall));
    }
    aux.extend([
        (at::SYSINFO_EHDR, p.layout.vdso),
        (at::MINSIGSTKSZ, crate::signal::min_stack(p.abi)),
        (at::HWCAP, u64::from(cpuid::hwcap(level, p.abi == Abi::X86_64))),
        (at::PAGESZ, PAGE),
        (at::CLKTCK, 100),
        (at::PHDR, phdr),
        (at::PHENT, image.phent()),
        (at::PHNUM, image.phnum),
        (at::BASE, base),
        (at::FLAGS, 0),
        (at::ENTRY, entry),
        (at::UID, u64::from(uid)),
        (at::EUID, u64::from(euid)),
        (at::GID, u64::from(gid)),
        (at::EGID, u64::from(egid)),
        (at::SECURE, 0),
        (at::RANDOM, 0),
        (at::HWCAP2, u64::from(cpuid::hwcap2(level))),
        (at::EXECFN, 0),
        (at::PLATFORM, 0),
    ]);
    aux
}

/// The registers a new program starts with (`ELF_PLAT_INIT` and `start_thread`).
fn reset_cpu(cpu: &mut X86Cpu, abi: Abi, pc: u64, sp: u64) {
    let fresh = X86Cpu::default();
    let header = core::mem::take(&mut cpu.hdr);
    *cpu = fresh;
    cpu.hdr = header;
    cpu.hdr.pc = pc;
    cpu.hdr.trap = 0;
    cpu.hdr.set_flags(0);
    cpu.gpr[gpr::RSP] = sp;
    let code = match abi {
        Abi::X86_64 => 0x33,
        Abi::I386 => 0x23,
    };
    cpu.selectors[seg::CS] = code;
    cpu.selectors[seg::SS] = 0x2b;
    if abi == Abi::I386 {
        cpu.selectors[seg::DS] = 0x2b;
        cpu.selectors[seg::ES] = 0x2b;
    }
}

/// Announces the program that [`Prepared::commit`] loaded.
pub fn announce(p: &mut Process, m: &mut dyn Machine) {
    let (path, entry) = (p.program.exe.to_string_lossy().into_owned(), p.program.entry);
    p.emit(m, &Event::Ready { path: &path, entry });
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = Option<(&'static [u8], Option<&'static [u8]>)>;

    #[test]
    fn shebang_lines() {
        let cases: [(&[u8], Parsed); 8] = [
            (b"#!/bin/sh\n", Some((b"/bin/sh", None))),
            (b"#! /bin/sh \t\n", Some((b"/bin/sh", None))),
            (b"#!/usr/bin/env python3 -u \nx", Some((b"/usr/bin/env", Some(b"python3 -u")))),
            (b"#!/bin/sh", Some((b"/bin/sh", None))),
            (b"#!\n", None),
            (b"#!   \n", None),
            (b"# !/bin/sh\n", None),
            (b"", None),
        ];
        for (line, want) in cases {
            let want = want.map(|(i, a)| (i.to_vec(), a.map(<[u8]>::to_vec)));
            assert_eq!(parse_shebang(line), want, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_cut_off_interpreter_path_is_refused() {
        let mut long = b"#!/".to_vec();
        long.resize(256, b'a');
        assert_eq!(parse_shebang(&long), None);
        let mut with_arg = b"#!/bin/sh ".to_vec();
        with_arg.resize(256, b'a');
        assert_eq!(parse_shebang(&with_arg).map(|(i, _)| i), Some(b"/bin/sh".to_vec()));
    }

    #[test]
    fn programs_are_found_in_path() {
        let found = find_program("sh", Some(OsStr::new("/nonexistent:/bin"))).expect("found");
        assert_eq!(found, Path::new("/bin/sh"));
        let e = find_program("no-such-program", None).expect_err("absent");
        assert_eq!(e.exit_code(), 127);
    }

    #[test]
    fn errors_say_what_to_do_and_carry_the_status() {
        let load = |p: &str| {
            prepare(&LoadRequest { path: p.into(), ..Default::default() }, 8 << 20)
                .map(|_| ())
                .expect_err("not loadable")
        };
        let e = load("/nonexistent/x");
        assert_eq!((e.exit_code(), e.errno()), (127, Errno::ENOENT));
        let e = load("/etc");
        assert_eq!((e.exit_code(), e.errno()), (126, Errno::EACCES));
        let e = load("/etc/passwd");
        assert_eq!(e.exit_code(), 126);
        assert!(e.to_string().contains("chmod"), "{e}");
    }
}
