//! `cortex-gateway plugin build` and `dev`: from a project to a component, once or at every change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;
use xtask::components;

use crate::cli::keys;

/// How often the files of a project are looked at.
const LOOK: Duration = Duration::from_millis(25);

#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// The project.
    #[arg(default_value = ".")]
    project: PathBuf,
}

impl Build {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        println!("{}", component(&self.project, "release")?.display());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Dev {
    /// The project.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// The plugin directory of a gateway that runs.
    #[arg(long, value_name = "DIR", env = "CORTEX_PLUGIN_DIR")]
    into: PathBuf,
}

impl Dev {
    /// Until it is ended.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if !self.into.is_dir() {
            bail!(
                "{} is no folder; hint: CORTEX_PLUGIN_DIR of a gateway",
                keys::shown(&self.into)
            );
        }
        let mut built = BTreeMap::new();
        loop {
            let now = stamps(&self.project)?;
            if now != built {
                built = now;
                let began = Instant::now();
                // What does not build is told by cargo, and mended in the next moment.
                match self.put() {
                    Ok(file) => println!(
                        "{} after {} ms",
                        keys::shown(&file),
                        began.elapsed().as_millis()
                    ),
                    Err(error) => eprintln!("{error:#}"),
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn put(&self) -> anyhow::Result<PathBuf> {
        let component = component(&self.project, "dev")?;
        let name = component
            .file_name()
            .context("cargo names what it builds")?;
        let to = self.into.join(name);
        components::install(&component, &to).with_context(|| keys::shown(&to))?;
        Ok(to)
    }
}

/// Builds the component of a project, and tells where it is.
pub(super) fn component(project: &Path, profile: &str) -> anyhow::Result<PathBuf> {
    if !project.join("Cargo.toml").is_file() {
        bail!(
            "{} has no `Cargo.toml`; hint: `cortex-gateway plugin new NAME --kind backend-adapter` makes a project",
            keys::shown(project)
        );
    }
    let project = project
        .canonicalize()
        .with_context(|| keys::shown(project))?;
    let built = components::project(&project, profile);
    let built = built.map_err(|error| anyhow::anyhow!("{error}"))?;
    // Crates have `_` where plugins have `-`.
    let name = built.file_stem().unwrap_or_default().to_string_lossy();
    let folder = project.join("target/component");
    std::fs::create_dir_all(&folder).with_context(|| keys::shown(&folder))?;
    let to = folder.join(format!("{}.wasm", name.replace('_', "-")));
    components::install(&built, &to).with_context(|| keys::shown(&to))?;
    Ok(to)
}

/// What tells whether a project has changed.
fn stamps(project: &Path) -> anyhow::Result<BTreeMap<PathBuf, SystemTime>> {
    let mut found = BTreeMap::new();
    let mut left = vec![project.join("Cargo.toml"), project.join("src")];
    while let Some(path) = left.pop() {
        // An editor may just be replacing it.
        let Ok(about) = std::fs::metadata(&path) else {
            continue;
        };
        if about.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else {
            found.insert(path, about.modified()?);
        }
    }
    Ok(found)
}
