//! What the other gateways of a fleet run, and word from them that something has changed.
//!
//! Each gateway has a plugin directory of its own, or all see one volume, on which file systems tell nobody
//! of changes that others make. So whoever swaps a plugin says it, and the others look at once; and each
//! lays down what it runs, so that gateways that run different versions are noticed. For a moment that is
//! how every change looks: it is told when it lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::directory::Directory;
use super::set::Plugins;
use crate::fleet::{Fleet, Heard, Shelf, Topic};
use crate::types::hex;

/// How often each gateway says what it runs without a change.
const OFTEN: Duration = Duration::from_secs(20);
/// For how long that counts: it may miss twice.
const LIVES: Duration = Duration::from_secs(65);
/// A difference that lasts for so long is told.
const LASTING: Duration = Duration::from_secs(15);
/// Gateways that are looked at.
const MOST: usize = 1_000;
/// Longest list of one gateway, in bytes.
const LONGEST: usize = 256 * 1024;

/// A plugin as one gateway runs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Running {
    name: String,
    version: String,
    /// SHA-256 of the component, in hexadecimal digits.
    digest: String,
    /// The beginning of a digest of it and its settings.
    outline: String,
}

/// One of the versions of a plugin that run in a fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Variant {
    /// Its own version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal digits.
    pub digest: String,
    /// Tells two with different settings apart.
    pub outline: String,
    /// How many gateways run it.
    pub gateways: usize,
}

/// Plugins of which gateways run different versions, or the same with different settings, by name. One that some
/// gateways do not have at all is among them.
pub type Differences = BTreeMap<String, Vec<Variant>>;

/// What is known of the others.
#[derive(Default)]
pub(super) struct Elsewhere(Mutex<State>);

#[derive(Default)]
struct State {
    differences: Differences,
    /// Since when, and whether it was said.
    since: BTreeMap<String, (Instant, bool)>,
}

impl Elsewhere {
    /// What runs in different versions now.
    fn differences(&self) -> Differences {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.differences.clone()
    }

    fn learn(&self, differences: Differences, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State {
            differences: known,
            since,
        } = &mut *state;
        since.retain(|name, (_, said)| {
            let lasts = differences.contains_key(name);
            if !lasts && *said {
                info!(
                    plugin.name = name,
                    "all gateways run the same of this plugin again"
                );
            }
            lasts
        });
        for (name, variants) in &differences {
            // Another difference begins anew.
            if known.get(name) != Some(variants) {
                since.insert(name.clone(), (now, false));
            }
            let (began, said) = since.entry(name.clone()).or_insert((now, false));
            if !*said && now.duration_since(*began) >= LASTING {
                *said = true;
                warn!(
                    plugin.name = name,
                    "gateways run different versions of this plugin: {}",
                    in_words(variants)
                );
            }
        }
        *known = differences;
    }
}

fn in_words(variants: &[Variant]) -> String {
    let told: Vec<String> = variants
        .iter()
        .map(|v| match v.digest.as_str() {
            "" => format!("{} of them do not have it", v.gateways),
            digest => format!(
                "{} of them {} (sha256 {digest}, with its settings {})",
                v.gateways, v.version, v.outline
            ),
        })
        .collect();
    told.join(", ")
}

/// Where gateways differ.
fn compare(all: &[Vec<Running>]) -> Differences {
    let names: BTreeSet<&str> = all.iter().flatten().map(|r| r.name.as_str()).collect();
    let mut differences = Differences::new();
    for name in names {
        let mut counts: BTreeMap<Option<&Running>, usize> = BTreeMap::new();
        for of_one in all {
            let running = of_one.iter().find(|running| running.name == name);
            *counts.entry(running).or_default() += 1;
        }
        if counts.len() > 1 {
            let variants = counts.into_iter().map(|(running, gateways)| Variant {
                version: running.map(|r| r.version.clone()).unwrap_or_default(),
                digest: running.map(|r| r.digest.clone()).unwrap_or_default(),
                outline: running.map(|r| r.outline.clone()).unwrap_or_default(),
                gateways,
            });
            differences.insert(name.to_owned(), variants.collect());
        }
    }
    differences
}

/// What runs here.
fn here(plugins: &Plugins) -> Vec<Running> {
    let live = plugins.files().filter_map(|(_, file)| file.live.as_ref());
    let mut running: Vec<Running> = live
        .map(|live| Running {
            name: live.name.to_string(),
            version: live.version.clone(),
            digest: live.digest.clone(),
            outline: hex(&live.outline()[..8]),
        })
        .collect();
    running.sort();
    running
}

impl Directory {
    /// Tells the other gateways of a fleet what runs here, and hears what runs there, for ever. With nobody
    /// to share with it only waits.
    pub async fn keep_told(&self, fleet: &Fleet) {
        if fleet.is_alone() {
            return std::future::pending().await;
        }
        let mut changes = self.changes();
        let mut news = fleet.hear(Topic::Plugins);
        let key = serde_json::to_vec(&fleet.instance()).unwrap_or_default();
        let mut is_news = true;
        loop {
            changes.mark_unchanged();
            let ours = here(&self.now());
            let text = serde_json::to_vec(&ours).unwrap_or_default();
            let laid = fleet.put(Shelf::Plugins, &key, text, LIVES).await;
            if laid.is_ok() && is_news {
                fleet.tell(Topic::Plugins, key.clone());
            }
            if let Ok(found) = fleet.all(Shelf::Plugins, MOST).await {
                let others = found.iter().filter(|(of, text)| {
                    of.as_slice() != key.as_slice()
                        && text.len() <= LONGEST
                        && serde_json::from_slice(of).is_ok_and(|of| fleet.is_alive(of))
                });
                let others = others.filter_map(|(_, text)| serde_json::from_slice(text).ok());
                let all: Vec<Vec<Running>> = std::iter::once(ours).chain(others).collect();
                self.elsewhere.learn(compare(&all), Instant::now());
            }
            is_news = tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                heard = news.next() => {
                    if let Heard::Said(who) = &heard {
                        debug!(instance = %String::from_utf8_lossy(who), "another gateway has other plugins now");
                    }
                    self.look_now.notify_one();
                    false
                }
                () = tokio::time::sleep(OFTEN) => false,
            };
        }
    }

    /// Of which plugins other gateways run something else.
    pub fn elsewhere(&self) -> Differences {
        self.elsewhere.differences()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(name: &str, version: &str) -> Running {
        Running {
            name: name.to_owned(),
            version: version.to_owned(),
            digest: format!("digest of {name} {version}"),
            outline: "0".to_owned(),
        }
    }

    #[test]
    fn gateways_that_run_something_else_are_noticed() {
        let old = vec![running("a", "1"), running("b", "1")];
        let new = vec![running("a", "2"), running("b", "1")];
        assert!(compare(&[old.clone(), old.clone()]).is_empty());
        let differences = compare(&[old.clone(), new.clone(), old.clone()]);
        let of_a: Vec<(&str, usize)> = differences["a"]
            .iter()
            .map(|v| (v.version.as_str(), v.gateways))
            .collect();
        assert_eq!(of_a, [("1", 2), ("2", 1)]);
        assert_eq!(differences.len(), 1);
        // Settings, and a plugin that is not everywhere.
        let mut set = old.clone();
        set[1].outline = "1".to_owned();
        assert_eq!(compare(&[old.clone(), set])["b"].len(), 2);
        let fewer = compare(&[old.clone(), old[..1].to_vec()]);
        assert_eq!(fewer["b"][0].digest, "");
        assert!(in_words(&fewer["b"]).contains("1 of them do not have it"));
    }

    #[test]
    fn a_difference_is_said_when_it_lasts() {
        let elsewhere = Elsewhere::default();
        let differences = compare(&[vec![running("a", "1")], vec![running("a", "2")]]);
        let now = Instant::now();
        let said = |elsewhere: &Elsewhere| {
            let state = elsewhere.0.lock().expect("a lock");
            state.since.get("a").map(|(_, said)| *said)
        };
        elsewhere.learn(differences.clone(), now);
        assert_eq!(said(&elsewhere), Some(false));
        assert_eq!(elsewhere.differences(), differences);
        elsewhere.learn(differences.clone(), now + LASTING);
        assert_eq!(said(&elsewhere), Some(true));
        elsewhere.learn(Differences::new(), now + LASTING);
        assert_eq!(said(&elsewhere), None);
        assert!(elsewhere.differences().is_empty());
    }
}
