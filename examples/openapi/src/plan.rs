//! How a tool becomes a request. Made when the document is read, kept by the gateway in
//! `catalog.learned`, and found again in each call: no call reads the document.

use std::collections::BTreeMap;

use cortex_plugin_sdk::json::{self, Json};
use serde::{Deserialize, Serialize};

/// The request of one tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) method: String,
    /// Path below the origin, with `{name}` where parameters go.
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) params: Vec<Param>,
    /// The JSON body, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Body>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Param {
    /// Its name among the tool's arguments.
    pub(crate) arg: String,
    /// Its name in the request.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) style: Style,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) explode: bool,
    /// An object, each member of which is a parameter of the query.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) spread: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) required: bool,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// How a parameter is written (OpenAPI 3.1, "Style Values").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Style {
    Simple,
    Form,
    Space,
    Pipe,
    Deep,
    /// As JSON text, for parameters with `content`.
    Json,
}

/// The argument `body`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    /// Its media type.
    pub(crate) mime: String,
    pub(crate) required: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What later calls need, as one JSON object. No member of a plan begins with `#`, so that one tool is
/// found by looking for its name, without reading the others.
pub(crate) fn keep(plans: &BTreeMap<String, Plan>) -> serde_json::Result<Json> {
    let keyed: BTreeMap<String, &Plan> = plans.iter().map(|(k, v)| (key(k), v)).collect();
    serde_json::to_string(&keyed)
}

/// The plan of one tool in what was kept.
pub(crate) fn find(kept: &str, tool: &str) -> Option<Plan> {
    let key = format!("{}:", json::quote(&key(tool)));
    let (_, rest) = kept.split_once(&key)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter();
    values.next()?.ok()
}

fn key(tool: &str) -> String {
    format!("#{tool}")
}
