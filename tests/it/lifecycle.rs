//! Starting and stopping, as an operator meets it.

use std::time::Duration;

use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use serde_json::json;

#[tokio::test]
async fn sigterm_lets_the_calls_in_flight_finish_and_their_records_out() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("slow")])).await;
    // Longer than the last audit records are waited for: the call itself has to be.
    backend.plan("slow", Plan::After(Duration::from_secs(7), json!("done")));
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let client = gateway.client.clone();
    let call = tokio::spawn(async move { client.call("docs_slow", json!({})).await });
    cortex_tests::gateway::eventually(
        || !backend.seen("slow").is_empty(),
        || "the call never came".to_owned(),
    )
    .await;

    gateway.signal("TERM").await;
    gateway.logged("stopping: no new connections").await;
    let refused = tokio::net::TcpStream::connect(gateway.address).await;
    assert!(refused.is_err(), "new connections are refused");
    assert_eq!(call.await.expect("an answer").tool_text().0, "done");
    assert_eq!(gateway.ended().await, Some(0));
    let record = gateway.audit(1).await.remove(0);
    assert_eq!(
        (&record["tool"], &record["success"]),
        (&json!("docs_slow"), &json!(true))
    );
}

#[tokio::test]
async fn a_taken_port_is_said_with_the_way_out() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, said) = GatewayBuilder::new()
        .env("CORTEX_LISTEN", &address)
        .fail()
        .await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("{address} is taken")) && said.contains("hint: choose another port"),
        "{said}"
    );
}

#[tokio::test]
async fn a_wrong_configuration_is_told_whole_and_nothing_starts() {
    let (code, said) = GatewayBuilder::new()
        .env("CORTEX_LISTEN", "nowhere")
        .env("CORTEX_REFRESH_SECONDS", "0")
        .env("CORTEX_DEV_BYPASS_SCOPES", "\"")
        .fail()
        .await;
    assert_eq!(code, Some(1));
    for variable in [
        "CORTEX_LISTEN is `nowhere`",
        "CORTEX_REFRESH_SECONDS is `0`",
        "CORTEX_DEV_BYPASS_SCOPES",
    ] {
        assert!(said.contains(variable), "{variable} in: {said}");
    }
}

#[tokio::test]
async fn a_missing_plugin_directory_is_said_with_the_way_out() {
    let (code, said) = GatewayBuilder::new()
        .env("CORTEX_PLUGIN_DIR", "/nonexistent")
        .fail()
        .await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("/nonexistent") && said.contains("hint: set CORTEX_PLUGIN_DIR"),
        "{said}"
    );
}
