//! A component played against a script, without a gateway: recorded exchanges, a clock that stands, the
//! same luck every time, storage that nobody else has, and what it answered before to compare with.

mod script;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::egress::{Egress, Home};
use super::engine::{EngineError, Machine, Runtime, Stage};
use super::exporter::AuditRecord;
use super::fault::Fault;
use super::grants::{Grants, Want};
use super::instance::Notices;
use super::limits::Limits;
use super::lines::{AdapterPre, ExporterPre, PolicyPre};
use super::loader::{self, Introduced, Kind, Refusal};
use super::memory::Whose;
use super::model::{Completion, PromptCall, ResourceRead, ToolCall};
use super::policy::Item;
use super::profile::{Profile, Terms};
use super::recording::Recording;
use super::settings::{BadSettings, Beside, Settings};
use crate::config::PluginConfig;
use crate::store::{Store, StoreError};
use crate::types::{BackendId, InvalidName, Secret};
use script::{ItemSpec, Script, Step, TargetSpec, context, text};

/// More than any call uses.
const FUEL: u64 = 1_000_000_000_000;
/// Longest one call may take.
const WALL: Duration = Duration::from_secs(10);
/// When a script does not say which time it is.
const NOW: &str = "2026-01-01T00:00:00Z";

/// Why a script cannot be played.
#[derive(Debug, Error)]
pub enum RehearsalError {
    /// It is none.
    #[error("the script cannot be read: {0}")]
    BadScript(String),
    /// The component does not run at all.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its settings do not fit.
    #[error(transparent)]
    BadSettings(#[from] BadSettings),
    /// There is no engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its name is none.
    #[error(transparent)]
    BadName(#[from] InvalidName),
}

/// What came of one step.
#[derive(Clone, Debug)]
pub struct Played {
    /// The export that was called.
    pub call: String,
    /// What it answered, in the words of the contract.
    pub result: Value,
    /// What is recorded of it; `None`: nothing yet.
    pub expected: Option<Value>,
    /// What of its requests was not as recorded.
    pub wrong: Vec<String>,
    /// What its client was told meanwhile.
    pub notices: Vec<Value>,
    /// What is recorded of that; `None`: it may be anything.
    pub expected_notices: Option<Vec<Value>>,
    /// What it used: instructions, more or less. The same every time.
    pub fuel: u64,
}

impl Played {
    /// Whether all was as recorded.
    pub fn is_right(&self) -> bool {
        let told = self.expected_notices.as_ref();
        self.wrong.is_empty()
            && self.expected.as_ref() == Some(&self.result)
            && told.is_none_or(|told| *told == self.notices)
    }
}

/// A component, ready to be played.
pub struct Rehearsal {
    config: PluginConfig,
    component: Vec<u8>,
}

impl Rehearsal {
    /// Of a component file.
    ///
    /// # Errors
    /// [`Refusal`] when it holds none.
    pub fn of(config: PluginConfig, component: &Path) -> Result<Self, RehearsalError> {
        Ok(Self {
            config,
            component: loader::read(component)?,
        })
    }

    /// Plays a script, a JSON object. Every step meets a new instance.
    ///
    /// # Errors
    /// [`RehearsalError`] when it cannot be played at all.
    pub async fn play(&self, script: &str) -> Result<Vec<Played>, RehearsalError> {
        let script: Script =
            serde_json::from_str(script).map_err(|e| RehearsalError::BadScript(e.to_string()))?;
        let cast = Cast::new(&self.config, self.component.clone(), &script).await?;
        let mut played = Vec::new();
        let mut kept = None;
        for step in &script.steps {
            cast.recording.begin(&step.exchanges);
            if step.goes_on.is_some() && kept.is_none() {
                let why = "a step goes on (`continue`), and the one before did not answer `input-required`";
                return Err(RehearsalError::BadScript(why.to_owned()));
            }
            let (result, fuel) = match cast.step(&script, step, kept.take()).await? {
                Ok(answered) => answered,
                Err(fault) => (json!({ "Fault": fault.cause.to_string() }), 0),
            };
            kept = script::kept(&result);
            played.push(Played {
                call: step.call.clone(),
                result,
                notices: cast.told.take(),
                expected_notices: step.notices.clone(),
                expected: step.result.clone(),
                wrong: cast.recording.end(),
                fuel,
            });
        }
        Ok(played)
    }
}

/// Everything that a script is played with.
struct Cast {
    recording: Arc<Recording>,
    profile: Arc<Profile>,
    introduced: Introduced,
    told: Notes,
}

/// What the client of a step was told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Value>>>);

impl Notes {
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, note: Value) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(note);
    }

    /// Writes them down in the words of MCP.
    fn notices(&self) -> Notices {
        let (notes, more) = (self.clone(), self.clone());
        Notices {
            progress: Some(Box::new(move |progress, total, message| {
                let mut note = json!({ "progress": progress });
                if let Some(total) = total {
                    note["total"] = total.into();
                }
                if let Some(message) = message {
                    note["message"] = message.into();
                }
                notes.add(note);
            })),
            messages: Some(Box::new(move |level, logger, data| {
                let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
                let mut note = json!({ "level": level, "data": data });
                if let Some(logger) = logger {
                    note["logger"] = logger.into();
                }
                more.add(note);
            })),
            questions: None,
        }
    }
}

type Answered = Result<(Value, u64), Fault>;

/// A new instance; what keeps it from being born is the answer of the step.
macro_rules! born {
    ($cast:ident, $pre:ident) => {{
        let pre = $pre.map_err(|error| RehearsalError::BadScript(format!("{error:#}")))?;
        let (mut store, slot) = match $cast.profile.room("rehearsal", WALL).await {
            Ok(room) => room,
            Err(fault) => return Ok(Err(fault)),
        };
        let exports = pre.instantiate(&mut store).await;
        match $cast.profile.born("rehearsal", store, slot, exports) {
            Ok(guest) => guest,
            Err(fault) => return Ok(Err(fault)),
        }
    }};
}

/// Makes one call, and tells what it answered and used.
macro_rules! played {
    ($guest:ident.$call:ident($($argument:expr),*)) => {{
        let calling = $guest.exports.$call(&mut $guest.store $(, $argument)*);
        let result = tokio::time::timeout(WALL, calling).await;
        let used = FUEL - $guest.store.get_fuel().unwrap_or(FUEL);
        match $guest.end("rehearsal", WALL, result) {
            Ok(answer) => {
                let answer = serde_json::to_value(answer);
                let answer = answer.map_err(|e| RehearsalError::BadScript(e.to_string()))?;
                Ok(Ok((answer, used)))
            }
            Err(fault) => Ok(Err(fault)),
        }
    }};
}

impl Cast {
    async fn new(
        config: &PluginConfig,
        component: Vec<u8>,
        script: &Script,
    ) -> Result<Self, RehearsalError> {
        let bad = |what: String| RehearsalError::BadScript(what);
        let now = script.now.as_deref().unwrap_or(NOW);
        let now = OffsetDateTime::parse(now, &Rfc3339);
        let now =
            now.map_err(|_| bad("`now` must be a time such as 2026-01-01T00:00:00Z".to_owned()))?;
        let now = Duration::try_from(now - OffsetDateTime::UNIX_EPOCH);
        let now = now.map_err(|_| bad("`now` must be after 1970".to_owned()))?;
        // A secret is called what it stands for, so that a recording can say so.
        let grants = Grants::parse(named(script.grants.clone()), |place| {
            let super::grants::Place::Variable(name) = place else {
                return Err("must have an `origin` alone".to_owned());
            };
            Ok(Secret::new(format!("secret:{name}")))
        });
        let grants = grants.map_err(|(key, why)| bad(format!("`grants.{key}` {why}")))?;
        let store = Store::temporary(None).await?;
        let recording = Arc::new(Recording::default());
        let runtime = Runtime::rehearsing(config, Arc::clone(&recording), Stage { now }, &store)?;
        let limits = Limits {
            fuel: Some(FUEL),
            ..(*runtime.limits).clone()
        };
        let machine: Arc<Machine> = runtime.machine_for(&limits)?;
        let component = loader::compile(&machine.engine, component).await?;
        let introduced =
            loader::introduced(&runtime, &machine, &component, "component.wasm").await?;
        let schema = introduced.description.settings_schema.as_deref();
        let beside = Beside::of(script.settings.clone(), &limits);
        let terms = Terms {
            settings: Settings::fitting(&beside, schema)?,
            limits,
            grants,
            wants: Want::all(&introduced.description, introduced.line),
        };
        let name = introduced.description.name.parse()?;
        let profile = Profile::new(&runtime, &machine, name, terms, introduced.kind);
        Ok(Self {
            recording,
            profile,
            introduced,
            told: Notes::default(),
        })
    }

    async fn step(
        &self,
        script: &Script,
        step: &Step,
        kept: Option<Vec<u8>>,
    ) -> Result<Answered, RehearsalError> {
        match self.introduced.kind {
            Kind::BackendAdapter => self.adapter(script, step, kept).await,
            Kind::ScopePolicy => self.policy(script, step).await,
            Kind::AuditExporter => self.exporter(step).await,
        }
    }

    async fn adapter(
        &self,
        script: &Script,
        step: &Step,
        kept: Option<Vec<u8>>,
    ) -> Result<Answered, RehearsalError> {
        let (target, caller) = (script.target.target(), script.caller.principal());
        let (egress, whose) = self.backend(&script.target, step.call == "discover")?;
        let pre = AdapterPre::new(self.introduced.line, self.introduced.pre.clone());
        let mut guest = born!(self, pre);
        guest.begin(None, Some(egress), Some(whose), None);
        guest.store.data_mut().notices = self.told.notices();
        let arguments = text(step.arguments.as_ref());
        let context = context(step, kept);
        match step.call.as_str() {
            "discover" => played!(guest.call_discover(&target)),
            "call-tool" => {
                let call = ToolCall {
                    tool: needed("tool", step.tool.as_ref())?,
                    arguments,
                    header_arguments: Vec::new(),
                    structured: false,
                    context,
                };
                played!(guest.call_call_tool(&target, &caller, &call))
            }
            "get-prompt" => {
                let call = PromptCall {
                    prompt: needed("prompt", step.prompt.as_ref())?,
                    arguments,
                    context,
                };
                played!(guest.call_get_prompt(&target, &caller, &call))
            }
            "read-resource" => {
                let read = ResourceRead {
                    uri: needed("uri", step.uri.as_ref())?,
                    context,
                };
                played!(guest.call_read_resource(&target, &caller, &read))
            }
            "complete" => {
                let completion = Completion {
                    ref_: text(step.reference.as_ref()),
                    argument: needed("argument", step.argument.as_ref())?,
                    value: step.value.clone().unwrap_or_default(),
                    context: arguments,
                };
                played!(guest.call_complete(&target, &caller, &completion))
            }
            "whoami" => played!(guest.call_whoami(&target, &caller)),
            "report-ticket" => {
                let ticket = text(step.ticket.as_ref());
                played!(guest.call_report_ticket(&target, &caller, &ticket))
            }
            "list-tickets" => {
                let query = text(step.query.as_ref());
                played!(guest.call_list_tickets(&target, &caller, &query))
            }
            other => Err(unknown(
                other,
                "discover, call-tool, get-prompt, read-resource, complete, whoami, report-ticket and list-tickets",
            )),
        }
    }

    async fn policy(&self, script: &Script, step: &Step) -> Result<Answered, RehearsalError> {
        let caller = script.caller.principal();
        let pre = PolicyPre::new(self.introduced.line, self.introduced.pre.clone());
        let mut guest = born!(self, pre);
        guest.begin(None, None, None, None);
        match step.call.as_str() {
            "reads" => played!(guest.call_reads()),
            "filter" => {
                let items: Vec<Item> = step.items.iter().map(ItemSpec::item).collect();
                played!(guest.call_filter(&caller, &items))
            }
            "authorize" => {
                let item = step.item.as_ref().map(ItemSpec::item);
                let item = needed("item", item.as_ref())?;
                let arguments = step.arguments.as_ref().map(Value::to_string);
                played!(guest.call_authorize(&caller, &item, arguments.as_ref()))
            }
            other => Err(unknown(other, "reads, filter and authorize")),
        }
    }

    async fn exporter(&self, step: &Step) -> Result<Answered, RehearsalError> {
        let pre = ExporterPre::new(self.introduced.line, self.introduced.pre.clone());
        let mut guest = born!(self, pre);
        let egress = Egress::without_backend(&self.profile, WALL);
        guest.begin(None, Some(egress), None, None);
        match step.call.as_str() {
            "export-batch" => {
                let records: Vec<AuditRecord> = (1..)
                    .zip(&step.records)
                    .map(|(sequence, record)| AuditRecord {
                        sequence,
                        json: record.to_string(),
                    })
                    .collect();
                played!(guest.call_export_batch(&records))
            }
            other => Err(unknown(other, "export-batch")),
        }
    }

    /// What a call about a backend may reach, with tokens that are called what they stand for.
    fn backend(
        &self,
        target: &TargetSpec,
        discovers: bool,
    ) -> Result<(Egress, Whose), RehearsalError> {
        let bad = |what: &str| RehearsalError::BadScript(what.to_owned());
        let backend: BackendId = (target.id.parse())
            .map_err(|_| bad("`target.id` is no name of a backend, such as `docs`"))?;
        let url = Url::parse(&target.base_url);
        let url = url.map_err(|_| bad("`target.baseUrl` is no URL, such as http://docs.test"))?;
        let token = |name: &str| Some(Secret::new(name.to_owned()));
        let egress = Egress {
            home: Some(Home {
                origin: url.origin(),
                backend: backend.clone(),
                exchanges: Arc::default(),
                last_url: Arc::default(),
            }),
            timeout: Duration::from_millis(target.timeout_ms.into()),
            caller: token("caller").filter(|_| !discovers),
            technical: token("technical").filter(|_| discovers),
            account: token("linked-account"),
            ..Egress::without_backend(&self.profile, WALL)
        };
        let whose = Whose::new(&self.profile.name, &backend, None, 0);
        Ok((egress, whose))
    }
}

fn needed<T: Clone>(name: &str, value: Option<&T>) -> Result<T, RehearsalError> {
    let missing = || RehearsalError::BadScript(format!("a step lacks `{name}`"));
    value.cloned().ok_or_else(missing)
}

fn unknown(call: &str, known: &str) -> RehearsalError {
    RehearsalError::BadScript(format!(
        "a component of this kind has no export `{call}`; there are {known}"
    ))
}

/// The secrets of a script have an origin alone, and are called by their names.
fn named(mut grants: toml::Table) -> toml::Table {
    if let Some(toml::Value::Table(secrets)) = grants.get_mut("secrets") {
        for (name, secret) in secrets.iter_mut() {
            if let toml::Value::Table(secret) = secret {
                secret.insert("env".to_owned(), name.clone().into());
            }
        }
    }
    grants
}
