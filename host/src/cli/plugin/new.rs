//! `cortex-gateway plugin new`: a project that builds, with tests, and the SDK of this gateway beside it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::cli::keys;
use crate::types::PluginName;

/// The sources of the SDK, with their paths; see `build.rs`.
const SDK: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
/// Where they go.
const SDK_FOLDER: &str = ".cortex";

/// Nothing that is there is touched.
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The plugin's name: `a-z`, `0-9` and `-`.
    name: PluginName,
    /// What it is for.
    #[arg(long)]
    kind: Kind,
    /// The folder of the project; its name unless told otherwise.
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Use the SDK in this folder, instead of the one that this gateway carries.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Speaks to backends.
    BackendAdapter,
    /// Decides who may see and use what.
    ScopePolicy,
    /// Takes audit records.
    AuditExporter,
}

impl Kind {
    /// What it does, its code, and its first script.
    fn template(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BackendAdapter => (
                "Greets people by the name that its backend knows them by",
                include_str!("templates/backend_adapter.rs"),
                include_str!("templates/backend_adapter.json"),
            ),
            Self::ScopePolicy => (
                "Lets nobody use in the night what is not read-only",
                include_str!("templates/scope_policy.rs"),
                include_str!("templates/scope_policy.json"),
            ),
            Self::AuditExporter => (
                "Sends audit records to a collector",
                include_str!("templates/audit_exporter.rs"),
                include_str!("templates/audit_exporter.json"),
            ),
        }
    }
}

impl New {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let name = self.name.as_str();
        let at = self.at.clone().unwrap_or_else(|| name.into());
        if at.exists() {
            bail!("{} is there already", keys::shown(&at));
        }
        let (about, code, script) = self.kind.template();
        let sdk = match &self.sdk {
            Some(sdk) => {
                let sdk = sdk.canonicalize().with_context(|| keys::shown(sdk))?;
                sdk.display().to_string()
            }
            None => format!("{SDK_FOLDER}/sdk"),
        };
        let manifest = include_str!("templates/Cargo.toml.txt")
            .replace("{name}", name)
            .replace("{about}", about)
            .replace("{sdk}", &sdk);
        let mut files = vec![
            ("Cargo.toml".to_owned(), manifest),
            ("src/lib.rs".to_owned(), code.to_owned()),
            ("tests/exchanges/first.json".to_owned(), script.to_owned()),
            (".gitignore".to_owned(), "/target\n".to_owned()),
        ];
        if self.sdk.is_none() {
            let carried = SDK.iter();
            files.extend(
                carried.map(|(path, text)| (format!("{SDK_FOLDER}/{path}"), (*text).to_owned())),
            );
        }
        for (path, text) in files {
            let file = at.join(path);
            let folder = file.parent().context("every file is in the project")?;
            std::fs::create_dir_all(folder).with_context(|| keys::shown(folder))?;
            keys::write(&file, &text)?;
        }
        println!(
            "{} is a plugin now:\n  cargo test                        its functions, natively\n  \
             cortex-gateway plugin test        the component, against tests/exchanges\n  \
             cortex-gateway plugin dev --into PLUGIN_DIR   live at every change",
            keys::shown(&at)
        );
        Ok(())
    }
}
