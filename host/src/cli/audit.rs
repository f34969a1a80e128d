//! `cortex-gateway audit`: its arguments.

mod words;

use std::io::{BufReader, ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Asking;
use super::terminal::plain_json;
use crate::audit::{Filter, Page, Progress, Wanted, verify_exported};
use crate::operator::{self, Audit};

/// How often is looked for new records.
const FOLLOW: Duration = Duration::from_millis(500);
/// Records that are asked for in one go.
const PAGE: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the newest records, and with -f those that come.
    Tail(Tail),
    /// Look for records, newest first.
    Query(Query),
    /// Tell how far the trail goes, and how far each exporter has come.
    Status(Asking),
    /// Check that no record was changed, removed or put elsewhere. Exit status 1 when one was.
    Verify(Verify),
    /// Forget who a subject is, in all its records: they stay, without what is personal in them. It
    /// cannot be undone.
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Go on with the records that come.
    #[arg(short, long)]
    follow: bool,
    /// How many to begin with.
    #[arg(short = 'n', long, default_value_t = 20)]
    lines: usize,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Query {
    /// The `sub` of the caller's access tokens.
    #[arg(long)]
    subject: Option<String>,
    /// The tool that was called, such as docs_search.
    #[arg(long)]
    tool: Option<String>,
    /// The backend it went to.
    #[arg(long)]
    backend: Option<String>,
    /// The method, such as tools/call.
    #[arg(long)]
    method: Option<String>,
    /// Not before: `2026-11-26`, `2026-11-26T14:00:00Z`, or so long ago: `90m`, `12h`, `7d`.
    #[arg(long, value_parser = words::time)]
    since: Option<OffsetDateTime>,
    /// Not after.
    #[arg(long, value_parser = words::time)]
    until: Option<OffsetDateTime>,
    /// Only what did not succeed.
    #[arg(long)]
    failed: bool,
    /// Only with this `error_code`.
    #[arg(long)]
    error_code: Option<String>,
    /// The request with this id.
    #[arg(long)]
    request_id: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Check what an exporter wrote, one record a line, instead of the gateway's own trail.
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The `sub` of its access tokens.
    #[arg(long)]
    subject: String,
    /// Only the subject of this issuer.
    #[arg(long)]
    issuer: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Tail(tail) => follow(&tail),
        Command::Query(query) => search(query),
        Command::Status(asking) => {
            asking.ask(operator::Command::Audit(Audit::Status), words::status)
        }
        Command::Verify(verify) => check(&verify),
        Command::Erase(erase) => forget(erase),
    }
}

fn ask<T: serde::de::DeserializeOwned>(asking: &Asking, asked: Audit) -> anyhow::Result<T> {
    let answer = asking.answer(operator::Command::Audit(asked))?;
    serde_json::from_value(answer).context("the gateway answered something unexpected")
}

/// Writes records; whether somebody still reads them.
fn show(asking: &Asking, page: &Page) -> std::io::Result<bool> {
    let mut text = String::new();
    for record in &page.records {
        if asking.json {
            text.push_str(&plain_json(&Value::from(record.clone()).to_string()));
            text.push('\n');
        } else {
            text.push_str(&words::line(record));
        }
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Collects records backwards, page by page, and hands on each page.
fn backwards(
    asking: &Asking,
    filter: &Filter,
    limit: usize,
    mut each: impl FnMut(Page) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let (mut before, mut left) = (None, limit);
    while left > 0 {
        let asked = Audit::Query {
            filter: Box::new(filter.clone()),
            wanted: Wanted::Before(before),
            limit: left.min(PAGE),
        };
        let page: Page = ask(asking, asked)?;
        left = left.saturating_sub(page.records.len());
        before = page.next;
        if !each(page)? || before.is_none() {
            break;
        }
    }
    Ok(())
}

fn search(query: Query) -> anyhow::Result<()> {
    let filter = Filter {
        subject: query.subject,
        tool: query.tool,
        backend: query.backend,
        method: query.method,
        since: query.since,
        until: query.until,
        failed: query.failed,
        error_code: query.error_code,
        request_id: query.request_id,
    };
    let asking = &query.asking;
    if !asking.json {
        print!("{}", words::HEADING);
    }
    backwards(asking, &filter, query.limit, |page| {
        Ok(show(asking, &page)?)
    })
}

fn follow(tail: &Tail) -> anyhow::Result<()> {
    let asking = &tail.asking;
    let mut newest = Page {
        records: Vec::new(),
        next: None,
    };
    backwards(asking, &Filter::default(), tail.lines, |page| {
        newest.records.extend(page.records);
        Ok(true)
    })?;
    newest.records.reverse();
    if !asking.json {
        print!("{}", words::HEADING);
    }
    let number = |page: &Page| {
        page.records
            .last()
            .and_then(|last| last["sequence"].as_u64())
    };
    let mut after = match number(&newest) {
        Some(number) => number,
        None => ask::<Value>(asking, Audit::Status)?["newest"]
            .as_u64()
            .unwrap_or_default(),
    };
    let mut reads = show(asking, &newest)?;
    while tail.follow && reads {
        let asked = Audit::Query {
            filter: Box::default(),
            wanted: Wanted::After(after),
            limit: PAGE,
        };
        let page: Page = ask(asking, asked)?;
        reads = show(asking, &page)?;
        let more = number(&page).or(page.next).unwrap_or(after);
        if more == after {
            std::thread::sleep(FOLLOW);
        }
        after = more.max(after);
    }
    Ok(())
}

fn check(verify: &Verify) -> anyhow::Result<()> {
    let found = match &verify.file {
        Some(file) => {
            let opened = std::fs::File::open(file);
            let opened = opened.with_context(|| format!("cannot read `{}`", file.display()))?;
            verify_exported(BufReader::new(opened))?
        }
        None => {
            let mut progress = Progress::default();
            while !progress.done {
                progress = ask(&verify.asking, Audit::Verify(Box::new(progress)))?;
            }
            progress
        }
    };
    verify.asking.show(&json!(found), words::verified);
    if found.finding.is_some() {
        // What was asked was answered, and the answer is that it does not hold.
        std::io::stdout().flush()?;
        std::process::exit(1);
    }
    Ok(())
}

fn forget(erase: Erase) -> anyhow::Result<()> {
    if !erase.yes {
        if !std::io::stdin().is_terminal() {
            anyhow::bail!("nobody is there to be asked; hint: --yes erases without asking");
        }
        eprint!("{}", words::question(&erase.subject));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim() != "yes" {
            anyhow::bail!("nothing was erased");
        }
    }
    let asked = Audit::Erase {
        subject: erase.subject,
        issuer: erase.issuer,
    };
    erase
        .asking
        .ask(operator::Command::Audit(asked), words::erased)
}
