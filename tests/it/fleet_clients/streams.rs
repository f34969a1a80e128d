//! Notification streams and subscriptions: at whichever gateway a session listens, and wherever it said what it
//! wants to hear of.

use cortex_tests::between::Between;
use cortex_tests::{Client, FakeBackend, GatewayBuilder, Plan, Stream};
use serde_json::{Value, json};

use super::{member, two, within};
use crate::fleet_catalog::lists;

const TOOLS: &str = "notifications/tools/list_changed";
const UPDATED: &str = "notifications/resources/updated";

fn looking(between: &Between, backend: &FakeBackend) -> GatewayBuilder {
    member(between)
        .backend("docs", &backend.url())
        .env("CORTEX_REFRESH_SECONDS", "1")
}

async fn listen(client: &Client, session: &str, last: Option<&str>) -> Stream {
    let mut headers = vec![("mcp-session-id", session)];
    headers.extend(last.map(|id| ("last-event-id", id)));
    let stream = Stream::legacy(client, &headers).await;
    assert_eq!(stream.status, 200);
    stream
}

fn offer(backend: &FakeBackend, names: &[&str]) {
    let tools: Vec<Value> = names.iter().map(|name| FakeBackend::tool(name)).collect();
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
}

fn say(backend: &FakeBackend, text: &str) {
    let contents = json!({ "contents": [{ "uri": "docs://page/1", "text": text }] });
    backend.plan("read_resource", Plan::Json(200, contents));
}

cortex_tests::through_each!(
    a_newer_stream_at_another_gateway_replaces_the_older_one_and_goes_on_where_it_was,
    what_was_told_elsewhere_counts_before_that_is_heard_of,
    what_a_session_subscribed_to_is_told_wherever_it_listens,
);

async fn a_newer_stream_at_another_gateway_replaces_the_older_one_and_goes_on_where_it_was(
    between: Between,
) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("one")])).await;
    let [a, b] = two(|| looking(&between, &backend)).await;
    // What is told is told of what comes from here on.
    for gateway in [&a, &b] {
        lists(gateway, &["one"]).await;
    }
    let session = a.client.initialize("2025-11-25").await;
    let mut at_a = listen(&a.client, &session, None).await;
    let opening = at_a.frame().await.expect("an opening");
    offer(&backend, &["one", "two"]);
    let told = at_a.message().await.expect("a change");
    assert_eq!(told.method(), TOOLS);

    // B takes over; A's stream ends.
    let mut at_b = listen(&b.client, &session, told.id.as_deref()).await;
    assert_eq!(at_a.message().await, None);
    offer(&backend, &["one"]);
    let next = at_b.message().await.expect("a change");
    assert_eq!(next.method(), TOOLS);

    // Back again, by what was told before B: what changed meanwhile is told.
    drop(at_b);
    let mut at_a = listen(&a.client, &session, told.id.as_deref()).await;
    let next = at_a.message().await.expect("what was missed");
    assert_eq!(next.method(), TOOLS);
    drop(at_a);
    // By nothing at all: it may have missed anything, also where B has not heard yet that it was elsewhere.
    let mut at_b = listen(&b.client, &session, None).await;
    assert_eq!(at_b.message().await.expect("a change").method(), TOOLS);

    // The end of the session at one gateway ends its stream at another.
    a.client.delete(&[("mcp-session-id", &session)]).await;
    while at_b.message().await.is_some() {}
    assert!(opening.id.is_some());
}

async fn what_was_told_elsewhere_counts_before_that_is_heard_of(between: Between) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("one")])).await;
    let gateway = looking(&between, &backend).start().await;
    gateway.ready().await;
    lists(&gateway, &["one"]).await;
    let session = gateway.client.initialize("2025-11-25").await;
    drop(listen(&gateway.client, &session, None).await);
    // It was nowhere else: it has missed nothing.
    let mut again = listen(&gateway.client, &session, None).await;
    let opening = again.frame().await.expect("an opening").id.expect("an id");
    assert!(!opening.ends_with("-0-0-0"), "{opening}");
    drop(again);
    between.replace_on("streams", "another gateway.");
    let mut again = listen(&gateway.client, &session, None).await;
    let opening = again.frame().await.expect("an opening").id.expect("an id");
    assert!(opening.ends_with("-0-0-0"), "{opening}");
    let told = again.message().await.expect("what it may have missed");
    assert_eq!(told.method(), TOOLS);
}

async fn what_a_session_subscribed_to_is_told_wherever_it_listens(mut between: Between) {
    let backend = FakeBackend::start(json!([])).await;
    let templates = json!({ "resourceTemplates": [
        { "uriTemplate": "docs://page/{id}", "name": "page", "scope": "mcp:test:use" },
    ]});
    backend.plan("list_resource_templates", Plan::Json(200, templates));
    say(&backend, "one");
    let [a, b] = two(|| looking(&between, &backend)).await;
    let session = a.client.initialize("2025-11-25").await;
    let page = || json!({ "uri": "docs://page/1" });
    within(&a.client, &session, "resources/subscribe", page())
        .await
        .result();
    let mut at_b = listen(&b.client, &session, None).await;
    say(&backend, "two");
    let told = at_b.message().await.expect("a change").json();
    assert_eq!(
        (&told["method"], &told["params"]),
        (&json!(UPDATED), &page())
    );
    assert!(
        between.lie_on("subscriptions") > 0,
        "it lies with the others"
    );

    // Whoever listens elsewhere next is told again: it may not have arrived.
    let mut at_a = listen(&a.client, &session, None).await;
    assert_eq!(at_b.message().await, None);
    let mut methods = Vec::new();
    while methods.last().is_none_or(|method| method != UPDATED) {
        methods.push(at_a.message().await.expect("what was told").method());
    }
    // One more, subscribed to where it does not listen, in the place of the first.
    let other = json!({ "uri": "docs://page/2" });
    within(&b.client, &session, "resources/subscribe", other.clone())
        .await
        .result();
    within(&b.client, &session, "resources/unsubscribe", page())
        .await
        .result();
    say(&backend, "three");
    let mut told = Vec::new();
    while told.last().is_none_or(|uri| *uri != other) {
        let message = at_a.message().await.expect("a change").json();
        told.push(message["params"].clone());
    }
    say(&backend, "four");
    let message = at_a.message().await.expect("a change").json();
    assert_eq!(message["params"], other, "the first is told of no more");

    // Thirty-two are the most, at all gateways together.
    for n in 3..34 {
        let client = if n % 2 == 0 { &a.client } else { &b.client };
        let uri = json!({ "uri": format!("docs://page/{n}") });
        within(client, &session, "resources/subscribe", uri)
            .await
            .result();
    }
    let more = json!({ "uri": "docs://page/more" });
    let refused = within(&b.client, &session, "resources/subscribe", more).await;
    assert_eq!(refused.error().0, -32602);

    // With nobody to tell, what is subscribed to here counts here.
    between.stop();
    let session = a.client.initialize("2025-11-25").await;
    say(&backend, "five");
    within(&a.client, &session, "resources/subscribe", page())
        .await
        .result();
    let mut at_a = listen(&a.client, &session, None).await;
    say(&backend, "six");
    assert_eq!(at_a.message().await.expect("a change").method(), UPDATED);
    between.run();
    super::until(true, async || between.lie_on("subscriptions") > 0).await;
}
