//! What `list_tools` returned, as MCP tools.
//!
//! A tool that is not as the contract says is left out, with the reason; the others live.

use std::collections::HashSet;
use std::fmt;

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::json::{self, Json};
use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::schema::Params;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{RESERVED, answer};

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
            let what = format!("refused the technical token (HTTP {status})");
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
    let mut members: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| "it is not an object with each member once".to_owned())?;
    let name = members.text("name")?.ok_or("it has no `name`")?;
    if name.is_empty() {
        return Err("its `name` is empty".into());
    }
    if RESERVED.contains(&name.as_str()) {
        return Err("that is a method of the contract, not a tool".into());
    }
    let scope = members.text("scope")?.ok_or("it has no `scope`")?;
    if !answer::is_scope(&scope) {
        return Err(format!("its `scope` is not one OAuth scope: `{scope}`"));
    }
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
    let members: Members<'_> = serde_json::from_str(params)
        .map_err(|_| "its `params` name one parameter twice".to_owned())?;
    let mut schema = Params::new();
    for (name, raw) in members.0 {
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

/// Members of a JSON object in the order they came, each with its text. Taking one with the value
/// `null` is like not finding it.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        let (_, raw) = self.0.remove(at);
        Some(raw.get()).filter(|&raw| raw != "null")
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let text = self.take(name).map(serde_json::from_str).transpose();
        text.map_err(|_| format!("its `{name}` is not a string"))
    }

    fn object(&mut self, name: &str) -> Result<Option<Json>, String> {
        self.opened_by('{', name)
            .map_err(|()| format!("its `{name}` is not an object"))
    }

    fn array(&mut self, name: &str) -> Result<Option<Json>, String> {
        self.opened_by('[', name)
            .map_err(|()| format!("its `{name}` is not an array"))
    }

    /// The text of a `RawValue` is one JSON value without blanks around it: its first character
    /// tells what it is.
    fn opened_by(&mut self, bracket: char, name: &str) -> Result<Option<Json>, ()> {
        match self.take(name) {
            Some(raw) if raw.starts_with(bracket) => Ok(Some(raw.to_owned())),
            Some(_) => Err(()),
            None => Ok(None),
        }
    }

    /// What nobody has taken, as an object.
    fn rest(self) -> Option<Json> {
        let members = self.0.iter();
        let members: Vec<_> = members
            .map(|(name, raw)| format!("{}:{raw}", json::quote(name)))
            .collect();
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with each member once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Self::Value::new();
                while let Some((name, raw)) = map.next_entry::<String, _>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom("a member that came before"));
                    }
                    members.push((name, raw));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Members)
    }
}
