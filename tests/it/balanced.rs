//! Several gateways behind a load balancer that sends each request to the next of them: no client notices.

use std::collections::BTreeSet;
use std::time::Duration;

use cortex_tests::balancer::SERVED_BY;
use cortex_tests::client::DEV_TOKEN;
use cortex_tests::conformance::{Suite, Target};
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{
    Browser, Client, FakeBackend, FixtureServer, Fleet, FleetBuilder, Plan, Provider, Reply, Stream,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::linking::{asked_to_open, modern};
use crate::peers;

/// Three gateways in front of this backend, which are asked as developers.
async fn three(backend: &FakeBackend) -> Option<Fleet> {
    let fleet = FleetBuilder::new(3).start(|gateway| {
        gateway
            .backend("docs", &backend.url())
            .env("CORTEX_REFRESH_SECONDS", "1")
    });
    fleet.await
}

#[tokio::test]
async fn a_session_is_one_wherever_its_requests_go() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "result": "done" })));
    let Some(fleet) = three(&backend).await else {
        return;
    };
    let client = &fleet.client;
    let session = client.initialize("2025-11-25").await;
    let of_session = [
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", session.as_str()),
    ];
    let mut before = String::new();
    let mut served = BTreeSet::new();
    for n in 0..12 {
        let body = json!({ "jsonrpc": "2.0", "id": n, "method": "tools/call",
            "params": { "name": "docs_echo", "arguments": { "text": "x" } } });
        let reply = client.post(body.to_string(), &of_session).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert!(!reply.tool_text().1, "{}", reply.text());
        let by = reply.header(SERVED_BY).to_owned();
        assert_ne!(
            by, before,
            "each request goes to another one than the one before"
        );
        served.insert(by.clone());
        before = by;
    }
    assert_eq!(served.len(), 3, "{served:?}");
    // Ended by one, it is over at all of them.
    let ended = client.delete(&[("mcp-session-id", &session)]).await;
    assert!(ended.status.is_success(), "{}", ended.text());
    let over = |reply: &Reply| reply.status == StatusCode::NOT_FOUND;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let began = tokio::time::Instant::now();
    let mut refused = 0;
    while refused < 6 {
        let reply = client.post(body.clone(), &of_session).await;
        refused = if over(&reply) { refused + 1 } else { 0 };
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it goes on: {}",
            fleet.log()
        );
    }
}

#[tokio::test]
async fn who_listens_is_told_whichever_instance_found_the_change() {
    let one = FakeBackend::tool("one");
    let backend = FakeBackend::start(json!([one])).await;
    let Some(fleet) = three(&backend).await else {
        return;
    };
    let client = &fleet.client;
    let session = client.initialize("2025-11-25").await;
    let stream = |last: Option<String>| {
        let session = session.clone();
        async move {
            let mut headers = vec![("mcp-session-id", session.as_str())];
            headers.extend(last.as_deref().map(|id| ("last-event-id", id)));
            let stream = Stream::legacy(client, &headers).await;
            assert_eq!(stream.status, 200);
            stream
        }
    };
    let mut listening = stream(None).await;
    let mut subscribed = Stream::modern(client, json!({ "toolsListChanged": true })).await;
    let acknowledged = subscribed.message().await.expect("an answer");
    assert_eq!(
        acknowledged.method(),
        "notifications/subscriptions/acknowledged"
    );
    let tools = json!([one, FakeBackend::tool("two")]);
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
    let told = listening.message().await.expect("a change");
    assert_eq!(told.method(), "notifications/tools/list_changed");
    let also = subscribed.message().await.expect("a change");
    assert_eq!(also.method(), "notifications/tools/list_changed");
    // Whoever is asked now knows what was changed.
    for _ in 0..6 {
        let began = tokio::time::Instant::now();
        loop {
            let list = client.modern("tools/list", json!({})).await.tool_names();
            if list == ["docs_one", "docs_two"] {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{list:?}");
        }
    }
    // Who comes back, to whichever instance, is told what was missed, once.
    drop(listening);
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": [one] })));
    let mut again = stream(told.id.clone()).await;
    let missed = again.message().await.expect("what was missed");
    assert_eq!(missed.method(), "notifications/tools/list_changed");
}

#[tokio::test]
async fn tickets_are_one_book() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let fleet = FleetBuilder::new(3);
    let fleet = fleet.start(|gateway| gateway.issuer(&issuer).backend("docs", &backend.url()));
    let Some(fleet) = fleet.await else { return };
    let mut claims = issuer.claims();
    claims["scope"] = json!("mcp:test:use");
    let client = fleet.client.with_token(&key.token(&claims));
    let told = |reply: Reply| -> Value {
        let (text, failed) = reply.tool_text();
        assert!(!failed, "{text}");
        serde_json::from_str(&text).expect("JSON")
    };
    let wish = json!({ "whatIWanted": "export as PDF", "userIntent": "to finish", "severity": "inconvenient" });
    let reports = (0..9).map(|_| client.call("report_missing_capability", wish.clone()));
    let reports = futures_util::future::join_all(reports).await;
    let ids: BTreeSet<String> = { reports.into_iter() }
        .map(|reply| told(reply)["ticketId"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "one ticket, whoever was told: {ids:?}");
    for _ in 0..3 {
        let list = told(client.call("list_cortex_tickets", json!({})).await);
        assert_eq!(list["count"], 1, "{list}");
        assert_eq!(list["tickets"][0]["timesReported"], 9, "{list}");
    }
}

/// Three gateways, who gives out their tokens, and an MCP server with accounts of its own.
struct Linked {
    fleet: Fleet,
    issuer: Provider,
    notes: Provider,
}

impl Linked {
    async fn start() -> Option<Self> {
        let builder = FleetBuilder::new(3);
        let mcp = format!("{}/mcp", builder.base());
        let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &mcp).await;
        let notes = Provider::start().await;
        let fleet = builder.start(|gateway| {
            gateway
                .mcp_server("notes", &notes.mcp())
                .env("CORTEX_DEV_BYPASS_TOKEN", "")
                .env("CORTEX_TECHNICAL_TOKEN", "")
                .env("OAUTH_ISSUER", &issuer.url())
                .env("CORTEX_MCP_NOTES_CATALOG_SUB", "robot")
                .env("CORTEX_REFRESH_SECONDS", "1")
        });
        let fleet = fleet.await?;
        Some(Self {
            fleet,
            issuer,
            notes,
        })
    }

    fn client(&self, user: &str) -> Client {
        let token = self.issuer.token(user, "mcp:test:use");
        self.fleet.client.with_token(&token)
    }

    fn browser(&self, user: &str) -> Browser {
        Browser::new()
            .knows(&self.issuer.url(), user)
            .knows(&self.notes.url(), &format!("{user}-at-notes"))
    }

    async fn link(&self, user: &str) {
        let mut browser = self.browser(user);
        let page = browser
            .get(&format!("{}/connections/sign-in", self.fleet.base))
            .await;
        let start = page.attribute("href", "/api/link/notes/start");
        let linked = browser.get(&format!("{}{start}", self.fleet.base)).await;
        assert!(linked.text().contains("is linked"), "{}", linked.text());
    }
}

#[tokio::test]
async fn an_account_is_linked_across_instances_and_used_at_all_of_them() {
    let Some(linked) = Linked::start().await else {
        return;
    };
    linked.link("robot").await;
    let robot = linked.client("robot");
    let began = tokio::time::Instant::now();
    let mut listed = 0;
    while listed < 3 {
        let list = robot.modern("tools/list", json!({})).await.tool_names();
        let there = list.contains(&"notes_whose".to_owned());
        listed = if there { listed + 1 } else { 0 };
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            linked.fleet.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Each request of the flow, the browser's ones included, lands on another instance.
    let ada = linked.client("ada");
    let asked = modern(&ada, "notes_whose", json!({})).await;
    let url = asked_to_open(&asked);
    let page = linked.browser("ada").get(&url).await;
    assert!(page.text().contains("is linked"), "{}", page.text());
    let state = asked.result()["requestState"].clone();
    let again =
        json!({ "requestState": state, "inputResponses": { "link": { "action": "accept" } } });
    let done = modern(&ada, "notes_whose", again).await;
    assert_eq!(done.tool_text(), ("ada-at-notes".to_owned(), false));
    for _ in 0..6 {
        let reply = modern(&ada, "notes_whose", json!({})).await;
        assert_eq!(reply.tool_text(), ("ada-at-notes".to_owned(), false));
    }
}

/// Runs a script of `tests/peers`, which stands on a real MCP SDK, through the balancer.
async fn peer(name: &str, script: &str, era: &str) {
    let Some(interpreter) = peers::interpreter(name, script) else {
        return;
    };
    let (_backend, url) = peers::demo_backend(DEV_TOKEN).await;
    let fleet = FleetBuilder::new(3).start(|gateway| {
        gateway
            .backend("demo", &url)
            .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:demo:read mcp:demo:write")
    });
    let Some(mut fleet) = fleet.await else { return };
    let command = peers::against(interpreter, script, &fleet.base);
    peers::reports(command, era, || fleet.log()).await;
    // All three had a part in it.
    for number in 0..3 {
        fleet.gateway_mut(number).audit(1).await;
    }
}

#[tokio::test]
async fn python_sdk_1_does_not_notice() {
    peer("py1", "python_legacy.py", "2025-11-25").await;
}

#[tokio::test]
async fn python_sdk_2_does_not_notice() {
    peer("py2", "python_modern.py", "2026-07-28").await;
}

#[tokio::test]
async fn typescript_sdk_1_does_not_notice() {
    peer("node", "ts_legacy.mjs", "2025-11-25").await;
}

#[tokio::test]
async fn typescript_client_2_does_not_notice() {
    peer("node", "ts_modern.mjs", "2026-07-28").await;
}

/// The official suite, through three gateways: sessions, streams that resume, questions in the middle of a
/// call, progress, log messages, subscriptions, `requestState`, all with each request at another instance.
async fn conformant(revision: &str) {
    let Some(suite) = Suite::installed() else {
        assert!(std::env::var_os("CI").is_none(), "run tests/peers/setup.sh");
        eprintln!("SKIPPED: the conformance suite is not installed");
        return;
    };
    let fixture = FixtureServer::start().await;
    let key = Key::generate(Alg::Rs256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut claims = issuer.claims();
    claims["scope"] = json!("mcp:fixture:read");
    let token = key.token(&claims);
    let fleet = FleetBuilder::new(3).start(|gateway| {
        gateway
            .issuer(&issuer)
            .mcp_server("fixture", &fixture.url)
            .env("CORTEX_MCP_FIXTURE_NAMES", "verbatim")
            .env("CORTEX_MCP_FIXTURE_SCOPE", "mcp:fixture:read")
            .env("CORTEX_REFRESH_SECONDS", "1")
    });
    let Some(fleet) = fleet.await else { return };
    let target = Target {
        url: &format!("{}/mcp", fleet.base),
        token: Some(&token),
    };
    suite.check(revision, &target, "gateway.yml").await;
}

#[tokio::test]
async fn three_are_conformant_to_2025_11_25() {
    conformant("2025-11-25").await;
}

#[tokio::test]
async fn three_are_conformant_to_2026_07_28() {
    conformant("2026-07-28").await;
}
