//! The user's login at the authorization server of an MCP server (MCP 2026-07-28, Authorization).
//!
//! Nothing happens before the server asks for a token. Then what an earlier login left is used, or
//! refreshed; only where that fails is the user asked. A login goes on when the request that
//! caused it was given up: clients lose patience sooner than people find their password.

mod code;
mod device;
mod loopback;
mod store;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{info, warn};
use url::Url;

use super::access::Next;
use crate::outbound::Client;
use crate::types::{ScopeSet, Secret};

pub(super) use crate::oauth_client::Challenge;
use crate::oauth_client::discover::{self, Place};
use crate::oauth_client::fetch::Http;
use crate::oauth_client::register::{self, About, Registrar};
use crate::oauth_client::token::{self, Grant};
use store::{Locked, Store};

/// A token is refreshed this long before it expires.
const EARLY: u64 = 60;
/// After a failed login, requests fail at once for this long instead of opening the browser anew.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// Why there is no token. The texts go to the client and tell the user what to do.
#[derive(Debug, Error)]
pub(super) enum LoginError {
    /// It is not known where to log in.
    #[error("cannot log in: {0}; or set CORTEX_STDIO_TOKEN")]
    Discovery(#[from] discover::DiscoverError),
    /// There is no client id.
    #[error("cannot log in: {0}; give a client id that it knows, with --client-id")]
    Registration(#[from] register::RegisterError),
    /// The loopback flow failed.
    #[error("the login failed: {0}; try again")]
    Code(#[from] code::CodeError),
    /// The device flow failed.
    #[error("the login failed: {0}; try again")]
    Device(#[from] device::DeviceError),
    /// The token cannot be refreshed now.
    #[error("the login cannot be renewed: {0}; try again")]
    Refresh(token::TokenError),
    /// Tokens cannot be kept.
    #[error("cannot keep tokens in `{path}`: {source}")]
    Store {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The login ended badly.
    #[error("the login ended unexpectedly; try again")]
    Ended,
}

/// How the user wants to log in.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    /// A client id that the authorization server knows.
    pub(super) client_id: Option<String>,
    /// Its secret.
    pub(super) client_secret: Option<Secret>,
    /// The scopes to ask for.
    pub(super) scopes: Option<ScopeSet>,
    /// By a code that is entered on another device.
    pub(super) device: bool,
    /// A browser may be opened.
    pub(super) browser: bool,
    /// Port of the loopback redirect; 0: any.
    pub(super) callback_port: u16,
}

/// The login at one MCP server.
pub(super) struct Login {
    http: Http,
    url: Url,
    wishes: Wishes,
    dir: PathBuf,
    current: Mutex<Option<Arc<Grant>>>,
    /// Held by whoever changes the token.
    changing: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    place: Option<Arc<Place>>,
    /// What was asked for by this process, granted or not.
    asked: ScopeSet,
    failed: Option<(Instant, Arc<LoginError>)>,
}

type Outcome<T> = Result<T, Arc<LoginError>>;

impl Login {
    pub(super) fn new(client: Client, url: Url, wishes: Wishes, dir: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            http: Http::new(client, &url),
            url,
            wishes,
            dir,
            current: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The token of the moment, refreshed when it is about to expire.
    pub(super) async fn token(self: &Arc<Self>) -> Outcome<Option<Secret>> {
        let Some(grant) = self.current() else {
            return Ok(None);
        };
        if grant.lives_for(EARLY) || grant.refresh.is_none() {
            return Ok(Some(grant.access.clone()));
        }
        let refreshed = self.in_background(move |login| async move {
            let mut state = login.changing.lock().await;
            login.refresh(&mut state, &grant.access).await
        });
        match refreshed.await {
            Ok(_) => {}
            // As long as it lives it can be used.
            Err(error) if self.current().is_some_and(|grant| grant.lives_for(0)) => {
                warn!("{error}");
            }
            Err(error) => return Err(error),
        }
        Ok(self.current().map(|grant| grant.access.clone()))
    }

    /// After 401: gets another token than `used`.
    pub(super) async fn renew(
        self: &Arc<Self>,
        used: Option<&Secret>,
        challenge: Challenge,
    ) -> Outcome<Next> {
        let used = used.cloned();
        let renewing = self.in_background(move |login| async move {
            let mut state = login.changing.lock().await;
            if login.has_changed(used.as_ref()) {
                return Ok(Next::Retry);
            }
            login.discovered(&mut state, &challenge).await?;
            let none = Secret::new(String::new());
            if login
                .refresh(&mut state, used.as_ref().unwrap_or(&none))
                .await?
            {
                return Ok(Next::Retry);
            }
            let scopes = challenge.scopes().cloned();
            login
                .log_in(&mut state, used.as_ref(), scopes, None)
                .await?;
            Ok(Next::Retry)
        });
        renewing.await
    }

    /// After 403 for want of scopes: asks for them and all that there are already.
    pub(super) async fn step_up(
        self: &Arc<Self>,
        used: Option<&Secret>,
        challenge: Challenge,
    ) -> Outcome<Next> {
        let used = used.cloned();
        let stepping = self.in_background(move |login| async move {
            let mut state = login.changing.lock().await;
            if login.has_changed(used.as_ref()) {
                return Ok(Next::Retry);
            }
            let needed = challenge.scopes().cloned().unwrap_or_default();
            if needed.is_empty() || state.asked.contains_all(&needed) {
                // Asked for, and not granted: asking again would only annoy.
                return Ok(Next::GiveUp);
            }
            login.discovered(&mut state, &challenge).await?;
            login
                .log_in(&mut state, used.as_ref(), None, Some(&needed))
                .await?;
            Ok(Next::Retry)
        });
        stepping.await
    }

    /// Runs something to its end even if nobody waits for it any more.
    async fn in_background<T, F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let outcome = tokio::spawn(work(Arc::clone(self))).await;
        outcome.unwrap_or_else(|_| Err(Arc::new(LoginError::Ended)))
    }

    fn current(&self) -> Option<Arc<Grant>> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, grant: Grant) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(grant));
    }

    /// Whether there is another token than this by now.
    fn has_changed(&self, used: Option<&Secret>) -> bool {
        self.current().is_some_and(|grant| {
            !used.is_some_and(|used| grant.access.matches(used.reveal().as_bytes()))
        })
    }

    async fn discovered(&self, state: &mut State, challenge: &Challenge) -> Outcome<Arc<Place>> {
        if let Some(place) = &state.place {
            return Ok(Arc::clone(place));
        }
        let place = discover::find(&self.http, &self.url, challenge).await;
        let place = Arc::new(place.map_err(|error| Arc::new(error.into()))?);
        state.place = Some(Arc::clone(&place));
        Ok(place)
    }

    /// Takes a token that another process got meanwhile, or refreshes what there is. False: there
    /// is nothing to refresh, or it is no good any more.
    async fn refresh(&self, state: &mut State, used: &Secret) -> Outcome<bool> {
        let Some(place) = state.place.clone() else {
            return Ok(false);
        };
        if self.has_changed(Some(used)) {
            return Ok(true);
        }
        let mut kept = self.lock(&place).await?;
        let Some(grant) = kept.content.grant.clone() else {
            return Ok(false);
        };
        if !grant.access.matches(used.reveal().as_bytes()) && grant.lives_for(EARLY) {
            self.set(grant);
            return Ok(true);
        }
        let (Some(refresh), Some(client)) = (&grant.refresh, kept.content.client.clone()) else {
            return Ok(false);
        };
        let refreshed = token::refresh(&self.http, &place, &client, refresh).await;
        match refreshed.map(|answer| answer.after(&grant)) {
            Ok(fresh) => {
                // Kept before it is used: the old refresh token may be worth nothing from now on.
                kept.content.grant = Some(fresh.clone());
                self.save(kept).await?;
                self.set(fresh);
                Ok(true)
            }
            Err(error) if error.is_final() => {
                info!("the login at {} has ended: {error}", place.server.issuer);
                kept.content.grant = None;
                self.save(kept).await?;
                Ok(false)
            }
            Err(error) => Err(Arc::new(LoginError::Refresh(error))),
        }
    }

    /// Asks the user. `more`: in addition to what is granted already.
    async fn log_in(
        &self,
        state: &mut State,
        used: Option<&Secret>,
        challenged: Option<ScopeSet>,
        more: Option<&ScopeSet>,
    ) -> Outcome<()> {
        if let Some((when, error)) = &state.failed
            && when.elapsed() < COOL_DOWN
        {
            return Err(Arc::clone(error));
        }
        let Some(place) = state.place.clone() else {
            return Err(Arc::new(LoginError::Ended));
        };
        let mut kept = self.lock(&place).await?;
        // Another process may have done it while this one waited for the lock.
        if let Some(grant) = &kept.content.grant
            && !used.is_some_and(|used| grant.access.matches(used.reveal().as_bytes()))
            && grant.lives_for(EARLY)
            && more.is_none_or(|more| grant.scopes.contains_all(more))
        {
            self.set(grant.clone());
            return Ok(());
        }
        let mut scopes = (self.wishes.scopes.clone())
            .or(challenged)
            .or_else(|| place.scopes.clone())
            .unwrap_or_default();
        if let Some(grant) = self.current() {
            scopes = scopes.union(&grant.scopes);
        }
        if let Some(more) = more {
            scopes = scopes.union(more);
        }
        state.asked = state.asked.union(&scopes);
        match self.ask(&place, &mut kept, &scopes).await {
            Ok(grant) => {
                kept.content.grant = Some(grant.clone());
                self.save(kept).await?;
                self.set(grant);
                state.failed = None;
                info!("logged in at {}", place.server.issuer);
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                warn!("{error}");
                // A client id that was made for us may have been forgotten there.
                kept.content.client = None;
                self.save(kept).await?;
                // And it may have moved.
                state.place = None;
                state.failed = Some((Instant::now(), Arc::clone(&error)));
                Err(error)
            }
        }
    }

    async fn ask(
        &self,
        place: &Place,
        kept: &mut Locked,
        scopes: &ScopeSet,
    ) -> Result<Grant, LoginError> {
        let registrar = Registrar {
            http: &self.http,
            server: &place.server,
            given: (self.wishes.client_id.as_deref())
                .map(|id| (id, self.wishes.client_secret.as_ref())),
            about: About {
                name: "Cortex Gateway (stdio)",
                kind: "native",
            },
        };
        let scopes = place.server.with_offline_access(scopes);
        let by_device = place.server.device.is_some()
            && (self.wishes.device || !self.wishes.browser || place.server.authorization.is_none());
        if by_device {
            let client = registrar.for_device(kept.content.client.take()).await?;
            kept.content.client = Some(client.clone());
            return Ok(device::log_in(&self.http, place, &client, &scopes).await?);
        }
        if self.wishes.device {
            warn!(
                "{} has no device flow; the browser is used",
                place.server.issuer
            );
        }
        let flow = code::Flow::begin(
            registrar,
            kept.content.client.take(),
            self.wishes.callback_port,
        );
        let flow = flow.await?;
        kept.content.client = Some(flow.client().clone());
        Ok(flow
            .log_in(&self.http, place, &scopes, self.wishes.browser)
            .await?)
    }

    async fn lock(&self, place: &Place) -> Outcome<Locked> {
        let store = Store::new(
            &self.dir,
            &place.server.issuer,
            &place.resource,
            self.wishes.client_id.as_deref(),
        );
        let path = store.path().to_owned();
        let locked = store.lock().await;
        locked.map_err(|source| Arc::new(LoginError::Store { path, source }))
    }

    async fn save(&self, kept: Locked) -> Outcome<()> {
        let path = kept.path().to_owned();
        let saved = kept.save().await;
        saved.map_err(|source| Arc::new(LoginError::Store { path, source }))
    }
}
