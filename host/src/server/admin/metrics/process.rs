//! The process itself, under the names that all programs use. Read from `/proc`, where there is one.

use std::time::UNIX_EPOCH;

use super::number;
use crate::measure::{Exposition, Kind};
use crate::pipeline::Gateway;

/// Clock ticks a second in `/proc/self/stat`: what Linux tells programs, whatever its own clock.
const TICKS: f64 = 100.0;

pub(super) fn tell(gw: &Gateway, to: &mut Exposition) {
    let mut family = to.family(
        Kind::Gauge,
        "cortex_build_info",
        "The version of the gateway; always 1.",
    );
    family.put(&[("version", &env!("CARGO_PKG_VERSION"))], 1.0);
    let started = gw.measures.started().duration_since(UNIX_EPOCH);
    to.one(
        Kind::Gauge,
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        started.unwrap_or_default().as_secs_f64(),
    );
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        to.one(
            Kind::Gauge,
            "cortex_tasks",
            "Tasks that have not ended: one for each connection, and those that always run.",
            number(runtime.metrics().num_alive_tasks()),
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) {
        let kib = kib.trim().trim_end_matches(" kB").parse::<usize>();
        to.one(
            Kind::Gauge,
            "process_resident_memory_bytes",
            "Memory of the process.",
            number(kib.unwrap_or_default().saturating_mul(1024)),
        );
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(ticks) = busy(&stat) {
        to.one(
            Kind::Counter,
            "process_cpu_seconds_total",
            "Time that processors were busy with the process.",
            ticks / TICKS,
        );
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        to.one(
            Kind::Gauge,
            "process_open_fds",
            "Open files and connections.",
            number(open.count()),
        );
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    if let Some(most) = most.and_then(|line| line.split_whitespace().next()?.parse().ok()) {
        to.one(
            Kind::Gauge,
            "process_max_fds",
            "How many may be open.",
            number(most),
        );
    }
}

/// Ticks in user and in kernel mode: the fields 14 and 15. The name before them may have blanks.
fn busy(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let kernel: f64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

#[cfg(test)]
mod tests {
    use super::busy;

    #[test]
    fn a_name_with_blanks_and_brackets_is_no_obstacle() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 9 1 2";
        assert_eq!(busy(stat), Some(175.0));
        assert_eq!(busy(""), None);
    }
}
