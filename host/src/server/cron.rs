//! What a scheduler asks: `/api/cron/purge-audit`, with `Authorization: Bearer` and `CRON_SECRET`. Without
//! `CRON_SECRET` it is not there.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use serde_json::{Map, json};
use subtle::ConstantTimeEq as _;

use super::respond::{self, Reply};
use crate::audit::keeping;
use crate::pipeline::{Arrival, Gateway};

/// The path.
pub(super) const PATH: &str = "/api/cron/purge-audit";

/// Has old audit records deleted, and tells how many.
pub(super) async fn answer(gw: &Gateway, arrival: Arrival) -> Reply {
    let Some(secret) = &gw.config.cron_secret else {
        return respond::not_found();
    };
    if !knows(&arrival.head.headers, secret.reveal()) {
        return respond::admin_refused();
    }
    if !matches!(arrival.head.method, Method::GET | Method::POST) {
        return respond::method_not_allowed("GET, POST");
    }
    let kept = keeping::purge(&gw.plugins, gw.config.audit.retention).await;
    let deleted: u64 = kept
        .values()
        .filter_map(|outcome| outcome.as_ref().ok())
        .sum();
    let failed: Vec<&str> = (kept.iter())
        .filter(|(_, outcome)| outcome.is_err())
        .map(|(name, _)| name.as_str())
        .collect();
    if !failed.is_empty() {
        let why = format!(
            "{deleted} deleted; not by {}: the log says why",
            failed.join(", ")
        );
        return respond::admin_failed(&why);
    }
    let exporters: Map<_, _> = (kept.iter())
        .map(|(name, outcome)| (name.to_string(), json!(outcome.as_ref().ok())))
        .collect();
    respond::admin(&json!({ "deleted": deleted, "exporters": exporters }))
}

fn knows(headers: &HeaderMap, secret: &str) -> bool {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    let (Some(presented), None) = (presented.next(), presented.next()) else {
        return false;
    };
    let presented = presented.as_bytes();
    match presented.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            token.ct_eq(secret.as_bytes()).into()
        }
        _ => false,
    }
}
