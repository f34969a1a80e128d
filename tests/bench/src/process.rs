//! CPU time and memory of another process, from `/proc`.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Length of a clock tick as `/proc` counts: 1/100 s on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// User and system time that all threads of a process have used, ended ones included.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("/proc/{pid}/stat: not as expected"))?;
    Ok(TICK.saturating_mul(ticks))
}

/// Memory that a process occupies, in KiB.
pub(crate) fn rss_kib(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// The most memory that a process has occupied since [`reset_peak`], in KiB.
pub(crate) fn peak_kib(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// Begins to watch for a new peak. Where a machine forbids it, the peak is that of the
/// process's whole life: higher, never wrong.
pub(crate) fn reset_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status(pid: u32, field: &str) -> Result<u64> {
    kib(&read(pid, "status")?, field)
        .with_context(|| format!("/proc/{pid}/status: no {field} (has the process ended?)"))
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    std::fs::read_to_string(&path)
        .with_context(|| format!("{path}: the benchmark needs Linux and a live process"))
}

/// `utime + stime` of `/proc/<pid>/stat`, proc_pid_stat(5). The name of the program comes
/// before them and may hold anything, so counting begins after its last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_after_a_hostile_name() {
        let stat = "7 (a) R 1 (b) S 1 1 1 0 -1 4194560 1 2 3 4 120 34 5 6 20 0 1 0 99";
        assert_eq!(cpu_ticks(stat), Some(154));
        assert_eq!(cpu_ticks("7 (a) R 1"), None);
    }

    #[test]
    fn reads_one_field() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(kib(status, "VmRSS:"), Some(1024));
        assert_eq!(kib(status, "VmHWM:"), Some(2048));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn knows_itself() {
        let pid = std::process::id();
        let rss = rss_kib(pid).unwrap();
        assert!(rss > 100 && peak_kib(pid).unwrap() >= rss / 2);
        cpu(pid).unwrap();
        assert!(cpu(u32::MAX).is_err());
    }
}
