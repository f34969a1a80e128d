//! `cortex-gateway tickets`: its arguments, and its answers in words.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Asking;
use super::terminal::{plain, plain_json};
use crate::operator::{self, Tickets};
use crate::ticket::{Filter, Severity, Standing, Status, TicketId};

/// Characters of a wish in a list.
const MAX_SHOWN: usize = 72;
/// The shape of exported lines.
const FORMAT: &str = "cortex.ticket";
/// Its version.
const VERSION: u32 = 1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List tickets, newest first.
    List(List),
    /// Show one ticket.
    Show(Show),
    /// Say that a ticket was read, is planned, will not be done, or is a duplicate.
    Triage(Triage),
    /// Say that a ticket is done.
    Resolve(Resolve),
    /// Write all tickets, oldest first, each as a line of JSON.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// open, triaged, planned, resolved, wont_fix or duplicate.
    #[arg(long)]
    status: Option<Status>,
    /// blocking, inconvenient or nice_to_have.
    #[arg(long)]
    severity: Option<Severity>,
    /// The backend that tickets name as theirs.
    #[arg(long)]
    app: Option<String>,
    /// The OAuth client through which they were reported.
    #[arg(long)]
    agent: Option<String>,
    /// The subject who reported them.
    #[arg(long)]
    subject: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The ticket's id.
    id: TicketId,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Triage {
    /// The ticket's id.
    id: TicketId,
    /// What was decided.
    #[arg(long, value_enum, default_value_t = Decision::Triaged)]
    status: Decision,
    /// It says the same as this ticket.
    #[arg(long, value_name = "ID", conflicts_with = "status")]
    duplicate_of: Option<TicketId>,
    /// What the agent that reported it is told. `wont-fix` needs it.
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Decision {
    /// Somebody has read it.
    Triaged,
    /// It will be done.
    Planned,
    /// It will not be done.
    #[value(alias = "wont_fix")]
    WontFix,
    /// Nothing, after all.
    Open,
}

#[derive(Debug, Args)]
pub(super) struct Resolve {
    /// The ticket's id.
    id: TicketId,
    /// What the agent that reported it is told.
    #[arg(long, value_name = "TEXT")]
    answer: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(list) => {
            let asked = Tickets::List {
                filter: Filter {
                    status: list.status,
                    severity: list.severity,
                    context_app: list.app,
                    agent: list.agent,
                    subject: list.subject,
                },
                limit: list.limit as usize,
            };
            tell(&list.asking, asked, listed)
        }
        Command::Show(show) => tell(&show.asking, Tickets::Show(show.id), whole),
        Command::Triage(triage) => {
            let standing = match (triage.duplicate_of, triage.status) {
                (Some(of), _) => Standing::Duplicate { of },
                (None, Decision::Triaged) => Standing::Triaged,
                (None, Decision::Planned) => Standing::Planned,
                (None, Decision::WontFix) => Standing::WontFix,
                (None, Decision::Open) => Standing::Open,
            };
            decide(&triage.asking, triage.id, standing, triage.answer)
        }
        Command::Resolve(resolve) => {
            let answer = Some(resolve.answer);
            decide(&resolve.asking, resolve.id, Standing::Resolved, answer)
        }
        Command::Export(export) => write_all(&export.asking),
    }
}

fn decide(
    asking: &Asking,
    id: TicketId,
    standing: Standing,
    answer: Option<String>,
) -> anyhow::Result<()> {
    let asked = Tickets::Decide {
        id,
        standing,
        answer,
    };
    tell(asking, asked, whole)
}

/// Has something done and writes the answer.
fn tell(asking: &Asking, asked: Tickets, in_words: fn(&Value) -> String) -> anyhow::Result<()> {
    let answer = ask(asking, asked)?;
    let text = if asking.json {
        plain_json(&format!("{answer:#}\n"))
    } else {
        in_words(&answer)
    };
    write(&text)?;
    Ok(())
}

fn ask(asking: &Asking, asked: Tickets) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = operator::Command::Tickets(asked);
    runtime.block_on(operator::ask(&asking.data_dir, asked))
}

/// Writes every ticket, some at a time: nobody holds all of them.
fn write_all(asking: &Asking) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = ask(asking, Tickets::After(after))?;
        let tickets = page["tickets"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(last) = tickets.last() else {
            return Ok(());
        };
        after = Some(serde_json::from_value(last["ticketId"].clone())?);
        let mut lines = String::new();
        for ticket in tickets {
            let line = json!({ "format": FORMAT, "version": VERSION, "ticket": ticket });
            lines.push_str(&plain_json(&line.to_string()));
            lines.push('\n');
        }
        if !write(&lines)? {
            return Ok(());
        }
    }
}

/// Writes to standard output; whether somebody still reads it.
fn write(text: &str) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// One line a ticket.
fn listed(answer: &Value) -> String {
    let tickets = answer["tickets"].as_array().map_or(&[][..], Vec::as_slice);
    if tickets.is_empty() {
        return "no tickets\n".to_owned();
    }
    let mut text = String::new();
    for ticket in tickets {
        let day: String = member(ticket, "createdAt").chars().take(16).collect();
        let wanted: String = member(ticket, "whatIWanted")
            .chars()
            .take(MAX_SHOWN)
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}  {day}  {:<12}  {:<9}  {:>3}x  {wanted}",
            member(ticket, "ticketId"),
            member(ticket, "severity"),
            member(ticket, "status"),
            member(ticket, "timesReported"),
        );
    }
    text
}

/// All of a ticket, one member a line.
fn whole(ticket: &Value) -> String {
    let mut text = String::new();
    for (label, name) in [
        ("ticket", "ticketId"),
        ("status", "status"),
        ("duplicate of", "duplicateOf"),
        ("answer", "answer"),
        ("severity", "severity"),
        ("wanted", "whatIWanted"),
        ("intent", "userIntent"),
        ("tool", "contextTool"),
        ("app", "contextApp"),
        ("shape", "suggestedShape"),
        ("agent", "agent"),
        ("subject", "subject"),
        ("issuer", "issuer"),
        ("created", "createdAt"),
        ("reported", "reportedAt"),
        ("updated", "updatedAt"),
        ("times", "timesReported"),
    ] {
        if !ticket[name].is_null() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:<13} {}", member(ticket, name));
        }
    }
    text
}

/// A member, fit for a terminal.
fn member(ticket: &Value, name: &str) -> String {
    match &ticket[name] {
        Value::String(text) => plain(text),
        Value::Null => String::new(),
        other => plain(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_cannot_write_on_the_terminal() {
        let ticket = json!({
            "ticketId": "0",
            "whatIWanted": "\u{1b}]0;owned\u{7}\nticket 1 resolved",
            "timesReported": 1,
        });
        let list = listed(&json!({ "tickets": [ticket] }));
        assert_eq!(list.lines().count(), 1, "{list}");
        for text in [list, whole(&ticket)] {
            assert!(
                !text.contains('\u{1b}') && !text.contains('\u{7}'),
                "{text}"
            );
            assert!(text.contains("\\u{1b}]0;owned"), "{text}");
        }
    }
}
