//! What is sent when a call is given up before it ends (`http.farewell`): its client has gone, has called it
//! off, or it took too long. Then the component is not there any more to say it itself.

use std::time::Duration;

use bytes::Bytes;

use super::egress::Egress;
use super::instance::State;
use super::v0_2::adapter::cortex::gateway::http::{HttpError, Request};
use super::wire::Wire;

/// Longest that it may take; nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most of its answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A request that is sent when this is dropped.
pub(super) struct Farewell {
    wire: Wire,
    request: Option<http::Request<Bytes>>,
}

impl Farewell {
    /// It ended well: nothing is sent.
    pub(super) fn never_mind(mut self) {
        self.request = None;
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let (Some(request), Ok(runtime)) =
            (self.request.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let wire = self.wire.clone();
        runtime.spawn(async move {
            let sent = wire.send(request, TIMEOUT, MAX_ANSWER).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "a farewell did not arrive");
            }
        });
    }
}

impl Egress {
    fn farewell(&mut self, request: Request) -> Result<Farewell, HttpError> {
        let (request, _) = self.admit(request)?;
        Ok(Farewell {
            wire: self.wire.clone(),
            request: Some(request),
        })
    }
}

impl State {
    /// What `http.farewell` does.
    pub(super) fn farewell(&mut self, request: Option<Request>) -> Result<(), HttpError> {
        let next = match request {
            Some(request) => Some(self.egress()?.farewell(request)?),
            None => None,
        };
        if let Some(before) = std::mem::replace(&mut self.farewell, next) {
            before.never_mind();
        }
        Ok(())
    }
}
