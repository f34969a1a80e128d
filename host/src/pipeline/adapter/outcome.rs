//! How a call of an adapter ends, whatever was called, and what becomes of its errors.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pipeline::answer::{self, Answer};
use crate::pipeline::intent::{Action, Intent};
use crate::pipeline::{Gateway, Refusal};
use crate::plugin::model::{
    CallError, CompletionResult, Failure, InputRequired, MissingScope, PromptOutcome, PromptResult,
    ResourceOutcome, ResourceResult, ToolOutcome, ToolResult,
};
use crate::types::{Scope, ScopeSet};

/// Code of a failure to reach the backend.
const UNAVAILABLE: &str = "backend_unavailable";
/// Code of a failure that more capabilities of the client would mend.
const MISSING_CAPABILITY: &str = "missing_capability";

/// How a call ends well. It may travel to the gateway that has its client.
#[derive(Serialize, Deserialize)]
pub(in crate::pipeline) enum Outcome {
    /// With a result.
    Done(Done),
    /// With questions for the client.
    Asks(InputRequired),
}

/// A result.
#[derive(Serialize, Deserialize)]
pub(in crate::pipeline) enum Done {
    Tool(ToolResult),
    Prompt(PromptResult),
    Resource(ResourceResult),
    Completion(CompletionResult),
    /// An MCP result object of another kind.
    Other(String),
}

impl From<ToolOutcome> for Outcome {
    fn from(outcome: ToolOutcome) -> Self {
        match outcome {
            ToolOutcome::Complete(result) => Self::Done(Done::Tool(result)),
            ToolOutcome::InputRequired(asked) => Self::Asks(asked),
            ToolOutcome::Other(result) => Self::Done(Done::Other(result)),
        }
    }
}

impl From<PromptOutcome> for Outcome {
    fn from(outcome: PromptOutcome) -> Self {
        match outcome {
            PromptOutcome::Complete(result) => Self::Done(Done::Prompt(result)),
            PromptOutcome::InputRequired(asked) => Self::Asks(asked),
            PromptOutcome::Other(result) => Self::Done(Done::Other(result)),
        }
    }
}

impl From<ResourceOutcome> for Outcome {
    fn from(outcome: ResourceOutcome) -> Self {
        match outcome {
            ResourceOutcome::Complete(result) => Self::Done(Done::Resource(result)),
            ResourceOutcome::InputRequired(asked) => Self::Asks(asked),
            ResourceOutcome::Other(result) => Self::Done(Done::Other(result)),
        }
    }
}

impl From<CompletionResult> for Outcome {
    fn from(result: CompletionResult) -> Self {
        Self::Done(Done::Completion(result))
    }
}

/// The adapter's function that serves an action.
pub(super) fn function(action: &Action) -> &'static str {
    match action {
        Action::Call { .. } => "call-tool",
        Action::Get { .. } => "get-prompt",
        Action::Read { .. } => "read-resource",
        Action::Complete(_) => "complete",
    }
}

/// Whether the backend was there, though the call did not end well.
pub(super) fn reached(error: &CallError) -> bool {
    !matches!(error, CallError::Failed(failure) if failure.code == UNAVAILABLE)
}

/// What the client is told when the call did not end well.
pub(super) fn error(gw: &Gateway, intent: &Intent, error: CallError) -> Result<Answer, Refusal> {
    let backend = &intent.entry.backend;
    match error {
        CallError::Failed(failure) => match missing_capability(intent, &failure) {
            Some(required) => Err(Refusal::MissingCapability { required }),
            None => failure_answer(gw, intent, failure),
        },
        CallError::MissingScope(missing) => missing_scope(gw, intent, missing),
        // `adapter::run` sees to these.
        CallError::LinkRequired(_) => {
            let why = format!("Backend {backend} asks for an account");
            failed(gw, intent, "account_required", why)
        }
        CallError::NotFound(_) => Err(match &intent.action {
            Action::Call { .. } => Refusal::UnknownTool(intent.entry.name.clone()),
            Action::Get { .. } => Refusal::UnknownPrompt(intent.entry.name.clone()),
            Action::Read { uri } => Refusal::UnknownResource(uri.clone()),
            Action::Complete(_) => Refusal::InvalidParams("unknown `ref`".to_owned()),
        }),
        CallError::InvalidArguments(what) => Err(Refusal::InvalidParams(what)),
        // An owner that proposes nothing has nothing to propose.
        CallError::Unsupported if matches!(intent.action, Action::Complete(_)) => {
            let nothing = CompletionResult {
                values: Vec::new(),
                total: Some(0),
                has_more: false,
            };
            answer::completion(gw, intent.asker.version, nothing).map_err(Refusal::Internal)
        }
        CallError::Unsupported => {
            let why = format!("The adapter of backend {backend} does not do that");
            failed(gw, intent, "unsupported", why)
        }
        CallError::Other(what) => failed(gw, intent, "backend_error", what),
    }
}

/// What the owner says that the client would have to declare, if the client can make sense of it.
fn missing_capability(intent: &Intent, failure: &Failure) -> Option<Value> {
    if !intent.asker.version.is_modern() || failure.code != MISSING_CAPABILITY {
        return None;
    }
    let mut meta: Value = serde_json::from_str(failure.meta.as_deref()?).ok()?;
    let required = meta.get_mut("requiredCapabilities")?.take();
    required.is_object().then_some(required)
}

/// Like [`error`], for failures that the gateway itself tells of.
pub(in crate::pipeline) fn failed(
    gw: &Gateway,
    intent: &Intent,
    code: &str,
    message: String,
) -> Result<Answer, Refusal> {
    let failure = Failure {
        code: code.to_owned(),
        message,
        meta: None,
    };
    failure_answer(gw, intent, failure)
}

/// A tool says in its result that it failed, so that the model can read it; nothing else has a
/// place for that.
fn failure_answer(gw: &Gateway, intent: &Intent, failure: Failure) -> Result<Answer, Refusal> {
    let Failure {
        code,
        message,
        meta,
    } = failure;
    match intent.action {
        Action::Call { .. } => {
            answer::tool_failure(gw, intent.asker.version, &message, &code, meta)
                .map_err(Refusal::Internal)
        }
        _ => Err(Refusal::Failed {
            code: code.chars().take(64).collect(),
            message,
            meta,
        }),
    }
}

fn missing_scope(gw: &Gateway, intent: &Intent, missing: MissingScope) -> Result<Answer, Refusal> {
    let required = missing.required.iter().map(|s| s.parse::<Scope>());
    match required.collect::<Result<ScopeSet, _>>() {
        Ok(required) if !required.is_empty() => Err(Refusal::BackendRefusedScope {
            required,
            method: missing.method,
        }),
        // Not fit for a challenge; the model can still read that it was refused.
        _ => {
            let why = format!(
                "Backend {} refused the call for want of a scope that it did not name",
                intent.entry.backend
            );
            failed(gw, intent, "backend_refused_scope", why)
        }
    }
}
