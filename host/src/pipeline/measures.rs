//! What is counted of requests: how many, how they ended, how long they and their stages took.
//!
//! Every label is a word of a list below or the id of a configured backend. What a caller makes up counts
//! as `other`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use pin_project_lite::pin_project;

use crate::mcp::version::ProtocolVersion;
use crate::measure::{Counter, Family, Histogram};
use crate::trace::{self, Step};
use crate::types::BackendId;

/// Methods that are told apart; the last two stand for all others and for none.
const METHODS: [&str; 23] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "GET",
    "DELETE",
    OTHER,
    NONE,
];

/// How requests end: well, or by one of the stable words of the audit.
const OUTCOMES: &[&str] = &[
    "ok",
    "account_required",
    "account_unavailable",
    "audit_unavailable",
    "backend_auth",
    "backend_conflict",
    "backend_error",
    "backend_forbidden",
    "backend_not_found",
    "backend_rate_limited",
    "backend_refused_scope",
    "backend_timeout",
    "backend_unavailable",
    "bad_authorization",
    "bad_host",
    "body_broken",
    "body_too_large",
    "body_too_slow",
    "cancelled",
    "client_closed",
    "denied_by_policy",
    "forbidden_host",
    "forbidden_origin",
    "header_mismatch",
    "insufficient_scope",
    "internal_error",
    "invalid_arguments",
    "invalid_params",
    "invalid_request",
    "invalid_token",
    "method_not_allowed",
    "method_not_found",
    "missing_capability",
    "missing_meta",
    "not_json_type",
    "not_text",
    "other_pool",
    "overloaded",
    "parse_error",
    "plugin_bad_answer",
    "plugin_failed",
    "plugin_memory",
    "plugin_no_room",
    "plugin_resting",
    "plugin_time",
    "plugin_trap",
    "policy_undecided",
    "rate_limited",
    "resource_not_found",
    "session_required",
    "store_failed",
    "token_exchange",
    "token_unchecked",
    "too_many_at_once",
    "too_many_parked",
    "too_many_rounds",
    "too_many_streams",
    "too_many_tickets",
    "tool_error",
    "tool_quarantined",
    "unauthenticated",
    "unknown_prompt",
    "unknown_resource",
    "unknown_session",
    "unknown_tool",
    "unsupported",
    "unsupported_result",
    "unsupported_version",
    "backend_bad_answer",
    "backend_overloaded",
    "backend_redirect",
    "backend_protocol",
    "server_error",
    "invalid_response",
    "too_large",
    "timeout",
    "not_found",
    "bad_request",
    "conflict",
    "backend_acl",
    OTHER,
];

const OTHER: &str = "other";
const NONE: &str = "none";

/// Eras, by the version that a request is served by.
const ERAS: [&str; 3] = ["modern", "legacy", NONE];

/// Combinations of labels that are told apart.
const MOST_SERIES: usize = 10_000;

/// A stage that takes a while.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Who is calling.
    Token,
    /// Reading the message.
    Parse,
    /// Whether the caller may.
    Policy,
    /// Doing it.
    Adapter,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::Parse, Self::Policy, Self::Adapter];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Parse => "parse",
            Self::Policy => "policy",
            Self::Adapter => "adapter",
        }
    }
}

/// Indices into the lists above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    method: u8,
    era: u8,
    /// Backends come after the gateway itself and none.
    backend: u16,
    outcome: u8,
}

/// Labels of one series of requests.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    /// The method.
    pub method: &'static str,
    /// `modern`, `legacy`, or `none` while it was not known.
    pub era: &'static str,
    /// The backend; `gateway`: answered by the gateway; `none`: not known yet.
    pub backend: &'a str,
    /// `ok`, or why not.
    pub outcome: &'static str,
}

/// How one request ended.
pub(super) struct Served<'a> {
    pub(super) method: Option<&'a str>,
    pub(super) version: Option<ProtocolVersion>,
    pub(super) backend: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) took: Duration,
}

/// The figures.
pub struct Measures {
    /// Sorted.
    backends: Vec<BackendId>,
    requests: Family<Key, Counter>,
    durations: [Histogram; METHODS.len()],
    stages: [Histogram; Stage::ALL.len()],
    started: SystemTime,
}

impl Measures {
    /// Of a gateway with these backends.
    pub fn new<'a>(backends: impl IntoIterator<Item = &'a BackendId>) -> Self {
        let mut backends: Vec<_> = backends.into_iter().cloned().collect();
        backends.sort();
        let rest = Key {
            method: last(METHODS.len() - 1),
            era: last(ERAS.len()),
            backend: 1,
            outcome: last(OUTCOMES.len()),
        };
        Self {
            backends,
            requests: Family::new(MOST_SERIES, rest),
            durations: std::array::from_fn(|_| Histogram::default()),
            stages: Default::default(),
            started: SystemTime::now(),
        }
    }

    /// When the gateway started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Runs a stage.
    pub(super) fn stage<F: Future>(&self, stage: Stage, work: F) -> Timed<'_, F> {
        Timed {
            work: trace::step(stage.as_str(), work),
            began: Instant::now(),
            histogram: self.stages.get(stage as usize),
        }
    }

    /// A request is over.
    pub(super) fn served(&self, served: &Served<'_>) {
        let method = method(served.method);
        let era = match served.version {
            Some(version) if version.is_modern() => 0,
            Some(_) => 1,
            None => 2,
        };
        let key = Key {
            method,
            era,
            backend: self.backend(served.backend),
            outcome: outcome(served.error),
        };
        self.requests.with(key, Counter::one);
        // How long somebody listens is no measure of anything.
        let listened = matches!(served.method, Some("GET" | "subscriptions/listen"));
        if let Some(histogram) = self.durations.get(usize::from(method))
            && !(listened && served.error.is_none_or(|error| error == "client_closed"))
        {
            histogram.observe(served.took);
        }
    }

    /// All series of requests.
    pub fn requests(&self) -> Vec<(Labels<'_>, u64)> {
        let all = self.requests.read().into_iter();
        all.map(|(key, count)| (self.labels(key), count.get()))
            .collect()
    }

    /// How long requests took, by method; those that there were.
    pub fn durations(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let all = METHODS.into_iter().zip(&self.durations);
        all.filter(|(_, histogram)| !histogram.is_empty())
    }

    /// How long stages took.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &Histogram)> {
        Stage::ALL.into_iter().zip(&self.stages)
    }

    fn backend(&self, backend: Option<&str>) -> u16 {
        match backend {
            Some("gateway") => 0,
            Some(id) => {
                let found = (self.backends).binary_search_by(|known| known.as_str().cmp(id));
                found.map_or(1, |at| u16::try_from(at + 2).unwrap_or(1))
            }
            None => 1,
        }
    }

    fn labels(&self, key: Key) -> Labels<'_> {
        let word = |words: &'static [&'static str], at: u8| {
            words.get(usize::from(at)).copied().unwrap_or(OTHER)
        };
        Labels {
            method: word(&METHODS, key.method),
            era: word(&ERAS, key.era),
            backend: match key.backend {
                0 => "gateway",
                1 => NONE,
                at => (self.backends.get(usize::from(at) - 2)).map_or(NONE, BackendId::as_str),
            },
            outcome: word(OUTCOMES, key.outcome),
        }
    }
}

pin_project! {
    /// A stage while it runs.
    pub(super) struct Timed<'a, F: Future> {
        #[pin]
        work: Step<F>,
        began: Instant,
        histogram: Option<&'a Histogram>,
    }
}

impl<F: Future> Future for Timed<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.work.poll(cx));
        if let Some(histogram) = this.histogram {
            histogram.observe(this.began.elapsed());
        }
        Poll::Ready(output)
    }
}

/// The place of the last of so many words.
fn last(words: usize) -> u8 {
    u8::try_from(words - 1).unwrap_or(u8::MAX)
}

fn method(method: Option<&str>) -> u8 {
    let known = method.map_or(Some(METHODS.len() - 1), |method| {
        METHODS.iter().position(|known| *known == method)
    });
    known.map_or(last(METHODS.len() - 1), |at| last(at + 1))
}

fn outcome(error: Option<&str>) -> u8 {
    let word = error.unwrap_or("ok");
    let known = OUTCOMES.iter().position(|known| *known == word);
    known.map_or(last(OUTCOMES.len()), |at| last(at + 1))
}

/// The method if it is a known one: what a caller made up is no name for anything.
pub(super) fn known_method(name: Option<&str>) -> Option<&'static str> {
    let at = name.map(|name| method(Some(name)))?;
    let word = METHODS.get(usize::from(at)).copied();
    word.filter(|word| ![OTHER, NONE].contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served<'a>(method: &'a str, backend: &'a str, error: Option<&'a str>) -> Served<'a> {
        Served {
            method: Some(method),
            version: Some(ProtocolVersion::V2026_07_28),
            backend: Some(backend),
            error,
            took: Duration::from_millis(1),
        }
    }

    #[test]
    fn what_callers_make_up_is_no_label() {
        let docs: BackendId = "docs".parse().expect("an id");
        let measures = Measures::new([&docs]);
        for n in 0..1_000 {
            let made_up = format!("made/up-{n}");
            measures.served(&served(&made_up, &made_up, Some(&made_up)));
        }
        measures.served(&served("tools/call", "docs", None));
        let mut told: Vec<_> = measures
            .requests()
            .into_iter()
            .map(|(l, n)| (l.method, l.era, l.backend.to_owned(), l.outcome, n))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                ("other", "modern", "none".to_owned(), "other", 1_000),
                ("tools/call", "modern", "docs".to_owned(), "ok", 1)
            ]
        );
        assert_eq!(measures.durations().count(), 2);
        assert_eq!(known_method(Some("made/up")), None);
        assert_eq!(known_method(Some("ping")), Some("ping"));
    }

    #[test]
    fn the_words_are_there_once() {
        let mut words = OUTCOMES.to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), OUTCOMES.len());
    }
}
