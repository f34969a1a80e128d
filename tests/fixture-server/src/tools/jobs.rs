//! Tools that work in the background where the client has declared the tasks extension
//! (`io.modelcontextprotocol/tasks`, SEP-2663), and at once where it has not.

use std::time::Duration;

use futures_util::future::try_join_all;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult,
    JsonObject,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskContext, TaskExit, TaskOptions};
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use super::{Act, Asked, Entry, done, into_response, nothing, text};
use crate::ask::{Answers, Ask, Brought, Outcome, Reached, broken, converse, field};
use crate::fixture::Fixture;

/// What is worked at.
#[derive(Clone, Copy)]
pub(super) enum Job {
    /// Takes the seconds of its argument.
    Sleep,
    /// Ends with an error of the tool. Cannot do without tasks.
    Fail,
    /// Ends with an error of the protocol.
    Break,
    /// Asks the client while it runs.
    Ask(fn(&JsonObject, &Answers) -> Asked),
    /// Asks the client first, and then works. Cannot do without tasks.
    AskFirst(fn(&JsonObject, &Answers) -> Asked),
}

/// Long enough to be seen working.
const A_WHILE: Duration = Duration::from_millis(500);

pub(super) const TOOLS: &[Entry] = &[
    Entry {
        name: "greet",
        description: "Greets, at once",
        schema: || {
            json!({
                "type": "object",
                "properties": { "name": { "type": "string" } },
                "required": ["name"]
            })
        },
        act: Act::Say(|arguments| {
            let name = arguments.get("name").and_then(Value::as_str);
            Ok(text(format!("Hello, {}!", name.unwrap_or("you"))))
        }),
    },
    Entry {
        name: "slow_compute",
        description: "Takes its time",
        schema: || {
            json!({
                "type": "object",
                "properties": { "seconds": { "type": "number", "minimum": 0, "maximum": 60 } }
            })
        },
        act: Act::Work(Job::Sleep),
    },
    Entry {
        name: "failing_job",
        description: "Fails, after a while, as tools fail",
        schema: nothing,
        act: Act::Work(Job::Fail),
    },
    Entry {
        name: "protocol_error_job",
        description: "Breaks, after a while",
        schema: nothing,
        act: Act::Work(Job::Break),
    },
    Entry {
        name: "confirm_delete",
        description: "Asks the user before it does something",
        schema: || json!({ "type": "object", "properties": { "filename": { "type": "string" } } }),
        act: Act::Work(Job::Ask(confirm)),
    },
    Entry {
        name: "multi_input",
        description: "Asks the user two things at once",
        schema: nothing,
        act: Act::Work(Job::Ask(two_values)),
    },
    Entry {
        name: "test_tool_with_task",
        description: "Asks the user for a name, and greets after a while",
        schema: nothing,
        act: Act::Work(Job::AskFirst(name)),
    },
];

/// Runs a job, in a task of its own if the client knows what that is.
pub(super) async fn run(
    job: Job,
    fixture: &Fixture,
    cx: &RequestContext<RoleServer>,
    arguments: JsonObject,
    brought: Brought,
) -> Result<CallToolResponse, ErrorData> {
    let knows_tasks = cx
        .client_capabilities()
        .is_some_and(|declared| declared.supports_tasks());
    if !knows_tasks {
        return match job {
            Job::Ask(ask) => {
                let run = |answers: &_| ask(&arguments, answers);
                into_response(converse(cx, &fixture.shared.seal, brought, run).await?)
            }
            Job::Fail | Job::AskFirst(_) => Err(ErrorData::missing_required_client_capability(
                ClientCapabilities::builder().enable_tasks().build(),
            )),
            Job::Sleep | Job::Break => {
                tokio::time::sleep(duration(job, &arguments)).await;
                end(job).map(Into::into)
            }
        };
    }
    let said = match job {
        Job::AskFirst(ask) => {
            let run = |answers: &_| ask(&arguments, answers);
            match converse(cx, &fixture.shared.seal, brought, run).await? {
                Reached::Done(said) => Some(said),
                Reached::InputRequired(result) => return Ok(result.into()),
            }
        }
        _ => None,
    };
    let task = fixture.shared.tasks.spawn(TaskOptions::new(), |task| {
        Box::pin(work(job, arguments, said, task))
    });
    Ok(CreateTaskResult::new(task).into())
}

/// The part that is done in the background.
async fn work(
    job: Job,
    arguments: JsonObject,
    said: Option<CallToolResult>,
    task: TaskContext,
) -> Result<CallToolResult, TaskExit> {
    if let Job::Ask(ask) = job {
        let Outcome::Ask(asked) = ask(&arguments, &Answers::default())? else {
            return Err(broken("asks nothing").into());
        };
        let questions = asked.into_questions();
        let answered = questions.into_iter().map(|(key, question)| async {
            let answer = task.request_input(key.clone(), question).await?;
            Ok::<_, TaskExit>((key, answer))
        });
        let answers = Answers {
            given: try_join_all(answered).await?.into_iter().collect(),
            stage: None,
        };
        return match ask(&arguments, &answers)? {
            Outcome::Done(result) => Ok(result),
            Outcome::Ask(_) => Err(ErrorData::invalid_params("not an answer", None).into()),
        };
    }
    tokio::select! {
        () = task.cancelled() => return Err(TaskExit::Cancelled),
        () = tokio::time::sleep(duration(job, &arguments)) => {}
    }
    match said {
        Some(said) => Ok(said),
        None => Ok(end(job)?),
    }
}

fn duration(job: Job, arguments: &JsonObject) -> Duration {
    let asked = match job {
        Job::Sleep => arguments.get("seconds").and_then(Value::as_f64),
        _ => None,
    };
    asked.map_or(A_WHILE, |seconds| {
        Duration::from_secs_f64(seconds.clamp(0.0, 60.0))
    })
}

fn end(job: Job) -> Result<CallToolResult, ErrorData> {
    match job {
        Job::Fail => Ok(CallToolResult::error(vec![ContentBlock::text(
            "This job intentionally fails",
        )])),
        Job::Break => Err(ErrorData::internal_error(
            "this job intentionally breaks",
            None,
        )),
        _ => Ok(text("Computed.")),
    }
}

fn confirm(arguments: &JsonObject, answers: &Answers) -> Asked {
    let file = arguments.get("filename").and_then(Value::as_str);
    let file = file.unwrap_or("nothing");
    match answers.get("confirm") {
        Some(_) => {
            let yes = answers.field("confirm", "confirm") == Some(&json!(true));
            done(if yes {
                format!("Deleted {file}.")
            } else {
                format!("Kept {file}.")
            })
        }
        None => {
            let question = field(&format!("Delete {file}?"), "confirm", "boolean")?;
            Ok(Outcome::Ask(Ask::one("confirm", question)))
        }
    }
}

fn two_values(_: &JsonObject, answers: &Answers) -> Asked {
    if answers.get("first").is_some() && answers.get("second").is_some() {
        return done("Both answered.");
    }
    let ask = Ask::one("first", field("The first value?", "value", "string")?)
        .and("second", field("The second value?", "value", "string")?);
    Ok(Outcome::Ask(ask))
}

fn name(_: &JsonObject, answers: &Answers) -> Asked {
    match answers.field("user_name", "name").and_then(Value::as_str) {
        Some(name) => done(format!("Hello, {name}!")),
        None => {
            let question = field("What is your name?", "name", "string")?;
            Ok(Outcome::Ask(Ask::one("user_name", question)))
        }
    }
}
