//! How long clients may take, and how much of the gateway they may hold.

use std::time::Duration;

use super::vars::Vars;

/// Bounds of connections and requests.
#[derive(Clone, Copy, Debug)]
pub struct BoundsConfig {
    /// Longest a client may take to send a header, and a connection may stay idle.
    pub header_time: Duration,
    /// Longest a client may take to send a body.
    pub body_time: Duration,
    /// Longest a client may take nothing of what it is sent.
    pub write_time: Duration,
    /// Connections at one time.
    pub max_connections: usize,
    /// Requests of one caller at one time.
    pub max_concurrent_per_caller: usize,
    /// How long everything is still served after the signal to stop, with `/readyz` saying no.
    pub stop_notice: Duration,
}

pub(super) fn read(vars: &mut Vars<'_>) -> BoundsConfig {
    let mut seconds = |name: &str| Duration::from_secs(vars.number::<u64>(name, 30, 1..=600));
    BoundsConfig {
        header_time: seconds("CORTEX_HEADER_TIMEOUT_SECONDS"),
        body_time: seconds("CORTEX_BODY_TIMEOUT_SECONDS"),
        write_time: seconds("CORTEX_WRITE_TIMEOUT_SECONDS"),
        max_connections: vars.number("CORTEX_MAX_CONNECTIONS", 10_000, 1..=1_000_000),
        max_concurrent_per_caller: vars.number("CORTEX_MAX_CONCURRENT_PER_CALLER", 128, 1..=2_048),
        stop_notice: Duration::from_secs(vars.number("CORTEX_STOP_NOTICE_SECONDS", 0, 0..=300)),
    }
}
