//! Reads the `MCP-Protocol-Version` header: which era does the request claim?
//!
//! MCP 2026-07-28, Streamable HTTP, "Protocol Version Header". Legacy paths never answer with the
//! modern error codes: clients read those as "a modern server".

use http::HeaderMap;
use serde::Deserialize;

use super::origin::FromAllowedOrigin;
use super::{Arrival, Record, Refusal, body};
use crate::config::Config;
use crate::mcp::params::{META_PROTOCOL_VERSION, Params};
use crate::mcp::version::{ProtocolVersion, claims_modern};
use crate::mcp::{json, jsonrpc};

/// Name of the header.
pub(super) const HEADER: &str = "mcp-protocol-version";

/// An arrival whose header names a version that is served, or none.
pub(super) struct Versioned {
    pub(super) arrival: Arrival,
    /// What the header says.
    pub(super) header: Option<ProtocolVersion>,
}

/// Lets an arrival pass whose version header is absent or names a served version.
pub(super) async fn check(
    config: &Config,
    request: FromAllowedOrigin,
    record: &mut Record,
) -> Result<Versioned, Refusal> {
    let arrival = request.into_inner();
    match single(&arrival.head.headers, HEADER) {
        Err(unreadable) => Err(refuse_unreadable(config, arrival, unreadable, record).await),
        Ok(None) => Ok(Versioned {
            arrival,
            header: None,
        }),
        Ok(Some(text)) => match ProtocolVersion::parse(text) {
            Some(version) => Ok(Versioned {
                arrival,
                header: Some(version),
            }),
            None => {
                let text = text.to_owned();
                Err(refuse(config, arrival, text, record).await)
            }
        },
    }
}

/// Finds the right words for a version that is not served: they depend on what the body says.
async fn refuse(config: &Config, arrival: Arrival, header: String, record: &mut Record) -> Refusal {
    match in_body(config, arrival, record).await {
        Some(version) if version != header => Refusal::HeaderMismatch(format!(
            "the header MCP-Protocol-Version and `_meta[\"{META_PROTOCOL_VERSION}\"]` name different versions"
        )),
        Some(_) => Refusal::UnsupportedVersion(header),
        None if claims_modern(&header) => Refusal::UnsupportedVersion(header),
        None => Refusal::UnknownLegacyVersion(header),
    }
}

/// Finds the right words for a header that says two things, or nothing that can be read.
async fn refuse_unreadable(
    config: &Config,
    arrival: Arrival,
    unreadable: Refusal,
    record: &mut Record,
) -> Refusal {
    let values = arrival.head.headers.get_all(HEADER).iter();
    let modern = values
        .filter_map(|value| value.to_str().ok())
        .any(|value| claims_modern(value.trim()));
    match in_body(config, arrival, record).await {
        None if !modern => Refusal::InvalidMessage(unreadable.to_string()),
        _ => unreadable,
    }
}

/// The version that the body names, if it names one. Takes note of the request's id.
async fn in_body(config: &Config, arrival: Arrival, record: &mut Record) -> Option<String> {
    #[derive(Deserialize)]
    struct OnlyParams {
        params: Option<Box<serde_json::value::RawValue>>,
    }
    let body = body::peek(config, arrival.body).await;
    if let Some(id) = jsonrpc::peek_id(&body) {
        record.answering(&id);
    }
    json::check(&body).ok()?;
    let message: OnlyParams = serde_json::from_slice(&body).ok()?;
    let meta = Params::parse(message.params.as_deref()).ok()?.meta().ok()?;
    meta.text(META_PROTOCOL_VERSION)
}

/// The value of a header that may be there once, trimmed. Given twice with one value is once.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut found: Option<&str> = None;
    for value in headers.get_all(name) {
        let text = value
            .to_str()
            .map_err(|_| Refusal::HeaderMismatch(format!("the header {name} is not ASCII")))?;
        let text = text.trim_matches([' ', '\t']);
        if found.is_some_and(|before| before != text) {
            return Err(Refusal::HeaderMismatch(format!(
                "the header {name} is there twice, with different values"
            )));
        }
        found = Some(text);
    }
    Ok(found)
}
