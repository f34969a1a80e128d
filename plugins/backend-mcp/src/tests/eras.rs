//! Which era: found out, remembered, found out again. And the sessions of the legacy one.

use super::*;

/// What a modern server says to a request of the legacy era, and the other way round.
fn not_mine(request: &http::Request) -> Streamed {
    let error = json!({ "code": -32000, "message": "Bad Request: Server not initialized" });
    match body(request)["method"].as_str() {
        Some("initialize") => super::error(request, 404, -32601, Value::Null),
        _ => json_response(
            400,
            &json!({ "jsonrpc": "2.0", "id": null, "error": error }),
        )
        .into(),
    }
}

fn modern(request: &http::Request) -> Streamed {
    match body(request)["method"].as_str() {
        Some("server/discover") => result(
            request,
            json!({ "supportedVersions": ["2027-01-01", "2026-07-28"], "capabilities": { "tools": {} } }),
        ),
        Some("tools/list") => result(request, json!({ "tools": [] })),
        Some("tools/call") => result(request, json!({ "content": [] })),
        _ => not_mine(request),
    }
}

fn old(request: &http::Request) -> Streamed {
    let has_session = header(request, "mcp-session-id").is_some();
    let served = legacy_server(request, |request| {
        if !has_session {
            return not_mine(request);
        }
        match body(request)["method"].as_str() {
            Some("tools/list") => result(request, json!({ "tools": [] })),
            _ => result(request, json!({ "content": [] })),
        }
    });
    served.unwrap_or_else(|_| not_mine(request))
}

#[test]
fn discovery_finds_the_era_out_and_remembers_it() {
    let served = testing::serve(|request| Ok(modern(request)));
    let catalog = McpBackend::discover(&testing::target()).expect("a catalog");
    assert_eq!(
        catalog.learned.as_deref(),
        Some(r#"{"era":"modern","version":"2026-07-28","capabilities":{"tools":{}}}"#)
    );
    assert_eq!(
        methods(&served.requests()),
        ["server/discover", "tools/list"]
    );
    drop(served);

    let served = testing::serve(|request| Ok(old(request)));
    let catalog = McpBackend::discover(&testing::target()).expect("a catalog");
    assert_eq!(
        catalog.learned.as_deref(),
        Some(r#"{"era":"legacy","version":"2025-06-18","capabilities":{"logging":{},"tools":{}}}"#)
    );
    let requests = served.requests();
    assert_eq!(
        methods(&requests),
        [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "tools/list",
            "DELETE"
        ]
    );
    assert_eq!(
        body(&requests[1])["params"]["protocolVersion"],
        "2025-11-25"
    );
    // Whatever a server offers only to clients that can be asked is found, too.
    let declared = &body(&requests[1])["params"]["capabilities"];
    assert!(
        ["elicitation", "roots", "sampling"]
            .iter()
            .all(|name| declared[name].is_object())
    );
    for request in &requests[2..] {
        assert_eq!(header(request, "mcp-session-id"), Some("s-1"));
        assert_eq!(header(request, "mcp-protocol-version"), Some("2025-06-18"));
    }
}

#[test]
fn a_server_that_has_changed_its_era_is_called_all_the_same() {
    let served = testing::serve(|request| Ok(old(request)));
    assert!(call(&target("modern")).is_ok());
    assert_eq!(
        methods(&served.requests()),
        [
            "tools/call",
            "initialize",
            "notifications/initialized",
            "tools/call",
        ]
    );
    drop(served);
    let served = testing::serve(|request| Ok(modern(request)));
    assert!(call(&target("legacy")).is_ok());
    assert_eq!(methods(&served.requests()), ["initialize", "tools/call"]);
    drop(served);
    // Nothing known at all.
    let served = testing::serve(|request| Ok(modern(request)));
    assert!(call(&testing::target()).is_ok());
    assert_eq!(methods(&served.requests()), ["tools/call"]);
}

#[test]
fn errors_of_the_modern_era_are_no_reason_to_fall_back() {
    for (status, code) in [
        (400, -32020),
        (400, -32021),
        (404, -32601),
        (400, -32602),
        (400, 7),
    ] {
        let served = testing::serve(move |request| Ok(error(request, status, code, Value::Null)));
        assert!(call(&target("modern")).is_err());
        assert_eq!(
            methods(&served.requests()),
            ["tools/call"],
            "{status} {code}"
        );
    }
    // Out of order, but no legacy server.
    for status in [401, 403, 408, 413, 429, 500, 503] {
        let served = testing::serve(move |_| Ok(response(status, "")));
        assert!(call(&target("modern")).is_err());
        assert_eq!(methods(&served.requests()), ["tools/call"], "{status}");
    }
}

#[test]
fn a_server_that_speaks_neither_is_told_of_with_both_reasons() {
    let other_version = |request: &http::Request| match body(request)["method"].as_str() {
        Some("initialize") => result(request, json!({ "protocolVersion": "2024-11-05" })),
        _ => error(
            request,
            400,
            -32022,
            json!({ "supported": ["2027-01-01"], "requested": "x" }),
        ),
    };
    let _served = testing::serve(move |request| Ok(other_version(request)));
    for told in [
        McpBackend::discover(&testing::target()).map(|_| ()),
        call(&target("modern")).map(|_| ()),
    ] {
        let told = told.map_err(said).expect_err("neither");
        assert!(
            told.contains("it supports 2027-01-01; it chose version `2024-11-05`"),
            "{told}"
        );
    }
}

#[test]
fn a_lost_session_is_begun_again_once() {
    let mut calls = 0;
    let served = testing::serve(move |request| {
        legacy_server(request, |request| {
            calls += 1;
            if calls == 1 {
                response(404, "").into()
            } else {
                result(request, json!({ "content": [] }))
            }
        })
    });
    assert!(call(&target("legacy")).is_ok());
    let begins = ["initialize", "notifications/initialized", "tools/call"];
    assert_eq!(
        methods(&served.requests()),
        [&begins[..], &begins[..]].concat()
    );
    drop(served);
    let served = testing::serve(|request| legacy_server(request, |_| response(404, "").into()));
    let told = call(&target("legacy"))
        .map_err(said)
        .expect_err("lost twice");
    assert!(told.contains("it answered HTTP 404"), "{told}");
    assert_eq!(
        methods(&served.requests()),
        [&begins[..], &begins[..]].concat()
    );
}

#[test]
fn an_error_with_status_404_is_no_lost_session() {
    let served = testing::serve(|request| {
        legacy_server(request, |request| error(request, 404, -32601, Value::Null))
    });
    assert_eq!(call(&target("legacy")), Err(CallError::Unsupported));
    assert_eq!(served.requests().len(), 3);
}

#[test]
fn a_subject_keeps_its_session() {
    let served = testing::serve(|request| {
        legacy_server(request, |request| result(request, json!({ "content": [] })))
    });
    let target = target("legacy");
    for _ in 0..3 {
        assert!(call(&target).is_ok());
    }
    let begins = ["initialize", "notifications/initialized", "tools/call"];
    assert_eq!(
        methods(&served.requests()),
        [&begins[..], &["tools/call", "tools/call"]].concat()
    );
    // Another client, and one that can be asked for other things, is another session.
    let mut other = testing::call("search", "{}");
    other.context.client_info = Some(r#"{"name":"other","version":"1"}"#.into());
    let mut able = testing::call("search", "{}");
    able.context.client_capabilities = r#"{"roots":{}}"#.into();
    for (call, listens) in [(&other, false), (&able, true)] {
        let before = served.requests().len();
        assert!(call_with(&target, call).is_ok());
        let mut made = methods(&served.requests())[before..].to_vec();
        let listened = made.iter().position(|method| method == "GET");
        assert_eq!(listened.map(|at| made.remove(at)).is_some(), listens);
        assert_eq!(made, begins);
    }
    let requests = served.requests();
    let declared = &body(&requests[requests.len() - 4])["params"]["capabilities"];
    assert_eq!(*declared, json!({ "roots": {} }));
}

#[test]
fn a_kept_session_that_is_over_is_begun_again_and_a_new_one_is_believed() {
    for (status, again) in [(404, true), (400, true), (500, false)] {
        let mut calls = 0;
        let served = testing::serve(move |request| {
            legacy_server(request, |request| {
                calls += 1;
                match calls {
                    2 => response(status, "").into(),
                    _ => result(request, json!({ "content": [] })),
                }
            })
        });
        let target = target("legacy");
        assert!(call(&target).is_ok());
        assert_eq!(call(&target).is_ok(), again, "{status}");
        let handshakes = methods(&served.requests());
        let handshakes = handshakes.iter().filter(|method| *method == "initialize");
        assert_eq!(handshakes.count(), if again { 2 } else { 1 }, "{status}");
    }
    // 400 to the first request of a session is an answer.
    let served = testing::serve(|request| legacy_server(request, |_| response(400, "").into()));
    assert!(call(&target("legacy")).is_err());
    assert_eq!(served.requests().len(), 3);
}

/// A legacy server that asks these in the middle of a call.
fn asks(questions: &'static [(&'static str, &'static str)]) -> testing::Served {
    testing::serve(move |request| {
        if body(request).get("result").is_some() || body(request).get("error").is_some() {
            return Ok(response(202, "").into());
        }
        legacy_server(request, |request| {
            let id = body(request)["id"].clone();
            let asked = questions.iter().map(|(id, method)| {
                let asked =
                    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "x": 1 } });
                format!("data: {asked}\n\n")
            });
            let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
            testing::events(
                asked
                    .chain([format!("data: {answer}\n\n")])
                    .collect::<Vec<_>>(),
            )
        })
    })
}

#[test]
fn what_a_legacy_server_asks_meanwhile_is_asked_of_the_client() {
    use client::{AskError, Refusal};
    testing::answer(|method, params| {
        assert_eq!(params, r#"{"x":1}"#);
        match method {
            "elicitation/create" => Ok(r#"{"action":"accept","content":{"a":1}}"#.into()),
            "sampling/createMessage" => Err(AskError::Refused(Refusal {
                code: -1,
                message: "no".into(),
                data: None,
            })),
            _ => Err(AskError::Undeclared("roots".into())),
        }
    });
    let served = asks(&[
        ("p", "ping"),
        ("e", "elicitation/create"),
        ("s", "sampling/createMessage"),
        ("r", "roots/list"),
        ("t", "tasks/get"),
    ]);
    assert!(call(&target("legacy")).is_ok());
    let requests = served.requests();
    let answers: Vec<Value> = requests[3..].iter().map(body).collect();
    assert_eq!(
        answers[..2],
        [
            json!({ "jsonrpc": "2.0", "id": "p", "result": {} }),
            json!({ "jsonrpc": "2.0", "id": "e", "result": { "action": "accept", "content": { "a": 1 } } }),
        ]
    );
    let refused = json!({ "code": -1, "message": "no" });
    assert_eq!(answers[2]["error"], refused);
    assert_eq!(answers[3]["error"]["code"], -32601);
    assert_eq!(answers[4]["error"]["code"], -32601);
    for request in &requests[3..] {
        assert_eq!(header(request, "mcp-session-id"), Some("s-1"));
    }
}

#[test]
fn a_form_that_nobody_answers_is_put_away() {
    testing::answer(|_, _| Err(client::AskError::Unanswered("gone".into())));
    let served = asks(&[("e", "elicitation/create"), ("s", "sampling/createMessage")]);
    assert!(call(&target("legacy")).is_ok());
    let requests = served.requests();
    assert_eq!(body(&requests[3])["result"], json!({ "action": "cancel" }));
    assert_eq!(body(&requests[4])["error"]["code"], -32603);
}

#[test]
fn the_log_level_is_the_sessions() {
    let served = testing::serve(|request| {
        legacy_server(request, |request| result(request, json!({ "content": [] })))
    });
    let mut call = testing::call("search", "{}");
    call.context.log_level = Some("warning".into());
    assert!(call_with(&target("legacy"), &call).is_ok());
    let requests = served.requests();
    assert_eq!(
        methods(&requests)[2..],
        ["logging/setLevel", "GET", "tools/call"]
    );
    assert_eq!(body(&requests[2])["params"], json!({ "level": "warning" }));
}

#[test]
fn a_call_that_takes_too_long_is_cancelled_in_words() {
    let served = testing::serve(|request| {
        if body(request)["method"] == "tools/call" {
            return Err(HttpError::Timeout(50));
        }
        legacy_server(request, not_mine)
    });
    let told = call(&target("legacy")).map_err(said).expect_err("too long");
    assert!(told.starts_with("backend_timeout: "), "{told}");
    let requests = served.requests();
    assert_eq!(
        methods(&requests)[2..],
        ["tools/call", "notifications/cancelled"]
    );
    assert_eq!(
        body(&requests[3])["params"]["requestId"],
        body(&requests[2])["id"]
    );
}

#[test]
fn a_call_that_is_given_up_leaves_a_cancellation_behind() {
    let _served = testing::serve(|request| {
        legacy_server(request, |request| {
            let left = testing::left_behind().expect("something");
            let told = body(&left);
            assert_eq!(told["method"], "notifications/cancelled");
            assert_eq!(told["params"]["requestId"], body(request)["id"]);
            assert_eq!(header(&left, "mcp-session-id"), Some("s-1"));
            result(request, json!({ "content": [] }))
        })
    });
    assert!(call(&target("legacy")).is_ok());
    // Modern servers see the stream closed.
    drop(http::farewell(None));
    let _served = testing::serve(|request| {
        assert!(testing::left_behind().is_none());
        Ok(modern(request))
    });
    assert!(call(&target("modern")).is_ok());
}

#[test]
fn what_a_server_tells_on_a_stream_of_its_own_is_heard() {
    testing::answer(|_, _| Ok(r#"{"action":"decline"}"#.into()));
    drop(testing::client_log());
    let served = testing::serve(|request| {
        if request.method == "GET" {
            let told = json!({ "jsonrpc": "2.0", "method": "notifications/message",
                               "params": { "level": "info", "data": "beside" } });
            let asked = json!({ "jsonrpc": "2.0", "id": "e", "method": "elicitation/create", "params": {} });
            return Ok(testing::events([
                ": hello\n\n".to_owned(),
                format!("data: {told}\n\ndata: {asked}\n\n"),
            ]));
        }
        if body(request).get("result").is_some() {
            return Ok(response(202, "").into());
        }
        legacy_server(request, |request| result(request, json!({ "content": [] })))
    });
    let mut call = testing::call("search", "{}");
    call.context.log_level = Some("info".into());
    assert!(call_with(&target("legacy"), &call).is_ok());
    let told: Vec<_> = testing::client_log().into_iter().map(|m| m.data).collect();
    assert_eq!(told, [r#""beside""#]);
    let requests = served.requests();
    let answer = requests.iter().map(body).find(|body| body["id"] == "e");
    assert_eq!(
        answer.expect("an answer")["result"],
        json!({ "action": "decline" })
    );
    assert_eq!(served.closed(), 0, "it was heard to its end");
}

#[test]
fn a_server_without_a_stream_of_its_own_is_asked_for_it_once() {
    for status in [405, 204, 404] {
        let served = testing::serve(move |request| {
            if request.method == "GET" {
                return Ok(response(status, "").into());
            }
            legacy_server(request, |request| result(request, json!({ "content": [] })))
        });
        let target = target("legacy");
        let mut call = testing::call("search", "{}");
        call.context.client_capabilities = r#"{"roots":{}}"#.into();
        for _ in 0..3 {
            assert!(call_with(&target, &call).is_ok());
        }
        // Who has nothing to tell and nothing to ask listens to nothing.
        assert!(call_with(&target, &testing::call("search", "{}")).is_ok());
        let all = methods(&served.requests());
        let asked = all.iter().filter(|method| *method == "GET").count();
        // 404 tells of the session, not of the stream.
        assert_eq!(asked, if status == 404 { 3 } else { 1 }, "{status}");
    }
}
