//! `cortex-gateway check` and `doctor`: their arguments, and their answers in words.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::terminal::{plain, plain_json};
use crate::doctor::{self, Report, State};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write the answer as JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Options {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.show(&runtime()?.block_on(doctor::check()))
    }

    pub(super) fn examine(&self) -> anyhow::Result<()> {
        let runtime = runtime()?;
        let report = runtime.block_on(doctor::examine());
        // A name that is still being looked up is nobody's business any more.
        runtime.shutdown_background();
        self.show(&report)
    }

    fn show(&self, report: &Report) -> anyhow::Result<()> {
        let broken = report.count(State::Broken);
        if self.json {
            let answer = json!({
                "broken": broken,
                "warnings": report.count(State::Warning),
                "sections": report.sections,
            });
            println!("{}", plain_json(&format!("{answer:#}")));
        } else {
            print!("{}", in_words(report));
        }
        match broken {
            0 => Ok(()),
            1 => Err(anyhow::anyhow!("something is broken")),
            n => Err(anyhow::anyhow!("{n} things are broken")),
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// One line for each finding, below the name of its section. What came from others is escaped.
fn in_words(report: &Report) -> String {
    let mut text = String::new();
    for section in &report.sections {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", section.name);
        for finding in &section.findings {
            let state = match finding.state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Broken => "broken",
            };
            let _ = writeln!(text, "  {state:<8} {}", plain(&finding.what));
            if let Some(hint) = &finding.hint {
                let _ = writeln!(text, "           hint: {}", plain(hint));
            }
        }
    }
    let [broken, warnings] = [State::Broken, State::Warning].map(|state| report.count(state));
    let _ = writeln!(text, "{broken} broken, {warnings} warnings");
    text
}
