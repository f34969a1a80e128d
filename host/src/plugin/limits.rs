//! What one call may use, and the linear memory of one instance.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::fault::millis;
use super::meter::Meter;

/// How often a computing guest is looked at. Meanwhile it has a thread for itself, and other calls wait.
pub(super) const TICK: Duration = Duration::from_millis(2);
/// Largest table (of functions, mostly) of a guest.
pub(super) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// What one call of one plugin may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) memory_bytes: usize,
    pub(super) compute_ms: u64,
    /// Instructions of WebAssembly, more or less; `None`: they are not counted.
    pub(super) fuel: Option<u64>,
    pub(super) max_exchanges: u32,
    pub(super) max_result_bytes: usize,
}

impl Limits {
    /// Computing time in epoch ticks, at least one.
    pub(super) fn compute_ticks(&self) -> u64 {
        (self.compute_ms / millis(TICK)).max(1) + 1
    }
}

/// One limit that can be set for a single plugin, below `[limits]` of its file.
pub(super) struct Settable {
    /// Its key.
    pub(super) key: &'static str,
    range: (u64, u64),
    set: fn(&mut Limits, u64),
}

/// All of them. The ranges are those of the variables that set them for all plugins.
pub(super) const SETTABLE: [Settable; 5] = [
    Settable {
        key: "memory-mib",
        range: (2, 1024),
        set: |limits, mib| limits.memory_bytes = whole(mib).saturating_mul(1024 * 1024),
    },
    Settable {
        key: "compute-ms",
        range: (10, 60_000),
        set: |limits, ms| limits.compute_ms = ms,
    },
    Settable {
        key: "fuel",
        range: (10_000, 1_000_000_000_000),
        set: |limits, fuel| limits.fuel = Some(fuel),
    },
    Settable {
        key: "exchanges",
        range: (1, 10_000),
        set: |limits, count| limits.max_exchanges = u32::try_from(count).unwrap_or(u32::MAX),
    },
    Settable {
        key: "result-bytes",
        range: (1024, 256 * 1024 * 1024),
        set: |limits, bytes| limits.max_result_bytes = whole(bytes),
    },
];

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Limits {
    /// These limits with one set anew. The error says what is expected of it.
    pub(super) fn with(&self, key: &str, value: Option<u64>) -> Result<Self, String> {
        let Some(settable) = SETTABLE.iter().find(|settable| settable.key == key) else {
            let keys: Vec<&str> = SETTABLE.iter().map(|settable| settable.key).collect();
            return Err(format!("means nothing; there are {}", keys.join(", ")));
        };
        let (least, most) = settable.range;
        // Memory is set aside for all plugins alike.
        let most = match key {
            "memory-mib" => most.min(self.memory_bytes as u64 / (1024 * 1024)),
            _ => most,
        };
        match value {
            Some(value) if (least..=most).contains(&value) => {
                let mut limits = self.clone();
                (settable.set)(&mut limits, value);
                Ok(limits)
            }
            _ if key == "memory-mib" => Err(format!(
                "must be a whole number from {least} to {most}, which is CORTEX_PLUGIN_MEMORY_MIB"
            )),
            _ => Err(format!("must be a whole number from {least} to {most}")),
        }
    }
}

/// Bounds the linear memory and remembers that it did.
pub(super) struct Memory {
    limit: usize,
    /// What the instance has.
    bytes: usize,
    meter: Arc<Meter>,
    /// Whether it had to say no in the call in flight.
    pub(super) refused: bool,
}

impl Memory {
    pub(super) fn new(limit: usize, meter: &Arc<Meter>) -> Self {
        meter.lives(true);
        Self {
            limit,
            bytes: 0,
            meter: Arc::clone(meter),
            refused: false,
        }
    }

    /// Whether more than three quarters of what there may be are in use. It never becomes less.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.bytes > self.limit / 4 * 3
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.meter.remembers(self.bytes, 0);
        self.meter.lives(false);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.limit && maximum.is_none_or(|m| desired <= m);
        if fits {
            let now = self.bytes + desired.saturating_sub(current);
            self.meter.remembers(self.bytes, now);
            self.bytes = now;
        }
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
