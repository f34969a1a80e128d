//! Which log messages legacy clients want (MCP 2025-11-25, "Logging").

use std::time::Duration;

use crate::mcp::log_level::LogLevel;
use crate::types::SessionId;

/// Levels by session. Kept while a session is used, and not longer than a day.
pub struct Levels(moka::sync::Cache<SessionId, LogLevel>);

impl Default for Levels {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self(
            moka::sync::Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(day)
                .build(),
        )
    }
}

impl Levels {
    pub(in crate::pipeline) fn set(&self, session: SessionId, level: LogLevel) {
        self.0.insert(session, level);
    }

    pub(in crate::pipeline) fn of(&self, session: SessionId) -> Option<LogLevel> {
        self.0.get(&session)
    }
}
