//! The log: text on a terminal, JSON otherwise, always on standard error. Standard output
//! belongs to audit exporters.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets up the log. `RUST_LOG` chooses what is written; `info` unless it is set.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    if std::io::stderr().is_terminal() {
        log.compact().init();
    } else {
        log.json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .init();
    }
}
