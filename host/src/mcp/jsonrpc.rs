//! JSON-RPC 2.0 messages as MCP uses them: one request, notification or response a time.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::json;

/// A request id: a string or a number, never null (MCP basic, "Requests").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number, digits kept as they came.
    Number(serde_json::Number),
    /// A text.
    Text(String),
}

/// What is said to who sends an array where one message is expected.
pub const NO_BATCHES: &str = "batches are not accepted: send one message in each POST";

/// Error codes that the gateway answers with.
pub mod code {
    /// The body is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// Not one JSON-RPC message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Wrong parameters, unknown tool.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The gateway, a plugin or a backend failed; missing scope.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// No such session (legacy era).
    pub const SESSION_NOT_FOUND: i32 = -32001;
    /// No such resource (legacy era).
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// A client capability is needed and was not declared (MCP 2026-07-28, Lifecycle).
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The client has to open a link first (MCP 2025-11-25, "URL Elicitation Required Error").
    pub const URL_ELICITATION_REQUIRED: i32 = -32042;
    /// A header and the body disagree (MCP 2026-07-28, Streamable HTTP, "Server Validation").
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The protocol version is not served (MCP 2026-07-28, Versioning).
    pub const UNSUPPORTED_VERSION: i32 = -32022;
    /// Refused before JSON-RPC came into it: origin, token, overload.
    pub const REFUSED: i32 = -32000;
}

/// One message from a client.
#[derive(Debug)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification {
        /// Its method.
        method: String,
        /// Its parameters as they came: absent, or an object.
        params: Option<Box<RawValue>>,
    },
    /// Answers a request of ours.
    Response(Response),
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Its id, echoed in the answer.
    pub id: Id,
    /// Its method.
    pub method: String,
    /// Its parameters as they came: absent, or an object.
    pub params: Option<Box<RawValue>>,
}

/// The answer to a request of ours.
#[derive(Debug)]
pub struct Response {
    /// Our id.
    pub id: Id,
    /// `result`, or `error`.
    pub outcome: Result<Box<RawValue>, Box<RawValue>>,
}

/// Why a body is not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadMessage {
    /// Not JSON (−32700).
    #[error("{0}")]
    NotJson(#[from] json::NotJson),
    /// JSON, but not one valid message (−32600).
    #[error("{0}")]
    Invalid(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Keeps `null` apart from absent.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// Reads one message from a body.
///
/// # Errors
/// [`BadMessage`]; a duplicated member is one, because two readers could disagree about it.
pub fn parse(body: &[u8]) -> Result<Message, BadMessage> {
    json::check(body)?;
    let invalid = |text: &str| BadMessage::Invalid(text.to_owned());
    match body.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(invalid(NO_BATCHES));
        }
        _ => return Err(invalid("expected a JSON-RPC message, which is an object")),
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(body).map_err(|e| BadMessage::Invalid(e.to_string()))?;
    if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(invalid("expected `\"jsonrpc\": \"2.0\"`"));
    }
    let Some(method) = envelope.method else {
        let outcome = match (envelope.result, envelope.error) {
            (Some(result), None) => Ok(result.to_owned()),
            (None, Some(error)) => Err(error.to_owned()),
            _ => return Err(invalid("expected a `method`")),
        };
        let id = envelope.id.and_then(parse_id);
        let id = id.ok_or_else(|| invalid("`id` must be a string or a number"))?;
        return Ok(Message::Response(Response { id, outcome }));
    };
    let method: String =
        serde_json::from_str(method.get()).map_err(|_| invalid("`method` must be a string"))?;
    if envelope.result.is_some() || envelope.error.is_some() {
        return Err(invalid(
            "a message with a `method` has neither `result` nor `error`",
        ));
    }
    let params = match envelope.params {
        Some(params) if params.get().starts_with('{') => Some(params.to_owned()),
        Some(_) => return Err(invalid("`params` must be an object")),
        None => None,
    };
    let Some(id) = envelope.id else {
        return Ok(Message::Notification { method, params });
    };
    let id = parse_id(id).ok_or_else(|| invalid("`id` must be a string or a number"))?;
    Ok(Message::Request(Request { id, method, params }))
}

/// The id of whatever this body is, if one can be made out, for an answer that refuses it.
pub fn peek_id(body: &[u8]) -> Option<Id> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Option<Box<RawValue>>,
    }
    json::check(body).ok()?;
    serde_json::from_slice::<OnlyId>(body)
        .ok()?
        .id
        .as_deref()
        .and_then(parse_id)
}

/// An id that can be echoed as it came. A number that we would write in another way (`1e2`, more
/// digits than fit) is none: its sender would not know it again.
fn parse_id(raw: &RawValue) -> Option<Id> {
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).ok().map(Id::Text);
    }
    let number: serde_json::Number = serde_json::from_str(text).ok()?;
    (number.to_string() == text).then_some(Id::Number(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_notifications_are_told_apart() {
        let Ok(Message::Request(request)) = parse(br#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#)
        else {
            panic!("a request")
        };
        assert_eq!(
            (request.id, request.method.as_str()),
            (Id::Text("a".to_owned()), "ping")
        );
        assert!(matches!(
            parse(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            Ok(Message::Notification { .. })
        ));
        assert!(matches!(
            parse(br#"{"jsonrpc":"2.0","id":1,"result":null}"#),
            Ok(Message::Response(_))
        ));
    }

    #[test]
    fn bad_messages_of_many_shapes_are_refused() {
        for body in ["", "{", "nope", "{\"a\":1}}", "\u{0}"] {
            assert!(
                matches!(parse(body.as_bytes()), Err(BadMessage::NotJson(_))),
                "{body:?}"
            );
        }
        for body in [
            "1",
            "null",
            "\"x\"",
            "{}",
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1e999,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
        ] {
            assert!(
                matches!(parse(body.as_bytes()), Err(BadMessage::Invalid(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn ids_come_back_as_they_were() {
        for id in ["1", "-7", "1.5", "12345678901234567890", "\"\"", "\"é\""] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#);
            let Ok(Message::Request(request)) = parse(body.as_bytes()) else {
                panic!("{id}")
            };
            assert_eq!(serde_json::to_string(&request.id).expect("JSON"), id);
            assert_eq!(peek_id(body.as_bytes()), Some(request.id));
        }
    }
}
