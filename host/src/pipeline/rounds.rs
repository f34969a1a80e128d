//! Asks a client what an owner needs to know before a request can go on.
//!
//! Modern clients get it as the result and repeat their request (MCP 2026-07-28, Multi Round-Trip
//! Requests). Legacy clients are asked while their request waits: by requests on its stream, which
//! they answer with further POSTs (MCP 2025-11-25, Streamable HTTP, "Sending Messages").

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::intent::Context;
use super::notices::Reporter;
use super::{Gateway, elsewhere};
use crate::mcp::capabilities::Needed;
use crate::mcp::jsonrpc::{Id, Response};
use crate::mcp::version::ProtocolVersion;
use crate::types::SessionId;

/// Longest wait for a person at the client.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Questions of one round.
const MAX_QUESTIONS: usize = 16;

/// What an owner asks of a client: requests by key, checked.
pub(super) struct Questions(Vec<(String, String, Value)>);

/// Why a client is not asked.
#[derive(Debug)]
pub(super) enum NotAsked {
    /// It has not declared that it can be; carries all that is needed.
    Undeclared(Vec<Needed>),
    /// The owner asks for what nobody may ask; carries what.
    Wrong(String),
}

/// Why a client has not answered.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// It has no session, takes no stream, or is gone.
    Unreachable,
    /// It took too long.
    Late,
    /// It refused; carries its JSON-RPC error.
    Refused(Box<RawValue>),
}

impl Questions {
    /// Reads and checks `inputRequests`.
    pub(super) fn read(requests: &str, context: &Context) -> Result<Self, NotAsked> {
        let wrong = |what: String| NotAsked::Wrong(format!("input requests: {what}"));
        let requests: Map<String, Value> =
            serde_json::from_str(requests).map_err(|e| wrong(e.to_string()))?;
        if requests.len() > MAX_QUESTIONS {
            return Err(wrong(format!("more than {MAX_QUESTIONS}")));
        }
        let (mut questions, mut needed) = (Vec::new(), Vec::new());
        for (key, request) in requests {
            let method = request["method"].as_str().unwrap_or_default().to_owned();
            let params = request.get("params").cloned().unwrap_or_else(|| json!({}));
            match context.capabilities.lacking(&method, &params) {
                Ok(None) => questions.push((key, method, params)),
                Ok(Some(lacking)) => needed.push(lacking),
                Err(method) => return Err(wrong(format!("`{method}` is none"))),
            }
        }
        if needed.is_empty() {
            Ok(Self(questions))
        } else {
            Err(NotAsked::Undeclared(needed))
        }
    }

    /// A single one, checked.
    pub(super) fn one(
        key: &str,
        method: &str,
        params: &str,
        context: &Context,
    ) -> Result<Self, NotAsked> {
        let mut params: Value = serde_json::from_str(params).unwrap_or_default();
        // Progress of the question is between the owner and the gateway.
        if let Some(params) = params.as_object_mut() {
            params.remove("_meta");
        }
        let requests = json!({ key: { "method": method, "params": params } });
        Self::read(&requests.to_string(), context)
    }

    /// As a modern client gets them, if there are any.
    pub(super) fn to_json(&self) -> Option<Value> {
        let each = self.0.iter();
        let all: Map<String, Value> = each
            .map(|(key, method, params)| {
                let mut request = json!({ "method": method });
                if params.as_object().is_some_and(|params| !params.is_empty()) {
                    request["params"] = params.clone();
                }
                (key.clone(), request)
            })
            .collect();
        (!all.is_empty()).then(|| all.into())
    }
}

/// Requests to legacy clients that wait for their answers.
#[derive(Default)]
pub struct Waiting(Mutex<HashMap<(SessionId, String), oneshot::Sender<Reply>>>);

type Reply = Result<Box<RawValue>, Box<RawValue>>;

/// One request that waits. Dropped, it waits no longer.
struct Question<'a> {
    waiting: &'a Waiting,
    key: (SessionId, String),
    reply: oneshot::Receiver<Reply>,
}

impl Waiting {
    /// Hands an answer to the request that waits for it. One that comes too late, or twice, or
    /// from another session finds nobody here: it is given back.
    pub(super) fn answered(&self, session: SessionId, response: Response) -> Option<Response> {
        let Response { id, outcome } = response;
        let Id::Text(id) = id else { return None };
        let key = (session, id);
        match self.lock().remove(&key) {
            Some(asker) => {
                // Who asked may have gone.
                drop(asker.send(outcome));
                None
            }
            None => Some(Response {
                id: Id::Text(key.1),
                outcome,
            }),
        }
    }

    /// Whether a question of this id waits here for its answer.
    pub(super) fn waits(&self, session: SessionId, id: &str) -> bool {
        self.lock().contains_key(&(session, id.to_owned()))
    }

    /// All that wait.
    pub(super) fn all(&self) -> Vec<(SessionId, String)> {
        self.lock().keys().cloned().collect()
    }

    fn open(&self, session: SessionId, id: String) -> Question<'_> {
        let (sender, reply) = oneshot::channel();
        let key = (session, id);
        let mut waiting = self.lock();
        waiting.insert(key.clone(), sender);
        Question {
            waiting: self,
            key,
            reply,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SessionId, String), oneshot::Sender<Reply>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.key);
    }
}

/// Asks a legacy client and waits. Returns its `inputResponses`, a JSON object. The answer may come to
/// another gateway, which finds this one by the id.
pub(super) async fn ask(
    gw: &Gateway,
    reporter: &Reporter,
    session: Option<SessionId>,
    version: ProtocolVersion,
    questions: Questions,
) -> Result<String, NoAnswer> {
    let session = session.ok_or(NoAnswer::Unreachable)?;
    let mut open = Vec::new();
    for (key, method, mut params) in questions.0 {
        if version < ProtocolVersion::V2025_11_25
            && let Some(params) = params.as_object_mut()
        {
            // Forms were the only kind.
            params.remove("mode");
        }
        let question = gw.waiting.open(session, question_id(gw, session));
        let request =
            json!({ "jsonrpc": "2.0", "id": question.key.1, "method": method, "params": params });
        if !reporter.ask(request.to_string()) {
            return Err(NoAnswer::Unreachable);
        }
        open.push((key, question));
    }
    let mut responses: HashMap<String, Box<RawValue>> = HashMap::new();
    let all = async {
        for (key, question) in &mut open {
            match (&mut question.reply).await {
                Ok(Ok(result)) => {
                    responses.insert(std::mem::take(key), result);
                }
                Ok(Err(error)) => return Err(NoAnswer::Refused(error)),
                Err(_) => return Err(NoAnswer::Unreachable),
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .map_err(|_| NoAnswer::Late)??;
    Ok(serde_json::to_string(&responses).unwrap_or_else(|_| "{}".to_owned()))
}

fn question_id(gw: &Gateway, session: SessionId) -> String {
    let known = match gw.fleet.is_alone() {
        true => None,
        false => elsewhere::question_id(&gw.fleet, &gw.sealer, session),
    };
    known.unwrap_or_else(|| format!("gateway-{}", uuid::Uuid::now_v7()))
}

/// The message of a JSON-RPC error, bounded.
pub(super) fn words(error: &RawValue) -> String {
    let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
    let message = error["message"].as_str().unwrap_or("without a reason");
    message
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}
