//! One channel: what is told to one listener, in order, and what it may ask for again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::event::{ChannelId, Dialect, EventId, View};
use crate::mcp::sse;
use crate::types::{Principal, SessionId};

/// Events that wait for a reader, or can be asked for again.
const MAX_EVENTS: usize = 64;
/// Their bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How long an event can be asked for again.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The gateway stops.
    Stopping,
    /// The session is over.
    SessionOver,
    /// The same client listens by a newer stream.
    Replaced,
    /// The reader was too slow, and events are lost to it.
    TooSlow,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame to send.
    Frame(Bytes),
    /// Nothing more.
    End(End),
}

/// One channel.
pub struct Channel {
    pub(super) id: ChannelId,
    /// The session whose notification stream it is. Only such a channel can be resumed.
    pub(super) session: Option<SessionId>,
    dialect: Dialect,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    /// Who listens. A newer token may have made another principal of the same subject.
    principal: Arc<Principal>,
    /// What the listener was last told of, and of which catalog generation.
    view: View,
    generation: u64,
    events: VecDeque<Event>,
    bytes: usize,
    /// Number of the next event.
    next: u64,
    /// Number of the first event that no reader has been given.
    unread: u64,
    /// Number of the newest reader. Older ones have been replaced.
    reader: u64,
    /// Since when nobody reads.
    left: Option<Instant>,
    end: Option<End>,
}

struct Event {
    number: u64,
    when: Instant,
    frame: Bytes,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// Which reader it is.
    reader: u64,
    /// Number of the event that it wants next.
    event: u64,
}

impl Channel {
    pub(super) fn new(
        id: ChannelId,
        session: Option<SessionId>,
        dialect: Dialect,
        principal: Arc<Principal>,
        view: View,
    ) -> Self {
        let state = State {
            principal,
            view,
            generation: 0,
            events: VecDeque::new(),
            bytes: 0,
            next: 1,
            unread: 1,
            reader: 0,
            left: Some(Instant::now()),
            end: None,
        };
        Self {
            id,
            session,
            dialect,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    /// Who listens.
    pub fn principal(&self) -> Arc<Principal> {
        Arc::clone(&self.lock().principal)
    }

    /// Tells the listener what looks different now. What a view of an older generation shows is
    /// told already.
    pub fn look(&self, view: View, generation: u64) {
        let mut state = self.lock();
        if generation < state.generation {
            return;
        }
        let before = std::mem::replace(&mut state.view, view);
        state.generation = generation;
        for topic in before.differs(view) {
            if let Some(text) = self.dialect.list_changed(topic) {
                self.push(&mut state, &text);
            }
        }
        drop(state);
        self.wake.notify_waiters();
    }

    /// Tells the listener that a resource has changed.
    pub fn updated(&self, uri: &str) {
        let text = self.dialect.updated(uri);
        self.push(&mut self.lock(), &text);
        self.wake.notify_waiters();
    }

    /// Makes somebody the reader: from the event after the one last seen, or else from the first
    /// that nobody was given. Returns the cursor, and the id to resume by until there is an event.
    pub(super) fn attach(
        &self,
        principal: Arc<Principal>,
        last: Option<EventId>,
    ) -> (Cursor, EventId) {
        let mut state = self.lock();
        state.principal = principal;
        state.reader += 1;
        state.left = None;
        state.forget();
        let kept = state.first();
        let mut from = state.unread.max(kept);
        if let Some(last) = last {
            if last.channel == self.id && last.number < state.next && last.number + 1 >= kept {
                from = last.number + 1;
            } else {
                // What it missed is gone, but not what it saw last.
                from = state.next;
                state.view = last.view;
                state.generation = 0;
            }
        }
        let cursor = Cursor {
            reader: state.reader,
            event: from,
        };
        let id = EventId {
            channel: self.id,
            number: from - 1,
            // Before the events that follow. Unknown is unlike anything.
            view: match last {
                _ if from == state.next => state.view,
                Some(last) => last.view,
                None => View::default(),
            },
        };
        drop(state);
        // An older reader learns that it was replaced.
        self.wake.notify_waiters();
        (cursor, id)
    }

    /// Notes that a reader is gone. Returns whether it was the newest.
    pub(super) fn detach(&self, cursor: Cursor) -> bool {
        let mut state = self.lock();
        let newest = state.reader == cursor.reader && state.left.is_none();
        if newest {
            state.left = Some(Instant::now());
        }
        newest
    }

    /// Whether nobody but its first reader has read it.
    pub fn is_new(&self) -> bool {
        self.lock().reader <= 1
    }

    /// Whether somebody reads.
    pub(super) fn is_read(&self) -> bool {
        self.lock().left.is_none()
    }

    /// Whether nobody has read for so long that nobody will ask for anything again.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let left = self.lock().left;
        left.is_some_and(|left| now.saturating_duration_since(left) > MAX_AGE)
    }

    /// Ends it for whoever reads.
    pub(super) fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.wake.notify_waiters();
    }

    /// Waits for what a reader gets next. May be dropped and called again.
    pub(super) async fn next(&self, cursor: &mut Cursor) -> Next {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            // From here on no call is missed.
            woken.as_mut().enable();
            if let Some(next) = self.poll(cursor) {
                return next;
            }
            woken.await;
        }
    }

    fn poll(&self, cursor: &mut Cursor) -> Option<Next> {
        let mut state = self.lock();
        if state.reader != cursor.reader {
            return Some(Next::End(End::Replaced));
        }
        let first = state.first();
        if cursor.event < first {
            return Some(Next::End(End::TooSlow));
        }
        let index = usize::try_from(cursor.event - first).ok()?;
        if let Some(event) = state.events.get(index) {
            let frame = event.frame.clone();
            cursor.event += 1;
            state.unread = state.unread.max(cursor.event);
            if self.session.is_none() {
                // Nobody can ask for it again.
                state.drop_first();
            }
            return Some(Next::Frame(frame));
        }
        state.end.map(Next::End)
    }

    fn push(&self, state: &mut State, text: &str) {
        let number = state.next;
        state.next += 1;
        let frame = if self.session.is_some() {
            let id = EventId {
                channel: self.id,
                number,
                view: state.view,
            };
            sse::message_with_id(&id.to_string(), text)
        } else {
            sse::message(text)
        };
        state.bytes += frame.len();
        state.events.push_back(Event {
            number,
            when: Instant::now(),
            frame: frame.into(),
        });
        state.forget();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Number of the first event that is still there, or of the next one.
    fn first(&self) -> u64 {
        self.events.front().map_or(self.next, |event| event.number)
    }

    /// Drops what is too much or too old.
    fn forget(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.events.front() {
            let old = now.saturating_duration_since(first.when) > MAX_AGE;
            if self.events.len() <= MAX_EVENTS && self.bytes <= MAX_BYTES && !old {
                break;
            }
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.frame.len();
        }
    }
}
