//! Who listens: the open notification streams of both eras.
//!
//! A stream is a reader of a channel. The channel of a legacy session outlives its reader for a
//! while and keeps what that one missed (MCP 2025-11-25, Streamable HTTP, "Resumability and
//! Redelivery"); all other channels end with their reader. A session has one channel, and a
//! channel one reader: no message is sent twice, and whoever comes later replaces who was there,
//! because a client that comes back often comes before anybody notices that it was gone.
//!
//! Knows nothing of who may see what: it is told what each listener sees.

mod channel;
mod event;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use thiserror::Error;

use crate::config::StreamConfig;
use crate::types::{Issuer, Principal, SessionId, Subject};

pub use channel::{Channel, End, Next};
pub use event::{Dialect, EventId, Topic, View};

use channel::Cursor;
use event::ChannelId;

/// Channels without a reader that are kept for their backlog.
const MAX_LEFT: usize = 4_096;

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoStream {
    /// This caller has as many as one may have.
    #[error("too many open streams; close one first")]
    TooManyOfCaller,
    /// There are as many as there may be.
    #[error("too many open streams; try again later")]
    TooMany,
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
    /// The policies do not say what the caller sees, so that no change can be told.
    #[error("what may be seen cannot be told at the moment; try again later")]
    Undecided,
}

/// All channels.
pub struct Hub {
    bounds: StreamConfig,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    channels: HashMap<ChannelId, Arc<Channel>>,
    sessions: HashMap<SessionId, ChannelId>,
    /// Open streams by caller.
    callers: HashMap<(Issuer, Subject), usize>,
    /// Open streams.
    open: usize,
    stopping: bool,
}

/// One open stream.
pub struct Reader {
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    cursor: Cursor,
    caller: (Issuer, Subject),
}

impl Hub {
    /// No streams yet.
    pub fn new(bounds: StreamConfig) -> Self {
        Self {
            bounds,
            inner: Mutex::default(),
        }
    }

    /// Opens a stream that ends with its reader. `view` is what the listener sees now.
    ///
    /// # Errors
    /// [`NoStream`].
    pub fn open(
        self: &Arc<Self>,
        principal: Arc<Principal>,
        dialect: Dialect,
        view: View,
    ) -> Result<Reader, NoStream> {
        let mut inner = self.lock();
        self.check_room(&inner, &principal)?;
        let channel = inner.add(None, dialect, &principal, view);
        Ok(self.read(&mut inner, channel, principal, None).0)
    }

    /// Opens the notification stream of a session, or comes back to it after the event `last`.
    /// Returns also the id that it can be resumed by until there is an event.
    ///
    /// # Errors
    /// [`NoStream`].
    pub fn open_session(
        self: &Arc<Self>,
        session: SessionId,
        principal: Arc<Principal>,
        last: Option<EventId>,
        view: View,
    ) -> Result<(Reader, EventId), NoStream> {
        let mut inner = self.lock();
        let known = inner.sessions.get(&session);
        let known = known.and_then(|id| inner.channels.get(id)).cloned();
        // Who replaces a stream takes its room.
        if !known.as_ref().is_some_and(|channel| channel.is_read()) {
            self.check_room(&inner, &principal)?;
        }
        let channel = match known {
            Some(channel) => channel,
            None => {
                inner.sweep();
                inner.add(Some(session), Dialect::Legacy, &principal, view)
            }
        };
        Ok(self.read(&mut inner, channel, principal, last))
    }

    /// Ends the stream of a session that is over.
    pub fn end_session(&self, session: SessionId) {
        let mut inner = self.lock();
        if let Some(channel) = inner.sessions.get(&session).copied() {
            inner.remove(channel, End::SessionOver);
        }
    }

    /// Ends the stream of a session that listens at another gateway now.
    pub fn taken_over(&self, session: SessionId) {
        let mut inner = self.lock();
        if let Some(channel) = inner.sessions.get(&session).copied() {
            inner.remove(channel, End::Replaced);
        }
    }

    /// How many streams are open, and how many may be.
    pub fn open_streams(&self) -> (usize, usize) {
        (self.lock().open, self.bounds.max)
    }

    /// The channel of a session, if it has one.
    pub fn of_session(&self, session: SessionId) -> Option<Arc<Channel>> {
        let inner = self.lock();
        inner.channels.get(inner.sessions.get(&session)?).cloned()
    }

    /// All channels, also those that nobody reads at the moment.
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        let mut inner = self.lock();
        inner.sweep();
        inner.channels.values().cloned().collect()
    }

    /// Ends all streams; no new one is opened.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        for channel in inner.channels.values() {
            channel.end(End::Stopping);
        }
    }

    fn check_room(&self, inner: &Inner, principal: &Principal) -> Result<(), NoStream> {
        let of_caller = inner.callers.get(&caller(principal)).copied();
        if inner.stopping {
            Err(NoStream::Stopping)
        } else if of_caller.unwrap_or_default() >= self.bounds.max_per_caller {
            Err(NoStream::TooManyOfCaller)
        } else if inner.open >= self.bounds.max {
            Err(NoStream::TooMany)
        } else {
            Ok(())
        }
    }

    fn read(
        self: &Arc<Self>,
        inner: &mut Inner,
        channel: Arc<Channel>,
        principal: Arc<Principal>,
        last: Option<EventId>,
    ) -> (Reader, EventId) {
        let caller = caller(&principal);
        if !channel.is_read() {
            *inner.callers.entry(caller.clone()).or_default() += 1;
            inner.open += 1;
        }
        let (cursor, id) = channel.attach(principal, last);
        let reader = Reader {
            hub: Arc::clone(self),
            channel,
            cursor,
            caller,
        };
        (reader, id)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(
        &mut self,
        session: Option<SessionId>,
        dialect: Dialect,
        principal: &Arc<Principal>,
        view: View,
    ) -> Arc<Channel> {
        // 64 random bits of a new UUID.
        let id = ChannelId(uuid::Uuid::now_v7().as_u64_pair().1);
        let channel = Channel::new(id, session, dialect, Arc::clone(principal), view);
        let channel = Arc::new(channel);
        self.channels.insert(id, Arc::clone(&channel));
        if let Some(session) = session {
            self.sessions.insert(session, id);
        }
        channel
    }

    fn remove(&mut self, id: ChannelId, end: End) {
        if let Some(channel) = self.channels.remove(&id) {
            if let Some(session) = channel.session {
                self.sessions.remove(&session);
            }
            channel.end(end);
        }
    }

    /// Forgets channels that nobody will come back to.
    fn sweep(&mut self) {
        let now = Instant::now();
        let left = self.channels.values().filter(|channel| !channel.is_read());
        // Of too many any may go: by its event id a client learns whether it missed anything.
        let forgotten: Vec<_> = left
            .enumerate()
            .filter(|(n, channel)| *n >= MAX_LEFT || channel.is_stale(now))
            .map(|(_, channel)| channel.id)
            .collect();
        for id in forgotten {
            self.remove(id, End::SessionOver);
        }
    }

    fn leave(&mut self, caller: &(Issuer, Subject)) {
        self.open = self.open.saturating_sub(1);
        if let Some(streams) = self.callers.get_mut(caller) {
            *streams -= 1;
            if *streams == 0 {
                self.callers.remove(caller);
            }
        }
    }
}

impl Reader {
    /// What it listens to.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What it listens to, for who keeps it.
    pub fn shared(&self) -> Arc<Channel> {
        Arc::clone(&self.channel)
    }

    /// Waits for what comes next. May be dropped and called again.
    pub async fn next(&mut self) -> Next {
        self.channel.next(&mut self.cursor).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        // A newer reader has taken over the room.
        if self.channel.detach(self.cursor) {
            inner.leave(&self.caller);
            if self.channel.session.is_none() {
                inner.remove(self.channel.id, End::SessionOver);
            }
        }
    }
}

fn caller(principal: &Principal) -> (Issuer, Subject) {
    (principal.issuer.clone(), principal.subject.clone())
}

#[cfg(test)]
mod tests;
