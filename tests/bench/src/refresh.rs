//! Many backends that are asked what they offer, again and again: what that costs, and what calls notice of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Options;
use crate::client::Call;
use crate::exchange::Exchange;
use crate::gateway::{Behind, Instances, figure};
use crate::load::Load;
use crate::process;
use crate::report::{Figure, Findings};
use crate::stage::Stage;

/// How many.
const BACKENDS: usize = 500;
/// How long each part is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Connections that call meanwhile.
const CALLING: u16 = 4;

/// Watches a gateway that asks all of them every two seconds, and one that does not.
pub(crate) async fn measure(
    stage: &mut Stage,
    findings: &mut Findings,
    options: &Options,
) -> Result<()> {
    for (seconds, how) in [("3600", "never"), ("2", "every 2 s")] {
        let backend = stage.backend(6).await?;
        let behind = Behind {
            many: Some((stage.backend(2).await?, BACKENDS)),
            ..Behind::one(backend)
        };
        let plugins = stage.plugins(options, &[])?;
        let more = [("CORTEX_REFRESH_SECONDS", seconds.to_owned())];
        let gateway = stage
            .gateway(options, &behind, &plugins, Instances::Call, &more)
            .await?;
        let all_asked = || figure(gateway.address, "cortex_catalog_refreshes_total");
        let of = |what: &str| format!("{BACKENDS} backends asked {how}: {what}");
        for _ in 0..options.rounds {
            let (asked, cpu) = (all_asked().await?, process::cpu(gateway.pid)?);
            tokio::time::sleep(WATCHED).await;
            let (asked, cpu) = (
                all_asked().await? - asked,
                process::cpu(gateway.pid)?.saturating_sub(cpu),
            );
            if seconds == "2" {
                ensure!(asked > 0.0, "nobody was asked");
                let rounds = asked / BACKENDS as f64;
                let each = cpu.as_secs_f64() / rounds;
                findings.figure(Figure::new(of("CPU of asking all"), "s", each));
            }
            let mut load = Load::open(
                gateway.address,
                Call::new(Exchange::Call),
                CALLING,
                u64::MAX,
            )
            .await?;
            load.run(200, WATCHED).await.context("warm-up")?;
            let outcome = load.run(u64::MAX / 2, WATCHED).await?;
            findings.gateway_calls += 200 + outcome.latencies.len();
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                let micros = outcome.latencies.value_at_quantile(quantile) as f64 / 1e3;
                findings.figure(Figure::new(of(&format!("a call, {name}")), "µs", micros));
            }
        }
        stage.clear().await;
    }
    Ok(())
}
