//! `cortex-gateway tokens`: its arguments, and its answers in words.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Asking;
use super::terminal::plain;
use crate::oauth::{Revocation, Which};
use crate::operator::{self, Tokens};

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Refuse access tokens before their end: one of them, or all of a subject until now.
    Revoke(Revoke),
    /// Show what is revoked.
    List(Asking),
    /// Let tokens be good again that were revoked.
    Lift(Lift),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Named {
    /// The token's own id, its `jti`.
    #[arg(long, value_name = "JTI")]
    id: Option<String>,
    /// All tokens of a subject: their `iss` and `sub`.
    #[arg(long, num_args = 2, value_names = ["ISSUER", "SUBJECT"])]
    subject: Option<Vec<String>>,
}

impl Named {
    fn which(self) -> Which {
        match (self.id, self.subject.as_deref()) {
            (None, Some([issuer, subject])) => Which::Subject {
                issuer: issuer.clone(),
                subject: subject.clone(),
            },
            // The command line takes one of them.
            (id, _) => Which::Token(id.unwrap_or_default()),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    named: Named,
    /// Of a subject's tokens only those that were issued until then (RFC 3339). Without it: until now.
    #[arg(long, value_name = "TIME", conflicts_with = "id", value_parser = moment)]
    issued_before: Option<u64>,
    /// For how many days it is kept: longer than any of these tokens lives.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Lift {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    asking: Asking,
}

/// Seconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339);
    let moment = moment.ok().map(OffsetDateTime::unix_timestamp);
    let moment = moment.and_then(|seconds| u64::try_from(seconds).ok());
    moment.ok_or_else(|| "expected a time like 2026-01-31T12:00:00Z".to_owned())
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let of = operator::Command::Tokens;
    match command {
        Command::List(asking) => asking.ask(of(Tokens::List), list),
        Command::Revoke(revoke) => {
            let now = OffsetDateTime::now_utc().unix_timestamp();
            let now = u64::try_from(now).unwrap_or_default();
            let revocation = Revocation {
                which: revoke.named.which(),
                issued_until: revoke.issued_before.unwrap_or(now),
                made_at: now,
                ends_at: now.saturating_add(revoke.days * DAY),
            };
            let asked = of(Tokens::Revoke(revocation));
            revoke
                .asking
                .ask(asked, |answer| format!("revoked: {}\n", line(answer)))
        }
        Command::Lift(Lift { named, asking }) => {
            asking.ask(of(Tokens::Lift(named.which())), |answer| {
                match answer["lifted"] == true {
                    true => "it is lifted\n".to_owned(),
                    false => "that was not revoked\n".to_owned(),
                }
            })
        }
    }
}

fn list(answer: &Value) -> String {
    let mut text = String::new();
    for revocation in answer["revoked"].as_array().into_iter().flatten() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line(revocation));
    }
    if text.is_empty() {
        text.push_str("nothing is revoked\n");
    }
    text
}

fn line(revocation: &Value) -> String {
    let text = |name: &str| plain(revocation[name].as_str().unwrap_or_default());
    let until = text("endsAt");
    match revocation["id"].as_str() {
        Some(id) => format!("the token {}, kept until {until}", plain(id)),
        None => format!(
            "tokens of {} at {} that were issued until {}, kept until {until}",
            text("subject"),
            text("issuer"),
            text("issuedUntil")
        ),
    }
}
