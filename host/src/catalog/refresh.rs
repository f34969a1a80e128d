//! Keeps one backend's part of the catalog fresh. Backends never wait for each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::Identity;
use super::naming::Naming;
use super::{
    BUILTIN_NAMES, Catalog, Entry, Health, Offer, Part, Source, TemplateRoute, definition, others,
};
use crate::integrity::Verdict;
use crate::measure::{Counter, Histogram};
use crate::plugin::Adapter;
use crate::plugin::model::{CallError, Catalog as Discovered};

/// How soon a backend that went down is asked again: first this, then twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// At most this.
const RETRY: Duration = Duration::from_secs(5);
/// A backend is never asked sooner than this after the last time, whatever calls say of it.
const GAP: Duration = Duration::from_secs(1);

/// What is counted of the refreshes of one backend.
#[derive(Debug, Default)]
pub struct Refreshes {
    /// That brought a list.
    pub good: Counter,
    /// That did not.
    pub failed: Counter,
    /// How long they took.
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or_default());
        self.last.store(millis, Ordering::Relaxed);
    }

    /// When the last good one ended, in seconds since 1970.
    pub fn last(&self) -> Option<f64> {
        let millis = self.last.load(Ordering::Relaxed);
        (millis > 0).then(|| millis as f64 / 1e3)
    }
}

pub(super) async fn keep_fresh(
    catalog: &Catalog,
    source: Source,
    identity: Identity,
    every: Duration,
) {
    let hurry = catalog.hurry.get(&source.backend.id);
    let mut loaded = source.plugins.changes();
    let mut failures = 0;
    let mut first = true;
    // Not held while nothing is asked: what was replaced is to be freed.
    let mut used = Weak::new();
    loop {
        loaded.mark_unchanged();
        let adapter = source.plugins.now().adapters.get(&source.adapter).cloned();
        let now = adapter.as_ref().map(Arc::downgrade).unwrap_or_default();
        if !std::mem::replace(&mut used, now).ptr_eq(&used) {
            // What another adapter has learned means nothing to this one.
            source.backend.forget();
        }
        let began = Instant::now();
        let result = discover(&source, adapter.as_deref(), &identity).await;
        if let Some(refreshes) = catalog.refreshes.get(&source.backend.id) {
            refreshes.done(result.is_ok(), began.elapsed());
        }
        drop(adapter);
        let result = match result {
            Ok(found) => {
                let reviewed = catalog
                    .integrity
                    .review(&source.backend.id, &found.tools)
                    .await;
                Ok((found, reviewed))
            }
            Err(why) => Err(why),
        };
        failures = if result.is_ok() { 0 } else { failures + 1 };
        take(catalog, &source, result);
        if std::mem::take(&mut first) {
            catalog.asked.send_modify(|n| *n += 1);
        }
        let pause = jittered(match failures {
            0 => every,
            n => FIRST_RETRY
                .saturating_mul(1 << (n - 1).min(8))
                .min(RETRY)
                .min(every),
        });
        // Calls tell sooner than the clock that a backend has gone or come back.
        let told = async {
            tokio::time::sleep(GAP.min(pause)).await;
            match hurry {
                Some(hurry) => hurry.notified().await,
                None => std::future::pending().await,
            }
        };
        let swapped = async {
            while loaded.changed().await.is_ok() {
                let plugins = source.plugins.now();
                let adapter = plugins.adapters.get(&source.adapter);
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
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told => {}
            () = swapped => {}
        }
    }
}

/// Up to a tenth sooner, so that many backends are not all asked at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes there is no jitter.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause.mul_f64(1.0 - f64::from(byte[0]) / 2560.0)
}

/// Asks the backend. The error is for an operator.
async fn discover(
    source: &Source,
    adapter: Option<&Adapter>,
    identity: &Identity,
) -> Result<Discovered, String> {
    let (backend, name) = (&source.backend, &source.adapter);
    let adapter = adapter.ok_or_else(|| {
        format!(
            "no adapter plugin `{name}` is loaded; hint: put `{name}.wasm` into CORTEX_PLUGIN_DIR"
        )
    })?;
    let mut presented = identity.presented(backend, None).await?;
    let mut answer = presented.discover(adapter, backend).await;
    // What was presented may have been withdrawn: another one is tried once.
    if matches!(&answer, Ok(Err(error)) if is_refusal(error))
        && identity.renews(backend, &presented)
    {
        presented = identity.presented(backend, Some(presented)).await?;
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
        Ok(Err(CallError::LinkRequired(_))) => Err(identity.in_need_of_an_account(backend)),
        Ok(Err(error)) => Err(presented.taken_out_of(in_words(error))),
        Err(fault) => Err(format!("{fault}; hint: {}", fault.cause.hint())),
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

/// What a backend offers, as callers will see it, and what is left out and why.
fn offer(naming: &Naming, discovered: Discovered, verdicts: Vec<Verdict>) -> (Offer, Vec<String>) {
    let mut notes: Vec<String> = discovered
        .skipped
        .into_iter()
        .map(|s| format!("{} is left out: {}", s.item, s.reason))
        .collect();
    let mut offer = Offer::default();
    for (tool, verdict) in discovered.tools.into_iter().zip(verdicts) {
        let what = format!("tool `{}`", tool.name);
        if BUILTIN_NAMES.contains(&tool.name.as_str()) {
            notes.push(format!(
                "{what} is left out: the gateway has a tool of this name"
            ));
            continue;
        }
        let withheld = match verdict {
            Verdict::Serve => None,
            Verdict::Quarantined(fields) => {
                let fields = fields.join(", ");
                notes.push(format!(
                    "{what} is quarantined: its definition changed since approval ({fields}); hint: `cortex-gateway baseline diff` shows the change, `baseline approve` accepts it"
                ));
                Some(QUARANTINED)
            }
            Verdict::Withheld => {
                notes.push(format!(
                    "{what} is withheld: its definition is not approved"
                ));
                Some(WITHHELD)
            }
        };
        let built = definition::build(naming, tool).map(|entry| Entry { withheld, ..entry });
        offer.tools.extend(kept(&mut notes, what, built));
    }
    for prompt in discovered.prompts {
        let what = format!("prompt `{}`", prompt.name);
        offer
            .prompts
            .extend(kept(&mut notes, what, others::prompt(naming, prompt)));
    }
    for resource in discovered.resources {
        let what = format!("resource `{}`", resource.uri);
        offer.resources.extend(kept(
            &mut notes,
            what,
            others::resource(&naming.backend, resource),
        ));
    }
    for template in discovered.resource_templates {
        let what = format!("resource template `{}`", template.uri_template);
        match others::template(&naming.backend, template) {
            Ok((entry, template)) => offer.templates.push(TemplateRoute {
                template,
                entry: Arc::new(entry),
            }),
            Err(reason) => notes.push(format!("{what} is left out: {reason}")),
        }
    }
    for entries in [&mut offer.tools, &mut offer.prompts, &mut offer.resources] {
        entries.sort_by(|a, b| a.item.name.cmp(&b.item.name));
    }
    offer
        .templates
        .sort_by(|a, b| a.entry.item.name.cmp(&b.entry.item.name));
    (offer, notes)
}

fn kept(notes: &mut Vec<String>, what: String, built: Result<Entry, String>) -> Option<Arc<Entry>> {
    match built {
        Ok(entry) => Some(Arc::new(entry)),
        Err(reason) => {
            notes.push(format!("{what} is left out: {reason}"));
            None
        }
    }
}

fn counts(offer: &Offer) -> String {
    let counted = [
        ("tools", offer.tools.len()),
        ("prompts", offer.prompts.len()),
        ("resources", offer.resources.len()),
        ("resource templates", offer.templates.len()),
    ];
    let told: Vec<String> = counted
        .into_iter()
        .filter(|(what, n)| *n > 0 || *what == "tools")
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    told.join(", ")
}

fn same(a: &Offer, b: &Offer) -> bool {
    let templates = |offer: &Offer| -> Vec<Arc<Entry>> {
        offer
            .templates
            .iter()
            .map(|r| Arc::clone(&r.entry))
            .collect()
    };
    alike(&a.tools, &b.tools)
        && alike(&a.prompts, &b.prompts)
        && alike(&a.resources, &b.resources)
        && alike(&templates(a), &templates(b))
}

/// What the caller of a tool is told that is not what was approved.
const QUARANTINED: &str = "Tool quarantined: definition changed since approval";
/// What the caller of a tool is told of which nothing was approved.
const WITHHELD: &str = "Tool withheld: its definition is not approved";

/// Whether two lists look the same to everybody.
pub(super) fn alike(a: &[Arc<Entry>], b: &[Arc<Entry>]) -> bool {
    let alike = |(a, b): (&Arc<Entry>, &Arc<Entry>)| {
        Arc::ptr_eq(a, b)
            || (a.definition.get() == b.definition.get()
                && a.item.scopes == b.item.scopes
                && a.withheld == b.withheld)
    };
    a.len() == b.len() && a.iter().zip(b).all(alike)
}
