//! The accept loop that all parts share.

use std::convert::Infallible;
use std::error::Error;
use std::io::Read as _;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// What a part's first line starts with; its address follows.
pub(crate) const LISTENING: &str = "listening on ";

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2, from the first byte on.
    Two,
}

impl Http {
    /// As the parts are told.
    pub(crate) fn of(two: bool) -> Self {
        if two { Self::Two } else { Self::One }
    }
}

/// Answers requests. Cloned for each connection.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    /// Body of the answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one request; what goes wrong becomes a status.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Listens on a free port of loopback, says which, and serves until standard input ends: a
/// part must not outlive the benchmark that started it, however that one ended.
pub(crate) async fn until_stdin_ends(part: impl Answer, http: Http) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("cannot listen on 127.0.0.1")?;
    println!("{LISTENING}{}", listener.local_addr()?);
    let end = tokio::task::spawn_blocking(|| {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(1..)) {}
    });
    tokio::select! {
        () = serve(listener, part, http) => {}
        _ = end => {}
    }
    Ok(())
}

/// Serves for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, part: impl Answer, http: Http) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others will end, then it works again.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        // Without it small answers wait for the peer's delayed acknowledgement; where it
        // cannot be set the connection still works.
        let _ = stream.set_nodelay(true);
        let part = part.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let part = part.clone();
                async move { Ok::<_, Infallible>(part.answer(request).await) }
            });
            let stream = TokioIo::new(stream);
            // A connection that breaks is the peer's affair; the load reports it.
            let _ = match http {
                Http::One => {
                    http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(stream, service)
                        .await
                }
                Http::Two => {
                    http2::Builder::new(TokioExecutor::new())
                        .timer(TokioTimer::new())
                        .serve_connection(stream, service)
                        .await
                }
            };
        });
    }
}

/// A whole JSON answer.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        const { HeaderValue::from_static("application/json") },
    );
    response
}
