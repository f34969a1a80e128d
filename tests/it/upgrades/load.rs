//! A steady load of clients of all kinds, and what became of each request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cortex_tests::Client;
use cortex_tests::balancer::SERVED_BY;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::lists::{self, Growing};

/// How long a client waits after an answer. It does not ask as fast as it could: what is looked for is what gets
/// lost.
const PAUSE: Duration = Duration::from_millis(150);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A call, by a modern client.
    Call,
    /// A call in a session that began before anything happened.
    InSession,
    /// The list of tools.
    List,
    /// A ticket, repeated until it is acknowledged.
    Report,
    /// A call with the caller's own account, whose token is renewed all the time.
    Account,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [
        Self::Call,
        Self::InSession,
        Self::List,
        Self::Report,
        Self::Account,
    ];
}

/// What became of a request.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "what was said is shown when a test fails")]
pub(super) enum Outcome {
    /// What it should be.
    Good,
    /// The balancer found nobody, or lost whom it had found: what it answers itself.
    Balancer(u16),
    /// A gateway said that it cannot now.
    Refused(String),
    /// A gateway answered something wrong.
    Wrong(String),
    /// No answer, or none while the client had patience.
    Broken(String),
}

/// Something that may be felt, for so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// At which instance; `None`: at all of them.
    pub(super) at: Option<usize>,
}

impl Trouble {
    /// From then on, until now.
    pub(super) fn since(from: Instant, at: Option<usize>) -> Self {
        let to = Instant::now();
        Self { from, to, at }
    }

    /// The same, felt for a while afterwards.
    pub(super) fn longer(self, by: Duration) -> Self {
        Self {
            to: self.to + by,
            ..self
        }
    }

    /// Whether it is at the instance of this name.
    pub(super) fn is_at(&self, name: &str) -> bool {
        self.at.is_none_or(|at| name == gateway(at))
    }

    /// Whether a request was under way meanwhile.
    pub(super) fn met(&self, done: &Done) -> bool {
        done.began <= self.to && done.ended >= self.from
    }
}

/// What the balancer calls an instance.
pub(super) fn gateway(number: usize) -> String {
    format!("gateway-{number}")
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) kind: Kind,
    /// Number of the client.
    pub(super) client: usize,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// The instance that answered; empty when none did.
    pub(super) by: String,
    pub(super) outcome: Outcome,
    /// The newest numbered tool of a list.
    pub(super) newest: Option<usize>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    done: Mutex<Vec<Done>>,
    /// Wishes that were acknowledged, with their tickets.
    tickets: Mutex<BTreeMap<String, Vec<String>>>,
    /// Texts of calls that were answered.
    called: Mutex<Vec<String>>,
}

/// The load, until it is stopped.
pub(super) struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    growing: Growing,
}

/// What there was.
pub(super) struct Report {
    pub(super) done: Vec<Done>,
    pub(super) tickets: BTreeMap<String, Vec<String>>,
    pub(super) called: Vec<String>,
    /// When each of the numbered tools came.
    pub(super) came: Vec<Instant>,
}

impl Load {
    /// Starts it: for each of these clients, requests of all kinds, of each kind one at a time, so that one that has
    /// to wait holds up no other. A client gives up after a while, and the backend of the lists grows.
    pub(super) async fn start(clients: Vec<Client>, patience: Duration, growing: Growing) -> Self {
        let shared = Arc::new(Shared::default());
        let mut workers = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            let session = client.initialize("2025-11-25").await;
            let worker = Arc::new(Worker {
                number,
                client,
                session,
                patience,
                shared: Arc::clone(&shared),
            });
            for kind in Kind::ALL {
                workers.push(tokio::spawn(Arc::clone(&worker).work(kind)));
            }
        }
        Self {
            shared,
            workers,
            growing,
        }
    }

    /// Waits until this many requests more of each kind were answered well.
    pub(super) async fn goes_on(&self, more: usize) {
        self.goes_on_with(more, &Kind::ALL, None).await;
    }

    /// Waits until this many requests more of each of these kinds were answered well, by this instance if one is
    /// named.
    pub(super) async fn goes_on_with(&self, more: usize, kinds: &[Kind], by: Option<usize>) {
        let by = by.map(gateway);
        let good = || {
            let done = lock(&self.shared.done);
            let mut of: BTreeMap<Kind, usize> = BTreeMap::new();
            let by_it = |done: &&Done| by.as_ref().is_none_or(|by| done.by == *by);
            for done in done.iter().filter(by_it) {
                if matches!(done.outcome, Outcome::Good) {
                    *of.entry(done.kind).or_default() += 1;
                }
            }
            of
        };
        let before = good();
        let began = Instant::now();
        loop {
            let now = good();
            let of = |found: &BTreeMap<Kind, usize>, kind| found.get(kind).copied().unwrap_or(0);
            if kinds
                .iter()
                .all(|kind| of(&now, kind) >= of(&before, kind) + more)
            {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(120),
                "it does not go on: {before:?}, then {now:?}; last: {:#?}",
                lock(&self.shared.done)
                    .iter()
                    .rev()
                    .take(12)
                    .collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every list must have the newest tool, and there comes no other. Returns its number.
    pub(super) async fn grows_no_more(&self, troubles: &[Trouble]) -> usize {
        self.growing.ends(troubles).await
    }

    /// Ends it, with every request that was begun.
    pub(super) async fn stop(self) -> Report {
        self.shared.over.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.expect("a worker ends");
        }
        let take = |done: &Mutex<Vec<Done>>| std::mem::take(&mut *lock(done));
        Report {
            done: take(&self.shared.done),
            tickets: std::mem::take(&mut *lock(&self.shared.tickets)),
            called: std::mem::take(&mut *lock(&self.shared.called)),
            came: self.growing.came(),
        }
    }
}

struct Worker {
    number: usize,
    client: Client,
    session: String,
    patience: Duration,
    shared: Arc<Shared>,
}

impl Worker {
    async fn work(self: Arc<Self>, kind: Kind) {
        let mut n = 0;
        while !self.shared.over.load(Ordering::Relaxed) {
            n += 1;
            let text = format!("{}-{n}", self.number);
            match kind {
                Kind::Call => self.call(&format!("m-{text}")).await,
                Kind::InSession => self.in_session(&format!("s-{text}")).await,
                Kind::List => self.list().await,
                // A few wishes, again and again: there may be 50 a day, and each has one ticket.
                Kind::Report => self.report(&format!("{}-{}", self.number, n % 30)).await,
                Kind::Account => self.account().await,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn call(&self, text: &str) {
        let params = json!({ "name": "docs_echo", "arguments": { "text": text } });
        let answer = self.modern(Kind::Call, "tools/call", params, &|result| {
            result["isError"] == json!(false)
        });
        if answer.await.is_some() {
            lock(&self.shared.called).push(text.to_owned());
        }
    }

    async fn in_session(&self, text: &str) {
        let params = json!({ "name": "docs_echo", "arguments": { "text": text } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let headers = [
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-session-id", self.session.as_str()),
        ];
        let good = |result: &Value| result["isError"] == json!(false);
        if self
            .send(Kind::InSession, &body, &headers, &good)
            .await
            .is_some()
        {
            lock(&self.shared.called).push(text.to_owned());
        }
    }

    async fn list(&self) {
        self.modern(Kind::List, "tools/list", json!({}), &lists::is_whole)
            .await;
    }

    async fn account(&self) {
        let params = json!({ "name": "notes_whose", "arguments": { "n": 1 } });
        let good = |result: &Value| {
            let text = result["content"][0]["text"].as_str().unwrap_or_default();
            result["isError"] == json!(false) && text.ends_with("-at-notes")
        };
        self.modern(Kind::Account, "tools/call", params, &good)
            .await;
    }

    /// Reports until it is acknowledged, as an agent would.
    async fn report(&self, wanted: &str) {
        let arguments =
            json!({ "whatIWanted": wanted, "userIntent": "to finish", "severity": "inconvenient" });
        let params = json!({ "name": "report_missing_capability", "arguments": arguments });
        let good = |result: &Value| result["structuredContent"]["ticketId"].is_string();
        while !self.shared.over.load(Ordering::Relaxed) {
            let answer = self
                .modern(Kind::Report, "tools/call", params.clone(), &good)
                .await;
            if let Some(result) = answer {
                let id = result["structuredContent"]["ticketId"].to_string();
                let mut tickets = lock(&self.shared.tickets);
                tickets.entry(wanted.to_owned()).or_default().push(id);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn modern(
        &self,
        kind: Kind,
        method: &str,
        mut params: Value,
        good: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Option<Value> {
        params["_meta"] = cortex_tests::client::modern_meta();
        let name = params["name"].as_str().map(str::to_owned);
        let body = json!({ "jsonrpc": "2.0", "id": "m-1", "method": method, "params": params });
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        self.send(kind, &body, &headers, good).await
    }

    /// Sends it once, and remembers what became of it. The result, if it is what it should be.
    async fn send(
        &self,
        kind: Kind,
        body: &Value,
        headers: &[(&str, &str)],
        good: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Option<Value> {
        let mut all = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        all.extend_from_slice(headers);
        let began = Instant::now();
        let exchange = self.exchange(&all, body.to_string());
        let answered = tokio::time::timeout(self.patience, exchange).await;
        let given_up = || anyhow::anyhow!("no answer within {:?}", self.patience);
        let answered = answered.unwrap_or_else(|_| Err(given_up()));
        let (by, outcome, result) = match answered {
            Err(error) => (String::new(), Outcome::Broken(format!("{error:#}")), None),
            Ok((status, by, text)) => {
                let json: Option<Value> = serde_json::from_str(&text).ok();
                match json {
                    Some(json) if status == 200 && good(&json["result"]) => {
                        (by, Outcome::Good, Some(json["result"].clone()))
                    }
                    // What could not be done now, and may be tried again.
                    Some(json) if status == 503 || json["result"]["isError"] == json!(true) => {
                        (by, Outcome::Refused(text), None)
                    }
                    None if matches!(status, 502..=504) => (by, Outcome::Balancer(status), None),
                    _ => (by, Outcome::Wrong(format!("{status} {text}")), None),
                }
            }
        };
        let list = result.as_ref().filter(|_| kind == Kind::List);
        lock(&self.shared.done).push(Done {
            kind,
            client: self.number,
            began,
            ended: Instant::now(),
            by,
            outcome,
            newest: list.and_then(lists::newest),
        });
        result
    }

    async fn exchange(
        &self,
        headers: &[(&str, &str)],
        body: String,
    ) -> anyhow::Result<(u16, String, String)> {
        use http_body_util::BodyExt as _;
        let response = self.client.open(Method::POST, headers, body).await?;
        let by = response.headers().get(SERVED_BY);
        let by = by.and_then(|by| by.to_str().ok()).unwrap_or_default();
        let (by, status) = (by.to_owned(), response.status().as_u16());
        let bytes = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // An answer that became a stream: its last message is the answer.
        let text = match text.rsplit_once("data:") {
            Some((_, last)) => last.trim().to_owned(),
            None => text,
        };
        Ok((status, by, text))
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
