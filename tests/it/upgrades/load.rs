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
    const ALL: [Self; 5] = [
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
    /// No answer.
    Broken(String),
}

/// One request.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "who answered is shown when a test fails")]
pub(super) struct Done {
    pub(super) kind: Kind,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) by: String,
    pub(super) outcome: Outcome,
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
}

/// What there was.
pub(super) struct Report {
    pub(super) done: Vec<Done>,
    pub(super) tickets: BTreeMap<String, Vec<String>>,
    pub(super) called: Vec<String>,
}

impl Load {
    /// Starts it: for each of these clients, requests of all kinds, one at a time.
    pub(super) async fn start(clients: Vec<Client>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut workers = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            let session = client.initialize("2025-11-25").await;
            let worker = Worker {
                number,
                client,
                session,
                shared: Arc::clone(&shared),
            };
            workers.push(tokio::spawn(worker.work()));
        }
        Self { shared, workers }
    }

    /// Waits until this many requests more of each kind were answered well.
    pub(super) async fn goes_on(&self, more: usize) {
        self.goes_on_with(more, &Kind::ALL).await;
    }

    /// Waits until this many requests more of each of these kinds were answered well.
    pub(super) async fn goes_on_with(&self, more: usize, kinds: &[Kind]) {
        let good = || {
            let done = lock(&self.shared.done);
            let mut of: BTreeMap<Kind, usize> = BTreeMap::new();
            for done in done
                .iter()
                .filter(|done| matches!(done.outcome, Outcome::Good))
            {
                *of.entry(done.kind).or_default() += 1;
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
        }
    }
}

struct Worker {
    number: usize,
    client: Client,
    session: String,
    shared: Arc<Shared>,
}

impl Worker {
    async fn work(self) {
        let mut n = 0;
        while !self.shared.over.load(Ordering::Relaxed) {
            n += 1;
            let text = format!("{}-{n}", self.number);
            self.call(&format!("m-{text}")).await;
            self.in_session(&format!("s-{text}")).await;
            self.list().await;
            self.account().await;
            // A few wishes, again and again: there may be 50 a day, and each has one ticket.
            self.report(&format!("{}-{}", self.number, n % 30)).await;
            // Not as fast as possible: what is looked for is what gets lost.
            tokio::time::sleep(Duration::from_millis(20)).await;
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
        let good = |result: &Value| {
            let tools = result["tools"].as_array();
            tools.is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "docs_echo"))
        };
        self.modern(Kind::List, "tools/list", json!({}), &good)
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
        let (by, outcome, result) = match self.exchange(&all, body.to_string()).await {
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
        lock(&self.shared.done).push(Done {
            kind,
            began,
            ended: Instant::now(),
            by,
            outcome,
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

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
