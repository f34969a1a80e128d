//! `GET` and `DELETE` of `/mcp`, which only the legacy era has.

use std::sync::Arc;

use super::{
    Answer, Arrival, Finished, Gateway, Record, Refusal, Served, admit, audit, auth, host, listen,
    origin, session, version, whole_or_listening,
};
use crate::mcp::version::ProtocolVersion;
use crate::trace;

/// Serves one `GET /mcp`: a client listens.
pub async fn open_stream(gw: Arc<Gateway>, arrival: Arrival) -> Served {
    let finished = recorded(&gw, arrival, "GET", open).await;
    whole_or_listening(gw, finished)
}

/// Serves one `DELETE /mcp`: a client ends its session.
pub async fn end_session(gw: Arc<Gateway>, arrival: Arrival) -> Finished {
    recorded(&gw, arrival, "DELETE", end).await
}

/// Leaves one audit record, whatever happens.
async fn recorded(
    gw: &Gateway,
    arrival: Arrival,
    method: &'static str,
    serve: impl AsyncFnOnce(&Gateway, Arrival, &mut Record) -> Result<Answer, Refusal>,
) -> Finished {
    let Ok(mut record) = audit::open(gw, &arrival) else {
        return Finished {
            outcome: Err(Refusal::Overloaded),
            record: None,
            place: None,
        };
    };
    record.method(method);
    let (id, trace) = (arrival.id, record.trace());
    let outcome = trace::within(id, trace, serve(gw, arrival, &mut record)).await;
    Finished {
        outcome,
        record: Some(Box::new(record)),
        place: None,
    }
}

async fn open(gw: &Gateway, arrival: Arrival, record: &mut Record) -> Result<Answer, Refusal> {
    let request = host::check(&gw.hosts, arrival)?;
    let request = origin::check(&gw.origins, request)?;
    if !listen::wants_stream(request.headers()) {
        return Err(Refusal::NotThisWay("POST, GET, DELETE, OPTIONS"));
    }
    let request = let_in(gw, request, record).await?;
    let opened = listen::get(gw, request, record).await?;
    Ok(Answer::Listening(Box::new(opened)))
}

async fn end(gw: &Gateway, arrival: Arrival, record: &mut Record) -> Result<Answer, Refusal> {
    let request = host::check(&gw.hosts, arrival)?;
    let request = origin::check(&gw.origins, request)?;
    let request = let_in(gw, request, record).await?;
    let (arrival, _, caller) = request.into_parts();
    session::end(gw, &arrival.head, &caller, record).await?;
    Ok(Answer::Accepted)
}

/// Lets in who is known and speaks by the rules of the legacy era: the modern one has neither
/// sessions nor `GET` (MCP 2026-07-28, "Earlier Streamable HTTP Revisions").
async fn let_in(
    gw: &Gateway,
    request: origin::FromAllowedOrigin,
    record: &mut Record,
) -> Result<auth::Authenticated, Refusal> {
    let request = version::check(&gw.config, request, record).await?;
    if request.header.is_some_and(ProtocolVersion::is_modern) {
        return Err(Refusal::NotThisWay("POST, OPTIONS"));
    }
    Ok(admit(gw, request, record).await?.into_inner())
}
