//! The body of a request, which tells whether it was read to its end. After an answer to a request whose
//! body was not, the connection ends, and the client has to be told: it would send its next request on it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::repoll;

/// A body that is being received.
pub struct RequestBody {
    body: Incoming,
    ended: bool,
    unread: Arc<AtomicBool>,
}

/// Whether a body was given up before its end.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Whether it was.
    pub fn is_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl RequestBody {
    /// Of a request that has just arrived.
    pub fn new(body: Incoming, unread: &Unread) -> Self {
        Self {
            body,
            ended: false,
            unread: Arc::clone(&unread.0),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_end_stream() {
            self.unread.store(true, Ordering::Release);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // hyper wakes the connection for each frame that is taken, which has nothing to do after the last.
        let (polled, held) = repoll::holding(|| Pin::new(&mut self.body).poll_frame(cx));
        self.ended |= matches!(polled, Poll::Ready(None));
        if let Some(held) = held
            && !self.is_end_stream()
        {
            held.wake();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
