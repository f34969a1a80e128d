//! Configuration: read once at start from the environment, complete and immutable after.
//!
//! Every wrong value is reported, all of them together, each with its variable, what it held
//! (secrets never) and what was expected.

mod accounts;
mod audit;
mod backends;
mod bounds;
mod database;
mod exchange;
mod fleet;
mod identity;
mod integrity;
mod mcp_servers;
mod oauth;
mod plugins;
mod stdio;
mod streams;
mod technical;
mod tickets;
mod traces;
mod urls;
mod vars;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use url::Url;

use crate::types::{Key256, Network, ScopeSet, Secret};

pub use accounts::{AccountConfig, AccountsConfig, StaticClient};
pub use audit::{AuditConfig, Durability, WhenFull};
use backends::Insecure;
pub use backends::{BackendConfig, NameStyle, TokenMode};
pub use bounds::BoundsConfig;
pub use database::{DatabaseConfig, DatabaseUrl, NotADatabaseUrl};
pub use exchange::{ExchangeConfig, ExchangeTarget};
pub use fleet::{BadRedisUrl, FleetConfig, RedisUrl};
pub use identity::IdentityConfig;
pub use integrity::{IntegrityConfig, IntegrityMode};
pub use oauth::{IntrospectionConfig, OAuthConfig};
pub use plugins::{ExporterOutput, InstanceMode, PluginConfig, PluginTrust};
pub use stdio::StdioConfig;
pub use streams::StreamConfig;
pub use technical::{MachineConfig, TechnicalConfig};
pub use tickets::{TicketConfig, WebhookUrl};
pub use traces::{Sampling, TraceConfig};
pub use urls::{is_loopback, is_trustworthy};
use vars::Vars;
pub use vars::{Problem, Problems};

/// What kind of place this gateway runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Localhost origins and the dev bypass may be used.
    Development,
    /// They may not.
    Production,
}

/// The dev bypass: a local developer without an authorization server.
#[derive(Clone, Debug)]
pub struct DevBypass {
    /// What the header `X-Dev-Mode` must hold.
    pub token: Secret,
    /// Scopes it grants.
    pub scopes: ScopeSet,
    /// Role it grants.
    pub role: String,
}

/// Smallest context budget, in tokens: what the gateway's own tools need in their shortest form.
pub const MIN_CONTEXT_BUDGET: u32 = 500;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For people on a terminal, for programs elsewhere.
    Auto,
}

/// How the log of any command is to be written (`CORTEX_LOG_FORMAT`).
///
/// # Errors
/// When it is none of the words.
pub fn log_format() -> Result<LogFormat, Problems> {
    let mut vars = Vars::new(&variable, Vec::new());
    let words = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    let format = vars.choice("CORTEX_LOG_FORMAT", &words, LogFormat::Auto);
    vars.finish().map(|_| format)
}

/// Everything the gateway was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// Development or production.
    pub mode: Mode,
    /// The resource URI (RFC 8707), under which clients know `/mcp`.
    pub canonical_uri: Url,
    /// Whose tokens are accepted; none when only the dev bypass is.
    pub oauth: Option<OAuthConfig>,
    /// The pool that callers' tokens must name, if the gateway is for one pool only.
    pub required_pool: Option<String>,
    /// How the gateway introduces itself.
    pub identity: IdentityConfig,
    /// Exact origins and `*.suffix` patterns that browsers may call from.
    pub allowed_origins: Vec<String>,
    /// Names besides the canonical URI's under which the gateway is reached, exact or `*.suffix`.
    pub allowed_hosts: Vec<String>,
    /// Reverse proxies whose word is taken for where a request came from.
    pub trusted_proxies: Vec<Network>,
    /// Requests a minute that each caller may send; none: as many as they want.
    pub rate_limit_per_minute: Option<NonZeroU32>,
    /// Tokens that `tools/list` may take when a client says nothing else.
    pub context_budget: Option<u32>,
    /// How tool definitions are watched.
    pub integrity: IntegrityConfig,
    /// Address of a listener for operators: metrics, for who reaches it.
    pub admin_listen: Option<SocketAddr>,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceConfig>,
    /// Lets operators in over HTTP, when set.
    pub admin_secret: Option<Secret>,
    /// Lets schedulers in (`CRON_SECRET`).
    pub cron_secret: Option<Secret>,
    /// Largest accepted request body, in bytes.
    pub max_body_bytes: usize,
    /// The dev bypass, if it is on.
    pub dev_bypass: Option<DevBypass>,
    /// Presented to backends for catalog methods.
    pub technical: TechnicalConfig,
    /// How tokens of users are exchanged for those of backends, if any backend wants that.
    pub exchange: Option<ExchangeConfig>,
    /// How users link accounts at MCP servers.
    pub accounts: AccountsConfig,
    /// Configured backends, in the order given; native MCP servers come last.
    pub backends: Vec<BackendConfig>,
    /// Seconds between two refreshes of a backend's catalog.
    pub refresh_seconds: u64,
    /// Bounds of connections and requests.
    pub bounds: BoundsConfig,
    /// Bounds of notification streams.
    pub streams: StreamConfig,
    /// Where tickets go.
    pub tickets: TicketConfig,
    /// Where components are found and what they may use.
    pub plugins: PluginConfig,
    /// Where the gateway keeps its files.
    pub data_dir: PathBuf,
    /// Keeps what all gateways share; none: the data directory does.
    pub database: Option<DatabaseConfig>,
    /// Whether several gateways may be started on one data directory. Follows from the command.
    pub shares_data_dir: bool,
    /// Seal what clients keep for the gateway, the first one; all of them open it. Without any,
    /// the gateway makes one and keeps it in `data_dir`.
    pub state_keys: Vec<Key256>,
    /// Through what it shares with other gateways, if there are any.
    pub fleet: FleetConfig,
    /// How the audit trail is kept.
    pub audit: AuditConfig,
    /// Keys the hashes in audit records, when set.
    pub audit_hash_key: Option<Secret>,
    /// Things worth a line at start that are not errors.
    pub notes: Vec<String>,
}

/// A variable of the process environment.
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The keys of the vault alone, for commands that need nothing else.
///
/// # Errors
/// When one of them is no key.
pub fn vault_keys() -> Result<Vec<Key256>, Problems> {
    let mut vars = Vars::new(&variable, Vec::new());
    let keys = accounts::keys(&mut vars, "CORTEX_VAULT_KEY");
    vars.finish().map(|_| keys)
}

/// The database alone, for commands that need nothing else.
///
/// # Errors
/// When it is none.
pub fn database() -> Result<Option<DatabaseConfig>, Problems> {
    let mut vars = Vars::new(&variable, Vec::new());
    let database = database::read(&mut vars);
    vars.finish().map(|_| database)
}

impl Config {
    /// Reads the configuration from the process environment.
    ///
    /// # Errors
    /// All wrong values together.
    pub fn from_env() -> Result<Self, Problems> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Self::read_named(&variable, names.collect())
    }

    /// Reads the configuration from any source of variables.
    ///
    /// # Errors
    /// All wrong values together.
    pub fn read(source: &dyn Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        Self::read_named(source, Vec::new())
    }

    /// Like [`Config::read`]; `names` are those of all variables that are set.
    fn read_named(
        source: &dyn Fn(&str) -> Option<String>,
        names: Vec<String>,
    ) -> Result<Self, Problems> {
        let mut vars = Vars::new(source, names);

        let mode = vars.choice(
            "CORTEX_ENV",
            &[
                ("development", Mode::Development),
                ("production", Mode::Production),
            ],
            Mode::Development,
        );
        let listen = listen(&mut vars);
        let canonical_uri = canonical_uri(&mut vars, mode, listen);
        let dev_bypass = dev_bypass(&mut vars, mode);
        let mut resource = vec![canonical_uri.to_string()];
        // As it was written, too: `https://mcp.example.com` is a URL that ends in `/`.
        resource.extend(vars.text("CORTEX_CANONICAL_URI"));
        let oauth = oauth::read(&mut vars, dev_bypass.is_none(), &resource);
        let insecure = Insecure::read(&mut vars);
        let mut backends = backends::read(&mut vars, insecure);
        let technical = technical::read(&mut vars, oauth.as_ref(), !backends.is_empty());
        backends.extend(mcp_servers::read(&mut vars, &backends, insecure));
        backends::check_names(&mut vars, &backends);
        let exchange = exchange::read(
            &mut vars,
            oauth.as_ref().map(|oauth| oauth.issuer.as_str()),
            &technical,
            backends
                .iter()
                .any(|backend| matches!(backend.token, TokenMode::Exchange)),
        );
        let identity = identity::read(&mut vars, &canonical_uri);
        let tickets = tickets::read(&mut vars, &backends);
        let traces = traces::read(&mut vars, &identity.name);
        let database = database::read(&mut vars);
        let state_keys = accounts::keys(&mut vars, "CORTEX_STATE_KEY");
        let given = ["CORTEX_STATE_KEY", "CORTEX_STATE_KEY_FILE"];
        if database.is_some() && given.iter().all(|name| vars.text(name).is_none()) {
            vars.wrong(
                "CORTEX_STATE_KEY",
                None,
                "required with CORTEX_DATABASE_URL, the same at every gateway, or none could open what another has \
                 sealed: `openssl rand -base64 32` prints one",
            );
        }
        let config = Self {
            listen,
            mode,
            canonical_uri,
            oauth,
            required_pool: vars.text("CORTEX_REQUIRED_POOL"),
            identity,
            allowed_origins: allowed_origins(&mut vars),
            allowed_hosts: allowed_hosts(&mut vars),
            trusted_proxies: trusted_proxies(&mut vars),
            rate_limit_per_minute: NonZeroU32::new(vars.number(
                "CORTEX_RATE_LIMIT_PER_MINUTE",
                200,
                0..=1_000_000,
            )),
            context_budget: vars
                .optional_number("CORTEX_CONTEXT_BUDGET", MIN_CONTEXT_BUDGET..=u32::MAX),
            integrity: integrity::read(&mut vars),
            admin_listen: admin_listen(&mut vars),
            traces,
            admin_secret: long_secret(&mut vars, "CORTEX_ADMIN_SECRET"),
            cron_secret: long_secret(&mut vars, "CRON_SECRET"),
            max_body_bytes: vars.number(
                "CORTEX_MAX_BODY_BYTES",
                1024 * 1024,
                1024..=256 * 1024 * 1024,
            ),
            dev_bypass,
            technical,
            exchange,
            accounts: accounts::read(&mut vars),
            backends,
            refresh_seconds: vars.number("CORTEX_REFRESH_SECONDS", 60, 1..=86_400),
            bounds: bounds::read(&mut vars),
            streams: streams::read(&mut vars),
            tickets,
            plugins: plugins::read(&mut vars),
            data_dir: vars.path("CORTEX_DATA_DIR", "./data"),
            shares_data_dir: false,
            fleet: fleet::read(&mut vars, &state_keys, database.as_ref()),
            database,
            state_keys,
            audit: audit::read(&mut vars),
            audit_hash_key: vars.secret("CORTEX_AUDIT_HASH_KEY"),
            notes: Vec::new(),
        };
        vars.finish().map(|notes| Self { notes, ..config })
    }
}

/// Shortest admin secret, in bytes.
const MIN_ADMIN_SECRET: usize = 16;

fn long_secret(vars: &mut Vars<'_>, name: &'static str) -> Option<Secret> {
    let secret = vars.secret(name)?;
    if secret.reveal().len() < MIN_ADMIN_SECRET {
        vars.wrong(
            name,
            None,
            "expected 16 characters or more, such as `openssl rand -hex 32` gives",
        );
    }
    Some(secret)
}

/// A port alone is one of this machine.
fn admin_listen(vars: &mut Vars<'_>) -> Option<SocketAddr> {
    let text = vars.text("CORTEX_ADMIN_LISTEN")?;
    let port = text.parse().map(|port| SocketAddr::new(DEFAULT.ip(), port));
    let address = text.parse().or(port);
    if address.is_err() {
        let expected =
            "expected a port, or an address and a port, such as `9464` or `10.0.0.5:9464`";
        vars.wrong("CORTEX_ADMIN_LISTEN", Some(&text), expected);
    }
    address.ok()
}

/// Where the gateway listens unless it is told otherwise.
const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3213);

fn listen(vars: &mut Vars<'_>) -> SocketAddr {
    if let Some(text) = vars.text("CORTEX_LISTEN") {
        return text.parse().unwrap_or_else(|_| {
            vars.wrong(
                "CORTEX_LISTEN",
                Some(&text),
                "expected an address and a port, such as `127.0.0.1:3213`",
            );
            DEFAULT
        });
    }
    if let Some(text) = vars.text("PORT") {
        return match text.parse() {
            Ok(port) => SocketAddr::new(DEFAULT.ip(), port),
            Err(_) => {
                vars.wrong("PORT", Some(&text), "expected a port number, 0 to 65535");
                DEFAULT
            }
        };
    }
    DEFAULT
}

fn canonical_uri(vars: &mut Vars<'_>, mode: Mode, listen: SocketAddr) -> Url {
    // With a port other than the default, `localhost:3213` would name somebody else.
    let default = format!("http://localhost:{}/mcp", listen.port());
    let given = vars.text("CORTEX_CANONICAL_URI");
    if given.is_none() && mode == Mode::Production {
        vars.wrong(
            "CORTEX_CANONICAL_URI",
            None,
            "required in production: the public URL of /mcp",
        );
    }
    let text = given.unwrap_or(default);
    match Url::parse(&text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.fragment().is_none()
                && url.has_host() =>
        {
            url
        }
        _ => {
            vars.wrong(
                "CORTEX_CANONICAL_URI",
                Some(&text),
                "expected an http or https URL without fragment, such as `https://mcp.example.com/mcp`",
            );
            fallback_uri()
        }
    }
}

/// Stands in for a URI that was reported as wrong; never served.
#[expect(clippy::expect_used, reason = "a constant that is a URL")]
fn fallback_uri() -> Url {
    Url::parse("http://localhost:3213/mcp").expect("a constant URL")
}

fn dev_bypass(vars: &mut Vars<'_>, mode: Mode) -> Option<DevBypass> {
    let token = vars.secret("CORTEX_DEV_BYPASS_TOKEN")?;
    let scopes_text = vars.text("CORTEX_DEV_BYPASS_SCOPES").unwrap_or_default();
    let scopes = scopes_text.parse().unwrap_or_else(|_| {
        vars.wrong(
            "CORTEX_DEV_BYPASS_SCOPES",
            Some(&scopes_text),
            "expected scopes separated by blanks",
        );
        ScopeSet::default()
    });
    let role = vars
        .text("CORTEX_DEV_BYPASS_ROLE")
        .unwrap_or_else(|| "admin".to_owned());
    if mode == Mode::Production {
        vars.note("CORTEX_DEV_BYPASS_TOKEN is ignored: CORTEX_ENV is production".to_owned());
        return None;
    }
    Some(DevBypass {
        token,
        scopes,
        role,
    })
}

fn allowed_hosts(vars: &mut Vars<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for entry in vars.list("CORTEX_ALLOWED_HOSTS") {
        let name = entry.strip_prefix("*.").unwrap_or(&entry);
        let is_name = matches!(url::Host::parse(name), Ok(url::Host::Domain(parsed)) if parsed == name.to_ascii_lowercase());
        if is_name {
            hosts.push(entry.to_ascii_lowercase());
        } else {
            vars.wrong(
                "CORTEX_ALLOWED_HOSTS",
                Some(&entry),
                "expected names such as `gateway.internal` or `*.example.com`, without port, separated by commas",
            );
        }
    }
    hosts
}

fn trusted_proxies(vars: &mut Vars<'_>) -> Vec<Network> {
    let mut proxies = Vec::new();
    for entry in vars.list("CORTEX_TRUSTED_PROXIES") {
        match entry.parse() {
            Ok(network) => proxies.push(network),
            Err(_) => vars.wrong(
                "CORTEX_TRUSTED_PROXIES",
                Some(&entry),
                "expected addresses or networks such as `127.0.0.1`, `10.0.0.0/8` or `fd00::/8`, separated by commas",
            ),
        }
    }
    proxies
}

fn allowed_origins(vars: &mut Vars<'_>) -> Vec<String> {
    let mut origins = Vec::new();
    for entry in vars.list("CORTEX_ALLOWED_ORIGINS") {
        let exact = Url::parse(&entry).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.origin().ascii_serialization() == entry.to_ascii_lowercase()
        });
        let suffix = entry.strip_prefix("*.").is_some_and(|s| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        });
        if exact || suffix {
            origins.push(entry.to_ascii_lowercase());
        } else {
            vars.wrong(
                "CORTEX_ALLOWED_ORIGINS",
                Some(&entry),
                "expected origins such as `https://app.example.com` or `*.example.com`, separated by commas",
            );
        }
    }
    origins
}

#[cfg(test)]
mod tests;
