//! Companions: host threads that make blocking system calls for guest threads, so that one blocked
//! guest thread stops no other.
//!
//! A companion touches no state of the personality: it gets a number and six arguments, makes the
//! call, and sends the result back. Its host thread id is the guest thread's id.

use core::sync::atomic::{AtomicI32, Ordering, fence};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::attention;
use crate::errno::check;
use crate::sys::{HostCall, fds, host_call};
use crate::{Errno, SysResult, title};

/// The host signal that gets a companion out of a call. The C library keeps it for itself and never
/// shows it to programs; guests get it only through in-process delivery.
pub const NUDGE: i32 = 33;

/// Host id of the run thread while it runs guest code that a report should interrupt; else 0.
static WATCHING: AtomicI32 = AtomicI32::new(0);

/// Reports interrupt no longer.
pub fn unwatch() {
    WATCHING.store(0, Ordering::Relaxed);
    // A companion that did not see this sent its report before: the next look finds it.
    fence(Ordering::SeqCst);
}

/// Bytes of a companion's stack.
const STACK: usize = 64 << 10;

/// A call to make.
struct Job {
    ticket: u64,
    number: i64,
    args: [u64; 6],
    after: Option<(i64, [u64; 6])>,
}

impl Job {
    fn perform(&self) -> SysResult {
        let result = host_call::companion_syscall(self.number, &self.args);
        if let (Ok(_), Some((number, args))) = (result, self.after) {
            // It undoes what the first call did, so a nudge must not keep it from happening. EAGAIN: the
            // word of a lock changed meanwhile because somebody began to wait for it.
            while let Err(error) = host_call::companion_syscall(number, &args) {
                if !matches!(error, Errno::EAGAIN | Errno::EINTR) {
                    return Err(error);
                }
            }
        }
        result
    }
}

/// A call that was made: its ticket and its result.
pub type Completion = (u64, SysResult);

/// A companion host thread; it ends when this is dropped and its call is done.
#[derive(Debug)]
pub struct Companion {
    jobs: Sender<Job>,
    /// Host thread id.
    pub tid: i32,
}

/// Where companions report to.
#[derive(Debug)]
pub struct Completions {
    sender: Sender<Completion>,
    receiver: Receiver<Completion>,
    /// An eventfd that is readable while reports wait.
    event: OwnedFd,
    /// Host id of the run thread.
    run_thread: i32,
}

impl Drop for Completions {
    fn drop(&mut self) {
        fds::release(self.event.as_raw_fd());
    }
}

impl Completions {
    /// A place to report to.
    pub fn new() -> Result<Completions, Errno> {
        // SAFETY: makes a descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        check(i64::from(fd))?;
        // SAFETY: the descriptor is new and ours.
        let event = fds::out_of_the_way(unsafe { OwnedFd::from_raw_fd(fd) });
        let (sender, receiver) = unbounded();
        accept_pokes();
        // SAFETY: cannot fail.
        let run_thread = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
        Ok(Completions { sender, receiver, event, run_thread })
    }

    /// In a forked child: gives up the descriptor. Locks of the channel may be held for ever.
    pub fn forget(self) {
        let fd = self.event.as_raw_fd();
        fds::release(fd);
        // SAFETY: the descriptor is ours, and nobody has it any more.
        unsafe { libc::close(fd) };
        core::mem::forget(self);
    }

    /// Lets the next report interrupt guest code; false, and nothing changes, if one waits already.
    pub fn watch(&self) -> bool {
        WATCHING.store(self.run_thread, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.receiver.is_empty() {
            return true;
        }
        unwatch();
        false
    }

    /// What has been reported since.
    pub fn take(&self) -> Vec<Completion> {
        self.receiver.try_iter().collect()
    }

    /// Waits for a report, a signal or the end of `timeout` (seconds, nanoseconds).
    pub fn wait(&self, timeout: Option<(i64, i64)>) {
        let mut fd = libc::pollfd { fd: self.event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let left = timeout.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
        let at = left.as_ref().map_or(0, |t| &raw const *t as u64);
        let args = [&raw mut fd as u64, 1, at, 0, 0, 0];
        // Interrupted, timed out or ready: the caller looks at everything anyway.
        let _ = host_call::syscall(libc::SYS_ppoll, &args, true);
        let mut count = 0u64;
        // SAFETY: reads 8 bytes; the descriptor does not block.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), 8) };
    }

    /// Starts a companion with the name of thread `like`.
    pub fn companion(&self, like: i32) -> Result<Companion, Errno> {
        let name = title::name_of(like);
        let (jobs, work) = unbounded::<Job>();
        let (say_tid, tid) = bounded(1);
        let report = self.sender.clone();
        let event = self.event.as_raw_fd();
        let started = blocked(|| {
            start(move || {
                mark();
                accept_nudges();
                title::set_name(&name);
                // SAFETY: cannot fail.
                let tid = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
                if say_tid.send(tid).is_err() {
                    return;
                }
                for job in work {
                    if report.send((job.ticket, job.perform())).is_err() {
                        return;
                    }
                    announce(event);
                }
            })
        });
        if !started {
            return Err(Errno::EAGAIN);
        }
        let tid = tid.recv().map_err(|_| Errno::EAGAIN)?;
        Ok(Companion { jobs, tid })
    }
}

/// Starts a host thread that nobody waits for; false if there can be no more. Not the standard library's:
/// that takes a lock when a thread ends, which a process copied meanwhile would find held for ever.
fn start(body: impl FnOnce() + Send + 'static) -> bool {
    type Body = Box<dyn FnOnce() + Send>;
    extern "C" fn enter(body: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: made below, for this call.
        let body = unsafe { Box::from_raw(body.cast::<Body>()) };
        body();
        core::ptr::null_mut()
    }
    let body: Body = Box::new(body);
    let body = Box::into_raw(Box::new(body));
    let mut attributes = core::mem::MaybeUninit::uninit();
    let mut thread = 0;
    // SAFETY: the attributes are initialized first; `enter` takes over the body.
    let started = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        let e = libc::pthread_create(&mut thread, attributes.as_ptr(), enter, body.cast());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        e == 0
    };
    if !started {
        // SAFETY: nobody else has it.
        drop(unsafe { Box::from_raw(body) });
    }
    started
}

impl Companion {
    /// Has a call made. What its arguments point to stays alive until the report.
    pub fn submit(&self, ticket: u64, call: &HostCall) -> Result<(), Errno> {
        let HostCall { number, args, after, .. } = *call;
        self.jobs.send(Job { ticket, number, args, after }).map_err(|_| Errno::EAGAIN)
    }

    /// Interrupts the call in progress. May come too early: repeat until the report arrives.
    pub fn nudge(&self) {
        // SAFETY: signals a thread of this process.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.tid, NUDGE) };
    }
}

/// Tells the run thread, whatever it does, that there is a report.
fn announce(event: i32) {
    fence(Ordering::SeqCst);
    match WATCHING.load(Ordering::Relaxed) {
        0 => {
            let one = 1u64;
            // SAFETY: writes 8 bytes to an eventfd.
            unsafe { libc::write(event, (&raw const one).cast(), 8) };
        }
        // SAFETY: signals a thread of this process.
        run_thread => unsafe {
            libc::syscall(libc::SYS_tgkill, libc::getpid(), run_thread, attention::SIGNAL);
        },
    }
}

fn mask(set: u64) -> u64 {
    let mut old = 0u64;
    // SAFETY: the kernel reads and writes 8 bytes.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &set, &mut old, 8);
    }
    old
}

/// Runs `f` with every signal blocked: a thread started inside inherits that.
fn blocked<R>(f: impl FnOnce() -> R) -> R {
    let old = mask(u64::MAX);
    let r = f();
    mask(old);
    r
}

extern "C" fn on_nudge(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context to an SA_SIGINFO handler.
    host_call::leave_companion_call(unsafe { &mut *context.cast::<libc::ucontext_t>() });
}

/// What a companion blocks; the kernel leaves out what cannot be blocked.
pub(crate) const MASK: u64 =
    !(crate::signal::bit(NUDGE) | crate::signal::SYNCHRONOUS | crate::signal::UNMASKABLE);

/// Lets [`NUDGE`], and nothing else, interrupt this thread.
fn accept_nudges() {
    crate::signal::host::install_internal(NUDGE, on_nudge as *const () as usize, 0);
    mask(MASK);
}

/// `struct robust_list_head` of <linux/futex.h>.
#[repr(C)]
struct RobustList {
    first: *const RobustList,
    offset: i64,
    pending: *const RobustList,
}

// SAFETY: addresses only, which never change.
unsafe impl Sync for RobustList {}

/// The list of robust locks that every companion tells the kernel to have: empty, and by its address the mark of a
/// companion. Guests' own lists are not the kernel's ([`crate::robust`]).
static MARK: RobustList =
    RobustList { first: &raw const MARK, offset: 0, pending: core::ptr::null() };

/// Makes the current thread known as a companion.
fn mark() {
    // SAFETY: the kernel reads the list, which is empty, when the thread ends.
    unsafe { libc::syscall(libc::SYS_set_robust_list, &raw const MARK, size_of::<RobustList>()) };
}

/// Whether the thread of this process with that id is a companion. Its name is that of a guest thread, what it blocks
/// is the guest's during some calls, and a list of our own could be in use when the process forks.
pub fn is_companion(tid: i32) -> bool {
    let mut head: *const RobustList = core::ptr::null();
    let mut len = 0usize;
    // SAFETY: the kernel writes both variables.
    let r = unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut len) };
    r == 0 && core::ptr::eq(head, &raw const MARK)
}

/// Lets a report end the run thread's slice. It interrupts no call.
fn accept_pokes() {
    attention::install();
    let run_thread = mask(u64::MAX);
    mask(run_thread & !crate::signal::bit(attention::SIGNAL));
}
