//! How many may listen, and how quiet streams are kept open.

use std::time::Duration;

use super::vars::Vars;

/// Bounds of notification streams.
#[derive(Clone, Copy, Debug)]
pub struct StreamConfig {
    /// How often a quiet stream shows that it lives, and its token is looked at again.
    pub keep_alive: Duration,
    /// Most open streams of one caller.
    pub max_per_caller: usize,
    /// Most open streams.
    pub max: usize,
}

pub(super) fn read(vars: &mut Vars<'_>) -> StreamConfig {
    let seconds = vars.number("CORTEX_KEEP_ALIVE_SECONDS", 30, 1..=600);
    StreamConfig {
        keep_alive: Duration::from_secs(seconds),
        max_per_caller: vars.number("CORTEX_MAX_STREAMS_PER_CALLER", 64, 1..=100_000),
        max: vars.number("CORTEX_MAX_STREAMS", 5_000, 1..=100_000),
    }
}
