//! A call of an export while it runs: how long a processor is busy with it, and its part of a trace.

use std::sync::Arc;

use super::profile::Profile;
use crate::trace::{self, Attribute};

/// One call.
pub(super) struct Timing<'a> {
    pub(super) profile: Arc<Profile>,
    pub(super) function: &'static str,
    pub(super) version: &'a str,
}

impl Timing<'_> {
    /// Runs it.
    pub(super) async fn run<T>(
        &self,
        work: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let told = || {
            let name = self.profile.name.as_str();
            let attributes = vec![
                Attribute::new("cortex.plugin.name", name.to_owned()),
                Attribute::new("cortex.plugin.version", self.version.to_owned()),
                Attribute::new("cortex.plugin.function", self.function),
            ];
            (format!("{name} {}", self.function), attributes)
        };
        let timed = async {
            let _running = self.profile.runtime.clock.running();
            let (result, busy) = self.profile.meter.time(work).await;
            trace::note(|| Attribute::new("cortex.plugin.busy_ms", busy.as_secs_f64() * 1e3));
            result
        };
        trace::part(told, timed).await
    }
}
