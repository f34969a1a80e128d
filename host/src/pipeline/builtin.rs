//! The gateway's own tools. They are never prefixed and need no scope of their own; what they tell
//! of others is what the caller may see there.
//!
//! Each answers with one JSON object, as text for the model and as `structuredContent`.

pub(super) mod architecture;
mod find_tools;
mod list_tickets;
mod report_ticket;
mod resources;
mod ticket_backend;
mod whoami;

use std::sync::LazyLock;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::intent::Asker;
use super::{Gateway, Refusal};

/// One of the gateway's own tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// Whole definitions of tools.
    FindTools,
    /// Which resources there are.
    ListResources,
    /// The text of one.
    ReadResource,
    /// Who the caller is, here and at each backend.
    Whoami,
    /// What the caller could not do here.
    ReportMissingCapability,
    /// What became of it.
    ListTickets,
}

/// A call of one of them.
pub(super) struct Call<'a> {
    pub(super) gw: &'a Gateway,
    pub(super) asker: &'a Asker,
    /// A JSON object.
    pub(super) arguments: &'a str,
}

/// Why a call of one of them did not succeed.
pub(super) enum Wrong {
    /// The arguments cannot be used; says what to change, for the model to read.
    Arguments(String),
    /// Something failed; one stable word for audit, and a text for the model to read.
    Failed(&'static str, String),
    /// The request is refused altogether.
    Refused(Refusal),
}

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a tool is, besides its name.
struct About {
    title: &'static str,
    description: &'static str,
    /// Properties of the arguments, and which of them are required.
    arguments: Value,
    /// JSON Schema of the result.
    output: Value,
    /// MCP `annotations`.
    annotations: Value,
}

impl Builtin {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::FindTools,
        Self::ListResources,
        Self::ListTickets,
        Self::ReadResource,
        Self::ReportMissingCapability,
        Self::Whoami,
    ];

    /// The name that callers use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FindTools => "find_tools",
            Self::ListResources => "list_cortex_resources",
            Self::ReadResource => "read_cortex_resource",
            Self::Whoami => "whoami",
            Self::ReportMissingCapability => "report_missing_capability",
            Self::ListTickets => "list_cortex_tickets",
        }
    }

    /// The tool with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == name)
    }

    fn about(self) -> About {
        match self {
            Self::FindTools => find_tools::about(),
            Self::ListResources => resources::about_list(),
            Self::ReadResource => resources::about_read(),
            Self::Whoami => whoami::about(),
            Self::ReportMissingCapability => report_ticket::about(),
            Self::ListTickets => list_tickets::about(),
        }
    }

    /// The MCP tool object.
    pub(super) fn definition(self) -> &'static RawValue {
        static DEFINITIONS: LazyLock<Vec<(Builtin, Box<RawValue>)>> = LazyLock::new(|| {
            let built = Builtin::ALL.into_iter();
            built
                .filter_map(|builtin| Some((builtin, define(builtin).ok()?)))
                .collect()
        });
        let found = DEFINITIONS.iter().find(|(builtin, _)| *builtin == self);
        found.map_or(RawValue::NULL, |(_, definition)| definition)
    }
}

fn define(builtin: Builtin) -> serde_json::Result<Box<RawValue>> {
    let about = builtin.about();
    to_raw_value(&json!({
        "name": builtin.name(),
        "title": about.title,
        "description": about.description,
        "inputSchema": about.arguments,
        "outputSchema": about.output,
        "annotations": about.annotations,
        "_meta": { "app": "gateway" },
    }))
}

/// Calls one.
pub(super) async fn run(
    gw: &Gateway,
    asker: &Asker,
    builtin: Builtin,
    arguments: &str,
) -> Result<Answer, Refusal> {
    let call = Call {
        gw,
        asker,
        arguments,
    };
    let told = match builtin {
        Builtin::FindTools => find_tools::run(&call).await,
        Builtin::ListResources => resources::list(&call).await,
        Builtin::ReadResource => resources::read(&call).await,
        Builtin::Whoami => whoami::run(&call).await,
        Builtin::ReportMissingCapability => report_ticket::run(&call).await,
        Builtin::ListTickets => list_tickets::run(&call).await,
    };
    match told {
        Ok(value) => answer::told(gw, asker.version, &value),
        Err(Wrong::Refused(refusal)) => Err(refusal),
        Err(Wrong::Arguments(what)) => {
            let text = format!("Invalid arguments: {what}");
            answer::tool_error(gw, asker.version, &text, "invalid_arguments")
        }
        Err(Wrong::Failed(code, text)) => answer::tool_error(gw, asker.version, &text, code),
    }
}

/// Reads arguments. Members that nobody knows are told: a model that mistypes one would otherwise
/// never learn of it. (`#[serde(deny_unknown_fields)]` on the shape.)
fn arguments<T: serde::de::DeserializeOwned>(call: &Call<'_>) -> Result<T, Wrong> {
    serde_json::from_str(call.arguments).map_err(|error| Wrong::Arguments(error.to_string()))
}

/// A JSON Schema of an object with these properties.
fn object(properties: &Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Annotations of a tool that changes nothing and asks nobody outside.
fn reads_only() -> Value {
    json!({ "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::BUILTIN_NAMES;

    #[test]
    fn every_builtin_is_a_complete_tool() {
        for builtin in Builtin::ALL {
            let tool: Value = serde_json::from_str(builtin.definition().get()).expect("JSON");
            assert_eq!(tool["name"], builtin.name());
            assert_eq!(tool["inputSchema"]["type"], "object");
            assert_eq!(tool["outputSchema"]["type"], "object");
            assert!(tool["annotations"]["readOnlyHint"].is_boolean());
            assert!(BUILTIN_NAMES.contains(&builtin.name()));
            assert_eq!(Builtin::named(builtin.name()), Some(builtin));
        }
    }
}
