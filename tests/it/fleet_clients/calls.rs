//! What clients say in the middle of a call, to another gateway than the one that serves it.

use cortex_tests::between::Between;
use cortex_tests::gateway::eventually;
use cortex_tests::{Client, FakeBackend, Plan, Stream};
use serde_json::{Value, json};

use super::{member, mischievous, two};

cortex_tests::through_each!(
    an_answer_finds_the_gateway_that_asked,
    a_call_is_called_off_at_whichever_gateway,
);

async fn an_answer_finds_the_gateway_that_asked(between: Between) {
    let [a, b] = two(|| mischievous(&between)).await;
    let session = a
        .client
        .initialize_as("2025-11-25", json!({ "elicitation": {} }))
        .await;
    let headers = [("mcp-session-id", session.as_str())];
    let form = json!({ "who": { "method": "elicitation/create", "params": {
        "mode": "form", "message": "Who?", "requestedSchema": { "type": "object", "properties": {} } } } });
    let params =
        json!({ "name": "bad_ask", "arguments": { "requests": form, "state": "again:S" } });
    let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params });
    let mut stream = Stream::post(&a.client, body.to_string(), &headers).await;
    for name in ["Ada", "Bob"] {
        let question = stream.message().await.expect("a question").json();
        let answer = |name: &str| {
            json!({ "jsonrpc": "2.0", "id": question["id"],
                    "result": { "action": "accept", "content": { "name": name } } })
        };
        // From another session it is nobody's answer, and is not passed on.
        let stranger = b.client.initialize("2025-11-25").await;
        let elsewhere = [("mcp-session-id", stranger.as_str())];
        b.client.post(answer("Eve").to_string(), &elsewhere).await;
        // Nor is one to a question that nobody asked.
        let other = json!({ "jsonrpc": "2.0", "id": "gateway-1", "result": {} });
        assert_eq!(b.client.post(other.to_string(), &headers).await.status, 202);
        super::until(0, async || between.lie_on("answers")).await;
        let taken = b.client.post(answer(name).to_string(), &headers).await;
        assert_eq!((taken.status.as_u16(), taken.body.len()), (202, 0));
    }
    let done = stream.message().await.expect("the end").json();
    let text = done["result"]["content"][0]["text"].as_str();
    assert!(text.is_some_and(|text| text.contains("Bob")), "{done}");
    // Nothing of it lies around, and nothing of it could be read.
    super::until(0, async || between.lie_on("answers")).await;
}

async fn cancel(client: &Client, id: Value, session: Option<&str>) {
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
    let headers: Vec<_> = session.iter().map(|id| ("mcp-session-id", *id)).collect();
    let reply = client.post(note.to_string(), &headers).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
}

async fn a_call_is_called_off_at_whichever_gateway(between: Between) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("hang")])).await;
    backend.plan("hang", Plan::Hang);
    let make = || {
        member(&between)
            .backend("docs", &backend.url())
            .env("CORTEX_BACKEND_DOCS_TIMEOUT_MS", "300000")
    };
    let [a, b] = two(make).await;
    let session = a.client.initialize("2025-11-25").await;
    let (other, client) = (b.client.initialize("2025-11-25").await, a.client.clone());
    let with = session.clone();
    let running = tokio::spawn(async move {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                           "params": { "name": "docs_hang", "arguments": {} } });
        let headers = [("mcp-session-id", with.as_str())];
        client.post(body.to_string(), &headers).await
    });
    eventually(|| backend.seen("hang").len() == 1, || a.log()).await;
    for (id, session) in [
        (json!(8), Some(session.as_str())),
        (json!("7"), Some(session.as_str())),
        (json!(7), Some(other.as_str())),
        (json!(7), None),
    ] {
        cancel(&b.client, id, session).await;
    }
    // News keeps its order: had one of these been passed on as this request's end, it would have ended it.
    cancel(&b.client, json!("the last of these"), Some(&session)).await;
    assert_eq!(backend.abandoned(), 0, "none of these meant that request");
    cancel(&b.client, json!(7), Some(&session)).await;
    let reply = running.await.expect("the end");
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    eventually(|| backend.abandoned() == 1, || a.log()).await;
}
