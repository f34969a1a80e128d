//! Resources: one text, one picture, one that changes, and a template.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::media;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
/// The resource that changes when `test_trigger_resource_change` is called.
pub(crate) const WATCHED: &str = "test://watched-resource";

/// What the template's URIs begin and end with, around the id.
const TEMPLATE: (&str, &str) = ("test://template/", "/data");

/// `resources/list`.
pub(crate) fn list() -> Vec<Resource> {
    vec![
        Resource::new(TEXT, "static-text")
            .with_description("A text that stays as it is")
            .with_mime_type("text/plain"),
        Resource::new(BINARY, "static-binary")
            .with_description("A picture that stays as it is")
            .with_mime_type("image/png"),
        Resource::new(WATCHED, "watched-resource")
            .with_description("A text that says how often it has changed")
            .with_mime_type("text/plain"),
    ]
}

/// `resources/templates/list`.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let (start, end) = TEMPLATE;
    vec![
        ResourceTemplate::new(format!("{start}{{id}}{end}"), "template")
            .with_description("A record for whatever id is asked for")
            .with_mime_type("application/json"),
    ]
}

/// `resources/read`.
pub(crate) fn read(uri: &str, revision: u64) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        TEXT => text(uri, "This is the content of the static text resource."),
        BINARY => ResourceContents::blob(media::PNG, uri).with_mime_type("image/png"),
        WATCHED => text(uri, &format!("Revision {revision}.")),
        _ => {
            let id = uri
                .strip_prefix(TEMPLATE.0)
                .and_then(|rest| rest.strip_suffix(TEMPLATE.1))
                .filter(|id| !id.is_empty())
                .ok_or_else(|| {
                    ErrorData::resource_not_found("no such resource", Some(json!({ "uri": uri })))
                })?;
            let record =
                json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            ResourceContents::text(record.to_string(), uri).with_mime_type("application/json")
        }
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

fn text(uri: &str, text: &str) -> ResourceContents {
    ResourceContents::text(text, uri).with_mime_type("text/plain")
}
