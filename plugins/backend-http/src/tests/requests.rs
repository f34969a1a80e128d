//! What the adapter sends.

use super::*;

/// Headers as lines, for comparing.
fn headers(request: &http::Request) -> Vec<String> {
    let headers = request.headers.iter();
    headers
        .map(|header| format!("{}: {}", header.name, header.value))
        .collect()
}

#[test]
fn a_call_goes_out_as_the_caller() {
    let served = testing::serve(|_| Ok(response(200, "{}")));
    let ann = Principal {
        email: Some("ann@example.org".into()),
        role: Some("Jürgen's\r\nboss".into()),
        ..caller(&["mcp:a:read", "mcp:b:read"])
    };
    let arguments = r#"{"n": 1.0e400, "s":"\u00e9", "n2":0.10}"#;
    let _ = HttpBackend::call_tool(&target(), &ann, &testing::call("se\"arch", arguments));

    let [request] = &served.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.url, "http://docs.test/api/cortex/backend");
    assert_eq!(request.credential, Credential::Caller);
    assert_eq!(request.timeout_ms, None, "the backend's own limit");
    assert_eq!(
        body(request),
        r#"{"method":"se\"arch","params":{"n": 1.0e400, "s":"\u00e9", "n2":0.10}}"#,
        "arguments pass as they are"
    );
    assert_eq!(
        headers(request),
        [
            "content-type: application/json",
            "X-Cortex-User-Id: ann",
            "X-Cortex-User-Email: ann@example.org",
            "X-Cortex-User-Role: J%C3%BCrgen's%0D%0Aboss",
            "X-Cortex-User-Pool: ",
            "X-Cortex-Scopes: mcp:a:read mcp:b:read",
        ]
    );
}

#[test]
fn the_catalog_is_asked_for_as_nobody() {
    let empty = r#"{"tools":[],"prompts":[],"resourceTemplates":[]}"#;
    let served = testing::serve(move |_| Ok(response(200, empty)));
    assert_eq!(HttpBackend::discover(&target()), Ok(Catalog::default()));
    let requests = served.requests();
    let asked: Vec<_> = requests.iter().map(body).collect();
    assert_eq!(
        asked,
        [
            r#"{"method":"list_tools","params":{}}"#,
            r#"{"method":"list_prompts","params":{}}"#,
            r#"{"method":"list_resource_templates","params":{}}"#
        ]
    );
    for request in &requests {
        assert_eq!(request.credential, Credential::Technical);
        assert_eq!(headers(request), ["content-type: application/json"]);
    }
}

#[test]
fn whoami_goes_out_as_the_caller() {
    let served = testing::serve(|_| Ok(response(200, r#" {"role":"editor"}"#)));
    let known = HttpBackend::whoami(&target(), &caller(&["a"]));
    assert_eq!(known.as_deref(), Ok(r#" {"role":"editor"}"#));
    let [request] = &served.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.credential, Credential::Caller);
    assert_eq!(body(request), r#"{"method":"whoami","params":{}}"#);
    assert_eq!(headers(request).len(), 6);
}

#[test]
fn tickets_go_out_as_the_caller() {
    let served = testing::serve(|request| {
        Ok(response(
            200,
            if body(request).contains("list_tickets") {
                r#"{"tickets": [{"n":1.0}]}"#
            } else {
                r#"{"ticketId":"7"}"#
            },
        ))
    });
    let ann = caller(&["a"]);
    let kept = HttpBackend::report_ticket(&target(), &ann, r#"{"severity":"blocking"}"#);
    assert_eq!(kept.as_deref(), Ok(r#"{"ticketId":"7"}"#));
    let listed = HttpBackend::list_tickets(&target(), &ann, r#"{"limit":20}"#);
    assert_eq!(listed.as_deref(), Ok(r#"[{"n":1.0}]"#));
    let requests = served.requests();
    let asked: Vec<_> = requests.iter().map(body).collect();
    assert_eq!(
        asked,
        [
            r#"{"method":"report_missing_capability","params":{"severity":"blocking"}}"#,
            r#"{"method":"list_tickets","params":{"limit":20}}"#,
        ]
    );
    for request in &requests {
        assert_eq!(request.credential, Credential::Caller);
        assert_eq!(headers(request).len(), 6);
    }
}

#[test]
fn a_list_of_tickets_without_tickets_is_told() {
    for answered in ["[]", "{}", r#"{"tickets":{}}"#] {
        let _served = testing::serve(move |_| Ok(response(200, answered)));
        let listed = HttpBackend::list_tickets(&target(), &caller(&[]), "{}");
        let said = listed.map_err(failure).expect_err("refused").message;
        let expected = "Backend docs: list_tickets answered without a `tickets` array";
        assert_eq!(said, expected, "{answered}");
    }
}

#[test]
fn the_path_is_a_setting() {
    let check = |settings: &str, expected: Option<&str>| {
        let served = testing::serve(|_| Ok(response(200, "{}")));
        let target = Target {
            settings: settings.into(),
            ..target()
        };
        let reply = HttpBackend::call_tool(&target, &caller(&[]), &testing::call("t", "{}"));
        let requests = served.requests();
        let url = requests.first().map(|request| request.url.as_str());
        assert_eq!(url, expected, "{settings}");
        if expected.is_none() {
            let failure = reply.map_err(failure).err();
            let said = failure.map(|f| (f.code, f.message)).unwrap_or_default();
            assert_eq!(said.0, "backend_unavailable");
            assert!(
                said.1.starts_with("Backend docs is misconfigured"),
                "{}",
                said.1
            );
        }
    };
    check("{}", Some("http://docs.test/api/cortex/backend"));
    check(
        r#"{"path":null}"#,
        Some("http://docs.test/api/cortex/backend"),
    );
    check(r#"{"path":"/rpc"}"#, Some("http://docs.test/rpc"));
    check(r#"{"path":"/"}"#, Some("http://docs.test/"));
    check(r#"{"path":"rpc"}"#, None);
    check(r#"{"path":""}"#, None);
    check(r#"{"path":"@evil.test/"}"#, None);
    check(r#"{"path":".evil.test/"}"#, None);
    check(r#"{"path":3}"#, None);
    check("[]", None);
}

#[test]
fn methods_of_the_contract_are_not_called_as_tools() {
    let served = testing::serve(|_| Ok(response(200, "{}")));
    for method in RESERVED {
        let call = testing::call(method, "{}");
        let reply = HttpBackend::call_tool(&target(), &caller(&[]), &call);
        assert_eq!(reply, Err(CallError::not_found(method)));
    }
    assert_eq!(served.requests(), []);
    for tool in ["get_help", "whoami", "search"] {
        let call = testing::call(tool, "{}");
        let reply = HttpBackend::call_tool(&target(), &caller(&[]), &call);
        assert_eq!(reply, Ok(Reply::text("{}")), "{tool}");
    }
}
