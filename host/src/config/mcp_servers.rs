//! `CORTEX_MCP_SERVERS` and `CORTEX_MCP_<ID>_*`: native MCP servers as backends.

use std::collections::BTreeMap;

use url::Url;

use super::accounts;
use super::backends::{BackendConfig, Insecure, NameStyle, TokenMode};
use super::exchange;
use super::vars::Vars;
use crate::types::{BackendId, PluginName, Scope};

/// The adapter that speaks MCP.
const ADAPTER: &str = "backend-mcp";
/// Longest exchange, unless it is configured. Tools of others take their time.
const TIMEOUT_MS: u32 = 30_000;

/// Reads the servers. `taken` are the ids of other backends.
pub(super) fn read(
    vars: &mut Vars<'_>,
    taken: &[BackendConfig],
    insecure: Insecure,
) -> Vec<BackendConfig> {
    let mut servers: Vec<BackendConfig> = Vec::new();
    for text in vars.list("CORTEX_MCP_SERVERS") {
        let Some(id) = super::backends::id(vars, "CORTEX_MCP_SERVERS", &text) else {
            continue;
        };
        if servers.iter().chain(taken).any(|b| b.id == id) {
            vars.wrong(
                "CORTEX_MCP_SERVERS",
                Some(&text),
                "this id is there twice, here or in CORTEX_BACKENDS: give each backend its own",
            );
            continue;
        }
        servers.extend(one(vars, id, insecure));
    }
    servers
}

fn variable(id: &BackendId, what: &str) -> String {
    format!("CORTEX_MCP_{}_{what}", id.variable_part())
}

fn one(vars: &mut Vars<'_>, id: BackendId, insecure: Insecure) -> Option<BackendConfig> {
    let named = |what: &str| variable(&id, what);
    let Some(url) = vars.text(&named("URL")) else {
        let note = format!("MCP server `{id}` is skipped: {} is not set", named("URL"));
        vars.note(note);
        return None;
    };
    let scope = vars
        .text(&named("SCOPE"))
        .unwrap_or_else(|| format!("mcp:{id}:read"));
    if scope.parse::<Scope>().is_err() {
        vars.wrong(
            &named("SCOPE"),
            Some(&scope),
            "expected one OAuth scope, such as `mcp:wiki:read`",
        );
    }
    let names = NameStyle::read(vars, &named("NAMES"));
    let timeout_ms = vars.number(&named("TIMEOUT_MS"), TIMEOUT_MS, 1..=600_000);
    let token = vars.choice(
        &named("TOKEN"),
        &[
            ("linked", TokenMode::Linked),
            ("exchange", TokenMode::Exchange),
            ("none", TokenMode::None),
        ],
        TokenMode::Linked,
    );
    let endpoint = endpoint(vars, &named("URL"), &url, insecure)?;
    let mut base = endpoint.clone();
    base.set_path("");
    base.set_query(None);
    let mut path = endpoint.path().to_owned();
    if let Some(query) = endpoint.query() {
        path = format!("{path}?{query}");
    }
    let scope_variables = scope_variables(vars, &named("SCOPE_"));
    let settings = serde_json::json!({
        "path": path,
        "scope": scope,
        "scope_variables": scope_variables,
        "credential": match token {
            TokenMode::Linked => "account",
            TokenMode::Exchange | TokenMode::Passthrough => "caller",
            TokenMode::None => "none",
        },
    });
    let (exchange, account) = (
        exchange::target(vars, &endpoint, &named),
        accounts::of_server(vars, &endpoint, &named),
    );
    Some(BackendConfig {
        id,
        url: base,
        settings: settings.to_string(),
        timeout_ms,
        adapter: adapter()?,
        names,
        token,
        exchange,
        account: Some(account),
    })
}

/// `CORTEX_MCP_<ID>_SCOPE_<TOOL>`: scopes of single tools, by the last part of the variable.
fn scope_variables(vars: &mut Vars<'_>, prefix: &str) -> BTreeMap<String, String> {
    let mut scopes = BTreeMap::new();
    for tool in vars.parts(prefix) {
        let variable = format!("{prefix}{tool}");
        let Some(scope) = vars.text(&variable) else {
            continue;
        };
        if scope.parse::<Scope>().is_err() {
            let expected = "expected one OAuth scope, such as `mcp:wiki:write`";
            vars.wrong(&variable, Some(&scope), expected);
        }
        scopes.insert(tool, scope);
    }
    scopes
}

/// A constant that is a name.
fn adapter() -> Option<PluginName> {
    ADAPTER.parse().ok()
}

/// The whole URL of an MCP endpoint. Its query may tell which of a server's parts is meant.
fn endpoint(vars: &mut Vars<'_>, variable: &str, text: &str, insecure: Insecure) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    let Some(url) = url else {
        // Not shown: a URL with a user or a query in it may hold a secret.
        vars.wrong(
            variable,
            None,
            "expected the URL of an MCP endpoint such as `https://wiki.example.com/mcp`, without user and fragment",
        );
        return None;
    };
    insecure
        .permits(vars, variable, &url, "arguments and results")
        .then_some(url)
}
