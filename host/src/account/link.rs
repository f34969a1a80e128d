//! The flow that links an account: to the provider, and back with what it granted.
//!
//! It ends only in the browser in which it began, for the person who is signed in there at its
//! beginning and at its end, and once.

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::info;
use url::Url;

use super::code::Desk;
use super::flow::{self, Cookie, Stopped};
use super::provider::Provider;
use super::{Accounts, Owner};
use crate::oauth_client::authorize::Response;
use crate::oauth_client::discover::{self, Place};
use crate::oauth_client::pkce::{NoRandomness, Pkce};
use crate::oauth_client::seconds_now;
use crate::seal::Purpose;
use crate::types::{BackendId, Issuer, ScopeSet, Secret, Subject};
use crate::vault::{Account, Origin, VaultError};

/// Why an account is not linked. The texts are for the person in front of the browser.
#[derive(Debug, Error)]
pub enum LinkError {
    /// There is no such server.
    #[error("there is nothing to link here")]
    Unknown,
    /// The operator has set no key.
    #[error("accounts cannot be kept: the operator of this gateway has not set CORTEX_VAULT_KEY")]
    NoKey,
    /// The provider cannot be used; carries why.
    #[error("the provider cannot be used: {0}")]
    Provider(String),
    /// What came back belongs to no flow of this gateway.
    #[error("this answer belongs to nothing that was begun here")]
    Foreign,
    /// It took too long.
    #[error("this took longer than 10 minutes; begin again")]
    Expired,
    /// Another browser began it.
    #[error("this was begun in another browser; begin again in this one")]
    OtherBrowser,
    /// Somebody else began it.
    #[error("this was begun by somebody else; nothing was linked")]
    OtherPerson,
    /// It has ended before.
    #[error("this was done already; nothing was changed")]
    Done,
    /// The provider, or the person, said no.
    #[error("{0}")]
    Refused(String),
    /// The vault failed.
    #[error("the account could not be kept: {0}")]
    Vault(#[from] VaultError),
    /// This machine fails.
    #[error("this machine gives no random numbers")]
    NoRandomness,
}

impl From<NoRandomness> for LinkError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl From<Stopped> for LinkError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Foreign => Self::Foreign,
            Stopped::Expired => Self::Expired,
            Stopped::OtherBrowser => Self::OtherBrowser,
        }
    }
}

/// A flow that was begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub url: Url,
    /// What it holds meanwhile.
    pub cookie: Cookie,
}

/// What a flow remembers, sealed.
#[derive(Serialize, Deserialize)]
struct Linking {
    issuer: String,
    subject: String,
    /// The authorization server, so that nobody else's answer counts (RFC 9207 §4).
    provider: String,
    resource: String,
    scopes: String,
    verifier: zeroize::Zeroizing<String>,
}

impl Accounts {
    /// Begins to link an account of `owner` at a server; `more`: scopes that are needed besides.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn begin(
        &self,
        owner: &Owner,
        server: &BackendId,
        more: &ScopeSet,
    ) -> Result<Begun, LinkError> {
        let provider = self.providers.get(server).ok_or(LinkError::Unknown)?;
        if self.vault.is_none() {
            return Err(LinkError::NoKey);
        }
        let place = provider.place().await?;
        let endpoint = place.server.authorization.as_ref().ok_or_else(|| {
            let why = "it has no authorization endpoint with PKCE S256";
            LinkError::Provider(why.to_owned())
        })?;
        let desk = self.desk(provider, &place, server);
        let client = desk.client().await?;
        let pkce = Pkce::new()?;
        let scopes = provider.scopes(&place, more);
        let linking = Linking {
            issuer: owner.issuer.to_string(),
            subject: owner.subject.to_string(),
            provider: place.server.issuer.clone(),
            resource: place.resource.clone(),
            scopes: scopes.to_string(),
            verifier: zeroize::Zeroizing::new(pkce.verifier.reveal().to_owned()),
        };
        let binding = server.as_str().as_bytes();
        let path = format!("/api/link/{server}/callback");
        let (state, cookie) = flow::begin(&self.sealer, Purpose::Link, &[binding], &path, linking)?;
        let url = desk.authorization(endpoint, &client, &state, &pkce, &scopes);
        Ok(Begun { url, cookie })
    }

    /// Ends a flow: `query` and `headers` are what the browser brings, `person` who is signed in
    /// there now.
    ///
    /// # Errors
    /// [`LinkError`]; then nothing was linked.
    pub async fn finish(
        &self,
        person: Option<&Owner>,
        server: &BackendId,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<(), LinkError> {
        let provider = self.providers.get(server).ok_or(LinkError::Unknown)?;
        let vault = self.vault.as_ref().ok_or(LinkError::NoKey)?;
        let response = Response::read(query).ok_or(LinkError::Foreign)?;
        let state = response.state().ok_or(LinkError::Foreign)?;
        let binding = server.as_str().as_bytes();
        let ticket =
            flow::resume::<Linking>(&self.sealer, Purpose::Link, &[binding], state, headers)?;
        let linking = ticket.content;
        let owner = Owner {
            issuer: Issuer::new(linking.issuer.as_str()),
            subject: Subject::new(linking.subject.as_str()),
        };
        if person != Some(&owner) {
            return Err(LinkError::OtherPerson);
        }
        if !self.ended.takes(ticket.id).await {
            return Err(LinkError::Done);
        }
        let place = self.place_of(provider, &linking).await?;
        let desk = self.desk(provider, &place, server);
        let redeemed = desk.redeem(response, &linking.verifier).await;
        let (answer, client) = redeemed.inspect_err(|_| provider.forget())?;
        let scopes: ScopeSet = linking.scopes.parse().unwrap_or_default();
        let account = Account {
            grant: Some(answer.asked(&scopes)),
            origin: Origin {
                issuer: place.server.issuer.clone(),
                resource: place.resource.clone(),
                token: place.server.token.clone(),
                revocation: place.server.revocation.clone(),
            },
            client,
            linked_at: seconds_now(),
        };
        let before = vault.get(&owner, server).await.ok().flatten();
        vault.put(&owner, server, &account).await?;
        info!(backend.id = %server, "an account was linked");
        // What it replaces is of no use any more, unless it is the very same grant.
        if let Some(before) = before
            && !shares_tokens(&before.account, &account)
        {
            self.revoke(server, &before.account).await;
        }
        Ok(())
    }

    fn desk<'a>(
        &'a self,
        provider: &'a Provider,
        place: &'a Place,
        server: &BackendId,
    ) -> Desk<'a> {
        Desk {
            http: &provider.http,
            place,
            clients: &self.clients,
            given: provider.config.client.as_ref(),
            redirect: self.clients.callback(server),
        }
    }

    /// Who was asked when the flow began.
    async fn place_of(&self, provider: &Provider, linking: &Linking) -> Result<Place, LinkError> {
        let known = provider.place().await?;
        let server = if known.server.issuer == linking.provider {
            known.server.clone()
        } else {
            let server = discover::server(&provider.http, &linking.provider).await;
            server.map_err(LinkError::Provider)?
        };
        Ok(Place {
            resource: linking.resource.clone(),
            scopes: None,
            server,
        })
    }

    /// The URL that has somebody link an account, for those who cannot be sent there directly.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn invite(
        &self,
        owner: &Owner,
        server: &BackendId,
        more: &ScopeSet,
    ) -> Result<Url, LinkError> {
        if !self.providers.contains_key(server) {
            return Err(LinkError::Unknown);
        }
        if self.vault.is_none() {
            return Err(LinkError::NoKey);
        }
        let invited = Invitation {
            issuer: owner.issuer.to_string(),
            subject: owner.subject.to_string(),
            scopes: more.to_string(),
        };
        let text = serde_json::to_vec(&invited).map_err(|_| LinkError::NoRandomness)?;
        let binding = [server.as_str().as_bytes()];
        let sealed = self.sealer.seal(Purpose::Invitation, &binding, &text);
        let sealed = sealed.map_err(|_| LinkError::NoRandomness)?;
        let mut url = self.origin().clone();
        url.set_path(&format!("/api/link/{server}/start"));
        url.query_pairs_mut().append_pair("for", &sealed);
        Ok(url)
    }

    /// Whom an invitation is for, and the scopes that it asks for.
    ///
    /// # Errors
    /// [`LinkError::Foreign`] and [`LinkError::Expired`].
    pub fn invited(
        &self,
        server: &BackendId,
        sealed: &str,
    ) -> Result<(Owner, ScopeSet), LinkError> {
        let binding = [server.as_str().as_bytes()];
        let opened = self.sealer.open(Purpose::Invitation, &binding, sealed);
        let opened = opened.map_err(|error| match error {
            crate::seal::NotOurs::Foreign => LinkError::Foreign,
            crate::seal::NotOurs::Expired => LinkError::Expired,
        })?;
        let invited: Invitation =
            serde_json::from_slice(&opened).map_err(|_| LinkError::Foreign)?;
        let owner = Owner {
            issuer: Issuer::new(invited.issuer),
            subject: Subject::new(invited.subject),
        };
        Ok((owner, invited.scopes.parse().unwrap_or_default()))
    }
}

#[derive(Serialize, Deserialize)]
struct Invitation {
    issuer: String,
    subject: String,
    scopes: String,
}

/// Whether revoking one would end the other.
fn shares_tokens(a: &Account, b: &Account) -> bool {
    let same = |a: Option<&Secret>, b: Option<&Secret>| match (a, b) {
        (Some(a), Some(b)) => a.matches(b.reveal().as_bytes()),
        _ => false,
    };
    let (Some(a), Some(b)) = (&a.grant, &b.grant) else {
        return false;
    };
    same(Some(&a.access), Some(&b.access)) || same(a.refresh.as_ref(), b.refresh.as_ref())
}
