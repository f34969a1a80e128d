//! Every outcome becomes a response here: the only place that names status codes and JSON-RPC
//! error codes.

mod refused;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use refused::tell;

use crate::config::Config;
use crate::mcp::jsonrpc::Id;
use crate::mcp::sse;
use crate::mcp::version::ProtocolVersion;
use crate::pipeline::{
    Answer, Contract, Event, Finished, Gateway, Heard, Listening, Place, Record, Refusal, Running,
};

/// Said to a connection for which there is no room, before anything of it is read.
pub(super) const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
      cache-control: no-store\r\nconnection: close\r\ncontent-length: 22\r\n\r\n{\"error\":\"overloaded\"}";
/// Said to a connection whose request header does not arrive in time.
pub(super) const SLOW_HEADER: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A response of this server.
pub(super) type Reply = Response<Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>>;

#[derive(Serialize)]
struct Success<'a> {
    jsonrpc: &'static str,
    id: Option<&'a Id>,
    result: &'a RawValue,
}

/// The response to one `POST /mcp`. Closes the audit record.
pub(super) fn to_http(config: &Config, finished: Finished) -> Reply {
    let Finished {
        outcome,
        record,
        place,
    } = finished;
    let outcome = match outcome {
        Ok(Answer::Batch(answers)) => return batch(config, answers, place),
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
    if let Some(record) = record {
        record.close(&outcome, size(&reply));
    }
    reply
}

/// The response to a batch: an array of those answers that there are. Closes the audit records.
fn batch(config: &Config, answers: Vec<Finished>, place: Option<Place>) -> Reply {
    let mut body = Vec::new();
    for Finished {
        outcome, record, ..
    } in answers
    {
        let told = match &outcome {
            Ok(Answer::Accepted) | Err(Refusal::Cancelled) => Vec::new(),
            outcome => message(config, record.as_deref(), outcome).body,
        };
        if let Some(record) = record {
            record.close(&outcome, told.len());
        }
        if !told.is_empty() {
            body.push(if body.is_empty() { b'[' } else { b',' });
            body.extend(told);
        }
    }
    if body.is_empty() {
        return empty(StatusCode::ACCEPTED);
    }
    body.push(b']');
    with_body(StatusCode::OK, until_sent(body, place))
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
                    if let Some(record) = record {
                        record.close(&outcome, sent);
                    }
                    None
                }
                Event::Finished(Finished {
                    outcome,
                    record,
                    place,
                }) => {
                    let body = message(&gw.config, record.as_deref(), &outcome).body;
                    let event = sse::message(&String::from_utf8_lossy(&body));
                    if let Some(record) = record {
                        record.close(&outcome, sent + event.len());
                    }
                    let event = until_sent(event.into_bytes(), place);
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
                            let body = message(&gw.config, record.as_deref(), outcome).body;
                            sse::message(&String::from_utf8_lossy(&body))
                        }
                    };
                    if let Some(record) = record {
                        record.close(&outcome, listening.sent() + event.len());
                    }
                    (!event.is_empty()).then(|| (Ok(Frame::data(Bytes::from(event))), None))
                }
            }
        }
    });
    events_reply(events)
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
    body: Vec<u8>,
    challenge: Option<String>,
}

fn message(config: &Config, record: Option<&Record>, outcome: &Result<Answer, Refusal>) -> Wire {
    let id = record.and_then(Record::id);
    match outcome {
        Ok(Answer::Result { result, .. } | Answer::Session { result, .. }) => {
            match serde_json::to_vec(&Success {
                jsonrpc: "2.0",
                id,
                result,
            }) {
                Ok(body) => Wire {
                    status: StatusCode::OK,
                    body,
                    challenge: None,
                },
                Err(error) => refused(config, id, None, &Refusal::Internal(error.to_string())),
            }
        }
        // Neither a stream nor a batch is told in one message: see `listen` and `batch`.
        Ok(Answer::Accepted | Answer::Listening(_) | Answer::Batch(_)) => Wire {
            status: StatusCode::ACCEPTED,
            body: Vec::new(),
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
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error })
        .to_string()
        .into_bytes();
    Wire {
        status: told.status,
        body,
        challenge: told.challenge,
    }
}

/// The bytes of an answer, with the caller's place among the requests: it is given back when the
/// last of them has left for the client, or the connection is gone.
fn until_sent(body: Vec<u8>, place: Option<Place>) -> Bytes {
    struct Held(
        Vec<u8>,
        #[expect(dead_code, reason = "held until dropped")] Place,
    );
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    match place {
        Some(place) => Bytes::from_owner(Held(body, place)),
        None => body.into(),
    }
}

/// A JSON body.
pub(super) fn json_body(status: StatusCode, value: &Value) -> Reply {
    with_body(status, value.to_string().into_bytes().into())
}

/// The answer to who is no MCP client, or is somewhere else.
pub(super) fn plainly_refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::BadHost => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    json_body(status, &json!({ "error": refusal.code() }))
}

/// No such path.
pub(super) fn not_found() -> Reply {
    json_body(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }))
}

/// A path that does not take this method.
pub(super) fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = json_body(
        StatusCode::METHOD_NOT_ALLOWED,
        &json!({ "error": "method_not_allowed" }),
    );
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// Alive, or ready.
pub(super) fn health(ok: bool, detail: &Value) -> Reply {
    json_body(
        if ok {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        detail,
    )
}

/// What an operator asked for.
pub(super) fn admin(value: &Value) -> Reply {
    json_body(StatusCode::OK, value)
}

/// Whoever asks is no operator.
pub(super) fn admin_refused() -> Reply {
    json_body(StatusCode::FORBIDDEN, &json!({ "error": "forbidden" }))
}

/// An operator's request that makes no sense; says what is expected.
pub(super) fn admin_wrong(what: &str) -> Reply {
    json_body(StatusCode::BAD_REQUEST, &json!({ "error": what }))
}

/// An operator's request that cannot be carried out.
pub(super) fn admin_failed(why: &str) -> Reply {
    json_body(StatusCode::CONFLICT, &json!({ "error": why }))
}

/// Metrics, as Prometheus reads them.
pub(super) fn metrics(text: String) -> Reply {
    let mut reply = with_body(StatusCode::OK, text.into());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// A document that may be kept for this many seconds, by anybody.
pub(super) fn public_document(value: &Value, max_age: u32) -> Reply {
    let mut reply = json_body(StatusCode::OK, value);
    if let Ok(age) = HeaderValue::from_str(&format!("public, max-age={max_age}")) {
        reply.headers_mut().insert(CACHE_CONTROL, age);
    }
    reply
}

/// How a page came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As wished.
    Good,
    /// Whoever is in front of the browser asked for what cannot be.
    Wrong,
    /// Somebody else asked for it.
    Forbidden,
    /// There is no such thing.
    Missing,
    /// Something that the gateway needs does not work.
    Broken,
}

/// A page for people, with its `Content-Security-Policy`.
pub(super) fn page(tone: Tone, html: String, policy: &str) -> Reply {
    let status = match tone {
        Tone::Good => StatusCode::OK,
        Tone::Wrong => StatusCode::BAD_REQUEST,
        Tone::Forbidden => StatusCode::FORBIDDEN,
        Tone::Missing => StatusCode::NOT_FOUND,
        Tone::Broken => StatusCode::BAD_GATEWAY,
    };
    let mut reply = with_body(status, html.into());
    let headers = reply.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    reply
}

/// Sends a browser elsewhere, to be asked for with `GET`.
pub(super) fn see_other(place: &str) -> Reply {
    let mut reply = empty(StatusCode::SEE_OTHER);
    let headers = reply.headers_mut();
    if let Ok(place) = HeaderValue::from_str(place) {
        headers.insert(LOCATION, place);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What leads on is in the URL.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}

/// A JSON answer to who came with an access token.
pub(super) fn json(value: &Value) -> Reply {
    json_body(StatusCode::OK, value)
}

/// What a contract backend answers (see `pipeline::contract`).
pub(super) fn contract(config: &Config, outcome: &Result<Contract, Refusal>) -> Reply {
    let error = |status, text: &str| json_body(status, &json!({ "error": text }));
    match outcome {
        Ok(Contract::Value(value)) => json(value),
        Ok(Contract::Failed(code, words)) => {
            let status = match code.as_str() {
                "backend_timeout" => StatusCode::GATEWAY_TIMEOUT,
                "backend_unavailable" => StatusCode::BAD_GATEWAY,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            json_body(status, &json!({ "error": words, "code": code }))
        }
        Ok(Contract::Unknown(_)) => error(StatusCode::NOT_FOUND, "unknown method"),
        Ok(Contract::Technical) => error(
            StatusCode::FORBIDDEN,
            "the technical token lists, and is no identity for anything else",
        ),
        Err(Refusal::InsufficientScope { required, .. })
        | Err(Refusal::BackendRefusedScope { required, .. }) => json_body(
            StatusCode::FORBIDDEN,
            &json!({ "error": "Insufficient scope", "required": required.to_strings() }),
        ),
        Err(refusal @ Refusal::Denied(_)) => error(StatusCode::FORBIDDEN, &refusal.to_string()),
        Err(refusal @ Refusal::Failed { .. }) => {
            error(StatusCode::UNPROCESSABLE_ENTITY, &refusal.to_string())
        }
        Err(
            refusal
            @ (Refusal::NotJson(_) | Refusal::InvalidMessage(_) | Refusal::InvalidParams(_)),
        ) => error(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Err(Refusal::UnknownTool(_) | Refusal::UnknownPrompt(_) | Refusal::UnknownResource(_)) => {
            error(StatusCode::NOT_FOUND, "unknown method")
        }
        Err(refusal @ (Refusal::Plugin(_) | Refusal::Internal(_))) => {
            let told = tell(config, true, refusal);
            error(StatusCode::INTERNAL_SERVER_ERROR, &told.message)
        }
        Err(refusal) => refused_plainly(config, refusal),
    }
}

/// How many bytes a response has.
pub(super) fn sent(reply: &Reply) -> usize {
    size(reply)
}

/// The refusal of a request that is no JSON-RPC message, with the challenge that goes with it.
pub(super) fn refused_plainly(config: &Config, refusal: &Refusal) -> Reply {
    let told = tell(config, true, refusal);
    let text = json!({ "error": refusal.code(), "message": told.message });
    let mut reply = json_body(told.status, &text);
    let challenge = told.challenge.map(|text| HeaderValue::from_str(&text));
    if let Some(Ok(challenge)) = challenge {
        reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Refusal::TooOften { seconds } = refusal {
        reply.headers_mut().insert(RETRY_AFTER, (*seconds).into());
    }
    reply
}

/// The answer to a preflight request, or to nothing.
pub(super) fn no_content() -> Reply {
    empty(StatusCode::NO_CONTENT)
}

fn with_body(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body)));
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
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}

/// How many bytes of body a response has.
fn size(reply: &Reply) -> usize {
    use hyper::body::Body as _;
    reply
        .body()
        .size_hint()
        .exact()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or_default()
}
