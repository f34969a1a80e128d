//! Native MCP servers of both eras behind the gateway.

use cortex_tests::mcp_server::{Answer, Step};
use cortex_tests::stream::Stream;
use cortex_tests::{Client, Era, FakeMcp, FixtureServer, Gateway, GatewayBuilder, LegacyOnly};
use serde_json::{Value, json};

async fn gateway_to(server: &FakeMcp) -> Gateway {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .mcp_server("wiki", &server.url())
        .start()
        .await;
    gateway.ready().await;
    gateway
}

/// The next message of a stream that has not ended.
async fn next(stream: &mut Stream) -> Value {
    stream.message().await.expect("not the end yet").json()
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

#[tokio::test]
async fn a_modern_server_is_federated_and_a_call_costs_one_exchange() {
    let server = FakeMcp::start(Era::Modern).await;
    server.result("tools/call", text("done"));
    let gateway = gateway_to(&server).await;
    assert_eq!(server.methods(), ["server/discover", "tools/list"]);
    let listed = gateway.client.modern("tools/list", json!({})).await;
    assert_eq!(listed.tool_names(), ["wiki_act"]);
    server.forget_messages();
    let called = gateway.client.call("wiki_act", json!({ "n": 1 })).await;
    assert_eq!(called.tool_text(), ("done".to_owned(), false));
    assert_eq!(server.methods(), ["tools/call"]);
    let [call] = &server.seen("tools/call")[..] else {
        panic!("one call");
    };
    assert_eq!(call.body["params"]["name"], "act");
    assert_eq!(call.body["params"]["arguments"], json!({ "n": 1 }));
    assert_eq!(call.header("authorization"), "", "no token of a caller");
}

#[tokio::test]
async fn a_legacy_server_is_federated_with_a_session_of_each_subject() {
    let server = FakeMcp::start(Era::Legacy).await;
    server.result("tools/call", text("done"));
    let gateway = gateway_to(&server).await;
    assert_eq!(
        server.methods(),
        [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "tools/list",
            "DELETE"
        ]
    );
    server.forget_messages();
    let called = gateway
        .client
        .modern("tools/call", json!({ "name": "wiki_act" }))
        .await;
    assert_eq!(
        called.tool_text(),
        ("done".to_owned(), false),
        "{}",
        called.text()
    );
    assert_eq!(
        server.methods(),
        ["initialize", "notifications/initialized", "tools/call"]
    );
    assert_eq!(server.open_sessions(), 1, "kept for the next call");
}

#[tokio::test]
async fn progress_is_passed_on_while_the_call_runs() {
    for era in [Era::Modern, Era::Legacy] {
        let server = FakeMcp::start(era).await;
        server.events("tools/call", |message| {
            vec![
                Step::Send(message.progress(1.0)),
                Step::Wait,
                Step::Send(message.result(text("done"))),
            ]
        });
        let gateway = gateway_to(&server).await;
        let params = json!({ "name": "wiki_act", "_meta": { "progressToken": "mine" } });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let mut stream = Stream::post(&gateway.client, body.to_string(), &[]).await;
        let told = next(&mut stream).await;
        assert_eq!(told["params"]["progressToken"], "mine", "{told}");
        assert_eq!(told["params"]["progress"], 1.0, "{told}");
        // Only now may the server go on: what came before came while the call ran.
        server.go_on();
        let answer = next(&mut stream).await;
        assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    }
}

#[tokio::test]
async fn closing_the_stream_closes_the_servers_stream() {
    let server = FakeMcp::start(Era::Modern).await;
    server.events("tools/call", |message| {
        vec![Step::Send(message.progress(1.0)), Step::KeepAlive]
    });
    let gateway = gateway_to(&server).await;
    let params = json!({ "name": "wiki_act", "_meta": { "progressToken": 1 } });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let mut stream = Stream::post(&gateway.client, body.to_string(), &[]).await;
    next(&mut stream).await;
    assert_eq!(server.closed(), 0);
    drop(stream);
    cortex_tests::gateway::eventually(|| server.closed() == 1, || gateway.log()).await;
}

#[tokio::test]
async fn what_is_not_mcp_is_a_clear_error() {
    let server = FakeMcp::start(Era::Modern).await;
    let gateway = gateway_to(&server).await;
    for (answer, said) in [
        (
            Answer::Raw(200, "text/html", "<html>".into()),
            "content type `text/html`",
        ),
        (
            Answer::Raw(200, "application/json", "{".into()),
            "it is not one JSON object",
        ),
        (
            Answer::Json(200, json!({ "jsonrpc": "2.0", "id": 1, "result": {} })),
            "it answers another request",
        ),
        (
            Answer::Raw(500, "text/plain", "x".into()),
            "it answered HTTP 500",
        ),
        (
            Answer::Raw(401, "text/plain", "x".into()),
            "asks for an account",
        ),
        (Answer::Events(vec![]), "its stream ended without an answer"),
        (
            Answer::Events(vec![Step::Raw("data: {\n\n".into())]),
            "it is not one JSON object",
        ),
    ] {
        let shown = format!("{answer:?}");
        server.plan("tools/call", move |_| answer.clone());
        let reply = gateway.client.call("wiki_act", json!({})).await;
        let (text, is_error) = reply.tool_text();
        assert!(is_error && text.contains(said), "{shown}: {text}");
        assert!(!text.contains("127.0.0.1"), "no address: {text}");
    }
}

#[tokio::test]
async fn one_server_may_keep_its_names() {
    let server = FakeMcp::start(Era::Modern).await;
    server.result("tools/call", text("done"));
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env("CORTEX_MCP_WIKI_NAMES", "verbatim")
        .start()
        .await;
    gateway.ready().await;
    let listed = gateway.client.legacy("tools/list", json!({})).await;
    let tool = &listed.result()["tools"][0];
    assert_eq!(
        (&tool["name"], &tool["description"]),
        (&json!("act"), &json!("For tests."))
    );
    let called = gateway.client.call("act", json!({})).await;
    assert_eq!(called.tool_text(), ("done".to_owned(), false));
}

#[tokio::test]
async fn scopes_decide_who_sees_and_calls() {
    let server = FakeMcp::start(Era::Modern).await;
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env("CORTEX_MCP_WIKI_SCOPE", "mcp:wiki:use")
        .start()
        .await;
    gateway.ready().await;
    let listed = gateway.client.legacy("tools/list", json!({})).await;
    assert!(listed.tool_names().is_empty(), "{}", listed.text());
    let called = gateway.client.call("wiki_act", json!({})).await;
    assert_eq!(called.status, 403);
    assert!(called.header("www-authenticate").contains("mcp:wiki:use"));
    assert!(server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    let server = FakeMcp::start(Era::Modern).await;
    server.plan("tools/list", |message| {
        let cursor = message.body["params"]["cursor"].as_str().unwrap_or("0");
        let page: usize = cursor.parse().unwrap_or(0);
        let mut result = json!({ "tools": [FakeMcp::tool(&format!("t{page:03}"))] });
        if page < 99 {
            result["nextCursor"] = (page + 1).to_string().into();
        }
        Answer::Json(200, message.result(result))
    });
    let gateway = gateway_to(&server).await;
    let listed = gateway.client.legacy("tools/list", json!({})).await;
    assert_eq!(listed.tool_names().len(), 100);
}

#[tokio::test]
async fn a_lost_session_is_begun_again() {
    let server = FakeMcp::start(Era::Legacy).await;
    server.result("tools/call", text("done"));
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env("CORTEX_PLUGIN_INSTANCES", "subject")
        .start()
        .await;
    gateway.ready().await;
    let call = || gateway.client.call("wiki_act", json!({}));
    call().await.tool_text();
    call().await.tool_text();
    assert_eq!(server.open_sessions(), 1, "kept by the warm instance");
    server.forget_messages();
    call().await.tool_text();
    assert_eq!(server.methods(), ["tools/call"]);
    server.end_sessions();
    server.forget_messages();
    assert_eq!(call().await.tool_text(), ("done".to_owned(), false));
    assert_eq!(
        server.methods(),
        [
            "tools/call",
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "GET",
            "tools/call"
        ]
    );
}

#[tokio::test]
async fn a_server_that_changes_its_era_is_called_all_the_same() {
    let server = FakeMcp::start(Era::Modern).await;
    let gateway = gateway_to(&server).await;
    let address = server.stop().await;
    let server = FakeMcp::start_at(address, Era::Legacy).await;
    server.result("tools/call", text("older"));
    let called = gateway.client.call("wiki_act", json!({})).await;
    assert_eq!(called.tool_text(), ("older".to_owned(), false));
}

#[tokio::test]
async fn a_server_that_asks_is_answered_by_the_client() {
    let server = FakeMcp::start(Era::Modern).await;
    server.plan("tools/call", |message| {
        let params = &message.body["params"];
        let result = match params.get("requestState") {
            None => json!({ "resultType": "input_required", "requestState": "its own",
                "inputRequests": { "who": { "method": "elicitation/create", "params": {
                    "mode": "form", "message": "Who?", "requestedSchema": { "type": "object", "properties": {} } } } } }),
            Some(state) => text(&format!("{state} {}", params["inputResponses"])),
        };
        Answer::Json(200, message.result(result))
    });
    let gateway = gateway_to(&server).await;
    let call = async |extra: Value| {
        let capabilities = json!({ "elicitation": {} });
        let called = gateway
            .client
            .modern_call(capabilities, "wiki_act", json!({}), &extra);
        called.await
    };
    let asked = call(json!({})).await.result();
    assert_eq!(asked["inputRequests"]["who"]["params"]["message"], "Who?");
    let state = asked["requestState"].as_str().expect("a state");
    assert_ne!(state, "its own", "sealed");
    let answers =
        json!({ "requestState": state, "inputResponses": { "who": { "action": "decline" } } });
    let (said, _) = call(answers).await.tool_text();
    assert_eq!(said, r#""its own" {"who":{"action":"decline"}}"#);
}

#[tokio::test]
async fn arguments_that_a_schema_marks_travel_as_headers() {
    let server = FakeMcp::start(Era::Modern).await;
    let mut tool = FakeMcp::tool("act");
    tool["inputSchema"]["properties"] =
        json!({ "region": { "type": "string", "x-mcp-header": "Region" } });
    server.result("tools/list", json!({ "tools": [tool] }));
    server.result("tools/call", text("done"));
    let gateway = gateway_to(&server).await;
    let arguments = json!({ "region": "größer", "other": 1 });
    gateway.client.call("wiki_act", arguments).await.tool_text();
    let [call] = &server.seen("tools/call")[..] else {
        panic!("one call");
    };
    assert_eq!(call.header("mcp-param-region"), "=?base64?Z3LDtsOfZXI=?=");
}

#[tokio::test]
async fn a_missing_capability_is_told_in_the_clients_own_way() {
    let server = FakeMcp::start(Era::Modern).await;
    server.plan("tools/call", |message| {
        let mut error = message.error(-32021, "sampling is needed");
        error["error"]["data"] = json!({ "requiredCapabilities": { "sampling": {} } });
        Answer::Json(400, error)
    });
    let gateway = gateway_to(&server).await;
    let modern = gateway
        .client
        .modern("tools/call", json!({ "name": "wiki_act" }))
        .await;
    assert_eq!((modern.status.as_u16(), modern.error().0), (400, -32021));
    assert_eq!(
        modern.json()["error"]["data"]["requiredCapabilities"],
        json!({ "sampling": {} })
    );
    let (said, is_error) = gateway.client.call("wiki_act", json!({})).await.tool_text();
    assert!(
        is_error && said.contains("needs more of the client"),
        "{said}"
    );
}

#[tokio::test]
async fn prompts_resources_and_completion_reach_the_server() {
    for era in [Era::Modern, Era::Legacy] {
        let server = FakeMcp::start(era).await;
        server.capabilities(json!({ "prompts": {}, "resources": {}, "completions": {} }));
        server.result(
            "prompts/list",
            json!({ "prompts": [{ "name": "review", "arguments": [{ "name": "a" }] }] }),
        );
        server.result(
            "resources/list",
            json!({ "resources": [{ "uri": "wiki://a", "name": "a" }] }),
        );
        server.result(
            "resources/templates/list",
            json!({ "resourceTemplates": [{ "uriTemplate": "wiki://{page}", "name": "page" }] }),
        );
        let message = json!({ "role": "user", "content": { "type": "text", "text": "hi" } });
        server.result("prompts/get", json!({ "messages": [message] }));
        server.plan("resources/read", |message| {
            let uri = &message.body["params"]["uri"];
            if uri == "wiki://none" {
                let mut error = message.error(-32602, "Resource not found");
                error["error"]["data"] = json!({ "uri": uri });
                return Answer::Json(200, error);
            }
            let contents = json!([{ "uri": uri, "text": "page" }]);
            Answer::Json(200, message.result(json!({ "contents": contents })))
        });
        server.result(
            "completion/complete",
            json!({ "completion": { "values": ["x"] } }),
        );
        let gateway = gateway_to(&server).await;
        let client = &gateway.client;
        let prompt = client
            .modern("prompts/get", json!({ "name": "wiki_review" }))
            .await;
        assert_eq!(prompt.result()["messages"], json!([message]), "{era:?}");
        for uri in ["wiki://a", "wiki://b"] {
            let read = client.modern("resources/read", json!({ "uri": uri })).await;
            assert_eq!(read.result()["contents"][0]["uri"], uri, "{era:?}");
        }
        let none = client
            .modern("resources/read", json!({ "uri": "wiki://none" }))
            .await;
        assert_eq!(none.error().0, -32602, "{era:?}");
        let completing = json!({ "ref": { "type": "ref/prompt", "name": "wiki_review" },
                                 "argument": { "name": "a", "value": "" } });
        let proposed = client.modern("completion/complete", completing).await;
        assert_eq!(
            proposed.result()["completion"]["values"],
            json!(["x"]),
            "{era:?}"
        );
    }
}

#[tokio::test]
async fn a_slow_server_is_given_up_and_a_lively_one_is_not() {
    let server = FakeMcp::start(Era::Modern).await;
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env("CORTEX_MCP_WIKI_TIMEOUT_MS", "4000")
        .start()
        .await;
    gateway.ready().await;
    // Signs of the connection's life are none of the call's.
    for answer in [Answer::Hang, Answer::Events(vec![Step::KeepAlive])] {
        server.plan("tools/call", move |_| answer.clone());
        let (said, is_error) = gateway.client.call("wiki_act", json!({})).await.tool_text();
        assert!(is_error && said.contains("timed out"), "{said}");
    }
    // Six seconds in all, and never four without progress.
    server.events("tools/call", |message| {
        vec![
            Step::Pause(2_000),
            Step::Send(message.progress(1.0)),
            Step::Pause(2_000),
            Step::Send(message.progress(2.0)),
            Step::Pause(2_000),
            Step::Send(message.result(text("done"))),
        ]
    });
    let called = gateway.client.call("wiki_act", json!({})).await;
    assert_eq!(called.tool_text(), ("done".to_owned(), false));
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let server = FakeMcp::start(Era::Modern).await;
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env("CORTEX_PLUGIN_MAX_RESULT_BYTES", "65536")
        .start()
        .await;
    gateway.ready().await;
    let much = "x".repeat(100_000);
    for answer in [
        Answer::Raw(200, "application/json", much.clone()),
        Answer::Events(vec![Step::Raw(format!("data: {much}"))]),
        Answer::Events(vec![
            Step::Raw(": alive\n\n".repeat(20_000)),
            Step::KeepAlive,
        ]),
    ] {
        server.plan("tools/call", move |_| answer.clone());
        let (said, is_error) = gateway.client.call("wiki_act", json!({})).await.tool_text();
        assert!(is_error && said.contains("more than 65536 bytes"), "{said}");
    }
}

/// The result or error of a modern request, whether it comes as JSON or as the end of a stream.
/// Without what every server says for itself: its name, and how long a result holds.
async fn outcome(client: &Client, method: &str, params: &Value) -> Value {
    let reply = client.modern(method, params.clone()).await;
    let body = reply.text();
    let last = body
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .next_back();
    let message: Value = serde_json::from_str(last.unwrap_or(&body)).expect("a message");
    let mut outcome = json!([message["result"], message["error"]["code"]]);
    if let Some(result) = outcome[0].as_object_mut() {
        for own in ["ttlMs", "cacheScope"] {
            result.remove(own);
        }
        if let Some(meta) = result.get_mut("_meta").and_then(Value::as_object_mut) {
            meta.remove("io.modelcontextprotocol/serverInfo");
        }
        result.retain(|key, value| key != "_meta" || *value != json!({}));
        // The gateway sorts its lists.
        for (list, by) in [
            ("prompts", "name"),
            ("resources", "uri"),
            ("resourceTemplates", "uriTemplate"),
        ] {
            if let Some(listed) = result.get_mut(list).and_then(Value::as_array_mut) {
                listed.sort_by_key(|one| one[by].to_string());
            }
        }
    }
    outcome
}

#[tokio::test]
async fn an_rmcp_server_says_the_same_through_the_gateway() {
    let server = FixtureServer::start().await;
    compare(&server, &server.url).await;
}

#[tokio::test]
async fn an_rmcp_server_of_the_legacy_era_says_the_same_through_the_gateway() {
    let server = FixtureServer::start().await;
    let old = LegacyOnly::start(&server.url).await;
    compare(&server, &old.url()).await;
}

/// A gateway in front of the fixture server at this URL against the server itself.
async fn compare(server: &FixtureServer, url: &str) {
    let gateway = GatewayBuilder::new()
        .mcp_server("everything", url)
        .env("CORTEX_MCP_EVERYTHING_NAMES", "verbatim")
        .start()
        .await;
    gateway.ready().await;
    let directly = Client::new(server.url.trim_end_matches("/mcp").to_owned());
    let tool = |name: &str| ("tools/call", json!({ "name": name, "arguments": {} }));
    let read = |uri: &str| ("resources/read", json!({ "uri": uri }));
    let prompt = |name: &str, arguments: Value| {
        (
            "prompts/get",
            json!({ "name": name, "arguments": arguments }),
        )
    };
    for (method, params) in [
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        tool("test_simple_text"),
        tool("test_image_content"),
        tool("test_audio_content"),
        tool("test_embedded_resource"),
        tool("test_multiple_content_types"),
        tool("test_error_handling"),
        tool("test_tool_with_progress"),
        tool("no_such_tool"),
        read("test://static-text"),
        read("test://static-binary"),
        read("test://template/7/data"),
        read("test://nothing"),
        prompt("test_simple_prompt", json!({})),
        prompt(
            "test_prompt_with_arguments",
            json!({ "arg1": "a", "arg2": "b" }),
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" },
                    "argument": { "name": "arg1", "value": "t" } }),
        ),
    ] {
        let original = outcome(&directly, method, &params).await;
        let mut through = outcome(&gateway.client, method, &params).await;
        let resources = through.pointer_mut("/0/resources");
        if let Some(Value::Array(resources)) = resources {
            resources.retain(|resource| resource["uri"] != "cortex://architecture");
        }
        assert_eq!(through, original, "{method} {params}\n{}", gateway.log());
    }
    // Of tools the gateway says whose they are.
    let original = outcome(&directly, "tools/list", &json!({})).await;
    let mut through = outcome(&gateway.client, "tools/list", &json!({})).await;
    let tools = through[0]["tools"].as_array_mut().expect("tools");
    tools.retain(|tool| tool["_meta"]["app"] != "gateway");
    for tool in &mut *tools {
        let tool = tool.as_object_mut().expect("an object");
        assert_eq!(tool.remove("_meta"), Some(json!({ "app": "everything" })));
    }
    let mut originals = original[0]["tools"].as_array().expect("tools").clone();
    originals.sort_by_key(|tool| tool["name"].to_string());
    assert_eq!(*tools, originals);
}

#[tokio::test]
async fn a_single_tool_may_need_another_scope_by_a_variable_or_the_settings_file() {
    let server = FakeMcp::start(Era::Modern).await;
    let tools = ["act", "delete-page", "read"].map(FakeMcp::tool);
    server.result("tools/list", json!({ "tools": tools }));
    let gateway = GatewayBuilder::new()
        .mcp_server("wiki", &server.url())
        .env("CORTEX_MCP_WIKI_SCOPE_DELETE_PAGE", "mcp:wiki:admin")
        .plugin_file(
            "backend-mcp.toml",
            b"[settings.servers.wiki.scopes]\nread = \"mcp:wiki:secret\"\n",
        )
        .start()
        .await;
    gateway.ready().await;
    let listed = gateway.client.modern("tools/list", json!({})).await;
    assert_eq!(listed.tool_names(), ["wiki_act"]);
    for (tool, scope) in [
        ("wiki_delete-page", "mcp:wiki:admin"),
        ("wiki_read", "mcp:wiki:secret"),
    ] {
        let refused = gateway.client.call(tool, json!({})).await;
        assert_eq!(refused.json()["error"]["data"]["required"], json!([scope]));
    }
}
