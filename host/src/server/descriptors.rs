//! File descriptors: each connection takes one, and systems often allow a process 1,024 until it
//! asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Asked for at most: far more than there may be connections.
const WANTED: u64 = 65_536;
/// Taken by other things than those who listen: calls, backends, files.
const OTHERS: u64 = 256;

/// Asks for as many as this process may have, and warns if that is not enough for so many who
/// listen.
pub fn raise(listeners: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(WANTED).min(WANTED);
    let mut limit = current.unwrap_or(u64::MAX);
    if limit < wanted {
        let raised = Rlimit {
            current: Some(wanted),
            maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = wanted,
            Err(error) => debug!(%error, "the limit of open files stays as it is"),
        }
    }
    if limit < (listeners as u64).saturating_add(OTHERS) {
        warn!(
            "only {limit} files may be open: fewer than {listeners} clients can listen; \
             hint: raise the hard limit (`ulimit -Hn`), or lower CORTEX_MAX_STREAMS"
        );
    }
}
