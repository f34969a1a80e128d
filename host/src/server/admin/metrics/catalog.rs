//! Backends, what is offered of them, and whether it is what was approved.

use super::{flag, number};
use crate::catalog::{Health, Kind as ItemKind};
use crate::measure::{Exposition, Kind};
use crate::pipeline::Gateway;

const KINDS: [(&str, ItemKind); 4] = [
    ("tool", ItemKind::Tools),
    ("prompt", ItemKind::Prompts),
    ("resource", ItemKind::Resources),
    ("resource-template", ItemKind::Templates),
];

pub(super) async fn tell(gw: &Gateway, to: &mut Exposition) {
    let snapshot = gw.catalog.snapshot();
    let mut family = to.family(
        Kind::Gauge,
        "cortex_backend_up",
        "Whether the backend answered when it was last asked for its catalog.",
    );
    for (id, health) in &snapshot.backends {
        family.put(&[("backend", id)], flag(*health == Health::Up));
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_catalog_listed",
        "What is listed of the backend.",
    );
    for id in snapshot.backends.keys() {
        for (name, kind) in KINDS {
            let listed = snapshot.listing(kind).listed.iter();
            let count = listed.filter(|entry| entry.backend == *id).count();
            family.put(&[("backend", id), ("kind", &name)], number(count));
        }
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_catalog_left_out",
        "What of the backend is not offered, quarantined tools included.",
    );
    for id in snapshot.backends.keys() {
        let notes = snapshot.left_out.get(id).map_or(0, Vec::len);
        family.put(&[("backend", id)], number(notes));
    }
    refreshes(gw, to);
    let integrity = gw.integrity.report().await;
    let changed = integrity["changed"].as_array().map_or(0, Vec::len);
    to.one(
        Kind::Gauge,
        "cortex_tool_definitions_changed",
        "Tools whose definition is not what was approved.",
        number(changed),
    );
    to.one(
        Kind::Gauge,
        "cortex_tool_baseline_broken",
        "Whether approved tool definitions cannot be read.",
        flag(integrity["baseline"]["state"] != "good"),
    );
}

fn refreshes(gw: &Gateway, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Counter,
        "cortex_catalog_refreshes_total",
        "How often the backend was asked for its catalog, or what it told another gateway was taken (shared).",
    );
    for (id, refreshes) in gw.catalog.refreshes() {
        for (result, count) in [
            ("good", &refreshes.good),
            ("failed", &refreshes.failed),
            ("shared", &refreshes.taken),
        ] {
            family.put(&[("backend", id), ("result", &result)], count.get() as f64);
        }
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_catalog_refreshed_timestamp_seconds",
        "When the backend last told what it offers; absent while it has not.",
    );
    for (id, refreshes) in gw.catalog.refreshes() {
        if let Some(last) = refreshes.last() {
            family.put(&[("backend", id)], last);
        }
    }
    let mut family = to.histograms(
        "cortex_catalog_refresh_duration_seconds",
        "How long the backend took to tell what it offers, or not to.",
    );
    for (id, refreshes) in gw.catalog.refreshes() {
        family.histogram(&[("backend", id)], &refreshes.durations);
    }
}
