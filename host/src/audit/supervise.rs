//! Sees to it that each exporter that is loaded is brought its records.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::export::{Export, Going};
use super::keys::Keys;
use super::on_a_thread;
use super::positions::Positions;
use super::state::State;
use crate::plugin::Directory;
use crate::types::PluginName;

/// Whoever starts and ends the exporters' threads.
pub(super) struct Supervisor {
    running: JoinHandle<()>,
    going: watch::Sender<Going>,
    positions: Arc<Positions>,
    state: Arc<State>,
}

struct Work {
    dir: PathBuf,
    plugins: Arc<Directory>,
    keys: Arc<Keys>,
    positions: Arc<Positions>,
    state: Arc<State>,
    going: watch::Receiver<Going>,
    /// Exporters that have a thread.
    served: BTreeSet<PluginName>,
    /// Tells of threads that have ended.
    ended: mpsc::UnboundedSender<PluginName>,
}

impl Supervisor {
    pub(super) async fn start(
        dir: PathBuf,
        plugins: Arc<Directory>,
        keys: Arc<Keys>,
        positions: Arc<Positions>,
        state: Arc<State>,
    ) -> Self {
        let (going, seen) = watch::channel(Going::On);
        let (ended, mut told) = mpsc::unbounded_channel();
        let mut changes = plugins.changes();
        let mut work = Work {
            dir,
            plugins,
            keys,
            positions: Arc::clone(&positions),
            state: Arc::clone(&state),
            going: seen.clone(),
            served: BTreeSet::new(),
            ended,
        };
        work.look().await;
        let mut seen = seen;
        let running = tokio::spawn(async move {
            loop {
                let stopping = *seen.borrow_and_update() != Going::On;
                if stopping && work.served.is_empty() {
                    return;
                }
                tokio::select! {
                    Some(name) = told.recv() => {
                        work.served.remove(&name);
                    }
                    Ok(()) = changes.changed() => {}
                    Ok(()) = seen.changed() => continue,
                }
                if !stopping {
                    work.look().await;
                }
            }
        });
        Self {
            running,
            going,
            positions,
            state,
        }
    }

    /// Lets the exporters take what is there, for this long. Returns how many records the slowest of
    /// them has not taken.
    pub(super) async fn finish(self, limit: Duration) -> u64 {
        self.going.send_replace(Going::ToTheEnd);
        let mut running = self.running;
        if tokio::time::timeout(limit, &mut running).await.is_err() {
            self.going.send_replace(Going::NoFurther);
            if tokio::time::timeout(limit, running).await.is_err() {
                error!("an audit exporter does not end; it may be given its last records again");
            }
        }
        let next = *self.state.head.borrow() + 1;
        let left = next.saturating_sub(self.positions.floor().max(1));
        if left > 0 {
            info!("{left} audit records wait in the trail for exporters that have not taken them");
        }
        left
    }
}

impl Work {
    /// Starts whatever is there and has no thread.
    async fn look(&mut self) {
        let names = self.plugins.now().exporter_names();
        let next = *self.state.head.borrow() + 1;
        let oldest = self.state.oldest.load(Ordering::Relaxed);
        for name in self.positions.are_there(&names, oldest, next) {
            let from = self.positions.next_of(&name);
            info!(plugin.name = %name, "a new audit exporter; it gets the records from {from} on");
            if let Err(error) = self.positions.save(&name).await {
                error!(plugin.name = %name, "the store does not take where the exporter begins: {error}");
            }
        }
        for name in names {
            if self.served.contains(&name) {
                continue;
            }
            let export = Export {
                name: name.clone(),
                dir: self.dir.clone(),
                plugins: Arc::clone(&self.plugins),
                keys: Arc::clone(&self.keys),
                positions: Arc::clone(&self.positions),
                state: Arc::clone(&self.state),
                going: self.going.clone(),
            };
            let (ended, of) = (self.ended.clone(), name.clone());
            let started = on_a_thread("audit-export", move || async move {
                export.run().await;
                // Nobody listens any more when the gateway has ended.
                let _ = ended.send(of);
            });
            match started {
                Ok(_) => {
                    self.served.insert(name);
                }
                Err(error) => {
                    error!(plugin.name = %name, "an audit exporter gets no thread: {error}");
                }
            }
        }
    }
}
