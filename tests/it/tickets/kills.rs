//! A gateway that is killed again and again while tickets are reported: what was acknowledged is
//! there, once.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cortex_tests::gateway::eventually;
use cortex_tests::{Client, GatewayBuilder};
use http::Method;
use serde_json::{Value, json};

use super::{People, list, wish};

/// How many times it is killed.
const KILLS: usize = 50;
/// Callers who report at one time.
const CALLERS: usize = 3;
/// Answers before which it is not killed, in every other round.
const ANSWERED: usize = 3;
/// Longest time between then and the kill, in milliseconds.
const LONGEST: u64 = 60;

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Reports one wish; `None` when there is no answer any more.
async fn report(client: &Client, token: &str, wanted: &str) -> Option<Value> {
    let params = json!({ "name": "report_missing_capability", "arguments": wish(wanted) });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("authorization", &bearer),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let sent = client.send(Method::POST, "/mcp", &headers, body.to_string());
    let result = sent.await.ok()?.result();
    assert_eq!(result["isError"], false, "{result}");
    Some(result["structuredContent"].clone())
}

/// Reports wishes, each twice, until nobody answers. Returns those that were acknowledged.
async fn report_on(
    client: Client,
    token: String,
    count: Arc<AtomicUsize>,
) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    for n in 0..45 {
        let wanted = format!("w{n}");
        for again in [false, true] {
            let Some(told) = report(&client, &token, &wanted).await else {
                return acknowledged;
            };
            let id = told["ticketId"].as_str().expect("an id").to_owned();
            assert_eq!(told["deduplicated"], again, "{wanted}");
            let first = acknowledged
                .entry(wanted.clone())
                .or_insert_with(|| id.clone());
            assert_eq!(*first, id);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

#[tokio::test]
async fn no_acknowledged_ticket_is_lost_or_doubled_by_kills() {
    let people = People::new().await;
    let mut builder = GatewayBuilder::new().issuer(&people.issuer);
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut before: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for round in 0..=KILLS {
        // Whether it starts at all says whether the store opens.
        let gateway = builder.start().await;
        for (subject, acknowledged) in before.drain(..) {
            let client = gateway.client.with_token(&people.token(&subject, "agent"));
            let found = list(&client, json!({ "limit": 100 })).await;
            let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for ticket in found["tickets"].as_array().expect("tickets") {
                let text = |name: &str| ticket[name].as_str().expect("text").to_owned();
                kept.entry(text("whatIWanted"))
                    .or_default()
                    .push(text("ticketId"));
            }
            for (wanted, ids) in &kept {
                assert_eq!(ids.len(), 1, "round {round}: {subject} has {wanted} twice");
            }
            for (wanted, id) in acknowledged {
                let ids = kept.get(&wanted);
                assert_eq!(ids, Some(&vec![id]), "round {round}: {subject} {wanted}");
            }
            // One more may be there: kept, and killed before it was told.
            all.extend(kept.into_values().flatten());
        }
        if round == KILLS {
            builder = gateway.stop().await;
            break;
        }
        let count = Arc::new(AtomicUsize::new(0));
        let reporting: Vec<_> = (0..CALLERS)
            .map(|n| {
                let subject = format!("user-{round}-{n}");
                let token = people.token(&subject, "agent");
                (
                    subject,
                    tokio::spawn(report_on(gateway.client.clone(), token, Arc::clone(&count))),
                )
            })
            .collect();
        // Often while it is busy, and sometimes before it is.
        if round % 2 == 0 {
            let so_far = || count.load(Ordering::Relaxed);
            eventually(|| so_far() >= ANSWERED, || format!("{} answers", so_far())).await;
        }
        tokio::time::sleep(Duration::from_millis(random(LONGEST))).await;
        builder = gateway.kill().await;
        for (subject, reporting) in reporting {
            before.push((subject, reporting.await.expect("reported")));
        }
    }
    let exported = builder.operate(&["tickets", "export"]).await;
    let exported = String::from_utf8(exported.stdout).expect("UTF-8");
    let ids: Vec<String> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| {
            line["ticket"]["ticketId"]
                .as_str()
                .expect("an id")
                .to_owned()
        })
        .collect();
    assert_eq!(ids.iter().cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(ids.len(), all.len(), "each once");
    assert!(all.len() >= KILLS / 2);
}
