//! Asking the client something while a request of its is served, in the way of its era.
//!
//! A tool says what it wants to know and never how that is asked. A client of 2026-07-28 gets
//! `input_required` and repeats its request (MCP 2026-07-28, "Multi Round-Trip Requests"); an
//! older one gets requests of ours on the stream of its own.

use std::fmt::Display;

use rand::Rng as _;
use rmcp::model::{
    ClientCapabilities, CreateMessageRequest, CreateMessageRequestParams, ElicitRequest,
    ElicitRequestParams, InputRequest, InputRequests, InputRequiredResult, InputResponses,
    JsonObject, ListRootsRequest, ProtocolVersion, RequestStateCodec, SamplingMessage, SealOptions,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

/// A tool that keeps asking is broken: longest conversation with a client of the legacy era.
const ROUNDS: usize = 8;

/// What a tool or a prompt comes to.
pub(crate) enum Outcome<T> {
    /// The end.
    Done(T),
    /// The client must answer first.
    Ask(Ask),
}

/// Questions to the client, and what to remember until it has answered them.
#[derive(Default)]
pub(crate) struct Ask {
    questions: InputRequests,
    stage: Option<Value>,
}

impl Ask {
    /// Asks one thing.
    pub(crate) fn one(key: &str, question: InputRequest) -> Self {
        Self::default().and(key, question)
    }

    /// Asks one thing more.
    pub(crate) fn and(mut self, key: &str, question: InputRequest) -> Self {
        self.questions.insert(key.to_owned(), question);
        self
    }

    /// Remembers this: it is there again when the client has answered.
    pub(crate) fn remembering(mut self, stage: Value) -> Self {
        self.stage = Some(stage);
        self
    }

    /// What is asked.
    pub(crate) fn into_questions(self) -> InputRequests {
        self.questions
    }
}

/// What the client has answered so far.
#[derive(Default)]
pub(crate) struct Answers {
    /// By the key of the question. Hostile input: anything may be in it.
    pub(crate) given: InputResponses,
    /// What was remembered when the questions were asked.
    pub(crate) stage: Option<Value>,
}

impl Answers {
    /// The answer to one question; one that is no object is no answer, and is asked for again.
    pub(crate) fn get(&self, key: &str) -> Option<&JsonObject> {
        self.given.get(key).and_then(Value::as_object)
    }

    /// A field of a form that the user filled in.
    pub(crate) fn field(&self, key: &str, field: &str) -> Option<&Value> {
        self.get(key)?.get("content")?.get(field)
    }
}

/// Asks the user to fill in a form.
pub(crate) fn form(message: &str, schema: Value) -> Result<InputRequest, ErrorData> {
    let requested_schema = serde_json::from_value(schema).map_err(broken)?;
    Ok(InputRequest::Elicitation(ElicitRequest::new(
        ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: message.to_owned(),
            requested_schema,
        },
    )))
}

/// A form of one required field.
pub(crate) fn field(message: &str, name: &str, kind: &str) -> Result<InputRequest, ErrorData> {
    form(
        message,
        json!({ "type": "object", "properties": { name: { "type": kind } }, "required": [name] }),
    )
}

/// Asks the client's model.
pub(crate) fn model(prompt: &str) -> InputRequest {
    InputRequest::CreateMessage(CreateMessageRequest::new(CreateMessageRequestParams::new(
        vec![SamplingMessage::user_text(prompt)],
        100,
    )))
}

/// Asks which folders the client works in.
pub(crate) fn roots() -> InputRequest {
    InputRequest::ListRoots(ListRootsRequest::default())
}

/// Whether the client speaks 2026-07-28 or later.
pub(crate) fn is_modern(cx: &RequestContext<RoleServer>) -> bool {
    cx.protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Seals what clients keep for us, so that they can only bring it back as it was.
pub(crate) struct Seal(RequestStateCodec);

impl Seal {
    /// With a key of this process.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let key: [u8; 32] = rand::rng().random();
        Ok(Self(RequestStateCodec::try_new(key)?))
    }

    fn close(&self, purpose: &str, stage: &Value) -> Result<String, ErrorData> {
        let options = SealOptions::new().associated_data(purpose.as_bytes());
        self.0.seal_json_with(stage, &options).map_err(broken)
    }

    fn open(&self, purpose: &str, state: &str) -> Result<Value, ErrorData> {
        self.0
            .open_json_with(state, purpose.as_bytes())
            .map_err(|_| ErrorData::invalid_params("requestState is not one of ours", None))
    }
}

/// How a conversation went on.
pub(crate) enum Reached<T> {
    /// To its end.
    Done(T),
    /// To the next request of the client.
    InputRequired(InputRequiredResult),
}

/// What a request brought for the conversation that it continues.
pub(crate) struct Brought {
    /// What the conversation is about: state of one is nothing to another.
    pub(crate) purpose: String,
    /// `inputResponses`.
    pub(crate) answers: Option<InputResponses>,
    /// `requestState`.
    pub(crate) state: Option<String>,
}

/// Runs something that may have to ask, as far as the client's era allows in one request.
pub(crate) async fn converse<T>(
    cx: &RequestContext<RoleServer>,
    seal: &Seal,
    brought: Brought,
    run: impl Fn(&Answers) -> Result<Outcome<T>, ErrorData>,
) -> Result<Reached<T>, ErrorData> {
    let stage = match &brought.state {
        Some(state) => Some(seal.open(&brought.purpose, state)?),
        None => None,
    };
    let mut answers = Answers {
        given: brought.answers.unwrap_or_default(),
        stage,
    };
    for _ in 0..ROUNDS {
        let ask = match run(&answers)? {
            Outcome::Done(done) => return Ok(Reached::Done(done)),
            Outcome::Ask(ask) => ask,
        };
        check_declared(cx, &ask)?;
        if is_modern(cx) {
            let state = match &ask.stage {
                Some(stage) => Some(seal.close(&brought.purpose, stage)?),
                None => None,
            };
            let result = InputRequiredResult::new(Some(ask.questions), state);
            return Ok(Reached::InputRequired(result));
        }
        let mut given = InputResponses::new();
        for (key, question) in ask.questions {
            given.insert(key, put(cx, question).await?);
        }
        answers = Answers {
            given,
            stage: ask.stage,
        };
    }
    Err(ErrorData::internal_error("asked too often", None))
}

/// Puts one question to a client of the legacy era.
async fn put(cx: &RequestContext<RoleServer>, question: InputRequest) -> Result<Value, ErrorData> {
    match question {
        InputRequest::Elicitation(asked) => {
            let answer = cx.peer.create_elicitation(asked.params).await;
            to_value(answer)
        }
        InputRequest::CreateMessage(asked) => to_value(cx.peer.create_message(asked.params).await),
        InputRequest::ListRoots(_) => to_value(cx.peer.list_roots().await),
        _ => Err(broken("a question of a new kind")),
    }
}

fn to_value(answer: Result<impl serde::Serialize, rmcp::ServiceError>) -> Result<Value, ErrorData> {
    serde_json::to_value(answer.map_err(broken)?).map_err(broken)
}

/// A client is asked only what it has declared (-32021 in the modern era).
fn check_declared(cx: &RequestContext<RoleServer>, ask: &Ask) -> Result<(), ErrorData> {
    let declared = cx.client_capabilities().unwrap_or_default();
    let mut missing = ClientCapabilities::default();
    for question in ask.questions.values() {
        match question {
            InputRequest::Elicitation(_) if declared.elicitation.is_none() => {
                missing.elicitation = Some(Default::default());
            }
            InputRequest::CreateMessage(_) if declared.sampling.is_none() => {
                missing.sampling = Some(Default::default());
            }
            InputRequest::ListRoots(_) if declared.roots.is_none() => {
                missing.roots = Some(Default::default());
            }
            _ => {}
        }
    }
    if missing == ClientCapabilities::default() {
        return Ok(());
    }
    if is_modern(cx) {
        return Err(ErrorData::missing_required_client_capability(missing));
    }
    Err(ErrorData::invalid_request(
        "the client has not declared what this needs",
        Some(json!({ "requiredCapabilities": missing })),
    ))
}

/// The fixture itself is at fault, or the connection.
pub(crate) fn broken(why: impl Display) -> ErrorData {
    ErrorData::internal_error(why.to_string(), None)
}
