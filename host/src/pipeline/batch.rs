//! Several messages in one POST: JSON-RPC batches, which 2025-03-26 alone has (MCP 2025-03-26,
//! Streamable HTTP, "Sending Messages to the Server").
//!
//! Each message is served and recorded as if it had come by itself; what it cannot have is a stream
//! of its own, so that its owner can neither report nor ask. The answer is one array.

use futures_util::StreamExt as _;
use serde_json::value::RawValue;

use super::parse::{self, Envelope, Read};
use super::{Answer, Finished, Gateway, Record, Refusal, notices, rate, serve, session, take_note};
use crate::mcp::json;
use crate::mcp::jsonrpc::{self, BadMessage};
use crate::mcp::version::ProtocolVersion;
use crate::trace;

/// Messages in one batch.
const MAX_MESSAGES: usize = 50;
/// Messages of one batch that are served at one time.
const AT_ONE_TIME: usize = 8;

/// A body that holds an array.
pub(super) struct Batch {
    pub(super) envelope: Envelope,
    pub(super) body: bytes::Bytes,
}

/// Whether this may be a batch: an array, and no header that names another version.
pub(super) fn may_be(header: Option<ProtocolVersion>, body: &[u8]) -> bool {
    let has_batches = header.is_none_or(|header| header == ProtocolVersion::V2025_03_26);
    has_batches && body.trim_ascii_start().starts_with(b"[")
}

/// Serves a batch. From when its messages have records of their own, it has none.
pub(super) async fn run(
    gw: &Gateway,
    batch: Batch,
    record: &mut Record,
) -> Result<Answer, Refusal> {
    let Batch { envelope, body } = batch;
    json::check(&body).map_err(|e| Refusal::NotJson(e.to_string()))?;
    let session = session::open(gw, &envelope.head.headers, &envelope.caller, record)?;
    let agreed = session.map(|session| session.version);
    if envelope.header.is_none() && agreed.is_some_and(|v| v != ProtocolVersion::V2025_03_26) {
        return Err(invalid(jsonrpc::NO_BATCHES));
    }
    let messages: Vec<Box<RawValue>> =
        serde_json::from_slice(&body).map_err(|e| Refusal::NotJson(e.to_string()))?;
    if messages.is_empty() || messages.len() > MAX_MESSAGES {
        return Err(invalid(&format!(
            "a batch holds 1 to {MAX_MESSAGES} messages"
        )));
    }
    record.served_by(ProtocolVersion::V2025_03_26);
    let records = messages.iter().map(|_| record.again(gw));
    let records: Result<Vec<Record>, _> = records.collect();
    let records = records.map_err(|_| Refusal::Overloaded)?;
    record.withdraw();
    let each = messages.into_iter().zip(records).enumerate();
    let each = each.map(|(n, (message, record))| {
        let envelope = envelope.clone();
        async move {
            let mut record = Box::new(record);
            // The first was counted when the request came.
            let within = match n {
                0 => Ok(()),
                _ => rate::once_more(gw, &envelope.caller).await,
            };
            let outcome = match within {
                Ok(()) => {
                    let (id, trace) = (envelope.id, record.trace());
                    let one = one(gw, envelope, &message, &mut record);
                    trace::within(id, trace, one).await
                }
                Err(refusal) => Err(refusal),
            };
            Finished {
                outcome,
                record: Some(record),
                place: None,
            }
        }
    });
    let answers = futures_util::stream::iter(each).buffered(AT_ONE_TIME);
    Ok(Answer::Batch(answers.collect().await))
}

async fn one(
    gw: &Gateway,
    envelope: Envelope,
    message: &RawValue,
    record: &mut Record,
) -> Result<Answer, Refusal> {
    // A batch is many requests, and takes the room of as many as are served.
    let _room = gw.room.try_acquire().map_err(|_| Refusal::Overloaded)?;
    let message = jsonrpc::parse(message.get().as_bytes()).map_err(|error| match error {
        BadMessage::NotJson(error) => Refusal::NotJson(error.to_string()),
        BadMessage::Invalid(what) => Refusal::InvalidMessage(what),
    })?;
    match parse::message(envelope, message, record)? {
        Read::Request(request) if request.message.method == "initialize" => {
            Err(invalid("`initialize` must not be part of a batch"))
        }
        Read::Request(request) => serve(gw, *request, record, notices::nowhere()).await,
        Read::Notice(notice) => take_note(gw, *notice, record).await,
        // A message that is an array is refused where messages are read.
        Read::Batch(_) => Err(invalid(jsonrpc::NO_BATCHES)),
    }
}

fn invalid(what: &str) -> Refusal {
    Refusal::InvalidMessage(what.to_owned())
}
