//! Reads a request's body: bounded in size and time. Knows nothing of what is in it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};

use super::Refusal;
use crate::config::Config;

/// Longest a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Reads a body up to the configured size.
pub(super) async fn read(config: &Config, body: Incoming) -> Result<Bytes, Refusal> {
    let max = config.max_body_bytes;
    if body.size_hint().lower() > max as u64 {
        return Err(Refusal::BodyTooLarge(max));
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge(max)),
        Ok(Err(_)) => Err(Refusal::BodyBroken),
        Err(_) => Err(Refusal::BodyTooSlow),
    }
}
