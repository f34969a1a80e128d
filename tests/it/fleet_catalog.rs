//! Several gateways that share what they know: catalogs, plugins, and tokens that are not good any more.

use std::time::Duration;

use cortex_tests::between::Between;
use cortex_tests::fleet::STATE_KEY;
use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::postgres::Postgres;
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use http::Method;
use serde_json::{Value, json};

const ADMIN: &str = "admin-secret-of-the-tests";

/// A gateway of the fleet.
pub(crate) fn member(between: &Between) -> GatewayBuilder {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_STATE_KEY", STATE_KEY)
        .env("CORTEX_ADMIN_SECRET", ADMIN)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0");
    between.joined_by(gateway)
}

/// Where gateways keep together what lasts: one beside Redis, or what is between them anyway.
pub(crate) struct Database(Option<Postgres>);

impl Database {
    /// If it is installed.
    pub(crate) fn of(between: &Between) -> Option<Self> {
        Some(Self(match between {
            Between::Redis(_) => Some(Postgres::start()?),
            Between::Postgres(_) => None,
        }))
    }

    /// A gateway of the fleet that keeps everything there.
    pub(crate) fn member(&self, between: &Between) -> GatewayBuilder {
        match &self.0 {
            Some(postgres) => member(between).env("CORTEX_DATABASE_URL", &postgres.url()),
            None => member(between),
        }
    }
}

/// With a backend whose adapter does what it is told.
pub(crate) fn with_mischief(gateway: GatewayBuilder) -> GatewayBuilder {
    gateway
        .plugin("mischief")
        .backend("bad", "http://127.0.0.1:9")
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:mischief:use")
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never was so: {what}");
}

/// Waits until a gateway lists exactly these tools of the backend.
pub(crate) async fn lists(gateway: &Gateway, tools: &[&str]) {
    let wanted: Vec<String> = tools.iter().map(|tool| format!("docs_{tool}")).collect();
    until(
        &format!("it lists {wanted:?}: {}", gateway.address),
        || async {
            let listed = gateway.client.modern("tools/list", json!({})).await;
            let names = listed.tool_names();
            let of_docs = names.iter().filter(|name| name.starts_with("docs_"));
            of_docs.eq(&wanted)
        },
    )
    .await;
}

/// A figure of a gateway.
pub(crate) async fn figure(gateway: &Gateway, name: &str) -> f64 {
    let secret = [("x-cortex-admin-secret", ADMIN)];
    let metrics = gateway.client.send(Method::GET, "/metrics", &secret, "");
    let text = metrics.await.expect("an answer").text();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

async fn refreshes(gateway: &Gateway, result: &str) -> f64 {
    let name = format!("cortex_catalog_refreshes_total{{backend=\"docs\",result=\"{result}\"}}");
    figure(gateway, &name).await
}

async fn docs(tools: &[&str]) -> FakeBackend {
    FakeBackend::start(json!(
        tools
            .iter()
            .map(|tool| FakeBackend::tool(tool))
            .collect::<Vec<_>>()
    ))
    .await
}

fn offers(backend: &FakeBackend, tools: &[&str]) {
    let tools: Vec<Value> = tools.iter().map(|tool| FakeBackend::tool(tool)).collect();
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
}

fn asked(backend: &FakeBackend) -> usize {
    backend.seen("list_tools").len()
}

cortex_tests::through_each!(
    a_backend_is_asked_by_one_gateway_for_all,
    when_the_one_that_asks_is_killed_another_one_asks,
    a_backend_that_is_down_is_down_for_all_and_comes_back_for_all,
    gateways_that_run_different_plugins_are_noticed,
    a_token_that_the_issuer_ended_is_forgotten_by_all,
    what_an_operator_approves_at_one_gateway_is_approved_at_all,
    what_an_operator_revokes_at_one_gateway_is_refused_by_all,
);

async fn a_backend_is_asked_by_one_gateway_for_all(between: Between) {
    let backend = docs(&["one"]).await;
    let started = (0..3).map(|_| {
        let member = member(&between).backend("docs", &backend.url());
        member.env("CORTEX_REFRESH_SECONDS", "2").start()
    });
    let gateways = futures_util::future::join_all(started).await;
    for gateway in &gateways {
        gateway.ready().await;
        lists(gateway, &["one"]).await;
    }
    // Each gets new answers again and again, and most of them are not its own.
    let counted = async || {
        let (mut own, mut all) = (0.0, Vec::new());
        for gateway in &gateways {
            let asked = refreshes(gateway, "good").await;
            own += asked;
            all.push(asked + refreshes(gateway, "shared").await);
        }
        (own, all)
    };
    let (own, all) = counted().await;
    until("each has new answers", || async {
        let (_, now) = counted().await;
        now.iter()
            .zip(&all)
            .all(|(now, before)| now - before >= 5.0)
    })
    .await;
    let (now, all_now) = counted().await;
    let (own, all) = (
        now - own,
        all_now.iter().sum::<f64>() - all.iter().sum::<f64>(),
    );
    assert!(own <= all / 2.0, "{all} answers, of them {own} asked for");
    // What one learns all of them publish.
    offers(&backend, &["one", "two"]);
    for gateway in &gateways {
        lists(gateway, &["one", "two"]).await;
    }
    // One that starts takes what is there.
    let late = member(&between)
        .backend("docs", &backend.url())
        .start()
        .await;
    late.ready().await;
    lists(&late, &["one", "two"]).await;
    assert_eq!(refreshes(&late, "good").await, 0.0, "{}", late.log());
}

async fn when_the_one_that_asks_is_killed_another_one_asks(between: Between) {
    let backend = docs(&["one"]).await;
    backend.plan("list_tools", Plan::Hang);
    let first = member(&between)
        .backend("docs", &backend.url())
        .start()
        .await;
    eventually(|| asked(&backend) == 1, || first.log()).await;
    let second = member(&between)
        .backend("docs", &backend.url())
        .start()
        .await;
    // The second one has no answer, and does not ask.
    let listed = second.client.modern("tools/list", json!({})).await;
    assert!(!listed.tool_names().contains(&"docs_one".to_owned()));
    assert_eq!(asked(&backend), 1);
    offers(&backend, &["one"]);
    drop(first.kill().await);
    lists(&second, &["one"]).await;
    assert_eq!(asked(&backend), 2);
}

async fn a_backend_that_is_down_is_down_for_all_and_comes_back_for_all(between: Between) {
    let backend = docs(&["one"]).await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let member = member(&between).backend("docs", &backend.url());
        gateways.push(member.env("CORTEX_REFRESH_SECONDS", "2").start().await);
    }
    for gateway in &gateways {
        lists(gateway, &["one"]).await;
    }
    backend.plan("list_tools", Plan::Json(500, json!({})));
    for gateway in &gateways {
        lists(gateway, &[]).await;
    }
    let mut failed = 0.0;
    for gateway in &gateways {
        failed += refreshes(gateway, "failed").await;
    }
    assert!(failed >= 2.0, "two had to see it: {failed}");
    offers(&backend, &["one"]);
    for gateway in &gateways {
        lists(gateway, &["one"]).await;
    }
}

#[tokio::test]
async fn without_redis_each_asks_by_itself_and_they_find_together_again() {
    let Some(mut between) = Between::redis() else {
        return;
    };
    let backend = docs(&["one"]).await;
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let member = member(&between).backend("docs", &backend.url());
        gateways.push(member.env("CORTEX_REFRESH_SECONDS", "1").start().await);
    }
    for gateway in &gateways {
        lists(gateway, &["one"]).await;
    }
    between.stop();
    offers(&backend, &["two"]);
    for gateway in &gateways {
        lists(gateway, &["two"]).await;
    }
    between.run();
    let mut shared = Vec::new();
    for gateway in &gateways {
        shared.push(refreshes(gateway, "shared").await);
    }
    until("they share again", || async {
        let mut more = 0.0;
        for (gateway, before) in gateways.iter().zip(&shared) {
            more += refreshes(gateway, "shared").await - before;
        }
        more >= 3.0
    })
    .await;
    offers(&backend, &["three"]);
    for gateway in &gateways {
        lists(gateway, &["three"]).await;
    }
}

async fn gateways_that_run_different_plugins_are_noticed(between: Between) {
    let start = async || {
        let gateway = with_mischief(member(&between)).start().await;
        gateway.ready().await;
        gateway
    };
    let (here, mut there) = (start().await, start().await);
    let differing = async |gateway: &Gateway| -> Value {
        let (code, out, err) = gateway.operator(&["plugin", "list", "--json"]).await;
        assert_eq!(code, Some(0), "{err}");
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        answer["differing"].clone()
    };
    let grants = |gateway: &Gateway| {
        let settings = gateway.dir().join("plugins/mischief.toml");
        std::fs::write(settings, "[grants]\nkv-kib = 4\n").expect("written");
    };
    let keeps = async |gateway: &Gateway| {
        let arguments = json!({ "key": "k", "value": "1" });
        let kept = gateway.client.call("bad_keep", arguments).await;
        kept.tool_text().0.starts_with("Ok(())")
    };
    assert_eq!(differing(&there).await, json!({}));
    assert!(!keeps(&here).await && !keeps(&there).await);
    grants(&here);
    until("the other one knows", || async {
        let variants = differing(&there).await["mischief"].clone();
        variants
            .as_array()
            .is_some_and(|variants| variants.len() == 2)
    })
    .await;
    assert_eq!(figure(&there, "cortex_fleet_plugins_differing ").await, 1.0);
    let said = there
        .logged("gateways run different versions of this plugin")
        .await;
    assert!(said.contains("sha256"), "{said}");
    // Each goes by its own file.
    until("it counts in calls", || keeps(&here)).await;
    assert!(!keeps(&there).await);
    grants(&there);
    until("they are the same again", || async {
        differing(&there).await == json!({})
    })
    .await;
    until("it counts in calls there, too", || keeps(&there)).await;
    assert!(keeps(&here).await);
}

async fn a_token_that_the_issuer_ended_is_forgotten_by_all(between: Between) {
    use cortex_tests::issuer::Answer;
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    issuer.answer("/introspect", Answer::Json(200, json!({ "active": true })));
    let start = async |ttl: &str| {
        let member = member(&between).issuer(&issuer);
        let member = member
            .env(
                "OAUTH_INTROSPECT_URL",
                &format!("{}/introspect", issuer.url()),
            )
            .env("OAUTH_INTROSPECT_CLIENT_ID", "gateway")
            .env("OAUTH_INTROSPECT_CLIENT_SECRET", "secret")
            .env("OAUTH_INTROSPECT_CACHE_TTL_SECONDS", ttl);
        member.start().await
    };
    // One asks often, the other one would believe the first answer for an hour.
    let (often, seldom) = (start("1").await, start("3600").await);
    let token = key.token(&issuer.claims());
    let call = async |gateway: &Gateway| {
        let client = gateway.client.with_token(&token);
        client.modern("tools/list", json!({})).await.status.as_u16()
    };
    assert_eq!((call(&often).await, call(&seldom).await), (200, 200));
    issuer.answer("/introspect", Answer::Json(200, json!({ "active": false })));
    assert_eq!(call(&seldom).await, 200);
    until("the first one asks again", || async {
        call(&often).await == 401
    })
    .await;
    until("the other one knows it, too", || async {
        call(&seldom).await == 401
    })
    .await;
}

#[tokio::test]
async fn tokens_are_revoked_by_their_id_and_by_their_subject_and_lifted() {
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new().issuer(&issuer).start().await;
    let token = |jti: &str, subject: &str, ago: u64| {
        let mut claims = issuer.claims();
        let now = claims["iat"].as_u64().expect("a time");
        claims["jti"] = json!(jti);
        claims["sub"] = json!(subject);
        claims["iat"] = json!(now - ago);
        key.token(&claims)
    };
    let (ada, bob) = (token("a-1", "ada", 30), token("b-1", "bob", 30));
    let call = async |gateway: &Gateway, token: &str| {
        let reply = gateway
            .client
            .with_token(token)
            .modern("tools/list", json!({}))
            .await;
        let challenge = reply.headers.get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().expect("text").to_owned());
        (reply.status.as_u16(), challenge.unwrap_or_default())
    };
    let operate = async |gateway: &Gateway, arguments: &[&str]| -> Value {
        let arguments = [&["tokens"], arguments, &["--json"]].concat();
        let (code, out, err) = gateway.operator(&arguments).await;
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).expect("JSON")
    };
    assert_eq!(call(&gateway, &ada).await.0, 200);
    operate(&gateway, &["revoke", "--id", "a-1"]).await;
    let (status, challenge) = call(&gateway, &ada).await;
    assert_eq!(status, 401);
    assert!(
        challenge.contains("invalid_token") && challenge.contains("revoked"),
        "{challenge}"
    );
    assert_eq!(call(&gateway, &bob).await.0, 200);
    assert_eq!(
        operate(&gateway, &["lift", "--id", "a-1"]).await["lifted"],
        true
    );
    assert_eq!(call(&gateway, &ada).await.0, 200);

    let of_ada = ["--subject", &issuer.url(), "ada"];
    operate(
        &gateway,
        &[&["revoke"][..], &of_ada[..], &["--days", "1"]].concat(),
    )
    .await;
    assert_eq!(call(&gateway, &ada).await.0, 401);
    assert_eq!(call(&gateway, &bob).await.0, 200);
    // What is issued after that is good. (Clocks may differ by a minute.)
    let mut claims = issuer.claims();
    claims["sub"] = json!("ada");
    claims["iat"] = json!(claims["iat"].as_u64().expect("a time") + 30);
    assert_eq!(call(&gateway, &key.token(&claims)).await.0, 200);
    // It is known after a restart, and to commands without a gateway.
    gateway = gateway.stop().await.start().await;
    assert_eq!(call(&gateway, &ada).await.0, 401);
    let listed = operate(&gateway, &["list"]).await;
    assert_eq!(listed["revoked"][0]["subject"], "ada");
    let builder = gateway.stop().await;
    let lifted = [&["tokens", "lift"][..], &of_ada[..]].concat();
    let output = builder.operate(&lifted).await;
    assert!(output.status.success(), "{output:?}");
    gateway = builder.start().await;
    assert_eq!(call(&gateway, &ada).await.0, 200);
    let none = operate(&gateway, &["list"]).await;
    assert_eq!(none["revoked"], json!([]));
}

async fn what_an_operator_approves_at_one_gateway_is_approved_at_all(between: Between) {
    let Some(database) = Database::of(&between) else {
        return;
    };
    let backend = docs(&["one"]).await;
    // All of them see it first, at the same time.
    let started = (0..3).map(|_| {
        database
            .member(&between)
            .backend("docs", &backend.url())
            .env("CORTEX_TOOL_INTEGRITY_MODE", "block")
            .env("CORTEX_REFRESH_SECONDS", "2")
            .start()
    });
    let gateways = futures_util::future::join_all(started).await;
    for gateway in &gateways {
        lists(gateway, &["one"]).await;
    }
    let mut changed = FakeBackend::tool("one");
    changed["description"] = json!("Something else.");
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": [changed] })));
    for gateway in &gateways {
        lists(gateway, &[]).await;
        let (code, said, _) = gateway.operator(&["baseline", "diff"]).await;
        assert_eq!(code, Some(1), "{said}");
    }
    let approve = ["baseline", "approve", "docs/one"];
    let (code, _, err) = gateways[1].operator(&approve).await;
    assert_eq!(code, Some(0), "{err}");
    for gateway in &gateways {
        lists(gateway, &["one"]).await;
        let (code, said, _) = gateway.operator(&["baseline", "diff"]).await;
        assert_eq!(code, Some(0), "{said}");
    }
}

async fn what_an_operator_revokes_at_one_gateway_is_refused_by_all(between: Between) {
    let Some(database) = Database::of(&between) else {
        return;
    };
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let member = database.member(&between).issuer(&issuer);
        gateways.push(member.start().await);
    }
    let mut claims = issuer.claims();
    claims["jti"] = json!("the-one");
    let token = key.token(&claims);
    let answers = async |gateway: &Gateway, status: u16| {
        let client = gateway.client.with_token(&token);
        until(&format!("it answers {status}"), || async {
            let listed = client.modern("tools/list", json!({})).await;
            listed.status.as_u16() == status
        })
        .await;
    };
    for gateway in &gateways {
        answers(gateway, 200).await;
    }
    for (command, status) in [("revoke", 401), ("lift", 200)] {
        let command = ["tokens", command, "--id", "the-one"];
        let (code, _, err) = gateways[2].operator(&command).await;
        assert_eq!(code, Some(0), "{err}");
        for gateway in &gateways {
            answers(gateway, status).await;
        }
    }
}
