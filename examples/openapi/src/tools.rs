//! One tool for each operation of a document.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use cortex_plugin_sdk::json::{self, Json};
use cortex_plugin_sdk::prelude::*;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::arguments::{self, is_json};
use crate::document::{Document, Object, flag, get, list, object, shown, text};
use crate::plan::{self, Place, Plan};
use crate::schema::{Direction, Schemas};
use crate::settings::Settings;
use crate::text::{has_dot_segment, plain};
use crate::{scopes, servers};

/// Most tools.
const MAX_TOOLS: usize = 1_000;
/// Largest schema of one tool, in bytes.
const MAX_SCHEMA: usize = 128 * 1024;
/// Schemas of all tools together, in bytes. Beyond half of it tools do not say any more what they return.
const MAX_SCHEMAS: usize = 8 * 1024 * 1024;
/// Most characters of a description.
const MAX_DESCRIPTION: usize = 2_000;
/// Most reasons that are told; the others are counted.
const MAX_SKIPPED: usize = 100;

const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

/// Reads the operations of a document, one after the other.
pub(crate) struct Reader<'a> {
    target: &'a Target,
    settings: &'a Settings,
    document: &'a Document<'a>,
    sent: Schemas<'a>,
    returned: Schemas<'a>,
    catalog: Catalog,
    names: BTreeSet<String>,
    plans: BTreeMap<String, Plan>,
    skipped: usize,
    bytes: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        target: &'a Target,
        settings: &'a Settings,
        document: &'a Document<'a>,
    ) -> Self {
        Self {
            target,
            settings,
            document,
            sent: Schemas::new(document, Direction::Sent),
            returned: Schemas::new(document, Direction::Returned),
            catalog: Catalog::default(),
            names: BTreeSet::new(),
            plans: BTreeMap::new(),
            skipped: 0,
            bytes: 0,
        }
    }

    /// Everything that the document offers.
    pub(crate) fn read(mut self) -> Result<Catalog, String> {
        let paths = get(&self.document.root, "paths").map(|raw| object(raw, "its `paths`"));
        let mut full = false;
        'paths: for (path, raw) in paths.transpose()?.unwrap_or_default() {
            let shared = match self.document.object(raw, "it") {
                Ok(shared) => shared,
                Err(reason) => {
                    self.skip(format!("path `{}`", shown(&path)), &reason);
                    continue;
                }
            };
            for (method, raw) in &shared {
                if METHODS.contains(&&**method) {
                    full = self.catalog.tools.len() >= MAX_TOOLS || self.bytes > MAX_SCHEMAS;
                    if full {
                        break 'paths;
                    }
                    self.operation(&path, method.to_ascii_uppercase(), &shared, raw);
                } else if matches!(&**method, "options" | "trace") {
                    let reason = "tools are made of GET, HEAD, POST, PUT, PATCH and DELETE";
                    let method = method.to_ascii_uppercase();
                    self.skip(format!("{method} {}", shown(&path)), reason);
                }
            }
        }
        if full {
            let reason = format!(
                "they are too many: {} came before them; choose with the settings `include` and `exclude`",
                self.catalog.tools.len()
            );
            self.catalog.skip("further operations", reason);
        }
        if self.skipped > MAX_SKIPPED {
            let reason = "for reasons like these".to_owned();
            let count = self.skipped - MAX_SKIPPED;
            self.catalog.skip(format!("{count} more"), reason);
        }
        let kept = plan::keep(&self.plans).map_err(|error| error.to_string())?;
        self.catalog.learned = Some(kept);
        Ok(self.catalog)
    }

    fn skip(&mut self, item: String, reason: &str) {
        self.skipped += 1;
        if self.skipped <= MAX_SKIPPED {
            self.catalog.skip(item, reason);
        }
    }

    /// Adds the tool of one operation, or the reason why there is none.
    fn operation(&mut self, path: &str, method: String, shared: &Object<'a>, raw: &'a RawValue) {
        let item = format!("{method} {}", shown(path));
        let mut members = match object(raw, "it") {
            Ok(members) => members,
            Err(reason) => return self.skip(item, &reason),
        };
        let id = text(&members, "operationId").filter(|id| !id.is_empty());
        let tags = list(&members, "tags").into_iter();
        let tags = tags.filter_map(|raw| serde_json::from_str(raw.get()).ok());
        let tags: Vec<String> = tags.collect();
        if !self.settings.wants(&tags, id.as_deref(), &method) {
            return;
        }
        let name = match &id {
            Some(id) => plain(id),
            None => plain(&format!(
                "{}{}",
                method.to_ascii_lowercase(),
                path.replace(['{', '}'], "")
            )),
        };
        if self.names.contains(&name) {
            let reason = format!("another operation came before it that is called `{name}`, too");
            return self.skip(item, &reason);
        }
        if matches!(&*method, "GET" | "HEAD") {
            // A body has no meaning there (RFC 9110 §9.3.1).
            members.retain(|(name, _)| name != "requestBody");
        }
        match self.tool(&name, path, method, shared, &members) {
            Ok((tool, plan)) => {
                self.bytes +=
                    tool.input_schema.len() + tool.output_schema.as_ref().map_or(0, String::len);
                self.names.insert(name.clone());
                self.plans.insert(name, plan);
                self.catalog.tools.push(tool);
            }
            Err(reason) => self.skip(item, &reason),
        }
    }

    fn tool(
        &mut self,
        name: &str,
        path: &str,
        method: String,
        shared: &Object<'a>,
        members: &Object<'a>,
    ) -> Result<(Tool, Plan), String> {
        let arguments = arguments::read(self.document, &mut self.sent, shared, members)?;
        if arguments.schema.len() > MAX_SCHEMA {
            return Err(format!(
                "its arguments take more than {MAX_SCHEMA} bytes to describe"
            ));
        }
        let places = arguments
            .params
            .iter()
            .filter(|param| param.place == Place::Path);
        let named: BTreeSet<&str> = places.map(|param| param.name.as_str()).collect();
        check_path(path, &named)?;
        let levels = [members, shared, &self.document.root];
        let base = servers::base(self.target, self.settings, &levels);
        let base = base.unwrap_or_else(|(base, reason)| {
            self.note("its `servers`", reason);
            base
        });
        let reads = matches!(&*method, "GET" | "HEAD");
        let summary = text(members, "summary").filter(|text| !text.trim().is_empty());
        let said = text(members, "description").filter(|text| !text.trim().is_empty());
        let said = said.or_else(|| summary.clone());
        let said = said.unwrap_or_else(|| format!("{method} {path}"));
        let mut tool = Tool::new(name, bounded(&said))
            .input_schema(arguments.schema)
            .annotations(annotations(&method));
        tool.scopes = scopes::of(self.target, self.settings, self.document, members, reads)?;
        tool.title = summary.map(|summary| bounded(&summary));
        tool.output_schema = self
            .output_schema(members)
            .filter(|json| json.len() <= MAX_SCHEMA);
        if flag(members, "deprecated") {
            tool.deprecated = Some(Deprecation {
                removed_at: None,
                replaced_by: None,
                reason: None,
            });
        }
        let plan = Plan {
            method,
            path: format!("{base}{path}"),
            params: arguments.params,
            body: arguments.body,
        };
        Ok((tool, plan))
    }

    /// Tells something once that concerns many operations.
    fn note(&mut self, item: &str, reason: String) {
        let known = self.catalog.skipped.iter();
        if !known.into_iter().any(|known| known.item == item) {
            self.catalog.skip(item, reason);
        }
    }

    /// What a tool returns, if that is one JSON object however it succeeds.
    fn output_schema(&mut self, members: &Object<'a>) -> Option<Json> {
        if !self.settings.output_schemas() || self.bytes > MAX_SCHEMAS / 2 {
            return None;
        }
        let responses = object(get(members, "responses")?, "it").ok()?;
        let mut good = responses
            .iter()
            .filter(|(status, _)| status.starts_with('2'));
        let (Some((_, only)), None) = (good.next(), good.next()) else {
            return None;
        };
        let response = self.document.object(only, "it").ok()?;
        let content = object(get(&response, "content")?, "it").ok()?;
        let (_, media) = content.iter().find(|(mime, _)| is_json(mime))?;
        let raw = get(&object(media, "it").ok()?, "schema")?;
        if !self.returned.is_object(raw) {
            return None;
        }
        let schema = self.returned.convert(raw, None).ok()?;
        let definitions = self.returned.definitions(slice::from_ref(&schema)).ok()?;
        let says_type = json::member::<IgnoredAny>(&schema.json, "type")
            .ok()?
            .is_some();
        let inner = schema.json.strip_prefix('{')?.strip_suffix('}')?;
        Some(match (says_type, inner.is_empty()) {
            (true, _) => format!("{{{inner}{definitions}}}"),
            (false, true) => format!(r#"{{"type":"object"{definitions}}}"#),
            (false, false) => format!(r#"{{"type":"object",{inner}{definitions}}}"#),
        })
    }
}

/// Whether a path can be part of a request, and names exactly the parameters that there are.
fn check_path(path: &str, params: &BTreeSet<&str>) -> Result<(), String> {
    let is_path = path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && !path.contains(['?', '#', '\\'])
        && !has_dot_segment(path);
    if !is_path {
        return Err("its path is not one".into());
    }
    let mut named = BTreeSet::new();
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or("its path has a `{` without `}`")?;
        named.insert(name);
        rest = after;
    }
    match named.symmetric_difference(params).next() {
        Some(name) if params.contains(name) => Err(format!(
            "its path has no place for the parameter `{}`",
            shown(name)
        )),
        Some(name) => Err(format!(
            "nothing describes `{{{}}}` in its path",
            shown(name)
        )),
        None => Ok(()),
    }
}

/// What HTTP says of a method (RFC 9110 §9.2).
fn annotations(method: &str) -> &'static str {
    match method {
        "GET" | "HEAD" => r#"{"readOnlyHint":true}"#,
        "PUT" => r#"{"readOnlyHint":false,"idempotentHint":true}"#,
        "DELETE" => r#"{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true}"#,
        _ => r#"{"readOnlyHint":false}"#,
    }
}

fn bounded(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_DESCRIPTION) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
