//! What somebody wants, read from the parameters and not permitted yet.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Refusal;
use super::auth::Caller;
use super::parse::Parsed;
use super::session::InSession;
use super::shape::Shape;
use crate::catalog::{Entry, Kind, Snapshot};
use crate::mcp::capabilities::ClientCapabilities;
use crate::mcp::log_level::LogLevel;
use crate::mcp::params::{META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, Meta, text};
use crate::mcp::version::ProtocolVersion;
use crate::types::RequestId;

/// Who asks, and by which rules.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) version: ProtocolVersion,
}

/// Somebody wants to see what there is of one kind.
pub(super) struct ListIntent {
    pub(super) asker: Asker,
    pub(super) kind: Kind,
    pub(super) snapshot: Arc<Snapshot>,
    /// How the list is wanted.
    pub(super) shape: Shape,
}

/// Somebody wants to use an entry of the catalog. Not permitted yet.
pub(super) struct Intent {
    pub(super) asker: Asker,
    pub(super) entry: Arc<Entry>,
    pub(super) action: Action,
    pub(super) context: Context,
}

/// What is to be done with it. JSON is as it came.
pub(super) enum Action {
    /// `tools/call` with a JSON object.
    Call { arguments: String },
    /// `prompts/get` with a JSON object.
    Get { arguments: String },
    /// `resources/read`.
    Read { uri: String },
    /// `completion/complete`.
    Complete(Completing),
}

/// What is to be completed.
pub(super) struct Completing {
    /// The owner's own `ref` object.
    pub(super) reference: String,
    pub(super) argument: String,
    pub(super) value: String,
    /// `context.arguments`, a JSON object.
    pub(super) context: String,
}

impl Action {
    /// The MCP method.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Call { .. } => "tools/call",
            Self::Get { .. } => "prompts/get",
            Self::Read { .. } => "resources/read",
            Self::Complete(_) => "completion/complete",
        }
    }

    /// What a policy that reads arguments is shown: a JSON object.
    pub(super) fn arguments(&self) -> &str {
        match self {
            Self::Call { arguments } | Self::Get { arguments } => arguments,
            Self::Read { .. } => "{}",
            Self::Complete(completing) => &completing.context,
        }
    }
}

/// What comes with a request besides what is asked for.
#[derive(Default)]
pub(super) struct Context {
    pub(super) meta: Meta,
    pub(super) capabilities: ClientCapabilities,
    /// Who the client says it is: MCP `Implementation`, a JSON object.
    pub(super) client_info: Option<String>,
    /// Least severe message that the client wants.
    pub(super) log_level: Option<LogLevel>,
    /// Answers to what the gateway asked for before.
    pub(super) answers: Option<Answers>,
}

/// What a client repeats a request with (MCP 2026-07-28, Multi Round-Trip Requests).
pub(super) struct Answers {
    /// `requestState`, still sealed.
    pub(super) state: Option<String>,
    /// `inputResponses`, a JSON object.
    pub(super) responses: String,
}

/// The parameters of `completion/complete`.
#[derive(Deserialize)]
pub(super) struct CompleteParams {
    #[serde(rename = "ref")]
    pub(super) reference: Reference,
    pub(super) argument: Argument,
    pub(super) context: Option<CompleteContext>,
}

/// What is being completed.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

#[derive(Deserialize)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Deserialize)]
pub(super) struct CompleteContext {
    pub(super) arguments: Option<Box<RawValue>>,
}

/// Takes a request apart into who asks and what comes with it. `level`: what a legacy client has
/// chosen for its session.
pub(super) fn context(
    request: InSession,
    level: Option<LogLevel>,
) -> Result<(Asker, Context), Refusal> {
    let (declared, told) = (request.capabilities(), request.client_info());
    let Parsed {
        id,
        caller,
        version,
        params,
        meta,
        ..
    } = request.into_inner();
    let modern = version.is_modern();
    let (capabilities, client_info, log_level, answers) = if modern {
        let declared = meta.0.get(META_CLIENT_CAPABILITIES);
        (
            ClientCapabilities::parse(declared.map(|raw| &**raw)),
            object(&meta, META_CLIENT_INFO),
            asked_level(&meta)?,
            answers(params.request_state, params.input_responses)?,
        )
    } else {
        // A legacy server may choose what it sends until it is told (MCP 2025-11-25, "Logging").
        (declared, told, Some(level.unwrap_or(LogLevel::Info)), None)
    };
    let asker = Asker {
        id,
        caller,
        version,
    };
    let context = Context {
        meta,
        capabilities,
        client_info,
        log_level,
        answers,
    };
    Ok((asker, context))
}

/// A member of `_meta` that is an object.
fn object(meta: &Meta, key: &str) -> Option<String> {
    let raw = meta.0.get(key)?;
    raw.get().starts_with('{').then(|| raw.get().to_owned())
}

/// The level that a modern request asks for.
fn asked_level(meta: &Meta) -> Result<Option<LogLevel>, Refusal> {
    let Some(raw) = meta.0.get(META_LOG_LEVEL) else {
        return Ok(None);
    };
    match text(Some(raw)).as_deref().and_then(LogLevel::parse) {
        Some(level) => Ok(Some(level)),
        None => Err(Refusal::InvalidParams(format!(
            "`_meta[\"{META_LOG_LEVEL}\"]` must be a log level, `debug` to `emergency`"
        ))),
    }
}

fn answers(
    state: Option<Box<RawValue>>,
    responses: Option<Box<RawValue>>,
) -> Result<Option<Answers>, Refusal> {
    let state =
        match state.as_deref() {
            None => None,
            Some(raw) => Some(text(Some(raw)).ok_or_else(|| {
                Refusal::InvalidParams("`requestState` must be a string".to_owned())
            })?),
        };
    let responses = match responses {
        None if state.is_none() => return Ok(None),
        None => "{}".to_owned(),
        Some(raw) => {
            let each: Result<std::collections::BTreeMap<String, Box<RawValue>>, _> =
                serde_json::from_str(raw.get());
            let objects = each.is_ok_and(|each| each.values().all(|v| v.get().starts_with('{')));
            if !objects {
                return Err(Refusal::InvalidParams(
                    "`inputResponses` must be an object of objects".to_owned(),
                ));
            }
            raw.get().to_owned()
        }
    };
    Ok(Some(Answers { state, responses }))
}
