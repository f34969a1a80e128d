//! Results of calls, as the gateway takes them. What they hold passes through as it came.

use cortex_plugin_sdk::backend::{
    CompletionResult, InputRequired, PromptOutcome, PromptResult, ResourceOutcome, ResourceResult,
    ToolOutcome, ToolResult,
};
use cortex_plugin_sdk::json::{self, Json, Members};
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

use crate::wire;

/// `_meta` key of the server's name and version: the gateway is the server of its clients.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Largest state that a server may have its clients keep.
const MAX_STATE: usize = 64 * 1024;

/// What a result says of itself (MCP 2026-07-28, Basic, "ResultType"); older servers say nothing.
enum Kind<'a> {
    Complete(Members<'a>),
    InputRequired(InputRequired),
    Other,
}

fn kind(result: &str) -> Result<Kind<'_>, String> {
    let mut members =
        Members::parse(result).map_err(|_| "its result names a member twice".to_owned())?;
    match members.text("resultType")?.as_deref() {
        None | Some("complete") => Ok(Kind::Complete(members)),
        Some("input_required") => input_required(members).map(Kind::InputRequired),
        Some(_) => Ok(Kind::Other),
    }
}

/// The result of `tools/call`.
pub(crate) fn tool(result: Json) -> Result<ToolOutcome, String> {
    let mut members = match kind(&result)? {
        Kind::Complete(members) => members,
        Kind::InputRequired(asked) => return Ok(ToolOutcome::InputRequired(asked)),
        Kind::Other => return Ok(ToolOutcome::Other(result)),
    };
    let blocks = members.array("content")?.unwrap_or_else(|| "[]".into());
    let blocks: Vec<&RawValue> =
        serde_json::from_str(&blocks).map_err(|_| "its `content` is not an array".to_owned())?;
    let is_error = match members.take("isError") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err("its `isError` is neither true nor false".into()),
    };
    Ok(ToolOutcome::Complete(ToolResult {
        content: blocks.iter().map(|raw| Content::block(raw.get())).collect(),
        structured_content: members.take("structuredContent").map(str::to_owned),
        is_error,
        meta: meta(&mut members)?,
        extra: members.rest(),
    }))
}

/// The result of `prompts/get`.
pub(crate) fn prompt(result: Json) -> Result<PromptOutcome, String> {
    let mut members = match kind(&result)? {
        Kind::Complete(members) => members,
        Kind::InputRequired(asked) => return Ok(PromptOutcome::InputRequired(asked)),
        Kind::Other => return Ok(PromptOutcome::Other(result)),
    };
    Ok(PromptOutcome::Complete(PromptResult {
        description: members.text("description")?,
        messages: members.array("messages")?.ok_or("it has no `messages`")?,
        meta: meta(&mut members)?,
        extra: members.rest(),
    }))
}

/// The result of `resources/read`.
pub(crate) fn resource(result: Json) -> Result<ResourceOutcome, String> {
    let mut members = match kind(&result)? {
        Kind::Complete(members) => members,
        Kind::InputRequired(asked) => return Ok(ResourceOutcome::InputRequired(asked)),
        Kind::Other => return Ok(ResourceOutcome::Other(result)),
    };
    Ok(ResourceOutcome::Complete(ResourceResult {
        contents: members.array("contents")?.ok_or("it has no `contents`")?,
        meta: meta(&mut members)?,
        extra: members.rest(),
    }))
}

/// The result of `completion/complete`.
pub(crate) fn completion(result: &str) -> Result<CompletionResult, String> {
    let Kind::Complete(mut members) = kind(result)? else {
        return Err("it cannot ask for input here".into());
    };
    let completion = members.object("completion")?;
    let completion = completion.ok_or("it has no `completion`")?;
    let mut members =
        Members::parse(&completion).map_err(|_| "its `completion` names a member twice")?;
    let values = members.take("values").map(serde_json::from_str);
    let values: Option<Vec<String>> = values.and_then(Result::ok);
    let mut values = values.ok_or("its `completion.values` is not an array of strings")?;
    values.truncate(100);
    Ok(CompletionResult {
        values,
        total: members.take("total").and_then(|total| total.parse().ok()),
        has_more: members.take("hasMore") == Some("true"),
    })
}

fn meta(members: &mut Members<'_>) -> Result<Option<Json>, String> {
    let Some(meta) = members.object("_meta")? else {
        return Ok(None);
    };
    let mut kept = Members::parse(&meta).map_err(|_| "its `_meta` names a member twice")?;
    kept.retain(|name| name != SERVER_INFO);
    Ok(kept.rest())
}

/// A question (MCP 2026-07-28, Multi Round-Trip Requests). Without `requestState` the repeated
/// request must not have one either: then there is no state to keep.
fn input_required(mut members: Members<'_>) -> Result<InputRequired, String> {
    let requests = members.object("inputRequests")?;
    let state = members.text("requestState")?;
    if requests.is_none() && state.is_none() {
        return Err("it asks for input and does not say which".into());
    }
    let asks = requests.is_some().to_string();
    let state = state.map(|state| {
        wire::object([("requestState", json::quote(&state)), ("asks", asks)]).into_bytes()
    });
    let state = state.unwrap_or_default();
    if state.len() > MAX_STATE {
        return Err(format!(
            "its `requestState` is larger than {MAX_STATE} bytes"
        ));
    }
    Ok(InputRequired {
        requests: requests.unwrap_or_else(|| "{}".into()),
        state,
    })
}

/// Members of the repeated request.
pub(crate) fn continued(continuation: &Continuation) -> Result<Vec<(&'static str, Json)>, String> {
    let responses = ("inputResponses", continuation.responses.clone());
    if continuation.state.is_empty() {
        return Ok(vec![responses]);
    }
    let wrong = || "the state is not this adapter's".to_owned();
    let state = str::from_utf8(&continuation.state).map_err(|_| wrong())?;
    let mut state = Members::parse(state).map_err(|_| wrong())?;
    let of_server = state.take("requestState").ok_or_else(wrong)?.to_owned();
    let asked = state.take("asks") == Some("true");
    let responses = asked.then_some(responses);
    Ok([("requestState", of_server)]
        .into_iter()
        .chain(responses)
        .collect())
}
