//! What the parts of one request cost by themselves: `cargo xtask bench --micro`.
//!
//! Nothing here is asserted but that each part works: whoever changes one compares the table with
//! that of before. Components come from `CORTEX_BENCH_PLUGINS`, a directory with the default ones.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on says what it expected"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use cortex_gateway::audit;
use cortex_gateway::config::{Config, ExporterOutput};
use cortex_gateway::mcp::{json, jsonrpc};
use cortex_gateway::oauth::ResourceServer;
use cortex_gateway::outbound::Client;
use cortex_gateway::pipeline::Answer;
use cortex_gateway::plugin::model::{RequestContext, ToolCall};
use cortex_gateway::plugin::{
    Adapter, AuditRecord, Backend, Directory, Item, Notices, OnBehalf, Plugins, Runtime, Shown,
};
use cortex_gateway::seal::{Purpose, Sealer};
use cortex_gateway::server;
use cortex_gateway::store::Store;
use cortex_gateway::types::{Issuer, Key256, Principal, RequestId, Secret, Subject};
use cortex_gateway::vault::Owner;
use cortex_test_issuer::{Alg, FakeIssuer, Key};
use divan::Bencher;
use http::Request;
use hyper::body::Body as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SCOPES: &str = "mcp:bench:read mcp:bench:write";
const PADDING: &str = "quarterly report of the northern region, drafts included, newest first, \
                       no more than twenty, with the names of their authors and reviewers";

/// Never reached.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(10);

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));

fn main() {
    divan::main();
}

/// Everything that is measured, as a gateway holds it.
struct Stand {
    config: Config,
    issuer: FakeIssuer,
    key: Key,
    oauth: ResourceServer,
    client: Client,
    plugins: Arc<Directory>,
    backend: Backend,
    principal: Principal,
    queue: audit::Queue,
    /// Fields of it must not end before it does.
    _delivery: audit::Delivery,
    _dir: tempfile::TempDir,
}

/// One stand for fresh instances, and one where they are kept for a subject.
static STANDS: LazyLock<[Stand; 2]> =
    LazyLock::new(|| RUNTIME.block_on(async { [stand("call").await, stand("subject").await] }));

fn stand_of(kept: bool) -> &'static Stand {
    &STANDS[usize::from(kept)]
}

async fn stand(instances: &str) -> Stand {
    let key = Key::generate(Alg::Rs256, "bench");
    let issuer = FakeIssuer::start(&[&key]).await;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let variables = BTreeMap::from([
        ("OAUTH_ISSUER", issuer.url()),
        (
            "CORTEX_CANONICAL_URI",
            "http://localhost:3213/mcp".to_owned(),
        ),
        ("CORTEX_BACKENDS", "bench".to_owned()),
        ("CORTEX_BACKEND_BENCH_URL", answering().await),
        (
            "CORTEX_TECHNICAL_TOKEN",
            "technical-token-of-the-bench".to_owned(),
        ),
        ("CORTEX_PLUGIN_INSTANCES", instances.to_owned()),
        ("CORTEX_PLUGIN_DIR", plugins().display().to_string()),
        ("CORTEX_DATA_DIR", dir.path().display().to_string()),
    ]);
    let mut config = Config::read(&|name| variables.get(name).cloned()).expect("a configuration");
    // Standard output has the table.
    config.plugins.exporter_output = ExporterOutput::Stderr;
    let client = Client::new().expect("a client");
    let store = Store::open(dir.path(), None).await.expect("a store");
    let runtime = Runtime::new(&config.plugins, None, client.clone(), Some(&store));
    let runtime = runtime.expect("an engine");
    let plugins = Directory::open(&runtime, &config.plugins.dir)
        .await
        .expect("plugins");
    let oauth = ResourceServer::new(config.oauth.as_ref().expect("an issuer"), client.clone());
    // Nobody exports: the writer alone is measured.
    let none = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let nobody = Directory::open(&runtime, none.path())
        .await
        .expect("an empty directory");
    let (queue, delivery) = audit::start(&config.audit, Some(dir.path()), &store, nobody, 0)
        .await
        .expect("a trail");
    Stand {
        backend: Backend::new(&config.backends[0]),
        principal: Principal {
            subject: Subject::new("user-1"),
            issuer: Issuer::new(issuer.url()),
            client_id: Some("client-1".to_owned()),
            email: Some("user-1@example.org".to_owned()),
            name: None,
            role: None,
            pool: None,
            scopes: SCOPES.parse().expect("scopes"),
            dev_bypass: false,
        },
        config,
        issuer,
        key,
        oauth,
        client,
        plugins,
        queue,
        _delivery: delivery,
        _dir: dir,
    }
}

fn plugins() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/plugins.d");
    std::env::var_os("CORTEX_BENCH_PLUGINS").map_or_else(|| root.into(), PathBuf::from)
}

/// A backend that answers everything alike, with as little work as possible; returns its URL.
async fn answering() -> String {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"text\":\"ok\"}";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("set");
                let mut chunk = vec![0; 16 * 1024];
                // Each request of the adapter fits into one packet of the loopback interface.
                while let Ok(1..) = stream.read(&mut chunk).await {
                    if stream.write_all(ANSWER).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

impl Stand {
    fn token(&self, n: u64) -> Secret {
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(format!("user-{n}"));
        claims["scope"] = json!(SCOPES);
        Secret::new(self.key.token(&claims))
    }

    fn now(&self) -> Arc<Plugins> {
        self.plugins.now()
    }

    fn adapter(&self) -> Arc<Adapter> {
        let name = "backend-http".parse().expect("a name");
        Arc::clone(
            self.now()
                .adapters
                .get(&name)
                .expect("the adapter is there"),
        )
    }
}

/// Access tokens, signed with RS256.
mod token {
    use super::*;

    #[divan::bench]
    fn verified_before(bencher: Bencher<'_, '_>) {
        let stand = stand_of(false);
        let token = stand.token(1);
        bencher.bench(|| {
            RUNTIME
                .block_on(stand.oauth.authenticate(&token))
                .expect("good")
        });
    }

    #[divan::bench(sample_count = 100, sample_size = 1)]
    fn never_seen(bencher: Bencher<'_, '_>) {
        let stand = stand_of(false);
        RUNTIME
            .block_on(stand.oauth.authenticate(&stand.token(0)))
            .expect("good");
        bencher.with_inputs(|| stand.token(2)).bench_refs(|token| {
            RUNTIME
                .block_on(stand.oauth.authenticate(token))
                .expect("good")
        });
    }
}

/// The scope policy, in a fresh instance each time.
mod policy {
    use super::*;

    fn item(n: usize) -> Item {
        Item {
            kind: "tool".to_owned(),
            backend: "bench".to_owned(),
            name: format!("find_report_{n:05}"),
            scopes: vec!["mcp:bench:read".to_owned()],
        }
    }

    #[divan::bench]
    fn authorize(bencher: Bencher<'_, '_>) {
        let stand = stand_of(false);
        let (plugins, item) = (stand.now(), item(1));
        let policy = &plugins.policies[0];
        let arguments = format!(r#"{{"text":"{PADDING}"}}"#);
        bencher.bench(|| {
            let deciding = policy.authorize(&stand.principal, &item, &arguments, RequestId::new());
            RUNTIME.block_on(deciding).expect("a decision")
        });
    }

    #[divan::bench(args = [6, 100, 1_000, 10_000])]
    fn filter(bencher: Bencher<'_, '_>, tools: usize) {
        let stand = stand_of(false);
        let plugins = stand.now();
        let policy = &plugins.policies[0];
        let items: Vec<Item> = (0..tools).map(item).collect();
        bencher.counter(tools).bench(|| {
            let filtering = policy.filter(&stand.principal, &items, RequestId::new());
            let seen = RUNTIME.block_on(filtering).expect("an answer");
            assert!(seen.iter().all(|seen| *seen));
        });
    }
}

/// A tool called through `backend-http`, with one exchange over loopback.
mod adapter {
    use super::*;

    #[divan::bench(args = ["fresh instance", "kept instance"])]
    fn call_tool(bencher: Bencher<'_, '_>, instance: &str) {
        let stand = stand_of(instance.starts_with("kept"));
        let (adapter, shown) = (stand.adapter(), Shown::Caller(stand.token(1)));
        let call = || ToolCall {
            tool: "echo".to_owned(),
            arguments: format!(r#"{{"text":"{PADDING}"}}"#),
            header_arguments: Vec::new(),
            structured: false,
            context: RequestContext {
                meta: "{}".to_owned(),
                client_capabilities: "{}".to_owned(),
                client_info: None,
                log_level: None,
                continuation: None,
            },
        };
        bencher.with_inputs(call).bench_values(|call| {
            let user = OnBehalf {
                backend: &stand.backend,
                caller: &stand.principal,
                shown: &shown,
                request: RequestId::new(),
            };
            let calling = adapter.call_tool(user, call, Notices::default());
            RUNTIME
                .block_on(calling)
                .expect("no fault")
                .expect("a result")
        });
    }
}

/// What such a call has to wait for: a request to the same backend, and its answer.
mod exchange {
    use super::*;

    #[divan::bench]
    fn over_loopback(bencher: Bencher<'_, '_>) {
        let stand = stand_of(true);
        let body = format!(r#"{{"method":"echo","params":{{"text":"{PADDING}"}}}}"#);
        let request = || {
            let request = Request::post(stand.config.backends[0].url.as_str());
            let request = request
                .header("content-type", "application/json")
                .header("authorization", "Bearer of-the-bench");
            request.body(Bytes::from(body.clone())).expect("a request")
        };
        bencher.with_inputs(request).bench_values(|request| {
            let sending = stand.client.send(request, LONGEST_EXCHANGE, 1 << 20);
            RUNTIME.block_on(sending).expect("an answer")
        });
    }
}

/// Audit records.
mod record {
    use super::*;

    fn draft(stand: &Stand) -> audit::Draft {
        audit::Draft {
            owner: Some(Owner {
                issuer: stand.principal.issuer.clone(),
                subject: stand.principal.subject.clone(),
            }),
            public: audit::Public {
                latency_ms: 1.5,
                method: Some("tools/call"),
                protocol_version: Some("2025-11-25"),
                request_id: RequestId::new().to_string(),
                response_size: 300,
                success: true,
                target_app: Some("bench".to_owned()),
                tool: Some("bench_echo".to_owned()),
                ts: "2026-01-01T00:00:00.000Z".to_owned(),
                ..audit::Public::default()
            },
            personal: audit::Personal {
                caller_sub: Some("user-1".to_owned()),
                client_id: Some("client-1".to_owned()),
                params_hash: Some("0".repeat(64)),
                ..audit::Personal::default()
            },
        }
    }

    #[divan::bench]
    fn kept_one_at_a_time(bencher: Bencher<'_, '_>) {
        let stand = stand_of(false);
        bencher.with_inputs(|| draft(stand)).bench_values(|draft| {
            let receipt = stand.queue.reserve().expect("a place").fill(draft);
            RUNTIME.block_on(receipt.kept()).expect("kept");
        });
    }

    #[divan::bench]
    fn kept_64_together(bencher: Bencher<'_, '_>) {
        let stand = stand_of(false);
        let drafts = || (0..64).map(|_| draft(stand)).collect::<Vec<_>>();
        bencher
            .counter(64_usize)
            .with_inputs(drafts)
            .bench_values(|drafts| {
                let place = |draft| stand.queue.reserve().expect("a place").fill(draft);
                let receipts: Vec<_> = drafts.into_iter().map(place).collect();
                RUNTIME.block_on(async {
                    for receipt in receipts {
                        receipt.kept().await.expect("kept");
                    }
                });
            });
    }

    #[divan::bench(args = [1, 64])]
    fn taken_by_the_exporter(bencher: Bencher<'_, '_>, records: u64) {
        let stand = stand_of(false);
        let plugins = stand.now();
        let exporter = plugins.exporter_names();
        let exporter = plugins.exporter(&exporter[0]).expect("an exporter");
        let json = serde_json::to_string(&draft(stand).public).unwrap();
        let records: Vec<AuditRecord> = (0..records)
            .map(|sequence| AuditRecord {
                sequence,
                json: json.clone(),
            })
            .collect();
        bencher.counter(records.len()).bench(|| {
            let taken = RUNTIME.block_on(exporter.export(&records)).expect("taken");
            assert_eq!(taken, records.len());
        });
    }
}

/// Sealed texts: session ids and the like.
mod seal {
    use super::*;

    #[divan::bench]
    fn open(bencher: Bencher<'_, '_>) {
        let sealer = Sealer::new(&[Key256::new([7; 32])]).expect("a key");
        let binding: [&[u8]; 2] = [b"http://localhost:1", b"user-1"];
        let sealed = sealer
            .seal(Purpose::Session, &binding, &[0; 64])
            .expect("sealed");
        bencher.bench(|| {
            sealer
                .open(Purpose::Session, &binding, &sealed)
                .expect("ours")
        });
    }
}

/// JSON, in and out.
mod messages {
    use super::*;

    fn request(kib: usize) -> Vec<u8> {
        let text = PADDING.repeat(1 + kib * 1024 / PADDING.len());
        let params = json!({ "name": "bench_echo", "arguments": { "text": text } });
        let request =
            json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        request.to_string().into_bytes()
    }

    #[divan::bench(args = [0, 64])]
    fn parse_request_of_kib(bencher: Bencher<'_, '_>, kib: usize) {
        let body = request(kib);
        bencher
            .counter(divan::counter::BytesCount::new(body.len()))
            .bench(|| jsonrpc::parse(&body).expect("a message"));
    }

    #[divan::bench(args = [1, 64, 1_024])]
    fn check_answer_of_kib(bencher: Bencher<'_, '_>, kib: usize) {
        let rows: Vec<_> = (0..kib * 16)
            .map(|n| json!({ "title": "Report of the northern region", "score": n, "drafts": false }))
            .collect();
        let body = json!({ "rows": rows }).to_string();
        bencher
            .counter(divan::counter::BytesCount::new(body.len()))
            .bench(|| json::check(body.as_bytes()).expect("JSON"));
    }

    /// What remains of a list that was worked out before: it is written around, and copied.
    #[divan::bench(args = [6, 1_000, 10_000])]
    fn write_answer_with_tools(bencher: Bencher<'_, '_>, tools: usize) {
        let config = &stand_of(false).config;
        let tool = |n| {
            json!({ "name": format!("bench_find_report_{n:05}"),
                    "description": format!("Finds reports of department {n} by words in their titles."),
                    "inputSchema": { "type": "object", "properties": { "words": { "type": "string" } } } })
        };
        let list = json!({ "tools": (0..tools).map(tool).collect::<Vec<_>>() });
        let answer = Ok(Answer::Result {
            result: json::Text::write(&list, 0).expect("written"),
            error_code: None,
        });
        let length = server::written(config, &answer).size_hint().lower();
        bencher
            .counter(divan::counter::BytesCount::new(length))
            .bench_local(|| server::written(config, &answer));
    }
}
