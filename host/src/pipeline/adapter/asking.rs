//! Asks the client what the owner of a call wants to know: in a round of its own, or while the call
//! waits.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::outcome::{failed, function};
use super::{Call, Presented, again, bad};
use crate::account::Owner;
use crate::mcp::capabilities::Needed;
use crate::pipeline::answer::{self, Answer};
use crate::pipeline::credential;
use crate::pipeline::elsewhere::{self, Place, Resumed, Shipped, Told};
use crate::pipeline::intent::Intent;
use crate::pipeline::parked::{Ended, Running, Waiting};
use crate::pipeline::rounds::{self, NoAnswer, NotAsked, Questions};
use crate::pipeline::state::{self, Remembered};
use crate::pipeline::{Gateway, Refusal};
use crate::plugin::model::{AskError, ClientRefusal, Continuation, InputRequired};
use crate::plugin::{Fault, Question};

/// The key of a question that an owner asks in the middle of a call.
pub(in crate::pipeline) const QUESTION: &str = "question";
/// What a round of questions comes to.
pub(super) enum Round {
    Goes(Continuation),
    Ends(Answer),
}

/// What a question in the middle of a call comes to.
pub(super) enum Asked {
    Goes(Running),
    Parked(Answer),
}

impl Call<'_> {
    /// Hands a parked call the answer that it waits for, wherever it is parked.
    pub(super) async fn resume(&self, place: Place, responses: &str) -> Result<Presented, Refusal> {
        let owner = credential::owner(&self.intent.asker.caller);
        if place.at != self.gw.fleet.instance() {
            return self.resume_elsewhere(&owner, place, responses).await;
        }
        let waiting = self.gw.parked.take_of(place.call, &owner);
        let waiting = waiting.ok_or_else(state::no_longer_valid)?;
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

    async fn resume_elsewhere(
        &self,
        owner: &Owner,
        mut place: Place,
        responses: &str,
    ) -> Result<Presented, Refusal> {
        let (gw, intent) = (self.gw, &*self.intent);
        let mut told = Told::Responses(responses.to_owned());
        // It asks a bounded number of times: see `plugin/client.rs`.
        loop {
            match elsewhere::resume(gw, owner, place, told).await {
                Resumed::Ended(shipped) => {
                    let ended = self.ended(shipped);
                    return Ok(Presented::Parked(Running::over(ended)));
                }
                Resumed::Asks {
                    place: next,
                    method,
                    params,
                } => match Questions::one(QUESTION, &method, &params, &intent.context) {
                    Ok(questions) => {
                        let asked = self.ask_parked(&questions, next)?;
                        return Ok(Presented::Answer(Ok(asked)));
                    }
                    Err(why) => (place, told) = (next, Told::NotAsked(not_asked(why))),
                },
                Resumed::NoRoom => return self.no_room().map(Ok).map(Presented::Answer),
                Resumed::TooLarge => {
                    let why = format!(
                        "The answer of backend {} is too large to be passed on after a question",
                        intent.entry.backend
                    );
                    let failed = failed(gw, intent, "result_too_large", why);
                    return Ok(Presented::Answer(failed));
                }
                Resumed::Over => return Err(state::no_longer_valid()),
                Resumed::Again => return Ok(Presented::Continuation(None)),
                Resumed::Unknown => return Ok(Presented::Answer(again::ask(gw, intent))),
            }
        }
    }

    /// How a call that went on elsewhere has ended.
    fn ended(&self, shipped: Shipped) -> Ended {
        match shipped {
            Shipped::Well(outcome) => Ok(Ok(outcome)),
            Shipped::Failed(error) => Ok(Err(error)),
            Shipped::Fault { plugin, cause } => Err(Fault {
                // By its name there; it is the one here that is known to be one.
                plugin: plugin.parse().unwrap_or_else(|_| self.adapter.name.clone()),
                function: function(&self.intent.action),
                cause,
            }),
        }
    }

    /// The owner has ended its exchange with questions.
    pub(super) async fn rounds(&self, asked: InputRequired) -> Result<Round, Refusal> {
        let (gw, intent) = (self.gw, &*self.intent);
        let questions = match Questions::read(&asked.requests, &intent.context) {
            Ok(questions) => questions,
            Err(NotAsked::Wrong(what)) => return Err(bad(&self.adapter, intent, what)),
            Err(NotAsked::Undeclared(needed)) => {
                return undeclared(gw, intent, &needed).map(Round::Ends);
            }
        };
        if asked.state.len() > state::MAX_STATE {
            let what = format!("a state of more than {} bytes", state::MAX_STATE);
            return Err(bad(&self.adapter, intent, what));
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
        rounds::ask(self.gw, &self.reporter, self.session, version, questions).await
    }

    /// The owner asks while its exchange stays open.
    pub(super) async fn ask(&self, call: Running, question: Question) -> Result<Asked, Refusal> {
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
                drop(question.reply.send(Err(not_asked(why))));
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
            Ok(call) => {
                let at = gw.fleet.instance();
                self.ask_parked(&questions, Place { at, call })
            }
            // Ends with this.
            Err(_) => self.no_room(),
        }
    }

    fn ask_parked(&self, questions: &Questions, place: Place) -> Result<Answer, Refusal> {
        let state = state::seal(self.gw, &self.intent, &Remembered::Parked(place))?;
        answer::input_required(self.gw, questions.to_json(), Some(state))
    }

    fn no_room(&self) -> Result<Answer, Refusal> {
        let why = format!(
            "Backend {} asked for input, and too many calls wait for theirs; answer those, or try again in 10 minutes",
            self.intent.entry.backend
        );
        failed(self.gw, &self.intent, "too_many_parked", why)
    }
}

/// Why a client is not asked, as adapters know it.
fn not_asked(why: NotAsked) -> AskError {
    match why {
        NotAsked::Wrong(what) => AskError::Invalid(what),
        NotAsked::Undeclared(needed) => {
            let words: Vec<&str> = needed.iter().map(|one| one.in_words()).collect();
            AskError::Undeclared(words.join(", "))
        }
    }
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
