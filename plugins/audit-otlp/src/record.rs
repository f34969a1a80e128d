//! One audit record as an OpenTelemetry log record, with the names of the semantic conventions where those
//! have one, and `cortex.audit.…` otherwise: what a later gateway adds comes through.

use cortex_plugin_sdk::prelude::AuditRecord;
use serde_json::{Map, Value, json};

/// Members of a record that the semantic conventions have a name for.
const NAMES: [(&str, &str); 9] = [
    ("caller_sub", "user.id"),
    ("caller_email_hash", "user.hash"),
    ("method", "mcp.method.name"),
    ("tool", "gen_ai.tool.name"),
    ("protocol_version", "mcp.protocol.version"),
    ("session_id", "mcp.session.id"),
    ("error_code", "error.type"),
    ("response_size", "http.response.body.size"),
    ("ts", ""),
];

/// A `LogRecord`.
pub(super) fn log_record(record: &AuditRecord) -> Value {
    let members: Map<String, Value> = serde_json::from_str(&record.json).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let moment = text("ts").and_then(nanos).unwrap_or_default();
    let success = members.get("success") == Some(&Value::Bool(true));
    let (number, severity) = match success {
        true => (9, "INFO"),
        false => (13, "WARN"),
    };
    let mut body = text("method").unwrap_or("request").to_owned();
    for name in ["tool", "error_code"] {
        if let Some(text) = text(name) {
            body.push(' ');
            body.push_str(text);
        }
    }
    let sequence = attribute("cortex.audit.sequence", &json!(record.sequence));
    let rest = members
        .iter()
        .filter_map(|(name, value)| match name.as_str() {
            "sequence" => None,
            // A list, where the conventions have one.
            "caller_role" if value.is_string() => attribute("user.roles", &json!([value])),
            name => match NAMES.iter().find(|(ours, _)| *ours == name) {
                Some((_, "")) => None,
                Some((_, theirs)) => attribute(theirs, value),
                None => attribute(&format!("cortex.audit.{name}"), value),
            },
        });
    json!({
        "timeUnixNano": moment.to_string(),
        "observedTimeUnixNano": moment.to_string(),
        "severityNumber": number,
        "severityText": severity,
        "eventName": "cortex.audit",
        "body": { "stringValue": body },
        "attributes": sequence.into_iter().chain(rest).collect::<Vec<_>>(),
    })
}

fn attribute(name: &str, value: &Value) -> Option<Value> {
    Some(json!({ "key": name, "value": any(value)? }))
}

/// An `AnyValue`; nothing is no value.
fn any(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::String(text) => json!({ "stringValue": text }),
        // 64 bits are a string in the JSON of protocol buffers.
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().filter_map(any).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .filter_map(|(name, value)| attribute(name, value));
            json!({ "kvlistValue": { "values": members.collect::<Vec<_>>() } })
        }
    })
}

/// Nanoseconds since 1970 of a moment in UTC: `2026-11-26T12:00:00.123Z` (RFC 3339).
fn nanos(text: &str) -> Option<u64> {
    let number = |at: usize, digits: usize| -> Option<u64> {
        let text = text.get(at..at + digits)?;
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    let fraction = text.get(19..)?.strip_suffix('Z')?;
    let fraction = match fraction.strip_prefix('.') {
        Some(digits) if digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<9}").parse().ok()?
        }
        Some(_) => return None,
        None => 0,
    };
    // Days since 1970 of a date of the Gregorian calendar, years beginning in March.
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year;
    let days = days.checked_sub(719_468)?;
    let seconds = days * 86_400 + number(11, 2)? * 3_600 + number(14, 2)? * 60 + number(17, 2)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_other_clocks_say() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.5Z", Some(951_868_799_500_000_000)),
            (
                "2026-11-26T12:00:00.000000001Z",
                Some(1_795_694_400_000_000_001),
            ),
            ("2026-11-26T12:00:00+01:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }
}
