//! The built components in the real engine, without a gateway around them.

use std::sync::Arc;

use cortex_gateway::config::Config;
use cortex_gateway::outbound::Client;
use cortex_gateway::plugin::{
    Adapter, Backend, Directory, Fault, OnBehalf, Runtime, Shown, model::CallError,
};
use cortex_gateway::types::{Issuer, PluginName, Principal, RequestId, Secret, Subject};
use cortex_tests::{FakeBackend, Plan, component};
use serde_json::json;
use tempfile::TempDir;

struct Bench {
    adapter: Arc<Adapter>,
    backend: Backend,
    _dir: TempDir,
}

/// `backend-http` in an engine, and one backend for it.
async fn backend_http(url: &str) -> Bench {
    let dir = tempfile::tempdir().expect("a directory");
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a directory");
    std::fs::copy(component("backend-http"), plugins.join("backend-http.wasm")).expect("copied");
    let config = Config::read(&|name| match name {
        "CORTEX_DEV_BYPASS_TOKEN" | "CORTEX_TECHNICAL_TOKEN" => Some("x".to_owned()),
        "CORTEX_BACKENDS" => Some("docs".to_owned()),
        "CORTEX_BACKEND_DOCS_URL" => Some(url.to_owned()),
        "CORTEX_BACKEND_DOCS_TIMEOUT_MS" => Some("2000".to_owned()),
        _ => None,
    })
    .expect("a configuration");
    let client = Client::new().expect("a client");
    let runtime = Runtime::new(
        &config.plugins,
        Some(&dir.path().join("compiled")),
        client,
        None,
    )
    .expect("an engine");
    let directory = Directory::open(&runtime, &plugins)
        .await
        .expect("a directory");
    let loaded = directory.now();
    let name: PluginName = "backend-http".parse().expect("a name");
    let adapter = Arc::clone(loaded.adapters.get(&name).expect("loaded"));
    let backend = Backend::new(&config.backends[0]);
    Bench {
        adapter,
        backend,
        _dir: dir,
    }
}

fn ada() -> Principal {
    Principal {
        subject: Subject::new("ada\r\nX-Cortex-User-Role: admin"),
        issuer: Issuer::new("https://issuer.example"),
        client_id: None,
        email: Some("ada@höhle.example".to_owned()),
        name: None,
        role: None,
        pool: Some("blue".to_owned()),
        scopes: "b:read a:read".parse().expect("scopes"),
        dev_bypass: false,
    }
}

/// Asks what the backend knows about Ada.
async fn whoami(bench: &Bench) -> Result<Result<String, CallError>, Fault> {
    let shown = Shown::Caller(Secret::new("adas-token".to_owned()));
    let user = OnBehalf {
        backend: &bench.backend,
        caller: &ada(),
        shown: &shown,
        request: RequestId::new(),
    };
    bench.adapter.whoami(user).await
}

#[tokio::test]
async fn whoami_is_asked_as_the_caller_and_hostile_claims_break_no_header() {
    let backend = FakeBackend::start(json!([])).await;
    backend.plan(
        "whoami",
        Plan::Json(200, json!({ "name": "Ada", "team": 7 })),
    );
    let bench = backend_http(&backend.url()).await;
    let answer = whoami(&bench).await;
    let text = answer.expect("no fault").expect("an answer");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
        json!({ "name": "Ada", "team": 7 })
    );
    let seen = &backend.seen("whoami")[0];
    let header = |name: &str| seen.headers[name].to_str().expect("ASCII").to_owned();
    assert_eq!(header("authorization"), "Bearer adas-token");
    assert_eq!(header("x-cortex-scopes"), "a:read b:read");
    assert_eq!(header("x-cortex-user-pool"), "blue");
    assert_eq!(header("x-cortex-user-role"), "");
    assert_eq!(seen.headers.get_all("x-cortex-user-role").iter().count(), 1);
    assert!(
        header("x-cortex-user-id").starts_with("ada%0D%0AX-Cortex"),
        "{:?}",
        seen.headers
    );
    assert_eq!(header("x-cortex-user-email"), "ada@h%C3%B6hle.example");
}

#[tokio::test]
async fn whoami_that_fails_says_how() {
    let backend = FakeBackend::start(json!([])).await;
    let bench = backend_http(&backend.url()).await;
    for (plan, code) in [
        (
            Plan::Json(401, json!({ "error": "expired" })),
            "backend_auth",
        ),
        (Plan::Json(403, json!({ "error": "no" })), "backend_acl"),
        (Plan::Json(500, json!({ "error": "no" })), "backend_error"),
        (Plan::Hang, "backend_timeout"),
        (Plan::Raw(200, "<"), "backend_unavailable"),
    ] {
        backend.plan("whoami", plan);
        let answer = whoami(&bench).await;
        match answer.expect("no fault") {
            Err(CallError::Failed(failure)) => assert_eq!(failure.code, code),
            other => panic!("{code}: {other:?}"),
        }
    }
    backend.plan(
        "whoami",
        Plan::Json(403, json!({ "error": "scope", "required": ["a", "b"] })),
    );
    let answer = whoami(&bench).await;
    match answer.expect("no fault") {
        Err(CallError::MissingScope(missing)) => assert_eq!(missing.required, ["a", "b"]),
        other => panic!("{other:?}"),
    }
}
