//! Reads the body: bounded, in time, one JSON-RPC message, and by the rules of its era.
//!
//! Notifications and responses are read, too; nothing of theirs is checked that nobody would be told.

use http::HeaderMap;
use http::request::Parts;
use serde_json::value::RawValue;

use super::auth::Caller;
use super::batch::{self, Batch};
use super::share::InShare;
use super::version::{HEADER, single};
use super::{Record, Refusal, body};
use crate::config::Config;
use crate::mcp::header;
use crate::mcp::jsonrpc::{self, BadMessage};
use crate::mcp::params::{META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION, Meta, Params, text};
use crate::mcp::version::ProtocolVersion;
use crate::types::RequestId;

/// A request of a known caller, read and checked for its era.
pub(super) struct Parsed {
    pub(super) id: RequestId,
    pub(super) head: Parts,
    pub(super) caller: Caller,
    /// The version it is served by; tells the era.
    pub(super) version: ProtocolVersion,
    pub(super) message: jsonrpc::Request,
    pub(super) params: Params,
    pub(super) meta: Meta,
}

/// A notification or a response: it gets no answer.
pub(super) struct Notice {
    pub(super) head: Parts,
    pub(super) caller: Caller,
    /// Whether it claims the modern era.
    pub(super) modern: bool,
    pub(super) said: Said,
}

/// What a message without an answer says.
pub(super) enum Said {
    /// Something has happened.
    Notification {
        method: String,
        params: Option<Box<RawValue>>,
    },
    /// The answer to a request of ours (legacy era).
    Response(jsonrpc::Response),
}

/// What a client has sent.
pub(super) enum Read {
    /// A request.
    Request(Box<Parsed>),
    /// Something that gets no answer.
    Notice(Box<Notice>),
    /// Perhaps several messages.
    Batch(Box<Batch>),
}

/// What all messages of one POST have in common.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) id: RequestId,
    pub(super) head: Parts,
    /// The version that the header names.
    pub(super) header: Option<ProtocolVersion>,
    pub(super) caller: Caller,
}

/// Reads the message, or what may be several.
pub(super) async fn read(
    config: &Config,
    request: InShare,
    record: &mut Record,
) -> Result<Read, Refusal> {
    let (arrival, header, caller) = request.into_inner().into_parts();
    if !is_json(&arrival.head.headers) {
        return Err(Refusal::NotJsonType);
    }
    let body = body::read(config, arrival.body).await?;
    let envelope = Envelope {
        id: arrival.id,
        head: arrival.head,
        header,
        caller,
    };
    if batch::may_be(header, &body) {
        return Ok(Read::Batch(Box::new(Batch { envelope, body })));
    }
    match jsonrpc::parse(&body) {
        Ok(parsed) => message(envelope, parsed, record),
        Err(BadMessage::NotJson(error)) => Err(Refusal::NotJson(error.to_string())),
        Err(BadMessage::Invalid(what)) => Err(Refusal::InvalidMessage(what)),
    }
}

/// Checks one message by the rules of its era.
pub(super) fn message(
    envelope: Envelope,
    message: jsonrpc::Message,
    record: &mut Record,
) -> Result<Read, Refusal> {
    let said = match message {
        jsonrpc::Message::Request(message) => {
            let parsed = check(envelope, message, record)?;
            return Ok(Read::Request(Box::new(parsed)));
        }
        jsonrpc::Message::Notification { method, params } => Said::Notification { method, params },
        jsonrpc::Message::Response(response) => Said::Response(response),
    };
    let header = envelope.header.is_some_and(ProtocolVersion::is_modern);
    Ok(Read::Notice(Box::new(Notice {
        modern: header || said.claims_modern(),
        head: envelope.head,
        caller: envelope.caller,
        said,
    })))
}

impl Said {
    fn claims_modern(&self) -> bool {
        let Self::Notification { params, .. } = self else {
            return false;
        };
        let meta = Params::parse(params.as_deref()).and_then(|params| params.meta());
        meta.is_ok_and(|meta| meta.0.contains_key(META_PROTOCOL_VERSION))
    }
}

/// Checks a request by the rules of its era.
fn check(
    envelope: Envelope,
    message: jsonrpc::Request,
    record: &mut Record,
) -> Result<Parsed, Refusal> {
    let Envelope {
        id,
        head,
        header,
        caller,
    } = envelope;
    record.answering(&message.id);
    let params = Params::parse(message.params.as_deref()).map_err(Refusal::InvalidParams)?;
    let modern = header.is_some_and(ProtocolVersion::is_modern);
    let meta = params.meta().map_err(|why| match modern {
        true => Refusal::MissingMeta(why),
        false => Refusal::InvalidParams(why),
    })?;
    let version = era(&head.headers, header, &message, &params, &meta)?;
    Ok(Parsed {
        id,
        head,
        caller,
        version,
        message,
        params,
        meta,
    })
}

/// Whether the body is said to be JSON, once, and not encoded.
fn is_json(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(http::header::CONTENT_ENCODING).iter();
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return false;
    }
    let mut types = headers.get_all(http::header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}

/// Tells the era by header and `_meta`, not by method, and checks what the modern one demands.
pub(super) fn era(
    headers: &HeaderMap,
    header: Option<ProtocolVersion>,
    message: &jsonrpc::Request,
    params: &Params,
    meta: &Meta,
) -> Result<ProtocolVersion, Refusal> {
    let in_meta = meta.0.get(META_PROTOCOL_VERSION);
    let claims_modern = header.is_some_and(ProtocolVersion::is_modern) || in_meta.is_some();
    if !claims_modern {
        return Ok(header.unwrap_or(ProtocolVersion::V2025_03_26));
    }
    let Some(in_meta) = text(in_meta.map(|raw| &**raw)) else {
        return Err(Refusal::MissingMeta(format!(
            "`_meta` must carry `{META_PROTOCOL_VERSION}`, a string"
        )));
    };
    let in_header = single(headers, HEADER)?.unwrap_or_default();
    if in_header != in_meta {
        return Err(Refusal::HeaderMismatch(format!(
            "the header MCP-Protocol-Version and `_meta[\"{META_PROTOCOL_VERSION}\"]` must name the same version"
        )));
    }
    let version = ProtocolVersion::parse(&in_meta).filter(|v| v.is_modern());
    let version = version.ok_or(Refusal::UnsupportedVersion(in_meta))?;
    if !meta.has_object(META_CLIENT_CAPABILITIES) {
        return Err(Refusal::MissingMeta(format!(
            "`_meta` must carry `{META_CLIENT_CAPABILITIES}`, an object"
        )));
    }
    // Never encoded, other than the name ("Value Encoding").
    match single(headers, "mcp-method")? {
        Some(found) if found == message.method => {}
        found => return Err(disagrees("mcp-method", found.is_some())),
    }
    match message.method.as_str() {
        "tools/call" | "prompts/get" => {
            mirrored(headers, "mcp-name", text(params.name.as_deref()).as_deref())?
        }
        "resources/read" => mirrored(headers, "mcp-name", text(params.uri.as_deref()).as_deref())?,
        _ => {}
    }
    Ok(version)
}

/// Checks a header that mirrors a value of the body (MCP 2026-07-28, "Standard Request Headers").
fn mirrored(headers: &HeaderMap, name: &str, value: Option<&str>) -> Result<(), Refusal> {
    // Without a value in the body there is nothing to compare: the parameters are wrong, and
    // that is said where they are read.
    let Some(value) = value else { return Ok(()) };
    let Some(found) = single(headers, name)? else {
        return Err(disagrees(name, false));
    };
    match header::decode(found.as_bytes()) {
        Some(found) if found == value => Ok(()),
        Some(_) => Err(disagrees(name, true)),
        None => Err(Refusal::HeaderMismatch(format!(
            "the header {name} is badly encoded"
        ))),
    }
}

fn disagrees(name: &str, is_there: bool) -> Refusal {
    let what = if is_there {
        "does not match the body"
    } else {
        "is required"
    };
    Refusal::HeaderMismatch(format!("the header {name} {what}"))
}
