//! One line of the table: what is sent, and the exact answer.

use serde_json::{Value, json};

use super::attempt::{Attempt, Reply};

/// Where every challenge sends a client.
const METADATA: &str =
    r#"resource_metadata="http://localhost:3213/.well-known/oauth-protected-resource""#;
/// Longest answer that a refusal may be: nothing of what was sent comes back at length.
const SHORT: usize = 1_024;

/// What is sent, and the exact answer.
pub(super) struct Case {
    pub(super) what: String,
    pub(super) attempt: Attempt,
    status: u16,
    body: Body,
    challenge: String,
}

/// What the body has to be.
enum Body {
    /// Exactly this text.
    Text(String),
    /// A JSON-RPC error with this id and code, and this in its message.
    Error(Value, i64, String),
    /// A JSON-RPC result with the id 1.
    Result,
}

impl Case {
    fn new(what: &str, attempt: Attempt, status: u16, body: Body) -> Self {
        Self {
            what: what.to_owned(),
            attempt,
            status,
            body,
            challenge: String::new(),
        }
    }

    /// Is served: what is odd about it changes nothing.
    pub(super) fn served(what: &str, attempt: Attempt) -> Self {
        Self::new(what, attempt, 200, Body::Result)
    }

    /// Is refused, and said to whom: the request was read.
    pub(super) fn refused(
        what: &str,
        attempt: Attempt,
        status: u16,
        code: i64,
        says: &str,
    ) -> Self {
        let body = Body::Error(json!(1), code, says.to_owned());
        Self::new(what, attempt, status, body)
    }

    /// Is refused before the request was read, or could be.
    pub(super) fn unread(what: &str, attempt: Attempt, status: u16, code: i64, says: &str) -> Self {
        let body = Body::Error(Value::Null, code, says.to_owned());
        Self::new(what, attempt, status, body)
    }

    /// Gets exactly this body.
    pub(super) fn plain(what: &str, attempt: Attempt, status: u16, body: &str) -> Self {
        Self::new(what, attempt, status, Body::Text(body.to_owned()))
    }

    /// Presents no token.
    pub(super) fn nobody(what: &str, attempt: Attempt) -> Self {
        Self {
            challenge: format!("Bearer {METADATA}"),
            ..Self::unread(
                what,
                attempt,
                401,
                -32000,
                "a valid access token is required",
            )
        }
    }

    /// Presents a token that is none (401), or none at all where one should be (400).
    pub(super) fn bad_token(what: &str, attempt: Attempt, status: u16, says: &str) -> Self {
        let code = match status {
            400 => "invalid_request",
            _ => "invalid_token",
        };
        Self {
            challenge: format!("Bearer error=\"{code}\", error_description=\"{says}\", {METADATA}"),
            ..Self::unread(what, attempt, status, -32000, says)
        }
    }

    /// Lacks a scope.
    pub(super) fn out_of_scope(what: &str, attempt: Attempt, scope: &str) -> Self {
        Self {
            challenge: format!(
                "Bearer error=\"insufficient_scope\", scope=\"{scope}\", {METADATA}"
            ),
            ..Self::refused(what, attempt, 403, -32603, "Insufficient scope")
        }
    }

    /// Compares an answer with what it has to be.
    pub(super) fn check(&self, reply: &Reply) {
        let what = &self.what;
        assert_eq!(reply.status, self.status, "{what}: {reply:?}");
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge, self.challenge, "{what}: {reply:?}");
        let json = reply.json();
        match &self.body {
            Body::Text(text) => assert_eq!(&reply.body, text, "{what}: {reply:?}"),
            Body::Result => assert!(
                json["id"] == json!(1) && json["result"].is_object(),
                "{what}: {reply:?}"
            ),
            Body::Error(id, code, says) => {
                let told = (&json["id"], &json["error"]["code"]);
                assert_eq!(told, (id, &json!(code)), "{what}: {reply:?}");
                let message = json["error"]["message"].as_str().unwrap_or_default();
                assert!(message.contains(says.as_str()), "{what}: {reply:?}");
                assert!(reply.body.len() < SHORT, "{what}: {reply:?}");
            }
        }
        if self.status == 429 || self.status == 503 {
            assert!(!reply.header("retry-after").is_empty(), "{what}: {reply:?}");
        }
        let line_breaks = reply.body.contains(['\r', '\n']);
        assert!(!line_breaks, "{what}: {reply:?}");
    }
}
