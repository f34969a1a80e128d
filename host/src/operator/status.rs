//! `cortex-gateway status`: what the public page must not say, because it could name a backend's
//! address.

use serde_json::{Value, json};

use super::Failed;
use crate::catalog::{Health, Kind};
use crate::pipeline::Gateway;

pub(super) fn status(gw: &Gateway) -> Result<Value, Failed> {
    let snapshot = gw.catalog.snapshot();
    let backends: Vec<Value> = snapshot
        .backends
        .iter()
        .map(|(id, health)| {
            let (health, reason) = match health {
                Health::Unknown => ("not asked yet", None),
                Health::Up => ("up", None),
                Health::Down(reason) => ("down", Some(reason)),
            };
            let listed = |kind: Kind| {
                let all = snapshot.listing(kind).listed.iter();
                all.filter(|entry| entry.backend == *id).count()
            };
            json!({
                "id": id,
                "health": health,
                "reason": reason,
                "tools": listed(Kind::Tools),
                "prompts": listed(Kind::Prompts),
                "resources": listed(Kind::Resources),
                "templates": listed(Kind::Templates),
                "leftOut": snapshot.left_out.get(id).map_or(&[][..], Vec::as_slice),
            })
        })
        .collect();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "generation": snapshot.generation,
        "backends": backends,
    }))
}
