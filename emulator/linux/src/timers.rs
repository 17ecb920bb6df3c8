//! POSIX timers of a process, under ids of the guest's own: the host has timers, too.
//!
//! A timer on the CPU clock of a guest thread is one on the run thread's clock, set only while that thread
//! has its turn.

use crate::sys::host_call::syscall;
use crate::{Errno, SysResult};

/// A timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Its id as the guest knows it.
    pub id: i32,
    /// Its id on the host.
    pub host: i32,
    /// The thread that its signals are for (`SIGEV_THREAD_ID`).
    pub owner: Option<i32>,
    /// The thread whose CPU clock it goes by.
    pub clock: Option<i32>,
    /// While that thread does not run: what is left.
    pub paused: Option<Setting>,
}

/// A timer's interval and what is left until it expires, each in seconds and nanoseconds
/// (`struct __kernel_itimerspec`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Setting(pub [u64; 4]);

impl Setting {
    /// Nanoseconds until it expires; 0: it is not set.
    pub fn left(self) -> u64 {
        self.0[2].saturating_mul(1_000_000_000).saturating_add(self.0[3])
    }

    /// The same with another time left.
    pub fn with_left(self, ns: u64) -> Setting {
        Setting([self.0[0], self.0[1], ns / 1_000_000_000, ns % 1_000_000_000])
    }
}

impl Timer {
    /// Sets the host's timer; how it was set.
    pub fn set_host(&self, flags: u64, new: Setting) -> Result<Setting, Errno> {
        let mut old = Setting::default();
        let at = [&raw const new as u64, &raw mut old as u64];
        let args = [self.host as u64, flags, at[0], at[1], 0, 0];
        syscall(libc::SYS_timer_settime, &args, false).map(|_| old)
    }

    /// How the host's timer is set.
    pub fn get_host(&self) -> Result<Setting, Errno> {
        let mut now = Setting::default();
        let args = [self.host as u64, &raw mut now as u64, 0, 0, 0, 0];
        syscall(libc::SYS_timer_gettime, &args, false).map(|_| now)
    }

    /// Deletes the host's timer.
    pub fn delete_host(&self) -> SysResult {
        syscall(libc::SYS_timer_delete, &[self.host as u64, 0, 0, 0, 0, 0], false)
    }

    fn pause(&mut self) {
        // It exists, so this cannot fail.
        self.paused = self.set_host(0, Setting::default()).ok();
    }

    fn resume(&mut self) {
        if let Some(setting) = self.paused.take()
            && setting.left() != 0
        {
            // As above.
            let _ = self.set_host(0, setting);
        }
    }
}

/// The timers of a process.
#[derive(Debug, Default)]
pub struct Timers {
    all: Vec<Timer>,
    /// Ids count up, as the kernel's do (kernel/time/posix-timers.c, `posix_timer_add`).
    next: i32,
}

impl Timers {
    /// The id of the next timer.
    pub fn next_id(&self) -> i32 {
        self.next
    }

    /// Enters a timer, whose id does not count; its id for the guest.
    pub fn add(&mut self, timer: Timer) -> i32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1) & i32::MAX;
        self.all.push(Timer { id, ..timer });
        id
    }

    /// The timer with this id.
    pub fn get(&mut self, id: i32) -> Option<&mut Timer> {
        self.all.iter_mut().find(|t| t.id == id)
    }

    /// The timer with this id on the host.
    pub fn of_host(&self, host: i32) -> Option<Timer> {
        self.all.iter().find(|t| t.host == host).copied()
    }

    /// Forgets a timer.
    pub fn remove(&mut self, id: i32) -> Option<Timer> {
        let at = self.all.iter().position(|t| t.id == id)?;
        Some(self.all.remove(at))
    }

    /// Whether some go by a thread's CPU clock.
    pub fn follow_threads(&self) -> bool {
        self.all.iter().any(|t| t.clock.is_some())
    }

    /// Thread `to` runs instead of `from`.
    pub fn switch(&mut self, from: i32, to: i32) {
        self.all.iter_mut().filter(|t| t.clock == Some(from)).for_each(Timer::pause);
        self.all.iter_mut().filter(|t| t.clock == Some(to)).for_each(Timer::resume);
    }

    /// Thread `tid` ends, and with it the clock that some go by.
    pub fn stop(&mut self, tid: i32) {
        for t in self.all.iter_mut().filter(|t| t.clock == Some(tid)) {
            t.pause();
            t.paused = Some(Setting::default());
        }
    }

    /// Deletes all timers, as `execve` does.
    pub fn delete_all(&mut self) {
        for t in self.all.drain(..) {
            // It exists, so this cannot fail.
            let _ = t.delete_host();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(host: i32, owner: Option<i32>) -> Timer {
        Timer { id: 0, host, owner, clock: None, paused: None }
    }

    #[test]
    fn ids_count_up_and_do_not_come_back() {
        let mut timers = Timers::default();
        assert_eq!((timers.add(timer(7, None)), timers.add(timer(9, Some(1)))), (0, 1));
        assert_eq!(timers.remove(0), Some(timer(7, None)));
        assert_eq!(timers.add(timer(7, None)), 2);
        assert_eq!(timers.get(0), None);
        assert_eq!(timers.of_host(9), Some(Timer { id: 1, ..timer(9, Some(1)) }));
    }

    #[test]
    fn a_thread_s_timer_is_set_only_in_its_turn() {
        let mut host = 0i32;
        let args = [libc::CLOCK_THREAD_CPUTIME_ID as u64, 0, &raw mut host as u64, 0, 0, 0];
        syscall(libc::SYS_timer_create, &args, false).unwrap();
        let mut timers = Timers::default();
        let id = timers.add(Timer { clock: Some(5), ..timer(host, None) });
        assert!(timers.follow_threads());
        let day = Setting([3, 4, 86400, 0]);
        let timer = *timers.get(id).unwrap();
        timer.set_host(0, day).unwrap();
        timers.switch(5, 6);
        assert_eq!(timer.get_host(), Ok(Setting::default()));
        let left = timers.get(id).unwrap().paused.unwrap();
        assert_eq!(left.0[..2], [3, 4]);
        assert!(left.left() > 86000 * 1_000_000_000 && left.left() < day.left());
        timers.switch(6, 5);
        assert_eq!(timers.get(id).unwrap().paused, None);
        assert!(timer.get_host().unwrap().left() <= left.left());
        timers.stop(5);
        timers.switch(6, 5);
        assert_eq!(timer.get_host(), Ok(Setting::default()));
        assert_eq!(day.with_left(2_000_000_005), Setting([3, 4, 2, 5]));
        timers.delete_all();
        assert!(timer.get_host().is_err());
    }
}
