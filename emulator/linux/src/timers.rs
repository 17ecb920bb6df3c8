//! POSIX timers of a process, under ids of the guest's own: the host has timers, too.

use crate::sys::host_call::syscall;

/// A timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Its id as the guest knows it.
    pub id: i32,
    /// Its id on the host.
    pub host: i32,
    /// The thread that its signals are for (`SIGEV_THREAD_ID`).
    pub owner: Option<i32>,
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

    /// Enters a timer of the host; its id for the guest.
    pub fn add(&mut self, host: i32, owner: Option<i32>) -> i32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1) & i32::MAX;
        self.all.push(Timer { id, host, owner });
        id
    }

    /// The timer with this id.
    pub fn get(&self, id: i32) -> Option<Timer> {
        self.all.iter().find(|t| t.id == id).copied()
    }

    /// The timer with this id on the host.
    pub fn of_host(&self, host: i32) -> Option<Timer> {
        self.all.iter().find(|t| t.host == host).copied()
    }

    /// Forgets a timer.
    pub fn remove(&mut self, id: i32) {
        self.all.retain(|t| t.id != id);
    }

    /// Deletes all timers, as `execve` does.
    pub fn delete_all(&mut self) {
        for t in self.all.drain(..) {
            // It exists, so this cannot fail.
            let _ = syscall(libc::SYS_timer_delete, &[t.host as u64, 0, 0, 0, 0, 0], false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_and_do_not_come_back() {
        let mut timers = Timers::default();
        assert_eq!((timers.add(7, None), timers.add(9, Some(1))), (0, 1));
        timers.remove(0);
        assert_eq!(timers.add(7, None), 2);
        assert_eq!(timers.get(0), None);
        assert_eq!(timers.of_host(9), Some(Timer { id: 1, host: 9, owner: Some(1) }));
    }
}
