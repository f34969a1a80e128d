//! `cortex-gateway plugin`: its arguments, and what each of its commands does.

mod build;
mod diff;
mod grant;
mod new;
mod rehearse;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Asking;
use super::keys::{self, Keygen};
use super::terminal::plain_json;
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
    /// Write a new plugin: a project that builds, with tests.
    New(new::New),
    /// Build a project to a component, in the folder `target/component` of it.
    Build(build::Build),
    /// Build a project again whenever one of its files changes, and put the component into a plugin directory.
    Dev(build::Dev),
    /// Play scripts of recorded exchanges with a component, and compare what it answers with what was recorded.
    Test(rehearse::Test),
    /// Tell what changes from one version of a component to another, before it takes its place.
    Diff(diff::Diff),
    /// Let a component have what it wants, in the `.toml` beside it.
    Grant(grant::Grant),
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
        Command::List(asking) => asking.ask(operator::Command::Plugins, words::list),
        Command::Top(asking) => asking.ask(operator::Command::Plugins, words::top),
        Command::Inspect(Inspect { file, json }) => {
            let found = inspected(&file)?;
            if json {
                let answer = format!("{:#}", words::to_json(&file, &found));
                println!("{}", plain_json(&answer));
            } else {
                print!("{}", words::in_words(&file, &found));
            }
            Ok(())
        }
        Command::New(new) => new.run(),
        Command::Build(build) => build.run(),
        Command::Dev(dev) => dev.run(),
        Command::Test(test) => test.run(),
        Command::Diff(diff) => diff.run(),
        Command::Grant(grant) => grant.run(),
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
        let engine = Runtime::new(&config, None, Client::new()?, None)?;
        let found = inspect(&engine, file).await;
        found.map_err(|refusal| anyhow::anyhow!("{}: {refusal}", file.display()))
    })
}
