//! Traces: a real gateway, a backend, and a collector that is told what became of requests.

use cortex_tests::client::modern_meta;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Era, FakeBackend, FakeCollector, FakeMcp, Gateway, GatewayBuilder, Plan, Span};
use http::Method;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

struct Stand {
    gateway: Gateway,
    backend: FakeBackend,
    collector: FakeCollector,
}

async fn stand(more: &[(&str, &str)]) -> Stand {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan(
        "echo",
        Plan::Json(200, json!({ "result": "canary-result" })),
    );
    let collector = FakeCollector::start().await;
    let builder = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let builder = more
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, value));
    let gateway = builder.start().await;
    gateway.ready().await;
    Stand {
        gateway,
        backend,
        collector,
    }
}

fn sampled(parent: &str) -> String {
    format!("00-{TRACE}-{parent}-01")
}

fn call(meta: Value) -> String {
    let params =
        json!({ "name": "docs_echo", "arguments": { "text": "canary-argument" }, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
}

impl Stand {
    /// Calls the tool as a legacy client, with these header fields and `_meta`.
    async fn call(&self, headers: &[(&str, &str)], meta: Value) {
        let mut all = vec![("mcp-protocol-version", "2025-11-25")];
        all.extend_from_slice(headers);
        self.gateway.client.post(call(meta), &all).await.result();
    }
}

/// The span of this name in this trace, if there is one only.
fn one<'a>(spans: &'a [Span], trace: &str, name: &str) -> &'a Span {
    let found: Vec<_> = (spans.iter())
        .filter(|span| span.trace == trace && span.name == name)
        .collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn ended(trace: &str) -> impl Fn(&[Span]) -> bool {
    move |spans| {
        spans
            .iter()
            .any(|span| span.trace == trace && span.kind == 2)
    }
}

#[tokio::test]
async fn a_call_is_one_tree_from_its_client_to_its_backend() {
    let stand = stand(&[
        ("OTEL_SERVICE_NAME", "gateway-of-the-tests"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=key-7"),
    ])
    .await;
    stand
        .call(
            &[
                ("traceparent", &sampled(CLIENT)),
                ("tracestate", "vendor=1"),
            ],
            json!({}),
        )
        .await;
    let spans = stand.collector.until(ended(TRACE)).await;

    let root = one(&spans, TRACE, "tools/call docs_echo");
    assert_eq!(
        (root.parent.as_str(), root.kind, root.failed),
        (CLIENT, 2, false)
    );
    for (name, value) in [
        ("mcp.method.name", "tools/call"),
        ("mcp.protocol.version", "2025-11-25"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "docs_echo"),
        ("jsonrpc.request.id", "7"),
        ("http.request.method", "POST"),
        ("network.transport", "tcp"),
        ("cortex.backend.id", "docs"),
        ("error.type", ""),
    ] {
        assert_eq!(root.attribute(name), value, "{name}");
    }
    assert_eq!(root.resource("service.name"), "gateway-of-the-tests");
    assert_eq!(root.resource("deployment.environment.name"), "test");

    // Each stage is a part of the request, within its time.
    for stage in [
        "origin", "version", "token", "rate", "parse", "session", "dispatch", "policy", "adapter",
        "audit",
    ] {
        let part = one(&spans, TRACE, stage);
        assert_eq!(part.parent, root.id, "{stage}");
        assert!(
            part.times.0 >= root.times.0 && part.times.1 <= root.times.1,
            "{stage}"
        );
    }
    let policy = one(&spans, TRACE, "policy-scopes authorize");
    assert_eq!(policy.parent, one(&spans, TRACE, "policy").id);
    let adapter = one(&spans, TRACE, "backend-http call-tool");
    assert_eq!(adapter.parent, one(&spans, TRACE, "adapter").id);
    assert_eq!(adapter.attribute("cortex.plugin.name"), "backend-http");
    assert_eq!(adapter.attribute("cortex.plugin.version"), "0.1.0");
    assert!(
        adapter
            .attribute("cortex.plugin.busy_ms")
            .parse::<f64>()
            .expect("a number")
            > 0.0
    );
    let exchange = one(&spans, TRACE, "POST");
    assert_eq!(
        (exchange.parent.as_str(), exchange.kind),
        (adapter.id.as_str(), 3)
    );
    assert_eq!(exchange.attribute("server.address"), "127.0.0.1");
    assert_eq!(exchange.attribute("http.response.status_code"), "200");

    // The backend is told to be a part of the exchange.
    let seen = &stand.backend.seen("echo")[0].headers;
    assert_eq!(
        seen["traceparent"],
        format!("00-{TRACE}-{}-01", exchange.id)
    );
    assert_eq!(seen["tracestate"], "vendor=1");

    // The ids of the request lead from the audit to the trace.
    let mut gateway = stand.gateway;
    let record = gateway.audit(1).await.remove(0);
    assert_eq!(record["request_id"], root.attribute("cortex.request.id"));
    let sent = stand.collector.headers();
    assert!(
        sent.iter()
            .all(|headers| headers["x-collector-key"] == "key-7")
    );
    for secret in [
        "canary-argument",
        "canary-result",
        "dev-token-of-the-tests",
        "dev@localhost",
        "key-7",
    ] {
        assert!(!stand.collector.has(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_the_message_says_of_its_trace_counts_for_more_than_the_header() {
    let stand = stand(&[]).await;
    let other = "11111111111111111111111111111111";
    let meta = json!({ "traceparent": format!("00-{other}-2222222222222222-01") });
    stand.call(&[("traceparent", &sampled(CLIENT))], meta).await;
    let spans = stand.collector.until(ended(other)).await;
    let root = one(&spans, other, "tools/call docs_echo");
    assert_eq!(root.parent, "2222222222222222");
    assert_eq!(root.links, [TRACE]);
    assert!(spans.iter().all(|span| span.trace != TRACE));
    // Named after the gateway unless it is told otherwise.
    assert_eq!(root.resource("service.name"), "cortex-gateway");
}

#[tokio::test]
async fn a_native_server_finds_the_trace_in_the_message_too() {
    let server = FakeMcp::start(Era::Modern).await;
    server.result("tools/list", json!({ "tools": [FakeMcp::tool("echo")] }));
    server.result("tools/call", json!({ "content": [] }));
    let collector = FakeCollector::start().await;
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.url()),
        )
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await;
    gateway.ready().await;
    let mut meta = modern_meta();
    meta["traceparent"] = json!(sampled(CLIENT));
    meta["app/own"] = json!(1);
    let params = json!({ "name": "wiki_echo", "arguments": {}, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "wiki_echo"),
    ];
    gateway
        .client
        .post(body.to_string(), &headers)
        .await
        .result();
    let spans = collector.until(ended(TRACE)).await;
    let message = &server.seen("tools/call")[0];
    let told = &message.body["params"]["_meta"];
    let adapter = one(&spans, TRACE, "adapter");
    assert_eq!(told["traceparent"], format!("00-{TRACE}-{}-01", adapter.id));
    assert_eq!(told["app/own"], 1);
    let exchange = (spans.iter()).find(|span| span.trace == TRACE && span.kind == 3);
    let exchange = exchange.expect("an exchange");
    assert_eq!(
        message.header("traceparent"),
        format!("00-{TRACE}-{}-01", exchange.id)
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_as_an_error() {
    let stand = stand(&[]).await;
    stand
        .backend
        .plan("echo", Plan::Json(500, json!({ "error": "canary-error" })));
    stand
        .call(&[("traceparent", &sampled(CLIENT))], json!({}))
        .await;
    let spans = stand.collector.until(ended(TRACE)).await;
    let root = one(&spans, TRACE, "tools/call docs_echo");
    assert!(root.failed && root.attribute("error.type") == "backend_error");
    let exchange = one(&spans, TRACE, "POST");
    assert!(exchange.failed && exchange.attribute("error.type") == "500");
    assert!(!stand.collector.has("canary-error"));

    // Refused before anything was read: the header says whose it is, and no name is made up.
    let trace = "33333333333333333333333333333333";
    let parent = format!("00-{trace}-{CLIENT}-01");
    let headers = [
        ("traceparent", parent.as_str()),
        ("content-type", "application/json"),
    ];
    let reply = stand
        .gateway
        .client
        .send(Method::POST, "/mcp", &headers, call(json!({})))
        .await;
    assert_eq!(reply.expect("an answer").status, 401);
    let spans = stand.collector.until(ended(trace)).await;
    let root = one(&spans, trace, "POST /mcp");
    assert!(root.failed && root.attribute("error.type") == "unauthenticated");
    assert_eq!(one(&spans, trace, "token").parent, root.id);
}

#[tokio::test]
async fn each_message_of_a_batch_is_a_request_of_its_own() {
    let stand = stand(&[]).await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let made_up = json!({ "jsonrpc": "2.0", "id": 2, "method": "made/up" });
    let headers = [
        ("mcp-protocol-version", "2025-03-26"),
        ("traceparent", &sampled(CLIENT)),
    ];
    stand
        .gateway
        .client
        .post(json!([ping, made_up]).to_string(), &headers)
        .await;
    let spans = stand
        .collector
        .until(|spans| spans.iter().filter(|span| span.kind == 2).count() == 2)
        .await;
    let mut roots: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    roots.sort_by_key(|span| span.attribute("jsonrpc.request.id").to_owned());
    let told: Vec<_> = roots
        .iter()
        .map(|span| (span.name.as_str(), span.parent.as_str(), span.failed))
        .collect();
    assert_eq!(told, [("ping", CLIENT, false), ("POST /mcp", CLIENT, true)]);
}

#[tokio::test]
async fn clients_and_operators_decide_what_is_told() {
    // The client has decided against it.
    let stand = stand(&[]).await;
    let unsampled = format!("00-{TRACE}-{CLIENT}-00");
    stand.call(&[("traceparent", &unsampled)], json!({})).await;
    let seen = stand.backend.seen("echo")[0].headers["traceparent"].clone();
    let seen = seen.to_str().expect("text");
    assert!(
        seen.starts_with(&format!("00-{TRACE}-")) && seen.ends_with("-00"),
        "{seen}"
    );
    let other = "44444444444444444444444444444444";
    stand
        .call(
            &[("traceparent", &format!("00-{other}-{CLIENT}-01"))],
            json!({}),
        )
        .await;
    let spans = stand.collector.until(ended(other)).await;
    assert!(spans.iter().all(|span| span.trace != TRACE));

    // The operator has, whatever clients say.
    for (sampler, argument) in [("always_off", ""), ("traceidratio", "0")] {
        let stand = self::stand(&[
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ])
        .await;
        stand
            .call(&[("traceparent", &sampled(CLIENT))], json!({}))
            .await;
        stand.gateway.stop().await;
        assert!(stand.collector.spans().is_empty(), "{sampler}");
    }
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_told_and_nothing_added() {
    let stand = stand(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).await;
    let meta = json!({ "traceparent": sampled("5555555555555555") });
    stand.call(&[("traceparent", &sampled(CLIENT))], meta).await;
    assert!(
        stand.backend.seen("echo")[0]
            .headers
            .get("traceparent")
            .is_none()
    );
    stand.gateway.stop().await;
    assert!(stand.collector.headers().is_empty());
}

#[tokio::test]
async fn a_collector_that_is_down_costs_traces_and_nothing_else() {
    let stand = stand(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("CORTEX_ADMIN_LISTEN", "0"),
    ])
    .await;
    for _ in 0..50 {
        stand.call(&[], json!({})).await;
    }
    let mut gateway = stand.gateway;
    gateway
        .logged("the collector takes no traces: no connection")
        .await;
    for _ in 0..50 {
        gateway
            .client
            .post(call(json!({})), &[("mcp-protocol-version", "2025-11-25")])
            .await
            .result();
    }
    let said = gateway.log().matches("takes no traces").count();
    assert_eq!(said, 1, "once for each outage");
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
    assert_eq!(gateway.audit(100).await.len(), 100);
}

#[tokio::test]
async fn what_was_asked_last_is_told_before_the_end() {
    let stand = stand(&[("OTEL_BSP_SCHEDULE_DELAY", "600000")]).await;
    stand
        .call(&[("traceparent", &sampled(CLIENT))], json!({}))
        .await;
    stand.gateway.stop().await;
    assert!(ended(TRACE)(&stand.collector.spans()));
}

#[tokio::test]
async fn log_lines_and_answers_carry_the_ids_of_their_request() {
    let stand = stand(&[("RUST_LOG", "debug"), ("CORTEX_LOG_FORMAT", "json")]).await;
    let headers = [
        ("traceparent", sampled(CLIENT)),
        ("x-request-id", "mine".to_owned()),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    stand
        .backend
        .plan("echo", Plan::Json(500, json!({ "error": "x" })));
    let mut all = vec![("mcp-protocol-version", "2025-11-25")];
    all.extend_from_slice(&headers);
    let reply = stand.gateway.client.post(call(json!({})), &all).await;
    let id = reply.header("x-request-id").to_owned();
    assert!(id.len() == 32 && id != "mine", "{id}");
    let log = stand.gateway.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let of_request = |line: &&Value| line["request.id"] == json!(id);
    let told: Vec<_> = lines
        .iter()
        .filter(of_request)
        .filter(|line| line["trace.id"] == TRACE)
        .collect();
    assert!(!told.is_empty(), "{log}");
    // A member twice is no JSON for some.
    assert!(
        log.lines()
            .all(|line| line.matches("\"request.id\"").count() <= 1),
        "{log}"
    );

    let text = self::stand(&[("CORTEX_LOG_FORMAT", "text")]).await;
    let log = text.gateway.log();
    assert!(
        log.lines().all(|line| !line.starts_with('{')) && log.contains(" INFO listening on"),
        "{log}"
    );
}

#[tokio::test]
async fn a_wrong_value_stops_the_start() {
    let (code, said) = GatewayBuilder::new()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
        .env("OTEL_TRACES_SAMPLER", "sometimes")
        .env("CORTEX_ADMIN_LISTEN", "here")
        .fail()
        .await;
    assert_eq!(code, Some(1));
    for name in [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_SAMPLER",
        "CORTEX_ADMIN_LISTEN",
    ] {
        assert!(said.contains(name), "{said}");
    }
    let (code, said) = GatewayBuilder::new()
        .env("CORTEX_LOG_FORMAT", "xml")
        .fail()
        .await;
    assert!(
        code == Some(1) && said.contains("CORTEX_LOG_FORMAT"),
        "{said}"
    );
}

#[tokio::test]
async fn a_token_reaches_no_trace_and_no_log() {
    let key = Key::generate(Alg::EdDsa, "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "result": 1 })));
    let collector = FakeCollector::start().await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("RUST_LOG", "trace")
        .start()
        .await;
    gateway.ready().await;
    let mut claims = issuer.claims();
    claims["scope"] = json!("mcp:test:use");
    claims["email"] = json!("canary@example.com");
    let token = key.token(&claims);
    let client = gateway.client.with_token(&token);
    client
        .call("docs_echo", json!({ "a": "canary-argument" }))
        .await
        .result();
    let spans = collector
        .until(|spans| spans.iter().any(|span| span.kind == 2))
        .await;
    assert!(spans.iter().any(|span| span.name == "tools/call docs_echo"));
    // The signature, which no other text can hold.
    let signature = token.rsplit('.').next().expect("three parts");
    for secret in [signature, "canary@example.com", "canary-argument"] {
        assert!(!collector.has(secret), "{secret} in the traces");
        assert!(!gateway.log().contains(secret), "{secret} in the log");
    }
}
