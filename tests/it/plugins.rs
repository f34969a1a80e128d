//! Components that misbehave, and components that do not fit: each contained, each with a message
//! that tells the operator what to do, other calls unharmed.

use std::time::Duration;

use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan, component, patched};
use http::Method;
use serde_json::json;

const ADMIN: &str = "admin-secret-of-the-tests";

/// A gateway with a good backend `docs` and a backend `bad` whose adapter misbehaves on request.
async fn with_mischief(mode: &str) -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let gateway = GatewayBuilder::new()
        .plugin("mischief")
        .backend("docs", &backend.url())
        .backend("bad", &backend.url())
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use mcp:mischief:use")
        .env("CORTEX_PLUGIN_COMPUTE_MS", "1000")
        .env("CORTEX_PLUGIN_INSTANCES", mode)
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

#[tokio::test]
async fn a_component_that_fails_fails_alone() {
    let (_backend, mut gateway) = with_mischief("call").await;
    for (tool, reason, logged) in [
        (
            "bad_spin",
            "plugin_time",
            "used up its 1000 ms of computing time",
        ),
        (
            "bad_leak",
            "plugin_memory",
            "reached its memory limit of 64 MiB",
        ),
        ("bad_trap", "plugin_trap", "trapped"),
        ("bad_recurse", "plugin_trap", "exhausted its call stack"),
        ("bad_huge_result", "plugin_bad_answer", "larger than"),
        (
            "bad_bad_json",
            "plugin_bad_answer",
            "gave an answer that cannot be used",
        ),
    ] {
        // Others are served while this one is at it.
        let client = gateway.client.clone();
        let bad = tokio::spawn(async move { client.call(tool, json!({})).await });
        assert_eq!(
            gateway
                .client
                .call("docs_act", json!({}))
                .await
                .tool_text()
                .0,
            "fine",
            "beside {tool}"
        );
        let reply = bad.await.expect("an answer");
        assert_eq!(
            (reply.status.as_u16(), reply.error().0),
            (200, -32603),
            "{tool}: {}",
            reply.text()
        );
        assert_eq!(
            reply.json()["error"]["data"],
            json!({ "plugin": "mischief", "reason": reason }),
            "{tool}: {}\n{}",
            reply.text(),
            gateway.log()
        );
        let line = gateway.logged(logged).await;
        assert!(
            line.contains("plugin `mischief`") && line.contains("hint: "),
            "{line}"
        );
        assert_eq!(
            gateway.client.call("bad_ok", json!({})).await.tool_text().0,
            "fine",
            "after {tool}"
        );
    }
    let failed = gateway
        .audit(1)
        .await
        .iter()
        .filter(|r| r["error_code"] == "plugin_time")
        .count();
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn a_component_reaches_only_what_it_was_granted() {
    let (backend, mut gateway) = with_mischief("call").await;
    let (text, _) = gateway
        .client
        .call("bad_call_home", json!({}))
        .await
        .tool_text();
    assert!(
        text.to_lowercase().contains("origin") && text.contains("http://127.0.0.1:9"),
        "{text}"
    );

    let (text, _) = gateway
        .client
        .call("bad_steal_token", json!({}))
        .await
        .tool_text();
    assert!(text.contains("belongs to the host"), "{text}");
    assert!(
        text.contains("only `discover` and `get-snapshot`"),
        "{text}"
    );
    assert!(backend.seen("").is_empty(), "nothing was sent");

    let (text, _) = gateway
        .client
        .call("bad_env_files", json!({}))
        .await
        .tool_text();
    assert!(
        !text.contains("root:") && !text.contains("CORTEX_") && !text.contains("PATH"),
        "{text}"
    );

    gateway
        .client
        .call("bad_log_flood", json!({}))
        .await
        .tool_text();
    gateway
        .logged("more log lines of this call were left out")
        .await;
    let lines = gateway
        .log()
        .lines()
        .filter(|l| l.contains(r#""plugin.name":"mischief""#))
        .count();
    assert!(lines < 200, "{lines} lines");
}

#[tokio::test]
async fn instances_are_fresh_or_kept_as_the_operator_chose() {
    let (_backend, gateway) = with_mischief("call").await;
    for _ in 0..3 {
        assert_eq!(
            gateway
                .client
                .call("bad_state", json!({}))
                .await
                .tool_text()
                .0,
            "1"
        );
    }
    let (_backend, gateway) = with_mischief("subject").await;
    for expected in ["1", "2", "3"] {
        assert_eq!(
            gateway
                .client
                .call("bad_state", json!({}))
                .await
                .tool_text()
                .0,
            expected
        );
    }
    // A call that failed takes its instance with it.
    assert_eq!(
        gateway.client.call("bad_trap", json!({})).await.error().0,
        -32603
    );
    assert_eq!(
        gateway
            .client
            .call("bad_state", json!({}))
            .await
            .tool_text()
            .0,
        "1"
    );
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_with_the_reason_and_the_rest_goes_on() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let truncated = std::fs::read(component("hello-backend")).expect("a component");
    let mut gateway = GatewayBuilder::new()
        .plugin_file("a-text.wasm", b"hello")
        .plugin_file("b-module.wasm", b"\0asm\x01\0\0\0")
        .plugin_file("c-half.wasm", &truncated[..truncated.len() / 2])
        .plugin_file("d-empty.wasm", b"\0asm\x0d\0\x01\0")
        .plugin_file(
            "e-future.wasm",
            &patched("hello-backend", "@0.2.0", "@0.9.0"),
        )
        .plugin_file(
            "f-wants-more.wasm",
            &patched("mischief", "cortex:gateway/log@", "cortex:gateway/lag@"),
        )
        .plugin_file(
            "z-twice.wasm",
            &std::fs::read(component("policy-scopes")).expect("a component"),
        )
        .plugin_file("notes.txt", b"not a plugin")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    for (file, words) in [
        ("a-text.wasm", "it is not WebAssembly"),
        (
            "b-module.wasm",
            "it is a core module, not a component; hint: build it with `cargo build --target wasm32-wasip2`",
        ),
        ("c-half.wasm", "it does not compile"),
        (
            "d-empty.wasm",
            "it exports no interface of `cortex:gateway`",
        ),
        (
            "e-future.wasm",
            "it was built for cortex:gateway 0.9.0, and this gateway serves 0.1.x and 0.2.x; hint: rebuild it",
        ),
        ("f-wants-more.wasm", "cortex:gateway/lag"),
        (
            "z-twice.wasm",
            "the name `policy-scopes` is taken by `policy-scopes.wasm`",
        ),
    ] {
        let line = gateway.logged(&format!(r#""file":"{file}""#)).await;
        assert!(
            line.contains("plugin refused") && line.contains(words),
            "{file}: {line}"
        );
        // An author learns the same before anything is dropped anywhere; that a name is taken shows there.
        let path = gateway.dir().join("plugins").join(file);
        let path = path.to_str().expect("text");
        let checked = gateway.operate(&["plugin", "check", path]).await;
        let said = String::from_utf8_lossy(&checked.stderr);
        let taken = file == "z-twice.wasm";
        assert_eq!(checked.status.success(), taken, "{file}: {said}");
        assert!(taken || said.contains(words), "{file}: {said}");
    }
    assert_eq!(
        gateway
            .client
            .call("docs_act", json!({}))
            .await
            .tool_text()
            .0,
        "fine"
    );
}

/// What an operator is told of a plugin.
async fn figure(gateway: &Gateway, name: &str, plugin: &str) -> u64 {
    let secret = [("x-cortex-admin-secret", ADMIN)];
    let reply = gateway.client.send(Method::GET, "/metrics", &secret, "");
    let metrics = reply.await.expect("a response").text();
    let line = format!("cortex_plugin_{name}{{plugin=\"{plugin}\"}} ");
    let value = metrics.lines().find_map(|of| of.strip_prefix(&line));
    let value = value.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no {line} in {metrics}"))
}

#[tokio::test]
async fn an_instance_is_kept_for_its_caller_until_nobody_uses_it() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    for (mode, kept) in [(None, 1), (Some("call"), 0)] {
        let builder = GatewayBuilder::new()
            .plugin("mischief")
            .backend("docs", &backend.url())
            .backend("bad", &backend.url())
            .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
            .env("CORTEX_ADMIN_SECRET", ADMIN)
            .env("CORTEX_PLUGIN_MEMORY_MIB", "8")
            .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use mcp:mischief:use");
        let builder = match mode {
            Some(mode) => builder.env("CORTEX_PLUGIN_INSTANCES", mode),
            None => builder,
        };
        let gateway = builder.start().await;
        gateway.ready().await;
        for _ in 0..2 {
            let (text, _) = gateway.client.call("docs_act", json!({})).await.tool_text();
            assert_eq!(text, "fine");
            assert_eq!(figure(&gateway, "instances", "backend-http").await, kept);
        }
        // One that has grown so that the next call could find too little memory is not.
        for (mib, kept) in [(3, kept), (6, 0)] {
            let call = gateway
                .client
                .call("bad_huge_result", json!({ "mib": mib }));
            assert_eq!(call.await.tool_text().0.len(), mib << 20);
            assert_eq!(figure(&gateway, "instances", "mischief").await, kept);
        }

        let idle = gateway
            .stop()
            .await
            .env("CORTEX_PLUGIN_WARM_IDLE_SECONDS", "1");
        let gateway = idle.start().await;
        gateway.ready().await;
        gateway.client.call("docs_act", json!({})).await.tool_text();
        for _ in 0..600 {
            if figure(&gateway, "instances", "backend-http").await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(figure(&gateway, "instances", "backend-http").await, 0);
    }
}

#[tokio::test]
async fn a_backend_without_its_adapter_says_which_one_is_missing() {
    let backend = FakeBackend::start(json!([])).await;
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_BACKEND_DOCS_ADAPTER", "backend-soap")
        .start()
        .await;
    let line = gateway.logged("backend is down").await;
    assert!(
        line.contains("no adapter plugin `backend-soap` is loaded"),
        "{line}"
    );
    let ready = gateway.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("backend-soap"));
}

#[tokio::test]
async fn an_authors_first_plugin_is_live_when_it_is_dropped_in() {
    let gateway = GatewayBuilder::new()
        .plugin("hello-backend")
        .backend("hi", "http://127.0.0.1:9")
        .env("CORTEX_BACKEND_HI_ADAPTER", "hello-backend")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:hello:read")
        .start()
        .await;
    gateway.ready().await;
    assert_eq!(
        gateway
            .client
            .call("hi_greet", json!({ "name": "Ada" }))
            .await
            .tool_text()
            .0,
        "Hello, Ada!"
    );
}

#[tokio::test]
async fn progress_reaches_who_asked_for_it_on_that_requests_own_stream() {
    let (_backend, mut gateway) = with_mischief("call").await;
    let call = |meta: serde_json::Value| {
        let params = json!({ "name": "bad_progress", "arguments": {}, "_meta": meta });
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
    };
    let reply = gateway
        .client
        .post(call(json!({ "progressToken": "p" })), &[])
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, "text/event-stream")
    );
    assert_eq!(reply.header("x-accel-buffering"), "no");
    let text = reply.text();
    let events: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert_eq!(events.len(), 4, "{text}");
    for event in &events[..3] {
        assert_eq!(event["method"], "notifications/progress");
        assert_eq!(event["params"]["progressToken"], "p");
    }
    assert_eq!(
        (&events[3]["id"], &events[3]["result"]["isError"]),
        (&json!(7), &json!(false))
    );

    for (meta, accept) in [
        (json!({}), "application/json, text/event-stream"),
        (json!({ "progressToken": 1 }), "application/json"),
    ] {
        let reply = gateway.client.post(call(meta), &[("accept", accept)]).await;
        assert_eq!(reply.header("content-type"), "application/json");
        reply.tool_text();
    }
    let records = gateway.audit(3).await;
    assert!(
        records.iter().all(|record| record["success"] == true),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_policy_that_fails_has_said_no() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    let mut gateway = GatewayBuilder::new()
        .plugin("policy-trap")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let list = gateway.client.legacy("tools/list", json!({})).await;
    assert!(
        list.tool_names().is_empty(),
        "one policy hides them, though the other shows them"
    );
    let reply = gateway.client.call("docs_act", json!({})).await;
    let data = json!({ "plugin": "policy-trap", "reason": "plugin_trap" });
    assert_eq!(
        (reply.error().0, &reply.json()["error"]["data"]),
        (-32603, &data)
    );
    assert!(backend.seen("act").is_empty(), "nothing was called");
    let line = gateway.logged("nothing is allowed meanwhile").await;
    assert!(
        line.contains("asked about `act`") && line.contains("hint: "),
        "{line}"
    );
}

#[tokio::test]
async fn an_exporter_that_fails_keeps_nobody_from_working_and_loses_no_record() {
    let mut gateway = GatewayBuilder::bare()
        .plugin("policy-scopes")
        .plugin("exporter-trap")
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(gateway.client.legacy("ping", json!({})).await.status, 200);
    }
    gateway
        .logged("audit records are kept and offered again")
        .await;
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
    // What no exporter took waits in the trail.
    let kept = gateway
        .operate(&["audit", "query", "--method", "ping", "--json"])
        .await;
    let kept = String::from_utf8(kept.stdout).expect("UTF-8");
    assert_eq!(kept.lines().count(), 3, "{kept}");
}

#[tokio::test]
async fn a_component_is_inspected_before_it_is_dropped_in() {
    let gateway = GatewayBuilder::new().plugin("backend-mcp").start().await;
    let path = gateway.dir().join("plugins").join("backend-mcp.wasm");
    let path = path.to_str().expect("text");
    let found = gateway.operate(&["plugin", "inspect", path]).await;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    for line in [
        "plugin     backend-mcp 0.1.0\n",
        "kind       backend-adapter\n",
        "contract   cortex:gateway 0.2\n",
        "imports    cortex:gateway/http@0.2.0: send requests to the backend that a call is about and to origins that you grant, and nowhere else",
        "imports    cortex:gateway/memory@0.2.0: remember short texts",
        "interfaces: the standard library: clocks and random numbers; no environment, no files, no sockets\n",
        "settings   it has some\n",
        "here       this gateway runs it",
    ] {
        assert!(found.contains(line), "no {line} in {found}");
    }
    let json = gateway
        .operate(&["plugin", "inspect", "--json", path])
        .await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["kind"], "backend-adapter");
    assert_eq!(json["line"], "0.2");
    assert_eq!(json["description"]["wants"], serde_json::json!([]));
    assert_eq!(json["refused"], serde_json::Value::Null);

    // One that wants something, of which a part is granted.
    let wanting = gateway.dir().join("wanting.wasm");
    std::fs::copy(component("mischief"), &wanting).expect("copied");
    let toml = "[grants]\nkv-kib = 8\nwithout = [\"secret key\"]\n";
    std::fs::write(gateway.dir().join("wanting.toml"), toml).expect("written");
    let wanting = wanting.to_str().expect("text");
    let found = gateway.operate(&["plugin", "inspect", wanting]).await;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    for line in [
        "wants      http http://friend-a.test (not granted): to tell a friend\n",
        "wants      kv 4 (granted): to remember what was done\n",
        "wants      secret key (does without): to be let in there\n",
    ] {
        assert!(found.contains(line), "no {line} in {found}");
    }

    // Settings beside it that it would not be run with.
    let settings = gateway.dir().join("plugins").join("backend-mcp.toml");
    std::fs::write(settings, "[settings]\nnonsense = 1\n").expect("written");
    let checked = gateway.operate(&["plugin", "check", path]).await;
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        !checked.status.success() && said.contains("nonsense"),
        "{said}"
    );
}
