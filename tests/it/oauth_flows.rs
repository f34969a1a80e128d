//! Real OAuth flows: other people's clients log in at the development authorization server of
//! `examples/dev-auth-server` and call tools of the demo backend as the user who did.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use cortex_tests::{Client, Gateway, GatewayBuilder, binary, free_address};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(180);
/// The client that the authorization server knows from the start.
const BASIC: &str = "Basic ZGVtby1hZ2VudDpkZW1vLXNlY3JldA==";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn target(path: &str) -> PathBuf {
    root().join("target").join(path)
}

/// Whether these are installed. Where not, the test is left out, loudly; a build machine
/// (CI=true) insists on them.
pub(crate) fn installed(needed: &[&str]) -> bool {
    let mut missing = needed.iter().filter(|path| !target(path).exists());
    let Some(missing) = missing.next() else {
        return true;
    };
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    assert!(
        !ci,
        "target/{missing} is not installed: run tests/peers/setup.sh"
    );
    eprintln!("SKIPPED: target/{missing} is not installed; `cargo xtask test` does that");
    false
}

/// Starts a program that prints where it listens, and waits until it has.
async fn listening(command: &mut Command, greeting: &str) -> (Child, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let url = said(&mut lines, greeting).await;
    (child, url)
}

/// The rest of the first line that begins like this.
async fn said(lines: &mut Lines<BufReader<ChildStdout>>, greeting: &str) -> String {
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if let Some(rest) = line.strip_prefix(greeting) {
                return rest.trim().to_owned();
            }
        }
        panic!("it ended before it said `{greeting}`");
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("it says something")
}

/// Everything that a client needs to log in and call.
pub(crate) struct Stand {
    pub(crate) gateway: Gateway,
    /// Where the gateway's `/mcp` is.
    pub(crate) url: String,
    /// The authorization server.
    issuer: String,
    /// Holds a certificate for localhost that the authorization server trusts.
    certificates: tempfile::TempDir,
    _processes: [Child; 2],
}

impl Stand {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these variables of the authorization server.
    pub(crate) async fn with(env: &[(&str, &str)]) -> Self {
        // The authorization server is told the gateway's URL before there is a gateway.
        let port = free_address().port();
        let url = format!("http://127.0.0.1:{port}/mcp");
        let certificates = certificates().await;
        let (auth, issuer) = listening(
            Command::new(target("dev-auth-server/node"))
                .arg(target("dev-auth-server/src/main.js"))
                .env_remove("NODE_ENV")
                .env("PORT", "0")
                .env("DEV_AUTH_RESOURCE", &url)
                .envs(env.iter().copied())
                .env(
                    "NODE_EXTRA_CA_CERTS",
                    certificates.path().join("certificate.pem"),
                ),
            "dev-auth-server listening on ",
        )
        .await;
        let (backend, backend_url) = listening(
            Command::new(binary("demo-backend"))
                .env("DEMO_PORT", "0")
                .env("DEMO_OAUTH_ISSUER", &issuer)
                .env("DEMO_OAUTH_AUDIENCE", &url)
                .env("CORTEX_TECHNICAL_TOKEN", "technical-token-of-the-tests"),
            "demo-backend listening on ",
        )
        .await;
        let gateway = GatewayBuilder::new()
            .backend("demo", &backend_url)
            .env("CORTEX_LISTEN", &format!("127.0.0.1:{port}"))
            .env("CORTEX_CANONICAL_URI", &url)
            .env("CORTEX_DEV_BYPASS_TOKEN", "")
            .env("OAUTH_ISSUER", &issuer)
            .env("OAUTH_INTROSPECT_URL", &format!("{issuer}/introspect"))
            .env("OAUTH_INTROSPECT_CLIENT_ID", "demo-agent")
            .env("OAUTH_INTROSPECT_CLIENT_SECRET", "demo-secret")
            // Every call is asked for, so that no test waits for a revocation to be noticed.
            .env("OAUTH_INTROSPECT_CACHE_TTL_SECONDS", "0")
            .env("OAUTH_INTROSPECT_FAIL", "closed")
            .start()
            .await;
        gateway.ready().await;
        Self {
            gateway,
            url,
            issuer,
            certificates,
            _processes: [auth, backend],
        }
    }

    /// Runs one flow of `tests/peers/python_oauth.py`; returns what it reports.
    async fn python(&self, venv: &str, flow: &str) -> Value {
        let output = run(Command::new(python(venv))
            .arg(root().join("tests/peers/python_oauth.py"))
            .args([flow, &self.url, &self.issuer])
            .arg(self.certificates.path()))
        .await;
        let report = succeeded(&output, &self.gateway);
        let report: Value = serde_json::from_str(&report).expect("one line of JSON");
        assert_eq!(report["ok"], true, "{report}");
        report
    }

    /// Runs MCP Inspector's CLI, with a home of its own; returns the command.
    fn inspector(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(target("dev-auth-server/node"));
        command
            .arg(target("peers/inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"))
            .args(["--cli", &self.url, "--transport", "http", "--format", "json"])
            .args(arguments)
            .env("HOME", self.certificates.path())
            .env("MCP_INSPECTOR_SECRET_STORE", "memory");
        command
    }
}

fn python(venv: &str) -> PathBuf {
    target("peers").join(venv).join("bin/python")
}

async fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let made = run(Command::new(python("py2"))
        .arg(root().join("tests/peers/certificate.py"))
        .arg(folder.path()))
    .await;
    assert!(made.status.success(), "{made:?}");
    folder
}

async fn run(command: &mut Command) -> Output {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, running)
        .await
        .expect("it ends")
        .expect("it runs")
}

/// What a program wrote to standard output, if it succeeded.
#[track_caller]
fn succeeded(output: &Output, gateway: &Gateway) -> String {
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{said}\n{complaint}\n{}",
        gateway.log()
    );
    said.trim().to_owned()
}

const PYTHON: [&str; 3] = [
    "dev-auth-server/node",
    "peers/py1/bin/python",
    "peers/py2/bin/python",
];

/// Runs a flow with both generations of the Python SDK; the audit must name the user, the
/// client, and nobody else.
async fn flow(name: &str) {
    if !installed(&PYTHON) {
        return;
    }
    for venv in ["py1", "py2"] {
        let mut stand = Stand::start().await;
        let report = stand.python(venv, name).await;
        let called =
            |record: &&Value| record["method"] == "tools/call" && record["success"] == true;
        let records = stand
            .gateway
            .audited(|records| records.iter().any(|record| called(&record)))
            .await;
        let calls = records.iter().filter(called);
        for call in calls {
            let (who, by) = (&call["caller_sub"], &call["client_id"]);
            assert_eq!((who, by), (&report["sub"], &report["client"]), "{call}");
            assert_eq!(call["dev_bypass"], false, "{call}");
        }
    }
}

#[tokio::test]
async fn a_client_calls_on_its_own_behalf_by_client_credentials() {
    flow("client_credentials").await;
}

#[tokio::test]
async fn a_client_registers_logs_in_and_refreshes_and_a_used_refresh_token_ends_it() {
    flow("dynamic").await;
}

#[tokio::test]
async fn a_client_is_known_by_its_metadata_document() {
    flow("document").await;
}

#[tokio::test]
async fn a_revoked_token_is_over_and_the_client_logs_in_again() {
    flow("revocation").await;
}

#[tokio::test]
async fn a_client_steps_up_when_its_scopes_are_too_small() {
    flow("step_up").await;
}

#[tokio::test]
async fn mcp_inspector_lists_and_calls_with_a_token() {
    if !installed(&PYTHON) || !installed(&["peers/inspector/.pins"]) {
        return;
    }
    let stand = Stand::start().await;
    let report = stand.python("py2", "token").await;
    let header = format!(
        "Authorization: Bearer {}",
        report["token"].as_str().expect("a token")
    );
    for era in ["legacy", "modern"] {
        let common = ["--header", &header, "--protocol-era", era, "--method"];
        let list = [&common[..], &["tools/list"]].concat();
        let listed = succeeded(&run(&mut stand.inspector(&list)).await, &stand.gateway);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let tools = listed["result"]["tools"].as_array().expect("tools");
        assert!(
            tools.iter().any(|tool| tool["name"] == "demo_add_note"),
            "{listed}"
        );
        let arguments = [
            "tools/call",
            "--tool-name",
            "demo_echo",
            "--tool-arg",
            "message=hi",
        ];
        let call = [&common[..], &arguments].concat();
        let called = succeeded(&run(&mut stand.inspector(&call)).await, &stand.gateway);
        let called: Value = serde_json::from_str(&called).expect("JSON");
        let text = called["result"]["content"][0]["text"]
            .as_str()
            .expect("a text");
        let text: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(text["caller"]["sub"], "alice", "{called}");
        assert_eq!(text["echo"]["message"], "hi", "{called}");
    }
}

#[tokio::test]
async fn mcp_inspector_logs_in_by_itself() {
    if !installed(&PYTHON) || !installed(&["peers/inspector/.pins"]) {
        return;
    }
    let stand = Stand::start().await;
    let callback = free_address();
    let mut inspector = stand
        .inspector(&["--method", "tools/call", "--tool-name", "demo_echo"])
        .args([
            "--callback-url",
            &format!("http://{callback}/oauth/callback"),
        ])
        // Without a terminal it wants to hear that somebody has a browser.
        .env("MCP_AUTO_OPEN_ENABLED", "true")
        .env("BROWSER", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(inspector.stderr.take().expect("piped")).lines();
    let place = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if let Some(at) = line.find(&format!("{}/authorize?", stand.issuer)) {
                return line[at..].trim().to_owned();
            }
        }
        panic!("MCP Inspector ended without asking for a login");
    };
    let place = tokio::time::timeout(PATIENCE, place)
        .await
        .expect("it asks for a login");
    let signed_in = run(Command::new(python("py2"))
        .arg(root().join("tests/peers/browser.py"))
        .args([&place, "bob"]))
    .await;
    assert!(signed_in.status.success(), "{signed_in:?}");
    let output = tokio::time::timeout(PATIENCE, inspector.wait_with_output())
        .await
        .expect("it ends")
        .expect("it ended");
    let called = succeeded(&output, &stand.gateway);
    assert!(called.contains(r#"\"sub\":\"bob\""#), "{called}");
}

/// What MCP Inspector's page does by script, and what a page of somebody else must not.
#[tokio::test]
async fn pages_of_this_machine_may_register_and_pages_of_others_may_not() {
    if !installed(&PYTHON) {
        return;
    }
    let stand = Stand::start().await;
    let auth = Client::new(stand.issuer.clone()).anonymous();
    let send = async |method: Method, path: &str, headers: &[(&str, &str)], body: &str| {
        auth.send(method, path, headers, body.to_owned())
            .await
            .expect("an answer")
    };
    let ours = ("origin", "http://localhost:6274");
    let theirs = ("origin", "https://evil.example");
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let metadata = send(Method::GET, path, &[ours], "").await;
        assert_eq!(metadata.status, 200);
        assert_eq!(metadata.header("access-control-allow-origin"), "*");
        let metadata = metadata.json();
        assert_eq!(metadata["issuer"], json!(stand.issuer));
        assert_eq!(
            metadata["code_challenge_methods_supported"],
            json!(["S256"])
        );
        assert_eq!(metadata["client_id_metadata_document_supported"], true);
        assert_eq!(
            metadata["authorization_response_iss_parameter_supported"],
            true
        );
    }
    let registration = json!({
        "client_name": "a page",
        "redirect_uris": ["http://localhost:6274/oauth/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "scope": "mcp:demo:read",
    })
    .to_string();
    let json_body = ("content-type", "application/json");
    let preflight = [
        ours,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let allowed = send(Method::OPTIONS, "/register", &preflight, "").await;
    assert_eq!(allowed.status, 204);
    for reply in [
        allowed,
        send(Method::POST, "/register", &[ours, json_body], &registration).await,
    ] {
        assert!(reply.status.is_success(), "{}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), ours.1);
    }
    for method in [Method::OPTIONS, Method::POST] {
        let refused = send(method, "/register", &[theirs, json_body], &registration).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(refused.header("access-control-allow-origin"), "");
    }
    let rebound = [("host", "evil.example")];
    assert_eq!(
        send(Method::GET, "/", &rebound, "").await.status,
        421,
        "DNS rebinding"
    );

    // A token for somebody else than the gateway is not to be had.
    let form = [
        ("authorization", BASIC),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let wrong = "grant_type=client_credentials&resource=https%3A%2F%2Felsewhere.example%2Fmcp";
    let wrong = send(Method::POST, "/token", &form, wrong).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json()["error"], "invalid_target");
}

/// The authorization server's own tests.
#[tokio::test]
async fn the_authorization_server_passes_its_own_tests() {
    if !installed(&["dev-auth-server/node"]) {
        return;
    }
    let output = run(Command::new(target("dev-auth-server/node"))
        .args(["--test", "--test-reporter=spec", "test/*.test.js"])
        .current_dir(target("dev-auth-server"))
        .env_remove("NODE_ENV"))
    .await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("tests 0"), "{said}");
}

#[tokio::test]
async fn the_demo_with_oauth_lets_a_client_log_in_and_stops_cleanly() {
    if !installed(&PYTHON) {
        return;
    }
    // Built before, so that the demo has little left to do.
    binary("cortex-gateway");
    let mut demo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["xtask", "demo", "--oauth", "--port", "0"])
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // A group of its own, so that Ctrl-C can be pressed as a terminal does it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let url = said(&mut lines, "MCP endpoint:").await;
    let issuer = said(&mut lines, "Authorization server:").await;
    said(&mut lines, "Ctrl-C").await;
    let issuer = issuer.split(' ').next().expect("a URL");
    let output = run(Command::new(python("py2"))
        .arg(root().join("tests/peers/python_oauth.py"))
        .args(["step_up", &url, issuer]))
    .await;
    assert!(output.status.success(), "{output:?}");

    let group = format!("-{}", demo.id().expect("it runs"));
    let ctrl_c = Command::new("kill")
        .args(["-INT", "--", &group])
        .status()
        .await;
    assert!(ctrl_c.expect("kill runs").success());
    let status = tokio::time::timeout(PATIENCE, demo.wait())
        .await
        .expect("it ends")
        .expect("it ended");
    assert_eq!(status.code(), Some(0));
}
