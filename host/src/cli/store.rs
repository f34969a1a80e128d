//! `cortex-gateway store`: where things are kept, and moving them from one place to another.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Asking;
use crate::config::{self, DatabaseConfig};
use crate::operator;
use crate::store::transfer::{self, Totals};
use crate::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell which engine keeps what, and how much there is.
    Status(Asking),
    /// Write everything that gateways share (tickets, approvals, linked accounts, values of plugins, keys of audit
    /// records) into a file, as it is at one moment. Sealed values stay sealed; the rest can be read: keep the file
    /// like the store itself.
    Export(Move),
    /// Put everything that is in a file into an empty store: all of it or nothing, checked before and after. No
    /// gateway may be running on it.
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The file.
    file: PathBuf,
    /// The store in the data directory, whatever CORTEX_DATABASE_URL says.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Delete what is there before.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    moving: Move,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Status(asking) => asking.ask(operator::Command::Store, status),
        Command::Export(Move {
            file,
            local,
            asking,
        }) => {
            let database = database(local)?;
            let totals = runtime()?.block_on(async {
                let store = match &database {
                    // What is in the data directory stays there, and may be in use.
                    Some(database) => Store::temporary(Some(database)).await?,
                    None => Store::open_existing(&asking.data_dir).await.map_err(stop)?,
                };
                Ok::<_, anyhow::Error>(transfer::export(&store, &file).await?)
            })?;
            let shown = file.display();
            asking.show(&answer(&totals), |answer| {
                format!("{}written to `{shown}`\n", words(answer))
            });
            Ok(())
        }
        Command::Import(Import { replace, moving }) => {
            let Move {
                file,
                local,
                asking,
            } = moving;
            let database = database(local)?;
            let dir = &asking.data_dir;
            let importing = transfer::import(dir, database.as_ref(), &file, replace);
            let totals = runtime()?
                .block_on(importing)
                .map_err(|error| match error {
                    transfer::TransferError::Store(error) => stop(error),
                    other => other.into(),
                })?;
            let place = match &database {
                Some(database) => format!("the database {}", database.url),
                None => format!("the store in `{}`", dir.display()),
            };
            asking.show(&answer(&totals), |answer| {
                format!("{}moved into {place}, and read again\n", words(answer))
            });
            Ok(())
        }
    }
}

fn database(local: bool) -> anyhow::Result<Option<DatabaseConfig>> {
    match local {
        true => Ok(None),
        false => Ok(config::database()?),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// What is moved must not change meanwhile.
fn stop(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::InUse(place) => anyhow::anyhow!(
            "`{place}` is in use by a gateway; hint: stop it first, or what it keeps in the meantime would be missing"
        ),
        other => other.into(),
    }
}

fn answer(totals: &Totals) -> Value {
    let records: u64 = totals.values().map(|total| total.records).sum();
    json!({ "records": records, "spaces": totals })
}

fn words(answer: &Value) -> String {
    let mut text = String::new();
    for (space, total) in answer["spaces"].as_object().into_iter().flatten() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>9}  {space:<16} sha256 {}",
            total["records"],
            total["sha256"].as_str().unwrap_or_default()
        );
    }
    let _ = write!(text, "{} records, ", answer["records"]);
    text
}

fn status(answer: &Value) -> String {
    let mut text = match answer["database"].as_str() {
        Some(database) => format!(
            "shared by all gateways, in the database {} (tables of version {}, this gateway knows {})\n",
            database.escape_debug(),
            answer["schema"][0],
            answer["schema"][1]
        ),
        None => "in the data directory (sled)\n".to_owned(),
    };
    let table = |text: &mut String, part: &str| {
        for (space, tally) in answer[part].as_object().into_iter().flatten() {
            let _ = writeln!(
                text,
                "{:>9}  {:<16} {} bytes",
                tally["records"],
                space.escape_debug(),
                tally["bytes"]
            );
        }
    };
    table(&mut text, "shared");
    text.push_str("of the audit trail, in the data directory (sled)\n");
    table(&mut text, "own");
    text
}
