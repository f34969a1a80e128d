//! One whole run: starts the parts, measures them in turn, ends them whatever happened.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::load::Load;
use crate::report::{self, Findings, Role, Row, Sample};
use crate::sets::{Group, Set, USUAL};
use crate::stage::{Middle, Stage};
use crate::{Options, languages, process, refresh, starts, streams, swaps, targets};

/// Most calls that are made before those that count.
const WARM_UP: u64 = 1_000;
/// After the last answer, before CPU is read: what a call leaves to be done later, such as
/// writing its audit record, belongs to its cost.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures and prints the tables.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut stage = Stage::default();
    let mut findings = Findings::default();
    let outcome = tokio::select! {
        outcome = measure(&mut stage, &mut findings, options) => outcome,
        signal = stop_signal() => {
            stage.clear().await;
            return Err(signal.err().unwrap_or_else(|| anyhow!("interrupted")));
        }
    };
    if outcome.is_err() {
        for words in stage.last_words() {
            eprintln!("{words}");
        }
    }
    stage.clear().await;
    outcome?;
    let text = text(&findings, stage.lines());
    print!("{text}");
    if let Some(file) = &options.markdown {
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn text(findings: &Findings, audit_lines: u64) -> String {
    let mut parts = Vec::new();
    if !findings.rows.is_empty() {
        parts.push(findings.loads());
    }
    if !findings.figures.is_empty() {
        parts.push(findings.others());
    }
    parts.push(targets::targets(findings));
    let remarks = report::remarks(audit_lines, findings.gateway_calls);
    parts.push(format!("{remarks}\n"));
    parts.join("\n")
}

async fn measure(stage: &mut Stage, findings: &mut Findings, options: &Options) -> Result<()> {
    if options.languages {
        return group(stage, findings, options, languages::group(options)?).await;
    }
    let sets = match (&options.only, options.full) {
        (Some(only), _) => only.clone(),
        (None, true) => <Set as clap::ValueEnum>::value_variants().to_vec(),
        (None, false) => USUAL.to_vec(),
    };
    for set in sets {
        eprintln!("measuring: {set:?}");
        for of_it in set.groups(options.full) {
            group(stage, findings, options, of_it).await?;
        }
        let outcome = match set {
            Set::Streams => streams::measure(stage, findings, options).await,
            Set::Start => starts::measure(stage, findings, options).await,
            Set::Swap => swaps::measure_times(stage, findings, options).await,
            Set::Refresh => refresh::measure(stage, findings, options).await,
            _ => Ok(()),
        };
        outcome.with_context(|| format!("{set:?}"))?;
        stage.clear().await;
    }
    Ok(())
}

/// Measures one group from its start to its end.
async fn group(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
    mut group: Group,
) -> Result<()> {
    if let Some(connections) = &options.connections {
        group.connections.clone_from(connections);
    }
    let middles = stage.set(options, &group).await?;
    let number = findings.rows.last().map_or(0, |row| row.group + 1);
    let begin = findings.rows.len();
    for connections in &group.connections {
        findings.rows.extend(middles.iter().map(|middle| Row {
            set: group.name,
            group: number,
            scenario: middle.scenario.clone(),
            role: middle.role,
            tools: group.tools,
            backends: group.backends,
            connections: *connections,
            rss_idle_kib: middle.rss_idle_kib,
            samples: Vec::new(),
        }));
    }
    // In turn, and again in turn: what else happens on the machine then hits all alike.
    for round in 1..=options.rounds {
        eprintln!(
            "  {}, {} tools, {} backends: round {round} of {}",
            group.name, group.tools, group.backends, options.rounds
        );
        let mut rows = findings.rows[begin..].iter_mut();
        for connections in &group.connections {
            for (middle, row) in middles.iter().zip(&mut rows) {
                let (sample, calls) =
                    sample(middle, *connections, options)
                        .await
                        .with_context(|| {
                            let (set, scenario) = (group.name, &middle.scenario);
                            let tools = group.tools;
                            format!("{set}: {scenario}, {tools} tools, {connections} connections")
                        })?;
                row.samples.push(sample);
                if middle.role == Role::Gateway {
                    findings.gateway_calls += calls;
                }
            }
        }
    }
    stage.clear().await;
    Ok(())
}

/// One measurement, and the calls made for it.
async fn sample(middle: &Middle, connections: u16, options: &Options) -> Result<(Sample, u64)> {
    let limit = Duration::from_secs(options.seconds);
    let calls = options.calls.min(middle.most_calls);
    let warm_up = match middle.call.callers {
        // Each of them comes once.
        crate::callers::Callers::InTurn(people) => people,
        _ => (calls / 10).min(WARM_UP).max(connections.into()),
    };
    let all = calls + warm_up;
    let mut load = Load::open(middle.address, middle.call, connections, all).await?;
    let before = load.run(warm_up, limit).await.context("warm-up")?;
    let warm_up = before.latencies.len();
    tokio::time::sleep(SETTLE).await;

    process::reset_peak(middle.pid);
    let before = process::cpu(middle.pid)?;
    let outcome = load.run(calls, limit).await?;
    tokio::time::sleep(SETTLE).await;
    let cpu = process::cpu(middle.pid)?.saturating_sub(before);
    let sample = Sample::new(&outcome, cpu, process::peak_kib(middle.pid)?)?;
    Ok((sample, warm_up + outcome.latencies.len()))
}

/// Resolves when somebody asks us to stop.
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
