//! What `execve` makes of a process's credentials (capabilities(7), "Transformation of capabilities
//! during execve()"; security/commoncap.c).
//!
//! The host process goes on with the next program, so what the kernel would do has to be done here.
//! A process cannot give itself capabilities, though: a program of root that had dropped some does
//! not get them back, and files' own capabilities have no effect.

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;
/// `SECBIT_NOROOT` (linux/securebits.h).
const NO_ROOT: i32 = 1;
/// More than there are: sets have 64 bits.
const CAPABILITIES: u32 = 64;

/// Sets of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sets {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

/// What decides about them.
#[derive(Clone, Copy, Debug, Default)]
struct Circumstances {
    bounding: u64,
    ambient: u64,
    /// The real user is root, and root is privileged.
    real_root: bool,
    /// The same of the effective user.
    effective_root: bool,
}

impl Sets {
    /// Those the next program has, of those the process has now.
    fn after_exec(self, c: Circumstances) -> Sets {
        let root = c.real_root || c.effective_root;
        let granted = if root { self.inheritable | c.bounding } else { 0 } | c.ambient;
        let permitted = granted & self.permitted;
        let effective = if c.effective_root { permitted } else { c.ambient & permitted };
        Sets { effective, permitted, inheritable: self.inheritable }
    }

    fn current() -> Option<Sets> {
        let (header, mut data) = ([VERSION, 0], [[0u32; 3]; 2]);
        // SAFETY: the kernel reads the header and fills two structures of three words.
        let r = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
        let set = |i: usize| u64::from(data[0][i]) | u64::from(data[1][i]) << 32;
        (r == 0).then(|| Sets { effective: set(0), permitted: set(1), inheritable: set(2) })
    }

    fn install(self) -> bool {
        let half = |shift: u32| {
            [self.effective, self.permitted, self.inheritable].map(|s| (s >> shift) as u32)
        };
        let (header, data) = ([VERSION, 0], [half(0), half(32)]);
        // SAFETY: the kernel reads the header and two structures of three words.
        unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) == 0 }
    }
}

/// `prctl` of an option that takes numbers only.
fn control(option: i32, a: u64, b: u64) -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::prctl(option, a, b, 0, 0) }
}

/// The capabilities for which `has` says so.
fn collect(has: impl Fn(u64) -> bool) -> u64 {
    (0..CAPABILITIES).filter(|&c| has(u64::from(c))).fold(0, |set, c| set | 1 << c)
}

/// What the kernel does to the calling thread, of a process that has no other thread any more.
pub fn change_at_exec() {
    // SAFETY: only asks.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: as above.
    let (real_user, real_group) = unsafe { (libc::getuid(), libc::getgid()) };
    // A program that made itself undumpable is no more; nor may its successor be looked into
    // where it has another's rights.
    let own = user == real_user && group == real_group;
    let dumpable = control(libc::PR_GET_DUMPABLE, 0, 0);
    if let Some(sets) = Sets::current()
        && sets.permitted != 0
    {
        let privileged = control(libc::PR_GET_SECUREBITS, 0, 0) & NO_ROOT == 0;
        let is_set = libc::PR_CAP_AMBIENT_IS_SET as u64;
        let next = sets.after_exec(Circumstances {
            bounding: collect(|c| control(libc::PR_CAPBSET_READ, c, 0) == 1),
            ambient: collect(|c| control(libc::PR_CAP_AMBIENT, is_set, c) == 1),
            real_root: privileged && real_user == 0,
            effective_root: privileged && user == 0,
        });
        if next != sets && !next.install() {
            tracing::debug!("capset: {}", std::io::Error::last_os_error());
        }
    }
    control(libc::PR_SET_KEEPCAPS, 0, 0);
    const SAME: libc::uid_t = libc::uid_t::MAX;
    // SAFETY: no pointers. The saved ids are the effective ones after an execve, of this thread.
    unsafe {
        libc::syscall(libc::SYS_setresgid, SAME, SAME, group);
        libc::syscall(libc::SYS_setresuid, SAME, SAME, user);
    }
    if own != (dumpable == 1) {
        control(libc::PR_SET_DUMPABLE, u64::from(own), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAS: Sets = Sets { effective: 0xf0, permitted: 0xff, inheritable: 0x03 };

    #[test]
    fn root_keeps_what_is_bounded() {
        let root =
            Circumstances { bounding: 0x0c, real_root: true, effective_root: true, ambient: 0 };
        let next = HAS.after_exec(root);
        assert_eq!(next, Sets { effective: 0x0f, permitted: 0x0f, inheritable: 0x03 });
        let real = Circumstances { effective_root: false, ..root };
        assert_eq!(HAS.after_exec(real), Sets { effective: 0, ..next });
    }

    #[test]
    fn others_keep_what_is_ambient() {
        let user = Circumstances { bounding: 0xff, ambient: 0x02, ..Circumstances::default() };
        let next = HAS.after_exec(user);
        assert_eq!(next, Sets { effective: 0x02, permitted: 0x02, inheritable: 0x03 });
    }
}
