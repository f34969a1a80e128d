//! One exchange of a component with somebody else, as it is counted and told of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::Request;

use super::egress::Egress;
use crate::measure::Histogram;
use crate::outbound::SendError;
use crate::trace::{self, Attribute};

/// How exchanges end: by the kind of status, or by what went wrong.
const ENDS: [&str; 8] = [
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "timeout",
    "too_large",
    "no_connection",
    // Whoever waited for it has gone.
    "given_up",
];

/// What is counted of exchanges with one backend.
#[derive(Debug, Default)]
pub struct Exchanges {
    ends: [AtomicU64; ENDS.len()],
    durations: Histogram,
}

impl Exchanges {
    /// How many have ended how.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = ENDS.into_iter().zip(&self.ends);
        all.map(|(end, count)| (end, count.load(Ordering::Relaxed)))
    }

    /// How long they took: until the answer was there, or, where it is read while it comes, its header.
    pub fn durations(&self) -> &Histogram {
        &self.durations
    }

    fn ended(&self, end: &str, began: Instant) {
        let at = ENDS.iter().position(|word| *word == end);
        if let Some(count) = at.and_then(|at| self.ends.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.durations.observe(began.elapsed());
    }
}

/// An exchange under way.
pub(super) struct Exchange {
    began: Instant,
    /// Nobody counts what goes elsewhere than to the backend of the call.
    counts: Option<Arc<Exchanges>>,
    part: Option<trace::Exchange>,
}

impl Egress {
    /// A request that was let out goes. A backend is told which trace it is a part of.
    pub(super) fn begin(&self, request: &mut Request<Bytes>) -> Exchange {
        let uri = request.uri();
        let port = uri.port_u16();
        let home = self.home.as_ref().filter(|home| {
            let (scheme, host) = (uri.scheme_str(), uri.host());
            home.is_at(scheme.unwrap_or_default(), host.unwrap_or_default(), port)
        });
        let part = trace::Exchange::begin(|| {
            let text = |text: &str| text.to_owned();
            let host = uri.host().unwrap_or_default();
            let default = if uri.scheme_str() == Some("https") {
                443
            } else {
                80
            };
            let mut told = vec![
                Attribute::new("http.request.method", text(request.method().as_str())),
                Attribute::new("server.address", text(host)),
                Attribute::new("server.port", i64::from(port.unwrap_or(default))),
            ];
            told.extend(
                home.map(|home| Attribute::new("cortex.backend.id", home.backend.to_string())),
            );
            (text(request.method().as_str()), told)
        });
        if home.is_some() {
            trace::inject(request.headers_mut(), part.as_ref());
        }
        Exchange {
            began: Instant::now(),
            counts: home.map(|home| Arc::clone(&home.exchanges)),
            part,
        }
    }
}

impl Exchange {
    /// What goes out goes out only now.
    pub(super) fn goes(&mut self) {
        self.began = Instant::now();
    }

    /// It was answered, with this status.
    pub(super) fn answered(mut self, status: u16) {
        let kind = match status {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.end(kind);
        if let Some(part) = &self.part {
            part.answered(status, (status >= 400).then(|| status.to_string()));
        }
    }

    /// It was not.
    pub(super) fn failed(mut self, error: &SendError) {
        let word = match error {
            SendError::Timeout(_) => "timeout",
            SendError::TooLarge(_) => "too_large",
            SendError::Connection(_) => "no_connection",
        };
        self.end(word);
        if let Some(part) = &self.part {
            part.failed(word);
        }
    }

    fn end(&mut self, word: &'static str) {
        if let Some(counts) = self.counts.take() {
            counts.ended(word, self.began);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.counts.is_some() {
            self.end("given_up");
        }
    }
}
