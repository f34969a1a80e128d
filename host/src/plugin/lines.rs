//! The lines of `cortex:gateway` that are alive: one face for the components of each. Everything
//! else in the host speaks the words of the current line.

use std::sync::Arc;

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower,
    TypedFunc,
};
use wasmtime::{Store, error::Context as _};

use super::instance::State;
use super::model::{
    CallError, Catalog, Completion, CompletionResult, Description, Principal, PromptCall,
    PromptOutcome, ResourceOutcome, ResourceRead, Target, ToolCall, ToolOutcome,
};
use super::v0_1;
use super::v0_1::Translate;
use super::v0_2::exporter::exports::cortex::gateway::exporter::{AuditRecord, ExportError};
use super::v0_2::policy::exports::cortex::gateway::policy::{Decision, Item, PolicyError};

/// One line of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// The one before.
    V0_1,
    /// The current one.
    V0_2,
}

impl Line {
    /// All that are alive, the current one last.
    pub const ALL: [Self; 2] = [Self::V0_1, Self::V0_2];

    /// Its name, as the folder in `wit/` has it: `0.2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }

    /// The version that the host says it serves.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }

    /// The line that a version belongs to.
    pub(super) fn of(version: &str) -> Option<Self> {
        let (major, rest) = version.split_once('.')?;
        let minor = rest.split('.').next()?;
        Self::ALL
            .into_iter()
            .find(|line| line.as_str().split_once('.') == Some((major, minor)))
    }

    /// Which lines are served, for a person.
    pub(super) fn served() -> String {
        Self::ALL
            .map(|line| format!("{}.x", line.as_str()))
            .join(" and ")
    }
}

/// A kind of plugin in all lines: what is linked, what is instantiated, and which of its exports are
/// called how. In brackets: the arguments in the words of the line before.
///
/// That exports are of the types that they should be is looked at for all of them once, when a component is
/// loaded, and later for those that are called: it would take a third of an instantiation each time.
macro_rules! kind {
    (
        $(#[$doc:meta])*
        $pre:ident, $exports:ident, $places:ident, $module:ident :: ($world_pre:ident, $world:ident),
        $accessor:ident = $interface:literal {
            $($call:ident = $export:literal ($($argument:ident: $type:ty),*) [$($old:expr),*] -> $result:ty;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(super) enum $pre {
            V0_1(v0_1::$module::$world_pre<State>),
            V0_2(InstancePre<State>, Arc<$places>),
        }

        /// Where a component of the current line has its exports.
        pub(super) struct $places {
            describe: ComponentExportIndex,
            $($call: ComponentExportIndex,)*
        }

        impl $places {
            fn of(component: &Component) -> wasmtime::Result<Self> {
                Ok(Self {
                    describe: place(component, PLUGIN, DESCRIBE)?,
                    $($call: place(component, $interface, $export)?,)*
                })
            }
        }

        impl $pre {
            pub(super) fn new(line: Line, pre: InstancePre<State>) -> wasmtime::Result<Self> {
                Ok(match line {
                    Line::V0_1 => Self::V0_1(v0_1::$module::$world_pre::new(pre)?),
                    Line::V0_2 => {
                        let places = Arc::new($places::of(pre.component())?);
                        Self::V0_2(pre, places)
                    }
                })
            }

            /// As it is, for what it may export besides.
            #[allow(dead_code, reason = "only exporters may")]
            pub(super) fn plain(&self) -> &InstancePre<State> {
                match self {
                    Self::V0_1(pre) => pre.instance_pre(),
                    Self::V0_2(pre, _) => pre,
                }
            }

            pub(super) async fn instantiate(
                &self,
                store: &mut Store<State>,
            ) -> wasmtime::Result<$exports> {
                let profile = Arc::clone(&store.data().profile);
                let _running = profile.runtime.clock.running();
                Ok(match self {
                    Self::V0_1(pre) => {
                        $exports::V0_1(Box::new(pre.instantiate_async(store).await?))
                    }
                    Self::V0_2(pre, places) => {
                        $exports::V0_2(pre.instantiate_async(store).await?, Arc::clone(places))
                    }
                })
            }
        }

        /// What an instance of it exports.
        pub(super) enum $exports {
            V0_1(Box<v0_1::$module::$world>),
            V0_2(Instance, Arc<$places>),
        }

        impl $exports {
            /// Whether all exports are of the types that they should be.
            pub(super) fn check(&self, store: &mut Store<State>) -> wasmtime::Result<()> {
                match self {
                    // It has been looked at when the instance was made.
                    Self::V0_1(_) => {}
                    Self::V0_2(instance, places) => {
                        typed::<(), (Description,)>(instance, store, places.describe, DESCRIBE)?;
                        $(typed::<($($type,)*), ($result,)>(instance, store, places.$call, $export)?;)*
                    }
                }
                Ok(())
            }

            pub(super) async fn describe(
                &self,
                store: &mut Store<State>,
            ) -> wasmtime::Result<Description> {
                match self {
                    Self::V0_1(exports) => {
                        let told = exports.cortex_gateway_plugin().call_describe(store).await?;
                        Ok(told.translate())
                    }
                    Self::V0_2(instance, places) => {
                        let export = typed(instance, store, places.describe, DESCRIBE)?;
                        let (told,): (Description,) = export.call_async(store, ()).await?;
                        Ok(told)
                    }
                }
            }

            $(
                pub(super) async fn $call(
                    &self,
                    store: &mut Store<State>,
                    $($argument: $type),*
                ) -> wasmtime::Result<$result> {
                    match self {
                        Self::V0_1(exports) => {
                            let answer = exports.$accessor().$call(store, $($old),*).await?;
                            Ok(answer.translate())
                        }
                        Self::V0_2(instance, places) => {
                            let export = typed(instance, store, places.$call, $export)?;
                            let (answer,): ($result,) =
                                export.call_async(store, ($($argument,)*)).await?;
                            Ok(answer)
                        }
                    }
                }
            )*
        }
    };
}

/// What every plugin exports.
const PLUGIN: &str = "cortex:gateway/plugin@0.2.0";
const DESCRIBE: &str = "describe";

fn place(
    component: &Component,
    interface: &str,
    export: &str,
) -> wasmtime::Result<ComponentExportIndex> {
    let inside = component.get_export_index(None, interface);
    let inside =
        inside.ok_or_else(|| wasmtime::format_err!("no exported instance named `{interface}`"))?;
    let found = component.get_export_index(Some(&inside), export);
    found.ok_or_else(|| {
        wasmtime::format_err!("instance export `{interface}` does not have export `{export}`")
    })
}

/// An export, if it is of this type.
fn typed<Params, Return>(
    instance: &Instance,
    store: &mut Store<State>,
    place: ComponentExportIndex,
    export: &str,
) -> wasmtime::Result<TypedFunc<Params, Return>>
where
    Params: ComponentNamedList + Lower,
    Return: ComponentNamedList + Lift,
{
    let found = instance.get_typed_func(store, place);
    found.with_context(|| format!("the export `{export}` is of another type than it should be"))
}

kind! {
    /// A backend adapter.
    AdapterPre, AdapterExports, AdapterPlaces, adapter::(BackendAdapterPre, BackendAdapter),
    cortex_gateway_backend = "cortex:gateway/backend@0.2.0" {
        call_discover = "discover" (target: &Target)
            [&target.clone().translate()] -> Result<Catalog, CallError>;
        call_call_tool = "call-tool" (target: &Target, caller: &Principal, call: &ToolCall)
            [&target.clone().translate(), caller, &call.clone().translate()]
            -> Result<ToolOutcome, CallError>;
        call_get_prompt = "get-prompt" (target: &Target, caller: &Principal, call: &PromptCall)
            [&target.clone().translate(), caller, &call.clone().translate()]
            -> Result<PromptOutcome, CallError>;
        call_read_resource = "read-resource" (target: &Target, caller: &Principal, read: &ResourceRead)
            [&target.clone().translate(), caller, &read.clone().translate()]
            -> Result<ResourceOutcome, CallError>;
        call_complete = "complete" (target: &Target, caller: &Principal, completion: &Completion)
            [&target.clone().translate(), caller, &completion.clone().translate()]
            -> Result<CompletionResult, CallError>;
        call_whoami = "whoami" (target: &Target, caller: &Principal)
            [&target.clone().translate(), caller] -> Result<String, CallError>;
        call_report_ticket = "report-ticket" (target: &Target, caller: &Principal, ticket: &String)
            [&target.clone().translate(), caller, ticket] -> Result<String, CallError>;
        call_list_tickets = "list-tickets" (target: &Target, caller: &Principal, query: &String)
            [&target.clone().translate(), caller, query] -> Result<String, CallError>;
    }
}

kind! {
    /// A scope policy.
    PolicyPre, PolicyExports, PolicyPlaces, policy::(ScopePolicyPre, ScopePolicy),
    cortex_gateway_policy = "cortex:gateway/policy@0.2.0" {
        call_reads = "reads" () [] -> Vec<String>;
        call_filter = "filter" (caller: &Principal, items: &[Item])
            [caller, &Translate::<Vec<_>>::translate(items.to_vec())]
            -> Result<Vec<bool>, PolicyError>;
        call_authorize = "authorize" (caller: &Principal, item: &Item, arguments: Option<&String>)
            [caller, &item.clone().translate(), arguments] -> Result<Decision, PolicyError>;
    }
}

kind! {
    /// An audit exporter.
    ExporterPre, ExporterExports, ExporterPlaces, exporter::(AuditExporterPre, AuditExporter),
    cortex_gateway_exporter = "cortex:gateway/exporter@0.2.0" {
        call_export_batch = "export-batch" (records: &[AuditRecord])
            [&Translate::<Vec<_>>::translate(records.to_vec())] -> Result<u32, ExportError>;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_belongs_to_a_line() {
        for (version, line) in [
            ("0.1.0", Some(Line::V0_1)),
            ("0.1.7", Some(Line::V0_1)),
            ("0.1", Some(Line::V0_1)),
            ("0.2.0", Some(Line::V0_2)),
            ("0.3.0", None),
            ("1.1.0", None),
            ("0", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(Line::of(version), line, "{version}");
        }
        assert_eq!(Line::served(), "0.1.x and 0.2.x");
    }
}
