//! `cortex-gateway lock`, `diff` and `approve`, and their answers in words.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use serde_json::Value;

use super::Asking;
use super::terminal::shown;
use crate::operator::{Command, Locking};

#[derive(Debug, Args)]
pub(super) struct Approve {
    /// Files of the plugin directory, such as `x.wasm`, and tools, such as `docs/search`.
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Everything that differs.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn lock(asking: &Asking) -> anyhow::Result<()> {
    asking.ask(Command::Lock(Locking::Lock), |answer| {
        format!(
            "locked: {} plugins and {} tools, in {}\n",
            answer["plugins"],
            answer["tools"],
            shown(&answer["file"])
        )
    })
}

pub(super) fn diff(asking: &Asking) -> anyhow::Result<()> {
    let answer = asking.answer(Command::Lock(Locking::Diff))?;
    asking.show(&answer, in_words);
    let differs = |what: &str| answer[what].as_array().is_some_and(|all| !all.is_empty());
    if differs("plugins") || differs("tools") {
        // Like `diff`: what was asked was answered, and the answer is that they differ.
        std::io::stdout().flush()?;
        std::process::exit(1);
    }
    Ok(())
}

pub(super) fn approve(approve: Approve) -> anyhow::Result<()> {
    let names = (!approve.all).then_some(approve.names);
    let asked = Command::Lock(Locking::Approve(names));
    approve.asking.ask(asked, |answer| {
        let mut text = String::new();
        for what in ["plugins", "tools"] {
            for name in answer[what].as_array().into_iter().flatten() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "approved: {}", shown(name));
            }
        }
        text
    })
}

fn in_words(answer: &Value) -> String {
    let mut text = String::new();
    let list = |what: &str| answer[what].as_array().cloned().unwrap_or_default();
    for plugin in list("plugins") {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {}",
            shown(&plugin["file"]),
            shown(&plugin["how"])
        );
        for grant in plugin["now"]["grants"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  granted {}", shown(grant));
        }
    }
    for tool in list("tools") {
        let fields = tool["fields"].as_array().into_iter().flatten();
        let fields: Vec<String> = fields.map(|field| shown(&field["field"])).collect();
        let how = if fields.is_empty() {
            "new".to_owned()
        } else {
            format!("changed ({})", fields.join(", "))
        };
        let _ = writeln!(
            text,
            "{}/{}: {how}",
            shown(&tool["backend"]),
            shown(&tool["tool"])
        );
    }
    if text.is_empty() {
        text.push_str("all is as it was locked\n");
    }
    text
}
