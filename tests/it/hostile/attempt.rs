//! One request, byte for byte as a test wants it, and what came back.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest an answer is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as its sender wants it.
#[derive(Clone)]
pub(super) struct Attempt {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Attempt {
    /// A ping of a legacy client, with nothing wrong.
    pub(super) fn legacy(token: &str) -> Self {
        let headers = [
            ("Host", "localhost:3213"),
            ("Connection", "close"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2025-11-25"),
        ];
        let ping = Self {
            method: "POST".to_owned(),
            target: "/mcp".to_owned(),
            headers: Vec::new(),
            body: json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })
                .to_string()
                .into_bytes(),
        };
        let ping = headers
            .iter()
            .fold(ping, |ping, (name, value)| ping.with(name, value));
        ping.with("Authorization", format!("Bearer {token}"))
    }

    /// The same as a request of the modern era, with the header that it needs.
    pub(super) fn modern(self, method: &str, mut params: Value) -> Self {
        if params.get("_meta").is_none() {
            params["_meta"] = cortex_tests::client::modern_meta();
        }
        let mirrored = params["name"].as_str().or(params["uri"].as_str());
        let named = match mirrored {
            Some(name) => self.set("Mcp-Name", name),
            None => self,
        };
        named
            .set("MCP-Protocol-Version", "2026-07-28")
            .set("Mcp-Method", method)
            .request(method, &params)
    }

    /// The same with another request in its body.
    pub(super) fn request(self, method: &str, params: &Value) -> Self {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.body(body.to_string())
    }

    /// The same with another body.
    pub(super) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// The same by another method, at another target.
    pub(super) fn at(self, method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            ..self
        }
    }

    /// The same with one more header line.
    pub(super) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same without a header.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// The same with another value of a header.
    pub(super) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    /// Sends it on a connection of its own.
    pub(super) async fn send(&self, address: SocketAddr) -> Reply {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let length = ("Content-Length".to_owned(), self.body.len().to_string());
        let length = (length.0, length.1.into_bytes());
        let counted = self.headers.iter().any(|(name, _)| *name == length.0);
        for (name, value) in self.headers.iter().chain((!counted).then_some(&length)) {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        let mut stream = TcpStream::connect(address).await.expect("connected");
        // The far end may have heard enough before all is said.
        drop(stream.write_all(&bytes).await);
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
        drop(reading.await.expect("an end"));
        Reply::read(&String::from_utf8_lossy(&answer))
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let fields = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.and_then(|s| s.parse().ok()).unwrap_or_default(),
            headers: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    /// A header; empty when absent.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON; `null` when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
