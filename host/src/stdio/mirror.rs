//! Header fields that mirror the body (MCP 2026-07-28, Streamable HTTP, "Request Metadata").
//!
//! A client of stdio has no headers; who passes its messages on by HTTP has to add them. Which
//! arguments are mirrored is said by the tools' definitions, so those are remembered.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::warn;

use super::message::Call;
use crate::mcp::header::encode;
use crate::mcp::param_header::{ANNOTATION, ParamHeader, annotations};

/// What the tools' definitions said.
#[derive(Default)]
pub(super) struct Tools(Mutex<HashMap<String, Vec<ParamHeader>>>);

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
                    if let Some(value) = param.text(&arguments) {
                        add(param.header(), &value);
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

#[cfg(test)]
mod tests;
