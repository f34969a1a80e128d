//! Responses that a component reads while they come (`http.open`, resource `incoming`).
//!
//! What is open belongs to the call in flight: whatever ends the call, or drops it because the
//! client has gone, closes the connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use wasmtime::component::Resource;

use super::egress::Egress;
use super::instance::State;
use super::meter::Meter;
use super::v0_2::adapter::cortex::gateway::http::{Header, HostIncoming, HttpError, Request};
use super::wire::Body;

/// Largest piece that a component is handed at once.
const MAX_PIECE: usize = 64 * 1024;

/// The type that the handles of components stand for.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Incoming(());

/// A response whose body is still coming.
pub(super) struct Open {
    status: u16,
    headers: Vec<Header>,
    body: Body,
    opened: Instant,
    /// What came and was not handed out yet.
    waiting: Bytes,
    /// How it ended, if that was seen and not told yet.
    ended: Option<Result<(), HttpError>>,
    /// Bytes that may still come.
    left: usize,
    meter: Arc<Meter>,
}

/// The open responses of one call. Numbers are never used again, so that a handle kept from an
/// earlier call finds nothing.
#[derive(Default)]
pub(super) struct OpenResponses {
    by_number: HashMap<u32, Open>,
    last: u32,
}

impl OpenResponses {
    /// Closes all of them.
    pub(super) fn close(&mut self) {
        self.by_number.clear();
    }

    fn add(&mut self, open: Open) -> Result<Resource<Incoming>, HttpError> {
        let number = self.last.checked_add(1).ok_or_else(|| {
            HttpError::LimitExceeded("this instance has opened too many responses".to_owned())
        })?;
        self.last = number;
        self.by_number.insert(number, open);
        Ok(Resource::new_own(number))
    }
}

impl Egress {
    /// Sends a request and waits for status and header.
    async fn open(&mut self, request: Request) -> Result<Open, HttpError> {
        let (mut request, timeout) = self.admit(request)?;
        let opened = Instant::now();
        let exchange = self.begin(&mut request);
        let (head, body) = match self.wire.open(request, timeout, self.max_body).await {
            Ok(opened) => opened,
            Err(error) => {
                exchange.failed(&error);
                return Err(super::egress::error(error));
            }
        };
        exchange.answered(head.status.as_u16());
        Ok(Open {
            status: head.status.as_u16(),
            headers: super::egress::header_fields(&head.headers),
            body,
            opened,
            waiting: Bytes::new(),
            ended: None,
            left: self.max_body,
            meter: Arc::clone(&self.meter),
        })
    }
}

impl State {
    /// What `http.open` does.
    pub(super) async fn open(&mut self, request: Request) -> Result<Resource<Incoming>, HttpError> {
        let open = self.egress()?.open(request).await?;
        self.incoming.add(open)
    }
}

impl HostIncoming for State {
    fn status(&mut self, handle: Resource<Incoming>) -> u16 {
        let open = self.incoming.by_number.get(&handle.rep());
        open.map_or(0, |open| open.status)
    }

    fn headers(&mut self, handle: Resource<Incoming>) -> Vec<Header> {
        let open = self.incoming.by_number.get(&handle.rep());
        open.map_or_else(Vec::new, |open| open.headers.clone())
    }

    async fn read(
        &mut self,
        handle: Resource<Incoming>,
        timeout_ms: Option<u32>,
    ) -> Result<Option<Vec<u8>>, HttpError> {
        let timeout = self.egress()?.timeout;
        let max_body = self.egress()?.max_body;
        let number = handle.rep();
        let Some(open) = self.incoming.by_number.get_mut(&number) else {
            return Err(HttpError::Other(
                "this response has failed before, or belongs to a call that is over".to_owned(),
            ));
        };
        let mut deadline = self.patience.deadline(open.opened, timeout);
        if let Some(ms) = timeout_ms {
            deadline = deadline.min(Instant::now() + Duration::from_millis(ms.into()));
        }
        let piece = open.piece(deadline, max_body).await;
        if piece.is_err() {
            // Closes the connection.
            self.incoming.by_number.remove(&number);
        }
        piece
    }

    fn drop(&mut self, handle: Resource<Incoming>) -> wasmtime::Result<()> {
        self.incoming.by_number.remove(&handle.rep());
        Ok(())
    }
}

impl Open {
    /// The next piece; `None` at the end.
    async fn piece(
        &mut self,
        deadline: Instant,
        max_body: usize,
    ) -> Result<Option<Vec<u8>>, HttpError> {
        let began = Instant::now();
        tokio::time::timeout_at(deadline, self.ready(max_body))
            .await
            .map_err(|_| too_late(began, deadline))?;
        if let Some(ended) = self.ended.take() {
            return ended.map(|()| None);
        }
        let size = self.waiting.len().min(MAX_PIECE);
        Ok(Some(self.waiting.split_to(size).to_vec()))
    }

    /// Waits until there is something to hand out, or to tell. Nothing is lost if it is dropped.
    async fn ready(&mut self, max_body: usize) {
        while self.waiting.is_empty() && self.ended.is_none() {
            let Some(frame) = self.body.frame().await else {
                self.ended = Some(Ok(()));
                return;
            };
            let Ok(frame) = frame else {
                self.ended = Some(Err(HttpError::ConnectionFailed(
                    "the connection broke in the middle of the answer".to_owned(),
                )));
                return;
            };
            // Trailers are of no interest.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.meter.received(data.len());
            match self.left.checked_sub(data.len()) {
                Some(left) => (self.left, self.waiting) = (left, data),
                None => self.ended = Some(Err(HttpError::ResponseTooLarge(max_body as u64))),
            }
        }
    }
}

fn too_late(began: Instant, deadline: Instant) -> HttpError {
    let waited = deadline.saturating_duration_since(began);
    HttpError::Timeout(u32::try_from(waited.as_millis()).unwrap_or(u32::MAX))
}

impl State {
    /// What `http.ready` does.
    pub(super) async fn ready(
        &mut self,
        responses: Vec<Resource<Incoming>>,
    ) -> Result<u32, HttpError> {
        let (timeout, max_body) = (self.egress()?.timeout, self.egress()?.max_body);
        let unknown = || HttpError::Other("a response that is over was waited for".to_owned());
        let mut deadline = None;
        let mut waiting = Vec::new();
        let mut all = self
            .incoming
            .by_number
            .iter_mut()
            .collect::<HashMap<_, _>>();
        for (place, response) in (0_u32..).zip(&responses) {
            let open = all.remove(&response.rep()).ok_or_else(unknown)?;
            let opened = open.opened;
            deadline.get_or_insert_with(|| self.patience.deadline(opened, timeout));
            waiting.push(Box::pin(async move {
                open.ready(max_body).await;
                place
            }));
        }
        let deadline = deadline.ok_or_else(unknown)?;
        let began = Instant::now();
        let first = futures_util::future::select_all(waiting);
        match tokio::time::timeout_at(deadline, first).await {
            Ok((place, ..)) => Ok(place),
            Err(_) => Err(too_late(began, deadline)),
        }
    }
}
