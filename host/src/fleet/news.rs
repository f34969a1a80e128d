//! Hearing what other instances tell.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::Topic;

/// Pieces of news of one topic that may wait for one listener; whoever lets more come together has missed some.
const WAITING: usize = 512;

/// What a listener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Another instance said this.
    Said(Vec<u8>),
    /// Something may have been missed: look everything up again.
    Gap,
}

/// Everything that is told about one topic from when it began.
#[derive(Debug)]
pub struct Hearing(broadcast::Receiver<Option<Arc<[u8]>>>);

impl Hearing {
    /// Waits for what comes next; for ever, where there are no other instances. Nothing is lost when it is
    /// dropped before it is done.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(Some(text)) => Heard::Said(text.to_vec()),
            Ok(None) | Err(RecvError::Lagged(_)) => Heard::Gap,
            // The gateway is about to end.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Brings what comes from the engine to those who listen.
#[derive(Debug)]
pub(super) struct News(Vec<broadcast::Sender<Option<Arc<[u8]>>>>);

impl News {
    pub(super) fn new() -> Self {
        let topics = Topic::ALL.iter();
        Self(topics.map(|_| broadcast::Sender::new(WAITING)).collect())
    }

    pub(super) fn hear(&self, topic: Topic) -> Hearing {
        Hearing(self.0[topic as usize].subscribe())
    }

    /// Somebody said something.
    pub(super) fn said(&self, topic: Topic, text: &[u8]) {
        // Nobody listens: then nobody misses it.
        let _ = self.0[topic as usize].send(Some(text.into()));
    }

    /// Something of a topic may have been missed.
    pub(super) fn gap(&self, topic: Topic) {
        let _ = self.0[topic as usize].send(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_hears_in_order_and_who_lags_is_told() {
        let news = News::new();
        news.said(Topic::Leases, b"before anybody listened");
        let (mut quick, mut slow) = (news.hear(Topic::Leases), news.hear(Topic::Leases));
        let mut other = news.hear(Topic::Instances);
        news.said(Topic::Leases, b"1");
        news.gap(Topic::Leases);
        news.said(Topic::Leases, b"2");
        assert_eq!(quick.next().await, Heard::Said(b"1".to_vec()));
        assert_eq!(quick.next().await, Heard::Gap);
        assert_eq!(quick.next().await, Heard::Said(b"2".to_vec()));
        for n in 0..2 * WAITING {
            news.said(Topic::Leases, n.to_string().as_bytes());
        }
        assert_eq!(slow.next().await, Heard::Gap);
        assert!(matches!(slow.next().await, Heard::Said(_)));
        news.said(Topic::Instances, b"x");
        assert_eq!(other.next().await, Heard::Said(b"x".to_vec()));
    }
}
