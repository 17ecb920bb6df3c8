//! The initial stack of a program: argument count, pointers, auxiliary vector, strings.
//!
//! The layout and the order of the auxiliary vector are those of the kernel's `create_elf_tables`
//! (fs/binfmt_elf.c) and `copy_strings` (fs/exec.c).

use crate::Abi;

/// What goes on the stack.
#[derive(Clone, Debug)]
pub struct StackSpec<'a> {
    /// The program's ABI.
    pub abi: Abi,
    /// One past the first byte of the stack.
    pub top: u64,
    /// Arguments.
    pub argv: &'a [Vec<u8>],
    /// Environment.
    pub envp: &'a [Vec<u8>],
    /// The path execve got.
    pub execfn: &'a [u8],
    /// Sixteen random bytes.
    pub random: [u8; 16],
    /// The auxiliary vector without the entries that point into the stack and without the end.
    pub aux: &'a [(u64, u64)],
}

/// A built stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    /// The initial stack pointer: address of the argument count.
    pub sp: u64,
    /// Bytes from `sp` to the top.
    pub bytes: Vec<u8>,
    /// The auxiliary vector as it lies in memory.
    pub auxv: Vec<u8>,
    /// Address range of the argument strings.
    pub args: (u64, u64),
    /// Address range of the environment strings.
    pub env: (u64, u64),
}

/// Types of the auxiliary vector (include/uapi/linux/auxvec.h).
#[allow(missing_docs, reason = "the names are those of auxvec.h")]
pub mod at {
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const EXECFN: u64 = 31;
    pub const SYSINFO: u64 = 32;
    pub const SYSINFO_EHDR: u64 = 33;
    pub const MINSIGSTKSZ: u64 = 51;
}

/// The longest argument or environment string, with its NUL.
pub const MAX_STRING: usize = 128 * 1024;

/// Whether arguments and environment fit a stack limited to `rlimit` bytes (fs/exec.c,
/// `bprm_stack_limits`: a quarter of the limit, at least 128 KiB, at most 6 MiB).
pub fn fits(abi: Abi, argv: &[Vec<u8>], envp: &[Vec<u8>], rlimit: u64) -> bool {
    let limit = (rlimit / 4).clamp(128 << 10, 6 << 20);
    let mut total = 0u64;
    for s in argv.iter().chain(envp) {
        if s.len() >= MAX_STRING {
            return false;
        }
        total += s.len() as u64 + 1 + abi.word();
    }
    total <= limit
}

/// Builds the stack.
pub fn build(spec: &StackSpec<'_>) -> Stack {
    let word = spec.abi.word() as usize;
    // From the top down: a null word, the file name, the environment, the arguments.
    let mut strings: Vec<u8> = Vec::new();
    let mut argv_at = Vec::with_capacity(spec.argv.len());
    let mut envp_at = Vec::with_capacity(spec.envp.len());
    for (list, at) in [(spec.argv, &mut argv_at), (spec.envp, &mut envp_at)] {
        for s in list {
            at.push(strings.len() as u64);
            strings.extend(s);
            strings.push(0);
        }
    }
    let execfn_at = strings.len() as u64;
    strings.extend(spec.execfn);
    strings.push(0);
    strings.resize(strings.len() + word, 0);
    let strings_base = spec.top - strings.len() as u64;

    let mut platform = spec.abi.machine().as_bytes().to_vec();
    platform.push(0);
    let aligned = strings_base & !15;
    let platform_at = aligned - platform.len() as u64;
    let random_at = platform_at - spec.random.len() as u64;

    let mut aux: Vec<(u64, u64)> = Vec::with_capacity(spec.aux.len() + 4);
    for &(kind, value) in spec.aux {
        aux.push((
            kind,
            match kind {
                at::RANDOM => random_at,
                at::EXECFN => strings_base + execfn_at,
                at::PLATFORM => platform_at,
                _ => value,
            },
        ));
    }
    aux.push((0, 0));
    // The kernel leaves one more zero pair.
    let aux_words = 2 * (aux.len() + 1);
    let items = 1 + spec.argv.len() + 1 + spec.envp.len() + 1;
    let sp =
        (random_at & !(word as u64 - 1)).wrapping_sub(((aux_words + items) * word) as u64) & !15;

    let mut bytes = Vec::with_capacity((spec.top - sp) as usize);
    let put = |bytes: &mut Vec<u8>, v: u64| bytes.extend(&v.to_le_bytes()[..word]);
    put(&mut bytes, spec.argv.len() as u64);
    for at in [&argv_at, &envp_at] {
        for a in at {
            put(&mut bytes, strings_base + a);
        }
        put(&mut bytes, 0);
    }
    let mut auxv = Vec::new();
    for &(kind, value) in &aux {
        put(&mut auxv, kind);
        put(&mut auxv, value);
    }
    bytes.extend(&auxv);
    bytes.resize((random_at - sp) as usize, 0);
    bytes.extend(spec.random);
    bytes.extend(&platform);
    bytes.resize((strings_base - sp) as usize, 0);
    bytes.extend(&strings);
    let env_start = envp_at.first().copied().unwrap_or(execfn_at);
    Stack {
        sp,
        bytes,
        auxv,
        args: (strings_base, strings_base + env_start),
        env: (strings_base + env_start, strings_base + execfn_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(s: &Stack, abi: Abi, at: u64) -> u64 {
        let o = (at - s.sp) as usize;
        let mut b = [0; 8];
        let n = abi.word() as usize;
        b[..n].copy_from_slice(&s.bytes[o..o + n]);
        u64::from_le_bytes(b)
    }

    fn string(s: &Stack, at: u64) -> String {
        let o = (at - s.sp) as usize;
        let end = s.bytes[o..].iter().position(|&b| b == 0).expect("terminated");
        String::from_utf8_lossy(&s.bytes[o..o + end]).into_owned()
    }

    fn check(abi: Abi) {
        let argv: Vec<Vec<u8>> = vec![b"prog".to_vec(), b"".to_vec(), b"two".to_vec()];
        let envp: Vec<Vec<u8>> = vec![b"A=1".to_vec(), b"LONGER=value".to_vec()];
        let aux = [(at::PAGESZ, 4096), (at::RANDOM, 0), (at::EXECFN, 0), (at::PLATFORM, 0)];
        let s = build(&StackSpec {
            abi,
            top: abi.stack_top(),
            argv: &argv,
            envp: &envp,
            execfn: b"./prog",
            random: *b"0123456789abcdef",
            aux: &aux,
        });
        let w = abi.word();
        assert_eq!(s.sp % 16, 0);
        assert_eq!(s.sp + s.bytes.len() as u64, abi.stack_top());
        assert_eq!(word(&s, abi, s.sp), 3);
        let got: Vec<String> = (1..=3).map(|i| string(&s, word(&s, abi, s.sp + i * w))).collect();
        assert_eq!(got, ["prog", "", "two"]);
        assert_eq!(word(&s, abi, s.sp + 4 * w), 0);
        assert_eq!(string(&s, word(&s, abi, s.sp + 6 * w)), "LONGER=value");
        assert_eq!(word(&s, abi, s.sp + 7 * w), 0);
        let auxv = s.sp + 8 * w;
        assert_eq!(word(&s, abi, auxv), at::PAGESZ);
        assert_eq!(word(&s, abi, auxv + w), 4096);
        assert_eq!(string(&s, word(&s, abi, auxv + 3 * w))[..16], *"0123456789abcdef");
        assert_eq!(string(&s, word(&s, abi, auxv + 5 * w)), "./prog");
        assert_eq!(string(&s, word(&s, abi, auxv + 7 * w)), abi.machine());
        assert_eq!(word(&s, abi, auxv + 8 * w), 0);
        // The file name ends one null word below the top.
        assert_eq!(string(&s, abi.stack_top() - w - 7), "./prog");
        assert_eq!(s.args.1 - s.args.0, 4 + 1 + 1 + 3 + 1);
        assert_eq!(string(&s, s.env.0), "A=1");
    }

    #[test]
    fn layout_of_both_abis() {
        check(Abi::X86_64);
        check(Abi::I386);
    }

    #[test]
    fn limits() {
        let ok = vec![vec![b'a'; 1000]; 10];
        assert!(fits(Abi::X86_64, &ok, &[], 8 << 20));
        assert!(!fits(Abi::X86_64, &[vec![b'a'; MAX_STRING]], &[], 8 << 20));
        let many = vec![vec![b'a'; 1000]; 3000];
        assert!(!fits(Abi::X86_64, &many, &[], 8 << 20));
    }
}
