//! Discovery: all pages of all lists, and what is left out of them.

use cortex_plugin_sdk::backend::{ListedResource, Prompt, PromptArgument, ResourceTemplate};

use super::*;

/// What a modern server lists, by the parameters it is asked with.
fn discover(
    capabilities: Value,
    list: impl Fn(&str, &Value) -> Value + 'static,
) -> Result<Catalog, CallError> {
    let served = testing::serve(move |request| {
        let message = body(request);
        let method = message["method"].as_str().unwrap_or_default();
        if method == "server/discover" {
            let found =
                json!({ "supportedVersions": ["2026-07-28"], "capabilities": capabilities });
            return Ok(result(request, found));
        }
        Ok(match list(method, &message["params"]) {
            Value::Null => error(request, 404, -32601, Value::Null),
            listed => result(request, listed),
        })
    });
    let target = Target {
        settings: r#"{"scope":"mcp:docs:use","scope_variables":{"DROP":"mcp:docs:admin"}}"#.into(),
        ..testing::target()
    };
    let catalog = McpBackend::discover(&target);
    drop(served);
    catalog
}

fn skipped(catalog: &Catalog) -> Vec<String> {
    let all = catalog.skipped.iter();
    all.map(|s| format!("{}: {}", s.item, s.reason)).collect()
}

#[test]
fn tools_pass_through_with_their_scope() {
    let catalog = discover(json!({ "tools": {} }), |_, _| {
        json!({ "tools": [
            { "name": "search", "title": "S", "description": "d", "inputSchema": { "type": "object", "z": 1 },
              "outputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true },
              "icons": [{ "src": "x" }], "_meta": { "k": 1 }, "execution": { "taskSupport": "optional" } },
            { "name": "drop", "inputSchema": {} },
        ] })
    })
    .expect("a catalog");
    let mut search = Tool::new("search", "d")
        .title("S")
        .scope("mcp:docs:use")
        .input_schema(r#"{"type":"object","z":1}"#)
        .output_schema(r#"{"type":"object"}"#)
        .annotations(r#"{"readOnlyHint":true}"#);
    search.icons = Some(r#"[{"src":"x"}]"#.into());
    search.meta = Some(r#"{"k":1}"#.into());
    search.extra = Some(r#"{"execution":{"taskSupport":"optional"}}"#.into());
    let drop = Tool::new("drop", "")
        .scope("mcp:docs:admin")
        .input_schema("{}");
    assert_eq!(catalog.tools, [search, drop]);
    assert!(catalog.skipped.is_empty() && catalog.prompts.is_empty());
}

#[test]
fn prompts_resources_and_templates_pass_through() {
    let catalog = discover(json!({ "prompts": {}, "resources": {} }), |method, _| match method {
        "prompts/list" => json!({ "prompts": [{ "name": "p", "description": "d",
            "arguments": [{ "name": "a", "title": "A", "required": true }, { "name": "b", "description": "x" }] }] }),
        "resources/list" => json!({ "resources": [{ "uri": "x:y", "name": "n", "mimeType": "text/plain",
            "later": [1], "size": 7, "annotations": { "priority": 1 }, "icons": [{ "src": "x" }] }] }),
        _ => json!({ "resourceTemplates": [{ "uriTemplate": "x:{y}", "name": "t", "title": "T" }] }),
    })
    .expect("a catalog");
    let scopes = || vec!["mcp:docs:use".to_owned()];
    assert_eq!(
        catalog.prompts,
        [Prompt {
            name: "p".into(),
            title: None,
            description: Some("d".into()),
            arguments: vec![
                PromptArgument {
                    title: Some("A".into()),
                    name: "a".into(),
                    description: None,
                    required: true
                },
                PromptArgument {
                    title: None,
                    name: "b".into(),
                    description: Some("x".into()),
                    required: false
                },
            ],
            icons: None,
            meta: None,
            extra: None,
            scopes: scopes(),
        }]
    );
    assert_eq!(
        catalog.resources,
        [ListedResource {
            uri: "x:y".into(),
            name: "n".into(),
            title: None,
            description: None,
            mime_type: Some("text/plain".into()),
            size: Some(7),
            annotations: Some(r#"{"priority":1}"#.into()),
            icons: Some(r#"[{"src":"x"}]"#.into()),
            meta: None,
            extra: Some(r#"{"later":[1]}"#.into()),
            scopes: scopes(),
        }]
    );
    assert_eq!(
        catalog.resource_templates,
        [ResourceTemplate {
            uri_template: "x:{y}".into(),
            name: "t".into(),
            title: Some("T".into()),
            description: None,
            mime_type: None,
            annotations: None,
            icons: None,
            meta: None,
            extra: None,
            scopes: scopes(),
        }]
    );
    assert!(catalog.tools.is_empty(), "the server says it has none");
}

fn page(names: &[&str], next: Option<&str>) -> Value {
    let tools = names
        .iter()
        .map(|n| json!({ "name": n, "inputSchema": {} }));
    let mut page = json!({ "tools": tools.collect::<Vec<_>>() });
    if let Some(next) = next {
        page["nextCursor"] = next.into();
    }
    page
}

#[test]
fn all_pages_are_read() {
    let catalog = discover(json!({ "tools": {} }), |_, params| {
        match params.get("cursor").map(|c| c.as_str().unwrap_or("?")) {
            None => page(&["a"], Some("")),
            // An empty cursor is a cursor.
            Some("") => page(&["b"], Some("2")),
            Some("2") => page(&["c"], None),
            Some(other) => panic!("{other}"),
        }
    })
    .expect("a catalog");
    let names: Vec<_> = catalog.tools.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(catalog.skipped.is_empty());
}

#[test]
fn lists_without_end_are_cut_off() {
    let check = |next: fn(&str) -> String, expected: &str| {
        let catalog = discover(json!({ "tools": {} }), move |_, params| {
            let cursor = params["cursor"].as_str().unwrap_or("0");
            page(&[&format!("t{cursor}")], Some(&next(cursor)))
        })
        .expect("a catalog");
        assert!(!catalog.tools.is_empty());
        assert_eq!(
            skipped(&catalog),
            [format!("the rest of `tools/list`: {expected}")]
        );
    };
    check(|_| "1".into(), "the same cursor came twice");
    check(
        |cursor| (cursor.parse::<u32>().unwrap_or(0) + 1).to_string(),
        "the list is longer than the gateway keeps",
    );
}

#[test]
fn what_is_not_as_mcp_says_is_left_out_and_told() {
    let catalog = discover(
        json!({ "tools": {}, "prompts": {}, "resources": {} }),
        |method, _| match method {
            "tools/list" => json!({ "tools": [
                { "name": "good", "inputSchema": {} },
                { "name": "good", "inputSchema": {} },
                { "inputSchema": {} },
                { "name": "", "inputSchema": {} },
                { "name": "no schema" },
                { "name": "list", "inputSchema": [] },
                7,
            ] }),
            "resources/list" => json!({ "resources": {} }),
            _ => Value::Null,
        },
    )
    .expect("a catalog");
    assert_eq!(catalog.tools.len(), 1);
    assert_eq!(
        skipped(&catalog),
        [
            "tool `good`: another tool with that `name` came before it",
            "tool no. 3: it has no `name`",
            "tool ``: its `name` is empty",
            "tool `no schema`: it has no `inputSchema`",
            "tool `list`: its `inputSchema` is not an object",
            "tool no. 7: it is not an object with each member once",
            "all of `prompts/list`: Backend docs: prompts/list is answered with error -32601",
            "all of `resources/list`: Backend docs is unavailable: its answer is not MCP: \
             resources/list: its `resources` is not an array",
            "all of `resources/templates/list`: Backend docs: resources/templates/list is \
             answered with error -32601",
        ]
    );
}

#[test]
fn without_tools_there_is_no_catalog() {
    let told = discover(json!({ "tools": {} }), |_, _| Value::Null).map_err(said);
    assert_eq!(
        told,
        Err("backend_error: Backend docs: tools/list is answered with error -32601".into())
    );
}
