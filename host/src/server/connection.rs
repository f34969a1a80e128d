//! One connection: its requests, and how it ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;
use http::header::CONNECTION;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::socket::Socket;
use super::{respond, routes};
use crate::pipeline::{Arrival, Gateway, RequestBody, Unread};
use crate::trace;
use crate::types::RequestId;

/// Largest header block, the request line in it; of trailers, too.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Longest that is waited for a client to take notice of the end.
const END_TIME: Duration = Duration::from_secs(2);
/// Most that is taken from a client that goes on sending after the end.
const END_BYTES: usize = 8 * 1024 * 1024;

/// Tells clients by which id the log and the audit know a request. None is taken from outside: it
/// would be somebody else's word in our log.
const REQUEST_ID: &str = "x-request-id";

/// Which socket a connection came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// That of everybody.
    Public,
    /// That of operators.
    Operators,
}

/// Serves one connection to its end. `stopping`: the request in flight is the last.
pub(super) async fn serve(
    gw: Arc<Gateway>,
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
    stopping: CancellationToken,
) {
    let bounds = gw.config.bounds;
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let gw = Arc::clone(&gw);
        let id = RequestId::new();
        let (head, body) = request.into_parts();
        let unread = Unread::default();
        let arrival = Arrival {
            head,
            body: RequestBody::new(body, &unread),
            peer,
            id,
        };
        let answer = async move {
            let mut reply = match door {
                Door::Public => routes::route(&gw, arrival).await,
                Door::Operators => Box::pin(routes::for_operators(&gw, arrival)).await,
            };
            if let Ok(id) = HeaderValue::try_from(id.to_string()) {
                reply.headers_mut().insert(REQUEST_ID, id);
            }
            // Where connections are balanced and not requests, the next one reaches another instance.
            if unread.is_left() || gw.leaving.load(Ordering::Relaxed) {
                // The connection ends with this answer (RFC 9112 §9.6).
                let close = HeaderValue::from_static("close");
                reply.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(reply)
        };
        // Boxed, so that the connection can be taken apart when it has failed; and within, so that it is moved once.
        Box::pin(trace::within(id, None, Box::pin(answer)))
    });
    let socket = TokioIo::new(Socket::new(stream, bounds.write_time));
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_time)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(socket, service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = stopping.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let parts = connection.into_parts();
    let mut socket = parts.io.into_inner();
    match ended {
        Ok(()) => {}
        // A request that was begun; one that was not is just an idle connection at its end.
        Err(error) if error.is_timeout() && !parts.read_buf.is_empty() => {
            let _ = socket.write_all(respond::SLOW_HEADER).await;
        }
        Err(error) => debug!(%error, "a connection ended badly"),
    }
    if socket.is_stuck() {
        socket.abort();
    } else if !stopping.is_cancelled() {
        // Boxed: its buffer is not to lie in every connection for as long as that is open.
        Box::pin(end_gently(socket)).await;
    }
}

/// Ends a connection so that the client gets to read what it was told: a socket that is closed
/// while something unread is in it takes the last answer back (RFC 9112 §9.6).
pub(super) async fn end_gently(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let rest = async {
        stream.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut left = END_BYTES;
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        std::io::Result::Ok(())
    };
    // However it ends, it ends.
    let _ = tokio::time::timeout(END_TIME, rest).await;
}
