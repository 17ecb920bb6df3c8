//! Resource limits of the guest that must not bind the host process: those on memory. The others
//! are the host's own. And what decides where the host itself lies in memory.

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

/// What decides where the kernel puts a program's mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayoutInputs {
    personality: u32,
    /// Soft limit.
    stack: u64,
}

impl LayoutInputs {
    /// This process's.
    pub fn current() -> std::io::Result<LayoutInputs> {
        // SAFETY: this argument changes nothing.
        let personality = unsafe { libc::personality(u64::from(u32::MAX)) };
        if personality == -1 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(LayoutInputs { personality: personality as u32, stack: host(libc::RLIMIT_STACK).0 })
    }

    /// These, with what gives the layout that the kernel gives without randomization and with a
    /// stack of the usual size.
    pub fn usual(self) -> LayoutInputs {
        let personality = self.personality & !(libc::ADDR_COMPAT_LAYOUT as u32);
        LayoutInputs {
            personality: personality | libc::ADDR_NO_RANDOMIZE as u32,
            stack: self.stack.min(8 << 20),
        }
    }

    /// Makes them this process's; they act on the programs it executes.
    pub fn set(self) -> std::io::Result<()> {
        let limit = libc::rlimit { rlim_cur: self.stack, rlim_max: host(libc::RLIMIT_STACK).1 };
        // SAFETY: plain values; neither call touches memory of ours.
        let done = unsafe {
            libc::personality(u64::from(self.personality)) != -1
                && libc::setrlimit(libc::RLIMIT_STACK, &limit) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

impl core::fmt::Display for LayoutInputs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.personality, self.stack)
    }
}

impl core::str::FromStr for LayoutInputs {
    type Err = LayoutInputsError;

    fn from_str(text: &str) -> Result<LayoutInputs, LayoutInputsError> {
        let parsed = text.split_once(':').and_then(|(personality, stack)| {
            Some(LayoutInputs {
                personality: personality.parse().ok()?,
                stack: stack.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| LayoutInputsError(text.to_owned()))
    }
}

/// A text that is not what [`LayoutInputs`] prints.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not PERSONALITY:STACK")]
pub struct LayoutInputsError(String);
