//! Backend adapter for HTTP apps that expose one JSON endpoint.
//!
//! A contract backend answers `POST <base URL><path>` with `{"method": …, "params": …}` in the
//! body: it returns the method's JSON value with a normal HTTP status. Arguments and results
//! pass through here as text, unparsed.
//!
//! | module     | subject                                                            |
//! |------------|--------------------------------------------------------------------|
//! | `identity` | who the caller is, in headers that the backend reads               |
//! | `answer`   | what a status and a body mean                                      |
//! | `catalog`  | what `list_tools` returned, as MCP tools                           |
//! | `others`   | prompts and resource templates, which a backend may leave out      |
//! | `members`  | members of JSON objects, read strictly                             |
//!
//! Snapshots are not spoken yet.

mod answer;
mod catalog;
mod identity;
mod members;
mod others;

use cortex_plugin_sdk::backend::{
    PromptOutcome, PromptResult, ResourceOutcome, ResourceResult, code,
};
use cortex_plugin_sdk::json::{self, Json};
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

struct HttpBackend;

/// Where the endpoint is, below the base URL, unless the setting `path` says otherwise.
const DEFAULT_PATH: &str = "/api/cortex/backend";

const SETTINGS: &str = r#"{
  "type": "object",
  "properties": {
    "path": {
      "type": "string",
      "pattern": "^/",
      "default": "/api/cortex/backend",
      "description": "Path of the endpoint below the backend's base URL"
    }
  },
  "additionalProperties": false
}"#;

/// Methods of the contract that are no tools. `get_help` and `whoami` are not among them: a
/// backend may list those as tools too.
const RESERVED: [&str; 8] = [
    "list_tools",
    "list_prompts",
    "list_resource_templates",
    "get_snapshot",
    "get_prompt",
    "read_resource",
    "report_missing_capability",
    "list_tickets",
];

impl Backend for HttpBackend {
    fn describe(package: Package) -> Description {
        Description::from(package).settings(SETTINGS)
    }

    fn discover(target: &Target) -> Result<Catalog, CallError> {
        let request = request(target, "list_tools", "{}")?.as_technical();
        let response = request
            .send()
            .map_err(|error| answer::none(target, error))?;
        let mut catalog = catalog::read(target, response)?;
        others::add(target, &mut catalog)?;
        Ok(catalog)
    }

    fn call_tool(target: &Target, caller: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        if RESERVED.contains(&call.tool.as_str()) {
            return Err(CallError::not_found(&call.tool));
        }
        let json = ask(target, caller, &call.tool, &call.arguments)?;
        Ok(if call.structured {
            Reply::text(answer::readable(&json)).structured(json)
        } else {
            Reply::text(answer::as_text(json))
        })
    }

    fn get_prompt(
        target: &Target,
        caller: &Principal,
        call: &PromptCall,
    ) -> Result<PromptOutcome, CallError> {
        let name = json::quote(&call.prompt);
        let params = format!(r#"{{"name":{name},"arguments":{}}}"#, call.arguments);
        let answered = ask(target, caller, "get_prompt", &params)?;
        let misread = |_| misanswered(target, "get_prompt", "messages");
        Ok(PromptOutcome::Complete(PromptResult {
            description: json::member(&answered, "description").map_err(misread)?,
            messages: array(target, "get_prompt", &answered, "messages")?,
            meta: None,
            extra: None,
        }))
    }

    fn read_resource(
        target: &Target,
        caller: &Principal,
        read: &ResourceRead,
    ) -> Result<ResourceOutcome, CallError> {
        let params = format!(r#"{{"uri":{}}}"#, json::quote(&read.uri));
        let answered = ask(target, caller, "read_resource", &params)?;
        Ok(ResourceOutcome::Complete(ResourceResult {
            contents: array(target, "read_resource", &answered, "contents")?,
            meta: None,
            extra: None,
        }))
    }

    fn whoami(target: &Target, caller: &Principal) -> Result<Json, CallError> {
        let json = ask(target, caller, "whoami", "{}")?;
        if json.trim_ascii_start().starts_with('{') {
            Ok(json)
        } else {
            let message = format!("Backend {}: whoami did not answer an object", target.id);
            Err(CallError::failed(code::ERROR, message))
        }
    }

    fn report_ticket(target: &Target, caller: &Principal, ticket: &str) -> Result<Json, CallError> {
        // What the answer must hold is looked at by the gateway, which tells it on.
        ask(target, caller, "report_missing_capability", ticket)
    }

    fn list_tickets(target: &Target, caller: &Principal, query: &str) -> Result<Json, CallError> {
        let answered = ask(target, caller, "list_tickets", query)?;
        array(target, "list_tickets", &answered, "tickets")
    }
}

cortex_plugin_sdk::export_backend!(HttpBackend);

/// One exchange as the caller. `params` is the text of a JSON object.
fn ask(target: &Target, caller: &Principal, method: &str, params: &str) -> Result<Json, CallError> {
    let request = identity::attach(request(target, method, params)?, caller).as_caller();
    let response = request
        .send()
        .map_err(|error| answer::none(target, error))?;
    answer::read(target, method, response)
}

/// A member that must be an array, as text.
fn array(target: &Target, method: &str, answered: &str, member: &str) -> Result<Json, CallError> {
    let found = json::member::<Box<RawValue>>(answered, member)
        .ok()
        .flatten();
    match found {
        Some(raw) if raw.get().starts_with('[') => Ok(raw.get().to_owned()),
        _ => Err(misanswered(target, method, member)),
    }
}

fn misanswered(target: &Target, method: &str, member: &str) -> CallError {
    let message = format!(
        "Backend {}: {method} answered without a `{member}` array",
        target.id
    );
    CallError::failed(code::ERROR, message)
}

fn request(target: &Target, method: &str, params: &str) -> Result<http::Request, CallError> {
    let body = format!(r#"{{"method":{},"params":{params}}}"#, json::quote(method));
    Ok(http::Request::post(target.url(&path(target)?)).json(body))
}

fn path(target: &Target) -> Result<String, CallError> {
    match json::member::<String>(&target.settings, "path") {
        Ok(None) => Ok(DEFAULT_PATH.into()),
        Ok(Some(path)) if path.starts_with('/') => Ok(path),
        Ok(Some(_)) | Err(_) => Err(CallError::failed(
            code::UNAVAILABLE,
            format!(
                "Backend {} is misconfigured: its setting `path` must be a text that starts with `/`",
                target.id
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
