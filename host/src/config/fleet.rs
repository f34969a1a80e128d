//! `CORTEX_REDIS_URL`, `CORTEX_FLEET_NAME`: through what the gateways of one store share what need not be kept.
//! Without Redis it is their database.

use std::fmt;
use std::str::FromStr;

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion};
use thiserror::Error;

use super::database::{DatabaseConfig, DatabaseUrl};
use super::vars::Vars;
use crate::types::Key256;

/// Longest name.
const MAX_NAME: usize = 32;
/// The name of the fleet that has none.
const NAME: &str = "main";

/// Through what gateways share.
#[derive(Clone, Debug)]
pub enum FleetConfig {
    /// One gateway by itself.
    Alone,
    /// Redis.
    Redis {
        /// Where it is.
        url: RedisUrl,
        /// What all of its keys begin with.
        prefix: String,
    },
    /// The database that is shared anyway.
    Postgres(DatabaseUrl),
}

/// Where a Redis server is, and with what it lets in. Prints as `[redacted]`.
#[derive(Clone)]
pub struct RedisUrl(Client);

/// A text that is no such URL. It is not repeated, because it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a URL such as `redis://user:password@host:6379/0`, or `rediss://…` for TLS")]
pub struct BadRedisUrl;

impl RedisUrl {
    /// What connects to it.
    pub fn client(&self) -> &Client {
        &self.0
    }

    /// Host and port, for the log.
    pub fn address(&self) -> String {
        self.0.get_connection_info().addr().to_string()
    }
}

impl FromStr for RedisUrl {
    type Err = BadRedisUrl;

    fn from_str(text: &str) -> Result<Self, BadRedisUrl> {
        let info = text.into_connection_info().map_err(|_| BadRedisUrl)?;
        // `#insecure` asks for TLS with anybody: whoever wants that is as well off without.
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(BadRedisUrl);
        }
        // Pub/sub of the older protocol is that of a connection of its own.
        let redis = info.redis_settings().clone();
        let redis = redis.set_protocol(ProtocolVersion::RESP2);
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        Client::open(info).map(Self).map_err(|_| BadRedisUrl)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `state_keys`: those that every instance must have. `database`: what they share already.
pub(super) fn read(
    vars: &mut Vars<'_>,
    state_keys: &[Key256],
    database: Option<&DatabaseConfig>,
) -> FleetConfig {
    let name = name(vars);
    let without = database.map_or(FleetConfig::Alone, |database| {
        FleetConfig::Postgres(database.url.clone())
    });
    let Some(text) = vars.secret("CORTEX_REDIS_URL") else {
        return without;
    };
    let url = match text.reveal().parse() {
        Ok(url) => url,
        Err(error @ BadRedisUrl) => {
            vars.wrong("CORTEX_REDIS_URL", None, &error.to_string());
            return without;
        }
    };
    // With a database it was asked for already.
    if state_keys.is_empty() && database.is_none() {
        vars.wrong(
            "CORTEX_STATE_KEY",
            None,
            "required with CORTEX_REDIS_URL, the same at every gateway, or none could open what another has sealed: \
             `openssl rand -base64 32` prints one",
        );
    }
    FleetConfig::Redis {
        url,
        prefix: format!("cortex:{name}:"),
    }
}

fn name(vars: &mut Vars<'_>) -> String {
    let Some(name) = vars.text("CORTEX_FLEET_NAME") else {
        return NAME.to_owned();
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() > MAX_NAME || !name.chars().all(fits) {
        vars.wrong(
            "CORTEX_FLEET_NAME",
            Some(&name),
            "expected `a-z`, `0-9` and `-`, at most 32 characters",
        );
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_of_redis_is_one_and_nothing_of_it_is_told() {
        for (url, address) in [
            ("redis://127.0.0.1", "127.0.0.1:6379"),
            (
                "redis://:p%40ss@redis.example.com:6380/3",
                "redis.example.com:6380",
            ),
            (
                "rediss://user:pass@redis.example.com",
                "redis.example.com:6379",
            ),
            ("redis://[::1]:6379/", "::1:6379"),
        ] {
            let parsed: RedisUrl = url.parse().expect(url);
            assert_eq!(parsed.address(), address);
            assert_eq!(format!("{parsed:?}"), "[redacted]");
        }
        for url in [
            "",
            "redis.example.com:6379",
            "http://user:pass@redis.example.com",
            "redis://user:pass@redis.example.com/notanumber",
            "rediss://user:pass@redis.example.com/#insecure",
            "redis://",
        ] {
            let told = url.parse::<RedisUrl>().expect_err(url).to_string();
            assert!(!told.contains("example.com"), "{told}");
        }
    }
}
