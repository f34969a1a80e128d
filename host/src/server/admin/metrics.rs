//! `/metrics`: what the gateway counts, as Prometheus reads it. `docs/observability.md` has the meaning of
//! each; a test compares the two.
//!
//! One function for each concern. Figures are owned by whoever counts: here they are only read.

mod audit;
mod catalog;
mod database;
mod fleet;
mod plugins;
mod process;
mod requests;
mod tokens;

use crate::measure::Exposition;
use crate::pipeline::Gateway;

/// The text.
pub(super) async fn text(gw: &Gateway) -> String {
    let mut to = Exposition::default();
    requests::tell(gw, &mut to);
    audit::tell(&gw.audit.figures(), &mut to);
    tokens::tell(gw, &mut to).await;
    catalog::tell(gw, &mut to).await;
    plugins::tell(gw, &mut to);
    database::tell(gw, &mut to);
    fleet::tell(gw, &mut to);
    process::tell(gw, &mut to);
    to.into_text()
}

/// Exact up to 2^53, which is how Prometheus keeps numbers.
fn number(count: usize) -> f64 {
    count as f64
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}
