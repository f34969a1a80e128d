//! Where components are found and what one call of one may use.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::variable;
use super::vars::{Problems, Vars};
use crate::types::signing::PublicKey;

/// How long an adapter's instance lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceMode {
    /// A fresh instance for each call: nothing is ever left over for the next one.
    Call,
    /// An instance may be kept, and then only ever serves the same subject and backend again.
    Subject,
}

/// Where the standard output of audit exporters goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExporterOutput {
    /// To the gateway's own.
    Stdout,
    /// To standard error, because standard output is taken: there MCP is spoken.
    Stderr,
}

/// Which components may run.
#[derive(Clone, Debug)]
pub struct PluginTrust {
    /// Whose signatures count.
    pub keys: Vec<PublicKey>,
    /// SHA-256 of components that need none, in hexadecimal digits.
    pub digests: BTreeSet<String>,
}

/// Plugin directory, limits and instances.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    /// The drop directory.
    pub dir: PathBuf,
    /// The lock; what it says counts when it is there.
    pub lock: PathBuf,
    /// Which components may run; all of them unless something is set.
    pub trust: Option<PluginTrust>,
    /// How long adapter instances live.
    pub instances: InstanceMode,
    /// Largest linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// Longest time a guest may compute in one call, in milliseconds. Waiting for a backend
    /// does not count.
    pub compute_ms: u64,
    /// Most HTTP exchanges in one call.
    pub max_exchanges: u32,
    /// Largest response body and largest result, in bytes.
    pub max_result_bytes: usize,
    /// Most instances at one time, kept ones included.
    pub max_instances: u32,
    /// Most kept instances.
    pub warm_instances: usize,
    /// Seconds after which an unused kept instance is dropped.
    pub warm_idle_seconds: u64,
    /// Where the standard output of audit exporters goes. Follows from the command.
    pub exporter_output: ExporterOutput,
}

impl PluginConfig {
    /// Reads it from the environment, for commands that run no gateway.
    ///
    /// # Errors
    /// All wrong values together.
    pub fn from_env() -> Result<Self, Problems> {
        let mut vars = Vars::new(&variable, Vec::new());
        let config = read(&mut vars);
        vars.finish().map(|_| config)
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> PluginConfig {
    let max_instances = vars.number("CORTEX_PLUGIN_MAX_INSTANCES", 256, 8..=4096);
    let warm_instances = vars.number("CORTEX_PLUGIN_WARM_INSTANCES", 64, 1..=2048);
    if warm_instances > max_instances as usize / 2 {
        vars.wrong(
            "CORTEX_PLUGIN_WARM_INSTANCES",
            Some(&warm_instances.to_string()),
            "expected at most half of CORTEX_PLUGIN_MAX_INSTANCES, so that other callers find room",
        );
    }
    let dir = vars.path("CORTEX_PLUGIN_DIR", "./plugins.d");
    let lock = vars.text("CORTEX_LOCK_FILE").map(PathBuf::from);
    PluginConfig {
        lock: lock.unwrap_or_else(|| dir.join("cortex.lock")),
        dir,
        trust: trust(vars),
        instances: vars.choice(
            "CORTEX_PLUGIN_INSTANCES",
            &[
                ("call", InstanceMode::Call),
                ("subject", InstanceMode::Subject),
            ],
            InstanceMode::Subject,
        ),
        memory_bytes: vars.number("CORTEX_PLUGIN_MEMORY_MIB", 64, 2..=1024) * 1024 * 1024,
        compute_ms: vars.number("CORTEX_PLUGIN_COMPUTE_MS", 2_000, 10..=60_000),
        max_exchanges: vars.number("CORTEX_PLUGIN_MAX_EXCHANGES", 32, 1..=10_000),
        max_result_bytes: vars.number(
            "CORTEX_PLUGIN_MAX_RESULT_BYTES",
            8 * 1024 * 1024,
            1024..=256 * 1024 * 1024,
        ),
        max_instances,
        warm_instances,
        warm_idle_seconds: vars.number("CORTEX_PLUGIN_WARM_IDLE_SECONDS", 60, 1..=86_400),
        exporter_output: ExporterOutput::Stdout,
    }
}

/// The end of a key in PEM.
const END: &str = "-----END PUBLIC KEY-----";

fn trust(vars: &mut Vars<'_>) -> Option<PluginTrust> {
    const KEYS: &str = "CORTEX_PLUGIN_TRUSTED_KEYS";
    const DIGESTS: &str = "CORTEX_PLUGIN_TRUSTED_DIGESTS";
    let (keys, digests) = (vars.text(KEYS), vars.list(DIGESTS));
    if keys.is_none() && digests.is_empty() {
        return None;
    }
    let mut trust = PluginTrust {
        keys: Vec::new(),
        digests: BTreeSet::new(),
    };
    // One after the other, as in a file of several.
    for text in keys.as_deref().unwrap_or_default().split_inclusive(END) {
        if text.replace("\\n", " ").trim().is_empty() {
            continue;
        }
        match PublicKey::parse(text) {
            Ok(key) => trust.keys.push(key),
            Err(why) => vars.wrong(KEYS, None, &why.to_string()),
        }
    }
    for digest in digests {
        let digest = digest.to_ascii_lowercase();
        if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            trust.digests.insert(digest);
        } else {
            let expected = "expected SHA-256 digests of 64 hexadecimal digits, separated by commas";
            vars.wrong(DIGESTS, Some(&digest), expected);
        }
    }
    Some(trust)
}
