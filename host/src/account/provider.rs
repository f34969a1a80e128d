//! An MCP server at which accounts are linked, who gives out tokens for it, and as whom the gateway is
//! known there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};
use tracing::debug;
use url::Url;

use super::link::LinkError;
use super::{CLIENT_DOCUMENT, SIGNED_IN};
use crate::config::{AccountConfig, AccountsConfig, StaticClient, is_loopback};
use crate::measure::Counter;
use crate::oauth_client::Challenge;
use crate::oauth_client::discover::{self, Place, Server};
use crate::oauth_client::fetch::Http;
use crate::oauth_client::register::{About, Registered, Registrar};
use crate::outbound::{Client, Guard, NoTls};
use crate::types::{BackendId, ScopeSet};
use crate::vault::Vault;

/// For how long what was found out about a server is taken for true.
const FRESH: Duration = Duration::from_secs(300);

/// An MCP server.
pub(super) struct Provider {
    pub(super) http: Http,
    pub(super) config: AccountConfig,
    place: Mutex<Option<(Instant, Arc<Place>)>>,
    pub(super) renewals: Renewals,
}

/// What is counted of renewed tokens.
#[derive(Debug, Default)]
pub struct Renewals {
    /// That worked.
    pub good: Counter,
    /// That did not.
    pub failed: Counter,
}

impl Provider {
    pub(super) fn new(
        id: &BackendId,
        config: &AccountConfig,
        accounts: &AccountsConfig,
    ) -> Result<Self, NoTls> {
        let mut hosts = accounts.private_hosts.clone();
        // Where the operator said that it is, it may be.
        hosts.extend(config.endpoint.host_str().map(str::to_owned));
        let guard = Guard {
            loopback: is_loopback(&config.endpoint),
            hosts: hosts.into(),
        };
        debug!(backend.id = %id, "accounts can be linked here");
        Ok(Self {
            http: Http::new(Client::guarded(guard)?, &config.endpoint),
            config: config.clone(),
            place: Mutex::default(),
            renewals: Renewals::default(),
        })
    }

    /// Who gives out tokens, and for what.
    pub(super) async fn place(&self) -> Result<Arc<Place>, LinkError> {
        if let Some(place) = self.known() {
            return Ok(place);
        }
        let challenge = self.challenge().await;
        let place = discover::find(&self.http, &self.config.endpoint, &challenge).await;
        let place = Arc::new(place.map_err(|error| LinkError::Provider(error.to_string()))?);
        let mut known = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), Arc::clone(&place)));
        Ok(place)
    }

    /// What was found out lately.
    fn known(&self) -> Option<Arc<Place>> {
        let known = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, place) = known.as_ref()?;
        (at.elapsed() < FRESH).then(|| Arc::clone(place))
    }

    /// What was found out is not true any more, perhaps.
    pub(super) fn forget(&self) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the server says to somebody without a token. One that says nothing is asked by the
    /// well-known places.
    async fn challenge(&self) -> Challenge {
        let request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        let ping = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#);
        let answer = self.http.exchange(&self.config.endpoint, request, ping);
        match answer.await {
            Ok(answer) => Challenge::read(&answer.headers),
            Err(error) => {
                debug!(%error, "no challenge");
                Challenge::default()
            }
        }
    }

    /// The scopes to ask for, and `more`.
    pub(super) fn scopes(&self, place: &Place, more: &ScopeSet) -> ScopeSet {
        let named = self.config.scopes.clone();
        let scopes = named.or_else(|| place.scopes.clone()).unwrap_or_default();
        place.server.with_offline_access(&scopes.union(more))
    }
}

/// As whom the gateway is known at authorization servers.
pub(super) struct Clients {
    origin: Url,
    name: String,
    vault: Option<Vault>,
}

impl Clients {
    pub(super) fn new(canonical: &Url, name: &str, vault: Option<Vault>) -> Self {
        let mut origin = canonical.clone();
        origin.set_path("/");
        origin.set_query(None);
        Self {
            origin,
            name: name.to_owned(),
            vault,
        }
    }

    pub(super) fn origin(&self) -> &Url {
        &self.origin
    }

    /// A path of ours as a URL.
    pub(super) fn at(&self, path: &str) -> String {
        let mut url = self.origin.clone();
        url.set_path(path);
        url.into()
    }

    /// Where a flow that links an account at a server comes back to: for each server its own, so
    /// that answers of one cannot be taken for those of another (RFC 9700 §4.4.2.2).
    pub(super) fn callback(&self, server: &BackendId) -> String {
        self.at(&format!("/api/link/{server}/callback"))
    }

    /// What the gateway says of itself, where its client id leads to.
    pub(super) fn document<'a>(
        &self,
        servers: impl Iterator<Item = &'a BackendId>,
    ) -> Option<Value> {
        let mut redirects: Vec<String> = servers.map(|server| self.callback(server)).collect();
        redirects.push(self.at(SIGNED_IN));
        Some(json!({
            "client_id": self.at(CLIENT_DOCUMENT),
            "client_name": self.name,
            "client_uri": self.origin.as_str(),
            "redirect_uris": redirects,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "web",
        }))
    }

    /// The client to be at an authorization server: the given one, else the document, else one that
    /// was registered for this redirect, else one that is registered now.
    pub(super) async fn get(
        &self,
        http: &Http,
        server: &Server,
        given: Option<&StaticClient>,
        redirect: &str,
    ) -> Result<Registered, LinkError> {
        let registrar = Registrar {
            http,
            server,
            given: given.map(|client| (client.id.as_str(), client.secret.as_ref())),
            about: About {
                name: &self.name,
                kind: "web",
            },
        };
        if let Some(client) = registrar.given() {
            return Ok(client);
        }
        if let Some(id) = self.document_url(server) {
            return Ok(Registered {
                id,
                secret: None,
                secret_in_form: false,
                redirect: Some(redirect.to_owned()),
            });
        }
        let vault = self.vault.as_ref().ok_or(LinkError::NoKey)?;
        if let Some(client) = vault.client(&server.issuer, redirect).await? {
            return Ok(client);
        }
        let client = registrar.register(Some(redirect)).await;
        let client = client.map_err(|error| LinkError::Provider(error.to_string()))?;
        vault
            .keep_client(&server.issuer, redirect, Some(&client))
            .await?;
        Ok(client)
    }

    /// A client that was registered is not known any more.
    pub(super) async fn forget(&self, issuer: &str, redirect: &str) {
        if let Some(vault) = &self.vault
            && let Err(error) = vault.keep_client(issuer, redirect, None).await
        {
            debug!(%error, "a client is not forgotten");
        }
    }

    /// The client id that leads to the document, where that can be read: from elsewhere only by
    /// https (OAuth Client ID Metadata Document §3).
    fn document_url(&self, server: &Server) -> Option<String> {
        let readable = self.origin.scheme() == "https";
        (server.reads_documents && readable).then(|| self.at(CLIENT_DOCUMENT))
    }
}
