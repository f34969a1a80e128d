//! The exporter that sends audit records to an OpenTelemetry collector, with the real gateway.

use std::collections::BTreeMap;

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Answer, FakeIssuer, now};
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};

const SECRET: &str = "the-word-of-the-collector";

/// A gateway that sends its records to a server, which is any that answers.
async fn start(collector: &FakeIssuer, backend: &FakeBackend) -> Gateway {
    let url = collector.url();
    let toml = format!(
        "[settings]\nurl = \"{url}/v1/logs\"\nsecret = true\nservice-name = \"cortex-test\"\n\
         [settings.resource]\n\"deployment.environment.name\" = \"tests\"\n[grants]\nhttp = [\"{url}\"]\n\
         [grants.secrets.collector]\norigin = \"{url}\"\nenv = \"COLLECTOR\"\n"
    );
    let gateway = GatewayBuilder::new()
        .plugin("audit-otlp")
        .plugin_file("audit-otlp.toml", toml.as_bytes())
        .env("COLLECTOR", SECRET)
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    gateway
}

/// An attribute list as it was meant; panics where it is not what OTLP says.
fn attributes(list: &Value) -> BTreeMap<String, Value> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| {
        let value = one["value"].as_object().expect("an AnyValue");
        assert_eq!(value.len(), 1, "{one}");
        let (kind, value) = value.iter().next().expect("a value");
        let value = match kind.as_str() {
            "stringValue" | "boolValue" | "doubleValue" | "arrayValue" | "kvlistValue" => {
                value.clone()
            }
            "intValue" => json!(
                value
                    .as_str()
                    .expect("digits")
                    .parse::<i64>()
                    .expect("64 bits")
            ),
            other => panic!("no AnyValue: {other}"),
        };
        (one["key"].as_str().expect("a key").to_owned(), value)
    })
    .collect()
}

/// Every log record that a collector got, by its request's order: body, severity, attributes.
fn received(collector: &FakeIssuer) -> Vec<(String, u64, BTreeMap<String, Value>)> {
    let mut records = Vec::new();
    for request in collector.seen("/v1/logs") {
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["authorization"], format!("Bearer {SECRET}"));
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        let logs = &body["resourceLogs"][0];
        let resource = attributes(&logs["resource"]["attributes"]);
        assert_eq!(resource["service.name"], "cortex-test");
        assert_eq!(resource["deployment.environment.name"], "tests");
        for record in logs["scopeLogs"][0]["logRecords"]
            .as_array()
            .expect("records")
        {
            let nanos = record["timeUnixNano"].as_str().expect("digits");
            let seconds = nanos.parse::<u64>().expect("64 bits") / 1_000_000_000;
            assert!((now() - 600..=now()).contains(&seconds), "{nanos}");
            records.push((
                record["body"]["stringValue"]
                    .as_str()
                    .expect("a text")
                    .to_owned(),
                record["severityNumber"].as_u64().expect("a number"),
                attributes(&record["attributes"]),
            ));
        }
    }
    records
}

#[tokio::test]
async fn records_reach_a_collector_as_log_records() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let collector = FakeIssuer::start(&[]).await;
    collector.answer(
        "/v1/logs",
        Answer::Json(200, json!({ "partialSuccess": {} })),
    );
    let gateway = start(&collector, &backend).await;
    gateway.client.call("docs_act", json!({})).await.result();
    gateway.client.call("docs_nothing", json!({})).await;
    eventually(|| received(&collector).len() >= 2, || gateway.log()).await;
    let records = received(&collector);
    let (body, severity, called) = &records[0];
    assert_eq!((body.as_str(), *severity), ("tools/call docs_act", 9));
    for (name, value) in [
        ("mcp.method.name", json!("tools/call")),
        ("gen_ai.tool.name", json!("docs_act")),
        ("user.id", json!("dev:local")),
        ("cortex.audit.target_app", json!("docs")),
        ("cortex.audit.success", json!(true)),
    ] {
        assert_eq!(called.get(name), Some(&value), "{name}: {called:?}");
    }
    let (_, severity, refused) = &records[1];
    assert_eq!(*severity, 13);
    assert!(refused.contains_key("error.type"), "{refused:?}");
}

#[tokio::test]
async fn records_wait_for_a_collector_and_rejected_ones_are_told() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let collector = FakeIssuer::start(&[]).await;
    collector.answer("/v1/logs", Answer::Json(503, json!({})));
    let mut gateway = start(&collector, &backend).await;
    gateway.client.call("docs_act", json!({})).await.result();
    gateway.logged("status 503").await;
    let partial =
        json!({ "partialSuccess": { "rejectedLogRecords": "1", "errorMessage": "too large" } });
    collector.answer("/v1/logs", Answer::Json(200, partial));
    gateway
        .logged("the collector rejected 1 records for good: too large")
        .await;
    let sequences: Vec<_> = received(&collector)
        .iter()
        .map(|(_, _, attributes)| attributes["cortex.audit.sequence"].clone())
        .collect();
    assert!(sequences.len() > 1, "it was sent again");
    assert!(
        sequences.iter().all(|sequence| *sequence == sequences[0]),
        "the same one: {sequences:?}"
    );
}
