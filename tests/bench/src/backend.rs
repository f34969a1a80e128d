//! A contract backend that does as little as possible: what is measured is the way to it.

use std::borrow::Cow;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::serve::{Answer, json};

/// The tool that is called.
const ECHO: &str = r#"{"name":"echo","scope":"mcp:bench:read","description":"Returns its arguments.","params":{"text":"string"}}"#;

/// `echo`, and others of ordinary size that are only listed. Looks at no token, no header and no
/// path.
#[derive(Clone)]
pub(crate) struct Backend {
    /// The answer to `list_tools`.
    tools: Bytes,
}

impl Backend {
    /// With so many tools.
    pub(crate) fn new(tools: usize) -> Self {
        let others = (1..tools).map(|n| {
            format!(
                r#"{{"name":"find_report_{n:05}","scope":"mcp:bench:read","description":"Finds reports of department {n} by words in their titles. Best first, twenty at most, drafts included if wanted.","params":{{"words":"string","drafts":"boolean?","limit":"number?"}}}}"#
            )
        });
        let all: Vec<String> = std::iter::once(ECHO.to_owned()).chain(others).collect();
        Self {
            tools: format!(r#"{{"tools":[{}]}}"#, all.join(",")).into(),
        }
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

impl Answer for Backend {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        if request.method() == Method::GET {
            return json(StatusCode::OK, "Echoes");
        }
        let Ok(body) = request.into_body().collect().await else {
            return json(StatusCode::BAD_REQUEST, r#"{"error":"the body broke off"}"#);
        };
        answer(&self.tools, &body.to_bytes())
    }
}

fn answer(tools: &Bytes, body: &[u8]) -> Response<Full<Bytes>> {
    let Ok(call) = serde_json::from_slice::<Call<'_>>(body) else {
        return json(StatusCode::BAD_REQUEST, r#"{"error":"not a call"}"#);
    };
    match &*call.method {
        "list_tools" => json(StatusCode::OK, tools.clone()),
        "echo" => {
            let params = call.params.map_or("{}", RawValue::get);
            json(StatusCode::OK, params.to_owned())
        }
        _ => json(StatusCode::NOT_FOUND, r#"{"error":"unknown method"}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(body: &str, status: u16, expected: &str) {
        let response = answer(&Backend::new(1).tools, body.as_bytes());
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
    async fn has_one_tool_and_nothing_else() {
        let one = format!(r#"{{"tools":[{ECHO}]}}"#);
        check(r#"{"method":"list_tools","params":{}}"#, 200, &one).await;
        check(
            r#"{"method":"list_prompts"}"#,
            404,
            r#"{"error":"unknown method"}"#,
        )
        .await;
        check("[]", 400, r#"{"error":"not a call"}"#).await;
        let many: serde_json::Value = serde_json::from_slice(&Backend::new(100).tools).unwrap();
        assert_eq!(many["tools"].as_array().map(Vec::len), Some(100));
    }
}
