//! What the calls of one subject to one backend remember for each other. Backend adapters only.
//!
//! ```
//! use cortex_plugin_sdk::memory;
//!
//! let slot = memory::hold("session")?;
//! let session = slot.get().unwrap_or_else(|| {
//!     let begun = r#"{"id":"s-1"}"#.to_owned();
//!     slot.set(Some(&begun));
//!     begun
//! });
//! // Others go on from here.
//! drop(slot);
//! # assert_eq!(session, r#"{"id":"s-1"}"#);
//! # Ok::<(), String>(())
//! ```

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::memory::{Slot as HostSlot, hold as host_hold};
use crate::json::Json;
#[cfg(not(target_family = "wasm"))]
use crate::testing::{FakeSlot as HostSlot, hold as host_hold};

/// One remembered value, held until this is dropped.
#[derive(Debug)]
pub struct Slot(HostSlot);

impl Slot {
    /// What is remembered.
    pub fn get(&self) -> Option<Json> {
        self.0.get()
    }

    /// Remembers something else (JSON, 16,384 bytes at most); `None` forgets.
    pub fn set(&self, value: Option<&str>) {
        self.0.set(value);
    }
}

/// Holds the slot of this name. Waits while another call of the same subject and backend holds it.
///
/// # Errors
///
/// When that took too long.
pub fn hold(name: &str) -> Result<Slot, String> {
    host_hold(name).map(Slot)
}
