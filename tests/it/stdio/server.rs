//! A Streamable HTTP server that does what a test says, and remembers what it was sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) http: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The message; null without a body. A form, as an object.
    pub(crate) body: Value,
}

impl Seen {
    /// A header as text; empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The JSON-RPC method, or the HTTP method where there is no message.
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or(self.http.as_str())
    }

    /// A good response with this result.
    pub(crate) fn result(&self, result: Value) -> Answer {
        Answer::json(
            200,
            json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result }),
        )
    }

    /// An error response.
    pub(crate) fn error(&self, status: u16, code: i64) -> Answer {
        let error = json!({ "code": code, "message": "no" });
        Answer::json(
            status,
            json!({ "jsonrpc": "2.0", "id": self.body["id"], "error": error }),
        )
    }
}

/// What the server answers.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    Whole(String),
    Events(mpsc::UnboundedReceiver<String>),
}

impl Answer {
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Whole(String::new()),
        }
    }

    pub(crate) fn json(status: u16, json: Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self {
            status,
            headers,
            body: Body::Whole(json.to_string()),
        }
    }

    /// A stream that says what is sent into the other end, and ends with it.
    pub(crate) fn events() -> (Self, mpsc::UnboundedSender<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        (
            Self {
                status: 200,
                headers,
                body: Body::Events(receiver),
            },
            sender,
        )
    }

    /// A stream that says this and ends.
    pub(crate) fn said(events: &[String]) -> Self {
        let (answer, sender) = Self::events();
        for event in events {
            sender.send(event.clone()).expect("open");
        }
        answer
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A message as an event.
pub(crate) fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// Streams that the client left.
    left: AtomicUsize,
}

type Handler = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// The server. Stops when dropped.
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeServer {
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(|_| handler).await
    }

    /// Starts one whose answers name its own URL.
    pub(crate) async fn start_with<H>(handler: impl FnOnce(String) -> H) -> Self
    where
        H: Fn(&Seen) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let handler: Handler = Arc::new(handler(format!("http://{address}")));
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), handler));
        Self {
            address,
            shared,
            task,
        }
    }

    /// Its MCP endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The requests with this method (of JSON-RPC, else of HTTP) so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.method() == method)
            .collect()
    }

    /// How often each path was asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    /// Waits until this many requests with this method came.
    pub(crate) async fn called(&self, method: &str, times: usize) -> Vec<Seen> {
        let enough = || self.calls(method).len() >= times;
        cortex_tests::gateway::eventually(enough, || format!("{:#?}", self.seen())).await;
        self.calls(method)
    }

    /// Waits until the client has left this many streams.
    pub(crate) async fn left(&self, times: usize) {
        let enough = || self.shared.left.load(Ordering::SeqCst) >= times;
        cortex_tests::gateway::eventually(enough, || format!("{:#?}", self.seen())).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, handler: Handler) {
    // Ends with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, handler) = (Arc::clone(&shared), Arc::clone(&handler));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (shared, handler) = (Arc::clone(&shared), Arc::clone(&handler));
                async move { Ok::<_, Infallible>(answer(request, &shared, &handler).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // Clients that leave are what some tests are about.
            drop(connection.await);
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Arc<Shared>,
    handler: &Handler,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| form(&body));
    let path = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let seen = Seen {
        http: parts.method,
        path,
        headers: parts.headers,
        body,
    };
    lock(&shared.seen).push(seen.clone());
    let Answer {
        status,
        headers,
        body,
    } = handler(&seen);
    let mut response = Response::new(match body {
        Body::Whole(text) => BodyExt::boxed_unsync(Full::new(Bytes::from(text))),
        Body::Events(events) => stream(events, Arc::clone(shared)),
    });
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let name = http::HeaderName::try_from(name).expect("a name");
        response
            .headers_mut()
            .append(name, value.parse().expect("a value"));
    }
    response
}

fn form(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let hex: String = rest.by_ref().take(2).map(char::from).collect();
                    bytes.push(u8::from_str_radix(&hex, 16).expect("hex"));
                }
                other => bytes.push(other),
            }
        }
        String::from_utf8(bytes).expect("UTF-8")
    };
    let object: serde_json::Map<_, _> = pairs.map(|(k, v)| (decode(k), json!(decode(v)))).collect();
    if object.is_empty() {
        Value::Null
    } else {
        Value::Object(object)
    }
}

/// Counts when it is dropped before the stream has ended.
struct Watch(Arc<Shared>, bool);

impl Watch {
    fn ended(&mut self) {
        self.1 = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.1 {
            self.0.left.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn stream(
    events: mpsc::UnboundedReceiver<String>,
    shared: Arc<Shared>,
) -> UnsyncBoxBody<Bytes, Infallible> {
    let frames = futures_util::stream::unfold(
        (events, Watch(shared, false)),
        |(mut events, mut watch)| async move {
            match events.recv().await {
                Some(event) => Some((Ok(Frame::data(Bytes::from(event))), (events, watch))),
                None => {
                    watch.ended();
                    None
                }
            }
        },
    );
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
