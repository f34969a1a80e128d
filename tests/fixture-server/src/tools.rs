//! The tools: what they are called, what they take, and what they do.

mod content;
mod forms;
mod jobs;
mod notices;
mod rounds;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::ask::{Answers, Brought, Outcome, Reached, converse};
use crate::fixture::Fixture;

/// One tool.
pub(crate) struct Entry {
    name: &'static str,
    description: &'static str,
    schema: fn() -> Value,
    act: Act,
}

/// What a tool comes to: its result, or questions to the client.
type Asked = Result<Outcome<CallToolResult>, ErrorData>;

/// What a tool does when it is called.
#[derive(Clone, Copy)]
enum Act {
    /// Answers.
    Say(fn(&JsonObject) -> Result<CallToolResult, ErrorData>),
    /// Asks the client before it answers.
    Ask(fn(&JsonObject, &Answers) -> Asked),
    /// Sends notifications before it answers.
    Notify(notices::Notice),
    /// Works in the background where the client knows tasks.
    Work(jobs::Job),
}

impl Entry {
    /// The tool as clients see it.
    pub(crate) fn definition(&self) -> Tool {
        let schema = match (self.schema)() {
            Value::Object(schema) => schema,
            _ => JsonObject::new(),
        };
        Tool::new(self.name, self.description, schema)
    }
}

fn tables() -> impl Iterator<Item = &'static Entry> {
    let tables = [
        content::TOOLS,
        notices::TOOLS,
        forms::TOOLS,
        rounds::TOOLS,
        jobs::TOOLS,
    ];
    tables.into_iter().flatten()
}

/// `tools/list`.
pub(crate) fn list(with_extra: bool) -> Vec<Tool> {
    tables()
        .filter(|entry| with_extra || entry.name != content::EXTRA)
        .map(Entry::definition)
        .collect()
}

/// A tool by its name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    tables().find(|entry| entry.name == name)
}

/// `tools/call`.
pub(crate) async fn call(
    fixture: &Fixture,
    request: CallToolRequestParams,
    cx: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let entry =
        find(&request.name).ok_or_else(|| ErrorData::invalid_params("no such tool", None))?;
    let arguments = request.arguments.unwrap_or_default();
    let brought = Brought {
        purpose: format!("tools/call {}", entry.name),
        answers: request.input_responses,
        state: request.request_state,
    };
    match entry.act {
        Act::Say(say) => say(&arguments).map(Into::into),
        Act::Ask(ask) => {
            let run = |answers: &_| ask(&arguments, answers);
            into_response(converse(cx, &fixture.shared.seal, brought, run).await?)
        }
        Act::Notify(notice) => notices::run(notice, fixture, cx).await.map(Into::into),
        Act::Work(job) => jobs::run(job, fixture, cx, arguments, brought).await,
    }
}

fn into_response(reached: Reached<CallToolResult>) -> Result<CallToolResponse, ErrorData> {
    Ok(match reached {
        Reached::Done(result) => result.into(),
        Reached::InputRequired(result) => result.into(),
    })
}

/// A result of one text.
fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// The end of a tool, with one text.
fn done(said: impl Into<String>) -> Asked {
    Ok(Outcome::Done(text(said)))
}

/// The schema of tools without arguments.
fn nothing() -> Value {
    json!({ "type": "object", "properties": {} })
}
