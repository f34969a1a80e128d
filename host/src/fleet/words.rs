//! What instances talk about, and what they keep for one another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run of a gateway: new at each start, so that what an earlier run of the same machine said is never
/// taken for this one's word. Sorts by the time of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(Uuid);

impl InstanceId {
    pub(super) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// `None`: these bytes are no id.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes an enum of words, with the list of all of them and their names outside of this process.
macro_rules! words {
    ($(#[$about:meta])* $type:ident { $( $(#[$doc:meta])* $word:ident = $name:literal, )* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $( $(#[$doc])* $word, )*
        }

        impl $type {
            /// All of them, in the order of their numbers (`as usize`).
            pub const ALL: &[Self] = &[$(Self::$word),*];

            /// Its name in the engine. Instances of other versions know it by this.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$word => $name, )*
                }
            }
        }
    };
}

words! {
    /// What news is about. What the text of a piece of news means is the concern's own; a version that does
    /// not know a topic does not hear it.
    Topic {
        /// Instances that came or went.
        Instances = "instances",
        /// Leases that are free again, by name.
        Leases = "leases",
        // Sessions, streams and calls.
        /// What clients did whose next request may come to another instance.
        Clients = "clients",

        // Catalogs, plugins, accounts and tokens.
        /// What backends offer: where it lies that was found out.
        Catalog = "catalog",
        /// Tool definitions that were approved, or seen.
        Approvals = "approvals",
        /// Plugins that an instance has loaded, swapped or removed.
        Plugins = "plugins",
        /// Access tokens that are not good any more, by their hash.
        Tokens = "tokens",
        /// What operators have revoked, or let be again.
        Revocations = "revocations",
    }
}

words! {
    /// Where values are kept, each concern apart from the others.
    Shelf {
        /// Instances that are alive, by id.
        Instances = "instances",
        // Sessions, streams and calls.
        /// Sessions that were ended by their clients.
        Ended = "ended",
        /// Which log messages sessions want.
        Levels = "levels",
        /// What sessions have subscribed to, sealed.
        Subscriptions = "subscriptions",
        /// Which stream of a session is the newest.
        Streams = "streams",
        /// Answers of legacy clients, on their way to the gateway that asked, sealed.
        Answers = "answers",
        /// What parked calls are told, and what comes of it, sealed.
        Parked = "parked",
        /// Which keys instances have to open what was sealed, by instance.
        Keys = "keys",
        // Catalogs, plugins, accounts and tokens.
        /// What backends offer, sealed.
        Catalog = "catalog",
        /// Which plugins an instance runs, by its id.
        Plugins = "plugins",
        /// Flows that came to their end.
        Flows = "flows",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_words_and_nobody_elses() {
        let topics = Topic::ALL.iter().map(|topic| topic.name());
        let shelves = Shelf::ALL.iter().map(|shelf| shelf.name());
        for names in [topics.collect::<Vec<_>>(), shelves.collect()] {
            let distinct: BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), names.len());
            // They are parts of keys, which are split at `:`.
            assert!(
                names.iter().all(|name| name.len() <= 32
                    && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
            );
        }
    }

    #[test]
    fn an_instance_is_its_id_in_every_form() {
        let id = InstanceId::new();
        assert_eq!(InstanceId::from_bytes(id.as_bytes()), Some(id));
        assert_eq!(InstanceId::from_bytes(b"short"), None);
        let text = serde_json::to_string(&id).expect("text");
        assert_eq!(text, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<InstanceId>(&text).ok(), Some(id));
        assert_ne!(id, InstanceId::new());
    }
}
