//! What the environment says, and the files that it names.

use super::{Section, State};
use crate::config::{Config, Mode, is_loopback};
use crate::integrity;
use crate::lock::Lock;

/// All wrong values at once, as a start tells them; the configuration if there is none.
pub(super) fn look() -> (Section, Option<Config>) {
    let mut section = Section::new("configuration");
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems.0 {
                section.broken(problem.to_string(), "docs/operators.md has all variables");
            }
            return (section, None);
        }
    };
    for note in &config.notes {
        section.told(State::Warning, note);
    }
    if config.dev_bypass.is_some() && !config.listen.ip().is_loopback() {
        section.warn(
            "the dev bypass is on, and the gateway listens beyond this machine",
            "unset CORTEX_DEV_BYPASS_TOKEN, or set CORTEX_ENV=production",
        );
    }
    if config.mode == Mode::Production && config.canonical_uri.scheme() != "https" {
        section.warn(
            "CORTEX_CANONICAL_URI is plain http in production: tokens travel in clear",
            "give the gateway a name with a certificate, and set its https URL",
        );
    }
    if config.oauth.is_some()
        && is_loopback(&config.canonical_uri)
        && !config.listen.ip().is_loopback()
    {
        section.warn(
            "CORTEX_CANONICAL_URI names this machine, though others reach the gateway",
            "set the URL of /mcp as clients know it: their tokens are for that",
        );
    }
    section.ok(format!(
        "everything that is set can be used: {} backends, {} of them MCP servers",
        config.backends.len(),
        (config.backends.iter())
            .filter(|backend| backend.account.is_some())
            .count()
    ));
    (section, Some(config))
}

/// The lock and the file of approved definitions.
pub(super) fn files(config: &Config) -> Section {
    let mut section = Section::new("files");
    let lock = &config.plugins.lock;
    match Lock::read(lock) {
        Ok(None) => section.ok("nothing is locked: any component and any tool may come"),
        Ok(Some(lock)) => section.ok(format!("{} components are locked", lock.plugins.len())),
        Err(error) => section.broken(
            error.to_string(),
            "nothing runs until it can be read: restore it, or remove it to lock nothing",
        ),
    }
    if let Some(file) = &config.integrity.file {
        match integrity::read_file(file, config.integrity.public_key.as_ref()) {
            Ok(Some(_)) => section.ok(format!("`{}` can be used", file.display())),
            Ok(None) => section.ok(format!(
                "`{}` is not there yet: what is seen first is approved",
                file.display()
            )),
            Err(error) => {
                let mut told = error.to_string();
                if !told.contains("; hint: ") {
                    told.push_str("; hint: restore CORTEX_TOOL_BASELINE_FILE from a backup: until then tools are withheld in block mode");
                }
                section.told(State::Broken, &told);
            }
        }
    }
    section
}
