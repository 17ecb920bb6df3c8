//! `siginfo_t`, kept as the host's 128 bytes and converted for 32-bit guests.

use crate::Abi;

/// `SI_KERNEL`: sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// `SI_USER`: sent by kill.
pub const SI_USER: i32 = 0;
/// `SI_QUEUE`: sent by sigqueue.
pub const SI_QUEUE: i32 = -1;
/// `SI_TIMER`: a POSIX timer.
pub const SI_TIMER: i32 = -2;
/// `SI_TKILL`: sent by tkill or tgkill.
pub const SI_TKILL: i32 = -6;

/// `SYS_SECCOMP`: of SIGSYS, a filter of system calls.
pub const SYS_SECCOMP: i32 = 1;

/// Where an address lies: behind the value of a queued signal (include/linux/signal_types.h: the kernel
/// keeps 48 bytes).
const MARK: usize = 32;
/// Says that there is an address.
const ADDRESSED: i32 = 0x7061_6e64;
/// The code of an addressed signal from another process.
const FOREIGN: i32 = -61;

/// A signal's information, laid out as the x86-64 kernel does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigInfo(pub [u8; 128]);

/// Which fields a siginfo has (kernel/signal.c, `siginfo_layout`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Kill,
    Timer,
    Poll,
    Fault,
    Child,
    Queue,
    Syscall,
}

/// (offset in the 64-bit layout, offset in the 32-bit layout, bytes in each).
type Move = (usize, usize, usize, usize);

impl Layout {
    fn of(signal: i32, code: i32) -> Layout {
        match (signal, code) {
            (_, SI_USER | SI_KERNEL | SI_TKILL) => Layout::Kill,
            (_, SI_TIMER) => Layout::Timer,
            (_, -5) => Layout::Poll,
            (_, c) if c < 0 => Layout::Queue,
            (libc::SIGILL | libc::SIGFPE | libc::SIGSEGV | libc::SIGBUS | libc::SIGTRAP, _) => {
                Layout::Fault
            }
            (libc::SIGCHLD, _) => Layout::Child,
            (libc::SIGIO, _) => Layout::Poll,
            (libc::SIGSYS, _) => Layout::Syscall,
            _ => Layout::Kill,
        }
    }

    fn moves(self) -> &'static [Move] {
        match self {
            Layout::Kill => &[(16, 12, 4, 4), (20, 16, 4, 4)],
            Layout::Timer => &[(16, 12, 4, 4), (20, 16, 4, 4), (24, 20, 8, 4)],
            Layout::Poll => &[(16, 12, 8, 4), (24, 16, 4, 4)],
            Layout::Fault => &[(16, 12, 8, 4), (24, 16, 2, 2)],
            Layout::Child => {
                &[(16, 12, 4, 4), (20, 16, 4, 4), (24, 20, 4, 4), (32, 24, 8, 4), (40, 28, 8, 4)]
            }
            Layout::Queue => &[(16, 12, 4, 4), (20, 16, 4, 4), (24, 20, 8, 4)],
            Layout::Syscall => &[(16, 12, 8, 4), (24, 16, 4, 4), (28, 20, 4, 4)],
        }
    }
}

impl SigInfo {
    /// A siginfo with number and code.
    pub fn new(signal: i32, code: i32) -> SigInfo {
        let mut s = SigInfo([0; 128]);
        s.put32(0, signal);
        s.put32(8, code);
        s
    }

    /// A fault at an address.
    pub fn fault(signal: i32, code: i32, addr: u64) -> SigInfo {
        let mut s = SigInfo::new(signal, code);
        s.0[16..24].copy_from_slice(&addr.to_le_bytes());
        s
    }

    /// A filter's answer to system call `number` of an ABI, made before address `pc`.
    pub fn system_call(pc: u64, number: u32, arch: u32, data: u32) -> SigInfo {
        let mut s = SigInfo::fault(libc::SIGSYS, SYS_SECCOMP, pc);
        s.put32(4, data as i32);
        s.put32(24, number as i32);
        s.put32(28, arch as i32);
        s
    }

    /// A signal this process sends to itself.
    pub fn from_self(signal: i32, code: i32) -> SigInfo {
        let mut s = SigInfo::new(signal, code);
        // SAFETY: these calls cannot fail.
        let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
        s.put32(16, pid);
        s.put32(20, uid as i32);
        s
    }

    /// A copy of what a host handler got.
    ///
    /// # Safety
    /// `info` points to a siginfo.
    pub unsafe fn from_host(info: *const libc::siginfo_t) -> SigInfo {
        // SAFETY: siginfo_t is 128 bytes of plain data.
        SigInfo(unsafe { *info.cast::<[u8; 128]>() })
    }

    fn get32(&self, at: usize) -> i32 {
        i32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn put32(&mut self, at: usize, v: i32) {
        self.0[at..at + 4].copy_from_slice(&v.to_le_bytes());
    }

    /// The host's id of the timer that sent it (`SI_TIMER`).
    pub fn timer(&self) -> Option<i32> {
        (self.code() == SI_TIMER).then(|| self.get32(16))
    }

    /// Names the timer that sent it.
    pub fn set_timer(&mut self, id: i32) {
        self.put32(16, id);
    }

    /// Addresses a signal for a process to its thread `tid`, in bytes that the kernel passes on and
    /// no signal uses. `foreign`: to another process, where only few codes may be used.
    pub fn address_to(&mut self, tid: i32, foreign: bool) {
        let code = self.code();
        for (at, value) in [(MARK, ADDRESSED), (MARK + 4, tid), (MARK + 8, code)] {
            self.put32(at, value);
        }
        if foreign {
            self.put32(8, FOREIGN);
        }
    }

    /// Takes an address away; the thread it names.
    pub fn take_address(&mut self) -> Option<i32> {
        if self.get32(MARK) != ADDRESSED {
            return None;
        }
        let (tid, code) = (self.get32(MARK + 4), self.get32(MARK + 8));
        self.0[MARK..MARK + 12].fill(0);
        self.put32(8, code);
        Some(tid)
    }

    /// The signal's number.
    pub fn signal(&self) -> i32 {
        self.get32(0)
    }

    /// `si_code`.
    pub fn code(&self) -> i32 {
        self.get32(8)
    }

    /// Sets the signal's number.
    pub fn set_signal(&mut self, signal: i32) {
        self.put32(0, signal);
    }

    /// Whether a processor fault caused it.
    pub fn is_fault(&self) -> bool {
        self.code() > 0 && super::bit(self.signal()) & super::SYNCHRONOUS != 0
    }

    /// As the guest lays it out.
    pub fn to_guest(&self, abi: Abi) -> [u8; 128] {
        if abi == Abi::X86_64 {
            return self.0;
        }
        let mut out = [0; 128];
        out[..12].copy_from_slice(&self.0[..12]);
        for &(host, guest, _, n) in Layout::of(self.signal(), self.code()).moves() {
            out[guest..guest + n].copy_from_slice(&self.0[host..host + n]);
        }
        out
    }

    /// From the guest's layout.
    pub fn from_guest(abi: Abi, raw: &[u8; 128]) -> SigInfo {
        let mut s = SigInfo(*raw);
        if abi == Abi::X86_64 {
            return s;
        }
        let layout = Layout::of(s.signal(), s.code());
        s.0[12..].fill(0);
        for &(host, guest, _, n) in layout.moves() {
            s.0[host..host + n].copy_from_slice(&raw[guest..guest + n]);
        }
        s
    }
}

impl core::fmt::Debug for SigInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigInfo {{ signal: {}, code: {} }}", self.signal(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_narrow_to_32_bits() {
        let s = SigInfo::fault(libc::SIGSEGV, 1, 0xdead_b000);
        let g = s.to_guest(Abi::I386);
        assert_eq!(g[0], 11);
        assert_eq!(g[12..16], 0xdead_b000u32.to_le_bytes());
        assert_eq!(s.to_guest(Abi::X86_64)[16..24], 0xdead_b000u64.to_le_bytes());
    }

    #[test]
    fn an_address_goes_with_a_signal_and_leaves_no_trace() {
        let s = SigInfo::from_self(10, SI_TKILL);
        for foreign in [false, true] {
            let mut sent = s;
            sent.address_to(1234, foreign);
            assert_eq!(sent.code() == SI_TKILL, !foreign);
            assert_eq!(sent.take_address(), Some(1234));
            assert_eq!(sent, s);
            assert_eq!(sent.take_address(), None);
        }
    }

    #[test]
    fn queued_values_survive_the_round_trip() {
        let mut s = SigInfo::from_self(34, SI_QUEUE);
        s.0[24..28].copy_from_slice(&77i32.to_le_bytes());
        let g = s.to_guest(Abi::I386);
        assert_eq!(g[20..24], 77i32.to_le_bytes());
        assert_eq!(SigInfo::from_guest(Abi::I386, &g), s);
    }
}
