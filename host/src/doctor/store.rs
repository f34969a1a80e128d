//! The data directory: whether there is room, whether it may be written, and whether the keys fit what is in
//! it.

use std::path::Path;

use serde_json::{Value, json};

use super::{Section, State};
use crate::config::{Config, TokenMode};
use crate::operator::{self, Accounts, Command};
use crate::store::Store;
use crate::vault::{Vault, VaultError};

/// Less than this many MiB is too little to go on.
const NONE_LEFT: u64 = 64;
/// Less than this many MiB is worth a look.
const LITTLE_LEFT: u64 = 1024;

/// `runs`: a gateway has the directory open, and is asked. `reached`: if there is a database, it can be asked.
pub(super) async fn look(config: &Config, runs: bool, reached: bool) -> Section {
    let mut section = Section::new("data directory");
    let dir = &config.data_dir;
    let shown = dir.display();
    if !dir.exists() {
        section.warn(
            format!("`{shown}` is not there yet"),
            "the first start makes it; if the gateway has run before, set CORTEX_DATA_DIR to where that one kept its files",
        );
        return section;
    }
    if let Err(error) = writable(dir) {
        section.broken(
            format!("`{shown}` cannot be written to: {error}"),
            "give the user that the gateway runs as a directory of its own",
        );
        return section;
    }
    room(&mut section, dir);
    if runs {
        section.ok(format!("`{shown}` is in use by a running gateway"));
        running(&mut section, config).await;
    } else if let (Some(database), true) = (&config.database, reached) {
        // Not the gateway's own part: that has nothing to do with keys.
        match Store::look(database).await {
            Ok(Some(store)) => keys_fit(&mut section, config, &store).await,
            Ok(None) => no_key(&mut section, config),
            Err(error) => section.told(State::Broken, &error.to_string()),
        }
    } else if config.database.is_none() && Store::exists(dir) {
        own(&mut section, config).await;
    } else {
        section.ok("there is no store yet: the first start makes it");
        no_key(&mut section, config);
    }
    section
}

fn writable(dir: &Path) -> std::io::Result<()> {
    let probe = dir.join(format!(".doctor.{}", std::process::id()));
    std::fs::write(&probe, b"ok")?;
    std::fs::remove_file(&probe)
}

fn room(section: &mut Section, dir: &Path) {
    let Ok(about) = rustix::fs::statvfs(dir) else {
        return;
    };
    let left = about.f_bavail.saturating_mul(about.f_frsize) / (1024 * 1024);
    let what = format!("{left} MiB are free below `{}`", dir.display());
    match left {
        0..NONE_LEFT => section.broken(what, "make room: nothing can be kept on a full disk"),
        NONE_LEFT..LITTLE_LEFT => section.warn(what, "make room before it is full"),
        _ => section.ok(what),
    }
}

/// Whether the store opens, and what is in it.
async fn own(section: &mut Section, config: &Config) {
    let store = match Store::open(&config.data_dir, None).await {
        Ok(store) => store,
        Err(error) => return section.told(State::Broken, &format!("{error}")),
    };
    section.ok("the store opens, and no gateway has it open");
    keys_fit(section, config, &store).await;
}

/// Whether the keys open what is in the vault.
async fn keys_fit(section: &mut Section, config: &Config, store: &Store) {
    let keys = &config.accounts.vault_keys;
    let status = match Vault::look(store, keys).await {
        Ok(vault) => vault.status().await,
        Err(VaultError::NoKey) => match Vault::is_used(store).await {
            Ok(true) => {
                return section.broken(
                    "accounts are linked, but nothing can open them",
                    "set CORTEX_VAULT_KEY to the key that they were sealed with",
                );
            }
            Ok(false) => return no_key(section, config),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => vault(section, &json!(status)),
        Err(error) => section.told(State::Broken, &error.to_string()),
    }
}

/// What the gateway that has the store says of its vault.
async fn running(section: &mut Section, config: &Config) {
    if config.accounts.vault_keys.is_empty() {
        return no_key(section, config);
    }
    let asked = Command::Vault(Accounts::Status);
    match operator::ask(&config.data_dir, asked).await {
        Ok(status) => vault(section, &status),
        Err(error) => section.told(State::Broken, &format!("{error:#}")),
    }
}

fn vault(section: &mut Section, status: &Value) {
    let servers = status["servers"].as_object();
    let linked: u64 = (servers.into_iter().flat_map(|servers| servers.values()))
        .filter_map(|at| at["linked"].as_u64())
        .sum();
    match status["lost"].as_u64().unwrap_or_default() {
        0 => section.ok(format!(
            "the vault's key fits: {linked} accounts are linked"
        )),
        lost => section.broken(
            format!("{lost} accounts are sealed with keys that are not in CORTEX_VAULT_KEY"),
            "add the old key behind the new one, separated by a comma, and run `cortex-gateway vault rotate`",
        ),
    }
}

fn no_key(section: &mut Section, config: &Config) {
    if config
        .backends
        .iter()
        .any(|backend| backend.account.is_some() && backend.token == TokenMode::Linked)
    {
        section.warn(
            "CORTEX_VAULT_KEY is not set: nobody can link an account at an MCP server",
            "set it to what `openssl rand -base64 32` prints, and keep that",
        );
    } else {
        section.ok("no vault is needed: there is no MCP server at which accounts are linked");
    }
}
