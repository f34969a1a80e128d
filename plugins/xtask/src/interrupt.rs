//! Remembers that somebody asked us to stop, so that no program we started is left behind.

use crate::error::{Error, Result};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Ctrl-C: the terminal tells our children as well.
    Interrupt,
    /// Anything else: only we know.
    Terminate,
}

/// The error of a task that was stopped half-way.
pub fn error() -> Error {
    Error::new("interrupted").with_exit_code(130)
}

/// Begins to watch. Without it, as in the library, signals do what they always do.
#[cfg(unix)]
pub fn watch() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use std::sync::Arc;
    for (signal, value) in [
        (SIGINT, unix::INTERRUPT),
        (SIGTERM, unix::TERMINATE),
        (SIGHUP, unix::TERMINATE),
    ] {
        signal_hook::flag::register_usize(signal, Arc::clone(&unix::LAST), value)
            .map_err(Error::trying("watch for signals"))?;
    }
    Ok(())
}

/// What has been asked for since [`watch`], if anything.
#[cfg(unix)]
pub fn requested() -> Option<Request> {
    match unix::LAST.load(std::sync::atomic::Ordering::Relaxed) {
        unix::INTERRUPT => Some(Request::Interrupt),
        unix::TERMINATE => Some(Request::Terminate),
        _ => None,
    }
}

#[cfg(unix)]
mod unix {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, LazyLock};

    pub(super) const INTERRUPT: usize = 1;
    pub(super) const TERMINATE: usize = 2;
    pub(super) static LAST: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
}

/// Elsewhere Ctrl-C ends us and our children together: there is nothing to watch for.
#[cfg(not(unix))]
pub fn watch() -> Result<()> {
    Ok(())
}

/// Elsewhere nothing is ever noticed.
#[cfg(not(unix))]
pub fn requested() -> Option<Request> {
    None
}
