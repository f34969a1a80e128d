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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::repoll::Repoll;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Serves a request on a connection until its body has been read, and waits then. Says how often it was polled while
    /// it waited, how often the task of the connection was waked, and what was read.
    async fn read(pieces: &[&str]) -> (usize, usize, Vec<u8>) {
        let (polled, waked) = (AtomicUsize::new(0), Arc::new(Count::default()));
        let body = std::sync::Mutex::new(Vec::new());
        let (mut client, server) = tokio::io::duplex(4096);
        let service = service_fn(|request: hyper::Request<Incoming>| async {
            let read = RequestBody::new(request.into_body(), &Unread::default()).collect();
            let read = read.await.map(|read| read.to_bytes().to_vec());
            *body.lock().expect("nobody has panicked") = read.expect("a body");
            poll_fn(|_| {
                polled.fetch_add(1, Ordering::Relaxed);
                Poll::<Result<hyper::Response<Full<Bytes>>, Infallible>>::Pending
            })
            .await
        });
        {
            let builder = hyper::server::conn::http1::Builder::new();
            let connection = builder.serve_connection(TokioIo::new(server), service);
            let mut connection = pin!(Repoll::new(connection));
            let waker = Waker::from(Arc::clone(&waked));
            for piece in pieces {
                client.write_all(piece.as_bytes()).await.expect("room");
                // What comes from the client is no wake of its own.
                let before = waked.0.swap(0, Ordering::Relaxed);
                assert!(before <= 1, "{before} wakes for one piece");
                let polled = connection.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
        }
        let waked = waked.0.load(Ordering::Relaxed);
        (
            polled.into_inner(),
            waked,
            body.into_inner().expect("nobody has panicked"),
        )
    }

    #[tokio::test]
    async fn what_waits_after_a_body_is_not_polled_once_more_for_it() {
        let whole = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(read(&[whole]).await, (1, 0, b"hello".to_vec()));
    }

    #[tokio::test]
    async fn a_body_that_comes_in_pieces_is_read_to_its_end() {
        let known = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nhel";
        let chunked =
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let at_once = format!("{chunked}1\r\n!\r\n0\r\n\r\n");
        for pieces in [
            &[known, "l", "o!"][..],
            &[chunked, "1\r\n!\r\n", "0\r\n\r\n"],
            &[&at_once],
        ] {
            let (_, waked, body) = read(pieces).await;
            assert_eq!((waked, body), (0, b"hello!".to_vec()));
        }
    }
}
