//! Looks at the servers through which gateways share, for operators, and changes nothing there.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use redis::{AsyncConnectionConfig, RedisError};
use tokio_postgres::AsyncMessage;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::Shelf;
use super::figures::{no_answer, words};
use crate::config::{DatabaseUrl, RedisUrl};
use crate::postgres::{Connector, told};

/// Longest that a look takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest that a notification takes to come back.
const ECHO: Duration = Duration::from_secs(2);

const ALIVE: &str = "\
    SELECT count(*) FROM cortex.fleet_values WHERE shelf = $1 AND ends > clock_timestamp()";

/// What a look at a Redis server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedAtRedis {
    /// Its version; none, if it does not tell.
    pub version: Option<String>,
    /// Its `maxmemory-policy`.
    pub eviction: Option<String>,
}

/// Looks at a Redis server, and changes nothing there. The error is for operators.
///
/// # Errors
/// Why it cannot be used.
pub async fn look_at_redis(url: &RedisUrl) -> Result<LookedAtRedis, String> {
    let asked = async {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connecting = url
            .client()
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await?;
        let () = redis::cmd("PING").query_async(&mut connection).await?;
        // Not everybody may ask that.
        let info: Result<String, _> = redis::cmd("INFO").query_async(&mut connection).await;
        Ok::<_, RedisError>(info.unwrap_or_default())
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let info = match asked {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => return Err(words(&error)),
        Err(_) => return Err(no_answer(PATIENCE).to_string()),
    };
    let of = |name: &str| {
        let mut lines = info.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|text| words(&text.trim()))
    };
    Ok(LookedAtRedis {
        version: of("redis_version"),
        eviction: of("maxmemory_policy"),
    })
}

/// What a look at a database tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookedAtPostgres {
    /// Whether a notification reaches who listens.
    pub hears: bool,
    /// Gateways that are alive; none, where there are no tables yet, or they may not be read.
    pub alive: Option<u64>,
}

/// Looks at a database, and changes nothing there. The error is for operators.
///
/// # Errors
/// Why it cannot be used.
pub async fn look_at_postgres(url: &DatabaseUrl) -> Result<LookedAtPostgres, String> {
    let looking = async {
        let connector = Connector::new(url).map_err(|error| error.to_string())?;
        let (client, mut connection) = connector.connect().await.map_err(|e| words(&e))?;
        let (teller, telling) = connector.connect().await.map_err(|e| words(&e))?;
        let _telling = AbortOnDropHandle::new(tokio::spawn(telling));
        let (sender, mut heard) = tokio::sync::mpsc::channel(8);
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut messages = std::pin::pin!(poll_fn(|cx| connection.poll_message(cx)));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(news) = message {
                    let _ = sender.try_send(news.channel().to_owned());
                }
            }
        }));
        // A channel that nobody else listens to. It is told over another connection, as other gateways do: through a
        // pooler that shares connections between transactions, whoever listens does not get it.
        let channel = format!("cortex_doctor_{}", Uuid::now_v7().simple());
        let asked = async {
            client.batch_execute(&format!("LISTEN {channel}")).await?;
            teller.batch_execute(&format!("NOTIFY {channel}")).await
        };
        asked.await.map_err(|error| words(&told(0, &error)))?;
        let echo = tokio::time::timeout(ECHO, heard.recv()).await;
        let hears = matches!(echo, Ok(Some(name)) if name == channel);
        let shelf = Shelf::Instances.name();
        let alive = client.query_one(ALIVE, &[&shelf]).await;
        let alive = alive.ok().and_then(|row| row.try_get::<_, i64>(0).ok());
        let alive = alive.and_then(|alive| u64::try_from(alive).ok());
        Ok(LookedAtPostgres { hears, alive })
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| Err(no_answer(PATIENCE).to_string()))
}
