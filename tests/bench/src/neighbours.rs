//! Calls beside a component that does its worst: whether they notice.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::Options;
use crate::client::{Call, Connection};
use crate::exchange::Exchange;
use crate::gateway::{Behind, Instances};
use crate::load::Load;
use crate::stage::Stage;

/// What the component is asked to do, over and over; nothing at first, to compare with.
const DEEDS: [&str; 9] = [
    "",
    "spin",
    "leak",
    "recurse",
    "trap",
    "huge_result",
    "log_flood",
    "many_calls",
    "sleep",
];
/// How many ask it at one time.
const ASKING: usize = 4;
/// How long each waits after an answer: about as often as the default rate limit lets one token ask.
const WAIT: Duration = Duration::from_millis(300);
/// Connections whose calls are measured.
const MEASURED: u16 = 4;
/// Before measuring: until the deeds are under way.
const BEGINNING: Duration = Duration::from_millis(500);

/// Calls to a good backend, while others ask a bad one.
struct Seen {
    deed: &'static str,
    rounds: Vec<[f64; 3]>,
}

/// Measures and prints the table.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut stage = Stage::default();
    let outcome = measure(&mut stage, options).await;
    stage.clear().await;
    let seen = outcome?;
    println!("| beside a component that | calls/s | p50 µs | p99 µs | p99 × alone |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let alone = seen.first().map_or(0.0, |alone| alone.median(2));
    for row in &seen {
        let name = if row.deed.is_empty() {
            "does nothing"
        } else {
            row.deed
        };
        let (rate, p50, p99) = (row.median(0), row.median(1), row.median(2));
        let times = p99 / alone;
        println!("| {name} | {rate:.0} | {p50:.0} | {p99:.0} | {times:.2} |");
    }
    Ok(())
}

impl Seen {
    fn median(&self, column: usize) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }
}

async fn measure(stage: &mut Stage, options: &Options) -> Result<Vec<Seen>> {
    let mut behind = Behind::one(stage.backend(1).await?);
    behind.others.push(("bad", "mischief".to_owned()));
    let plugins = stage.plugins(options, &behind.others)?;
    let gateway = stage
        .gateway(options, &behind, &plugins, Instances::Call, &[])
        .await?;
    let address = gateway.address;
    let limit = Duration::from_secs(options.seconds);
    let mut seen: Vec<Seen> = (DEEDS.iter())
        .map(|deed| Seen {
            deed,
            rounds: Vec::new(),
        })
        .collect();
    let mut load = Load::open(address, Call::new(Exchange::Call), MEASURED, u64::MAX).await?;
    load.run(1_000, limit).await.context("warm-up")?;
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for row in &mut seen {
            let mut asking = JoinSet::new();
            if !row.deed.is_empty() {
                for _ in 0..ASKING {
                    let mut connection =
                        Connection::alone(address, Exchange::Deed(row.deed)).await?;
                    asking.spawn(async move {
                        for n in 0.. {
                            // What becomes of it is not what is measured.
                            let _ = connection.answer(n).await;
                            tokio::time::sleep(WAIT).await;
                        }
                    });
                }
                tokio::time::sleep(BEGINNING).await;
            }
            let outcome = load.run(options.calls, limit).await;
            // Whoever asks goes away in the middle of it, which is one more thing to bear.
            asking.shutdown().await;
            let outcome = outcome.with_context(|| format!("beside `{}`", row.deed))?;
            let micros = |quantile| outcome.latencies.value_at_quantile(quantile) as f64 / 1e3;
            let rate = outcome.latencies.len() as f64 / outcome.elapsed.as_secs_f64();
            row.rounds.push([rate, micros(0.50), micros(0.99)]);
        }
    }
    Ok(seen)
}
