//! The command line.

mod audit;
mod baseline;
mod doctor;
mod keys;
mod lock;
mod plugin;
mod status;
mod store;
mod terminal;
mod tickets;
mod tokens;
mod vault;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::operator;
use crate::{app, config, stdio, telemetry};

/// An MCP gateway whose backend adapters, scope policies and audit exporters are WebAssembly
/// components.
#[derive(Debug, Parser)]
#[command(name = "cortex-gateway", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default). Configured by environment variables; see docs/operators.md.
    Serve,
    /// Speak MCP on standard input and output, for clients that know nothing else: with a gateway
    /// elsewhere (--url), or with one that is started here. See docs/users.md.
    Stdio(stdio::Options),
    /// Tell whether a gateway could be started with this environment: all wrong values at once, and the plugin
    /// directory. Starts and contacts nothing. Exit status 1 when it could not.
    Check(doctor::Options),
    /// Walk the whole chain, from the configuration to everybody whom the gateway depends on, and tell of each
    /// part whether it works and what to do. Exit status 1 when something is broken. See docs/troubleshooting.md.
    Doctor(doctor::Options),
    /// Tell how a running gateway's backends are, and what of them is left out and why.
    Status(Asking),
    /// What agents reported that they could not do, and your answers. See docs/operators.md.
    #[command(subcommand)]
    Tickets(tickets::Command),
    /// Tool definitions that changed since they were approved, and files of approvals. See
    /// docs/operators.md.
    #[command(subcommand)]
    Baseline(baseline::Command),
    /// Pin what a running gateway runs and offers: components, their grants, and tool definitions, in
    /// `cortex.lock` (CORTEX_LOCK_FILE). From then on anything else is withheld.
    Lock(Asking),
    /// Tell what is not as `cortex.lock` says. Exit status 1 when anything is.
    Diff(Asking),
    /// Let files of the plugin directory (`x.wasm`) and tools (`docs/search`) be as they are now, in
    /// `cortex.lock`.
    Approve(lock::Approve),
    /// Plugins: what runs of the plugin directory, and what does not and why. See docs/operators.md.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Records of requests: look through them, check that none was changed, forget somebody. See
    /// docs/audit.md.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Access tokens that are refused before their end: revoke, list, lift. See docs/operators.md.
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Accounts that users have linked: how many, by which key they are sealed, and forgetting them. See
    /// docs/operators.md.
    #[command(subcommand)]
    Vault(vault::Command),
    /// Where the gateway keeps what it keeps, and moving it: from the data directory into a database, and back. See
    /// docs/operators.md.
    #[command(subcommand)]
    Store(store::Command),
}

/// Whom an operator's command is for, and how the answer is written.
#[derive(Debug, Args)]
struct Asking {
    /// The gateway's data directory.
    #[arg(long, env = "CORTEX_DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Write the answer as JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Asking {
    /// Has a command carried out, by the running gateway if there is one, and writes the answer.
    fn ask(
        &self,
        command: operator::Command,
        in_words: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        let answer = self.answer(command)?;
        self.show(&answer, in_words);
        Ok(())
    }

    /// Has a command carried out, by the running gateway if there is one.
    fn answer(&self, command: operator::Command) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(operator::ask(&self.data_dir, command))
    }

    /// Writes an answer.
    fn show(&self, answer: &Value, in_words: impl FnOnce(&Value) -> String) {
        if self.json {
            println!("{}", terminal::plain_json(&format!("{answer:#}")));
        } else {
            print!("{}", in_words(answer));
        }
    }
}

/// Runs the command line of this process.
///
/// # Errors
/// Whatever keeps the command from ending well.
pub fn run() -> anyhow::Result<()> {
    let Cli { command } = Cli::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve(),
        Command::Stdio(options) => speak_stdio(options),
        Command::Check(options) => options.check(),
        Command::Doctor(options) => options.examine(),
        Command::Status(asking) => asking.ask(operator::Command::Status, status::in_words),
        Command::Tickets(command) => tickets::run(command),
        Command::Baseline(command) => baseline::run(command),
        Command::Lock(asking) => lock::lock(&asking),
        Command::Diff(asking) => lock::diff(&asking),
        Command::Approve(approve) => lock::approve(approve),
        Command::Plugin(command) => plugin::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Tokens(command) => tokens::run(command),
        Command::Vault(command) => vault::run(command),
        Command::Store(command) => store::run(command),
    }
}

fn serve() -> anyhow::Result<()> {
    let config = config::Config::from_env()?;
    telemetry::init(config::log_format()?);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // One may wait for the disk to take an audit record.
        .worker_threads(threads.max(2))
        .enable_all()
        .build()?;
    runtime.block_on(app::run(config))
}

fn speak_stdio(options: stdio::Options) -> anyhow::Result<()> {
    let config = config::StdioConfig::from_env()?;
    telemetry::init(config::log_format()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(stdio::run(options, config));
    // A thread may still wait for another process's login; it is of no use any more.
    runtime.shutdown_background();
    outcome
}
