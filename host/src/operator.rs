//! What an operator asks a gateway from the command line.
//!
//! A running gateway answers on a socket in its data directory, because nobody else may open its
//! store. When none is running, the command line opens the store itself. Either way the same code
//! answers: [`run`].

mod audit;
mod baseline;
mod lock;
mod plugins;
mod socket;
mod status;
mod tickets;
mod tokens;
mod vault;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::pipeline::Gateway;
use crate::store::{Store, StoreError};

pub use audit::Audit;
pub use baseline::Definitions;
pub use lock::Locking;
pub use socket::{SocketError, ask, is_running, listen};
pub use tickets::Tickets;
pub use tokens::Tokens;
pub use vault::Accounts;

/// A command, as it travels to a running gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// How the backends are, and what of them is left out and why.
    Status,
    /// What agents reported.
    Tickets(Tickets),
    /// Tool definitions that changed.
    Definitions(Definitions),
    /// Users' accounts at MCP servers.
    Vault(Accounts),
    /// Access tokens that are revoked before their end.
    Tokens(Tokens),
    /// What is loaded from the plugin directory, and what is not and why.
    Plugins,
    /// What may run and be offered.
    Lock(Locking),
    /// Records of requests.
    Audit(Audit),
    /// Where things are kept, and how much there is.
    Store,
}

/// Why a command was not carried out.
#[derive(Debug, Error)]
pub enum Failed {
    /// Only a running gateway knows.
    #[error(
        "no gateway is running on `{0}`; hint: start it, or set CORTEX_DATA_DIR to where the running one keeps its files"
    )]
    NotRunning(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else, in words.
    #[error("{0}")]
    Refused(String),
}

/// Carries a command out.
///
/// # Errors
/// [`Failed`].
pub async fn run(
    gateway: Option<&Gateway>,
    store: &Store,
    data_dir: &Path,
    command: Command,
) -> Result<Value, Failed> {
    match command {
        Command::Status => status::status(running(gateway)?),
        Command::Plugins => Ok(plugins::list(running(gateway)?)),
        Command::Tickets(asked) => tickets::run(store, asked).await,
        Command::Tokens(asked) => tokens::run(gateway, store, asked).await,
        Command::Vault(asked) => vault::run(gateway, store, asked).await,
        Command::Audit(asked) => audit::run(gateway, store, data_dir, asked).await,
        Command::Store => Ok(serde_json::json!(store.standing().await?)),
        Command::Lock(asked) => lock::run(running(gateway)?, asked).await,
        Command::Definitions(asked) => baseline::run(running(gateway)?, asked).await,
    }
}

fn running(gateway: Option<&Gateway>) -> Result<&Gateway, Failed> {
    gateway.ok_or_else(|| Failed::NotRunning("this data directory".to_owned()))
}
