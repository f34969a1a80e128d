//! JSON documents of the issuer, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{Method, Request, StatusCode};
use thiserror::Error;
use url::Url;

use crate::config::is_trustworthy;
use crate::outbound::{Answer, Client, SendError};

/// Largest document.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Longest exchange.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no document.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    /// Plain http to another machine, or no URL at all.
    #[error("`{0}` is neither https nor on this machine")]
    Untrustworthy(String),
    /// No whole answer.
    #[error("`{url}`: {why}")]
    NoAnswer { url: String, why: SendError },
    /// Another status than 200. Redirects are not followed.
    #[error("`{url}` answers {status}")]
    Status { url: String, status: StatusCode },
}

/// A document, and for how many seconds it may be kept.
pub(super) struct Document {
    pub(super) body: Bytes,
    pub(super) max_age: Option<u64>,
}

/// Fetches one document.
pub(super) async fn document(client: &Client, url: &Url) -> Result<Document, FetchError> {
    let name = || shown(url.as_str());
    // Some URLs are the issuer's word; this is the one place that all of them pass.
    if !is_trustworthy(url) {
        return Err(FetchError::Untrustworthy(name()));
    }
    let request = Request::builder()
        .method(Method::GET)
        .uri(url.as_str())
        .header(ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| FetchError::Untrustworthy(name()))?;
    let answer = client.send(request, TIMEOUT, MAX_DOCUMENT).await;
    let answer = answer.map_err(|why| FetchError::NoAnswer { url: name(), why })?;
    if answer.status != StatusCode::OK {
        return Err(FetchError::Status {
            url: name(),
            status: answer.status,
        });
    }
    Ok(Document {
        max_age: max_age(&answer),
        body: answer.body,
    })
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1).
fn max_age(answer: &Answer) -> Option<u64> {
    let control = answer.headers.get(CACHE_CONTROL)?.to_str().ok()?;
    control
        .split(',')
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok())
}

/// Somebody else's text, fit for a log line.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().take(200).collect()
}
