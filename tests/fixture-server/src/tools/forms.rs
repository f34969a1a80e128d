//! Tools that ask once: the user by a form, or the client's model. In both eras.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::{Act, Asked, Entry, done, nothing};
use crate::ask::{Answers, Ask, Outcome, field, form, model};

/// What the answer is kept under.
const ANSWER: &str = "answer";

pub(super) const TOOLS: &[Entry] = &[
    Entry {
        name: "test_sampling",
        description: "Asks the client's model",
        schema: || {
            json!({
                "type": "object",
                "properties": { "prompt": { "type": "string", "description": "What to ask" } },
                "required": ["prompt"]
            })
        },
        act: Act::Ask(sampling),
    },
    Entry {
        name: "test_elicitation",
        description: "Asks the user for a name and an address",
        schema: || {
            json!({
                "type": "object",
                "properties": { "message": { "type": "string", "description": "What to say" } },
                "required": ["message"]
            })
        },
        act: Act::Ask(elicitation),
    },
    Entry {
        name: "test_elicitation_sep1034_defaults",
        description: "Asks the user with a default for each kind of value",
        schema: nothing,
        act: Act::Ask(defaults),
    },
    Entry {
        name: "test_elicitation_sep1330_enums",
        description: "Asks the user with choices of each kind",
        schema: nothing,
        act: Act::Ask(enums),
    },
    Entry {
        name: "test_missing_capability",
        description: "Needs a client that has a model",
        schema: nothing,
        act: Act::Ask(|_, answers| match answers.get(ANSWER) {
            Some(_) => done("The client has a model."),
            None => ask(model("Are you there?")),
        }),
    },
    Entry {
        name: "test_streaming_elicitation",
        description: "Asks the user for a value",
        schema: nothing,
        act: Act::Ask(|_, answers| match answers.get(ANSWER) {
            Some(answer) => done(outcome("Elicitation completed", answer)),
            None => ask(field("Which value?", "value", "string")?),
        }),
    },
];

fn ask(question: rmcp::model::InputRequest) -> Asked {
    Ok(Outcome::Ask(Ask::one(ANSWER, question)))
}

fn sampling(arguments: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get(ANSWER) else {
        return ask(model(word(arguments, "prompt")));
    };
    let said = answer
        .get("content")
        .and_then(|content| content.get("text"))
        .and_then(Value::as_str)
        .unwrap_or("(not a text)");
    done(format!("LLM response: {said}"))
}

fn elicitation(arguments: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get(ANSWER) else {
        let schema = json!({
            "type": "object",
            "properties": {
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" }
            },
            "required": ["username", "email"]
        });
        return ask(form(word(arguments, "message"), schema)?);
    };
    done(outcome("User response", answer))
}

/// Default values (SEP-1034).
fn defaults(_: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get(ANSWER) else {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "default": "John Doe" },
                "age": { "type": "integer", "default": 30 },
                "score": { "type": "number", "default": 95.5 },
                "status": {
                    "type": "string",
                    "enum": ["active", "inactive", "pending"],
                    "default": "active"
                },
                "verified": { "type": "boolean", "default": true }
            }
        });
        return ask(form("Everything here has a default", schema)?);
    };
    done(outcome("Elicitation completed", answer))
}

/// The five ways of offering a choice (SEP-1330).
fn enums(_: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get(ANSWER) else {
        let schema = json!({
            "type": "object",
            "properties": {
                "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
                "titledSingle": {
                    "type": "string",
                    "oneOf": titled("Option")
                },
                "legacyEnum": {
                    "type": "string",
                    "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"]
                },
                "untitledMulti": {
                    "type": "array",
                    "items": { "type": "string", "enum": ["option1", "option2", "option3"] }
                },
                "titledMulti": {
                    "type": "array",
                    "items": { "anyOf": titled("Choice") }
                }
            }
        });
        return ask(form("Take your choice", schema)?);
    };
    done(outcome("Elicitation completed", answer))
}

fn titled(what: &str) -> Value {
    json!([
        { "const": "value1", "title": format!("First {what}") },
        { "const": "value2", "title": format!("Second {what}") },
        { "const": "value3", "title": format!("Third {what}") }
    ])
}

fn outcome(what: &str, answer: &JsonObject) -> String {
    let action = word(answer, "action");
    let content = answer.get("content").unwrap_or(&Value::Null);
    format!("{what}: action={action}, content={content}")
}

fn word<'a>(object: &'a JsonObject, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}
