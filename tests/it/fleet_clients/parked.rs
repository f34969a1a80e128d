//! A call that waits for its modern client's answer, which comes to another gateway.

use cortex_tests::between::Between;
use cortex_tests::gateway::eventually;
use cortex_tests::mcp_server::Step;
use cortex_tests::{Client, Era, FakeMcp, Gateway, Reply};
use serde_json::{Value, json};

use super::{member, two};

/// A server whose tool asks for a name, and says that it is done only when the test lets it.
async fn asking() -> FakeMcp {
    let server = FakeMcp::start(Era::Legacy).await;
    server.events("tools/call", |message| {
        let question = json!({
            "jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create",
            "params": { "mode": "form", "message": "Who?", "requestedSchema": { "type": "object" } },
        });
        let done = message.result(json!({ "content": [{ "type": "text", "text": "done" }] }));
        vec![Step::Send(question), Step::Wait, Step::Send(done)]
    });
    server
}

async fn stand(between: &Between, server: &FakeMcp) -> [Gateway; 2] {
    two(|| {
        member(between)
            .env("CORTEX_TECHNICAL_TOKEN", "")
            .mcp_server("wiki", &server.url())
    })
    .await
}

async fn call(client: &Client, more: Value) -> Reply {
    let capabilities = json!({ "elicitation": {} });
    client
        .modern_call(capabilities, "wiki_act", json!({ "a": 1 }), &more)
        .await
}

/// What a client repeats its request with.
fn answer(asked: &Reply, key: &str) -> Value {
    let responses = json!({ key: { "action": "accept", "content": { "name": "Ada" } } });
    json!({ "requestState": asked.result()["requestState"], "inputResponses": responses })
}

/// The keys of the questions that a client is asked.
#[track_caller]
fn questions(asked: &Reply) -> Vec<String> {
    let result = asked.result();
    assert_eq!(result["resultType"], "input_required", "{result}");
    let requests = result["inputRequests"].as_object();
    requests
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// Answers to its question that the server has got.
fn told(server: &FakeMcp) -> usize {
    let answers = server.seen("");
    answers
        .iter()
        .filter(|message| message.body["id"] == "q-1")
        .count()
}

cortex_tests::through_each!(
    the_call_goes_on_where_it_waits,
    nothing_is_done_twice_without_the_clients_word,
    who_goes_away_from_one_gateway_stops_the_call_at_the_other,
);

async fn the_call_goes_on_where_it_waits(between: Between) {
    let server = asking().await;
    let [a, b] = stand(&between, &server).await;
    let asked = call(&a.client, json!({})).await;
    assert_eq!(questions(&asked), ["question"]);
    // Without the answer the question comes again, and the call still waits.
    let again = call(&b.client, answer(&asked, "other")).await;
    assert_eq!(questions(&again), ["question"]);
    assert_eq!((told(&server), server.closed()), (0, 0));
    let go_on = async {
        eventually(|| told(&server) == 1, || a.log()).await;
        server.go_on();
    };
    let (done, ()) = tokio::join!(call(&b.client, answer(&again, "question")), go_on);
    assert_eq!(
        done.tool_text(),
        ("done".to_owned(), false),
        "{}",
        done.text()
    );
    assert_eq!(server.seen("tools/call").len(), 1, "one call for all of it");
    // It is over, at all of them.
    for client in [&a.client, &b.client] {
        for state in [&asked, &again] {
            let late = call(client, answer(state, "question")).await;
            assert_eq!(late.error().0, -32602, "{}", late.text());
        }
    }
    // What was said is nowhere to be read, and nothing is left.
    super::until(0, async || between.lie_on("parked")).await;
}

// Not through PostgreSQL: while that is away, a gateway does not answer whom it has not seen lately.
#[tokio::test]
async fn a_call_that_is_gone_begins_again_and_asks_again() {
    let Some(mut between) = Between::redis() else {
        return;
    };
    let server = asking().await;
    let [a, b] = stand(&between, &server).await;
    let asked = call(&a.client, json!({})).await;
    let first = questions(&asked);
    drop(a.kill().await);
    let again = call(&b.client, answer(&asked, "question")).await;
    assert_eq!(questions(&again), first, "{}", b.log());
    assert_eq!((told(&server), server.seen("tools/call").len()), (0, 2));

    // So it is while the other one cannot be reached.
    let c = member(&between)
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .mcp_server("wiki", &server.url())
        .start()
        .await;
    c.ready().await;
    between.stop();
    let again = call(&c.client, answer(&again, "question")).await;
    assert_eq!(questions(&again), first);
    assert_eq!((told(&server), server.seen("tools/call").len()), (0, 3));
    between.run();
    let go_on = async {
        eventually(|| told(&server) == 1, || c.log()).await;
        // The calls of before still wait for their end.
        (0..3).for_each(|_| server.go_on());
    };
    let (done, ()) = tokio::join!(call(&c.client, answer(&again, "question")), go_on);
    assert_eq!(done.tool_text().0, "done");
}

async fn nothing_is_done_twice_without_the_clients_word(between: Between) {
    let server = asking().await;
    let [a, b] = stand(&between, &server).await;
    let asked = call(&a.client, json!({})).await;
    // A has handed the answer on, and is killed before it learns what came of it.
    let die = async {
        eventually(|| told(&server) == 1, || a.log()).await;
        drop(a.kill().await);
    };
    let (unsure, ()) = tokio::join!(call(&b.client, answer(&asked, "question")), die);
    assert_eq!(questions(&unsure), ["again"], "{}", b.log());
    assert_eq!(server.seen("tools/call").len(), 1);
    // No: then it is not.
    let responses = json!({ "again": { "action": "decline" } });
    let state = unsure.result()["requestState"].clone();
    let no = json!({ "requestState": state, "inputResponses": responses });
    let (text, failed) = call(&b.client, no).await.tool_text();
    assert!(failed && text.contains("may or may not"), "{text}");
    assert_eq!(server.seen("tools/call").len(), 1);
    // Yes: from the beginning, its question included.
    let yes = call(&b.client, answer(&unsure, "again")).await;
    assert_eq!(questions(&yes), ["question"]);
    assert_eq!(server.seen("tools/call").len(), 2);
}

async fn who_goes_away_from_one_gateway_stops_the_call_at_the_other(between: Between) {
    let server = asking().await;
    let [a, b] = stand(&between, &server).await;
    let asked = call(&a.client, json!({})).await;
    let client = b.client.clone();
    let going_on = tokio::spawn(async move { call(&client, answer(&asked, "question")).await });
    eventually(|| told(&server) == 1, || a.log()).await;
    assert_eq!(server.closed(), 0);
    going_on.abort();
    eventually(|| server.closed() == 1, || a.log()).await;
}
