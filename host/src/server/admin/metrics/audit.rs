//! The audit trail and its exporters.

use time::OffsetDateTime;

use crate::audit::{ExporterFigures, Figures};
use crate::measure::{Exposition, Kind};

pub(super) fn tell(figures: &Figures, to: &mut Exposition) {
    for (kind, name, help, value) in [
        (
            Kind::Counter,
            "cortex_audit_records_total",
            "Audit records that were kept since the start.",
            figures.written,
        ),
        (
            Kind::Counter,
            "cortex_audit_dropped_total",
            "Audit records that were given up for want of room before every exporter had taken them.",
            figures.dropped,
        ),
        (
            Kind::Counter,
            "cortex_audit_refused_total",
            "Requests that were refused because their record could not be kept.",
            figures.refused,
        ),
        (
            Kind::Gauge,
            "cortex_audit_newest_sequence",
            "The number of the newest audit record.",
            figures.newest,
        ),
        (
            Kind::Gauge,
            "cortex_audit_oldest_sequence",
            "The number of the oldest audit record that is kept.",
            figures.oldest,
        ),
        (
            Kind::Gauge,
            "cortex_audit_bytes",
            "How long all files of the audit trail are together.",
            figures.bytes,
        ),
        (
            Kind::Gauge,
            "cortex_audit_bound_bytes",
            "How long they may get.",
            figures.bound,
        ),
        (
            Kind::Gauge,
            "cortex_audit_refusing",
            "Whether requests are refused because audit records cannot be kept.",
            u64::from(figures.trouble.is_some()),
        ),
    ] {
        to.one(kind, name, help, value as f64);
    }
    let now = OffsetDateTime::now_utc();
    let failing = |of: &ExporterFigures| {
        let since = of.failing_since;
        since.map_or(0.0, |since| (now - since).as_seconds_f64())
    };
    type Of<'a> = &'a dyn Fn(&ExporterFigures) -> f64;
    let families: [(Kind, &str, &str, Of<'_>); 3] = [
        (
            Kind::Gauge,
            "cortex_audit_behind",
            "Audit records that the exporter has not taken yet.",
            &|of| of.behind as f64,
        ),
        (
            Kind::Counter,
            "cortex_audit_missed_total",
            "Audit records that were gone before the exporter could take them.",
            &|of| of.missed as f64,
        ),
        (
            Kind::Gauge,
            "cortex_audit_failing_seconds",
            "For how long the exporter has taken nothing.",
            &failing,
        ),
    ];
    for (kind, name, help, value) in families {
        let mut family = to.family(kind, name, help);
        for of in figures.exporters.iter().filter(|of| of.present) {
            family.put(&[("exporter", &of.name)], value(of));
        }
    }
}
