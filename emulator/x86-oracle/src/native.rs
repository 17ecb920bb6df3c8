//! Running code on the host processor.
//!
//! Entry and exit are both signals: an `int3` of ours makes the handler replace the interrupted
//! context by the state under test, and the trap that ends the test (the `int3` behind the code, or
//! a fault) makes it save that state and put our own context back. So 32-bit code needs nothing but
//! another code selector, and faults need no extra care.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use emu_ir::TrapKind;

use crate::state::{Bits, CODE, DATA, DATA_LEN, GS_BASE, Outcome, State};

/// Bytes mapped for code.
const CODE_LEN: usize = 4096;

/// The general registers of a signal context in encoding order.
const GREGS: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Arithmetic flags, DF and AC.
const FLAGS: u64 = emu_ir::flags::ALL as u64 | 1 << 10 | 1 << 18;

/// What passes between [`run`] and the handler.
struct Exchange {
    bits: Bits,
    state: State,
    pc: u64,
    trap: TrapKind,
    fault_addr: u64,
    host_gregs: [i64; 23],
    host_fx: [u8; 512],
    host_ymm_high: [u128; 16],
}

/// The exchange of the run in progress, owned by whoever holds [`LOCK`].
struct Slot(UnsafeCell<Option<Exchange>>);

// SAFETY: accessed only under `LOCK`, and by the signal handler of the thread that holds it.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(None));
static LOCK: Mutex<()> = Mutex::new(());
/// The next trap is the request to enter.
static ENTERING: AtomicBool = AtomicBool::new(false);
/// Code under test runs; the next trap ends it.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Previous actions of the signals we take, by signal number.
struct Previous(UnsafeCell<[Option<libc::sigaction>; 32]>);

// SAFETY: written once before any handler runs.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(UnsafeCell::new([None; 32]));

const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

/// The trap kind of a processor exception number.
fn trap_kind(number: i64) -> TrapKind {
    match number {
        0 => TrapKind::DivideError,
        1 => TrapKind::Debug,
        3 => TrapKind::Breakpoint,
        4 => TrapKind::Overflow,
        5 => TrapKind::BoundRange,
        6 => TrapKind::InvalidOpcode,
        14 => TrapKind::PageFault,
        16 => TrapKind::X87,
        17 => TrapKind::Alignment,
        19 => TrapKind::Simd,
        _ => TrapKind::Protection,
    }
}

/// Where the FXSAVE image of a signal context is, and the XSAVE header behind it if there is one.
fn fx_image(context: &mut libc::ucontext_t) -> *mut u8 {
    context.uc_mcontext.fpregs.cast()
}

/// Makes the kernel load x87, SSE and AVX state from the image even where it was in its initial
/// state.
///
/// # Safety
/// `image` is the floating-point image of a signal frame.
unsafe fn mark_present(image: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        let features = xfeatures(image);
        if features != 0 {
            let xstate_bv = image.add(512).cast::<u64>();
            xstate_bv.write_unaligned(xstate_bv.read_unaligned() | 7 & features);
        }
    }
}

/// The components an XSAVE image that follows has; 0 when there is none.
///
/// # Safety
/// `image` is the floating-point image of a signal frame.
unsafe fn xfeatures(image: *const u8) -> u64 {
    const MAGIC1: u32 = 0x4650_5853;
    // SAFETY: the software-reserved bytes at 464 tell whether an XSAVE header follows at 512, and
    // at 472 which components.
    unsafe {
        if image.add(464).cast::<u32>().read_unaligned() == MAGIC1 {
            image.add(472).cast::<u64>().read_unaligned()
        } else {
            0
        }
    }
}

/// The upper halves of the YMM registers in an image, if it has them.
///
/// # Safety
/// `image` is the floating-point image of a signal frame.
unsafe fn ymm_high(image: *mut u8) -> Option<*mut [u128; 16]> {
    /// Their place in the standard format.
    const AT: usize = 576;
    const AVX: u64 = 1 << 2;
    // SAFETY: the caller's promise.
    unsafe { (xfeatures(image) & AVX != 0).then(|| image.add(AT).cast()) }
}

/// Bytes of the image that belong to the state; the rest is the kernel's.
const FX_STATE: usize = 416;

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let entering = ENTERING.swap(false, Ordering::SeqCst);
    if !entering && !RUNNING.swap(false, Ordering::SeqCst) {
        return forward(signal, info, context);
    }
    // SAFETY: the kernel passes a valid context.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: this thread holds the lock and waits in `run`.
    let Some(x) = (unsafe { &mut *SLOT.0.get() }) else { return };
    let image = fx_image(context);
    let gregs = &mut context.uc_mcontext.gregs;
    if entering {
        x.host_gregs.copy_from_slice(gregs);
        // SAFETY: the image is at least 512 bytes.
        unsafe {
            core::ptr::copy_nonoverlapping(image, x.host_fx.as_mut_ptr(), FX_STATE);
            core::ptr::copy_nonoverlapping(x.state.fx.as_ptr(), image, FX_STATE);
            if let Some(high) = ymm_high(image) {
                x.host_ymm_high = high.read_unaligned();
                high.write_unaligned(x.state.ymm_high);
            }
            mark_present(image);
        }
        for (n, r) in GREGS.into_iter().enumerate() {
            gregs[r as usize] = x.state.gpr[n] as i64;
        }
        gregs[libc::REG_RIP as usize] = CODE as i64;
        gregs[libc::REG_EFL as usize] = (x.state.flags & FLAGS | 0x202) as i64;
        let selectors = gregs[libc::REG_CSGSFS as usize];
        let cs = if x.bits == Bits::B32 { 0x23 } else { 0x33 };
        gregs[libc::REG_CSGSFS as usize] = selectors & !0xffff | cs;
        RUNNING.store(true, Ordering::SeqCst);
        return;
    }
    for (n, r) in GREGS.into_iter().enumerate() {
        x.state.gpr[n] = gregs[r as usize] as u64;
    }
    x.state.flags = gregs[libc::REG_EFL as usize] as u64 & FLAGS;
    x.pc = gregs[libc::REG_RIP as usize] as u64;
    x.trap = trap_kind(gregs[libc::REG_TRAPNO as usize]);
    x.fault_addr = gregs[libc::REG_CR2 as usize] as u64;
    gregs.copy_from_slice(&x.host_gregs);
    // SAFETY: as above.
    unsafe {
        core::ptr::copy_nonoverlapping(image, x.state.fx.as_mut_ptr(), FX_STATE);
        core::ptr::copy_nonoverlapping(x.host_fx.as_ptr(), image, FX_STATE);
        if let Some(high) = ymm_high(image) {
            x.state.ymm_high = high.read_unaligned();
            high.write_unaligned(x.host_ymm_high);
        }
        mark_present(image);
    }
}

/// Passes a signal that is not ours to the handler installed before.
fn forward(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: written before this handler was installed.
    let previous = unsafe { &(*PREVIOUS.0.get())[signal as usize & 31] };
    match previous {
        Some(p) if p.sa_sigaction > libc::SIG_IGN && p.sa_flags & libc::SA_SIGINFO != 0 => {
            type Action = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: SA_SIGINFO says the action has this signature.
            let f: Action = unsafe { core::mem::transmute(p.sa_sigaction) };
            f(signal, info, context);
        }
        _ => {
            // SAFETY: plain signal call; returning re-executes the instruction and dies of it.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Maps `len` bytes at `addr`.
fn map(addr: u64, len: usize, prot: i32) {
    // SAFETY: a fresh mapping that replaces nothing.
    let at = unsafe {
        libc::mmap(
            addr as *mut libc::c_void,
            len,
            prot,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    assert_eq!(at as u64, addr, "mapping the test area at {addr:#x}");
}

fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        emu_mem::host_fault::install();
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        map(CODE, CODE_LEN, rw | libc::PROT_EXEC);
        map(DATA, DATA_LEN, rw);
        // SAFETY: the handler only touches the context and the exchange; the actions before it
        // are remembered first.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            for signal in SIGNALS {
                let mut old: libc::sigaction = core::mem::zeroed();
                libc::sigaction(signal, core::ptr::null(), &mut old);
                (*PREVIOUS.0.get())[signal as usize] = Some(old);
                libc::sigaction(signal, &action, core::ptr::null_mut());
            }
        }
    });
    thread_local!(static READY: () = {
        alternate_stack();
        load_data_segments();
        set_gs_base();
    });
    READY.with(|()| ());
}

/// Gives GS of the calling thread, which the host does not use, the base 64-bit states have.
fn set_gs_base() {
    const ARCH_SET_GS: i64 = 0x1001;
    // SAFETY: sets a register nothing else uses.
    let r = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, GS_BASE) };
    assert_eq!(r, 0, "arch_prctl refused a GS base");
}

/// Loads DS and ES of the calling thread with the flat data segment. 64-bit code does not care;
/// 32-bit code under test needs it, and a signal context does not hold these selectors.
fn load_data_segments() {
    const USER_DATA: u16 = 0x2b;
    // SAFETY: 64-bit code ignores both segments.
    unsafe {
        core::arch::asm!("mov ds, {0:x}", "mov es, {0:x}", in(reg) USER_DATA,
            options(nomem, nostack, preserves_flags));
    }
}

/// Gives the calling thread a large alternate signal stack, for good.
fn alternate_stack() {
    const LEN: usize = 256 * 1024;
    let memory: &'static mut [u8] = Vec::leak(vec![0u8; LEN]);
    let ss = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: LEN };
    // SAFETY: the memory lives for ever.
    unsafe { libc::sigaltstack(&ss, core::ptr::null_mut()) };
}

/// The test area, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Area {
    _lock: MutexGuard<'static, ()>,
}

impl Area {
    pub(crate) fn take() -> Area {
        let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        set_up();
        Area { _lock: lock }
    }

    /// Puts `code` at [`CODE`], `int3` behind it.
    pub(crate) fn set_code(&self, code: &[u8]) {
        assert!(code.len() < CODE_LEN - 16, "code under test is too long");
        // SAFETY: the area is mapped writable and ours while the lock is held.
        unsafe {
            let to = CODE as *mut u8;
            core::ptr::write_bytes(to, 0xcc, CODE_LEN);
            core::ptr::copy_nonoverlapping(code.as_ptr(), to, code.len());
        }
    }

    /// The code area.
    pub(crate) fn code(&self) -> &[u8] {
        // SAFETY: mapped for good; written only through `set_code`.
        unsafe { core::slice::from_raw_parts(CODE as *const u8, CODE_LEN) }
    }

    pub(crate) fn set_data(&self, data: &[u8]) {
        assert_eq!(data.len(), DATA_LEN);
        // SAFETY: as for code.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), DATA as *mut u8, DATA_LEN) };
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let mut v = vec![0; DATA_LEN];
        // SAFETY: as for code.
        unsafe { core::ptr::copy_nonoverlapping(DATA as *const u8, v.as_mut_ptr(), DATA_LEN) };
        v
    }

    pub(crate) fn run_native(&self, bits: Bits, state: &State) -> Outcome {
        self.set_data(&state.mem);
        let exchange = Exchange {
            bits,
            state: if bits == Bits::B32 { state.narrowed() } else { state.clone() },
            pc: 0,
            trap: TrapKind::None,
            fault_addr: 0,
            host_gregs: [0; 23],
            host_fx: [0; 512],
            host_ymm_high: [0; 16],
        };
        // SAFETY: the lock is held and no handler runs now.
        unsafe { *SLOT.0.get() = Some(exchange) };
        ENTERING.store(true, Ordering::SeqCst);
        // SAFETY: the handler enters the code under test here and comes back with all general
        // registers and the stack as they were; the rest is declared clobbered.
        unsafe {
            core::arch::asm!("int3", clobber_abi("C"));
        }
        // SAFETY: the run is over.
        let x = unsafe { (*SLOT.0.get()).take() };
        let Some(x) = x else { unreachable!("the exchange was just put there") };
        let mut state = x.state;
        state.mem = self.data();
        let mut outcome = Outcome { state, pc: x.pc, trap: x.trap, fault_addr: 0 };
        if x.trap == TrapKind::Breakpoint {
            outcome.trap = TrapKind::None;
            outcome.pc -= 1;
        }
        if x.trap == TrapKind::PageFault {
            outcome.fault_addr = x.fault_addr;
        }
        outcome
    }
}

/// Runs `code` on the host processor.
pub fn run(bits: Bits, code: &[u8], state: &State) -> Outcome {
    let area = Area::take();
    area.set_code(code);
    area.run_native(bits, state)
}
