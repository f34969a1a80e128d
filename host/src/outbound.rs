//! The one HTTP client for requests out of the gateway. Knows nothing of plugins and tokens.

mod guard;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::rt::Executor;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use thiserror::Error;
use url::{Host, Url};

use crate::repoll::{self, Repoll};
pub use guard::Guard;
use guard::Resolver;

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which the other end is asked whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// Why there is no client.
#[derive(Debug, Error)]
#[error("TLS cannot be set up")]
pub struct NoTls(#[from] rustls::Error);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// Nothing came in time; carries the limit in milliseconds.
    #[error("no answer within {0} ms")]
    Timeout(u32),
    /// The answer is larger than this many bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// No connection, or it broke. The reason names no address.
    #[error("{0}")]
    Connection(&'static str),
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Pooled connections to backends. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    guard: Option<Guard>,
}

impl Client {
    /// A client that trusts the machine's certificate authorities. It follows no redirect and
    /// uses no proxy.
    ///
    /// # Errors
    /// [`NoTls`].
    pub fn new() -> Result<Self, NoTls> {
        Self::with(None)
    }

    /// Like [`Client::new`], for URLs that strangers name: it connects to no address that the
    /// guard does not let it reach, whatever a name resolves to.
    ///
    /// # Errors
    /// [`NoTls`].
    pub fn guarded(guard: Guard) -> Result<Self, NoTls> {
        Self::with(Some(guard))
    }

    /// Whether a URL may be asked for, as far as can be told without resolving its name.
    pub fn may_reach(&self, url: &Url) -> bool {
        let Some(guard) = &self.guard else {
            return true;
        };
        match url.host() {
            Some(Host::Ipv4(ip)) => guard.lets(url.host_str(), ip.into()),
            Some(Host::Ipv6(ip)) => guard.lets(url.host_str(), ip.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }

    fn with(guard: Option<Guard>) -> Result<Self, NoTls> {
        let tls = tls()?;
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(guard.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A stream may be silent for hours; whether its other end still lives is asked below it.
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE / 4));
        tcp.set_keepalive_retries(Some(4));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = hyper_util::client::legacy::Client::builder(Connections)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Ok(Self {
            inner: client,
            guard,
        })
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_body: usize,
    ) -> Result<Answer, SendError> {
        // Not by `within`, which would keep it twice.
        let exchange = async {
            let (parts, body) = self.begin(request).await?;
            let body = read_bounded(body, max_body, Wire::of(parts.version)).await?;
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(late(timeout)),
        }
    }

    /// Sends one request and waits for status and header of the answer. Dropping the body, or
    /// this future, closes the exchange. `max_body` only refuses a body that announces more:
    /// whoever reads it counts.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn open(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_body: usize,
    ) -> Result<(Parts, Incoming), SendError> {
        let (parts, body) = within(timeout, self.begin(request)).await?;
        check_announced(&body, max_body)?;
        Ok((parts, body))
    }

    /// Like [`open`](Self::open), but bounds nothing except the time to connect: how long an
    /// answer may take, only its reader knows.
    ///
    /// # Errors
    /// [`SendError::Connection`].
    pub async fn begin(&self, request: Request<Bytes>) -> Result<(Parts, Incoming), SendError> {
        if let Some(guard) = &self.guard
            && !guard.lets_literal(request.uri())
        {
            return Err(SendError::Connection("no connection"));
        }
        let answer = self.inner.request(request.map(Full::new)).await;
        let answer = answer.map_err(|error| {
            tracing::debug!(error = %chain(&error), "an exchange failed");
            SendError::Connection(if error.is_connect() {
                "no connection"
            } else {
                "the connection broke"
            })
        })?;
        Ok(answer.into_parts())
    }
}

/// TLS that trusts the machine's certificate authorities.
///
/// # Errors
/// [`NoTls`].
pub fn tls() -> Result<rustls::ClientConfig, NoTls> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()?;
    Ok(match tls.clone().with_native_roots() {
        Ok(tls) => tls.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities found on this machine: https backends will fail");
            tls.with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        }
    })
}

/// Reads the rest of an answer that was [opened](Client::open) or [begun](Client::begin).
///
/// # Errors
/// [`SendError`].
pub async fn rest(body: Incoming, max_body: usize) -> Result<Bytes, SendError> {
    // The body does not tell its version.
    read_bounded(body, max_body, Wire::Shared).await
}

/// Waits for an exchange, but no longer than this.
async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    tokio::time::timeout(timeout, exchange)
        .await
        .map_err(|_| late(timeout))?
}

fn late(timeout: Duration) -> SendError {
    SendError::Timeout(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))
}

/// A body that announces more than `max` bytes is not begun.
fn check_announced(body: &Incoming, max: usize) -> Result<(), SendError> {
    if body.size_hint().lower() > max as u64 {
        return Err(SendError::TooLarge(max));
    }
    Ok(())
}

/// Reads a body up to `max` bytes and not one more: a body that announces or sends more is
/// given up at once, its connection with it.
async fn read_bounded(mut body: Incoming, max: usize, wire: Wire) -> Result<Bytes, SendError> {
    check_announced(&body, max)?;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = poll_fn(|context| next(&mut body, wire, context)).await {
        let frame = frame.map_err(|_| {
            SendError::Connection("the connection broke in the middle of the answer")
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = rest.len() + first.as_ref().map_or(0, Bytes::len);
        if so_far + data.len() > max {
            return Err(SendError::TooLarge(max));
        }
        // One frame is the usual case and is not copied.
        match first.take() {
            // Nothing comes any more of an answer that said how long it is.
            None if rest.is_empty() && body.is_end_stream() => return Ok(data),
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(begin) => {
                // What is left of an answer that said how long it is, so that it is not moved while it grows.
                let left = usize::try_from(body.size_hint().lower()).unwrap_or(max);
                rest.reserve(begin.len() + data.len() + left.min(max));
                rest.extend_from_slice(&begin);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

/// How many exchanges a connection may carry at one time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// One: HTTP/1.
    Single,
    /// Several: HTTP/2 and later, or nobody knows.
    Shared,
}

impl Wire {
    fn of(version: Version) -> Self {
        if version < Version::HTTP_2 {
            Self::Single
        } else {
            Self::Shared
        }
    }
}

/// The next frame of a body. hyper wakes the connection for each that is taken. With a single exchange that has nothing to
/// do after the last; otherwise it may have to make room for others.
fn next(
    body: &mut Incoming,
    wire: Wire,
    context: &mut Context<'_>,
) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    let (polled, held) = repoll::holding(|| Pin::new(&mut *body).poll_frame(context));
    let is_over = wire == Wire::Single && body.is_end_stream();
    if let Some(held) = held.filter(|_| !is_over) {
        held.wake();
    }
    polled
}

/// Runs connections.
#[derive(Clone, Copy)]
struct Connections;

impl<F> Executor<F> for Connections
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, connection: F) {
        tokio::spawn(Repoll::new(connection));
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
