//! `/metrics`: how the backends are and what of them is offered, as Prometheus text (version 0.0.4).

use std::fmt::Write as _;

use serde_json::Value;
use time::OffsetDateTime;

use crate::audit::{ExporterFigures, Figures};
use crate::catalog::{Health, Kind};
use crate::pipeline::Gateway;
use crate::plugin::{Figure, Kind as PluginKind, Reading};
use crate::types::PluginName;

/// The text. `integrity`: what an operator is shown of changed tools.
pub(super) fn text(gw: &Gateway, integrity: &Value) -> String {
    let snapshot = gw.catalog.snapshot();
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: Vec<(String, f64)>| {
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    // Ids of backends need no escaping: `a-z`, `0-9` and `-`.
    let backends = || snapshot.backends.iter();
    family(
        "cortex_backend_up",
        "Whether the backend answered when it was last asked for its catalog.",
        backends()
            .map(|(id, health)| (format!("{{backend=\"{id}\"}}"), flag(*health == Health::Up)))
            .collect(),
    );
    let kinds = [
        ("tool", Kind::Tools),
        ("prompt", Kind::Prompts),
        ("resource", Kind::Resources),
        ("resource-template", Kind::Templates),
    ];
    family(
        "cortex_catalog_listed",
        "What is listed of the backend.",
        backends()
            .flat_map(|(id, _)| {
                let snapshot = &snapshot;
                kinds.map(move |(name, kind)| {
                    let listed = snapshot.listing(kind).listed.iter();
                    let count = listed.filter(|entry| entry.backend == *id).count();
                    (
                        format!("{{backend=\"{id}\",kind=\"{name}\"}}"),
                        number(count),
                    )
                })
            })
            .collect(),
    );
    family(
        "cortex_catalog_left_out",
        "What of the backend is not offered, quarantined tools included.",
        backends()
            .map(|(id, _)| {
                let notes = snapshot.left_out.get(id).map_or(0, Vec::len);
                (format!("{{backend=\"{id}\"}}"), number(notes))
            })
            .collect(),
    );
    let plugins = gw.plugins.now();
    let running = |kind: PluginKind| {
        let live = plugins.files().filter_map(|(_, file)| file.live.as_ref());
        number(live.filter(|live| live.kind == kind).count())
    };
    let refused = plugins.files().filter(|(_, file)| file.refused.is_some());
    family(
        "cortex_plugins_running",
        "Plugins that run.",
        PluginKind::ALL
            .map(|kind| (format!("{{kind=\"{kind}\"}}"), running(kind)))
            .into(),
    );
    family(
        "cortex_plugins_refused",
        "Files of the plugin directory that, as they are now, do not run.",
        vec![(String::new(), number(refused.count()))],
    );
    family(
        "cortex_plugin_steps_total",
        "What has happened to plugins since the start.",
        (gw.plugins.steps().counts())
            .map(|(step, count)| (format!("{{step=\"{step}\"}}"), count as f64))
            .into(),
    );
    let live = || {
        let files = plugins.files().filter_map(|(_, file)| file.live.as_ref());
        files.map(|live| (live, live.used()))
    };
    // Names of plugins need no escaping either.
    let of = |name: &PluginName| format!("{{plugin=\"{name}\"}}");
    for (name, help, value) in USED {
        let samples = live().map(|(live, used)| (of(&live.name), value(&used)));
        family(name, help, samples.collect());
    }
    let faults = live().flat_map(|(live, used)| {
        let name = live.name.clone();
        let faults = used.faults.into_iter();
        faults.map(move |(reason, count)| {
            let labels = format!("{{plugin=\"{name}\",reason=\"{reason}\"}}");
            (labels, count as f64)
        })
    });
    family(
        "cortex_plugin_faults_total",
        "Calls that the plugin did not survive.",
        faults.collect(),
    );
    let own = |wanted: fn(&Figure) -> Option<f64>| {
        let told = live().flat_map(|(live, used)| {
            let name = live.name.clone();
            let figures = used.figures.into_iter();
            figures.filter_map(move |(figure, told)| {
                let labels = format!("{{plugin=\"{name}\",name=\"{figure}\"}}");
                Some((labels, wanted(&told)?))
            })
        });
        told.collect()
    };
    family(
        "cortex_plugin_counter_total",
        "What the plugin counts itself.",
        own(|figure| match figure {
            Figure::Counter(sum) => Some(*sum as f64),
            Figure::Gauge(_) => None,
        }),
    );
    family(
        "cortex_plugin_gauge",
        "What the plugin measures itself.",
        own(|figure| match figure {
            Figure::Counter(_) => None,
            Figure::Gauge(value) => Some(*value),
        }),
    );
    family(
        "cortex_plugin_resting",
        "Whether the plugin is left alone because it did nothing but fail.",
        live()
            .map(|(live, _)| (of(&live.name), flag(live.rests())))
            .collect(),
    );
    audit(&gw.audit.figures(), &mut family);
    let changed = integrity["changed"].as_array().map_or(0, Vec::len);
    family(
        "cortex_tool_definitions_changed",
        "Tools whose definition is not what was approved.",
        vec![(String::new(), number(changed))],
    );
    let broken = integrity["baseline"]["state"] != "good";
    family(
        "cortex_tool_baseline_broken",
        "Whether approved tool definitions cannot be read.",
        vec![(String::new(), flag(broken))],
    );
    text
}

/// Writes one family: name, help, and labels with values.
type Family<'a> = dyn FnMut(&str, &str, Vec<(String, f64)>) + 'a;

/// The audit trail and its exporters.
fn audit(figures: &Figures, family: &mut Family<'_>) {
    let one = |value: u64| vec![(String::new(), value as f64)];
    for (name, help, value) in [
        (
            "cortex_audit_records_total",
            "Audit records that were kept since the start.",
            figures.written,
        ),
        (
            "cortex_audit_dropped_total",
            "Audit records that were given up for want of room before every exporter had taken them.",
            figures.dropped,
        ),
        (
            "cortex_audit_refused_total",
            "Requests that were refused because their record could not be kept.",
            figures.refused,
        ),
        (
            "cortex_audit_newest_sequence",
            "The number of the newest audit record.",
            figures.newest,
        ),
        (
            "cortex_audit_oldest_sequence",
            "The number of the oldest audit record that is kept.",
            figures.oldest,
        ),
        (
            "cortex_audit_bytes",
            "How long all files of the audit trail are together.",
            figures.bytes,
        ),
        (
            "cortex_audit_bound_bytes",
            "How long they may get.",
            figures.bound,
        ),
        (
            "cortex_audit_queue",
            "Places for audit records that are taken: by requests in flight, and by records not written yet.",
            figures.queued as u64,
        ),
        (
            "cortex_audit_refusing",
            "Whether requests are refused because audit records cannot be kept.",
            u64::from(figures.trouble.is_some()),
        ),
    ] {
        family(name, help, one(value));
    }
    let each = |value: &dyn Fn(&ExporterFigures) -> f64| {
        let exporters = figures.exporters.iter().filter(|of| of.present);
        exporters
            .map(|of| (format!("{{exporter=\"{}\"}}", of.name), value(of)))
            .collect::<Vec<_>>()
    };
    family(
        "cortex_audit_behind",
        "Audit records that the exporter has not taken yet.",
        each(&|of| of.behind as f64),
    );
    family(
        "cortex_audit_missed_total",
        "Audit records that were gone before the exporter could take them.",
        each(&|of| of.missed as f64),
    );
    let now = OffsetDateTime::now_utc();
    family(
        "cortex_audit_failing_seconds",
        "For how long the exporter has taken nothing.",
        each(&|of| {
            of.failing_since
                .map_or(0.0, |since| (now - since).as_seconds_f64())
        }),
    );
}

/// What plugins use: name, help, and where it is read.
type Used = (&'static str, &'static str, fn(&Reading) -> f64);

const USED: [Used; 4] = [
    (
        "cortex_plugin_calls_total",
        "Calls of the plugin's exports.",
        |used| used.calls as f64,
    ),
    (
        "cortex_plugin_busy_seconds_total",
        "Time that a processor was busy with the plugin.",
        |used| used.busy.as_secs_f64(),
    ),
    (
        "cortex_plugin_exchanges_total",
        "HTTP requests that the plugin had sent.",
        |used| used.exchanges as f64,
    ),
    (
        "cortex_plugin_received_bytes_total",
        "Bytes of bodies that came back.",
        |used| used.received as f64,
    ),
];

/// Exact up to 2^53, which is how Prometheus keeps numbers.
fn number(count: usize) -> f64 {
    count as f64
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}
