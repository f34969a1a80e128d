//! What is said when a component misbehaves.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::types::PluginName;

/// A call that a plugin did not survive, or answered in a way that cannot be used. The plugin's
/// next call meets a new instance; nothing else is touched.
#[derive(Debug, Error)]
#[error("plugin `{plugin}` {cause} (in `{function}`)")]
pub struct Fault {
    /// Which plugin.
    pub plugin: PluginName,
    /// Which of its exports was running.
    pub function: &'static str,
    /// What happened.
    pub cause: Cause,
}

/// What happened to a component. It may be told to another gateway, whose client waits for the call.
#[derive(Debug, Error, Serialize, Deserialize)]
pub enum Cause {
    /// It computed for too long.
    #[error("used up its {0} ms of computing time")]
    Compute(u64),
    /// It did more than it may.
    #[error("used up its fuel of {0}")]
    Fuel(u64),
    /// It took too long, waiting included.
    #[error("did not answer within {0} ms")]
    Wall(u64),
    /// It wanted more memory than it may have.
    #[error("reached its memory limit of {} MiB", .0 / (1024 * 1024))]
    Memory(usize),
    /// It called itself too deeply.
    #[error("exhausted its call stack")]
    Stack,
    /// It trapped: a panic, mostly. Carries the trap and the last line of its standard error.
    #[error("trapped: {0}")]
    Trap(String),
    /// It answered with something that cannot be used.
    #[error("gave an answer that cannot be used: {0}")]
    BadAnswer(String),
    /// No instance was free in time.
    #[error("found no free instance within {0} ms")]
    NoRoom(u64),
    /// It failed too often, and is left alone for so many seconds.
    #[error("failed too often and is left alone for {0} s")]
    Resting(u64),
}

/// Every [`Cause::code`].
pub(super) const CODES: [&str; 6] = [
    "plugin_time",
    "plugin_memory",
    "plugin_trap",
    "plugin_bad_answer",
    "plugin_no_room",
    "plugin_resting",
];

impl Cause {
    /// One stable word for audit, metrics and `error.data`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Compute(_) | Self::Fuel(_) | Self::Wall(_) => "plugin_time",
            Self::Memory(_) => "plugin_memory",
            Self::Stack | Self::Trap(_) => "plugin_trap",
            Self::BadAnswer(_) => "plugin_bad_answer",
            Self::NoRoom(_) => "plugin_no_room",
            Self::Resting(_) => "plugin_resting",
        }
    }

    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Compute(_) => {
                "report it to the plugin's author, or raise `compute-ms` below `[limits]` in its .toml if the work is honest"
            }
            Self::Fuel(_) => {
                "report it to the plugin's author, or raise `fuel` below `[limits]` in its .toml if the work is honest"
            }
            Self::Wall(_) => {
                "see whether the plugin waits for something that is slow; its backend's _TIMEOUT_MS bounds each exchange"
            }
            Self::Memory(_) => {
                "report it to the plugin's author, or raise CORTEX_PLUGIN_MEMORY_MIB if the work is honest"
            }
            Self::Stack | Self::Trap(_) | Self::BadAnswer(_) => {
                "report it to the plugin's author with this line; remove the plugin's file if it goes on"
            }
            Self::Resting(_) => {
                "the lines before this one say what failed; one call tries again after that time"
            }
            Self::NoRoom(_) => {
                "calls come faster than they end: raise CORTEX_PLUGIN_MAX_INSTANCES or look for a slow backend"
            }
        }
    }
}

/// Whole milliseconds, as operators read them.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
