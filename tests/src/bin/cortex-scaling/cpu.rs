//! CPU time of processes, from `/proc`.

use std::collections::BTreeMap;
use std::ops::Sub;

/// Ticks a second, as `/proc` counts on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// CPU time in seconds, by part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) gateways: f64,
    pub(crate) balancer: f64,
    pub(crate) postgres: f64,
    pub(crate) redis: f64,
}

impl Spent {
    /// What they have used up to now, with their children.
    pub(crate) fn of(
        gateways: &[u32],
        balancer: Option<u32>,
        postgres: Option<u32>,
        redis: Option<u32>,
    ) -> Self {
        let processes = processes();
        let family = |pid: Option<u32>| pid.map_or(0.0, |pid| family(&processes, pid));
        Self {
            gateways: gateways.iter().map(|pid| family(Some(*pid))).sum(),
            balancer: family(balancer),
            postgres: family(postgres),
            redis: family(redis),
        }
    }
}

impl Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            gateways: self.gateways - before.gateways,
            balancer: self.balancer - before.balancer,
            postgres: self.postgres - before.postgres,
            redis: self.redis - before.redis,
        }
    }
}

/// One process: whose child it is, and its ticks, those of its ended children included.
struct Process {
    parent: u32,
    ticks: f64,
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.filter_map(|pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse(&stat)?))
    });
    found.collect()
}

/// proc_pid_stat(5): the name may hold anything, so counting begins after its last parenthesis. State,
/// parent, nine others, then utime, stime, cutime, cstime.
fn parse(stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks: Option<Vec<f64>> = fields.get(11..15)?.iter().map(|t| t.parse().ok()).collect();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        ticks: ticks?.iter().sum(),
    })
}

fn family(processes: &BTreeMap<u32, Process>, pid: u32) -> f64 {
    let own = processes.get(&pid).map_or(0.0, |process| process.ticks);
    let children = processes.values().filter(|process| process.parent == pid);
    (own + children.map(|process| process.ticks).sum::<f64>()) / TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_with_its_children() {
        let stat = "7 (a) b) S 3 1 1 0 -1 4194560 1 2 3 4 120 30 40 10 20 0 1 0 99";
        let process = parse(stat).expect("read");
        assert_eq!((process.parent, process.ticks), (3, 200.0));
        let processes = BTreeMap::from([
            (
                3,
                Process {
                    parent: 1,
                    ticks: 100.0,
                },
            ),
            (7, process),
        ]);
        assert_eq!(family(&processes, 3), 3.0);
    }
}
