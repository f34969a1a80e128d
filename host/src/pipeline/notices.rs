//! What reaches a client before the answer to its request, on that request's own stream: progress
//! and log messages if it asked for them, and requests that it has to answer (legacy era).
//!
//! The answer becomes a stream of server-sent events with the first of them; without any it stays
//! a single JSON object, with a status code that can still say what went wrong.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use http::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::intent::Context;
use crate::mcp::json;
use crate::mcp::log_level::LogLevel;
use crate::mcp::params::Meta;
use crate::plugin::{MessageSink, Notices, ProgressSink};

/// Notices that wait for a slow client; further ones are dropped, as they are soon outdated.
const WAITING: usize = 32;
/// Largest log message that is passed on, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// `_meta` key by which a client asks for progress.
const TOKEN: &str = "progressToken";

/// Where the notices of one request go in.
#[derive(Clone)]
pub(super) struct Reporter(Option<Weak<Queue>>);

/// Where they come out, as JSON-RPC messages. No channel, because nobody has to be waked: what reports is the work of
/// the request itself, and whoever polls that looks here afterwards.
pub(super) struct Reports(Arc<Queue>);

#[derive(Default)]
struct Queue(Mutex<VecDeque<String>>);

#[derive(Serialize)]
struct Notification<P> {
    jsonrpc: &'static str,
    method: &'static str,
    params: P,
}

#[derive(Serialize)]
struct Message {
    level: LogLevel,
    #[serde(skip_serializing_if = "Option::is_none")]
    logger: Option<String>,
    data: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    progress_token: &'a RawValue,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A way for reports, if the client can take a stream.
pub(super) fn channel(headers: &HeaderMap) -> (Reporter, Reports) {
    let queue = Arc::<Queue>::default();
    let takes_stream = headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream") || value.contains("*/*"));
    let reporter = Reporter(takes_stream.then(|| Arc::downgrade(&queue)));
    (reporter, Reports(queue))
}

/// A way to nowhere, for who can take no stream.
pub(super) fn nowhere() -> Reporter {
    Reporter(None)
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Full means that the client is slow, and the next notice tells more.
    fn offer(&self, notice: String) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING {
            waiting.push_back(notice);
        }
    }
}

impl Reports {
    /// What has been reported and not been taken yet.
    pub(super) fn take(&mut self) -> Option<String> {
        self.0.lock().pop_front()
    }

    /// Whether there is nothing to [take](Self::take).
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Goes on with the work that reports here, until it is done, or there is something to [take](Self::take): `None`.
    pub(super) async fn drive<T, F>(&mut self, mut work: Pin<&mut F>) -> Option<T>
    where
        F: Future<Output = T> + ?Sized,
    {
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.is_empty() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

impl Reporter {
    /// What an adapter may report into, as far as this request asked for it.
    pub(super) fn for_call(&self, context: &Context) -> Notices {
        Notices {
            progress: self.progress(&context.meta),
            messages: context.log_level.and_then(|least| self.messages(least)),
            questions: None,
        }
    }

    /// Sends the client a request that it has to answer. False: it takes no stream, or is gone.
    pub(super) fn ask(&self, request: String) -> bool {
        let queue = self.0.as_ref().and_then(Weak::upgrade);
        // Unlike a notice it is never left out: there are few, and each is waited for.
        queue
            .inspect(|queue| queue.lock().push_back(request))
            .is_some()
    }

    fn messages(&self, least: LogLevel) -> Option<MessageSink> {
        let queue = self.0.clone()?;
        Some(Box::new(move |level, logger, data| {
            let Some(level) = LogLevel::parse(&level).filter(|level| *level >= least) else {
                return;
            };
            let Ok(data) = json::raw(data) else { return };
            if data.get().len() > MAX_MESSAGE {
                return;
            }
            let logger = logger.map(|name| name.chars().take(128).collect());
            let params = Message {
                level,
                logger,
                data,
            };
            send(&queue, "notifications/message", params);
        }))
    }

    fn progress(&self, meta: &Meta) -> Option<ProgressSink> {
        let queue = self.0.clone()?;
        let token = meta.0.get(TOKEN)?.clone();
        if !is_token(&token) {
            return None;
        }
        let mut last = f64::NEG_INFINITY;
        Some(Box::new(move |progress, total, message| {
            // It must grow (MCP, "Progress"); this also leaves out what is not a number.
            if !(progress > last && progress.is_finite()) {
                return;
            }
            last = progress;
            let params = Progress {
                progress_token: &token,
                progress,
                total: total.filter(|t| t.is_finite()),
                message: message.map(|m| m.chars().take(1_000).collect()),
            };
            send(&queue, "notifications/progress", params);
        }))
    }
}

fn send<P: Serialize>(queue: &Weak<Queue>, method: &'static str, params: P) {
    let notification = Notification {
        jsonrpc: "2.0",
        method,
        params,
    };
    // There is nobody any more to tell when the request is gone.
    if let Some(queue) = queue.upgrade()
        && let Ok(text) = serde_json::to_string(&notification)
    {
        queue.offer(text);
    }
}

/// A string or an integer.
fn is_token(raw: &RawValue) -> bool {
    let text = raw.get();
    text.starts_with('"') || text.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(accept: &str, meta: &str, values: &[f64]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().expect("a value"));
        let (reporter, mut reports) = channel(&headers);
        let meta: Meta = serde_json::from_str(meta).expect("JSON");
        if let Some(mut sink) = reporter.progress(&meta) {
            for value in values {
                sink(*value, Some(3.0), None);
            }
        }
        std::iter::from_fn(|| reports.take()).collect()
    }

    const BOTH: &str = "application/json, text/event-stream";

    #[test]
    fn only_who_asks_and_can_take_a_stream_is_told() {
        assert_eq!(
            reports(BOTH, r#"{"progressToken":"t"}"#, &[1.0]),
            [
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1.0,"total":3.0}}"#
            ]
        );
        assert!(reports(BOTH, "{}", &[1.0]).is_empty());
        assert!(reports(BOTH, r#"{"progressToken":{}}"#, &[1.0]).is_empty());
        assert!(reports("application/json", r#"{"progressToken":1}"#, &[1.0]).is_empty());
    }

    #[test]
    fn messages_below_the_level_stay_here() {
        let mut headers = HeaderMap::new();
        headers.insert("accept", BOTH.parse().expect("a value"));
        let (reporter, mut reports) = channel(&headers);
        let mut sink = reporter.messages(LogLevel::Warning).expect("a stream");
        sink("info".to_owned(), None, "1".to_owned());
        sink("loud".to_owned(), None, "1".to_owned());
        sink("error".to_owned(), None, "{not json".to_owned());
        sink(
            "error".to_owned(),
            Some("db".to_owned()),
            "{\"a\":1.0}".to_owned(),
        );
        drop((sink, reporter));
        let told: Vec<_> = std::iter::from_fn(|| reports.take()).collect();
        assert_eq!(
            told,
            [
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","logger":"db","data":{"a":1.0}}}"#
            ]
        );
    }

    #[test]
    fn progress_grows_and_a_flood_is_bounded() {
        let values = [1.0, 1.0, 0.5, f64::NAN, f64::INFINITY, 2.0];
        assert_eq!(reports(BOTH, r#"{"progressToken":7}"#, &values).len(), 2);
        let flood: Vec<f64> = (0..10_000).map(f64::from).collect();
        assert_eq!(
            reports(BOTH, r#"{"progressToken":7}"#, &flood).len(),
            WAITING
        );
    }
}
