//! `cortex-gateway vault`: its arguments, and its answers in words.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Asking;
use crate::operator::{self, Accounts};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell how many accounts are linked at each MCP server, and which keys have sealed them.
    Status(Asking),
    /// Seal everything with the first key of CORTEX_VAULT_KEY, while the gateway runs. Put a new key
    /// in front of the old one, restart, run this, and take the old one away.
    Rotate(Asking),
    /// Forget all accounts of a subject, and have them revoked where they were granted.
    Forget(Forget),
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// The `sub` of its access tokens.
    #[arg(long)]
    subject: String,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let of = operator::Command::Vault;
    match command {
        Command::Status(asking) => asking.ask(of(Accounts::Status), status),
        Command::Rotate(asking) => asking.ask(of(Accounts::Rotate), rotated),
        Command::Forget(Forget { subject, asking }) => {
            asking.ask(of(Accounts::Forget { subject }), forgotten)
        }
    }
}

fn status(answer: &Value) -> String {
    let mut text = String::new();
    let sealing = answer["sealing"].as_str().unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "the key with the id {sealing} seals");
    for (key, count) in answer["sealed"].as_object().into_iter().flatten() {
        let note = if key == sealing {
            ""
        } else {
            "  (`vault rotate` seals them anew)"
        };
        let _ = writeln!(text, "{key}  {count} accounts{note}");
    }
    if answer["lost"].as_u64() != Some(0) {
        let _ = writeln!(
            text,
            "{} of them no key opens: their owners have to link them again, or put the old key back",
            answer["lost"]
        );
    }
    for (server, accounts) in answer["servers"].as_object().into_iter().flatten() {
        let _ = writeln!(
            text,
            "{:<32} {} linked, {} to be linked again",
            server.escape_debug(),
            accounts["linked"],
            accounts["ended"]
        );
    }
    text
}

fn rotated(answer: &Value) -> String {
    let mut text = format!("{} records were sealed anew\n", answer["resealed"]);
    if answer["lost"].as_u64() != Some(0) {
        let _ = writeln!(
            text,
            "{} could not be opened and were left as they are",
            answer["lost"]
        );
    }
    text
}

fn forgotten(answer: &Value) -> String {
    let mut text = format!("{} accounts were forgotten\n", answer["forgotten"]);
    if answer["revocationTried"] != true {
        text.push_str("no gateway is running, so their providers were not told\n");
    }
    text
}
