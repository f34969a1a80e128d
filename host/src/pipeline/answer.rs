//! Results as MCP wants them, by era. JSON from backends is spliced in, not rebuilt.

mod other;
mod tool;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::builtin::architecture;
use super::listen::Opened;
use super::lists::List;
use super::shape::Shape;
use super::{Finished, Gateway, Refusal, budget};
use crate::catalog::{Entry, Kind};
use crate::mcp::json::{self, Text};
use crate::mcp::jsonrpc::Id;
use crate::mcp::params::{META_SERVER_INFO, META_SUBSCRIPTION_ID, Params, text};
use crate::mcp::version::ProtocolVersion;

pub(super) use other::{as_it_is, completion, input_required, prompt, resource};
pub(super) use tool::{told, tool_error, tool_failure, tool_result};

/// How long clients may keep a list, in milliseconds. As long as the default refresh.
const LIST_TTL_MS: u32 = 60_000;
/// How long clients may keep the answer to `server/discover`, in milliseconds.
const DISCOVER_TTL_MS: u32 = 3_600_000;

/// What a request that is served gets.
pub enum Answer {
    /// Nothing to say (a notification).
    Accepted,
    /// The result of `initialize`, and the session that it begins.
    Session {
        /// The result, a JSON object.
        result: Text,
        /// The value of `Mcp-Session-Id`.
        id: String,
    },
    /// One answer for each message of a batch.
    Batch(Vec<Finished>),
    /// A notification stream.
    Listening(Box<Opened>),
    /// The `result` of a JSON-RPC response.
    Result {
        /// The result, a JSON object.
        result: Text,
        /// Set when the call was made and did not succeed: a stable word for audit.
        error_code: Option<String>,
    },
}

/// `serverInfo` (MCP `Implementation`).
#[derive(Serialize)]
pub(super) struct ServerInfo<'a> {
    name: &'a str,
    version: &'static str,
    #[serde(rename = "websiteUrl", skip_serializing_if = "Option::is_none")]
    website_url: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(flatten)]
    entries: BTreeMap<&'static str, Vec<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_scope: Option<&'static str>,
    #[serde(rename = "_meta", skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, Box<RawValue>>,
}

/// How long most results are at most, in bytes.
const SHORT: usize = 512;
/// Bytes that telling of the budget takes at most.
const DONE: usize = 160;

const INSTRUCTIONS: &str = "Tools of several backends behind one gateway. A tool's name begins with the id of the \
                            backend that owns it; you see what your access token allows.";

/// The version that an `initialize` agrees on: the client's if it is served, else the newest
/// legacy one.
pub(super) fn negotiated(params: &Params) -> Result<ProtocolVersion, Refusal> {
    let asked = text(params.protocol_version.as_deref())
        .ok_or_else(|| Refusal::InvalidParams("`protocolVersion` must be a string".to_owned()))?;
    // Clients that ask for 2026-07-28 by `initialize` exist; they continue by the legacy rules.
    Ok(ProtocolVersion::parse(&asked)
        .filter(|v| !v.is_modern())
        .unwrap_or(ProtocolVersion::NEWEST_LEGACY))
}

/// `initialize` (legacy).
pub(super) fn initialize(
    gw: &Gateway,
    version: ProtocolVersion,
    session: String,
) -> Result<Answer, Refusal> {
    let result = serde_json::json!({
        "protocolVersion": version.as_str(),
        "capabilities": capabilities(),
        "serverInfo": introduction(gw, version),
        "instructions": INSTRUCTIONS,
    });
    Ok(Answer::Session {
        result: Text::write(&result, SHORT).map_err(internal)?,
        id: session,
    })
}

/// `server/discover` (modern).
pub(super) fn discover(gw: &Gateway) -> Result<Answer, Refusal> {
    result(&serde_json::json!({
        "resultType": "complete",
        "supportedVersions": ProtocolVersion::SERVED.map(ProtocolVersion::as_str),
        "capabilities": capabilities(),
        "instructions": INSTRUCTIONS,
        "ttlMs": DISCOVER_TTL_MS,
        "cacheScope": "public",
        "_meta": { META_SERVER_INFO: introduction(gw, ProtocolVersion::V2026_07_28) },
    }))
}

/// The graceful end of `subscriptions/listen`.
pub(super) fn listened(gw: &Gateway, subscription: &Id) -> Result<Answer, Refusal> {
    result(&serde_json::json!({
        "resultType": "complete",
        "_meta": { META_SUBSCRIPTION_ID: subscription, META_SERVER_INFO: server_info(gw) },
    }))
}

/// A result without content (`ping`).
pub(super) fn empty() -> Result<Answer, Refusal> {
    result(&serde_json::json!({}))
}

/// `tools/list` and its like, of what the caller may see.
pub(super) fn list(
    gw: &Gateway,
    version: ProtocolVersion,
    kind: Kind,
    seen: &[Arc<Entry>],
    shape: &Shape,
) -> Result<List, Refusal> {
    let modern = version.is_modern();
    let member = match kind {
        Kind::Tools => "tools",
        Kind::Prompts => "prompts",
        Kind::Resources => "resources",
        Kind::Templates => "resourceTemplates",
    };
    let meta = meta(gw, version, None).map_err(Refusal::Internal)?;
    let mut result = ListResult {
        result_type: modern.then_some("complete"),
        entries: BTreeMap::from([(member, Vec::new())]),
        ttl_ms: modern.then_some(LIST_TTL_MS),
        // What a caller sees depends on the caller's scopes.
        cache_scope: modern.then_some("private"),
        meta,
    };
    let fitted;
    let listed: Vec<&RawValue> = match kind {
        Kind::Tools => {
            let empty = serde_json::to_string(&result).map_err(internal)?;
            fitted = budget::fit(seen, shape, empty.len() + DONE)?;
            if shape.search || shape.budget.is_some() {
                let done = to_raw_value(&fitted.done).map_err(internal)?;
                result.meta.insert(budget::META.to_owned(), done);
            }
            fitted
                .definitions
                .iter()
                .map(|definition| &**definition)
                .collect()
        }
        Kind::Resources => {
            let own = architecture::listed();
            let entries = seen
                .iter()
                .map(|entry| (entry.name.as_str(), &*entry.definition));
            let mut all: Vec<_> = entries.chain([(architecture::URI, own)]).collect();
            all.sort_by_key(|(uri, _)| *uri);
            all.into_iter().map(|(_, definition)| definition).collect()
        }
        Kind::Prompts | Kind::Templates => seen.iter().map(|entry| &*entry.definition).collect(),
    };
    let count = listed.len();
    let about = SHORT + listed.iter().map(|raw| raw.get().len() + 1).sum::<usize>();
    result.entries.insert(member, listed);
    let result = Text::write(&result, about).map_err(internal)?;
    Ok(List {
        result,
        listed: count,
    })
}

fn internal(error: serde_json::Error) -> Refusal {
    Refusal::Internal(error.to_string())
}

/// What the gateway can do, whatever its backends offer at the moment.
fn capabilities() -> serde_json::Value {
    serde_json::json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
        "completions": {},
        "logging": {},
    })
}

/// `_meta` of a result: the owner's, and in the modern era the gateway's name.
fn meta(
    gw: &Gateway,
    version: ProtocolVersion,
    own: Option<String>,
) -> Result<BTreeMap<String, Box<RawValue>>, String> {
    let mut meta: BTreeMap<String, Box<RawValue>> = match own {
        None => BTreeMap::new(),
        Some(text) => {
            let raw = json::raw_object(text).map_err(|e| format!("meta: {e}"))?;
            serde_json::from_str(raw.get()).map_err(|e| format!("meta: {e}"))?
        }
    };
    if version.is_modern() {
        let info = serde_json::value::to_raw_value(&server_info(gw)).map_err(|e| e.to_string())?;
        meta.insert(META_SERVER_INFO.to_owned(), info);
    }
    Ok(meta)
}

fn server_info(gw: &Gateway) -> ServerInfo<'_> {
    ServerInfo {
        name: &gw.config.identity.name,
        version: env!("CARGO_PKG_VERSION"),
        website_url: None,
    }
}

/// `serverInfo` with all there is to know, for the answer that introduces the server.
/// (`websiteUrl` is there since 2025-11-25.)
fn introduction(gw: &Gateway, version: ProtocolVersion) -> ServerInfo<'_> {
    let website = gw.config.identity.website.as_str();
    ServerInfo {
        website_url: (version >= ProtocolVersion::V2025_11_25).then_some(website),
        ..server_info(gw)
    }
}

fn result<T: Serialize>(value: &T) -> Result<Answer, Refusal> {
    to_answer(value, None).map_err(Refusal::Internal)
}

fn to_answer<T: Serialize>(value: &T, error_code: Option<String>) -> Result<Answer, String> {
    to_answer_of(SHORT, value, error_code)
}

/// `about`: how long it will be, in bytes.
fn to_answer_of<T: Serialize>(
    about: usize,
    value: &T,
    error_code: Option<String>,
) -> Result<Answer, String> {
    let result = Text::write(value, about).map_err(|e| e.to_string())?;
    Ok(Answer::Result { result, error_code })
}
