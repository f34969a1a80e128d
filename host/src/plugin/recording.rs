//! Exchanges that were recorded: what a component is expected to ask, and what it is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde::Deserialize;
use serde_json::Value;

use crate::outbound::{Answer, SendError};

/// One exchange, as a file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    request: Asked,
    response: Answered,
}

/// What a component is expected to ask. What is not named may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text, or any other JSON, which is compared as JSON.
    body: Option<Value>,
    /// `none`, `caller`, `technical`, `linked-account` or `secret NAME`.
    credential: Option<String>,
}

/// What it is answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text as it is, or any other JSON.
    #[serde(default)]
    body: Value,
}

fn ok() -> u16 {
    200
}

/// The exchanges of one call, in order.
#[derive(Debug, Default)]
pub(super) struct Recording(Mutex<Tape>);

#[derive(Debug, Default)]
struct Tape {
    left: VecDeque<Exchange>,
    wrong: Vec<String>,
}

impl Recording {
    /// Gets ready for a call.
    pub(super) fn begin(&self, exchanges: &[Exchange]) {
        *self.lock() = Tape {
            left: exchanges.iter().cloned().collect(),
            wrong: Vec::new(),
        };
    }

    /// What was not as it was recorded.
    pub(super) fn end(&self) -> Vec<String> {
        let mut tape = self.lock();
        let mut wrong = std::mem::take(&mut tape.wrong);
        let missing = tape.left.drain(..);
        wrong.extend(missing.map(|exchange| {
            let Asked { method, url, .. } = exchange.request;
            format!("{method} {url} was recorded and not asked")
        }));
        wrong
    }

    /// The answer to a request, if it is the one that was recorded here.
    pub(super) fn answer(&self, request: &Request<Bytes>) -> Result<Answer, SendError> {
        let mut tape = self.lock();
        let differs = match tape.left.front() {
            None => Some("nothing more was recorded".to_owned()),
            Some(exchange) => exchange.request.differs(request),
        };
        if let Some(how) = differs {
            let told = format!("{} {}: {how}", request.method(), request.uri());
            tape.wrong.push(told);
            return Err(SendError::Connection("not recorded"));
        }
        let exchange = tape.left.pop_front();
        let answered = exchange.map(|exchange| exchange.response);
        answered
            .and_then(Answered::answer)
            .ok_or(SendError::Connection("recorded wrongly"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// How a request differs from this.
    fn differs(&self, request: &Request<Bytes>) -> Option<String> {
        let url = request.uri().to_string();
        if *request.method() != *self.method || url != self.url {
            return Some(format!("recorded was {} {}", self.method, self.url));
        }
        for (name, expected) in &self.headers {
            let found = request.headers().get(name.as_str());
            let found = found.and_then(|value| value.to_str().ok());
            if found != Some(expected) {
                return Some(format!(
                    "header `{name}` is {found:?}, recorded was `{expected}`"
                ));
            }
        }
        if let Some(expected) = &self.credential {
            let found = credential(request.headers());
            if found != *expected {
                return Some(format!("it goes as `{found}`, recorded was `{expected}`"));
            }
        }
        let sent = String::from_utf8_lossy(request.body());
        match &self.body {
            None => None,
            Some(Value::String(text)) if *text == sent => None,
            Some(expected)
                if serde_json::from_str::<Value>(&sent).ok().as_ref() == Some(expected) =>
            {
                None
            }
            Some(expected) => Some(format!("its body is `{sent}`, recorded was `{expected}`")),
        }
    }
}

/// As whom a request goes: while rehearsing, tokens are called what they stand for.
fn credential(headers: &HeaderMap) -> String {
    let values = headers.values().filter_map(|value| value.to_str().ok());
    let secret = values.filter_map(|value| {
        let value = value.strip_prefix("Bearer ").unwrap_or(value);
        value
            .strip_prefix("secret:")
            .map(|name| format!("secret {name}"))
    });
    let token = headers.get(http::header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let mut found = secret.chain(token.map(str::to_owned));
    found.next().unwrap_or_else(|| "none".to_owned())
}

impl Answered {
    fn answer(self) -> Option<Answer> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
        let body = match self.body {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => {
                let json = HeaderValue::from_static("application/json");
                headers.entry(http::header::CONTENT_TYPE).or_insert(json);
                other.to_string()
            }
        };
        Some(Answer {
            status: self.status.try_into().ok()?,
            headers,
            body: body.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn exchange() -> Exchange {
        serde_json::from_value(json!({
            "request": { "method": "POST", "url": "http://docs.test/x", "body": { "a": 1 }, "credential": "caller" },
            "response": { "body": [1] },
        }))
        .expect("an exchange")
    }

    fn request(url: &str, token: &str, body: &'static str) -> Request<Bytes> {
        let request = Request::post(url).header("authorization", format!("Bearer {token}"));
        request.body(body.into()).expect("a request")
    }

    #[test]
    fn what_was_recorded_is_answered_and_all_else_is_told() {
        let recording = Recording::default();
        recording.begin(&[exchange()]);
        let answer = recording.answer(&request("http://docs.test/x", "caller", r#"{ "a": 1 }"#));
        let answer = answer.expect("answered");
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b"[1]"[..])
        );
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(recording.end().is_empty());
        for (url, token, body, told) in [
            (
                "http://docs.test/y",
                "caller",
                r#"{"a":1}"#,
                "recorded was POST http://docs.test/x",
            ),
            (
                "http://docs.test/x",
                "technical",
                r#"{"a":1}"#,
                "it goes as `technical`",
            ),
            ("http://docs.test/x", "caller", r#"{"a":2}"#, "its body is"),
        ] {
            recording.begin(&[exchange()]);
            assert!(recording.answer(&request(url, token, body)).is_err());
            let wrong = recording.end();
            assert!(wrong[0].contains(told), "{wrong:?}");
            assert!(wrong[1].contains("was recorded and not asked"), "{wrong:?}");
        }
    }
}
