//! What one call may use, and the linear memory of one instance.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::fault::millis;

/// How often a computing guest is looked at.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Largest table (of functions, mostly) of a guest.
pub(super) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// What one call of one plugin may use.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) memory_bytes: usize,
    pub(super) compute_ms: u64,
    pub(super) max_exchanges: u32,
    pub(super) max_result_bytes: usize,
}

impl Limits {
    /// Computing time in epoch ticks, at least one.
    pub(super) fn compute_ticks(&self) -> u64 {
        (self.compute_ms / millis(TICK)).max(1) + 1
    }
}

/// Bounds the linear memory and remembers that it did.
pub(super) struct Memory {
    limit: usize,
    /// Whether it had to say no in the call in flight.
    pub(super) refused: bool,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            refused: false,
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.limit && maximum.is_none_or(|m| desired <= m);
        self.refused |= !fits;
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS && maximum.is_none_or(|m| desired <= m))
    }
}
