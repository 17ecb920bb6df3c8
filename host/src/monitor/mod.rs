//! The monitor: commands about plugins, while a guest runs and between runs.
//!
//! * [`command`] has the commands; every front end takes the same ones.
//! * [`console`] is the end in the process that runs a guest. It listens on a UNIX socket and is served
//!   by the run thread, at a block boundary: the kernel signals that thread when something can be read, so
//!   that a guest without commands is not slowed down.
//! * [`session`] makes several runs. Each is a process of its own, forked from the session's: a guest may
//!   change anything of its process for good (limits, user id, working directory, signal actions,
//!   descriptors), so no second guest could be given the same one. Plugins are loaded, started and ended in
//!   the process of the run; nothing of one run is left in the next.
//! * [`repl`] reads commands from a terminal or a script; [`watch`] runs the guest again whenever a plugin's
//!   file changes.

pub mod client;
pub mod command;
pub mod console;
mod os;
pub mod repl;
pub mod session;
pub mod watch;
