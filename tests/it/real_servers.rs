//! MCP servers of others behind the gateway: the npm reference server and FastMCP of the Python SDK, both of
//! the legacy era, for clients of both.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cortex_tests::stream::Stream;
use cortex_tests::{Client, Gateway, GatewayBuilder, Reply, free_address};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A server of others, once it listens. `None`: what it runs on is not installed.
async fn server(program: &str, arguments: &[&str], port: u16) -> Option<Child> {
    let program = match program.contains('/') {
        true => root().join(program),
        false => program.into(),
    };
    let paths = arguments
        .iter()
        .filter(|argument| argument.contains("target/"));
    let missing = paths
        .map(|path| root().join(path))
        .find(|path| !path.exists());
    if let Some(missing) = missing {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(
            !ci,
            "{} is not installed: run tests/peers/setup.sh",
            missing.display()
        );
        eprintln!(
            "SKIPPED: {} is not installed; `cargo xtask test` does that",
            missing.display()
        );
        return None;
    }
    let child = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Some(child);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not listen");
}

async fn gateway(id: &str, port: u16) -> Gateway {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .mcp_server(id, &format!("http://127.0.0.1:{port}/mcp"))
        .start()
        .await;
    gateway.ready().await;
    gateway
}

/// What servers ask for on their own: the reference server does so a third of a second after each handshake,
/// of whatever call is under way then.
const ROOTS: &str = "roots/list";

fn roots() -> Value {
    json!({ "roots": [{ "uri": "file:///somewhere" }] })
}

/// A modern call by a client that can be asked anything, and tells its roots whenever they are asked for.
async fn modern(client: &Client, tool: &str, arguments: Value, more: Value) -> Reply {
    let capabilities = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let mut more = more;
    loop {
        let reply = client
            .modern_call(capabilities.clone(), tool, arguments.clone(), &more)
            .await;
        let result = &reply.json()["result"];
        if result["inputRequests"]["question"]["method"] != ROOTS {
            return reply;
        }
        more = answered(result, roots());
    }
}

/// What a call is sent again with.
fn answered(result: &Value, answer: Value) -> Value {
    json!({ "requestState": result["requestState"], "inputResponses": { "question": answer } })
}

/// A modern call that is asked one thing, and answers it.
async fn asked_and_answered(
    client: &Client,
    tool: &str,
    arguments: Value,
    method: &str,
    answer: Value,
) -> Reply {
    let asked = modern(client, tool, arguments.clone(), json!({})).await;
    let result = asked.result();
    assert_eq!(result["resultType"], "input_required", "{result}");
    assert_eq!(
        result["inputRequests"]["question"]["method"], method,
        "{result}"
    );
    modern(client, tool, arguments, answered(&result, answer)).await
}

/// A legacy call that is asked one thing on its stream, and answers it. Returns the result.
async fn on_the_stream(client: &Client, tool: &str, arguments: Value, answer: Value) -> Value {
    let capabilities = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let session = client.initialize_as("2025-11-25", capabilities).await;
    let headers = [
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", session.as_str()),
    ];
    let params = json!({ "name": tool, "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let mut stream = Stream::post(client, body.to_string(), &headers).await;
    let mut answer = Some(answer);
    loop {
        let message = stream.message().await.expect("not the end yet").json();
        let answer = match message["method"].as_str() {
            None => return message["result"].clone(),
            Some(ROOTS) => roots(),
            Some(_) => answer.take().expect("one question"),
        };
        let reply = json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer });
        assert_eq!(client.post(reply.to_string(), &headers).await.status, 202);
    }
}

/// Progress of a call, and its result.
async fn in_steps(client: &Client, tool: &str, arguments: Value) -> (Vec<f64>, Value) {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": "p" } });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let mut stream = Stream::post(client, body.to_string(), &[]).await;
    let mut told = Vec::new();
    loop {
        let message = stream.message().await.expect("not the end yet").json();
        match message["params"]["progress"].as_f64() {
            Some(progress) => told.push(progress),
            None => return (told, message["result"].clone()),
        }
    }
}

#[tokio::test]
async fn the_reference_server_does_all_it_can_through_the_gateway() {
    let port = free_address().port();
    const EVERYTHING: &str =
        "target/peers/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let arguments = [
        "--import",
        "./tests/peers/loopback.mjs",
        EVERYTHING,
        "streamableHttp",
    ];
    let Some(_server) = server("node", &arguments, port).await else {
        return;
    };
    let gateway = gateway("everything", port).await;
    let client = &gateway.client;
    let listed = client.modern("tools/list", json!({})).await.tool_names();
    for name in [
        "echo",
        "get-sum",
        "get-tiny-image",
        "trigger-elicitation-request",
        "trigger-sampling-request",
    ] {
        let name = format!("everything_{name}");
        assert!(listed.contains(&name), "no {name} in {listed:?}");
    }
    let call = async |tool: &str, arguments: Value| {
        modern(client, tool, arguments, json!({})).await.result()
    };
    let echoed = call("everything_echo", json!({ "message": "hello" })).await;
    assert_eq!(echoed["content"][0]["text"], "Echo: hello");
    let image = call("everything_get-tiny-image", json!({})).await;
    let kinds: Vec<_> = image["content"]
        .as_array()
        .expect("content")
        .iter()
        .map(|block| block["type"].clone())
        .collect();
    assert!(kinds.contains(&json!("image")), "{image}");
    let weather = call(
        "everything_get-structured-content",
        json!({ "location": "Chicago" }),
    )
    .await;
    assert!(
        weather["structuredContent"]["temperature"].is_number(),
        "{weather}"
    );
    let links = call("everything_get-resource-links", json!({ "count": 2 })).await;
    assert!(
        links["content"]
            .as_array()
            .is_some_and(|all| all.iter().any(|block| block["type"] == "resource_link")),
        "{links}"
    );

    let (told, done) = in_steps(
        client,
        "everything_trigger-long-running-operation",
        json!({ "duration": 0.3, "steps": 3 }),
    )
    .await;
    assert_eq!(told, [1.0, 2.0, 3.0]);
    assert!(
        done["content"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("completed")),
        "{done}"
    );

    // What it asks for in the middle of a call reaches clients of both eras.
    let form = json!({ "action": "accept", "content": { "name": "Ada", "check": true } });
    let filled = asked_and_answered(
        client,
        "everything_trigger-elicitation-request",
        json!({}),
        "elicitation/create",
        form.clone(),
    )
    .await;
    assert!(filled.text().contains("Ada"), "{}", filled.text());
    let filled = on_the_stream(
        client,
        "everything_trigger-elicitation-request",
        json!({}),
        form,
    )
    .await;
    assert!(filled.to_string().contains("Ada"), "{filled}");
    let message = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "forty-two" } });
    let prompt = json!({ "prompt": "what?", "maxTokens": 9 });
    let sampled = asked_and_answered(
        client,
        "everything_trigger-sampling-request",
        prompt.clone(),
        "sampling/createMessage",
        message.clone(),
    )
    .await;
    assert!(sampled.text().contains("forty-two"), "{}", sampled.text());
    let sampled = on_the_stream(
        client,
        "everything_trigger-sampling-request",
        prompt,
        message,
    )
    .await;
    assert!(sampled.to_string().contains("forty-two"), "{sampled}");

    // Prompts, resources and completion.
    let prompts = client.modern("prompts/list", json!({})).await.result();
    assert!(
        prompts["prompts"]
            .as_array()
            .is_some_and(|all| !all.is_empty()),
        "{prompts}"
    );
    let resources = client.modern("resources/list", json!({})).await.result();
    let uri = resources["resources"][0]["uri"].clone();
    let read = client
        .modern("resources/read", json!({ "uri": uri }))
        .await
        .result();
    assert!(read["contents"][0]["uri"].is_string(), "{read}");
}

#[tokio::test]
async fn a_python_fastmcp_server_does_all_it_can_through_the_gateway() {
    let port = free_address().port();
    let (python, text) = ("target/peers/py1/bin/python", port.to_string());
    let arguments = ["tests/peers/fastmcp_server.py", &text];
    if !root().join(python).exists() && std::env::var("CI").is_err() {
        eprintln!("SKIPPED: {python} is not installed; `cargo xtask test` does that");
        return;
    }
    let Some(_server) = server(python, &arguments, port).await else {
        return;
    };
    let gateway = gateway("py", port).await;
    let client = &gateway.client;
    let call = async |tool: &str, arguments: Value| {
        modern(client, tool, arguments, json!({})).await.result()
    };
    let sum = call("py_add", json!({ "a": 2, "b": 3 })).await;
    assert_eq!(sum["structuredContent"], json!({ "result": 5 }), "{sum}");
    let pixel = call("py_pixel", json!({})).await;
    assert_eq!(pixel["content"][0]["mimeType"], "image/png", "{pixel}");
    let (told, done) = in_steps(client, "py_steps", json!({})).await;
    assert_eq!(
        (told, &done["content"][0]["text"]),
        (vec![1.0, 2.0], &json!("done"))
    );

    let form = json!({ "action": "accept", "content": { "name": "Ada" } });
    let greeted = asked_and_answered(
        client,
        "py_greet",
        json!({}),
        "elicitation/create",
        form.clone(),
    )
    .await;
    assert_eq!(greeted.tool_text(), ("Hello Ada".to_owned(), false));
    let greeted = on_the_stream(client, "py_greet", json!({}), form).await;
    assert_eq!(greeted["content"][0]["text"], "Hello Ada");
    let declined = asked_and_answered(
        client,
        "py_greet",
        json!({}),
        "elicitation/create",
        json!({ "action": "decline" }),
    )
    .await;
    assert_eq!(declined.tool_text().0, "Nobody: decline");

    let prompt = json!({ "name": "py_review", "arguments": { "code": "x" } });
    let rendered = client.modern("prompts/get", prompt).await.result();
    assert!(
        rendered["messages"][0]["content"]["text"]
            .as_str()
            .is_some_and(|text| text.ends_with('x')),
        "{rendered}"
    );
    let read = client
        .modern("resources/read", json!({ "uri": "note://milk" }))
        .await
        .result();
    assert_eq!(read["contents"][0]["text"], "The note milk");
}
