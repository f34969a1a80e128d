//! `cortex-gateway plugin`: its arguments, and its answers in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Asking;
use super::keys::{self, Keygen};
use super::terminal::{plain, plain_json, shown};
use crate::config::{PluginConfig, PluginTrust};
use crate::operator;
use crate::outbound::Client;
use crate::plugin::{self, Inspection, Runtime, inspect};
use crate::types::signing::{PrivateKey, PublicKey};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell what a running gateway has loaded of its plugin directory, and what it refused and why.
    List(Asking),
    /// Tell what the plugins of a running gateway have used since its start, the busiest first.
    Top(Asking),
    /// Tell what a component is, what it can do here and what it wants, before it is dropped anywhere.
    Inspect(Inspect),
    /// Make a pair of Ed25519 keys to sign and verify components.
    Keygen(Keygen),
    /// Sign a component: the signature is written beside it, with the ending `.sig`.
    Sign(Signing),
    /// Tell whether the signature beside a component holds.
    Verify(Signing),
    /// Tell whether this gateway would run a component with the settings beside it: the first thing
    /// that does not fit, and what to do. Ends with an error if there is one.
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The component.
    file: PathBuf,
    /// Write the answer as JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Signing {
    /// The component.
    file: PathBuf,
    /// The key, of `keygen`: the private one to sign, the public one to verify.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The component.
    file: PathBuf,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(asking) => asking.ask(operator::Command::Plugins, list),
        Command::Top(asking) => asking.ask(operator::Command::Plugins, top),
        Command::Inspect(Inspect { file, json }) => {
            let found = inspected(&file)?;
            if json {
                let answer = format!("{:#}", to_json(&file, &found));
                println!("{}", plain_json(&answer));
            } else {
                print!("{}", in_words(&file, &found));
            }
            Ok(())
        }
        Command::Keygen(keygen) => keygen.run(),
        Command::Sign(signing) => sign(&signing),
        Command::Verify(signing) => verify(&signing),
        Command::Check(Check { file }) => match inspected(&file)?.refusal {
            Some(refusal) => Err(anyhow::anyhow!("{}: {refusal}", file.display())),
            None => {
                println!("{}: this gateway runs it", file.display());
                Ok(())
            }
        },
    }
}

fn sign(Signing { file, key }: &Signing) -> anyhow::Result<()> {
    let key = PrivateKey::parse(&keys::read(key)?).with_context(|| keys::shown(key))?;
    let digest = plugin::digest(&keys::read_bytes(file)?);
    let beside = plugin::signature_file(file);
    let signature = plugin::sign(&key, &digest);
    keys::write(&beside, &format!("{signature}\n"))?;
    println!("signed: {}, sha256 {digest}", keys::shown(&beside));
    Ok(())
}

fn verify(Signing { file, key }: &Signing) -> anyhow::Result<()> {
    let key = PublicKey::parse(&keys::read(key)?).with_context(|| keys::shown(key))?;
    let digest = plugin::digest(&keys::read_bytes(file)?);
    let signature = keys::read(&plugin::signature_file(file))?;
    let trust = PluginTrust {
        keys: vec![key],
        digests: BTreeSet::new(),
    };
    plugin::check(Some(&trust), &digest, Some(&signature))?;
    println!("the signature holds: sha256 {digest}");
    Ok(())
}

fn inspected(file: &Path) -> anyhow::Result<Inspection> {
    let config = PluginConfig::from_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let engine = Runtime::new(&config, None, Client::new()?)?;
        let found = inspect(&engine, file).await;
        found.map_err(|refusal| anyhow::anyhow!("{}: {refusal}", file.display()))
    })
}

/// One line for each file that runs, and one below for what is wrong with the file as it is now.
/// What came from a plugin is escaped: it could hold what a terminal obeys.
fn list(answer: &Value) -> String {
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
        if plugin["refused"].is_string() {
            let _ = writeln!(text, "  refused: {}", shown(&plugin["refused"]));
        }
    }
    text
}

/// One line for each plugin that runs.
fn top(answer: &Value) -> String {
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

fn to_json(file: &Path, found: &Inspection) -> Value {
    let imports = found.imports.iter();
    let description = found.description.as_ref().map(|description| {
        let wants = description.capabilities.iter();
        json!({
            "name": description.name,
            "version": description.version,
            "summary": description.summary,
            "settingsSchema": description.settings_schema,
            "wants": wants
                .map(|wanted| json!({ "name": wanted.name, "reason": wanted.reason }))
                .collect::<Vec<_>>(),
        })
    });
    json!({
        "file": file.display().to_string(),
        "size": found.size,
        "digest": found.digest,
        "kind": found.kind.map(|kind| kind.as_str()),
        "imports": imports
            .map(|import| json!({ "name": import.name, "meaning": import.meaning }))
            .collect::<Vec<_>>(),
        "description": description,
        "refused": found.refusal.as_ref().map(ToString::to_string),
    })
}

fn in_words(file: &Path, found: &Inspection) -> String {
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
        for wanted in &description.capabilities {
            let (name, reason) = (plain(&wanted.name), plain(&wanted.reason));
            line("wants", format!("{name}: {reason}"));
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
