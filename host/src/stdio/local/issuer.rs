//! The local gateway's own authorization server: a key that lives as long as this process, its
//! public half at a URL of this machine, and tokens for the one user there is.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};
use url::Url;

use super::{Minted, required_pool};
use crate::config::StdioConfig;
use crate::outbound::Client;
use crate::types::{Scope, ScopeSet, Secret};

const KEY_ID: &str = "stdio";
/// How long a token lives.
const LIFETIME: u64 = 300;
/// How long one is used. Short, because what the catalog offers may change.
const USED_FOR: Duration = Duration::from_secs(30);
/// Longest wait for the first catalog.
const FIRST_CATALOG: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(5);

/// The issuer.
pub(in crate::stdio) struct Issuer {
    url: String,
    gateway: Url,
    client: Client,
    key: Ed25519KeyPair,
    subject: String,
    /// The scopes that the user set; else all there are.
    fixed: Option<ScopeSet>,
    state: Mutex<State>,
    serving: AbortHandle,
}

#[derive(Default)]
struct State {
    minted: Option<Minted>,
    /// Scopes that calls turned out to need.
    more: ScopeSet,
    is_ready: bool,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Issuer {
    /// Makes a key and publishes it, for the gateway whose MCP endpoint this is.
    pub(super) async fn start(
        gateway: &Url,
        stdio: &StdioConfig,
        client: Client,
    ) -> anyhow::Result<Arc<Self>> {
        let key = Ed25519KeyPair::generate().context("no key can be made on this machine")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let keys = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(key.public_key()),
        }] });
        let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/keys"), "response_types_supported": [] });
        let serving = tokio::spawn(serve(listener, metadata.to_string(), keys.to_string()));
        Ok(Arc::new(Self {
            url,
            gateway: gateway.clone(),
            client,
            key,
            subject: format!("local:{}", stdio.user),
            fixed: stdio.scopes.clone(),
            state: Mutex::default(),
            serving: serving.abort_handle(),
        }))
    }

    /// Its name.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A token of the moment.
    pub(in crate::stdio) async fn token(&self) -> Secret {
        let mut state = self.state.lock().await;
        if let Some(minted) = &state.minted
            && minted.at.elapsed() < USED_FOR
        {
            return minted.token.clone();
        }
        if !state.is_ready {
            self.await_catalog().await;
            state.is_ready = true;
        }
        let scopes = match &self.fixed {
            Some(scopes) => scopes.clone(),
            None => self.offered().await.union(&state.more),
        };
        let token = self.mint(&scopes);
        state.minted = Some(Minted {
            token: token.clone(),
            at: Instant::now(),
        });
        token
    }

    /// The next token is a new one.
    pub(in crate::stdio) async fn forget(&self) {
        self.state.lock().await.minted = None;
    }

    /// Puts these scopes into tokens from now on. False: the user set which ones there are, or
    /// they were in already.
    pub(in crate::stdio) async fn allow(&self, scopes: Option<&ScopeSet>) -> bool {
        let mut state = self.state.lock().await;
        let Some(scopes) =
            scopes.filter(|scopes| self.fixed.is_none() && !state.more.contains_all(scopes))
        else {
            return false;
        };
        state.more = state.more.union(scopes);
        state.minted = None;
        true
    }

    fn mint(&self, scopes: &ScopeSet) -> Secret {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |t| t.as_secs());
        let mut claims = json!({
            "iss": self.url,
            "aud": self.gateway.as_str(),
            "sub": self.subject,
            "client_id": "cortex-gateway-stdio",
            "jti": uuid::Uuid::now_v7().to_string(),
            "iat": now,
            "exp": now + LIFETIME,
            "scope": scopes.to_string(),
        });
        if let Some(pool) = required_pool() {
            claims["pool"] = json!(pool);
        }
        let header = json!({ "alg": "EdDSA", "kid": KEY_ID, "typ": "at+jwt" });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        Secret::new(format!("{message}.{signature}"))
    }

    /// Every scope that the gateway says it has (RFC 9728 §2, `scopes_supported`).
    async fn offered(&self) -> ScopeSet {
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default)]
            scopes_supported: Vec<String>,
        }
        let Some(body) = self
            .ask("/.well-known/oauth-protected-resource")
            .await
            .map(|(_, body)| body)
        else {
            warn!("the local gateway does not say which scopes there are");
            return ScopeSet::default();
        };
        let metadata: Option<Metadata> = serde_json::from_slice(&body).ok();
        let scopes = metadata
            .into_iter()
            .flat_map(|metadata| metadata.scopes_supported);
        let required = crate::config::variable("OAUTH_REQUIRED_SCOPES").unwrap_or_default();
        let required = required.split_ascii_whitespace().map(str::to_owned);
        scopes
            .chain(required)
            .filter_map(|scope| scope.parse::<Scope>().ok())
            .collect()
    }

    /// Waits until the gateway has asked its backends once: before, there are no scopes.
    async fn await_catalog(&self) {
        let deadline = Instant::now() + FIRST_CATALOG;
        while Instant::now() < deadline {
            match self.ask("/readyz").await {
                Some((StatusCode::OK, _)) => return,
                // Nothing that waiting would mend: the log says what is missing.
                Some((_, body))
                    if !String::from_utf8_lossy(&body).contains("first catalog refresh") =>
                {
                    return;
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        debug!("the catalog is not complete yet");
    }

    async fn ask(&self, path: &str) -> Option<(StatusCode, Bytes)> {
        let mut url = self.gateway.clone();
        url.set_path(path);
        let request = Request::get(url.as_str()).body(Bytes::new()).ok()?;
        let answer = self.client.send(request, ANSWER, 1024 * 1024).await.ok()?;
        Some((answer.status, answer.body))
    }
}

async fn serve(listener: TcpListener, metadata: String, keys: String) {
    // Ends with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the local issuer cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let (metadata, keys) = (metadata.clone(), keys.clone());
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let document = match request.uri().path() {
                    "/.well-known/oauth-authorization-server" => Some(metadata.clone()),
                    "/keys" => Some(keys.clone()),
                    _ => None,
                };
                async move { Ok::<_, Infallible>(answer(document)) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // Whoever goes away in the middle of it asks again.
            drop(connection.await);
        });
    }
}

fn answer(document: Option<String>) -> Response<Full<Bytes>> {
    let status = if document.is_some() {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    };
    let mut response = Response::new(Full::new(document.unwrap_or_default().into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
