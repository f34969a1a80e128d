//! `CORTEX_BACKENDS` and `CORTEX_BACKEND_<ID>_*`.

use url::Url;

use super::urls::is_loopback;
use super::vars::Vars;
use crate::types::{BackendId, PluginName};

/// One backend and how to reach it.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// Its id, the prefix of its tools.
    pub id: BackendId,
    /// Base URL; `http` or `https`, no user information, query or fragment.
    pub url: Url,
    /// Path of its endpoint, for adapters that have one.
    pub path: String,
    /// Longest exchange, in milliseconds.
    pub timeout_ms: u32,
    /// Name of the adapter plugin that speaks to it.
    pub adapter: PluginName,
}

/// Path of a contract backend's endpoint, unless it is configured.
const DEFAULT_PATH: &str = "/api/cortex/backend";
/// The adapter of a backend, unless it is configured.
const DEFAULT_ADAPTER: &str = "backend-http";

pub(super) fn read(vars: &mut Vars<'_>) -> Vec<BackendConfig> {
    let allow_insecure = vars.flag("CORTEX_ALLOW_INSECURE_BACKENDS");
    let mut backends: Vec<BackendConfig> = Vec::new();
    for text in vars.list("CORTEX_BACKENDS") {
        let id: BackendId = match text.parse() {
            Ok(id) => id,
            Err(_) => {
                vars.wrong(
                    "CORTEX_BACKENDS",
                    Some(&text),
                    "expected ids of `a-z`, `0-9` and `-`, starting with a letter, at most 32 characters, \
                     separated by commas",
                );
                continue;
            }
        };
        if backends.iter().any(|b| b.id == id) {
            vars.wrong(
                "CORTEX_BACKENDS",
                Some(&text),
                "this id is there twice: give each backend its own",
            );
            continue;
        }
        backends.extend(one(vars, id, allow_insecure));
    }
    backends
}

fn one(vars: &mut Vars<'_>, id: BackendId, allow_insecure: bool) -> Option<BackendConfig> {
    let variable = |what: &str| format!("CORTEX_BACKEND_{}_{what}", id.variable_part());
    let Some(url) = vars.text(&variable("URL")) else {
        vars.note(format!(
            "backend `{id}` is skipped: {} is not set",
            variable("URL")
        ));
        return None;
    };
    let url = base_url(vars, &variable("URL"), &url, allow_insecure)?;
    let path = vars
        .text(&variable("PATH"))
        .unwrap_or_else(|| DEFAULT_PATH.to_owned());
    if !path.starts_with('/') || path.contains(['?', '#', ' ', '\\']) {
        vars.wrong(
            &variable("PATH"),
            Some(&path),
            "expected a path that starts with `/`, without query",
        );
    }
    let timeout_ms = vars.number(&variable("TIMEOUT_MS"), 10_000, 1..=600_000);
    let adapter = vars
        .text(&variable("ADAPTER"))
        .unwrap_or_else(|| DEFAULT_ADAPTER.to_owned());
    let adapter = match adapter.parse() {
        Ok(name) => name,
        Err(_) => {
            vars.wrong(
                &variable("ADAPTER"),
                Some(&adapter),
                "expected the name of an adapter plugin, such as `backend-http`",
            );
            return None;
        }
    };
    if let Some(mode) = vars
        .text(&variable("TOKEN"))
        .filter(|mode| mode != "passthrough")
    {
        vars.wrong(
            &variable("TOKEN"),
            Some(&mode),
            "expected `passthrough`, the only one this version knows",
        );
    }
    Some(BackendConfig {
        id,
        url,
        path,
        timeout_ms,
        adapter,
    })
}

fn base_url(vars: &mut Vars<'_>, variable: &str, text: &str, allow_insecure: bool) -> Option<Url> {
    const EXPECTED: &str =
        "expected a base URL such as `https://docs.example.com`, without user, query and fragment";
    let url = match Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none() =>
        {
            url
        }
        // Not shown: a URL with a user in it holds a password.
        _ => {
            vars.wrong(variable, None, EXPECTED);
            return None;
        }
    };
    if url.scheme() == "http" && !is_loopback(&url) {
        if !allow_insecure {
            vars.wrong(
                variable,
                Some(text),
                "plain http would carry users' tokens in clear to another machine: use https, \
                 or set CORTEX_ALLOW_INSECURE_BACKENDS=true if the network between is yours alone",
            );
            return None;
        }
        vars.note(format!(
            "{variable} is plain http to another machine: users' tokens travel in clear"
        ));
    }
    Some(url)
}
