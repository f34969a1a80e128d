//! Keeps one backend's part of the catalog fresh. Backends never wait for each other. Gateways of a fleet do:
//! one asks, and all have its answer (`shared`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::offer::{counts, offer, same};
use super::shared::{Shared, Sharing, Taken, What};
use super::{Catalog, Health, Identity, Part, Source};
use crate::fleet::Away;
use crate::integrity::Verdict;
use crate::measure::{Counter, Histogram};
use crate::plugin::Adapter;
use crate::plugin::model::{CallError, Catalog as Discovered};

/// How soon a backend that went down is asked again: first this, then twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// At most this.
const RETRY: Duration = Duration::from_secs(5);
/// How soon it is looked again while another gateway asks. What that one finds out comes as news.
const BUSY: Duration = Duration::from_secs(1);
/// A backend is never asked sooner than this after the last time, whatever calls say of it.
const GAP: Duration = Duration::from_secs(1);

/// What is counted of the refreshes of one backend.
#[derive(Debug, Default)]
pub struct Refreshes {
    /// That brought a list.
    pub good: Counter,
    /// That did not.
    pub failed: Counter,
    /// Answers to other gateways of the fleet that were taken.
    pub taken: Counter,
    /// How long it took to ask.
    pub durations: Histogram,
    /// When the last good one ended, in milliseconds since 1970; 0: none has.
    last: AtomicU64,
}

impl Refreshes {
    fn done(&self, is_good: bool, took: Duration) {
        self.durations.observe(took);
        if !is_good {
            return self.failed.one();
        }
        self.good.one();
        self.ended(Duration::ZERO);
    }

    /// Another gateway's answer, which is so old.
    fn taken(&self, age: Duration) {
        self.taken.one();
        self.ended(age);
    }

    fn ended(&self, age: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let then = now.map_or(Duration::ZERO, |now| now.saturating_sub(age));
        let millis = u64::try_from(then.as_millis()).unwrap_or_default();
        self.last.store(millis, Ordering::Relaxed);
    }

    /// When the last good one ended, in seconds since 1970.
    pub fn last(&self) -> Option<f64> {
        let millis = self.last.load(Ordering::Relaxed);
        (millis > 0).then(|| millis as f64 / 1e3)
    }
}

/// Keeps one backend's part fresh.
pub(super) struct Refresher<'a> {
    catalog: &'a Catalog,
    source: Source,
    identity: Identity,
    every: Duration,
    /// `None`: this gateway is alone.
    shared: Option<Shared>,
    /// How often it was asked in vain, one after the other, whoever asked.
    failures: u32,
    /// Up to which change of the approvals the part was reviewed.
    reviewed: Option<u64>,
}

/// What came of one round.
enum Round {
    /// Nothing is new, and it was not to be asked.
    Nothing,
    /// Somebody else is asking.
    Busy,
    /// Another gateway asked in vain what answered before.
    Doubtful,
    /// It was asked, or another gateway's answer was taken, which is so old. `None`: as before.
    Done(Result<Option<Box<Discovered>>, String>, Duration),
}

impl<'a> Refresher<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        source: Source,
        identity: Identity,
        every: Duration,
        sharing: Option<Sharing>,
    ) -> Self {
        let shared = sharing.map(|sharing| Shared::new(sharing, &source.backend.id, every));
        Self {
            catalog,
            source,
            identity,
            every,
            shared,
            failures: 0,
            reviewed: None,
        }
    }

    /// For ever.
    pub(super) async fn run(mut self) {
        let catalog = self.catalog;
        let hurry = catalog.hurry.get(&self.source.backend.id);
        let mut loaded = self.source.plugins.changes();
        let mut first = true;
        let (mut asks, mut due) = (true, Instant::now());
        // Not held while nothing is asked: what was replaced is to be freed.
        let mut used = Weak::new();
        loop {
            loaded.mark_unchanged();
            let plugins = self.source.plugins.now();
            let adapter = plugins.adapters.get(&self.source.adapter).cloned();
            let now = adapter.as_ref().map(Arc::downgrade).unwrap_or_default();
            if !std::mem::replace(&mut used, now).ptr_eq(&used) {
                // What another adapter has learned means nothing to this one.
                self.source.backend.forget();
            }
            if let Some(shared) = &mut self.shared {
                let outline = plugins.outline(&self.source.adapter).unwrap_or_default();
                shared.asked_like(&[outline, self.source.backend.outline()]);
            }
            drop(plugins);
            let round = self.round(adapter.as_deref(), asks).await;
            drop(adapter);
            match round {
                Round::Nothing => {}
                Round::Busy => due = Instant::now() + BUSY,
                // Before that is believed it is asked from here.
                Round::Doubtful => due = Instant::now() + FIRST_RETRY / 2,
                Round::Done(result, age) => {
                    self.take(result).await;
                    if std::mem::take(&mut first) {
                        catalog.asked.send_modify(|n| *n += 1);
                    }
                    due = Instant::now() + self.pause().saturating_sub(age);
                }
            }
            // Calls tell sooner than the clock that a backend has gone or come back.
            let told = async {
                tokio::time::sleep_until(due.min(Instant::now() + GAP).into()).await;
                match hurry {
                    Some(hurry) => hurry.notified().await,
                    None => std::future::pending().await,
                }
            };
            let swapped = async {
                while loaded.changed().await.is_ok() {
                    let plugins = self.source.plugins.now();
                    let adapter = plugins.adapters.get(&self.source.adapter);
                    if !adapter
                        .map(Arc::downgrade)
                        .unwrap_or_default()
                        .ptr_eq(&used)
                    {
                        return;
                    }
                }
                std::future::pending().await
            };
            let heard = async {
                match &mut self.shared {
                    Some(shared) => shared.heard().await,
                    None => std::future::pending().await,
                }
            };
            asks = tokio::select! {
                () = tokio::time::sleep_until(due.into()) => true,
                () = told => true,
                () = swapped => true,
                () = heard => false,
            };
        }
    }

    /// How long what is known now is good.
    fn pause(&self) -> Duration {
        jittered(match self.failures {
            0 => self.every,
            n => FIRST_RETRY
                .saturating_mul(1 << (n - 1).min(8))
                .min(RETRY)
                .min(self.every),
        })
    }

    /// `asks`: the backend is asked, if nobody else has an answer.
    async fn round(&mut self, adapter: Option<&Adapter>, asks: bool) -> Round {
        let again = self.reviewed != Some(self.catalog.integrity.generation());
        // Without an adapter nobody else's answer is of use.
        let (Some(shared), true) = (&mut self.shared, adapter.is_some()) else {
            return self.ask(adapter).await;
        };
        let turn = match shared.newer(again).await {
            Ok(Some(taken)) => return self.taken(taken),
            Ok(None) if asks => shared.turn().await,
            Ok(None) => return Round::Nothing,
            Err(Away) => Err(Away),
        };
        match turn {
            Ok(Some(turn)) => {
                // Somebody may have been faster.
                if let Ok(Some(taken)) = shared.newer(again).await {
                    return self.taken(taken);
                }
                let round = self.ask(adapter).await;
                drop(turn);
                round
            }
            Ok(None) => Round::Busy,
            // Like a gateway alone.
            Err(Away) if asks => self.ask(adapter).await,
            Err(Away) => Round::Nothing,
        }
    }

    /// What another gateway has found out.
    fn taken(&mut self, taken: Taken) -> Round {
        let id = &self.source.backend.id;
        let result = match taken.what {
            What::Failed { reason, times } => {
                self.failures = times;
                // A gateway that has lost its network must not take a backend from all the others.
                if times == 1 && self.catalog.part(id).health == Health::Up {
                    return Round::Doubtful;
                }
                Err(reason)
            }
            What::Same => Ok(None),
            What::Found(found) => {
                self.source.backend.learn(found.learned.clone());
                Ok(Some(found))
            }
        };
        if result.is_ok() {
            self.failures = 0;
            if let Some(refreshes) = self.catalog.refreshes.get(id) {
                refreshes.taken(taken.age);
            }
        }
        Round::Done(result, taken.age)
    }

    /// Asks the backend, and tells the others what came of it.
    async fn ask(&mut self, adapter: Option<&Adapter>) -> Round {
        let began = Instant::now();
        let result = discover(&self.source, adapter, &self.identity).await;
        if let Some(refreshes) = self.catalog.refreshes.get(&self.source.backend.id) {
            refreshes.done(result.is_ok(), began.elapsed());
        }
        self.failures = if result.is_ok() { 0 } else { self.failures + 1 };
        if let Some(shared) = &mut self.shared {
            match &result {
                Ok(found) => shared.lay(Ok(found), 0).await,
                Err(Unanswered::There(reason)) => shared.lay(Err(reason), self.failures).await,
                // It may be well with the others.
                Err(Unanswered::Here(_)) => {}
            }
        }
        let result = result.map(|found| Some(Box::new(found)));
        let result = result.map_err(|(Unanswered::Here(why) | Unanswered::There(why))| why);
        Round::Done(result, Duration::ZERO)
    }

    /// Reviews what was found, and puts it into the catalog.
    async fn take(&mut self, result: Result<Option<Box<Discovered>>, String>) {
        let (catalog, id) = (self.catalog, &self.source.backend.id);
        match result {
            Ok(Some(found)) => {
                let generation = catalog.integrity.generation();
                let verdicts = catalog.integrity.review(id, &found.tools).await;
                self.reviewed = Some(generation);
                take(catalog, &self.source, Ok((*found, verdicts)));
            }
            Ok(None) => {
                let before = catalog.part(id);
                let health = Health::Up;
                if before.health != health {
                    info!(backend.id = %id, "backend is up: {}", counts(&before.offer));
                }
                catalog.publish(id, Part { health, ..before });
            }
            Err(reason) => take(catalog, &self.source, Err(reason)),
        }
    }
}

/// Why a backend told nothing. The text is for an operator.
enum Unanswered {
    /// What is needed to ask it is missing here.
    Here(String),
    /// It did not answer, or said no.
    There(String),
}

/// Up to a tenth sooner, so that many backends are not all asked at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes there is no jitter.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause.mul_f64(1.0 - f64::from(byte[0]) / 2560.0)
}

/// Asks the backend.
async fn discover(
    source: &Source,
    adapter: Option<&Adapter>,
    identity: &Identity,
) -> Result<Discovered, Unanswered> {
    let (backend, name) = (&source.backend, &source.adapter);
    let adapter = adapter.ok_or_else(|| {
        Unanswered::Here(format!(
            "no adapter plugin `{name}` is loaded; hint: put `{name}.wasm` into CORTEX_PLUGIN_DIR"
        ))
    })?;
    let presented = identity.presented(backend, None).await;
    let mut presented = presented.map_err(Unanswered::Here)?;
    let mut answer = presented.discover(adapter, backend).await;
    // What was presented may have been withdrawn: another one is tried once.
    if matches!(&answer, Ok(Err(error)) if is_refusal(error))
        && identity.renews(backend, &presented)
    {
        let renewed = identity.presented(backend, Some(presented)).await;
        presented = renewed.map_err(Unanswered::Here)?;
        answer = presented.discover(adapter, backend).await;
    }
    match answer {
        Ok(Ok(mut discovered)) => {
            for skipped in &mut discovered.skipped {
                let reason = std::mem::take(&mut skipped.reason);
                skipped.reason = presented.taken_out_of(reason);
            }
            Ok(discovered)
        }
        Ok(Err(CallError::LinkRequired(_))) => {
            Err(Unanswered::There(identity.in_need_of_an_account(backend)))
        }
        Ok(Err(error)) => Err(Unanswered::There(presented.taken_out_of(in_words(error)))),
        Err(fault) => {
            let hint = fault.cause.hint();
            Err(Unanswered::Here(format!("{fault}; hint: {hint}")))
        }
    }
}

/// Whether the backend did not accept what it was shown.
fn is_refusal(error: &CallError) -> bool {
    match error {
        CallError::Failed(failure) => failure.code == "backend_auth",
        CallError::LinkRequired(_) => true,
        _ => false,
    }
}

/// What a backend's error is, for an operator.
pub(crate) fn in_words(error: CallError) -> String {
    match error {
        CallError::Failed(failure) => failure.message,
        CallError::MissingScope(missing) => {
            format!("it asks for the scopes {}", missing.required.join(" "))
        }
        CallError::LinkRequired(_) => "it asks for an account".to_owned(),
        CallError::NotFound(what) => format!("it does not know `{what}`"),
        CallError::InvalidArguments(what) | CallError::Other(what) => what,
        CallError::Unsupported => "its adapter cannot discover".to_owned(),
    }
}

/// Turns what was found into the new part, and tells the operator what changed.
fn take(catalog: &Catalog, source: &Source, result: Result<(Discovered, Vec<Verdict>), String>) {
    let id = &source.backend.id;
    let before = catalog.part(id);
    match result {
        Ok((discovered, verdicts)) => {
            let naming = catalog.naming(&source.backend);
            let (mut offer, notes) = offer(&naming, discovered, verdicts);
            // What is the same stays the same, with all that was worked out of it.
            if same(&before.offer, &offer) {
                offer = before.offer.clone();
            }
            if before.health != Health::Up {
                info!(backend.id = %id, "backend is up: {}", counts(&offer));
            } else if !same(&before.offer, &offer) {
                info!(backend.id = %id, "catalog changed: {}; before: {}", counts(&offer), counts(&before.offer));
            }
            catalog.publish(
                id,
                Part {
                    offer,
                    health: Health::Up,
                    notes,
                },
            );
        }
        Err(reason) => {
            let health = Health::Down(reason.chars().take(300).collect());
            if before.health != health {
                warn!(backend.id = %id, "backend is down: {reason}; its tools are not listed until it answers again");
            }
            catalog.publish(id, Part { health, ..before });
        }
    }
}
