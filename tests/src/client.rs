//! A small HTTP client that says exactly what a test wants to say.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// The dev bypass token of every gateway under test.
pub const DEV_TOKEN: &str = "dev-token-of-the-tests";

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {:?}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The `result` of a JSON-RPC response.
    pub fn result(&self) -> Value {
        let mut json = self.json();
        assert!(json.get("error").is_none(), "an error: {json}");
        json["result"].take()
    }

    /// Code and message of a JSON-RPC error.
    pub fn error(&self) -> (i64, String) {
        let json = self.json();
        let code = json["error"]["code"].as_i64();
        let message = json["error"]["message"].as_str().map(str::to_owned);
        match (code, message) {
            (Some(code), Some(message)) => (code, message),
            _ => panic!("no error: {json}"),
        }
    }

    /// The text of the only content block of a tool result, and `isError`.
    pub fn tool_text(&self) -> (String, bool) {
        let result = self.result();
        let blocks = result["content"].as_array().map(Vec::len);
        assert_eq!(blocks, Some(1), "one content block: {result}");
        let text = result["content"][0]["text"].as_str().map(str::to_owned);
        (
            text.unwrap_or_else(|| panic!("no text: {result}")),
            result["isError"] == json!(true),
        )
    }

    /// The names in a `tools/list` result, without the gateway's own tools.
    pub fn tool_names(&self) -> Vec<String> {
        let mut names = self.all_tool_names();
        names.retain(|name| !GATEWAY_TOOLS.contains(&name.as_str()) && name != "find_tools");
        names
    }

    /// All names in a `tools/list` result.
    pub fn all_tool_names(&self) -> Vec<String> {
        let result = self.result();
        let tools = result["tools"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("no tools: {result}"));
        tools
            .iter()
            .filter_map(|t| t["name"].as_str().map(str::to_owned))
            .collect()
    }
}

/// Tools of the gateway itself that every list has.
pub const GATEWAY_TOOLS: [&str; 5] = [
    "list_cortex_resources",
    "list_cortex_tickets",
    "read_cortex_resource",
    "report_missing_capability",
    "whoami",
];

/// Longest that an answer is waited for: a gateway that gives none must not hold up all tests for ever.
const PATIENCE: Duration = Duration::from_secs(180);

/// Speaks to one gateway, in both eras.
#[derive(Clone)]
pub struct Client {
    base: String,
    /// The header that says who is calling.
    credential: Option<(&'static str, String)>,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client of the gateway at this base URL.
    pub fn new(base: String) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self {
            base,
            credential: Some(("x-dev-mode", DEV_TOKEN.to_owned())),
            http,
        }
    }

    /// The same client with an access token instead of the dev token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            credential: Some(("authorization", format!("Bearer {token}"))),
            ..self.clone()
        }
    }

    /// The same client without any credential.
    pub fn anonymous(&self) -> Self {
        Self {
            credential: None,
            ..self.clone()
        }
    }

    /// Sends exactly this.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).context("a request")?;
        let whole = async {
            let response = self.http.request(request).await.context("a response")?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.context("a body")?.to_bytes();
            Ok(Reply {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        };
        let late = format!("no whole answer within {PATIENCE:?}");
        tokio::time::timeout(PATIENCE, whole).await.context(late)?
    }

    /// Sends exactly this and the client's credential, and reads no more than the head of the answer.
    pub async fn open(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let mut all = Vec::new();
        self.credential(&mut all, headers);
        let uri = format!("{}/mcp", self.base);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in all {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into())).context("a request")?;
        let head = tokio::time::timeout(PATIENCE, self.http.request(request)).await;
        head.context("no answer in time")?.context("a response")
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "")
            .await
            .expect("a response")
    }

    /// `POST /mcp` with the client's credential, as a legacy client does it.
    pub async fn post(&self, body: impl Into<Bytes>, extra: &[(&str, &str)]) -> Reply {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        self.credential(&mut headers, extra);
        self.send(Method::POST, "/mcp", &headers, body)
            .await
            .expect("a response")
    }

    /// `DELETE /mcp` with the client's credential: ends a session.
    pub async fn delete(&self, extra: &[(&str, &str)]) -> Reply {
        let mut headers = Vec::new();
        self.credential(&mut headers, extra);
        self.send(Method::DELETE, "/mcp", &headers, "")
            .await
            .expect("a response")
    }

    /// Begins a legacy session; returns its id.
    pub async fn initialize(&self, version: &str) -> String {
        self.initialize_as(version, json!({})).await
    }

    /// Begins a legacy session of a client with these capabilities; returns its id.
    pub async fn initialize_as(&self, version: &str, capabilities: Value) -> String {
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": "tests", "version": "1" },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let reply = self.post(body.to_string(), &[]).await;
        assert_eq!(reply.result()["protocolVersion"], version);
        let id = reply.header("mcp-session-id").to_owned();
        assert!(!id.is_empty(), "a session");
        id
    }

    /// Adds the credential and these headers, which win over what was there.
    fn credential<'a>(
        &'a self,
        headers: &mut Vec<(&'a str, &'a str)>,
        extra: &[(&'a str, &'a str)],
    ) {
        headers.extend(
            self.credential
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        headers.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        headers.extend_from_slice(extra);
    }

    /// A legacy request.
    pub async fn legacy(&self, method: &str, params: Value) -> Reply {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.post(body.to_string(), &[("mcp-protocol-version", "2025-11-25")])
            .await
    }

    /// A modern request, with the headers and the `_meta` it needs.
    pub async fn modern(&self, method: &str, params: Value) -> Reply {
        self.modern_as(json!({}), method, params).await
    }

    /// A modern call of a tool by a client with these capabilities; `more`: further members, with
    /// which a request is repeated.
    pub async fn modern_call(
        &self,
        capabilities: Value,
        tool: &str,
        arguments: Value,
        more: &Value,
    ) -> Reply {
        let mut params = json!({ "name": tool, "arguments": arguments });
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        self.modern_as(capabilities, "tools/call", params).await
    }

    async fn modern_as(&self, capabilities: Value, method: &str, mut params: Value) -> Reply {
        params["_meta"] = modern_meta();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        let name = params["name"]
            .as_str()
            .or(params["uri"].as_str())
            .map(str::to_owned);
        let body = json!({ "jsonrpc": "2.0", "id": "m-1", "method": method, "params": params });
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        if let Some(name) = &name {
            headers.push(("mcp-name", name));
        }
        self.post(body.to_string(), &headers).await
    }

    /// Calls a tool as a legacy client.
    pub async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.legacy(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
        .await
    }
}

/// The `_meta` of a modern request.
pub fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "tests", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}
