//! What a stream can tell, and the id that a client resumes it by.

use serde_json::json;

use crate::mcp::jsonrpc::Id;
use crate::mcp::params::META_SUBSCRIPTION_ID;

/// What a list can be of, as far as clients are told that one has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `notifications/tools/list_changed`.
    Tools,
    /// `notifications/prompts/list_changed`.
    Prompts,
    /// `notifications/resources/list_changed`: resources and templates.
    Resources,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// The method of its notification.
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }
}

/// What a caller sees at one moment: a digest of the list of each topic, in the order of
/// [`Topic::ALL`]. Equal digests, equal lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View(pub [u64; 3]);

impl View {
    /// The topics that look different in another view.
    pub(super) fn differs(self, other: Self) -> impl Iterator<Item = Topic> {
        let each = self.0.into_iter().zip(other.0).zip(Topic::ALL);
        each.filter_map(|((a, b), topic)| (a != b).then_some(topic))
    }
}

/// How a stream words what it tells.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// `GET /mcp`: everything, in the words of the legacy era.
    Legacy,
    /// `subscriptions/listen`: what was asked for, each message marked with the request's id.
    Modern {
        /// The id of the request.
        subscription: Id,
        /// What was asked for.
        topics: Vec<Topic>,
    },
}

impl Dialect {
    /// The notification that a resource has changed.
    pub(super) fn updated(&self, uri: &str) -> String {
        let mut params = json!({ "uri": uri });
        if let Self::Modern { subscription, .. } = self {
            params["_meta"] = json!({ META_SUBSCRIPTION_ID: subscription });
        }
        let method = "notifications/resources/updated";
        json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string()
    }

    /// The notification that a list has changed, unless nobody asked for it.
    pub(super) fn list_changed(&self, topic: Topic) -> Option<String> {
        let method = topic.method();
        match self {
            Self::Legacy => Some(json!({ "jsonrpc": "2.0", "method": method }).to_string()),
            Self::Modern {
                subscription,
                topics,
            } => topics.contains(&topic).then(|| {
                let params = json!({ "_meta": { META_SUBSCRIPTION_ID: subscription } });
                json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string()
            }),
        }
    }
}

/// Names a channel within this process and, by chance alone, among all others. None is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChannelId(pub(super) u64);

/// An event id: which event of which channel it is, and what the caller saw when it was sent. By
/// the last a client that comes back to a gateway that knows nothing of its channel (after a
/// restart, or at another instance) still learns whether a list has changed meanwhile.
///
/// A client may write anything into it: it then deceives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    pub(super) channel: ChannelId,
    pub(super) number: u64,
    pub(super) view: View,
}

impl EventId {
    /// Of a client that is known to have listened, but not what it was told last: every list looks changed to it.
    pub fn unknown() -> Self {
        Self {
            channel: ChannelId(0),
            number: 0,
            view: View::default(),
        }
    }

    /// Reads a `Last-Event-ID`.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return None;
        }
        let mut parts = text.split('-').map(|part| {
            let fits = (1..=16).contains(&part.len());
            fits.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        });
        let mut next = || parts.next().flatten();
        let id = Self {
            channel: ChannelId(next()?),
            number: next()?,
            view: View([next()?, next()?, next()?]),
        };
        parts.next().is_none().then_some(id)
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (channel, [a, b, c]) = (self.channel.0, self.view.0);
        write!(f, "{channel:x}-{:x}-{a:x}-{b:x}-{c:x}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_read_as_they_are_written() {
        for (channel, number, view) in [(0, 0, [0; 3]), (u64::MAX, 7, [1, u64::MAX, 3])] {
            let id = EventId {
                channel: ChannelId(channel),
                number,
                view: View(view),
            };
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }
        for other in [
            "",
            "1",
            "1-2-3-4",
            "1-2-3-4-5-6",
            "1-2-3-4-",
            "1-2-3-4-g",
            "1-2-3-4-+5",
            "1-2-3-4-5 ",
            "10000000000000000-2-3-4-5",
        ] {
            assert_eq!(EventId::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_told_and_marked() {
        let modern = Dialect::Modern {
            subscription: Id::Text("s".to_owned()),
            topics: vec![Topic::Prompts],
        };
        assert_eq!(modern.list_changed(Topic::Tools), None);
        assert_eq!(
            modern.list_changed(Topic::Prompts).as_deref(),
            Some(
                r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}"#
            )
        );
        let told = Topic::ALL.map(|topic| Dialect::Legacy.list_changed(topic));
        assert!(told.iter().all(Option::is_some));
        let changed: Vec<_> = View([1, 2, 3]).differs(View([1, 0, 0])).collect();
        assert_eq!(changed, [Topic::Prompts, Topic::Resources]);
    }
}
