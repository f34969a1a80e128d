//! Killed at any moment, a gateway forgets no approval.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cortex_tests::{Client, FakeBackend, binary};
use serde_json::{Value, json};

use super::{offers, tool};

/// Starts a gateway on folders that outlive it, and returns its process once it listens.
async fn start(
    dir: &Path,
    backend: &FakeBackend,
    file: Option<&Path>,
) -> (tokio::process::Child, Client) {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let mut command = tokio::process::Command::new(binary("cortex-gateway"));
    command
        .env("CORTEX_LISTEN", "127.0.0.1:0")
        .env("CORTEX_CANONICAL_URI", "http://localhost:3213/mcp")
        .env("CORTEX_DEV_BYPASS_TOKEN", cortex_tests::client::DEV_TOKEN)
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use")
        .env("CORTEX_TECHNICAL_TOKEN", "t")
        .env("CORTEX_REFRESH_SECONDS", "1")
        .env("CORTEX_TOOL_INTEGRITY_MODE", "block")
        .env("CORTEX_PLUGIN_DIR", dir.join("plugins"))
        .env("CORTEX_DATA_DIR", dir.join("data"))
        .env("CORTEX_BACKENDS", "docs")
        .env("CORTEX_BACKEND_DOCS_URL", backend.url())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(file) = file {
        command.env("CORTEX_TOOL_BASELINE_FILE", file);
    }
    let mut child = command.spawn().expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        assert!(!line.contains("cannot be read"), "{line}");
        if let Some((_, rest)) = line.split_once("listening on http://") {
            let address = rest.split("/mcp").next().expect("an address").to_owned();
            // The rest is read, so that nothing waits to be written.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, Client::new(format!("http://{address}")));
        }
        said.push_str(&line);
        said.push('\n');
    }
    panic!("it never listened: {said}");
}

/// Killed again and again at any moment, while new tools come: what was listed once was approved
/// before, so a later change of it is noticed for ever.
async fn survives(file: bool) {
    const KILLS: usize = 25;
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("plugins")).expect("a directory");
    for name in ["backend-http", "policy-scopes", "audit-stdout"] {
        let to = dir.path().join(format!("plugins/{name}.wasm"));
        std::fs::copy(cortex_tests::component(name), to).expect("copied");
    }
    let file: Option<PathBuf> = file.then(|| dir.path().join("baseline.json"));
    let named = |n: usize, text: &str| {
        let mut tool = tool(text);
        tool["name"] = json!(format!("t{n:03}"));
        tool
    };
    let backend = FakeBackend::start(json!([])).await;
    let mut listed = 0;
    for round in 0..KILLS {
        // One tool more each time; all earlier ones are changed in every other round.
        let honest: Vec<Value> = (0..=round).map(|n| named(n, "Acts.")).collect();
        offers(&backend, json!(honest));
        let (mut child, client) = start(dir.path(), &backend, file.as_deref()).await;
        let names = client.legacy("tools/list", json!({})).await.tool_names();
        // What was listed before is known to be as it was.
        assert!(names.len() >= listed, "{round}: {names:?}");
        listed = names.len();
        let evil: Vec<Value> = (0..=round).map(|n| named(n, "Acts badly.")).collect();
        offers(&backend, json!(evil));
        if round % 2 == 0 {
            // At another moment each time, of the refresh and of what is written then.
            tokio::time::sleep(Duration::from_millis((round as u64 * 53) % 1_100)).await;
        }
        child.start_kill().expect("killed");
        child.wait().await.expect("ended");
        // Whoever comes back with a change finds it quarantined.
        let (mut child, client) = start(dir.path(), &backend, file.as_deref()).await;
        let names = client.legacy("tools/list", json!({})).await.tool_names();
        assert!(names.is_empty(), "{round}: {names:?} were approved before");
        child.start_kill().expect("killed");
        child.wait().await.expect("ended");
    }
    assert_eq!(listed, KILLS);
}

#[tokio::test]
async fn approvals_in_the_store_survive_being_killed() {
    survives(false).await;
}

#[tokio::test]
async fn approvals_in_a_file_survive_being_killed() {
    survives(true).await;
}
