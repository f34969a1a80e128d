//! What many instances cost: the same calls through one gateway alone and through 1, 2 and 3 that share PostgreSQL
//! and Redis behind HAProxy; CPU time by process, and what the engines were asked.
//!
//!     cargo xtask bench --scaling [--calls N] [--markdown FILE]
//!
//! Everything runs on this machine, the load too, so calls a second say little; CPU time per call and questions per
//! call are what carries over to other machines. Nothing is judged: wrong answers end the run.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot go on says what it expected"
)]

mod cpu;
mod engines;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Fleet, FleetBuilder, GatewayBuilder, Plan, Stream};
use serde_json::{Value, json};

use crate::cpu::Spent;
use crate::engines::Asked;

/// Callers, each with a token of their own.
const CALLERS: usize = 64;
/// Requests at one time.
const AT_ONCE: usize = 16;
/// How long nobody calls, to see what is asked all the same.
const QUIET: Duration = Duration::from_secs(20);

/// What to measure.
struct Options {
    gateway: Option<PathBuf>,
    calls: usize,
    streams: usize,
    markdown: Option<PathBuf>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            gateway: None,
            calls: 6_000,
            streams: 1_000,
            markdown: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| usage(&word));
            let number = || value.parse().unwrap_or_else(|_| usage(&word));
            match word.as_str() {
                "--gateway" => options.gateway = Some(PathBuf::from(value)),
                "--calls" => options.calls = number(),
                "--streams" => options.streams = number(),
                "--markdown" => options.markdown = Some(PathBuf::from(value)),
                _ => usage(&word),
            }
        }
        options
    }
}

fn usage(word: &str) -> ! {
    eprintln!(
        "cortex-scaling: `{word}`; expected --gateway FILE, --calls N, --streams N, --markdown FILE"
    );
    std::process::exit(2);
}

/// How the gateways are put together.
#[derive(Clone, Copy)]
enum Shape {
    /// One, with a store of its own and nothing in front.
    Alone,
    /// So many, on PostgreSQL and Redis, behind HAProxy.
    Fleet(usize),
    /// So many, on PostgreSQL alone, behind HAProxy.
    WithoutRedis(usize),
}

impl Shape {
    fn name(self) -> String {
        match self {
            Self::Alone => "1, alone (sled)".to_owned(),
            Self::Fleet(n) => format!("{n}, PostgreSQL and Redis"),
            Self::WithoutRedis(n) => format!("{n}, PostgreSQL"),
        }
    }
}

/// What one kind of request cost.
struct Row {
    shape: String,
    what: &'static str,
    calls: usize,
    seconds: f64,
    spent: Spent,
    asked: Asked,
}

/// What runs, and what is told of it.
struct Bench {
    backend: FakeBackend,
    issuer: FakeIssuer,
    key: Key,
    options: Options,
}

#[tokio::main]
async fn main() {
    let options = Options::read();
    let key = Key::generate(Alg::Rs256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "result": "done" })));
    let bench = Bench {
        backend,
        issuer,
        key,
        options,
    };
    let mut report = String::new();
    let mut rows = Vec::new();
    let shapes = [
        Shape::Alone,
        Shape::Fleet(1),
        Shape::Fleet(2),
        Shape::Fleet(3),
        Shape::WithoutRedis(3),
    ];
    for shape in shapes {
        eprintln!("{}:", shape.name());
        match shape {
            Shape::Alone => rows.extend(bench.alone().await),
            Shape::Fleet(n) => {
                rows.extend(bench.fleet(shape, FleetBuilder::new(n), &mut report).await);
            }
            Shape::WithoutRedis(n) => {
                let builder = FleetBuilder::new(n).without_redis();
                rows.extend(bench.fleet(shape, builder, &mut report).await);
            }
        }
    }
    let text = format!("{}\n{report}", table(&rows));
    println!("{text}");
    if let Some(file) = &bench.options.markdown {
        std::fs::write(file, text).expect("written");
    }
}

impl Bench {
    fn builder(&self, builder: GatewayBuilder) -> GatewayBuilder {
        builder
            .program(self.options.gateway.clone())
            .issuer(&self.issuer)
            .backend("docs", &self.backend.url())
            .env("CORTEX_RATE_LIMIT_PER_MINUTE", "1000000")
            .env("CORTEX_REFRESH_SECONDS", "10")
            .env("RUST_LOG", "warn,cortex_gateway=info")
    }

    fn clients(&self, base: &Client) -> Vec<Client> {
        let token = |n: usize| {
            let mut claims = self.issuer.claims();
            claims["sub"] = json!(format!("caller-{n}"));
            claims["scope"] = json!("mcp:test:use");
            self.key.token(&claims)
        };
        (0..CALLERS).map(|n| base.with_token(&token(n))).collect()
    }

    async fn alone(&self) -> Vec<Row> {
        let gateway = self.builder(GatewayBuilder::new()).start().await;
        gateway.ready().await;
        let clients = self.clients(&gateway.client);
        let mut rows = Vec::new();
        for what in ["tools/call", "tools/list"] {
            load(&clients, what, self.options.calls / 10).await;
            let before = Spent::of(&[gateway.pid()], None, None, None);
            let began = Instant::now();
            load(&clients, what, self.options.calls).await;
            rows.push(Row {
                shape: Shape::Alone.name(),
                what,
                calls: self.options.calls,
                seconds: began.elapsed().as_secs_f64(),
                spent: Spent::of(&[gateway.pid()], None, None, None) - before,
                asked: Asked::default(),
            });
        }
        rows
    }

    async fn fleet(&self, shape: Shape, builder: FleetBuilder, report: &mut String) -> Vec<Row> {
        let started = builder.counting().start(|gateway| self.builder(gateway));
        let fleet = started.await.expect("PostgreSQL, Redis and HAProxy");
        let clients = self.clients(&fleet.client);
        let mut rows = Vec::new();
        for what in ["tools/call", "tools/list"] {
            load(&clients, what, self.options.calls / 10).await;
            let row = measured(&fleet, shape, what, self.options.calls, async {
                load(&clients, what, self.options.calls).await;
            });
            rows.push(row.await);
        }
        rows.push(
            measured(&fleet, shape, "a ticket", 300, async {
                report_tickets(&clients, 300).await;
            })
            .await,
        );
        // What is asked when nobody calls: per second, and not per call.
        let lists = self.backend.seen("list_tools").len();
        let quiet = measured(
            &fleet,
            shape,
            "nothing, a second",
            QUIET.as_secs() as usize,
            async {
                tokio::time::sleep(QUIET).await;
            },
        );
        let quiet = quiet.await;
        let lists = self.backend.seen("list_tools").len() - lists;
        let _ = writeln!(
            report,
            "{}: in {} s of quiet the backend was asked {lists} times for its catalog (every 10 s); {} \
             connections to PostgreSQL.",
            shape.name(),
            QUIET.as_secs(),
            engines::connections(&fleet.postgres),
        );
        rows.push(quiet);
        if self.options.streams > 0 && matches!(shape, Shape::Fleet(3)) {
            self.streams(&fleet, &clients, report).await;
        }
        let _ = writeln!(report, "\n{}", engines::details(&fleet));
        rows
    }

    /// Memory of streams on which nothing happens.
    async fn streams(&self, fleet: &Fleet, clients: &[Client], report: &mut String) {
        let memory = || fleet.running().map(|it| it.resident_kib()).sum::<u64>();
        let before = memory();
        let mut open = Vec::new();
        for n in 0..self.options.streams {
            let client = &clients[n % clients.len()];
            let stream = Stream::modern(client, json!({ "toolsListChanged": true })).await;
            assert_eq!(stream.status, 200, "a stream");
            open.push(stream);
        }
        let each = (memory().saturating_sub(before)) as f64 / self.options.streams as f64;
        let _ = writeln!(
            report,
            "{} open streams: {each:.1} KiB each in the gateways.",
            self.options.streams
        );
    }
}

/// Does something, and says what it cost.
async fn measured(
    fleet: &Fleet,
    shape: Shape,
    what: &'static str,
    calls: usize,
    work: impl Future<Output = ()>,
) -> Row {
    let gateways: Vec<u32> = fleet.running().map(|gateway| gateway.pid()).collect();
    let spent = || {
        Spent::of(
            &gateways,
            Some(fleet.balancer.pid()),
            fleet.postgres.pid(),
            fleet.redis.as_ref().and_then(|redis| redis.pid()),
        )
    };
    let (before, asked) = (spent(), Asked::of(fleet));
    let began = Instant::now();
    work.await;
    Row {
        shape: shape.name(),
        what,
        calls,
        seconds: began.elapsed().as_secs_f64(),
        spent: spent() - before,
        asked: Asked::of(fleet) - asked,
    }
}

/// So many requests of one kind, some at one time, each of the next caller.
async fn load(clients: &[Client], what: &'static str, calls: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (clients, next) = (clients.to_vec(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= calls {
                    return;
                }
                let client = &clients[n % clients.len()];
                let params = match what {
                    "tools/call" => json!({ "name": "docs_echo", "arguments": { "text": "x" } }),
                    _ => json!({}),
                };
                let result = client.modern(what, params).await.result();
                let right = match what {
                    "tools/call" => result["isError"] == json!(false),
                    _ => result["tools"].is_array(),
                };
                assert!(right, "{what}: {result}");
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a worker");
    }
}

/// So many tickets, one after the other.
async fn report_tickets(clients: &[Client], tickets: usize) {
    for n in 0..tickets {
        let wish = json!({ "whatIWanted": format!("wish {n}"), "userIntent": "to measure", "severity": "inconvenient" });
        let reply = clients[n % clients.len()]
            .call("report_missing_capability", wish)
            .await;
        let result: Value = reply.result();
        assert_eq!(result["isError"], json!(false), "{result}");
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| gateways | request | requests/s | ms CPU each: gateways | HAProxy | PostgreSQL | Redis | statements each | Redis commands each |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        let calls = row.calls as f64;
        let ms = |seconds: f64| format!("{:.3}", seconds * 1_000.0 / calls);
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {} | {} | {} | {} | {:.3} | {:.3} |",
            row.shape,
            row.what,
            calls / row.seconds,
            ms(row.spent.gateways),
            ms(row.spent.balancer),
            ms(row.spent.postgres),
            ms(row.spent.redis),
            row.asked.statements / calls,
            row.asked.commands / calls,
        );
    }
    text
}
