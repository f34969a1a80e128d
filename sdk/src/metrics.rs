//! Figures for operators, on the gateway's `/metrics`: `cortex_plugin_counter_total` and
//! `cortex_plugin_gauge`, with the labels `plugin` and `name`.
//!
//! ```
//! use cortex_plugin_sdk::{metrics, testing};
//!
//! metrics::add("lookups", 1);
//! metrics::set("queue_depth", 3.0);
//! assert_eq!(testing::counted("lookups"), 1);
//! ```
//!
//! A name is 1 to 64 characters of `a-z`, `0-9` and `_`, and a plugin has 32 of them. Never put what
//! belongs to a person into a name.

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::metrics::{add as host_add, set as host_set};
#[cfg(not(target_family = "wasm"))]
use crate::testing::{count as host_add, gauge as host_set};

/// Adds to a counter.
pub fn add(name: &str, by: u64) {
    host_add(name, by);
}

/// Sets a gauge.
pub fn set(name: &str, value: f64) {
    host_set(name, value);
}
