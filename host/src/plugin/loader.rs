//! From a directory to loaded plugins. A bad file is refused with the reason, and the rest goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::{info, warn};
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Trap};

use super::adapter::Adapter;
use super::engine::Runtime;
use super::exporter::Exporter;
use super::fault::Fault;
use super::instance::{Guest, State, cause_of};
use super::model::Description;
use super::policy::Policy;
use super::settings::{BadSettings, Settings};
use super::v0_1::adapter::BackendAdapterPre;
use super::v0_1::exporter::AuditExporterPre;
use super::v0_1::policy::ScopePolicyPre;
use crate::types::{InvalidName, PluginName};

/// The line of `cortex:gateway` that this gateway serves.
const SERVED_LINE: (u64, u64) = (0, 1);
/// Longest a plugin may take to describe itself.
const DESCRIBE_WALL: Duration = Duration::from_secs(5);
/// Largest component file that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What a plugin is for, told from its exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BackendAdapter,
    ScopePolicy,
    AuditExporter,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::BackendAdapter, "backend", "backend-adapter"),
        (Self::ScopePolicy, "policy", "scope-policy"),
        (Self::AuditExporter, "exporter", "audit-exporter"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("", |(.., world)| world)
    }
}

/// Why a file is not loaded. Each says what to do.
#[derive(Debug, Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// It is too large.
    #[error("it is larger than {} MiB", MAX_FILE / (1024 * 1024))]
    TooLarge,
    /// It is not WebAssembly.
    #[error("it is not WebAssembly; hint: it should begin with the bytes `00 61 73 6d`")]
    NotWasm,
    /// It is a core module.
    #[error(
        "it is a core module, not a component; hint: build it with `cargo build --target wasm32-wasip2`"
    )]
    CoreModule,
    /// It does not validate or compile.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It exports nothing of ours.
    #[error(
        "it exports no interface of `cortex:gateway`; hint: export one of the worlds in wit/ with cortex-plugin-sdk"
    )]
    NotAPlugin,
    /// It exports two kinds of plugin.
    #[error("it exports more than one kind of plugin ({0}); hint: make one component of each")]
    SeveralKinds(String),
    /// It was built for another line of the contract.
    #[error(
        "it was built for cortex:gateway {found}, and this gateway serves {}.{}.x; hint: rebuild it with \
         cortex-plugin-sdk {}.{}, or update the gateway",
        SERVED_LINE.0, SERVED_LINE.1, SERVED_LINE.0, SERVED_LINE.1
    )]
    OtherLine {
        /// The version in its exports.
        found: String,
    },
    /// It imports what is not offered, or an export has the wrong shape.
    #[error(
        "it does not fit: {0}; hint: a {1} may import only what its world in wit/v0.1 lists, and WASI"
    )]
    DoesNotFit(String, &'static str),
    /// It failed while it was tried.
    #[error("it failed when it was tried: {0}")]
    Failed(#[from] Fault),
    /// Its description is not usable.
    #[error("it describes itself wrongly: {0}")]
    BadName(#[from] InvalidName),
    /// Its settings cannot be used.
    #[error(transparent)]
    BadSettings(#[from] BadSettings),
    /// Another file has this name already.
    #[error("the name `{name}` is taken by `{by}`; hint: remove one of the two files")]
    NameTaken {
        /// The name.
        name: PluginName,
        /// The file that has it.
        by: String,
    },
}

/// A file that was refused.
#[derive(Debug)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: Refusal,
}

/// One loaded plugin.
pub enum Loaded {
    /// A backend adapter.
    Adapter(Arc<Adapter>),
    /// A scope policy.
    Policy(Arc<Policy>),
    /// An audit exporter.
    Exporter(Arc<Exporter>),
}

/// Everything that was loaded.
#[derive(Default)]
pub struct Plugins {
    /// Adapters by name.
    pub adapters: BTreeMap<PluginName, Arc<Adapter>>,
    /// Policies, in the order of their files.
    pub policies: Vec<Arc<Policy>>,
    /// Exporters, in the order of their files.
    pub exporters: Vec<Arc<Exporter>>,
    /// Files that were refused.
    pub refused: Vec<Refused>,
    /// Which file each name came from.
    files: BTreeMap<PluginName, String>,
}

impl Plugins {
    /// Loads every `*.wasm` of a directory, in the order of their names.
    ///
    /// # Errors
    /// Only when the directory itself cannot be read.
    pub async fn load(runtime: &Arc<Runtime>, dir: &Path) -> std::io::Result<Self> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "wasm") && path.is_file())
            .collect();
        files.sort();
        let mut plugins = Self::default();
        for file in files {
            let shown = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            match plugins.add(runtime, &file, &shown).await {
                Ok((name, kind, version)) => {
                    info!(plugin.name = %name, plugin.version = version, file = shown, "loaded {}", kind.as_str());
                }
                Err(reason) => {
                    warn!(file = shown, "plugin refused: {reason}");
                    plugins.refused.push(Refused { file, reason });
                }
            }
        }
        Ok(plugins)
    }

    async fn add(
        &mut self,
        runtime: &Arc<Runtime>,
        file: &Path,
        shown: &str,
    ) -> Result<(PluginName, Kind, String), Refusal> {
        let bytes = read(file)?;
        let component = compile(&runtime.engine, bytes).await?;
        let kind = kind_of(&runtime.engine, &component)?;
        let linker = if kind == Kind::BackendAdapter {
            &runtime.adapters
        } else {
            &runtime.others
        };
        let does_not_fit =
            |e: wasmtime::Error| Refusal::DoesNotFit(format!("{e:#}"), kind.as_str());
        let pre = linker.instantiate_pre(&component).map_err(does_not_fit)?;
        let description = describe(runtime, kind, &pre, shown).await?;
        let settings = Settings::load(file, description.settings_schema.as_deref())?;
        let name: PluginName = description.name.parse()?;
        let version: String = description.version.chars().take(64).collect();
        if let Some(by) = self.files.get(&name) {
            return Err(Refusal::NameTaken {
                name,
                by: by.clone(),
            });
        }
        let host = Arc::clone(runtime);
        match kind {
            Kind::BackendAdapter => {
                let pre = BackendAdapterPre::new(pre).map_err(does_not_fit)?;
                let adapter = Adapter::new(host, name.clone(), version.clone(), settings, pre);
                self.adapters.insert(name.clone(), Arc::new(adapter));
            }
            Kind::ScopePolicy => {
                let pre = ScopePolicyPre::new(pre).map_err(does_not_fit)?;
                self.policies.push(Arc::new(
                    Policy::new(host, name.clone(), version.clone(), settings, pre).await?,
                ));
            }
            Kind::AuditExporter => {
                let pre = AuditExporterPre::new(pre).map_err(does_not_fit)?;
                self.exporters.push(Arc::new(Exporter::new(
                    host,
                    name.clone(),
                    version.clone(),
                    settings,
                    pre,
                )));
            }
        }
        self.files.insert(name.clone(), shown.to_owned());
        Ok((name, kind, version))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Refusal> {
    let size = std::fs::metadata(file).map_err(Refusal::Unreadable)?.len();
    if size > MAX_FILE {
        return Err(Refusal::TooLarge);
    }
    let bytes = std::fs::read(file).map_err(Refusal::Unreadable)?;
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(bytes),
        Some([0, b'a', b's', b'm', ..]) => Err(Refusal::CoreModule),
        _ => Err(Refusal::NotWasm),
    }
}

/// Compiles away from the async workers; the engine's cache makes the second time instant.
async fn compile(engine: &Engine, bytes: Vec<u8>) -> Result<Component, Refusal> {
    let engine = engine.clone();
    let compiled =
        tokio::task::spawn_blocking(move || Component::from_binary(&engine, &bytes)).await;
    match compiled {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(Refusal::Compile(format!("{error:#}"))),
        Err(join) => Err(Refusal::Compile(join.to_string())),
    }
}

/// Tells kind and line from the exports, so that no manifest can contradict them.
fn kind_of(engine: &Engine, component: &Component) -> Result<Kind, Refusal> {
    let ty = component.component_type();
    let mut kinds = Vec::new();
    let mut ours = false;
    for (export, _) in ty.exports(engine) {
        let Some((interface, version)) = export
            .strip_prefix("cortex:gateway/")
            .and_then(|e| e.split_once('@'))
        else {
            continue;
        };
        ours = true;
        if !is_served(version) {
            return Err(Refusal::OtherLine {
                found: version.to_owned(),
            });
        }
        kinds.extend(
            Kind::ALL
                .iter()
                .filter(|(_, name, _)| *name == interface)
                .map(|(kind, ..)| *kind),
        );
    }
    match kinds[..] {
        [kind] => Ok(kind),
        [] if ours => Err(Refusal::DoesNotFit(
            "it exports no `backend`, `policy` or `exporter`".to_owned(),
            "plugin",
        )),
        [] => Err(Refusal::NotAPlugin),
        _ => Err(Refusal::SeveralKinds(
            kinds
                .iter()
                .map(|k| k.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        )),
    }
}

fn is_served(version: &str) -> bool {
    let mut parts = version.split('.');
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok());
    (next(), next()) == (Some(SERVED_LINE.0), Some(SERVED_LINE.1))
}

/// Instantiates a component once and lets it introduce itself, with nothing granted.
async fn describe(
    runtime: &Arc<Runtime>,
    kind: Kind,
    pre: &InstancePre<State>,
    file: &str,
) -> Result<Description, Refusal> {
    // Until it has said its name, the file's name stands in; one that is no name does not matter.
    let stem = file
        .trim_end_matches(".wasm")
        .to_ascii_lowercase()
        .replace('_', "-");
    let name: PluginName = stem.parse().or_else(|_| "unnamed".parse())?;
    let fault = |cause| Fault {
        plugin: name.clone(),
        function: "describe",
        cause,
    };
    let no_room = super::fault::Cause::NoRoom(super::fault::millis(DESCRIBE_WALL));
    let slot = runtime
        .slot(DESCRIBE_WALL)
        .await
        .ok_or_else(|| fault(no_room))?;
    let mut store = runtime.store(name.clone(), Settings::none(), false);
    let limits = Arc::clone(&runtime.limits);

    macro_rules! introduce {
        ($pre:ident) => {{
            let pre = $pre::new(pre.clone())
                .map_err(|e| Refusal::DoesNotFit(format!("{e:#}"), kind.as_str()))?;
            match pre.instantiate_async(&mut store).await {
                // An export of another shape than its name says: no trap, and no fault of its code.
                Err(error) if error.downcast_ref::<Trap>().is_none() => {
                    Err(Refusal::DoesNotFit(format!("{error:#}"), kind.as_str()))
                }
                Err(error) => Err(fault(cause_of(&error, store.data(), &limits)).into()),
                Ok(exports) => {
                    let mut guest = Guest::new(store, exports, name.clone(), limits, slot);
                    guest.begin(None, None, None);
                    let exports = guest.exports.cortex_gateway_plugin();
                    let result = tokio::time::timeout(
                        DESCRIBE_WALL,
                        exports.call_describe(&mut guest.store),
                    )
                    .await;
                    Ok(guest.end("describe", DESCRIBE_WALL, result)?)
                }
            }
        }};
    }
    match kind {
        Kind::BackendAdapter => introduce!(BackendAdapterPre),
        Kind::ScopePolicy => introduce!(ScopePolicyPre),
        Kind::AuditExporter => introduce!(AuditExporterPre),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_the_contract_is_served() {
        for (version, served) in [
            ("0.1.0", true),
            ("0.1.7", true),
            ("0.2.0", false),
            ("1.1.0", false),
            ("0.1", true),
            ("", false),
            ("x", false),
        ] {
            assert_eq!(is_served(version), served, "{version}");
        }
    }
}
