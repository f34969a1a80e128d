//! Header fields that mirror the body (MCP 2026-07-28, Streamable HTTP, "Request Metadata").
//!
//! A client of stdio has no headers; who passes its messages on by HTTP has to add them. Which
//! arguments are mirrored is said by the tools' definitions, so those are remembered.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tracing::warn;

use super::message::Call;
use crate::mcp::header::encode;

/// Largest whole number that every JSON reader keeps exactly.
const MAX_SAFE: i64 = (1 << 53) - 1;
const ANNOTATION: &str = "x-mcp-header";

/// One argument that a header mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Param {
    header: HeaderName,
    path: Vec<String>,
}

/// What the tools' definitions said.
#[derive(Default)]
pub(super) struct Tools(Mutex<HashMap<String, Vec<Param>>>);

impl Tools {
    /// The header fields of a modern request.
    pub(super) fn headers(&self, call: &Call, revision: &str) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = standard(&call.method, revision);
        let mut add = |name: &HeaderName, value: &str| {
            headers.extend(field(name.clone(), &encode(value)));
        };
        if matches!(
            call.method.as_str(),
            "tools/call" | "prompts/get" | "resources/read"
        ) && let Some(name) = &call.name
        {
            add(&HeaderName::from_static("mcp-name"), name);
        }
        if call.method == "tools/call" {
            let tools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let params = call.name.as_ref().and_then(|name| tools.get(name));
            let arguments = call.arguments.as_deref();
            if let (Some(params), Some(arguments)) = (params, arguments)
                && let Ok(arguments) = serde_json::from_str::<Value>(arguments.get())
            {
                for param in params {
                    if let Some(value) = value_at(&arguments, &param.path) {
                        add(&param.header, &value);
                    }
                }
            }
        }
        headers
    }

    /// Remembers what a `tools/list` result says. `Some`: the same result without the tools whose
    /// annotations break the rules, which must not be shown.
    pub(super) fn learn(&self, result: &RawValue) -> Option<String> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            tools: Vec<Value>,
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() && !result.get().contains(ANNOTATION) {
            return None;
        }
        let listed: Listed = serde_json::from_str(result.get()).ok()?;
        let mut bad = HashSet::new();
        for (n, tool) in listed.tools.iter().enumerate() {
            let Some(name) = tool.get("name").and_then(Value::as_str) else {
                continue;
            };
            match annotations(tool.get("inputSchema").unwrap_or(&Value::Null)) {
                Ok(params) if params.is_empty() => drop(known.remove(name)),
                Ok(params) => drop(known.insert(name.to_owned(), params)),
                Err(why) => {
                    warn!(tool.name = name, "a tool is left out: {why}");
                    bad.insert(n);
                    known.remove(name);
                }
            }
        }
        if bad.is_empty() {
            return None;
        }
        let mut whole: Value = serde_json::from_str(result.get()).ok()?;
        let mut n = 0;
        whole.get_mut("tools")?.as_array_mut()?.retain(|_| {
            n += 1;
            !bad.contains(&(n - 1))
        });
        Some(whole.to_string())
    }
}

/// The header fields that every modern message has.
pub(super) fn standard(method: &str, revision: &str) -> Vec<(HeaderName, HeaderValue)> {
    let fields = [("mcp-protocol-version", revision), ("mcp-method", method)];
    // What is no header value is left out: the server says what is wrong with it.
    (fields.into_iter())
        .filter_map(|(name, value)| field(HeaderName::from_static(name), value))
        .collect()
}

fn field(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(value).ok().map(|value| (name, value))
}

/// An argument as text. `None`: it is not there, or nothing that a header could hold.
fn value_at(arguments: &Value, path: &[String]) -> Option<String> {
    let value = path.iter().try_fold(arguments, |at, key| at.get(key))?;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => {
            let whole = number.as_i64().or_else(|| {
                let float = number
                    .as_f64()
                    .filter(|f| f.fract() == 0.0 && f.abs() <= MAX_SAFE as f64);
                float.map(|f| f as i64)
            });
            whole.filter(|n| n.abs() <= MAX_SAFE).map(|n| n.to_string())
        }
        _ => None,
    }
}

/// The arguments that a schema wants mirrored, or which rule it breaks ("Schema Extension").
fn annotations(schema: &Value) -> Result<Vec<Param>, String> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found)?;
    // Whatever annotation was not met on the way is somewhere it must not be.
    if found.len() != count(schema) {
        return Err(format!(
            "`{ANNOTATION}` stands where it is not reached by `properties` alone"
        ));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = found.iter().find(|param| !seen.insert(&param.header)) {
        return Err(format!("`{ANNOTATION}` names `{}` twice", twice.header));
    }
    Ok(found)
}

fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Param>) -> Result<(), String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    for (key, property) in properties {
        path.push(key.clone());
        if let Some(annotation) = property.get(ANNOTATION) {
            found.push(param(annotation, property, path)?);
        }
        collect(property, path, found)?;
        path.pop();
    }
    Ok(())
}

fn param(annotation: &Value, property: &Value, path: &[String]) -> Result<Param, String> {
    let name = annotation.as_str().unwrap_or_default();
    // The type of a header's name takes exactly the tokens of RFC 9110 §5.1.
    let header = HeaderName::try_from(format!("mcp-param-{name}"))
        .ok()
        .filter(|_| !name.is_empty());
    let header = header.ok_or_else(|| format!("`{ANNOTATION}` is no header name"))?;
    match property.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(Param {
            header,
            path: path.to_vec(),
        }),
        _ => Err(format!(
            "`{ANNOTATION}` `{name}` is on a parameter that is neither string, integer nor boolean"
        )),
    }
}

/// How many annotations there are anywhere in a schema.
fn count(schema: &Value) -> usize {
    fn is_data(key: &str) -> bool {
        matches!(key, "default" | "examples" | "const" | "enum")
    }
    fn of_properties(properties: &Map<String, Value>) -> usize {
        // Here every key is the name of a property, `x-mcp-header` and `default` too.
        properties.values().map(count).sum()
    }
    match schema {
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| match member {
                _ if key == ANNOTATION => 1,
                _ if is_data(key) => 0,
                Value::Object(properties) if key == "properties" => of_properties(properties),
                member => count(member),
            })
            .sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
