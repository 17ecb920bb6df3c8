//! What can go wrong for a plugin.

use std::io;

use crate::abi::status;

/// Why a plugin could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host refused.
    #[error("{what}: {}", describe(*.status))]
    Host {
        /// What was asked of the host.
        what: String,
        /// One of [`status`].
        status: u32,
    },
    /// A file could not be opened or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file's name.
        what: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The plugin's own reason.
    #[error("{0}")]
    Message(String),
}

impl Error {
    /// The host's status, when the host refused.
    pub fn status(&self) -> Option<u32> {
        match self {
            Error::Host { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn unless_ok(status: u32, what: impl FnOnce() -> String) -> Result<(), Error> {
        if status == status::OK { Ok(()) } else { Err(Error::Host { what: what(), status }) }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::Message(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Error {
        Error::Message(text.to_owned())
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Error {
        Error::Message(source.to_string())
    }
}

fn describe(code: u32) -> String {
    let text = match code {
        status::INVALID => "invalid argument",
        status::UNKNOWN => "unknown to this host",
        status::STALE_ID => "no longer registered",
        status::UNSUPPORTED => "not supported by this host",
        status::FAULT => "guest memory not accessible",
        status::TOO_SMALL => "buffer too small",
        status::NOT_DECLARED => "access not declared at registration",
        status::NOT_NOW => "only possible inside a callback with a running guest",
        status::EXISTS => "already there",
        status::FAILED => "failed",
        _ => return format!("host status {code}"),
    };
    text.to_owned()
}
