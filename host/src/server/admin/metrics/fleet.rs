//! What gateways share, and what happens while they cannot.

use super::{flag, number};
use crate::measure::{Exposition, Kind};
use crate::pipeline::Gateway;

pub(super) fn tell(gw: &Gateway, to: &mut Exposition) {
    let fleet = &gw.fleet;
    to.family(
        Kind::Gauge,
        "cortex_fleet_connected",
        "Whether what the gateways share can be used; a gateway by itself shares with nobody, in memory.",
    )
    .put(&[("engine", &fleet.engine())], flag(fleet.is_connected()));
    to.one(
        Kind::Gauge,
        "cortex_fleet_instances",
        "Gateways that are alive, this one included, as far as it knows.",
        number(fleet.instances()),
    );
    to.one(
        Kind::Counter,
        "cortex_fleet_own_share_total",
        "Requests that were counted against this gateway's own share of the rate limit, because the fleet was away.",
        gw.limits.shared_out() as f64,
    );
    let figures = fleet.figures();
    let count = |count: fn(&crate::fleet::Figures) -> u64| figures.map_or(0, count) as f64;
    to.one(
        Kind::Counter,
        "cortex_fleet_away_total",
        "How often what the gateways share went away.",
        count(|figures| figures.away.get()),
    );
    let mut family = to.family(
        Kind::Counter,
        "cortex_fleet_news_total",
        "News between gateways; gap: some may have been missed, and everything was looked up again.",
    );
    family.put(&[("what", &"told")], count(|figures| figures.told.get()));
    family.put(&[("what", &"heard")], count(|figures| figures.heard.get()));
    family.put(&[("what", &"gap")], count(|figures| figures.gaps.get()));
    let mut family = to.histograms(
        "cortex_fleet_operation_seconds",
        "How long what the gateways share took to answer.",
    );
    for (operation, took, _) in figures.into_iter().flat_map(|figures| figures.operations()) {
        if !took.is_empty() {
            family.histogram(&[("operation", &operation.name())], took);
        }
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_fleet_operations_failed_total",
        "What was not done, because what the gateways share was away, late, or refused it.",
    );
    for (operation, _, failed) in figures.into_iter().flat_map(|figures| figures.operations()) {
        family.put(&[("operation", &operation.name())], failed as f64);
    }
}
