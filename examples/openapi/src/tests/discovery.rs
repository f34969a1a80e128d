//! Which tools an app's document becomes.

use super::*;

/// As one finds it on the web, shortened.
const PETSTORE: &str = include_str!("../../tests/petstore-3.0.json");

pub(super) fn petstore() -> Value {
    serde_json::from_str(PETSTORE).expect("JSON")
}

#[test]
fn each_operation_is_a_tool_with_what_the_document_says_of_it() {
    let catalog = discover_text(PETSTORE).expect("a catalog");
    let facts: Vec<_> = catalog
        .tools
        .iter()
        .map(|tool| {
            (
                tool.name.as_str(),
                tool.scopes[0].as_str(),
                tool.annotations.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("findPets", "mcp:docs:read", r#"{"readOnlyHint":true}"#),
            ("addPet", "mcp:docs:write", r#"{"readOnlyHint":false}"#),
            ("getPetById", "mcp:docs:read", r#"{"readOnlyHint":true}"#),
            (
                "updatePet",
                "mcp:docs:write",
                r#"{"readOnlyHint":false,"idempotentHint":true}"#
            ),
            (
                "delete_pets_petId",
                "mcp:docs:write",
                r#"{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true}"#
            ),
            ("petPhoto", "mcp:docs:read", r#"{"readOnlyHint":true}"#),
        ]
    );
    assert_eq!(
        skipped(&catalog),
        ["POST /pets/{petId}/photo: its body is no JSON: multipart/form-data"]
    );
    let find = &catalog.tools[0];
    assert_eq!(find.title.as_deref(), Some("Finds pets"));
    assert_eq!(
        find.description,
        "Pets that fit all that is given, the newest first."
    );
    let schema: Value = serde_json::from_str(&find.input_schema).expect("JSON");
    assert_eq!(
        schema,
        json!({
            "type": "object",
            "properties": {
                "status": { "description": "Which ones", "type": "array", "items": { "type": "string", "enum": ["available", "pending", "sold"] } },
                "limit": { "type": "integer", "format": "int32", "exclusiveMinimum": 0, "maximum": 100, "default": 20 },
                "X-Request-Tag": { "type": "string" },
            },
            "additionalProperties": false,
        })
    );
    assert_eq!(find.output_schema, None, "an array is no result of a tool");
    assert!(catalog.tools[4].deprecated.is_some());
    assert_eq!(catalog.tools[4].description, "DELETE /pets/{petId}");
}

#[test]
fn a_tool_brings_the_schemas_along_that_it_refers_to() {
    let catalog = discover_text(PETSTORE).expect("a catalog");
    let schema: Value = serde_json::from_str(&catalog.tools[1].input_schema).expect("JSON");
    assert_eq!(
        schema["properties"]["body"],
        json!({ "description": "The new pet", "$ref": "#/$defs/Pet" })
    );
    assert_eq!(schema["required"], json!(["body"]));
    assert_eq!(
        schema["$defs"],
        json!({
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": { "type": "string", "examples": ["Rex"] },
                    "tag": { "type": ["string", "null"] },
                    "parent": { "$ref": "#/$defs/Pet" },
                    "category": { "anyOf": [{ "allOf": [{ "$ref": "#/$defs/Category" }] }, { "type": "null" }] },
                },
            },
            "Category": { "type": "object", "properties": { "id": { "type": "integer", "format": "int64" } } },
        }),
        "what the app alone sets is not asked for, what nobody refers to stays"
    );
    let output = catalog.tools[2].output_schema.as_deref().expect("a schema");
    let output: Value = serde_json::from_str(output).expect("JSON");
    assert_eq!(output["type"], "object");
    assert_eq!(output["$ref"], "#/$defs/Pet");
    assert_eq!(
        output["$defs"]["Pet"]["properties"]["id"],
        json!({ "type": "integer", "readOnly": true })
    );
    assert_eq!(output["$defs"]["Pet"]["required"], json!(["id", "name"]));
}

#[test]
fn what_is_wanted_and_which_scopes_it_needs_is_the_operators_to_say() {
    let names = |settings: Value| {
        testing::set_settings(settings.to_string());
        let catalog = discover(&petstore());
        let tools = catalog.tools.into_iter();
        tools
            .map(|tool| format!("{} {}", tool.name, tool.scopes.join(" ")))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(json!({ "include": { "tags": ["photos"] }, "scopes": { "read": "see" } })),
        ["petPhoto see"]
    );
    assert_eq!(
        names(
            json!({ "include": { "tags": ["pets"], "methods": ["GET"] }, "exclude": { "operations": ["findPets"] } })
        ),
        ["getPetById mcp:docs:read"]
    );
    // Those of a single backend come first.
    assert_eq!(
        names(json!({
            "include": { "tags": ["photos"] },
            "scopes": { "operation": true },
            "backends": { "docs": { "include": { "operations": ["addPet", "findPets", "updatePet"] } } },
        })),
        [
            "findPets pets:read",
            "addPet pets:write pets:read",
            "updatePet mcp:docs:write"
        ]
    );
    assert_eq!(
        names(json!({ "backends": { "other": { "exclude": { "tags": ["pets"] } } } })).len(),
        6
    );
}

#[test]
fn where_the_paths_are_is_below_the_base_url_or_not_believed() {
    let path = |base_url: &str, settings: Value, servers: Value| {
        testing::set_settings(settings.to_string());
        let mut document = document(
            "3.1.0",
            json!({ "/a": { "get": { "operationId": "t" } } }),
            json!({}),
        );
        document["servers"] = servers;
        let text = document.to_string();
        let _served = testing::serve(move |_| Ok(response(200, text.clone())));
        let target = Target {
            base_url: base_url.into(),
            ..testing::target()
        };
        let catalog = OpenApi::discover(&target).expect("a catalog");
        let plan = plan::find(catalog.learned.as_deref().expect("kept"), "t").expect("a plan");
        (plan.path, catalog.skipped.len())
    };
    let url = |url: &str| json!([{ "url": url }]);
    let root = "https://app.test";
    for (base_url, servers, expected) in [
        (root, json!([]), ("/a", 0)),
        (root, url("/"), ("/a", 0)),
        (root, url("/v3/"), ("/v3/a", 0)),
        (root, url("v3"), ("/v3/a", 0)),
        (root, url("https://APP.test:443/v3"), ("/v3/a", 0)),
        (
            root,
            json!([{ "url": "https://{where}.test/{v}", "variables": { "where": { "default": "app" }, "v": { "default": "v2" } } }]),
            ("/v2/a", 0),
        ),
        (
            root,
            json!([{ "url": "https://staging.test" }, { "url": "/v4" }]),
            ("/v4/a", 0),
        ),
        ("https://app.test/api", json!([]), ("/api/a", 0)),
        ("https://app.test/api", url("/api/v3"), ("/api/v3/a", 0)),
        ("https://app.test/api", url("v3"), ("/api/v3/a", 0)),
        // Elsewhere.
        ("https://app.test/api", url("/apiary"), ("/api/a", 1)),
        ("https://app.test/api", url("/"), ("/api/a", 1)),
        ("https://app.test/api", url("/api/../admin"), ("/api/a", 1)),
        (
            "https://app.test/api",
            url("/api/%2e%2E/admin"),
            ("/api/a", 1),
        ),
        (root, url("http://app.test"), ("/a", 1)),
        (root, url("https://app.test.evil.test"), ("/a", 1)),
        (root, url("https://app.test@evil.test/"), ("/a", 1)),
        (root, url("https://app.test:8443"), ("/a", 1)),
        (root, url("//evil.test/v3"), ("/a", 1)),
        (root, url("/v3?x="), ("/a", 1)),
        (root, url("/\\evil.test"), ("/a", 1)),
        (root, url("/{missing}"), ("/a", 1)),
    ] {
        let (path, told) = path(base_url, json!({}), servers.clone());
        assert_eq!((path.as_str(), told), expected, "{base_url} {servers}");
    }
    let set = path(
        "https://app.test/api",
        json!({ "base": "/v9" }),
        url("https://evil.test"),
    );
    assert_eq!(
        set,
        ("/api/v9/a".to_owned(), 0),
        "the operator's word is enough"
    );
}

#[test]
fn the_document_may_be_elsewhere_where_no_token_goes() {
    testing::set_settings(r#"{"document":"https://docs.test/petstore.json"}"#);
    let text = petstore().to_string();
    let served = testing::serve(move |_| Ok(response(200, text.clone())));
    assert!(OpenApi::discover(&testing::target()).is_ok());
    let request = &served.requests()[0];
    assert_eq!(request.url, "https://docs.test/petstore.json");
    assert_eq!(request.credential, Credential::None);
}

#[test]
fn a_document_that_cannot_be_used_says_why() {
    for (status, body, told) in [
        (404, "", "its OpenAPI document is not there (HTTP 404)"),
        (302, "", "is elsewhere (HTTP 302)"),
        (401, "", "is not for the technical token (HTTP 401)"),
        (
            200,
            "openapi: 3.0.0",
            "is not JSON of at most 128 levels; YAML is not read",
        ),
        (200, "[]", "it is not an object with each member once"),
        (
            200,
            r#"{"swagger":"2.0"}"#,
            "it is Swagger 2.0: convert it to OpenAPI 3",
        ),
        (
            200,
            r#"{"openapi":"4.0.0"}"#,
            "its `openapi` is not a version 3",
        ),
        (
            200,
            r#"{"openapi":"3.0.0","paths":[]}"#,
            "its `paths` is not an object with each member once",
        ),
        (
            200,
            r#"{"openapi":"3.0.0","paths":{},"paths":{}}"#,
            "each member once",
        ),
    ] {
        let _served = testing::serve(move |_| Ok(response(status, body)));
        let error = OpenApi::discover(&testing::target()).expect_err("no catalog");
        let CallError::Failed(Failure { message, .. }) = error else {
            panic!("{error:?}");
        };
        assert!(
            message.starts_with("Backend docs: ") && message.contains(told),
            "{message}"
        );
    }
    assert_eq!(
        discover_text(r#"{"openapi":"3.1.0"}"#).map(|c| c.tools.len()),
        Ok(0)
    );
}
