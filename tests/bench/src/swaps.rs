//! Plugins swapped under load, again and again: no call fails, and what was replaced leaves nothing behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::Options;
use crate::client::Call;
use crate::exchange::Exchange;
use crate::gateway::{Behind, Instances, figure};
use crate::load::Load;
use crate::process;
use crate::report::{Figure, Findings};
use crate::stage::{Gateway, Stage};
use crate::targets::figure::SWAP;

/// One plugin of each kind.
const SWAPPED: [&str; 3] = ["policy-scopes", "backend-http", "audit-stdout"];
/// Longest that a swap may take.
const LONGEST: Duration = Duration::from_secs(30);
/// Connections that call meanwhile.
const CALLING: u16 = 4;
/// How many lines the table has.
const LINES: u32 = 10;

/// Swaps so many times in all, and prints how the gateway's memory is meanwhile.
pub(crate) async fn run(options: &Options, times: u32) -> Result<()> {
    let mut stage = Stage::default();
    let outcome = measure(&mut stage, options, times).await;
    stage.clear().await;
    outcome
}

/// Calls that go on until they are told to stop.
struct Calling {
    task: tokio::task::JoinHandle<Result<u64>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Calling {
    async fn begin(gateway: &Gateway) -> Result<Self> {
        let call = Call::new(Exchange::Call);
        let mut load = Load::open(gateway.address, call, CALLING, u64::MAX).await?;
        let limit = Duration::from_secs(24 * 3600);
        load.run(1_000, limit).await.context("warm-up")?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let mut made = 0;
            tokio::pin!(stopped);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return Ok(made),
                    outcome = load.run(200, limit) => made += outcome?.latencies.len(),
                }
            }
        });
        Ok(Self { task, stop })
    }

    /// Fails when a call has.
    async fn check(self) -> Result<Self> {
        if self.task.is_finished() {
            self.task.await?.context("a call failed")?;
            bail!("calls ended");
        }
        Ok(self)
    }

    /// Ends them; returns how many there were.
    async fn end(self) -> Result<u64> {
        // It is not there any more when a call has failed.
        let _ = self.stop.send(());
        self.task.await?.context("a call failed")
    }
}

async fn start(stage: &mut Stage, options: &Options) -> Result<Gateway> {
    let behind = Behind::one(stage.backend(2).await?);
    let plugins = stage.plugins(options, &[])?;
    stage
        .gateway(options, &behind, &plugins, Instances::Call, &[])
        .await
}

/// How long swaps take while calls go on: with a component that has not been there before, and back to
/// the one that was.
pub(crate) async fn measure_times(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
) -> Result<()> {
    let gateway = start(stage, options).await?;
    let mut calling = Calling::begin(&gateway).await?;
    for round in 0..options.rounds {
        for plugin in SWAPPED {
            let file = gateway.plugins.join(format!("{plugin}.wasm"));
            let original = std::fs::read(&file)?;
            // Other bytes of the same behaviour: a custom section, which nobody reads.
            let mut other = original.clone();
            other.extend([0, 8, 5, b'b', b'u', b'i', b'l', b'd']);
            other.extend(round.to_le_bytes());
            for (bytes, name) in [
                (other, "plugin swap, from a file never seen to use"),
                (original, SWAP),
            ] {
                let took = swap_file(&gateway, &file, &bytes)
                    .await
                    .with_context(|| plugin)?;
                findings.figure(Figure::new(name, "ms", took.as_secs_f64() * 1e3));
                calling = calling.check().await?;
            }
        }
    }
    findings.gateway_calls += 1_000 + calling.end().await?;
    Ok(())
}

/// Replaces a plugin as careful programs do, and waits until the new one is in use.
async fn swap_file(gateway: &Gateway, file: &Path, bytes: &[u8]) -> Result<Duration> {
    let enough = swaps(gateway).await? + 1.0;
    let aside = file.with_extension("aside");
    std::fs::write(&aside, bytes)?;
    let began = Instant::now();
    std::fs::rename(&aside, file)?;
    wait_for(gateway, enough, Duration::from_millis(2)).await?;
    Ok(began.elapsed())
}

async fn measure(stage: &mut Stage, options: &Options, times: u32) -> Result<()> {
    let gateway = start(stage, options).await?;
    let mut calling = Calling::begin(&gateway).await?;
    println!("| swaps | memory MiB | threads | descriptors |");
    println!("| ---: | ---: | ---: | ---: |");
    let rounds = times.div_ceil(SWAPPED.len() as u32);
    for round in 0..=rounds {
        if round % rounds.div_ceil(LINES).max(1) == 0 || round == rounds {
            let about = Path::new("/proc").join(gateway.pid.to_string());
            let count = |what| std::fs::read_dir(about.join(what)).map(Iterator::count);
            let memory = process::rss_kib(gateway.pid)? as f64 / 1024.0;
            let (threads, open) = (count("task")?, count("fd")?);
            println!("| {} | {memory:.1} | {threads} | {open} |", round * 3);
        }
        if round < rounds {
            swap(&gateway, round).await?;
        }
        calling = calling.check().await?;
    }
    let made = calling.end().await?;
    println!("\n{made} calls meanwhile, each answered as it should be.");
    Ok(())
}

/// Swaps each plugin for itself with another bound, and waits until it is in use.
async fn swap(gateway: &Gateway, round: u32) -> Result<()> {
    let enough = swaps(gateway).await? + SWAPPED.len() as f64;
    for plugin in SWAPPED {
        let path = gateway.plugins.join(format!("{plugin}.toml"));
        std::fs::write(path, format!("[limits]\nexchanges = {}\n", 100 + round % 2))?;
    }
    wait_for(gateway, enough, Duration::from_millis(20)).await
}

async fn swaps(gateway: &Gateway) -> Result<f64> {
    figure(
        gateway.address,
        r#"cortex_plugin_steps_total{step="swapped"}"#,
    )
    .await
}

async fn wait_for(gateway: &Gateway, enough: f64, pause: Duration) -> Result<()> {
    let began = Instant::now();
    while swaps(gateway).await? < enough {
        if began.elapsed() > LONGEST {
            bail!("no swap within {} s", LONGEST.as_secs());
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
