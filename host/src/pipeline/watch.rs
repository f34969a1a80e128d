//! Tells who wants to know that a resource has changed (MCP 2025-11-25, "Resources",
//! Subscriptions; MCP 2026-07-28, Subscriptions, `resourceSubscriptions`).
//!
//! No backend tells the gateway, so it looks: as the subscriber, in the rhythm of catalog refreshes,
//! and only while somebody listens. What the subscriber may no longer read is not told either. Of several
//! gateways the one where a session listens looks after what it has subscribed to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::debug;

use super::auth::{self, Caller};
use super::elsewhere::{self, NotChanged, Subscribed};
use super::intent::{Action, Asker, Context, Intent};
use super::policy::{self, Permit};
use super::{Gateway, Refusal, adapter};
use crate::mcp::version::ProtocolVersion;
use crate::streams::Channel;
use crate::types::{RequestId, SessionId};

/// Resources that one session or stream can watch.
pub(super) const MAX_OF_ONE: usize = 32;
/// Resources that are watched in all.
const MAX: usize = 10_000;
/// How long a token may be bad before its subscriptions are forgotten: a client that has got a new
/// one needs a moment to listen again.
const GRACE: Duration = Duration::from_secs(300);

/// Who is told.
#[derive(Clone)]
pub(super) enum Listener {
    /// Whoever reads the notification stream of this session.
    Session(SessionId),
    /// Whoever reads this stream.
    Stream(Weak<Channel>),
}

/// All subscriptions.
#[derive(Default)]
pub struct Watches(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next: u64,
    all: HashMap<u64, Watch>,
}

struct Watch {
    listener: Listener,
    uri: String,
    caller: Caller,
    /// A digest of what was there when somebody looked last; none while it could not be had.
    seen: Option<[u8; 32]>,
    bad_since: Option<Instant>,
}

impl Watches {
    /// Forgets what a session that is over has subscribed to.
    pub(super) fn end_session(&self, session: SessionId) {
        self.lock().all.retain(|_, watch| !watch.is_of(session));
    }

    /// What a session has subscribed to, and what was seen of it.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<(String, Option<[u8; 32]>)> {
        let inner = self.lock();
        let of_session = inner.all.values().filter(|watch| watch.is_of(session));
        of_session
            .map(|watch| (watch.uri.clone(), watch.seen))
            .collect()
    }

    /// Looks after what a session has subscribed to, here or elsewhere. `only`: after nothing else.
    pub(super) fn adopt(&self, session: SessionId, caller: &Caller, all: &Subscribed, only: bool) {
        if only {
            let mut inner = self.lock();
            inner
                .all
                .retain(|_, watch| !watch.is_of(session) || all.has(&watch.uri));
        }
        for (uri, seen) in all.iter() {
            let added = self.add(Watch {
                listener: Listener::Session(session),
                uri: uri.to_owned(),
                caller: caller.clone(),
                seen,
                bad_since: None,
            });
            if added.is_err() {
                debug!(session.id = %session, "no room for what a session has subscribed to");
                return;
            }
        }
    }

    /// Forgets one subscription of a session.
    fn unsubscribe(&self, session: SessionId, uri: &str) {
        let mut inner = self.lock();
        inner
            .all
            .retain(|_, watch| !(watch.is_of(session) && watch.uri == uri));
    }

    /// A client listens again, perhaps with a new token.
    pub(super) fn renew(&self, session: SessionId, caller: &Caller) {
        for watch in self.lock().all.values_mut() {
            if watch.is_of(session) {
                watch.caller = caller.clone();
                watch.bad_since = None;
            }
        }
    }

    fn add(&self, watch: Watch) -> Result<(), Refusal> {
        let mut inner = self.lock();
        if let Listener::Session(session) = watch.listener {
            let mut of_session = inner.all.values().filter(|w| w.is_of(session));
            if of_session.clone().any(|w| w.uri == watch.uri) {
                return Ok(());
            }
            if of_session.nth(MAX_OF_ONE - 1).is_some() {
                return Err(Refusal::InvalidParams(format!(
                    "more than {MAX_OF_ONE} subscriptions of one session"
                )));
            }
        }
        if inner.all.len() >= MAX {
            return Err(Refusal::Overloaded);
        }
        inner.next += 1;
        let number = inner.next;
        inner.all.insert(number, watch);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn is_of(&self, session: SessionId) -> bool {
        matches!(self.listener, Listener::Session(of) if of == session)
    }
}

/// Subscribes to a resource that the caller may read.
pub(super) async fn subscribe(
    gw: &Gateway,
    permit: &Permit,
    listener: Listener,
) -> Result<(), Refusal> {
    let intent = permit.intent();
    let Action::Read { uri } = &intent.action else {
        return Err(Refusal::Internal(
            "a subscription to no resource".to_owned(),
        ));
    };
    let seen = look(gw, permit).await;
    if let Listener::Session(session) = listener
        && elsewhere::shared(gw)
    {
        match elsewhere::change(gw, session, |all| all.add(uri, seen)).await {
            // Looked after where it listens.
            Ok(()) if gw.streams.of_session(session).is_none() => return Ok(()),
            Ok(()) => {}
            Err(NotChanged::Away) => gw.elsewhere.subscribed.keep(session, ()),
            Err(NotChanged::Refused(refusal)) => return Err(refusal),
        }
    }
    gw.watches.add(Watch {
        listener,
        uri: uri.clone(),
        caller: intent.asker.caller.clone(),
        seen,
        bad_since: None,
    })
}

/// Ends the subscription of a session to a resource.
pub(super) async fn unsubscribe(
    gw: &Gateway,
    session: SessionId,
    uri: &str,
) -> Result<(), Refusal> {
    gw.watches.unsubscribe(session, uri);
    if !elsewhere::shared(gw) {
        return Ok(());
    }
    let removed = elsewhere::change(gw, session, |all| {
        all.remove(uri);
        Ok(())
    });
    removed.await.map_err(|why| match why {
        // The others would go on telling.
        NotChanged::Away => Refusal::Overloaded,
        NotChanged::Refused(refusal) => refusal,
    })
}

/// The permission to read a resource, if the caller has it.
pub(super) async fn permit(gw: &Gateway, caller: &Caller, uri: &str) -> Result<Permit, Refusal> {
    let entry = gw.catalog.snapshot().resource(uri);
    let entry = entry.ok_or_else(|| Refusal::UnknownResource(uri.to_owned()))?;
    let intent = Intent {
        asker: Asker {
            id: RequestId::new(),
            caller: caller.clone(),
            version: ProtocolVersion::NEWEST_LEGACY,
        },
        entry,
        action: Action::Read {
            uri: uri.to_owned(),
        },
        context: Context::default(),
    };
    policy::permit(&gw.plugins.now(), intent).await
}

/// Looks after all subscriptions, for ever.
pub async fn keep_told(gw: &Gateway) {
    let every = Duration::from_secs(gw.config.refresh_seconds);
    loop {
        tokio::time::sleep(every).await;
        let numbers: Vec<u64> = gw.watches.lock().all.keys().copied().collect();
        for number in numbers {
            if !one(gw, number).await {
                gw.watches.lock().all.remove(&number);
            }
        }
    }
}

/// Looks after one. False: it is over.
async fn one(gw: &Gateway, number: u64) -> bool {
    let (listener, uri, caller) = match gw.watches.lock().all.get(&number) {
        Some(watch) => (
            watch.listener.clone(),
            watch.uri.clone(),
            watch.caller.clone(),
        ),
        None => return false,
    };
    if !auth::is_still_good(gw, &caller).await {
        return match gw.watches.lock().all.get_mut(&number) {
            Some(watch) => watch.bad_since.get_or_insert_with(Instant::now).elapsed() < GRACE,
            None => false,
        };
    }
    let channel: Arc<Channel> = match &listener {
        Listener::Stream(channel) => match channel.upgrade() {
            Some(channel) => channel,
            None => return false,
        },
        // Nobody listens: what changes meanwhile is told when somebody does again, here or elsewhere.
        Listener::Session(session) => match gw.streams.of_session(*session) {
            Some(channel) => channel,
            None => {
                return !elsewhere::shared(gw) || gw.elsewhere.subscribed.of(*session).is_some();
            }
        },
    };
    let Ok(permit) = permit(gw, &caller, &uri).await else {
        return true;
    };
    let Some(now) = look(gw, &permit).await else {
        return true;
    };
    let before = match gw.watches.lock().all.get_mut(&number) {
        Some(watch) => watch.seen.replace(now),
        None => return false,
    };
    if before.is_some_and(|before| before != now) {
        debug!("a resource has changed that somebody watches");
        channel.updated(&uri);
        if let Listener::Session(session) = listener
            && elsewhere::shared(gw)
        {
            elsewhere::note_told(gw, session, &uri, now).await;
        }
    }
    true
}

/// What is there now.
async fn look(gw: &Gateway, permit: &Permit) -> Option<[u8; 32]> {
    let contents = adapter::contents(gw, permit).await?;
    Some(Sha256::digest(contents.as_bytes()).into())
}
