//! From a file to a loaded plugin. A bad one is refused with the reason.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Trap};

use super::adapter::Adapter;
use super::engine::{Machine, Runtime};
use super::exporter::Exporter;
use super::fault::Fault;
use super::grants::Want;
use super::instance::State;
use super::lines::{AdapterPre, ExporterPre, Line, PolicyPre};
use super::model::Description;
use super::policy::Policy;
use super::profile::{Profile, Terms};
use super::set::Loaded;
use super::settings::{BadSettings, Beside, Settings};
use crate::lock::BadLock;
use crate::types::{InvalidName, PluginName};

/// Longest a plugin may take to describe itself.
const DESCRIBE_WALL: Duration = Duration::from_secs(5);
/// Largest component file that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What a plugin is for, told from its exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Speaks to backends.
    BackendAdapter,
    /// Decides who may see and use what.
    ScopePolicy,
    /// Takes audit records.
    AuditExporter,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BackendAdapter, Self::ScopePolicy, Self::AuditExporter];
    /// With the interface that a component exports, and the world.
    const NAMES: [(Self, &'static str, &'static str); 3] = [
        (Self::BackendAdapter, "backend", "backend-adapter"),
        (Self::ScopePolicy, "policy", "scope-policy"),
        (Self::AuditExporter, "exporter", "audit-exporter"),
    ];

    /// The name of its world in `wit/`.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
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
    /// It may not run here.
    #[error(
        "nobody that this gateway trusts has signed it, and its digest is not listed; hint: `cortex-gateway plugin sign`, or add {0} to CORTEX_PLUGIN_TRUSTED_DIGESTS"
    )]
    Untrusted(String),
    /// It may not run here, though something beside it says so.
    #[error(
        "its signature does not hold: the component was changed after it was signed, or somebody signed it whom this gateway does not trust; \
         hint: sign it again, or add {0} to CORTEX_PLUGIN_TRUSTED_DIGESTS"
    )]
    WrongSignature(String),
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
        "it was built for cortex:gateway {found}, and this gateway serves {served}; hint: rebuild it with the \
         cortex-plugin-sdk of this gateway, or update the gateway",
        served = Line::served()
    )]
    OtherLine {
        /// The version in its exports.
        found: String,
    },
    /// It imports what is not offered, or an export has the wrong shape.
    #[error(
        "it does not fit: {0}; hint: a {1} may import only what its world in wit/ lists, and WASI"
    )]
    DoesNotFit(String, &'static str),
    /// It wants more than the version before, and the operator has not said anything to that.
    #[error(
        "it wants more than the version before: {wants}; hint: `cortex-gateway plugin diff` shows it, and \
         `cortex-gateway plugin grant {file}` lets it have that"
    )]
    WantsMore {
        /// What it wants besides.
        wants: String,
        /// The file.
        file: String,
    },
    /// There is a lock, and it is not in it as it is.
    #[error(
        "it is not in the lock: {0}; hint: `cortex-gateway diff` shows it, and `cortex-gateway approve {1}` lets it run"
    )]
    NotLocked(String, String),
    /// There is a lock that cannot be read.
    #[error(transparent)]
    BadLock(#[from] BadLock),
    /// No engine for it.
    #[error("its fuel cannot be bounded on this machine: {0}")]
    NoEngine(String),
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

/// A plugin that was loaded, and is not in use yet.
pub(super) struct Fresh {
    pub(super) name: PluginName,
    pub(super) version: String,
    pub(super) kind: Kind,
    pub(super) line: Line,
    pub(super) loaded: Loaded,
}

/// Compiles a component, checks what it imports, and lets it introduce itself once, as a trial.
/// `shown`: the name of the file.
pub(super) async fn load(
    runtime: &Arc<Runtime>,
    file: &Path,
    shown: &str,
    bytes: Vec<u8>,
) -> Result<Fresh, Refusal> {
    let beside = Beside::read(file, &runtime.limits)?;
    let machine = runtime.machine_for(&beside.limits);
    let machine = machine.map_err(|error| Refusal::NoEngine(error.to_string()))?;
    let component = compile(&machine.engine, bytes).await?;
    link(runtime, &machine, &component, beside, shown).await
}

/// Like [`load`], of what is compiled already.
pub(super) async fn link(
    runtime: &Arc<Runtime>,
    machine: &Arc<Machine>,
    component: &Component,
    beside: Beside,
    shown: &str,
) -> Result<Fresh, Refusal> {
    let Introduced {
        kind,
        line,
        pre,
        description,
    } = introduced(runtime, machine, component, shown).await?;
    let does_not_fit = |e: wasmtime::Error| Refusal::DoesNotFit(format!("{e:#}"), kind.as_str());
    let schema = description.settings_schema.as_deref();
    let terms = Terms {
        settings: Settings::fitting(&beside, schema)?,
        limits: beside.limits,
        grants: beside.grants,
        wants: Want::all(&description, line),
    };
    let name: PluginName = description.name.parse()?;
    let version: String = description.version.chars().take(64).collect();
    let profile = Profile::new(runtime, machine, name.clone(), terms, kind);
    let loaded = match kind {
        Kind::BackendAdapter => {
            let pre = AdapterPre::new(line, pre).map_err(does_not_fit)?;
            let adapter = Adapter::new(Arc::clone(runtime), profile, version.clone(), pre);
            Loaded::Adapter(Arc::new(adapter))
        }
        Kind::ScopePolicy => {
            let pre = PolicyPre::new(line, pre).map_err(does_not_fit)?;
            let policy = Policy::new(profile, version.clone(), pre);
            Loaded::Policy(Arc::new(policy.await?))
        }
        Kind::AuditExporter => {
            let pre = ExporterPre::new(line, pre).map_err(does_not_fit)?;
            let exporter = Exporter::new(profile, version.clone(), pre);
            Loaded::Exporter(Arc::new(exporter))
        }
    };
    Ok(Fresh {
        name,
        version,
        kind,
        line,
        loaded,
    })
}

/// What a component says of itself, by its exports and by its word.
pub(super) struct Introduced {
    pub(super) kind: Kind,
    pub(super) line: Line,
    pub(super) pre: InstancePre<State>,
    pub(super) description: Description,
}

/// Links a component for what it is, and lets it introduce itself.
pub(super) async fn introduced(
    runtime: &Arc<Runtime>,
    machine: &Arc<Machine>,
    component: &Component,
    shown: &str,
) -> Result<Introduced, Refusal> {
    let (kind, line) = kind_of(&machine.engine, component)?;
    let does_not_fit = |e: wasmtime::Error| Refusal::DoesNotFit(format!("{e:#}"), kind.as_str());
    let pre = machine.linker(kind).instantiate_pre(component);
    let pre = pre.map_err(does_not_fit)?;
    let description = describe(runtime, machine, (kind, line), &pre, shown).await?;
    Ok(Introduced {
        kind,
        line,
        pre,
        description,
    })
}

/// Reads a component whole.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Refusal> {
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
pub(super) async fn compile(engine: &Engine, bytes: Vec<u8>) -> Result<Component, Refusal> {
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
pub(super) fn kind_of(engine: &Engine, component: &Component) -> Result<(Kind, Line), Refusal> {
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
        let line = Line::of(version).ok_or_else(|| Refusal::OtherLine {
            found: version.to_owned(),
        })?;
        kinds.extend(
            Kind::NAMES
                .iter()
                .filter(|(_, name, _)| *name == interface)
                .map(|(kind, ..)| (*kind, line)),
        );
    }
    match kinds[..] {
        [found] => Ok(found),
        [] if ours => Err(Refusal::DoesNotFit(
            "it exports no `backend`, `policy` or `exporter`".to_owned(),
            "plugin",
        )),
        [] => Err(Refusal::NotAPlugin),
        _ => Err(Refusal::SeveralKinds(
            kinds
                .iter()
                .map(|(kind, _)| kind.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        )),
    }
}

/// Instantiates a component once and lets it introduce itself, with nothing granted.
async fn describe(
    runtime: &Arc<Runtime>,
    machine: &Arc<Machine>,
    (kind, line): (Kind, Line),
    pre: &InstancePre<State>,
    file: &str,
) -> Result<Description, Refusal> {
    // Until it has said its name, the file's name stands in; one that is no name does not matter.
    let stem = file
        .trim_end_matches(".wasm")
        .to_ascii_lowercase()
        .replace('_', "-");
    let name: PluginName = stem.parse().or_else(|_| "unnamed".parse())?;
    let profile = Profile::of_a_stranger(runtime, machine, name);
    let (mut store, slot) = profile.room("describe", DESCRIBE_WALL).await?;

    macro_rules! introduce {
        ($pre:ident) => {{
            let pre = $pre::new(line, pre.clone())
                .map_err(|e| Refusal::DoesNotFit(format!("{e:#}"), kind.as_str()))?;
            let exports = match pre.instantiate(&mut store).await {
                Ok(exports) => exports.check(&mut store).map(|()| exports),
                failed => failed,
            };
            match exports {
                // An export of another shape than its name says: no trap, and no fault of its code.
                Err(error) if error.downcast_ref::<Trap>().is_none() => {
                    Err(Refusal::DoesNotFit(format!("{error:#}"), kind.as_str()))
                }
                exports => {
                    let mut guest = profile.born("describe", store, slot, exports)?;
                    guest.begin(None, None, None, None);
                    let describing = guest.exports.describe(&mut guest.store);
                    let result = tokio::time::timeout(DESCRIBE_WALL, describing).await;
                    Ok(guest.end("describe", DESCRIBE_WALL, result)?)
                }
            }
        }};
    }
    match kind {
        Kind::BackendAdapter => introduce!(AdapterPre),
        Kind::ScopePolicy => introduce!(PolicyPre),
        Kind::AuditExporter => introduce!(ExporterPre),
    }
}
