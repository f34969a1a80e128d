//! Reaching others, step by step, and what is seen by the way: their clocks and their certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE};
use http::{Method, Request};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
#[cfg(test)]
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use super::{PATIENCE, certificate};
use crate::outbound::{Answer, Client, NoTls, SendError, tls};

/// Largest answer.
const MAX_ANSWER: usize = 256 * 1024;

/// Asks others, and remembers what they showed of themselves.
pub(super) struct Probes {
    pub(super) client: Client,
    tls: Arc<ClientConfig>,
    seen: Mutex<Seen>,
}

/// By host and port.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Seconds by which their clocks are ahead of ours.
    pub(super) clocks: BTreeMap<String, i64>,
    /// When their certificates end, in seconds since 1970; `None`: it cannot be read.
    pub(super) certificates: BTreeMap<String, Option<i64>>,
}

impl Probes {
    pub(super) fn new() -> Result<Self, NoTls> {
        Ok(Self {
            client: Client::new()?,
            tls: Arc::new(tls()?),
            seen: Mutex::default(),
        })
    }

    /// With these certificate authorities.
    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let tls = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            client: Client::new().expect("a client"),
            tls: Arc::new(tls),
            seen: Mutex::default(),
        }
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves the name of a URL, connects, and shakes hands where that is to be done.
    ///
    /// # Errors
    /// Which of the three does not work and why, with a hint.
    pub(super) async fn reach(&self, url: &Url) -> Result<(), String> {
        let peer = peer(url);
        let tcp = connect(url, &peer).await?;
        if url.scheme() != "https" {
            return Ok(());
        }
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| format!("`{peer}` cannot be in a certificate; hint: use a name"))?;
        let shaking = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp);
        let stream = match timeout(PATIENCE, shaking).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(format!(
                    "`{peer}` takes connections, but TLS fails: {error}; hint: its certificate must be valid today, for \
                     this name, and of an authority that this machine trusts"
                ));
            }
            Err(_) => {
                return Err(format!(
                    "`{peer}` takes connections, but does not answer the TLS handshake; hint: is this its https port?"
                ));
            }
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let ends = chain.first().and_then(|first| certificate::ends(first));
        self.lock().certificates.insert(peer, ends);
        Ok(())
    }

    /// Sends one request and reads the answer.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Answer, SendError> {
        let peer = Url::parse(&request.uri().to_string()).map(|url| peer(&url));
        let before = seconds();
        let answer = self.client.send(request, PATIENCE, MAX_ANSWER).await?;
        // Whole seconds: half of the way is less than what they can tell.
        let ours = i64::midpoint(before, seconds());
        let theirs = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        if let (Ok(peer), Some(theirs)) = (peer, theirs.and_then(date)) {
            self.lock().clocks.insert(peer, theirs - ours);
        }
        Ok(answer)
    }

    /// Asks without a body; the status and the header are what matters.
    pub(super) async fn ask(&self, method: Method, url: &Url) -> Result<Answer, SendError> {
        let request = Request::builder().method(method).uri(url.as_str());
        let request = request.header(ACCEPT, "*/*").body(Bytes::new());
        self.send(request.map_err(|_| SendError::Connection("no URL"))?)
            .await
    }

    /// Posts something, without any token.
    pub(super) async fn post(
        &self,
        url: &Url,
        kind: &str,
        body: &'static str,
    ) -> Result<Answer, SendError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(CONTENT_TYPE, kind)
            .header(ACCEPT, "application/json, text/event-stream")
            .body(Bytes::from_static(body.as_bytes()));
        self.send(request.map_err(|_| SendError::Connection("no URL"))?)
            .await
    }

    /// Fetches a JSON object.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn object(&self, url: &Url) -> Result<Map<String, Value>, String> {
        let answer = self.ask(Method::GET, url).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if !answer.status.is_success() {
            return Err(format!("it answers {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| "it answers no JSON object".to_owned())
    }
}

async fn connect(url: &Url, peer: &str) -> Result<TcpStream, String> {
    let port = url.port_or_known_default().unwrap_or_default();
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
        Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
        Some(Host::Domain(name)) => {
            match timeout(PATIENCE, tokio::net::lookup_host((name, port))).await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(error)) => {
                    return Err(format!(
                        "the name `{name}` does not resolve: {error}; hint: check the spelling, and the DNS of this machine"
                    ));
                }
                Err(_) => {
                    return Err(format!(
                        "the name `{name}` does not resolve within {} s; hint: check the DNS of this machine",
                        PATIENCE.as_secs()
                    ));
                }
            }
        }
        None => return Err("there is no host in the URL".to_owned()),
    };
    let mut why = "it has no address".to_owned();
    for address in found {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no answer within {} s", PATIENCE.as_secs()),
        }
    }
    Err(format!(
        "`{peer}` takes no connection: {why}; hint: does it run, and does a firewall let this machine through?"
    ))
}

/// Host and port: what may be told of any URL.
pub(super) fn peer(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// Seconds since 1970.
pub(super) fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// What a `Date` field says (RFC 9110 §5.6.7), in seconds since 1970.
fn date(text: &str) -> Option<i64> {
    let parsed = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(parsed.unix_timestamp())
}

#[cfg(test)]
mod tests;
