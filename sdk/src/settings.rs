//! What the operator has set for this plugin, in the table `[settings]` of the file `<name>.toml`
//! beside the component.
//!
//! ```
//! use cortex_plugin_sdk::{settings, testing};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Settings {
//!     greeting: String,
//! }
//!
//! testing::set_settings(r#"{"greeting":"Hello"}"#);
//! let settings: Settings = settings::read()?;
//! assert_eq!(settings.greeting, "Hello");
//! # Ok::<(), settings::Unreadable>(())
//! ```
//!
//! The gateway checks them against the schema that the plugin [declares](crate::Description::settings), so
//! what is read here fits it.

use std::error::Error;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::json::Json;

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::settings::get as host_get;
#[cfg(not(target_family = "wasm"))]
use crate::testing::settings as host_get;

/// The settings as they are: a JSON object, `{}` when nothing is set.
pub fn text() -> Json {
    host_get()
}

/// The settings as a type of the author's.
///
/// # Errors
///
/// When the type asks for something that the declared schema does not.
pub fn read<T: DeserializeOwned>() -> Result<T, Unreadable> {
    serde_json::from_str(&text()).map_err(|error| Unreadable(error.to_string()))
}

/// Settings that a type cannot be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be read: {}", self.0)
    }
}

impl Error for Unreadable {}
