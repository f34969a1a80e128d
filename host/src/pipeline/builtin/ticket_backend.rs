//! Backends that keep their own tickets (`CORTEX_TICKET_BACKENDS`), asked as the caller.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Call, Wrong};
use crate::pipeline::credential::{self, NotShown};
use crate::pipeline::{Refusal, Route};
use crate::plugin::model::{CallError, MissingScope};
use crate::plugin::{Adapter, Fault, OnBehalf, Shown};
use crate::types::{BackendId, Scope, ScopeSet};

/// Longest id of a ticket that is passed on, in characters.
const MAX_ID: usize = 200;
/// Longest text of a backend that is passed on, in characters.
const MAX_ACK: usize = 2_000;
/// Most tickets that are taken of one answer.
const MAX_LISTED: usize = 1_000;

/// Why a backend did not do it.
pub(super) enum NotDone {
    /// More scopes would help.
    MissingScope(MissingScope),
    /// Something else: a stable word for audit, and a text for the model to read.
    Failed(&'static str, String),
}

impl NotDone {
    /// As one part of an answer that has others.
    pub(super) fn in_words(self) -> String {
        match self {
            Self::MissingScope(missing) => format!("missing scope: {}", missing.required.join(" ")),
            Self::Failed(_, text) => text,
        }
    }
}

impl From<NotDone> for Wrong {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Failed(code, text) => Self::Failed(code, text),
            NotDone::MissingScope(missing) => {
                let required = missing.required.iter().map(|s| s.parse::<Scope>());
                match required.collect::<Result<ScopeSet, _>>() {
                    Ok(required) if !required.is_empty() => {
                        let method = missing.method;
                        Self::Refused(Refusal::BackendRefusedScope { required, method })
                    }
                    // Not fit for a challenge; the model can still read that it was refused.
                    _ => Self::Failed(
                        "backend_refused_scope",
                        "The backend refused the call for want of a scope that it did not name"
                            .to_owned(),
                    ),
                }
            }
        }
    }
}

/// What a backend says of a ticket that it has taken.
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) deduplicated: bool,
    pub(super) ack: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKept {
    ticket_id: Value,
    #[serde(default)]
    deduplicated: bool,
    ack_message: Option<String>,
}

/// Hands a ticket, a JSON object, to a backend.
pub(super) async fn report(
    call: &Call<'_>,
    id: &BackendId,
    ticket: &Value,
) -> Result<Kept, NotDone> {
    let (route, adapter) = find(call, id)?;
    let shown = shown(call, route).await?;
    let answer = adapter
        .report_ticket(on_behalf(call, route, &shown), ticket.to_string())
        .await;
    let text = done(call, id, answer)?;
    let bad = |what: &str| {
        let text = format!("Backend {id} took the ticket, but {what}");
        NotDone::Failed("backend_error", text)
    };
    let kept: RawKept =
        serde_json::from_str(&text).map_err(|_| bad("did not answer as it should"))?;
    let ticket_id = match kept.ticket_id {
        Value::String(id) => id,
        Value::Number(id) => id.to_string(),
        _ => String::new(),
    };
    if ticket_id.is_empty() || ticket_id.chars().count() > MAX_ID {
        return Err(bad("gave it no id that can be passed on"));
    }
    Ok(Kept {
        id: ticket_id,
        deduplicated: kept.deduplicated,
        ack: kept.ack_message.map(|text| short(&text)),
    })
}

/// The caller's tickets in a backend.
pub(super) async fn list(
    call: &Call<'_>,
    id: &BackendId,
    query: &Value,
) -> Result<Vec<Map<String, Value>>, NotDone> {
    let (route, adapter) = find(call, id)?;
    let shown = shown(call, route).await?;
    let answer = adapter
        .list_tickets(on_behalf(call, route, &shown), query.to_string())
        .await;
    let text = done(call, id, answer)?;
    match serde_json::from_str::<Vec<Map<String, Value>>>(&text) {
        Ok(mut tickets) => {
            tickets.truncate(MAX_LISTED);
            Ok(tickets)
        }
        Err(_) => Err(NotDone::Failed(
            "backend_error",
            format!("Backend {id}: its tickets are not a list of objects"),
        )),
    }
}

fn find<'a>(call: &Call<'a>, id: &BackendId) -> Result<(&'a Route, Arc<Adapter>), NotDone> {
    let gone = |why: String| {
        let text = format!("Backend {id} is not available: {why}");
        NotDone::Failed("backend_unavailable", text)
    };
    let route = call.gw.routes.get(id);
    let route = route.ok_or_else(|| gone("it is not configured".to_owned()))?;
    let adapter = call.gw.adapter(route).map_err(gone)?;
    Ok((route, adapter))
}

/// What the backend is shown of the caller.
async fn shown(call: &Call<'_>, route: &Route) -> Result<Shown, NotDone> {
    let shown = credential::of(call.gw, &call.asker.caller, route).await;
    shown.map_err(|why| match why {
        NotShown::Failed(code, text) => NotDone::Failed(code, text),
        NotShown::LinkAgain => {
            let text = format!(
                "Your account at {} has to be linked again",
                route.backend.id
            );
            NotDone::Failed("account_required", text)
        }
    })
}

fn on_behalf<'a>(call: &'a Call<'_>, route: &'a Route, shown: &'a Shown) -> OnBehalf<'a> {
    let caller = &call.asker.caller;
    OnBehalf {
        backend: &route.backend,
        caller: caller.principal(),
        shown,
        request: call.asker.id,
    }
}

fn done(
    call: &Call<'_>,
    id: &BackendId,
    answer: Result<Result<String, CallError>, Fault>,
) -> Result<String, NotDone> {
    let error = match answer {
        Ok(Ok(text)) => return Ok(text),
        Ok(Err(error)) => error,
        // The detail is for the operator, whose log has it.
        Err(fault) => {
            tracing::error!(request.id = %call.asker.id, "{fault}; hint: {}", fault.cause.hint());
            let text = format!("The gateway's plugin `{}` failed", fault.plugin);
            return Err(NotDone::Failed("plugin_failed", text));
        }
    };
    Err(match error {
        CallError::MissingScope(missing) => NotDone::MissingScope(missing),
        CallError::Failed(failure) => NotDone::Failed(word(&failure.code), short(&failure.message)),
        CallError::LinkRequired(_) => NotDone::Failed(
            "account_required",
            format!("Backend {id} asks for an account"),
        ),
        CallError::NotFound(_) | CallError::Unsupported => NotDone::Failed(
            "unsupported",
            format!("Backend {id} does not keep tickets; tell the gateway's operator"),
        ),
        CallError::InvalidArguments(what) | CallError::Other(what) => {
            NotDone::Failed("backend_error", short(&what))
        }
    })
}

/// A code of the contract, as the audit knows it.
fn word(code: &str) -> &'static str {
    const KNOWN: [&str; 4] = [
        "backend_auth",
        "backend_acl",
        "backend_timeout",
        "backend_unavailable",
    ];
    let known = KNOWN.into_iter().find(|known| *known == code);
    known.unwrap_or("backend_error")
}

fn short(text: &str) -> String {
    text.chars().take(MAX_ACK).collect()
}
