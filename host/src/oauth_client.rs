//! The gateway as an OAuth 2.1 client: towards the authorization servers of MCP servers and, for the
//! pages that people see, towards its own issuer (MCP 2026-07-28, Authorization).
//!
//! Everything that others say is hostile input: bounded, parsed strictly, and only followed to where
//! tokens may travel. Knows nothing of who wants to log in, and where what was granted is kept.

pub(crate) mod authorize;
mod challenge;
pub(crate) mod discover;
pub(crate) mod exchange;
pub(crate) mod fetch;
pub(crate) mod form;
pub(crate) mod pkce;
pub(crate) mod register;
pub(crate) mod revoke;
pub(crate) mod token;

pub(crate) use challenge::Challenge;

/// Somebody else's text, fit for a message.
pub(crate) fn shown(text: &str) -> String {
    text.escape_debug().take(200).collect()
}

/// Seconds since 1970.
pub(crate) fn seconds_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
