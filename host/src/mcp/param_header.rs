//! Tool parameters that travel as headers, too (MCP 2026-07-28, Streamable HTTP, "Custom Headers
//! from Tool Parameters"): which they are, and what the header of a call has to say.

use std::collections::HashSet;

use http::HeaderName;
use serde_json::{Map, Value};

/// Largest whole number that every JSON reader keeps exactly.
const MAX_SAFE: i64 = (1 << 53) - 1;
/// The member of a parameter's schema that asks for it.
pub const ANNOTATION: &str = "x-mcp-header";
/// What every such header begins with.
const PREFIX: &str = "mcp-param-";

/// One argument that a header mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    header: HeaderName,
    path: Vec<String>,
}

impl ParamHeader {
    /// The name of the header.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The name of the header after `Mcp-Param-`.
    pub fn suffix(&self) -> &str {
        self.header
            .as_str()
            .strip_prefix(PREFIX)
            .unwrap_or_default()
    }

    /// The argument, if it is there.
    pub fn argument<'a>(&self, arguments: &'a Value) -> Option<&'a Value> {
        let value = self.path.iter().try_fold(arguments, |at, key| at.get(key));
        value.filter(|value| !value.is_null())
    }

    /// The argument as the header has it. `None`: it is not there, or nothing that a header could
    /// hold.
    pub fn text(&self, arguments: &Value) -> Option<String> {
        match self.argument(arguments)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(yes) => Some(yes.to_string()),
            Value::Number(number) => whole(number).map(|n| n.to_string()),
            _ => None,
        }
    }

    /// Whether a header's decoded value is this argument. Whole numbers are compared as numbers.
    pub fn says(&self, value: &str, argument: &Value) -> bool {
        match argument {
            Value::String(text) => text == value,
            Value::Bool(yes) => yes.to_string() == value,
            Value::Number(number) => {
                let said: Option<serde_json::Number> = serde_json::from_str(value).ok();
                let said = said.as_ref().and_then(whole);
                said.is_some() && said == whole(number)
            }
            _ => false,
        }
    }
}

/// A number that is whole and kept exactly by every JSON reader.
fn whole(number: &serde_json::Number) -> Option<i64> {
    let whole = number.as_i64().or_else(|| {
        let float = number
            .as_f64()
            .filter(|f| f.fract() == 0.0 && f.abs() <= MAX_SAFE as f64);
        float.map(|f| f as i64)
    });
    whole.filter(|n| n.abs() <= MAX_SAFE)
}

/// The arguments that a schema wants mirrored.
///
/// # Errors
/// Which rule the schema breaks ("Schema Extension"); such a tool must not be shown.
pub fn annotations(schema: &Value) -> Result<Vec<ParamHeader>, String> {
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

fn collect(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
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

fn param(annotation: &Value, property: &Value, path: &[String]) -> Result<ParamHeader, String> {
    let name = annotation.as_str().unwrap_or_default();
    // The type of a header's name takes exactly the tokens of RFC 9110 §5.1.
    let header = HeaderName::try_from(format!("{PREFIX}{name}"))
        .ok()
        .filter(|_| !name.is_empty());
    let header = header.ok_or_else(|| format!("`{ANNOTATION}` is no header name"))?;
    match property.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(ParamHeader {
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
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_as_they_are() {
        let schema = json!({ "properties": { "a": { "type": "integer", "x-mcp-header": "A" } } });
        let [param] = &annotations(&schema).expect("valid")[..] else {
            panic!("one")
        };
        assert_eq!(param.suffix(), "a");
        for (value, argument, expected) in [
            ("42", json!(42), true),
            ("42.0", json!(42), true),
            ("42", json!(42.0), true),
            ("4.2e1", json!(42), true),
            ("43", json!(42), false),
            ("x", json!(42), false),
            ("9007199254740993", json!(9007199254740993_i64), false),
            ("true", json!(true), true),
            ("True", json!(true), false),
            ("a", json!("a"), true),
            ("A", json!("a"), false),
            ("null", json!(null), false),
            ("{}", json!({}), false),
        ] {
            assert_eq!(param.says(value, &argument), expected, "{value} {argument}");
        }
    }
}
