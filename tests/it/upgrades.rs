//! Three gateways under steady load while one after the other is upgraded, one is killed, the engines behind them
//! restart or forget everything, and the network between them breaks: what was accepted is neither lost nor
//! done twice.
//!
//! Two versions run side by side. By default they are this gateway with another version of a plugin;
//! `CORTEX_TESTS_OLD_GATEWAY` names the program of an older gateway that shares a store. `CORTEX_TESTS_ROUNDS`
//! (1 by default) says how often each thing happens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cortex_tests::issuer::{Alg, Key};
use cortex_tests::{
    Browser, Client, FakeBackend, Fleet, FleetBuilder, GatewayBuilder, Plan, Provider, component,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::load::{Done, Kind, Load, Outcome, Report};

mod load;

/// How many clients there are.
const CLIENTS: usize = 4;
/// Requests of each kind that must go well before and after something happens.
const SOME: usize = 12;
/// Longest that something which happens may be felt, from its end. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn rounds() -> usize {
    let rounds = std::env::var("CORTEX_TESTS_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// The gateway of the version before, if there is one.
fn old_program() -> Option<PathBuf> {
    std::env::var_os("CORTEX_TESTS_OLD_GATEWAY").map(PathBuf::from)
}

/// A component that does the same and is another: with one more custom section.
fn another_version(name: &str, mark: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(component(name)).expect("a component");
    let name = "version-of-the-tests";
    let payload = [&[name.len() as u8], name.as_bytes(), mark.as_bytes()].concat();
    bytes.extend([0, payload.len() as u8]);
    bytes.extend(payload);
    bytes
}

/// The fleet, and everybody around it.
struct Stand {
    fleet: Fleet,
    backend: FakeBackend,
    issuer: Provider,
    notes: Provider,
}

impl Stand {
    /// Starts all of it, in the old version.
    async fn start(apart: bool) -> Option<Self> {
        Self::with(apart, |builder| builder).await
    }

    async fn with(apart: bool, change: impl Fn(FleetBuilder) -> FleetBuilder) -> Option<Self> {
        let builder = change(FleetBuilder::new(3));
        let mcp = format!("{}/mcp", builder.base());
        let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
        backend.plan("echo", Plan::Json(200, json!({ "result": "done" })));
        let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &mcp).await;
        let notes = Provider::start().await;
        // Renewed all the time.
        notes.manners(|manners| manners.life = 2);
        let builder = match apart {
            true => {
                let ports = [&backend.url(), &issuer.url(), &notes.url()].map(|at| port(at));
                builder.apart(&ports)
            }
            false => builder,
        };
        let fleet = builder.start(|gateway| {
            gateway
                .program(old_program())
                .plugin_file("backend-http.wasm", &another_version("backend-http", "old"))
                .backend("docs", &backend.url())
                .mcp_server("notes", &notes.mcp())
                .env("CORTEX_DEV_BYPASS_TOKEN", "")
                .env("OAUTH_ISSUER", &issuer.url())
                .env("CORTEX_MCP_NOTES_CATALOG_SUB", "robot")
                .env("CORTEX_REFRESH_SECONDS", "1")
        });
        let stand = Self {
            fleet: fleet.await?,
            backend,
            issuer,
            notes,
        };
        stand.link("robot").await;
        for number in 0..CLIENTS {
            stand.link(&user(number)).await;
        }
        stand.everywhere("notes_whose").await;
        Some(stand)
    }

    fn client(&self, user: &str) -> Client {
        let token = self.issuer.token(user, "mcp:test:use");
        self.fleet.client.with_token(&token)
    }

    /// The load of everybody.
    async fn load(&self) -> Load {
        let clients = (0..CLIENTS).map(|number| self.client(&user(number)));
        let load = Load::start(clients.collect()).await;
        load.goes_on(SOME).await;
        load
    }

    async fn link(&self, user: &str) {
        let mut browser = Browser::new()
            .knows(&self.issuer.url(), user)
            .knows(&self.notes.url(), &format!("{user}-at-notes"));
        let signed_in = browser
            .get(&format!("{}/connections/sign-in", self.fleet.base))
            .await;
        let start = signed_in.attribute("href", "/api/link/notes/start");
        let linked = browser.get(&format!("{}{start}", self.fleet.base)).await;
        assert!(linked.text().contains("is linked"), "{}", linked.text());
    }

    /// Waits until each instance lists a tool.
    async fn everywhere(&self, tool: &str) {
        let began = Instant::now();
        for gateway in self.fleet.running() {
            let token = self.issuer.token("robot", "mcp:test:use");
            let client = gateway.client.with_token(&token);
            loop {
                let list = client.modern("tools/list", json!({})).await;
                if list.tool_names().contains(&tool.to_owned()) {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{tool}: {}", self.fleet.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Offers one more tool, and waits until all know it.
    async fn hears_of(&self, tool: &str) {
        let tools = json!([FakeBackend::tool("echo"), FakeBackend::tool(tool)]);
        self.backend
            .plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
        self.everywhere(&format!("docs_{tool}")).await;
    }

    /// What must be true at the end, whatever happened: each answered call was made once, none twice; each
    /// acknowledged ticket is there once; every account is still linked, and no refresh token was used twice.
    async fn nothing_is_lost(&self, report: &Report) {
        let mut made: BTreeMap<String, usize> = BTreeMap::new();
        for call in self.backend.seen("echo") {
            let body: Value = serde_json::from_str(&call.body).expect("JSON");
            let text = find_text(&body).unwrap_or_else(|| panic!("no text: {body}"));
            *made.entry(text).or_default() += 1;
        }
        for text in &report.called {
            assert_eq!(made.get(text), Some(&1), "an answered call: {text}");
        }
        let twice: Vec<_> = made.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "made twice: {twice:?}");

        let tickets = self.tickets().await;
        for (wish, ids) in &report.tickets {
            let kept = tickets.get(wish).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(kept.len(), 1, "{wish}: {kept:?}");
            assert!(ids.iter().all(|id| *id == kept[0]), "{wish}: {ids:?}");
        }
        for (wish, ids) in &tickets {
            assert_eq!(ids.len(), 1, "{wish} is there more than once");
        }
        for number in 0..CLIENTS {
            let user = user(number);
            let client = self.client(&user);
            let reply = crate::linking::modern(&client, "notes_whose", json!({})).await;
            assert_eq!(reply.tool_text(), (format!("{user}-at-notes"), false));
        }
    }

    /// Every ticket: wish to ids.
    async fn tickets(&self) -> BTreeMap<String, Vec<String>> {
        let output = self.fleet.gateway(0).operate(&["tickets", "export"]).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let ticket = line["ticket"].take();
            let wish = ticket["whatIWanted"].as_str().expect("a wish").to_owned();
            let id = ticket["ticketId"].to_string();
            found.entry(wish).or_default().push(id);
        }
        found
    }

    /// The version that comes after.
    fn newer(builder: GatewayBuilder) -> GatewayBuilder {
        builder
            .program(None)
            .plugin_file("backend-http.wasm", &another_version("backend-http", "new"))
    }
}

fn user(number: usize) -> String {
    format!("user{number}")
}

fn port(url: &str) -> u16 {
    let url = url::Url::parse(url).expect("a URL");
    url.port().expect("a port")
}

/// The argument `text`, wherever the contract has it.
fn find_text(value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => match members.get("text") {
            Some(Value::String(text)) => Some(text.clone()),
            _ => members.values().find_map(find_text),
        },
        Value::Array(entries) => entries.iter().find_map(find_text),
        _ => None,
    }
}

/// Requests that did not go well.
fn bad(report: &Report) -> Vec<&Done> {
    let bad = report.done.iter();
    bad.filter(|done| !matches!(done.outcome, Outcome::Good))
        .collect()
}

#[tokio::test]
async fn an_upgrade_is_not_noticed() {
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load().await;
    for _ in 0..rounds() {
        for number in 0..3 {
            stand.fleet.stop(number).await;
            load.goes_on(SOME).await;
            stand.fleet.start(number, Stand::newer).await;
            // Old and new side by side.
            load.goes_on(SOME).await;
        }
    }
    stand.hears_of("after").await;
    let report = load.stop().await;
    let bad = bad(&report);
    assert!(bad.is_empty(), "{bad:#?}\n{}", stand.fleet.log());
    stand.nothing_is_lost(&report).await;
}

#[tokio::test]
async fn a_killed_instance_takes_nothing_with_it_but_the_requests_it_had() {
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load().await;
    let mut windows = Vec::new();
    for round in 0..rounds() {
        let killed = round % 3;
        let others: Vec<usize> = (0..3).filter(|other| *other != killed).collect();
        let from = Instant::now();
        stand.fleet.kill(killed).await;
        stand.fleet.balancer.sees(&others).await;
        windows.push((from, Instant::now(), format!("gateway-{killed}")));
        load.goes_on(SOME).await;
        stand.fleet.start(killed, |builder| builder).await;
        load.goes_on(SOME).await;
    }
    stand.hears_of("after").await;
    let report = load.stop().await;
    for done in bad(&report) {
        let of = windows
            .iter()
            .find(|(from, to, _)| done.began <= *to && done.ended >= *from);
        match &done.outcome {
            // The balancer did not know yet.
            Outcome::Balancer(_) | Outcome::Broken(_) if of.is_some() => {}
            // A renewal that the dead one had begun is waited for.
            Outcome::Refused(_) if done.kind == Kind::Account => {}
            _ => panic!("{done:#?}\n{}", stand.fleet.log()),
        }
    }
    stand.nothing_is_lost(&report).await;
}

#[tokio::test]
async fn a_restart_of_the_store_costs_nothing_that_was_acknowledged() {
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load().await;
    for _ in 0..rounds() {
        stand.fleet.postgres.stop();
        tokio::time::sleep(Duration::from_millis(500)).await;
        stand.fleet.postgres.run();
        load.goes_on(SOME).await;
    }
    stand.hears_of("after").await;
    let report = load.stop().await;
    for done in bad(&report) {
        match &done.outcome {
            // What is kept in the store cannot be had while it is away.
            Outcome::Refused(_) if matches!(done.kind, Kind::Report | Kind::Account) => {}
            _ => panic!("{done:#?}\n{}", stand.fleet.log()),
        }
    }
    stand.nothing_is_lost(&report).await;
}

#[tokio::test]
async fn a_redis_that_forgets_or_restarts_is_not_noticed() {
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load().await;
    for round in 0..rounds() {
        let redis = stand.fleet.redis.as_mut().expect("a Redis");
        redis.command(&["FLUSHALL"]);
        load.goes_on(SOME).await;
        redis.stop();
        // Nobody renews a token that somebody else may be renewing.
        let all_but_accounts = [Kind::Call, Kind::InSession, Kind::List, Kind::Report];
        load.goes_on_with(SOME, &all_but_accounts).await;
        let redis = stand.fleet.redis.as_mut().expect("a Redis");
        redis.run();
        load.goes_on(SOME).await;
        stand.hears_of(&format!("after{round}")).await;
    }
    let report = load.stop().await;
    for done in bad(&report) {
        match &done.outcome {
            // Who renews cannot be agreed upon while Redis is away.
            Outcome::Refused(_) if done.kind == Kind::Account => {}
            _ => panic!("{done:#?}\n{}", stand.fleet.log()),
        }
    }
    stand.nothing_is_lost(&report).await;
}

#[tokio::test]
async fn an_instance_that_is_cut_off_and_comes_back_is_one_of_them_again() {
    let Some(stand) = Stand::start(true).await else {
        return;
    };
    let network = stand.fleet.network.as_ref().expect("a network");
    let load = stand.load().await;
    let mut windows = Vec::new();
    for round in 0..rounds() {
        let cut = round % 3;
        let others: Vec<usize> = (0..3).filter(|other| *other != cut).collect();
        let from = Instant::now();
        network.cut(cut);
        stand.fleet.balancer.sees(&others).await;
        windows.push((from, Instant::now()));
        load.goes_on(SOME).await;
        network.mend(cut);
        stand.fleet.balancer.sees(&[0, 1, 2]).await;
        load.goes_on(SOME).await;
    }
    stand.hears_of("after").await;
    let report = load.stop().await;
    for done in bad(&report) {
        let during = windows
            .iter()
            .any(|(from, to)| done.began <= *to && done.ended >= *from);
        match &done.outcome {
            Outcome::Balancer(_) | Outcome::Broken(_) if during => {}
            Outcome::Refused(_) if matches!(done.kind, Kind::Report | Kind::Account) => {}
            _ => panic!("{done:#?}\n{}", stand.fleet.log()),
        }
    }
    stand.nothing_is_lost(&report).await;
}
