//! Audit exporter that sends records to an OpenTelemetry collector, as log records (OTLP 1.x over HTTP, in
//! JSON).
//!
//! ```toml
//! [settings]
//! url = "https://collector.example.org/v1/logs"
//! secret = true                                   # leave it out where none is needed
//!
//! [grants]
//! http = ["https://collector.example.org"]
//!
//! [grants.secrets.collector]
//! origin = "https://collector.example.org"
//! env = "COLLECTOR_TOKEN"
//! ```
//!
//! A batch counts as taken when the answer is a 2xx. Anything else is tried again, in the same order, so the
//! collector sees a record at least once; the attribute `cortex.audit.sequence` tells one that comes twice.
//! Records that a collector takes and rejects (`partialSuccess`) must not be sent again, says OTLP: they are
//! told in the log and counted.

mod record;

use std::collections::BTreeMap;

use cortex_plugin_sdk::metrics;
use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

/// Most bytes of records in one request: what collectors take by default is more.
const MAX_BYTES: usize = 1024 * 1024;
/// Longest text of a collector that is told on.
const MAX_TOLD: usize = 200;

struct Otlp;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Settings {
    url: String,
    /// Whether the secret `collector` is granted, and to be sent.
    #[serde(default)]
    secret: bool,
    #[serde(default = "service_name")]
    service_name: String,
    /// More of what OpenTelemetry calls the resource: where this gateway runs, and what it is for.
    #[serde(default)]
    resource: BTreeMap<String, String>,
}

fn service_name() -> String {
    "cortex-gateway".to_owned()
}

impl Exporter for Otlp {
    fn describe(package: Package) -> Description {
        Description::from(package)
            .settings(
                r#"{
                    "type": "object",
                    "properties": {
                        "url": { "type": "string", "format": "uri" },
                        "secret": { "type": "boolean" },
                        "service-name": { "type": "string", "minLength": 1 },
                        "resource": {
                            "type": "object",
                            "additionalProperties": { "type": "string" }
                        }
                    },
                    "required": ["url"],
                    "additionalProperties": false
                }"#,
            )
            .wants_some_http("to send records to the collector that you set")
    }

    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> {
        let unavailable = |why: String| ExportError::Unavailable(why);
        let settings: Settings =
            settings::read().map_err(|error| unavailable(error.to_string()))?;
        let taken = fitting(records);
        let Some(records) = records.get(..taken) else {
            return Ok(0);
        };
        let body = request(&settings, records).to_string();
        let mut request = http::Request::post(settings.url).body("application/json", body);
        if settings.secret {
            request = request.with_secret("collector");
        }
        let response = request
            .send()
            .map_err(|error| unavailable(format!("{error:?}")))?;
        if !response.is_success() {
            metrics::add("refused", 1);
            return Err(unavailable(format!("status {}", response.status)));
        }
        let rejected = rejected(&response.body).min(taken as u64);
        metrics::add("sent", taken as u64 - rejected);
        Ok(taken)
    }
}

cortex_plugin_sdk::export_exporter!(Otlp);

/// How many records fit into one request; at least one.
fn fitting(records: &[AuditRecord]) -> usize {
    let mut bytes = 0;
    let more = records.iter().take_while(|record| {
        bytes += record.json.len();
        bytes <= MAX_BYTES
    });
    more.count().max(1).min(records.len())
}

/// An `ExportLogsServiceRequest`.
fn request(settings: &Settings, records: &[AuditRecord]) -> Value {
    let named = [("service.name", settings.service_name.as_str())];
    let more = (settings.resource.iter()).map(|(key, value)| (key.as_str(), value.as_str()));
    let resource: Vec<Value> = named
        .into_iter()
        .chain(more.filter(|(key, _)| *key != "service.name"))
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
        .collect();
    let records: Vec<Value> = records.iter().map(record::log_record).collect();
    json!({
        "resourceLogs": [{
            "resource": { "attributes": resource },
            "scopeLogs": [{
                "scope": { "name": "cortex.audit", "version": env!("CARGO_PKG_VERSION") },
                "logRecords": records,
            }],
        }],
    })
}

/// How many records the collector took and did not want (`ExportLogsPartialSuccess`). What it says to that
/// goes to the log, once for each answer.
fn rejected(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let count = &partial["rejectedLogRecords"];
    // JSON of protocol buffers writes 64 bits as a string; not everybody does.
    let text = count.as_str().and_then(|text| text.parse().ok());
    let count = text.or_else(|| count.as_u64()).unwrap_or_default();
    let message = partial["errorMessage"].as_str().unwrap_or_default();
    let message: String = message.escape_debug().take(MAX_TOLD).collect();
    if count > 0 {
        metrics::add("rejected", count);
        log::warning(format!(
            "the collector rejected {count} records for good: {message}"
        ));
    } else if !message.is_empty() {
        log::warning(format!(
            "the collector took all records and says: {message}"
        ));
    }
    count
}

#[cfg(test)]
mod tests;
