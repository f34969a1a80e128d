//! Does what was permitted in the adapter of the backend that owns it, in as many rounds as the
//! owner has questions for the client.

mod outcome;

use serde_json::{Value, json};
use tracing::error;

use super::answer::{self, Answer};
use super::intent::{Action, Context, Intent};
use super::notices::{self, Reporter};
use super::policy::Permit;
use super::rounds::{self, NoAnswer, NotAsked, Questions};
use super::{Gateway, Refusal, Route, state};
use crate::catalog::Entry;
use crate::mcp::capabilities::Needed;
use crate::plugin::model::{
    CallError, Completion, Continuation, HeaderArgument, InputRequired, PromptCall, RequestContext,
    ResourceRead, ToolCall,
};
use crate::plugin::{Adapter, Fault, OnBehalf};
use crate::types::SessionId;
use outcome::{Done, Outcome};

/// Rounds of questions to a legacy client within one request.
const MAX_ROUNDS: usize = 16;

/// Does it as the caller.
pub(super) async fn run(
    gw: &Gateway,
    permit: Permit,
    session: Option<SessionId>,
    reporter: Reporter,
) -> Result<Answer, Refusal> {
    let intent = permit.intent();
    let route = gw.routes.get(&intent.entry.backend);
    let route = route.ok_or_else(|| Refusal::Internal("an entry without a route".to_owned()))?;
    let adapter = match &route.adapter {
        Ok(adapter) => adapter,
        Err(missing) => {
            let why = format!(
                "Backend {} is not available: no adapter `{missing}` is loaded",
                intent.entry.backend
            );
            return outcome::failed(gw, intent, "backend_unavailable", why);
        }
    };
    if let Some(why) = intent.entry.withheld {
        return outcome::failed(gw, intent, "tool_quarantined", why.to_owned());
    }
    let mut continuation = presented(gw, intent)?;
    for _ in 0..MAX_ROUNDS {
        let result = one(route, adapter, intent, continuation, &reporter).await;
        if let Ok(result) = &result {
            let reached = result.as_ref().err().is_none_or(outcome::reached);
            gw.catalog.reached(&intent.entry.backend, reached);
        }
        let asked = match result.inspect_err(|fault| log(fault, intent))? {
            Ok(Outcome::Done(done)) => return done_answer(gw, intent, adapter, done),
            Ok(Outcome::Asks(asked)) => asked,
            Err(error) => return outcome::error(gw, intent, error),
        };
        let questions = match Questions::read(&asked.requests, &intent.context) {
            Ok(questions) => questions,
            Err(NotAsked::Wrong(what)) => return Err(bad(adapter, intent, what)),
            Err(NotAsked::Undeclared(needed)) => return undeclared(gw, intent, &needed),
        };
        if asked.state.len() > state::MAX_STATE {
            let what = format!("a state of more than {} bytes", state::MAX_STATE);
            return Err(bad(adapter, intent, what));
        }
        if intent.asker.version.is_modern() {
            return ask_modern(gw, intent, questions, &asked);
        }
        let answered = rounds::ask(
            &gw.waiting,
            &reporter,
            session,
            intent.asker.version,
            questions,
        );
        continuation = match answered.await {
            Ok(responses) => Some(Continuation {
                state: asked.state,
                responses,
            }),
            Err(why) => return unanswered(gw, intent, why),
        };
    }
    let why = format!(
        "Backend {} asked more than {MAX_ROUNDS} times",
        intent.entry.backend
    );
    outcome::failed(gw, intent, "too_many_rounds", why)
}

/// Reads a resource for the gateway to look at. `None`: it cannot be had.
pub(super) async fn contents(gw: &Gateway, permit: &Permit) -> Option<String> {
    let intent = permit.intent();
    let route = gw.routes.get(&intent.entry.backend)?;
    let adapter = route.adapter.as_ref().ok()?;
    let result = one(route, adapter, intent, None, &notices::nowhere()).await;
    match result.inspect_err(|fault| log(fault, intent)) {
        Ok(Ok(Outcome::Done(Done::Resource(result)))) => Some(result.contents),
        _ => None,
    }
}

/// What a modern client presents of an earlier round.
fn presented(gw: &Gateway, intent: &Intent) -> Result<Option<Continuation>, Refusal> {
    let Some(answers) = &intent.context.answers else {
        return Ok(None);
    };
    let state = match &answers.state {
        Some(sealed) => state::open(gw, intent, sealed)?,
        None => Vec::new(),
    };
    Ok(Some(Continuation {
        state,
        responses: answers.responses.clone(),
    }))
}

/// One round: one call of the adapter.
async fn one(
    route: &Route,
    adapter: &Adapter,
    intent: &Intent,
    continuation: Option<Continuation>,
    reporter: &Reporter,
) -> Result<Result<Outcome, CallError>, Fault> {
    let caller = &intent.asker.caller;
    let user = OnBehalf {
        backend: &route.backend,
        caller: caller.principal(),
        token: caller.token(),
        request: intent.asker.id,
    };
    let own = || intent.entry.item.name.clone();
    let context = || request_context(&intent.context, continuation.clone());
    let notices = reporter.for_call(&intent.context);
    Ok(match &intent.action {
        Action::Call { arguments } => {
            let call = ToolCall {
                tool: own(),
                arguments: arguments.clone(),
                header_arguments: header_arguments(&intent.entry, arguments),
                structured: intent.entry.structured,
                context: context(),
            };
            let result = adapter.call_tool(user, call, notices).await?;
            result.map(Into::into)
        }
        Action::Get { arguments } => {
            let call = PromptCall {
                prompt: own(),
                arguments: arguments.clone(),
                context: context(),
            };
            let result = adapter.get_prompt(user, call, notices).await?;
            result.map(Into::into)
        }
        Action::Read { uri } => {
            let read = ResourceRead {
                uri: uri.clone(),
                context: context(),
            };
            let result = adapter.read_resource(user, read, notices).await?;
            result.map(Into::into)
        }
        Action::Complete(completing) => {
            let completion = Completion {
                ref_: completing.reference.clone(),
                argument: completing.argument.clone(),
                value: completing.value.clone(),
                context: completing.context.clone(),
            };
            let result = adapter.complete(user, completion).await?;
            result.map(Into::into)
        }
    })
}

/// Arguments that the owner wants as headers, too.
fn header_arguments(tool: &Entry, arguments: &str) -> Vec<HeaderArgument> {
    if tool.headers.is_empty() {
        return Vec::new();
    }
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
    let given = tool.headers.iter().filter_map(|param| {
        Some(HeaderArgument {
            header: param.suffix().to_owned(),
            value: param.argument(&arguments)?.to_string(),
        })
    });
    given.collect()
}

fn request_context(context: &Context, continuation: Option<Continuation>) -> RequestContext {
    RequestContext {
        meta: context.meta.for_backend(),
        client_capabilities: context.capabilities.to_json().to_string(),
        client_info: context.client_info.clone(),
        log_level: context.log_level.map(|level| level.as_str().to_owned()),
        continuation,
    }
}

fn done_answer(
    gw: &Gateway,
    intent: &Intent,
    adapter: &Adapter,
    done: Done,
) -> Result<Answer, Refusal> {
    let version = intent.asker.version;
    let answer = match done {
        Done::Tool(result) => answer::tool_result(gw, version, result),
        Done::Prompt(result) => answer::prompt(gw, version, result),
        Done::Resource(result) => answer::resource(gw, version, result),
        Done::Completion(result) => answer::completion(gw, version, result),
        Done::Other(result) if version.is_modern() => answer::as_it_is(result),
        Done::Other(_) => {
            let why = format!(
                "Backend {} answered in a way that this client's protocol version does not know",
                intent.entry.backend
            );
            return outcome::failed(gw, intent, "unsupported_result", why);
        }
    };
    answer.map_err(|what| bad(adapter, intent, what))
}

fn ask_modern(
    gw: &Gateway,
    intent: &Intent,
    questions: Questions,
    asked: &InputRequired,
) -> Result<Answer, Refusal> {
    let requests = questions.to_json();
    // At least one of the two has to be there.
    let state = if asked.state.is_empty() && requests.is_some() {
        None
    } else {
        Some(state::seal(gw, intent, &asked.state)?)
    };
    answer::input_required(gw, requests, state)
}

/// The client cannot be asked what the owner needs to know.
fn undeclared(gw: &Gateway, intent: &Intent, needed: &[Needed]) -> Result<Answer, Refusal> {
    if intent.asker.version.is_modern() {
        let mut required = json!({});
        for one in needed {
            merge(&mut required, one.to_json());
        }
        return Err(Refusal::MissingCapability { required });
    }
    let needs: Vec<&str> = needed.iter().map(|one| one.in_words()).collect();
    let why = format!(
        "Backend {} needs a client that offers {}",
        intent.entry.backend,
        needs.join(", ")
    );
    outcome::failed(gw, intent, "missing_capability", why)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn unanswered(gw: &Gateway, intent: &Intent, why: NoAnswer) -> Result<Answer, Refusal> {
    let (code, why) = match why {
        NoAnswer::Unreachable => (
            "client_unreachable",
            "the client has no session or takes no stream of events".to_owned(),
        ),
        NoAnswer::Late => (
            "client_late",
            "the client did not answer in time".to_owned(),
        ),
        NoAnswer::Refused(words) => ("client_refused", format!("the client refused: {words}")),
    };
    let backend = &intent.entry.backend;
    let why = format!("Backend {backend} asked for input, but {why}");
    outcome::failed(gw, intent, code, why)
}

/// The adapter gave an answer that cannot be used.
fn bad(adapter: &Adapter, intent: &Intent, what: String) -> Refusal {
    let fault = Fault {
        plugin: adapter.name.clone(),
        function: outcome::function(&intent.action),
        cause: crate::plugin::Cause::BadAnswer(what),
    };
    log(&fault, intent);
    Refusal::Plugin(fault)
}

fn log(fault: &Fault, intent: &Intent) {
    error!(request.id = %intent.asker.id, "{fault}; hint: {}", fault.cause.hint());
}
