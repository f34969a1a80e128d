//! The pages that link accounts, in headless Chromium, with a real authorization server as the provider
//! (`examples/dev-auth-server`: registration, rotation, tokens of a few seconds) and a gateway of our own as the
//! MCP server that it protects.

use std::path::PathBuf;
use std::time::Duration;

use cortex_tests::issuer::{Alg, Key};
use cortex_tests::{Gateway, GatewayBuilder, Provider, free_address};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::linking::VAULT_KEY;
use crate::oauth_flows::{self, installed, root, target};

fn chromium() -> Option<PathBuf> {
    let known = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let found = known
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    if found.is_none() {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(
            !ci,
            "chromium is not installed (Debian: apt install chromium)"
        );
        eprintln!("SKIPPED: chromium is not installed");
    }
    found
}

async fn gateway(inner: &str, issuer: &Provider, port: u16) -> Gateway {
    let gateway = GatewayBuilder::new()
        .mcp_server("inner", inner)
        .env("CORTEX_LISTEN", &format!("127.0.0.1:{port}"))
        .env(
            "CORTEX_CANONICAL_URI",
            &format!("http://127.0.0.1:{port}/mcp"),
        )
        .env("CORTEX_DEV_BYPASS_TOKEN", "")
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("OAUTH_ISSUER", &issuer.url())
        .env("CORTEX_VAULT_KEY", VAULT_KEY)
        .env("CORTEX_MCP_INNER_CATALOG_SUB", "ann")
        .start()
        .await;
    gateway.ready().await;
    gateway
}

#[tokio::test]
async fn people_link_their_accounts_in_a_browser_and_call_as_themselves() {
    const PUPPETEER: &str =
        "peers/node/node_modules/puppeteer-core/lib/esm/puppeteer/puppeteer-core.js";
    if !installed(&["dev-auth-server/node", PUPPETEER]) {
        return;
    }
    let Some(chromium) = chromium() else { return };
    // Tokens of five seconds: each call after that renews, and each renewal rotates.
    let mut inner = oauth_flows::Stand::with(&[("DEV_AUTH_TOKEN_SECONDS", "5")]).await;
    let port = free_address().port();
    let base = format!("http://127.0.0.1:{port}");
    let issuer = Provider::issuer(Key::generate(Alg::Es256, "k1"), &format!("{base}/mcp")).await;
    let gateway = gateway(&inner.url, &issuer, port).await;

    let config = json!({
        "puppeteer": target(PUPPETEER),
        "chromium": chromium,
        "base": base,
        "issuer": issuer.url(),
        "people": [{ "user": "ann", "account": "alice" }, { "user": "ben", "account": "bob" }],
        "pictures": std::env::var("CORTEX_TEST_PICTURES").ok(),
    });
    let running = Command::new("node")
        .arg(root().join("tests/peers/links.mjs"))
        .arg(config.to_string())
        .kill_on_drop(true)
        .output();
    let output = running.await.expect("it runs");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        gateway.log()
    );
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        seen["complaints"],
        json!([]),
        "the browser has nothing to complain of"
    );
    for person in seen["people"].as_array().expect("people") {
        let said = |moment: &str, text: &str| {
            let shown = person[moment].as_str().unwrap_or_default();
            assert!(shown.contains(text), "{moment}: no `{text}` in {shown}");
        };
        said("before", "Sign in");
        said("signedIn", "○ not linked");
        said("linked", "is linked");
        said("after", "● linked");
        said("unlinked", "○ not linked");
        said("again", "is linked");
        assert_eq!(person["overflows"], false, "on a narrow screen");
    }

    // Both call as themselves, again and again, at the same time.
    let client = |user: &str| {
        let token = issuer.token(user, "mcp:test:use");
        gateway.client.with_token(&token)
    };
    let (ann, ben) = (client("ann"), client("ben"));
    let call = json!({ "name": "inner_demo_echo", "arguments": { "text": "hi" } });
    for _ in 0..600 {
        let listed = ann.modern("tools/list", json!({})).await.tool_names();
        if listed.iter().any(|name| name == "inner_demo_echo") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..3 {
        let calls = [&ann, &ben, &ann, &ben, &ann, &ben];
        let calls = calls.map(|client| client.modern("tools/call", call.clone()));
        for called in futures_util::future::join_all(calls).await {
            assert!(!called.tool_text().1, "{}", called.text());
        }
        // Until the tokens have ended.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let calls = |records: &[Value], subject: &str| {
        let of = |record: &&Value| record["tool"] == "demo_echo" && record["caller_sub"] == subject;
        records.iter().filter(of).count()
    };
    let whole = |records: &[Value]| calls(records, "alice") + calls(records, "bob") == 18;
    let records = inner.gateway.audited(whole).await;
    assert_eq!((calls(&records, "alice"), calls(&records, "bob")), (9, 9));
}
