//! A fake authorization server: it signs whatever a test wants signed, publishes whatever keys
//! and metadata a test wants published, and goes down when told to.
//!
//! A crate of its own, because the host's unit tests and the protocol tests both need it.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot have its issuer is over"
)]

mod key;
mod server;

pub use key::{Alg, Key, encode};
pub use server::{Answer, FakeIssuer, Seen};

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}
