//! A native MCP server that does what a test planned. It checks what every server of its era
//! checks, and remembers what it was asked.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::address::free_address;

/// Which era a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28.
    Modern,
    /// 2025-11-25, with sessions.
    Legacy,
}

/// One message that came.
#[derive(Clone, Debug)]
pub struct Message {
    /// HTTP method.
    pub http: Method,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body; null when there is none.
    pub body: Value,
}

impl Message {
    /// The JSON-RPC method.
    pub fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The response with this result.
    pub fn result(&self, result: Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result })
    }

    /// The response with this error.
    pub fn error(&self, code: i64, message: &str) -> Value {
        let error = json!({ "code": code, "message": message });
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "error": error })
    }

    /// Progress of this request.
    pub fn progress(&self, done: f64) -> Value {
        let token = &self.body["params"]["_meta"]["progressToken"];
        json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": token, "progress": done, "message": "on it" } })
    }
}

/// What the server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A JSON body.
    Json(u16, Value),
    /// Any body with this content type.
    Raw(u16, &'static str, String),
    /// A stream of events.
    Events(Vec<Step>),
    /// Nothing, for ever.
    Hang,
}

/// What happens next on a stream of events.
#[derive(Clone, Debug)]
pub enum Step {
    /// An event with this message.
    Send(Value),
    /// These bytes.
    Raw(String),
    /// Nothing until [`FakeMcp::go_on`].
    Wait,
    /// Nothing for so many milliseconds.
    Pause(u64),
    /// A comment, over and over.
    KeepAlive,
}

type Plan = Arc<dyn Fn(&Message) -> Answer + Send + Sync>;

struct Shared {
    era: Era,
    plans: Mutex<HashMap<String, Plan>>,
    seen: Mutex<Vec<Message>>,
    sessions: Mutex<HashSet<String>>,
    begun: AtomicUsize,
    gate: Semaphore,
    /// Streams that the client closed before their end.
    closed: AtomicUsize,
}

/// The server.
pub struct FakeMcp {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

type Body = BoxBody<Bytes, Infallible>;

impl FakeMcp {
    /// Starts a server with tools and nothing else.
    pub async fn start(era: Era) -> Self {
        Self::start_at(free_address(), era).await
    }

    /// Starts a server at an address of choice.
    pub async fn start_at(address: SocketAddr, era: Era) -> Self {
        let listener = TcpListener::bind(address).await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            era,
            plans: Mutex::default(),
            seen: Mutex::default(),
            sessions: Mutex::default(),
            begun: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            closed: AtomicUsize::new(0),
        });
        let server = Self {
            address,
            shared: Arc::clone(&shared),
            task: tokio::spawn(accept(listener, shared)),
        };
        let capabilities = json!({ "tools": {}, "logging": {} });
        server.capabilities(capabilities);
        server.result("tools/list", json!({ "tools": [Self::tool("act")] }));
        server.result("logging/setLevel", json!({}));
        server
    }

    /// A tool of this name.
    pub fn tool(name: &str) -> Value {
        json!({ "name": name, "description": "For tests.", "inputSchema": { "type": "object" } })
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Says what it is able to do.
    pub fn capabilities(&self, capabilities: Value) {
        let discovered = json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"],
                                 "capabilities": capabilities });
        let initialized = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
                                  "serverInfo": { "name": "fake", "version": "1" } });
        match self.shared.era {
            Era::Modern => self.result("server/discover", discovered),
            Era::Legacy => self.result("initialize", initialized),
        }
    }

    /// Plans what a method is answered with.
    pub fn plan(&self, method: &str, plan: impl Fn(&Message) -> Answer + Send + Sync + 'static) {
        lock(&self.shared.plans).insert(method.to_owned(), Arc::new(plan));
    }

    /// Plans a result as JSON.
    pub fn result(&self, method: &str, result: Value) {
        self.plan(method, move |message| {
            Answer::Json(200, message.result(result.clone()))
        });
    }

    /// Plans a result as the end of a stream.
    pub fn events(
        &self,
        method: &str,
        steps: impl Fn(&Message) -> Vec<Step> + Send + Sync + 'static,
    ) {
        self.plan(method, move |message| Answer::Events(steps(message)));
    }

    /// The messages of one method so far.
    pub fn seen(&self, method: &str) -> Vec<Message> {
        let seen = lock(&self.shared.seen);
        seen.iter()
            .filter(|m| m.method() == method)
            .cloned()
            .collect()
    }

    /// All messages so far: their methods, and those of HTTP where there is no message.
    pub fn methods(&self) -> Vec<String> {
        let seen = lock(&self.shared.seen);
        let name = |m: &Message| match m.method() {
            "" => m.http.to_string(),
            method => method.to_owned(),
        };
        seen.iter().map(name).collect()
    }

    /// Forgets all messages so far.
    pub fn forget_messages(&self) {
        lock(&self.shared.seen).clear();
    }

    /// Ends all sessions.
    pub fn end_sessions(&self) {
        lock(&self.shared.sessions).clear();
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> usize {
        lock(&self.shared.sessions).len()
    }

    /// Lets one [`Step::Wait`] pass.
    pub fn go_on(&self) {
        self.shared.gate.add_permits(1);
    }

    /// Streams that the client closed before their end.
    pub fn closed(&self) -> usize {
        self.shared.closed.load(Ordering::SeqCst)
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ends with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| serve(Arc::clone(&shared), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A broken connection is what some tests are about.
            drop(connection.await);
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes());
    let message = Message {
        http: parts.method,
        headers: parts.headers,
        body: serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default(),
    };
    lock(&shared.seen).push(message.clone());
    let refused = match shared.era {
        Era::Modern => check_modern(&message),
        Era::Legacy => check_legacy(&shared, &message),
    };
    let answer = match refused {
        Some(refused) => refused,
        None => {
            let plan = lock(&shared.plans).get(message.method()).cloned();
            match plan {
                Some(plan) => plan(&message),
                None => {
                    let status = match shared.era {
                        Era::Modern => 404,
                        Era::Legacy => 200,
                    };
                    Answer::Json(status, message.error(-32601, "Method not found"))
                }
            }
        }
    };
    let mut response = carry_out(&shared, answer).await;
    if message.method() == "initialize" && shared.era == Era::Legacy {
        let id = format!("session-{}", shared.begun.fetch_add(1, Ordering::SeqCst));
        if let Ok(value) = id.parse() {
            response.headers_mut().insert("mcp-session-id", value);
        }
        lock(&shared.sessions).insert(id);
    }
    Ok(response)
}

/// What every modern server refuses (MCP 2026-07-28, Streamable HTTP, "Server Validation").
fn check_modern(message: &Message) -> Option<Answer> {
    let params = &message.body["params"];
    let version = &params["_meta"]["io.modelcontextprotocol/protocolVersion"];
    if message.http != Method::POST {
        return Some(Answer::Raw(405, "text/plain", String::new()));
    }
    if !params["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_object() {
        return Some(Answer::Json(400, message.error(-32602, "no capabilities")));
    }
    let name = params["name"].as_str().or(params["uri"].as_str());
    let name = match message.method() {
        "tools/call" | "prompts/get" | "resources/read" => name.unwrap_or_default(),
        _ => "",
    };
    let agrees = message.header("mcp-protocol-version") == version
        && message.header("mcp-method") == message.method()
        && message.header("mcp-name") == name;
    (!agrees).then(|| Answer::Json(400, message.error(-32020, "Header mismatch")))
}

/// What every legacy server with sessions refuses (MCP 2025-11-25, Transports, "Session Management").
fn check_legacy(shared: &Shared, message: &Message) -> Option<Answer> {
    if message.method() == "initialize" {
        return None;
    }
    let session = message.header("mcp-session-id").to_owned();
    let error = |status, code, words: &str| {
        let error = json!({ "code": code, "message": words });
        Some(Answer::Json(
            status,
            json!({ "jsonrpc": "2.0", "id": null, "error": error }),
        ))
    };
    if session.is_empty() {
        return error(400, -32000, "Bad Request: Server not initialized");
    }
    if !lock(&shared.sessions).contains(&session) {
        return error(404, -32001, "Session not found");
    }
    if message.http == Method::DELETE {
        lock(&shared.sessions).remove(&session);
        return Some(Answer::Raw(204, "text/plain", String::new()));
    }
    // Notifications and responses.
    let is_request = message.body.get("id").is_some() && message.body.get("method").is_some();
    (!is_request).then(|| Answer::Raw(202, "text/plain", String::new()))
}

async fn carry_out(shared: &Arc<Shared>, answer: Answer) -> Response<Body> {
    match answer {
        Answer::Json(status, value) => whole(status, "application/json", value.to_string()),
        Answer::Raw(status, content_type, text) => whole(status, content_type, text),
        Answer::Events(steps) => events(shared, steps),
        Answer::Hang => std::future::pending().await,
    }
}

fn whole(status: u16, content_type: &str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert("content-type", value);
    }
    response
}

/// Counts the streams that are dropped before their end.
struct Open {
    shared: Arc<Shared>,
    steps: std::vec::IntoIter<Step>,
    ended: bool,
}

impl Open {
    fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.closed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn events(shared: &Arc<Shared>, steps: Vec<Step>) -> Response<Body> {
    let open = Open {
        shared: Arc::clone(shared),
        steps: steps.into_iter(),
        ended: false,
    };
    let frames = futures_util::stream::unfold(open, |mut open| async move {
        loop {
            let text = match open.steps.next() {
                Some(Step::Send(message)) => format!("event: message\ndata: {message}\n\n"),
                Some(Step::Raw(text)) => text,
                Some(Step::Wait) => {
                    // Never closed.
                    if let Ok(permit) = open.shared.gate.acquire().await {
                        permit.forget();
                    }
                    continue;
                }
                Some(Step::Pause(ms)) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    continue;
                }
                Some(Step::KeepAlive) => {
                    open.steps = vec![Step::KeepAlive].into_iter();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    ": alive\n\n".to_owned()
                }
                None => {
                    open.end();
                    return None;
                }
            };
            return Some((Ok(Frame::data(Bytes::from(text))), open));
        }
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("text/event-stream"),
    );
    response
}
