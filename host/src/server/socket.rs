//! A socket that gives up on a client that takes nothing of what it is sent: neither the memory of
//! an answer nor the task behind it is held for ever.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection with a bound on how long a write may make no progress.
pub(super) struct Socket {
    stream: TcpStream,
    patience: Duration,
    /// Runs while the client takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
    stuck: bool,
}

impl Socket {
    /// Wraps a connection.
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
            stuck: false,
        }
    }

    /// Whether the client was given up.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Closes it at once; the system, too, forgets what was not taken.
    pub(super) fn abort(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// Bounds the wait for a write.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.stuck = true;
        let why = "the client takes nothing of what it is sent";
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, why)))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_served_and_one_that_reads_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (server, _) = listener.accept().await.expect("accepted");
        let mut socket = Socket::new(server, Duration::from_millis(200));
        // More than the system keeps for both sides.
        let much = vec![7; 64 * 1024 * 1024];
        let reading = tokio::spawn(async move {
            let mut read = vec![0; much.len()];
            client.read_exact(&mut read).await.expect("all of it");
            client
        });
        let much = vec![7; 64 * 1024 * 1024];
        socket.write_all(&much).await.expect("taken");
        assert!(!socket.is_stuck());
        let client = reading.await.expect("the client");
        let error = socket.write_all(&much).await.expect_err("given up");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(socket.is_stuck());
        drop(client);
    }
}
