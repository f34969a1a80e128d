//! The command line.

use clap::{Parser, Subcommand};

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
    }
}

fn serve() -> anyhow::Result<()> {
    let config = config::Config::from_env()?;
    telemetry::init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(app::run(config))
}

fn speak_stdio(options: stdio::Options) -> anyhow::Result<()> {
    let config = config::StdioConfig::from_env()?;
    telemetry::init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(stdio::run(options, config));
    // A thread may still wait for another process's login; it is of no use any more.
    runtime.shutdown_background();
    outcome
}
