//! `CORTEX_VAULT_KEY`, `CORTEX_LINK_*`, `OAUTH_CLIENT_*` and the parts of `CORTEX_MCP_<ID>_*` that are
//! about accounts: how users link their own accounts at MCP servers.

use std::collections::BTreeSet;

use url::{Host, Url};

use super::vars::Vars;
use crate::types::{Key256, ScopeSet, Secret, Subject};

/// A client id that an authorization server knows, and its secret if it has one.
#[derive(Clone, Debug)]
pub struct StaticClient {
    /// The client id.
    pub id: String,
    /// Its secret.
    pub secret: Option<Secret>,
}

/// What all accounts have in common.
#[derive(Clone, Debug, Default)]
pub struct AccountsConfig {
    /// Seal accounts on disk, the first one; all of them open. Without any, no account is kept.
    pub vault_keys: Vec<Key256>,
    /// Hosts whose addresses may be private ones, though others name them.
    pub private_hosts: BTreeSet<String>,
    /// As whom people sign in to the gateway's pages at its own issuer, if that knows the gateway.
    pub client: Option<StaticClient>,
}

/// How accounts at one MCP server are linked.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// The server's endpoint: the resource that tokens are for.
    pub endpoint: Url,
    /// A client id that its authorization server knows.
    pub client: Option<StaticClient>,
    /// The scopes to ask for; `None`: those that the server names.
    pub scopes: Option<ScopeSet>,
    /// Whose account lists what the server offers.
    pub catalog_subject: Option<Subject>,
}

/// Reads a ring of keys: base64, separated by commas.
pub(super) fn keys(vars: &mut Vars<'_>, name: &str) -> Vec<Key256> {
    let mut keys = Vec::new();
    let text = vars.secret(name);
    let text = text.as_ref().map_or("", Secret::reveal);
    let entries = text.split(',').map(str::trim);
    for (n, entry) in entries.filter(|entry| !entry.is_empty()).enumerate() {
        match entry.parse() {
            Ok(key) => keys.push(key),
            // What it held is a secret: its place must do.
            Err(error) => vars.wrong(
                name,
                None,
                &format!(
                    "key {}: {error}; several keys are separated by commas",
                    n + 1
                ),
            ),
        }
    }
    keys
}

pub(super) fn read(vars: &mut Vars<'_>) -> AccountsConfig {
    let mut private_hosts = BTreeSet::new();
    for entry in vars.list("CORTEX_LINK_PRIVATE_HOSTS") {
        match Host::parse(&entry) {
            Ok(host) => {
                private_hosts.insert(host.to_string());
            }
            Err(_) => vars.wrong(
                "CORTEX_LINK_PRIVATE_HOSTS",
                Some(&entry),
                "expected host names such as `sso.corp.example`, without port, separated by commas",
            ),
        }
    }
    AccountsConfig {
        vault_keys: keys(vars, "CORTEX_VAULT_KEY"),
        private_hosts,
        client: client(vars, "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"),
    }
}

/// A client that is known somewhere.
pub(super) fn client(vars: &mut Vars<'_>, id: &str, secret: &str) -> Option<StaticClient> {
    let (known, word) = (vars.text(id), vars.secret(secret));
    if known.is_none() && word.is_some() {
        vars.note(format!("{secret} is ignored: {id} is not set"));
    }
    known.map(|id| StaticClient { id, secret: word })
}

/// The account settings of one MCP server; `named` gives a variable its whole name.
pub(super) fn of_server(
    vars: &mut Vars<'_>,
    endpoint: &Url,
    named: &dyn Fn(&str) -> String,
) -> AccountConfig {
    let scopes = vars.text(&named("OAUTH_SCOPE"));
    let scopes = scopes.and_then(|text| match text.parse() {
        Ok(scopes) => Some(scopes),
        Err(_) => {
            vars.wrong(
                &named("OAUTH_SCOPE"),
                Some(&text),
                "expected scopes separated by blanks",
            );
            None
        }
    });
    AccountConfig {
        endpoint: endpoint.clone(),
        client: client(vars, &named("CLIENT_ID"), &named("CLIENT_SECRET")),
        scopes,
        catalog_subject: vars.text(&named("CATALOG_SUB")).map(Subject::new),
    }
}
