//! Signs of life while a call runs. Backend adapters only.

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::progress::report as host_report;
#[cfg(not(target_family = "wasm"))]
use crate::testing::report as host_report;

/// Tells the client that made this call how far it is, if it asked for that (MCP
/// `notifications/progress`). `done` must grow with each report; `total` is the end, if known.
pub fn report(done: f64, total: Option<f64>, message: Option<&str>) {
    host_report(done, total, message);
}
