//! A native MCP server with one tool, which does as little as possible.

use std::borrow::Cow;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::{LEGACY, MODERN};
use crate::serve::{Answer, json};

/// `echo`, for clients of one era. Checks nothing, and keeps no sessions.
#[derive(Clone, Copy)]
pub(crate) struct Native {
    /// Whether it speaks the modern era, and not the legacy one.
    pub(crate) modern: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl Answer for Native {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        if request.method() != Method::POST {
            return json(StatusCode::METHOD_NOT_ALLOWED, "{}");
        }
        let Ok(body) = request.into_body().collect().await else {
            return json(StatusCode::BAD_REQUEST, "{}");
        };
        self.reply(&body.to_bytes())
    }
}

impl Native {
    fn reply(self, body: &[u8]) -> Response<Full<Bytes>> {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else {
            return json(StatusCode::BAD_REQUEST, "{}");
        };
        let Some(id) = message.id else {
            return json(StatusCode::ACCEPTED, "");
        };
        let complete = if self.modern {
            r#""resultType":"complete","#
        } else {
            ""
        };
        let result = match (&*message.method, self.modern) {
            ("server/discover", true) => {
                format!(
                    r#"{{{complete}"supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{}}}}}}"#
                )
            }
            ("initialize", false) => format!(
                r#"{{"protocolVersion":"{LEGACY}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench","version":"1"}}}}"#
            ),
            ("tools/list", _) => format!(
                r#"{{{complete}"tools":[{{"name":"echo","description":"Returns its arguments.","inputSchema":{{"type":"object"}}}}]}}"#
            ),
            ("tools/call", _) => {
                let arguments = message.params.and_then(|params| params.arguments);
                let arguments = arguments.map_or("{}", RawValue::get);
                // Arguments of the load hold nothing but plain text.
                let text = arguments.replace('"', "\\\"");
                format!(r#"{{{complete}"content":[{{"type":"text","text":"{text}"}}]}}"#)
            }
            _ => {
                let status = if self.modern {
                    StatusCode::NOT_FOUND
                } else {
                    StatusCode::OK
                };
                return json(
                    status,
                    format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found"}}}}"#
                    ),
                );
            }
        };
        json(
            StatusCode::OK,
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_answer_is_json_of_its_era() {
        for (modern, method, status, expected) in [
            (true, "server/discover", 200, MODERN),
            (false, "server/discover", 200, "-32601"),
            (true, "initialize", 404, "-32601"),
            (false, "initialize", 200, LEGACY),
            (true, "tools/list", 200, "resultType"),
            (false, "tools/call", 200, r#"{\"a\":\"b\"}"#),
        ] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"arguments":{{"a":"b"}}}}}}"#
            );
            let response = Native { modern }.reply(body.as_bytes());
            assert_eq!(response.status(), status, "{method}");
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(expected), "{method}: {text}");
        }
    }
}
