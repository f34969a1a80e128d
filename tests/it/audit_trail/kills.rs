//! A gateway that is killed again and again under load: whatever was answered is in the trail, once.

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

/// How many times it is killed.
const KILLS: usize = 25;
/// Callers at one time.
const CALLERS: usize = 4;
/// Calls that are answered before it may be killed, and the longest time between then and the kill, in
/// milliseconds.
const ANSWERED: usize = 3;
const LONGEST: u64 = 150;

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Calls until nobody answers; returns the methods by which the answered calls are found again.
async fn call_on(client: Client, name: String, count: Arc<AtomicUsize>) -> Vec<String> {
    let mut answered = Vec::new();
    for n in 0.. {
        let body = json!({ "jsonrpc": "2.0", "id": format!("{name}-{n}"), "method": "ping" });
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("x-dev-mode", cortex_tests::client::DEV_TOKEN),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        let sent = client.send(Method::POST, "/mcp", &headers, body.to_string());
        match sent.await {
            // The record of this request has the same id.
            Ok(reply) => {
                answered.push(reply.header("x-request-id").to_owned());
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => break,
        }
    }
    answered
}

#[tokio::test]
async fn no_answered_call_is_lost_or_doubled_by_kills() {
    let mut builder = GatewayBuilder::new().env("CORTEX_RATE_LIMIT_PER_MINUTE", "0");
    let mut answered: BTreeSet<String> = BTreeSet::new();
    let mut exported: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..KILLS {
        // Whether it starts at all says whether the trail opens.
        let gateway = builder.start().await;
        let count = Arc::new(AtomicUsize::new(0));
        let calling: Vec<_> = (0..CALLERS)
            .map(|n| {
                let (client, name) = (gateway.client.clone(), format!("call-{round}-{n}"));
                tokio::spawn(call_on(client, name, Arc::clone(&count)))
            })
            .collect();
        let so_far = || count.load(Ordering::Relaxed);
        eventually(|| so_far() >= ANSWERED, || format!("{} answers", so_far())).await;
        tokio::time::sleep(Duration::from_millis(random(LONGEST))).await;
        let told = gateway.output();
        builder = gateway.kill().await;
        for calls in calling {
            answered.extend(calls.await.expect("called"));
        }
        // What an exporter was given stays what it was.
        let lines: Vec<&str> = told.lines().collect();
        for line in lines {
            let Ok(record) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let number = record["sequence"].as_u64().expect("a number");
            let hash = record["hash"].as_str().expect("a hash").to_owned();
            let before = exported.insert(number, hash.clone());
            assert!(before.is_none_or(|before| before == hash), "{line}");
        }
    }
    let verified = builder.operate(&["audit", "verify"]).await;
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(0), "{said}");
    let all = ["audit", "query", "--json", "--limit", "10000000"];
    let found = builder.operate(&all).await;
    let found = String::from_utf8(found.stdout).expect("UTF-8");
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbers = Vec::new();
    for line in found.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let request = record["request_id"].as_str().unwrap_or_default().to_owned();
        *kept.entry(request).or_default() += 1;
        let number = record["sequence"].as_u64().expect("a number");
        let hash = record["hash"].as_str().expect("a hash");
        assert!(exported.get(&number).is_none_or(|before| before == hash));
        numbers.push(number);
    }
    numbers.reverse();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "without a gap");
    for request in &answered {
        assert_eq!(kept.get(request), Some(&1), "{request}");
    }
    assert!(answered.len() >= ANSWERED * KILLS);
}
