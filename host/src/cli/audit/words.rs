//! What `cortex-gateway audit` answers, in words, and how it reads times.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::super::terminal::{plain, shown};

/// Above lists of records.
pub(super) const HEADING: &str = "sequence    when                 outcome               ms  method            \
                                  what                              subject\n";

/// A record as one line.
pub(super) fn line(record: &Map<String, Value>) -> String {
    let text = |name: &str| shown(record.get(name).unwrap_or(&Value::Null));
    let when: String = text("ts").chars().take(19).collect();
    let outcome = match record.get("success") {
        Some(Value::Bool(true)) => "ok".to_owned(),
        _ => text("error_code"),
    };
    let what = match record.get("tool") {
        Some(Value::String(tool)) => plain(tool),
        _ => text("target_app"),
    };
    let who = match record.get("erased") {
        Some(_) => "(erased)".to_owned(),
        None => match text("caller_sub") {
            none if none.is_empty() => "-".to_owned(),
            who => who,
        },
    };
    let took = record.get("latency_ms").and_then(Value::as_f64);
    format!(
        "{:<10}  {when:<19}  {outcome:<18}  {:>7.1}  {:<16}  {what:<32}  {who}\n",
        text("sequence"),
        took.unwrap_or_default(),
        text("method"),
    )
}

/// How the trail is.
pub(super) fn status(told: &Value) -> String {
    let mut text = String::new();
    let number = |name: &str| told[name].as_u64().unwrap_or_default();
    let (oldest, newest) = (number("oldest"), number("newest"));
    // Writing to a string cannot fail.
    let _ = match newest < oldest {
        true => writeln!(text, "records    none is kept; the next is {oldest}"),
        false => writeln!(text, "records    {oldest} to {newest}"),
    };
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let _ = write!(
        text,
        "files      {}, {:.1} MiB",
        number("files"),
        mib(number("bytes"))
    );
    if told["bound"].is_u64() {
        let _ = write!(text, " of {:.0} MiB", mib(number("bound")));
    }
    let _ = writeln!(text, "\nhash       {}", shown(&told["hash"]));
    let gaps = told["gaps"].as_array().map_or(&[][..], Vec::as_slice);
    if gaps.is_empty() {
        let _ = writeln!(text, "gaps       none between files");
    }
    for gap in gaps {
        let _ = writeln!(text, "gaps       after {gap} (`audit verify` says more)");
    }
    for exporter in told["exporters"].as_array().into_iter().flatten() {
        let _ = write!(
            text,
            "exporter   {}: {} behind, has taken up to {}",
            shown(&exporter["name"]),
            exporter["behind"],
            exporter["taken"]
        );
        if exporter["missed"] != 0 {
            let _ = write!(text, ", {} were gone before", exporter["missed"]);
        }
        if exporter["failingSince"].is_string() {
            let _ = write!(
                text,
                ", takes nothing since {}",
                shown(&exporter["failingSince"])
            );
        }
        if exporter["present"] != true && told["running"] == true {
            let _ = write!(text, ", not loaded: nothing is kept for it");
        }
        text.push('\n');
    }
    let since = &told["sinceStart"];
    if since.is_object() {
        let _ = writeln!(
            text,
            "since the start: {} kept, {} given up for want of room, {} requests refused; {} places taken now",
            since["written"], since["dropped"], since["refused"], since["queued"]
        );
    }
    if let Some(trouble) = told["trouble"].as_str() {
        let _ = writeln!(text, "requests are refused: {}", plain(trouble));
    }
    text
}

/// Whether it holds.
pub(super) fn verified(told: &Value) -> String {
    let mut text = String::new();
    let finding = &told["finding"];
    let _ = match told["records"].as_u64() {
        Some(0) | None => writeln!(text, "no record was checked"),
        Some(records) => writeln!(
            text,
            "{records} records hold, {} to {}\nthe last has the hash {}",
            told["first"],
            told["last"],
            shown(&told["hash"])
        ),
    };
    if told["erased"] != 0 {
        let _ = writeln!(
            text,
            "{} of them without their personal part, which was erased",
            told["erased"]
        );
    }
    if told["unknown"] != 0 {
        let _ = writeln!(
            text,
            "{} have a personal part whose key the store does not know: was the store lost?",
            told["unknown"]
        );
    }
    if finding.is_object() {
        let _ = writeln!(
            text,
            "BROKEN at record {}: {}",
            finding["sequence"],
            shown(&finding["what"])
        );
    }
    text
}

/// Asked before somebody is forgotten.
pub(super) fn question(subject: &str) -> String {
    format!(
        "What is personal in all audit records of `{}` will be unreadable for ever. Type `yes` to go on: ",
        plain(subject)
    )
}

/// What was forgotten.
pub(super) fn erased(told: &Value) -> String {
    let erased = told["erased"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    if erased.is_empty() {
        text.push_str("no key of this subject is kept: nothing was erased here\n");
    }
    for one in erased {
        let _ = writeln!(
            text,
            "erased: the personal parts of this subject's records, as {} knows it",
            shown(&one["issuer"])
        );
    }
    for (name, outcome) in told["exporters"].as_object().into_iter().flatten() {
        let _ = match outcome["Ok"].as_u64() {
            Some(count) => writeln!(text, "erased by {}: {count} records", plain(name)),
            None => writeln!(
                text,
                "NOT erased by {}: {}",
                plain(name),
                shown(&outcome["Err"])
            ),
        };
    }
    text.push_str(match told["running"].as_bool() {
        Some(false) => "no gateway runs: exporters that keep records were not asked; hint: ask again when it runs\n",
        _ => "copies that other exporters have handed on have to be erased there\n",
    });
    text
}

/// Reads a time: a day, a moment, or how long ago.
pub(super) fn time(text: &str) -> Result<OffsetDateTime, String> {
    const EXPECTED: &str =
        "expected `2026-11-26`, `2026-11-26T14:00:00Z`, or how long ago: `90m`, `12h`, `7d`";
    let ago = text
        .strip_suffix(['s', 'm', 'h', 'd'])
        .and_then(|number| number.parse::<u32>().ok());
    if let Some(ago) = ago {
        let unit = match text.chars().next_back() {
            Some('s') => Duration::SECOND,
            Some('m') => Duration::MINUTE,
            Some('h') => Duration::HOUR,
            _ => Duration::DAY,
        };
        let at = unit
            .checked_mul(i32::try_from(ago).unwrap_or(i32::MAX))
            .and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago));
        return at.ok_or_else(|| EXPECTED.to_owned());
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
        .map_err(|_| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_moments_or_how_long_ago() {
        let day = time("2026-11-26").expect("a day");
        assert_eq!(day, time("2026-11-26T01:00:00+01:00").expect("a moment"));
        let ago = OffsetDateTime::now_utc() - time("2h").expect("a while ago");
        assert!((7_190..7_210).contains(&ago.whole_seconds()), "{ago}");
        for wrong in ["", "h", "2w", "yesterday", "-3d", "4294967295d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn records_are_one_line_whatever_is_in_them() {
        let record = serde_json::json!({
            "sequence": 7, "ts": "2026-11-26T14:00:00.123Z", "success": false, "error_code": "x\u{1b}[2J",
            "tool": "a\nb", "method": null, "erased": true,
        });
        let Value::Object(record) = record else {
            unreachable!("an object");
        };
        let line = line(&record);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(
            line.contains("(erased)") && !line.contains('\u{1b}'),
            "{line}"
        );
    }
}
