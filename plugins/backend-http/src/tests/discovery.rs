//! What it makes of the list of tools.

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
    expected.extra = Some(r#"{"execution":{"taskSupport":"forbidden"},"x-later":[1, 2.0]}"#.into());
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
        format!(
            "Backend docs: list_tools refused the technical token, or the lack of one (HTTP {status})"
        )
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
