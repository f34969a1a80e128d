//! Every outcome becomes a response here: the only place that names status codes and JSON-RPC
//! error codes.

mod plain;
mod refused;
mod whole;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::body::{Body, Frame};
use serde_json::json;

use refused::tell;
use whole::{Whole, holding};

pub(super) use plain::{
    Tone, admin, admin_failed, admin_refused, admin_wrong, contract, health, json,
    method_not_allowed, metrics, no_content, not_found, page, plainly_refused, public_document,
    refused_plainly, see_other,
};

use crate::audit::NotKept;
use crate::config::Config;
use crate::mcp::jsonrpc::Id;
use crate::mcp::sse;
use crate::mcp::version::ProtocolVersion;
use crate::pipeline::{
    Answer, Event, Finished, Gateway, Heard, Listening, Place, Record, Refusal, Running,
};

/// Said to a connection for which there is no room, before anything of it is read.
pub(super) const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
      cache-control: no-store\r\nconnection: close\r\ncontent-length: 22\r\n\r\n{\"error\":\"overloaded\"}";
/// Said to a connection whose request header does not arrive in time.
pub(super) const SLOW_HEADER: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A response of this server.
pub(super) type Reply = Response<Either<Whole, UnsyncBoxBody<Bytes, Infallible>>>;

/// The response to one `POST /mcp`. Closes the audit record, and comes when that is kept.
pub(super) async fn to_http(config: &Config, finished: Finished) -> Reply {
    let Finished {
        outcome,
        record,
        place,
    } = finished;
    let outcome = match outcome {
        Ok(Answer::Batch(answers)) => return Box::pin(batch(config, answers, place)).await,
        outcome => outcome,
    };
    let reply = match &outcome {
        Ok(Answer::Accepted) => empty(StatusCode::ACCEPTED),
        // Refusals with a body of their own: whoever gets one is no MCP client.
        Err(refusal @ (Refusal::ForbiddenOrigin | Refusal::ForbiddenHost | Refusal::BadHost)) => {
            plainly_refused(refusal)
        }
        Err(Refusal::NotThisWay(allow)) => method_not_allowed(allow),
        // Nobody waits for an answer any more, and none must come: a stream without one.
        Err(Refusal::Cancelled) => events_reply(futures_util::stream::empty()),
        outcome => {
            let told = message(config, record.as_deref(), outcome);
            let mut reply = with_body(told.status, until_sent(told.body, place));
            if let Some(challenge) = told
                .challenge
                .and_then(|text| HeaderValue::from_str(&text).ok())
            {
                reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            let wait = match (outcome, told.status) {
                (Err(Refusal::TooOften { seconds }), _) => Some(*seconds),
                (Err(Refusal::TooManyAtOnce), _) | (_, StatusCode::SERVICE_UNAVAILABLE) => Some(1),
                (_, StatusCode::TOO_MANY_REQUESTS) => Some(30),
                _ => None,
            };
            if let Some(seconds) = wait {
                reply.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            // What is left of the body is not waited for (RFC 9110 §15.5.9, §15.5.14).
            if matches!(
                told.status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
            ) {
                let close = HeaderValue::from_static("close");
                reply.headers_mut().insert(CONNECTION, close);
            }
            if let Ok(Answer::Session { id, .. }) = outcome
                && let Ok(id) = HeaderValue::from_str(id)
            {
                reply.headers_mut().insert("mcp-session-id", id);
            }
            reply
        }
    };
    let Some(mut record) = record else {
        return reply;
    };
    match record.close(&outcome, size(&reply)).kept().await {
        Ok(()) => reply,
        Err(NotKept) => unrecorded(config, Some(&record)),
    }
}

/// Instead of an answer whose record cannot be written.
fn unrecorded(config: &Config, record: Option<&Record>) -> Reply {
    let told = message(config, record, &Err(Refusal::Overloaded));
    let mut reply = with_body(told.status, told.body);
    reply.headers_mut().insert(RETRY_AFTER, 1.into());
    reply
}

/// The response to a batch: an array of those answers that there are. Closes the audit records.
async fn batch(config: &Config, answers: Vec<Finished>, place: Option<Place>) -> Reply {
    let mut body = Vec::new();
    let mut receipts = Vec::with_capacity(answers.len());
    for Finished {
        outcome, record, ..
    } in answers
    {
        let told = match &outcome {
            Ok(Answer::Accepted) | Err(Refusal::Cancelled) => Vec::new(),
            outcome => message(config, record.as_deref(), outcome).body.joined(),
        };
        if let Some(mut record) = record {
            receipts.push(record.close(&outcome, told.len()));
        }
        if !told.is_empty() {
            body.push(if body.is_empty() { b'[' } else { b',' });
            body.extend(told);
        }
    }
    for receipt in receipts {
        if receipt.kept().await.is_err() {
            return unrecorded(config, None);
        }
    }
    if body.is_empty() {
        return empty(StatusCode::ACCEPTED);
    }
    body.push(b']');
    with_body(StatusCode::OK, until_sent(body.into(), place))
}

/// The response to a `POST /mcp` that reports while it runs: server-sent events, the last of
/// which is the JSON-RPC response. Closes the audit record with it.
pub(super) fn stream(gw: Arc<Gateway>, running: Running) -> Reply {
    let events = futures_util::stream::unfold(Some((running, 0)), move |state| {
        let gw = Arc::clone(&gw);
        async move {
            let (mut running, sent) = state?;
            match running.next().await {
                Event::Notification(text) => {
                    let event = sse::message(&text);
                    let sent = sent + event.len();
                    Some((Ok(Frame::data(Bytes::from(event))), Some((running, sent))))
                }
                Event::Finished(Finished {
                    outcome: outcome @ Err(Refusal::Cancelled),
                    record,
                    place: _,
                }) => {
                    if let Some(mut record) = record {
                        // Nothing is sent that would have to wait for it.
                        drop(record.close(&outcome, sent));
                    }
                    None
                }
                Event::Finished(Finished {
                    outcome,
                    record,
                    place,
                }) => {
                    let body = message(&gw.config, record.as_deref(), &outcome)
                        .body
                        .joined();
                    let event = sse::message(&String::from_utf8_lossy(&body));
                    let event = last_event(&gw.config, record, &outcome, sent, event).await;
                    let event = holding(event.into(), place);
                    Some((Ok(Frame::data(event)), None))
                }
            }
        }
    });
    events_reply(events)
}

/// The response to who listens: server-sent events, until one side ends it. The result that ends a
/// subscription is the last of them. Closes the audit record with it.
pub(super) fn listen(gw: Arc<Gateway>, listening: Listening) -> Reply {
    let events = futures_util::stream::unfold(Some(listening), move |state| {
        let gw = Arc::clone(&gw);
        async move {
            let mut listening = state?;
            match listening.next().await {
                Heard::Frame(frame) => Some((Ok(Frame::data(frame)), Some(listening))),
                Heard::Finished(Finished {
                    outcome, record, ..
                }) => {
                    let event = match &outcome {
                        Ok(Answer::Accepted) => String::new(),
                        outcome => {
                            let body = message(&gw.config, record.as_deref(), outcome)
                                .body
                                .joined();
                            sse::message(&String::from_utf8_lossy(&body))
                        }
                    };
                    let sent = listening.sent();
                    let event = last_event(&gw.config, record, &outcome, sent, event).await;
                    (!event.is_empty()).then(|| (Ok(Frame::data(Bytes::from(event))), None))
                }
            }
        }
    });
    events_reply(events)
}

/// The last event of a stream, when the record is kept: nothing is told to have happened that is not
/// recorded. Closes the audit record.
async fn last_event(
    config: &Config,
    record: Option<Box<Record>>,
    outcome: &Result<Answer, Refusal>,
    sent: usize,
    event: String,
) -> String {
    let Some(mut record) = record else {
        return event;
    };
    match record.close(outcome, sent + event.len()).kept().await {
        Ok(()) => event,
        Err(NotKept) => {
            let body = message(config, Some(&record), &Err(Refusal::Overloaded))
                .body
                .joined();
            sse::message(&String::from_utf8_lossy(&body))
        }
    }
}

fn events_reply<S>(events: S) -> Reply
where
    S: futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static,
{
    let mut reply = Response::new(Either::Right(BodyExt::boxed_unsync(StreamBody::new(
        events,
    ))));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies must not hold events back (MCP 2026-07-28, "Receiving Messages").
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    reply
}

/// A JSON-RPC response and how it travels when it travels alone.
struct Wire {
    status: StatusCode,
    body: Whole,
    challenge: Option<String>,
}

/// The body of an answer, for benchmarks.
#[doc(hidden)]
pub fn written(config: &Config, outcome: &Result<Answer, Refusal>) -> impl Body<Data = Bytes> {
    message(config, None, outcome).body
}

fn message(config: &Config, record: Option<&Record>, outcome: &Result<Answer, Refusal>) -> Wire {
    let id = record.and_then(Record::id);
    match outcome {
        Ok(Answer::Result { result, .. } | Answer::Session { result, .. }) => {
            let mut before = br#"{"jsonrpc":"2.0","id":"#.to_vec();
            match serde_json::to_writer(&mut before, &id) {
                Ok(()) => {
                    before.extend_from_slice(br#","result":"#);
                    Wire {
                        status: StatusCode::OK,
                        body: Whole::around(before, result.bytes(), b"}"),
                        challenge: None,
                    }
                }
                Err(error) => refused(config, id, None, &Refusal::Internal(error.to_string())),
            }
        }
        // Neither a stream nor a batch is told in one message: see `listen` and `batch`.
        Ok(Answer::Accepted | Answer::Listening(_) | Answer::Batch(_)) => Wire {
            status: StatusCode::ACCEPTED,
            body: Whole::default(),
            challenge: None,
        },
        Err(refusal) => refused(config, id, record.and_then(Record::version), refusal),
    }
}

fn refused(
    config: &Config,
    id: Option<&Id>,
    version: Option<ProtocolVersion>,
    refusal: &Refusal,
) -> Wire {
    let modern = version.is_some_and(ProtocolVersion::is_modern);
    let told = tell(config, modern, refusal);
    let mut error = json!({ "code": told.code, "message": told.message });
    if let Some(data) = told.data {
        error["data"] = data;
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string();
    Wire {
        status: told.status,
        body: body.into(),
        challenge: told.challenge,
    }
}

/// The bytes of an answer, with the caller's place among the requests: it is given back when the
/// last of them has left for the client, or the connection is gone.
fn until_sent(body: Whole, place: Option<Place>) -> Whole {
    match place {
        Some(place) => body.holding(place),
        None => body,
    }
}

fn with_body(status: StatusCode, body: Whole) -> Reply {
    let mut reply = Response::new(Either::Left(body));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Whole::default()));
    *reply.status_mut() = status;
    reply
}

/// How many bytes of body a response has.
pub(super) fn size(reply: &Reply) -> usize {
    reply
        .body()
        .size_hint()
        .exact()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or_default()
}
