//! The engine on Redis (6.2 or newer), or on what speaks like it.
//!
//! Everything is below one prefix: `v:SHELF:KEY` is a value, `i:SHELF` the index of a shelf, `c:SHELF:KEY` a claim,
//! `l:NAME` a lease, `a:KEY` an allowance, `epoch` the name of the time since the last flush, `news` the
//! channel. Times are the server's. Each function is one round trip.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind,
};

use super::Shelf;
use super::engine::{Engine, Holder, Listener, Trouble};
use super::figures::words;
use super::gcra::{Rule, Spent};
use crate::config::RedisUrl;

/// So long may nothing come from the server before it is asked whether it is still there, and so long may the
/// answer take.
const SILENCE: Duration = Duration::from_secs(3);

/// Puts a value. KEYS: value, index. ARGV: value, milliseconds, key.
const PUT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lives = tonumber(ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + lives, ARGV[3])
if redis.call('PTTL', KEYS[2]) < lives then redis.call('PEXPIRE', KEYS[2], lives) end
return 1";

/// Takes a value. KEYS: value, index. ARGV: key.
const TAKE: &str = r"
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('GETDEL', KEYS[1])";

/// Everything on a shelf. KEYS: index. ARGV: what keys of values begin with, limit.
const ALL: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found = {}
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
  local value = redis.call('GET', ARGV[1] .. key)
  if value then
    found[#found + 1] = key
    found[#found + 1] = value
  end
end
return found";

/// The name of the time since the last flush. KEYS: it. ARGV: a new one.
const EPOCH: &str = r"
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])";

/// Gives a lease. KEYS: it. ARGV: holder, milliseconds.
const GRANT: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

/// Ends a lease. KEYS: it. ARGV: holder.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// Counts a request (see `gcra.rs`). KEYS: allowance. ARGV: interval and tolerance in microseconds. Returns how
/// long to wait.
const SPEND: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local due = tonumber(redis.call('GET', KEYS[1]) or now)
if due < now then due = now end
local early = due - now - tonumber(ARGV[2])
if early > 0 then return early end
due = due + interval
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return 0";

/// A Redis server, connected to when it is asked to.
pub(super) struct Redis {
    client: Client,
    prefix: Vec<u8>,
    now: ArcSwapOption<Connections>,
    scripts: Scripts,
}

/// Two, so that no request waits behind large values.
struct Connections {
    quick: MultiplexedConnection,
    bulk: MultiplexedConnection,
}

struct Scripts {
    put: Lua,
    take: Lua,
    all: Lua,
    epoch: Lua,
    grant: Lua,
    release: Lua,
    spend: Lua,
}

/// A script and its hash.
struct Lua {
    text: &'static str,
    hash: String,
}

impl Lua {
    fn new(text: &'static str) -> Self {
        let hash = Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs it by its hash; by its text, which makes it known, where the server does not know it.
    async fn run<T: FromRedisValue>(
        &self,
        connection: &MultiplexedConnection,
        keys: &[Vec<u8>],
        arguments: &[&[u8]],
    ) -> Result<T, Trouble> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        let mut connection = connection.clone();
        let known = command("EVALSHA", &self.hash);
        match known.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
            outcome => return outcome.map_err(|error| trouble(&error)),
        }
        let anew = command("EVAL", self.text);
        let outcome = anew.query_async(&mut connection).await;
        outcome.map_err(|error| trouble(&error))
    }
}

impl Redis {
    /// The server at a URL, and what all keys begin with.
    pub(super) fn at(url: &RedisUrl, prefix: &str) -> Self {
        // The same that everything else here uses. It may have been chosen before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            client: url.client().clone(),
            prefix: prefix.as_bytes().to_vec(),
            now: ArcSwapOption::empty(),
            scripts: Scripts {
                put: Lua::new(PUT),
                take: Lua::new(TAKE),
                all: Lua::new(ALL),
                epoch: Lua::new(EPOCH),
                grant: Lua::new(GRANT),
                release: Lua::new(RELEASE),
                spend: Lua::new(SPEND),
            },
        }
    }

    fn now(&self) -> Result<Arc<Connections>, Trouble> {
        let now = self.now.load_full();
        now.ok_or_else(|| Trouble::Lost("there is no connection".to_owned()))
    }

    fn key(&self, kind: &str, name: &[u8]) -> Vec<u8> {
        [&self.prefix, kind.as_bytes(), name].concat()
    }

    fn shelved(&self, kind: &str, shelf: Shelf, key: &[u8]) -> Vec<u8> {
        let shelf = shelf.name().as_bytes();
        [&self.prefix, kind.as_bytes(), shelf, b":", key].concat()
    }

    /// The keys of a value and of the index of its shelf.
    fn value(&self, shelf: Shelf, key: &[u8]) -> [Vec<u8>; 2] {
        [
            self.shelved("v:", shelf, key),
            self.key("i:", shelf.name().as_bytes()),
        ]
    }
}

/// Milliseconds, at least one: Redis refuses none.
fn millis(lives: Duration) -> Vec<u8> {
    let millis = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
    // More than 100 years is more than it can add to its time.
    millis.clamp(1, 3_155_760_000_000).to_string().into_bytes()
}

fn trouble(error: &RedisError) -> Trouble {
    let why = words(error);
    match error.kind() {
        // A replica, a server that starts or one that cannot be used: another one may be there soon.
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => Trouble::Lost(why),
        ErrorKind::Server(_) | ErrorKind::Extension => Trouble::Refused(why),
        ErrorKind::UnexpectedReturnType => Trouble::Refused(why),
        _ => Trouble::Lost(why),
    }
}

#[async_trait]
impl Engine for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    async fn connect(&self) -> Result<Box<dyn Listener>, Trouble> {
        let connect = async {
            // Whoever asks has a deadline of its own.
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let client = &self.client;
            let quick = client.get_multiplexed_async_connection_with_config(&config);
            let bulk = client.get_multiplexed_async_connection_with_config(&config);
            let (quick, bulk, mut listening) =
                tokio::try_join!(quick, bulk, client.get_async_pubsub())?;
            // A server that lets in without a password may still want one for anything else.
            let () = redis::cmd("PING").query_async(&mut quick.clone()).await?;
            listening.subscribe(self.key("news", b"")).await?;
            Ok((Connections { quick, bulk }, listening.split()))
        };
        let (connections, (sink, stream)) = connect.await.map_err(|e| trouble(&e))?;
        self.now.store(Some(Arc::new(connections)));
        Ok(Box::new(Listening { sink, stream }))
    }

    fn disconnect(&self) {
        self.now.store(None);
    }

    async fn epoch(&self, fresh: &str) -> Result<Vec<u8>, Trouble> {
        let keys = [self.key("epoch", b"")];
        let script = &self.scripts.epoch;
        let now = self.now()?;
        script.run(&now.quick, &keys, &[fresh.as_bytes()]).await
    }

    async fn put(
        &self,
        shelf: Shelf,
        key: &[u8],
        value: &[u8],
        lives: Duration,
    ) -> Result<(), Trouble> {
        let keys = self.value(shelf, key);
        let script = &self.scripts.put;
        let now = self.now()?;
        script
            .run(&now.bulk, &keys, &[value, &millis(lives), key])
            .await
    }

    async fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        let [key, _] = self.value(shelf, key);
        let mut connection = self.now()?.bulk.clone();
        let found = redis::cmd("GET")
            .arg(key)
            .query_async(&mut connection)
            .await;
        found.map_err(|error| trouble(&error))
    }

    async fn take(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        let keys = self.value(shelf, key);
        let now = self.now()?;
        self.scripts.take.run(&now.bulk, &keys, &[key]).await
    }

    async fn all(&self, shelf: Shelf, limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Trouble> {
        // The last of none would be the last of all.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let [values, index] = self.value(shelf, b"");
        let limit = limit.min(i32::MAX as usize).to_string();
        let now = self.now()?;
        let script = &self.scripts.all;
        let arguments: [&[u8]; 2] = [&values, limit.as_bytes()];
        let flat: Vec<Vec<u8>> = script.run(&now.bulk, &[index], &arguments).await?;
        let mut flat = flat.into_iter();
        let mut found = Vec::with_capacity(flat.len() / 2);
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            found.push((key, value));
        }
        Ok(found)
    }

    async fn claim(&self, shelf: Shelf, key: &[u8], lives: Duration) -> Result<bool, Trouble> {
        let mut claim = redis::cmd("SET");
        claim.arg(self.shelved("c:", shelf, key)).arg(b"").arg("NX");
        claim.arg("PX").arg(millis(lives));
        let mut connection = self.now()?.quick.clone();
        let claimed: Result<Option<String>, _> = claim.query_async(&mut connection).await;
        let claimed = claimed.map_err(|error| trouble(&error))?;
        Ok(claimed.is_some())
    }

    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Trouble> {
        let keys = [self.key("l:", name)];
        let arguments: [&[u8]; 2] = [holder.as_bytes(), &millis(lives)];
        let now = self.now()?;
        self.scripts.grant.run(&now.quick, &keys, &arguments).await
    }

    async fn release(&self, name: &[u8], holder: Holder) -> Result<(), Trouble> {
        let keys = [self.key("l:", name)];
        let now = self.now()?;
        let script = &self.scripts.release;
        script.run(&now.quick, &keys, &[holder.as_bytes()]).await
    }

    async fn spend(&self, key: &[u8], rule: Rule) -> Result<Spent, Trouble> {
        let keys = [self.key("a:", key)];
        let (interval, tolerance) = (rule.interval.to_string(), rule.tolerance.to_string());
        let arguments: [&[u8]; 2] = [interval.as_bytes(), tolerance.as_bytes()];
        let now = self.now()?;
        let script = &self.scripts.spend;
        let early: u64 = script.run(&now.quick, &keys, &arguments).await?;
        Ok(match NonZeroU64::new(early) {
            None => Spent::Allowed,
            Some(early) => Spent::Wait(Duration::from_micros(early.get())),
        })
    }

    async fn publish(&self, envelope: &[u8]) -> Result<(), Trouble> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.key("news", b"")).arg(envelope);
        let mut connection = self.now()?.bulk.clone();
        let sent = publish.query_async(&mut connection).await;
        sent.map_err(|error| trouble(&error))
    }
}

/// The connection on which the news come.
struct Listening {
    sink: PubSubSink,
    stream: PubSubStream,
}

#[async_trait]
impl Listener for Listening {
    async fn next(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            match tokio::time::timeout(SILENCE, self.stream.next()).await {
                Ok(Some(message)) => return Ok(message.get_payload_bytes().to_vec()),
                Ok(None) => return Err(Trouble::Lost("the connection broke".to_owned())),
                Err(_) => {}
            }
            // A connection of which the other end is gone looks like one on which nothing is told.
            let ping = tokio::time::timeout(SILENCE, self.sink.ping::<redis::Value>());
            match ping.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(trouble(&error)),
                Err(_) => return Err(super::figures::no_answer(SILENCE)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_such_that_redis_takes_them() {
        assert_eq!(millis(Duration::ZERO), b"1");
        assert_eq!(millis(Duration::from_secs(2)), b"2000");
        assert_eq!(millis(Duration::MAX), b"3155760000000");
    }
}
