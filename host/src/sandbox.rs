//! `--sandbox`: confines the host process, and with it the guest, by what the kernel enforces.
//!
//! A guest shares the host's address space, so a hostile one can become the host process. What still
//! holds it then is the kernel alone: Landlock for files (and, where the kernel has it, for signals
//! and abstract sockets), seccomp for calls that reach beyond the process. Both last for ever and are
//! inherited by every thread and child started later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// What a confined guest may still do.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// Trees (or files) it may read and run programs from.
    pub read: Vec<PathBuf>,
    /// Trees (or files) it may also change.
    pub write: Vec<PathBuf>,
    /// It may open sockets.
    pub net: bool,
}

/// What programs need to start: libraries and their cache. Those that do not exist are left out.
const LIBRARIES: [&str; 12] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/libexec",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/usr/share/locale",
];

/// Kernel information. What it shows of other processes' insides is closed by Landlock, which lets
/// a confined process look only into those confined with it.
const INFORMATION: [&str; 1] = ["/proc"];

/// Devices without a state that anybody else sees.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// The least that is required of the kernel: Linux 6.2, which controls truncation, too.
const REQUIRED: ABI = ABI::V3;
/// The most that is asked for.
const WANTED: ABI = ABI::V6;

/// Calls that fail with EPERM, by the reason why.
const REFUSED: &[(&str, &[i64])] = &[
    // The guest's programs are run in the emulator; native code would be out of its control.
    ("native programs", &[libc::SYS_execve, libc::SYS_execveat]),
    (
        "other processes' insides",
        &[
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_process_madvise,
            libc::SYS_pidfd_getfd,
            libc::SYS_kcmp,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
        ],
    ),
    (
        "the machine",
        &[
            libc::SYS_reboot,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_acct,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_syslog,
            libc::SYS_vhangup,
            libc::SYS_iopl,
            libc::SYS_ioperm,
            libc::SYS_sethostname,
            libc::SYS_setdomainname,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
        ],
    ),
    (
        "name spaces and mounts",
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_mount_setattr,
        ],
    ),
    // Files by number instead of by path.
    ("file handles", &[libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at]),
    (
        "large kernel interfaces",
        &[
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_io_setup,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_fanotify_init,
        ],
    ),
    // Landlock does not control these, and they take a path.
    (
        "attributes of files by path",
        &[
            libc::SYS_chmod,
            libc::SYS_fchmodat,
            SYS_FCHMODAT2,
            libc::SYS_chown,
            libc::SYS_lchown,
            libc::SYS_fchownat,
            libc::SYS_setxattr,
            libc::SYS_lsetxattr,
            libc::SYS_removexattr,
            libc::SYS_lremovexattr,
            libc::SYS_utime,
            libc::SYS_utimes,
            libc::SYS_futimesat,
        ],
    ),
    (
        "objects shared between processes by number or name",
        &[libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget, libc::SYS_mq_open],
    ),
];

/// `fchmodat2` (Linux 6.6).
const SYS_FCHMODAT2: i64 = 452;

/// Calls refused unless something may be written: attributes of open files.
const REFUSED_READ_ONLY: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    libc::SYS_utimensat,
];

/// Confines this process. `program` is the guest's file, which it may read.
pub fn enter(permissions: &Permissions, program: &Path) -> anyhow::Result<()> {
    files(permissions, program).context("--sandbox: the file rules cannot be put in force")?;
    calls(permissions).context("--sandbox: the call filter cannot be put in force")
}

fn files(permissions: &Permissions, program: &Path) -> anyhow::Result<()> {
    let all = AccessFs::from_all(WANTED);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))
        .context("the kernel lacks Landlock or has an old one; Linux 6.2 or later is needed")?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?;
    let mut rules = ruleset.create()?;
    let read = AccessFs::from_read(WANTED);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    for path in LIBRARIES.iter().chain(&INFORMATION) {
        rules = allow(rules, Path::new(path), read, false)?;
    }
    for path in DEVICES {
        rules = allow(rules, Path::new(path), device, false)?;
    }
    rules = allow(rules, program, read, true)?;
    for path in &permissions.read {
        rules = allow(rules, path, read, true)?;
    }
    for path in &permissions.write {
        rules = allow(rules, path, all, true)?;
    }
    let status = rules.restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        bail!("the kernel does not enforce Landlock rules");
    }
    Ok(())
}

/// Adds a rule for what lies below `path`. One that does not exist is an error if it is `needed`.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    needed: bool,
) -> anyhow::Result<RulesetCreated> {
    if !needed && !path.exists() {
        return Ok(rules);
    }
    let fd = PathFd::new(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    // A file cannot have a directory's rights.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(WANTED) };
    Ok(rules.add_rule(PathBeneath::new(fd, access))?)
}

fn calls(permissions: &Permissions) -> anyhow::Result<()> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (_, calls) in REFUSED {
        rules.extend(calls.iter().map(|&n| (n, Vec::new())));
    }
    if permissions.write.is_empty() {
        rules.extend(REFUSED_READ_ONLY.iter().map(|&n| (n, Vec::new())));
    } else {
        // With a path; without, it is about an open file.
        let path = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
        rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![path])?]);
    }
    if !permissions.net {
        // Pairs stay: they reach nobody else.
        rules.insert(libc::SYS_socket, Vec::new());
    }
    // Keystrokes into the terminal the host was started from.
    let inject = |request: u64| {
        let (dword, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        SeccompRule::new(vec![SeccompCondition::new(1, dword, equal, request)?])
    };
    rules.insert(libc::SYS_ioctl, vec![inject(libc::TIOCSTI)?, inject(libc::TIOCLINUX)?]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    apply_filter_all_threads(&program)?;
    Ok(())
}
