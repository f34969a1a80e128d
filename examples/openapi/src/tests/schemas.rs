//! What schemas become.

use super::*;

/// A schema as the schema of a parameter, and its definitions.
fn converted(version: &str, schema: Value, components: Value) -> (Value, Value) {
    let param = json!([{ "name": "p", "in": "query", "schema": schema }]);
    let get = json!({ "operationId": "t", "parameters": param });
    let components = json!({ "schemas": components });
    let catalog = discover(&document(
        version,
        json!({ "/a": { "get": get } }),
        components,
    ));
    let (_, mut schema) = only(&catalog);
    (schema["properties"]["p"].take(), schema["$defs"].take())
}

#[test]
fn keywords_become_those_of_2020_12() {
    for (schema, expected) in [
        (json!(true), json!(true)),
        (
            json!({ "type": "string", "nullable": true }),
            json!({ "type": ["string", "null"] }),
        ),
        (
            json!({ "type": "string", "nullable": false }),
            json!({ "type": "string" }),
        ),
        (
            json!({ "type": "string", "nullable": true, "enum": ["nullable"] }),
            json!({ "type": ["string", "null"], "enum": ["nullable", null] }),
        ),
        (
            json!({ "type": "string", "nullable": true, "enum": ["a", null] }),
            json!({ "type": ["string", "null"], "enum": ["a", null] }),
        ),
        (
            json!({ "nullable": true, "oneOf": [{ "type": "string" }] }),
            json!({ "anyOf": [{ "oneOf": [{ "type": "string" }] }, { "type": "null" }] }),
        ),
        (
            json!({ "minimum": 1, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false }),
            json!({ "exclusiveMinimum": 1, "maximum": 9 }),
        ),
        (
            json!({ "exclusiveMaximum": 3.5 }),
            json!({ "exclusiveMaximum": 3.5 }),
        ),
        (json!({ "exclusiveMinimum": true }), json!({})),
        (json!({ "example": 3 }), json!({ "examples": [3] })),
        (json!({ "example": "x".repeat(300) }), json!({})),
        (
            json!({ "items": { "x-a": 1, "format": "date" }, "additionalProperties": { "xml": {} } }),
            json!({ "items": { "format": "date" }, "additionalProperties": {} }),
        ),
        // What JSON Schema does not know, or not so.
        (
            json!({ "type": "file", "required": true, "minLength": "1", "pattern": 3, "x-mcp-header": "Host",
                    "$id": "http://evil.test", "$schema": "x", "$dynamicRef": "#x", "externalDocs": {}, "enum": {} }),
            json!({}),
        ),
        (
            json!({ "properties": { "type": { "type": "string" }, "x-mcp-header": false, "$ref": {} } }),
            json!({ "properties": { "type": { "type": "string" }, "x-mcp-header": false, "$ref": {} } }),
        ),
    ] {
        let (becomes, _) = converted("3.0.3", schema.clone(), json!({}));
        assert_eq!(becomes, expected, "{schema}");
    }
}

#[test]
fn what_stands_beside_a_reference_counts_since_3_1() {
    let schema = json!({ "$ref": "#/components/schemas/A", "minLength": 3, "description": "d" });
    let components = json!({ "A": { "type": "string" } });
    let (old, _) = converted("3.0.0", schema.clone(), components.clone());
    assert_eq!(old, json!({ "$ref": "#/$defs/A", "description": "d" }));
    let (new, definitions) = converted("3.1.0", schema, components);
    assert_eq!(
        new,
        json!({ "$ref": "#/$defs/A", "minLength": 3, "description": "d" })
    );
    assert_eq!(definitions, json!({ "A": { "type": "string" } }));
}

#[test]
fn references_are_followed_wherever_they_lead_in_the_document() {
    let components = json!({
        "A.b/c~d": { "$ref": "#/components/schemas/Tree" },
        "Tree": { "type": "object", "properties": { "left": { "$ref": "#/components/schemas/Tree" } } },
        "Unused": {},
    });
    for (reference, name) in [
        ("#/components/schemas/A.b~1c~0d", "c_0d"),
        ("#/components/schemas/A.b%7E1c~0d", "A.b_7E1c_0d"),
        ("#/components/schemas/Tree/properties/left", "left"),
        ("#/paths/~1a/get/parameters/0/schema", "schema"),
    ] {
        let (_, definitions) = converted(
            "3.1.0",
            json!({ "anyOf": [{ "type": "array", "items": { "$ref": reference } }] }),
            components.clone(),
        );
        assert!(
            definitions.get("Unused").is_none() && !definitions.is_null(),
            "{name}: {definitions}"
        );
        if !reference.starts_with("#/paths") {
            assert!(definitions.get("Tree").is_some(), "{definitions}");
        }
    }
    // The same last word twice.
    let components = json!({
        "A": { "type": "object", "properties": { "x": { "type": "string" } } },
        "B": { "type": "object", "properties": { "x": { "type": "number" } } },
    });
    let schema = json!({ "prefixItems": [
        { "$ref": "#/components/schemas/A/properties/x" }, { "$ref": "#/components/schemas/B/properties/x" },
    ] });
    let (schema, definitions) = converted("3.1.0", schema, components);
    assert_eq!(
        schema,
        json!({ "prefixItems": [{ "$ref": "#/$defs/x" }, { "$ref": "#/$defs/x_2" }] })
    );
    assert_eq!(
        definitions,
        json!({ "x": { "type": "string" }, "x_2": { "type": "number" } })
    );
}

#[test]
fn a_result_is_promised_only_if_it_is_one_object() {
    let promised = |version: &str, responses: Value| {
        let get = json!({ "operationId": "t", "responses": responses });
        let components = json!({ "schemas": {
            "Base": { "properties": { "id": { "type": "string" }, "secret": { "writeOnly": true } } },
            "Pet": { "allOf": [{ "$ref": "#/components/schemas/Base" }, { "required": ["id"] }] },
            "Or": { "oneOf": [{ "$ref": "#/components/schemas/Base" }] },
        } });
        let catalog = discover(&document(
            version,
            json!({ "/a": { "get": get } }),
            components,
        ));
        let (tool, _) = only(&catalog);
        let schema = tool.output_schema.as_deref();
        schema.map(|schema| serde_json::from_str::<Value>(schema).expect("JSON"))
    };
    let json = |schema: Value| json!({ "content": { "application/json": { "schema": schema } } });
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let base = json!({ "properties": { "id": { "type": "string" } } });
    assert_eq!(
        promised(
            "3.1.0",
            json!({ "201": json(reference("Pet")), "404": json(json!(true)) })
        ),
        Some(json!({
            "type": "object",
            "$ref": "#/$defs/Pet",
            "$defs": { "Pet": { "allOf": [{ "$ref": "#/$defs/Base" }, { "required": ["id"] }] }, "Base": base },
        }))
    );
    assert_eq!(
        promised("3.0.0", json!({ "2XX": json(json!({ "type": "object" })) })),
        Some(json!({ "type": "object" }))
    );
    for responses in [
        json!({}),
        json!({ "default": json(json!({ "type": "object" })) }),
        json!({ "200": json(json!({ "type": "object" })), "204": {} }),
        json!({ "200": json(json!({ "type": "array" })) }),
        json!({ "200": json(json!({ "type": ["object", "null"] })) }),
        json!({ "200": json(json!({ "type": "object", "nullable": true })) }),
        json!({ "200": json(reference("Or")) }),
        json!({ "200": json(reference("Missing")) }),
        json!({ "200": { "content": { "text/plain": { "schema": { "type": "object" } } } } }),
    ] {
        assert_eq!(promised("3.1.0", responses.clone()), None, "{responses}");
    }
    testing::set_settings(r#"{"output-schemas":false}"#);
    assert_eq!(
        promised("3.1.0", json!({ "201": json(reference("Pet")) })),
        None
    );
}
