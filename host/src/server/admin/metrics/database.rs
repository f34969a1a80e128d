//! The database that keeps what gateways share, if there is one.

use super::number;
use crate::measure::{Exposition, Kind};
use crate::pipeline::Gateway;
use crate::store::Asked;

pub(super) fn tell(gw: &Gateway, to: &mut Exposition) {
    let shared = gw.store.database().zip(gw.store.figures());
    let mut family = to.family(
        Kind::Gauge,
        "cortex_database_connections",
        "Connections to the database: used by a statement now, or idle.",
    );
    if let Some((database, _)) = shared {
        let pool = database.pool();
        family.put(&[("state", &"used")], number(pool.used));
        let idle = pool.open.saturating_sub(pool.used);
        family.put(&[("state", &"idle")], number(idle));
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_database_connections_max",
        "How many there may be (CORTEX_DATABASE_CONNECTIONS).",
    );
    if let Some((database, _)) = shared {
        family.put(&[], number(database.pool().most));
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_database_waiting",
        "Statements that wait for a connection.",
    );
    if let Some((database, _)) = shared {
        family.put(&[], number(database.pool().waiting));
    }
    let mut family = to.histograms(
        "cortex_database_duration_seconds",
        "How long the database took, all tries together.",
    );
    for asked in Asked::ALL {
        if let Some((_, figures)) = shared {
            family.histogram(&[("asked", &asked.as_str())], &figures.of(asked).took);
        }
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_database_repeated_total",
        "Tries that were repeated: the database was away, or others were in the way.",
    );
    for asked in Asked::ALL {
        if let Some((_, figures)) = shared {
            let again = figures.of(asked).again.get();
            family.put(&[("asked", &asked.as_str())], again as f64);
        }
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_database_failures_total",
        "What the database did not answer in the end.",
    );
    for asked in Asked::ALL {
        if let Some((_, figures)) = shared {
            let failed = figures.of(asked).failed.get();
            family.put(&[("asked", &asked.as_str())], failed as f64);
        }
    }
}
