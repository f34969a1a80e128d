//! The 0.2 line of `cortex:gateway`, which is the current one: generated bindings and nothing else.

/// `backend-adapter`.
pub(super) mod adapter {
    wasmtime::component::bindgen!({
        path: "../wit/v0.2",
        world: "backend-adapter",
        imports: {
            "cortex:gateway/http.send": async,
            "cortex:gateway/http.open": async,
            "cortex:gateway/http.[method]incoming.read": async,
            "cortex:gateway/http.ready": async,
            "cortex:gateway/client.ask": async,
            "cortex:gateway/memory.hold": async,
            "cortex:gateway/kv": async,
            "cortex:gateway/postgres": async,
        },
        exports: { default: async },
        with: {
            "cortex:gateway/http.incoming": crate::plugin::incoming::Incoming,
            "cortex:gateway/memory.slot": crate::plugin::memory::Slot,
        },
        additional_derives: [Clone, serde::Serialize, serde::Deserialize],
    });
}

/// `scope-policy`.
pub(super) mod policy {
    wasmtime::component::bindgen!({
        path: "../wit/v0.2",
        world: "scope-policy",
        exports: { default: async },
        with: {
            "cortex:gateway/types": super::adapter::cortex::gateway::types,
            "cortex:gateway/log": super::adapter::cortex::gateway::log,
            "cortex:gateway/settings": super::adapter::cortex::gateway::settings,
            "cortex:gateway/metrics": super::adapter::cortex::gateway::metrics,
        },
        additional_derives: [serde::Serialize],
    });
}

/// `audit-exporter`.
pub(super) mod exporter {
    wasmtime::component::bindgen!({
        path: "../wit/v0.2",
        world: "audit-exporter",
        exports: { default: async },
        with: {
            "cortex:gateway/types": super::adapter::cortex::gateway::types,
            "cortex:gateway/log": super::adapter::cortex::gateway::log,
            "cortex:gateway/settings": super::adapter::cortex::gateway::settings,
            "cortex:gateway/http": super::adapter::cortex::gateway::http,
            "cortex:gateway/kv": super::adapter::cortex::gateway::kv,
            "cortex:gateway/postgres": super::adapter::cortex::gateway::postgres,
            "cortex:gateway/metrics": super::adapter::cortex::gateway::metrics,
        },
        additional_derives: [serde::Serialize],
    });
}

/// The types of the contract, as the rest of the host uses them.
pub mod model {
    pub use super::adapter::cortex::gateway::client::{AskError, Refusal as ClientRefusal};
    pub use super::adapter::cortex::gateway::types::{Capability, Description, Principal};
    pub(in crate::plugin) use super::adapter::exports::cortex::gateway::backend::Target;
    pub use super::adapter::exports::cortex::gateway::backend::{
        Blob, CallError, Catalog, Completion, CompletionResult, Content, Continuation, Deprecation,
        Failure, HeaderArgument, InputRequired, LinkRequired, ListedResource, MissingScope, Prompt,
        PromptCall, PromptOutcome, PromptResult, RequestContext, ResourceOutcome, ResourceRead,
        ResourceResult, ResourceTemplate, Skipped, Tool, ToolCall, ToolOutcome, ToolResult,
    };
}
