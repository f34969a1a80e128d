//! Everything a server offers, page by page. What is not as MCP says is left out, with the reason.

use std::collections::HashSet;

use cortex_plugin_sdk::backend::{ListedResource, Prompt, PromptArgument, ResourceTemplate, code};
use cortex_plugin_sdk::http::HttpError;
use cortex_plugin_sdk::json::{self, Members};
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

use crate::era::Server;
use crate::exchange::Endpoint;
use crate::request::{Asker, Request};
use crate::trouble::{Trouble, Wanted};

/// Most pages of one list.
const MAX_PAGES: usize = 1_000;
/// Most items of one list.
const MAX_ITEMS: usize = 20_000;
/// Largest list, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Asks for all lists that the server says it has.
pub(crate) fn read(endpoint: Endpoint<'_>, server: &mut Server) -> Result<Catalog, CallError> {
    let mut catalog = Catalog::default();
    let mut lists = Lists {
        endpoint,
        server,
        catalog: &mut catalog,
    };
    if lists.server.can("tools") {
        let listed = lists.all("tools/list", "tools")?;
        lists.collect("tool", "name", &listed, Lists::tool);
    }
    // Without these the tools still work: they are left out, with the reason.
    if lists.server.can("prompts") {
        let listed = lists.all_or_none("prompts/list", "prompts");
        lists.collect("prompt", "name", &listed, Lists::prompt);
    }
    if lists.server.can("resources") {
        let listed = lists.all_or_none("resources/list", "resources");
        lists.collect("resource", "uri", &listed, Lists::resource);
        let listed = lists.all_or_none("resources/templates/list", "resourceTemplates");
        lists.collect("resource template", "uriTemplate", &listed, Lists::template);
    }
    catalog.learned = Some(server.learned());
    Ok(catalog)
}

struct Lists<'a> {
    endpoint: Endpoint<'a>,
    server: &'a mut Server,
    catalog: &'a mut Catalog,
}

type Item = Box<RawValue>;

impl Lists<'_> {
    /// All pages of a list.
    fn all(&mut self, method: &'static str, member: &str) -> Result<Vec<Item>, CallError> {
        let mut items = Vec::new();
        let mut size = 0;
        let mut cursors: HashSet<String> = HashSet::new();
        let mut cursor: Option<String> = None;
        let cut = loop {
            let (page, next) = match self.page(method, member, cursor.as_deref()) {
                Ok(page) => page,
                // The host counts exchanges, too. What came so far is good.
                Err(Problem::Trouble(Trouble::Http(HttpError::LimitExceeded(_))))
                    if cursor.is_some() =>
                {
                    break "the gateway allows no more exchanges";
                }
                Err(problem) => return Err(problem.tell(self.endpoint.target, method)),
            };
            size += page.iter().map(|item| item.get().len()).sum::<usize>();
            items.extend(page);
            let Some(next) = next else {
                return Ok(items);
            };
            if size > MAX_BYTES || items.len() > MAX_ITEMS || cursors.len() >= MAX_PAGES {
                break "the list is longer than the gateway keeps";
            }
            if !cursors.insert(next.clone()) {
                break "the same cursor came twice";
            }
            cursor = Some(next);
        };
        items.truncate(MAX_ITEMS);
        self.catalog.skip(format!("the rest of `{method}`"), cut);
        Ok(items)
    }

    fn all_or_none(&mut self, method: &'static str, member: &str) -> Vec<Item> {
        self.all(method, member).unwrap_or_else(|error| {
            let reason = match error {
                CallError::Failed(failure) => failure.message,
                other => format!("{other:?}"),
            };
            self.catalog.skip(format!("all of `{method}`"), reason);
            Vec::new()
        })
    }

    /// One page, and the cursor of the next one. An empty cursor is one, too.
    fn page(
        &mut self,
        method: &'static str,
        member: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<Item>, Option<String>), Problem> {
        let mut request = Request::new(method, Asker::Gateway);
        if let Some(cursor) = cursor {
            request.params.push(("cursor", json::quote(cursor)));
        }
        let result = self.server.ask(self.endpoint, &request);
        let result = result.map_err(Problem::Trouble)?.map_err(Problem::Error)?;
        let wrong = |what: String| Problem::Trouble(Trouble::Garbage(format!("{method}: {what}")));
        let mut members =
            Members::parse(&result).map_err(|_| wrong("its result names a member twice".into()))?;
        let items = members.take(member).map(serde_json::from_str);
        let items = items.and_then(Result::ok);
        let items = items.ok_or_else(|| wrong(format!("its `{member}` is not an array")))?;
        let next = members.text("nextCursor").map_err(wrong)?;
        Ok((items, next))
    }

    /// Takes each item that is as MCP says and whose name is new.
    fn collect(
        &mut self,
        kind: &str,
        key: &str,
        items: &[Item],
        take: fn(&mut Self, Members<'_>) -> Result<(), String>,
    ) {
        let mut names = HashSet::new();
        for (at, item) in items.iter().enumerate() {
            let members = Members::parse(item.get());
            let mut named = members.as_ref().ok().cloned();
            let name = named.as_mut().and_then(|m| m.text(key).ok().flatten());
            let taken = match (&name, members) {
                (_, Err(_)) => Err("it is not an object with each member once".into()),
                (None, _) => Err(format!("it has no `{key}`")),
                (Some(name), _) if name.is_empty() => Err(format!("its `{key}` is empty")),
                (Some(name), _) if !names.insert(name.clone()) => {
                    Err(format!("another {kind} with that `{key}` came before it"))
                }
                (Some(_), Ok(members)) => take(self, members),
            };
            if let Err(reason) = taken {
                let shown = name.map_or_else(
                    || format!("{kind} no. {}", at + 1),
                    |name| format!("{kind} `{name}`"),
                );
                self.catalog.skip(shown, reason);
            }
        }
    }

    fn scope(&self) -> String {
        self.endpoint.settings.scope(self.endpoint.target)
    }

    fn tool(&mut self, mut members: Members<'_>) -> Result<(), String> {
        let name = members.text("name")?.unwrap_or_default();
        let scope = self
            .endpoint
            .settings
            .scope_of_tool(self.endpoint.target, &name);
        let schema = members.object("inputSchema")?;
        let schema = schema.ok_or("it has no `inputSchema`")?;
        let description = members.text("description")?.unwrap_or_default();
        let mut tool = Tool::new(name, description)
            .scope(scope)
            .input_schema(schema);
        tool.title = members.text("title")?;
        tool.output_schema = members.object("outputSchema")?;
        tool.annotations = members.object("annotations")?;
        tool.icons = members.array("icons")?;
        tool.meta = members.object("_meta")?;
        tool.extra = members.rest();
        self.catalog.tools.push(tool);
        Ok(())
    }

    fn prompt(&mut self, mut members: Members<'_>) -> Result<(), String> {
        let arguments = members.array("arguments")?;
        let prompt = Prompt {
            name: members.text("name")?.unwrap_or_default(),
            title: members.text("title")?,
            description: members.text("description")?,
            arguments: arguments.map_or_else(|| Ok(Vec::new()), |raw| prompt_arguments(&raw))?,
            icons: members.array("icons")?,
            meta: members.object("_meta")?,
            scopes: vec![self.scope()],
            extra: members.rest(),
        };
        self.catalog.prompts.push(prompt);
        Ok(())
    }

    fn resource(&mut self, mut members: Members<'_>) -> Result<(), String> {
        let uri = members.text("uri")?.unwrap_or_default();
        let resource = ListedResource {
            name: members.text("name")?.unwrap_or_else(|| uri.clone()),
            uri,
            title: members.text("title")?,
            description: members.text("description")?,
            mime_type: members.text("mimeType")?,
            size: members.take("size").and_then(|size| size.parse().ok()),
            annotations: members.object("annotations")?,
            icons: members.array("icons")?,
            meta: members.object("_meta")?,
            scopes: vec![self.scope()],
            extra: members.rest(),
        };
        self.catalog.resources.push(resource);
        Ok(())
    }

    fn template(&mut self, mut members: Members<'_>) -> Result<(), String> {
        let uri_template = members.text("uriTemplate")?.unwrap_or_default();
        let template = ResourceTemplate {
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
            scopes: vec![self.scope()],
            extra: members.rest(),
        };
        self.catalog.resource_templates.push(template);
        Ok(())
    }
}

fn prompt_arguments(raw: &str) -> Result<Vec<PromptArgument>, String> {
    let wrong = |_| "its `arguments` are not objects with each member once".to_owned();
    let arguments: Vec<Members<'_>> = serde_json::from_str(raw).map_err(wrong)?;
    let argument = |mut members: Members<'_>| {
        Ok(PromptArgument {
            name: members
                .text("name")?
                .ok_or("one of its `arguments` has no `name`")?,
            title: members.text("title")?,
            description: members.text("description")?,
            required: members.take("required") == Some("true"),
        })
    };
    arguments.into_iter().map(argument).collect()
}

/// Why there is no page.
enum Problem {
    Trouble(Trouble),
    Error(crate::wire::RpcError),
}

impl Problem {
    fn tell(self, target: &Target, method: &str) -> CallError {
        match self {
            Self::Trouble(trouble) => trouble.tell(target),
            Self::Error(error) => match error.tell(target, Wanted::Else) {
                CallError::Failed(failure) => CallError::Failed(failure),
                _ => CallError::failed(
                    code::ERROR,
                    format!(
                        "Backend {}: {method} is answered with error {}",
                        target.id, error.code
                    ),
                ),
            },
        }
    }
}
