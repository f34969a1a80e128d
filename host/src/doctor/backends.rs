//! The backends: whether each is reached, and what it lists to the gateway itself.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use tokio::time::timeout;

use super::probe::Probes;
use super::{Finding, PATIENCE, Section, State};
use crate::catalog;
use crate::config::{BackendConfig, Config, TokenMode};
use crate::oauth::Technical;
use crate::plugin::model::{CallError, Catalog};
use crate::plugin::{Adapter, Backend, Plugins, Shown};
use crate::types::Secret;

/// Those of `CORTEX_BACKENDS`, side by side.
pub(super) async fn look(config: &Config, loaded: Option<&Plugins>, probes: &Probes) -> Section {
    let mut section = Section::new("backends");
    let backends = config.backends.iter().filter(|b| b.account.is_none());
    let technical = Technical::new(&config.technical, probes.client.clone());
    let told = backends.map(|backend| one(backend, loaded, &technical, probes));
    let told = join_all(told).await;
    section.findings = told.into_iter().flatten().collect();
    section
}

async fn one(
    config: &BackendConfig,
    loaded: Option<&Plugins>,
    technical: &Technical,
    probes: &Probes,
) -> Vec<Finding> {
    let mut section = Section::new("backend");
    if reached(&mut section, config, probes).await {
        // Any answer will do: it is for the clock.
        let _ = probes.ask(Method::HEAD, &config.url).await;
        let id = &config.id;
        match technical.token(None).await {
            Ok(token) => {
                if let Some(adapter) =
                    loaded.and_then(|plugins| plugins.adapters.get(&config.adapter))
                {
                    let shown = match config.token {
                        TokenMode::None => Shown::Never,
                        _ => Shown::Nothing,
                    };
                    let token = token.filter(|_| config.token != TokenMode::None);
                    let listed = list(config, adapter, token.as_ref(), &shown).await;
                    listed.tell(&mut section, id.as_str());
                }
            }
            Err(error) => section.told(
                State::Broken,
                &format!("`{id}` cannot be asked: the gateway has no token for it: {error}"),
            ),
        }
    }
    section.findings
}

/// Whether a backend takes connections.
pub(super) async fn reached(
    section: &mut Section,
    config: &BackendConfig,
    probes: &Probes,
) -> bool {
    let (id, peer) = (&config.id, super::probe::peer(&config.url));
    let how = if config.url.scheme() == "https" {
        ", TLS holds"
    } else {
        ""
    };
    match probes.reach(&config.url).await {
        Ok(()) => {
            section.ok(format!("`{id}`: `{peer}` takes connections{how}"));
            true
        }
        Err(why) => {
            section.told(State::Broken, &format!("`{id}`: {why}"));
            false
        }
    }
}

/// What came of asking a backend what it offers.
pub(super) enum Listed {
    /// It told, in this time, and its adapter learned this.
    Told(Box<Catalog>, Duration),
    /// It wants an account first.
    WantsAccount,
    /// It took too long.
    Slow,
    /// It did not; why, with a hint.
    Failed(String),
}

impl Listed {
    pub(super) fn tell(self, section: &mut Section, id: &str) {
        match self {
            Self::Told(catalog, took) => {
                section.ok(format!(
                    "`{id}` lists {} tools, {} prompts, {} resources and {} templates in {} ms",
                    catalog.tools.len(),
                    catalog.prompts.len(),
                    catalog.resources.len(),
                    catalog.resource_templates.len(),
                    took.as_millis()
                ));
                if !catalog.skipped.is_empty() {
                    let first = &catalog.skipped[0];
                    section.warn(
                        format!(
                            "`{id}` offers {} things that are left out, the first of them {}: {}",
                            catalog.skipped.len(),
                            first.item.escape_debug(),
                            first.reason.escape_debug()
                        ),
                        "`cortex-gateway status` says of each why",
                    );
                }
            }
            Self::WantsAccount => section.broken(
                format!("`{id}` asks for an account before it lists anything"),
                "its adapter should not ask for one here: check CORTEX_BACKEND_…_ADAPTER",
            ),
            Self::Slow => section.warn(
                format!("`{id}` lists nothing within {} s", PATIENCE.as_secs()),
                "it is slow, or hangs: the gateway itself waits longer",
            ),
            Self::Failed(why) => {
                let mut told = format!("`{id}` does not say what it offers: {why}");
                if !why.contains("; hint: ") {
                    told.push_str(
                        "; hint: if it refuses the gateway's own token, check CORTEX_TECHNICAL_TOKEN; else its own log knows",
                    );
                }
                section.told(State::Broken, &told);
            }
        }
    }
}

/// Asks what a backend offers, as the gateway does. What its adapter learns is in the answer.
pub(super) async fn list(
    config: &BackendConfig,
    adapter: &Adapter,
    technical: Option<&Secret>,
    shown: &Shown,
) -> Listed {
    let (backend, began) = (Backend::new(config), Instant::now());
    let asking = adapter.discover(&backend, technical, shown);
    match timeout(PATIENCE, asking).await {
        Ok(Ok(Ok(catalog))) => Listed::Told(Box::new(catalog), began.elapsed()),
        Ok(Ok(Err(CallError::LinkRequired(_)))) => Listed::WantsAccount,
        Ok(Ok(Err(error))) => {
            let mut told = catalog::in_words(error);
            // It may say back what it was shown.
            if let Some(token) = technical {
                told = told.replace(token.reveal(), "[redacted]");
            }
            Listed::Failed(told)
        }
        Ok(Err(fault)) => Listed::Failed(format!("{fault}; hint: {}", fault.cause.hint())),
        Err(_) => Listed::Slow,
    }
}
