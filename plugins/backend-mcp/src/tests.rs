//! The adapter against a faked gateway: what it sends, and what it makes of the answers.

mod calls;
mod eras;
mod lists;

use cortex_plugin_sdk::http::{HttpError, Response};
use cortex_plugin_sdk::testing::{self, Streamed, response};
use serde_json::{Value, json};

use super::*;

/// A server whose discovery found this era, in an instance that has not served it yet.
fn target(era: &str) -> Target {
    testing::forget();
    Target {
        learned: Some(json!({ "era": era }).to_string()),
        ..testing::target()
    }
}

fn body(request: &http::Request) -> Value {
    serde_json::from_slice(request.body.as_deref().unwrap_or_default()).unwrap_or_default()
}

fn header<'a>(request: &'a http::Request, name: &str) -> Option<&'a str> {
    let mut headers = request.headers.iter();
    let header = headers.find(|header| header.name == name)?;
    Some(&header.value)
}

fn methods(requests: &[http::Request]) -> Vec<String> {
    let name = |request: &http::Request| match body(request)["method"].as_str() {
        Some(method) => method.to_owned(),
        None => request.method.clone(),
    };
    requests.iter().map(name).collect()
}

/// JSON as an HTTP response.
fn json_response(status: u16, body: &Value) -> Response {
    response(status, body.to_string()).with("Content-Type", "application/json; charset=utf-8")
}

/// The response to a request with this result.
fn result(request: &http::Request, result: Value) -> Streamed {
    let id = body(request)["id"].clone();
    json_response(
        200,
        &json!({ "jsonrpc": "2.0", "id": id, "result": result }),
    )
    .into()
}

/// The response to a request with this error.
fn error(request: &http::Request, status: u16, code: i64, data: Value) -> Streamed {
    let id = body(request)["id"].clone();
    let error = json!({ "code": code, "message": "no", "data": data });
    json_response(
        status,
        &json!({ "jsonrpc": "2.0", "id": id, "error": error }),
    )
    .into()
}

/// A legacy server: the handshake, then what the test says.
fn legacy_server(
    request: &http::Request,
    rest: impl FnOnce(&http::Request) -> Streamed,
) -> Result<Streamed, HttpError> {
    Ok(match body(request)["method"].as_str() {
        Some("initialize") => {
            let told = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {}, "logging": {} } });
            let mut answer = result(request, told);
            answer.headers.push(http::Header {
                name: "mcp-session-id".into(),
                value: "s-1".into(),
            });
            answer
        }
        Some(method) if method.starts_with("notifications/") => response(202, "").into(),
        None => response(204, "").into(),
        Some(_) => rest(request),
    })
}

fn call_with(target: &Target, call: &ToolCall) -> Result<Reply, CallError> {
    McpBackend::call_tool(target, &testing::caller(&[]), call)
}

fn call(target: &Target) -> Result<Reply, CallError> {
    call_with(target, &testing::call("search", r#"{"q":"x"}"#))
}

fn said(error: CallError) -> String {
    match error {
        CallError::Failed(failure) => format!("{}: {}", failure.code, failure.message),
        other => format!("{other:?}"),
    }
}
