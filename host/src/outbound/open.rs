//! Answers that are read while they still come.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{Client, SendError, chain, read_bounded};

impl Client {
    /// Sends one request and returns the answer as soon as its header is there. Bounds nothing
    /// but the time to connect: how long an answer may take, only its reader knows.
    ///
    /// # Errors
    /// [`SendError::Connection`].
    pub async fn open(&self, request: Request<Bytes>) -> Result<Response<Incoming>, SendError> {
        let sending = self.0.request(request.map(Full::new));
        sending.await.map_err(|error| {
            tracing::debug!(error = %chain(&error), "an exchange failed");
            SendError::Connection(if error.is_connect() {
                "no connection"
            } else {
                "the connection broke"
            })
        })
    }

    /// Reads the rest of an answer that was [opened](Self::open).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn rest(body: Incoming, max_body: usize) -> Result<Bytes, SendError> {
        read_bounded(body, max_body).await
    }
}
