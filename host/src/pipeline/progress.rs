//! Signs of life of a call, on that request's own stream and only if the client asked for them.
//!
//! MCP, "Progress": a request asks by `_meta.progressToken`. The answer becomes a stream of
//! server-sent events with the first report; without one it stays a single JSON object, with a
//! status code that can still say what went wrong.

use http::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::mcp::params::Meta;
use crate::plugin::ProgressSink;

/// Reports that wait for a slow client; further ones are dropped, as they are soon outdated.
const WAITING: usize = 32;

/// `_meta` key by which a client asks.
const TOKEN: &str = "progressToken";

/// Where the reports of one request go in.
pub(super) struct Reporter(Option<mpsc::Sender<String>>);

/// Where they come out, as JSON-RPC notifications.
pub(super) type Reports = mpsc::Receiver<String>;

#[derive(Serialize)]
struct Notification<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    progress_token: &'a RawValue,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A way for reports, if the client can take a stream.
pub(super) fn channel(headers: &HeaderMap) -> (Reporter, Reports) {
    let (sender, reports) = mpsc::channel(WAITING);
    let takes_stream = headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream") || value.contains("*/*"));
    (Reporter(takes_stream.then_some(sender)), reports)
}

impl Reporter {
    /// What an adapter may report into, if this request asked for it.
    pub(super) fn for_call(self, meta: &Meta) -> Option<ProgressSink> {
        let sender = self.0?;
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
            let params = Params {
                progress_token: &token,
                progress,
                total: total.filter(|t| t.is_finite()),
                message: message.map(|m| m.chars().take(1_000).collect()),
            };
            let notification = Notification {
                jsonrpc: "2.0",
                method: "notifications/progress",
                params,
            };
            if let Ok(text) = serde_json::to_string(&notification) {
                // Full: the client is slow, and the next report tells more.
                drop(sender.try_send(text));
            }
        }))
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
        if let Some(mut sink) = reporter.for_call(&meta) {
            for value in values {
                sink(*value, Some(3.0), None);
            }
        }
        std::iter::from_fn(|| reports.try_recv().ok()).collect()
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
