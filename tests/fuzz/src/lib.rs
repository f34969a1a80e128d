//! What must hold whatever comes in. Each function takes any bytes, and panics where something
//! does not hold. `cargo xtask fuzz` looks for bytes that make one panic.
#![allow(
    clippy::expect_used,
    reason = "what is expected here is what is being tested"
)]

pub mod jsonrpc;

#[cfg(fuzzing)]
pub mod headers;
#[cfg(fuzzing)]
pub mod token;
