//! Plugins: WebAssembly components that adapt backends, decide scopes and export audit records.
//!
//! The only place that names wasmtime. Everything else sees [`Adapter`], [`Policy`] and
//! [`Exporter`], whose methods take and return plain values, and [`Fault`] when a component
//! misbehaved. What a plugin does cannot outlive its call, reach a host it was not granted or
//! hold a token.

mod accepted;
mod adapter;
mod breaker;
mod client;
mod clock;
mod courtesy;
mod databases;
mod directory;
mod egress;
mod elsewhere;
mod engine;
mod exchange;
mod exporter;
mod farewell;
mod fault;
mod figures;
mod grants;
mod guest_log;
mod imports;
mod incoming;
mod inspect;
mod instance;
mod kept;
mod limits;
mod lines;
mod loader;
mod memory;
mod meter;
mod patience;
mod policy;
mod profile;
mod recording;
mod rehearsal;
mod set;
mod settings;
mod stdio;
mod timing;
mod trust;
mod v0_1;
mod v0_2;
mod warm;
mod wasi_http;
mod wire;

pub use adapter::{Adapter, Backend, OnBehalf, Shown};
pub use client::{Question, Questions};
pub use directory::{Directory, Steps};
pub use elsewhere::{Differences, Variant};
pub use engine::{EngineError, Runtime};
pub use exchange::Exchanges;
pub use exporter::{AuditRecord, Exporter};
pub use fault::{Cause, Fault};
pub use figures::Figure;
pub use grants::Want;
pub use inspect::{Import, Inspection, Wanted, inspect};
pub use instance::{MessageSink, Notices, ProgressSink};
pub use lines::Line;
pub use loader::{Kind, Refusal};
pub use meter::Reading;
pub use policy::{Decision, Item, Policy};
pub use rehearsal::{Played, Rehearsal, RehearsalError};
pub use set::{File, Live, Loaded, Plugins, digest};
pub use trust::{check, sign, signature_file};
pub use v0_2::model;
