//! What we want, beside what was measured. It says so, and nothing fails by it: another machine has other numbers.

use crate::report::{Findings, Role, Row, cpu};
use crate::sets::{BESIDE, LARGE_CATALOG, OLD_KEPT};
use crate::table::{shown, table};

/// How far costs may lie apart that are to be the same: what one measurement is uncertain by.
const FLAT: f64 = 1.1;

/// Figures that targets are about, by the names that they have in the table.
pub(crate) mod figure {
    /// Memory of one open stream.
    pub(crate) const STREAM: &str = "memory of an idle stream";
    /// From start to the first answer, with components compiled before.
    pub(crate) const WARM_START: &str = "start to first answer, warm";
    /// From a changed file to its use.
    pub(crate) const SWAP: &str = "plugin swap, from file to use";
}

struct Target {
    what: String,
    /// At most, or at least.
    most: bool,
    bound: f64,
    unit: &'static str,
    measured: Option<f64>,
}

/// All of them.
pub(crate) fn targets(findings: &Findings) -> String {
    let rows: Vec<Vec<String>> = (all(findings).iter())
        .map(|target| {
            let sign = if target.most { "≤" } else { "≥" };
            let is_met = |value: f64| {
                if target.most {
                    value <= target.bound
                } else {
                    value >= target.bound
                }
            };
            let met = target.measured.map(is_met);
            vec![
                target.what.clone(),
                format!("{sign} {} {}", shown(target.bound), target.unit),
                target.measured.map_or("-".to_owned(), shown),
                match met {
                    None => "not measured",
                    Some(true) => "yes",
                    Some(false) => "no",
                }
                .to_owned(),
            ]
        })
        .collect();
    table(&["what", "target", "measured", "met"], 2, &rows)
}

fn all(findings: &Findings) -> Vec<Target> {
    let rows = &findings.rows;
    let at_most = |what: String, bound, unit, measured| Target {
        what,
        most: true,
        bound,
        unit,
        measured,
    };
    let mut targets = Vec::new();
    for (kind, bound) in [("call", 4.0), ("subject", 2.5)] {
        for (connections, paced) in [(1, false), (32, false), (32, true)] {
            let row = call(rows, kind, connections, paced);
            targets.push(at_most(
                format!(
                    "tools/call, instance per {kind}, {}: CPU of the proxy's",
                    so_many(connections, paced)
                ),
                bound,
                "×",
                row.and_then(|row| row.cpu_by_proxy(rows)),
            ));
        }
    }
    for (connections, paced, latency, name, bound) in [
        (1, false, 0, "p50", 0.3),
        (32, false, 0, "p50", 1.0),
        (32, true, 0, "p50", 1.0),
        (32, false, 2, "p99", 2.0),
        (32, true, 2, "p99", 2.0),
    ] {
        for kind in ["call", "subject"] {
            let row = call(rows, kind, connections, paced);
            targets.push(at_most(
                format!(
                    "tools/call, instance per {kind}, {}: {name} above the proxy's",
                    so_many(connections, paced)
                ),
                bound,
                "ms",
                row.and_then(|row| added(row, rows, latency)),
            ));
        }
    }
    let seen = list(rows, "warm", 1_000, 32);
    targets.push(Target {
        most: false,
        ..at_most(
            "warm tools/list of 1,000 tools, 32 connections: rate of the echo's".to_owned(),
            0.4,
            "×",
            seen.and_then(|row| row.rate_by_echo(rows)),
        )
    });
    let unseen = list(rows, "cold", LARGE_CATALOG, 1);
    targets.push(at_most(
        "tools/list of 1,266 tools for a caller never seen, 1 connection: p50".to_owned(),
        5.0,
        "ms",
        unseen.map(|row| row.median(|sample| sample.latency_us[0]) / 1e3),
    ));
    targets.push(at_most(
        "memory when ready, five plugins".to_owned(),
        48.0,
        "MiB",
        call(rows, "call", 1, false)
            .or_else(|| call(rows, "call", 32, false))
            .map(|row| row.rss_idle_kib as f64 / 1024.0),
    ));
    for (name, bound, unit) in [
        (figure::STREAM, 32.0, "KiB"),
        (figure::WARM_START, 100.0, "ms"),
        (figure::SWAP, 200.0, "ms"),
    ] {
        targets.push(at_most(name.to_owned(), bound, unit, findings.value(name)));
    }
    targets.push(at_most(
        "CPU of a call with 10,000 tools, of that with 6".to_owned(),
        FLAT,
        "×",
        grown(rows, "catalog", |row| row.tools),
    ));
    targets.push(at_most(
        "CPU of a call with 500 backends, of that with 1".to_owned(),
        FLAT,
        "×",
        grown(rows, "backends", |row| row.backends),
    ));
    targets.extend(rows.iter().filter_map(|row| ahead(row, rows)));
    targets
}

/// That a call through this gateway takes less than one through another.
fn ahead(other: &Row, rows: &[Row]) -> Option<Target> {
    let name = other.scenario.strip_prefix(BESIDE)?;
    let ours = rows.iter().find(|row| {
        (row.group, row.connections) == (other.group, other.connections) && row.scenario == OLD_KEPT
    });
    Some(Target {
        what: format!(
            "call of a legacy MCP server, {}: CPU of {name}'s",
            so_many(other.connections, false)
        ),
        most: true,
        bound: 1.0,
        unit: "×",
        measured: ours.and_then(|ours| ours.times(other, cpu)),
    })
}

fn so_many(connections: u16, paced: bool) -> String {
    let rate = if paced { ", half the rate" } else { "" };
    match connections {
        1 => format!("1 connection{rate}"),
        n => format!("{n} connections{rate}"),
    }
}

fn call<'a>(rows: &'a [Row], kind: &str, connections: u16, paced: bool) -> Option<&'a Row> {
    let name = format!("tools/call, instance per {kind}");
    rows.iter().find(|row| {
        (row.set, row.connections, row.paced) == ("calls", connections, paced)
            && row.scenario == name
    })
}

fn list<'a>(rows: &'a [Row], kind: &str, tools: usize, connections: u16) -> Option<&'a Row> {
    let name = format!("tools/list, {kind}");
    rows.iter().find(|row| {
        (row.set, row.tools, row.connections) == ("lists", tools, connections)
            && row.scenario == name
    })
}

/// Milliseconds that a latency is above the proxy's.
fn added(row: &Row, rows: &[Row], latency: usize) -> Option<f64> {
    let proxy = row.reference(rows, Role::Proxy)?;
    let of = |row: &Row| row.median(|sample| sample.latency_us[latency]);
    Some((of(row) - of(proxy)) / 1e3)
}

/// The cost of a call at the largest size, as so many times that at the smallest.
fn grown(rows: &[Row], set: &str, size: impl Fn(&Row) -> usize) -> Option<f64> {
    let of = || {
        let rows = rows.iter();
        rows.filter(|row| row.set == set && row.role == Role::Gateway)
    };
    let (small, large) = (
        of().min_by_key(|row| size(row))?,
        of().max_by_key(|row| size(row))?,
    );
    if size(small) == size(large) {
        return None;
    }
    large.times(small, cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figure;
    use crate::report::tests::row;

    fn line<'a>(text: &'a str, what: &str) -> &'a str {
        let mut lines = text.lines().filter(|line| line.contains(what));
        lines.next().unwrap_or_default()
    }

    #[test]
    fn says_what_is_met_and_what_was_not_measured() {
        let mut call = row(0, Role::Gateway, 32, &[90.0]);
        call.scenario = "tools/call, instance per call".to_owned();
        let mut few = row(1, Role::Gateway, 32, &[100.0]);
        (few.set, few.tools) = ("catalog", 6);
        let mut many = row(2, Role::Gateway, 32, &[150.0]);
        (many.set, many.tools) = ("catalog", 10_000);
        let mut ours = row(3, Role::Gateway, 1, &[20.0]);
        ours.scenario = OLD_KEPT.to_owned();
        let mut other = row(3, Role::Other, 1, &[80.0]);
        other.scenario = format!("{BESIDE}slow");
        let mut unseen = row(5, Role::Gateway, 1, &[20.0]);
        (unseen.set, unseen.tools) = ("lists", LARGE_CATALOG);
        unseen.scenario = "tools/list, cold".to_owned();
        let mut findings = Findings {
            rows: vec![
                row(0, Role::Proxy, 32, &[30.0]),
                call,
                few,
                many,
                ours,
                other,
                unseen,
            ],
            ..Findings::default()
        };
        findings.figure(Figure::new(figure::WARM_START, "ms", 99.0));
        let text = targets(&findings);
        let check = |what: &str, words: &str| {
            let line = line(&text, what);
            assert!(line.ends_with(words), "{line}");
        };
        check(
            "instance per call, 32 connections: CPU",
            "|     3.00 |          yes |",
        );
        check(
            "instance per call, 32 connections, half the rate: CPU",
            "|        - | not measured |",
        );
        check(
            "instance per call, 1 connection: CPU",
            "|        - | not measured |",
        );
        check(
            "instance per call, 32 connections: p99",
            "|        0 |          yes |",
        );
        for not_measured in [
            "instance per subject, 32 connections: p99",
            "instance per call, 32 connections, half the rate: p99",
        ] {
            check(not_measured, "|        - | not measured |");
        }
        check("CPU of slow's", "|    0.250 |          yes |");
        check("1,266 tools", "|    0.080 |          yes |");
        check(figure::WARM_START, "|     99.0 |          yes |");
        check("with 10,000 tools", "|     1.50 |           no |");
        check("with 500 backends", "|        - | not measured |");
        check("five plugins", "|     2.00 |          yes |");
    }
}
