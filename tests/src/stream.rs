//! Reads server-sent events as they come.

use std::collections::VecDeque;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::client::{Client, modern_meta};

/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// One block of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `id:`.
    pub id: Option<String>,
    /// `data:`; none when there is no such line.
    pub data: Option<String>,
    /// `retry:`.
    pub retry: Option<String>,
    /// Whether it is a comment.
    pub comment: bool,
}

impl Frame {
    /// The message it carries.
    pub fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_default();
        serde_json::from_str(data).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// The method of the message it carries.
    pub fn method(&self) -> String {
        self.json()["method"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// An answer that is a stream of events. Closed when dropped.
pub struct Stream {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    body: Incoming,
    text: String,
    frames: VecDeque<Frame>,
}

impl Stream {
    /// Opens whatever this request is answered with.
    pub async fn open(
        client: &Client,
        method: Method,
        headers: &[(&str, &str)],
        body: String,
    ) -> Self {
        let response = client
            .open(method, headers, body)
            .await
            .expect("a response");
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            text: String::new(),
            frames: VecDeque::new(),
        }
    }

    /// `GET /mcp` as a legacy client of 2025-11-25.
    pub async fn legacy(client: &Client, extra: &[(&str, &str)]) -> Self {
        let mut headers = vec![
            ("accept", "text/event-stream"),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        headers.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        headers.extend_from_slice(extra);
        Self::open(client, Method::GET, &headers, String::new()).await
    }

    /// `POST /mcp` as [`Client::post`] does it.
    pub async fn post(client: &Client, body: String, extra: &[(&str, &str)]) -> Self {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        headers.extend_from_slice(extra);
        Self::open(client, Method::POST, &headers, body).await
    }

    /// `subscriptions/listen` with this filter; its id is `s-1`.
    pub async fn modern(client: &Client, filter: Value) -> Self {
        let params = json!({ "notifications": filter, "_meta": modern_meta() });
        let body = json!({ "jsonrpc": "2.0", "id": "s-1", "method": "subscriptions/listen", "params": params });
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "subscriptions/listen"),
        ];
        Self::open(client, Method::POST, &headers, body.to_string()).await
    }

    /// The next frame of any kind. `None`: the stream has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        let next = tokio::time::timeout(PATIENCE, self.read());
        next.await.expect("a frame or the end")
    }

    /// The next frame that carries a message. `None`: the stream has ended. Signs of life alone are not waited on for
    /// ever.
    pub async fn message(&mut self) -> Option<Frame> {
        let next = async {
            loop {
                let frame = self.read().await?;
                if frame.data.as_deref().is_some_and(|data| !data.is_empty()) {
                    return Some(frame);
                }
            }
        };
        let next = tokio::time::timeout(PATIENCE, next).await;
        next.expect("a message or the end")
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            // A connection that breaks ends the stream, too.
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            self.text.push_str(&String::from_utf8_lossy(&data));
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                self.frames.push_back(parse(&block));
            }
        }
    }
}

fn parse(block: &str) -> Frame {
    let mut frame = Frame::default();
    for line in block.lines() {
        let value = |rest: &str| rest.strip_prefix(' ').unwrap_or(rest).to_owned();
        match line.split_once(':') {
            Some(("", _)) => frame.comment = true,
            Some(("id", rest)) => frame.id = Some(value(rest)),
            Some(("data", rest)) => frame.data = Some(value(rest)),
            Some(("retry", rest)) => frame.retry = Some(value(rest)),
            _ => {}
        }
    }
    frame
}
