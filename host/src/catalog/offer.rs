//! From what a backend said that it offers to what callers see of it.

use std::sync::Arc;

use super::naming::Naming;
use super::{BUILTIN_NAMES, Entry, Offer, TemplateRoute, definition, others};
use crate::integrity::Verdict;
use crate::plugin::model::Catalog as Discovered;

/// What a backend offers, as callers will see it, and what is left out and why.
pub(super) fn offer(
    naming: &Naming,
    discovered: Discovered,
    verdicts: Vec<Verdict>,
) -> (Offer, Vec<String>) {
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

/// How much is offered, for an operator.
pub(super) fn counts(offer: &Offer) -> String {
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

/// Whether two offers look the same to everybody.
pub(super) fn same(a: &Offer, b: &Offer) -> bool {
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
