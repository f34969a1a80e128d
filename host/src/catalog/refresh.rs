//! Keeps one backend's part of the catalog fresh. Backends never wait for each other.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::{Catalog, Health, Part, Source, Tool, definition};
use crate::plugin::model::{CallError, Catalog as Discovered};
use crate::types::Secret;

/// How soon a backend that is down is asked again.
const RETRY: Duration = Duration::from_secs(5);

pub(super) async fn keep_fresh(
    catalog: &Catalog,
    source: Source,
    technical: Option<Secret>,
    every: Duration,
) {
    let mut first = true;
    loop {
        let result = discover(&source, technical.as_ref()).await;
        let up = result.is_ok();
        take(catalog, &source, result);
        if std::mem::take(&mut first) {
            catalog.asked.send_modify(|n| *n += 1);
        }
        tokio::time::sleep(if up { every } else { RETRY.min(every) }).await;
    }
}

/// Asks the backend. The error is for an operator.
async fn discover(source: &Source, technical: Option<&Secret>) -> Result<Discovered, String> {
    let adapter = source.adapter.as_ref().map_err(|name| {
        format!(
            "no adapter plugin `{name}` is loaded; hint: put `{name}.wasm` into CORTEX_PLUGIN_DIR"
        )
    })?;
    let technical = technical.ok_or("CORTEX_TECHNICAL_TOKEN is not set")?;
    match adapter.discover(&source.backend, technical).await {
        Ok(Ok(discovered)) => Ok(discovered),
        Ok(Err(error)) => Err(in_words(error)),
        Err(fault) => Err(format!("{fault}; hint: {}", fault.cause.hint())),
    }
}

fn in_words(error: CallError) -> String {
    match error {
        CallError::Failed(failure) => failure.message,
        CallError::MissingScope(missing) => {
            format!("it asks for the scopes {}", missing.required.join(" "))
        }
        CallError::NotFound(what) => format!("it does not know `{what}`"),
        CallError::InvalidArguments(what) | CallError::Other(what) => what,
        CallError::Unsupported => "its adapter cannot discover".to_owned(),
    }
}

/// Turns what was found into the new part, and tells the operator what changed.
fn take(catalog: &Catalog, source: &Source, result: Result<Discovered, String>) {
    let id = &source.backend.id;
    let before = catalog.part(id);
    match result {
        Ok(discovered) => {
            let mut notes: Vec<String> = discovered
                .skipped
                .into_iter()
                .map(|s| format!("{} is left out: {}", s.item, s.reason))
                .collect();
            let mut tools = Vec::new();
            for tool in discovered.tools {
                let shown = tool.name.clone();
                match definition::build(id, tool) {
                    Ok(tool) => tools.push(Arc::new(tool)),
                    Err(reason) => notes.push(format!("tool `{shown}` is left out: {reason}")),
                }
            }
            tools.sort_by(|a, b| a.item.name.cmp(&b.item.name));
            if before.health != Health::Up {
                info!(backend.id = %id, "backend is up: {} tools", tools.len());
            } else if !same(&before.tools, &tools) {
                info!(backend.id = %id, "catalog changed: {} tools, {} before", tools.len(), before.tools.len());
            }
            if notes != before.notes {
                for note in &notes {
                    warn!(backend.id = %id, "{}", note.escape_debug());
                }
            }
            catalog.publish(
                id,
                Part {
                    tools,
                    health: Health::Up,
                    notes,
                },
            );
        }
        Err(reason) => {
            let health = Health::Down(reason.chars().take(300).collect());
            if before.health != health {
                warn!(backend.id = %id, "backend is down: {reason}; its tools are not listed until it answers again");
            }
            catalog.publish(id, Part { health, ..before });
        }
    }
}

fn same(a: &[Arc<Tool>], b: &[Arc<Tool>]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.definition.get() == b.definition.get() && a.item.scopes == b.item.scopes
        })
}
