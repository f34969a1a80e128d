//! Results as MCP wants them, by era. JSON from backends is spliced in, not rebuilt.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::Serialize;
use serde_json::value::RawValue;

use super::policy::Visible;
use super::{Gateway, Refusal};
use crate::mcp::json;
use crate::mcp::params::{META_SERVER_INFO, Params, text};
use crate::mcp::version::ProtocolVersion;
use crate::plugin::model::{Content, ToolResult};

/// How long clients may keep a list, in milliseconds. As long as the default refresh.
const LIST_TTL_MS: u32 = 60_000;
/// How long clients may keep the answer to `server/discover`, in milliseconds.
const DISCOVER_TTL_MS: u32 = 3_600_000;

/// What a request that is served gets.
pub enum Answer {
    /// Nothing to say (a notification).
    Accepted,
    /// The `result` of a JSON-RPC response.
    Result {
        /// The result, a JSON object.
        result: Box<RawValue>,
        /// Set when the call was made and did not succeed: a stable word for audit.
        error_code: Option<String>,
    },
}

/// `serverInfo` (MCP `Implementation`).
#[derive(Serialize)]
pub(super) struct ServerInfo<'a> {
    name: &'a str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    tools: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_scope: Option<&'static str>,
    #[serde(rename = "_meta", skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    content: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Box<RawValue>>,
    is_error: bool,
    #[serde(rename = "_meta", skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block {
    Text {
        r#type: &'static str,
        text: String,
    },
    Data {
        r#type: &'static str,
        data: String,
        #[serde(rename = "mimeType")]
        mime_type: String,
    },
    Verbatim(Box<RawValue>),
}

const INSTRUCTIONS: &str = "Tools of several backends behind one gateway. A tool's name begins with the id of the \
                            backend that owns it; you see what your access token allows.";

/// `initialize` (legacy): the client's version if it is served, else the newest legacy one.
pub(super) fn initialize(gw: &Gateway, params: &Params) -> Result<Answer, Refusal> {
    let asked = text(params.protocol_version.as_deref())
        .ok_or_else(|| Refusal::InvalidParams("`protocolVersion` must be a string".to_owned()))?;
    // Clients that ask for 2026-07-28 by `initialize` exist; they continue by the legacy rules.
    let version = ProtocolVersion::parse(&asked)
        .filter(|v| !v.is_modern())
        .unwrap_or(ProtocolVersion::NEWEST_LEGACY);
    result(&serde_json::json!({
        "protocolVersion": version.as_str(),
        "capabilities": { "tools": {} },
        "serverInfo": server_info(gw),
        "instructions": INSTRUCTIONS,
    }))
}

/// `server/discover` (modern).
pub(super) fn discover(gw: &Gateway) -> Result<Answer, Refusal> {
    result(&serde_json::json!({
        "resultType": "complete",
        "supportedVersions": ProtocolVersion::SERVED.map(ProtocolVersion::as_str),
        "capabilities": { "tools": {} },
        "instructions": INSTRUCTIONS,
        "ttlMs": DISCOVER_TTL_MS,
        "cacheScope": "public",
        "_meta": { META_SERVER_INFO: server_info(gw) },
    }))
}

/// A result without content (`ping`).
pub(super) fn empty() -> Result<Answer, Refusal> {
    result(&serde_json::json!({}))
}

/// `tools/list`.
pub(super) fn tools_list(gw: &Gateway, visible: Visible) -> Result<Answer, Refusal> {
    let modern = visible.version().is_modern();
    let mut meta = BTreeMap::new();
    if modern {
        let info = serde_json::value::to_raw_value(&server_info(gw))
            .map_err(|e| Refusal::Internal(e.to_string()))?;
        meta.insert(META_SERVER_INFO.to_owned(), info);
    }
    result(&ListResult {
        result_type: modern.then_some("complete"),
        tools: visible
            .tools()
            .iter()
            .map(|tool| &*tool.definition)
            .collect(),
        ttl_ms: modern.then_some(LIST_TTL_MS),
        // What a caller sees depends on the caller's scopes.
        cache_scope: modern.then_some("private"),
        meta,
    })
}

/// The result of a call that was made.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(super) fn tool_result(
    gw: &Gateway,
    version: ProtocolVersion,
    outcome: ToolResult,
) -> Result<Answer, String> {
    let content = outcome
        .content
        .into_iter()
        .map(block)
        .collect::<Result<Vec<_>, _>>()?;
    let structured = outcome
        .structured_content
        .map(json::raw)
        .transpose()
        .map_err(|e| format!("structured-content: {e}"))?;
    let structured = structured.filter(|raw| match version {
        // Structured content came with 2025-06-18, and was an object until 2026-07-28.
        ProtocolVersion::V2025_03_26 => false,
        ProtocolVersion::V2025_06_18 | ProtocolVersion::V2025_11_25 => raw.get().starts_with('{'),
        ProtocolVersion::V2026_07_28 => true,
    });
    let error_code = outcome.is_error.then(|| "tool_error".to_owned());
    finish(gw, version, content, structured, error_code, outcome.meta)
}

/// The result of a call that did not succeed, for the model to read and act on.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(super) fn tool_failure(
    gw: &Gateway,
    version: ProtocolVersion,
    message: &str,
    code: &str,
    meta: Option<String>,
) -> Result<Answer, String> {
    let content = vec![Block::Text {
        r#type: "text",
        text: message.to_owned(),
    }];
    finish(
        gw,
        version,
        content,
        None,
        Some(code.chars().take(64).collect()),
        meta,
    )
}

/// Like [`tool_failure`], for failures that the gateway itself tells of.
pub(super) fn tool_error(
    gw: &Gateway,
    version: ProtocolVersion,
    message: &str,
    code: &str,
) -> Result<Answer, Refusal> {
    tool_failure(gw, version, message, code, None).map_err(Refusal::Internal)
}

fn finish(
    gw: &Gateway,
    version: ProtocolVersion,
    content: Vec<Block>,
    structured_content: Option<Box<RawValue>>,
    error_code: Option<String>,
    meta: Option<String>,
) -> Result<Answer, String> {
    let mut meta: BTreeMap<String, Box<RawValue>> = match meta {
        None => BTreeMap::new(),
        Some(text) => {
            let raw = json::raw_object(text).map_err(|e| format!("meta: {e}"))?;
            serde_json::from_str(raw.get()).map_err(|e| format!("meta: {e}"))?
        }
    };
    let modern = version.is_modern();
    if modern {
        let info = serde_json::value::to_raw_value(&server_info(gw)).map_err(|e| e.to_string())?;
        meta.insert(META_SERVER_INFO.to_owned(), info);
    }
    let result = CallResult {
        result_type: modern.then_some("complete"),
        content,
        structured_content,
        is_error: error_code.is_some(),
        meta,
    };
    let result = serde_json::value::to_raw_value(&result).map_err(|e| e.to_string())?;
    Ok(Answer::Result { result, error_code })
}

fn block(content: Content) -> Result<Block, String> {
    let data = |kind, blob: crate::plugin::model::Blob| Block::Data {
        r#type: kind,
        data: base64::engine::general_purpose::STANDARD.encode(blob.data),
        mime_type: blob.mime_type,
    };
    Ok(match content {
        Content::Text(text) => Block::Text {
            r#type: "text",
            text,
        },
        Content::Image(blob) => data("image", blob),
        Content::Audio(blob) => data("audio", blob),
        Content::Block(text) => {
            Block::Verbatim(json::raw_object(text).map_err(|e| format!("content block: {e}"))?)
        }
    })
}

fn server_info(gw: &Gateway) -> ServerInfo<'_> {
    ServerInfo {
        name: &gw.config.server_name,
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn result<T: Serialize>(value: &T) -> Result<Answer, Refusal> {
    let result =
        serde_json::value::to_raw_value(value).map_err(|e| Refusal::Internal(e.to_string()))?;
    Ok(Answer::Result {
        result,
        error_code: None,
    })
}
