//! Metadata, keys and introspection over HTTP.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Key, now};

/// What a path answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// JSON.
    Json(u16, Value),
    /// JSON with this `Cache-Control`.
    Cached(&'static str, Value),
    /// These bytes.
    Raw(u16, String),
    /// Nothing, for ever.
    Hang,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body as text.
    pub body: String,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    seen: Mutex<Vec<Seen>>,
    down: AtomicBool,
}

/// The authorization server. Stops when dropped.
pub struct FakeIssuer {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeIssuer {
    /// Starts one that publishes these keys and calls every token active.
    pub async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let issuer = Self {
            address,
            shared: Arc::clone(&shared),
            task: tokio::spawn(accept(listener, shared)),
        };
        let metadata = json!({
            "issuer": issuer.url(),
            "jwks_uri": format!("{}/keys", issuer.url()),
            "response_types_supported": ["code"],
        });
        issuer.answer(
            "/.well-known/oauth-authorization-server",
            Answer::Json(200, metadata),
        );
        issuer.answer("/introspect", Answer::Json(200, json!({ "active": true })));
        issuer.publish(keys);
        issuer
    }

    /// Its identifier, which is also its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a path answers from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        lock(&self.shared.answers).insert(path.to_owned(), answer);
    }

    /// Publishes exactly these keys from now on.
    pub fn publish(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.answer("/keys", Answer::Json(200, json!({ "keys": keys })));
    }

    /// Breaks every connection, or serves them again.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// The requests for one path so far.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = lock(&self.shared.seen);
        seen.iter().filter(|s| s.path == path).cloned().collect()
    }

    /// Claims of a good token, for the tests to spoil.
    pub fn claims(&self) -> Value {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        json!({
            "iss": self.url(),
            "aud": "http://localhost:3213/mcp",
            "sub": "user-1",
            "jti": format!("token-{count}"),
            "iat": now(),
            "exp": now() + 600,
            "client_id": "client-1",
            "scope": "mcp:test:use",
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ends with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // Without keep-alive, so that going down shows at once. A broken connection is what
            // some tests are about.
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            drop(connection.await);
        });
    }
}

/// The connection is broken off on purpose.
#[derive(Debug)]
struct Down;

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("down")
    }
}

impl std::error::Error for Down {}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Down> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let path = parts.uri.path().to_owned();
    lock(&shared.seen).push(Seen {
        path: path.clone(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    if shared.down.load(Ordering::SeqCst) {
        return Err(Down);
    }
    let answer = lock(&shared.answers).get(&path).cloned();
    let response = match answer {
        None => whole(404, "{}".to_owned()),
        Some(Answer::Json(status, value)) => whole(status, value.to_string()),
        Some(Answer::Raw(status, text)) => whole(status, text),
        Some(Answer::Cached(how, value)) => {
            let mut response = whole(200, value.to_string());
            if let Ok(how) = how.parse() {
                response.headers_mut().insert("cache-control", how);
            }
            response
        }
        Some(Answer::Hang) => std::future::pending::<Result<_, Infallible>>()
            .await
            .unwrap_or_else(|never| match never {}),
    };
    Ok(response)
}

fn whole(status: u16, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("application/json"),
    );
    response
}
