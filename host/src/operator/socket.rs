//! The socket in the data directory on which a running gateway takes an operator's commands: one
//! line of JSON each way. Whoever may use the folder may use it; nobody else gets that far.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tracing::{debug, warn};

use super::{Command, Failed, run};
use crate::config;
use crate::pipeline::Gateway;
use crate::store::Store;

/// Name of the socket.
const FILE: &str = "control.sock";
/// Longest command, in bytes. An answer may be longer: it is the gateway's own.
const MAX_COMMAND: u64 = 1024 * 1024;
/// Longest an exchange may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a running gateway could not be asked.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The socket cannot be used.
    #[error("cannot speak with the running gateway on `{path}`: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It answered something else than an answer.
    #[error(
        "the running gateway answered something unexpected ({0}); hint: is it of the same version?"
    )]
    Unexpected(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Done(Value),
    Failed(String),
}

/// Answers commands for as long as the gateway runs.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(
    gateway: &Arc<Gateway>,
    store: &Store,
    data_dir: &Path,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let path = data_dir.join(FILE);
    let data_dir = data_dir.to_owned();
    // Whoever has its part of the store open owns the folder: a socket that is there is a dead one's.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (gateway, store) = (Arc::downgrade(gateway), store.clone());
    Ok(tokio::spawn(async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot take an operator's command");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let (gateway, store) = (gateway.upgrade(), store.clone());
            let data_dir = data_dir.clone();
            tokio::spawn(async move {
                let answering = answer(gateway.as_deref(), &store, &data_dir, stream);
                match tokio::time::timeout(PATIENCE, answering).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => debug!(%error, "an operator's command broke off"),
                    Err(_) => debug!("an operator's command took too long"),
                }
            });
        }
    }))
}

async fn answer(
    gateway: Option<&Gateway>,
    store: &Store,
    data_dir: &Path,
    stream: UnixStream,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_COMMAND))
        .read_line(&mut line)
        .await?;
    let outcome = match serde_json::from_str::<Command>(&line) {
        Ok(command) => run(gateway, store, data_dir, command).await,
        Err(error) => Err(Failed::Refused(format!(
            "the gateway does not know this command ({error}); hint: use the gateway's own version of the command line"
        ))),
    };
    let reply = match outcome {
        Ok(value) => Reply::Done(value),
        Err(failed) => Reply::Failed(failed.to_string()),
    };
    let mut reply = serde_json::to_vec(&reply)?;
    reply.push(b'\n');
    writer.write_all(&reply).await?;
    writer.shutdown().await
}

/// Whether a gateway runs on this data directory.
pub async fn is_running(data_dir: &Path) -> bool {
    UnixStream::connect(data_dir.join(FILE)).await.is_ok()
}

/// Has a command carried out: by the gateway that runs on this data directory, else here.
///
/// # Errors
/// Whatever kept it from being carried out, in words for an operator.
pub async fn ask(data_dir: &Path, command: Command) -> anyhow::Result<Value> {
    let path = data_dir.join(FILE);
    match UnixStream::connect(&path).await {
        Ok(stream) => {
            let asking = tokio::time::timeout(PATIENCE, over(stream, &command)).await;
            let reply = asking
                .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
                .map_err(|source| SocketError::Io {
                    path: path.clone(),
                    source,
                })?;
            match serde_json::from_str(&reply) {
                Ok(Reply::Done(value)) => Ok(value),
                Ok(Reply::Failed(why)) => Err(anyhow::anyhow!(why)),
                Err(error) => Err(SocketError::Unexpected(error.to_string()).into()),
            }
        }
        // Nobody there, or nobody any more.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            let database = config::database()?;
            let store = match (data_dir.is_dir(), &database) {
                (true, database) => Store::open(data_dir, database.as_ref()).await?,
                // Where no gateway of this machine keeps its files; what all of them share is elsewhere.
                (false, Some(database)) => Store::temporary(Some(database)).await?,
                (false, None) => {
                    return Err(Failed::NotRunning(data_dir.display().to_string()).into());
                }
            };
            let outcome = run(None, &store, data_dir, command).await;
            Ok(outcome.map_err(|failed| match failed {
                Failed::NotRunning(_) => Failed::NotRunning(data_dir.display().to_string()),
                failed => failed,
            })?)
        }
        Err(source) => Err(SocketError::Io { path, source }.into()),
    }
}

async fn over(stream: UnixStream, command: &Command) -> std::io::Result<String> {
    let (mut reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.shutdown().await?;
    let mut reply = String::new();
    reader.read_to_string(&mut reply).await?;
    Ok(reply)
}
