//! Tools that send notifications: progress, log messages, and word of changes.

use std::time::Duration;

use rmcp::model::{
    CallToolResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::json;

use super::{Act, Entry, nothing, text};
use crate::ask::broken;
use crate::fixture::Fixture;
use crate::watchers::Change;

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Notice {
    /// Three steps of progress, if the client asked for them.
    Progress,
    /// Three log messages of level `info`, if the client wants these.
    Log,
    /// One log message of level `info`, if the client wants these.
    LogOnce,
    /// Word of a change, to everybody who listens.
    Changed(Change),
}

/// Between two messages, so that they travel one by one.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) const TOOLS: &[Entry] = &[
    Entry {
        name: "test_tool_with_progress",
        description: "Reports progress",
        schema: nothing,
        act: Act::Notify(Notice::Progress),
    },
    Entry {
        name: "test_tool_with_logging",
        description: "Sends three log messages",
        schema: nothing,
        act: Act::Notify(Notice::Log),
    },
    Entry {
        name: "test_logging_tool",
        description: "Sends one log message",
        schema: nothing,
        act: Act::Notify(Notice::LogOnce),
    },
    Entry {
        name: "test_trigger_tool_change",
        description: "Makes a tool come or go",
        schema: nothing,
        act: Act::Notify(Notice::Changed(Change::Tools)),
    },
    Entry {
        name: "test_trigger_prompt_change",
        description: "Makes a prompt come or go",
        schema: nothing,
        act: Act::Notify(Notice::Changed(Change::Prompts)),
    },
    Entry {
        name: "test_trigger_resource_change",
        description: "Changes the resource test://watched-resource",
        schema: nothing,
        act: Act::Notify(Notice::Changed(Change::Resource)),
    },
];

/// Sends, and answers.
pub(super) async fn run(
    notice: Notice,
    fixture: &Fixture,
    cx: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    match notice {
        Notice::Progress => progress(cx).await?,
        Notice::Log => {
            for message in [
                "Tool execution started",
                "Tool processing data",
                "Tool execution completed",
            ] {
                log(fixture, cx, message).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
        Notice::LogOnce => log(fixture, cx, "Somebody asked for this message").await?,
        Notice::Changed(change) => fixture.shared.watchers.change(change).await,
    }
    Ok(text("Done."))
}

async fn progress(cx: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let Some(token) = cx.meta.get_progress_token() else {
        return Ok(());
    };
    for step in [0.0, 50.0, 100.0] {
        let notice = ProgressNotificationParam::new(token.clone(), step)
            .with_total(100.0)
            .with_message(format!("{step} of 100"));
        cx.peer.notify_progress(notice).await.map_err(broken)?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn log(
    fixture: &Fixture,
    cx: &RequestContext<RoleServer>,
    message: &str,
) -> Result<(), ErrorData> {
    let wanted = matches!(
        fixture.log_level(cx),
        Some(LoggingLevel::Debug | LoggingLevel::Info)
    );
    if !wanted {
        return Ok(());
    }
    let notice = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message))
        .with_logger("fixture");
    cx.peer.notify_logging_message(notice).await.map_err(broken)
}
