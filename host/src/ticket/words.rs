//! Words of tickets: ids, severities, statuses, moments.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Names a ticket. Sorts by the time at which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketId(#[serde(with = "uuid::serde::simple")] uuid::Uuid);

/// A text that names no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected the id of a ticket, 32 digits and letters `a` to `f`")]
pub struct NotATicketId;

impl TicketId {
    /// A new id.
    pub(super) fn make() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// As the store sorts it.
    pub(super) fn key(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for TicketId {
    type Err = NotATicketId;

    fn from_str(text: &str) -> Result<Self, NotATicketId> {
        uuid::Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| NotATicketId)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// A word that is none of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected one of {0}")]
pub struct UnknownWord(&'static str);

macro_rules! words {
    ($(#[$about:meta])* $name:ident, $list:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, as words.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// As one word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord($list)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// How much is lost without it, from the least.
    Severity, "`nice_to_have`, `inconvenient`, `blocking`" {
        /// It would be good to have.
        NiceToHave = "nice_to_have",
        /// There is a way around.
        Inconvenient = "inconvenient",
        /// The user's task cannot be done.
        Blocking = "blocking",
    }
}

words! {
    /// What has been decided about a ticket, as one word.
    Status, "`open`, `triaged`, `planned`, `resolved`, `wont_fix`, `duplicate`" {
        /// Nothing yet.
        Open = "open",
        /// Somebody has read it.
        Triaged = "triaged",
        /// It will be done.
        Planned = "planned",
        /// It is done, or there was a way already.
        Resolved = "resolved",
        /// It will not be done.
        WontFix = "wont_fix",
        /// Another one says the same.
        Duplicate = "duplicate",
    }
}

impl Status {
    /// Whether nothing more is to come.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Resolved | Self::WontFix | Self::Duplicate)
    }
}

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(i64);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self::of(OffsetDateTime::now_utc())
    }

    /// As RFC 3339 has it, else `None`.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::of)
    }

    fn of(time: OffsetDateTime) -> Self {
        // Nothing that has a date in RFC 3339 is out of reach.
        Self(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
    }

    /// As RFC 3339 has it, in UTC.
    pub fn to_text(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_default()
    }

    /// Whether less than this has passed since an earlier moment. A clock that was set back has
    /// let nothing pass.
    pub(super) fn is_within(self, span: Duration, earlier: Self) -> bool {
        u128::try_from(self.0.saturating_sub(earlier.0))
            .map_or(true, |passed| passed < span.as_millis())
    }

    #[cfg(test)]
    pub(super) fn plus(self, span: Duration) -> Self {
        Self(self.0 + i64::try_from(span.as_millis()).expect("not that long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_age_and_are_read_again() {
        let (older, newer) = (TicketId::make(), TicketId::make());
        assert!(older < newer && older.key() < newer.key());
        assert_eq!(older.to_string().parse(), Ok(older));
        assert_eq!(older.to_string().len(), 32);
        for bad in ["", "7", "../../etc", "zz"] {
            assert_eq!(bad.parse::<TicketId>(), Err(NotATicketId), "{bad}");
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in Status::WORDS {
            let status: Status = word.parse().expect("a status");
            assert_eq!(status.as_str(), *word);
            assert_eq!(serde_json::to_value(status).expect("JSON"), *word);
        }
        assert!(Severity::Blocking > Severity::Inconvenient);
        assert!(Severity::Inconvenient > Severity::NiceToHave);
        assert!("Open".parse::<Status>().is_err());
    }

    #[test]
    fn moments_are_told_in_utc_and_compared() {
        let noon = Moment::parse("2026-11-23T12:00:00.250+01:00").expect("a moment");
        assert_eq!(noon.to_text(), "2026-11-23T11:00:00.25Z");
        assert_eq!(Moment::parse("yesterday"), None);
        let hour = Duration::from_secs(3600);
        assert!(noon.is_within(hour, noon));
        assert!(!noon.plus(hour).is_within(hour, noon));
        assert!(noon.is_within(hour, noon.plus(hour * 99)), "set back");
    }
}
