//! The command line.

use clap::{Parser, Subcommand};

use crate::{app, config, telemetry};

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
}

/// Runs the command line of this process.
///
/// # Errors
/// Whatever keeps the command from ending well.
pub fn run() -> anyhow::Result<()> {
    let Cli { command } = Cli::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve(),
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
