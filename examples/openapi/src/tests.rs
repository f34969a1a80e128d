//! The adapter against a faked gateway: what it makes of documents, of calls, and of answers.

mod answers;
mod calls;
mod discovery;
mod hostile;
mod schemas;

use cortex_plugin_sdk::backend::Failure;
use cortex_plugin_sdk::http::{Credential, HttpError};
use cortex_plugin_sdk::testing::{self, caller, response};
use serde_json::{Value, json};

use super::*;

/// Discovers with this document at the usual place.
fn discover_text(document: impl Into<Vec<u8>>) -> Result<Catalog, CallError> {
    let document = document.into();
    let served = testing::serve(move |request| {
        assert_eq!(request.credential, Credential::Technical);
        Ok(response(200, document.clone()))
    });
    let catalog = OpenApi::discover(&testing::target());
    assert!(served.requests().len() <= 1, "one exchange");
    let tools = catalog.iter().flat_map(|catalog| &catalog.tools);
    for schema in tools.flat_map(|tool| [Some(&tool.input_schema), tool.output_schema.as_ref()]) {
        let Some(schema) = schema else { continue };
        let schema = serde_json::from_str(schema).expect("JSON");
        let checked = jsonschema::draft202012::new(&schema);
        assert!(checked.is_ok(), "{schema}: {checked:?}");
        assert_eq!(schema["type"], "object");
    }
    catalog
}

fn discover(document: &Value) -> Catalog {
    discover_text(document.to_string()).expect("a catalog")
}

/// A document with these paths and components.
fn document(version: &str, paths: Value, components: Value) -> Value {
    json!({ "openapi": version, "info": { "title": "t", "version": "1" }, "paths": paths, "components": components })
}

/// The only tool of a document, its schema of arguments, and what was left out.
fn only(catalog: &Catalog) -> (&Tool, Value) {
    let [tool] = &catalog.tools[..] else {
        panic!("not one tool: {catalog:?}");
    };
    let schema = serde_json::from_str(&tool.input_schema).expect("JSON");
    (tool, schema)
}

/// What was left out, as `item: reason`.
fn skipped(catalog: &Catalog) -> Vec<String> {
    let skipped = catalog.skipped.iter();
    skipped
        .map(|one| format!("{}: {}", one.item, one.reason))
        .collect()
}

/// One GET of `/a` with these parameters.
fn with_params(params: Value) -> Value {
    let get = json!({ "operationId": "t", "parameters": params, "responses": {} });
    document("3.0.3", json!({ "/a": { "get": get } }), json!({}))
}

/// Calls a tool of a document, and tells the request and the result.
fn call(
    document: &Value,
    tool: &str,
    arguments: Value,
    answer: Result<http::Response, HttpError>,
) -> (Option<http::Request>, Result<Reply, CallError>) {
    let catalog = discover(document);
    let target = Target {
        learned: catalog.learned,
        ..testing::target()
    };
    let tools = catalog.tools.iter();
    let structured = tools
        .clone()
        .any(|t| t.name == tool && t.output_schema.is_some());
    let call = ToolCall {
        structured,
        ..testing::call(tool, &arguments.to_string())
    };
    let served = testing::serve(move |_| answer.clone());
    let reply = OpenApi::call_tool(&target, &caller(&[]), &call);
    let mut requests = served.requests();
    assert!(requests.len() <= 1, "at most one exchange");
    (requests.pop(), reply)
}

/// The request of a call that the app answers with `{}`.
fn sent(document: &Value, tool: &str, arguments: Value) -> Result<http::Request, String> {
    match call(document, tool, arguments, Ok(response(200, "{}"))) {
        (Some(request), Ok(_)) => {
            assert_eq!(request.credential, Credential::Caller);
            Ok(request)
        }
        (None, Err(CallError::InvalidArguments(why))) => Err(why),
        other => panic!("{other:?}"),
    }
}
