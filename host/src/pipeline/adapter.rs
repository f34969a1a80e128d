//! Does what was permitted in the adapter of the backend that owns it, in as many rounds as the
//! owner has questions for the client.

mod outcome;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::error;

use super::answer::{self, Answer};
use super::credential::{self, NotShown};
use super::intent::{Action, Context, Intent};
use super::link;
use super::notices::{self, Reporter};
use super::parked::{Ended, Next, Running, Waiting};
use super::policy::Permit;
use super::rounds::{self, NoAnswer, NotAsked, Questions};
use super::state::{self, Remembered};
use super::{Gateway, Refusal, Route};
use crate::catalog::Entry;
use crate::mcp::capabilities::Needed;
use crate::plugin::model::{
    AskError, CallError, ClientRefusal, Completion, Continuation, HeaderArgument, InputRequired,
    PromptCall, RequestContext, ResourceRead, ToolCall,
};
use crate::plugin::{Adapter, Backend, Fault, Notices, OnBehalf, Question, Shown};
use crate::types::{Scope, ScopeSet, SessionId};
use outcome::Done;

pub(super) use outcome::{Outcome, failed};

/// The key of a question that an owner asks in the middle of a call.
const QUESTION: &str = "question";
/// Rounds of questions to a legacy client within one request.
const MAX_ROUNDS: usize = 16;

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
    let adapter = match &route.adapter {
        Ok(adapter) => adapter,
        Err(missing) => {
            let why = format!(
                "Backend {} is not available: no adapter `{missing}` is loaded",
                intent.entry.backend
            );
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
    let begun = match call.presented()? {
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
    adapter: &'a Arc<Adapter>,
    shown: Shown,
    intent: Arc<Intent>,
    reporter: Reporter,
    session: Option<SessionId>,
}

impl Call<'_> {
    fn presented(&self) -> Result<Presented, Refusal> {
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
            Remembered::Parked(id) => {
                let waiting = self.gw.parked.take(id);
                self.resume(
                    waiting.ok_or_else(state::no_longer_valid)?,
                    &answers.responses,
                )?
            }
        })
    }

    /// Hands a parked call the answer that it waits for.
    fn resume(&self, waiting: Waiting, responses: &str) -> Result<Presented, Refusal> {
        let responses: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(responses).unwrap_or_default();
        match responses.get(QUESTION) {
            Some(answer) => {
                // Who asked may have gone.
                drop(waiting.question.reply.send(Ok(answer.get().to_owned())));
                Ok(Presented::Parked(waiting.call))
            }
            // Missing answers are asked for again.
            None => self.park(waiting).map(Ok).map(Presented::Answer),
        }
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
                    Err(why) => return self.not_shown(why).await,
                }
                again.clone_from(&continuation);
                self.start(continuation)
            }
        };
        let mut renewed = false;
        for _ in 0..MAX_ROUNDS {
            let result = match running.next().await {
                Next::Ended(result) => result,
                Next::Asks(question) => match self.ask(running, question).await? {
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
                Ok(Outcome::Done(done)) => return done_answer(gw, &intent, self.adapter, done),
                Ok(Outcome::Asks(asked)) => asked,
                Err(CallError::LinkRequired(link)) => {
                    if link.scopes.is_empty() && !renewed {
                        renewed = true;
                        if self.renew().await? {
                            running = self.start(again.clone());
                            continue;
                        }
                    }
                    return self.link(renewed, &link.scopes).await;
                }
                Err(error) => return outcome::error(gw, &intent, error),
            };
            let continuation = match self.rounds(asked).await? {
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
        let (sender, questions) = mpsc::channel(1);
        let mut notices = self.reporter.for_call(&self.intent.context);
        notices.questions = Some(sender);
        let work = one(
            Arc::clone(&self.route.backend),
            Arc::clone(self.adapter),
            Arc::clone(&self.intent),
            self.shown.clone(),
            continuation,
            notices,
        );
        Running::new(work, questions)
    }

    /// The owner has ended its exchange with questions.
    async fn rounds(&self, asked: InputRequired) -> Result<Round, Refusal> {
        let (gw, intent) = (self.gw, &*self.intent);
        let questions = match Questions::read(&asked.requests, &intent.context) {
            Ok(questions) => questions,
            Err(NotAsked::Wrong(what)) => return Err(bad(self.adapter, intent, what)),
            Err(NotAsked::Undeclared(needed)) => {
                return undeclared(gw, intent, &needed).map(Round::Ends);
            }
        };
        if asked.state.len() > state::MAX_STATE {
            let what = format!("a state of more than {} bytes", state::MAX_STATE);
            return Err(bad(self.adapter, intent, what));
        }
        if intent.asker.version.is_modern() {
            return ask_modern(gw, intent, questions, asked).map(Round::Ends);
        }
        match self.ask_legacy(questions).await {
            Ok(responses) => Ok(Round::Goes(Continuation {
                state: asked.state,
                responses,
            })),
            Err(why) => unanswered(gw, intent, why).map(Round::Ends),
        }
    }

    async fn ask_legacy(&self, questions: Questions) -> Result<String, NoAnswer> {
        let version = self.intent.asker.version;
        let waiting = &self.gw.waiting;
        rounds::ask(waiting, &self.reporter, self.session, version, questions).await
    }

    /// The owner asks while its exchange stays open.
    async fn ask(&self, call: Running, question: Question) -> Result<Asked, Refusal> {
        let intent = &*self.intent;
        let checked = Questions::one(
            QUESTION,
            &question.method,
            &question.params,
            &intent.context,
        );
        let questions = match checked {
            Ok(questions) => questions,
            Err(why) => {
                let error = match why {
                    NotAsked::Wrong(what) => AskError::Invalid(what),
                    NotAsked::Undeclared(needed) => {
                        let words: Vec<&str> = needed.iter().map(|one| one.in_words()).collect();
                        AskError::Undeclared(words.join(", "))
                    }
                };
                drop(question.reply.send(Err(error)));
                return Ok(Asked::Goes(call));
            }
        };
        if intent.asker.version.is_modern() {
            return self.park(Waiting { call, question }).map(Asked::Parked);
        }
        let answer = self.ask_legacy(questions).await;
        let answer = answer.map_err(|why| match why {
            NoAnswer::Unreachable => AskError::Unanswered("it takes no questions".to_owned()),
            NoAnswer::Late => AskError::Unanswered("it did not answer in time".to_owned()),
            NoAnswer::Refused(error) => AskError::Refused(refusal(&error)),
        });
        let answer = answer.and_then(|responses| {
            let responses: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(&responses).unwrap_or_default();
            let answer = responses.get(QUESTION);
            answer
                .map(|answer| answer.get().to_owned())
                .ok_or_else(|| AskError::Unanswered("it did not answer".to_owned()))
        });
        drop(question.reply.send(answer));
        Ok(Asked::Goes(call))
    }

    /// Lets the call wait until its modern client comes back with an answer.
    fn park(&self, waiting: Waiting) -> Result<Answer, Refusal> {
        let (gw, intent) = (self.gw, &*self.intent);
        let (method, params) = (&waiting.question.method, &waiting.question.params);
        let questions = Questions::one(QUESTION, method, params, &intent.context);
        let Ok(questions) = questions else {
            return Err(state::no_longer_valid());
        };
        match gw
            .parked
            .park(credential::owner(&intent.asker.caller), waiting)
        {
            Ok(id) => {
                let state = state::seal(gw, intent, &Remembered::Parked(id))?;
                answer::input_required(gw, questions.to_json(), Some(state))
            }
            // Ends with this.
            Err(_) => {
                let why = format!(
                    "Backend {} asked for input, and too many calls wait for theirs; answer those, or try again in 10 minutes",
                    intent.entry.backend
                );
                failed(gw, intent, "too_many_parked", why)
            }
        }
    }

    /// Tries to get another token for the account. False: there is none.
    async fn renew(&mut self) -> Result<bool, Refusal> {
        let caller = &self.intent.asker.caller;
        match credential::instead(self.gw, caller, self.route, &self.shown).await {
            Ok(Some(shown)) => {
                self.shown = shown;
                Ok(true)
            }
            // Why is said where the caller is sent to link it.
            Ok(None) | Err(_) => Ok(false),
        }
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

/// What a round of questions comes to.
enum Round {
    Goes(Continuation),
    Ends(Answer),
}

/// What a question in the middle of a call comes to.
enum Asked {
    Goes(Running),
    Parked(Answer),
}

/// A JSON-RPC error, as adapters know it.
fn refusal(error: &RawValue) -> ClientRefusal {
    let parsed: Value = serde_json::from_str(error.get()).unwrap_or_default();
    ClientRefusal {
        code: parsed["code"].as_i64().unwrap_or(-1),
        message: rounds::words(error),
        data: parsed.get("data").map(Value::to_string),
    }
}

/// Reads a resource for the gateway to look at. `None`: it cannot be had.
pub(super) async fn contents(gw: &Gateway, permit: &Permit) -> Option<String> {
    let intent = permit.shared();
    let route = gw.routes.get(&intent.entry.backend)?;
    let adapter = route.adapter.as_ref().ok()?;
    let caller = &intent.asker.caller;
    let shown = credential::of(gw, caller, route).await.ok()?;
    let notices = notices::nowhere().for_call(&intent.context);
    let result = one(
        Arc::clone(&route.backend),
        Arc::clone(adapter),
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
            return failed(gw, intent, "unsupported_result", why);
        }
    };
    answer.map_err(|what| bad(adapter, intent, what))
}

fn ask_modern(
    gw: &Gateway,
    intent: &Intent,
    questions: Questions,
    asked: InputRequired,
) -> Result<Answer, Refusal> {
    let requests = questions.to_json();
    // At least one of the two has to be there.
    let state = if asked.state.is_empty() && requests.is_some() {
        None
    } else {
        Some(state::seal(gw, intent, &Remembered::Adapter(asked.state))?)
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
    failed(gw, intent, "missing_capability", why)
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
        NoAnswer::Refused(error) => (
            "client_refused",
            format!("the client refused: {}", rounds::words(&error)),
        ),
    };
    let backend = &intent.entry.backend;
    let why = format!("Backend {backend} asked for input, but {why}");
    failed(gw, intent, code, why)
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
