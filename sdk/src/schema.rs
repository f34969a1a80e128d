//! JSON Schema of a tool's parameters, from a short notation.
//!
//! `string`, `number` and `boolean`; `[]` after it makes an array, `?` at the end makes it
//! optional: `string`, `number?`, `string[]?`.

use std::{error::Error, fmt};

use crate::json::{Json, quote};

/// Parameters in the order they were added, becoming an object's JSON Schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// Members of `properties`, separated by commas.
    properties: String,
    /// Members of `required`, separated by commas.
    required: String,
}

const OPEN: &str = r#"{"type":"object","properties":{"#;
const REQUIRED: &str = r#"},"required":["#;

impl Params {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    ///
    /// # Errors
    ///
    /// When `notation` is not one that the module describes.
    pub fn add(&mut self, name: &str, notation: &str) -> Result<(), UnknownNotation> {
        let (wanted, optional) = cut_suffix(notation, "?");
        let (word, array) = cut_suffix(wanted, "[]");
        if !matches!(word, "string" | "number" | "boolean") {
            return Err(UnknownNotation(notation.to_owned()));
        }
        let name = quote(name);
        let mut schema = format!(r#"{{"type":"{word}"}}"#);
        if array {
            schema = format!(r#"{{"type":"array","items":{schema}}}"#);
        }
        push(&mut self.properties, &format!("{name}:{schema}"));
        if !optional {
            push(&mut self.required, &name);
        }
        Ok(())
    }

    /// The schema.
    pub fn to_schema(&self) -> Json {
        let Self {
            properties,
            required,
        } = self;
        if required.is_empty() {
            format!("{OPEN}{properties}}}}}")
        } else {
            format!("{OPEN}{properties}{REQUIRED}{required}]}}")
        }
    }

    /// What [`to_schema`](Self::to_schema) was made from; `None` for another's schema.
    pub(crate) fn from_schema(schema: &str) -> Option<Self> {
        let rest = schema.strip_prefix(OPEN)?;
        // Inside a JSON string a quotation mark follows a backslash, never a comma, so the
        // last place where this is found is the real one.
        let (properties, required) = match rest.rsplit_once(REQUIRED) {
            Some((properties, required)) => (properties, required.strip_suffix("]}")?),
            None => (rest.strip_suffix("}}")?, ""),
        };
        Some(Self {
            properties: properties.to_owned(),
            required: required.to_owned(),
        })
    }
}

fn cut_suffix<'a>(text: &'a str, suffix: &str) -> (&'a str, bool) {
    match text.strip_suffix(suffix) {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

fn push(list: &mut String, entry: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(entry);
}

/// A notation that is none; carries what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNotation(pub String);

impl fmt::Display for UnknownNotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not `string`, `number` or `boolean` with an optional `[]` and a final `?`",
            self.0
        )
    }
}

impl Error for UnknownNotation {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_parameters_become_the_schema_that_says_the_same(
            wanted in proptest::collection::btree_map(
                prop_oneof![".{0,12}", Just(REQUIRED.to_owned()), Just(r#""},"required":["x"]}"#.to_owned())],
                ("string|number|boolean", any::<bool>(), any::<bool>()),
                0..12,
            )
        ) {
            let mut params = Params::new();
            for (name, (word, array, optional)) in &wanted {
                let notation = format!(
                    "{word}{}{}",
                    if *array { "[]" } else { "" },
                    if *optional { "?" } else { "" }
                );
                params.add(name, &notation).expect("a notation");
            }
            let text = params.to_schema();
            let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(&schema["type"], "object");
            let properties = schema["properties"].as_object().expect("properties");
            prop_assert_eq!(properties.len(), wanted.len());
            let mut required = Vec::new();
            for (name, (word, array, optional)) in &wanted {
                let property = &properties[name];
                let of = if *array { &property["items"] } else { property };
                prop_assert_eq!(&of["type"], word.as_str());
                prop_assert_eq!(property["type"] == "array", *array);
                if !optional {
                    required.push(name.as_str());
                }
            }
            let told = schema.get("required").and_then(|r| r.as_array());
            let told: Vec<&str> = told.into_iter().flatten().filter_map(|n| n.as_str()).collect();
            prop_assert_eq!(told, required);
            prop_assert_eq!(schema.get("required").is_some(), wanted.values().any(|w| !w.2));
            prop_assert_eq!(Params::from_schema(&text), Some(params));
        }

        #[test]
        fn what_is_no_notation_is_refused(notation in ".{0,16}") {
            let known = ["string", "number", "boolean"];
            let bare = notation.strip_suffix('?').unwrap_or(&notation);
            let bare = bare.strip_suffix("[]").unwrap_or(bare);
            prop_assert_eq!(Params::new().add("x", &notation).is_ok(), known.contains(&bare));
        }
    }

    fn params(entries: &[(&str, &str)]) -> Result<Params, UnknownNotation> {
        let mut params = Params::new();
        for (name, notation) in entries {
            params.add(name, notation)?;
        }
        Ok(params)
    }

    #[test]
    fn notation_becomes_json_schema() {
        let check = |entries: &[(&str, &str)], expected: &str| {
            let params = params(entries).map(|params| params.to_schema());
            assert_eq!(params.as_deref(), Ok(expected), "{entries:?}");
        };
        check(&[], r#"{"type":"object","properties":{}}"#);
        check(
            &[
                ("query", "string"),
                ("limit", "number?"),
                ("tags", "string[]?"),
            ],
            concat!(
                r#"{"type":"object","properties":{"query":{"type":"string"},"#,
                r#""limit":{"type":"number"},"#,
                r#""tags":{"type":"array","items":{"type":"string"}}},"required":["query"]}"#
            ),
        );
        check(
            &[("b", "boolean[]"), ("a", "number")],
            concat!(
                r#"{"type":"object","properties":{"#,
                r#""b":{"type":"array","items":{"type":"boolean"}},"#,
                r#""a":{"type":"number"}},"required":["b","a"]}"#
            ),
        );
        check(
            &[("a\"b", "string?")],
            r#"{"type":"object","properties":{"a\"b":{"type":"string"}}}"#,
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for notation in [
            "",
            "String",
            "integer",
            "string?[]",
            "string[][]",
            "string??",
            " string",
            "?",
            "[]",
        ] {
            assert_eq!(
                params(&[("a", notation)]),
                Err(UnknownNotation(notation.into()))
            );
        }
    }

    #[test]
    fn a_schema_is_read_back() {
        let check = |entries: &[(&str, &str)]| {
            let params = params(entries).ok();
            let read = params
                .as_ref()
                .and_then(|p| Params::from_schema(&p.to_schema()));
            assert!(read.is_some() && read == params, "{entries:?}");
        };
        check(&[]);
        check(&[("a", "string?")]);
        check(&[("a", "string"), ("b", "number[]?"), ("c", "boolean[]")]);
        check(&[
            (r#"},"required":["#, "string"),
            (r#"]}"#, "string?"),
            ("}}", "string"),
        ]);
        check(&[(r#"},"required":["x"]}"#, "string?")]);
        assert_eq!(Params::from_schema(r#"{"type":"object"}"#), None);
    }
}
