//! `cortex-gateway plugin diff`: what changes from one version of a component to another.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::inspected;
use crate::cli::terminal::plain;
use crate::plugin::Inspection;

/// Exit status 1 when the new one wants more.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// The component that runs.
    old: PathBuf,
    /// The component that would take its place.
    new: PathBuf,
}

impl Diff {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let (old, new) = (inspected(&self.old)?, inspected(&self.new)?);
        let (text, more) = in_words(&old, &new);
        print!("{text}");
        if more {
            // Like `diff`: what was asked was answered, and the answer is that it is more.
            std::io::Write::flush(&mut std::io::stdout())?;
            std::process::exit(1);
        }
        Ok(())
    }
}

/// The differences, and whether the new one wants more.
fn in_words(old: &Inspection, new: &Inspection) -> (String, bool) {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    if old.digest == new.digest {
        line("they are the same component".to_owned());
        return (text, false);
    }
    let name = |of: &Inspection| match &of.description {
        Some(said) => format!("{} {}", plain(&said.name), plain(&said.version)),
        None => "something that does not introduce itself".to_owned(),
    };
    line(format!("{} -> {}", name(old), name(new)));
    let contract = |of: &Inspection| of.line.map_or("unknown", |line| line.as_str());
    if contract(old) != contract(new) {
        line(format!(
            "contract: cortex:gateway {} -> {}",
            contract(old),
            contract(new)
        ));
    }
    if old.size != new.size {
        line(format!(
            "size: {} KiB -> {} KiB",
            old.size.div_ceil(1024),
            new.size.div_ceil(1024)
        ));
    }
    // Versions of an interface are of the contract, and told with it.
    let interfaces = |of: &Inspection| -> BTreeSet<String> {
        let names = of.imports.iter().map(|import| &import.name);
        let bare = names.map(|name| name.split('@').next().unwrap_or(name).to_owned());
        bare.collect()
    };
    let (before, now) = (interfaces(old), interfaces(new));
    for import in now.difference(&before) {
        line(format!("+ imports {}", plain(import)));
    }
    for import in before.difference(&now) {
        line(format!("- imports {}", plain(import)));
    }
    let wants = |of: &Inspection| -> BTreeSet<_> {
        of.wants.iter().map(|wanted| wanted.want.clone()).collect()
    };
    let (before, now) = (wants(old), wants(new));
    for wanted in &new.wants {
        if !before.contains(&wanted.want) {
            let reason = plain(&wanted.reason);
            line(format!(
                "+ wants {}: {reason}",
                plain(&wanted.want.to_string())
            ));
        }
    }
    for want in before.difference(&now) {
        line(format!("- wants {}", plain(&want.to_string())));
    }
    let schema = |of: &Inspection| {
        let said = of.description.as_ref();
        said.and_then(|said| said.settings_schema.clone())
    };
    if schema(old) != schema(new) {
        line("its settings are others: `plugin check` tells whether yours still fit".to_owned());
    }
    if let Some(refusal) = &new.refusal {
        line(format!("refused: {}", plain(&refusal.to_string())));
    }
    let more = now.difference(&before).next().is_some();
    (text, more)
}
