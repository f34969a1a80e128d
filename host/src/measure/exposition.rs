//! Figures as Prometheus reads them: its text format, version 0.0.4.

use std::fmt::{self, Write as _};

use super::Histogram;

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The text, family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// Labels of one series, in order.
pub type Labels<'a> = &'a [(&'static str, &'a dyn fmt::Display)];

impl Exposition {
    /// Begins a family of counters or gauges.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> Series<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(kind, name, help)
    }

    /// A figure without labels.
    pub fn one(&mut self, kind: Kind, name: &'static str, help: &str, value: f64) {
        self.family(kind, name, help).put(&[], value);
    }

    /// Begins a family of histograms.
    pub fn histograms(&mut self, name: &'static str, help: &str) -> Series<'_> {
        self.head("histogram", name, help)
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn head(&mut self, kind: &str, name: &'static str, help: &str) -> Series<'_> {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Series {
            text: &mut self.0,
            name,
        }
    }
}

/// A family that was begun.
pub struct Series<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Series<'_> {
    /// One series of a counter or a gauge.
    pub fn put(&mut self, labels: Labels<'_>, value: f64) {
        self.sample("", labels, None, value);
    }

    /// One histogram.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let (below, sum) = histogram.read();
        for (bound, count) in &below {
            self.sample("_bucket", labels, Some(*bound), *count as f64);
        }
        self.sample("_sum", labels, None, sum);
        let all = below.last().map_or(0, |(_, count)| *count);
        self.sample("_count", labels, None, all as f64);
    }

    fn sample(&mut self, part: &str, labels: Labels<'_>, below: Option<f64>, value: f64) {
        let text = &mut *self.text;
        let _ = write!(text, "{}{part}", self.name);
        let mut before = '{';
        for (label, value) in labels {
            let _ = write!(text, "{before}{label}=\"");
            let _ = write!(Escaped(text), "{value}");
            text.push('"');
            before = ',';
        }
        if let Some(below) = below {
            let _ = write!(text, "{before}le=\"{}\"", number(below));
            before = ',';
        }
        if before == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {}", number(value));
    }
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// Writes label values.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_text_is_that_of_prometheus() {
        let mut text = Exposition::default();
        text.one(Kind::Gauge, "up", "Whether.", 1.0);
        let mut family = text.family(Kind::Counter, "a_total", "All of a.");
        family.put(&[("b", &"x\"y\\z\n"), ("c", &7)], 2.5);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2));
        let mut family = text.histograms("h_seconds", "How long.");
        family.histogram(&[("m", &"n")], &histogram);
        let text = text.into_text();
        assert!(text.starts_with("# HELP up Whether.\n# TYPE up gauge\nup 1\n"));
        assert!(text.contains("a_total{b=\"x\\\"y\\\\z\\n\",c=\"7\"} 2.5\n"));
        for line in [
            "# TYPE h_seconds histogram",
            "h_seconds_bucket{m=\"n\",le=\"0.001\"} 0",
            "h_seconds_bucket{m=\"n\",le=\"0.0025\"} 1",
            "h_seconds_bucket{m=\"n\",le=\"+Inf\"} 1",
            "h_seconds_sum{m=\"n\"} 0.002",
            "h_seconds_count{m=\"n\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
