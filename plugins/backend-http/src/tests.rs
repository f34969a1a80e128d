//! The adapter against a faked gateway: what it sends, and what it makes of the answers.

use cortex_plugin_sdk::backend::{Failure, Skipped};
use cortex_plugin_sdk::http::{Credential, HttpError};
use cortex_plugin_sdk::log::Level;
use cortex_plugin_sdk::testing::{self, caller, response, target};

use super::*;

type Answer = Result<http::Response, HttpError>;

/// Calls the tool `search` with the backend answering this.
fn call(answer: Answer, structured: bool) -> Result<Reply, CallError> {
    let served = testing::serve(move |_| answer.clone());
    let call = ToolCall {
        structured,
        ..testing::call("search", "{}")
    };
    let reply = HttpBackend::call_tool(&target(), &caller(&[]), &call);
    assert_eq!(served.requests().len(), 1, "exactly one exchange");
    reply
}

/// Discovers with `list_tools` answered like this, by a backend that knows nothing else.
fn discover(answer: Answer) -> Result<Catalog, CallError> {
    let served = testing::serve(move |request| {
        if body(request).contains("list_tools") {
            answer.clone()
        } else {
            Ok(response(404, r#"{"error":"unknown method"}"#))
        }
    });
    let catalog = HttpBackend::discover(&target());
    let exchanges = if catalog.is_ok() { 3 } else { 1 };
    assert_eq!(served.requests().len(), exchanges, "one exchange a list");
    catalog
}

fn body(request: &http::Request) -> &str {
    str::from_utf8(request.body.as_deref().unwrap_or_default()).unwrap_or("not text")
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Failed(failure) => failure,
        other => panic!("not a failure: {other:?}"),
    }
}

mod requests {
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
}

mod results {
    use super::*;

    #[test]
    fn json_passes_as_it_is() {
        let check = |status: u16, body: &str, text: &str| {
            let plain = call(Ok(response(status, body)), false);
            assert_eq!(plain, Ok(Reply::text(text)), "{body}");
            let structured = call(Ok(response(status, body)), true);
            assert_eq!(structured, Ok(Reply::text(text).structured(body)), "{body}");
        };
        check(200, r#"{"b":1.0,"a":1e2}"#, r#"{"b":1.0,"a":1e2}"#);
        check(200, "[1, 2]\n", "[1, 2]\n");
        check(200, "null", "null");
        check(200, "0.10", "0.10");
        check(
            201,
            r#"{"error":"is only a word here"}"#,
            r#"{"error":"is only a word here"}"#,
        );
        check(200, r#""a \"line\"\nü""#, "a \"line\"\nü");
        check(200, r#" "x" "#, "x");
        check(200, r#""""#, "");
        // Not a text at all, but JSON.
        check(200, r#""\ud800""#, r#""\ud800""#);
    }
}

mod errors {
    use super::*;

    const AUTH: &str = "Backend auth failed: the token may have expired";

    /// The failure of a call that the backend answered like this.
    fn check(answer: Answer, code: &str, message: &str, meta: Option<&str>) {
        let shown = format!("{answer:?}");
        let failure = call(answer, true).map_err(failure);
        let expected = Failure {
            code: code.into(),
            message: message.into(),
            meta: meta.map(Into::into),
        };
        assert_eq!(failure, Err(expected), "{shown}");
    }

    #[test]
    fn refused_tokens() {
        check(
            Ok(response(401, r#"{"error":"no"}"#)),
            "backend_auth",
            AUTH,
            None,
        );
        check(Ok(response(401, "")), "backend_auth", AUTH, None);
        check(Ok(response(401, "<html>")), "backend_auth", AUTH, None);
        check(
            Ok(response(401, r#"{"required":"a"}"#)),
            "backend_auth",
            AUTH,
            None,
        );
    }

    #[test]
    fn a_missing_scope_is_told_from_an_acl() {
        let scopes = |body: &str, expected: &[&str]| {
            let error = call(Ok(response(403, body)), false);
            let expected = CallError::missing_scope(expected.iter().copied(), "search");
            assert_eq!(error, Err(expected), "{body}");
        };
        scopes(
            r#"{"error":"scope","required":"mcp:docs:write"}"#,
            &["mcp:docs:write"],
        );
        scopes(r#"{"required":"a b a"}"#, &["a", "b"]);
        scopes(r#"{"required":["a","b"]}"#, &["a", "b"]);
        scopes(r#"{"required":["a b",3,null,"a"]}"#, &["a", "b"]);
        // What could not be granted must not reach a challenge header.
        scopes(r#"{"required":["ok","a\"b","a\\b","a\nb","ü"]}"#, &["ok"]);

        let acl = |body: &str, reason: &str| {
            let message = format!("Backend ACL denied: {reason}");
            check(Ok(response(403, body)), "backend_acl", &message, None);
        };
        acl(r#"{"error":"editors only"}"#, "editors only");
        acl(
            r#"{"error":{"why":"editors only"}}"#,
            r#"{"why":"editors only"}"#,
        );
        acl("{}", "it gave no reason");
        acl(r#"{"error":null}"#, "it gave no reason");
        acl(r#""go away""#, "go away");
        acl("", "it gave no reason");
        acl("<html>", "it gave no reason");
        // Nothing that could be granted is asked for.
        acl(r#"{"error":"no","required":null}"#, "no");
        acl(r#"{"error":"no","required":""}"#, "no");
        acl(r#"{"error":"no","required":[]}"#, "no");
        acl(r#"{"error":"no","required":true}"#, "no");
        acl(r#"{"error":"no","required":["\n"]}"#, "no");
    }

    #[test]
    fn business_errors_keep_the_whole_body() {
        let business = |status: u16, body: &str, reason: &str| {
            let message = format!("Backend {status}: {reason}");
            let meta = format!(r#"{{"cortex/backendError":{{"status":{status},"body":{body}}}}}"#);
            check(
                Ok(response(status, body)),
                "backend_error",
                &message,
                Some(&meta),
            );
        };
        business(400, r#"{"error":"bad query","at":1.0}"#, "bad query");
        business(404, r#"{"error":"no such page"}"#, "no such page");
        business(409, r#"{"error":409}"#, "409");
        business(422, r#"{"error":["a","b"]}"#, r#"["a","b"]"#);
        business(429, r#"{"message":"slow down"}"#, "it gave no reason");
        business(500, r#"{"error":""}"#, "it gave no reason");
        business(500, "[]", "it gave no reason");
        business(503, r#""down for repair""#, "down for repair");
        business(599, r#"{"error":"x","required":"a"}"#, "x");
    }

    #[test]
    fn answers_that_are_none() {
        let not_json = |status: u16, body: &[u8]| {
            let message =
                format!("Backend docs is unavailable: its answer is not JSON (HTTP {status})");
            check(
                Ok(response(status, body)),
                "backend_unavailable",
                &message,
                None,
            );
        };
        not_json(200, b"<html>");
        not_json(200, b"");
        not_json(204, b"");
        not_json(200, b"{} {}");
        not_json(200, b"\"\xff\"");
        not_json(500, b"Internal Server Error");
        not_json(502, b"<html>http://10.0.0.1</html>");

        for status in [300, 301, 302, 304, 307, 308] {
            let message =
                format!("Backend docs is unavailable: it answered with a redirect (HTTP {status})");
            check(
                Ok(response(status, "{}")),
                "backend_unavailable",
                &message,
                None,
            );
        }
    }

    #[test]
    fn no_answer() {
        let none = |error: HttpError, code: &str, message: &str| {
            check(Err(error), code, message, None);
        };
        none(
            HttpError::Timeout(250),
            "backend_timeout",
            "Backend timed out after 250ms",
        );
        none(
            HttpError::ConnectionFailed("refused by 10.0.0.1".into()),
            "backend_unavailable",
            "Backend docs is unavailable: no connection",
        );
        none(
            HttpError::ResponseTooLarge(1024),
            "backend_error",
            "Backend docs answered with more than 1024 bytes: ask for less",
        );
        none(
            HttpError::CredentialRefused("no user".into()),
            "backend_auth",
            "Backend docs was not called: no user",
        );
        none(
            HttpError::LimitExceeded("requests".into()),
            "backend_error",
            "Backend docs was not called: a limit is used up: requests",
        );
        let refused = "Backend docs is unavailable: the gateway refused to send the request";
        testing::logs();
        for error in [
            HttpError::OriginNotGranted("http://10.0.0.1".into()),
            HttpError::InvalidRequest("http://10.0.0.1".into()),
            HttpError::Other("http://10.0.0.1".into()),
        ] {
            none(error, "backend_unavailable", refused);
            let line = "backend docs: request refused: http://10.0.0.1".to_owned();
            assert_eq!(testing::logs(), [(Level::Error, line)], "for the operator");
        }
    }

    #[test]
    fn whoami_fails_as_a_tool_does_and_must_be_an_object() {
        let check = |body: &str, status: u16, message: &str| {
            let body = body.to_owned();
            let _served = testing::serve(move |_| Ok(response(status, body.as_str())));
            let known = HttpBackend::whoami(&target(), &caller(&[]));
            assert_eq!(known.map_err(|e| failure(e).message), Err(message.into()));
        };
        check("[]", 200, "Backend docs: whoami did not answer an object");
        check(
            r#""ann""#,
            200,
            "Backend docs: whoami did not answer an object",
        );
        check("{}", 401, AUTH);
        check(
            r#"{"error":"unknown method"}"#,
            404,
            "Backend 404: unknown method",
        );
    }
}

mod discovery {
    use super::*;

    /// The catalog that a backend offers with these tools.
    fn catalog(tools: &str) -> Catalog {
        match discover(Ok(response(200, format!(r#"{{"tools":[{tools}]}}"#)))) {
            Ok(catalog) => catalog,
            Err(error) => panic!("{tools}: {error:?}"),
        }
    }

    #[test]
    fn a_whole_tool() {
        let schema = r#"{ "type":"object", "properties":{"z":{"maximum":1.50},"a":{}} }"#;
        let json = format!(
            r#"{{"name":"search","scope":"mcp:docs:read","description":"Finds",
                "params":{{"q":"nonsense"}},"inputSchema":{schema},"version":"2.1.0",
                "deprecated":{{"removedAt":"2027-01-01","replacedBy":"search_v2","reason":"slow"}},
                "title":"Search","annotations":{{"readOnlyHint":true}},
                "outputSchema":{{"type":"array"}},"icons":[{{"src":"x"}}],"_meta":{{"k":1.0}},
                "execution": {{"taskSupport":"forbidden"}},"x-later":[1, 2.0]}}"#
        );
        let mut expected = Tool::new("search", "Finds")
            .title("Search")
            .scope("mcp:docs:read")
            .input_schema(schema)
            .output_schema(r#"{"type":"array"}"#)
            .annotations(r#"{"readOnlyHint":true}"#)
            .version("2.1.0")
            .deprecated(Deprecation {
                removed_at: Some("2027-01-01".into()),
                replaced_by: Some("search_v2".into()),
                reason: Some("slow".into()),
            });
        expected.icons = Some(r#"[{"src":"x"}]"#.into());
        expected.meta = Some(r#"{"k":1.0}"#.into());
        expected.extra =
            Some(r#"{"execution":{"taskSupport":"forbidden"},"x-later":[1, 2.0]}"#.into());
        let mut found = catalog(&json);
        assert_eq!(found.skipped, []);
        assert_eq!(found.tools.pop(), Some(expected));
    }

    #[test]
    fn a_small_tool() {
        let found = catalog(r#"{"name":"ping","scope":"s","title":null,"deprecated":null}"#);
        assert_eq!(
            found,
            Catalog::of([Tool::new("ping", "").scope("s").version("1.0.0")])
        );
        assert_eq!(found.tools[0].input_schema, r#"{"type":"object"}"#);
    }

    #[test]
    fn params_become_a_schema_in_their_order() {
        let found = catalog(
            r#"{"name":"search","scope":"s",
                "params":{"query":"string","limit":"number?","tags":"string[]?"}}"#,
        );
        let expected = concat!(
            r#"{"type":"object","properties":{"query":{"type":"string"},"#,
            r#""limit":{"type":"number"},"#,
            r#""tags":{"type":"array","items":{"type":"string"}}},"required":["query"]}"#
        );
        assert_eq!(found.tools[0].input_schema, expected);
        assert_eq!(
            found.tools[0].extra, None,
            "what only the contract names stays here"
        );
    }

    #[test]
    fn a_tool_that_is_not_as_agreed_is_left_out() {
        let check = |json: &str, item: &str, reason: &str| {
            let good = r#"{"name":"good","scope":"s"}"#;
            let last = r#"{"name":"last","scope":"s"}"#;
            let found = catalog(&format!("{good},{json},{last}"));
            let skipped = Skipped {
                item: item.into(),
                reason: reason.into(),
            };
            assert_eq!(found.skipped, [skipped], "{json}");
            let names: Vec<_> = found.tools.iter().map(|tool| tool.name.as_str()).collect();
            assert_eq!(names, ["good", "last"], "the others live");
        };
        let x = |rest: &str| format!(r#"{{"name":"x","scope":"s",{rest}}}"#);
        check(r#"{"scope":"s"}"#, "tool no. 2", "it has no `name`");
        check(
            r#"{"name":null,"scope":"s"}"#,
            "tool no. 2",
            "it has no `name`",
        );
        check(
            r#"{"name":7,"scope":"s"}"#,
            "tool no. 2",
            "its `name` is not a string",
        );
        check(
            r#"{"name":"","scope":"s"}"#,
            "tool ``",
            "its `name` is empty",
        );
        check(r#"{"name":"x"}"#, "tool `x`", "it has no `scope`");
        check(
            r#"{"name":"x","scope":["s"]}"#,
            "tool `x`",
            "its `scope` is not a string",
        );
        check(
            r#"{"name":"x","scope":""}"#,
            "tool `x`",
            "its `scope` is not one OAuth scope: ``",
        );
        check(
            r#"{"name":"x","scope":"a b"}"#,
            "tool `x`",
            "its `scope` is not one OAuth scope: `a b`",
        );
        check(
            r#"{"name":"good","scope":"t"}"#,
            "tool `good`",
            "another tool of that name came before it",
        );
        let twice = "it is not an object with each member once";
        check("3", "tool no. 2", twice);
        check(r#"[{"name":"x"}]"#, "tool no. 2", twice);
        check(r#"{"name":"x","scope":"s","scope":"t"}"#, "tool `x`", twice);
        check(
            &x(r#""description":1"#),
            "tool `x`",
            "its `description` is not a string",
        );
        check(
            &x(r#""title":{}"#),
            "tool `x`",
            "its `title` is not a string",
        );
        check(
            &x(r#""version":2"#),
            "tool `x`",
            "its `version` is not a string",
        );
        check(
            &x(r#""inputSchema":true"#),
            "tool `x`",
            "its `inputSchema` is not an object",
        );
        check(
            &x(r#""outputSchema":[]"#),
            "tool `x`",
            "its `outputSchema` is not an object",
        );
        check(
            &x(r#""annotations":"a""#),
            "tool `x`",
            "its `annotations` is not an object",
        );
        check(
            &x(r#""icons":{}"#),
            "tool `x`",
            "its `icons` is not an array",
        );
        check(
            &x(r#""_meta":[]"#),
            "tool `x`",
            "its `_meta` is not an object",
        );
        check(
            &x(r#""deprecated":true"#),
            "tool `x`",
            "its `deprecated` is not an object",
        );
        check(
            &x(r#""deprecated":{"removedAt":2027}"#),
            "tool `x`",
            "its `deprecated.removedAt` is not a string",
        );
        check(
            &x(r#""params":[]"#),
            "tool `x`",
            "its `params` is not an object",
        );
        check(
            &x(r#""params":{"a":"string","a":"number"}"#),
            "tool `x`",
            "its `params` name one parameter twice",
        );
        check(
            &x(r#""params":{"a":{"type":"string"}}"#),
            "tool `x`",
            "its parameter `a` is not given as a string",
        );
        check(
            &x(r#""params":{"a":"integer"}"#),
            "tool `x`",
            "its parameter `a`: `integer` is not `string`, `number` or `boolean` with an optional \
             `[]` and a final `?`",
        );
        for method in RESERVED {
            check(
                &format!(r#"{{"name":"{method}","scope":"s"}}"#),
                &format!("tool `{method}`"),
                "that is a method of the contract, not a tool",
            );
        }
    }

    #[test]
    fn a_broken_tool_does_not_take_the_name_of_a_good_one() {
        let found = catalog(r#"{"name":"x"},{"name":"x","scope":"s"}"#);
        assert_eq!(found.tools.len(), 1);
        assert_eq!(found.skipped.len(), 1);
    }

    #[test]
    fn help_and_whoami_may_be_tools() {
        let found = catalog(r#"{"name":"get_help","scope":"s"},{"name":"whoami","scope":"s"}"#);
        assert_eq!((found.tools.len(), found.skipped.len()), (2, 0));
    }

    #[test]
    fn an_answer_without_tools_says_what_was_wrong() {
        let check = |answer: Answer, code: &str, message: &str| {
            let shown = format!("{answer:?}");
            let failure = discover(answer)
                .map_err(failure)
                .map_err(|f| (f.code, f.message));
            assert_eq!(failure, Err((code.into(), message.into())), "{shown}");
        };
        let list = |status: u16, body: &str| Ok(response(status, body));
        let no_tools = "Backend docs: list_tools answered without a `tools` array";
        check(list(200, "{}"), "backend_error", no_tools);
        check(list(200, r#"{"tools":{}}"#), "backend_error", no_tools);
        check(list(200, r#"{"tools":null}"#), "backend_error", no_tools);
        check(list(200, "[]"), "backend_error", no_tools);
        check(
            list(200, "<html>"),
            "backend_unavailable",
            "Backend docs is unavailable: its answer is not JSON (HTTP 200)",
        );
        check(
            list(302, "{}"),
            "backend_unavailable",
            "Backend docs is unavailable: it answered with a redirect (HTTP 302)",
        );
        let refused = |status: u16| {
            format!("Backend docs: list_tools refused the technical token, or the lack of one (HTTP {status})")
        };
        check(list(401, ""), "backend_auth", &refused(401));
        check(
            list(403, r#"{"required":"a"}"#),
            "backend_auth",
            &refused(403),
        );
        check(
            list(404, r#"{"error":"unknown method"}"#),
            "backend_error",
            "Backend docs: list_tools answered HTTP 404: unknown method",
        );
        check(
            list(500, "oops"),
            "backend_error",
            "Backend docs: list_tools answered HTTP 500: it gave no reason",
        );
        check(
            Err(HttpError::Timeout(9)),
            "backend_timeout",
            "Backend timed out after 9ms",
        );
        check(
            Err(HttpError::ConnectionFailed("x".into())),
            "backend_unavailable",
            "Backend docs is unavailable: no connection",
        );
    }
}

mod others {
    use super::*;

    /// Discovers with these answers to `list_prompts` and `list_resource_templates`.
    fn discover(prompts: Answer, templates: Answer) -> Catalog {
        let _served = testing::serve(move |request| {
            assert_eq!(request.credential, Credential::Technical);
            match body(request) {
                sent if sent.contains("list_prompts") => prompts.clone(),
                sent if sent.contains("list_resource_templates") => templates.clone(),
                _ => Ok(response(200, r#"{"tools":[]}"#)),
            }
        });
        HttpBackend::discover(&target()).expect("a catalog")
    }

    fn left_out(catalog: &Catalog) -> Vec<String> {
        let skipped = catalog.skipped.iter();
        skipped
            .map(|skipped| format!("{}: {}", skipped.item, skipped.reason))
            .collect()
    }

    #[test]
    fn prompts_and_templates_are_read() {
        let catalog = discover(
            Ok(response(
                200,
                r#"{"prompts":[{"name":"review","scope":"a","description":"d",
                    "arguments":[{"name":"lang","required":true},{"name":"x"}]}]}"#,
            )),
            Ok(response(
                200,
                r#"{"resourceTemplates":[{"uriTemplate":"docs://{id}","name":"n","mimeType":"text/plain","scope":"b"}]}"#,
            )),
        );
        assert_eq!(left_out(&catalog), [""; 0]);
        let [prompt] = &catalog.prompts[..] else {
            panic!("one prompt")
        };
        let arguments: Vec<_> = prompt
            .arguments
            .iter()
            .map(|a| (a.name.as_str(), a.required))
            .collect();
        assert_eq!(arguments, [("lang", true), ("x", false)]);
        assert_eq!(prompt.scopes, ["a"]);
        let [template] = &catalog.resource_templates[..] else {
            panic!("one template")
        };
        assert_eq!(template.uri_template, "docs://{id}");
        assert_eq!(template.scopes, ["b"]);
    }

    #[test]
    fn a_backend_without_them_has_none_and_a_broken_one_is_told_of() {
        for status in [400, 404, 501] {
            let unknown = || Ok(response(status, r#"{"error":"unknown method"}"#));
            assert_eq!(discover(unknown(), unknown()), Catalog::default());
        }
        let check = |prompts: Answer, said: &str| {
            let none = Ok(response(404, "{}"));
            let catalog = discover(prompts, none);
            assert!(catalog.prompts.is_empty());
            let told = left_out(&catalog);
            assert!(told.len() == 1 && told[0].contains(said), "{told:?}");
        };
        check(Err(HttpError::Timeout(5)), "did not answer");
        check(Ok(response(500, r#"{"error":"tired"}"#)), "HTTP 500: tired");
        check(Ok(response(200, "{}")), "`prompts` array");
        check(
            Ok(response(200, r#"{"prompts":[{"name":"x"}]}"#)),
            "prompt `x`: it has no `scope`",
        );
        check(
            Ok(response(200, r#"{"prompts":[{"scope":"a","name":""}]}"#)),
            "its `name` is empty",
        );
    }

    #[test]
    fn they_are_had_as_the_caller() {
        let served = testing::serve(|request| {
            Ok(response(
                200,
                if body(request).contains("get_prompt") {
                    r#"{"description":"d","messages":[ {"role":"user"} ]}"#
                } else {
                    r#"{"contents":[{"uri":"docs://1","text":"t"}]}"#
                },
            ))
        });
        let call = PromptCall {
            prompt: "re\"view".into(),
            arguments: r#"{"lang":"de"}"#.into(),
            context: testing::context(),
        };
        let prompt = HttpBackend::get_prompt(&target(), &caller(&[]), &call);
        let Ok(PromptOutcome::Complete(prompt)) = prompt else {
            panic!("{prompt:?}")
        };
        assert_eq!(prompt.description.as_deref(), Some("d"));
        assert_eq!(prompt.messages, r#"[ {"role":"user"} ]"#);
        let read = ResourceRead {
            uri: "docs://1".into(),
            context: testing::context(),
        };
        let resource = HttpBackend::read_resource(&target(), &caller(&[]), &read);
        let Ok(ResourceOutcome::Complete(resource)) = resource else {
            panic!("{resource:?}")
        };
        assert_eq!(resource.contents, r#"[{"uri":"docs://1","text":"t"}]"#);
        let sent = served.requests();
        assert!(sent.iter().all(|r| r.credential == Credential::Caller));
        assert_eq!(
            body(&sent[0]),
            r#"{"method":"get_prompt","params":{"name":"re\"view","arguments":{"lang":"de"}}}"#
        );
        assert_eq!(
            body(&sent[1]),
            r#"{"method":"read_resource","params":{"uri":"docs://1"}}"#
        );
    }
}
