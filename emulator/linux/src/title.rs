//! What other processes see of this one: its name and its arguments.
//!
//! The host kernel makes `/proc/PID/comm`, `cmdline` and `environ` of what it knows about the host
//! process. Guest addresses are host addresses, so it can be told where the guest's strings are;
//! `ps`, `pgrep -f` and programs that overwrite their arguments then work between guests as
//! natively.

use std::io::Read;

use crate::Process;

/// `struct prctl_mm_map` of `PR_SET_MM_MAP`.
#[repr(C)]
#[derive(Default, Debug)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Gives the host process the guest's name, which `ps` and `/proc/self/comm` show.
pub fn set_name(comm: &[u8]) {
    let mut name = [0u8; 16];
    let n = comm.len().min(15);
    name[..n].copy_from_slice(&comm[..n]);
    // SAFETY: PR_SET_NAME reads at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// The name of a thread, which is that of the host thread with its id.
pub fn name_of(tid: i32) -> [u8; 16] {
    let mut name = [0u8; 16];
    let comm = std::fs::read(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let n = comm.len().min(15);
    name[..n].copy_from_slice(&comm[..n]);
    name
}

/// Shows the guest's arguments and environment as the host process's. A kernel without
/// `CONFIG_CHECKPOINT_RESTORE` refuses; others then see the host's.
pub fn set_arguments(p: &Process) {
    let mut stat = String::with_capacity(1 << 10);
    if let Ok(mut file) = std::fs::File::open("/proc/self/stat") {
        let _ = file.read_to_string(&mut stat);
    }
    let Some(mut map) = addresses(&stat) else { return };
    // SAFETY: changes nothing: it asks where the heap ends.
    map.brk = unsafe { libc::syscall(libc::SYS_brk, 0) } as u64;
    (map.arg_start, map.arg_end) = p.program.args;
    (map.env_start, map.env_end) = p.program.env;
    (map.auxv, map.auxv_size) = (p.program.auxv.as_ptr() as u64, p.program.auxv.len() as u32);
    map.exe_fd = u32::MAX;
    let (option, size) = (libc::PR_SET_MM_MAP, size_of::<MmMap>());
    // SAFETY: the structure is as long as is said; only what `/proc` shows changes.
    let r = unsafe { libc::prctl(libc::PR_SET_MM, option, &raw const map, size, 0) };
    if r != 0 {
        tracing::debug!("arguments stay the host's: {}", std::io::Error::last_os_error());
    }
}

/// What stays as it is, by a line of `/proc/PID/stat`.
fn addresses(stat: &str) -> Option<MmMap> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // Numbered as in proc(5); the first field after the name is number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(MmMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        ..MmMap::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_manual() {
        // The name may hold anything.
        let numbers: Vec<String> = (3..53).map(|n| n.to_string()).collect();
        let map = addresses(&format!("1 (a ) b) {}\n", numbers.join(" "))).unwrap();
        assert_eq!((map.start_code, map.end_code, map.start_stack), (26, 27, 28));
        assert_eq!((map.start_data, map.end_data, map.start_brk), (45, 46, 47));
        assert!(addresses("1 (short) R 1 2").is_none());
    }
}
