//! A contract backend that does as little as possible: what is measured is the way to it.
//!
//! It can be told to offer one tool more or less (`PUT`), which changes everybody's list.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::serve::{Answer, json};

/// The tool that is called.
const ECHO: &str = r#"{"name":"echo","scope":"mcp:bench:read","description":"Returns its arguments.","params":{"text":"string"}}"#;

/// The longest result that may be asked for.
const MOST_KIB: usize = 8 * 1024;
/// One whose results are as long as its caller wants.
const FILL: &str = r#"{"name":"fill","scope":"mcp:bench:read","description":"Returns its arguments, and so many KiB.","params":{"text":"string","kib":"number"}}"#;
/// The one that comes and goes.
const EXTRA: &str = r#"{"name":"extra","scope":"mcp:bench:read","description":"Comes and goes.","params":{"text":"string"}}"#;

/// `echo` and `fill`, and others of ordinary size that are only listed. Looks at no token, no header and no
/// path.
#[derive(Clone)]
pub(crate) struct Backend {
    /// The answer to `list_tools`, without and with the tool that comes and goes.
    lists: [Bytes; 2],
    has_extra: Arc<AtomicBool>,
}

impl Backend {
    /// With so many tools.
    pub(crate) fn new(tools: usize) -> Self {
        let others = (2..tools).map(|n| {
            format!(
                r#"{{"name":"find_report_{n:05}","scope":"mcp:bench:read","description":"Finds reports of department {n} by words in their titles. Best first, twenty at most, drafts included if wanted.","params":{{"words":"string","drafts":"boolean?","limit":"number?"}}}}"#
            )
        });
        let own = [ECHO, FILL].map(str::to_owned).into_iter().take(tools);
        let mut all: Vec<String> = own.chain(others).collect();
        let list = |all: &[String]| Bytes::from(format!(r#"{{"tools":[{}]}}"#, all.join(",")));
        let without = list(&all);
        all.push(EXTRA.to_owned());
        Self {
            lists: [without, list(&all)],
            has_extra: Arc::default(),
        }
    }

    fn tools(&self) -> Bytes {
        self.lists[usize::from(self.has_extra.load(Ordering::Relaxed))].clone()
    }
}

/// One call in the contract's wire format.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// What `fill` is asked.
#[derive(Deserialize)]
struct Fill<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    kib: usize,
}

impl Answer for Backend {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        match *request.method() {
            Method::GET => return json(StatusCode::OK, "Echoes"),
            Method::PUT => {
                self.has_extra.fetch_xor(true, Ordering::Relaxed);
                return json(StatusCode::OK, "{}");
            }
            _ => {}
        }
        let Ok(body) = request.into_body().collect().await else {
            return json(StatusCode::BAD_REQUEST, r#"{"error":"the body broke off"}"#);
        };
        self.reply(&body.to_bytes())
    }
}

impl Backend {
    fn reply(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let Ok(call) = serde_json::from_slice::<Call<'_>>(body) else {
            return json(StatusCode::BAD_REQUEST, r#"{"error":"not a call"}"#);
        };
        let params = call.params.map_or("{}", RawValue::get);
        match &*call.method {
            "list_tools" => json(StatusCode::OK, self.tools()),
            "echo" => json(StatusCode::OK, params.to_owned()),
            "fill" => match serde_json::from_str::<Fill<'_>>(params) {
                Ok(Fill { text, kib }) if kib <= MOST_KIB => {
                    json(StatusCode::OK, filled(&text, kib))
                }
                _ => json(StatusCode::BAD_REQUEST, r#"{"error":"not so"}"#),
            },
            _ => json(StatusCode::NOT_FOUND, r#"{"error":"unknown method"}"#),
        }
    }
}

/// An object with the text, and rows as search results have them, of so many KiB together.
fn filled(text: &str, kib: usize) -> String {
    const ROW: &str = r#"{"title":"Report of the northern region","score":0.75,"drafts":false},"#;
    let mut body = format!(r#"{{"text":"{text}","rows":["#);
    while body.len() < kib * 1024 {
        body.push_str(ROW);
    }
    body.push_str("null]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(body: &str, status: u16, expected: &str) {
        let response = Backend::new(1).reply(body.as_bytes());
        assert_eq!(response.status(), status, "{body}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, expected, "{body}");
    }

    #[tokio::test]
    async fn echoes_the_params_byte_for_byte() {
        check(
            r#"{"method":"echo","params":{"text" : "a\u0062"}}"#,
            200,
            r#"{"text" : "a\u0062"}"#,
        )
        .await;
        check(r#"{"method":"echo"}"#, 200, "{}").await;
    }

    #[tokio::test]
    async fn has_as_many_tools_as_it_is_told() {
        let one = format!(r#"{{"tools":[{ECHO}]}}"#);
        check(r#"{"method":"list_tools","params":{}}"#, 200, &one).await;
        check(
            r#"{"method":"list_prompts"}"#,
            404,
            r#"{"error":"unknown method"}"#,
        )
        .await;
        check("[]", 400, r#"{"error":"not a call"}"#).await;
        let many = Backend::new(100);
        for expected in [100, 101, 100] {
            let list: serde_json::Value = serde_json::from_slice(&many.tools()).unwrap();
            assert_eq!(list["tools"].as_array().map(Vec::len), Some(expected));
            many.has_extra.fetch_xor(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn results_are_json_of_the_length_that_was_asked_for() {
        for kib in [1, 64] {
            let body = filled("t", kib);
            assert!((kib * 1024..kib * 1024 + 128).contains(&body.len()));
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
        }
    }
}
