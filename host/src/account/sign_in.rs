//! The flow by which a person signs in to the gateway's own pages: at the gateway's issuer, for an
//! access token of the gateway itself, which is verified like any other and then thrown away. What is
//! left is a sealed cookie that says who it was.

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::code::Desk;
use super::flow::{self, Cookie, Stopped};
use super::link::{Begun, LinkError};
use super::provider::Clients;
use super::{Accounts, Owner, SIGNED_IN};
use crate::config::{Config, StaticClient};
use crate::oauth::ResourceServer;
use crate::oauth_client::authorize::Response;
use crate::oauth_client::discover::{self, Place};
use crate::oauth_client::fetch::Http;
use crate::oauth_client::pkce::{NoRandomness, Pkce};
use crate::outbound::Client;
use crate::seal::Purpose;
use crate::types::{Issuer, ScopeSet, Secret, Subject};

/// Where people sign in.
pub(super) struct SignIn {
    http: Http,
    issuer: String,
    /// The gateway itself: the token must be for it.
    resource: String,
    scopes: ScopeSet,
    client: Option<StaticClient>,
    /// The pool that this gateway is for.
    pool: Option<String>,
}

/// Why somebody is not signed in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// There is nowhere to sign in.
    #[error("this gateway has no authorization server to sign in at")]
    Nowhere,
    /// It does not go on from here.
    #[error(transparent)]
    Stopped(#[from] LinkError),
    /// Whoever it is may not use this gateway.
    #[error("you may not use this gateway")]
    NotAllowed,
    /// The token is not for this gateway, or not good.
    #[error("the authorization server gave a token that is not good here: {0}")]
    BadToken(String),
}

impl From<NoRandomness> for SignInError {
    fn from(_: NoRandomness) -> Self {
        Self::Stopped(LinkError::NoRandomness)
    }
}

impl From<Stopped> for SignInError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped.into())
    }
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub owner: Owner,
    /// How they are called, for themselves to read.
    pub name: String,
}

#[derive(Serialize, Deserialize)]
struct Badge {
    issuer: String,
    subject: String,
    name: String,
}

#[derive(Serialize, Deserialize)]
struct SigningIn {
    verifier: zeroize::Zeroizing<String>,
    /// Path and query of ours to go on with.
    then: String,
}

impl SignIn {
    pub(super) fn new(config: &Config, client: &Client) -> Option<Self> {
        let oauth = config.oauth.as_ref()?;
        let issuer = Url::parse(&oauth.issuer).ok()?;
        Some(Self {
            http: Http::new(client.clone(), &issuer),
            issuer: oauth.issuer.clone(),
            resource: config.canonical_uri.to_string(),
            scopes: oauth.required_scopes.clone(),
            client: config.accounts.client.clone(),
            pool: config.required_pool.clone(),
        })
    }

    async fn place(&self) -> Result<Place, LinkError> {
        let server = discover::server(&self.http, &self.issuer).await;
        Ok(Place {
            resource: self.resource.clone(),
            scopes: None,
            server: server.map_err(LinkError::Provider)?,
        })
    }

    fn desk<'a>(&'a self, clients: &'a Clients, place: &'a Place) -> Desk<'a> {
        Desk {
            http: &self.http,
            place,
            clients,
            given: self.client.as_ref(),
            redirect: clients.at(SIGNED_IN),
        }
    }
}

impl Accounts {
    /// Begins to sign in; `then`: path and query of ours to go on with.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn begin_sign_in(&self, then: &str) -> Result<Begun, SignInError> {
        let sign_in = self.sign_in.as_ref().ok_or(SignInError::Nowhere)?;
        let place = sign_in.place().await?;
        let endpoint = place.server.authorization.as_ref();
        let endpoint = endpoint.ok_or(SignInError::Nowhere)?;
        let desk = sign_in.desk(&self.clients, &place);
        let client = desk.client().await?;
        let pkce = Pkce::new()?;
        let content = SigningIn {
            verifier: zeroize::Zeroizing::new(pkce.verifier.reveal().to_owned()),
            then: then.to_owned(),
        };
        let (state, cookie) = flow::begin(&self.sealer, Purpose::SignIn, &[], SIGNED_IN, content)?;
        let url = desk.authorization(endpoint, &client, &state, &pkce, &sign_in.scopes);
        Ok(Begun { url, cookie })
    }

    /// Ends it: who it is, and where to go on.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn finish_sign_in(
        &self,
        verifier: &ResourceServer,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<(Person, String), SignInError> {
        let sign_in = self.sign_in.as_ref().ok_or(SignInError::Nowhere)?;
        let response = Response::read(query).ok_or(LinkError::Foreign)?;
        let state = response.state().ok_or(LinkError::Foreign)?;
        let ticket = flow::resume::<SigningIn>(&self.sealer, Purpose::SignIn, &[], state, headers)?;
        if !self.ended.takes(ticket.id).await {
            return Err(LinkError::Done.into());
        }
        let place = sign_in.place().await?;
        let desk = sign_in.desk(&self.clients, &place);
        let (answer, _) = desk.redeem(response, &ticket.content.verifier).await?;
        let grant = answer.asked(&sign_in.scopes);
        let verified = verifier.authenticate(&grant.access).await;
        let verified = verified.map_err(|error| SignInError::BadToken(error.to_string()))?;
        let principal = &verified.principal;
        let has_pool = sign_in.pool.is_none() || principal.pool == sign_in.pool;
        if !has_pool || !principal.scopes.contains_all(&sign_in.scopes) {
            return Err(SignInError::NotAllowed);
        }
        let owner = Owner {
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
        };
        let names = [principal.email.clone(), principal.name.clone()];
        let name = names.into_iter().flatten().next();
        let person = Person {
            name: name.unwrap_or_else(|| owner.subject.to_string()),
            owner,
        };
        Ok((person, ticket.content.then))
    }

    /// A cookie that says who is signed in.
    ///
    /// # Errors
    /// [`LinkError::NoRandomness`].
    pub fn badge(&self, person: &Person) -> Result<Cookie, LinkError> {
        let badge = Badge {
            issuer: person.owner.issuer.to_string(),
            subject: person.owner.subject.to_string(),
            name: person.name.chars().take(100).collect(),
        };
        let text = serde_json::to_vec(&badge).map_err(|_| LinkError::NoRandomness)?;
        let sealed = self.sealer.seal(Purpose::Browser, &[], &text);
        let sealed = sealed.map_err(|_| LinkError::NoRandomness)?;
        Ok(Cookie {
            name: self.badge_name().to_owned(),
            value: Secret::new(sealed),
            path: "/".to_owned(),
        })
    }

    /// Who is signed in, by their cookie.
    pub fn person(&self, headers: &HeaderMap) -> Option<Person> {
        let sealed = flow::cookie(headers, self.badge_name())?;
        let opened = self.sealer.open(Purpose::Browser, &[], sealed.reveal());
        let badge: Badge = serde_json::from_slice(&opened.ok()?).ok()?;
        Some(Person {
            owner: Owner {
                issuer: Issuer::new(badge.issuer),
                subject: Subject::new(badge.subject),
            },
            name: badge.name,
        })
    }

    /// What a form of a page brings back, so that no other site can send it (RFC 6749 §10.12).
    pub fn form_word(&self, person: &Person) -> Option<String> {
        let binding = form_binding(person);
        self.sealer.seal(Purpose::Form, &binding, b"").ok()
    }

    /// Whether a form is one that this person was shown.
    pub fn knows_form_word(&self, person: &Person, word: &str) -> bool {
        let binding = form_binding(person);
        self.sealer.open(Purpose::Form, &binding, word).is_ok()
    }

    /// The name of the cookie. Where there is https, no other host and no plain page can set it
    /// (RFC 6265bis §4.1.3.2).
    pub fn badge_name(&self) -> &'static str {
        match self.origin().scheme() {
            "https" => "__Host-cortex-session",
            _ => "cortex-session",
        }
    }
}

fn form_binding(person: &Person) -> [&[u8]; 2] {
    [
        person.owner.issuer.as_str().as_bytes(),
        person.owner.subject.as_str().as_bytes(),
    ]
}
