//! Resource limits of the guest that must not bind the host process: those on memory. The others
//! are the host's own.

/// Soft and hard limit.
pub type Limit = (u64, u64);

/// Limits on memory, as the guest sees them.
#[derive(Clone, Debug)]
pub struct Limits {
    address_space: Limit,
    data: Limit,
    stack: Limit,
}

impl Limits {
    /// The host's limits.
    pub fn inherited() -> Limits {
        Limits {
            address_space: host(libc::RLIMIT_AS),
            data: host(libc::RLIMIT_DATA),
            stack: host(libc::RLIMIT_STACK),
        }
    }

    /// A limit kept here; `None` for one that is the host's.
    pub fn get(&self, resource: u32) -> Option<Limit> {
        match resource {
            libc::RLIMIT_AS => Some(self.address_space),
            libc::RLIMIT_DATA => Some(self.data),
            libc::RLIMIT_STACK => Some(self.stack),
            _ => None,
        }
    }

    /// Changes a limit kept here; false for one that is the host's.
    pub fn set(&mut self, resource: u32, limit: Limit) -> bool {
        let slot = match resource {
            libc::RLIMIT_AS => &mut self.address_space,
            libc::RLIMIT_DATA => &mut self.data,
            libc::RLIMIT_STACK => &mut self.stack,
            _ => return false,
        };
        *slot = limit;
        true
    }

    /// Bytes the stack may grow to.
    pub fn stack(&self) -> u64 {
        self.stack.0
    }
}

fn host(resource: u32) -> Limit {
    let mut r = libc::rlimit { rlim_cur: u64::MAX, rlim_max: u64::MAX };
    // SAFETY: r is a valid rlimit; on failure it keeps "no limit".
    unsafe { libc::getrlimit(resource, &mut r) };
    (r.rlim_cur, r.rlim_max)
}
