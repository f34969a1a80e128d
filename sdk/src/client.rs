//! Questions to the client that made a call, in the middle of it. Backend adapters only.
//!
//! For backends that ask while an exchange is open. One that ends its exchange with a question is
//! better served by [`InputRequired`](crate::backend::InputRequired).

use crate::json::Json;

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::client::ask as host_ask;
#[cfg(not(target_family = "wasm"))]
use crate::testing::ask as host_ask;

pub use crate::bindings::cortex::gateway::client::{AskError, Refusal};

/// Asks the client one thing and waits: `elicitation/create`, `sampling/createMessage` or
/// `roots/list`, with `params` as in MCP 2025-11-25. Returns the result, an object.
///
/// # Errors
///
/// When the client cannot be asked, refuses, or does not answer in time.
pub fn ask(method: &str, params: &str) -> Result<Json, AskError> {
    host_ask(method, params)
}
