//! The resource `cortex://architecture`: the gateway describes itself, for the one who asks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::catalog::{Health, Kind};
use crate::pipeline::answer::{self, Answer};
use crate::pipeline::intent::Asker;
use crate::pipeline::{Gateway, Refusal, lists};
use crate::plugin::model::ResourceResult;

/// Its URI. No backend can have one of this scheme.
pub(in crate::pipeline) const URI: &str = "cortex://architecture";
/// What its text is.
pub(super) const MIME_TYPE: &str = "text/markdown";

/// The MCP resource object.
pub(in crate::pipeline) fn listed() -> &'static RawValue {
    static LISTED: LazyLock<Option<Box<RawValue>>> = LazyLock::new(|| {
        to_raw_value(&json!({
            "uri": URI,
            "name": "architecture",
            "title": "How this gateway works",
            "description": "What is behind this gateway, who you are to it, and how a call travels.",
            "mimeType": MIME_TYPE,
        }))
        .ok()
    });
    LISTED.as_deref().unwrap_or(RawValue::NULL)
}

/// The result of `resources/read`.
pub(in crate::pipeline) async fn read(gw: &Gateway, asker: &Asker) -> Result<Answer, Refusal> {
    let text = text(gw, asker).await?;
    let contents = json!([{ "uri": URI, "mimeType": MIME_TYPE, "text": text }]);
    let result = ResourceResult {
        contents: contents.to_string(),
        meta: None,
        extra: None,
    };
    answer::resource(gw, asker.version, result).map_err(Refusal::Internal)
}

/// The gateway at this moment, as the caller sees it: tools are counted that the caller may see.
pub(super) async fn text(gw: &Gateway, asker: &Asker) -> Result<String, Refusal> {
    let snapshot = gw.catalog.snapshot();
    let tools = lists::seen(gw, asker, Kind::Tools, &snapshot).await?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tool in tools.iter() {
        *counts.entry(tool.backend.as_str()).or_default() += 1;
    }
    let principal = asker.caller.principal();
    let issuer = match &gw.config.oauth {
        Some(oauth) => oauth.issuer.as_str(),
        None => "none: this gateway accepts its local developer only",
    };
    let scopes = principal.scopes.to_strings();
    let mut text = format!(
        "# {name}\n\n\
         One MCP server in front of {backends}. It holds no permissions of its own: a call travels as the \
         user who made it, and the backend that owns the tool decides.\n\n\
         ## Who is let in\n\n\
         The MCP endpoint {endpoint} is an OAuth 2.1 protected resource. Access tokens come from the authorization \
         server ({issuer}). The token's scopes decide what is listed and what may be called; a call that needs more \
         is answered with a challenge that names the scopes.\n\n\
         ## Who you are\n\n\
         - subject: {subject}\n- scopes: {scopes}\n\n\
         ## Backends\n\n\
         A tool's name begins with the id of its backend.\n\n\
         | backend | state | tools you may see |\n| --- | --- | --- |\n",
        name = plain(&gw.config.identity.name),
        backends = match snapshot.backends.len() {
            1 => "one backend".to_owned(),
            n => format!("{n} backends"),
        },
        endpoint = gw.config.canonical_uri,
        subject = plain(principal.subject.as_str()),
        scopes = if scopes.is_empty() {
            "none".to_owned()
        } else {
            scopes.join(", ")
        },
    );
    for (id, health) in &snapshot.backends {
        let state = match health {
            Health::Up => "up",
            // Not why: that could name an address.
            Health::Down(_) => "down",
            Health::Unknown => "not asked yet",
        };
        let count = counts.get(id.as_str()).copied().unwrap_or(0);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {state} | {count} |", id.as_str());
    }
    text.push_str(
        "\n## The way of a call\n\n\
         access token, rate, scope policy, adapter of the backend, audit record. Adapters, policies and audit \
         exporters are WebAssembly components; none of them ever holds a token.\n",
    );
    Ok(text)
}

/// Text from elsewhere on one line of Markdown.
fn plain(text: &str) -> String {
    let kept = text.chars().map(|c| match c {
        '|' | '`' | '<' | '>' | '[' | ']' | '#' | '*' => ' ',
        c if c.is_control() => ' ',
        c => c,
    });
    kept.collect()
}
