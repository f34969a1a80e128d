//! Where requests of components go: to the world, or to a recording of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

use super::recording::Recording;
use crate::outbound::{Answer, Client, SendError};

/// A body that is still coming. Why it broke is of no interest to a component.
pub(super) type Body = UnsyncBoxBody<Bytes, ()>;

/// What answers.
#[derive(Clone)]
pub(super) enum Wire {
    /// Whoever is there.
    World(Arc<Client>),
    /// What was answered before.
    Recorded(Arc<Recording>),
}

impl Wire {
    /// Sends one request and reads the whole answer.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_body: usize,
    ) -> Result<Answer, SendError> {
        match self {
            Self::World(client) => client.send(request, timeout, max_body).await,
            Self::Recorded(recording) => recording.answer(&request),
        }
    }

    /// Sends one request and waits for status and header of the answer.
    pub(super) async fn open(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_body: usize,
    ) -> Result<(Parts, Body), SendError> {
        match self {
            Self::World(client) => {
                let (parts, body) = client.open(request, timeout, max_body).await?;
                Ok((parts, body.map_err(|_| ()).boxed_unsync()))
            }
            Self::Recorded(recording) => {
                let answer = recording.answer(&request)?;
                let mut response = http::Response::new(());
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                let body = Full::new(answer.body).map_err(|never| match never {});
                Ok((response.into_parts().0, body.boxed_unsync()))
            }
        }
    }
}
