//! Lines in the gateway's own log, for operators.
//!
//! The gateway adds time, plugin name and request id, and drops lines past a rate. Never log
//! arguments, results or personal data: the log is not the audit.

pub use crate::bindings::cortex::gateway::log::Level;

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::log::write as host_write;
#[cfg(not(target_family = "wasm"))]
use crate::testing::log as host_write;

/// Writes one line.
pub fn write(level: Level, message: impl AsRef<str>) {
    host_write(level, message.as_ref());
}

/// For the author of the plugin.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message);
}

/// For an operator who is looking.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message);
}

/// Somebody should look soon.
pub fn warning(message: impl AsRef<str>) {
    write(Level::Warning, message);
}

/// Somebody should look now.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message);
}
