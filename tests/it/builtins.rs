//! The gateway's own tools, and lists in the form that a caller asks for.

use cortex_tests::backend::Plan;
use cortex_tests::client::GATEWAY_TOOLS;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder};
use serde_json::{Value, json};

/// A gateway in front of a backend with tools of two scopes, and clients that have one of them.
struct Stand {
    gateway: Gateway,
    backend: FakeBackend,
    /// May use the tools.
    ann: Client,
    /// May not.
    bob: Client,
    _issuer: FakeIssuer,
}

fn tool(name: &str, scope: &str, description: &str) -> Value {
    json!({
        "name": name, "scope": scope, "description": description,
        "inputSchema": {
            "type": "object",
            "properties": { "invoiceNumber": { "type": "string", "description": "Printed on the top right." } },
            "required": ["invoiceNumber"],
        },
    })
}

async fn stand(tools: Value, settings: &[(&str, &str)]) -> Stand {
    let key = Key::generate(Alg::EdDsa, "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(tools).await;
    let mut builder = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("books", &backend.url());
    for (name, value) in settings {
        builder = builder.env(name, value);
    }
    let gateway = builder.start().await;
    gateway.ready().await;
    let client = |sub: &str, scope: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(sub);
        claims["email"] = json!(format!("{sub}@example.com"));
        claims["scope"] = json!(scope);
        claims["jti"] = json!(format!("token-of-{sub}"));
        gateway.client.with_token(&key.token(&claims))
    };
    let ann = client("ann", "mcp:books:read");
    let bob = client("bob", "mcp:other:read");
    Stand {
        ann,
        bob,
        gateway,
        backend,
        _issuer: issuer,
    }
}

fn two() -> Value {
    json!([
        tool(
            "send_invoice",
            "mcp:books:read",
            "Sends an invoice to a customer. It goes out by mail."
        ),
        tool(
            "close_year",
            "mcp:books:close",
            "Closes the zebrafish year."
        ),
    ])
}

/// `structuredContent`, which has to say the same as the text.
fn told(reply: &cortex_tests::client::Reply) -> Value {
    let result = reply.result();
    assert_eq!(result["isError"], false, "{result}");
    let text = result["content"][0]["text"].as_str().expect("a text");
    let text: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(text, result["structuredContent"]);
    text
}

async fn list(client: &Client, headers: &[(&str, &str)]) -> Value {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    client.post(body, headers).await.result()
}

fn names(list: &Value) -> Vec<&str> {
    let tools = list["tools"].as_array().expect("tools");
    tools.iter().filter_map(|t| t["name"].as_str()).collect()
}

#[tokio::test]
async fn whoami_tells_who_the_caller_is_here_and_at_each_backend() {
    let stand = stand(two(), &[]).await;
    stand
        .backend
        .plan("whoami", Plan::Json(200, json!({ "roles": ["clerk"] })));
    let mut gateway = stand.gateway;
    let who = told(&stand.ann.call("whoami", json!({})).await);
    assert_eq!(who["identity"]["sub"], "ann");
    assert_eq!(who["identity"]["email"], "ann@example.com");
    assert_eq!(who["session"]["jti"], "token-of-ann");
    assert_eq!(who["session"]["is_dev_bypass"], false);
    assert_eq!(who["scopes_granted"], json!(["mcp:books:read"]));
    assert_eq!(
        who["backends"],
        json!([{ "app_id": "books", "healthy": true, "roles": ["clerk"] }])
    );
    assert!(who["discovered_at"].is_string(), "{who}");
    // The backend was asked as the user, not as the gateway.
    let seen = stand.backend.seen("whoami");
    assert_eq!(seen[0].headers["x-cortex-user-id"], "ann");

    // A backend that says nothing holds up nobody and is told of.
    stand.backend.plan(
        "whoami",
        Plan::Json(500, json!({ "error": "out of order" })),
    );
    let who = told(&stand.ann.call("whoami", json!({})).await);
    let error = who["backends"][0]["error"].as_str().expect("an error");
    assert!(error.contains("out of order"), "{error}");

    // A mistyped argument is told, not ignored.
    let wrong = stand.ann.call("whoami", json!({ "verbose": true })).await;
    let (text, is_error) = wrong.tool_text();
    assert!(is_error && text.contains("verbose"), "{text}");

    let records = gateway.audit(3).await;
    let first = &records[0];
    assert_eq!(
        (&first["tool"], &first["target_app"], &first["success"]),
        (&json!("whoami"), &json!("gateway"), &json!(true))
    );
    assert_eq!(records[2]["error_code"], "invalid_arguments");
}

#[tokio::test]
async fn tools_are_found_by_words_and_only_those_that_may_be_seen() {
    let stand = stand(two(), &[]).await;
    let query = |words: &str| json!({ "query": words });
    let found = told(&stand.ann.call("find_tools", query("invoices")).await);
    assert_eq!(names(&found), ["books_send_invoice"]);
    let schema = &found["tools"][0]["inputSchema"]["properties"]["invoiceNumber"];
    assert_eq!(schema["description"], "Printed on the top right.");
    // By the name of an argument, too.
    let found = told(&stand.ann.call("find_tools", query("invoice number")).await);
    assert_eq!(names(&found), ["books_send_invoice"]);

    let by_name = json!({ "names": ["books_send_invoice", "books_close_year", "books_nothing", "whoami"], "query": "x" });
    let found = told(&stand.ann.call("find_tools", by_name).await);
    assert_eq!(names(&found), ["books_send_invoice", "whoami"]);
    // What may not be seen is as unknown as what is not there.
    assert_eq!(
        found["unknown"],
        json!(["books_close_year", "books_nothing"])
    );
    let hidden = told(&stand.ann.call("find_tools", query("zebrafish")).await);
    assert_eq!(names(&hidden), [""; 0]);
    let none = told(&stand.bob.call("find_tools", query("invoice")).await);
    assert_eq!(names(&none), [""; 0]);

    let (text, is_error) = stand.ann.call("find_tools", json!({})).await.tool_text();
    assert!(is_error && text.contains("`query`"), "{text}");
}

#[tokio::test]
async fn lists_are_narrowed_and_shortened_as_asked() {
    let stand = stand(two(), &[]).await;
    let full = list(&stand.ann, &[]).await;
    assert_eq!(full["_meta"], Value::Null);
    let mut all = vec!["books_send_invoice"];
    all.extend(GATEWAY_TOOLS);
    all.sort_unstable();
    assert_eq!(names(&full), all);
    for (backends, expected) in [
        ("books", true),
        ("crm, books", true),
        ("crm", false),
        ("", false),
    ] {
        let some = list(&stand.ann, &[("X-Cortex-Backends", backends)]).await;
        let there = names(&some).contains(&"books_send_invoice");
        assert_eq!(there, expected, "{backends}: {some}");
        assert!(names(&some).contains(&"whoami"));
    }
    let short = list(&stand.ann, &[("X-Cortex-Tool-Mode", "search")]).await;
    let tools = short["tools"].as_array().expect("tools");
    let one = tools
        .iter()
        .find(|t| t["name"] == "books_send_invoice")
        .expect("listed");
    assert_eq!(
        *one,
        json!({
            "name": "books_send_invoice",
            "description": "[books] Sends an invoice to a customer.",
            "inputSchema": { "type": "object" },
        })
    );
    assert!(names(&short).contains(&"find_tools"));
    assert_eq!(short["_meta"]["cortex/contextBudget"]["form"], "brief");
    for bad in [
        ("X-Cortex-Tool-Mode", "short"),
        ("X-Cortex-Context-Budget", "10"),
        ("X-Cortex-Context-Budget", "many"),
    ] {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let (code, text) = stand.ann.post(body, &[bad]).await.error();
        assert_eq!(code, -32602);
        assert!(text.contains(bad.0), "{text}");
    }
    let mut gateway = stand.gateway;
    let records = gateway.audit(9).await;
    assert_eq!(records[1]["backends_filter"], json!(["books"]));
    assert_eq!(records[5]["tool_mode"], "search");
    assert_eq!(records[0]["tool_mode"], "full");
}

#[tokio::test]
async fn a_list_fits_the_budget_whatever_there_is() {
    let many: Vec<Value> = (0..1_266)
        .map(|n| {
            let text = format!(
                "Does thing number {n} for a customer. {}",
                "Says more about it. ".repeat(10)
            );
            tool(&format!("do_thing_{n:04}"), "mcp:books:read", &text)
        })
        .collect();
    let stand = stand(json!(many), &[("CORTEX_CONTEXT_BUDGET", "60000")]).await;
    let whole = 1_266 + GATEWAY_TOOLS.len();
    for (budget, form, listed) in [
        ("10000000", "full", whole),
        ("90000", "compact", whole),
        ("60000", "brief", whole + 1),
        ("2000", "search", GATEWAY_TOOLS.len() + 1),
        ("500", "search", GATEWAY_TOOLS.len() + 1),
    ] {
        let list = list(&stand.ann, &[("X-Cortex-Context-Budget", budget)]).await;
        let tokens: u64 = budget.parse().expect("a number");
        let done = &list["_meta"]["cortex/contextBudget"];
        let estimate = done["estimate"].as_u64().expect("an estimate");
        assert_eq!(done["form"], form, "{done}");
        assert_eq!(done["budget"], tokens);
        assert_eq!(names(&list).len(), listed, "{done}");
        let really = list.to_string().chars().count() as u64 / 4;
        assert!(
            really <= estimate && estimate <= tokens,
            "{really} of {tokens}: {done}"
        );
        for own in GATEWAY_TOOLS {
            assert!(names(&list).contains(&own), "{own} at {budget}");
        }
    }
    // In search mode nothing is listed, everything is found, and what is found can be called.
    let both = [
        ("X-Cortex-Context-Budget", "2000"),
        ("X-Cortex-Tool-Mode", "search"),
    ];
    let short = list(&stand.ann, &both).await;
    assert!(short.to_string().len() / 4 <= 2_000);
    let finder = short["tools"].as_array().expect("tools").iter();
    let finder = finder
        .filter(|t| t["name"] == "find_tools")
        .collect::<Vec<_>>();
    assert!(finder[0].to_string().contains("1266"), "{finder:?}");
    let query = json!({ "query": "thing number 1203" });
    let found = told(&stand.ann.call("find_tools", query).await);
    assert_eq!(names(&found)[0], "books_do_thing_1203");
    assert_eq!(names(&found).len(), 10);
    // The operator's budget is for those who name none.
    let list = list(&stand.ann, &[]).await;
    assert_eq!(list["_meta"]["cortex/contextBudget"]["form"], "brief");
}

#[tokio::test]
async fn resources_are_read_as_a_tool_by_who_may_read_them() {
    let stand = stand(two(), &[]).await;
    let backend = &stand.backend;
    let template =
        json!({ "uriTemplate": "books://page/{id}", "name": "page", "scope": "mcp:books:read" });
    backend.plan(
        "list_resource_templates",
        Plan::Json(200, json!({ "resourceTemplates": [template] })),
    );
    let content = json!({ "uri": "books://page/1", "text": "first page" });
    backend.plan(
        "read_resource",
        Plan::Json(200, json!({ "contents": [content] })),
    );
    let restarted = GatewayBuilder::new()
        .backend("books", &backend.url())
        .start()
        .await;
    restarted.ready().await;
    let page = json!({ "uri": "books://page/1" });
    // The local developer lacks the scope, which is a challenge as for `resources/read`.
    let refused = restarted
        .client
        .call("read_cortex_resource", page.clone())
        .await;
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .header("www-authenticate")
            .contains("mcp:books:read")
    );
    let granted = GatewayBuilder::new()
        .backend("books", &backend.url())
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:books:read")
        .start()
        .await;
    granted.ready().await;
    let read = told(&granted.client.call("read_cortex_resource", page).await);
    assert_eq!(read["text"], "first page");
    let nothing = json!({ "uri": "nothing://here" });
    let (text, is_error) = granted
        .client
        .call("read_cortex_resource", nothing)
        .await
        .tool_text();
    assert!(is_error && text.contains("list_cortex_resources"), "{text}");
}

#[tokio::test]
async fn the_gateway_describes_itself_to_each_caller() {
    let stand = stand(two(), &[]).await;
    let listed = told(&stand.ann.call("list_cortex_resources", json!({})).await);
    assert_eq!(listed["resources"][0]["uri"], "cortex://architecture");
    let uri = json!({ "uri": "cortex://architecture" });
    let text = async |client: &Client| {
        let read = client.legacy("resources/read", uri.clone()).await.result();
        let text = read["contents"][0]["text"].as_str().expect("a text");
        let tool = told(&client.call("read_cortex_resource", uri.clone()).await);
        assert_eq!(tool["text"], text);
        text.to_owned()
    };
    let (to_ann, to_bob) = (text(&stand.ann).await, text(&stand.bob).await);
    assert!(
        to_ann.contains("subject: ann") && to_ann.contains("| books | up | 1 |"),
        "{to_ann}"
    );
    // Tools are counted that may be seen.
    assert!(to_bob.contains("| books | up | 0 |"), "{to_bob}");
    for private in [stand.backend.url(), "token-of-ann".to_owned()] {
        assert!(!to_ann.contains(&private), "{to_ann}");
    }
}

#[tokio::test]
async fn what_is_called_like_the_gateways_own_is_left_out_and_told() {
    let stand = stand(
        json!([
            tool("whoami", "mcp:books:read", "Not the gateway's."),
            tool("act", "mcp:books:read", "Acts."),
        ]),
        &[],
    )
    .await;
    let list = list(&stand.ann, &[]).await;
    assert!(!names(&list).contains(&"books_whoami"), "{list}");
    assert!(names(&list).contains(&"books_act"));
    let mut gateway = stand.gateway;
    gateway
        .logged("tool `whoami` is left out: the gateway has a tool of this name")
        .await;
}
