//! What the client says: requests, notifications and responses, each with its era.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::mcp::jsonrpc::{self, BadMessage, Id, Message, code};
use crate::mcp::params::{META_PROTOCOL_VERSION, Params, text};

/// One line of the client.
#[derive(Debug)]
pub(super) enum Said {
    /// Wants an answer.
    Call(Call),
    /// Wants none: a notification or the response to a request of the server.
    Other {
        /// The method; none in a response.
        method: Option<String>,
        /// The message.
        body: Bytes,
        /// The revision it names in `_meta`, if it does.
        modern: Option<String>,
    },
    /// `notifications/cancelled`.
    Cancelled {
        /// The request that is to be given up.
        request: Id,
        /// The message.
        body: Bytes,
    },
}

/// One request, or a batch with requests in it (2025-03-26).
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The ids that want an answer; one, but for batches.
    pub(super) ids: Vec<Id>,
    /// The method; empty for a batch.
    pub(super) method: String,
    /// `params.name`, else `params.uri`.
    pub(super) name: Option<String>,
    /// `params.arguments`.
    pub(super) arguments: Option<Box<RawValue>>,
    /// The message as it came.
    pub(super) body: Bytes,
    /// The revision that `_meta` names: it is of the modern era.
    pub(super) modern: Option<String>,
    /// A batch is answered by a batch.
    pub(super) is_batch: bool,
}

impl Call {
    /// Errors for everything that waits for this call's answer.
    pub(super) fn failed(&self, message: &str) -> String {
        let errors: Vec<_> = self
            .ids
            .iter()
            .map(|id| error(Some(id), code::INTERNAL_ERROR, message))
            .collect();
        if self.is_batch {
            format!("[{}]", errors.join(","))
        } else {
            errors.concat()
        }
    }
}

/// An error response.
pub(super) fn error(id: Option<&Id>, code: i32, message: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }).to_string()
}

/// Reads one line.
///
/// # Errors
/// The error response to it.
pub(super) fn read(line: Bytes) -> Result<Said, String> {
    if line.first() == Some(&b'[') {
        return batch(line);
    }
    let message = jsonrpc::parse(&line).map_err(|bad| refusal(&line, &bad))?;
    Ok(match message {
        Message::Request(request) => {
            let params = Params::parse(request.params.as_deref()).unwrap_or_default();
            Said::Call(Call {
                modern: revision(&params),
                ids: vec![request.id],
                name: text(params.name.as_deref()).or_else(|| text(params.uri.as_deref())),
                arguments: params.arguments,
                method: request.method,
                body: line,
                is_batch: false,
            })
        }
        Message::Notification { method, params } => notification(method, params.as_deref(), line),
        Message::Response(_) => Said::Other {
            method: None,
            body: line,
            modern: None,
        },
    })
}

fn notification(method: String, params: Option<&RawValue>, body: Bytes) -> Said {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cancelled {
        request_id: Id,
    }
    if method == "notifications/cancelled" {
        let cancelled = params.map(|raw| serde_json::from_str(raw.get()));
        if let Some(Ok(Cancelled { request_id })) = cancelled {
            return Said::Cancelled {
                request: request_id,
                body,
            };
        }
    }
    let params = Params::parse(params).unwrap_or_default();
    Said::Other {
        modern: revision(&params),
        method: Some(method),
        body,
    }
}

/// What `_meta` names as the protocol version, by which the modern era is told.
fn revision(params: &Params) -> Option<String> {
    params.meta().ok()?.text(META_PROTOCOL_VERSION)
}

/// A batch, which only 2025-03-26 has. Whether the server takes one is for the server to say.
fn batch(line: Bytes) -> Result<Said, String> {
    let invalid = |what: &str| error(None, code::INVALID_REQUEST, what);
    crate::mcp::json::check(&line).map_err(|bad| refusal(&line, &bad.into()))?;
    let parts: Vec<&RawValue> =
        serde_json::from_slice(&line).map_err(|e| invalid(&e.to_string()))?;
    if parts.is_empty() {
        return Err(invalid("a batch holds at least one message"));
    }
    let mut ids = Vec::new();
    for part in parts {
        let part = part.get().as_bytes();
        match jsonrpc::parse(part).map_err(|bad| refusal(part, &bad))? {
            Message::Request(request) => ids.push(request.id),
            Message::Notification { .. } | Message::Response(_) => {}
        }
    }
    if ids.is_empty() {
        return Ok(Said::Other {
            method: None,
            body: line,
            modern: None,
        });
    }
    Ok(Said::Call(Call {
        ids,
        method: String::new(),
        name: None,
        arguments: None,
        body: line,
        modern: None,
        is_batch: true,
    }))
}

fn refusal(line: &[u8], bad: &BadMessage) -> String {
    match bad {
        BadMessage::NotJson(why) => error(None, code::PARSE_ERROR, &why.to_string()),
        BadMessage::Invalid(why) => {
            error(jsonrpc::peek_id(line).as_ref(), code::INVALID_REQUEST, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Said {
        read(Bytes::copy_from_slice(line.as_bytes())).expect("a message")
    }

    #[test]
    fn the_era_is_told_by_meta() {
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":1},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let Said::Call(call) = said(line) else {
            panic!("a call")
        };
        assert_eq!(call.modern.as_deref(), Some("2026-07-28"));
        assert_eq!(call.name.as_deref(), Some("x"));
        assert_eq!(
            call.arguments.map(|raw| raw.get().to_owned()).as_deref(),
            Some(r#"{"a":1}"#)
        );

        let Said::Call(call) = said(r#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#) else {
            panic!("a call")
        };
        assert_eq!(
            (call.modern, call.ids),
            (None, vec![Id::Text("1".to_owned())])
        );
    }

    #[test]
    fn cancellations_name_their_request() {
        let line =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
        let Said::Cancelled { request, .. } = said(line) else {
            panic!("a cancellation")
        };
        assert_eq!(request, Id::Number(7.into()));
        // Malformed, it is nobody's cancellation.
        let line = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#;
        assert!(matches!(
            said(line),
            Said::Other {
                method: Some(_),
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_message_is_answered() {
        for (line, code, id) in [
            ("{", -32700, "null"),
            ("hello", -32700, "null"),
            (r#"{"jsonrpc":"2.0","id":3}"#, -32600, "3"),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
                -32600,
                "null",
            ),
            ("[]", -32600, "null"),
            ("[1]", -32600, "null"),
        ] {
            let answer = read(Bytes::from_static(line.as_bytes())).expect_err(line);
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
            assert_eq!(answer["error"]["code"], code, "{line}");
            assert_eq!(answer["id"].to_string(), id, "{line}");
        }
    }

    #[test]
    fn a_batch_waits_for_each_of_its_requests() {
        let line = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
        let Said::Call(call) = said(line) else {
            panic!("a call")
        };
        assert_eq!(call.ids.len(), 2);
        let failed: serde_json::Value = serde_json::from_str(&call.failed("no")).expect("JSON");
        assert_eq!(failed[1]["id"], 2);
    }
}
