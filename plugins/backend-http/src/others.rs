//! Prompts and resource templates: what the contract lets a backend leave out.

use std::collections::HashSet;

use cortex_plugin_sdk::backend::{Prompt, PromptArgument, ResourceTemplate};
use cortex_plugin_sdk::json::{self};
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

use crate::{answer, members, request};

/// Adds the backend's prompts and resource templates. What cannot be had is told to the operator
/// and costs the tools nothing.
pub(crate) fn add(target: &Target, catalog: &mut Catalog) -> Result<(), CallError> {
    for raw in list(target, "list_prompts", "prompts", catalog)? {
        match read_prompt(&raw) {
            Ok(prompt) => catalog.prompts.push(prompt),
            Err(reason) => catalog.skip(named("prompt", "name", &raw), reason),
        }
    }
    let templates = list(
        target,
        "list_resource_templates",
        "resourceTemplates",
        catalog,
    )?;
    for raw in templates {
        match read_template(&raw) {
            Ok(template) => catalog.resource_templates.push(template),
            Err(reason) => catalog.skip(named("resource template", "uriTemplate", &raw), reason),
        }
    }
    unique(catalog);
    Ok(())
}

/// The array that a catalog method answers with; empty where the backend does not know it.
fn list(
    target: &Target,
    method: &str,
    member: &str,
    catalog: &mut Catalog,
) -> Result<Vec<Box<RawValue>>, CallError> {
    let sent = request(target, method, "{}")?.as_technical().send();
    let response = match sent {
        Ok(response) => response,
        Err(_) => {
            catalog.skip(method, "the backend did not answer");
            return Ok(Vec::new());
        }
    };
    let status = response.status;
    // A backend that has never heard of the method has none of these (contract, "Methods").
    if matches!(status, 400 | 404 | 501) {
        return Ok(Vec::new());
    }
    let body = answer::json(target, response).unwrap_or_default();
    if !(200..=299).contains(&status) {
        let reason = answer::reason(&body);
        catalog.skip(method, format!("it answered HTTP {status}: {reason}"));
        return Ok(Vec::new());
    }
    match json::member::<Vec<Box<RawValue>>>(&body, member) {
        Ok(Some(listed)) => Ok(listed),
        Ok(None) | Err(_) => {
            catalog.skip(method, format!("it answered without a `{member}` array"));
            Ok(Vec::new())
        }
    }
}

fn named(what: &str, by: &str, raw: &RawValue) -> String {
    let name = json::member::<String>(raw.get(), by).ok().flatten();
    name.map_or_else(|| format!("a {what}"), |name| format!("{what} `{name}`"))
}

fn read_prompt(raw: &RawValue) -> Result<Prompt, String> {
    let mut members = members::read(raw)?;
    let arguments = members.array("arguments")?.unwrap_or_else(|| "[]".into());
    let arguments: Vec<Box<RawValue>> =
        serde_json::from_str(&arguments).map_err(|_| "its `arguments` are not an array")?;
    Ok(Prompt {
        name: members::name(&mut members, "name")?,
        title: members.text("title")?,
        description: members.text("description")?,
        arguments: arguments
            .iter()
            .map(|raw| read_argument(raw))
            .collect::<Result<_, _>>()?,
        icons: members.array("icons")?,
        meta: members.object("_meta")?,
        scopes: vec![members::scope(&mut members)?],
        extra: members.rest(),
    })
}

fn read_argument(raw: &RawValue) -> Result<PromptArgument, String> {
    let mut members = members::read(raw)?;
    Ok(PromptArgument {
        name: members::name(&mut members, "name")?,
        title: members.text("title")?,
        description: members.text("description")?,
        required: members::flag(&mut members, "required")?,
    })
}

fn read_template(raw: &RawValue) -> Result<ResourceTemplate, String> {
    let mut members = members::read(raw)?;
    let uri_template = members::name(&mut members, "uriTemplate")?;
    Ok(ResourceTemplate {
        // The contract demands a name; MCP does, too.
        name: members
            .text("name")?
            .unwrap_or_else(|| uri_template.clone()),
        uri_template,
        title: members.text("title")?,
        description: members.text("description")?,
        mime_type: members.text("mimeType")?,
        annotations: members.object("annotations")?,
        icons: members.array("icons")?,
        meta: members.object("_meta")?,
        scopes: vec![members::scope(&mut members)?],
        extra: members.rest(),
    })
}

/// Of two with one name the first stays.
fn unique(catalog: &mut Catalog) {
    let mut again = Vec::new();
    let mut seen = HashSet::new();
    catalog.prompts.retain(|prompt| {
        let new = seen.insert(prompt.name.clone());
        if !new {
            again.push(format!("prompt `{}`", prompt.name));
        }
        new
    });
    let mut seen = HashSet::new();
    catalog.resource_templates.retain(|template| {
        let new = seen.insert(template.uri_template.clone());
        if !new {
            again.push(format!("resource template `{}`", template.uri_template));
        }
        new
    });
    for item in again {
        catalog.skip(item, "another one of that name came before it");
    }
}
