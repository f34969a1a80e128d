//! Shorter forms of a tool's definition, for callers with little room.
//!
//! A shorter form can still be called: it keeps the name, and of the schema at least those
//! arguments that have to travel as headers.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// Longest description of a short form, in characters.
const SENTENCE: usize = 120;

/// A definition in fewer words.
#[derive(Debug)]
pub struct Forms {
    /// Name, title, first sentence, annotations, and the schema without prose.
    pub compact: Box<RawValue>,
    /// Name, first sentence and `{"type":"object"}`.
    pub brief: Box<RawValue>,
}

impl Forms {
    /// Makes the short forms of an MCP tool object. `mirrored`: some of its arguments travel as
    /// headers, which clients only do for arguments that they know.
    pub fn of(definition: &RawValue, mirrored: bool) -> Self {
        let tool: Map<String, Value> = serde_json::from_str(definition.get()).unwrap_or_default();
        let name = tool.get("name").cloned().unwrap_or_default();
        let description = tool.get("description").and_then(Value::as_str);
        let description = first_sentence(description.unwrap_or_default());
        let any = json!({ "type": "object" });
        let schema = tool.get("inputSchema").map_or_else(|| any.clone(), bare);
        let mut compact = json!({
            "name": name,
            "description": description,
            "inputSchema": schema,
        });
        for kept in ["title", "annotations"] {
            if let Some(value) = tool.get(kept) {
                compact[kept] = value.clone();
            }
        }
        let brief = json!({
            "name": name,
            "description": description,
            "inputSchema": if mirrored { compact["inputSchema"].clone() } else { any },
        });
        // Writing a `Value` does not fail.
        let raw = |value: &Value| to_raw_value(value).unwrap_or_else(|_| definition.to_owned());
        Self {
            compact: raw(&compact),
            brief: raw(&brief),
        }
    }
}

/// The first sentence of a description, cut where it is too long.
fn first_sentence(text: &str) -> String {
    let text = text.trim();
    let line = text.lines().next().unwrap_or_default().trim_end();
    let end = line.find(". ").map_or(line.len(), |at| at + 1);
    let sentence = &line[..end];
    if sentence.chars().count() <= SENTENCE {
        return sentence.to_owned();
    }
    let cut: String = sentence.chars().take(SENTENCE - 1).collect();
    format!("{}…", cut.trim_end())
}

/// A JSON Schema without what is only there to be read.
fn bare(schema: &Value) -> Value {
    let Value::Object(schema) = schema else {
        return schema.clone();
    };
    let each = |named: &Value| match named {
        Value::Object(named) => named.iter().map(|(k, v)| (k.clone(), bare(v))).collect(),
        other => other.clone(),
    };
    let kept = schema.iter().filter_map(|(key, value)| {
        let value = match key.as_str() {
            "description" | "title" | "examples" | "example" | "default" | "$comment"
            | "$schema" | "$id" | "deprecated" | "readOnly" | "writeOnly" => return None,
            // Whose members are called by names that are the author's.
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                each(value)
            }
            // Values and not schemas.
            "enum" | "const" | "required" | "dependentRequired" => value.clone(),
            _ => match value {
                Value::Array(schemas) => schemas.iter().map(bare).collect(),
                value => bare(value),
            },
        };
        Some((key.clone(), value))
    });
    Value::Object(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_form_keeps_what_a_call_needs() {
        let tool = json!({
            "name": "docs_search",
            "title": "Search",
            "description": "[docs] Finds pages by e.g. their words. Best first.\nMore.",
            "inputSchema": {
                "$schema": "x",
                "type": "object",
                "description": "all of it",
                "properties": {
                    "description": { "type": "string", "description": "What to find", "title": "T" },
                    "kind": { "enum": ["a", { "title": "kept" }], "default": "a" },
                    "tags": { "type": "array", "items": { "type": "string", "examples": ["x"] } },
                },
                "anyOf": [{ "required": ["kind"], "title": "gone" }],
                "required": ["description"],
            },
            "outputSchema": { "type": "object" },
            "annotations": { "readOnlyHint": true },
            "_meta": { "app": "docs" },
        });
        let raw = to_raw_value(&tool).expect("JSON");
        let forms = Forms::of(&raw, false);
        let compact: Value = serde_json::from_str(forms.compact.get()).expect("JSON");
        assert_eq!(
            compact,
            json!({
                "name": "docs_search",
                "title": "Search",
                "description": "[docs] Finds pages by e.g.",
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "description": { "type": "string" },
                        "kind": { "enum": ["a", { "title": "kept" }] },
                        "tags": { "type": "array", "items": { "type": "string" } },
                    },
                    "anyOf": [{ "required": ["kind"] }],
                    "required": ["description"],
                },
                "annotations": { "readOnlyHint": true },
            })
        );
        let brief: Value = serde_json::from_str(forms.brief.get()).expect("JSON");
        assert_eq!(brief["inputSchema"], json!({ "type": "object" }));
        let brief = Forms::of(&raw, true).brief;
        let brief: Value = serde_json::from_str(brief.get()).expect("JSON");
        assert_eq!(brief["inputSchema"], compact["inputSchema"]);
    }

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        let long = "ä".repeat(500);
        let cut = first_sentence(&long);
        assert_eq!(cut.chars().count(), SENTENCE);
        assert!(cut.ends_with('…'), "{cut}");
        assert_eq!(first_sentence(""), "");
        assert_eq!(first_sentence("One. Two."), "One.");
        assert_eq!(first_sentence("One\nTwo"), "One");
    }
}
