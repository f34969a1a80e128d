//! Requests, what they wait for, and what is open.

use super::number;
use crate::measure::{Exposition, Kind};
use crate::pipeline::{Gateway, MAX_REQUESTS};

pub(super) fn tell(gw: &Gateway, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Counter,
        "cortex_requests_total",
        "Requests of MCP clients, by how they ended.",
    );
    for (labels, count) in gw.measures.requests() {
        family.put(
            &[
                ("method", &labels.method),
                ("era", &labels.era),
                ("backend", &labels.backend),
                ("outcome", &labels.outcome),
            ],
            count as f64,
        );
    }
    let mut family = to.histograms(
        "cortex_request_duration_seconds",
        "From a request's arrival to its answer, streams of those who listen left out.",
    );
    for (method, histogram) in gw.measures.durations() {
        family.histogram(&[("method", &method)], histogram);
    }
    let mut family = to.histograms(
        "cortex_stage_duration_seconds",
        "How long stages of requests took.",
    );
    for (stage, histogram) in gw.measures.stages() {
        family.histogram(&[("stage", &stage.as_str())], histogram);
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_rate_refused_total",
        "Requests that were too many, of a token, or of an address without a good one.",
    );
    for (by, count) in gw.limits.refused() {
        family.put(&[("by", &by)], count as f64);
    }
    let mut exchanges = to.family(
        Kind::Counter,
        "cortex_exchanges_total",
        "HTTP requests to the backend, by how they ended.",
    );
    for (id, route) in &gw.routes {
        for (outcome, count) in route.backend.exchanges().ends() {
            exchanges.put(&[("backend", id), ("outcome", &outcome)], count as f64);
        }
    }
    let mut exchanges = to.histograms(
        "cortex_exchange_duration_seconds",
        "From an HTTP request to the backend to its answer, or, where that is read while it comes, to its header.",
    );
    for (id, route) in &gw.routes {
        exchanges.histogram(&[("backend", id)], route.backend.exchanges().durations());
    }
    room(gw, to);
}

/// What is taken of what there is.
fn room(gw: &Gateway, to: &mut Exposition) {
    let (instances, most_instances) = gw.plugins.instances();
    let (streams, most_streams) = gw.streams.open_streams();
    // What else the audit has to tell belongs here, too.
    let (queued, most_queued) = gw.audit.taken();
    let in_flight = MAX_REQUESTS.saturating_sub(gw.room.available_permits());
    for (name, help, value) in [
        (
            "cortex_requests_in_flight",
            "Requests that are being served.",
            in_flight,
        ),
        (
            "cortex_requests_in_flight_max",
            "How many may be.",
            MAX_REQUESTS,
        ),
        ("cortex_streams_open", "Open notification streams.", streams),
        (
            "cortex_streams_open_max",
            "How many may be open.",
            most_streams,
        ),
        (
            "cortex_calls_parked",
            "Calls that wait for their client to come back with an answer.",
            gw.parked.len(),
        ),
        ("cortex_instances", "Instances of plugins.", instances),
        (
            "cortex_instances_max",
            "How many there may be.",
            most_instances,
        ),
        (
            "cortex_audit_queue_taken",
            "Places in the audit queue that are taken: by records that wait, requests that are served and open streams.",
            queued,
        ),
        (
            "cortex_audit_queue_places",
            "Places in the audit queue.",
            most_queued,
        ),
    ] {
        to.one(Kind::Gauge, name, help, number(value));
    }
    if let Some(tracing) = &gw.tracing {
        let sent = tracing.sent();
        let mut family = to.family(
            Kind::Counter,
            "cortex_trace_batches_total",
            "Batches of spans that the collector took, or did not.",
        );
        family.put(&[("result", &"good")], sent.taken.get() as f64);
        family.put(&[("result", &"failed")], sent.failed.get() as f64);
    }
}
