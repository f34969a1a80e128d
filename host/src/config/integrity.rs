//! `CORTEX_TOOL_INTEGRITY_MODE`, `CORTEX_TOOL_BASELINE_FILE`, `CORTEX_BASELINE_*`: what happens when
//! the definition of a tool changes.

use std::path::PathBuf;

use super::vars::Vars;
use crate::types::signing::{BadKey, PrivateKey, PublicKey};

/// What happens to a tool whose definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrityMode {
    /// It is served, and the operator is told.
    Warn,
    /// It is withheld until an operator approves it.
    Block,
}

/// How tool definitions are watched.
#[derive(Clone, Debug)]
pub struct IntegrityConfig {
    /// What happens when one changes.
    pub mode: IntegrityMode,
    /// Where approvals are kept, if not in the store.
    pub file: Option<PathBuf>,
    /// Signs that file.
    pub private_key: Option<PrivateKey>,
    /// Checks its signature.
    pub public_key: Option<PublicKey>,
    /// The lock, if there is one: then only what is in it is approved.
    pub lock: Option<PathBuf>,
}

pub(super) fn read(vars: &mut Vars<'_>) -> IntegrityConfig {
    const PRIVATE: &str = "CORTEX_BASELINE_PRIVATE_KEY";
    const PUBLIC: &str = "CORTEX_BASELINE_PUBLIC_KEY";
    let mode = vars.choice(
        "CORTEX_TOOL_INTEGRITY_MODE",
        &[
            ("warn", IntegrityMode::Warn),
            ("block", IntegrityMode::Block),
        ],
        IntegrityMode::Warn,
    );
    let file = vars.text("CORTEX_TOOL_BASELINE_FILE").map(PathBuf::from);
    let private_key = vars.secret(PRIVATE).and_then(|text| {
        let key = PrivateKey::parse(text.reveal());
        key.map_err(|why: BadKey| vars.wrong(PRIVATE, None, &why.to_string()))
            .ok()
    });
    let public_key = vars.text(PUBLIC).and_then(|text| {
        let key = PublicKey::parse(&text);
        key.map_err(|why: BadKey| vars.wrong(PUBLIC, None, &why.to_string()))
            .ok()
    });
    if file.is_none() {
        for name in [PRIVATE, PUBLIC] {
            if vars.text(name).is_some() {
                vars.note(format!(
                    "{name} is ignored: CORTEX_TOOL_BASELINE_FILE is not set"
                ));
            }
        }
    }
    let own = private_key.as_ref().map(PrivateKey::public);
    if let (Some(own), Some(public)) = (&own, &public_key)
        && own != public
    {
        vars.wrong(
            PUBLIC,
            None,
            "it does not belong to CORTEX_BASELINE_PRIVATE_KEY: set the one that belongs to it, or leave it out",
        );
    }
    IntegrityConfig {
        mode,
        file,
        private_key,
        public_key: public_key.or(own),
        lock: None,
    }
}
