//! `cortex-gateway plugin list`: what runs of each file of the plugin directory, and what does not.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::pipeline::Gateway;
use crate::plugin::Live;

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
    json!({ "generation": plugins.generation, "plugins": files })
}

fn running(live: &Live) -> Value {
    let since = live.since.replace_nanosecond(0).unwrap_or(live.since);
    json!({
        "name": live.name.as_str(),
        "version": live.version,
        "kind": live.kind.as_str(),
        "digest": live.digest,
        "since": since.format(&Rfc3339).ok(),
    })
}
