//! What can be told of a component before anything depends on it: what it is, what it imports and
//! wants, and whether this gateway would run it.

use std::path::Path;
use std::sync::Arc;

use super::directory::scan;
use super::engine::Runtime;
use super::grants::Want;
use super::lines::Line;
use super::loader::{self, Kind, Refusal};
use super::model::Description;
use super::set::digest;
use super::settings::Beside;
use super::trust;

/// One interface that a component imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name, with the version: `cortex:gateway/http@0.1.0`.
    pub name: String,
    /// What a component can do with it, for an operator.
    pub meaning: &'static str,
}

/// One thing that a component would like to be granted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What.
    pub want: Want,
    /// Why, in its own words.
    pub reason: String,
    /// Whether the file beside the component grants it.
    pub met: bool,
    /// Whether the operator has said something to it, yes or no.
    pub settled: bool,
}

/// What was found out.
pub struct Inspection {
    /// Bytes of the file.
    pub size: usize,
    /// SHA-256 of it, in hexadecimal digits.
    pub digest: String,
    /// What it is for, if that can be told.
    pub kind: Option<Kind>,
    /// For which line of the contract it was built, if that can be told.
    pub line: Option<Line>,
    /// What it imports.
    pub imports: Vec<Import>,
    /// What it would like to be granted.
    pub wants: Vec<Wanted>,
    /// How it introduces itself, if it gets that far.
    pub description: Option<Description>,
    /// Why this gateway would not run it. `None`: it would, with the settings beside it.
    pub refusal: Option<Refusal>,
}

/// Inspects a file. It runs in no other way than it would be loaded, and with nothing granted.
///
/// # Errors
/// [`Refusal`] when the file holds no component at all.
pub async fn inspect(runtime: &Arc<Runtime>, file: &Path) -> Result<Inspection, Refusal> {
    let bytes = loader::read(file)?;
    let shown = file.file_name().unwrap_or_default().to_string_lossy();
    let (size, digest) = (bytes.len(), digest(&bytes));
    let component = loader::compile(&runtime.machine.engine, bytes).await?;
    let imports = component.component_type();
    let imports = imports
        .imports(&runtime.machine.engine)
        .map(|(name, _)| Import {
            name: name.to_owned(),
            meaning: meaning(name),
        })
        .collect();
    let kind = loader::kind_of(&runtime.machine.engine, &component);
    let kind = kind.as_ref().ok();
    let mut found = Inspection {
        size,
        digest,
        kind: kind.map(|(kind, _)| *kind),
        line: kind.map(|(_, line)| *line),
        imports,
        wants: Vec::new(),
        description: None,
        refusal: None,
    };
    let signature = scan::signature(file);
    let trust = runtime.config.trust.as_ref();
    if let Err(refusal) = trust::check(trust, &found.digest, signature.as_deref()) {
        found.refusal = Some(refusal);
        return Ok(found);
    }
    let beside = match Beside::read(file, &runtime.limits) {
        Ok(beside) => beside,
        Err(error) => {
            found.refusal = Some(error.into());
            return Ok(found);
        }
    };
    match loader::introduced(runtime, &runtime.machine, &component, &shown).await {
        Ok(introduced) => {
            let capabilities = &introduced.description.capabilities;
            let reason = |want: &Want| {
                let asks = capabilities.iter().find(|asks| Want::of(asks) == *want);
                asks.map(|asks| asks.reason.clone()).unwrap_or_default()
            };
            let wants = Want::all(&introduced.description, introduced.line);
            found.wants = (wants.into_iter())
                .map(|want| Wanted {
                    met: beside.grants.meets(&want),
                    settled: beside.grants.settles(&want),
                    reason: reason(&want),
                    want,
                })
                .collect();
            found.description = Some(introduced.description);
        }
        Err(refusal) => {
            found.refusal = Some(refusal);
            return Ok(found);
        }
    }
    let linked = loader::link(runtime, &runtime.machine, &component, beside, &shown);
    found.refusal = linked.await.err();
    Ok(found)
}

/// What a component can do with an import.
fn meaning(name: &str) -> &'static str {
    let interface = name.split('@').next().unwrap_or_default();
    match interface.strip_prefix("cortex:gateway/") {
        Some("http") => {
            "send requests to the backend that a call is about and to origins that you grant, and nowhere else; the gateway attaches tokens"
        }
        Some("memory") => "remember short texts between calls of one user and one backend",
        Some("kv") => "keep values in the gateway's store, as much as you grant",
        Some("postgres") => {
            "send statements to databases that you grant; it never sees where they are"
        }
        Some("metrics") => "tell figures of its own on /metrics",
        Some("client") => "ask the user's client something in the middle of a call",
        Some("progress") => "tell how far a call is",
        Some("client-log") => "send log messages to the client of a call",
        Some("log") => "write lines to the gateway's log",
        Some("settings") => "read what the operator has set for it",
        Some("types") => "nothing: names of types",
        Some(_) => "not known to this gateway",
        None if interface.starts_with("wasi:") => {
            "the standard library: clocks and random numbers; no environment, no files, no sockets"
        }
        None => "not known to this gateway",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_explained_whatever_their_version() {
        assert!(meaning("cortex:gateway/http@0.1.0").contains("nowhere else"));
        assert!(meaning("cortex:gateway/http@0.9.0").contains("nowhere else"));
        assert!(meaning("wasi:sockets/tcp@0.2.6").contains("no sockets"));
        for unknown in ["cortex:gateway/everything@0.1.0", "other:thing/x", ""] {
            assert_eq!(meaning(unknown), "not known to this gateway");
        }
    }
}
