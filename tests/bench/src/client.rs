//! One keep-alive connection of the load, with its MCP session where there is one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::callers::Callers;
use crate::check::{contains, shown};
use crate::exchange::{Exchange, LEGACY, initialize};

/// Longest wait for one answer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// What a load does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// What it sends.
    pub(crate) exchange: Exchange,
    /// Whose calls they are.
    pub(crate) callers: Callers,
    /// Whether the peer answers everything alike, so that nothing in an answer tells whose it is.
    pub(crate) to_echo: bool,
}

impl Call {
    /// By another person on each connection.
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            callers: Callers::OnePerConnection,
            to_echo: false,
        }
    }
}

/// A connection that sends one kind of call.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    call: Call,
    /// Its place among the connections of its load.
    place: usize,
    tokens: Arc<[HeaderValue]>,
    headers: HeaderMap,
}

impl Connection {
    /// Connects, and begins an MCP session where the peer speaks MCP.
    pub(crate) async fn open(
        address: SocketAddr,
        call: Call,
        place: usize,
        tokens: Arc<[HeaderValue]>,
    ) -> Result<Self> {
        let mut headers = call.exchange.headers();
        headers.insert(HOST, HeaderValue::from_str(&address.to_string())?);
        let sender = connect(address).await?;
        let mut connection = Self {
            sender,
            call,
            place,
            tokens,
            headers,
        };
        // A session is one person's: where each call is another's there is none.
        let is_one = call.callers == Callers::OnePerConnection;
        if call.exchange.has_session() && !call.to_echo && is_one {
            connection.authorize(call.callers.of(place, 0))?;
            connection.initialize().await.context("`initialize`")?;
        }
        Ok(connection)
    }

    /// One connection with one caller.
    pub(crate) async fn alone(address: SocketAddr, exchange: Exchange) -> Result<Self> {
        let call = Call::new(exchange);
        let tokens = call.callers.tokens(1, 0).await?;
        Self::open(address, call, 0, tokens).await
    }

    /// Makes call number `n` and checks its answer; returns how long that is.
    pub(crate) async fn call(&mut self, n: u64) -> Result<usize> {
        let answer = self.answer(n).await?;
        let right = answer.status() == StatusCode::OK
            && if self.call.to_echo {
                !answer.body().is_empty()
            } else {
                self.call.exchange.is_answered_by(n, answer.body())
            };
        ensure!(
            right,
            "wrong answer to call {n}: {}",
            shown(answer.status(), answer.body())
        );
        Ok(answer.body().len())
    }

    /// Makes call number `n`, whatever its answer is.
    pub(crate) async fn answer(&mut self, n: u64) -> Result<Response<Bytes>> {
        self.authorize(self.call.callers.of(self.place, n))?;
        self.post(self.call.exchange.body(n)).await
    }

    fn authorize(&mut self, token: usize) -> Result<()> {
        let token = self.tokens.get(token).context("too few callers")?;
        self.headers.insert(AUTHORIZATION, token.clone());
        Ok(())
    }

    async fn initialize(&mut self) -> Result<()> {
        let answer = self.post(initialize("hello").into()).await?;
        let right = answer.status() == StatusCode::OK && contains(answer.body(), LEGACY.as_bytes());
        ensure!(
            right,
            "wrong answer: {}",
            shown(answer.status(), answer.body())
        );
        if let Some(session) = answer.headers().get(SESSION) {
            self.headers.insert(SESSION, session.clone());
        }
        let done = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let answer = self.post(done.into()).await?;
        ensure!(
            answer.status() == StatusCode::ACCEPTED,
            "`notifications/initialized`: wrong answer: {}",
            shown(answer.status(), answer.body())
        );
        Ok(())
    }

    async fn post(&mut self, body: Bytes) -> Result<Response<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.call.exchange.path().parse()?;
        *request.headers_mut() = self.headers.clone();
        send(&mut self.sender, request).await
    }
}

/// The status of a GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<StatusCode> {
    Ok(get_with(address, path, None).await?.status())
}

/// The answer to a GET on a connection of its own, with one more header field.
pub(crate) async fn get_with(
    address: SocketAddr,
    path: &str,
    field: Option<(&str, &str)>,
) -> Result<Response<Bytes>> {
    let mut request = Request::get(path).header(HOST, address.to_string());
    if let Some((name, value)) = field {
        request = request.header(name, value);
    }
    let mut sender = connect(address).await?;
    send(&mut sender, request.body(Full::default())?).await
}

/// Sends a PUT on a connection of its own: how parts of the benchmark are told something.
pub(crate) async fn put(address: SocketAddr, body: Bytes) -> Result<()> {
    let request = Request::put("/").header(HOST, address.to_string());
    let mut sender = connect(address).await?;
    let answer = send(&mut sender, request.body(Full::new(body))?).await?;
    ensure!(answer.status() == StatusCode::OK, "a part refuses");
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("no connection to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; why it broke is reported by the call that was under way.
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>> {
    let exchange = async {
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response::from_parts(head, body))
    };
    match tokio::time::timeout(LONGEST_WAIT, exchange).await {
        Ok(answer) => answer.context("the connection broke"),
        Err(_) => bail!("no answer within {} s", LONGEST_WAIT.as_secs()),
    }
}
