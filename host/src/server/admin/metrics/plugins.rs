//! Plugins: which run, what they use, and what they count themselves.

use super::{flag, number};
use crate::measure::{Exposition, Kind};
use crate::pipeline::Gateway;
use crate::plugin::{Figure, Kind as PluginKind, Reading};

/// What plugins use: name, help, and where it is read.
type Used = (&'static str, &'static str, fn(&Reading) -> f64);

const COUNTED: [Used; 4] = [
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

const HELD: [Used; 3] = [
    (
        "cortex_plugin_instances",
        "Instances of the plugin.",
        |used| used.instances as f64,
    ),
    (
        "cortex_plugin_memory_bytes",
        "Linear memory of these instances.",
        |used| used.memory as f64,
    ),
    (
        "cortex_plugin_memory_peak_bytes",
        "Most linear memory that an instance of the plugin has had.",
        |used| used.memory_peak as f64,
    ),
];

pub(super) fn tell(gw: &Gateway, to: &mut Exposition) {
    let plugins = gw.plugins.now();
    let files = || plugins.files().filter_map(|(_, file)| file.live.as_ref());
    let mut family = to.family(Kind::Gauge, "cortex_plugins_running", "Plugins that run.");
    for kind in PluginKind::ALL {
        let running = files().filter(|live| live.kind == kind).count();
        family.put(&[("kind", &kind)], number(running));
    }
    to.one(
        Kind::Gauge,
        "cortex_fleet_plugins_differing",
        "Plugins of which the gateways that share a store run different versions.",
        number(gw.plugins.elsewhere().len()),
    );
    let refused = plugins.files().filter(|(_, file)| file.refused.is_some());
    to.one(
        Kind::Gauge,
        "cortex_plugins_refused",
        "Files of the plugin directory that, as they are now, do not run.",
        number(refused.count()),
    );
    let mut family = to.family(
        Kind::Counter,
        "cortex_plugin_steps_total",
        "What has happened to plugins since the start.",
    );
    for (step, count) in gw.plugins.steps().counts() {
        family.put(&[("step", &step)], count as f64);
    }
    let all: Vec<_> = files()
        .map(|live| (&live.name, live.used(), live))
        .collect();
    let kinds = [(Kind::Counter, &COUNTED[..]), (Kind::Gauge, &HELD[..])];
    for (kind, figures) in kinds {
        for (name, help, value) in figures {
            let mut family = to.family(kind, name, help);
            for (plugin, used, _) in &all {
                family.put(&[("plugin", plugin)], value(used));
            }
        }
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_plugin_faults_total",
        "Calls that the plugin did not survive.",
    );
    for (plugin, used, _) in &all {
        for (reason, count) in &used.faults {
            family.put(&[("plugin", plugin), ("reason", reason)], *count as f64);
        }
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_policy_decisions_total",
        "What the policy said of calls; fault: it failed, and the call was refused.",
    );
    for (plugin, used, live) in &all {
        if live.kind == PluginKind::ScopePolicy {
            for (decision, count) in &used.decisions {
                family.put(&[("policy", plugin), ("decision", decision)], *count as f64);
            }
        }
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_plugin_resting",
        "Whether the plugin is left alone because it did nothing but fail.",
    );
    for (plugin, _, live) in &all {
        family.put(&[("plugin", plugin)], flag(live.rests()));
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_plugin_counter_total",
        "What the plugin counts itself.",
    );
    for (plugin, used, _) in &all {
        for (name, figure) in &used.figures {
            if let Figure::Counter(sum) = figure {
                family.put(&[("plugin", plugin), ("name", name)], *sum as f64);
            }
        }
    }
    let mut family = to.family(
        Kind::Gauge,
        "cortex_plugin_gauge",
        "What the plugin measures itself.",
    );
    for (plugin, used, _) in &all {
        for (name, figure) in &used.figures {
            if let Figure::Gauge(value) = figure {
                family.put(&[("plugin", plugin), ("name", name)], *value);
            }
        }
    }
}
