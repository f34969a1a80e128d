//! Which path does what.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;

use super::admin;
use super::contract;
use super::cron;
use super::links;
use super::pages;
use super::respond::{self, Reply};
use crate::catalog::Health;
use crate::pipeline::{self, Arrival, Gateway, Served};

/// Header fields that a browser may send to `/mcp`.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, \
                               Mcp-Name, Last-Event-ID, X-Dev-Mode, X-Cortex-Backends, X-Cortex-Tool-Mode, \
                               X-Cortex-Context-Budget";

/// What headers that mirror an argument begin with (MCP 2026-07-28, Streamable HTTP, "Custom
/// Headers from Tool Parameters"), and the most of them that a page may ask for.
const PARAM_HEADER: &str = "mcp-param-";
const MAX_PARAM_HEADERS: usize = 32;

/// Answers one request. Rare branches are boxed: the future of every request is as large as its largest branch that is
/// not, and is copied whenever it is moved.
pub(super) async fn route(gw: &Arc<Gateway>, arrival: Arrival) -> Reply {
    let method = arrival.head.method.clone();
    match (arrival.head.uri.path(), &method) {
        ("/mcp", _) => mcp(gw, arrival).await,
        // Probes ask by whatever name they have.
        ("/healthz", &Method::GET) => respond::health(true, &json!({ "status": "alive" })),
        ("/readyz", &Method::GET) => ready(gw),
        ("/healthz" | "/readyz", _) => respond::method_not_allowed("GET"),
        ("/api/admin/tool-integrity" | "/metrics", _) => match gw.hosts.check(&arrival.head) {
            Ok(()) => Box::pin(admin::answer(gw, arrival)).await,
            Err(refusal) => respond::plainly_refused(&refusal),
        },
        (cron::PATH, _) => match gw.hosts.check(&arrival.head) {
            Ok(()) => Box::pin(cron::answer(gw, arrival)).await,
            Err(refusal) => respond::plainly_refused(&refusal),
        },
        (path, _) if path.starts_with(contract::PATH) => match gw.hosts.check(&arrival.head) {
            Ok(()) => Box::pin(contract::answer(gw, arrival)).await,
            Err(refusal) => respond::plainly_refused(&refusal),
        },
        (path, _) if links::are_at(path) => match gw.hosts.check(&arrival.head) {
            Ok(()) => Box::pin(links::answer(gw, arrival)).await,
            Err(refusal) => respond::plainly_refused(&refusal),
        },
        (path, _) => match gw.hosts.check(&arrival.head) {
            Ok(()) => pages::answer(gw, &method, path).unwrap_or_else(respond::not_found),
            Err(refusal) => respond::plainly_refused(&refusal),
        },
    }
}

/// Answers one request that came by the operators' own socket.
pub(super) async fn for_operators(gw: &Arc<Gateway>, arrival: Arrival) -> Reply {
    if let Err(refusal) = gw.hosts.check(&arrival.head) {
        return respond::plainly_refused(&refusal);
    }
    match (arrival.head.uri.path(), &arrival.head.method) {
        ("/metrics", &Method::GET | &Method::HEAD) => admin::metrics(gw).await,
        ("/metrics", _) => respond::method_not_allowed("GET, HEAD"),
        _ => respond::not_found(),
    }
}

async fn mcp(gw: &Arc<Gateway>, arrival: Arrival) -> Reply {
    let origin = arrival
        .head
        .headers
        .get(ORIGIN)
        .filter(|origin| gw.origins.allows(origin))
        .cloned();
    let mut reply = match arrival.head.method {
        Method::POST => served(gw, pipeline::handle(Arc::clone(gw), arrival).await).await,
        Method::GET => {
            let opened = Box::pin(pipeline::open_stream(Arc::clone(gw), arrival));
            served(gw, opened.await).await
        }
        Method::DELETE => {
            let finished = Box::pin(pipeline::end_session(Arc::clone(gw), arrival)).await;
            respond::to_http(&gw.config, finished).await
        }
        ref other => match gw.hosts.check(&arrival.head) {
            Err(refusal) => respond::plainly_refused(&refusal),
            Ok(()) if *other == Method::OPTIONS => preflight(&arrival.head.headers),
            Ok(()) => respond::method_not_allowed("POST, GET, DELETE, OPTIONS"),
        },
    };
    if let Some(origin) = origin {
        let headers = reply.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, X-Request-Id"),
        );
    }
    reply
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Origin"));
    reply
}

async fn served(gw: &Arc<Gateway>, served: Served) -> Reply {
    match served {
        Served::Whole(finished) => respond::to_http(&gw.config, finished).await,
        Served::Stream(running) => respond::stream(Arc::clone(gw), running),
        Served::Listening(listening) => respond::listen(Arc::clone(gw), listening),
    }
}

/// What a browser may send. Which arguments travel as headers depends on the tools, so a page may
/// send any of those that it asks for.
fn preflight(asked: &HeaderMap) -> Reply {
    let asked = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let asked = asked.filter_map(|value| value.to_str().ok());
    let mirrored = asked
        .flat_map(|names| names.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| name.as_str().starts_with(PARAM_HEADER))
        .take(MAX_PARAM_HEADERS);
    let allowed = mirrored.fold(ALLOWED_HEADERS.to_owned(), |allowed, name| {
        format!("{allowed}, {name}")
    });
    let mut reply = respond::no_content();
    let headers: &mut HeaderMap = reply.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, DELETE, OPTIONS"),
    );
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    reply
}

/// Ready: a policy is loaded, every backend has its adapter, and the first refresh is over. A
/// backend that is down does not make the gateway unready: the others are served.
fn ready(gw: &Gateway) -> Reply {
    let mut missing = Vec::new();
    if gw.leaving.load(Ordering::Relaxed) {
        missing.push("it is about to stop: requests should go to another instance".to_owned());
    }
    let plugins = gw.plugins.now();
    if plugins.policies.is_empty() {
        missing.push("no scope policy is loaded: nothing would be allowed".to_owned());
    }
    if plugins.exporters.is_empty() {
        missing.push("no audit exporter is loaded".to_owned());
    }
    if let Some(trouble) = gw.audit.trouble() {
        missing.push(format!("requests are refused: {trouble}"));
    }
    for (id, route) in &gw.routes {
        if !plugins.adapters.contains_key(&route.adapter) {
            missing.push(format!(
                "backend `{id}` needs the adapter `{}`, which is not loaded",
                route.adapter
            ));
        }
    }
    if !gw.catalog.is_ready() {
        missing.push("the first catalog refresh is not over".to_owned());
    }
    let snapshot = gw.catalog.snapshot();
    let up = snapshot
        .backends
        .values()
        .filter(|health| **health == Health::Up)
        .count();
    respond::health(
        missing.is_empty(),
        &json!({ "ready": missing.is_empty(), "missing": missing, "backends": snapshot.backends.len(), "up": up }),
    )
}
