//! Write Cortex Gateway plugins: a trait and one export line per kind.
//!
//! A whole backend adapter (this is `examples/hello-backend/src/lib.rs`):
//!
//! ```
#![doc = include_str!("../../examples/hello-backend/src/lib.rs")]
//! ```
//!
//! Its `Cargo.toml` says `crate-type = ["cdylib", "rlib"]` and depends on this crate. Then
//! `cargo build --target wasm32-wasip2 --release` makes the component, and copying it into the
//! gateway's plugin directory installs it. `docs/plugin-authors.md` goes on from there.
//!
//! | kind             | trait        | export line         | decides                               |
//! |------------------|--------------|---------------------|---------------------------------------|
//! | backend adapter  | [`Backend`]  | [`export_backend!`] | what a backend offers, and does it    |
//! | scope policy     | [`Policy`]   | [`export_policy!`]  | who may see and call what             |
//! | audit exporter   | [`Exporter`] | [`export_exporter!`]| where audit records go                |
//!
//! One component is one kind. A plugin never holds a token: it says [as whom](http::Credential)
//! a request is made, and the gateway attaches the credential on the way out.
//!
//! Compiled for anything but WebAssembly, the export lines only check the types and
//! [`http`] speaks to the mock of the `testing` module, so `cargo test` is all a plugin needs.

#![forbid(unsafe_code)] // What wit-bindgen's macro writes is its own affair.

// That it is linked is all there is to it.
#[cfg(feature = "arena")]
use cortex_plugin_arena as _;

/// The three worlds' shared bindings. Public for the export macros only.
#[doc(hidden)]
#[allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    reason = "generated from wit/, where every item is documented"
)]
pub mod bindings;

pub mod backend;
pub mod client;
pub mod client_log;
mod export;
pub mod exporter;
pub mod http;
pub mod json;
pub mod kv;
pub mod log;
pub mod memory;
pub mod metrics;
mod plugin;
pub mod policy;
pub mod postgres;
pub mod prelude;
pub mod progress;
pub mod schema;
pub mod settings;
pub mod sse;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use backend::Backend;
pub use exporter::{Exporter, Keeper};
pub use plugin::{Capability, Description, Package};
pub use policy::Policy;

/// The guide's own examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-authors.md")]
mod guide {}

/// What the export macros expand to. Not for authors, and not stable.
#[doc(hidden)]
pub mod __private {
    pub use crate::export::*;
}
