//! `cortex-gateway check` and `doctor`: what an operator is told of a gateway that works, and of each thing that
//! does not.

use std::os::unix::fs::PermissionsExt as _;

use cortex_tests::issuer::{Alg, Answer, FakeIssuer, Key};
use cortex_tests::provider::Instead;
use cortex_tests::{Era, FakeBackend, FakeMcp, GatewayBuilder, Plan, Provider, free_address};
use serde_json::{Value, json};

use crate::linking::VAULT_KEY;

/// What a command said.
struct Told {
    code: Option<i32>,
    report: Value,
    words: String,
}

impl Told {
    async fn by(builder: &GatewayBuilder, command: &str) -> Self {
        let output = builder.operate(&[command, "--json"]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = serde_json::from_str(&said).unwrap_or_else(|error| {
            panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr))
        });
        let words = builder.operate(&[command]).await;
        assert_eq!(words.status.code(), output.status.code());
        Self {
            code: output.status.code(),
            report,
            words: String::from_utf8_lossy(&words.stdout).into_owned(),
        }
    }

    /// State, text and hint of the line that says this.
    #[track_caller]
    fn line(&self, section: &str, text: &str) -> (String, String, String) {
        let sections = self.report["sections"].as_array().expect("sections");
        let lines = sections
            .iter()
            .filter(|one| one["name"] == section)
            .flat_map(|one| one["findings"].as_array().expect("findings"));
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found = lines
            .map(|line| {
                (
                    word(&line["state"]),
                    word(&line["what"]),
                    word(&line["hint"]),
                )
            })
            .find(|(_, what, _)| what.contains(text));
        found.unwrap_or_else(|| panic!("no line of `{section}` says `{text}`:\n{}", self.words))
    }

    #[track_caller]
    fn says(&self, section: &str, state: &str, text: &str) {
        let (found, what, hint) = self.line(section, text);
        assert_eq!(found, state, "{what}");
        assert_eq!(hint.is_empty(), state == "ok", "{what}: {hint}");
        assert!(self.words.contains(text), "{}", self.words);
    }
}

#[tokio::test]
async fn check_tells_all_wrong_values_and_touches_nothing() {
    let builder = GatewayBuilder::new()
        .env("CORTEX_MAX_BODY_BYTES", "many")
        .env("CORTEX_ADMIN_SECRET", "Zq7short")
        .env("CORTEX_BACKEND_DOCS_URL", "http://elsewhere.example")
        .env("CORTEX_BACKENDS", "docs");
    let told = Told::by(&builder, "check").await;
    assert_eq!(told.code, Some(1));
    told.says("configuration", "broken", "CORTEX_MAX_BODY_BYTES is `many`");
    told.says(
        "configuration",
        "broken",
        "CORTEX_ADMIN_SECRET: expected 16 characters",
    );
    told.says(
        "configuration",
        "broken",
        "CORTEX_BACKEND_DOCS_URL is `elsewhere.example`",
    );
    // The plugins are looked at all the same.
    told.says(
        "plugins",
        "ok",
        "`policy-scopes.wasm`: scope-policy policy-scopes",
    );
    assert!(!told.words.contains("Zq7short"), "{}", told.words);
}

#[tokio::test]
async fn check_loads_the_plugin_directory_as_a_start_would() {
    let backend = FakeBackend::start(json!([])).await;
    let hook = "[settings]\nurl = \"https://collector.example/x\"\n";
    let builder = GatewayBuilder::bare()
        .plugin("policy-scopes")
        .plugin("audit-webhook")
        .plugin_file("audit-webhook.toml", hook.as_bytes())
        .plugin_file("policy-scope.toml", b"[settings]\n")
        .plugin_file("broken.wasm", b"no component")
        .backend("docs", &backend.url());
    let told = Told::by(&builder, "check").await;
    assert_eq!(told.code, Some(1));
    told.says(
        "configuration",
        "ok",
        "everything that is set can be used: 1 backends",
    );
    told.says(
        "plugins",
        "broken",
        "`broken.wasm` is refused: it is not WebAssembly",
    );
    told.says(
        "plugins",
        "warning",
        "`audit-webhook.wasm` runs without what it wants: http",
    );
    told.says(
        "plugins",
        "warning",
        "`policy-scope.toml` belongs to no component",
    );
    told.says(
        "plugins",
        "broken",
        "backend `docs` wants the adapter `backend-http`",
    );
    told.says("files", "ok", "nothing is locked");
    assert!(backend.seen("list_tools").is_empty(), "nobody is contacted");

    // A wrong setting, a lock that is none, a directory that is empty.
    let builder = GatewayBuilder::new()
        .plugin("audit-webhook")
        .plugin_file("audit-webhook.toml", b"[settings]\nurl = 3\n");
    let told = Told::by(&builder, "check").await;
    told.says("plugins", "broken", "`audit-webhook.wasm` is refused");
    let builder = GatewayBuilder::new().plugin_file("cortex.lock", b"{}");
    let told = Told::by(&builder, "check").await;
    told.says("plugins", "broken", "`policy-scopes.wasm` is refused");
    told.says("files", "broken", "cannot be used as a lock");
    let told = Told::by(&GatewayBuilder::bare(), "check").await;
    told.says(
        "plugins",
        "broken",
        "no scope-policy is loaded: nothing is allowed",
    );
    told.says("plugins", "broken", "no audit-exporter is loaded");
    let good = Told::by(&GatewayBuilder::new(), "check").await;
    assert_eq!(
        (good.code, &good.report["broken"]),
        (Some(0), &json!(0)),
        "{}",
        good.words
    );
}

#[tokio::test]
async fn check_writes_nothing() {
    let builder = GatewayBuilder::new();
    let gateway = builder.start().await;
    let builder = gateway.stop().await;
    let data = builder.dir().join("data");
    let look = || {
        let entries = std::fs::read_dir(&data).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                (
                    entry.file_name(),
                    entry
                        .metadata()
                        .expect("metadata")
                        .modified()
                        .expect("a time"),
                )
            })
            .collect();
        names.sort();
        names
    };
    let before = look();
    let told = Told::by(&builder, "check").await;
    assert_eq!(told.code, Some(0), "{}", told.words);
    assert_eq!(look(), before);
}

#[tokio::test]
async fn doctor_finds_a_whole_gateway_well() {
    let port = free_address().port();
    let canonical = format!("http://127.0.0.1:{port}/mcp");
    let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &canonical).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("a"), FakeBackend::tool("b")])).await;
    let (wiki, notes) = (FakeMcp::start(Era::Modern).await, Provider::start().await);
    wiki.result("tools/list", json!({ "tools": [FakeMcp::tool("say")] }));
    let gateway = GatewayBuilder::new()
        .env("CORTEX_LISTEN", &format!("127.0.0.1:{port}"))
        .env("CORTEX_CANONICAL_URI", &canonical)
        .env("CORTEX_DEV_BYPASS_TOKEN", "")
        .env("OAUTH_ISSUER", &issuer.url())
        .env("CORTEX_VAULT_KEY", VAULT_KEY)
        .env("CORTEX_TECHNICAL_TOKEN", "Zq7technicaltoken")
        .env("CORTEX_MCP_NOTES_CATALOG_SUB", "robot")
        .backend("docs", &backend.url())
        .mcp_server("wiki", &wiki.url())
        .mcp_server("notes", &notes.mcp())
        .start()
        .await;
    gateway.ready().await;
    let told = Told::by(gateway.builder(), "doctor").await;
    told.says("configuration", "ok", "3 backends, 2 of them MCP servers");
    told.says("data directory", "ok", "is in use by a running gateway");
    told.says("data directory", "ok", "MiB are free");
    told.says("data directory", "ok", "the vault's key fits: 0 accounts");
    told.says("running gateway", "ok", "it runs, version");
    told.says("running gateway", "ok", "/readyz answers 200");
    told.says("backends", "ok", "`docs` lists 2 tools, 0 prompts");
    told.says("MCP servers", "ok", "`wiki` speaks MCP of the modern era");
    told.says("MCP servers", "ok", "`wiki` lists 1 tools");
    told.says("MCP servers", "ok", "`notes` wants an account of each user");
    told.says(
        "MCP servers",
        "ok",
        &format!("`notes` names the authorization server `{}`", notes.url()),
    );
    told.says(
        "MCP servers",
        "ok",
        "`notes`: the gateway registers itself there",
    );
    told.says(
        "issuer",
        "ok",
        "its metadata is at /.well-known/oauth-authorization-server",
    );
    told.says(
        "issuer",
        "ok",
        "1 of the 1 keys that it publishes are of use, for ES256",
    );
    told.says("issuer", "ok", "PKCE S256");
    told.says("issuer", "ok", "its authorization endpoint answers");
    told.says(
        "issuer",
        "ok",
        "its token endpoint refuses a made-up code as it should",
    );
    told.says(
        "as clients see it",
        "ok",
        "/.well-known/oauth-protected-resource/mcp names the resource and the issuer",
    );
    told.says(
        "as clients see it",
        "ok",
        "a request without a token is answered 401, and told",
    );
    told.says(
        "clocks",
        "ok",
        &format!("the clock of `127.0.0.1:{port}` is ours"),
    );
    // The account that lists the tools of `notes` is not linked yet: the gateway itself says so.
    told.says("running gateway", "broken", "backend `notes` is down there");
    assert_eq!(
        (told.code, &told.report["broken"]),
        (Some(1), &json!(1)),
        "{}",
        told.words
    );
    assert!(!told.words.contains("Zq7technicaltoken"), "{}", told.words);
    assert!(
        notes.seen("/register").is_empty() && issuer.seen("/register").is_empty(),
        "nobody is registered"
    );
    assert_eq!(
        backend.seen("list_tools").last().expect("asked").headers["authorization"],
        "Bearer Zq7technicaltoken"
    );

    // The same without the gateway.
    let builder = gateway.stop().await;
    let told = Told::by(&builder, "doctor").await;
    told.says("data directory", "ok", "the store opens");
    told.says("running gateway", "warning", "no gateway runs on");
    told.says("as clients see it", "warning", "takes no connection");
    assert_eq!(told.code, Some(0), "{}", told.words);
}

#[tokio::test]
async fn doctor_names_what_is_wrong_with_those_whom_the_gateway_needs() {
    let port = free_address().port();
    let issuer = FakeIssuer::start(&[]).await;
    let slow = FakeBackend::start(json!([])).await;
    slow.plan("list_tools", Plan::Hang);
    let (poor, down) = (FakeBackend::start(json!([])).await, free_address().port());
    poor.plan("list_tools", Plan::Json(401, json!({ "error": "no" })));
    let notes = Provider::start().await;
    notes.metadata("code_challenge_methods_supported", json!(["plain"]));
    let wiki = Provider::start().await;
    wiki.instead(
        "/.well-known/oauth-protected-resource/mcp",
        Instead::Json(404, json!({})),
    );
    wiki.instead(
        "/.well-known/oauth-protected-resource",
        Instead::Json(404, json!({})),
    );
    issuer.answer("/introspect", Answer::Json(401, json!({})));
    let builder = GatewayBuilder::new()
        .env("CORTEX_LISTEN", &format!("127.0.0.1:{port}"))
        .env(
            "CORTEX_CANONICAL_URI",
            &format!("http://127.0.0.1:{port}/mcp"),
        )
        .issuer(&issuer)
        .env(
            "OAUTH_INTROSPECT_URL",
            &format!("{}/introspect", issuer.url()),
        )
        .env(
            "CORTEX_TICKET_WEBHOOK_URL",
            &format!("http://127.0.0.1:{down}/Zq7hookpath"),
        )
        .backend("slow", &slow.url())
        .backend("poor", &poor.url())
        .backend("gone", &format!("http://127.0.0.1:{down}"))
        .backend("lost", "https://lost.invalid")
        .mcp_server("notes", &notes.mcp())
        .mcp_server("wiki", &wiki.mcp());
    let told = Told::by(&builder, "doctor").await;
    assert_eq!(told.code, Some(1));
    told.says("data directory", "warning", "CORTEX_VAULT_KEY is not set");
    told.says("backends", "warning", "`slow` lists nothing within 5 s");
    told.says("backends", "broken", "`poor` does not say what it offers");
    told.says(
        "backends",
        "broken",
        &format!("`gone`: `127.0.0.1:{down}` takes no connection"),
    );
    told.says(
        "backends",
        "broken",
        "`lost`: the name `lost.invalid` does not resolve",
    );
    told.says(
        "MCP servers",
        "broken",
        "`notes`: nobody can link an account",
    );
    told.says(
        "MCP servers",
        "broken",
        "`wiki`: nobody can link an account",
    );
    told.says(
        "issuer",
        "broken",
        "it publishes 0 keys, none of them of use",
    );
    told.says("issuer", "broken", "does not promise PKCE with S256");
    told.says(
        "issuer",
        "broken",
        "token introspection refuses this gateway",
    );
    told.says("others", "warning", "CORTEX_TICKET_WEBHOOK_URL: `127.0.0.1");
    assert!(!told.words.contains("Zq7hookpath"), "{}", told.words);

    // Somebody else's name, and a clock that nobody would believe.
    let lie = json!({ "issuer": "https://evil.example\u{1b}[2J", "jwks_uri": format!("{}/keys", issuer.url()) });
    issuer.answer(
        "/.well-known/oauth-authorization-server",
        Answer::Json(200, lie),
    );
    let told = Told::by(&builder, "doctor").await;
    told.says(
        "issuer",
        "broken",
        "its metadata names the issuer `https://evil.example",
    );
    assert!(
        !told.words.contains('\u{1b}'),
        "nothing is obeyed by a terminal"
    );
}

#[tokio::test]
async fn doctor_sees_what_is_wrong_on_disk() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_VAULT_KEY", VAULT_KEY)
        .start()
        .await;
    let builder = gateway.stop().await;
    let other = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let builder = builder.env("CORTEX_VAULT_KEY", other);
    let told = Told::by(&builder, "doctor").await;
    let (state, _, _) = told.line(
        "data directory",
        "is not the key that this vault was sealed with",
    );
    assert_eq!(state, "broken");

    let data = builder.dir().join("data");
    let writable = |mode| {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    writable(0o500);
    // The superuser writes anywhere.
    if std::fs::write(data.join("probe"), "x").is_err() {
        let told = Told::by(&builder, "doctor").await;
        told.says("data directory", "broken", "cannot be written to");
    }
    writable(0o700);
}
