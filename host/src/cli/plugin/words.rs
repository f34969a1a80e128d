//! Answers of `cortex-gateway plugin` in words, and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::terminal::{plain, shown};
use crate::plugin::Inspection;

/// One line for each file that runs, and one below for what is wrong with the file as it is now.
/// What came from a plugin is escaped: it could hold what a terminal obeys.
pub(super) fn list(answer: &Value) -> String {
    let mut text = String::new();
    let plugins = answer["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    if plugins.is_empty() {
        text.push_str("no plugin is there; hint: put components into CORTEX_PLUGIN_DIR\n");
    }
    for plugin in plugins {
        let (file, running) = (shown(&plugin["file"]), &plugin["running"]);
        // Writing to a string cannot fail.
        let _ = if running.is_null() {
            writeln!(text, "{file}: not running")
        } else {
            let digest = shown(&running["digest"]);
            writeln!(
                text,
                "{file}: {} {}, {}, since {}, sha256 {}",
                shown(&running["name"]),
                shown(&running["version"]),
                shown(&running["kind"]),
                shown(&running["since"]),
                digest.get(..12).unwrap_or(&digest),
            )
        };
        if running["resting"] == true {
            text.push_str("  left alone for a while: it did nothing but fail; the log says what\n");
        }
        let missing = running["missing"].as_array().into_iter().flatten();
        for want in missing {
            let _ = writeln!(text, "  not granted: {}", shown(want));
        }
        if plugin["refused"].is_string() {
            let _ = writeln!(text, "  refused: {}", shown(&plugin["refused"]));
        }
    }
    text
}

/// One line for each plugin that runs.
pub(super) fn top(answer: &Value) -> String {
    let plugins = answer["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    let mut running: Vec<&Value> = plugins.iter().map(|plugin| &plugin["running"]).collect();
    running.retain(|plugin| plugin.is_object());
    let busy = |plugin: &Value| plugin["used"]["busySeconds"].as_f64().unwrap_or_default();
    running.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
    let mut text = format!(
        "{:<24} {:>10} {:>8} {:>10} {:>12} {:>10} {:>12}\n",
        "plugin", "calls", "failed", "busy s", "µs per call", "exchanges", "KiB received"
    );
    for plugin in running {
        let used = &plugin["used"];
        let count = |name: &str| used[name].as_u64().unwrap_or_default();
        let failed = used["failed"].as_object().into_iter().flatten();
        let failed: u64 = failed.filter_map(|(_, count)| count.as_u64()).sum();
        let each = busy(plugin) * 1e6 / (count("calls").max(1) as f64);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<24} {:>10} {failed:>8} {:>10.3} {each:>12.0} {:>10} {:>12}",
            shown(&plugin["name"]),
            count("calls"),
            busy(plugin),
            count("exchanges"),
            count("receivedBytes").div_ceil(1024),
        );
    }
    text
}

/// What was found out, for programs.
pub(super) fn to_json(file: &Path, found: &Inspection) -> Value {
    let imports = found.imports.iter();
    let description = found.description.as_ref().map(|description| {
        let wants = found.wants.iter();
        json!({
            "name": description.name,
            "version": description.version,
            "summary": description.summary,
            "settingsSchema": description.settings_schema,
            "wants": wants
                .map(|wanted| json!({
                    "want": wanted.want.to_string(),
                    "reason": wanted.reason,
                    "granted": wanted.met,
                }))
                .collect::<Vec<_>>(),
        })
    });
    json!({
        "file": file.display().to_string(),
        "size": found.size,
        "digest": found.digest,
        "kind": found.kind.map(|kind| kind.as_str()),
        "line": found.line.map(|line| line.as_str()),
        "imports": imports
            .map(|import| json!({ "name": import.name, "meaning": import.meaning }))
            .collect::<Vec<_>>(),
        "description": description,
        "refused": found.refusal.as_ref().map(ToString::to_string),
    })
}

/// What was found out, for a person.
pub(super) fn in_words(file: &Path, found: &Inspection) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("file", plain(&file.display().to_string()));
    line("size", format!("{} KiB", found.size.div_ceil(1024)));
    line("sha256", found.digest.clone());
    if let Some(description) = &found.description {
        let (name, version) = (plain(&description.name), plain(&description.version));
        line("plugin", format!("{name} {version}"));
        line("what", plain(&description.summary));
    }
    if let Some(kind) = found.kind {
        line("kind", kind.as_str().to_owned());
    }
    if let Some(of) = found.line {
        line("contract", format!("cortex:gateway {}", of.as_str()));
    }
    let (wasi, ours): (Vec<_>, Vec<_>) =
        (found.imports.iter()).partition(|import| import.name.starts_with("wasi:"));
    for import in ours {
        let name = plain(&import.name);
        line("imports", format!("{name}: {}", import.meaning));
    }
    if let Some(first) = wasi.first() {
        let count = wasi.len();
        line(
            "imports",
            format!("wasi, {count} interfaces: {}", first.meaning),
        );
    }
    if let Some(description) = &found.description {
        for wanted in &found.wants {
            let (want, reason) = (plain(&wanted.want.to_string()), plain(&wanted.reason));
            let granted = match (wanted.met, wanted.settled) {
                (true, _) => "granted",
                (false, true) => "does without",
                (false, false) => "not granted",
            };
            line("wants", format!("{want} ({granted}): {reason}"));
        }
        let has = description.settings_schema.is_some();
        let told = if has { "it has some" } else { "none" };
        line("settings", told.to_owned());
    }
    line(
        "here",
        match &found.refusal {
            None => "this gateway runs it, with the settings beside it".to_owned(),
            Some(refusal) => format!("refused: {}", plain(&refusal.to_string())),
        },
    );
    text
}
