//! What a session has subscribed to, for whichever gateway it listens at: that one looks after the resources.
//!
//! A record for each session, sealed. Whoever changes it holds its lease meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::parcel::{self, NotLeft};
use super::{News, tell};
use crate::fleet::Shelf;
use crate::pipeline::auth::Caller;
use crate::pipeline::watch::MAX_OF_ONE;
use crate::pipeline::{Gateway, Refusal};
use crate::seal::Purpose;
use crate::streams::Channel;
use crate::types::SessionId;

/// After the death of who changes a record, others wait for so long.
const LEASE: Duration = Duration::from_secs(5);
/// Longest that is waited for a record.
const PATIENCE: Duration = Duration::from_secs(3);
/// What was told at another gateway within this time is told again where the client listens next: it may not have
/// arrived. As long as streams keep what they told.
const AGAIN: Duration = Duration::from_secs(300);

/// A digest of a resource.
pub(in crate::pipeline) type Digest = [u8; 32];

/// What a session has subscribed to, by URI.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Subscribed(BTreeMap<String, Seen>);

/// What was seen of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// None while it could not be had.
    digest: Option<Digest>,
    /// When the session was last told of a change, in seconds since 1970.
    told: Option<u64>,
}

/// Why a record was not changed.
pub(in crate::pipeline) enum NotChanged {
    /// The others cannot be reached.
    Away,
    /// It must not be.
    Refused(Refusal),
}

impl Subscribed {
    /// Adds a resource; what is there stays.
    pub(in crate::pipeline) fn add(
        &mut self,
        uri: &str,
        digest: Option<Digest>,
    ) -> Result<(), Refusal> {
        if self.0.len() >= MAX_OF_ONE && !self.0.contains_key(uri) {
            return Err(Refusal::InvalidParams(format!(
                "more than {MAX_OF_ONE} subscriptions of one session"
            )));
        }
        let seen = Seen { digest, told: None };
        self.0.entry(uri.to_owned()).or_insert(seen);
        Ok(())
    }

    /// Takes a resource out.
    pub(in crate::pipeline) fn remove(&mut self, uri: &str) {
        self.0.remove(uri);
    }

    /// Resources, and what was seen of them.
    pub(in crate::pipeline) fn iter(&self) -> impl Iterator<Item = (&str, Option<Digest>)> {
        self.0.iter().map(|(uri, seen)| (uri.as_str(), seen.digest))
    }

    pub(in crate::pipeline) fn has(&self, uri: &str) -> bool {
        self.0.contains_key(uri)
    }
}

/// Whether what a session subscribes to is told to other gateways.
pub(in crate::pipeline) fn shared(gw: &Gateway) -> bool {
    !gw.fleet.is_alone()
}

/// Changes what a session has subscribed to, for all gateways.
pub(in crate::pipeline) async fn change(
    gw: &Gateway,
    session: SessionId,
    how: impl FnOnce(&mut Subscribed) -> Result<(), Refusal>,
) -> Result<(), NotChanged> {
    let name = [b"subscriptions:", session.as_bytes().as_slice()].concat();
    let key = session.as_bytes();
    let changing = async {
        let away = |_| NotChanged::Away;
        let _lease = gw.fleet.lease(&name, LEASE).await.map_err(away)?;
        let found = parcel::look(gw, Shelf::Subscriptions, key).await;
        let mut all: Subscribed = found.map_err(away)?.unwrap_or_default();
        how(&mut all).map_err(NotChanged::Refused)?;
        if all.0.is_empty() {
            return gw
                .fleet
                .remove(Shelf::Subscriptions, key)
                .await
                .map_err(away);
        }
        let life = Purpose::Session.life();
        let left = parcel::leave(gw, Shelf::Subscriptions, key, &all, life).await;
        left.map_err(|why| match why {
            NotLeft::TooLarge => NotChanged::Refused(Refusal::InvalidParams(
                "the addresses of all subscribed resources are too long together".to_owned(),
            )),
            NotLeft::Away(_) | NotLeft::Unfit(_) => NotChanged::Away,
        })
    };
    let changed = tokio::time::timeout(PATIENCE, changing).await;
    changed.unwrap_or(Err(NotChanged::Away))?;
    tell(gw, &News::Subscribed(session));
    Ok(())
}

/// A session was told here of a change: where it listens next, it is not told of that one.
pub(in crate::pipeline) async fn note_told(
    gw: &Gateway,
    session: SessionId,
    uri: &str,
    digest: Digest,
) {
    let changed = change(gw, session, |all| {
        if let Some(seen) = all.0.get_mut(uri) {
            *seen = Seen {
                digest: Some(digest),
                told: Some(now()),
            };
        }
        Ok(())
    });
    if changed.await.is_err() {
        debug!(session.id = %session, "the other gateways are not told of what this session was told");
    }
}

/// A session that has begun to listen here: looks after what it has subscribed to, wherever that was.
pub(super) async fn take_over(
    gw: &Gateway,
    session: SessionId,
    caller: &Caller,
    channel: &Arc<Channel>,
) {
    let Some(all) = adopt(gw, session, caller).await else {
        return;
    };
    let recent = now().saturating_sub(AGAIN.as_secs());
    for (uri, seen) in &all.0 {
        // What was told here waits on the stream itself.
        if seen.told.is_some_and(|told| told >= recent) && channel.is_new() {
            channel.updated(uri);
        }
    }
}

/// What a session that listens here has subscribed to may have changed.
pub(super) async fn look_at(gw: &Gateway, session: SessionId) {
    if let Some(listener) = gw.elsewhere.listeners.of(session) {
        adopt(gw, session, &listener.caller).await;
    }
}

/// The same, of all of them.
pub(super) async fn look(gw: &Gateway) {
    for session in gw.elsewhere.listeners.sessions() {
        look_at(gw, session).await;
    }
}

/// Tells the others of subscriptions that they do not know yet.
pub(super) async fn tell_late(gw: &Gateway) {
    for (session, ()) in gw.elsewhere.subscribed.take_all() {
        let own = gw.watches.of_session(session);
        let changed = change(gw, session, |all| {
            own.iter()
                .try_for_each(|(uri, digest)| all.add(uri, *digest))
        });
        if let Err(NotChanged::Away) = changed.await {
            gw.elsewhere.subscribed.keep(session, ());
        }
    }
}

async fn adopt(gw: &Gateway, session: SessionId, caller: &Caller) -> Option<Subscribed> {
    let found = parcel::look(gw, Shelf::Subscriptions, session.as_bytes()).await;
    // While the others cannot be asked, what is known here stays.
    let all: Subscribed = found.ok()?.unwrap_or_default();
    let only = gw.elsewhere.subscribed.of(session).is_none();
    gw.watches.adopt(session, caller, &all, only);
    Some(all)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_subscribed_to_twice_is_once_and_there_is_a_bound() {
        let mut all = Subscribed::default();
        let added = all.add("a://1", Some([1; 32]));
        assert!(added.is_ok() && all.add("a://1", None).is_ok());
        assert_eq!(
            all.iter().collect::<Vec<_>>(),
            [("a://1", Some([1; 32]))],
            "what was seen first stays"
        );
        for n in 2..=MAX_OF_ONE {
            assert!(all.add(&format!("a://{n}"), None).is_ok());
        }
        assert!(all.add("a://more", None).is_err());
        assert!(all.add("a://2", None).is_ok(), "it is there already");
        all.remove("a://2");
        assert!(!all.has("a://2") && all.add("a://more", None).is_ok());
        let text = serde_json::to_vec(&all).expect("text");
        assert_eq!(serde_json::from_slice::<Subscribed>(&text).ok(), Some(all));
    }
}
