//! A reverse proxy that only forwards: the least that one more hop over hyper costs.

use std::net::SocketAddr;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::serve::{Answer, Http, json};

/// Forwards everything to one address over pooled connections, and streams the answers back.
#[derive(Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: SocketAddr,
}

impl Proxy {
    /// A proxy to `upstream`, which it speaks this version of HTTP to.
    pub(crate) fn new(upstream: SocketAddr, http: Http) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(http == Http::Two)
            .build(tcp);
        Self { client, upstream }
    }

    fn target(&self, path: Option<&PathAndQuery>) -> Result<Uri, hyper::http::Error> {
        let authority: Authority = self.upstream.to_string().parse()?;
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority)
            .path_and_query(path.map_or("/", PathAndQuery::as_str))
            .build()
    }
}

impl Answer for Proxy {
    type Body = Either<Incoming, Full<Bytes>>;

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Self::Body> {
        let refused = |text: &'static str| json(StatusCode::BAD_GATEWAY, text).map(Either::Right);
        let Ok(target) = self.target(request.uri().path_and_query()) else {
            return refused(r#"{"error":"no such address"}"#);
        };
        *request.uri_mut() = target;
        // Both speak of this hop; the client writes its own.
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(CONNECTION);
        match self.client.request(request).await {
            Ok(mut response) => {
                response.headers_mut().remove(CONNECTION);
                response.map(Either::Left)
            }
            Err(_) => refused(r#"{"error":"no answer from upstream"}"#),
        }
    }
}
