//! From a method to what has to be done about it.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{self, Answer};
use super::builtin::{Builtin, architecture};
use super::intent::{
    self, Action, Asker, CompleteParams, Completing, Intent, ListIntent, Reference,
};
use super::parse::Parsed;
use super::session::{self, InSession};
use super::shape::Shape;
use super::{Gateway, Refusal, param_headers, watch};
use crate::catalog::{Entry, Kind, Snapshot};
use crate::mcp::log_level::LogLevel;
use crate::mcp::params::text;

/// Longest a first request waits for the first refresh.
const COLD_START: Duration = Duration::from_secs(10);

/// What has to be done.
pub(super) enum Route {
    /// Nothing more: here is the answer.
    Local(Answer),
    /// Begin a session.
    Initialize(Box<Parsed>),
    /// Tell the caller of changes from now on.
    Listen(Box<Parsed>),
    /// List what the caller may see.
    List(ListIntent),
    /// Describe the gateway.
    Describe(Asker),
    /// Call one of the gateway's own tools with a JSON object.
    Builtin(Asker, Builtin, String),
    /// Use something, if the caller may.
    Use(Intent),
    /// Tell the session of changes of a resource, if the caller may read it.
    Watch(Intent),
}

/// Finds out what has to be done.
pub(super) async fn route(gw: &Gateway, request: InSession) -> Result<Route, Refusal> {
    let parsed = request.parsed();
    let (method, modern) = (parsed.message.method.clone(), parsed.version.is_modern());
    match (method.as_str(), modern) {
        ("initialize", false) => Ok(Route::Initialize(Box::new(request.into_inner()))),
        ("ping", false) => Ok(Route::Local(answer::empty()?)),
        ("logging/setLevel", false) => set_level(gw, &request).await,
        ("subscriptions/listen", true) => Ok(Route::Listen(Box::new(request.into_inner()))),
        ("server/discover", true) => Ok(Route::Local(answer::discover(gw)?)),
        ("tools/list", _) => list(gw, request, Kind::Tools).await,
        ("prompts/list", _) => list(gw, request, Kind::Prompts).await,
        ("resources/list", _) => list(gw, request, Kind::Resources).await,
        ("resources/templates/list", _) => list(gw, request, Kind::Templates).await,
        ("tools/call", _) => call_tool(gw, request).await,
        ("prompts/get", _) => get_prompt(gw, request).await,
        ("resources/read", _) => read_resource(gw, request).await,
        ("resources/subscribe", false) => {
            request.id().ok_or(Refusal::SessionRequired)?;
            match read_resource(gw, request).await? {
                Route::Use(intent) => Ok(Route::Watch(intent)),
                other => Ok(other),
            }
        }
        ("resources/unsubscribe", false) => unsubscribe(gw, &request).await,
        ("completion/complete", _) => complete(gw, request).await,
        (method, _) => Err(Refusal::UnknownMethod(shown(method))),
    }
}

async fn list(gw: &Gateway, request: InSession, kind: Kind) -> Result<Route, Refusal> {
    if request.parsed().params.cursor.is_some() {
        return Err(Refusal::InvalidParams(
            "unknown `cursor`: the whole list is one page".to_owned(),
        ));
    }
    let shape = match kind {
        Kind::Tools => Shape::read(&request.parsed().head.headers, gw.config.context_budget)?,
        _ => Shape::default(),
    };
    gw.catalog.ready_within(COLD_START).await;
    let (asker, _) = intent::context(request, None)?;
    Ok(Route::List(ListIntent {
        asker,
        kind,
        snapshot: gw.catalog.snapshot(),
        shape,
    }))
}

async fn call_tool(gw: &Gateway, request: InSession) -> Result<Route, Refusal> {
    let name = name(request.parsed())?;
    let arguments = arguments(request.parsed())?;
    if let Some(builtin) = Builtin::named(&name) {
        let (asker, _) = intent::context(request, None)?;
        return Ok(Route::Builtin(asker, builtin, arguments));
    }
    let snapshot = ready(gw).await;
    let Some(tool) = snapshot.tools.get(&name) else {
        return match absent(&snapshot, &name) {
            // The tool may well exist: its backend has not been heard of yet.
            Some(text) => {
                let version = request.parsed().version;
                let answer = answer::tool_error(gw, version, &text, "backend_unavailable")?;
                Ok(Route::Local(answer))
            }
            None => Err(Refusal::UnknownTool(shown(&name))),
        };
    };
    if request.parsed().version.is_modern() {
        let headers = &request.parsed().head.headers;
        // Who was shown a short list cannot know which arguments travel as headers, too.
        let unknown = Shape::shortens(headers, gw.config.context_budget);
        param_headers::check(headers, tool, &arguments, unknown)?;
    }
    using(gw, request, Arc::clone(tool), Action::Call { arguments }).await
}

async fn get_prompt(gw: &Gateway, request: InSession) -> Result<Route, Refusal> {
    let name = name(request.parsed())?;
    let arguments = arguments(request.parsed())?;
    let snapshot = ready(gw).await;
    let Some(prompt) = snapshot.prompt(&name) else {
        return Err(no_prompt(&snapshot, &name));
    };
    using(gw, request, Arc::clone(prompt), Action::Get { arguments }).await
}

async fn read_resource(gw: &Gateway, request: InSession) -> Result<Route, Refusal> {
    let uri = text(request.parsed().params.uri.as_deref())
        .ok_or_else(|| Refusal::InvalidParams("`uri` must be a string".to_owned()))?;
    if uri == architecture::URI {
        let (asker, _) = intent::context(request, None)?;
        return Ok(Route::Describe(asker));
    }
    let snapshot = ready(gw).await;
    let Some(entry) = snapshot.resource(&uri) else {
        return Err(Refusal::UnknownResource(shown(&uri)));
    };
    using(gw, request, entry, Action::Read { uri }).await
}

async fn complete(gw: &Gateway, request: InSession) -> Result<Route, Refusal> {
    let invalid = |what: String| Refusal::InvalidParams(what);
    let params = request.parsed().message.params.as_deref();
    let params = params.ok_or_else(|| invalid("`ref` and `argument` are required".to_owned()))?;
    let params: CompleteParams = serde_json::from_str(params.get())
        .map_err(|e| invalid(format!("`ref` and `argument` are not as they must be: {e}")))?;
    let context = match params.context.and_then(|context| context.arguments) {
        None => "{}".to_owned(),
        Some(raw) if raw.get().starts_with('{') => raw.get().to_owned(),
        Some(_) => return Err(invalid("`context.arguments` must be an object".to_owned())),
    };
    let snapshot = ready(gw).await;
    let (entry, reference) = match params.reference {
        Reference::Prompt { name } => {
            let prompt = snapshot.prompt(&name);
            let prompt = Arc::clone(prompt.ok_or_else(|| no_prompt(&snapshot, &name))?);
            let own = serde_json::json!({ "type": "ref/prompt", "name": prompt.item.name });
            (prompt, own)
        }
        Reference::Resource { uri } => {
            let entry = snapshot.templates.get(&uri).map(Arc::clone);
            let entry = entry.or_else(|| snapshot.resource(&uri));
            let entry = entry.ok_or_else(|| Refusal::UnknownResource(shown(&uri)))?;
            (
                entry,
                serde_json::json!({ "type": "ref/resource", "uri": uri }),
            )
        }
    };
    let completing = Completing {
        reference: reference.to_string(),
        argument: params.argument.name,
        value: params.argument.value,
        context,
    };
    using(gw, request, entry, Action::Complete(completing)).await
}

async fn unsubscribe(gw: &Gateway, request: &InSession) -> Result<Route, Refusal> {
    let session = request.id().ok_or(Refusal::SessionRequired)?;
    let uri = text(request.parsed().params.uri.as_deref())
        .ok_or_else(|| Refusal::InvalidParams("`uri` must be a string".to_owned()))?;
    watch::unsubscribe(gw, session, &uri).await?;
    Ok(Route::Local(answer::empty()?))
}

/// Remembers which messages a legacy client wants, for as long as its session is used.
async fn set_level(gw: &Gateway, request: &InSession) -> Result<Route, Refusal> {
    let level = text(request.parsed().params.level.as_deref());
    let level = level.as_deref().and_then(LogLevel::parse).ok_or_else(|| {
        Refusal::InvalidParams("`level` must be a log level, `debug` to `emergency`".to_owned())
    })?;
    if let Some(id) = request.id() {
        session::set_level(gw, id, level).await;
    }
    Ok(Route::Local(answer::empty()?))
}

async fn using(
    gw: &Gateway,
    request: InSession,
    entry: Arc<Entry>,
    action: Action,
) -> Result<Route, Refusal> {
    let level = match request.id() {
        Some(id) => session::level_of(gw, id).await,
        None => None,
    };
    let (asker, context) = intent::context(request, level)?;
    Ok(Route::Use(Intent {
        asker,
        entry,
        action,
        context,
    }))
}

async fn ready(gw: &Gateway) -> Arc<Snapshot> {
    gw.catalog.ready_within(COLD_START).await;
    gw.catalog.snapshot()
}

fn name(request: &Parsed) -> Result<String, Refusal> {
    text(request.params.name.as_deref())
        .ok_or_else(|| Refusal::InvalidParams("`name` must be a string".to_owned()))
}

fn arguments(request: &Parsed) -> Result<String, Refusal> {
    match request.params.arguments.as_deref() {
        None => Ok("{}".to_owned()),
        Some(raw) if raw.get().starts_with('{') => Ok(raw.get().to_owned()),
        Some(_) => Err(Refusal::InvalidParams(
            "`arguments` must be an object".to_owned(),
        )),
    }
}

fn no_prompt(snapshot: &Snapshot, name: &str) -> Refusal {
    match absent(snapshot, name) {
        Some(message) => Refusal::Failed {
            code: "backend_unavailable".to_owned(),
            message,
            meta: None,
        },
        None => Refusal::UnknownPrompt(shown(name)),
    }
}

/// Why something of this name may only seem to be missing.
fn absent(snapshot: &Snapshot, name: &str) -> Option<String> {
    let (backend, reason) = snapshot.absent_owner(name)?;
    Some(format!("Backend {backend} is not available: {reason}"))
}

/// A name from outside, fit to be shown: bounded, without control characters.
fn shown(name: &str) -> String {
    name.chars()
        .take(128)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
