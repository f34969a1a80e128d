use super::*;
use cortex_plugin_sdk::testing;

const URL: &str = "https://collector.test/v1/logs";

fn settings(more: Value) {
    let mut settings = json!({ "url": URL });
    for (name, value) in more.as_object().into_iter().flatten() {
        settings[name] = value.clone();
    }
    testing::set_settings(settings.to_string());
}

fn record(sequence: u64, members: Value) -> AuditRecord {
    AuditRecord::new(sequence, members.to_string())
}

#[test]
fn a_record_becomes_a_log_record_with_names_that_others_know() {
    settings(json!({ "secret": true, "resource": { "deployment.environment.name": "test" } }));
    let served = testing::serve(|_| Ok(testing::response(200, "{}")));
    let records = [
        record(
            7,
            json!({
                "ts": "2026-11-26T12:00:00.25Z", "caller_sub": "u-1", "caller_role": "editor",
                "method": "tools/call", "tool": "docs_echo", "success": true, "error_code": null,
                "latency_ms": 12, "backends_filter": ["a", "b"], "of_a_later_version": { "x": 1.5 },
            }),
        ),
        record(
            8,
            json!({ "method": "ping", "success": false, "error_code": "invalid_token" }),
        ),
    ];
    assert_eq!(Otlp::export_batch(&records), Ok(2));
    let sent = &served.requests()[0];
    assert_eq!(sent.url, URL);
    assert_eq!(
        sent.credential,
        http::Credential::Secret("collector".into())
    );
    let body: Value = serde_json::from_slice(sent.body.as_deref().unwrap_or_default()).unwrap();
    let logs = &body["resourceLogs"][0];
    assert_eq!(
        logs["resource"]["attributes"],
        json!([
            { "key": "service.name", "value": { "stringValue": "cortex-gateway" } },
            { "key": "deployment.environment.name", "value": { "stringValue": "test" } },
        ])
    );
    let scope = &logs["scopeLogs"][0];
    assert_eq!(scope["scope"]["name"], "cortex.audit");
    let [first, second] = [0, 1].map(|n| &scope["logRecords"][n]);
    assert_eq!(first["timeUnixNano"], "1795694400250000000");
    assert_eq!(
        (&first["severityNumber"], &first["severityText"]),
        (&json!(9), &json!("INFO"))
    );
    assert_eq!(first["body"]["stringValue"], "tools/call docs_echo");
    let attributes = first["attributes"].as_array().unwrap();
    let find = |name: &str| {
        let found = attributes.iter().find(|attribute| attribute["key"] == name);
        found.map(|attribute| attribute["value"].clone())
    };
    for (name, value) in [
        ("cortex.audit.sequence", json!({ "intValue": "7" })),
        ("user.id", json!({ "stringValue": "u-1" })),
        (
            "user.roles",
            json!({ "arrayValue": { "values": [{ "stringValue": "editor" }] } }),
        ),
        ("mcp.method.name", json!({ "stringValue": "tools/call" })),
        ("gen_ai.tool.name", json!({ "stringValue": "docs_echo" })),
        ("cortex.audit.success", json!({ "boolValue": true })),
        ("cortex.audit.latency_ms", json!({ "intValue": "12" })),
        (
            "cortex.audit.of_a_later_version",
            json!({ "kvlistValue": { "values": [{ "key": "x", "value": { "doubleValue": 1.5 } }] } }),
        ),
    ] {
        assert_eq!(find(name), Some(value), "{name}");
    }
    // What is nothing is not told, and the time is told once.
    assert_eq!((find("error.type"), find("cortex.audit.ts")), (None, None));
    assert_eq!(second["severityNumber"], 13);
    assert_eq!(second["body"]["stringValue"], "ping invalid_token");
    assert_eq!(testing::counted("sent"), 2);
}

#[test]
fn what_was_refused_is_offered_again() {
    settings(json!({}));
    for status in [400, 401, 429, 503] {
        let _served = testing::serve(move |_| Ok(testing::response(status, "")));
        let refused = Err(ExportError::Unavailable(format!("status {status}")));
        assert_eq!(Otlp::export_batch(&[record(1, json!({}))]), refused);
    }
}

#[test]
fn what_was_rejected_for_good_is_told_and_not_sent_again() {
    settings(json!({}));
    for (answer, rejected) in [
        (
            json!({ "partialSuccess": { "rejectedLogRecords": "1", "errorMessage": "too\nold" } }),
            1,
        ),
        (json!({ "partialSuccess": { "rejectedLogRecords": 2 } }), 2),
        (
            json!({ "partialSuccess": { "errorMessage": "slow down" } }),
            0,
        ),
        (json!({ "partialSuccess": {} }), 0),
        (json!("what?"), 0),
    ] {
        let before = testing::counted("rejected");
        let text = answer.to_string();
        let _served = testing::serve(move |_| Ok(testing::response(200, text.clone())));
        let records = [1, 2].map(|n| record(n, json!({})));
        assert_eq!(Otlp::export_batch(&records), Ok(2), "{answer}");
        assert_eq!(testing::counted("rejected") - before, rejected, "{answer}");
    }
    let told = testing::logs();
    assert!(
        told.iter()
            .any(|(_, line)| line.contains("rejected 1 records for good: too\\nold")),
        "{told:?}"
    );
}

#[test]
fn a_request_is_no_larger_than_collectors_take() {
    settings(json!({}));
    let served = testing::serve(|_| Ok(testing::response(200, "")));
    let large = "x".repeat(MAX_BYTES / 2);
    let records: Vec<_> = (0..3)
        .map(|n| record(n, json!({ "tool": large })))
        .collect();
    assert_eq!(Otlp::export_batch(&records), Ok(1));
    // One that is too large by itself is the collector's to judge.
    let huge = [record(1, json!({ "tool": "x".repeat(2 * MAX_BYTES) }))];
    assert_eq!(Otlp::export_batch(&huge), Ok(1));
    assert_eq!(served.requests().len(), 2);
    assert_eq!(Otlp::export_batch(&[]), Ok(0));
}
