//! One keep-alive connection of the load, with its MCP session where there is one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::callers;
use crate::check::{contains, shown};
use crate::exchange::{Exchange, PROTOCOL_VERSION};

/// Longest wait for one answer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// A connection that sends one kind of call.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    exchange: Exchange,
    headers: HeaderMap,
}

impl Connection {
    /// Connects, and begins an MCP session where the peer speaks MCP.
    pub(crate) async fn open(address: SocketAddr, exchange: Exchange) -> Result<Self> {
        let mut headers = exchange.headers();
        headers.insert(HOST, HeaderValue::from_str(&address.to_string())?);
        let sender = connect(address).await?;
        let mut connection = Self {
            sender,
            exchange,
            headers,
        };
        if exchange.is_cold() {
            let authorization = callers::authorization(u64::MAX).await?;
            connection.headers.insert(AUTHORIZATION, authorization);
        }
        if exchange.is_mcp() {
            connection.initialize().await.context("`initialize`")?;
        }
        Ok(connection)
    }

    /// Makes call number `n` and checks its answer; returns how long that is.
    pub(crate) async fn call(&mut self, n: u64) -> Result<usize> {
        if self.exchange.is_cold() {
            let authorization = callers::authorization(n).await?;
            self.headers.insert(AUTHORIZATION, authorization);
        }
        let (status, body) = self.post(self.exchange.body(n)).await?.into_parts();
        let right = status.status == StatusCode::OK && self.exchange.is_answered_by(n, &body);
        ensure!(
            right,
            "wrong answer to call {n}: {}",
            shown(status.status, &body)
        );
        Ok(body.len())
    }

    /// Makes call number `n`, whatever its answer is, or none in time.
    pub(crate) async fn disturb(&mut self, n: u64) {
        // What becomes of it is not what is measured.
        let _ = self.post(self.exchange.body(n)).await;
    }

    async fn initialize(&mut self) -> Result<()> {
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{{"protocolVersion":"{PROTOCOL_VERSION}","capabilities":{{}},"clientInfo":{{"name":"cortex-bench","version":"{}"}}}}}}"#,
            env!("CARGO_PKG_VERSION")
        );
        let answer = self.post(hello.into()).await?;
        let right = answer.status() == StatusCode::OK
            && contains(answer.body(), PROTOCOL_VERSION.as_bytes());
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
        *request.uri_mut() = self.exchange.path().parse()?;
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
