//! Sessions that were opened lately. A client brings the same text with each request, and to open it anew takes longer
//! than all the rest that is done about a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::Session;
use crate::types::{Issuer, Principal, Subject};

/// As many as are remembered at most, a power of two.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 12;
/// How long one is used without being opened anew: by so much it may outlive its seal.
const HOLDS: Duration = Duration::from_secs(60);

/// Remembers opened sessions, each at the one place that its text has: whoever comes there next takes it.
pub struct Recent(Box<[ArcSwapOption<One>]>);

struct One {
    text: Box<str>,
    issuer: Issuer,
    subject: Subject,
    session: Arc<Session>,
    since: Instant,
}

impl Default for Recent {
    fn default() -> Self {
        Self((0..PLACES).map(|_| ArcSwapOption::empty()).collect())
    }
}

impl Recent {
    /// The session that this caller was given this text for, if it was opened lately.
    pub(super) fn find(
        &self,
        principal: &Principal,
        text: &str,
        now: Instant,
    ) -> Option<Arc<Session>> {
        let found = self.place(text)?.load();
        let one = found.as_ref()?;
        // Whose it is comes first: only to its owner the time that this takes tells anything.
        let known = one.subject == principal.subject
            && one.issuer == principal.issuer
            && *one.text == *text
            && now.saturating_duration_since(one.since) < HOLDS;
        known.then(|| Arc::clone(&one.session))
    }

    /// It was opened.
    pub(super) fn keep(
        &self,
        principal: &Principal,
        text: &str,
        session: &Arc<Session>,
        now: Instant,
    ) {
        let Some(place) = self.place(text) else {
            return;
        };
        place.store(Some(Arc::new(One {
            text: text.into(),
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            session: Arc::clone(session),
            since: now,
        })));
    }

    /// By the end of the text, the tag of its seal, which is as good as random.
    fn place(&self, text: &str) -> Option<&ArcSwapOption<One>> {
        /// 2^64 divided by the golden ratio: spreads over the high bits what differs anywhere.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let end = u64::from_le_bytes(*text.as_bytes().last_chunk()?);
        let place = end.wrapping_mul(SPREAD) >> (u64::BITS - PLACE_BITS);
        self.0.get(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::capabilities::ClientCapabilities;
    use crate::mcp::version::ProtocolVersion;
    use crate::types::SessionId;

    fn session() -> Arc<Session> {
        Arc::new(Session {
            id: SessionId::new(),
            version: ProtocolVersion::NEWEST_LEGACY,
            capabilities: ClientCapabilities::default(),
            client: None,
        })
    }

    #[test]
    fn an_opened_session_is_found_by_its_owner_alone_and_for_a_while() {
        let (recent, now, session) = (Recent::default(), Instant::now(), session());
        let alice = Principal::known_by("https://issuer.test", "alice");
        recent.keep(&alice, "the-text-of-alice", &session, now);

        let found = recent.find(&alice, "the-text-of-alice", now);
        assert_eq!(found.map(|found| found.id), Some(session.id));
        for other in [
            Principal::known_by("https://issuer.test", "bob"),
            Principal::known_by("https://other.test", "alice"),
        ] {
            assert!(recent.find(&other, "the-text-of-alice", now).is_none());
        }
        // The same end, and so the same place.
        assert!(recent.find(&alice, "another-text-of-alice", now).is_none());
        for nothing in ["", "short", "a text that nobody was given"] {
            assert!(recent.find(&alice, nothing, now).is_none(), "{nothing:?}");
        }
        let later = now + HOLDS;
        assert!(recent.find(&alice, "the-text-of-alice", later).is_none());
    }

    #[test]
    fn who_comes_to_a_place_takes_it_and_what_is_too_short_has_none() {
        let (recent, now) = (Recent::default(), Instant::now());
        let alice = Principal::known_by("https://issuer.test", "alice");
        let (first, second) = (session(), session());
        recent.keep(&alice, "the-text-of-alice", &first, now);
        recent.keep(&alice, "another-text-of-alice", &second, now);
        assert!(recent.find(&alice, "the-text-of-alice", now).is_none());
        let found = recent.find(&alice, "another-text-of-alice", now);
        assert_eq!(found.map(|found| found.id), Some(second.id));
        recent.keep(&alice, "short", &first, now);
        assert!(recent.find(&alice, "short", now).is_none());
    }
}
