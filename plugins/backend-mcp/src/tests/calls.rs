//! Calls: what goes out, what comes back.

use cortex_plugin_sdk::backend::{
    HeaderArgument, InputRequired, PromptResult, RequestContext, ResourceResult, ToolOutcome,
    ToolResult,
};
use cortex_plugin_sdk::http::Credential;

use super::*;

#[test]
fn a_modern_call_says_all_there_is_to_know() {
    let served = testing::serve(|request| Ok(result(request, json!({ "content": [] }))));
    let call = ToolCall {
        header_arguments: vec![HeaderArgument {
            header: "Region".into(),
            value: r#""größer""#.into(),
        }],
        context: RequestContext {
            meta: r#"{"traceparent":"00-a","app/x":{"n":0.10}}"#.into(),
            client_capabilities: r#"{"elicitation":{"form":{}}}"#.into(),
            client_info: Some(r#"{"name":"inspector","version":"1"}"#.into()),
            log_level: Some("info".into()),
            continuation: None,
        },
        ..testing::call("süche", r#"{"n": 0.10}"#)
    };
    assert!(call_with(&target("modern"), &call).is_ok());
    let [request] = &served.requests()[..] else {
        panic!("one exchange");
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.url, "http://docs.test/mcp");
    assert_eq!(request.credential, Credential::LinkedAccount("docs".into()));
    for (name, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?c8O8Y2hl?="),
        ("mcp-param-Region", "=?base64?Z3LDtsOfZXI=?="),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(request, name), Some(value), "{name}");
    }
    let text = String::from_utf8(request.body.clone().unwrap_or_default()).unwrap_or_default();
    assert!(
        text.contains(r#""arguments":{"n": 0.10}"#),
        "as it came: {text}"
    );
    assert!(text.contains(r#""app/x":{"n":0.10}"#), "as it came: {text}");
    let sent = body(&served.requests()[0]);
    let meta = &sent["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    assert_eq!(
        meta["io.modelcontextprotocol/clientInfo"]["name"],
        "inspector"
    );
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({ "elicitation": { "form": {} } })
    );
    assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info");
    assert_eq!(meta["traceparent"], "00-a");
    assert_eq!(meta["progressToken"], sent["id"]);
}

#[test]
fn what_meta_holds_for_the_gateway_stays_here() {
    let served = testing::serve(|request| Ok(result(request, json!({ "content": [] }))));
    let mut call = testing::call("t", "{}");
    call.context.meta =
        r#"{"io.modelcontextprotocol/protocolVersion":"1900-01-01","progressToken":"x"}"#.into();
    assert!(call_with(&target("modern"), &call).is_ok());
    let sent = body(&served.requests()[0]);
    let meta = &sent["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    assert_eq!(meta["progressToken"], sent["id"]);
    assert_eq!(
        meta["io.modelcontextprotocol/clientInfo"]["name"],
        "cortex-gateway"
    );
    assert!(meta.get("io.modelcontextprotocol/logLevel").is_none());
}

#[test]
fn a_result_passes_through_as_it_is() {
    let blocks = [
        r#"{"type":"text","text":"a","annotations":{"priority":0.50}}"#,
        r#"{"type":"image","data":"AA==","mimeType":"image/png"}"#,
        r#"{"type":"resource_link","uri":"x:y","name":"n"}"#,
        r#"{"type":"later","n":1.0e400}"#,
    ];
    let _served = testing::serve(move |request| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"resultType":"complete","content":[{}],
               "structuredContent":[1.0],"isError":true,"ttlMs":5,
               "_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"x"}},"k":1.0}}}}}}"#,
            body(request)["id"],
            blocks.join(", ")
        );
        Ok(response(200, text).with("content-type", "Application/JSON"))
    });
    let outcome = call(&target("modern")).map(ToolOutcome::from);
    assert_eq!(
        outcome,
        Ok(ToolOutcome::Complete(ToolResult {
            content: blocks.map(Content::block).into(),
            structured_content: Some("[1.0]".into()),
            is_error: true,
            meta: Some(r#"{"k":1.0}"#.into()),
            extra: Some(r#"{"ttlMs":5}"#.into()),
        }))
    );
}

#[test]
fn notifications_are_passed_on_before_the_answer() {
    let _served = testing::serve(|request| {
        let id = &body(request)["id"];
        let told = |method: &str, params: Value| {
            let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
            format!("event: message\r\ndata: {message}\r\n\r\n")
        };
        let progress = |token: &Value, n: f64| {
            told(
                "notifications/progress",
                json!({ "progressToken": token, "progress": n, "total": 3, "message": "m" }),
            )
        };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
        Ok(testing::events([
            "id: 1\nretry: 10\ndata:\n\n: alive\n\n".to_owned(),
            progress(id, 1.0),
            progress(&json!("somebody else's"), 9.0),
            told(
                "notifications/message",
                json!({ "level": "info", "logger": "l", "data": { "a": 1 } }),
            ),
            told("notifications/message", json!({ "level": 7 })),
            told("notifications/tools/list_changed", json!({})),
            "event: other\ndata: {\n\n".to_owned(),
            progress(id, 2.0),
            format!("data: {answer}\n\n"),
            progress(id, 3.0),
        ]))
    });
    assert_eq!(call(&target("modern")), Ok(Reply::new([])));
    let steps: Vec<_> = testing::progress()
        .iter()
        .map(|p| (p.done, p.total))
        .collect();
    assert_eq!(steps, [(1.0, Some(3.0)), (2.0, Some(3.0))]);
    let told = testing::client_log();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].level.as_str(), told[0].data.as_str()),
        ("info", r#"{"a":1}"#)
    );
    assert_eq!(_served.closed(), 1, "nothing is read after the answer");
}

#[test]
fn a_question_travels_to_the_client_and_its_answer_back() {
    let served = testing::serve(|request| {
        let params = body(request)["params"].clone();
        Ok(match params.get("requestState") {
            None => {
                let asked = json!({ "resultType": "input_required", "requestState": "s\"1",
                    "inputRequests": { "who": { "method": "elicitation/create", "params": {} } } });
                result(request, asked)
            }
            Some(_) => result(request, json!({ "resultType": "complete", "content": [] })),
        })
    });
    let Ok(ToolOutcome::InputRequired(InputRequired { requests, state })) =
        call(&target("modern")).map(ToolOutcome::from)
    else {
        panic!("a question");
    };
    let asked: Value = serde_json::from_str(&requests).unwrap_or_default();
    assert_eq!(asked["who"]["method"], "elicitation/create");
    let mut again = testing::call("search", r#"{"q":"x"}"#);
    again.context.continuation = Some(Continuation {
        state,
        responses: r#"{"who":{"action":"accept"}}"#.into(),
    });
    assert_eq!(call_with(&target("modern"), &again), Ok(Reply::new([])));
    let requests = served.requests();
    let (first, second) = (body(&requests[0]), body(&requests[1]));
    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["params"]["requestState"], "s\"1");
    assert_eq!(
        second["params"]["inputResponses"],
        json!({ "who": { "action": "accept" } })
    );
    assert_eq!(second["params"]["arguments"], first["params"]["arguments"]);
}

#[test]
fn a_question_without_state_or_without_requests() {
    for (asked, sent_back) in [
        (
            json!({ "resultType": "input_required", "inputRequests": {} }),
            json!([null, {}]),
        ),
        (
            json!({ "resultType": "input_required", "requestState": "s" }),
            json!(["s", null]),
        ),
    ] {
        let shown = asked.to_string();
        let served = testing::serve(move |request| Ok(result(request, asked.clone())));
        let Ok(ToolOutcome::InputRequired(question)) =
            call(&target("modern")).map(ToolOutcome::from)
        else {
            panic!("a question: {shown}");
        };
        let mut again = testing::call("search", "{}");
        again.context.continuation = Some(Continuation {
            state: question.state,
            responses: "{}".into(),
        });
        assert!(call_with(&target("modern"), &again).is_ok());
        let params = body(&served.requests()[1])["params"].clone();
        assert_eq!(
            json!([params["requestState"], params["inputResponses"]]),
            sent_back,
            "{shown}"
        );
    }
}

#[test]
fn prompts_resources_and_completions() {
    let served = testing::serve(|request| {
        Ok(match body(request)["method"].as_str() {
            Some("prompts/get") => result(
                request,
                json!({ "description": "d", "messages": [{ "role": "user" }] }),
            ),
            Some("resources/read") if body(request)["params"]["uri"] == "x:none" => {
                error(request, 200, -32602, json!({ "uri": "x:none" }))
            }
            Some("resources/read") => result(request, json!({ "contents": [{ "uri": "x:y" }] })),
            _ => result(
                request,
                json!({ "completion": { "values": ["a", "b"], "total": 3, "hasMore": true } }),
            ),
        })
    });
    let (target, caller) = (target("modern"), testing::caller(&[]));
    let prompt = PromptCall {
        prompt: "review".into(),
        arguments: r#"{"a":"b"}"#.into(),
        context: testing::context(),
    };
    assert_eq!(
        McpBackend::get_prompt(&target, &caller, &prompt),
        Ok(PromptOutcome::Complete(PromptResult {
            description: Some("d".into()),
            messages: r#"[{"role":"user"}]"#.into(),
            meta: None,
            extra: None,
        }))
    );
    let read = |uri: &str| {
        let read = ResourceRead {
            uri: uri.into(),
            context: testing::context(),
        };
        McpBackend::read_resource(&target, &caller, &read)
    };
    assert_eq!(
        read("x:y"),
        Ok(ResourceOutcome::Complete(ResourceResult {
            contents: r#"[{"uri":"x:y"}]"#.into(),
            meta: None,
            extra: None,
        }))
    );
    assert_eq!(read("x:none"), Err(CallError::not_found("x:none")));
    let completion = Completion {
        ref_: r#"{"type":"ref/prompt","name":"review"}"#.into(),
        argument: "a".into(),
        value: "b".into(),
        context: r#"{"c":"d"}"#.into(),
    };
    assert_eq!(
        McpBackend::complete(&target, &caller, &completion),
        Ok(CompletionResult {
            values: vec!["a".into(), "b".into()],
            total: Some(3),
            has_more: true,
        })
    );
    let requests = served.requests();
    assert_eq!(header(&requests[0], "mcp-name"), Some("review"));
    assert_eq!(header(&requests[1], "mcp-name"), Some("x:y"));
    assert_eq!(header(&requests[3], "mcp-name"), None);
    let params = body(&requests[3])["params"].clone();
    assert_eq!(
        params["ref"],
        json!({ "type": "ref/prompt", "name": "review" })
    );
    assert_eq!(params["argument"], json!({ "name": "a", "value": "b" }));
    assert_eq!(params["context"], json!({ "arguments": { "c": "d" } }));
}

#[test]
fn what_goes_wrong_is_told_without_addresses() {
    let check = |answer: Result<Streamed, HttpError>, expected: &str| {
        let _served = testing::serve(move |_| answer.clone());
        let told = call(&target("modern")).map_err(said);
        assert!(
            told.as_ref().is_err_and(|told| told.contains(expected)),
            "{told:?} has no `{expected}`"
        );
        assert!(!format!("{told:?}").contains("http://"), "{told:?}");
    };
    let events = |text: &str| Ok(testing::events([text]));
    check(
        Err(HttpError::Timeout(50)),
        "backend_timeout: Backend docs timed out after 50ms",
    );
    check(
        Err(HttpError::OriginNotGranted("http://x".into())),
        "backend_unavailable: Backend docs is unavailable: the gateway refused",
    );
    check(Ok(response(403, "").into()), "backend_acl: ");
    check(Ok(response(302, "").into()), "a redirect (HTTP 302)");
    check(Ok(response(503, "").into()), "it answered HTTP 503");
    check(Ok(response(200, "{}").into()), "content type ``");
    check(Ok(response(202, "").into()), "content type ``");
    check(events(""), "its stream ended without an answer");
    check(events("data: {}\n\n"), "it is not a JSON-RPC 2.0 message");
    check(
        events("data: {\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}\n\n"),
        "it answers another request",
    );
    let broken = Streamed {
        pieces: [Err(HttpError::ResponseTooLarge(9))].into(),
        ..testing::events([""])
    };
    check(Ok(broken), "answered with more than 9 bytes");
    for wrong in [
        json!({ "content": {} }),
        json!({ "content": [], "isError": 1 }),
        json!({ "resultType": "input_required" }),
    ] {
        let _served = testing::serve(move |request| Ok(result(request, wrong.clone())));
        let told = call(&target("modern")).map_err(said);
        assert!(
            told.as_ref()
                .is_err_and(|told| told.contains("its answer is not MCP")),
            "{told:?}"
        );
    }
}

#[test]
fn settings_that_are_wrong_name_the_backend() {
    let mut target = target("modern");
    target.settings = r#"{"pathh":"/x"}"#.into();
    let told = call(&target).map_err(said);
    assert!(
        told.as_ref()
            .is_err_and(|told| told.contains("Backend docs is misconfigured")),
        "{told:?}"
    );
    target.settings = r#"{"path":"/a?b=c"}"#.into();
    let served = testing::serve(|request| Ok(result(request, json!({ "content": [] }))));
    assert!(call(&target).is_ok());
    assert_eq!(served.requests()[0].url, "http://docs.test/a?b=c");
}

#[test]
fn a_refusal_says_what_is_missing_by_what_was_shown() {
    let told = |credential: &str, status: u16, challenge: &'static str| {
        let refused = move |_: &http::Request| {
            let refused = response(status, "").with("www-authenticate", challenge);
            Ok(Streamed::from(refused))
        };
        let _served = testing::serve(refused);
        let target = Target {
            settings: json!({ "credential": credential }).to_string(),
            ..target("modern")
        };
        match call(&target).expect_err("refused") {
            CallError::Failed(failure) => failure.code,
            other => format!("{other:?}"),
        }
    };
    const MORE: &str = r#"Bearer error="insufficient_scope", scope="a b""#;
    let linked = |scopes: &[&str]| format!("{:?}", CallError::link_required(scopes.to_vec()));
    assert_eq!(told("account", 401, "Bearer"), linked(&[]));
    assert_eq!(told("account", 403, MORE), linked(&["a", "b"]));
    assert_eq!(told("account", 403, "Bearer"), "backend_acl");
    let missing = CallError::missing_scope(["a", "b"], "docs");
    assert_eq!(told("caller", 403, MORE), format!("{missing:?}"));
    assert_eq!(told("caller", 401, "Bearer"), "backend_auth");
    assert_eq!(told("none", 401, "Bearer"), "backend_auth");
    assert_eq!(told("none", 403, MORE), "backend_acl");
}

#[test]
fn the_file_and_the_variable_say_which_scope_a_tool_needs() {
    let target = Target {
        settings: r#"{"scope":"mcp:docs:use","scope_variables":{"DROP_IT":"by:variable"}}"#.into(),
        ..testing::target()
    };
    let settings = Settings::of(&target).expect("settings");
    testing::set_settings(
        r#"{"servers":{"docs":{"scopes":{"drop-it":"by:file","keep":"by:file"}},"other":{}}}"#,
    );
    for (tool, scope) in [
        ("drop-it", "by:variable"),
        ("drop.it", "by:variable"),
        ("keep", "by:file"),
        ("search", "mcp:docs:use"),
    ] {
        assert_eq!(settings.scope_of_tool(&target, tool), scope, "{tool}");
    }
    testing::set_settings("{}");
}
