//! The fleet of these tests and everybody around it, and what must be true of them at the end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, Key};
use cortex_tests::{
    Browser, Client, FakeBackend, Fleet, FleetBuilder, GatewayBuilder, Plan, Provider, component,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lists::{self, Growing};
use super::load::{Load, Report, Trouble};

/// How many clients there are.
pub(super) const CLIENTS: usize = 4;
/// Requests of each kind that must go well before and after something happens.
pub(super) const SOME: usize = 12;
/// Longest that anything is waited for. Only reached when a test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long after the death of a gateway that renews a token another one may, which is 60 s, and finds out that it may
/// (docs/operators.md, linked accounts). For the others one that is cut off is as good as dead.
pub(super) const RENEWED_AGAIN: Duration = Duration::from_secs(65);

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
pub(super) struct Stand {
    pub(super) fleet: Fleet,
    backend: FakeBackend,
    pub(super) issuer: Provider,
    notes: Provider,
}

impl Stand {
    /// Starts all of it, in the old version.
    pub(super) async fn start(apart: bool) -> Option<Self> {
        let builder = FleetBuilder::new(3);
        let mcp = format!("{}/mcp", builder.base());
        let backend = FakeBackend::start(lists::tools(0)).await;
        backend.plan("echo", Plan::Json(200, json!({ "result": "done" })));
        let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &mcp).await;
        let notes = Provider::start().await;
        notes.manners(|manners| {
            // Renewed all the time.
            manners.life = 2;
            // An account whose token is presented twice has ended.
            manners.strict = true;
        });
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
                .env(
                    "CORTEX_REFRESH_SECONDS",
                    &lists::REFRESH.as_secs().to_string(),
                )
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
        stand.everywhere(&lists::name(0)).await;
        Some(stand)
    }

    /// The provider takes an old refresh token until a newer one was used. Where a gateway may die in the middle of
    /// a renewal the next one presents the same token again, and a strict provider would end the account.
    pub(super) fn forgives(&self) {
        self.notes.manners(|manners| manners.strict = false);
    }

    fn client(&self, user: &str) -> Client {
        let token = self.issuer.token(user, "mcp:test:use");
        self.fleet.client.with_token(&token)
    }

    /// The load of everybody. Each gateway has seen each of them: it needs the store for nobody whom it knows.
    pub(super) async fn load(&self, patience: Duration) -> Load {
        for number in 0..CLIENTS {
            let token = self.issuer.token(&user(number), "mcp:test:use");
            for gateway in self.fleet.running() {
                let client = gateway.client.with_token(&token);
                client.modern("tools/list", json!({})).await.result();
            }
        }
        let clients = (0..CLIENTS).map(|number| self.client(&user(number)));
        let growing = Growing::start(self.backend.offering());
        let load = Load::start(clients.collect(), patience, growing).await;
        load.goes_on(SOME).await;
        load
    }

    /// Ends it when every list must have everything that the backend offers, and asserts that they do, and did;
    /// `troubles`: while these last they may lack what came meanwhile.
    pub(super) async fn ends(&self, load: Load, troubles: &[Trouble]) -> Report {
        let mut troubles = troubles.to_vec();
        troubles.sort_by_key(|trouble| trouble.from);
        let last = load.grows_no_more(&troubles).await;
        self.everywhere(&lists::name(last)).await;
        load.goes_on(SOME).await;
        let report = load.stop().await;
        lists::are_fresh(&report, &troubles);
        report
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

    /// What must be true at the end, whatever happened: each answered call was made once, none twice; each
    /// acknowledged ticket is there once; every account is still linked, and no refresh token was presented twice.
    ///
    /// Where the others lost sight of gateways, what one of them was renewing then is renewed by another one when that
    /// one counts as dead; so many tokens may have been presented once more.
    pub(super) async fn nothing_is_lost(&self, report: &Report, lost: &[Trouble], again: usize) {
        self.calls_and_tickets_are_there(report).await;
        let until = lost.iter().map(|lost| lost.from + RENEWED_AGAIN).max();
        let until = until.unwrap_or_else(Instant::now);
        for number in 0..CLIENTS {
            let user = user(number);
            let client = self.client(&user);
            loop {
                let reply = crate::linking::modern(&client, "notes_whose", json!({})).await;
                let told = reply.tool_text();
                if told == (format!("{user}-at-notes"), false) {
                    break;
                }
                assert!(Instant::now() < until, "{told:?}\n{}", self.fleet.log());
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        let presented = self.notes.presented();
        assert!(!presented.is_empty(), "nothing was renewed");
        let more: usize = presented.values().map(|times| times - 1).sum();
        assert!(more <= again, "{more} presented again, of {again} at most");
    }

    async fn calls_and_tickets_are_there(&self, report: &Report) {
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
    }

    /// Waits until an instance has logged each of these once more than so often.
    pub(super) async fn says_so(&self, number: usize, lines: &[&str; 2], before: [usize; 2]) {
        let log = || self.fleet.gateway(number).log();
        let said = |line: &str| log().matches(line).count();
        let all_said = || {
            lines
                .iter()
                .zip(before)
                .all(|(line, times)| said(line) > times)
        };
        eventually(all_said, log).await;
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
    pub(super) fn newer(builder: GatewayBuilder) -> GatewayBuilder {
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
