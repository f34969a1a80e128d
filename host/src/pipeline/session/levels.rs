//! Which log messages legacy clients want (MCP 2025-11-25, "Logging").
//!
//! Where there are other gateways, the level of a session lies on a shelf, too: each of them looks there once, at
//! the first request of the session that comes to it, and then hears of changes.

use std::time::Duration;

use crate::fleet::{Away, Shelf};
use crate::mcp::log_level::LogLevel;
use crate::pipeline::Gateway;
use crate::pipeline::elsewhere::{self, Later, News};
use crate::seal::Purpose;
use crate::types::SessionId;

/// Levels by session; none: it is known that none was chosen. Kept while a session is used, and not longer than a
/// day.
pub struct Levels {
    here: moka::sync::Cache<SessionId, Option<LogLevel>>,
    /// What the others do not know yet.
    later: Later<LogLevel>,
}

impl Default for Levels {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        let here = moka::sync::Cache::builder()
            .max_capacity(100_000)
            .time_to_idle(day)
            .build();
        Self {
            here,
            later: Later::default(),
        }
    }
}

impl Levels {
    /// Another gateway was told.
    pub(in crate::pipeline) fn heard(&self, session: SessionId, level: LogLevel) {
        self.here.insert(session, Some(level));
    }

    /// Some may have changed.
    pub(in crate::pipeline) fn forget_all(&self) {
        self.here.invalidate_all();
    }
}

/// The level that a session has chosen.
pub(in crate::pipeline) async fn level_of(gw: &Gateway, session: SessionId) -> Option<LogLevel> {
    if let Some(known) = gw.levels.here.get(&session) {
        return known;
    }
    if gw.fleet.is_alone() {
        return None;
    }
    if let Some(level) = gw.levels.later.of(session) {
        return Some(level);
    }
    // While the others cannot be asked, the level is what it is without any choice.
    let told = gw.fleet.get(Shelf::Levels, session.as_bytes()).await.ok()?;
    let level = told.and_then(|name| LogLevel::parse(std::str::from_utf8(&name).ok()?));
    // What was heard meanwhile is newer.
    let entry = gw.levels.here.entry(session).or_insert(level);
    entry.into_value()
}

/// Remembers which messages a client wants.
pub(in crate::pipeline) async fn set_level(gw: &Gateway, session: SessionId, level: LogLevel) {
    gw.levels.here.insert(session, Some(level));
    if !gw.fleet.is_alone() {
        share(gw, session, level).await;
    }
}

/// Tells what could not be told before.
pub(in crate::pipeline) async fn tell_levels(gw: &Gateway) {
    for (session, level) in gw.levels.later.take_all() {
        share(gw, session, level).await;
    }
}

async fn share(gw: &Gateway, session: SessionId, level: LogLevel) {
    // First the shelf: who looks there before must hear the news after.
    match put(gw, session, level).await {
        Ok(()) => elsewhere::tell(gw, &News::Level(session, level)),
        Err(Away) => gw.levels.later.keep(session, level),
    }
}

async fn put(gw: &Gateway, session: SessionId, level: LogLevel) -> Result<(), Away> {
    let (name, life) = (level.as_str().as_bytes().to_vec(), Purpose::Session.life());
    gw.fleet
        .put(Shelf::Levels, session.as_bytes(), name, life)
        .await
}
