//! What the server says: looked at just enough to pass it on and never to pass on anything else.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::framing::MAX_LINE;
use crate::mcp::events::{Decoder, Event};
use crate::mcp::jsonrpc::Id;

/// Largest message that is passed on.
pub(super) const MAX_MESSAGE: usize = MAX_LINE;

/// What kind of message it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answers the request of this id; none, where the server could not tell which.
    Response(Option<Id>),
    /// Asks the client something.
    Request,
    /// Wants no answer.
    Notification,
}

/// The members of a message, values untouched.
#[derive(Deserialize)]
pub(super) struct Parts<'m> {
    #[serde(borrow)]
    id: Option<&'m RawValue>,
    #[serde(borrow)]
    method: Option<&'m RawValue>,
    /// Of a response that is no error.
    #[serde(borrow)]
    pub(super) result: Option<&'m RawValue>,
    /// Of a response that is one.
    #[serde(borrow)]
    pub(super) error: Option<&'m RawValue>,
}

impl<'m> Parts<'m> {
    /// Takes a message apart. `None`: it is none.
    pub(super) fn read(message: &'m str) -> Option<Self> {
        let parts: Self = serde_json::from_str(message).ok()?;
        let is_response = parts.result.is_some() || parts.error.is_some();
        (parts.method.is_some() != is_response).then_some(parts)
    }

    /// What kind of message it is.
    pub(super) fn kind(&self) -> Kind {
        let id = self.id.and_then(|raw| serde_json::from_str(raw.get()).ok());
        match (self.method.is_some(), self.id.is_some()) {
            (false, _) => Kind::Response(id),
            (true, true) => Kind::Request,
            (true, false) => Kind::Notification,
        }
    }

    /// The code of an error.
    pub(super) fn code(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Code {
            code: i64,
        }
        let error: Code = serde_json::from_str(self.error?.get()).ok()?;
        Some(error.code)
    }
}

/// Whether an answer is a stream of events, or JSON, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Events,
    Json,
    Other,
}

/// Tells the form by the header.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match kind.trim().to_ascii_lowercase().as_str() {
        "text/event-stream" => Form::Events,
        "application/json" => Form::Json,
        _ => Form::Other,
    }
}

/// Messages of an event stream, one by one.
pub(super) struct Stream {
    body: Incoming,
    decoder: Decoder,
    ready: std::collections::VecDeque<Event>,
}

impl Stream {
    /// Reads this body.
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            decoder: Decoder::new(MAX_MESSAGE),
            ready: std::collections::VecDeque::new(),
        }
    }

    /// The next message; `None` when the stream ended or broke.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                // An event without data only sets an id or a waiting time.
                if event.data.trim().is_empty() {
                    continue;
                }
                return Some(event.data);
            }
            let frame = self.body.frame().await?.ok()?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            let mut events = Vec::new();
            let pushed = self.decoder.push(&bytes, &mut events);
            self.ready.extend(events);
            if let Err(error) = pushed {
                tracing::warn!(%error, "a stream of the MCP server is given up");
                // What was complete before is still passed on.
                return self.ready.pop_front().map(|event| event.data);
            }
        }
    }

    /// Where to go on, and how long to wait before.
    pub(super) fn position(&self) -> (Option<String>, Option<std::time::Duration>) {
        let id = self.decoder.last_id().filter(|id| !id.is_empty());
        (id.map(str::to_owned), self.decoder.retry())
    }

    /// Reads what is left after the last message, so that the connection can serve again.
    pub(super) fn finish(self) {
        tokio::spawn(async move {
            let limited = http_body_util::Limited::new(self.body, 64 * 1024);
            let wait = std::time::Duration::from_secs(1);
            // If it does not end it is closed, which is as good.
            drop(tokio::time::timeout(wait, limited.collect()).await);
        });
    }
}

/// A body as text, for those who write JSON.
pub(super) fn text(body: &Bytes) -> Option<&str> {
    std::str::from_utf8(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        for (message, expected) in [
            (
                r#"{"id":1,"result":{}}"#,
                Some(Kind::Response(Some(Id::Number(1.into())))),
            ),
            (
                r#"{"id":null,"error":{"code":-32700}}"#,
                Some(Kind::Response(None)),
            ),
            (r#"{"error":{"code":-32700}}"#, Some(Kind::Response(None))),
            (r#"{"id":"a","method":"ping"}"#, Some(Kind::Request)),
            (
                r#"{"method":"notifications/message"}"#,
                Some(Kind::Notification),
            ),
            (r#"{"id":1}"#, None),
            (r#"{"id":1,"method":"x","result":1}"#, None),
            ("[]", None),
            ("hello", None),
        ] {
            assert_eq!(
                Parts::read(message).map(|parts| parts.kind()),
                expected,
                "{message}"
            );
        }
        let parts = Parts::read(r#"{"id":1,"error":{"code":-32020,"message":"x"}}"#);
        assert_eq!(parts.and_then(|parts| parts.code()), Some(-32020));
    }
}
