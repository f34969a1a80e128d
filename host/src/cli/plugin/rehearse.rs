//! `cortex-gateway plugin test`: scripts of recorded exchanges, played with a component.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::build;
use crate::cli::keys;
use crate::cli::terminal::plain;
use crate::config::PluginConfig;
use crate::plugin::{Played, Rehearsal};

/// Exit status 1 when anything is not as it was recorded.
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// The project, which is built first, or a component.
    #[arg(default_value = ".")]
    of: PathBuf,
    /// The scripts: a file, or a folder of `*.json`. `tests/exchanges` of a project unless told otherwise.
    #[arg(long, value_name = "PATH")]
    scripts: Option<PathBuf>,
    /// Write down what it answers now, where that differs or nothing was recorded.
    #[arg(long)]
    record: bool,
}

impl Test {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let is_project = self.of.is_dir();
        let component = if is_project {
            build::component(&self.of, "release")?
        } else {
            self.of.clone()
        };
        let scripts = match &self.scripts {
            Some(scripts) => scripts.clone(),
            None if is_project => self.of.join("tests/exchanges"),
            None => bail!("which scripts? hint: `--scripts PATH`"),
        };
        let config = PluginConfig::from_env()?;
        let rehearsal =
            Rehearsal::of(config, &component).with_context(|| keys::shown(&component))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let mut wrong = 0;
        for file in files(&scripts)? {
            let text = keys::read(&file)?;
            let played = runtime.block_on(rehearsal.play(&text));
            let played = played.with_context(|| keys::shown(&file))?;
            wrong += report(&file, &played, self.record);
            if self.record {
                keys::write(&file, &recorded(&text, &played)?)?;
            }
        }
        match wrong {
            0 => Ok(()),
            1 => bail!(
                "1 step is not as it was recorded; hint: `--record` if it is right as it is now"
            ),
            _ => bail!(
                "{wrong} steps are not as they were recorded; hint: `--record` if they are right as they are now"
            ),
        }
    }
}

/// The scripts of a path, in the order of their names.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| keys::shown(path))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|is| is == "json") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("{} has no `*.json`", keys::shown(path));
    }
    Ok(files)
}

/// Tells what came of a script; returns how many steps were wrong.
fn report(file: &Path, played: &[Played], records: bool) -> usize {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut wrong = 0;
    for (number, step) in (1..).zip(played) {
        let place = format!("{} {number} {}", plain(&name), plain(&step.call));
        if step.is_right() {
            println!("ok     {place} (fuel {})", step.fuel);
            continue;
        }
        for told in &step.wrong {
            println!("WRONG  {place}: {}", plain(told));
        }
        if let (Some(expected), false) = (&step.expected_notices, records)
            && *expected != step.notices
        {
            let told = plain(&Value::Array(step.notices.clone()).to_string());
            let expected = plain(&Value::Array(expected.clone()).to_string());
            println!("WRONG  {place}: its client was told {told}\n       recorded was {expected}");
            wrong += 1;
            continue;
        }
        let result = plain(&step.result.to_string());
        let differs = step.expected.as_ref() != Some(&step.result);
        if !step.wrong.is_empty() || (differs && !records) {
            wrong += 1;
        }
        match (&step.expected, records) {
            _ if !differs => {}
            (_, true) => println!("wrote  {place}: {result} (fuel {})", step.fuel),
            (None, false) => println!("WRONG  {place}: nothing was recorded; it answered {result}"),
            (Some(expected), false) => {
                let expected = plain(&expected.to_string());
                println!("WRONG  {place}: it answered {result}\n       recorded was {expected}");
            }
        }
    }
    wrong
}

/// The script with what was answered now.
fn recorded(text: &str, played: &[Played]) -> anyhow::Result<String> {
    let mut script: Value = serde_json::from_str(text)?;
    let steps = script["steps"].as_array_mut().into_iter().flatten();
    for (step, played) in steps.zip(played) {
        step["result"] = played.result.clone();
        if played.expected_notices.is_some() || !played.notices.is_empty() {
            step["notices"] = played.notices.clone().into();
        }
    }
    Ok(format!("{script:#}\n"))
}
