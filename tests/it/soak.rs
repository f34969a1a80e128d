//! A gateway that is used for a long time while everything around it changes: no call is lost, and nothing
//! grows.
//!
//! Twenty seconds unless `CORTEX_SOAK_SECONDS` says otherwise; `cargo xtask soak --minutes 60` is the long
//! one. `CORTEX_SOAK_PLANT` plants what must be found: `lost` (a backend that is down when it should not
//! be), `leak` (streams that are opened and never closed).

mod judge;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cortex_tests::{Client, FakeBackend, Plan, Stream, component};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::linking::Stand;
use judge::{Sample, Table, growth};

/// Unless told otherwise.
const SECONDS: u64 = 20;
/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(5);
/// For how many calls a caller uses one token.
const CALLS_OF_A_TOKEN: u64 = 200;
/// Callers of each tool.
const CALLERS: usize = 2;
/// Samples of a whole run at most.
const SAMPLES: u64 = 720;
/// Kinds of lost calls that are told apart.
const TOLD: usize = 20;

/// What callers have seen, together.
#[derive(Default)]
struct Seen {
    going: AtomicBool,
    calls: AtomicU64,
    lost: AtomicU64,
    /// How often the backend that comes and goes was there, and how often not.
    there: AtomicU64,
    away: AtomicU64,
    /// What became of lost calls, and of how many.
    words: Mutex<BTreeMap<String, u64>>,
}

impl Seen {
    fn lost(&self, what: &str) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() < TOLD || words.contains_key(what) {
            *words.entry(what.to_owned()).or_default() += 1;
        }
    }

    fn is_going(&self) -> bool {
        self.going.load(Ordering::Relaxed)
    }
}

/// The three tools that are called, and what they are to answer.
const TOOLS: [(&str, &str); 3] = [
    ("steady_act", "fine"),
    ("flaps_act", "fine"),
    ("notes_whose", "ada-at-notes"),
];

fn planted(what: &str) -> bool {
    std::env::var("CORTEX_SOAK_PLANT").is_ok_and(|planted| planted == what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_and_change_nothing_is_lost_and_nothing_grows() {
    let seconds = std::env::var("CORTEX_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let steady = backend("127.0.0.1:0").await;
    let flaps = backend("127.0.0.1:0").await;
    let stand = Stand::with(|builder| {
        builder
            .backend("steady", &steady.url())
            .backend("flaps", &flaps.url())
            .env("CORTEX_TECHNICAL_TOKEN", "technical-token-of-the-soak")
            .env("CORTEX_REFRESH_SECONDS", "1")
            .env("CORTEX_ADMIN_SECRET", ADMIN_SECRET)
    })
    .await;
    stand.link("ada").await;
    wait_for_tools(&stand).await;
    // From here on records are counted.
    let mut records = Records::default();
    settle(&stand, &mut records).await;
    records.calls = 0;

    let seen = Arc::new(Seen::default());
    seen.going.store(true, Ordering::Relaxed);
    let callers: Vec<_> = (0..CALLERS * TOOLS.len())
        .map(|n| {
            tokio::spawn(call(
                clients(&stand),
                TOOLS[n % TOOLS.len()],
                Arc::clone(&seen),
            ))
        })
        .collect();
    let (samples, steady, flaps) = live(&stand, &seen, length, &mut records, steady, flaps).await;
    seen.going.store(false, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("a caller ends");
    }
    drop((steady, flaps));

    let calls = seen.calls.load(Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(60);
    while records.calls < calls && Instant::now() < deadline {
        records.take(&stand);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{}", Table(&samples, 30));
    let (there, away) = (
        seen.there.load(Ordering::Relaxed),
        seen.away.load(Ordering::Relaxed),
    );
    let renewals = records.renewals;
    println!(
        "{calls} calls, {} lost, {} records; a backend was there {there} times and away {away} times; \
         {renewals} tokens renewed; {} swaps",
        seen.lost.load(Ordering::Relaxed),
        records.calls,
        stand.gateway.log().matches("swapped ").count(),
    );
    let words = seen.words.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        words.is_empty(),
        "lost calls: {words:#?}\n{}",
        warnings(&stand)
    );
    assert_eq!(records.calls, calls, "records of calls");
    assert!(
        there > 0 && away > 0 && renewals > 0,
        "nothing has happened"
    );
    let grown = growth(&samples);
    assert!(grown.is_empty(), "{grown:#?}\n{}", Table(&samples, 60));
}

/// The last warnings and errors of the gateway's log, and what it says of accounts.
fn warnings(stand: &Stand) -> String {
    let log = stand.gateway.log();
    let told = ["WARN", "ERROR", "account"];
    let lines = log.lines().rev();
    let lines = lines.filter(|line| told.iter().any(|word| line.contains(word)));
    lines.take(50).collect::<Vec<_>>().join("\n")
}

const ADMIN_SECRET: &str = "admin-secret-of-the-soak-0123456789";

async fn backend(address: &str) -> FakeBackend {
    let address = address.parse().expect("an address");
    let backend = FakeBackend::start_at(address, json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    backend
}

/// Somebody's client, with a new token each time it is asked for.
fn clients(stand: &Stand) -> impl Fn() -> Client + Send + use<> {
    let (issuer, client) = (
        stand.issuer.tokens_for("ada", "mcp:test:use"),
        stand.gateway.client.clone(),
    );
    move || client.with_token(&issuer())
}

/// Calls one tool until it is told to stop.
async fn call(client: impl Fn() -> Client, (tool, expected): (&str, &str), seen: Arc<Seen>) {
    let mut now = client();
    let mut made = 0;
    while seen.is_going() {
        made += 1;
        if made % CALLS_OF_A_TOKEN == 0 {
            now = client();
        }
        let answer = once(&now, tool).await;
        seen.calls.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok((text, false)) if text == expected => {
                let is_there = u64::from(tool == "flaps_act");
                seen.there.fetch_add(is_there, Ordering::Relaxed);
            }
            // It is away, and its caller is told so.
            Ok((_, true)) if tool == "flaps_act" => {
                seen.away.fetch_add(1, Ordering::Relaxed);
            }
            Ok((text, failed)) => seen.lost(&format!("{tool}: {text}, failed: {failed}")),
            Err(why) => seen.lost(&format!("{tool}: {why}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One call: the text of its result, and whether that is an error.
async fn once(client: &Client, tool: &str) -> Result<(String, bool), String> {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                       "params": { "name": tool, "arguments": {} } });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let answer = client.open(Method::POST, &headers, body.to_string()).await;
    let (head, body) = answer.map_err(|error| format!("{error:#}"))?.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?;
    let body = body.to_bytes();
    let shown = || format!("{}: {}", head.status, String::from_utf8_lossy(&body));
    let answer: Value = serde_json::from_slice(&body).map_err(|_| shown())?;
    let text = answer["result"]["content"][0]["text"].as_str();
    let text = text.ok_or_else(shown)?;
    Ok((text.to_owned(), answer["result"]["isError"] == json!(true)))
}

/// Audit records as they are counted, and not kept.
#[derive(Default)]
struct Records {
    calls: u64,
    renewals: u64,
}

impl Records {
    fn take(&mut self, stand: &Stand) {
        for line in stand.gateway.take_output() {
            let record: Value = serde_json::from_str(&line).expect("a record");
            self.calls += u64::from(record["method"] == "tools/call");
        }
        let asked = stand.notes.seen("/token");
        let renewals = asked.iter().filter(|asked| {
            asked
                .params
                .get("grant_type")
                .is_some_and(|t| t == "refresh_token")
        });
        self.renewals += renewals.count() as u64;
        stand.notes.forget_requests();
        stand.issuer.forget_requests();
    }
}

async fn settle(stand: &Stand, records: &mut Records) {
    // The calls before this are answered, and so their records are written; the exporter is a moment behind.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        records.take(stand);
    }
}

async fn wait_for_tools(stand: &Stand) {
    let client = stand.client("ada");
    for _ in 0..600 {
        let names = client.modern("tools/list", json!({})).await.tool_names();
        if TOOLS
            .iter()
            .all(|(tool, _)| names.contains(&(*tool).to_owned()))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not all tools are listed: {}", stand.gateway.log());
}

/// Has everything around the gateway change until the time is over, and looks at it meanwhile.
async fn live(
    stand: &Stand,
    seen: &Seen,
    length: Duration,
    records: &mut Records,
    steady: FakeBackend,
    flaps: FakeBackend,
) -> (Vec<Sample>, Option<FakeBackend>, FakeBackend) {
    let began = Instant::now();
    let mut samples = Vec::new();
    let every = (length / u32::try_from(SAMPLES).unwrap_or(1)).max(Duration::from_millis(500));
    let (mut flaps, mut steady) = (Some(flaps), Some(steady));
    let (mut kept, address) = (Vec::new(), flaps.as_ref().map(|flaps| flaps.address));
    let address = address.expect("an address").to_string();
    let mut next_sample = began;
    for tick in 0_u64.. {
        if began.elapsed() >= length {
            break;
        }
        // A round of eight ticks: everything happens once in it, and nothing twice at a time.
        match tick % 8 {
            0 => swap(stand, tick / 8),
            1 => {
                if let Some(flaps) = flaps.take() {
                    flaps.stop().await;
                }
            }
            3 => flaps = Some(backend(&address).await),
            // One that was not used yet may be on its way: nobody could answer that call.
            2 | 6 => stand.notes.expire_used("ada-at-notes"),
            5 => {
                let mut stream = listen(stand, "ada").await;
                stream.frame().await;
                if planted("leak") {
                    for _ in 0..40 {
                        // By somebody else each time: how many one may have open is bounded.
                        kept.push(listen(stand, &format!("ada-{}", kept.len())).await);
                    }
                }
            }
            _ => {}
        }
        if tick == 9
            && planted("lost")
            && let Some(steady) = steady.take()
        {
            steady.stop().await;
        }
        records.take(stand);
        for backend in flaps.iter().chain(&steady) {
            backend.forget_requests();
        }
        if Instant::now() >= next_sample {
            next_sample += every;
            samples.push(sample(stand, seen, began).await);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let flaps = match flaps {
        Some(flaps) => flaps,
        None => backend(&address).await,
    };
    (samples, steady, flaps)
}

async fn listen(stand: &Stand, subject: &str) -> Stream {
    let client = stand.client(subject);
    Stream::modern(&client, json!({ "toolsListChanged": true })).await
}

/// Replaces one plugin by another of the same behaviour, as careful programs do.
fn swap(stand: &Stand, round: u64) {
    const SWAPPED: [&str; 4] = [
        "policy-scopes",
        "backend-http",
        "audit-stdout",
        "backend-mcp",
    ];
    let name = SWAPPED[usize::try_from(round).unwrap_or_default() % SWAPPED.len()];
    let mut bytes = std::fs::read(component(name)).expect("a component");
    if (round / SWAPPED.len() as u64).is_multiple_of(2) {
        // A custom section, which nobody reads.
        bytes.extend([0, 5, 4, b's', b'o', b'a', b'k']);
    }
    let plugins = stand.gateway.dir().join("plugins");
    let aside = plugins.join("aside");
    std::fs::write(&aside, bytes).expect("written");
    std::fs::rename(aside, plugins.join(format!("{name}.wasm"))).expect("renamed");
}

async fn sample(stand: &Stand, seen: &Seen, began: Instant) -> Sample {
    let secret = [("x-cortex-admin-secret", ADMIN_SECRET)];
    let metrics = stand
        .gateway
        .client
        .send(Method::GET, "/metrics", &secret, "")
        .await;
    let text = metrics.expect("figures").text();
    let figures: BTreeMap<&str, &str> =
        (text.lines().filter_map(|line| line.rsplit_once(' '))).collect();
    let figure = |name| -> u64 {
        let told = figures.get(name).and_then(|number| number.parse().ok());
        told.unwrap_or_else(|| panic!("{name} is not told: {text}"))
    };
    Sample {
        seconds: began.elapsed().as_secs(),
        calls: seen.calls.load(Ordering::Relaxed),
        memory_kib: stand.gateway.resident_kib(),
        descriptors: stand.gateway.count("fd"),
        threads: stand.gateway.count("task"),
        tasks: figure("cortex_tasks"),
        instances: figure("cortex_instances"),
    }
}
