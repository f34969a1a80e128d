//! Where the browser comes back to (RFC 8252 §7.3): a socket of this machine, for one login.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::code::CodeError;
use crate::oauth_client::authorize;
use crate::types::Secret;

const PATH: &str = "/callback";

/// What the browser must bring.
pub(super) struct Expected {
    pub(super) state: Secret,
    pub(super) issuer: String,
    /// The server promises `iss` (RFC 9207 §3).
    pub(super) promises_iss: bool,
}

/// A bound socket.
pub(super) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
}

impl Loopback {
    /// Binds a port; 0: any.
    pub(super) async fn bind(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The redirect URI.
    pub(super) fn redirect(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The port of a redirect URI of ours.
    pub(super) fn port_of(redirect: &str) -> Option<u16> {
        let rest = redirect.strip_prefix("http://127.0.0.1:")?;
        rest.strip_suffix(PATH)?.parse().ok()
    }

    /// Waits for the browser and returns the authorization code.
    pub(super) async fn code(self, expected: Expected) -> Result<Secret, CodeError> {
        let (found, mut outcome) = mpsc::channel(1);
        let (expected, address) = (Arc::new(expected), self.address);
        // Ends with this, and all connections with it.
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted.map_err(CodeError::NoSocket)?.0,
                outcome = outcome.recv() => {
                    // The page is written before the connection is closed.
                    let grace = std::time::Duration::from_secs(1);
                    drop(tokio::time::timeout(grace, connections.join_all()).await);
                    return outcome.unwrap_or(Err(CodeError::TooLate));
                }
            };
            let (found, expected) = (found.clone(), Arc::clone(&expected));
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let page = page(&request, address, &expected, &found);
                    async move { Ok::<_, Infallible>(page) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                // A browser that goes away has had what it came for, or comes again.
                drop(connection.await);
            });
        }
    }
}

fn page(
    request: &Request<Incoming>,
    address: SocketAddr,
    expected: &Expected,
    found: &mpsc::Sender<Result<Secret, CodeError>>,
) -> Response<Full<Bytes>> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let is_ours = request.method() == Method::GET
        && request.uri().path() == PATH
        && host == Some(address.to_string().as_str());
    if !is_ours {
        return html(StatusCode::NOT_FOUND, "There is nothing here.");
    }
    match judge(request.uri().query().unwrap_or_default(), expected) {
        // Not the end: the right one may still come.
        None => html(
            StatusCode::BAD_REQUEST,
            "This is not the login that is waited for.",
        ),
        Some(outcome) => {
            let page = match &outcome {
                Ok(_) => html(
                    StatusCode::OK,
                    "You are logged in. You can close this window.",
                ),
                Err(_) => html(
                    StatusCode::BAD_REQUEST,
                    "The login failed. Your MCP client says why.",
                ),
            };
            // Full: there is an outcome already.
            let _ = found.try_send(outcome);
            page
        }
    }
}

/// RFC 6749 §4.1.2, RFC 9207 §2.4. `None`: this answers something else.
fn judge(query: &str, expected: &Expected) -> Option<Result<Secret, CodeError>> {
    let response = authorize::Response::read(query)?;
    if !expected.state.matches(response.state()?.as_bytes()) {
        return None;
    }
    let code = response.code(&expected.issuer, expected.promises_iss);
    Some(code.map_err(CodeError::from))
}

/// A page of our own words: nothing of the request is in it.
fn html(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Cortex Gateway</title><p>{text}</p></html>\n"
    );
    let mut response = Response::new(Full::new(page.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        // The code is in the URL.
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_tells_its_port() {
        assert_eq!(
            Loopback::port_of("http://127.0.0.1:4711/callback"),
            Some(4711)
        );
        assert_eq!(Loopback::port_of("http://127.0.0.1/callback"), None);
        assert_eq!(Loopback::port_of("https://a.example/callback"), None);
    }
}
