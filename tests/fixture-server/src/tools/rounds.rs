//! Tools for the conversations of 2026-07-28: several questions, several rounds, and state that
//! the client keeps.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::{Act, Asked, Entry, done, nothing};
use crate::ask::{Answers, Ask, Outcome, field, model, roots};

pub(super) const TOOLS: &[Entry] = &[
    Entry {
        name: "test_input_required_result_elicitation",
        description: "Asks the user for a name",
        schema: nothing,
        act: Act::Ask(name),
    },
    Entry {
        name: "test_input_required_result_sampling",
        description: "Asks the client's model for a capital",
        schema: nothing,
        act: Act::Ask(capital),
    },
    Entry {
        name: "test_input_required_result_list_roots",
        description: "Asks the client for its roots",
        schema: nothing,
        act: Act::Ask(folders),
    },
    Entry {
        name: "test_input_required_result_request_state",
        description: "Asks for a confirmation and remembers something meanwhile",
        schema: nothing,
        act: Act::Ask(confirmation),
    },
    Entry {
        name: "test_input_required_result_tampered_state",
        description: "Remembers something that a client might like to change",
        schema: nothing,
        act: Act::Ask(confirmation),
    },
    Entry {
        name: "test_input_required_result_multiple_inputs",
        description: "Asks the user, the model and the client at once",
        schema: nothing,
        act: Act::Ask(three_at_once),
    },
    Entry {
        name: "test_input_required_result_multi_round",
        description: "Asks twice, the second time because of the first",
        schema: nothing,
        act: Act::Ask(two_rounds),
    },
    Entry {
        name: "test_input_required_result_capabilities",
        description: "Asks the model if the client has one",
        schema: nothing,
        act: Act::Ask(greeting),
    },
];

fn name(_: &JsonObject, answers: &Answers) -> Asked {
    match answers.field("user_name", "name").and_then(Value::as_str) {
        Some(name) => done(format!("Hello, {name}!")),
        None => {
            let question = field("What is your name?", "name", "string")?;
            Ok(Outcome::Ask(Ask::one("user_name", question)))
        }
    }
}

fn capital(_: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get("capital_question") else {
        let question = model("What is the capital of France?");
        return Ok(Outcome::Ask(Ask::one("capital_question", question)));
    };
    done(format!("The model says: {}", text_of(answer)))
}

fn folders(_: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get("client_roots") else {
        return Ok(Outcome::Ask(Ask::one("client_roots", roots())));
    };
    let roots = answer.get("roots").unwrap_or(&Value::Null);
    done(format!("Roots: {roots}"))
}

fn confirmation(_: &JsonObject, answers: &Answers) -> Asked {
    let asked = answers.stage == Some(json!("asked"));
    if asked && answers.get("confirm").is_some() {
        return done("state-ok");
    }
    let question = field("Please confirm", "ok", "boolean")?;
    let ask = Ask::one("confirm", question).remembering(json!("asked"));
    Ok(Outcome::Ask(ask))
}

fn three_at_once(_: &JsonObject, answers: &Answers) -> Asked {
    if let (Some(_), Some(greeting), Some(_)) = (
        answers.get("user_name"),
        answers.get("greeting"),
        answers.get("client_roots"),
    ) {
        return done(format!("All answered; {}", text_of(greeting)));
    }
    let ask = Ask::one("user_name", field("What is your name?", "name", "string")?)
        .and("greeting", model("Generate a greeting"))
        .and("client_roots", roots())
        .remembering(json!("asked"));
    Ok(Outcome::Ask(ask))
}

fn two_rounds(_: &JsonObject, answers: &Answers) -> Asked {
    let name = answers.field("step1", "name").and_then(Value::as_str);
    let color = answers.field("step2", "color").and_then(Value::as_str);
    match (&answers.stage, name, color) {
        (Some(Value::Object(known)), _, Some(color)) => {
            let name = known.get("name").and_then(Value::as_str);
            done(format!("{} likes {color}", name.unwrap_or("Somebody")))
        }
        (Some(_), Some(name), None) => {
            let question = field("What is your favorite color?", "color", "string")?;
            let ask = Ask::one("step2", question).remembering(json!({ "name": name }));
            Ok(Outcome::Ask(ask))
        }
        _ => {
            let question = field("What is your name?", "name", "string")?;
            let ask = Ask::one("step1", question).remembering(json!("asked"));
            Ok(Outcome::Ask(ask))
        }
    }
}

/// Which questions a client is asked must follow from what it has declared.
fn greeting(_: &JsonObject, answers: &Answers) -> Asked {
    let Some(answer) = answers.get("greeting") else {
        let question = model("Generate a greeting");
        return Ok(Outcome::Ask(Ask::one("greeting", question)));
    };
    done(text_of(answer))
}

fn text_of(answer: &JsonObject) -> &str {
    answer
        .get("content")
        .and_then(|content| content.get("text"))
        .and_then(Value::as_str)
        .unwrap_or("(not a text)")
}
