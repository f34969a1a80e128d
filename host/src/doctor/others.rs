//! Those whom nobody waits for: the receiver of tickets, and where exporters send audit records.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use url::Url;

use super::probe::{Probes, peer};
use super::{Section, State};
use crate::config::Config;
use crate::plugin::Plugins;

/// Whether they take connections. That they do not is a warning: calls go on.
pub(super) async fn look(config: &Config, loaded: Option<&Plugins>, probes: &Probes) -> Section {
    let mut section = Section::new("others");
    let mut places: BTreeMap<String, (String, Url)> = BTreeMap::new();
    let webhook = config.tickets.webhook.as_ref();
    if let Some(url) = webhook.and_then(|url| Url::parse(url.reveal()).ok()) {
        places.insert(peer(&url), ("CORTEX_TICKET_WEBHOOK_URL".to_owned(), url));
    }
    for (name, file) in loaded.into_iter().flat_map(Plugins::files) {
        let origins = file.live.iter().flat_map(|live| live.origins());
        for url in origins.filter_map(|origin| Url::parse(&origin).ok()) {
            let who = format!("what `{name}` may reach");
            places.entry(peer(&url)).or_insert((who, url));
        }
    }
    let reached = places
        .values()
        .map(|(who, url)| async move { (who, peer(url), probes.reach(url).await) });
    for (who, peer, outcome) in join_all(reached).await {
        match outcome {
            Ok(()) => section.ok(format!("{who}: `{peer}` takes connections")),
            Err(why) => section.told(State::Warning, &format!("{who}: {why}")),
        }
    }
    section
}
