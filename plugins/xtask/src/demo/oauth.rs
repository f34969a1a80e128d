//! The development authorization server of `examples/dev-auth-server`, beside the demo's gateway:
//! MCP clients find it by themselves and log in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::calls::{self, Credential};
use super::services::Service;
use crate::error::{Error, Result};
use crate::{http, messages, process, workspace};

/// The client that is there from the start, for calls without a person; its secret is one only
/// by name, because anybody on this machine can register another client.
const CLIENT: (&str, &str) = ("demo-agent", "demo-secret");
/// `demo-agent:demo-secret`, as HTTP's Basic scheme has it.
const CLIENT_BASIC: &str = "Basic ZGVtby1hZ2VudDpkZW1vLXNlY3JldA==";

/// What starts the server.
#[derive(Debug)]
pub struct Installed {
    node: PathBuf,
    program: PathBuf,
}

/// A running server.
#[derive(Debug)]
pub struct AuthServer {
    service: Service,
    issuer: String,
}

/// Installs the server and, where this machine has none that is new enough, Node.js; both below
/// the target folder.
pub fn install() -> Result<Installed> {
    let script = workspace::root().join("examples/dev-auth-server/install.sh");
    let mut command = Command::new("sh");
    command.arg(&script).arg(workspace::target_dir());
    let lines = process::output_lines(&mut command).map_err(|error| {
        Error::new(format!("the authorization server cannot be installed: {error}"))
            .hint("install Node.js 22.19 or newer with npm; `cargo xtask demo` without --oauth needs neither")
            .with_exit_code(error.exit_code())
    })?;
    match &lines[..] {
        [node, program] => Ok(Installed {
            node: node.into(),
            program: program.into(),
        }),
        _ => Err(Error::new(
            "the authorization server's install.sh printed something else than two paths",
        )),
    }
}

impl AuthServer {
    /// Starts it on a free port. A new port each time: it remembers no client that registered
    /// before, and clients notice by the new name that they have to register again.
    pub fn start(installed: &Installed, resource: &str, folder: &Path) -> Result<Self> {
        let mut command = super::clean(&installed.node);
        command
            .arg(&installed.program)
            .env_remove("NODE_ENV")
            .env_remove("DEV_AUTH_HOST")
            .env("PORT", "0")
            .env("DEV_AUTH_RESOURCE", resource)
            .env("DEV_AUTH_CLIENTS", format!("{}:{}", CLIENT.0, CLIENT.1));
        let mut service = Service::start("dev-auth-server", &mut command, folder)?;
        let issuer = service.wait_for(Duration::from_secs(60), |log| {
            log.lines()
                .find_map(|line| line.strip_prefix("dev-auth-server listening on "))
                .map(str::to_owned)
        })?;
        Ok(Self { service, issuer })
    }

    /// Its name, which is its URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The process.
    pub fn service(&mut self) -> &mut Service {
        &mut self.service
    }

    /// Tells a gateway to accept its tokens, and to notice soon when one is revoked.
    pub fn configure(&self, gateway: &mut Command) {
        gateway
            .env("OAUTH_ISSUER", &self.issuer)
            .env(
                "OAUTH_INTROSPECT_URL",
                format!("{}/introspect", self.issuer),
            )
            .env("OAUTH_INTROSPECT_CLIENT_ID", CLIENT.0)
            .env("OAUTH_INTROSPECT_CLIENT_SECRET", CLIENT.1)
            .env("OAUTH_INTROSPECT_CACHE_TTL_SECONDS", "5");
    }

    /// A token by client credentials, with all scopes that the gateway names.
    pub fn token(&mut self) -> Result<Credential> {
        let address: Option<SocketAddr> = self
            .issuer
            .strip_prefix("http://")
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            return Err(self.service.explain("it told no address"));
        };
        let headers = [
            ("Authorization", CLIENT_BASIC),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
        ];
        let answer = http::send(
            address,
            "POST",
            "/token",
            &headers,
            "grant_type=client_credentials",
            Duration::from_secs(30),
        )
        .map_err(|error| self.service.explain(&format!("no token: {error}")))?;
        match messages::string(&answer.body, "access_token") {
            Some(token) if answer.status == 200 => Ok(Credential::Bearer(token)),
            _ => Err(self
                .service
                .explain(&format!("no token, but status {}", answer.status))),
        }
    }

    /// What the user is told once everything runs.
    pub fn introduction(
        &self,
        gateway: SocketAddr,
        answer: &str,
        plugins: &Path,
        logs: &Path,
    ) -> String {
        let (url, issuer) = (calls::url(gateway), &self.issuer);
        let (plugins, logs) = (plugins.display(), logs.display());
        let (id, secret) = CLIENT;
        format!(
            r#"
The gateway runs, and accepts the tokens of an authorization server of its own. With one of
them it has just answered a call of the tool demo_echo:

  {answer}

MCP endpoint:         {url}
Authorization server: {issuer}   (for development only: anybody signs in as anybody)

In an MCP client, give the URL of the MCP endpoint and nothing else. It finds the rest, opens
your browser, and you choose a user (alice may do everything) and the scopes to grant:

  npx @modelcontextprotocol/inspector --web --transport http --server-url {url}
  npx @modelcontextprotocol/inspector --cli {url} --method tools/list
  claude mcp add --transport http cortex {url} && claude mcp login cortex

MCP Inspector needs Node.js 22.19. Some clients, Claude Code among them, describe themselves in
a document on the Internet; where that is out of reach, begin with DEV_AUTH_CLIENT_DOCUMENTS=off.
A token without a browser:

  curl -s -u {id}:{secret} {issuer}/token -d grant_type=client_credentials

Plugins: {plugins} (what is dropped there is loaded at once)
Logs:    {logs}

Ctrl-C stops all three."#
        )
    }
}
