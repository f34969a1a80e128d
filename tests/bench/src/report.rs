//! From samples to the printed table.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load::Outcome;

const TITLES: [&str; 12] = [
    "scenario",
    "tools",
    "connections",
    "calls/s",
    "p50 µs",
    "p95 µs",
    "p99 µs",
    "CPU µs/call",
    "answer KiB",
    "idle MiB",
    "peak MiB",
    "CPU × proxy",
];

/// One measurement of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    calls_per_second: f64,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
    cpu_us: f64,
    answer_kib: f64,
    peak_kib: u64,
}

impl Sample {
    /// Puts together what load, and `/proc` about the process in the middle, have to say.
    pub(crate) fn new(outcome: &Outcome, cpu: Duration, peak_kib: u64) -> Result<Self> {
        let calls = u32::try_from(outcome.latencies.len()).context("too many calls")?;
        let percentile = |p| outcome.latencies.value_at_quantile(p) as f64 / 1e3;
        Ok(Self {
            calls_per_second: f64::from(calls) / outcome.elapsed.as_secs_f64(),
            p50_us: percentile(0.50),
            p95_us: percentile(0.95),
            p99_us: percentile(0.99),
            cpu_us: cpu.as_secs_f64() * 1e6 / f64::from(calls),
            answer_kib: outcome.answer as f64 / 1024.0,
            peak_kib,
        })
    }
}

/// All samples of one scenario at one number of connections.
pub(crate) struct Row {
    /// Its name. The first row of each number of tools and connections is the one to compare with.
    pub(crate) scenario: &'static str,
    /// How many tools the backend has.
    pub(crate) tools: usize,
    /// Number of connections.
    pub(crate) connections: u16,
    /// Memory of the process in the middle before its first call.
    pub(crate) rss_idle_kib: u64,
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    fn median(&self, field: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(field).collect())
    }

    fn cells(&self, proxy_cpu: f64) -> [String; 12] {
        let cpu = self.median(|sample| sample.cpu_us);
        let peak = self.samples.iter().map(|sample| sample.peak_kib).max();
        let ratio = if proxy_cpu > 0.0 {
            format!("{:.2}", cpu / proxy_cpu)
        } else {
            // Fewer calls than a tick of the CPU clock: nothing to compare with.
            "-".to_owned()
        };
        [
            self.scenario.to_owned(),
            self.tools.to_string(),
            self.connections.to_string(),
            format!("{:.0}", self.median(|sample| sample.calls_per_second)),
            format!("{:.0}", self.median(|sample| sample.p50_us)),
            format!("{:.0}", self.median(|sample| sample.p95_us)),
            format!("{:.0}", self.median(|sample| sample.p99_us)),
            format!("{cpu:.1}"),
            format!("{:.1}", self.median(|sample| sample.answer_kib)),
            mib(self.rss_idle_kib),
            mib(peak.unwrap_or_default()),
            ratio,
        ]
    }
}

/// The table, in Markdown and aligned, so that it can be read here and pasted there.
pub(crate) fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 12]> = rows
        .iter()
        .map(|row| {
            let proxy = rows
                .iter()
                .find(|other| (other.tools, other.connections) == (row.tools, row.connections));
            row.cells(proxy.map_or(0.0, |proxy| proxy.median(|sample| sample.cpu_us)))
        })
        .collect();
    let widths: [usize; 12] = std::array::from_fn(|column| {
        let longest = cells.iter().map(|row| row[column].chars().count()).max();
        TITLES[column].chars().count().max(longest.unwrap_or(0))
    });
    let mut text = String::new();
    push_line(&mut text, &TITLES.map(str::to_owned), &widths);
    for (column, width) in widths.iter().enumerate() {
        // The first column is text, the others are numbers.
        let rule = "-".repeat(width.saturating_sub(usize::from(column > 0)));
        let end = if column > 0 { ":" } else { "" };
        let _ = write!(text, "| {rule}{end} ");
    }
    text.push_str("|\n");
    for row in &cells {
        push_line(&mut text, row, &widths);
    }
    text
}

/// What must be said with every table.
pub(crate) fn remarks(audit_lines: u64, gateway_calls: u64) -> String {
    let cores = std::thread::available_parallelism().map_or_else(
        |_| "an unknown number of cores".to_owned(),
        |n| {
            if n.get() == 1 {
                "1 core".to_owned()
            } else {
                format!("{n} cores")
            }
        },
    );
    format!(
        "{cores}, shared by load, middle and backend: quote ratios, not absolute times. \
         Audit on: {audit_lines} records read for {gateway_calls} calls and their sessions' beginnings."
    )
}

fn push_line(text: &mut String, cells: &[String; 12], widths: &[usize; 12]) {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        // Writing to a string does not fail.
        let _ = if column == 0 {
            write!(text, "| {cell:<width$} ")
        } else {
            write!(text, "| {cell:>width$} ")
        };
    }
    text.push_str("|\n");
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: f64, peak_kib: u64) -> Sample {
        Sample {
            calls_per_second: 12_345.6,
            p50_us: 80.0,
            p95_us: 120.4,
            p99_us: 900.0,
            cpu_us,
            answer_kib: 0.5,
            peak_kib,
        }
    }

    fn row(scenario: &'static str, connections: u16, samples: Vec<Sample>) -> Row {
        Row {
            scenario,
            tools: 1,
            connections,
            rss_idle_kib: 2048,
            samples,
        }
    }

    #[test]
    fn the_middle_value_counts() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
    }

    #[test]
    fn prints_an_aligned_table_with_ratios() {
        let rows = [
            row(
                "raw hyper proxy",
                1,
                vec![sample(20.0, 4096), sample(22.0, 3072), sample(90.0, 4096)],
            ),
            row("tools/call", 1, vec![sample(55.0, 65536)]),
            row("raw hyper proxy", 32, vec![sample(0.0, 4096)]),
        ];
        let expected = "\
| scenario        | tools | connections | calls/s | p50 µs | p95 µs | p99 µs | CPU µs/call | answer KiB | idle MiB | peak MiB | CPU × proxy |
| --------------- | ----: | ----------: | ------: | -----: | -----: | -----: | ----------: | ---------: | -------: | -------: | ----------: |
| raw hyper proxy |     1 |           1 |   12346 |     80 |    120 |    900 |        22.0 |        0.5 |      2.0 |      4.0 |        1.00 |
| tools/call      |     1 |           1 |   12346 |     80 |    120 |    900 |        55.0 |        0.5 |      2.0 |     64.0 |        2.50 |
| raw hyper proxy |     1 |          32 |   12346 |     80 |    120 |    900 |         0.0 |        0.5 |      2.0 |      4.0 |           - |
";
        assert_eq!(table(&rows), expected);
    }
}
