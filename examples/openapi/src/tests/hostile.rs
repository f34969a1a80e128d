//! Documents and arguments that mean harm.

use super::*;

/// The reason why the only operation of a document is not offered.
fn refused(document: &Value) -> String {
    let catalog = discover(document);
    assert!(catalog.tools.is_empty(), "{:?}", catalog.tools);
    skipped(&catalog).join("; ")
}

fn with_schemas(schemas: Value) -> Value {
    let param =
        json!([{ "name": "p", "in": "query", "schema": { "$ref": "#/components/schemas/A" } }]);
    let get = json!({ "operationId": "t", "parameters": param });
    document(
        "3.1.0",
        json!({ "/a": { "get": get } }),
        json!({ "schemas": schemas }),
    )
}

fn with_path(path: &str, params: Value) -> Value {
    let get = json!({ "operationId": "t", "parameters": params });
    document("3.1.0", json!({ path: { "get": get } }), json!({}))
}

#[test]
fn schemas_made_of_themselves() {
    let a = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    for schemas in [
        json!({ "A": a("A") }),
        json!({ "A": a("B"), "B": { "allOf": [{ "type": "string" }, a("A")] } }),
        json!({ "A": a("B"), "B": { "not": a("B") } }),
    ] {
        let reason = refused(&with_schemas(schemas.clone()));
        assert!(reason.contains("is made of itself"), "{schemas}: {reason}");
    }
    // With a part of the value in between there is an end.
    let tree = json!({ "A": { "properties": { "next": a("A") }, "anyOf": [{ "items": a("A") }] } });
    assert_eq!(discover(&with_schemas(tree)).tools.len(), 1);
    let cycle = json!({ "parameters": { "A": { "$ref": "#/components/parameters/A" } } });
    let params = json!([{ "$ref": "#/components/parameters/A" }]);
    let get = json!({ "operationId": "t", "parameters": params });
    let reason = refused(&document("3.1.0", json!({ "/a": { "get": get } }), cycle));
    assert!(
        reason.contains("a reference that leads nowhere"),
        "{reason}"
    );
}

#[test]
fn schemas_without_end() {
    let mut deep = json!({ "type": "string" });
    for _ in 0..40 {
        deep = json!({ "items": deep });
    }
    let reason = refused(&with_schemas(json!({ "A": deep })));
    assert!(reason.contains("deeper than 32 levels"), "{reason}");

    // What is beyond the bound may be anything; the tool stays, and small.
    let wide: serde_json::Map<String, Value> = (0..500)
        .map(|n| {
            (
                format!("p{n}"),
                json!({ "$ref": format!("#/components/schemas/B{n}") }),
            )
        })
        .collect();
    let mut schemas = json!({ "A": { "properties": wide } });
    for n in 0..500 {
        schemas[format!("B{n}")] = json!({ "type": "string", "description": "x".repeat(1_000) });
    }
    let catalog = discover(&with_schemas(schemas));
    let (tool, schema) = only(&catalog);
    assert!(
        tool.input_schema.len() < 128 * 1024,
        "{}",
        tool.input_schema.len()
    );
    let definitions = schema["$defs"].as_object().expect("definitions");
    assert_eq!(definitions.len(), 501);
    assert!(definitions.values().any(|one| *one == json!({})));

    let huge = json!({ "A": { "enum": ["x".repeat(60_000)] } });
    let catalog = discover(&with_schemas(huge));
    assert_eq!(only(&catalog).1["$defs"], json!({ "A": {} }));
    let inline =
        json!([{ "name": "p", "in": "query", "schema": { "enum": ["x".repeat(200_000)] } }]);
    let reason = refused(&with_params(inline));
    assert!(reason.contains("more than 131072 bytes"), "{reason}");
}

#[test]
fn references_out_of_the_document() {
    for reference in [
        "http://10.0.0.1/A",
        "other.json#/A",
        "#/components/schemas/Missing",
        "#A",
        "",
        "#/",
        "#/nothing",
    ] {
        let reason = refused(&with_schemas(json!({ "A": { "$ref": reference } })));
        assert!(
            reason.contains("is not in the document"),
            "{reference}: {reason}"
        );
    }
}

#[test]
fn more_operations_than_anybody_wants() {
    let paths: serde_json::Map<String, Value> = (0..1_500)
        .map(|n| {
            (
                format!("/p{n}"),
                json!({ "get": { "operationId": format!("o{n}") } }),
            )
        })
        .collect();
    let catalog = discover(&document("3.1.0", Value::Object(paths), json!({})));
    assert_eq!(catalog.tools.len(), 1_000);
    assert_eq!(
        skipped(&catalog),
        [
            "further operations: they are too many: 1000 came before them; choose with the settings `include` and `exclude`"
        ]
    );
    let paths: serde_json::Map<String, Value> = (0..300)
        .map(|n| (format!("/p{n}"), json!({ "trace": {} })))
        .collect();
    let catalog = discover(&document("3.1.0", Value::Object(paths), json!({})));
    assert_eq!(catalog.skipped.len(), 101);
    assert_eq!(catalog.skipped[100].item, "200 more");
    let many: Vec<Value> = (0..101)
        .map(|n| json!({ "name": format!("p{n}"), "in": "query" }))
        .collect();
    let reason = refused(&with_params(json!(many)));
    assert!(reason.contains("more than 100 parameters"), "{reason}");
}

#[test]
fn names_that_come_twice_belong_to_the_first() {
    let paths = json!({
        "/a": { "get": { "operationId": "same" } },
        "/b": { "get": { "operationId": "same" }, "post": { "operationId": "s ame" }, "put": { "operationId": "s/ame" } },
    });
    let catalog = discover(&document("3.1.0", paths, json!({})));
    let names: Vec<&str> = catalog
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(names, ["same", "s_ame"]);
    assert_eq!(
        skipped(&catalog),
        [
            "GET /b: another operation came before it that is called `same`, too",
            "PUT /b: another operation came before it that is called `s_ame`, too",
        ]
    );
    let plan = plan::find(catalog.learned.as_deref().expect("kept"), "same").expect("a plan");
    assert_eq!(plan.path, "/a");
}

#[test]
fn a_plan_is_only_found_by_its_whole_name() {
    let paths = json!({
        "/a": { "get": { "operationId": "method", "parameters": [{ "name": "\"#x\":{\"method\"", "in": "query" }] } },
        "/\"y\":": { "get": { "operationId": "params" } },
    });
    let catalog = discover(&document("3.1.0", paths, json!({})));
    let kept = catalog.learned.expect("kept");
    for (tool, path) in [
        ("method", Some("/a")),
        ("params", Some("/\"y\":")),
        ("x", None),
        ("y", None),
        ("metho", None),
        ("", None),
        ("path", None),
    ] {
        let found = plan::find(&kept, tool).map(|plan| plan.path);
        assert_eq!(found.as_deref(), path, "{tool}");
    }
}

#[test]
fn paths_that_are_none() {
    for path in [
        "a",
        "",
        "/../admin",
        "/a/%2e%2e/b",
        "/a?x=1",
        "/a#b",
        "/a b",
        "/a\\..\\b",
        "/ü",
        "/a/./b",
    ] {
        let reason = refused(&with_path(path, json!([])));
        assert!(reason.contains("its path is not one"), "{path}: {reason}");
    }
    let id = json!([{ "name": "id", "in": "path" }]);
    for (path, params, told) in [
        ("/{id", json!([]), "`{` without `}`"),
        ("/{id}", json!([]), "nothing describes `{id}`"),
        ("/a", id, "no place for the parameter `id`"),
    ] {
        let reason = refused(&with_path(path, params));
        assert!(reason.contains(told), "{path}: {reason}");
    }
}

#[test]
fn values_that_lead_elsewhere() {
    let params = json!([{ "name": "a", "in": "path" }, { "name": "b", "in": "path" }]);
    let document = with_path("/files/{a}{b}/x", params);
    for (a, b) in [
        ("..", "x"),
        (".", "."),
        ("../..", "admin"),
        ("x/..", "/y"),
        ("..\\", "y"),
        ("x", ""),
    ] {
        let sent = sent(&document, "t", json!({ "a": a, "b": b }));
        let expected = a == ".." && b == "x";
        assert_eq!(sent.is_ok(), expected, "{a} {b}: {sent:?}");
    }
    for (value, url) in [
        ("a/b", "/files/a%2Fbc/x"),
        ("%2e%2e%2f", "/files/%252e%252e%252fc/x"),
        ("?x=1#y", "/files/%3Fx%3D1%23yc/x"),
        ("@evil.test:80", "/files/%40evil.test%3A80c/x"),
        ("{b}", "/files/%7Bb%7Dc/x"),
        ("\0\r\n", "/files/%00%0D%0Ac/x"),
    ] {
        let request = sent(&document, "t", json!({ "a": value, "b": "c" })).expect("sent");
        assert_eq!(request.url, format!("http://docs.test{url}"), "{value:?}");
    }
}

#[test]
fn header_fields_that_would_end_their_line_or_belong_to_others() {
    let document = with_params(json!([{ "name": "X-A", "in": "header" }]));
    for value in ["a\r\nX-Admin: 1", "a\n", "\0", "ü"] {
        let told = sent(&document, "t", json!({ "X-A": value })).expect_err("refused");
        assert!(told.contains("one line of ASCII"), "{told}");
    }
    for name in [
        "Authorization",
        "host",
        "Cookie",
        "Proxy-Authorization",
        "Content-Length",
        "Content-Type",
    ] {
        let document = with_params(json!([{ "name": name, "in": "header", "required": true }]));
        let catalog = discover(&document);
        let (_, schema) = only(&catalog);
        assert_eq!(schema["properties"], json!({}), "{name} is not the model's");
    }
    let bad = json!([{ "name": "X A\r\nB", "in": "header", "required": true }]);
    let reason = refused(&with_params(bad));
    assert!(
        reason.contains("not the name of a header field") && !reason.contains('\n'),
        "{reason}"
    );
}

#[test]
fn values_that_would_be_parameters_of_their_own() {
    let document =
        with_params(json!([{ "name": "p", "in": "query", "schema": { "type": "string" } }]));
    for value in [json!("x&admin=1"), json!(["x&admin=1"])] {
        let request = sent(&document, "t", json!({ "p": value })).expect("sent");
        assert_eq!(request.url, "http://docs.test/a?p=x%26admin%3D1");
    }
    let told = sent(&document, "t", json!({ "p": { "admin": 1 } }));
    assert_eq!(told.err().as_deref(), Some("`p` must not be an object"));
}

#[test]
fn parameters_that_cannot_be_sent() {
    for (param, told) in [
        (json!({ "name": "p", "in": "cookie" }), "is a cookie"),
        (
            json!({ "name": "p", "in": "moon" }),
            "in no place that is known",
        ),
        (
            json!({ "name": "p", "in": "query", "style": "matrix" }),
            "has the style `matrix`",
        ),
        (
            json!({ "name": "p", "in": "query", "content": { "text/xml": {} } }),
            "not given as JSON",
        ),
        (json!({ "in": "query" }), "has no name"),
    ] {
        let mut must = param.clone();
        must["required"] = json!(true);
        let reason = refused(&with_params(json!([must])));
        assert!(reason.contains(told), "{reason}");
        if param.get("name").is_some() {
            let catalog = discover(&with_params(json!([param])));
            assert_eq!(
                only(&catalog).1["properties"],
                json!({}),
                "it may stay away"
            );
        }
    }
}

#[test]
fn scopes_that_are_none() {
    testing::set_settings(r#"{"scopes":{"operation":true}}"#);
    let offered = |security: Value| {
        let get = json!({ "operationId": "t", "security": security });
        let schemes = json!({ "securitySchemes": { "login": { "type": "oauth2" }, "key": { "type": "http" } } });
        discover(&document("3.1.0", json!({ "/a": { "get": get } }), schemes))
    };
    for scope in ["a b", "", "a\"", "a\r\nb", "ü"] {
        let catalog = offered(json!([{ "login": ["ok", scope] }]));
        assert!(catalog.tools.is_empty(), "{scope:?}");
    }
    // Nobody is let in because a document says that nothing is needed.
    for security in [
        json!([]),
        json!([{}]),
        json!([{ "login": [] }]),
        json!([{ "key": ["admin"] }]),
        json!([{ "unknown": ["x"] }]),
    ] {
        let catalog = offered(security.clone());
        assert_eq!(only(&catalog).0.scopes, ["mcp:docs:read"], "{security}");
    }
}
