//! Plugins swapped under load, again and again: no call fails, and what was replaced leaves nothing behind.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::Options;
use crate::exchange::Exchange;
use crate::gateway::figure;
use crate::load::Load;
use crate::process;
use crate::stage::{Gateway, Stage};

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
    stage.end().await;
    outcome
}

async fn measure(stage: &mut Stage, options: &Options, times: u32) -> Result<()> {
    let (gateway, address) = stage.one_gateway(options, &[]).await?;
    let mut load = Load::open(address, Exchange::Call, CALLING).await?;
    let limit = Duration::from_secs(24 * 3600);
    load.run(1_000, limit).await.context("warm-up")?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let calling = tokio::spawn(async move {
        let mut made = 0;
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => return Ok::<u64, anyhow::Error>(made),
                outcome = load.run(200, limit) => made += outcome?.latencies.len(),
            }
        }
    });
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
            swap(&gateway, address, round).await?;
        }
        ensure!(
            !calling.is_finished(),
            "a call failed: {:#}",
            calling.await?.err().context("it ended")?
        );
    }
    let _ = stop.send(());
    let made: u64 = calling.await??;
    println!("\n{made} calls meanwhile, each answered as it should be.");
    Ok(())
}

/// Swaps each plugin for itself with another bound, and waits until it is in use.
async fn swap(gateway: &Gateway, address: SocketAddr, round: u32) -> Result<()> {
    let swaps = || figure(address, r#"cortex_plugin_steps_total{step="swapped"}"#);
    let enough = swaps().await? + SWAPPED.len() as f64;
    for plugin in SWAPPED {
        let path = gateway.plugins.join(format!("{plugin}.toml"));
        std::fs::write(path, format!("[limits]\nexchanges = {}\n", 100 + round % 2))?;
    }
    let began = Instant::now();
    while swaps().await? < enough {
        if began.elapsed() > LONGEST {
            bail!("no swap within {} s", LONGEST.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
