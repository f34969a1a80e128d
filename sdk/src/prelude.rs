//! What most plugins need, in one line: `use cortex_plugin_sdk::prelude::*;`.

pub use crate::backend::{
    Backend, CallError, Catalog, Content, Continuation, Deprecation, PromptCall, Reply,
    ResourceRead, Target, Tool, ToolCall,
};
pub use crate::exporter::{AuditRecord, ExportError, Exporter};
pub use crate::policy::{Decision, Item, Policy, PolicyError, Reads};
pub use crate::{
    Description, Package, backend::Principal, client, client_log, http, log, memory, progress,
    settings,
};
