use bytes::Bytes;
use serde_json::json;

use super::super::message::{self, Said};
use super::*;

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

fn call(method: &str, mut params: Value) -> Call {
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let line = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    match message::read(Bytes::from(line.to_string())) {
        Ok(Said::Call(call)) => call,
        other => panic!("{other:?}"),
    }
}

fn headers(tools: &Tools, call: &Call) -> Vec<String> {
    let headers = tools.headers(call, "2026-07-28");
    (headers.iter().skip(2))
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
        .collect()
}

#[test]
fn arguments_are_mirrored_as_the_definition_says() {
    let tools = Tools::default();
    let schema = json!({ "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "limit": { "type": "integer", "x-mcp-header": "Limit" },
        "dry": { "type": "boolean", "x-mcp-header": "Dry" },
        "where": { "type": "object", "properties": { "city": { "type": "string", "x-mcp-header": "City" } } },
        "query": { "type": "string" },
    } });
    let listed =
        json!({ "tools": [{ "name": "run", "inputSchema": schema }, { "name": "other" }] });
    assert_eq!(tools.learn(&raw(&listed)), None);

    let mut all = headers(
        &tools,
        &call(
            "tools/call",
            json!({ "name": "run", "arguments": {
        "region": " Süd ", "limit": 42.0, "dry": false, "where": { "city": "Bonn" }, "query": "q",
    } }),
        ),
    );
    all.sort();
    let expected = [
        "mcp-name: run",
        "mcp-param-city: Bonn",
        "mcp-param-dry: false",
        "mcp-param-limit: 42",
        "mcp-param-region: =?base64?IFPDvGQg?=",
    ];
    assert_eq!(all, expected);
    // Nothing is made up for what is not there.
    let none = call(
        "tools/call",
        json!({ "name": "run", "arguments": { "region": null, "where": 7, "limit": 0.5 } }),
    );
    assert_eq!(headers(&tools, &none), ["mcp-name: run"]);
    assert_eq!(
        headers(
            &tools,
            &call(
                "tools/call",
                json!({ "name": "other", "arguments": { "region": "x" } })
            )
        ),
        ["mcp-name: other"]
    );
    assert_eq!(
        headers(&tools, &call("resources/read", json!({ "uri": "x://é" }))),
        ["mcp-name: =?base64?eDovL8Op?="]
    );
    assert_eq!(
        headers(&tools, &call("tools/list", json!({ "name": "x" }))),
        Vec::<String>::new()
    );

    // A definition that no longer says so.
    assert_eq!(
        tools.learn(&raw(
            &json!({ "tools": [{ "name": "run", "inputSchema": {} }] })
        )),
        None
    );
    let call = call(
        "tools/call",
        json!({ "name": "run", "arguments": { "region": "x" } }),
    );
    assert_eq!(headers(&tools, &call), ["mcp-name: run"]);
}

#[test]
fn tools_whose_annotations_break_the_rules_are_left_out() {
    let text = |header: Value| json!({ "properties": { "a": { "type": "string", "x-mcp-header": header } } });
    for bad in [
        text(json!("")),
        text(json!("a b")),
        text(json!("a\r\nb")),
        text(json!("ä")),
        text(json!(7)),
        json!({ "properties": { "a": { "type": "number", "x-mcp-header": "A" } } }),
        json!({ "properties": { "a": { "type": "object", "x-mcp-header": "A" } } }),
        json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" }, "b": { "type": "string", "x-mcp-header": "a" } } }),
        json!({ "properties": { "a": { "type": "array", "items": { "type": "string", "x-mcp-header": "A" } } } }),
        json!({ "oneOf": [{ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } }] }),
        json!({ "$defs": { "a": { "type": "string", "x-mcp-header": "A" } } }),
    ] {
        let tools = Tools::default();
        let good = json!({ "name": "good", "inputSchema": text(json!("Good")) });
        let listed =
            json!({ "tools": [{ "name": "bad", "inputSchema": bad }, good], "nextCursor": "2" });
        let shown = tools
            .learn(&raw(&listed))
            .unwrap_or_else(|| panic!("shown: {bad}"));
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown, json!({ "tools": [good], "nextCursor": "2" }));
    }
    // A property may have that very name, and data may hold anything.
    let odd = json!({ "properties": { "x-mcp-header": { "type": "string" } }, "default": { "x-mcp-header": "A" } });
    let tools = Tools::default();
    assert_eq!(
        tools.learn(&raw(
            &json!({ "tools": [{ "name": "odd", "inputSchema": odd }] })
        )),
        None
    );
}
