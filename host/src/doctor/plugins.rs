//! The plugin directory, loaded as a start would load it, with nothing kept.

use std::path::Path;
use std::sync::Arc;

use super::{Section, State};
use crate::config::{Config, PluginConfig};
use crate::lock::Lock;
use crate::outbound::Client;
use crate::plugin::{Directory, File, Kind, Plugins, Runtime};

/// Without the rest of the configuration, which cannot be used.
pub(super) async fn alone() -> (Section, Option<Arc<Plugins>>) {
    match PluginConfig::from_env() {
        Ok(config) => look(&config, None, None).await,
        // Told already.
        Err(_) => (Section::new("plugins"), None),
    }
}

/// Every component and what is beside it. `compiled`: where compiled ones are kept.
pub(super) async fn look(
    config: &PluginConfig,
    whole: Option<&Config>,
    compiled: Option<&Path>,
) -> (Section, Option<Arc<Plugins>>) {
    let mut section = Section::new("plugins");
    let loaded = match load(config, compiled).await {
        Ok(loaded) => loaded,
        Err(error) => {
            section.broken(
                format!("cannot load `{}`: {error:#}", config.dir.display()),
                "set CORTEX_PLUGIN_DIR, or make the directory and put the default plugins into it",
            );
            return (section, None);
        }
    };
    for (name, file) in loaded.files() {
        one(&mut section, name, file);
    }
    for (kind, means) in [
        (
            Kind::ScopePolicy,
            "nothing is allowed; hint: put policy-scopes.wasm into CORTEX_PLUGIN_DIR",
        ),
        (
            Kind::AuditExporter,
            "audit records go nowhere, and the gateway does not get ready; hint: put audit-stdout.wasm into CORTEX_PLUGIN_DIR",
        ),
    ] {
        let there = match kind {
            Kind::ScopePolicy => !loaded.policies.is_empty(),
            _ => !loaded.exporters.is_empty(),
        };
        if !there {
            section.told(State::Broken, &format!("no {kind} is loaded: {means}"));
        }
    }
    for backend in whole.into_iter().flat_map(|config| &config.backends) {
        if !loaded.adapters.contains_key(&backend.adapter) {
            let (id, adapter) = (&backend.id, &backend.adapter);
            section.broken(
                format!("backend `{id}` wants the adapter `{adapter}`, which is not loaded"),
                format!("put {adapter}.wasm into CORTEX_PLUGIN_DIR"),
            );
        }
    }
    beside(&mut section, config);
    (section, Some(loaded))
}

async fn load(config: &PluginConfig, compiled: Option<&Path>) -> anyhow::Result<Arc<Plugins>> {
    let runtime = Runtime::new(config, compiled, Client::new()?, None)?;
    Ok(Directory::open(&runtime, &config.dir).await?.now())
}

fn one(section: &mut Section, name: &str, file: &File) {
    if let Some(refusal) = &file.refused {
        let mut told = format!("`{name}` is refused: {refusal}");
        if !told.contains("; hint: ") {
            told.push_str("; hint: `cortex-gateway plugin inspect` shows what it is and wants");
        }
        section.told(State::Broken, &told);
    }
    let Some(live) = &file.live else { return };
    let (version, line) = (&live.version, live.line.as_str());
    let mut what = format!(
        "`{name}`: {} {} {version}, line {line}",
        live.kind, live.name
    );
    for granted in live.granted() {
        what.push_str("; granted ");
        what.push_str(&granted);
    }
    section.ok(what);
    let missing = live.missing();
    if !missing.is_empty() {
        section.warn(
            format!("`{name}` runs without what it wants: {}", missing.join(", ")),
            format!(
                "`cortex-gateway plugin grant {name}` lets it have that, or says that it runs without"
            ),
        );
    }
}

/// Files that belong to no component, and components of the lock that are gone.
fn beside(section: &mut Section, config: &PluginConfig) {
    let entries = std::fs::read_dir(&config.dir);
    let mut paths: Vec<_> = (entries.into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|is| is == "toml"))
        .filter(|path| !path.with_extension("wasm").exists())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        section.warn(
            format!("`{name}` belongs to no component"),
            "give it the name of the component whose settings and grants it holds",
        );
    }
    let Ok(Some(lock)) = Lock::read(&config.lock) else {
        return;
    };
    for name in lock.plugins.keys() {
        if !config.dir.join(name).is_file() {
            section.warn(
                format!("`{name}` is in the lock and not in the plugin directory"),
                "put it back, or `cortex-gateway lock` again",
            );
        }
    }
}
