//! What stands between an author's trait and the component's exports.

use std::marker::PhantomData;

use crate::backend::{
    CallError, Catalog, Completion, CompletionResult, Principal, PromptCall, PromptOutcome,
    ResourceOutcome, ResourceRead, Target, ToolCall, ToolOutcome,
};
use crate::bindings::exports::cortex::gateway as wit;
use crate::exporter::{AuditRecord, ExportError, Keeper};
use crate::json::Json;
use crate::policy::{Decision, Item, PolicyError};
use crate::{Backend, Description, Exporter, Package, Policy};

/// The crate that a plugin type lives in.
pub trait Packaged {
    /// As its `Cargo.toml` names it.
    const PACKAGE: Package;
}

/// A backend adapter, as the component exports it.
pub struct BackendComponent<T>(PhantomData<T>);

impl<T: Backend + Packaged> wit::plugin::Guest for BackendComponent<T> {
    fn describe() -> Description {
        T::describe(T::PACKAGE)
    }
}

impl<T: Backend> wit::backend::Guest for BackendComponent<T> {
    fn discover(target: Target) -> Result<Catalog, CallError> {
        T::discover(&target)
    }

    fn call_tool(
        target: Target,
        caller: Principal,
        call: ToolCall,
    ) -> Result<ToolOutcome, CallError> {
        T::call_tool(&target, &caller, &call).map(Into::into)
    }

    fn get_prompt(
        target: Target,
        caller: Principal,
        call: PromptCall,
    ) -> Result<PromptOutcome, CallError> {
        T::get_prompt(&target, &caller, &call)
    }

    fn read_resource(
        target: Target,
        caller: Principal,
        read: ResourceRead,
    ) -> Result<ResourceOutcome, CallError> {
        T::read_resource(&target, &caller, &read)
    }

    fn complete(
        target: Target,
        caller: Principal,
        completion: Completion,
    ) -> Result<CompletionResult, CallError> {
        T::complete(&target, &caller, &completion)
    }

    fn whoami(target: Target, caller: Principal) -> Result<Json, CallError> {
        T::whoami(&target, &caller)
    }

    fn report_ticket(target: Target, caller: Principal, ticket: Json) -> Result<Json, CallError> {
        T::report_ticket(&target, &caller, &ticket)
    }

    fn list_tickets(target: Target, caller: Principal, query: Json) -> Result<Json, CallError> {
        T::list_tickets(&target, &caller, &query)
    }

    fn get_snapshot(target: Target) -> Result<Json, CallError> {
        T::get_snapshot(&target)
    }
}

/// A scope policy, as the component exports it.
pub struct PolicyComponent<T>(PhantomData<T>);

impl<T: Policy + Packaged> wit::plugin::Guest for PolicyComponent<T> {
    fn describe() -> Description {
        T::describe(T::PACKAGE)
    }
}

impl<T: Policy> wit::policy::Guest for PolicyComponent<T> {
    fn reads() -> Vec<String> {
        T::reads().iter().map(|read| read.as_str().into()).collect()
    }

    fn filter(caller: Principal, items: Vec<Item>) -> Result<Vec<bool>, PolicyError> {
        T::filter(&caller, &items)
    }

    fn authorize(
        caller: Principal,
        item: Item,
        arguments: Option<Json>,
    ) -> Result<Decision, PolicyError> {
        T::authorize(&caller, &item, arguments.as_deref())
    }
}

/// An audit exporter, as the component exports it.
pub struct ExporterComponent<T>(PhantomData<T>);

impl<T: Exporter + Packaged> wit::plugin::Guest for ExporterComponent<T> {
    fn describe() -> Description {
        T::describe(T::PACKAGE)
    }
}

impl<T: Exporter> wit::exporter::Guest for ExporterComponent<T> {
    fn export_batch(records: Vec<AuditRecord>) -> Result<u32, ExportError> {
        T::export_batch(&records).map(|taken| u32::try_from(taken).unwrap_or(u32::MAX))
    }
}

impl<T: Keeper> wit::keeping::Guest for ExporterComponent<T> {
    fn purge(before: String) -> Result<u64, ExportError> {
        T::purge(&before)
    }

    fn erase(issuer: Option<String>, subject: String) -> Result<u64, ExportError> {
        T::erase(issuer.as_deref(), &subject)
    }
}

/// Compiles for a backend adapter only.
pub const fn is_backend<T: Backend + Packaged>() {}

/// Compiles for a scope policy only.
pub const fn is_policy<T: Policy + Packaged>() {}

/// Compiles for an audit exporter only.
pub const fn is_exporter<T: Exporter + Packaged>() {}

/// Compiles for an audit exporter only that looks after its records.
pub const fn is_keeper<T: Keeper + Packaged>() {}

/// World `audit-keeper`, encoded by `build.rs`.
pub const AUDIT_KEEPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/audit-keeper"));

/// World `backend-adapter`, encoded by `build.rs`.
pub const BACKEND_ADAPTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/backend-adapter"));

/// World `scope-policy`, encoded by `build.rs`.
pub const SCOPE_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scope-policy"));

/// World `audit-exporter`, encoded by `build.rs`.
pub const AUDIT_EXPORTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/audit-exporter"));

/// Copies an encoded world into the array that a link section must be.
pub const fn section<const N: usize>(world: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(world);
    bytes
}

/// Exports a type that implements [`Backend`] as this crate's component.
///
/// ```
/// # use cortex_plugin_sdk::prelude::*;
/// # struct Empty;
/// # impl Backend for Empty {
/// #     fn discover(_: &Target) -> Result<Catalog, CallError> { Ok(Catalog::default()) }
/// #     fn call_tool(_: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
/// #         Err(CallError::not_found(&call.tool))
/// #     }
/// # }
/// cortex_plugin_sdk::export_backend!(Empty);
/// ```
#[macro_export]
macro_rules! export_backend {
    ($plugin:ident) => {
        $crate::__export!($plugin is_backend, BackendComponent, BACKEND_ADAPTER, backend
            __export_cortex_gateway_backend_0_2_0_cabi "component-type:cortex-backend-adapter");
    };
}

/// Exports a type that implements [`Policy`] as this crate's component.
///
/// ```
/// # use cortex_plugin_sdk::prelude::*;
/// # struct Nobody;
/// # impl Policy for Nobody {
/// #     fn reads() -> Vec<Reads> { vec![] }
/// #     fn authorize(_: &Principal, _: &Item, _: Option<&str>) -> Result<Decision, PolicyError> {
/// #         Ok(Decision::Deny("closed".into()))
/// #     }
/// # }
/// cortex_plugin_sdk::export_policy!(Nobody);
/// ```
#[macro_export]
macro_rules! export_policy {
    ($plugin:ident) => {
        $crate::__export!($plugin is_policy, PolicyComponent, SCOPE_POLICY, policy
            __export_cortex_gateway_policy_0_2_0_cabi "component-type:cortex-scope-policy");
    };
}

/// Exports a type that implements [`Exporter`] as this crate's component.
///
/// ```
/// # use cortex_plugin_sdk::prelude::*;
/// # struct Forget;
/// # impl Exporter for Forget {
/// #     fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> { Ok(records.len()) }
/// # }
/// cortex_plugin_sdk::export_exporter!(Forget);
/// ```
#[macro_export]
macro_rules! export_exporter {
    ($plugin:ident) => {
        $crate::__export!($plugin is_exporter, ExporterComponent, AUDIT_EXPORTER, exporter
            __export_cortex_gateway_exporter_0_2_0_cabi "component-type:cortex-audit-exporter");
    };
}

/// Exports a type that implements [`Keeper`](crate::Keeper) as this crate's component.
///
/// ```
/// # use cortex_plugin_sdk::prelude::*;
/// # use cortex_plugin_sdk::Keeper;
/// # struct Forget;
/// # impl Exporter for Forget {
/// #     fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> { Ok(records.len()) }
/// # }
/// # impl Keeper for Forget {
/// #     fn purge(_: &str) -> Result<u64, ExportError> { Ok(0) }
/// #     fn erase(_: Option<&str>, _: &str) -> Result<u64, ExportError> { Ok(0) }
/// # }
/// cortex_plugin_sdk::export_keeper!(Forget);
/// ```
#[macro_export]
macro_rules! export_keeper {
    ($plugin:ident) => {
        $crate::__export!($plugin is_keeper, ExporterComponent, AUDIT_KEEPER, exporter
            __export_cortex_gateway_exporter_0_2_0_cabi, keeping
            __export_cortex_gateway_keeping_0_2_0_cabi "component-type:cortex-audit-keeper");
    };
}

/// The export macros, written once. A component-type section tells the linker which world
/// this is; without it the exported functions would be nameless.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident $check:ident, $component:ident, $world:ident,
        $($interface:ident $export:ident),+ $section:literal) => {
        impl $crate::__private::Packaged for $plugin {
            const PACKAGE: $crate::Package = $crate::Package {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                description: env!("CARGO_PKG_DESCRIPTION"),
            };
        }

        const _: () = $crate::__private::$check::<$plugin>();

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::__private::$component<$plugin>;

            $crate::bindings::exports::cortex::gateway::plugin::__export_cortex_gateway_plugin_0_2_0_cabi!(
                Component with_types_in $crate::bindings::exports::cortex::gateway::plugin
            );
            $(
                $crate::bindings::exports::cortex::gateway::$interface::$export!(
                    Component with_types_in $crate::bindings::exports::cortex::gateway::$interface
                );
            )+

            #[used]
            #[unsafe(link_section = $section)]
            static WORLD: [u8; $crate::__private::$world.len()] =
                $crate::__private::section($crate::__private::$world);
        };
    };
}
