//! JSON-RPC 2.0 messages, written and read as text. Knows nothing of HTTP.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use cortex_plugin_sdk::json::{self, Json, Members};

/// A message from the server.
pub(crate) enum Message {
    /// What a request was answered with.
    Response {
        /// Of which request. An error that belongs to none has none.
        id: Option<Json>,
        /// `result`, an object, or `error`.
        outcome: Result<Json, RpcError>,
    },
    /// Something told.
    Notification {
        /// What it is.
        method: String,
        /// An object.
        params: Json,
    },
    /// Something asked: servers of the legacy era may.
    Request {
        /// A string or a number, as JSON.
        id: Json,
        /// What it is.
        method: String,
        /// An object.
        params: Json,
    },
}

/// The member `error` of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    /// Any JSON.
    pub(crate) data: Option<Json>,
}

/// An id that no other request of this gateway has. Below 2^53, so that no JSON parser rounds it.
pub(crate) fn new_id() -> u64 {
    RandomState::new().build_hasher().finish() >> 11
}

/// An object of these members.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
    let members = members.into_iter();
    let members: Vec<_> = members
        .map(|(name, value)| format!("{}:{value}", json::quote(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A request.
pub(crate) fn request(id: u64, method: &str, params: &str) -> Json {
    let method = json::quote(method);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#)
}

/// An answer to a request of the server.
pub(crate) fn response(id: &str, outcome: Result<Json, Json>) -> Json {
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(error) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
    }
}

/// A notification.
pub(crate) fn notification(method: &str, params: &str) -> Json {
    let method = json::quote(method);
    format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#)
}

/// Reads one message.
///
/// # Errors
/// Why it is none, for the operator.
pub(crate) fn read(text: &str) -> Result<Message, String> {
    let mut members = Members::parse(text).map_err(|_| "it is not one JSON object".to_owned())?;
    if members.text("jsonrpc")?.as_deref() != Some("2.0") {
        return Err("it is not a JSON-RPC 2.0 message".into());
    }
    let id = members.take("id").map(str::to_owned);
    if let Some(id) = &id
        && !(id.starts_with('"') || id.parse::<i64>().is_ok())
    {
        return Err("its `id` is neither a string nor an integer".into());
    }
    if let Some(method) = members.text("method")? {
        let params = members.object("params")?.unwrap_or_else(|| "{}".into());
        return Ok(match id {
            Some(id) => Message::Request { id, method, params },
            None => Message::Notification { method, params },
        });
    }
    match (members.object("result")?, members.object("error")?) {
        (Some(result), None) if id.is_some() => Ok(Message::Response {
            id,
            outcome: Ok(result),
        }),
        (None, Some(error)) => Ok(Message::Response {
            id,
            outcome: Err(read_error(&error)?),
        }),
        _ => Err("it has neither a method, nor a result with an id, nor an error".into()),
    }
}

fn read_error(error: &str) -> Result<RpcError, String> {
    let mut members =
        Members::parse(error).map_err(|_| "its `error` names a member twice".to_owned())?;
    let code = members.take("code").and_then(|code| code.parse().ok());
    Ok(RpcError {
        code: code.ok_or("its `error.code` is not an integer")?,
        message: members.text("message")?.unwrap_or_default(),
        data: members.take("data").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let kind = |text: &str| match read(text) {
            Ok(Message::Response {
                id,
                outcome: Ok(result),
            }) => format!("result {id:?} {result}"),
            Ok(Message::Response {
                id,
                outcome: Err(error),
            }) => format!("error {id:?} {} {}", error.code, error.message),
            Ok(Message::Notification { method, params }) => format!("told {method} {params}"),
            Ok(Message::Request { id, method, .. }) => format!("asked {id} {method}"),
            Err(why) => why,
        };
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"a": 1}}"#,
                r#"result Some("1") {"a": 1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"m"}}"#,
                "error None -32000 m",
            ),
            (r#"{"jsonrpc":"2.0","method":"n"}"#, "told n {}"),
            (
                r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#,
                r#"asked "x" ping"#,
            ),
            (
                r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
                "it is not a JSON-RPC 2.0 message",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
                "its `result` is not an object",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}"#,
                "it has neither a method, nor a result with an id, nor an error",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}"#,
                "its `error.code` is not an integer",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1.5,"result":{}}"#,
                "its `id` is neither a string nor an integer",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#,
                "it is not one JSON object",
            ),
            (
                r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
                "it is not one JSON object",
            ),
            ("", "it is not one JSON object"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn ids_differ_and_survive_every_parser() {
        let ids: std::collections::HashSet<u64> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| *id < 1 << 53));
    }
}
