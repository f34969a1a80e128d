//! Results of prompts, resources and completions, and what is no result yet.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, meta, to_answer};
use crate::mcp::json;
use crate::mcp::params::META_SERVER_INFO;
use crate::mcp::version::ProtocolVersion;
use crate::pipeline::{Gateway, Refusal};
use crate::plugin::model::{CompletionResult, PromptResult, ResourceResult};

/// Proposals that one answer may hold (MCP, "Completion").
const MAX_PROPOSALS: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Other {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_scope: Option<&'static str>,
    #[serde(rename = "_meta", skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, Box<RawValue>>,
    #[serde(flatten)]
    extra: BTreeMap<String, Box<RawValue>>,
}

/// Members that [`Other`] writes itself.
const OWN_MEMBERS: &[&str] = &[
    "resultType",
    "description",
    "messages",
    "contents",
    "ttlMs",
    "cacheScope",
    "_meta",
];

/// The result of `prompts/get`.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(in crate::pipeline) fn prompt(
    gw: &Gateway,
    version: ProtocolVersion,
    result: PromptResult,
) -> Result<Answer, String> {
    let other = Other {
        result_type: version.is_modern().then_some("complete"),
        description: result.description,
        messages: Some(array("messages", result.messages)?),
        contents: None,
        ttl_ms: None,
        cache_scope: None,
        meta: meta(gw, version, result.meta)?,
        extra: json::further_members(result.extra, OWN_MEMBERS)?,
    };
    to_answer(&other, None)
}

/// The result of `resources/read`. It is the caller's alone, and nobody told how long it keeps.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(in crate::pipeline) fn resource(
    gw: &Gateway,
    version: ProtocolVersion,
    result: ResourceResult,
) -> Result<Answer, String> {
    let modern = version.is_modern();
    let other = Other {
        result_type: modern.then_some("complete"),
        description: None,
        messages: None,
        contents: Some(array("contents", result.contents)?),
        ttl_ms: modern.then_some(0),
        cache_scope: modern.then_some("private"),
        meta: meta(gw, version, result.meta)?,
        extra: json::further_members(result.extra, OWN_MEMBERS)?,
    };
    to_answer(&other, None)
}

/// The result of `completion/complete`.
///
/// # Errors
/// Only when it cannot be written.
pub(in crate::pipeline) fn completion(
    gw: &Gateway,
    version: ProtocolVersion,
    mut result: CompletionResult,
) -> Result<Answer, String> {
    let more = result.has_more || result.values.len() > MAX_PROPOSALS;
    result.values.truncate(MAX_PROPOSALS);
    let mut completion = json!({ "values": result.values, "hasMore": more });
    if let Some(total) = result.total {
        completion["total"] = total.into();
    }
    let mut answer = json!({ "completion": completion });
    mark(gw, version, "complete", &mut answer);
    to_answer(&answer, None)
}

/// An `input_required` result (modern era).
///
/// # Errors
/// Only when it cannot be written.
pub(in crate::pipeline) fn input_required(
    gw: &Gateway,
    requests: Option<Value>,
    state: Option<String>,
) -> Result<Answer, Refusal> {
    let mut answer = json!({});
    if let Some(requests) = requests {
        answer["inputRequests"] = requests;
    }
    if let Some(state) = state {
        answer["requestState"] = state.into();
    }
    mark(
        gw,
        ProtocolVersion::V2026_07_28,
        "input_required",
        &mut answer,
    );
    to_answer(&answer, None).map_err(Refusal::Internal)
}

/// A result object of a kind that the gateway does not know, as its owner gave it.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(in crate::pipeline) fn as_it_is(result: String) -> Result<Answer, String> {
    let result = json::raw_object(result).map_err(|e| format!("other: {e}"))?;
    Ok(Answer::Result {
        result: result.into(),
        error_code: None,
    })
}

fn mark(gw: &Gateway, version: ProtocolVersion, result_type: &str, answer: &mut Value) {
    if version.is_modern() {
        answer["resultType"] = result_type.into();
        answer["_meta"] = json!({ META_SERVER_INFO: super::server_info(gw) });
    }
}

fn array(what: &str, text: String) -> Result<Box<RawValue>, String> {
    let raw = json::raw(text).map_err(|e| format!("{what}: {e}"))?;
    if raw.get().starts_with('[') {
        Ok(raw)
    } else {
        Err(format!("{what}: expected an array"))
    }
}
