//! From what an adapter says of prompts, resources and templates to the MCP objects that callers
//! see. Tools are in `definition`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Entry;
use super::naming::Naming;
use super::uri_template::{UriTemplate, scheme};
use crate::mcp::json;
use crate::plugin::{Item, model};
use crate::types::{BackendId, Scope};

/// Longest URI or template.
const MAX_URI: usize = 2_048;

/// Members that [`Prompt`] and [`Resource`] write themselves.
const OWN_MEMBERS: &[&str] = &[
    "name",
    "title",
    "description",
    "arguments",
    "uri",
    "uriTemplate",
    "mimeType",
    "size",
    "annotations",
    "icons",
    "_meta",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Prompt<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<Argument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icons: Option<Box<RawValue>>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Box<RawValue>>,
    #[serde(flatten)]
    extra: BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
struct Argument {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri_template: Option<&'a str>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icons: Option<Box<RawValue>>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Box<RawValue>>,
    #[serde(flatten)]
    extra: BTreeMap<String, Box<RawValue>>,
}

/// Builds the public prompt.
///
/// # Errors
/// What is wrong with the definition, for its owner to mend.
pub(super) fn prompt(naming: &Naming, prompt: model::Prompt) -> Result<Entry, String> {
    let backend = &naming.backend;
    let name = naming.public_name(&prompt.name);
    let definition = Prompt {
        name: &name,
        title: prompt.title,
        description: prompt.description,
        arguments: prompt
            .arguments
            .into_iter()
            .map(|argument| Argument {
                name: argument.name,
                title: argument.title,
                description: argument.description,
                required: argument.required,
            })
            .collect(),
        icons: value("icons", prompt.icons)?,
        meta: object("_meta", prompt.meta)?,
        extra: json::further_members(prompt.extra, OWN_MEMBERS)?,
    };
    let definition = to_raw(&definition)?;
    let item = item("prompt", backend, prompt.name, prompt.scopes)?;
    Ok(entry(name, backend, definition, item))
}

/// Builds the public resource. Its URI stays as it is.
///
/// # Errors
/// What is wrong with the definition, for its owner to mend.
pub(super) fn resource(
    backend: &BackendId,
    resource: model::ListedResource,
) -> Result<Entry, String> {
    check_uri(&resource.uri)?;
    check_scheme(&resource.uri)?;
    let definition = to_raw(&Resource {
        uri: Some(&resource.uri),
        uri_template: None,
        name: resource.name,
        title: resource.title,
        description: resource.description,
        mime_type: resource.mime_type,
        size: resource.size,
        annotations: object("annotations", resource.annotations)?,
        icons: value("icons", resource.icons)?,
        meta: object("_meta", resource.meta)?,
        extra: json::further_members(resource.extra, OWN_MEMBERS)?,
    })?;
    let item = item("resource", backend, resource.uri.clone(), resource.scopes)?;
    Ok(entry(resource.uri, backend, definition, item))
}

/// Builds the public resource template.
///
/// # Errors
/// What is wrong with the definition, for its owner to mend.
pub(super) fn template(
    backend: &BackendId,
    template: model::ResourceTemplate,
) -> Result<(Entry, UriTemplate), String> {
    check_uri(&template.uri_template)?;
    check_scheme(&template.uri_template)?;
    let parsed = UriTemplate::parse(&template.uri_template)?;
    let definition = to_raw(&Resource {
        uri: None,
        uri_template: Some(&template.uri_template),
        name: template.name,
        title: template.title,
        description: template.description,
        mime_type: template.mime_type,
        size: None,
        annotations: object("annotations", template.annotations)?,
        icons: value("icons", template.icons)?,
        meta: object("_meta", template.meta)?,
        extra: json::further_members(template.extra, OWN_MEMBERS)?,
    })?;
    let text = template.uri_template;
    let item = item("resource-template", backend, text.clone(), template.scopes)?;
    Ok((entry(text, backend, definition, item), parsed))
}

/// URIs of the gateway's own resources are nobody else's.
fn check_scheme(uri: &str) -> Result<(), String> {
    match scheme(uri) {
        Some(own) if own.eq_ignore_ascii_case("cortex") => {
            Err("the scheme `cortex` is the gateway's own".to_owned())
        }
        _ => Ok(()),
    }
}

fn entry(name: String, backend: &BackendId, definition: Box<RawValue>, item: Item) -> Entry {
    Entry::new(name, backend.clone(), definition, item)
}

fn item(
    kind: &str,
    backend: &BackendId,
    name: String,
    scopes: Vec<String>,
) -> Result<Item, String> {
    for scope in &scopes {
        scope.parse::<Scope>().map_err(|e| e.to_string())?;
    }
    Ok(Item {
        kind: kind.to_owned(),
        backend: backend.to_string(),
        name,
        scopes,
    })
}

fn check_uri(text: &str) -> Result<(), String> {
    if text.len() > MAX_URI || text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!(
            "its URI has blanks or control characters, or more than {MAX_URI} bytes"
        ));
    }
    match scheme(text) {
        Some(_) => Ok(()),
        None => Err("its URI has no scheme".to_owned()),
    }
}

fn value(what: &str, text: Option<String>) -> Result<Option<Box<RawValue>>, String> {
    text.map(json::raw)
        .transpose()
        .map_err(|e| format!("`{what}`: {e}"))
}

fn object(what: &str, text: Option<String>) -> Result<Option<Box<RawValue>>, String> {
    text.map(json::raw_object)
        .transpose()
        .map_err(|e| format!("`{what}`: {e}"))
}

fn to_raw<T: Serialize>(value: &T) -> Result<Box<RawValue>, String> {
    serde_json::value::to_raw_value(value).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NameStyle;

    fn docs() -> BackendId {
        "docs".parse().expect("valid")
    }

    #[test]
    fn prompts_get_a_public_name_and_keep_the_rest() {
        let naming = Naming {
            backend: docs(),
            style: NameStyle::Prefixed,
            others: Vec::new(),
        };
        let built = prompt(
            &naming,
            model::Prompt {
                name: "review".to_owned(),
                title: None,
                description: Some("Reviews.".to_owned()),
                arguments: vec![],
                icons: Some(r#"[{"src":"x"}]"#.to_owned()),
                meta: Some(r#"{"k":1.0}"#.to_owned()),
                extra: Some(r#"{"name":"evil","future":1}"#.to_owned()),
                scopes: vec!["a".to_owned()],
            },
        )
        .expect("a prompt");
        assert_eq!(
            built.definition.get(),
            r#"{"name":"docs_review","description":"Reviews.","icons":[{"src":"x"}],"_meta":{"k":1.0},"future":1}"#
        );
        assert_eq!(
            (built.item.kind.as_str(), built.item.name.as_str()),
            ("prompt", "review")
        );
    }

    #[test]
    fn resources_without_a_usable_uri_are_refused() {
        let listed = |uri: &str| model::ListedResource {
            uri: uri.to_owned(),
            name: "n".to_owned(),
            title: None,
            description: None,
            mime_type: None,
            size: Some(3),
            annotations: None,
            icons: Some(r#"[{"src":"x"}]"#.to_owned()),
            meta: None,
            extra: None,
            scopes: vec![],
        };
        let built = resource(&docs(), listed("demo://x")).expect("a resource");
        assert_eq!(
            built.definition.get(),
            r#"{"uri":"demo://x","name":"n","size":3,"icons":[{"src":"x"}]}"#
        );
        for bad in ["", "x", "a b:c", "x:\n", "1:x"] {
            assert!(resource(&docs(), listed(bad)).is_err(), "{bad:?}");
        }
    }
}
