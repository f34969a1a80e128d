//! Notification streams: the one of a legacy session (`GET /mcp`; MCP 2025-11-25, Streamable HTTP,
//! "Listening for Messages from the Server") and `subscriptions/listen` (MCP 2026-07-28,
//! Subscriptions).
//!
//! A stream does not outlive its token: the token is looked at again whenever the stream shows that
//! it lives. What a stream may hold is bounded in `streams`; it takes no place of a request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, json};

use super::auth::{self, Authenticated, Caller};
use super::parse::Parsed;
use super::{
    Answer, Finished, Gateway, Record, Refusal, answer, elsewhere, session, version, view, watch,
};
use crate::mcp::jsonrpc::Id;
use crate::mcp::params::META_SUBSCRIPTION_ID;
use crate::mcp::sse;
use crate::mcp::version::ProtocolVersion;
use crate::streams::{Dialect, End, EventId, Next, NoStream, Reader, Topic, View};

/// A stream that is open.
pub struct Opened {
    reader: Reader,
    caller: Caller,
    /// The first frame.
    first: Bytes,
    /// The request that gets a result in the end.
    subscription: Option<Id>,
}

/// A stream that is being read. Dropped: the client has closed it.
pub struct Listening {
    gw: Arc<Gateway>,
    opened: Opened,
    first: Option<Bytes>,
    /// When the token was last looked at.
    checked: Instant,
    sent: usize,
    record: Option<Box<Record>>,
}

/// What comes next on a stream.
pub enum Heard {
    /// A frame to send.
    Frame(Bytes),
    /// The end.
    Finished(Finished),
}

/// Whether a client asks for a stream, and not for anything.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Opens the notification stream of a legacy client. One without a session gets one that cannot
/// be resumed.
pub(super) async fn get(
    gw: &Gateway,
    request: Authenticated,
    record: &mut Record,
) -> Result<Opened, Refusal> {
    let (arrival, header, caller) = request.into_parts();
    let headers = &arrival.head.headers;
    let session = session::open(gw, headers, &caller, record)?;
    let agreed = session.as_ref().map(|session| session.version);
    let version = header.or(agreed).unwrap_or(ProtocolVersion::V2025_03_26);
    record.served_by(version);

    let (seen, _) = seen(gw, &caller).await?;
    let principal = caller.shared();
    let (reader, first) = match session {
        Some(session) => {
            let last = version::single(headers, "last-event-id").ok().flatten();
            let last = last.and_then(EventId::parse);
            let last = match last {
                None if elsewhere::comes_from_elsewhere(gw, session.id).await => {
                    Some(EventId::unknown())
                }
                last => last,
            };
            gw.watches.renew(session.id, &caller);
            let opened = gw.streams.open_session(session.id, principal, last, seen);
            let (reader, id) = opened.map_err(Refusal::NoStream)?;
            elsewhere::listens(gw, session.id, &caller, &reader.shared()).await;
            let as_event = version >= ProtocolVersion::V2025_11_25;
            (reader, sse::opening(Some(&id.to_string()), as_event))
        }
        None => {
            let opened = gw.streams.open(principal, Dialect::Legacy, seen);
            let reader = opened.map_err(Refusal::NoStream)?;
            (reader, sse::opening(None, false))
        }
    };
    let opened = Opened {
        reader,
        caller,
        first: first.into(),
        subscription: None,
    };
    opened.up_to_date(gw).await
}

/// `subscriptions/listen`: acknowledges what is honoured, which is every list, and the resources
/// that the caller may read.
pub(super) async fn subscribe(gw: &Gateway, request: Parsed) -> Result<Opened, Refusal> {
    let (topics, uris) = wanted(&request)?;
    let mut honoured = Map::new();
    let mut watched = Vec::new();
    for uri in uris.into_iter().take(watch::MAX_OF_ONE) {
        // What is not there, or not for the caller, is not acknowledged.
        if let Ok(permit) = watch::permit(gw, &request.caller, &uri).await {
            watched.push((uri, permit));
        }
    }
    if !watched.is_empty() {
        let uris: Vec<&String> = watched.iter().map(|(uri, _)| uri).collect();
        honoured.insert("resourceSubscriptions".to_owned(), json!(uris));
    }
    for topic in &topics {
        honoured.insert(member(*topic).to_owned(), true.into());
    }
    let id = request.message.id;
    let acknowledged = json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": { META_SUBSCRIPTION_ID: id }, "notifications": honoured },
    });
    let (seen, _) = seen(gw, &request.caller).await?;
    let dialect = Dialect::Modern {
        subscription: id.clone(),
        topics,
    };
    let reader = gw.streams.open(request.caller.shared(), dialect, seen);
    let reader = reader.map_err(Refusal::NoStream)?;
    for (_, permit) in &watched {
        let stream = watch::Listener::Stream(Arc::downgrade(&reader.shared()));
        watch::subscribe(gw, permit, stream).await?;
    }
    let opened = Opened {
        reader,
        caller: request.caller,
        first: sse::message(&acknowledged.to_string()).into(),
        subscription: Some(id),
    };
    opened.up_to_date(gw).await
}

/// What the caller sees, and in which generation of the catalog.
async fn seen(gw: &Gateway, caller: &Caller) -> Result<(View, u64), Refusal> {
    let seen = view::of(gw, caller.principal()).await;
    seen.ok_or(Refusal::NoStream(NoStream::Undecided))
}

/// What a client asks to be told of: lists, and resources by URI.
fn wanted(request: &Parsed) -> Result<(Vec<Topic>, BTreeSet<String>), Refusal> {
    #[derive(Deserialize)]
    struct Params {
        notifications: Box<RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Filter {
        #[serde(default)]
        tools_list_changed: bool,
        #[serde(default)]
        prompts_list_changed: bool,
        #[serde(default)]
        resources_list_changed: bool,
        #[serde(default)]
        resource_subscriptions: BTreeSet<String>,
    }
    let wrong =
        |why: String| Refusal::InvalidParams(format!("`notifications` is no filter: {why}"));
    let params = request.message.params.as_deref();
    let params: Params = serde_json::from_str(params.map_or("{}", |raw| raw.get()))
        .map_err(|e| wrong(e.to_string()))?;
    let filter = params.notifications.get();
    // An array would do for serde.
    if !filter.starts_with('{') {
        return Err(wrong("expected an object".to_owned()));
    }
    let filter: Filter = serde_json::from_str(filter).map_err(|e| wrong(e.to_string()))?;
    let asked = [
        filter.tools_list_changed,
        filter.prompts_list_changed,
        filter.resources_list_changed,
    ];
    let topics = Topic::ALL.into_iter().zip(asked);
    let topics = topics.filter_map(|(topic, asked)| asked.then_some(topic));
    Ok((topics.collect(), filter.resource_subscriptions))
}

/// The member of the filter that asks for a topic.
fn member(topic: Topic) -> &'static str {
    match topic {
        Topic::Tools => "toolsListChanged",
        Topic::Prompts => "promptsListChanged",
        Topic::Resources => "resourcesListChanged",
    }
}

impl Opened {
    /// Looks again now that changes are told to this stream. What changed since the first look, or
    /// since a client that has come back was last told, it learns by this.
    async fn up_to_date(self, gw: &Gateway) -> Result<Self, Refusal> {
        let (seen, generation) = seen(gw, &self.caller).await?;
        self.reader.channel().look(seen, generation);
        Ok(self)
    }
}

impl Listening {
    pub(super) fn new(gw: Arc<Gateway>, opened: Opened, mut record: Box<Record>) -> Self {
        record.rests();
        Self {
            gw,
            first: Some(opened.first.clone()),
            opened,
            checked: Instant::now(),
            sent: 0,
            record: Some(record),
        }
    }

    /// Waits for what comes next. Not to be called after the end.
    pub async fn next(&mut self) -> Heard {
        let heard = match self.first.take() {
            Some(first) => Heard::Frame(first),
            None => self.wait().await,
        };
        if let Heard::Frame(frame) = &heard {
            self.sent += frame.len();
        }
        heard
    }

    /// Bytes that were sent.
    pub fn sent(&self) -> usize {
        self.sent
    }

    async fn wait(&mut self) -> Heard {
        let keep_alive = self.gw.config.streams.keep_alive;
        let next = tokio::time::timeout(keep_alive, self.opened.reader.next()).await;
        if self.checked.elapsed() >= keep_alive {
            if !auth::is_still_good(&self.gw, &self.opened.caller).await {
                return self.finish();
            }
            self.checked = Instant::now();
        }
        match next {
            Ok(Next::Frame(frame)) => Heard::Frame(frame),
            Ok(Next::End(end)) => {
                if end == End::TooSlow {
                    // Not a graceful end: the client has to come back.
                    self.opened.subscription = None;
                }
                self.finish()
            }
            Err(_) => Heard::Frame(Bytes::from_static(sse::KEEP_ALIVE.as_bytes())),
        }
    }

    /// The end: a result for who subscribed, nothing for who listened.
    fn finish(&mut self) -> Heard {
        let outcome = match self.opened.subscription.take() {
            Some(id) => answer::listened(&self.gw, &id),
            None => Ok(Answer::Accepted),
        };
        Heard::Finished(Finished {
            outcome,
            record: self.record.take(),
            place: None,
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // That the client closes it is how a stream ends well.
        if let Some(mut record) = self.record.take() {
            drop(record.close(&Ok(Answer::Accepted), self.sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_only_for_who_asks_for_one() {
        for (accept, wants) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            ("text/event-streams", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse().expect("a value"));
            assert_eq!(wants_stream(&headers), wants, "{accept}");
        }
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
