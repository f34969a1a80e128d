//! `cortex-gateway baseline`: its arguments, and its answers in words.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Asking;
use super::keys::{Keygen, read, shown};
use super::terminal::plain;
use crate::integrity;
use crate::operator::{self, Definitions};
use crate::types::signing::{PrivateKey, PublicKey};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a pair of Ed25519 keys to sign and verify files of approved definitions.
    Keygen(Keygen),
    /// Sign a file of approved definitions.
    Sign(Sign),
    /// Tell whether the signature of a file holds.
    Verify(Verify),
    /// Show how tools differ from what was approved. Exit status 1 when any does.
    Diff(Asking),
    /// Approve changed definitions.
    Approve(Approve),
    /// Write what the running gateway has approved to a file.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The file of approved definitions.
    file: PathBuf,
    /// The private key, of `keygen`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The file of approved definitions.
    file: PathBuf,
    /// The public key, of `keygen`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    /// Tools, such as `docs/search`.
    #[arg(required_unless_present = "all")]
    tools: Vec<String>,
    /// All that changed.
    #[arg(long, conflicts_with = "tools")]
    all: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file; it is replaced when it is there.
    file: PathBuf,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Keygen(keygen) => keygen.run(),
        Command::Sign(sign) => {
            let key = PrivateKey::parse(&read(&sign.key)?).with_context(|| shown(&sign.key))?;
            let document: Value =
                serde_json::from_str(&read(&sign.file)?).with_context(|| shown(&sign.file))?;
            integrity::write_file(&sign.file, &document, Some(&key))?;
            // What was signed has to be what a gateway can read.
            let baseline = integrity::read_file(&sign.file, Some(&key.public()))?;
            let approved = baseline.unwrap_or_default().approved();
            println!("signed: {approved} approved tools");
            Ok(())
        }
        Command::Verify(verify) => {
            let key = PublicKey::parse(&read(&verify.key)?).with_context(|| shown(&verify.key))?;
            let baseline = integrity::read_file(&verify.file, Some(&key))?;
            let baseline =
                baseline.with_context(|| format!("{} is not there", shown(&verify.file)))?;
            println!(
                "the signature holds: {} approved tools",
                baseline.approved()
            );
            Ok(())
        }
        Command::Diff(asking) => {
            let report = ask(&asking, Definitions::Diff)?;
            asking.show(&report, in_words);
            let changed = report["changed"]
                .as_array()
                .is_some_and(|all| !all.is_empty());
            if changed || report["baseline"]["state"] != "good" {
                // Like `diff`: what was asked was answered, and the answer is that they differ.
                std::io::stdout().flush()?;
                std::process::exit(1);
            }
            Ok(())
        }
        Command::Approve(approve) => {
            let tools = (!approve.all).then_some(approve.tools);
            let answer = ask(&approve.asking, Definitions::Approve(tools))?;
            approve.asking.show(&answer, approved);
            Ok(())
        }
        Command::Export(export) => {
            let document = ask(&export.asking, Definitions::Export)?;
            integrity::write_file(&export.file, &document, None)?;
            println!("written, not signed: {}", shown(&export.file));
            Ok(())
        }
    }
}

fn ask(asking: &Asking, asked: Definitions) -> anyhow::Result<Value> {
    asking.answer(operator::Command::Definitions(asked))
}

/// The change of each tool, member by member.
fn in_words(report: &Value) -> String {
    let baseline = &report["baseline"];
    let text = |value: &Value| value.as_str().map_or_else(|| "nothing".to_owned(), plain);
    let mut words = format!(
        "mode {}, {} approved tools, kept {}\n",
        text(&report["mode"]),
        baseline["approved"],
        text(&baseline["kept"])
    );
    if baseline["state"] != "good" {
        // Writing to a string cannot fail.
        let _ = writeln!(words, "BROKEN: {}", text(&baseline["reason"]));
    }
    let changed = report["changed"].as_array().map_or(&[][..], Vec::as_slice);
    for tool in changed {
        let state = match (&tool["approvedAt"], tool["quarantined"] == true) {
            (Value::Null, _) => "new, and never approved",
            (_, true) => "changed, quarantined",
            (_, false) => "changed, served all the same",
        };
        let (backend, name) = (text(&tool["backend"]), text(&tool["tool"]));
        let _ = writeln!(
            words,
            "\n{backend}/{name}: {state} (since {})",
            text(&tool["changedAt"])
        );
        for field in tool["fields"].as_array().into_iter().flatten() {
            let _ = writeln!(
                words,
                "  {}\n    - {}\n    + {}",
                text(&field["field"]),
                text(&field["approved"]),
                text(&field["current"])
            );
        }
    }
    for name in report["reordered"].as_array().into_iter().flatten() {
        let _ = writeln!(words, "\n{}: only the order of members changed", text(name));
    }
    if changed.is_empty() {
        words.push_str("nothing changed since it was approved\n");
    }
    words
}

fn approved(answer: &Value) -> String {
    let names = answer["approved"].as_array().map_or(&[][..], Vec::as_slice);
    let mut words = String::new();
    for name in names {
        let _ = writeln!(
            words,
            "approved: {}",
            plain(name.as_str().unwrap_or_default())
        );
    }
    if names.is_empty() {
        words.push_str("nothing was waiting to be approved\n");
    }
    words
}
