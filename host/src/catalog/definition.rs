//! From what an adapter says of a tool to the MCP tool object that callers see.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Entry;
use super::naming::Naming;
use crate::mcp::json;
use crate::mcp::param_header::{ANNOTATION, ParamHeader, annotations};
use crate::plugin::{Item, model};
use crate::types::Scope;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    description: String,
    input_schema: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icons: Option<Box<RawValue>>,
    #[serde(flatten)]
    extra: BTreeMap<String, Box<RawValue>>,
    #[serde(rename = "_meta")]
    meta: BTreeMap<String, Box<RawValue>>,
}

/// Members that [`Definition`] writes itself.
const OWN_MEMBERS: &[&str] = &[
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
    "icons",
    "_meta",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deprecated<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Builds the public tool.
///
/// # Errors
/// What is wrong with the definition, for its owner to mend.
pub(super) fn build(naming: &Naming, tool: model::Tool) -> Result<Entry, String> {
    let backend = &naming.backend;
    let object =
        |what: &str, text: String| json::raw_object(text).map_err(|e| format!("`{what}`: {e}"));
    let optional =
        |what: &str, text: Option<String>| text.map(|text| object(what, text)).transpose();
    let members =
        |what: &str, text: Option<String>| -> Result<BTreeMap<String, Box<RawValue>>, String> {
            let Some(raw) = optional(what, text)? else {
                return Ok(BTreeMap::new());
            };
            serde_json::from_str(raw.get()).map_err(|e| format!("`{what}`: {e}"))
        };
    for scope in &tool.scopes {
        scope.parse::<Scope>().map_err(|e| e.to_string())?;
    }
    let name = naming.public_name(&tool.name);
    let mut meta = members("_meta", tool.meta)?;
    meta.insert("app".to_owned(), to_raw(backend.as_str())?);
    if let Some(version) = &tool.version {
        meta.insert("version".to_owned(), to_raw(version)?);
    }
    if let Some(deprecated) = &tool.deprecated {
        let deprecated = Deprecated {
            removed_at: deprecated.removed_at.as_deref(),
            replaced_by: deprecated.replaced_by.as_deref(),
            reason: deprecated.reason.as_deref(),
        };
        meta.insert("deprecated".to_owned(), to_raw(&deprecated)?);
    }
    let extra = json::further_members(tool.extra, OWN_MEMBERS)?;
    let structured = tool.output_schema.is_some();
    let headers = headers(&tool.input_schema)?;
    let definition = Definition {
        description: describe(naming, &tool.description, tool.deprecated.as_ref()),
        name: name.clone(),
        title: tool.title,
        input_schema: object("inputSchema", tool.input_schema)?,
        output_schema: optional("outputSchema", tool.output_schema)?,
        annotations: optional("annotations", tool.annotations)?,
        icons: tool
            .icons
            .map(json::raw)
            .transpose()
            .map_err(|e| format!("`icons`: {e}"))?,
        extra,
        meta,
    };
    let item = Item {
        kind: "tool".to_owned(),
        backend: backend.to_string(),
        name: tool.name,
        scopes: tool.scopes,
    };
    Ok(Entry {
        structured,
        headers,
        ..Entry::new(name, backend.clone(), to_raw(&definition)?, item)
    })
}

/// Arguments that travel as headers. Most schemas have none and are not taken apart.
fn headers(schema: &str) -> Result<Vec<ParamHeader>, String> {
    // Spelled with escapes it could be anything.
    if !schema.contains(ANNOTATION) && !schema.contains("\\u") {
        return Ok(Vec::new());
    }
    let schema = serde_json::from_str(schema).map_err(|e| format!("`inputSchema`: {e}"))?;
    annotations(&schema).map_err(|e| format!("`inputSchema`: {e}"))
}

/// The description with the marks that tell owner and end of life.
fn describe(naming: &Naming, text: &str, deprecated: Option<&model::Deprecation>) -> String {
    let mut marks = String::new();
    if let Some(deprecated) = deprecated {
        let removal = deprecated
            .removed_at
            .as_deref()
            .map(|day| format!("removal {day}"));
        let instead = deprecated
            .replaced_by
            .as_deref()
            .map(|name| format!("use {name}"));
        let facts: Vec<String> = removal.into_iter().chain(instead).collect();
        marks = if facts.is_empty() {
            "[DEPRECATED] ".to_owned()
        } else {
            format!("[DEPRECATED — {}] ", facts.join(", "))
        };
    }
    format!("{}{marks}{text}", naming.mark())
}

fn to_raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, String> {
    serde_json::value::to_raw_value(value).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NameStyle;

    fn tool() -> model::Tool {
        model::Tool {
            name: "search".to_owned(),
            title: None,
            description: "Finds pages.".to_owned(),
            input_schema: r#"{"type":"object","properties":{"z":{},"a":{}}}"#.to_owned(),
            output_schema: None,
            annotations: None,
            icons: None,
            meta: None,
            extra: None,
            scopes: vec!["mcp:docs:read".to_owned()],
            version: Some("1.2.0".to_owned()),
            deprecated: None,
        }
    }

    fn docs() -> Naming {
        Naming {
            backend: "docs".parse().expect("valid"),
            style: NameStyle::Prefixed,
            others: Vec::new(),
        }
    }

    #[test]
    fn a_tool_is_prefixed_and_its_schema_is_untouched() {
        let built = build(&docs(), tool()).expect("built");
        assert_eq!(
            built.definition.get(),
            r#"{"name":"docs_search","description":"[docs] Finds pages.","inputSchema":{"type":"object","properties":{"z":{},"a":{}}},"_meta":{"app":"docs","version":"1.2.0"}}"#
        );
        assert_eq!(built.item.name, "search");
        let verbatim = Naming {
            style: NameStyle::Verbatim,
            ..docs()
        };
        let built = build(&verbatim, tool()).expect("built");
        let text = built.definition.get();
        let begin = r#"{"name":"search","description":"Finds pages.","#;
        assert!(text.starts_with(begin), "{text}");
    }

    #[test]
    fn a_deprecated_tool_says_when_and_what_instead() {
        let mut tool = tool();
        tool.deprecated = Some(model::Deprecation {
            removed_at: Some("2027-01-01".to_owned()),
            replaced_by: Some("search_v2".to_owned()),
            reason: None,
        });
        tool.extra = Some(r#"{"name":"evil","future":[1]}"#.to_owned());
        let built = build(&docs(), tool).expect("built");
        let text = built.definition.get();
        assert!(
            text.contains("[docs] [DEPRECATED — removal 2027-01-01, use search_v2] Finds pages."),
            "{text}"
        );
        assert!(
            text.contains(r#""future":[1]"#) && !text.contains("evil"),
            "{text}"
        );
    }

    #[test]
    fn a_definition_that_lies_is_refused_with_the_member_named() {
        let check = |change: fn(&mut model::Tool), named: &str| {
            let mut tool = tool();
            change(&mut tool);
            let error = build(&docs(), tool).map(|t| t.name).expect_err(named);
            assert!(error.contains(named), "{error}");
        };
        check(|t| t.input_schema = "[]".to_owned(), "inputSchema");
        check(|t| t.input_schema = "{".to_owned(), "inputSchema");
        check(|t| t.output_schema = Some("1".to_owned()), "outputSchema");
        check(|t| t.meta = Some("null".to_owned()), "_meta");
        check(|t| t.scopes = vec!["a b".to_owned()], "scope");
    }
}
