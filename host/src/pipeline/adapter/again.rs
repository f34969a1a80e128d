//! It is not known whether something was done: the gateway that was doing it has stopped. Nothing is done twice
//! without the caller's word, so the caller is asked for it.

use serde_json::{Value, json};

use super::outcome::failed;
use crate::pipeline::answer::{self, Answer};
use crate::pipeline::intent::Intent;
use crate::pipeline::rounds::Questions;
use crate::pipeline::state::{self, Remembered};
use crate::pipeline::{Gateway, Refusal};

/// The key of the only input request.
const KEY: &str = "again";

/// Asks whether to do it again; who cannot be asked is told how it stands.
pub(super) fn ask(gw: &Gateway, intent: &Intent) -> Result<Answer, Refusal> {
    let params = json!({
        "mode": "form",
        "message": format!(
            "`{}` was interrupted after your answer, and it may or may not have been done. Do it again from the beginning?",
            intent.entry.name
        ),
        "requestedSchema": { "type": "object", "properties": {} },
    });
    let question = Questions::one(
        KEY,
        "elicitation/create",
        &params.to_string(),
        &intent.context,
    );
    match question {
        Ok(question) => {
            let state = state::seal(gw, intent, &Remembered::Unknown)?;
            answer::input_required(gw, question.to_json(), Some(state))
        }
        Err(_) => interrupted(gw, intent),
    }
}

/// What came back with the repeated request. `None`: the caller wants it done again.
pub(super) fn answered(
    gw: &Gateway,
    intent: &Intent,
    responses: &str,
) -> Option<Result<Answer, Refusal>> {
    let responses: Value = serde_json::from_str(responses).unwrap_or_default();
    match responses[KEY]["action"].as_str() {
        Some("accept") => None,
        Some(_) => Some(interrupted(gw, intent)),
        // Missing answers are asked for again.
        None => Some(ask(gw, intent)),
    }
}

fn interrupted(gw: &Gateway, intent: &Intent) -> Result<Answer, Refusal> {
    let why = format!(
        "Backend {} was interrupted after the answer to its question, and it may or may not have done this: see what became of it before you ask for it again",
        intent.entry.backend
    );
    failed(gw, intent, "interrupted", why)
}
