//! From samples to the printed tables.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load::Outcome;
use crate::table::{median, shown, table};

/// What a row is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Forwards, and does nothing else.
    Proxy,
    /// Answers the same bytes, and does nothing else.
    Echo,
    /// What is measured.
    Gateway,
    /// Another way to do what the proxy does.
    Other,
}

/// One measurement of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Answers per second.
    pub(crate) calls_per_second: f64,
    /// Latencies in microseconds: the median, and 95, 99 and 99.9 of a hundred.
    pub(crate) latency_us: [f64; 4],
    /// Processor time of the process in the middle, for one call.
    pub(crate) cpu_us: f64,
    /// The longest answer.
    pub(crate) answer_kib: f64,
    /// The most memory of the process in the middle.
    pub(crate) peak_kib: u64,
}

impl Sample {
    /// Puts together what load, and `/proc` about the process in the middle, have to say.
    pub(crate) fn new(outcome: &Outcome, cpu: Duration, peak_kib: u64) -> Result<Self> {
        let calls = u32::try_from(outcome.latencies.len()).context("too many calls")?;
        let percentile = |p| outcome.latencies.value_at_quantile(p) as f64 / 1e3;
        Ok(Self {
            calls_per_second: f64::from(calls) / outcome.elapsed.as_secs_f64(),
            latency_us: [0.50, 0.95, 0.99, 0.999].map(percentile),
            cpu_us: cpu.as_secs_f64() * 1e6 / f64::from(calls),
            answer_kib: outcome.answer as f64 / 1024.0,
            peak_kib,
        })
    }
}

/// All samples of one scenario at one number of connections.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The set it belongs to.
    pub(crate) set: &'static str,
    /// Rows of one group and one number of connections are compared with each other.
    pub(crate) group: usize,
    /// Its name.
    pub(crate) scenario: String,
    /// What it is compared as.
    pub(crate) role: Role,
    /// How many tools the backend has.
    pub(crate) tools: usize,
    /// How many backends there are.
    pub(crate) backends: usize,
    /// Number of connections.
    pub(crate) connections: u16,
    /// Whether calls came at a set rate instead of as fast as they were answered.
    pub(crate) paced: bool,
    /// Memory of the process in the middle before its first call.
    pub(crate) rss_idle_kib: u64,
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    /// The median over the rounds.
    pub(crate) fn median(&self, field: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(field).collect())
    }

    /// The reference of this role that belongs to it.
    pub(crate) fn reference<'a>(&self, rows: &'a [Self], role: Role) -> Option<&'a Self> {
        rows.iter().find(|other| {
            (other.group, other.connections, other.paced, other.role)
                == (self.group, self.connections, self.paced, role)
        })
    }

    /// The median over the rounds of how many times another row's value this one's is. Both were measured
    /// one after the other in each round: what happened on the machine then hits both.
    pub(crate) fn times(&self, other: &Self, field: impl Fn(&Sample) -> f64) -> Option<f64> {
        let both = self.samples.iter().zip(&other.samples);
        let ratios: Option<Vec<f64>> = both
            .map(|(own, others)| ratio(field(own), field(others)))
            .collect();
        ratios.filter(|ratios| !ratios.is_empty()).map(median)
    }

    /// CPU of a call, as so many times the proxy's.
    pub(crate) fn cpu_by_proxy(&self, rows: &[Self]) -> Option<f64> {
        self.by_proxy(rows, cpu)
    }

    fn by_proxy(&self, rows: &[Self], field: impl Fn(&Sample) -> f64) -> Option<f64> {
        self.times(self.reference(rows, Role::Proxy)?, field)
    }

    fn idle_kib(&self) -> f64 {
        self.rss_idle_kib as f64
    }

    /// Over all rounds.
    fn peak_kib(&self) -> f64 {
        let peak = self.samples.iter().map(|sample| sample.peak_kib).max();
        peak.unwrap_or_default() as f64
    }

    /// Calls per second, as a part of the echo's.
    pub(crate) fn rate_by_echo(&self, rows: &[Self]) -> Option<f64> {
        self.times(self.reference(rows, Role::Echo)?, rate)
    }

    fn cells(&self, rows: &[Self]) -> Vec<String> {
        let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let latency = |n: usize| format!("{:.0}", self.median(|sample| sample.latency_us[n]));
        let proxy = self.reference(rows, Role::Proxy);
        vec![
            self.set.to_owned(),
            self.scenario.clone(),
            self.tools.to_string(),
            self.backends.to_string(),
            match self.paced {
                true => format!("{}, half rate", self.connections),
                false => self.connections.to_string(),
            },
            format!("{:.0}", self.median(rate)),
            latency(0),
            latency(1),
            latency(2),
            latency(3),
            // Microseconds of one call are hundredths of a second of 10,000.
            format!("{:.2}", self.median(cpu) / 100.0),
            format!("{:.1}", self.median(|sample| sample.answer_kib)),
            mib(self.idle_kib()),
            mib(self.peak_kib()),
            or_dash(self.cpu_by_proxy(rows)),
            or_dash(self.rate_by_echo(rows)),
            or_dash(self.by_proxy(rows, |sample| sample.latency_us[0])),
            or_dash(self.by_proxy(rows, |sample| sample.latency_us[2])),
            or_dash(proxy.and_then(|proxy| ratio(self.idle_kib(), proxy.idle_kib()))),
            or_dash(proxy.and_then(|proxy| ratio(self.peak_kib(), proxy.peak_kib()))),
        ]
    }
}

/// Processor time of a call, in microseconds.
pub(crate) fn cpu(sample: &Sample) -> f64 {
    sample.cpu_us
}

/// Calls per second.
pub(crate) fn rate(sample: &Sample) -> f64 {
    sample.calls_per_second
}

/// `None`: fewer calls than a tick of the CPU clock, so there is nothing to compare with.
fn ratio(value: f64, reference: f64) -> Option<f64> {
    (reference > 0.0).then(|| value / reference)
}

/// A figure that is no load: one value for each time it was measured.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What it says.
    pub(crate) name: String,
    /// What it is counted in.
    pub(crate) unit: &'static str,
    /// All that were measured.
    pub(crate) values: Vec<f64>,
}

impl Figure {
    /// With one value.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            values: vec![value],
        }
    }

    /// The value in the middle.
    pub(crate) fn median(&self) -> f64 {
        median(self.values.clone())
    }
}

/// Everything that a run has found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Loads.
    pub(crate) rows: Vec<Row>,
    /// Other figures.
    pub(crate) figures: Vec<Figure>,
    /// Calls that gateways were asked to make, those that do not count included.
    pub(crate) gateway_calls: u64,
}

impl Findings {
    /// Adds a value to the figure of this name.
    pub(crate) fn figure(&mut self, figure: Figure) {
        match self.figures.iter_mut().find(|f| f.name == figure.name) {
            Some(known) => known.values.extend(figure.values),
            None => self.figures.push(figure),
        }
    }

    /// The median of the figure of this name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.name == name);
        figure.map(Figure::median)
    }

    /// All loads.
    pub(crate) fn loads(&self) -> String {
        let rows: Vec<_> = (self.rows.iter())
            .map(|row| row.cells(&self.rows))
            .collect();
        let titles = [
            "set",
            "scenario",
            "tools",
            "backends",
            "connections",
            "calls/s",
            "p50 µs",
            "p95 µs",
            "p99 µs",
            "p99.9 µs",
            "CPU s/10,000",
            "answer KiB",
            "idle MiB",
            "peak MiB",
            "CPU × proxy",
            "rate ÷ echo",
            "p50 × proxy",
            "p99 × proxy",
            "idle × proxy",
            "peak × proxy",
        ];
        table(&titles, 2, &rows)
    }

    /// All other figures.
    pub(crate) fn others(&self) -> String {
        let rows: Vec<_> = (self.figures.iter())
            .map(|figure| {
                let worst = figure.values.iter().copied().fold(0.0, f64::max);
                vec![
                    figure.name.clone(),
                    figure.unit.to_owned(),
                    shown(figure.median()),
                    shown(worst),
                    figure.values.len().to_string(),
                ]
            })
            .collect();
        table(&["figure", "unit", "median", "largest", "times"], 2, &rows)
    }
}

/// What must be said with every table.
pub(crate) fn remarks(audit_lines: u64, gateway_calls: u64) -> String {
    let cores = std::thread::available_parallelism().map_or_else(
        |_| "an unknown number of cores".to_owned(),
        |n| match n.get() {
            1 => "1 core".to_owned(),
            n => format!("{n} cores"),
        },
    );
    format!(
        "{cores}, shared by load, middle and backend: quote ratios, not absolute times. \
         Audit on: {audit_lines} records read for {gateway_calls} calls and their sessions' beginnings."
    )
}

fn mib(kib: f64) -> String {
    format!("{:.1}", kib / 1024.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row for tests, with these microseconds of CPU in each round.
    pub(crate) fn row(group: usize, role: Role, connections: u16, cpu_us: &[f64]) -> Row {
        let sample = |cpu_us: &f64| Sample {
            calls_per_second: 12_345.6,
            latency_us: [80.0, 120.4, 900.0, 2_000.0],
            cpu_us: *cpu_us,
            answer_kib: 0.5,
            peak_kib: 4096,
        };
        Row {
            set: "calls",
            group,
            scenario: format!("{role:?}"),
            role,
            tools: 2,
            backends: 1,
            connections,
            paced: false,
            rss_idle_kib: 2048,
            samples: cpu_us.iter().map(sample).collect(),
        }
    }

    #[test]
    fn compares_what_belongs_together() {
        let mut proxy = row(0, Role::Proxy, 1, &[20.0, 22.0, 90.0]);
        proxy.rss_idle_kib /= 2;
        for sample in &mut proxy.samples {
            sample.latency_us[0] /= 2.0;
        }
        let rows = [
            proxy,
            row(0, Role::Echo, 1, &[1.0, 1.0, 1.0]),
            // In the last round the machine was slow, and less so for it.
            row(0, Role::Gateway, 1, &[50.0, 55.0, 90.0]),
            row(0, Role::Gateway, 32, &[55.0]),
            row(1, Role::Gateway, 1, &[55.0]),
            Row {
                paced: true,
                ..row(0, Role::Gateway, 1, &[55.0])
            },
        ];
        assert_eq!(rows[2].cpu_by_proxy(&rows), Some(2.5));
        assert_eq!(rows[2].rate_by_echo(&rows), Some(1.0));
        for alone in &rows[3..] {
            assert_eq!(alone.cpu_by_proxy(&rows), None);
        }
        let findings = Findings {
            rows: rows.to_vec(),
            ..Findings::default()
        };
        let text = findings.loads();
        let line = text.lines().nth(4).unwrap();
        let words: Vec<&str> = line.split('|').map(str::trim).collect();
        let expected = [
            "", "calls", "Gateway", "2", "1", "1", "12346", "80", "120", "900", "2000", "0.55",
            "0.5", "2.0", "4.0", "2.50", "1.00", "2.00", "1.00", "2.00", "1.00", "",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_figure_collects_its_values() {
        let mut findings = Findings::default();
        for value in [3.0, 1.0, 2.0] {
            findings.figure(Figure::new("start", "ms", value));
        }
        assert_eq!(findings.value("start"), Some(2.0));
        assert_eq!(findings.value("end"), None);
        assert_eq!(findings.others().lines().count(), 3);
    }
}
