//! The host's handler of SIGSEGV, SIGBUS and SIGFPE.
//!
//! A fault in an [`crate::access`] instruction continues at its fix-up. A fault in generated code
//! is offered to the [`CodeHandler`] registered for it. Anything else is a bug of the host: the
//! default action is restored, so the process dies with the true signal.

use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

thread_local! {
    /// Faulting address of this thread's last recovered fault.
    static LAST_ADDRESS: Cell<u64> = const { Cell::new(0) };
}
/// Registered generated-code handler.
static CODE_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Registered last-words handler.
static CRASH_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Registered rescue handler.
static RESCUE_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Registered handler of fault signals that somebody sent.
static SENT_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Guards against installing twice.
static INSTALLED: AtomicUsize = AtomicUsize::new(0);

/// What the processor reported.
#[derive(Clone, Copy, Debug)]
pub struct HostFault {
    /// SIGSEGV, SIGBUS or SIGFPE.
    pub signal: i32,
    /// Faulting address; 0 for non-canonical ones.
    pub addr: u64,
    /// The access was a store.
    pub write: bool,
    /// Why, as [`crate::FaultKind`] numbers it; for SIGFPE the kernel's code.
    pub code: u64,
}

/// Offered every fault outside [`crate::access`]; returns true when it has changed the context so
/// that execution can continue. Runs in signal context.
pub type CodeHandler = fn(fault: &HostFault, context: &mut libc::ucontext_t) -> bool;

/// Called in signal context before the process dies of a fault nobody recovers.
pub type CrashHandler = fn(fault: &HostFault, host_pc: u64);

/// Offered a crash of foreign code in this process (signal, address, context) before it kills the
/// process; returns true when it has changed the context so that execution can continue. Runs in
/// signal context.
pub type RescueHandler = fn(signal: i32, addr: u64, context: &mut libc::ucontext_t) -> bool;

/// Registers the handler of crashes in foreign code.
pub fn set_rescue_handler(handler: RescueHandler) {
    RESCUE_HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Offers a crash to the [`RescueHandler`]; false when there is none or it cannot help.
pub fn rescue(signal: i32, addr: u64, context: &mut libc::ucontext_t) -> bool {
    let handler = RESCUE_HANDLER.load(Ordering::Acquire);
    if handler.is_null() {
        return false;
    }
    // SAFETY: only set_rescue_handler stores here.
    let f: RescueHandler = unsafe { core::mem::transmute(handler) };
    f(signal, addr, context)
}

/// Gets a signal of these numbers that a process sent (kill), as a signal handler does. Runs in
/// signal context.
pub type SentHandler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Registers the handler of fault signals that are sent instead of caused.
pub fn set_sent_handler(handler: SentHandler) {
    SENT_HANDLER.store(handler as *mut (), Ordering::Release);
}

/// The address of the calling thread's last recovered fault.
pub fn last_address() -> u64 {
    LAST_ADDRESS.get()
}

/// Records the address of a fault that a [`CodeHandler`] recovered.
pub fn set_last_address(addr: u64) {
    LAST_ADDRESS.set(addr);
}

/// Registers the handler of faults in generated code.
pub fn set_code_handler(handler: CodeHandler) {
    CODE_HANDLER.store(handler as *mut (), Ordering::Release);
}

/// Registers what to say before dying of a host bug.
pub fn set_crash_handler(handler: CrashHandler) {
    CRASH_HANDLER.store(handler as *mut (), Ordering::Release);
}

/// The bounds of the exception table.
fn table() -> (*const [i32; 2], *const [i32; 2]) {
    let (start, stop): (*const [i32; 2], *const [i32; 2]);
    // SAFETY: only takes the addresses of the linker's symbols. The entry added here, which names
    // itself and so matches no instruction, makes the section exist in every program.
    unsafe {
        core::arch::asm!(
            ".pushsection emu_ex_table, \"aR\"", ".balign 4", ".long 0", ".long 0", ".popsection",
            "lea {0}, [rip + __start_emu_ex_table]", "lea {1}, [rip + __stop_emu_ex_table]",
            out(reg) start, out(reg) stop, options(nomem, nostack, preserves_flags));
    }
    (start, stop)
}

/// The fix-up of the access instruction at host address `pc`.
fn fixup(pc: u64) -> Option<u64> {
    let (mut p, stop) = table();
    while p < stop {
        // SAFETY: p walks the entries the linker laid out between the two symbols.
        let [insn, cont] = unsafe { *p };
        let at = p as u64;
        if at.wrapping_add_signed(i64::from(insn)) == pc {
            return Some((at + 4).wrapping_add_signed(i64::from(cont)));
        }
        // SAFETY: stays within, or one past, the table.
        p = unsafe { p.add(1) };
    }
    None
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let sent = SENT_HANDLER.load(Ordering::Acquire);
    // SAFETY: the kernel passes a valid siginfo.
    if !sent.is_null() && unsafe { (*info).si_code } <= 0 {
        // SAFETY: only set_sent_handler stores here.
        let f: SentHandler = unsafe { core::mem::transmute(sent) };
        return f(signal, info, context);
    }
    // SAFETY: the kernel passes a valid context to an SA_SIGINFO handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: likewise for info; si_addr is valid for these signals.
    let (addr, si_code) = unsafe { ((*info).si_addr() as u64, (*info).si_code) };
    let regs = &mut context.uc_mcontext.gregs;
    let pc = regs[libc::REG_RIP as usize] as u64;
    let write = regs[libc::REG_ERR as usize] & 2 != 0;
    const SI_KERNEL: i32 = 0x80;
    let code = match signal {
        libc::SIGBUS => 2,
        libc::SIGFPE => si_code as u64,
        _ if si_code == SI_KERNEL => 3,
        _ => 1,
    };
    let fault = HostFault { signal, addr, write, code };
    // A signal sent by a process (kill) is not a fault.
    let is_fault = si_code > 0;
    if is_fault {
        if let Some(cont) = fixup(pc) {
            set_last_address(addr);
            regs[libc::REG_RIP as usize] = cont as i64;
            regs[libc::REG_R11 as usize] = code as i64;
            return;
        }
        let code_handler = CODE_HANDLER.load(Ordering::Acquire);
        if !code_handler.is_null() {
            // SAFETY: only set_code_handler stores here.
            let f: CodeHandler = unsafe { core::mem::transmute(code_handler) };
            if f(&fault, context) {
                return;
            }
        }
        if rescue(signal, addr, context) {
            return;
        }
    }
    let crash = CRASH_HANDLER.load(Ordering::Acquire);
    if !crash.is_null() {
        // SAFETY: only set_crash_handler stores here.
        let f: CrashHandler = unsafe { core::mem::transmute(crash) };
        f(&fault, pc);
    }
    // SAFETY: plain signal calls; returning re-executes the instruction and dies of it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        if !is_fault {
            libc::raise(signal);
        }
    }
}

/// Installs the handler for SIGSEGV and SIGBUS on an alternate stack of the calling thread (the
/// run thread). Calling it again does nothing.
pub fn install() {
    if INSTALLED.swap(1, Ordering::AcqRel) == 1 {
        return;
    }
    const STACK: usize = 256 * 1024;
    // SAFETY: a fresh anonymous mapping becomes the alternate stack and lives for ever; the
    // handler only uses async-signal-safe operations.
    unsafe {
        let stack = libc::mmap(
            core::ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if stack != libc::MAP_FAILED {
            let ss = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: STACK };
            libc::sigaltstack(&ss, core::ptr::null_mut());
        }
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&mut action.sa_mask);
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE] {
            libc::sigaction(signal, &action, core::ptr::null_mut());
        }
    }
}
