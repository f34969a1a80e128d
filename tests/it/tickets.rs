//! Tickets: what agents report, who sees it, who is told, and what operators answer.

use std::time::Duration;

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan, Reply};
use serde_json::{Value, json};

mod kills;
mod operators;

/// A gateway, and an issuer that knows anybody.
struct Bench {
    gateway: Gateway,
    people: People,
}

/// Makes tokens.
struct People {
    issuer: FakeIssuer,
    key: Key,
}

impl People {
    async fn new() -> Self {
        let key = Key::generate(Alg::EdDsa, "a");
        let issuer = FakeIssuer::start(&[&key]).await;
        Self { issuer, key }
    }

    /// Somebody's token, for one agent.
    fn token(&self, subject: &str, agent: &str) -> String {
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(subject);
        claims["client_id"] = json!(agent);
        self.key.token(&claims)
    }
}

impl Bench {
    async fn start(with: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let people = People::new().await;
        let gateway = with(GatewayBuilder::new().issuer(&people.issuer));
        let gateway = gateway.start().await;
        gateway.ready().await;
        Self { gateway, people }
    }

    fn client(&self, subject: &str) -> Client {
        self.through(subject, "agent-1")
    }

    fn through(&self, subject: &str, agent: &str) -> Client {
        let token = self.people.token(subject, agent);
        self.gateway.client.with_token(&token)
    }
}

fn wish(wanted: &str) -> Value {
    json!({ "whatIWanted": wanted, "userIntent": "to finish", "severity": "inconvenient" })
}

fn blocking(wanted: &str) -> Value {
    json!({ "whatIWanted": wanted, "userIntent": "to finish", "severity": "blocking" })
}

/// What a builtin answered: the same as text and as structured content.
#[track_caller]
fn told(reply: &Reply) -> Value {
    let result = reply.result();
    let (text, is_error) = reply.tool_text();
    assert!(!is_error, "{text}");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(result["structuredContent"], value);
    value
}

#[track_caller]
fn refused(reply: &Reply) -> String {
    let (text, is_error) = reply.tool_text();
    assert!(is_error, "{text}");
    text
}

async fn report(client: &Client, arguments: Value) -> Value {
    told(&client.call("report_missing_capability", arguments).await)
}

async fn list(client: &Client, arguments: Value) -> Value {
    told(&client.call("list_cortex_tickets", arguments).await)
}

/// The wishes in a list, in its order.
fn wishes(list: &Value) -> Vec<&str> {
    let tickets = list["tickets"].as_array().expect("tickets");
    tickets
        .iter()
        .filter_map(|it| it["whatIWanted"].as_str())
        .collect()
}

#[tokio::test]
async fn a_wish_is_one_ticket_of_one_caller_and_nobody_else_sees_it() {
    let bench = Bench::start(|gateway| gateway).await;
    let (ann, bob) = (bench.client("ann"), bench.client("bob"));
    let first = report(&ann, wish("export as PDF")).await;
    let id = first["ticketId"].as_str().expect("an id");
    assert_eq!(first["deduplicated"], false);
    assert_eq!(
        (&first["backend"], &first["source"]),
        (&json!("gateway"), &json!("gateway"))
    );
    assert_eq!(first.get("adminNotified"), None, "nobody to be told");
    // With a newer token, and in the other era.
    let params =
        json!({ "name": "report_missing_capability", "arguments": wish(" export as PDF ") });
    let again = told(&bench.client("ann").modern("tools/call", params).await);
    assert_eq!(
        (&again["ticketId"], &again["deduplicated"]),
        (&json!(id), &json!(true))
    );

    let bobs = report(&bob, wish("export as PDF")).await;
    assert_eq!(bobs["deduplicated"], false);
    assert_ne!(bobs["ticketId"], json!(id));
    let other_agent = report(&bench.through("ann", "agent-2"), wish("export as PDF")).await;
    assert_eq!(other_agent["deduplicated"], false);

    let seen = list(&bob, json!({})).await;
    assert_eq!(
        (&seen["count"], &seen["totalFetched"]),
        (&json!(1), &json!(1))
    );
    assert!(!seen.to_string().contains(id), "{seen}");
    let seen = list(&ann, json!({})).await;
    assert_eq!(seen["count"], 2);
    let ticket = &seen["tickets"][1];
    assert_eq!(ticket["ticketId"], json!(id));
    assert_eq!(ticket["timesReported"], 2);
    assert_eq!(
        (&ticket["status"], &ticket["answer"]),
        (&json!("open"), &json!(null))
    );
    assert_eq!(
        seen["sources"],
        json!([{ "backend": "gateway", "source": "gateway", "ok": true, "count": 2 }])
    );
    assert_eq!(
        list(&bench.client("carl"), json!({})).await["tickets"],
        json!([])
    );
}

#[tokio::test]
async fn lists_are_filtered_newest_first_and_bounded() {
    let bench = Bench::start(|gateway| gateway).await;
    let ann = bench.client("ann");
    for n in 0..22 {
        let mut wish = if n % 2 == 0 {
            wish(&format!("w{n}"))
        } else {
            blocking(&format!("w{n}"))
        };
        if n < 3 {
            wish["contextApp"] = json!("docs");
        }
        report(&ann, wish).await;
    }
    let all = list(&ann, json!({})).await;
    assert_eq!((&all["count"], &all["limit"]), (&json!(20), &json!(20)));
    assert_eq!(wishes(&all)[..2], ["w21", "w20"]);
    assert_eq!(all["filteredBy"], json!({}));
    let some = list(
        &ann,
        json!({ "severity": "blocking", "limit": 2, "status": "open" }),
    )
    .await;
    assert_eq!(wishes(&some), ["w21", "w19"]);
    assert_eq!(
        some["filteredBy"],
        json!({ "severity": "blocking", "status": "open" })
    );
    let docs = list(&ann, json!({ "contextApp": "docs", "limit": 100 })).await;
    assert_eq!(wishes(&docs), ["w2", "w1", "w0"]);
    assert_eq!(
        wishes(&list(&ann, json!({ "status": "planned" })).await),
        [""; 0]
    );
    for (arguments, said) in [
        (
            json!({ "limit": 0 }),
            "Invalid arguments: `limit` is 0; hint: 1 to 100",
        ),
        (
            json!({ "limit": 101 }),
            "Invalid arguments: `limit` is 101; hint: 1 to 100",
        ),
        (
            json!({ "status": "closed" }),
            "Invalid arguments: unknown variant `closed`",
        ),
        (
            json!({ "subject": "bob" }),
            "Invalid arguments: unknown field `subject`",
        ),
    ] {
        let reply = ann.call("list_cortex_tickets", arguments).await;
        let text = refused(&reply);
        assert!(text.starts_with(said), "{text}");
    }
}

#[tokio::test]
async fn what_is_too_long_or_too_much_is_refused_with_what_to_do() {
    let bench = Bench::start(|gateway| gateway).await;
    let ann = bench.client("ann");
    for (arguments, said) in [
        (
            wish(&"x".repeat(1_001)),
            "Invalid arguments: `whatIWanted` has 1001 characters; hint: 1000 at most",
        ),
        (
            wish("  "),
            "Invalid arguments: `whatIWanted` is empty; hint: say it",
        ),
        (
            json!({ "whatIWanted": "w" }),
            "Invalid arguments: missing field `userIntent`",
        ),
    ] {
        let text = refused(&ann.call("report_missing_capability", arguments).await);
        assert!(text.starts_with(said), "{text}");
    }
    for n in 0..50 {
        report(&ann, wish(&format!("w{n}"))).await;
    }
    let text = refused(
        &ann.call("report_missing_capability", wish("one more"))
            .await,
    );
    assert!(text.starts_with("50 new tickets within 24 hours"), "{text}");
    assert_eq!(report(&ann, wish("w7")).await["deduplicated"], true);
    report(&bench.client("bob"), wish("one more")).await;
}

/// A backend `docs` that keeps its own tickets, and a gateway that knows.
async fn keeper(bench: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> (FakeBackend, Bench) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    let url = backend.url();
    let bench = Bench::start(|gateway| {
        let gateway = gateway
            .backend("docs", &url)
            .env("CORTEX_TICKET_BACKENDS", "docs");
        bench(gateway)
    })
    .await;
    (backend, bench)
}

fn about_docs(wanted: &str) -> Value {
    let mut wish = blocking(wanted);
    wish["contextApp"] = json!("docs");
    wish
}

#[tokio::test]
async fn a_backend_that_keeps_its_tickets_is_given_them_as_the_caller() {
    let (backend, bench) = keeper(|gateway| gateway).await;
    let kept = json!({ "ticketId": "D-7", "deduplicated": true, "ackMessage": "We know." });
    backend.plan("report_missing_capability", Plan::Json(200, kept));
    let token = bench.people.token("ann", "agent-1");
    let ann = bench.gateway.client.with_token(&token);
    assert_eq!(
        report(&ann, about_docs("export")).await,
        json!({ "ticketId": "D-7", "deduplicated": true, "backend": "docs", "source": "backend", "ackMessage": "We know." })
    );
    let seen = &backend.seen("report_missing_capability")[0];
    assert_eq!(seen.headers["authorization"], format!("Bearer {token}"));
    assert_eq!(seen.headers["x-cortex-user-id"], "ann");
    let body: Value = serde_json::from_str(&seen.body).expect("JSON");
    let mut expected = about_docs("export");
    expected["agent"] = json!("agent-1");
    assert_eq!(body["params"], expected);
    // Elsewhere: the gateway's own.
    assert_eq!(report(&ann, wish("other")).await["source"], "gateway");
    assert_eq!(backend.seen("report_missing_capability").len(), 1);

    for (plan, said) in [
        (
            Plan::Json(200, json!({ "ok": true })),
            "Backend docs took the ticket, but did not answer as it should",
        ),
        (
            Plan::Json(200, json!({ "ticketId": "" })),
            "Backend docs took the ticket, but gave it no id that can be passed on",
        ),
        (
            Plan::Json(404, json!({ "error": "unknown method" })),
            "Backend 404: unknown method",
        ),
        (
            Plan::Json(403, json!({ "error": "not you" })),
            "Backend ACL denied: not you",
        ),
    ] {
        backend.plan("report_missing_capability", plan);
        let text = refused(&ann.call("report_missing_capability", about_docs("x")).await);
        assert_eq!(text, said);
    }
    let scope = json!({ "error": "scope", "required": "mcp:docs:tickets" });
    backend.plan("report_missing_capability", Plan::Json(403, scope));
    let reply = ann.call("report_missing_capability", about_docs("x")).await;
    assert_eq!(reply.status, 403);
    assert!(
        reply
            .header("www-authenticate")
            .contains("mcp:docs:tickets")
    );
}

#[tokio::test]
async fn tickets_of_all_keepers_are_one_list_and_a_silent_one_is_named() {
    let (backend, bench) = keeper(|gateway| gateway).await;
    let ann = bench.client("ann");
    report(&ann, wish("own")).await;
    let theirs = json!({ "tickets": [
        { "ticketId": "D-1", "whatIWanted": "old", "createdAt": "2020-01-01T00:00:00Z", "status": "open", "backend": "lies" },
        { "ticketId": "D-2", "whatIWanted": "new", "createdAt": "2999-01-01T00:00:00Z", "status": "resolved" },
    ] });
    backend.plan("list_tickets", Plan::Json(200, theirs));
    let all = list(&ann, json!({})).await;
    assert_eq!(wishes(&all), ["new", "own", "old"]);
    assert_eq!(all["tickets"][2]["backend"], "docs");
    assert_eq!(
        (&all["count"], &all["totalFetched"]),
        (&json!(3), &json!(3))
    );
    let open = list(&ann, json!({ "status": "open", "limit": 1 })).await;
    assert_eq!(wishes(&open), ["own"]);
    assert_eq!(
        (&open["count"], &open["totalFetched"]),
        (&json!(1), &json!(2))
    );
    let asked: Value = serde_json::from_str(&backend.seen("list_tickets")[1].body).expect("JSON");
    assert_eq!(asked["params"], json!({ "status": "open", "limit": 1 }));
    assert_eq!(
        wishes(&list(&ann, json!({ "contextApp": "docs" })).await),
        ["new", "old"]
    );
    let elsewhere = list(&ann, json!({ "contextApp": "other" })).await;
    assert_eq!(
        elsewhere["sources"].as_array().map(Vec::len),
        Some(1),
        "docs is not asked"
    );

    for (plan, said) in [
        (Plan::Hang, "no answer within 5 s"),
        (
            Plan::Json(200, json!({ "tickets": [1] })),
            "Backend docs: its tickets are not a list of objects",
        ),
        (
            Plan::Json(200, json!([])),
            "Backend docs: list_tickets answered without a `tickets` array",
        ),
        (
            Plan::Json(403, json!({ "required": ["a", "b"] })),
            "missing scope: a b",
        ),
    ] {
        backend.plan("list_tickets", plan);
        let list = list(&ann, json!({})).await;
        assert_eq!(wishes(&list), ["own"]);
        assert_eq!(
            list["sources"][1],
            json!({ "backend": "docs", "source": "backend", "ok": false, "error": said })
        );
    }
}

#[tokio::test]
async fn a_new_blocking_ticket_is_told_and_nothing_else_is() {
    let hook = FakeBackend::start(json!([])).await;
    // The receiver knows one "method": none, as the message has none.
    hook.plan("", Plan::Json(200, json!({})));
    let url = format!("{}/hook/s3cret-path", hook.url());
    let (backend, bench) = keeper(|gateway| gateway.env("CORTEX_TICKET_WEBHOOK_URL", &url)).await;
    let ann = bench.client("ann");
    let mut full = blocking("export as PDF");
    full["contextTool"] = json!("docs_render");
    full["suggestedShape"] = json!("export(format)");
    let first = report(&ann, full).await;
    assert_eq!(first["adminNotified"], true);
    let message: Value = serde_json::from_str(&hook.seen("")[0].body).expect("JSON");
    let id = first["ticketId"].as_str().expect("an id");
    assert_eq!(
        message,
        json!({
            "type": "cortex.ticket.blocking", "ticketId": id, "backend": "gateway", "source": "gateway",
            "whatIWanted": "export as PDF", "userIntent": "to finish", "contextTool": "docs_render",
            "contextApp": null, "suggestedShape": "export(format)", "agent": "agent-1",
            "text": format!("Blocking ticket {id} (gateway), reported by agent-1: export as PDF"),
        })
    );
    assert!(hook.seen("")[0].headers.get("authorization").is_none());
    let mut again = blocking("export as PDF");
    again["contextTool"] = json!("docs_render");
    assert_eq!(
        report(&ann, again).await.get("adminNotified"),
        None,
        "not new"
    );
    assert_eq!(
        report(&ann, wish("w")).await.get("adminNotified"),
        None,
        "not blocking"
    );
    backend.plan(
        "report_missing_capability",
        Plan::Json(200, json!({ "ticketId": 12 })),
    );
    assert_eq!(report(&ann, about_docs("x")).await["adminNotified"], true);
    let message: Value = serde_json::from_str(&hook.seen("")[1].body).expect("JSON");
    assert_eq!(
        (&message["ticketId"], &message["backend"]),
        (&json!("12"), &json!("docs"))
    );
    assert_eq!(hook.seen("").len(), 2);

    // However the receiver fails, the ticket is kept.
    for (n, plan) in [
        Plan::Json(500, json!({})),
        Plan::Redirect("http://127.0.0.1:1/".to_owned()),
        Plan::BreakOff,
        Plan::Hang,
    ]
    .into_iter()
    .enumerate()
    {
        hook.plan("", plan);
        let kept = report(&ann, blocking(&format!("w{n}"))).await;
        assert_eq!(kept["adminNotified"], false, "{n}");
    }
    hook.stop().await;
    assert_eq!(report(&ann, blocking("w4")).await["adminNotified"], false);
    let listed = list(&ann, json!({ "severity": "blocking" })).await;
    assert_eq!(listed["sources"][0]["count"], 6);
    let log = bench.gateway.log();
    assert!(
        log.contains("a blocking ticket was not told to CORTEX_TICKET_WEBHOOK_URL"),
        "{log}"
    );
    assert!(!log.contains("s3cret-path"), "{log}");
}

#[tokio::test]
async fn a_hook_is_told_even_when_the_agent_goes_away() {
    let hook = FakeBackend::start(json!([])).await;
    hook.plan("", Plan::After(Duration::from_millis(300), json!({})));
    let bench = Bench::start(|gateway| gateway.env("CORTEX_TICKET_WEBHOOK_URL", &hook.url())).await;
    let ann = bench.client("ann");
    let call =
        tokio::spawn(async move { ann.call("report_missing_capability", blocking("w")).await });
    cortex_tests::gateway::eventually(|| !hook.seen("").is_empty(), || "never told".to_owned())
        .await;
    call.abort();
    let mut gateway = bench.gateway;
    gateway
        .logged("a blocking ticket was told to CORTEX_TICKET_WEBHOOK_URL")
        .await;
}

#[tokio::test]
async fn wrong_places_for_tickets_stop_the_start() {
    let (code, said) = GatewayBuilder::new()
        .backend("docs", "http://127.0.0.1:1")
        .mcp_server("wiki", "http://127.0.0.1:1")
        .env("CORTEX_TICKET_BACKENDS", "docs,wiki,shop,No!")
        .env(
            "CORTEX_TICKET_WEBHOOK_URL",
            "http://hooks.example.com/s3cret",
        )
        .fail()
        .await;
    assert_eq!(code, Some(1));
    for expected in [
        "CORTEX_TICKET_BACKENDS is `wiki`: expected backends of CORTEX_BACKENDS: a native MCP server keeps no tickets",
        "CORTEX_TICKET_BACKENDS is `shop`: expected backends of CORTEX_BACKENDS that have a URL",
        "CORTEX_TICKET_BACKENDS is `No!`: expected ids",
        "CORTEX_TICKET_WEBHOOK_URL: expected an https URL, or http on this machine",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(
        !said.contains("s3cret") && !said.contains("`docs`"),
        "{said}"
    );
}
