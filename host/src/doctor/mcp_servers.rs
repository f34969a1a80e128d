//! The native MCP servers: whether each is reached, what it lists to strangers, and how accounts are linked
//! where it wants one.

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use super::backends::{self, Listed};
use super::probe::Probes;
use super::{Finding, PATIENCE, Section, State};
use crate::config::{AccountConfig, BackendConfig, Config, TokenMode, is_loopback};
use crate::oauth_client::Challenge;
use crate::oauth_client::discover::{self, Place};
use crate::oauth_client::fetch::Http;
use crate::outbound::{Client, Guard};
use crate::plugin::{Plugins, Shown};

/// What asks a server nothing but whether it would talk.
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#;

/// Those of `CORTEX_MCP_SERVERS`, side by side.
pub(super) async fn look(config: &Config, loaded: Option<&Plugins>, probes: &Probes) -> Section {
    let mut section = Section::new("MCP servers");
    let servers = (config.backends.iter())
        .filter_map(|backend| backend.account.as_ref().map(|account| (backend, account)));
    let told = servers.map(|(backend, account)| one(config, backend, account, loaded, probes));
    let told = join_all(told).await;
    section.findings = told.into_iter().flatten().collect();
    section
}

async fn one(
    config: &Config,
    backend: &BackendConfig,
    account: &AccountConfig,
    loaded: Option<&Plugins>,
    probes: &Probes,
) -> Vec<Finding> {
    let mut section = Section::new("server");
    if !backends::reached(&mut section, backend, probes).await {
        return section.findings;
    }
    let id = backend.id.as_str();
    let challenge = match probes
        .post(&account.endpoint, "application/json", PING)
        .await
    {
        Ok(answer) => Challenge::read(&answer.headers),
        Err(error) => {
            section.broken(
                format!("`{id}` takes connections and does not answer a request: {error}"),
                "is this the URL of an MCP endpoint over Streamable HTTP?",
            );
            return section.findings;
        }
    };
    let adapter = loaded.and_then(|plugins| plugins.adapters.get(&backend.adapter));
    let Some(adapter) = adapter else {
        return section.findings;
    };
    let shown = match backend.token {
        TokenMode::None => Shown::Never,
        _ => Shown::Nothing,
    };
    let wants = match backends::list(backend, adapter, None, &shown).await {
        Listed::WantsAccount => true,
        listed => {
            if let Listed::Told(catalog, _) = &listed {
                section.ok(format!(
                    "`{id}` speaks MCP of the {} era",
                    era(catalog.learned.as_deref())
                ));
            }
            listed.tell(&mut section, id);
            false
        }
    };
    if wants && backend.token == TokenMode::Linked {
        section.ok(format!("`{id}` wants an account of each user"));
        if account.catalog_subject.is_none() {
            let variable = backend.id.variable_part();
            section.warn(
                format!("`{id}` lists nothing to strangers, and nobody's account lists it"),
                format!("set CORTEX_MCP_{variable}_CATALOG_SUB to the subject whose account there may list it"),
            );
        }
        linking(&mut section, config, backend, account, &challenge).await;
    } else if wants {
        section.broken(
            format!("`{id}` wants a token, and is shown none"),
            format!(
                "set CORTEX_MCP_{}_TOKEN to `linked` or `exchange`",
                backend.id.variable_part()
            ),
        );
    }
    section.findings
}

fn era(learned: Option<&str>) -> String {
    let learned: Option<Value> = learned.and_then(|text| serde_json::from_str(text).ok());
    let era = learned.as_ref().and_then(|learned| learned["era"].as_str());
    era.unwrap_or("unknown").escape_debug().to_string()
}

/// From the server to its authorization server, and how the gateway would be known there.
async fn linking(
    section: &mut Section,
    config: &Config,
    backend: &BackendConfig,
    account: &AccountConfig,
    challenge: &Challenge,
) {
    let id = &backend.id;
    let mut hosts = config.accounts.private_hosts.clone();
    hosts.extend(account.endpoint.host_str().map(str::to_owned));
    let guard = Guard {
        loopback: is_loopback(&account.endpoint),
        hosts: hosts.into(),
    };
    // That TLS can be set up has been seen.
    let Ok(client) = Client::guarded(guard) else {
        return;
    };
    let http = Http::new(client, &account.endpoint);
    let finding = discover::find(&http, &account.endpoint, challenge);
    match timeout(PATIENCE, finding).await {
        Ok(Ok(place)) => registration(section, config, backend, account, &place),
        Ok(Err(error)) => section.broken(
            format!("`{id}`: nobody can link an account: {error}"),
            "the server has to name an authorization server (RFC 9728) with metadata (RFC 8414); one at a private \
             address has to be in CORTEX_LINK_PRIVATE_HOSTS",
        ),
        Err(_) => section.told(
            State::Broken,
            &format!("`{id}`: its authorization server is not found within {} s; hint: can this machine reach it?", PATIENCE.as_secs()),
        ),
    }
}

fn registration(
    section: &mut Section,
    config: &Config,
    backend: &BackendConfig,
    account: &AccountConfig,
    place: &Place,
) {
    let (id, server) = (&backend.id, &place.server);
    section.ok(format!(
        "`{id}` names the authorization server `{}`",
        server.issuer.escape_debug()
    ));
    if server.authorization.is_none() {
        section.broken(
            format!("`{id}`: its authorization server does not offer the code flow with PKCE S256"),
            "no account can be linked safely without: ask whoever runs it",
        );
        return;
    }
    // The document is read from elsewhere: only by https.
    let readable = config.canonical_uri.scheme() == "https";
    if account.client.is_some() {
        section.ok(format!(
            "`{id}`: the gateway is known there by the client id that is configured"
        ));
    } else if server.reads_documents && readable {
        section.ok(format!(
            "`{id}`: the gateway introduces itself there by its Client ID Metadata Document"
        ));
    } else if server.registration.is_some() {
        section.ok(format!(
            "`{id}`: the gateway registers itself there (RFC 7591)"
        ));
    } else {
        let variable = backend.id.variable_part();
        section.broken(
            format!("`{id}`: its authorization server registers no clients by itself"),
            format!("register the gateway there by hand, and set CORTEX_MCP_{variable}_CLIENT_ID and _CLIENT_SECRET"),
        );
    }
    if config.accounts.vault_keys.is_empty() {
        section.broken(
            format!("`{id}`: no account can be kept"),
            "set CORTEX_VAULT_KEY to what `openssl rand -base64 32` prints",
        );
    }
}
