//! `list_cortex_tickets`: what became of what the caller reported, here and at backends that keep
//! their own tickets.

use std::cmp::Reverse;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::report_ticket::{BACKEND, GATEWAY};
use super::{About, Call, Wrong, arguments, object, reads_only, ticket_backend};
use crate::ticket::{Book, Filter, Moment, Owner, Severity, Status};
use crate::types::BackendId;

/// Longest that one source is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many tickets are told unless the caller says.
const DEFAULT_LIMIT: usize = 20;
/// How many at most.
const MAX_LIMIT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Arguments {
    status: Option<Status>,
    severity: Option<Severity>,
    context_app: Option<String>,
    limit: Option<usize>,
}

/// What is asked for, by everybody who is asked.
struct Asked {
    filter: Filter,
    limit: usize,
}

/// What one source told.
struct Source {
    backend: String,
    source: &'static str,
    tickets: Result<Vec<Map<String, Value>>, String>,
}

pub(super) fn about() -> About {
    About {
        title: "List my tickets",
        description: "Lists the missing capabilities that you reported, newest first, each with its status and the \
                      operator's answer. You see your own only.",
        arguments: object(
            &json!({
                "status": { "type": "string", "enum": Status::WORDS },
                "severity": { "type": "string", "enum": Severity::WORDS },
                "contextApp": { "type": "string", "description": "Only tickets about this backend" },
                "limit": { "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT },
            }),
            &[],
        ),
        output: object(
            &json!({
                "count": { "type": "integer" },
                "totalFetched": { "type": "integer" },
                "limit": { "type": "integer" },
                "filteredBy": { "type": "object" },
                "sources": { "type": "array", "items": { "type": "object" } },
                "tickets": { "type": "array", "items": { "type": "object" } },
            }),
            &[
                "count",
                "totalFetched",
                "limit",
                "filteredBy",
                "sources",
                "tickets",
            ],
        ),
        annotations: reads_only(),
    }
}

pub(super) async fn run(call: &Call<'_>) -> Result<Value, Wrong> {
    let asked = read(arguments(call)?)?;
    let wanted = asked.filter.context_app.as_deref();
    let keepers = call.gw.config.tickets.backends.iter();
    let keepers = keepers.filter(|id| wanted.is_none_or(|app| app == id.as_str()));
    let others = join_all(keepers.map(|id| of_backend(call, id, &asked)));
    let (own, others) = join(of_gateway(call, &asked), others).await;

    let (mut sources, mut tickets) = (Vec::new(), Vec::new());
    for source in std::iter::once(own).chain(others) {
        let mut told = json!({ "backend": source.backend, "source": source.source });
        match source.tickets {
            Ok(found) => {
                told["ok"] = true.into();
                told["count"] = found.len().into();
                for mut ticket in found {
                    ticket.insert("backend".to_owned(), source.backend.as_str().into());
                    ticket.insert("source".to_owned(), source.source.into());
                    tickets.push(ticket);
                }
            }
            Err(error) => {
                told["ok"] = false.into();
                told["error"] = error.into();
            }
        }
        sources.push(told);
    }
    let fetched = tickets.len();
    newest_first(&mut tickets);
    tickets.truncate(asked.limit);
    Ok(json!({
        "count": tickets.len(),
        "totalFetched": fetched,
        "limit": asked.limit,
        "filteredBy": filters(&asked.filter),
        "sources": sources,
        "tickets": tickets,
    }))
}

fn read(given: Arguments) -> Result<Asked, Wrong> {
    let limit = given.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let what = format!("`limit` is {limit}; hint: 1 to {MAX_LIMIT}");
        return Err(Wrong::Arguments(what));
    }
    Ok(Asked {
        filter: Filter {
            status: given.status,
            severity: given.severity,
            context_app: given.context_app.filter(|app| !app.trim().is_empty()),
            ..Filter::default()
        },
        limit,
    })
}

/// What was filtered by: only what was.
fn filters(filter: &Filter) -> Value {
    let mut filters = Map::new();
    let all = [
        ("status", filter.status.map(Status::as_str)),
        ("severity", filter.severity.map(Severity::as_str)),
        ("contextApp", filter.context_app.as_deref()),
    ];
    for (name, value) in all {
        if let Some(value) = value {
            filters.insert(name.to_owned(), value.into());
        }
    }
    Value::Object(filters)
}

async fn of_gateway(call: &Call<'_>, asked: &Asked) -> Source {
    let owner = Owner::of(call.asker.caller.principal());
    let book = Book::new(&call.gw.store);
    let reading = book.own(&owner, &asked.filter, asked.limit);
    let tickets = match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(own)) => Ok(own.shown().into_iter().filter_map(as_object).collect()),
        Ok(Err(error)) => {
            tracing::error!(request.id = %call.asker.id, "tickets cannot be read: {error}");
            Err("the gateway's own tickets cannot be read".to_owned())
        }
        Err(_) => Err(late()),
    };
    Source {
        backend: GATEWAY.to_owned(),
        source: GATEWAY,
        tickets,
    }
}

async fn of_backend(call: &Call<'_>, id: &BackendId, asked: &Asked) -> Source {
    let mut query = filters(&asked.filter);
    if let Some(query) = query.as_object_mut() {
        // The backend is itself what the tickets are about.
        query.remove("contextApp");
        query.insert("limit".to_owned(), asked.limit.into());
    }
    let asking = ticket_backend::list(call, id, &query);
    let tickets = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(mut tickets)) => {
            tickets.retain(|ticket| fits(ticket, &asked.filter));
            newest_first(&mut tickets);
            tickets.truncate(asked.limit);
            Ok(tickets)
        }
        Ok(Err(not_done)) => Err(not_done.in_words()),
        Err(_) => Err(late()),
    };
    Source {
        backend: id.to_string(),
        source: BACKEND,
        tickets,
    }
}

fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

fn as_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Whether a backend's ticket is one that was asked for. A backend may not filter at all; what a
/// ticket does not say is not held against it.
fn fits(ticket: &Map<String, Value>, filter: &Filter) -> bool {
    let is = |name: &str, wanted: Option<&str>| {
        let found = ticket.get(name).and_then(Value::as_str);
        wanted.is_none() || found.is_none() || wanted == found
    };
    is("status", filter.status.map(Status::as_str))
        && is("severity", filter.severity.map(Severity::as_str))
}

/// Sorts by when tickets were made. What does not tell comes last.
fn newest_first(tickets: &mut [Map<String, Value>]) {
    tickets.sort_by_cached_key(|ticket| {
        let made = ["createdAt", "created_at"];
        let made = made.iter().find_map(|name| ticket.get(*name)?.as_str());
        Reverse(made.and_then(Moment::parse))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_whatever_its_clock_is_called() {
        let ticket = |n: u32, made: Value| {
            as_object(json!({ "n": n, "createdAt": made })).expect("an object")
        };
        let mut tickets = vec![
            ticket(4, json!(null)),
            ticket(3, json!("2026-01-01T10:00:00Z")),
            ticket(5, json!("long ago")),
            ticket(1, json!("2026-01-01T10:30:00-02:00")),
            ticket(2, json!("2026-01-01T12:00:00.5Z")),
        ];
        newest_first(&mut tickets);
        let order: Vec<_> = tickets.iter().map(|it| it["n"].clone()).collect();
        assert_eq!(order, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_backend_that_does_not_filter_is_filtered() {
        let filter = Filter {
            status: Some(Status::Open),
            ..Filter::default()
        };
        for (ticket, expected) in [
            (json!({ "status": "open" }), true),
            (json!({ "status": "resolved" }), false),
            (json!({ "title": "says nothing" }), true),
        ] {
            let ticket = as_object(ticket).expect("an object");
            assert_eq!(fits(&ticket, &filter), expected, "{ticket:?}");
        }
    }
}
