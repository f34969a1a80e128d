//! What of a tool is compared: each member as canonical JSON, and two digests.
//!
//! The *content* digest does not depend on the order of object members or on blanks; the *order*
//! digest is over the texts as the backend gave them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::plugin::model::Tool;
use crate::types::hex;

/// Longest text of a member that is kept to be shown; longer ones only by their digests.
const MAX_KEPT: usize = 16 * 1024;

/// A tool's definition, to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    content: String,
    order: String,
    fields: BTreeMap<String, Field>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Field {
    digest: String,
    /// Canonical JSON, unless it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl Definition {
    /// The definition of a tool, as its adapter gave it.
    pub fn of(tool: &Tool) -> Self {
        let mut fields = BTreeMap::new();
        let mut given = Sha256::new();
        let mut as_given = |name: &str, text: &str| {
            for part in [name, text] {
                given.update((part.len() as u64).to_be_bytes());
                given.update(part.as_bytes());
            }
        };
        let mut add = |name: &str, value: String| {
            fields.insert(name.to_owned(), Field::new(value));
        };
        let mut scopes = tool.scopes.clone();
        as_given("scopes", &scopes.join(" "));
        scopes.sort();
        add("scope", canonical(&json!(scopes)));
        let plain = [
            ("description", Some(&tool.description)),
            ("title", tool.title.as_ref()),
            ("version", tool.version.as_ref()),
        ];
        for (name, text) in plain {
            if let Some(text) = text {
                as_given(name, text);
                add(name, canonical(&json!(text)));
            }
        }
        if let Some(deprecated) = &tool.deprecated {
            let value = canonical(&json!({
                "removedAt": deprecated.removed_at,
                "replacedBy": deprecated.replaced_by,
                "reason": deprecated.reason,
            }));
            as_given("deprecated", &value);
            add("deprecated", value);
        }
        let texts = [
            ("inputSchema", Some(&tool.input_schema)),
            ("outputSchema", tool.output_schema.as_ref()),
            ("annotations", tool.annotations.as_ref()),
            ("icons", tool.icons.as_ref()),
            ("_meta", tool.meta.as_ref()),
            ("others", tool.extra.as_ref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                as_given(name, text);
                // What is not JSON is compared as it is.
                let value = serde_json::from_str::<Value>(text);
                add(
                    name,
                    value.map_or_else(|_| text.clone(), |value| canonical(&value)),
                );
            }
        }
        let mut content = Sha256::new();
        for (name, field) in &fields {
            content.update((name.len() as u64).to_be_bytes());
            content.update(name.as_bytes());
            content.update(field.digest.as_bytes());
        }
        Self {
            content: hex(&content.finalize()),
            order: hex(&given.finalize()),
            fields,
        }
    }

    /// The digest that does not depend on the order of members.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The digest of the texts as they were given.
    pub fn order(&self) -> &str {
        &self.order
    }

    /// The members in which two differ, sorted.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names = self.fields.keys().chain(other.fields.keys());
        let mut different: Vec<String> = names
            .filter(|name| {
                self.fields.get(*name).map(|f| &f.digest)
                    != other.fields.get(*name).map(|f| &f.digest)
            })
            .cloned()
            .collect();
        different.sort();
        different.dedup();
        different
    }

    /// A member to be shown: canonical JSON, its digest when it is long, `null` when it is not there.
    pub fn shown(&self, name: &str) -> Value {
        match self.fields.get(name) {
            None => Value::Null,
            Some(Field {
                text: Some(text), ..
            }) => text.as_str().into(),
            Some(Field { digest, .. }) => format!("too long to be kept; SHA-256 {digest}").into(),
        }
    }
}

impl Field {
    fn new(text: String) -> Self {
        Self {
            digest: hex(&Sha256::digest(text.as_bytes())),
            text: (text.len() <= MAX_KEPT).then_some(text),
        }
    }
}

/// JSON without blanks, members of objects sorted by name. Numbers as serde_json writes them.
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            text.push('{');
            for (n, (name, value)) in sorted.into_iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                // Writing to a string cannot fail.
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                write(text, value);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write(text, value);
            }
            text.push(']');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Tool {
        Tool {
            name: "search".to_owned(),
            title: Some("Search".to_owned()),
            description: "Finds.".to_owned(),
            input_schema:
                r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"enum":[1,2]}}}"#
                    .to_owned(),
            output_schema: Some(r#"{"type":"object"}"#.to_owned()),
            annotations: Some(r#"{"readOnlyHint":true}"#.to_owned()),
            icons: None,
            meta: Some("{}".to_owned()),
            extra: None,
            scopes: vec!["a".to_owned(), "b".to_owned()],
            version: Some("1.0.0".to_owned()),
            deprecated: None,
        }
    }

    #[test]
    fn order_and_blanks_are_not_content() {
        let before = Definition::of(&tool());
        let mut other = tool();
        other.input_schema =
            "{ \"properties\": {\"b\":{\"enum\":[1,2]},\n \"a\":{\"type\":\"str\\u0069ng\"}}, \"type\":\"object\" }".to_owned();
        other.scopes.reverse();
        let after = Definition::of(&other);
        assert_eq!(before.content(), after.content());
        assert_ne!(before.order(), after.order());
        assert!(before.differences(&after).is_empty());
        assert_eq!(before, Definition::of(&tool()));
    }

    #[test]
    fn every_member_counts_and_is_named() {
        let before = Definition::of(&tool());
        let check = |change: fn(&mut Tool), named: &str| {
            let mut other = tool();
            change(&mut other);
            let after = Definition::of(&other);
            assert_ne!(before.content(), after.content(), "{named}");
            assert_ne!(before.order(), after.order(), "{named}");
            assert_eq!(before.differences(&after), [named]);
            assert_eq!(after.differences(&before), [named]);
        };
        check(|t| t.description.push(' '), "description");
        check(|t| t.title = None, "title");
        check(|t| t.version = Some("1.0.1".to_owned()), "version");
        check(|t| t.scopes.push("c".to_owned()), "scope");
        check(|t| t.output_schema = None, "outputSchema");
        check(
            |t| t.annotations = Some(r#"{"readOnlyHint":false}"#.to_owned()),
            "annotations",
        );
        check(|t| t.icons = Some("[]".to_owned()), "icons");
        check(|t| t.meta = None, "_meta");
        check(|t| t.extra = Some(r#"{"x":1}"#.to_owned()), "others");
        // The order of an array is content.
        check(
            |t| t.input_schema = t.input_schema.replace("[1,2]", "[2,1]"),
            "inputSchema",
        );
        check(|t| t.input_schema = "not JSON".to_owned(), "inputSchema");
        check(
            |t| {
                t.deprecated = Some(crate::plugin::model::Deprecation {
                    removed_at: None,
                    replaced_by: None,
                    reason: None,
                });
            },
            "deprecated",
        );
    }

    #[test]
    fn long_members_are_compared_and_not_kept() {
        let mut long = tool();
        long.description = "x".repeat(MAX_KEPT * 2);
        let kept = Definition::of(&long);
        let shown = kept.shown("description");
        assert!(
            shown.as_str().is_some_and(|s| s.contains("SHA-256")),
            "{shown}"
        );
        long.description.push('y');
        assert_eq!(kept.differences(&Definition::of(&long)), ["description"]);
        assert_eq!(kept.shown("title"), r#""Search""#);
        assert_eq!(kept.shown("icons"), Value::Null);
    }
}
