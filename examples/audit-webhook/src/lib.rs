//! Audit exporter that sends records to a URL of its operator, as JSON lines (`application/x-ndjson`).
//!
//! ```toml
//! [settings]
//! url = "https://collector.example.org/records"
//!
//! [grants]
//! http = ["https://collector.example.org"]
//!
//! [grants.secrets.webhook]                        # leave it out where none is needed
//! origin = "https://collector.example.org"
//! env = "COLLECTOR_TOKEN"
//! ```
//!
//! A batch counts as taken when the answer is a 2xx. Anything else is tried again, in the same order, so
//! the other end sees a record at least once; `sequence` tells one that comes twice.

use cortex_plugin_sdk::metrics;
use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;

struct Webhook;

#[derive(Deserialize)]
struct Settings {
    url: String,
    /// Whether the secret `webhook` is granted, and to be sent.
    #[serde(default)]
    secret: bool,
}

impl Exporter for Webhook {
    fn describe(package: Package) -> Description {
        Description::from(package)
            .settings(
                r#"{
                    "type": "object",
                    "properties": {
                        "url": { "type": "string", "format": "uri" },
                        "secret": { "type": "boolean" }
                    },
                    "required": ["url"],
                    "additionalProperties": false
                }"#,
            )
            .wants_some_http("to send records to the URL that you set")
    }

    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> {
        let unavailable = |why: String| ExportError::Unavailable(why);
        let settings: Settings =
            settings::read().map_err(|error| unavailable(error.to_string()))?;
        let mut lines = String::new();
        for record in records {
            lines.push_str(&record.json);
            lines.push('\n');
        }
        let mut request = http::Request::post(settings.url).body("application/x-ndjson", lines);
        if settings.secret {
            request = request.with_secret("webhook");
        }
        let response = request
            .send()
            .map_err(|error| unavailable(format!("{error:?}")))?;
        if !response.is_success() {
            metrics::add("refused", 1);
            return Err(unavailable(format!("status {}", response.status)));
        }
        metrics::add("sent", records.len() as u64);
        Ok(records.len())
    }
}

cortex_plugin_sdk::export_exporter!(Webhook);

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    fn records() -> [AuditRecord; 2] {
        [1, 2].map(|sequence| AuditRecord {
            sequence,
            json: format!(r#"{{"sequence":{sequence}}}"#),
        })
    }

    #[test]
    fn a_batch_is_one_request_and_counts_when_it_was_taken() {
        testing::set_settings(r#"{"url":"https://collector.test/x","secret":true}"#);
        let served = testing::serve(|_| Ok(testing::response(202, "")));
        assert_eq!(Webhook::export_batch(&records()), Ok(2));
        let request = &served.requests()[0];
        let body = request.body.as_deref().unwrap_or_default();
        assert_eq!(body, b"{\"sequence\":1}\n{\"sequence\":2}\n");
        assert_eq!(
            request.credential,
            http::Credential::Secret("webhook".into())
        );
        assert_eq!(testing::counted("sent"), 2);
    }

    #[test]
    fn what_was_refused_is_offered_again() {
        testing::set_settings(r#"{"url":"https://collector.test/x"}"#);
        let _served = testing::serve(|_| Ok(testing::response(500, "")));
        let refused = ExportError::Unavailable("status 500".into());
        assert_eq!(Webhook::export_batch(&records()), Err(refused));
        assert_eq!(testing::counted("refused"), 1);
    }
}
