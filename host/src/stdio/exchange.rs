//! One request of the client, from its line to the line that answers it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tracing::{debug, warn};

use super::answer::{Form, Kind, MAX_MESSAGE, Parts, Stream, form, text};
use super::bridge::Bridge;
use super::message::Call;
use super::renew;
use super::session::{SESSION_ID, Session};
use super::transport::{Fields, Trouble};
use crate::mcp::jsonrpc::code;
use crate::outbound;

/// How often a broken stream is taken up again without anything having come.
const RESUMPTIONS: u32 = 5;
/// Wait before a broken stream is taken up again, if the server names none.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// Most pages of tools that are read to learn of their annotations.
const MAX_PAGES: usize = 100;

/// Gets the answer of one call, and writes it. What is left in `call.ids` has none.
///
/// # Errors
/// Why there is no answer, for the client.
pub(super) async fn run(bridge: &Arc<Bridge>, call: &mut Call) -> Result<(), String> {
    let (mut listed, mut renewed) = (false, false);
    loop {
        let session = match call.modern {
            None if call.method != "initialize" => bridge.sessions.current(),
            _ => None,
        };
        let fields = fields(bridge, call, session.as_deref());
        let answer = bridge.transport.post(&call.body, &fields).await;
        let answer = answer.map_err(|trouble| trouble.to_string())?;
        let status = answer.status();
        if status.is_success() {
            return deliver(bridge, call, answer, &fields).await;
        }
        if status == StatusCode::NOT_FOUND
            && !renewed
            && let Some(session) = session.filter(|session| session.id.is_some())
        {
            renewed = true;
            renew::session(bridge, &session).await?;
            continue;
        }
        let body = outbound::rest(answer.into_body(), MAX_MESSAGE)
            .await
            .unwrap_or_default();
        // An `error` without a code is none of JSON-RPC: OAuth has such, and proxies.
        let refusal = text(&body)
            .and_then(Parts::read)
            .and_then(|parts| Some((parts.code()?, parts.error?)));
        let Some((refusal, error)) = refusal else {
            return Err(without_words(status));
        };
        if refusal == i64::from(code::HEADER_MISMATCH) && call.method == "tools/call" && !listed {
            // What is mirrored changed, or was never seen ("Client Behavior").
            listed = true;
            learn_tools(bridge, call).await?;
            continue;
        }
        refuse(bridge, call, error).await;
        return Ok(());
    }
}

fn fields(bridge: &Bridge, call: &Call, session: Option<&Session>) -> Fields {
    match (&call.modern, session) {
        (Some(revision), _) => bridge.tools.headers(call, revision),
        (None, Some(session)) => session.fields(),
        (None, None) => Fields::new(),
    }
}

/// Writes the server's error, under the ids that wait for an answer: a refusal before JSON-RPC
/// came into it may name none, or a made-up one.
async fn refuse(bridge: &Bridge, call: &mut Call, error: &RawValue) {
    let responses: Vec<String> = (call.ids.drain(..))
        .map(|id| json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
        .collect();
    let line = if call.is_batch {
        format!("[{}]", responses.join(","))
    } else {
        responses.concat()
    };
    bridge.output.write(line).await;
}

fn without_words(status: StatusCode) -> String {
    let hint = match status.as_u16() {
        401 => "log in anew, or set another token in CORTEX_STDIO_TOKEN",
        403 => "it does not let you do this",
        404 | 405 => {
            "check the URL: it must be that of the MCP endpoint, such as https://mcp.example.com/mcp"
        }
        413 => "send less",
        429 | 500..=599 => "try again later",
        300..=399 => "give the URL that it leads to: redirects are not followed",
        _ => "the server's operator can tell why",
    };
    format!("the MCP server answers {status}: {hint}")
}

/// Passes on everything of a good answer up to the response.
async fn deliver(
    bridge: &Bridge,
    call: &mut Call,
    answer: Response<Incoming>,
    fields: &Fields,
) -> Result<(), String> {
    let (head, body) = answer.into_parts();
    match form(&head.headers) {
        Form::Events => stream(bridge, call, &head.headers, Stream::new(body), fields).await,
        Form::Json => {
            let body = outbound::rest(body, MAX_MESSAGE).await;
            let body = body.map_err(|error| broken(&error.to_string()))?;
            whole(bridge, call, &head.headers, &body).await
        }
        Form::Other => Err(format!(
            "the MCP server answers {} without JSON and without events: check the URL",
            head.status
        )),
    }
}

async fn whole(
    bridge: &Bridge,
    call: &mut Call,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(), String> {
    let not_mcp = || "the MCP server's answer is no MCP message: check the URL".to_owned();
    let message = text(body).ok_or_else(not_mcp)?;
    if call.is_batch && message.trim_start().starts_with('[') {
        let parts: Vec<&RawValue> = serde_json::from_str(message).map_err(|_| not_mcp())?;
        for part in parts {
            let parts = Parts::read(part.get()).ok_or_else(not_mcp)?;
            if let Kind::Response(Some(id)) = parts.kind() {
                call.ids.retain(|waiting| *waiting != id);
            }
        }
        // Ids without an answer in the batch get none: that is what the server says.
        bridge.output.write(body.clone()).await;
        return Ok(());
    }
    if pass_on(bridge, call, headers, message).await {
        return Ok(());
    }
    Err("the MCP server answered something else than this request".to_owned())
}

/// Passes on one message. True: nothing waits for an answer any more.
async fn pass_on(bridge: &Bridge, call: &mut Call, headers: &HeaderMap, message: &str) -> bool {
    let Some(parts) = Parts::read(message) else {
        warn!("left out: the MCP server sent something that is no MCP message");
        return false;
    };
    match parts.kind() {
        Kind::Response(Some(id)) if call.ids.contains(&id) => {
            let changed = notice(bridge, call, headers, &parts);
            call.ids.retain(|waiting| *waiting != id);
            // Before the answer is written: the client may use the id again at once.
            bridge.landed(std::slice::from_ref(&id));
            let line = match changed {
                Some(result) => format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
                    json!(id)
                ),
                None => message.to_owned(),
            };
            bridge.output.write(line).await;
        }
        Kind::Response(_) => warn!("left out: the MCP server answered what was not asked"),
        // Removed in the modern era, where the client has no way to answer (MCP 2026-07-28, stdio).
        Kind::Request if call.modern.is_some() => {
            warn!(
                "left out: the MCP server asked something in a way that this revision does not have"
            );
        }
        Kind::Request | Kind::Notification => bridge.output.write(message.to_owned()).await,
    }
    call.ids.is_empty()
}

/// Takes from a response what later requests need. `Some`: the result that is shown instead.
fn notice(bridge: &Bridge, call: &Call, headers: &HeaderMap, parts: &Parts<'_>) -> Option<String> {
    let result = parts.result?;
    match (call.method.as_str(), &call.modern) {
        ("initialize", None) => {
            let version = agreed_version(result)?;
            let id = headers.get(SESSION_ID).cloned();
            bridge.sessions.begin(call.body.clone(), id, version);
            None
        }
        ("tools/list", Some(_)) => bridge.tools.learn(result),
        _ => None,
    }
}

/// The revision that an `initialize` result names.
pub(super) fn agreed_version(result: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialized {
        protocol_version: String,
    }
    let result: Initialized = serde_json::from_str(result.get()).ok()?;
    Some(result.protocol_version)
}

/// Passes on a stream. Where it breaks, and its events had ids, it is taken up again (MCP
/// 2025-11-25, "Resumability and Redelivery"); the modern era has no such thing.
async fn stream(
    bridge: &Bridge,
    call: &mut Call,
    headers: &HeaderMap,
    mut events: Stream,
    fields: &Fields,
) -> Result<(), String> {
    let mut failures = 0;
    loop {
        while let Some(message) = events.next().await {
            failures = 0;
            if pass_on(bridge, call, headers, &message).await {
                events.finish();
                return Ok(());
            }
        }
        let (Some(id), wait) = events.position() else {
            return Err(broken("the connection ended"));
        };
        if call.modern.is_some() {
            return Err(broken("the connection ended"));
        }
        events = loop {
            if failures == RESUMPTIONS {
                return Err(broken("the connection ended, and cannot be taken up again"));
            }
            failures += 1;
            tokio::time::sleep(wait.unwrap_or(WAIT)).await;
            match resume(bridge, call, fields, &id).await {
                Ok(Some(events)) => break events,
                Ok(None) => {
                    return Err(broken(
                        "the connection ended, and the server has forgotten it",
                    ));
                }
                Err(trouble) => debug!(%trouble, "a stream cannot be taken up again yet"),
            }
        };
    }
}

async fn resume(
    bridge: &Bridge,
    call: &Call,
    fields: &Fields,
    id: &str,
) -> Result<Option<Stream>, Trouble> {
    let mut fields = match bridge.sessions.current() {
        // An `initialize` was sent before there was a session.
        Some(session) if call.method == "initialize" => session.fields(),
        _ => fields.clone(),
    };
    if let Ok(id) = HeaderValue::from_str(id) {
        fields.push((HeaderName::from_static("last-event-id"), id));
    }
    let answer = bridge.transport.get(&fields).await?;
    let good = answer.status().is_success() && form(answer.headers()) == Form::Events;
    Ok(good.then(|| Stream::new(answer.into_body())))
}

fn broken(why: &str) -> String {
    format!(
        "{why} before the MCP server's answer came: the request may have been carried out; look before you repeat it"
    )
}

/// Reads the tools' definitions, for what they want mirrored.
async fn learn_tools(bridge: &Bridge, call: &Call) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Asked {
        params: serde_json::Value,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        next_cursor: Option<String>,
    }
    let (Some(revision), Ok(asked)) = (&call.modern, serde_json::from_slice::<Asked>(&call.body))
    else {
        return Ok(());
    };
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let mut params = json!({ "_meta": asked.params.get("_meta") });
        if let Some(meta) = params["_meta"].as_object_mut() {
            // It belongs to the call.
            meta.remove("progressToken");
        }
        if let Some(cursor) = cursor {
            params["cursor"] = json!(cursor);
        }
        let body = json!({ "jsonrpc": "2.0", "id": "cortex-stdio", "method": "tools/list", "params": params });
        let fields = super::mirror::standard("tools/list", revision);
        let answer = bridge
            .transport
            .post(&body.to_string().into(), &fields)
            .await;
        let message = response(answer.map_err(|trouble| trouble.to_string())?).await?;
        let Some(result) = Parts::read(&message).and_then(|parts| parts.result) else {
            return Ok(());
        };
        bridge.tools.learn(result);
        let page: Option<Page> = serde_json::from_str(result.get()).ok();
        cursor = page.and_then(|page| page.next_cursor);
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// The response in an answer to a request of our own; whatever else is in it is left out.
pub(super) async fn response(answer: Response<Incoming>) -> Result<String, String> {
    let (head, body) = answer.into_parts();
    if !head.status.is_success() {
        return Err(without_words(head.status));
    }
    if form(&head.headers) == Form::Events {
        let mut events = Stream::new(body);
        while let Some(message) = events.next().await {
            let kind = Parts::read(&message).map(|parts| parts.kind());
            if matches!(kind, Some(Kind::Response(_))) {
                events.finish();
                return Ok(message);
            }
        }
        return Err(broken("the connection ended"));
    }
    let body = outbound::rest(body, MAX_MESSAGE).await;
    let body = body.map_err(|error| broken(&error.to_string()))?;
    String::from_utf8(body.into()).map_err(|_| "the MCP server's answer is no text".to_owned())
}
