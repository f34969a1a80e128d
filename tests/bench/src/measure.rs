//! One whole run: starts the parts, measures them in turn, ends them whatever happened.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

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
        return groups(stage, findings, options, [languages::group(options)?]).await;
    }
    for set in chosen(options)? {
        eprintln!("measuring: {set:?}");
        let mut all = set.groups(options.full);
        while !all.is_empty() {
            let together = if set.compares_groups() { all.len() } else { 1 };
            groups(stage, findings, options, all.drain(..together)).await?;
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

/// What to measure.
fn chosen(options: &Options) -> Result<Vec<Set>> {
    let sets = match (&options.only, options.full) {
        (Some(only), _) => only.clone(),
        (None, true) => <Set as clap::ValueEnum>::value_variants().to_vec(),
        (None, false) => USUAL.to_vec(),
    };
    if !options.beside.is_empty() && !sets.contains(&Set::Native) {
        bail!("another gateway is measured with the set `native`: add `--only native`");
    }
    Ok(sets)
}

/// A group that is set up, and where its rows begin.
struct Ready {
    group: Group,
    middles: Vec<Middle>,
    begin: usize,
}

/// Measures groups in turn, from their start to their end.
async fn groups(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
    groups: impl IntoIterator<Item = Group>,
) -> Result<()> {
    let mut ready = Vec::new();
    for mut group in groups {
        if let Some(connections) = &options.connections {
            group.connections.clone_from(connections);
        }
        let middles = stage.set(options, &group).await?;
        let begin = findings.rows.len();
        let number = findings.rows.last().map_or(0, |row| row.group + 1);
        for (connections, paced) in ways(&group) {
            findings
                .rows
                .extend(those(&middles, paced).map(|middle| Row {
                    set: group.name,
                    group: number,
                    scenario: middle.scenario.clone(),
                    role: middle.role,
                    tools: group.tools,
                    backends: group.backends,
                    connections,
                    paced,
                    rss_idle_kib: middle.rss_idle_kib,
                    samples: Vec::new(),
                }));
        }
        ready.push(Ready {
            group,
            middles,
            begin,
        });
    }
    // In turn, and again in turn: what else happens on the machine then hits all alike.
    for round in 1..=options.rounds {
        for ready in &ready {
            let group = &ready.group;
            eprintln!(
                "  {}, {} tools, {} backends: round {round} of {}",
                group.name, group.tools, group.backends, options.rounds
            );
            once(ready, findings, options).await?;
        }
    }
    stage.clear().await;
    Ok(())
}

/// The numbers of connections to measure a group with, and whether at a set rate.
fn ways(group: &Group) -> impl Iterator<Item = (u16, bool)> {
    let flat_out = group.connections.iter().copied();
    let paced = group.paced.filter(|n| group.connections.contains(n));
    (flat_out.map(|n| (n, false))).chain(paced.map(|n| (n, true)))
}

/// What is measured of them in this way: how fast an echo could answer is no question at a set rate.
fn those(middles: &[Middle], paced: bool) -> impl Iterator<Item = &Middle> {
    middles
        .iter()
        .filter(move |middle| !paced || matches!(middle.role, Role::Proxy | Role::Gateway))
}

/// Measures everything in a group once.
async fn once(ready: &Ready, findings: &mut Findings, options: &Options) -> Result<()> {
    let Ready {
        group,
        middles,
        begin,
    } = ready;
    let mut place = *begin;
    let mut reached = None;
    for (connections, paced) in ways(group) {
        let rate = match (paced, reached) {
            (true, Some(reached)) => Some(reached / 2.0),
            _ => None,
        };
        let mut first = true;
        for middle in those(middles, paced) {
            let (sample, calls) = sample(middle, connections, rate, options)
                .await
                .with_context(|| {
                    let (set, scenario) = (group.name, &middle.scenario);
                    let tools = group.tools;
                    format!("{set}: {scenario}, {tools} tools, {connections} connections")
                })?;
            if middle.role == Role::Gateway {
                findings.gateway_calls += calls;
                if std::mem::take(&mut first) && !paced && group.paced == Some(connections) {
                    reached = Some(report::rate(&sample));
                }
            }
            if let Some(row) = findings.rows.get_mut(place) {
                row.samples.push(sample);
            }
            place += 1;
        }
    }
    Ok(())
}

/// One measurement, at this rate or as fast as answers come, and the calls made for it.
async fn sample(
    middle: &Middle,
    connections: u16,
    rate: Option<f64>,
    options: &Options,
) -> Result<(Sample, u64)> {
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
    let outcome = match rate {
        Some(rate) => load.run_at(rate, calls, limit).await?,
        None => load.run(calls, limit).await?,
    };
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn options(more: &[&str]) -> Options {
        let usual = ["cortex-bench", "--gateway", "g", "--plugins", "p"];
        crate::Cli::parse_from(usual.iter().chain(more))
            .measure
            .unwrap()
    }

    #[test]
    fn another_gateway_is_not_left_out_without_a_word() {
        assert_eq!(chosen(&options(&[])).unwrap(), USUAL);
        let only = ["--only", "calls,native", "--beside", "other"];
        assert_eq!(chosen(&options(&only)).unwrap(), [Set::Calls, Set::Native]);
        for left_out in [
            &["--beside", "other"][..],
            &["--beside", "other", "--only", "calls"],
        ] {
            let error = chosen(&options(left_out)).unwrap_err().to_string();
            assert!(error.contains("--only native"), "{error}");
        }
    }
}
