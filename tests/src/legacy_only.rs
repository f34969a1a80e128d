//! A proxy that makes a server of both eras a server of the legacy one: requests of the modern era
//! are refused as servers do that have never heard of it.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Client = hyper_util::client::legacy::Client<HttpConnector, Incoming>;

/// The proxy. Stops when dropped.
pub struct LegacyOnly {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl LegacyOnly {
    /// Starts one in front of the server at this URL.
    pub async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let to: Uri = url.parse().expect("a URL");
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (to, client) = (to.clone(), client.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let (to, client) = (to.clone(), client.clone());
                        async move { Ok::<_, Infallible>(pass(&client, to, request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // Clients close their streams when they like.
                    drop(connection.await);
                });
            }
        });
        Self { address, task }
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for LegacyOnly {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    client: &Client,
    to: Uri,
    mut request: Request<Incoming>,
) -> Response<BoxBody<Bytes, hyper::Error>> {
    let version = request.headers().get("mcp-protocol-version");
    if version.is_some_and(|version| version.as_bytes() >= b"2026-07-28".as_slice()) {
        return status(StatusCode::BAD_REQUEST);
    }
    *request.uri_mut() = to;
    request.headers_mut().remove("host");
    match client.request(request).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(_) => status(StatusCode::BAD_GATEWAY),
    }
}

fn status(status: StatusCode) -> Response<BoxBody<Bytes, hyper::Error>> {
    let body = Full::new(Bytes::new()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}
