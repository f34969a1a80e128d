//! Nothing of what is secret or personal turns up anywhere but where it was sent.
//!
//! Each test sends canaries (tokens, secrets, emails, arguments, results) through every path that it can think
//! of, with the log as talkative as it gets, and then searches everything that the gateway has written:
//! its log, its standard output with the audit records, every file in its directory, its public pages, its
//! metrics, what operators' commands say, and the answers to everybody. What is to be searched is never listed
//! by name: a file, a page or a metric of tomorrow is searched, too.

mod forms;

use std::path::Path;
use std::time::Duration;

use cortex_tests::collector::FakeCollector;
use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, Answer, FakeIssuer, Key, now};
use cortex_tests::postgres::{PASSWORD, Postgres};
use cortex_tests::provider::Instead;
use cortex_tests::{Client, Era, FakeBackend, FakeMcp, Gateway, GatewayBuilder, Plan, Reply};
use http::Method;
use serde_json::{Value, json};

use crate::linking::{Stand, VAULT_KEY, asked_to_open};
use forms::Canary;

/// Everything, of our own code even more.
const TALKATIVE: &str = "debug,cortex_gateway=trace";
const DATABASE: &[u8] = b"[grants.postgres.audit]\nenv = \"AUDIT_DATABASE_URL\"\n";
const ADMIN: &str = "Zq7adminsecret4hTy2Lm";
const ARGUMENT: &str = "Zq7argument9vBn4Rw";
const RESULT: &str = "Zq7resultvalue2mKp8";
const BACKEND_ERROR: &str = "Zq7backenderror5tGh1";
const EMAIL: &str = "zq7.person.5xlw@canary.example";
const PERSON: &str = "Zq7 Fullname Jr8dFe";
const TICKET: &str = "Zq7ticketwords6yUj3";
const TECHNICAL: &str = "Zq7technicaltoken1aSd7";
const INTROSPECTION: &str = "Zq7introspectsecret3cVf";
const HOOK: &str = "Zq7webhookpath8kLo4";
const HASH_KEY: &str = "Zq7audithashkey2wEr6";
const STATE_KEY: &str = "WnE3c3RhdGVrZXkwMDAwMDAwMDAwMDAwMDAwMDAwMDA=";
const EXCHANGE: &str = "Zq7exchangesecret7dFg2";
const ECHOED: &str = "Zq7echoedbytheissuer9sDf";
const PLUGIN_SECRET: &str = "Zq7pluginsecret5nMb9";

/// What was written, by where.
struct Written(Vec<(String, Vec<u8>)>);

impl Written {
    /// Everything of a gateway.
    async fn by(gateway: &Gateway) -> Self {
        let mut written = Self(vec![
            ("the log".to_owned(), gateway.log().into_bytes()),
            ("standard output".to_owned(), gateway.output().into_bytes()),
        ]);
        let secret = [("x-cortex-admin-secret", ADMIN)];
        for path in [
            "/",
            "/metrics",
            "/healthz",
            "/readyz",
            "/connections",
            "/.well-known/oauth-protected-resource",
            "/.well-known/mcp/server-card.json",
            "/api/admin/tool-integrity",
            "/nothing-is-here",
        ] {
            let asked = gateway.client.send(Method::GET, path, &secret, "").await;
            written.reply(path, &asked.expect("an answer"));
        }
        for command in [
            &["status"][..],
            &["status", "--json"],
            &["plugin", "list", "--json"],
            &["plugin", "top"],
            &["baseline", "list", "--json"],
            &["vault", "status", "--json"],
            &["diff", "--json"],
            &["check", "--json"],
            &["doctor"],
            &["doctor", "--json"],
        ] {
            let output = gateway.operate(command).await;
            written.0.push((command.join(" "), output.stdout));
            written.0.push((command.join(" "), output.stderr));
        }
        written.files(gateway.dir());
        written
    }

    fn reply(&mut self, place: &str, reply: &Reply) {
        let said = format!("{:?}\n{}", reply.headers, reply.text());
        self.0
            .push((format!("the answer of {place}"), said.into_bytes()));
    }

    /// Every file below a folder. Links lead to what tests share, which is compiled code.
    fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let about = path.symlink_metadata().expect("its metadata");
            if about.is_dir() {
                self.files(&path);
            } else if about.is_file() {
                let bytes = std::fs::read(&path).expect("readable");
                self.0.push((path.display().to_string(), bytes));
            }
        }
    }

    /// Asserts that no canary turned up, except where `allowed` says so.
    fn is_clean(&self, canaries: &[Canary], allowed: impl Fn(&str, &str) -> bool) {
        assert!(self.0.len() > 30, "something is searched");
        let mut found = Vec::new();
        for (place, bytes) in &self.0 {
            for canary in canaries {
                if !allowed(place, &canary.name)
                    && let Some((form, around)) = canary.found_in(bytes)
                {
                    found.push(format!("{place}: {} ({form}): …{around}…", canary.name));
                }
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n\n"));
    }
}

/// A token: as a whole, and its parts that say or prove something.
fn token(canaries: &mut Vec<Canary>, name: &str, token: &str) {
    canaries.push(Canary::new(name, token));
    for part in token.split('.').skip(1).filter(|part| part.len() >= 12) {
        canaries.push(Canary::new(&format!("a part of {name}"), part));
    }
}

/// A gateway with everything that it can have, and those whom it needs.
struct Place {
    gateway: Gateway,
    backend: FakeBackend,
    mcp: FakeMcp,
    /// Keeps it running.
    _parrot: FakeMcp,
    issuer: FakeIssuer,
    /// Takes traces.
    traces: FakeCollector,
    /// Takes audit records, where there is one.
    database: Option<Postgres>,
    key: Key,
    /// Of tests that are not the gateway's answers: replies that nobody but their caller gets.
    replies: Vec<Reply>,
    canaries: Vec<Canary>,
}

impl Place {
    async fn start() -> Self {
        let key = Key::generate(Alg::Es256, "k1");
        let issuer = FakeIssuer::start(&[&key]).await;
        issuer.answer("/introspect", Answer::Json(200, json!({ "active": true })));
        issuer.answer("/hook", Answer::Json(200, json!({})));
        let tools: Vec<Value> = ["echo", "odd", "other"].map(FakeBackend::tool).into();
        let backend = FakeBackend::start(json!(tools)).await;
        let mcp = FakeMcp::start(Era::Modern).await;
        mcp.result("tools/list", json!({ "tools": [FakeMcp::tool("say")] }));
        // One that says back what it was shown.
        let parrot = FakeMcp::start(Era::Modern).await;
        parrot.plan("tools/list", |message| {
            let said = format!("I was shown {}", message.header("authorization"));
            cortex_tests::mcp_server::Answer::Json(200, message.error(-32000, &said))
        });
        let refused = json!({ "error": "invalid_request", "error_description": ECHOED });
        issuer.answer("/token", Answer::Json(400, refused));
        issuer.answer("/v1/logs", Answer::Json(200, json!({})));
        let collector = issuer.url();
        let records = format!(
            "[settings]\nurl = \"{collector}/v1/logs\"\nsecret = true\n[grants]\nhttp = [\"{collector}\"]\n\
             [grants.secrets.collector]\norigin = \"{collector}\"\nenv = \"COLLECTOR\"\n"
        );
        let traces = FakeCollector::start().await;
        let database = Postgres::start();
        let mut builder = GatewayBuilder::new();
        if let Some(database) = &database {
            builder = builder
                .plugin("audit-postgres")
                .plugin_file("audit-postgres.toml", DATABASE)
                .env("AUDIT_DATABASE_URL", &database.url());
        }
        let gateway = builder
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &traces.url())
            .env("OTEL_TRACES_SAMPLER", "always_on")
            .issuer(&issuer)
            .backend("docs", &backend.url())
            .backend("rogue", &backend.url())
            .backend("swap", &backend.url())
            .env("CORTEX_BACKEND_SWAP_TOKEN", "exchange")
            .plugin("mischief")
            .plugin("audit-otlp")
            .plugin_file("audit-otlp.toml", records.as_bytes())
            .mcp_server("wiki", &mcp.url())
            .mcp_server("parrot", &parrot.url())
            .env("CORTEX_MCP_PARROT_TOKEN", "exchange")
            .env("CORTEX_EXCHANGE_CLIENT_ID", "gateway")
            .env("CORTEX_EXCHANGE_CLIENT_SECRET", EXCHANGE)
            .env(
                "CORTEX_EXCHANGE_TOKEN_URL",
                &format!("{}/token", issuer.url()),
            )
            .env("COLLECTOR", PLUGIN_SECRET)
            .env("CORTEX_BACKEND_ROGUE_ADAPTER", "mischief")
            .env("CORTEX_BACKEND_DOCS_TIMEOUT_MS", "700")
            .env("CORTEX_MCP_WIKI_TOKEN", "none")
            .env("CORTEX_TECHNICAL_TOKEN", TECHNICAL)
            .env("CORTEX_ADMIN_SECRET", ADMIN)
            .env("CORTEX_AUDIT_HASH_KEY", HASH_KEY)
            .env("CORTEX_STATE_KEY", STATE_KEY)
            .env("CORTEX_VAULT_KEY", VAULT_KEY)
            .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
            .env("CORTEX_MAX_BODY_BYTES", "20000")
            .env(
                "CORTEX_TICKET_WEBHOOK_URL",
                &format!("{}/hook?key={HOOK}", issuer.url()),
            )
            .env(
                "OAUTH_INTROSPECT_URL",
                &format!("{}/introspect", issuer.url()),
            )
            .env("OAUTH_INTROSPECT_CLIENT_ID", "gateway")
            .env("OAUTH_INTROSPECT_CLIENT_SECRET", INTROSPECTION)
            .env("RUST_LOG", TALKATIVE)
            .start()
            .await;
        gateway.ready().await;
        let canaries = [
            ("the admin secret", ADMIN),
            ("an argument", ARGUMENT),
            ("a result", RESULT),
            ("a backend's error", BACKEND_ERROR),
            ("an email", EMAIL),
            ("a name", PERSON),
            ("a ticket", TICKET),
            ("the technical token", TECHNICAL),
            ("the introspection secret", INTROSPECTION),
            ("the webhook's path", HOOK),
            ("the audit's hash key", HASH_KEY),
            ("the key of states", STATE_KEY),
            ("the vault's key", VAULT_KEY),
            ("a plugin's secret", PLUGIN_SECRET),
            ("the exchange's secret", EXCHANGE),
            ("what the issuer says of an error", ECHOED),
            ("the database's password", PASSWORD),
        ];
        let mut canaries: Vec<_> = canaries
            .iter()
            .map(|(name, text)| Canary::new(name, text))
            .collect();
        let upper = EMAIL.to_uppercase();
        canaries.push(Canary::new("an email, in capitals", &upper));
        Self {
            gateway,
            backend,
            mcp,
            _parrot: parrot,
            issuer,
            traces,
            database,
            key,
            replies: Vec::new(),
            canaries,
        }
    }

    /// The traces, and the table in which the records are.
    async fn sent_elsewhere(&self) -> Written {
        let calls = |spans: &[cortex_tests::collector::Span]| {
            spans.iter().any(|span| span.name.starts_with("tools/call"))
        };
        self.traces.until(calls).await;
        let mut sent = Written(vec![("the traces".to_owned(), self.traces.bytes())]);
        if let Some(database) = &self.database {
            let rows = || database.query("SELECT r::text FROM cortex_audit r");
            let records = self.gateway.output().lines().count();
            eventually(
                || rows().len() >= records,
                || format!("{} of {records}", rows().len()),
            )
            .await;
            sent.0
                .push(("the database".to_owned(), rows().join("\n").into_bytes()));
        }
        sent
    }

    fn claims(&self) -> Value {
        let mut claims = self.issuer.claims();
        claims["email"] = json!(EMAIL);
        claims["name"] = json!(PERSON);
        claims["scope"] = json!("mcp:test:use mcp:mischief:use");
        claims
    }

    /// A client with a token of these claims, which is a canary from here on.
    fn client(&mut self, name: &str, claims: &Value) -> Client {
        let presented = self.key.token(claims);
        token(&mut self.canaries, name, &presented);
        self.gateway.client.with_token(&presented)
    }

    fn keep(&mut self, reply: Reply) {
        self.replies.push(reply);
    }

    async fn successes(&mut self, client: &Client) {
        let answer = json!({ "text": RESULT, "list": [RESULT] });
        self.backend.plan("echo", Plan::Json(200, answer));
        let arguments = json!({ "q": ARGUMENT, "email": EMAIL });
        for reply in [
            client.call("docs_echo", arguments.clone()).await,
            client
                .modern_call(json!({}), "docs_echo", arguments.clone(), &json!({}))
                .await,
        ] {
            assert!(reply.text().contains(RESULT), "{}", reply.text());
            self.keep(reply);
        }
        let said = json!({ "content": [{ "type": "text", "text": RESULT }] });
        self.mcp.result("tools/call", said);
        let reply = client.call("wiki_say", arguments.clone()).await;
        assert!(reply.text().contains(RESULT), "{}", reply.text());
        self.keep(reply);
        // A session: what opens it is a secret, too.
        let session = client.initialize("2025-11-25").await;
        self.canaries
            .push(Canary::new("what opens a session", &session));
        let body = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call",
            "params": { "name": "docs_echo", "arguments": arguments, "_meta": { "progressToken": ARGUMENT } } });
        let header = [
            ("mcp-session-id", session.as_str()),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        let reply = client.post(body.to_string(), &header).await;
        self.keep(reply);
        client.delete(&[("mcp-session-id", &session)]).await;
        let batch = json!([{ "jsonrpc": "2.0", "id": ARGUMENT, "method": "ping" },
            { "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "docs_echo", "arguments": arguments } }]);
        let reply = client
            .post(batch.to_string(), &[("mcp-protocol-version", "2025-03-26")])
            .await;
        self.keep(reply);
    }

    async fn prompts_and_resources(&mut self, client: &Client) {
        for (method, params) in [
            ("prompts/list", json!({})),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            (
                "prompts/get",
                json!({ "name": "docs_review", "arguments": { "q": ARGUMENT } }),
            ),
            (
                "resources/read",
                json!({ "uri": format!("docs://page/{ARGUMENT}") }),
            ),
            (
                "resources/subscribe",
                json!({ "uri": format!("docs://page/{ARGUMENT}") }),
            ),
            (
                "completion/complete",
                json!({ "ref": { "type": "ref/prompt", "name": "docs_review" },
                        "argument": { "name": "q", "value": ARGUMENT } }),
            ),
        ] {
            let replies = [
                client.legacy(method, params.clone()).await,
                client.modern(method, params).await,
            ];
            self.replies.extend(replies);
        }
    }

    async fn builtins(&mut self, client: &Client) {
        for (tool, arguments) in [
            ("whoami", json!({})),
            ("whoami", json!({ "unwanted": ARGUMENT })),
            ("find_tools", json!({ "query": ARGUMENT })),
            ("find_tools", json!({ "names": [ARGUMENT] })),
            (
                "read_cortex_resource",
                json!({ "uri": format!("docs://{ARGUMENT}") }),
            ),
            ("list_cortex_resources", json!({})),
            (
                "report_missing_capability",
                json!({ "whatIWanted": TICKET, "userIntent": TICKET, "severity": "blocking", "suggestedShape": TICKET }),
            ),
            ("list_cortex_tickets", json!({})),
            ("list_cortex_tickets", json!({ "status": ARGUMENT })),
        ] {
            let reply = client.call(tool, arguments).await;
            self.keep(reply);
        }
        eventually(
            || !self.issuer.seen("/hook").is_empty(),
            || self.gateway.log(),
        )
        .await;
    }

    async fn failing_backends(&mut self, client: &Client) {
        let error =
            json!({ "error": { "code": "x", "message": BACKEND_ERROR }, "detail": BACKEND_ERROR });
        let mut plans: Vec<Plan> = [400, 401, 403, 404, 409, 422, 429, 500, 503]
            .map(|status| Plan::Json(status, error.clone()))
            .into();
        plans.extend([
            Plan::Raw(200, "Zq7backenderror5tGh1 is no JSON"),
            Plan::Raw(500, "<h1>Zq7backenderror5tGh1</h1>"),
            Plan::Redirect(format!("http://127.0.0.1:9/{BACKEND_ERROR}")),
            Plan::Hang,
            Plan::BreakOff,
        ]);
        let reply = client.call("swap_odd", json!({ "q": ARGUMENT })).await;
        self.keep(reply);
        for plan in plans {
            self.backend.plan("odd", plan);
            let reply = client.call("docs_odd", json!({ "q": ARGUMENT })).await;
            self.keep(reply);
        }
        let text = BACKEND_ERROR.to_owned();
        self.mcp.plan("tools/call", move |message| {
            cortex_tests::mcp_server::Answer::Json(200, message.error(-32000, &text))
        });
        let reply = client.call("wiki_say", json!({ "q": ARGUMENT })).await;
        self.keep(reply);
    }

    async fn mischief(&mut self, client: &Client) {
        for deed in [
            "trap",
            "spin",
            "leak",
            "recurse",
            "steal_token",
            "call_home",
            "ok",
        ] {
            let arguments = json!({ "q": ARGUMENT, "url": "http://127.0.0.1:9/" });
            let reply = client.call(&format!("rogue_{deed}"), arguments).await;
            self.keep(reply);
        }
        // One that asks, and is answered; what it keeps meanwhile is sealed.
        let can = json!({ "elicitation": { "form": {} } });
        let form = json!({ "who": { "method": "elicitation/create", "params": {
            "mode": "form", "message": "Who?", "requestedSchema": { "type": "object", "properties": {} } } } });
        let arguments = json!({ "requests": form, "state": ARGUMENT });
        let ask = async |more: Value| {
            let arguments = arguments.clone();
            client
                .modern_call(can.clone(), "rogue_ask", arguments, &more)
                .await
        };
        let asked = ask(json!({})).await.result();
        let state = asked["requestState"].as_str().expect("a state").to_owned();
        self.canaries
            .push(Canary::new("the state of a request", &state));
        let responses = json!({ "who": { "action": "accept", "content": { "name": ARGUMENT } } });
        for state in [format!("{state}x"), state] {
            let more = json!({ "requestState": state, "inputResponses": responses });
            let reply = ask(more).await;
            self.replies.push(reply);
        }
    }

    async fn malformed(&mut self, client: &Client) {
        let long = format!("{{\"x\":\"{}\"}}", ARGUMENT.repeat(2_000));
        for body in [
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"docs_echo\",\"arguments\":\"{ARGUMENT}\"}}}}"
            ),
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":[\"{ARGUMENT}\"]}}"
            ),
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{{\"x\":\"{ARGUMENT}\"}},\"method\":\"ping\"}}"),
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"docs_echo\",\"name\":\"{ARGUMENT}\"}}}}"
            ),
            format!("not JSON {ARGUMENT}"),
            format!("{{\"jsonrpc\":\"2.0\",\"result\":\"{ARGUMENT}\",\"id\":4}}"),
            format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":9,\"reason\":\"{ARGUMENT}\"}}}}"
            ),
            format!("\u{1f}{ARGUMENT}\""),
            long,
        ] {
            let reply = client
                .post(body, &[("mcp-protocol-version", "2025-11-25")])
                .await;
            self.keep(reply);
        }
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let header = [
            ("x-cortex-backends", ARGUMENT),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        let reply = client.post(list, &header).await;
        self.keep(reply);
        let note = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{ARGUMENT}\"}}");
        let reply = client
            .post(note, &[("mcp-protocol-version", "2025-11-25")])
            .await;
        self.keep(reply);
        let asked = format!("{{\"method\":\"{ARGUMENT}\",\"params\":{{}}}}");
        let path = "/api/mcp-adapter/wiki/backend";
        let authorization = format!("Bearer {}", self.key.token(&self.claims()));
        let header = [("authorization", authorization.as_str())];
        let reply = client.send(Method::POST, path, &header, asked).await;
        self.keep(reply.expect("an answer"));
        // Words of the caller where names are expected.
        for (method, params) in [
            (
                "tools/call",
                json!({ "name": format!("docs_{ARGUMENT}"), "arguments": {} }),
            ),
            ("prompts/get", json!({ "name": format!("docs_{ARGUMENT}") })),
            (ARGUMENT, json!({})),
            ("logging/setLevel", json!({ "level": ARGUMENT })),
        ] {
            let replies = [
                client.legacy(method, params.clone()).await,
                client.modern(method, params).await,
            ];
            self.replies.extend(replies);
        }
        for (name, value) in [
            ("mcp-session-id", ARGUMENT),
            ("mcp-protocol-version", ARGUMENT),
            ("last-event-id", ARGUMENT),
            ("x-dev-mode", ARGUMENT),
            ("content-type", ARGUMENT),
            ("x-cortex-context-budget", ARGUMENT),
            ("traceparent", ARGUMENT),
            ("cookie", ARGUMENT),
            ("origin", ARGUMENT),
            ("origin", "http://user:Zq7argument9vBn4Rw@localhost"),
            ("x-cortex-tool-mode", ARGUMENT),
        ] {
            let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
            let reply = client.post(ping, &[(name, value)]).await;
            self.keep(reply);
        }
    }

    /// Tokens that do not get in, and secrets where they do not belong.
    async fn strangers(&mut self) {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let mut wrong: Vec<(&str, Value)> = Vec::new();
        for (name, member, value) in [
            ("an expired token", "exp", json!(now() - 1_000)),
            (
                "a token for somebody else",
                "aud",
                json!("https://elsewhere.example"),
            ),
            (
                "a token of another issuer",
                "iss",
                json!("https://elsewhere.example"),
            ),
            ("a token without a subject", "sub", Value::Null),
        ] {
            let mut claims = self.claims();
            claims[member] = value;
            wrong.push((name, claims));
        }
        for (name, claims) in wrong {
            let client = self.client(name, &claims);
            let reply = client.post(ping, &[]).await;
            assert_eq!(reply.status, 401, "{name}");
            self.keep(reply);
        }
        let other = Key::generate(Alg::Rs256, "unknown").token(&self.claims());
        token(&mut self.canaries, "a token of an unknown key", &other);
        let garbage = "Zq7garbagetoken4pOi7";
        self.canaries
            .push(Canary::new("a token that is none", garbage));
        let basic = "WnE3YmFzaWM6WnE3YmFzaWNwYXNzd29yZA==";
        self.canaries
            .push(Canary::new("a password", "Zq7basicpassword"));
        for credential in [
            format!("Bearer {other}"),
            format!("Bearer {garbage}"),
            format!("bearer  {garbage}"),
            garbage.to_owned(),
            format!("Basic {basic}"),
        ] {
            let anonymous = self.gateway.client.anonymous();
            let reply = anonymous
                .post(ping, &[("authorization", &credential)])
                .await;
            assert_eq!(reply.status, 401, "{credential}");
            self.keep(reply);
        }
        for (method, path, header) in [
            (
                Method::POST,
                format!("/mcp?access_token={garbage}"),
                ("accept", "application/json"),
            ),
            (Method::GET, format!("/?token={garbage}"), ("accept", "*/*")),
            (Method::GET, format!("/{garbage}"), ("accept", "*/*")),
            (
                Method::GET,
                "/metrics".to_owned(),
                ("x-cortex-admin-secret", garbage),
            ),
            (
                Method::POST,
                "/api/admin/tool-integrity".to_owned(),
                ("x-cortex-admin-secret", garbage),
            ),
            (
                Method::POST,
                "/api/mcp-adapter/wiki/backend".to_owned(),
                ("authorization", "Bearer Zq7garbagetoken4pOi7"),
            ),
            (
                Method::GET,
                format!("/api/link/wiki/callback?code={garbage}&state={garbage}"),
                ("cookie", "cortex=Zq7garbagetoken4pOi7"),
            ),
            (
                Method::GET,
                format!("/api/link/wiki/start?for={garbage}"),
                ("cookie", "cortex=Zq7garbagetoken4pOi7"),
            ),
            (
                Method::GET,
                format!("/connections?x={garbage}"),
                ("cookie", "cortex=Zq7garbagetoken4pOi7"),
            ),
            (
                Method::POST,
                "/api/cron/purge-audit".to_owned(),
                ("authorization", "Bearer Zq7garbagetoken4pOi7"),
            ),
        ] {
            let client = self.gateway.client.anonymous();
            let reply = client.send(method, &path, &[header], "").await;
            self.keep(reply.expect("an answer"));
        }
        // Revoked: the issuer says so.
        self.issuer.answer(
            "/introspect",
            Answer::Json(200, json!({ "active": false, "username": EMAIL })),
        );
        let claims = self.claims();
        let client = self.client("a revoked token", &claims);
        let reply = client.post(ping, &[]).await;
        assert_eq!(reply.status, 401);
        self.keep(reply);
        // And here the issuer answers what nobody expects.
        self.issuer.answer(
            "/introspect",
            Answer::Json(500, json!({ "error": INTROSPECTION })),
        );
        let client = self.client("a token that is not checked", &claims);
        let reply = client.post(ping, &[]).await;
        self.keep(reply);
    }

    async fn gone(&mut self, client: &Client) {
        self.backend.plan("other", Plan::Hang);
        let before = self.backend.abandoned();
        let call = client.call("docs_other", json!({ "q": ARGUMENT }));
        let _ = tokio::time::timeout(Duration::from_millis(300), call).await;
        eventually(|| self.backend.abandoned() > before, || self.gateway.log()).await;
    }
}

#[tokio::test]
async fn nothing_of_a_call_turns_up_anywhere_else() {
    let mut place = Place::start().await;
    let mut claims = place.claims();
    let client = place.client("a good token", &claims);
    place.successes(&client).await;
    place.prompts_and_resources(&client).await;
    place.builtins(&client).await;
    place.failing_backends(&client).await;
    place.mischief(&client).await;
    place.malformed(&client).await;
    place.gone(&client).await;
    claims["scope"] = json!("other");
    claims["jti"] = json!("another");
    let poor = place.client("a token without the scope", &claims);
    let reply = poor.call("docs_echo", json!({ "q": ARGUMENT })).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    place.keep(reply);
    place.strangers().await;

    // The records of all that are there, those of the failed calls included.
    let records = place.gateway.audited(|records| records.len() > 80).await;
    for code in [
        "insufficient_scope",
        "backend_timeout",
        "plugin_trap",
        "client_closed",
        "invalid_token",
    ] {
        let there = records.iter().any(|record| record["error_code"] == code);
        assert!(there, "no record says `{code}`: {records:?}");
    }
    assert!(
        place.gateway.log().contains("TRACE"),
        "the log is talkative"
    );
    let mut written = Written::by(&place.gateway).await;
    // What exporters send is written, too.
    for sent in place.issuer.seen("/v1/logs") {
        written
            .0
            .push(("the collector".to_owned(), sent.body.into_bytes()));
    }
    written.0.extend(place.sent_elsewhere().await.0);
    written.is_clean(&place.canaries, |place, canary| {
        // Tickets are written to be read by operators: they are in the store as they are.
        canary == "a ticket" && place.contains("/data/store/")
        // The operator's own file.
            || canary == "a plugin's secret" && place.ends_with("plugins/audit-otlp.toml")
    });
    // Callers get their own arguments and results, and what the backend says to them; nobody gets a secret.
    let mut answers = Written(Vec::new());
    for reply in &place.replies {
        answers.reply("/mcp", reply);
    }
    answers.is_clean(&place.canaries, |_, canary| {
        matches!(
            canary,
            "an argument" | "a result" | "a backend's error" | "a ticket" | "an email"
        ) || canary == "the state of a request"
            // Pages under another name of the gateway's lead to the same URL under its own.
            || canary == "a token that is none"
    });
    // Whatever is kept for after a crash or a stop is searched as well.
    let dir = place.gateway.dir().to_path_buf();
    let builder = place.gateway.kill().await;
    let mut left = Written(Vec::new());
    left.files(&dir);
    left.0.resize_with(left.0.len().max(31), Default::default);
    left.is_clean(&place.canaries, |place, canary| {
        canary == "a ticket" && place.contains("/data/store/")
    });
    drop(builder);
}

#[tokio::test]
async fn nothing_of_linked_accounts_turns_up() {
    let stand = Stand::with(|builder| {
        builder
            .env("RUST_LOG", TALKATIVE)
            .env("CORTEX_ADMIN_SECRET", ADMIN)
    })
    .await;
    let mut canaries = vec![Canary::new("the vault's key", VAULT_KEY)];
    let asked = stand.whose("ada").await;
    let state = asked.result()["requestState"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    canaries.push(Canary::new("the state of a request", &state));
    let invitation = asked_to_open(&asked);
    let invitation = invitation.split("for=").nth(1).expect("a seal");
    canaries.push(Canary::new("an invitation", invitation));
    let mut browser = stand.link("ada").await;
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    // Renewed, refused, and gone.
    stand.notes.expire_access("ada-at-notes");
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    let said = json!({ "error": "server_error", "error_description": ECHOED });
    stand.notes.instead("/token", Instead::Json(500, said));
    stand.notes.expire_access("ada-at-notes");
    stand.whose("ada").await;
    stand.notes.as_usual("/token");
    canaries.push(Canary::new("what the provider says of an error", ECHOED));
    stand.notes.revoke_all("ada-at-notes");
    stand.whose("ada").await;
    for path in [
        "/connections",
        "/api/link/notes/start",
        "/api/link/notes/callback?code=Zq7code&state=Zq7state",
    ] {
        browser.get(&stand.at(path)).await;
    }
    for at in [&stand.notes, &stand.issuer] {
        for asked in at.seen("/token").iter().chain(&at.seen("/authorize")) {
            for (name, value) in &asked.params {
                let secret = [
                    "code",
                    "code_verifier",
                    "state",
                    "refresh_token",
                    "client_secret",
                    "assertion",
                ];
                if secret.contains(&name.as_str()) && value.len() >= 12 {
                    canaries.push(Canary::new(&format!("the parameter {name}"), value));
                }
            }
        }
        for (n, given) in at.tokens().iter().enumerate() {
            token(&mut canaries, &format!("token {n}"), given);
        }
    }
    for cookie in browser.cookies(&stand.base) {
        let value = cookie
            .split_once('=')
            .map_or(cookie.as_str(), |(_, value)| value);
        if value.len() >= 12 {
            canaries.push(Canary::new("a cookie", value));
        }
    }
    assert!(
        canaries.len() > 15,
        "there is something to look for: {}",
        canaries.len()
    );
    Written::by(&stand.gateway)
        .await
        .is_clean(&canaries, |_, _| false);
}

#[tokio::test]
async fn nothing_turns_up_in_the_log_of_a_bridge() {
    use std::process::Stdio;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!(RESULT)));
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let mut claims = issuer.claims();
    claims["scope"] = json!("mcp:test:use");
    let presented = key.token(&claims);
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = tokio::process::Command::new(cortex_tests::binary("cortex-gateway"))
        .args(["stdio", "--url", &format!("http://{}/mcp", gateway.address)])
        .env("CORTEX_STDIO_DATA_DIR", dir.path())
        .env("CORTEX_STDIO_TOKEN", &presented)
        .env("RUST_LOG", TALKATIVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    for body in [
        json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": "2025-11-25",
            "capabilities": {}, "clientInfo": { "name": "tests", "version": "1" } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "docs_echo", "arguments": { "q": ARGUMENT } } }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": { "name": ARGUMENT, "arguments": { "q": ARGUMENT } } }),
    ] {
        let line = format!("{body}\n");
        stdin.write_all(line.as_bytes()).await.expect("written");
    }
    let garbage = format!("not JSON {ARGUMENT}\n");
    stdin.write_all(garbage.as_bytes()).await.expect("written");
    drop(stdin);
    let (mut said, mut log) = (String::new(), Vec::new());
    let (mut stdout, mut stderr) = (
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    let (out, err) = tokio::join!(
        stdout.read_to_string(&mut said),
        stderr.read_to_end(&mut log)
    );
    out.and(err).expect("read");
    assert!(said.contains(RESULT), "{said}");
    let mut canaries = vec![
        Canary::new("an argument", ARGUMENT),
        Canary::new("a result", RESULT),
    ];
    token(&mut canaries, "the token", &presented);
    let mut written = Written(vec![("the log".to_owned(), log)]);
    written.files(dir.path());
    written
        .0
        .resize_with(written.0.len().max(31), Default::default);
    written.is_clean(&canaries, |_, _| false);
}
