//! A contract backend that does what a test planned, and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::address::free_address;
use crate::certificates::Certificates;

/// What the backend does when a method is called.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Answers JSON.
    Json(u16, Value),
    /// Answers these bytes.
    Raw(u16, &'static str),
    /// Redirects.
    Redirect(String),
    /// Says nothing for ever.
    Hang,
    /// Waits, then answers JSON.
    After(Duration, Value),
    /// Sends a body that begins like JSON and goes on for this many bytes. Announced: with a
    /// `Content-Length`.
    Endless {
        /// How many bytes.
        bytes: u64,
        /// Whether the length is announced.
        announced: bool,
    },
    /// Breaks the connection in the middle of the body.
    BreakOff,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its `method` member.
    pub method: String,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body as text.
    pub body: String,
    /// What it was spoken in.
    pub version: Version,
}

#[derive(Default)]
struct Shared {
    plans: Mutex<HashMap<String, Plan>>,
    seen: Mutex<Vec<Seen>>,
    /// Body bytes that were taken from [`Plan::Endless`].
    sent: std::sync::atomic::AtomicU64,
    /// Requests whose other end went away during [`Plan::Hang`].
    abandoned: std::sync::atomic::AtomicUsize,
    /// Connections that were made.
    connections: std::sync::atomic::AtomicUsize,
}

/// The backend.
pub struct FakeBackend {
    /// Where it listens.
    pub address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl FakeBackend {
    /// Starts a backend that offers these tools.
    pub async fn start(tools: Value) -> Self {
        Self::start_at(free_address(), tools).await
    }

    /// Starts a backend at an address of choice.
    pub async fn start_at(address: SocketAddr, tools: Value) -> Self {
        Self::serve(address, None, tools).await
    }

    /// Starts a backend that speaks HTTP/2 over TLS, and nothing else.
    pub async fn start_http2(certificates: &Certificates, tools: Value) -> Self {
        let tls = certificates.acceptor(&[b"h2"]);
        Self::serve(free_address(), Some(tls), tools).await
    }

    async fn serve(address: SocketAddr, tls: Option<TlsAcceptor>, tools: Value) -> Self {
        let listener = TcpListener::bind(address).await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let backend = Self {
            address,
            scheme: if tls.is_some() { "https" } else { "http" },
            shared: Arc::clone(&shared),
            task: tokio::spawn(accept(listener, tls, shared)),
        };
        backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
        backend
    }

    /// One tool `NAME` with scope `mcp:test:use`.
    pub fn tool(name: &str) -> Value {
        json!({ "name": name, "scope": "mcp:test:use", "description": "For tests.", "params": { "text": "string?" } })
    }

    /// Plans what happens when a method is called.
    pub fn plan(&self, method: &str, plan: Plan) {
        let mut plans = self
            .shared
            .plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        plans.insert(method.to_owned(), plan);
    }

    /// Changes the tools that it offers, by a function of its own, for tasks.
    pub fn offering(&self) -> impl Fn(Value) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |tools| {
            let mut plans = shared.plans.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = Plan::Json(200, json!({ "tools": tools }));
            plans.insert("list_tools".to_owned(), plan);
        }
    }

    /// The requests for one method so far.
    pub fn seen(&self, method: &str) -> Vec<Seen> {
        let seen = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|s| s.method == method)
            .cloned()
            .collect()
    }

    /// All requests so far.
    pub fn all_seen(&self) -> Vec<Seen> {
        let seen = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Forgets all requests so far.
    pub fn forget_requests(&self) {
        let mut seen = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.clear();
    }

    /// Body bytes that a reader took from [`Plan::Endless`].
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Requests whose other end went away during [`Plan::Hang`].
    pub fn abandoned(&self) -> usize {
        self.shared
            .abandoned
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Connections that were made to it.
    pub fn connections(&self) -> usize {
        self.shared
            .connections
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Stops it; its connections break.
    pub async fn stop(self) -> SocketAddr {
        let address = self.address;
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
        address
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Ends with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        shared
            .connections
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            if let Some(tls) = tls {
                let stream = tls.accept(stream).await.expect("TLS");
                let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                drop(connection.await);
                return;
            }
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A broken connection is what some plans are about.
            drop(connection.await);
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let method = serde_json::from_str::<Value>(&body)
        .ok()
        .and_then(|message| message["method"].as_str().map(str::to_owned))
        .unwrap_or_default();
    let seen = Seen {
        method: method.clone(),
        headers: parts.headers,
        body,
        version: parts.version,
    };
    shared
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
    let plan = shared
        .plans
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&method)
        .cloned();
    Ok(carry_out(
        plan.unwrap_or(Plan::Json(404, json!({ "error": "unknown method" }))),
        shared,
    )
    .await)
}

async fn carry_out(plan: Plan, shared: Arc<Shared>) -> Response<Body> {
    match plan {
        Plan::Json(status, value) => whole(status, value.to_string()),
        Plan::Raw(status, text) => whole(status, text.to_owned()),
        Plan::Redirect(to) => {
            let mut response = whole(307, "{}".to_owned());
            if let Ok(value) = to.parse() {
                response.headers_mut().insert("location", value);
            }
            response
        }
        Plan::Hang => {
            let _counted = Abandoned(shared);
            std::future::pending().await
        }
        Plan::After(wait, value) => {
            tokio::time::sleep(wait).await;
            whole(200, value.to_string())
        }
        Plan::Endless { bytes, announced } => endless(bytes, announced, shared),
        Plan::BreakOff => {
            let frames = futures_util::stream::iter([
                Ok(Frame::data(Bytes::from_static(b"{\"half\":"))),
                Err(std::io::Error::other("broken off on purpose")),
            ]);
            Response::new(BodyExt::boxed(StreamBody::new(frames)))
        }
    }
}

/// Counts a request that is given up before it is answered.
struct Abandoned(Arc<Shared>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0
            .abandoned
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

fn whole(status: u16, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    response
}

fn endless(total: u64, announced: bool, shared: Arc<Shared>) -> Response<Body> {
    const CHUNK: u64 = 64 * 1024;
    let frames = futures_util::stream::unfold(0u64, move |sent| {
        let shared = Arc::clone(&shared);
        async move {
            if sent >= total {
                return None;
            }
            shared
                .sent
                .fetch_add(CHUNK, std::sync::atomic::Ordering::Relaxed);
            let chunk = Bytes::from(vec![b'['; CHUNK as usize]);
            Some((Ok(Frame::data(chunk)), sent + CHUNK))
        }
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    if announced {
        response
            .headers_mut()
            .insert("content-length", total.into());
    }
    response
}
