//! `/metrics`: how the backends are and what of them is offered, as Prometheus text (version 0.0.4).

use std::fmt::Write as _;

use serde_json::Value;

use crate::catalog::{Health, Kind};
use crate::pipeline::Gateway;
use crate::plugin::Kind as PluginKind;

/// The text. `integrity`: what an operator is shown of changed tools.
pub(super) fn text(gw: &Gateway, integrity: &Value) -> String {
    let snapshot = gw.catalog.snapshot();
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: Vec<(String, usize)>| {
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
            .map(|(id, health)| {
                (
                    format!("{{backend=\"{id}\"}}"),
                    usize::from(*health == Health::Up),
                )
            })
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
                    (format!("{{backend=\"{id}\",kind=\"{name}\"}}"), count)
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
                (format!("{{backend=\"{id}\"}}"), notes)
            })
            .collect(),
    );
    let plugins = gw.plugins.now();
    let running = |kind: PluginKind| {
        let live = plugins.files().filter_map(|(_, file)| file.live.as_ref());
        live.filter(|live| live.kind == kind).count()
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
        vec![(String::new(), refused.count())],
    );
    family(
        "cortex_plugin_steps_total",
        "What has happened to plugins since the start.",
        (gw.plugins.steps().counts())
            .map(|(step, count)| {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                (format!("{{step=\"{step}\"}}"), count)
            })
            .into(),
    );
    let changed = integrity["changed"].as_array().map_or(0, Vec::len);
    family(
        "cortex_tool_definitions_changed",
        "Tools whose definition is not what was approved.",
        vec![(String::new(), changed)],
    );
    let broken = integrity["baseline"]["state"] != "good";
    family(
        "cortex_tool_baseline_broken",
        "Whether approved tool definitions cannot be read.",
        vec![(String::new(), usize::from(broken))],
    );
    text
}
