//! Word from the file system that something in the plugin directory has changed.

use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::debug;

/// Comes when something changes, for as long as it is kept. From some file systems none ever comes
/// (network file systems, volumes of containers): whoever waits must look from time to time as well.
pub(super) struct Word {
    changed: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Word {
    /// Word of a directory.
    pub(super) fn of(path: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let tell = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may have swallowed events.
            if event.is_ok_and(|event| !is_a_change(event.kind)) {
                return;
            }
            tell.notify_one();
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(path, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(|error| debug!(%error, "nobody tells of changes of the plugin directory"));
        Self {
            changed,
            _watcher: watcher.ok(),
        }
    }

    /// Waits for a change, or returns at once if there was one since the last.
    pub(super) async fn comes(&self) {
        self.changed.notified().await;
    }
}

/// To open, read or close a file that was only read changes nothing, and is what we do ourselves.
fn is_a_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn changes_are_told_and_looks_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.wasm");
        let write = async |text: &str| tokio::fs::write(&file, text).await.expect("written");
        write("1").await;
        let word = Word::of(dir.path());
        tokio::fs::read(&file).await.expect("read");
        let quiet = tokio::time::timeout(Duration::from_millis(200), word.comes()).await;
        assert!(quiet.is_err(), "it was only read");
        write("2").await;
        word.comes().await;
    }

    #[tokio::test]
    async fn where_there_is_nothing_to_watch_none_comes() {
        let word = Word::of(Path::new("/nowhere/at/all"));
        let quiet = tokio::time::timeout(Duration::from_millis(10), word.comes()).await;
        assert!(quiet.is_err());
    }
}
