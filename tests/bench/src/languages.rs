//! The same adapter in several languages: what one call of each costs.

use anyhow::{Result, ensure};

use crate::Options;
use crate::exchange::Exchange;
use crate::sets::{Group, Scenario};

/// Each language, and what the table calls its fresh and its kept instances.
const LANGUAGES: [(&str, &str, &str); 4] = [
    (
        "rust",
        "Rust, instance per call",
        "Rust, instance per subject",
    ),
    ("c", "C, instance per call", "C, instance per subject"),
    (
        "javascript",
        "JavaScript, instance per call",
        "JavaScript, instance per subject",
    ),
    (
        "python",
        "Python, instance per call",
        "Python, instance per subject",
    ),
];

/// Those of which there is a component.
pub(crate) fn group(options: &Options) -> Result<Group> {
    let (mut scenarios, mut others) = (Vec::new(), Vec::new());
    for (language, fresh, kept) in LANGUAGES {
        let adapter = format!("relay-{language}");
        let file = format!("{adapter}.wasm");
        let guests = options.guests.iter();
        let sizes = guests.filter_map(|dir| dir.join(&file).metadata().ok());
        let Some(size) = sizes.map(|about| about.len()).next() else {
            eprintln!("{file} is not there: its language is left out");
            continue;
        };
        println!("{file}: {} KiB", size / 1024);
        others.push((language, adapter));
        scenarios.push(Scenario::fresh(fresh, Exchange::Relay(language)));
        scenarios.push(Scenario::kept(kept, Exchange::Relay(language)));
    }
    ensure!(!others.is_empty(), "no component of any language is there");
    Ok(Group {
        name: "languages",
        tools: 1,
        backends: 1,
        others,
        raw: Some(Exchange::Contract),
        scenarios,
        connections: vec![1, 32],
        ..Group::default()
    })
}
