//! Sends audit records to a collector.
use cortex_plugin_sdk::prelude::*;

struct Collector;

const URL: &str = "https://collector.example.org/records";

impl Exporter for Collector {
    fn describe(package: Package) -> Description {
        Description::from(package)
            .wants_http("https://collector.example.org", "to send records there")
            .wants_secret("collector", "to be let in there")
    }

    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> {
        let lines: Vec<&str> = records.iter().map(|record| record.json.as_str()).collect();
        let request = http::Request::post(URL).body("application/x-ndjson", lines.join("\n"));
        // What was not taken is offered again, in the same order: nothing is lost.
        match request.with_secret("collector").send() {
            Ok(response) if response.is_success() => Ok(records.len()),
            Ok(response) => Err(ExportError::Unavailable(format!("status {}", response.status))),
            Err(error) => Err(ExportError::Unavailable(format!("{error:?}"))),
        }
    }
}

cortex_plugin_sdk::export_exporter!(Collector);

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    #[test]
    fn nothing_counts_as_taken_that_was_refused() {
        let record = AuditRecord {
            sequence: 1,
            json: "{}".into(),
        };
        let served = testing::serve(|_| Ok(testing::response(503, "")));
        assert!(Collector::export_batch(&[record.clone()]).is_err());
        drop(served);
        let _served = testing::serve(|_| Ok(testing::response(204, "")));
        assert_eq!(Collector::export_batch(&[record]), Ok(1));
    }
}
