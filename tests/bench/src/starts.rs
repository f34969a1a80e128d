//! From the start of a process to its first right answer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::Options;
use crate::client::Connection;
use crate::exchange::Exchange;
use crate::gateway::Behind;
use crate::report::{Figure, Findings};
use crate::stage::Stage;
use crate::targets::figure::WARM_START;

/// Longest that it may take.
const LONGEST: Duration = Duration::from_secs(120);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1);

/// Starts a gateway with and without components that were compiled before, in turn.
pub(crate) async fn measure(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
) -> Result<()> {
    let behind = Behind::one(stage.backend(6).await?);
    let plugins = stage.plugins(options, &[])?;
    for _ in 0..options.rounds {
        let data = stage.scratch()?;
        for name in ["start to first answer, cold", WARM_START] {
            let began = Instant::now();
            let (mut process, address) = stage.spawn(options, &behind, &plugins, &data).await?;
            let outcome = first_answer(address, began).await;
            if outcome.is_err() {
                eprintln!("{}", process.last_words().unwrap_or_default());
            }
            let took = outcome.context(name)?;
            process.stop().await;
            findings.figure(Figure::new(name, "ms", took.as_secs_f64() * 1e3));
        }
    }
    Ok(())
}

/// A whole call of a tool, tried until it works.
async fn first_answer(address: std::net::SocketAddr, began: Instant) -> Result<Duration> {
    loop {
        let attempt = async {
            let mut one = Connection::alone(address, Exchange::ModernCall).await?;
            one.call(0).await
        };
        let Err(error) = attempt.await else {
            return Ok(began.elapsed());
        };
        if began.elapsed() > LONGEST {
            bail!("no answer within {} s: {error:#}", LONGEST.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
