//! `CORTEX_BACKENDS` and `CORTEX_BACKEND_<ID>_*`.

use url::Url;

use super::accounts::AccountConfig;
use super::exchange::{self, ExchangeTarget};
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
    /// What its adapter is told of it: a JSON object.
    pub settings: String,
    /// Longest exchange, in milliseconds.
    pub timeout_ms: u32,
    /// Name of the adapter plugin that speaks to it.
    pub adapter: PluginName,
    /// How its tools and prompts are called in public.
    pub names: NameStyle,
    /// Which tokens it is shown.
    pub token: TokenMode,
    /// What exchanged tokens are for, with [`TokenMode::Exchange`].
    pub exchange: ExchangeTarget,
    /// How accounts at it are linked: only MCP servers have that.
    pub account: Option<AccountConfig>,
}

impl BackendConfig {
    /// What its variables are called.
    fn kind(&self) -> &'static str {
        match self.account {
            Some(_) => "MCP",
            None => "BACKEND",
        }
    }
}

/// How tools and prompts of a backend are called in public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameStyle {
    /// By the backend's id and their own names.
    Prefixed,
    /// By their own names.
    Verbatim,
}

impl NameStyle {
    pub(super) fn read(vars: &mut Vars<'_>, variable: &str) -> Self {
        let options = [("prefixed", Self::Prefixed), ("verbatim", Self::Verbatim)];
        vars.choice(variable, &options, Self::Prefixed)
    }
}

/// Without a prefix nothing keeps the names of two backends apart.
pub(super) fn check_names(vars: &mut Vars<'_>, backends: &[BackendConfig]) {
    let mut verbatim = backends
        .iter()
        .filter(|backend| backend.names == NameStyle::Verbatim);
    if let (Some(first), Some(second)) = (verbatim.next(), verbatim.next()) {
        vars.wrong(
            &format!(
                "CORTEX_{}_{}_NAMES",
                second.kind(),
                second.id.variable_part()
            ),
            Some("verbatim"),
            &format!(
                "only one backend may keep its own names, and `{}` does",
                first.id
            ),
        );
    }
}

/// Which tokens a backend is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenMode {
    /// The caller's in calls, the technical one in catalog methods.
    Passthrough,
    /// One of its own instead of the caller's, by token exchange (RFC 8693); the technical one in
    /// catalog methods.
    Exchange,
    /// That of the caller's own account there, if one is linked: it is no resource of the
    /// authorization server that issued the caller's (MCP, Authorization, "Token Passthrough").
    Linked,
    /// None.
    None,
}

/// Path of a contract backend's endpoint, unless it is configured.
const DEFAULT_PATH: &str = "/api/cortex/backend";
/// The adapter of a backend, unless it is configured.
const DEFAULT_ADAPTER: &str = "backend-http";

pub(super) fn read(vars: &mut Vars<'_>, insecure: Insecure) -> Vec<BackendConfig> {
    let mut backends: Vec<BackendConfig> = Vec::new();
    for text in vars.list("CORTEX_BACKENDS") {
        let Some(id) = id(vars, "CORTEX_BACKENDS", &text) else {
            continue;
        };
        if backends.iter().any(|b| b.id == id) {
            vars.wrong(
                "CORTEX_BACKENDS",
                Some(&text),
                "this id is there twice: give each backend its own",
            );
            continue;
        }
        backends.extend(one(vars, id, insecure));
    }
    backends
}

/// One id of a list of them.
pub(super) fn id(vars: &mut Vars<'_>, variable: &str, text: &str) -> Option<BackendId> {
    let id = text.parse().ok();
    if id.is_none() {
        vars.wrong(
            variable,
            Some(text),
            "expected ids of `a-z`, `0-9` and `-`, starting with a letter, at most 32 characters, \
             separated by commas",
        );
    }
    id
}

fn one(vars: &mut Vars<'_>, id: BackendId, insecure: Insecure) -> Option<BackendConfig> {
    let variable = |what: &str| format!("CORTEX_BACKEND_{}_{what}", id.variable_part());
    let Some(url) = vars.text(&variable("URL")) else {
        vars.note(format!(
            "backend `{id}` is skipped: {} is not set",
            variable("URL")
        ));
        return None;
    };
    let url = base_url(vars, &variable("URL"), &url, insecure)?;
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
    let token = vars.choice(
        &variable("TOKEN"),
        &[
            ("passthrough", TokenMode::Passthrough),
            ("exchange", TokenMode::Exchange),
            ("none", TokenMode::None),
        ],
        TokenMode::Passthrough,
    );
    let exchange = exchange::target(vars, &url, &variable);
    let names = NameStyle::read(vars, &variable("NAMES"));
    Some(BackendConfig {
        id,
        url,
        settings: serde_json::json!({ "path": path }).to_string(),
        timeout_ms,
        adapter,
        names,
        token,
        exchange,
        account: None,
    })
}

fn base_url(vars: &mut Vars<'_>, variable: &str, text: &str, insecure: Insecure) -> Option<Url> {
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
    insecure
        .permits(vars, variable, &url, "users' tokens")
        .then_some(url)
}

/// Whether backends may be reached by plain http (`CORTEX_ALLOW_INSECURE_BACKENDS`).
#[derive(Clone, Copy)]
pub(super) struct Insecure(bool);

impl Insecure {
    pub(super) fn read(vars: &mut Vars<'_>) -> Self {
        Self(vars.flag("CORTEX_ALLOW_INSECURE_BACKENDS"))
    }

    /// Whether something may travel to this URL: in clear only on this machine, or when the
    /// operator says so.
    pub(super) fn permits(
        self,
        vars: &mut Vars<'_>,
        variable: &str,
        url: &Url,
        what: &str,
    ) -> bool {
        if url.scheme() != "http" || is_loopback(url) {
            return true;
        }
        if self.0 {
            vars.note(format!(
                "{variable} is plain http to another machine: {what} travel in clear"
            ));
        } else {
            let expected = format!(
                "plain http would carry {what} in clear to another machine: use https, or set \
                 CORTEX_ALLOW_INSECURE_BACKENDS=true if the network between is yours alone"
            );
            vars.wrong(variable, url.host_str(), &expected);
        }
        self.0
    }
}
