//! The gateway's side, faked, so that plugins are tested with plain `cargo test`. Not there when
//! compiled for WebAssembly.
//!
//! ```
//! use cortex_plugin_sdk::{http, testing};
//!
//! let backend = testing::serve(|request| {
//!     assert_eq!(request.url, "http://docs.test/ping");
//!     Ok(testing::response(200, "[1,2]"))
//! });
//!
//! let response = http::Request::get(testing::target().url("/ping")).send();
//! assert_eq!(response.map(|r| r.is_json), Ok(true));
//! assert_eq!(backend.requests().len(), 1);
//! ```

mod database;
mod kept;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;

use serde::de::IgnoredAny;

use crate::backend::{Principal, RequestContext, Target, ToolCall};
use crate::client::AskError;
use crate::http::{Header, HttpError, Request, Response};
use crate::json::Json;
use crate::log::Level;
use crate::policy::Item;

pub(crate) use database::transaction;
pub use database::{Database, affected, database, rows};
pub(crate) use kept::{count, gauge, kv_get, kv_keys, kv_set, kv_swap};
pub use kept::{counted, gauged, grant_kv};

type Client = Box<dyn FnMut(&str, &str) -> Result<Json, AskError>>;
type Server = Box<dyn FnMut(&Request) -> Result<Streamed, HttpError>>;

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
    static REQUESTS: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
    static FAREWELL: RefCell<Option<Request>> = const { RefCell::new(None) };
    static CLOSED: Cell<usize> = const { Cell::new(0) };
    static SETTINGS: RefCell<String> = RefCell::new("{}".to_owned());
    static LOGS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static PROGRESS: RefCell<Vec<Progress>> = const { RefCell::new(Vec::new()) };
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
    static MEMORY: RefCell<HashMap<String, Json>> = RefCell::new(HashMap::new());
    static CLIENT_LOG: RefCell<Vec<ClientMessage>> = const { RefCell::new(Vec::new()) };
}

/// One report of [`progress`](crate::progress::report).
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// How far.
    pub done: f64,
    /// The end, if known.
    pub total: Option<f64>,
    /// What is going on.
    pub message: Option<String>,
}

/// One message of [`client_log`](crate::client_log::write).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMessage {
    /// Name of RFC 5424.
    pub level: String,
    /// Who speaks.
    pub logger: Option<String>,
    /// JSON.
    pub data: String,
}

/// Sets what [`settings`](crate::settings) reads on this thread: a JSON object.
pub fn set_settings(settings: impl Into<String>) {
    SETTINGS.set(settings.into());
}

pub(crate) fn settings() -> String {
    SETTINGS.with_borrow(Clone::clone)
}

/// What would be sent if the call of this thread were given up now.
pub fn left_behind() -> Option<Request> {
    FAREWELL.with_borrow(Clone::clone)
}

pub(crate) fn ready(responses: &[&FakeIncoming]) -> Result<u32, HttpError> {
    let mut places = (0_u32..).zip(responses);
    let found = places.find(|(_, response)| !response.0.pieces.is_empty());
    Ok(found.map_or(0, |(place, _)| place))
}

pub(crate) fn farewell(request: Option<&Request>) -> Result<(), HttpError> {
    FAREWELL.set(request.cloned());
    Ok(())
}

/// Answers what this thread asks the [client](crate::client), until the next call of this: method and
/// params in, the result out.
pub fn answer(client: impl FnMut(&str, &str) -> Result<Json, AskError> + 'static) {
    CLIENT.set(Some(Box::new(client)));
}

pub(crate) fn ask(method: &str, params: &str) -> Result<Json, AskError> {
    CLIENT.with_borrow_mut(|client| match client {
        Some(client) => client(method, params),
        None => Err(AskError::Unanswered("nobody is there".into())),
    })
}

/// Forgets what this thread has in its [memory](crate::memory).
pub fn forget() {
    MEMORY.take();
}

/// A slot of the faked memory.
#[derive(Debug)]
pub(crate) struct FakeSlot(String);

impl FakeSlot {
    pub(crate) fn get(&self) -> Option<Json> {
        MEMORY.with_borrow(|memory| memory.get(&self.0).cloned())
    }

    pub(crate) fn set(&self, value: Option<&str>) {
        MEMORY.with_borrow_mut(|memory| match value {
            Some(value) => memory.insert(self.0.clone(), value.to_owned()),
            None => memory.remove(&self.0),
        });
    }
}

pub(crate) fn hold(name: &str) -> Result<FakeSlot, String> {
    Ok(FakeSlot(name.to_owned()))
}

/// The backend `docs` at `http://docs.test`, without settings, with a limit of 1000 ms.
pub fn target() -> Target {
    Target {
        id: "docs".into(),
        base_url: "http://docs.test".into(),
        settings: "{}".into(),
        timeout_ms: 1000,
        learned: None,
    }
}

/// The subject `ann` of `https://login.test` with these scopes, and nothing else known.
pub fn caller(scopes: &[&str]) -> Principal {
    Principal {
        subject: "ann".into(),
        issuer: "https://login.test".into(),
        client_id: None,
        email: None,
        name: None,
        role: None,
        pool: None,
        scopes: scopes.iter().map(|&scope| scope.into()).collect(),
        claims: "{}".into(),
    }
}

/// A first call of a tool with arguments (a JSON object, as text).
pub fn call(tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        tool: tool.into(),
        arguments: arguments.into(),
        header_arguments: Vec::new(),
        structured: false,
        context: context(),
    }
}

/// What comes with a first request of a client that can be asked for nothing and wants no
/// messages.
pub fn context() -> RequestContext {
    RequestContext {
        meta: "{}".into(),
        client_capabilities: "{}".into(),
        client_info: None,
        log_level: None,
        continuation: None,
    }
}

/// A tool of the backend `docs` that needs these scopes.
pub fn item(name: &str, scopes: &[&str]) -> Item {
    Item {
        kind: "tool".into(),
        backend: "docs".into(),
        name: name.into(),
        scopes: scopes.iter().map(|&scope| scope.into()).collect(),
    }
}

/// A response as the gateway hands it over: it has looked whether the body is JSON.
pub fn response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    let body = body.into();
    Response {
        status,
        headers: Vec::new(),
        is_json: serde_json::from_slice::<IgnoredAny>(&body).is_ok(),
        body,
    }
}

/// A response as it comes in, piece by piece. A piece may be the error that ends it.
#[derive(Clone, Debug)]
pub struct Streamed {
    /// Status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<Header>,
    /// The body.
    pub pieces: VecDeque<Result<Vec<u8>, HttpError>>,
}

impl From<Response> for Streamed {
    fn from(response: Response) -> Self {
        let pieces = [response.body].into_iter().filter(|body| !body.is_empty());
        Self {
            status: response.status,
            headers: response.headers,
            pieces: pieces.map(Ok).collect(),
        }
    }
}

/// Server-sent events as they come in, each piece of text on its own.
pub fn events<T: Into<String>>(pieces: impl IntoIterator<Item = T>) -> Streamed {
    let pieces = pieces.into_iter().map(|text| Ok(text.into().into_bytes()));
    Streamed {
        pieces: pieces.collect(),
        ..Streamed::from(response(200, "").with("content-type", "text/event-stream"))
    }
}

impl Response {
    /// Adds a header field. Its name is written in lower case, as the gateway does.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(Header {
            name: name.to_ascii_lowercase(),
            value: value.into(),
        });
        self
    }
}

/// Answers this thread's HTTP requests until the returned value is dropped, with a [`Response`]
/// or something [`Streamed`]. Like the gateway, it refuses header fields that a plugin must not
/// set before anybody sees the request.
pub fn serve<A: Into<Streamed>>(
    mut server: impl FnMut(&Request) -> Result<A, HttpError> + 'static,
) -> Served {
    SERVER.set(Some(Box::new(move |request| {
        server(request).map(Into::into)
    })));
    REQUESTS.take();
    CLOSED.take();
    Served(PhantomData)
}

/// A faked backend of this thread; see [`serve`].
#[must_use = "it serves until it is dropped"]
#[derive(Debug)]
pub struct Served(PhantomData<*const ()>);

impl Served {
    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        REQUESTS.with_borrow(Clone::clone)
    }

    /// How many responses were closed before their end.
    pub fn closed(&self) -> usize {
        CLOSED.get()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        SERVER.take();
        REQUESTS.take();
    }
}

/// Takes the log lines that this thread has written so far.
pub fn logs() -> Vec<(Level, String)> {
    LOGS.take()
}

/// Takes the progress that this thread has reported so far.
pub fn progress() -> Vec<Progress> {
    PROGRESS.take()
}

/// Takes the messages for the client that this thread has written so far.
pub fn client_log() -> Vec<ClientMessage> {
    CLIENT_LOG.take()
}

pub(crate) fn client_write(level: &str, logger: Option<&str>, data: &str) {
    let message = ClientMessage {
        level: level.to_owned(),
        logger: logger.map(str::to_owned),
        data: data.to_owned(),
    };
    CLIENT_LOG.with_borrow_mut(|log| log.push(message));
}

pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
    let mut incoming = open(request)?;
    let mut body = Vec::new();
    while let Some(piece) = incoming.read(None)? {
        body.extend(piece);
    }
    Ok(Response {
        headers: incoming.headers(),
        ..response(incoming.status(), body)
    })
}

/// A response that is being read.
#[derive(Debug)]
pub(crate) struct FakeIncoming(Streamed);

impl FakeIncoming {
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    pub(crate) fn headers(&self) -> Vec<Header> {
        self.0.headers.clone()
    }

    pub(crate) fn read(&mut self, _: Option<u32>) -> Result<Option<Vec<u8>>, HttpError> {
        match self.0.pieces.pop_front() {
            Some(Err(error)) => {
                self.0.pieces.clear();
                Err(error)
            }
            piece => piece.transpose(),
        }
    }
}

impl Drop for FakeIncoming {
    fn drop(&mut self) {
        if !self.0.pieces.is_empty() {
            CLOSED.set(CLOSED.get() + 1);
        }
    }
}

pub(crate) fn open(request: &Request) -> Result<FakeIncoming, HttpError> {
    if let Some(header) = request.headers.iter().find(|header| !is_allowed(header)) {
        return Err(HttpError::InvalidRequest(format!(
            "header `{}`",
            header.name
        )));
    }
    REQUESTS.with_borrow_mut(|requests| requests.push(request.clone()));
    SERVER.with_borrow_mut(|server| match server {
        Some(server) => server(request).map(FakeIncoming),
        None => Err(HttpError::ConnectionFailed("nothing is served".into())),
    })
}

pub(crate) fn log(level: Level, message: &str) {
    LOGS.with_borrow_mut(|logs| logs.push((level, message.to_owned())));
}

pub(crate) fn report(done: f64, total: Option<f64>, message: Option<&str>) {
    let message = message.map(str::to_owned);
    PROGRESS.with_borrow_mut(|progress| {
        progress.push(Progress {
            done,
            total,
            message,
        })
    });
}

/// The gateway's rule for header fields, see `wit/v0.2/http.wit`.
fn is_allowed(header: &Header) -> bool {
    const RESERVED: [&str; 13] = [
        "host",
        "content-length",
        "authorization",
        "cookie",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "accept-encoding",
        "expect",
        "",
    ];
    let name = header.name.to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    name.bytes().all(is_token)
        && !RESERVED.contains(&name.as_str())
        && !name.starts_with("proxy-")
        && header
            .value
            .bytes()
            .all(|b| matches!(b, b'\t' | b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log, progress};

    #[test]
    fn header_fields_are_refused_as_the_gateway_does() {
        let served = serve(|_| Ok(response(200, "{}")));
        let check = |name: &str, value: &str, passes: bool| {
            let sent = Request::get("http://docs.test/").header(name, value).send();
            match sent {
                Ok(_) => assert!(passes, "{name}: {value:?}"),
                Err(error) => {
                    assert!(matches!(error, HttpError::InvalidRequest(_)), "{error:?}");
                    assert!(!passes, "{name}: {value:?}");
                }
            }
        };
        check("x-cortex-user-id", "a b\tc", true);
        check("x-empty", "", true);
        check("Authorization", "Bearer x", false);
        check("Proxy-Authorization", "x", false);
        check("Host", "x", false);
        check("", "x", false);
        check("x y", "x", false);
        check("x-line", "a\r\nb: c", false);
        check("x-umlaut", "ä", false);
        assert_eq!(served.requests().len(), 2, "a refused request is not seen");
    }

    #[test]
    fn nothing_is_served_after_the_drop() {
        drop(serve(|_| Ok(response(200, ""))));
        let sent = Request::get("http://docs.test/").send();
        assert!(
            matches!(sent, Err(HttpError::ConnectionFailed(_))),
            "{sent:?}"
        );
    }

    #[test]
    fn log_and_progress_are_kept_until_taken() {
        log::warning("careful");
        progress::report(1.0, Some(2.0), Some("half"));
        assert_eq!(logs(), [(Level::Warning, "careful".to_owned())]);
        assert_eq!(logs(), []);
        let reported = super::progress();
        assert_eq!(reported.len(), 1);
        assert_eq!(reported[0].message.as_deref(), Some("half"));
    }

    #[test]
    fn a_response_says_whether_it_is_json() {
        let check = |body: &str, expected: bool| {
            assert_eq!(response(200, body).is_json, expected, "{body}");
        };
        check(" {\"a\":1}\n", true);
        check("null", true);
        check("", false);
        check("{} {}", false);
        check("<html>", false);
    }
}
