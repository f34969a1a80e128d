//! One whole run: starts the parts, measures them in turn, ends them whatever happened.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::Options;
use crate::load::Load;
use crate::process;
use crate::report::{self, Row, Sample};
use crate::stage::{Middle, Stage};

/// Most calls that are made before those that count.
const WARM_UP: u64 = 1_000;
/// After the last answer, before CPU is read: what a call leaves to be done later, such as
/// writing its audit record, belongs to its cost.
const SETTLE: Duration = Duration::from_millis(300);

/// What a run has found.
#[derive(Default)]
struct Findings {
    rows: Vec<Row>,
    /// Calls that gateways were asked to make, those that do not count included.
    gateway_calls: u64,
}

/// Measures and prints the table.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut stage = Stage::default();
    let outcome = tokio::select! {
        outcome = measure(&mut stage, options) => outcome,
        signal = stop_signal() => {
            stage.end().await;
            return Err(signal.err().unwrap_or_else(|| anyhow!("interrupted")));
        }
    };
    let audit_lines = stage.lines();
    if outcome.is_err() {
        for words in stage.last_words() {
            eprintln!("{words}");
        }
    }
    stage.end().await;
    let findings = outcome?;
    print!("{}", report::table(&findings.rows));
    println!("{}", report::remarks(audit_lines, findings.gateway_calls));
    Ok(())
}

async fn measure(stage: &mut Stage, options: &Options) -> Result<Findings> {
    let middles = stage.set(options).await?;
    let mut findings = Findings::default();
    for connections in &options.connections {
        findings.rows.extend(middles.iter().map(|middle| Row {
            scenario: middle.scenario,
            tools: middle.tools,
            connections: *connections,
            rss_idle_kib: middle.rss_idle_kib,
            samples: Vec::new(),
        }));
    }
    // In turn, and again in turn: what else happens on the machine then hits all alike.
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        let mut rows = findings.rows.iter_mut();
        for connections in &options.connections {
            for (middle, row) in middles.iter().zip(&mut rows) {
                let (sample, calls) =
                    sample(middle, *connections, options)
                        .await
                        .with_context(|| {
                            let (scenario, tools) = (middle.scenario, middle.tools);
                            format!("{scenario}, {tools} tools, {connections} connections")
                        })?;
                row.samples.push(sample);
                if middle.exchange.is_mcp() {
                    findings.gateway_calls += calls;
                }
            }
        }
    }
    Ok(findings)
}

/// One measurement, and the calls made for it.
async fn sample(middle: &Middle, connections: u16, options: &Options) -> Result<(Sample, u64)> {
    let limit = Duration::from_secs(options.seconds);
    let mut load = Load::open(middle.address, middle.exchange, connections).await?;
    let warm_up = (options.calls / 10).min(WARM_UP).max(connections.into());
    let warm_up = load.run(warm_up, limit).await.context("warm-up")?;
    tokio::time::sleep(SETTLE).await;

    process::reset_peak(middle.pid);
    let before = process::cpu(middle.pid)?;
    let outcome = load.run(options.calls, limit).await?;
    tokio::time::sleep(SETTLE).await;
    let cpu = process::cpu(middle.pid)?.saturating_sub(before);
    let sample = Sample::new(&outcome, cpu, process::peak_kib(middle.pid)?)?;
    Ok((sample, warm_up.latencies.len() + outcome.latencies.len()))
}

/// Resolves when somebody asks us to stop.
#[cfg(unix)]
async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Resolves when somebody asks us to stop.
#[cfg(not(unix))]
async fn stop_signal() -> Result<()> {
    Ok(tokio::signal::ctrl_c().await?)
}
