//! Ids that people write in configuration and read in logs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {what}: {expected}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
    expected: &'static str,
}

/// Lower-case words joined by `-`: what both ids below are made of.
fn is_kebab(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Id of a backend: the part of a tool's public name before the first `_`.
///
/// `a-z`, `0-9` and `-`, starting with a letter, at most 32, so that `docs_search_pages`
/// splits one way only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BackendId(Arc<str>);

impl BackendId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as it appears in variable names: `CORTEX_BACKEND_<this>_URL`.
    pub fn variable_part(&self) -> String {
        self.0.to_ascii_uppercase().replace('-', "_")
    }
}

impl FromStr for BackendId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_kebab(text, 32) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName {
            text: text.to_owned(),
            what: "a backend id",
            expected: "expected `a-z`, `0-9` and `-`, starting with a letter, at most 32 characters",
        })
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name that a plugin gives itself in `describe`; operators write it in configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PluginName(Arc<str>);

impl PluginName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_kebab(text, 64) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName {
            text: text.chars().take(80).collect(),
            what: "a plugin name",
            expected: "expected `a-z`, `0-9` and `-`, starting with a letter, at most 64 characters",
        })
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ties the log lines of one request together. Sorts by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// A new id.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// A session of the legacy era, as audit records and the log name it. What the client holds is
/// sealed; whoever knows only this cannot use the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(#[serde(with = "uuid::serde::simple")] uuid::Uuid);

impl SessionId {
    /// A new id.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// As gateways tell one another of it.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The same, read. `None`: these bytes are no id.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        uuid::Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl Default for SessionId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_ids_split_public_names_one_way_only() {
        for (text, good) in [
            ("docs", true),
            ("docs-2", true),
            ("d", true),
            ("docs_2", false),
            ("Docs", false),
            ("2docs", false),
            ("-docs", false),
            ("", false),
            ("abcdefghijklmnopqrstuvwxyz0123456", false),
        ] {
            assert_eq!(text.parse::<BackendId>().is_ok(), good, "{text:?}");
        }
        let id: BackendId = "my-docs".parse().expect("valid");
        assert_eq!(id.variable_part(), "MY_DOCS");
    }
}
