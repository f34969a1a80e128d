//! Log messages for the client that made a call. Backend adapters only.
//!
//! For lines in the operator's log see [`log`](mod@crate::log).

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::client_log::write as host_write;
#[cfg(not(target_family = "wasm"))]
use crate::testing::client_write as host_write;

/// Tells the client that made this call something, if it asked for messages of this level (MCP
/// `notifications/message`). `level` is a name of RFC 5424, `debug` to `emergency`; `data` is any
/// JSON text.
pub fn write(level: &str, logger: Option<&str>, data: &str) {
    host_write(level, logger, data);
}
