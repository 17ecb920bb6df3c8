//! `tracing` events and panics go to the host's log.
//!
//! A plugin library has its own copy of `tracing` and of the panic hook, so installing both touches
//! nobody else. Plain thread-locals only: one with a destructor would keep the library mapped.

use core::any::Any;
use core::fmt::Write as _;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::host::Logger;
use crate::abi::level;

thread_local! {
    static MARK: u8 = const { 0 };
}

/// Identity of the current thread: the address of something that only it has.
fn thread_mark() -> usize {
    MARK.with(|mark| core::ptr::from_ref(mark) as usize)
}

/// A plugin's logger, by the thread it runs on; threads of its own use the newest.
static LOGGERS: Mutex<Vec<(usize, Logger)>> = Mutex::new(Vec::new());

/// Where the last panic on a run thread happened.
static PANIC_PLACE: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn current() -> Option<(Logger, bool)> {
    let mark = thread_mark();
    let loggers = lock(&LOGGERS);
    let own = loggers.iter().rev().find(|(m, _)| *m == mark);
    own.map(|(_, l)| (*l, true)).or_else(|| loggers.last().map(|(_, l)| (*l, false)))
}

/// Starts forwarding for the plugin that runs on this thread.
pub(crate) fn install(logger: Logger) {
    static ONCE: Once = Once::new();
    lock(&LOGGERS).push((thread_mark(), logger));
    ONCE.call_once(|| {
        // Fails only where a program of its own, such as a test, installed one before.
        let _ = tracing::subscriber::set_global_default(Forward);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|l| format!(" at {l}")).unwrap_or_default();
            match current() {
                None => before(info),
                Some((_, true)) => {
                    let mark = thread_mark();
                    let mut places = lock(&PANIC_PLACE);
                    places.retain(|(m, _)| *m != mark);
                    places.push((mark, place));
                }
                Some((logger, false)) => {
                    let text = payload_text(info.payload());
                    logger.log(level::ERROR, &format!("panic in a thread{place}: {text}"));
                }
            }
        }));
    });
}

/// Ends what [`install`] started on this thread.
pub(crate) fn uninstall() {
    let mark = thread_mark();
    let mut loggers = lock(&LOGGERS);
    if let Some(at) = loggers.iter().rposition(|(m, _)| *m == mark) {
        loggers.remove(at);
    }
}

fn payload_text(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// Place and text of a panic just caught on this thread: ` at src/lib.rs:1:2: text`.
pub(crate) fn panic_text(payload: &dyn Any) -> String {
    let mark = thread_mark();
    let mut places = lock(&PANIC_PLACE);
    let place = places
        .iter()
        .position(|(m, _)| *m == mark)
        .map(|at| places.swap_remove(at).1)
        .unwrap_or_default();
    format!("{place}: {}", payload_text(payload))
}

fn code(level: &Level) -> u32 {
    match *level {
        Level::ERROR => level::ERROR,
        Level::WARN => level::WARN,
        Level::INFO => level::INFO,
        Level::DEBUG => level::DEBUG,
        Level::TRACE => level::TRACE,
    }
}

/// Sends events to the host; spans are not shown.
struct Forward;

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && current().is_some_and(|(logger, _)| code(metadata.level()) <= logger.level())
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // The host's level may change.
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if let Some((logger, _)) = current() {
            let mut line = Line(String::new());
            event.record(&mut line);
            logger.log(code(event.metadata().level()), &line.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event's message and fields as one line.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn core::fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{space}{value:?}")
        } else {
            write!(self.0, "{space}{}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = if field.name() == "message" {
            write!(self.0, "{space}{value}")
        } else {
            write!(self.0, "{space}{}={value:?}", field.name())
        };
    }
}
