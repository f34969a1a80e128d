//! A contract backend: one HTTP endpoint that the gateway's `backend-http` adapter speaks to.
//!
//! It keeps notes in memory. Copy it to write your own: `catalog` says what there is,
//! `methods` does it, `notes` is the application; the rest can stay as it is.
//!
//! | file | job |
//! | --- | --- |
//! | `server.rs` | HTTP: one path, bounded bodies, graceful stop |
//! | `caller.rs` | who calls: the gateway itself, or it for a user |
//! | `token.rs` | users' access tokens, against their issuer's keys |
//! | `methods.rs` | method name and params in, JSON or [`Failure`] out |
//! | `catalog.rs` | tools, prompts and resource templates as the gateway lists them |
//! | `notes.rs` | the notes |
//! | `params.rs`, `clock.rs`, `failure.rs` | arguments in; times and errors out |
//!
//! The wire format is in `docs/`, under "Backend contract".

mod caller;
mod catalog;
mod clock;
mod failure;
mod methods;
mod notes;
mod params;
mod server;
mod token;

pub use caller::Secret;
pub use failure::Failure;
pub use methods::App;
pub use server::serve;
pub use token::Issuer;

/// The one path of a contract backend.
pub const PATH: &str = "/api/cortex/backend";
