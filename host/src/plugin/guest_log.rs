//! Log lines of a guest, bounded per call: what it writes through `log`, and what it prints.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{debug, error, info, warn};

use super::v0_2::adapter::cortex::gateway::log;
use crate::types::{PluginName, RequestId};

/// Most log lines of one call; the rest is counted.
const MAX_LOG_LINES: u32 = 50;
/// Longest log message, in characters.
const MAX_LOG_CHARS: usize = 2_000;

/// Log lines of one plugin, bounded per call.
#[derive(Clone)]
pub(super) struct LogSink {
    plugin: PluginName,
    call: Arc<Mutex<CallLog>>,
}

#[derive(Default)]
struct CallLog {
    request: Option<RequestId>,
    lines: u32,
    /// Last line of standard error: the panic message, when there was a panic.
    last_output: Option<String>,
}

impl LogSink {
    pub(super) fn new(plugin: PluginName) -> Self {
        Self {
            plugin,
            call: Arc::default(),
        }
    }

    pub(super) fn begin(&self, request: Option<RequestId>) {
        *self.lock() = CallLog {
            request,
            ..CallLog::default()
        };
    }

    /// Says how many lines were left out.
    pub(super) fn end(&self) {
        let over = self.lock().lines.saturating_sub(MAX_LOG_LINES);
        if over > 0 {
            warn!(plugin.name = %self.plugin, "{over} more log lines of this call were left out");
        }
    }

    pub(super) fn write(&self, level: log::Level, message: &str) {
        let request = {
            let mut call = self.lock();
            call.lines = call.lines.saturating_add(1);
            if call.lines > MAX_LOG_LINES {
                return;
            }
            call.request.map(tracing::field::display)
        };
        let message: String = message
            .chars()
            .take(MAX_LOG_CHARS)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let plugin = self.plugin.as_str();
        match level {
            log::Level::Debug => debug!(plugin.name = plugin, request.id = request, "{message}"),
            log::Level::Info => info!(plugin.name = plugin, request.id = request, "{message}"),
            log::Level::Warning => warn!(plugin.name = plugin, request.id = request, "{message}"),
            log::Level::Error => error!(plugin.name = plugin, request.id = request, "{message}"),
        }
    }

    /// A line that the guest printed.
    pub(super) fn guest_output(&self, line: &str) {
        let line = line.trim_end();
        if !line.starts_with("note: ") {
            self.lock().last_output = Some(line.chars().take(300).collect());
        }
        self.write(log::Level::Info, line);
    }

    pub(super) fn last_output(&self) -> Option<String> {
        self.lock().last_output.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CallLog> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
