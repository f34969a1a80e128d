//! The status page: for a person who wants to know whether the gateway runs, and how to reach it.
//!
//! One page without scripts, pictures or anything from elsewhere; its policy allows nothing but its
//! own style sheet. Whether backends are up is said in words, not by colour alone.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::super::respond::{self, Reply, Tone};
use crate::catalog::{Health, Kind, Snapshot};
use crate::pipeline::Gateway;
use crate::types::BackendId;

const STYLE: &str = include_str!("status.css");

/// `Content-Security-Policy`: nothing, except for the style sheet with this hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The page.
pub(super) fn page(gw: &Gateway) -> Reply {
    let facts = Facts {
        name: &gw.config.identity.name,
        website: &gw.config.identity.website,
        endpoint: gw.config.canonical_uri.as_str(),
        snapshot: &gw.catalog.snapshot(),
        links: gw.accounts.servers().next().is_some(),
    };
    respond::page(Tone::Good, render(&facts), &POLICY)
}

/// What the page tells.
struct Facts<'a> {
    name: &'a str,
    website: &'a str,
    endpoint: &'a str,
    snapshot: &'a Snapshot,
    /// Whether people can link accounts.
    links: bool,
}

/// Text that stands in HTML for what it is, between tags and in quoted attributes.
pub(in crate::server) struct Escaped<'a>(pub(in crate::server) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                c => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

fn render(facts: &Facts<'_>) -> String {
    let (name, endpoint) = (Escaped(facts.name), Escaped(facts.endpoint));
    let version = env!("CARGO_PKG_VERSION");
    let (class, summary) = summary(&facts.snapshot.backends);
    let counts: String = [
        ("Tools", Kind::Tools),
        ("Prompts", Kind::Prompts),
        ("Resources", Kind::Resources),
        ("Templates", Kind::Templates),
    ]
    .into_iter()
    .map(|(label, kind)| {
        let count = facts.snapshot.listing(kind).listed.len();
        format!("<div><dt>{label}</dt><dd>{count}</dd></div>")
    })
    .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}: status</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{name}</h1>\n<p class=\"quiet\">MCP gateway, version {version}</p>\n\
         <p class=\"state {class}\">{summary}</p>\n\
         <h2>Endpoint</h2>\n<code class=\"endpoint\">{endpoint}</code>\n\
         <p class=\"quiet\">For MCP clients, by Streamable HTTP. What you see there depends on your access token.</p>\n\
         <h2>On offer</h2>\n<dl>{counts}</dl>\n\
         <h2>Backends</h2>\n{}\n{}\
         <footer class=\"quiet\"><a href=\"{}\">Website</a> · \
         <a href=\"/.well-known/mcp/server-card.json\">Server card</a> · \
         <a href=\"/.well-known/oauth-protected-resource\">How to get a token</a></footer>\n\
         </main>\n</body>\n</html>\n",
        backends(facts.snapshot),
        if facts.links {
            "<p><a href=\"/connections\">Your accounts at MCP servers</a></p>\n"
        } else {
            ""
        },
        Escaped(facts.website),
    )
}

/// How a backend is, in a class and a word with a sign of its own.
fn state(health: &Health) -> (&'static str, &'static str) {
    match health {
        Health::Up => ("up", "● up"),
        // Not why: that could name an address.
        Health::Down(_) => ("down", "▲ down"),
        Health::Unknown => ("wait", "○ not asked yet"),
    }
}

fn summary(backends: &BTreeMap<BackendId, Health>) -> (&'static str, String) {
    let all = backends.len();
    let down = backends
        .values()
        .filter(|health| matches!(health, Health::Down(_)))
        .count();
    let unknown = backends
        .values()
        .filter(|health| **health == Health::Unknown);
    let is = if down == 1 { "is" } else { "are" };
    match (all, down, unknown.count()) {
        (0, ..) => ("wait", "Running, without any backend".to_owned()),
        (_, 0, 0) => ("up", "Running, and all backends are up".to_owned()),
        (_, 0, _) => (
            "wait",
            "Running; not every backend was asked yet".to_owned(),
        ),
        (all, down, _) => (
            "down",
            format!("Running; {down} of {all} backends {is} down"),
        ),
    }
}

fn backends(snapshot: &Snapshot) -> String {
    if snapshot.backends.is_empty() {
        return "<p class=\"quiet\">None is configured.</p>".to_owned();
    }
    let mut tools: BTreeMap<&BackendId, usize> = BTreeMap::new();
    for entry in &snapshot.tools.listed {
        *tools.entry(&entry.backend).or_default() += 1;
    }
    let mut table =
        "<table>\n<thead><tr><th scope=\"col\">Backend</th><th scope=\"col\">State</th>\
                     <th scope=\"col\">Tools</th></tr></thead>\n<tbody>\n"
            .to_owned();
    for (id, health) in &snapshot.backends {
        let (class, word) = state(health);
        let count = tools.get(id).copied().unwrap_or_default();
        table += &format!(
            "<tr><th scope=\"row\">{}</th><td class=\"state {class}\">{word}</td><td>{count}</td></tr>\n",
            Escaped(id.as_str())
        );
    }
    table + "</tbody>\n</table>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, states: &[(&str, Health)]) -> String {
        let backends = states.iter().map(|(id, health)| {
            let id = id.parse().expect("an id");
            (id, health.clone())
        });
        let mut snapshot = Snapshot::default();
        snapshot.backends.extend(backends);
        render(&Facts {
            name,
            website: "https://www.example.com/?a=1&b='2'",
            endpoint: "https://mcp.example.com/mcp",
            snapshot: &snapshot,
            links: true,
        })
    }

    #[test]
    fn three_states_are_told_and_no_reason() {
        let down = Health::Down("connect to 10.0.0.7:80 refused".to_owned());
        let page = shown(
            "g",
            &[
                ("a", Health::Up),
                ("b", down.clone()),
                ("c", Health::Unknown),
            ],
        );
        for part in [
            "● up",
            "▲ down",
            "○ not asked yet",
            "1 of 3 backends is down",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("10.0.0.7"), "{page}");
        assert!(shown("g", &[]).contains("without any backend"));
        assert!(shown("g", &[("a", Health::Up)]).contains("all backends are up"));
        assert!(shown("g", &[("a", Health::Unknown)]).contains("not every backend"));
        assert!(
            shown("g", &[("a", down.clone()), ("b", down)]).contains("2 of 2 backends are down")
        );
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let page = shown("<script>alert(1)</script> & \"co\"", &[]);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;co&quot;"));
        assert!(
            page.contains("href=\"https://www.example.com/?a=1&amp;b=&#39;2&#39;\""),
            "{page}"
        );
    }
}
