//! A thousand who listen: each is told, none costs much, and they do not keep a gateway from
//! stopping.

use std::sync::Arc;

use cortex_tests::{Client, FakeBackend, GatewayBuilder, Plan, Stream};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Most memory of the gateway for one who listens. Generous: it is a debug build.
const MAX_KIB: u64 = 64;

/// How many: a thousand, or what this process may open.
fn listeners() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    let soft = soft.and_then(|soft| soft.parse::<usize>().ok());
    soft.map_or(1_000, |soft| soft.saturating_sub(200).min(1_000))
}

/// Opens streams of both eras, and returns when each has got its first frame.
async fn open(client: &Client, streams: usize) -> Vec<(bool, Stream)> {
    let few = Arc::new(Semaphore::new(32));
    let mut opening = JoinSet::new();
    for n in 0..streams {
        let (client, few) = (client.clone(), Arc::clone(&few));
        opening.spawn(async move {
            let _place = few.acquire().await;
            let modern = n % 2 == 0;
            let mut stream = if modern {
                Stream::modern(&client, json!({ "toolsListChanged": true })).await
            } else {
                let session = client.initialize("2025-11-25").await;
                Stream::legacy(&client, &[("mcp-session-id", &session)]).await
            };
            assert_eq!(stream.status, 200);
            stream.frame().await.expect("a first frame");
            (modern, stream)
        });
    }
    opening.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_listen_are_cheap_and_are_all_told() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("one")])).await;
    let streams = listeners();
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_REFRESH_SECONDS", "1")
        .env("CORTEX_MAX_STREAMS_PER_CALLER", "2000")
        .start()
        .await;
    gateway.ready().await;
    // What the first few need stays for the others.
    drop(open(&gateway.client, 40).await);
    let before = gateway.resident_kib();
    let mut open = open(&gateway.client, streams).await;
    let after = gateway.resident_kib();
    let each = after.saturating_sub(before) / streams as u64;
    println!("{streams} streams: {each} KiB each ({before} KiB before, {after} KiB after)");
    assert!(
        each <= MAX_KIB,
        "{each} KiB each: {before} KiB, then {after} KiB"
    );
    // They take no place of a request.
    assert_eq!(gateway.client.legacy("ping", json!({})).await.status, 200);

    let tools = json!({ "tools": [FakeBackend::tool("one"), FakeBackend::tool("two")] });
    backend.plan("list_tools", Plan::Json(200, tools));
    for (_, stream) in &mut open {
        let told = stream.message().await.expect("a change");
        assert_eq!(told.method(), "notifications/tools/list_changed");
    }
    gateway.signal("TERM").await;
    for (modern, stream) in &mut open {
        let end = stream.message().await;
        assert_eq!(
            end.is_some(),
            *modern,
            "one change, one notification: {end:?}"
        );
        if let Some(end) = end {
            assert_eq!(end.json()["result"]["resultType"], "complete");
            assert_eq!(stream.frame().await, None);
        }
    }
    assert_eq!(gateway.ended().await, Some(0));
    assert!(!gateway.log().contains("are given up"), "{}", gateway.log());
    let records = gateway.audit(streams).await;
    let listened = records
        .iter()
        .filter(|r| r["success"] == true)
        .filter(|r| r["method"] == "GET" || r["method"] == "subscriptions/listen");
    assert_eq!(listened.count(), streams + 40, "one record for each");
}
