//! The same adapter in four languages: one conformance script, and calls through a running gateway.

use std::path::Path;

use cortex_tests::backend::Plan;
use cortex_tests::relay::relay;
use cortex_tests::{FakeBackend, GatewayBuilder};
use serde_json::json;
use tokio::process::Command;

const LANGUAGES: [&str; 4] = ["rust", "c", "javascript", "python"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_script_is_right_in_every_language() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/relay/conformance.json");
    for language in LANGUAGES {
        let Some(component) = relay(language) else {
            continue;
        };
        let played = Command::new(cortex_tests::binary("cortex-gateway"))
            .args(["plugin", "test"])
            .arg(&component)
            .arg("--scripts")
            .arg(&script)
            .output();
        let played = played.await.expect("it runs");
        let told = String::from_utf8_lossy(&played.stdout).into_owned();
        let failed = String::from_utf8_lossy(&played.stderr);
        assert!(played.status.success(), "{language}: {told}{failed}");
        assert_eq!(told.matches("ok     conformance ").count(), 14, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_language_calls_as_the_caller_and_sees_no_token() {
    let mut builder = GatewayBuilder::new()
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:relay:write")
        .env("CORTEX_PLUGIN_INSTANCES", "subject")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("CORTEX_BACKEND_TIMEOUT_MS", "1500");
    let mut apps = Vec::new();
    for language in LANGUAGES {
        let Some(component) = relay(language) else {
            continue;
        };
        let app = FakeBackend::start(json!([])).await;
        // What has no body is discovery.
        app.plan("", Plan::Raw(200, "Echoes"));
        app.plan("echo", Plan::Json(200, json!({ "heard": true })));
        app.plan("hang", Plan::Hang);
        app.plan("away", Plan::Redirect("http://127.0.0.1:9/".to_owned()));
        app.plan("broken", Plan::BreakOff);
        let bytes = std::fs::read(component).expect("a component");
        let adapter = format!("CORTEX_BACKEND_{}_ADAPTER", language.to_uppercase());
        builder = builder
            .plugin_file(&format!("relay-{language}.wasm"), &bytes)
            .backend(language, &app.url())
            .env(&adapter, &format!("relay-{language}"));
        apps.push((language, app));
    }
    let gateway = builder.start().await;
    gateway.ready().await;
    for (language, app) in &apps {
        let discovered = app.seen("");
        let [discovery] = &discovered[..] else {
            panic!("{language}: {discovered:?}");
        };
        let token = &discovery.headers["authorization"];
        assert_eq!(token, "Bearer technical-token-of-the-tests");

        let call = async |what: &str| {
            let tool = format!("{language}_relay");
            let reply = gateway.client.call(&tool, json!({ "method": what })).await;
            reply.tool_text()
        };
        let heard = (r#"{"heard":true}"#.to_owned(), false);
        assert_eq!(call("echo").await, heard, "{language}");
        for (what, told) in [
            ("hang", "did not answer in time"),
            ("away", "answered with status 307"),
            ("broken", "cannot be reached"),
        ] {
            let (text, is_error) = call(what).await;
            assert!(is_error && text.contains(told), "{language} {what}: {text}");
        }
        assert_eq!(call("echo").await, heard, "{language}");

        let seen = app.seen("echo");
        assert_eq!(seen.len(), 2, "{language}");
        // What an instance leaves open is not in the way of later calls.
        for n in 0..150 {
            assert_eq!(call("echo").await, heard, "{language}, call {n}");
        }
        for seen in seen.iter().chain(&discovered) {
            assert!(!seen.headers.contains_key("cortex-credential"), "{seen:?}");
        }
        let headers = &seen[0].headers;
        let token = format!("Bearer {}", cortex_tests::client::DEV_TOKEN);
        assert_eq!(headers["authorization"], token.as_str(), "{language}");
        assert_eq!(headers["content-type"], "application/json", "{language}");
    }
}
