//! What a call through the gateway costs, beside a raw hyper proxy measured in the same run.
//!
//! Backend and proxy are this binary again, as processes of their own: CPU and memory are read
//! per process from `/proc`, and the load never shares a process with what it measures. There
//! are no time limits to pass or fail: the result is a table for people, and the only failures
//! are wrong answers and parts that do not run.

mod backend;
mod callers;
mod check;
mod child;
mod client;
mod echo;
mod exchange;
mod gateway;
mod languages;
mod load;
mod measure;
mod native;
mod neighbours;
mod process;
mod proxy;
mod refresh;
mod report;
mod scratch;
mod serve;
mod sets;
mod stage;
mod starts;
mod streams;
mod swaps;
mod table;
mod targets;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::serve::Http;
use crate::sets::Set;

/// Measures the gateway beside a raw hyper proxy.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(flatten)]
    measure: Option<Options>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What is measured and for how long.
#[derive(Args, Clone, Debug)]
struct Options {
    /// The `cortex-gateway` binary.
    #[arg(long, value_name = "FILE")]
    gateway: PathBuf,
    /// Another build of it, measured in turn with the first: what a change is worth. May be given several times.
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Another MCP gateway to measure with the set `native`: a program that gets the URL of an MCP server called `old`
    /// and prints `listening on ADDRESS`. May be given several times.
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["languages", "neighbours", "swaps"])]
    beside: Vec<PathBuf>,
    /// Directory with the components.
    #[arg(long, value_name = "DIR")]
    plugins: PathBuf,
    /// What to measure; unless told, what there are targets for.
    #[arg(long, value_name = "SET,SET", value_delimiter = ',')]
    only: Option<Vec<Set>>,
    /// Measure all of it: every set, size and mode.
    #[arg(long)]
    full: bool,
    /// Numbers of keep-alive connections to measure with, instead of each set's own.
    #[arg(long, value_name = "N,N", value_delimiter = ',',
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: Option<Vec<u16>>,
    /// Calls of one measurement.
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    calls: u64,
    /// Write the tables to this file as well.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Measure the same adapter in several languages instead.
    #[arg(long, requires = "guests", conflicts_with_all = ["only", "full"])]
    languages: bool,
    /// Measure calls beside components that do their worst instead.
    #[arg(long, requires = "guests", conflicts_with_all = ["only", "full", "languages"])]
    neighbours: bool,
    /// Swap plugins so many times under load instead, and watch the gateway's memory.
    #[arg(long, value_name = "N", conflicts_with_all = ["only", "full", "languages", "neighbours"])]
    swaps: Option<u32>,
    /// Directory with the components of tests and examples besides the default ones.
    #[arg(long, value_name = "DIR")]
    guests: Option<PathBuf>,
    /// How often everything is measured, in turn; the table shows medians.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=99))]
    rounds: u16,
    /// Seconds after which one measurement ends, with the calls it has.
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// The parts that a measurement starts as processes. Each ends when its standard input does.
#[derive(Subcommand)]
enum Part {
    /// A contract backend that answers as fast as it can and checks nothing.
    Backend {
        /// How many tools it has.
        #[arg(long, value_name = "N", default_value_t = 1)]
        tools: usize,
        /// Speaks HTTP/2 instead of HTTP/1.1.
        #[arg(long)]
        http2: bool,
    },
    /// A native MCP server with one tool.
    Native {
        /// `modern` or `legacy`.
        #[arg(long, value_parser = ["modern", "legacy"])]
        era: String,
    },
    /// A server that answers every POST with what was PUT last.
    Echo,
    /// A reverse proxy that only forwards: the least that a hop over hyper costs.
    Proxy {
        /// Where to forward to.
        #[arg(long, value_name = "ADDRESS")]
        upstream: SocketAddr,
        /// Speaks HTTP/2 to it instead of HTTP/1.1.
        #[arg(long)]
        http2: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run(Cli::parse()).await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("cortex-bench: {error:#}");
    ExitCode::FAILURE
}

async fn run(cli: Cli) -> Result<()> {
    match (cli.part, cli.measure) {
        (Some(Part::Backend { tools, http2 }), _) => {
            serve::until_stdin_ends(backend::Backend::new(tools), Http::of(http2)).await
        }
        (Some(Part::Native { era }), _) => {
            let modern = era == "modern";
            serve::until_stdin_ends(native::Native { modern }, Http::One).await
        }
        (Some(Part::Echo), _) => serve::until_stdin_ends(echo::Echo::default(), Http::One).await,
        (Some(Part::Proxy { upstream, http2 }), _) => {
            let proxy = proxy::Proxy::new(upstream, Http::of(http2));
            serve::until_stdin_ends(proxy, Http::One).await
        }
        (None, Some(options)) if options.neighbours => neighbours::run(&options).await,
        (None, Some(options)) => match options.swaps {
            Some(times) => swaps::run(&options, times).await,
            None => measure::run(&options).await,
        },
        (None, None) => Cli::command()
            .error(
                clap::error::ErrorKind::MissingRequiredArgument,
                "--gateway and --plugins are needed",
            )
            .exit(),
    }
}
