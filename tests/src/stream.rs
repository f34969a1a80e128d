//! A response of server-sent events, read event by event while it is being written.

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// `id`, if it has one.
    pub id: Option<String>,
    /// `data`: JSON, or null when there is none.
    pub data: Value,
    /// What stands after the colon of a comment line; such an event has nothing else.
    pub comment: Option<String>,
}

/// The open response.
#[derive(Debug)]
pub struct Stream {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    body: Incoming,
    read: Vec<u8>,
}

impl Stream {
    /// Takes an open response.
    pub fn new(response: http::Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            read: Vec::new(),
        }
    }

    /// The next event or comment; `None` at the end.
    pub async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                return parse(&block).map(Some);
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame.context("a frame")?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }

    /// The next event that carries JSON; comments and empty events are passed over.
    pub async fn message(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(std::time::Duration::from_secs(60), self.next());
            let event = next.await.expect("an event in time").expect("a stream");
            let event = event.expect("not the end yet");
            if !event.data.is_null() {
                return event.data;
            }
        }
    }

    /// What is left of the body, whatever it is.
    pub async fn rest(self) -> anyhow::Result<Bytes> {
        let mut all = self.read;
        all.extend_from_slice(&self.body.collect().await.context("a body")?.to_bytes());
        Ok(all.into())
    }
}

fn parse(block: &[u8]) -> anyhow::Result<Event> {
    let mut event = Event::default();
    let mut data = String::new();
    for line in std::str::from_utf8(block).context("UTF-8")?.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if !line.is_empty() => event.comment = Some(value.to_owned()),
            "id" => event.id = Some(value.to_owned()),
            "data" => data.push_str(value),
            _ => {}
        }
    }
    if !data.is_empty() {
        event.data = serde_json::from_str(&data).with_context(|| format!("JSON: {data}"))?;
    }
    Ok(event)
}
