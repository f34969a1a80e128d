//! `cortex-gateway plugin list` and `top`: what runs of each file of the plugin directory, what it uses, and
//! what does not run.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use crate::pipeline::Gateway;
use crate::plugin::{Live, Reading};

pub(super) fn list(gw: &Gateway) -> Value {
    let plugins = gw.plugins.now();
    let files: Vec<Value> = plugins
        .files()
        .map(|(name, file)| {
            json!({
                "file": name,
                "running": file.live.as_ref().map(running),
                "refused": file.refused.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    json!({
        "generation": plugins.generation,
        "plugins": files,
        "differing": gw.plugins.elsewhere(),
    })
}

fn running(live: &Live) -> Value {
    let since = live.since.replace_nanosecond(0).unwrap_or(live.since);
    json!({
        "name": live.name.as_str(),
        "version": live.version,
        "kind": live.kind.as_str(),
        "line": live.line.as_str(),
        "granted": live.granted(),
        "missing": live.missing(),
        "digest": live.digest,
        "resting": live.rests(),
        "used": used(&live.used()),
        "since": since.format(&Rfc3339).ok(),
    })
}

fn used(reading: &Reading) -> Value {
    let failed = reading.faults.iter().filter(|(_, count)| *count > 0);
    let failed: Map<String, Value> = failed
        .map(|(reason, count)| ((*reason).to_owned(), (*count).into()))
        .collect();
    json!({
        "calls": reading.calls,
        "failed": failed,
        "busySeconds": reading.busy.as_secs_f64(),
        "exchanges": reading.exchanges,
        "receivedBytes": reading.received,
    })
}
