//! Tokens of callers, the issuer's keys, and linked accounts.

use super::number;
use crate::measure::{Exposition, Kind};
use crate::pipeline::Gateway;

pub(super) async fn tell(gw: &Gateway, to: &mut Exposition) {
    if let Some(oauth) = &gw.oauth {
        let figures = oauth.figures();
        let mut family = to.family(
            Kind::Counter,
            "cortex_token_lookups_total",
            "Access tokens that had been verified before (hit), or had to be (miss).",
        );
        family.put(&[("result", &"hit")], figures.found as f64);
        family.put(&[("result", &"miss")], figures.verified as f64);
        to.one(
            Kind::Gauge,
            "cortex_tokens_remembered",
            "Verified access tokens that are remembered, roughly.",
            figures.kept as f64,
        );
        let mut family = to.family(
            Kind::Gauge,
            "cortex_issuer_keys_age_seconds",
            "Age of the issuer's keys; absent while there are none.",
        );
        if let Some(age) = figures.keys_age {
            family.put(&[], age.as_secs_f64());
        }
        let mut family = to.family(
            Kind::Counter,
            "cortex_issuer_key_fetches_total",
            "Fetches of the issuer's keys.",
        );
        family.put(&[("result", &"good")], figures.fetched as f64);
        family.put(&[("result", &"failed")], figures.failed as f64);
        let mut family = to.family(
            Kind::Counter,
            "cortex_introspections_total",
            "What token introspection said; refused: it is not to be asked by this gateway.",
        );
        for (result, count) in figures.introspected {
            family.put(&[("result", &result)], count as f64);
        }
    }
    accounts(gw, to).await;
}

async fn accounts(gw: &Gateway, to: &mut Exposition) {
    let counted = match gw.accounts.vault() {
        Some(vault) => vault.counted_lately().await.ok().flatten(),
        None => None,
    };
    let mut family = to.family(
        Kind::Gauge,
        "cortex_accounts",
        "Accounts of users at MCP servers; ended: they have to be linked again.",
    );
    for server in gw.accounts.servers() {
        // A vault that cannot be read, or holds too many to be counted at each scrape, has no figures: not zero.
        if let Some(counted) = &counted {
            let of = counted.get(server.as_str()).copied().unwrap_or_default();
            family.put(
                &[("server", server), ("state", &"linked")],
                number(of.linked),
            );
            family.put(&[("server", server), ("state", &"ended")], number(of.ended));
        }
    }
    let mut family = to.family(
        Kind::Counter,
        "cortex_account_renewals_total",
        "Renewals of accounts' tokens.",
    );
    for (server, renewals) in gw.accounts.renewals() {
        for (result, count) in [("good", &renewals.good), ("failed", &renewals.failed)] {
            family.put(
                &[("server", server), ("result", &result)],
                count.get() as f64,
            );
        }
    }
}
