//! An authorization server and an MCP server that accepts its tokens, in one process of a test's own.
//! It does what real ones do (PKCE, one-time codes, rotating refresh tokens, revocation) and, where a test
//! says so, what hostile ones do.
//!
//! An old refresh token stays good until something newer of the same grant was used: that is how
//! providers that rotate let clients survive a lost answer (RFC 9700 §4.14.2 leaves them the choice). A strict
//! one ends the grant when a refresh token comes a second time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use cortex_test_issuer::{Key, now};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Query or form, decoded.
    pub params: HashMap<String, String>,
    /// Its header.
    pub headers: HeaderMap,
}

/// What a path answers instead of the usual.
#[derive(Clone, Debug)]
pub enum Instead {
    /// JSON.
    Json(u16, Value),
    /// Bytes without end.
    Endless,
    /// A gibibyte, announced.
    Huge,
    /// Nothing, for ever.
    Hang,
}

/// What is true of this provider.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Seconds that access tokens live.
    pub life: u64,
    /// It gives out refresh tokens.
    pub refreshes: bool,
    /// It says who answered (RFC 9207).
    pub iss: Option<String>,
    /// It registers clients.
    pub registers: bool,
    /// It grants these scopes, whatever it is asked for.
    pub grants: Option<String>,
    /// Time that the token endpoint takes.
    pub slow: Duration,
    /// A refresh token that comes a second time ends its grant.
    pub strict: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            life: 600,
            refreshes: true,
            iss: None,
            registers: true,
            grants: None,
            slow: Duration::ZERO,
            strict: false,
        }
    }
}

struct Code {
    user: String,
    challenge: String,
    redirect: String,
    client: String,
    scope: String,
}

struct Grant {
    user: String,
    scope: String,
    /// Which generation was used already: older ones are no good any more.
    used: u64,
    newest: u64,
    revoked: bool,
}

#[derive(Default)]
struct Shared {
    manners: Mutex<Manners>,
    metadata: Mutex<HashMap<String, Value>>,
    instead: Mutex<HashMap<String, Instead>>,
    seen: Mutex<Vec<Asked>>,
    codes: Mutex<HashMap<String, Code>>,
    grants: Mutex<HashMap<u64, Grant>>,
    /// Token to grant, generation, and when it ends.
    access: Mutex<HashMap<String, (u64, u64, Instant)>>,
    refresh: Mutex<HashMap<String, (u64, u64)>>,
    calls: Mutex<Vec<(String, String)>>,
    count: AtomicU64,
    /// How many of the next access tokens have ended when they are given out.
    stillborn: AtomicU64,
    /// Signs access tokens for this audience; otherwise they are opaque.
    signs: Option<(Key, String)>,
}

/// The provider. Stops when dropped.
pub struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    /// One with opaque tokens for its own MCP server.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// One that signs tokens for an audience, as a gateway's own issuer does.
    pub async fn issuer(key: Key, audience: &str) -> Self {
        Self::with(Some((key, audience.to_owned()))).await
    }

    async fn with(signs: Option<(Key, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            signs,
            ..Shared::default()
        });
        Self {
            address,
            shared: Arc::clone(&shared),
            task: tokio::spawn(accept(listener, shared, address)),
        }
    }

    /// Its issuer identifier.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An access token of somebody, without any flow.
    pub fn token(&self, user: &str, scope: &str) -> String {
        let (key, audience) = self.shared.signs.as_ref().expect("it signs");
        key.token(&claims(&self.url(), audience, user, scope, 600))
    }

    /// The same by a function of its own, for tasks: a new token each time.
    pub fn tokens_for(&self, user: &str, scope: &str) -> impl Fn() -> String + Send + use<> {
        let (shared, url) = (Arc::clone(&self.shared), self.url());
        let (user, scope) = (user.to_owned(), scope.to_owned());
        move || {
            let (key, audience) = shared.signs.as_ref().expect("it signs");
            key.token(&claims(&url, audience, &user, &scope, 600))
        }
    }

    /// Its MCP server.
    pub fn mcp(&self) -> String {
        format!("{}/mcp", self.url())
    }

    /// Changes its manners.
    pub fn manners(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut lock(&self.shared.manners));
    }

    /// Puts a member into its authorization server metadata; null takes it out.
    pub fn metadata(&self, name: &str, value: Value) {
        lock(&self.shared.metadata).insert(name.to_owned(), value);
    }

    /// What a path answers from now on.
    pub fn instead(&self, path: &str, instead: Instead) {
        lock(&self.shared.instead).insert(path.to_owned(), instead);
    }

    /// A path answers as usual again.
    pub fn as_usual(&self, path: &str) {
        lock(&self.shared.instead).remove(path);
    }

    /// The requests for one path so far.
    pub fn seen(&self, path: &str) -> Vec<Asked> {
        let seen = lock(&self.shared.seen);
        seen.iter()
            .filter(|asked| asked.path == path)
            .cloned()
            .collect()
    }

    /// The refresh tokens that were presented so far, and how often each.
    pub fn presented(&self) -> HashMap<String, usize> {
        let mut times = HashMap::new();
        for asked in self.seen("/token") {
            if asked.params.get("grant_type").map(String::as_str) == Some("refresh_token")
                && let Some(token) = asked.params.get("refresh_token")
            {
                *times.entry(token.clone()).or_default() += 1;
            }
        }
        times
    }

    /// Forgets all requests and tool calls so far.
    pub fn forget_requests(&self) {
        lock(&self.shared.seen).clear();
        lock(&self.shared.calls).clear();
    }

    /// Tool calls so far: as whom, and the argument `n`.
    pub fn calls(&self) -> Vec<(String, String)> {
        lock(&self.shared.calls).clone()
    }

    /// Ends every grant of a user: tokens and all.
    pub fn revoke_all(&self, user: &str) {
        for grant in lock(&self.shared.grants).values_mut() {
            grant.revoked |= grant.user == user;
        }
    }

    /// Ends the access tokens of a user, and not the grants.
    pub fn expire_access(&self, user: &str) {
        let grants = lock(&self.shared.grants);
        let of_user = |id: &u64| grants.get(id).is_some_and(|grant| grant.user == user);
        lock(&self.shared.access).retain(|_, (id, ..)| !of_user(id));
    }

    /// Ends those access tokens of a user that were used.
    pub fn expire_used(&self, user: &str) {
        let grants = lock(&self.shared.grants);
        let is_used = |id: &u64, generation: u64| {
            let of_user = grants.get(id).filter(|grant| grant.user == user);
            of_user.is_some_and(|grant| generation <= grant.used)
        };
        lock(&self.shared.access).retain(|_, (id, generation, _)| !is_used(id, *generation));
    }

    /// So many of the next access tokens have ended when they are given out.
    pub fn stillborn(&self, tokens: u64) {
        self.shared.stillborn.store(tokens, Ordering::Relaxed);
    }

    /// How many grants of a user are good.
    pub fn grants(&self, user: &str) -> usize {
        let grants = lock(&self.shared.grants);
        let good = grants
            .values()
            .filter(|grant| grant.user == user && !grant.revoked);
        good.count()
    }

    /// Every token that it has given out.
    pub fn tokens(&self) -> Vec<String> {
        let access = lock(&self.shared.access);
        let refresh = lock(&self.shared.refresh);
        access.keys().chain(refresh.keys()).cloned().collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, address: SocketAddr) {
    // Ends with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), address, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // Whoever goes away has had enough.
            drop(connection.await);
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    address: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let mut params: HashMap<String, String> = HashMap::new();
    for text in [parts.uri.query().unwrap_or_default().as_bytes(), &body] {
        params.extend(url::form_urlencoded::parse(text).into_owned());
    }
    let asked = Asked {
        path: path.clone(),
        params,
        headers: parts.headers,
    };
    lock(&shared.seen).push(asked.clone());
    let instead = lock(&shared.instead).get(&path).cloned();
    if let Some(instead) = instead {
        return Ok(match instead {
            Instead::Json(status, value) => json_reply(status, &value),
            Instead::Hang => std::future::pending().await,
            Instead::Endless => endless(None),
            Instead::Huge => endless(Some(1 << 30)),
        });
    }
    let base = format!("http://{address}");
    Ok(match (path.as_str(), &parts.method) {
        ("/.well-known/oauth-protected-resource/mcp", _) => json_reply(
            200,
            &json!({ "resource": format!("{base}/mcp"), "authorization_servers": [base], "scopes_supported": ["notes"] }),
        ),
        ("/.well-known/oauth-authorization-server", _) => {
            json_reply(200, &metadata(&shared, &base))
        }
        ("/keys", _) => {
            let keys = shared.signs.as_ref().map(|(key, _)| key.jwk());
            json_reply(
                200,
                &json!({ "keys": keys.into_iter().collect::<Vec<_>>() }),
            )
        }
        ("/register", &Method::POST) => {
            let n = shared.count.fetch_add(1, Ordering::Relaxed);
            let client = format!("client-{n}");
            json_reply(
                201,
                &json!({ "client_id": client, "token_endpoint_auth_method": "none" }),
            )
        }
        ("/authorize", _) => authorize(&shared, &base, &asked),
        ("/token", &Method::POST) => {
            let slow = lock(&shared.manners).slow;
            let reply = token(&shared, &base, &identified(&asked));
            tokio::time::sleep(slow).await;
            reply
        }
        ("/revoke", &Method::POST) => {
            let token = asked.params.get("token").cloned().unwrap_or_default();
            let id = lock(&shared.refresh).get(&token).map(|(id, _)| *id);
            let id = id.or_else(|| lock(&shared.access).get(&token).map(|(id, ..)| *id));
            if let Some(id) = id
                && let Some(grant) = lock(&shared.grants).get_mut(&id)
            {
                grant.revoked = true;
            }
            json_reply(200, &json!({}))
        }
        ("/mcp", &Method::POST) => mcp(&shared, &base, &asked, &body),
        _ => json_reply(404, &json!({ "error": "not_found" })),
    })
}

fn metadata(shared: &Shared, base: &str) -> Value {
    let manners = lock(&shared.manners).clone();
    let mut metadata = json!({
        "issuer": base,
        "jwks_uri": format!("{base}/keys"),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "revocation_endpoint": format!("{base}/revoke"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if manners.registers {
        metadata["registration_endpoint"] = format!("{base}/register").into();
    }
    for (name, value) in lock(&shared.metadata).iter() {
        metadata[name] = value.clone();
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    metadata
}

/// Everybody consents at once; the cookie `user` says who sits in front of the browser.
fn authorize(shared: &Shared, base: &str, asked: &Asked) -> Reply {
    let param = |name: &str| asked.params.get(name).cloned().unwrap_or_default();
    let cookies = asked
        .headers
        .get("cookie")
        .and_then(|value| value.to_str().ok());
    let user = cookies
        .unwrap_or_default()
        .split("; ")
        .find_map(|pair| pair.strip_prefix("user="));
    let redirect = param("redirect_uri");
    let Some(user) = user else {
        return json_reply(
            400,
            &json!({ "error": "nobody is signed in at the provider" }),
        );
    };
    if param("code_challenge_method") != "S256" || param("resource").is_empty() {
        return json_reply(400, &json!({ "error": "no PKCE, or no resource" }));
    }
    let n = shared.count.fetch_add(1, Ordering::Relaxed);
    let code = format!("code-{n}-{}", random());
    lock(&shared.codes).insert(
        code.clone(),
        Code {
            user: user.to_owned(),
            challenge: param("code_challenge"),
            redirect: redirect.clone(),
            client: param("client_id"),
            scope: param("scope"),
        },
    );
    let iss = lock(&shared.manners)
        .iss
        .clone()
        .unwrap_or_else(|| base.to_owned());
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("code", code.as_str()),
            ("state", &param("state")),
            ("iss", &iss),
        ])
        .finish();
    let mut reply = json_reply(303, &json!({}));
    let place = format!("{redirect}?{query}");
    reply
        .headers_mut()
        .insert("location", place.parse().expect("a header"));
    reply
}

/// The form of a token request, with the client that says who it is in its header (RFC 6749 §2.3.1).
fn identified(asked: &Asked) -> HashMap<String, String> {
    let mut params = asked.params.clone();
    let basic = asked.headers.get("authorization");
    let basic = basic.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let client = basic.and_then(|basic| STANDARD.decode(basic).ok());
    let client = client.and_then(|client| String::from_utf8(client).ok());
    if let Some((id, _)) = client.as_deref().and_then(|client| client.split_once(':')) {
        params.insert("client_id".to_owned(), id.to_owned());
    }
    params
}

fn token(shared: &Shared, base: &str, params: &HashMap<String, String>) -> Reply {
    let param = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    let refused = |why: &str| {
        json_reply(
            400,
            &json!({ "error": "invalid_grant", "error_description": why }),
        )
    };
    let (id, scope, user) = match param("grant_type") {
        "authorization_code" => {
            let Some(code) = lock(&shared.codes).remove(param("code")) else {
                return refused("the code was used before, or never was");
            };
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(param("code_verifier")));
            if challenge != code.challenge
                || code.redirect != param("redirect_uri")
                || code.client != param("client_id")
            {
                return refused("the code is somebody else's");
            }
            let id = shared.count.fetch_add(1, Ordering::Relaxed);
            let grant = Grant {
                user: code.user.clone(),
                scope: code.scope.clone(),
                used: 0,
                newest: 0,
                revoked: false,
            };
            lock(&shared.grants).insert(id, grant);
            (id, code.scope, code.user)
        }
        "refresh_token" => {
            let found = lock(&shared.refresh).get(param("refresh_token")).copied();
            let Some((id, generation)) = found else {
                return refused("no such refresh token");
            };
            let mut grants = lock(&shared.grants);
            let Some(grant) = grants.get_mut(&id) else {
                return refused("no such grant");
            };
            let strict = lock(&shared.manners).strict;
            if generation < grant.used || (strict && generation < grant.newest) {
                // RFC 9700 §4.14.2: somebody has a copy.
                grant.revoked = true;
                return refused("an old refresh token");
            }
            if grant.revoked {
                return refused("revoked");
            }
            grant.used = generation;
            (id, grant.scope.clone(), grant.user.clone())
        }
        other => {
            return json_reply(
                400,
                &json!({ "error": "unsupported_grant_type", "error_description": other }),
            );
        }
    };
    let manners = lock(&shared.manners).clone();
    let scope = manners.grants.clone().unwrap_or(scope);
    let generation = {
        let mut grants = lock(&shared.grants);
        let grant = grants.get_mut(&id).expect("a grant");
        grant.newest += 1;
        grant.newest
    };
    let access = match &shared.signs {
        Some((key, audience)) => key.token(&claims(base, audience, &user, &scope, manners.life)),
        None => format!("access-{}", random()),
    };
    let ends = Instant::now() + Duration::from_secs(manners.life);
    let less = |left: u64| left.checked_sub(1);
    let stillborn = shared
        .stillborn
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    if stillborn.is_err() {
        lock(&shared.access).insert(access.clone(), (id, generation, ends));
    }
    let mut answer = json!({ "access_token": access, "token_type": "Bearer", "expires_in": manners.life, "scope": scope });
    if manners.refreshes {
        let refresh = format!("refresh-{}", random());
        lock(&shared.refresh).insert(refresh.clone(), (id, generation));
        answer["refresh_token"] = refresh.into();
    }
    json_reply(200, &answer)
}

fn claims(issuer: &str, audience: &str, user: &str, scope: &str, life: u64) -> Value {
    json!({
        "iss": issuer, "aud": audience, "sub": user, "jti": random(), "iat": now(), "exp": now() + life,
        "client_id": "client-1", "scope": scope, "email": format!("{user}@example.com"),
    })
}

/// A server of 2026-07-28 with one tool, which says as whom it was called.
fn mcp(shared: &Shared, base: &str, asked: &Asked, body: &[u8]) -> Reply {
    let bearer = asked
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let found = lock(&shared.access).get(token).copied();
    let user = found
        .filter(|(_, _, ends)| *ends > Instant::now())
        .and_then(|(id, generation, _)| {
            let mut grants = lock(&shared.grants);
            let grant = grants.get_mut(&id).filter(|grant| !grant.revoked)?;
            grant.used = grant.used.max(generation);
            Some((grant.user.clone(), grant.scope.clone()))
        });
    let Some((user, scope)) = user else {
        let mut reply = json_reply(401, &json!({ "error": "unauthorized" }));
        let challenge =
            format!("Bearer resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\"");
        reply
            .headers_mut()
            .insert("www-authenticate", challenge.parse().expect("a header"));
        return reply;
    };
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    let tool = |name: &str| json!({ "name": name, "description": "For tests.", "inputSchema": { "type": "object" } });
    let result = match message["method"].as_str().unwrap_or_default() {
        "server/discover" => {
            json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } })
        }
        "tools/list" => json!({ "tools": [tool("whose"), tool("admin")] }),
        "tools/call"
            if message["params"]["name"] == "admin" && !scope.split(' ').any(|s| s == "admin") =>
        {
            let mut reply = json_reply(403, &json!({ "error": "forbidden" }));
            let challenge = "Bearer error=\"insufficient_scope\", scope=\"admin\"";
            reply
                .headers_mut()
                .insert("www-authenticate", challenge.parse().expect("a header"));
            return reply;
        }
        "tools/call" => {
            let n = message["params"]["arguments"]["n"].to_string();
            lock(&shared.calls).push((user.clone(), n));
            json!({ "content": [{ "type": "text", "text": user }] })
        }
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return json_reply(
                404,
                &json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }),
            );
        }
    };
    json_reply(
        200,
        &json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }),
    )
}

fn random() -> String {
    let mut bytes = [0; 12];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn json_reply(status: u16, value: &Value) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(value.to_string())).boxed());
    *reply.status_mut() = StatusCode::from_u16(status).expect("a status");
    let kind = http::HeaderValue::from_static("application/json");
    reply.headers_mut().insert("content-type", kind);
    reply
}

fn endless(announced: Option<u64>) -> Reply {
    let piece = Bytes::from(vec![b' '; 64 * 1024]);
    let pieces = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    let mut reply = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    let kind = http::HeaderValue::from_static("application/json");
    reply.headers_mut().insert("content-type", kind);
    if let Some(length) = announced {
        reply.headers_mut().insert("content-length", length.into());
    }
    reply
}
