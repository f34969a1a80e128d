//! What operators ask over HTTP, with the secret in `x-cortex-admin-secret`: changed tool definitions,
//! and metrics. Without `CORTEX_ADMIN_SECRET` none of it is there.

mod metrics;

use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::respond::{self, Reply};
use crate::integrity::IntegrityError;
use crate::pipeline::{self, Arrival, Gateway};

/// The header.
const SECRET: &str = "x-cortex-admin-secret";

/// Answers, if the path is one of these.
pub(super) async fn answer(gw: &Gateway, arrival: Arrival) -> Reply {
    let Some(secret) = &gw.config.admin_secret else {
        return respond::not_found();
    };
    if !knows(&arrival.head.headers, secret.reveal()) {
        return respond::admin_refused();
    }
    match (arrival.head.uri.path(), &arrival.head.method) {
        ("/metrics", &Method::GET | &Method::HEAD) => metrics(gw).await,
        ("/metrics", _) => respond::method_not_allowed("GET, HEAD"),
        (_, &Method::GET | &Method::HEAD) => respond::admin(&gw.integrity.report().await),
        (_, &Method::POST) => approve(gw, arrival).await,
        _ => respond::method_not_allowed("GET, HEAD, POST"),
    }
}

/// What the gateway counts, for Prometheus.
pub(super) async fn metrics(gw: &Gateway) -> Reply {
    respond::metrics(metrics::text(gw).await)
}

fn knows(headers: &HeaderMap, secret: &str) -> bool {
    let mut presented = headers.get_all(SECRET).iter();
    match (presented.next(), presented.next()) {
        (Some(presented), None) => presented.as_bytes().ct_eq(secret.as_bytes()).into(),
        _ => false,
    }
}

/// `{"approve": ["docs/search"]}` or `{"approve": "all"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    approve: Chosen,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Chosen {
    Names(Vec<String>),
    Word(String),
}

async fn approve(gw: &Gateway, arrival: Arrival) -> Reply {
    const EXPECTED: &str = r#"expected {"approve": ["<backend>/<tool>", …]} or {"approve": "all"}"#;
    let body = match pipeline::whole_body(&gw.config, arrival.body).await {
        Ok(body) => body,
        Err(refusal) => return respond::admin_wrong(&refusal.to_string()),
    };
    let chosen = match serde_json::from_slice::<Decided>(&body) {
        Ok(Decided {
            approve: Chosen::Names(names),
        }) => Some(names),
        Ok(Decided {
            approve: Chosen::Word(word),
        }) if word == "all" => None,
        _ => return respond::admin_wrong(EXPECTED),
    };
    match pipeline::approve(gw, chosen.as_deref()).await {
        Ok(approved) => respond::admin(&json!({ "approved": approved })),
        Err(error @ IntegrityError::Unknown(_)) => respond::admin_wrong(&error.to_string()),
        Err(error) => respond::admin_failed(&error.to_string()),
    }
}
