//! Other people's clients: the official MCP SDKs list and call through the gateway, and the
//! README's first command does what it says.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cortex_tests::client::DEV_TOKEN;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Gateway, GatewayBuilder, binary};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The demo backend, which knows users by this bearer token.
pub(crate) async fn demo_backend(token: &str) -> (Child, String) {
    let mut backend = Command::new(binary("demo-backend"))
        .env("DEMO_PORT", "0")
        .env("DEMO_DEV_TOKEN", token)
        .env("CORTEX_TECHNICAL_TOKEN", "technical-token-of-the-tests")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(backend.stdout.take().expect("piped")).lines();
    let line = lines.next_line().await.expect("readable").expect("a line");
    let url = line
        .strip_prefix("demo-backend listening on ")
        .expect("its URL")
        .to_owned();
    (backend, url)
}

/// The demo backend and a gateway in front of it.
async fn demo() -> (Child, Gateway) {
    let (backend, url) = demo_backend(DEV_TOKEN).await;
    let gateway = GatewayBuilder::new()
        .backend("demo", &url)
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:demo:read mcp:demo:write")
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

/// The interpreter of a script. Where the SDKs are not installed the test is left out, loudly; a
/// build machine (CI=true) insists on them.
pub(crate) fn interpreter(name: &str, script: &str) -> Option<PathBuf> {
    let interpreter = match name {
        "node" => PathBuf::from("node"),
        venv => root().join("target/peers").join(venv).join("bin/python"),
    };
    let installed = root().join("target/peers/node/.pins").exists()
        && (interpreter.as_os_str() == "node" || interpreter.exists());
    if installed {
        return Some(interpreter);
    }
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    assert!(
        !ci,
        "the MCP SDKs are not installed: run tests/peers/setup.sh"
    );
    eprintln!("SKIPPED {script}: the MCP SDKs are not installed; `cargo xtask test` does that");
    None
}

/// Runs one script against the gateway.
async fn peer(name: &str, script: &str, era: &str) {
    let Some(interpreter) = interpreter(name, script) else {
        return;
    };
    let (_backend, gateway) = demo().await;
    let base = format!("http://{}", gateway.address);
    let command = against(interpreter, script, &base);
    reports(command, era, || gateway.log()).await;
}

/// A script, against whatever is there.
pub(crate) fn against(interpreter: PathBuf, script: &str, base: &str) -> Command {
    let mut command = Command::new(interpreter);
    command
        .arg(root().join("tests/peers").join(script))
        .arg(format!("{base}/mcp"))
        .arg(DEV_TOKEN);
    command
}

/// Runs one script that starts `cortex-gateway stdio` against the gateway, with a token.
async fn peer_over_stdio(name: &str, script: &str, era: &str) {
    let Some(interpreter) = interpreter(name, script) else {
        return;
    };
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut claims = issuer.claims();
    claims["scope"] = "mcp:demo:read mcp:demo:write".into();
    let token = key.token(&claims);
    let (_backend, url) = demo_backend(&token).await;
    let gateway = GatewayBuilder::new().issuer(&issuer).backend("demo", &url);
    let gateway = gateway.start().await;
    gateway.ready().await;
    let mut command = Command::new(interpreter);
    command
        .arg(root().join("tests/peers").join(script))
        .arg(format!("http://{}/mcp", gateway.address))
        .arg(binary("cortex-gateway"))
        .env("CORTEX_STDIO_TOKEN", token);
    reports(command, era, || gateway.log()).await;
}

/// Runs a script and reads its report. `log`: for whoever looks why it failed.
pub(crate) async fn reports(mut command: Command, era: &str, log: impl Fn() -> String) {
    let running = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(120), running)
        .await
        .expect("it ends")
        .expect("it runs");
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{complaint}\n{}", log());
    let report: Value = serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["protocolVersion"], era, "{report}");
    assert!(report["tools"].as_u64().is_some_and(|n| n >= 6), "{report}");
}

#[tokio::test]
async fn python_sdk_1_lists_and_calls() {
    peer("py1", "python_legacy.py", "2025-11-25").await;
}

#[tokio::test]
async fn python_sdk_2_lists_and_calls() {
    peer("py2", "python_modern.py", "2026-07-28").await;
}

#[tokio::test]
async fn typescript_sdk_1_lists_and_calls() {
    peer("node", "ts_legacy.mjs", "2025-11-25").await;
}

#[tokio::test]
async fn typescript_client_2_lists_and_calls() {
    peer("node", "ts_modern.mjs", "2026-07-28").await;
}

#[tokio::test]
async fn python_sdk_1_lists_and_calls_over_stdio() {
    peer_over_stdio("py1", "python_legacy_stdio.py", "2025-11-25").await;
}

#[tokio::test]
async fn python_sdk_2_lists_and_calls_over_stdio() {
    peer_over_stdio("py2", "python_modern_stdio.py", "2026-07-28").await;
}

#[tokio::test]
async fn typescript_sdk_1_lists_and_calls_over_stdio() {
    peer_over_stdio("node", "ts_legacy_stdio.mjs", "2025-11-25").await;
}

#[tokio::test]
async fn typescript_client_2_lists_and_calls_over_stdio() {
    peer_over_stdio("node", "ts_modern_stdio.mjs", "2026-07-28").await;
}

#[tokio::test]
async fn the_first_command_of_the_readme_ends_in_a_call_and_stops_cleanly() {
    // Built before, so that the demo has little left to do.
    binary("cortex-gateway");
    let mut demo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["xtask", "demo", "--port", "0"])
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // A group of its own, so that Ctrl-C can be pressed as a terminal does it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let mut said = String::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            said.push_str(&line);
            said.push('\n');
            if line.contains("Ctrl-C") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(900), reading)
        .await
        .expect("the demo comes up");
    for words in ["/mcp", "demo_echo", "curl", "X-Dev-Mode"] {
        assert!(said.contains(words), "`{words}` in:\n{said}");
    }
    let group = format!("-{}", demo.id().expect("it runs"));
    let ctrl_c = Command::new("kill")
        .args(["-INT", "--", &group])
        .status()
        .await;
    assert!(ctrl_c.expect("kill runs").success());
    let status = tokio::time::timeout(Duration::from_secs(60), demo.wait())
        .await
        .expect("it ends")
        .expect("it ended");
    assert_eq!(status.code(), Some(0), "{said}");
}
