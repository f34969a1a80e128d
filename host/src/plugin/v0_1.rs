//! The 0.1 line of `cortex:gateway`, the one before: generated bindings. What it imports is what the
//! current line imports, under its own name; what it exports is turned into the words of the current
//! line in `convert`.

mod convert;

pub(super) use convert::Translate;

/// `backend-adapter`.
pub(super) mod adapter {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "backend-adapter",
        exports: { default: async },
        with: {
            "cortex:gateway/types": super::types,
            "cortex:gateway/log": crate::plugin::v0_2::adapter::cortex::gateway::log,
            "cortex:gateway/settings": crate::plugin::v0_2::adapter::cortex::gateway::settings,
            "cortex:gateway/http": crate::plugin::v0_2::adapter::cortex::gateway::http,
            "cortex:gateway/progress": crate::plugin::v0_2::adapter::cortex::gateway::progress,
            "cortex:gateway/client-log": crate::plugin::v0_2::adapter::cortex::gateway::client_log,
            "cortex:gateway/client": crate::plugin::v0_2::adapter::cortex::gateway::client,
            "cortex:gateway/memory": crate::plugin::v0_2::adapter::cortex::gateway::memory,
        },
    });
}

/// `scope-policy`.
pub(super) mod policy {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "scope-policy",
        exports: { default: async },
        with: {
            "cortex:gateway/types": super::types,
            "cortex:gateway/log": crate::plugin::v0_2::adapter::cortex::gateway::log,
            "cortex:gateway/settings": crate::plugin::v0_2::adapter::cortex::gateway::settings,
        },
    });
}

/// `audit-exporter`.
pub(super) mod exporter {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "audit-exporter",
        exports: { default: async },
        with: {
            "cortex:gateway/types": super::types,
            "cortex:gateway/log": crate::plugin::v0_2::adapter::cortex::gateway::log,
            "cortex:gateway/settings": crate::plugin::v0_2::adapter::cortex::gateway::settings,
        },
    });
}

/// Words that did not change, and one that did.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub mod types {
    use wasmtime::component::{ComponentType, Lift, Lower};

    pub use crate::plugin::v0_2::adapter::cortex::gateway::types::{
        Host, HostWithStore, Json, Principal, Scope, add_to_linker,
    };

    /// How a plugin introduces itself.
    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Description {
        #[component(name = "name")]
        pub name: String,
        #[component(name = "version")]
        pub version: String,
        #[component(name = "summary")]
        pub summary: String,
        #[component(name = "settings-schema")]
        pub settings_schema: Option<Json>,
        #[component(name = "capabilities")]
        pub capabilities: Vec<Capability>,
    }

    /// What a plugin would like to be granted: without saying of what.
    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Capability {
        #[component(name = "name")]
        pub name: String,
        #[component(name = "reason")]
        pub reason: String,
    }
}
