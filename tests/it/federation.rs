//! Many backends behind one gateway, of which some hang, come and go, lie, or change.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan, Stream, free_address};
use http::Method;
use serde_json::{Value, json};

async fn status(gateway: &Gateway) -> Value {
    let (code, said, complaint) = gateway.operator(&["status", "--json"]).await;
    assert_eq!(code, Some(0), "{complaint}");
    serde_json::from_str(&said).expect("JSON")
}

fn of<'a>(status: &'a Value, id: &str) -> &'a Value {
    let backends = status["backends"].as_array().expect("backends");
    let mut found = backends.iter().filter(|backend| backend["id"] == id);
    found.next().expect("it is there")
}

/// Lists again and again until the names are what they should be.
async fn lists(client: &Client, wanted: impl Fn(&BTreeSet<String>) -> bool) -> BTreeSet<String> {
    for _ in 0..600 {
        let names: BTreeSet<String> = client
            .legacy("tools/list", json!({}))
            .await
            .tool_names()
            .into_iter()
            .collect();
        if wanted(&names) {
            return names;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the list never became what it should be");
}

#[tokio::test]
async fn fifty_backends_of_which_some_are_bad_are_one_catalog() {
    let good: Vec<FakeBackend> = {
        let mut good = Vec::new();
        for n in 0..40 {
            let tools = json!([
                FakeBackend::tool("same"),
                FakeBackend::tool(&format!("own_{n}")),
                FakeBackend::tool(&format!(
                    "a_name_that_is_longer_than_what_clients_take_{n:020}"
                )),
                FakeBackend::tool("größe"),
            ]);
            good.push(FakeBackend::start(tools).await);
        }
        good
    };
    let hanging = [
        FakeBackend::start(json!([])).await,
        FakeBackend::start(json!([])).await,
        FakeBackend::start(json!([])).await,
    ];
    for backend in &hanging {
        backend.plan("list_tools", Plan::Hang);
    }
    let lying = [
        FakeBackend::start(json!([])).await,
        FakeBackend::start(json!([])).await,
        FakeBackend::start(json!([])).await,
    ];
    let odd = json!({ "tools": [
        FakeBackend::tool("fine"),
        FakeBackend::tool("fine"),
        { "name": "no_scope", "description": "x", "scope": "two words" },
        { "name": "bad_schema", "description": "x", "scope": "mcp:test:use", "inputSchema": [] },
    ] });
    lying[0].plan("list_tools", Plan::Json(200, odd));
    lying[1].plan("list_tools", Plan::Raw(200, "<html>not JSON</html>"));
    lying[2].plan("list_tools", Plan::Json(500, json!({ "error": "broken" })));
    let absent: Vec<SocketAddr> = (0..4).map(|_| free_address()).collect();

    let mut builder = GatewayBuilder::new()
        .env("CORTEX_REFRESH_SECONDS", "2")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use");
    for (n, backend) in good.iter().enumerate() {
        builder = builder.backend(&format!("good-{n}"), &backend.url());
    }
    for (n, backend) in hanging.iter().enumerate() {
        let timeout = format!("CORTEX_BACKEND_HANG_{n}_TIMEOUT_MS");
        builder = builder
            .backend(&format!("hang-{n}"), &backend.url())
            .env(&timeout, "500");
    }
    for (n, backend) in lying.iter().enumerate() {
        builder = builder.backend(&format!("lie-{n}"), &backend.url());
    }
    for (n, address) in absent.iter().enumerate() {
        builder = builder.backend(&format!("gone-{n}"), &format!("http://{address}"));
    }
    let mut gateway = builder.start().await;
    let client = gateway.client.clone();

    // Nobody waited for readiness: the first request does.
    let first = client.legacy("tools/list", json!({})).await.tool_names();
    let unique: BTreeSet<&String> = first.iter().collect();
    assert_eq!(unique.len(), first.len(), "no two have one name");
    assert_eq!(first.len(), 40 * 4 + 1, "{first:?}");
    let mut sorted = first.clone();
    sorted.sort();
    assert_eq!(first, sorted);
    for name in &first {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        assert!(name.len() <= 64 && name.chars().all(fine), "{name}");
    }
    // Each is called where it belongs.
    for n in [0, 17, 39] {
        client.call(&format!("good-{n}_same"), json!({})).await;
        assert_eq!(good[n].seen("same").len(), 1);
    }
    let alias = first.iter().find(|name| name.starts_with("good-7_gr"));
    client.call(alias.expect("an alias"), json!({})).await;
    assert_eq!(good[7].seen("größe").len(), 1);

    // What is not there says whose it is, and the operator is told of everything.
    let (text, is_error) = client.call("gone-0_act", json!({})).await.tool_text();
    assert!(is_error && text.contains("gone-0"), "{text}");
    let told = status(&gateway).await;
    assert_eq!(told["backends"].as_array().map(Vec::len), Some(50));
    assert_eq!(of(&told, "good-3")["health"], "up");
    assert_eq!(of(&told, "good-3")["tools"], 4);
    for down in ["hang-0", "lie-1", "lie-2", "gone-3"] {
        let backend = of(&told, down);
        assert_eq!(backend["health"], "down", "{backend}");
        assert!(backend["reason"].is_string(), "{backend}");
    }
    let left_out = of(&told, "lie-0")["leftOut"].to_string();
    for item in ["fine", "no_scope", "bad_schema"] {
        assert!(left_out.contains(item), "{left_out}");
    }
    gateway.logged("bad_schema").await;
    let (_, words, _) = gateway.operator(&["status"]).await;
    assert!(
        words.contains("lie-0") && words.contains("no_scope"),
        "{words}"
    );

    // One comes, one goes, one comes back with something else; the others are as they were.
    let late = FakeBackend::start_at(absent[1], json!([FakeBackend::tool("late")])).await;
    lists(&client, |names| names.contains("gone-1_late")).await;
    let mut good = good;
    let address = good.remove(5).stop().await;
    let names = lists(&client, |names| !names.contains("good-5_same")).await;
    assert!(names.contains("good-4_same") && names.contains("good-6_same"));
    let back = FakeBackend::start_at(address, json!([FakeBackend::tool("changed")])).await;
    let names = lists(&client, |names| names.contains("good-5_changed")).await;
    assert!(!names.contains("good-5_same"));
    assert_eq!(names.len(), 39 * 4 + 3);
    drop((late, back));
}

#[tokio::test]
async fn a_backend_with_names_of_its_own_takes_nobody_elses() {
    let tools = ["find", "crm_find", "whoami"].map(FakeBackend::tool);
    let verbatim = FakeBackend::start(json!(tools)).await;
    let crm = FakeBackend::start(json!([FakeBackend::tool("find")])).await;
    crm.plan("find", Plan::Json(200, json!("from crm")));
    verbatim.plan("crm_find", Plan::Json(200, json!("from verbatim")));
    let gateway = GatewayBuilder::new()
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use")
        .backend("any", &verbatim.url())
        .env("CORTEX_BACKEND_ANY_NAMES", "verbatim")
        .backend("crm", &crm.url())
        .start()
        .await;
    gateway.ready().await;
    let client = &gateway.client;
    let names = client.legacy("tools/list", json!({})).await.tool_names();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("any_crm_find_"), "{names:?}");
    assert_eq!(names[1..], ["crm_find", "find"]);
    let told = client.call("crm_find", json!({})).await.tool_text().0;
    assert_eq!(told, "from crm");
    let told = client.call(&names[0], json!({})).await.tool_text().0;
    assert_eq!(told, "from verbatim");
    let left_out = of(&status(&gateway).await, "any")["leftOut"].to_string();
    assert!(left_out.contains("whoami"), "{left_out}");
}

#[tokio::test]
async fn a_call_tells_sooner_than_the_clock_that_a_backend_has_gone_or_come_back() {
    let address = free_address();
    let backend = FakeBackend::start_at(address, json!([FakeBackend::tool("act")])).await;
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use")
        .env("CORTEX_REFRESH_SECONDS", "86400")
        .start()
        .await;
    gateway.ready().await;
    assert_eq!(status(&gateway).await["backends"][0]["health"], "up");
    backend.stop().await;
    let client = &gateway.client;
    client.call("docs_act", json!({})).await;
    lists(client, |names| names.is_empty()).await;
    assert_eq!(status(&gateway).await["backends"][0]["health"], "down");
    let backend = FakeBackend::start_at(address, json!([FakeBackend::tool("act")])).await;
    lists(client, |names| names.contains("docs_act")).await;
    assert_eq!(backend.seen("act").len(), 0);
}

#[tokio::test]
async fn changes_are_told_to_those_who_see_them() {
    let key = Key::generate(Alg::EdDsa, "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let tool =
        |name: &str, scope: &str| json!({ "name": name, "scope": scope, "description": "x" });
    let backend = FakeBackend::start(json!([tool("a", "mcp:x:a"), tool("b", "mcp:x:b")])).await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .env("CORTEX_REFRESH_SECONDS", "1")
        .start()
        .await;
    gateway.ready().await;
    let client = |scope: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(scope);
        claims["scope"] = json!(scope);
        gateway.client.with_token(&key.token(&claims))
    };
    let (ann, bob) = (client("mcp:x:a"), client("mcp:x:b"));
    let mut to_ann = Stream::modern(&ann, json!({ "toolsListChanged": true })).await;
    let mut to_bob = Stream::modern(&bob, json!({ "toolsListChanged": true })).await;
    for stream in [&mut to_ann, &mut to_bob] {
        let hello = stream.message().await.expect("an acknowledgement");
        assert!(hello.method().contains("acknowledged"), "{hello:?}");
    }
    // A tool of Bob's only, then one of Ann's: the first thing that Ann hears of is her own.
    let offer =
        |tools: Value| backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
    offer(json!([
        tool("a", "mcp:x:a"),
        tool("b", "mcp:x:b"),
        tool("b2", "mcp:x:b")
    ]));
    let told = to_bob.message().await.expect("a change");
    assert_eq!(told.method(), "notifications/tools/list_changed");
    offer(json!([
        tool("a", "mcp:x:a"),
        tool("a2", "mcp:x:a"),
        tool("b", "mcp:x:b"),
        tool("b2", "mcp:x:b")
    ]));
    let told = to_ann.message().await.expect("a change");
    assert_eq!(told.method(), "notifications/tools/list_changed");
    let names = ann.legacy("tools/list", json!({})).await.tool_names();
    assert_eq!(names, ["docs_a", "docs_a2"]);
    let names = bob.legacy("tools/list", json!({})).await.tool_names();
    assert_eq!(names, ["docs_b", "docs_b2"]);
}

/// Lists, caches, aliases and errors of several callers, asked in turn: nobody is told of what
/// only another may see.
#[tokio::test]
async fn nobody_is_told_of_what_only_another_may_see() {
    let key = Key::generate(Alg::EdDsa, "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let secret = "zebrafish";
    let long = format!("{secret}_{}", "x".repeat(80));
    let tool = |name: &str, scope: &str, text: &str| json!({ "name": name, "scope": scope, "description": text });
    let backend = FakeBackend::start(json!([
        tool("open", "mcp:x:open", "For everybody."),
        tool("hidden", "mcp:x:hidden", &format!("Feeds the {secret}.")),
        tool(&long, "mcp:x:hidden", "A long name."),
    ]))
    .await;
    backend.plan(
        "list_prompts",
        Plan::Json(200, json!({ "prompts": [{ "name": secret, "description": secret, "scope": "mcp:x:hidden" }] })),
    );
    let template = json!({ "uriTemplate": format!("{secret}://{{id}}"), "name": secret, "scope": "mcp:x:hidden" });
    backend.plan(
        "list_resource_templates",
        Plan::Json(200, json!({ "resourceTemplates": [template] })),
    );
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let client = |sub: &str, scope: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(sub);
        claims["scope"] = json!(scope);
        gateway.client.with_token(&key.token(&claims))
    };
    let insider = client("insider", "mcp:x:open mcp:x:hidden");
    let outsider = client("outsider", "mcp:x:open");
    let requests = [
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("tools/call", json!({ "name": "whoami", "arguments": {} })),
        (
            "tools/call",
            json!({ "name": "list_cortex_resources", "arguments": {} }),
        ),
        (
            "tools/call",
            json!({ "name": "find_tools", "arguments": { "query": "feeds open everybody" } }),
        ),
        ("resources/read", json!({ "uri": "cortex://architecture" })),
        (
            "tools/call",
            json!({ "name": "docs_nothing", "arguments": {} }),
        ),
        (
            "prompts/get",
            json!({ "name": "docs_nothing", "arguments": {} }),
        ),
        ("resources/read", json!({ "uri": "nothing://1" })),
    ];
    let modes: [&[(&str, &str)]; 4] = [
        &[],
        &[("X-Cortex-Tool-Mode", "search")],
        &[("X-Cortex-Context-Budget", "900")],
        &[("X-Cortex-Backends", "docs")],
    ];
    let mut seen_by_insider = 0;
    for round in 0..2 {
        for (method, params) in &requests {
            for headers in modes {
                let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                for (client, inside) in [(&insider, true), (&outsider, false)] {
                    let reply = client.post(body.to_string(), headers).await;
                    let text = reply.text();
                    let told = text.contains(secret) || text.contains("hidden");
                    // Who is allowed to may see it, so that this test can fail.
                    seen_by_insider += usize::from(inside && told);
                    assert!(inside || !told, "round {round}, {method} {params}: {text}");
                }
            }
        }
    }
    assert!(seen_by_insider > 20, "{seen_by_insider}");
    // The names of tools that may not be seen find nothing, whoever asked before.
    let names = json!({ "names": ["docs_hidden"] });
    let found = outsider.call("find_tools", names.clone()).await.result();
    assert_eq!(found["structuredContent"]["tools"], json!([]));
    let found = insider.call("find_tools", names).await.result();
    assert_eq!(
        found["structuredContent"]["tools"][0]["name"],
        "docs_hidden"
    );
    // The public page counts, and names nothing.
    let page = gateway
        .client
        .send(Method::GET, "/", &[], "")
        .await
        .expect("a page");
    assert!(!page.text().contains(secret));
    eventually(|| !gateway.log().is_empty(), || gateway.log()).await;
}
