//! What an engine has to do that several gateways share.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::gcra::{Rule, Spent};
use super::{InstanceId, Shelf};

/// Why an engine did not do something.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Trouble {
    /// It cannot be reached, or not be used by anybody now: connect again.
    #[error("{0}")]
    Lost(String),
    /// It said no to this one thing.
    #[error("{0}")]
    Refused(String),
}

/// An engine. Its functions are asked only after [`Engine::connect`]; deadlines are those of who asks.
#[async_trait]
pub(super) trait Engine: Send + Sync {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Connects, in the place of earlier connections, and listens to the news. Whoever tells something after
    /// this has returned is heard.
    async fn connect(&self) -> Result<Box<dyn Listener>, Trouble>;

    /// Lets go of the connections.
    fn disconnect(&self);

    /// The name of the time since everything was lost at last; `fresh`, if it has none yet.
    async fn epoch(&self, fresh: &str) -> Result<Vec<u8>, Trouble>;

    async fn put(
        &self,
        shelf: Shelf,
        key: &[u8],
        value: &[u8],
        lives: Duration,
    ) -> Result<(), Trouble>;

    async fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble>;

    async fn take(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble>;

    async fn all(&self, shelf: Shelf, limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Trouble>;

    async fn claim(&self, shelf: Shelf, key: &[u8], lives: Duration) -> Result<bool, Trouble>;

    /// Gives a lease to a holder, for the first time or again. False: it is somebody else's.
    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Trouble>;

    /// Ends a lease, if it is this holder's.
    async fn release(&self, name: &[u8], holder: Holder) -> Result<(), Trouble>;

    async fn spend(&self, key: &[u8], rule: Rule) -> Result<Spent, Trouble>;

    /// Sends to everybody who listens, this instance included.
    async fn publish(&self, envelope: &[u8]) -> Result<(), Trouble>;
}

/// The news as they come.
#[async_trait]
pub(super) trait Listener: Send {
    /// Waits for the next envelope. Fails when the connection is dead, also when that can only be found out by
    /// asking. Not to be dropped and called again.
    async fn next(&mut self) -> Result<Vec<u8>, Trouble>;
}

/// Who has a lease: another one each time, so that nobody ends the lease of a later holder.
pub(super) type Holder = uuid::Uuid;

/// A piece of news on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// Who tells.
    pub(super) from: InstanceId,
    /// The name of its topic.
    pub(super) topic: &'a str,
    /// `None`: what was to be told was lost, look everything up again.
    pub(super) text: Option<&'a [u8]>,
}

/// The first byte of an envelope with a text, and of one without.
const SAID: u8 = 1;
const LOST: u8 = 2;

impl<'a> Envelope<'a> {
    pub(super) fn seal(&self) -> Vec<u8> {
        let text = self.text.unwrap_or_default();
        let mut sealed = Vec::with_capacity(18 + self.topic.len() + text.len());
        sealed.push(if self.text.is_some() { SAID } else { LOST });
        sealed.extend_from_slice(self.from.as_bytes());
        // Topics are short words.
        sealed.push(self.topic.len() as u8);
        sealed.extend_from_slice(self.topic.as_bytes());
        sealed.extend_from_slice(text);
        sealed
    }

    /// `None`: it is of a kind that this version does not know.
    pub(super) fn open(sealed: &'a [u8]) -> Option<Self> {
        let (kind, rest) = sealed.split_first()?;
        let (from, rest) = rest.split_at_checked(16)?;
        let (length, rest) = rest.split_first()?;
        let (topic, text) = rest.split_at_checked(usize::from(*length))?;
        Some(Self {
            from: InstanceId::from_bytes(from)?,
            topic: std::str::from_utf8(topic).ok()?,
            text: match *kind {
                SAID => Some(text),
                LOST => None,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_holds_what_was_put_into_it() {
        let from = InstanceId::new();
        for text in [Some(&b""[..]), Some(b"\0\xff:text"), None] {
            let envelope = Envelope {
                from,
                topic: "leases",
                text,
            };
            assert_eq!(Envelope::open(&envelope.seal()), Some(envelope));
        }
    }

    #[test]
    fn what_is_no_envelope_is_not_opened() {
        let whole = Envelope {
            from: InstanceId::new(),
            topic: "leases",
            text: None,
        };
        let whole = whole.seal();
        for length in 0..whole.len() {
            assert_eq!(Envelope::open(&whole[..length]), None, "{length}");
        }
        let mut newer = whole;
        newer[0] = 3;
        assert_eq!(Envelope::open(&newer), None);
    }
}
