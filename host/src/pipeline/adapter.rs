//! Does what was permitted in the adapter of the backend that owns it, in as many rounds as the
//! owner has questions for the client.

mod again;
mod asking;
mod outcome;

use std::sync::Arc;

use serde_json::Value;
use tracing::error;

use super::answer::{self, Answer};
use super::credential::{self, NotShown};
use super::intent::{Action, Context, Intent};
use super::link;
use super::notices::{self, Reporter};
use super::parked::{Ended, Next, Running};
use super::policy::Permit;
use super::state::{self, Remembered};
use super::{Gateway, Refusal, Route};
use crate::catalog::Entry;
use crate::plugin::model::{
    CallError, Completion, Continuation, HeaderArgument, PromptCall, RequestContext, ResourceRead,
    ToolCall,
};
use crate::plugin::{Adapter, Backend, Fault, Notices, OnBehalf, Questions, Shown};
use crate::trace;
use crate::types::{Scope, ScopeSet, SessionId};
use asking::{Asked, Round};
use outcome::Done;

pub(super) use asking::QUESTION;
pub(super) use outcome::{Outcome, failed};

/// Rounds of questions to a legacy client within one request.
const MAX_ROUNDS: usize = 16;
/// How often a token that the owner refuses is renewed within one request. More than once: a token may end between
/// its renewal and its use, and not every part of a server knows at once of a new one.
const MAX_RENEWALS: usize = 2;

/// Does it as the caller.
pub(super) async fn run(
    gw: &Gateway,
    permit: Permit,
    session: Option<SessionId>,
    reporter: Reporter,
) -> Result<Answer, Refusal> {
    let intent = permit.shared();
    let route = gw.routes.get(&intent.entry.backend);
    let route = route.ok_or_else(|| Refusal::Internal("an entry without a route".to_owned()))?;
    let adapter = match gw.adapter(route) {
        Ok(adapter) => adapter,
        Err(why) => {
            let why = format!("Backend {} is not available: {why}", intent.entry.backend);
            return failed(gw, &intent, "backend_unavailable", why);
        }
    };
    if let Some(why) = intent.entry.withheld {
        return failed(gw, &intent, "tool_quarantined", why.to_owned());
    }
    let mut call = Call {
        gw,
        route,
        adapter,
        shown: Shown::Nothing,
        intent,
        reporter,
        session,
    };
    let begun = match Box::pin(call.presented()).await? {
        Presented::Answer(answer) => return answer,
        Presented::Parked(running) => Begun::Again(running),
        Presented::Continuation(continuation) => Begun::Anew(continuation),
    };
    call.go(begun).await
}

/// What a client presents of an earlier round.
enum Presented {
    /// Something to go on with, or nothing.
    Continuation(Option<Continuation>),
    /// A call that has waited for this.
    Parked(Running),
    /// Nothing is left to be done.
    Answer(Result<Answer, Refusal>),
}

/// How a round begins.
enum Begun {
    /// By calling the adapter.
    Anew(Option<Continuation>),
    /// With a call that goes on.
    Again(Running),
}

/// One request to an owner.
struct Call<'a> {
    gw: &'a Gateway,
    route: &'a Route,
    adapter: Arc<Adapter>,
    shown: Shown,
    intent: Arc<Intent>,
    reporter: Reporter,
    session: Option<SessionId>,
}

impl Call<'_> {
    async fn presented(&self) -> Result<Presented, Refusal> {
        let Some(answers) = &self.intent.context.answers else {
            return Ok(Presented::Continuation(None));
        };
        let remembered = match &answers.state {
            Some(sealed) => state::open(self.gw, &self.intent, sealed)?,
            None => Remembered::Adapter(Vec::new()),
        };
        Ok(match remembered {
            Remembered::Adapter(state) => Presented::Continuation(Some(Continuation {
                state,
                responses: answers.responses.clone(),
            })),
            // Whether the account is linked now is seen when the owner is asked again.
            Remembered::Link => match link::answered(self.gw, &self.intent, &answers.responses) {
                Some(answer) => Presented::Answer(answer),
                None => Presented::Continuation(None),
            },
            Remembered::Parked(place) => self.resume(place, &answers.responses).await?,
            Remembered::Unknown => match again::answered(self.gw, &self.intent, &answers.responses)
            {
                Some(answer) => Presented::Answer(answer),
                None => Presented::Continuation(None),
            },
        })
    }

    async fn go(&mut self, begun: Begun) -> Result<Answer, Refusal> {
        let (gw, intent) = (self.gw, Arc::clone(&self.intent));
        let mut again = None;
        let mut running = match begun {
            Begun::Again(running) => running,
            Begun::Anew(continuation) => {
                let caller = &intent.asker.caller;
                match credential::of(gw, caller, self.route).await {
                    Ok(shown) => self.shown = shown,
                    Err(why) => return Box::pin(self.not_shown(why)).await,
                }
                again.clone_from(&continuation);
                self.start(continuation)
            }
        };
        let mut renewals = 0;
        for _ in 0..MAX_ROUNDS {
            let result = match running.next().await {
                Next::Ended(result) => result,
                Next::Asks(question) => match Box::pin(self.ask(running, question)).await? {
                    Asked::Goes(still) => {
                        running = still;
                        continue;
                    }
                    Asked::Parked(answer) => return Ok(answer),
                },
            };
            if let Ok(result) = &result {
                let reached = result.as_ref().err().is_none_or(outcome::reached);
                gw.catalog.reached(&intent.entry.backend, reached);
            }
            let asked = match result.inspect_err(|fault| log(fault, &intent))? {
                Ok(Outcome::Done(done)) => return done_answer(gw, &intent, &self.adapter, done),
                Ok(Outcome::Asks(asked)) => asked,
                Err(CallError::LinkRequired(link)) => {
                    if link.scopes.is_empty() && renewals < MAX_RENEWALS {
                        match Box::pin(self.renew()).await {
                            Ok(true) => {
                                renewals += 1;
                                running = self.start(again.clone());
                                continue;
                            }
                            Ok(false) => {}
                            Err(why) => return Box::pin(self.not_shown(why)).await,
                        }
                    }
                    return Box::pin(self.link(renewals > 0, &link.scopes)).await;
                }
                Err(error) => return outcome::error(gw, &intent, error),
            };
            let continuation = match Box::pin(self.rounds(asked)).await? {
                Round::Goes(continuation) => Some(continuation),
                Round::Ends(answer) => return Ok(answer),
            };
            again.clone_from(&continuation);
            running = self.start(continuation);
        }
        let why = format!(
            "Backend {} asked more than {MAX_ROUNDS} times",
            intent.entry.backend
        );
        failed(gw, &intent, "too_many_rounds", why)
    }

    /// Calls the adapter.
    fn start(&self, continuation: Option<Continuation>) -> Running {
        let questions = Questions::default();
        let mut notices = self.reporter.for_call(&self.intent.context);
        notices.questions = Some(questions.clone());
        let work = one(
            Arc::clone(&self.route.backend),
            Arc::clone(&self.adapter),
            Arc::clone(&self.intent),
            self.shown.clone(),
            continuation,
            notices,
        );
        Running::new(work, questions)
    }

    /// Tries to get another token for the account. False: there is none. An error that none can be had now is no
    /// word about the account: it may be good for long yet.
    async fn renew(&mut self) -> Result<bool, NotShown> {
        let caller = &self.intent.asker.caller;
        let instead = credential::instead(self.gw, caller, self.route, &self.shown).await?;
        let is_there = instead.is_some();
        if let Some(shown) = instead {
            self.shown = shown;
        }
        Ok(is_there)
    }

    /// Sends the caller to link an account.
    async fn link(&self, renewed: bool, scopes: &[String]) -> Result<Answer, Refusal> {
        if renewed && scopes.is_empty() {
            credential::useless(self.gw, &self.intent.asker.caller, self.route, &self.shown).await;
        }
        let scopes = scopes
            .iter()
            .filter_map(|scope| scope.parse::<Scope>().ok());
        link::needed(self.gw, &self.intent, &scopes.collect()).await
    }

    async fn not_shown(&self, why: NotShown) -> Result<Answer, Refusal> {
        match why {
            NotShown::LinkAgain => link::needed(self.gw, &self.intent, &ScopeSet::default()).await,
            NotShown::Failed(code, why) => failed(self.gw, &self.intent, code, why),
        }
    }
}

/// Reads a resource for the gateway to look at. `None`: it cannot be had.
pub(super) async fn contents(gw: &Gateway, permit: &Permit) -> Option<String> {
    let intent = permit.shared();
    let route = gw.routes.get(&intent.entry.backend)?;
    let adapter = gw.adapter(route).ok()?;
    let caller = &intent.asker.caller;
    let shown = credential::of(gw, caller, route).await.ok()?;
    let notices = notices::nowhere().for_call(&intent.context);
    let result = one(
        Arc::clone(&route.backend),
        adapter,
        Arc::clone(&intent),
        shown,
        None,
        notices,
    );
    match result.await.inspect_err(|fault| log(fault, &intent)) {
        Ok(Ok(Outcome::Done(Done::Resource(result)))) => Some(result.contents),
        _ => None,
    }
}

/// One call of the adapter. It owns all that it needs, because it may outlive its request.
async fn one(
    backend: Arc<Backend>,
    adapter: Arc<Adapter>,
    intent: Arc<Intent>,
    shown: Shown,
    continuation: Option<Continuation>,
    notices: Notices,
) -> Ended {
    let user = OnBehalf {
        backend: &backend,
        caller: intent.asker.caller.principal(),
        shown: &shown,
        request: intent.asker.id,
    };
    let own = || intent.entry.item.name.clone();
    let context = || request_context(&intent.context, continuation.clone());
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
        meta: context.meta.for_backend(&trace::members()),
        client_capabilities: context.capabilities.to_text(),
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
            return failed(gw, intent, "unsupported_result", why);
        }
    };
    answer.map_err(|what| bad(adapter, intent, what))
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
