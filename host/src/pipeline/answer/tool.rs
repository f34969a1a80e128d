//! Results of tool calls.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Answer, SHORT, meta, to_answer, to_answer_of};
use crate::mcp::json;
use crate::mcp::version::ProtocolVersion;
use crate::pipeline::{Gateway, Refusal};
use crate::plugin::model::{Content, ToolResult};

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
    #[serde(flatten)]
    extra: BTreeMap<String, Box<RawValue>>,
}

/// Members that [`CallResult`] writes itself.
const OWN_MEMBERS: &[&str] = &[
    "resultType",
    "content",
    "structuredContent",
    "isError",
    "_meta",
];

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

/// The result of a call that was made.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(in crate::pipeline) fn tool_result(
    gw: &Gateway,
    version: ProtocolVersion,
    outcome: ToolResult,
) -> Result<Answer, String> {
    let about = size_of(&outcome);
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
    let result = CallResult {
        result_type: version.is_modern().then_some("complete"),
        content,
        structured_content: structured,
        is_error: outcome.is_error,
        meta: meta(gw, version, outcome.meta)?,
        extra: json::further_members(outcome.extra, OWN_MEMBERS)?,
    };
    to_answer_of(about, &result, error_code)
}

/// What one of the gateway's own tools tells: a JSON object, as text and as structured content.
///
/// # Errors
/// Only when it cannot be written.
pub(in crate::pipeline) fn told(
    gw: &Gateway,
    version: ProtocolVersion,
    value: &serde_json::Value,
) -> Result<Answer, Refusal> {
    let result = ToolResult {
        content: vec![Content::Text(value.to_string())],
        structured_content: Some(value.to_string()),
        is_error: false,
        meta: None,
        extra: None,
    };
    tool_result(gw, version, result).map_err(Refusal::Internal)
}

/// The result of a call that did not succeed, for the model to read and act on.
///
/// # Errors
/// What about the plugin's answer cannot be used.
pub(in crate::pipeline) fn tool_failure(
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
    let result = CallResult {
        result_type: version.is_modern().then_some("complete"),
        content,
        structured_content: None,
        is_error: true,
        meta: super::meta(gw, version, meta)?,
        extra: BTreeMap::new(),
    };
    to_answer(&result, Some(code.chars().take(64).collect()))
}

/// Like [`tool_failure`], for failures that the gateway itself tells of.
pub(in crate::pipeline) fn tool_error(
    gw: &Gateway,
    version: ProtocolVersion,
    message: &str,
    code: &str,
) -> Result<Answer, Refusal> {
    tool_failure(gw, version, message, code, None).map_err(Refusal::Internal)
}

/// About how long the result will be, in bytes. In a text that is JSON by itself, about each eighth character is
/// written as two.
fn size_of(outcome: &ToolResult) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let blocks = outcome.content.iter().map(|block| match block {
        Content::Text(text) => text.len() + text.len() / 6,
        Content::Image(blob) | Content::Audio(blob) => blob.data.len() * 4 / 3,
        Content::Block(text) => text.len(),
    });
    let others = [&outcome.structured_content, &outcome.meta, &outcome.extra];
    SHORT + blocks.sum::<usize>() + others.map(length).iter().sum::<usize>()
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
