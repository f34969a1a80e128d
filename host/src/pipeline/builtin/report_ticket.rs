//! `report_missing_capability`: an agent tells what it could not do here.
//!
//! The ticket goes to the backend that it is about, if that keeps its own, else to the gateway.

use serde_json::{Value, json};

use super::ticket_backend::{self, Kept};
use super::{About, Call, Wrong, arguments, object};
use crate::ticket::{
    Blocking, Book, MAX_APP, MAX_INTENT, MAX_SHAPE, MAX_TOOL, MAX_WANTED, Moment, Owner, Reported,
    Severity, TicketError, Wish, WishArguments,
};
use crate::types::BackendId;

/// The gateway among the keepers of tickets.
pub(super) const GATEWAY: &str = "gateway";
/// A backend among them.
pub(super) const BACKEND: &str = "backend";

pub(super) fn about() -> About {
    let text = |max: usize, description: &str| json!({ "type": "string", "maxLength": max, "description": description });
    About {
        title: "Report a missing capability",
        description: "Tells the people who run these tools what you could not do for the user. Call it when no tool \
                      does what is needed, or a tool falls short. One wish a report; reporting it again within a day \
                      refreshes the ticket. Read the answer later with list_cortex_tickets. Put no secrets and no \
                      personal data into it.",
        arguments: object(
            &json!({
                "whatIWanted": text(MAX_WANTED, "The capability that is missing, in one or two sentences"),
                "userIntent": text(MAX_INTENT, "What the user was trying to achieve"),
                "severity": {
                    "type": "string",
                    "enum": Severity::WORDS,
                    "description": "blocking: the task cannot be done; inconvenient: there is a way around; \
                                    nice_to_have: it would be better",
                },
                "contextTool": text(MAX_TOOL, "The tool that came closest, if any"),
                "contextApp": text(MAX_APP, "The backend it is about (the part of a tool's name before the first `_`), if any"),
                "suggestedShape": text(MAX_SHAPE, "The tool you would have liked: name, arguments, result"),
            }),
            &["whatIWanted", "userIntent", "severity"],
        ),
        output: object(
            &json!({
                "ticketId": { "type": "string" },
                "deduplicated": { "type": "boolean" },
                "backend": { "type": "string" },
                "source": { "type": "string", "enum": [GATEWAY, BACKEND] },
                "ackMessage": { "type": "string" },
                "adminNotified": { "type": "boolean" },
            }),
            &[
                "ticketId",
                "deduplicated",
                "backend",
                "source",
                "ackMessage",
            ],
        ),
        annotations: json!({
            "readOnlyHint": false,
            "destructiveHint": false,
            "idempotentHint": false,
            "openWorldHint": false,
        }),
    }
}

pub(super) async fn run(call: &Call<'_>) -> Result<Value, Wrong> {
    let given: WishArguments = arguments(call)?;
    let wish = Wish::try_from(given).map_err(|error| Wrong::Arguments(error.to_string()))?;
    let keepers = &call.gw.config.tickets.backends;
    let keeper = keepers.iter().find(|id| Some(id.as_str()) == wish.app());
    let kept = match keeper {
        Some(id) => to_backend(call, id, &wish).await?,
        None => to_gateway(call, &wish).await?,
    };
    let (backend, source) = match keeper {
        Some(id) => (id.as_str(), BACKEND),
        None => (GATEWAY, GATEWAY),
    };
    let mut told = json!({
        "ticketId": kept.id,
        "deduplicated": kept.deduplicated,
        "backend": backend,
        "source": source,
        "ackMessage": kept.ack.unwrap_or_else(|| format!("Backend {backend} has taken the ticket.")),
    });
    let is_new = !kept.deduplicated && wish.severity() == Severity::Blocking;
    if let Some(notifier) = call.gw.notifier.as_ref().filter(|_| is_new) {
        let ticket = Blocking {
            ticket_id: &kept.id,
            backend,
            source,
            wish: &wish,
            agent: call.asker.caller.principal().client_id.as_deref(),
        };
        told["adminNotified"] = notifier.tell(&ticket).await.into();
    }
    Ok(told)
}

async fn to_backend(call: &Call<'_>, id: &BackendId, wish: &Wish) -> Result<Kept, Wrong> {
    let mut ticket = json!(wish);
    if let Some(agent) = &call.asker.caller.principal().client_id {
        ticket["agent"] = agent.as_str().into();
    }
    Ok(ticket_backend::report(call, id, &ticket).await?)
}

async fn to_gateway(call: &Call<'_>, wish: &Wish) -> Result<Kept, Wrong> {
    let principal = call.asker.caller.principal();
    let (owner, agent) = (Owner::of(principal), principal.client_id.as_deref());
    let book = Book::new(&call.gw.store);
    let reported = book.report(&owner, agent, wish, Moment::now()).await;
    let Reported {
        ticket,
        deduplicated,
    } = reported.map_err(|error| not_kept(call, &error))?;
    let id = ticket.id.to_string();
    let ack = if deduplicated {
        let answer = ticket.answer();
        let answer = answer.map(|text| format!(" The operator says: {text}"));
        format!(
            "You have reported this before: ticket {id} is refreshed. Its status is {}.{}",
            ticket.status(),
            answer.unwrap_or_default()
        )
    } else {
        format!(
            "Thank you. This is ticket {id}; list_cortex_tickets shows what becomes of it. Go on without it, or tell \
             the user that it cannot be done here yet."
        )
    };
    Ok(Kept {
        id,
        deduplicated,
        ack: Some(ack),
    })
}

/// What the model may do about it; what the operator may do is in the log.
fn not_kept(call: &Call<'_>, error: &TicketError) -> Wrong {
    match error {
        TicketError::TooMany | TicketError::TooManyToday => {
            Wrong::Failed("too_many_tickets", error.to_string())
        }
        other => {
            tracing::error!(request.id = %call.asker.id, "a ticket was not kept: {other}");
            let text = "The ticket could not be kept: try again in a minute".to_owned();
            Wrong::Failed("store_failed", text)
        }
    }
}
