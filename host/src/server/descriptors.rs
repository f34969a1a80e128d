//! File descriptors: each connection takes one, and systems often allow a process 1,024 until it
//! asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Asked for at least: far more than there are connections by default.
const WANTED: u64 = 65_536;
/// Taken by other things than clients' connections: backends, files.
const OTHERS: u64 = 256;

/// Asks for as many as this process may have, and warns if that is not enough for so many
/// connections.
pub fn raise(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = (connections as u64).saturating_add(OTHERS);
    let wanted = WANTED.max(needed).min(maximum.unwrap_or(u64::MAX));
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
    if limit < needed {
        warn!(
            "only {limit} files may be open: too few for {connections} connections; \
             hint: raise the hard limit (`ulimit -Hn`), or lower CORTEX_MAX_CONNECTIONS"
        );
    }
}
