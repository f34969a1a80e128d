//! What `list_tools` returned, as MCP tools.
//!
//! A tool that is not as the contract says is left out, with the reason; the others live.

use std::collections::HashSet;

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::json::{self, Json, Members};
use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::schema::Params;
use serde_json::value::RawValue;

use crate::{RESERVED, answer, members};

/// The catalog in the answer to `list_tools`.
pub(crate) fn read(target: &Target, response: http::Response) -> Result<Catalog, CallError> {
    let status = response.status;
    let failed = |code, what: String| {
        let message = format!("Backend {}: list_tools {what}", target.id);
        Err(CallError::failed(code, message))
    };
    let body = answer::json(target, response);
    match status {
        200..=299 => {}
        300..=399 => return Err(answer::redirect(target, status)),
        401 | 403 => {
            let what = format!("refused the technical token, or the lack of one (HTTP {status})");
            return failed(code::AUTH, what);
        }
        _ => {
            let reason = answer::reason(&body.unwrap_or_default());
            return failed(code::ERROR, format!("answered HTTP {status}: {reason}"));
        }
    }
    match json::member::<Vec<Box<RawValue>>>(&body?, "tools") {
        Ok(Some(tools)) => Ok(collect(&tools)),
        Ok(None) | Err(_) => failed(code::ERROR, "answered without a `tools` array".into()),
    }
}

fn collect(listed: &[Box<RawValue>]) -> Catalog {
    let mut catalog = Catalog::default();
    let mut names = HashSet::new();
    for (at, raw) in listed.iter().enumerate() {
        match read_tool(raw) {
            Ok(tool) if names.contains(&tool.name) => {
                catalog.skip(
                    named(&tool.name),
                    "another tool of that name came before it",
                );
            }
            Ok(tool) => {
                names.insert(tool.name.clone());
                catalog.tools.push(tool);
            }
            Err(reason) => {
                let name = json::member::<String>(raw.get(), "name").ok().flatten();
                let nameless = || format!("tool no. {}", at + 1);
                catalog.skip(name.map_or_else(nameless, |name| named(&name)), reason);
            }
        }
    }
    catalog
}

fn named(name: &str) -> String {
    format!("tool `{name}`")
}

/// One tool, or why there is none.
fn read_tool(raw: &RawValue) -> Result<Tool, String> {
    let mut members = members::read(raw)?;
    let name = members::name(&mut members, "name")?;
    if RESERVED.contains(&name.as_str()) {
        return Err("that is a method of the contract, not a tool".into());
    }
    let scope = members::scope(&mut members)?;
    let description = members.text("description")?.unwrap_or_default();
    let params = members.object("params");
    let input_schema = match members.object("inputSchema")? {
        Some(schema) => schema,
        None => match params? {
            Some(params) => input_schema(&params)?,
            None => r#"{"type":"object"}"#.into(),
        },
    };
    let mut tool = Tool::new(name, description)
        .scope(scope)
        .input_schema(input_schema)
        .version(members.text("version")?.unwrap_or_else(|| "1.0.0".into()));
    tool.title = members.text("title")?;
    tool.output_schema = members.object("outputSchema")?;
    tool.annotations = members.object("annotations")?;
    tool.icons = members.array("icons")?;
    tool.meta = members.object("_meta")?;
    tool.deprecated = members.object("deprecated")?.map(deprecation).transpose()?;
    tool.extra = members.rest();
    Ok(tool)
}

/// JSON Schema from the contract's `params` notation.
fn input_schema(params: &str) -> Result<Json, String> {
    let members =
        Members::parse(params).map_err(|_| "its `params` name one parameter twice".to_owned())?;
    let mut schema = Params::new();
    for (name, raw) in members {
        let notation: String = serde_json::from_str(raw.get())
            .map_err(|_| format!("its parameter `{name}` is not given as a string"))?;
        schema
            .add(&name, &notation)
            .map_err(|error| format!("its parameter `{name}`: {error}"))?;
    }
    Ok(schema.to_schema())
}

fn deprecation(json: Json) -> Result<Deprecation, String> {
    let text = |name| {
        json::member(&json, name).map_err(|_| format!("its `deprecated.{name}` is not a string"))
    };
    Ok(Deprecation {
        removed_at: text("removedAt")?,
        replaced_by: text("replacedBy")?,
        reason: text("reason")?,
    })
}
