//! Reads a request's body: bounded in size and time. Knows nothing of what is in it.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

use super::{Refusal, RequestBody};
use crate::config::Config;

/// Most that is read of the body of somebody who is not known yet.
const UNKNOWN_MAX: usize = 64 * 1024;

/// Reads a body, small as bodies of a whole message mostly are, to find words for a refusal. Empty
/// when it is not to be had.
pub(super) async fn peek(config: &Config, body: RequestBody) -> Bytes {
    let max = config.max_body_bytes.min(UNKNOWN_MAX);
    bounded(config, body, max).await.unwrap_or_default()
}

/// Reads a body up to the configured size, within the configured time.
///
/// # Errors
/// [`Refusal`] when it is too large, too slow or broken.
pub async fn read(config: &Config, body: RequestBody) -> Result<Bytes, Refusal> {
    bounded(config, body, config.max_body_bytes).await
}

async fn bounded(config: &Config, body: RequestBody, max: usize) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > max as u64 {
        return Err(Refusal::BodyTooLarge(max));
    }
    match tokio::time::timeout(config.bounds.body_time, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge(max)),
        Ok(Err(_)) => Err(Refusal::BodyBroken),
        Err(_) => Err(Refusal::BodyTooSlow),
    }
}
