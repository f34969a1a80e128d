//! No room for records: in the trail, or on the disk.

use std::time::Duration;

use cortex_tests::GatewayBuilder;
use cortex_tests::gateway::eventually;
use serde_json::json;

use super::{numbers, operate, ping, status};

#[tokio::test]
async fn a_full_trail_refuses_and_is_served_again_when_there_is_room() {
    let mut gateway = GatewayBuilder::bare()
        .plugin("policy-scopes")
        .plugin("exporter-trap")
        .env("CORTEX_AUDIT_SPOOL_MIB", "1")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .start()
        .await;
    let mut answered = 0;
    loop {
        let reply = gateway.client.legacy("ping", json!({})).await;
        if reply.status == 503 {
            assert_eq!(reply.header("retry-after"), "1");
            break;
        }
        reply.result();
        answered += 1;
        assert!(answered < 5_000, "never full");
    }
    gateway
        .logged("requests are refused: the audit trail is full")
        .await;
    let ready = gateway.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("CORTEX_AUDIT_SPOOL_MIB"),
        "{}",
        ready.text()
    );
    let told = status(&gateway).await;
    assert_eq!(told["newest"], answered);
    assert!(told["sinceStart"]["refused"].as_u64() > Some(0), "{told}");
    // Somebody who takes them.
    let plugins = gateway.dir().join("plugins");
    std::fs::remove_file(plugins.join("exporter-trap.wasm")).expect("removed");
    let component = cortex_tests::component("audit-stdout");
    std::fs::copy(component, plugins.join("audit-stdout.wasm")).expect("copied");
    gateway.logged("audit records are kept again").await;
    ping(&gateway, 1).await;
    assert!(
        operate(&gateway, &["audit", "verify"])
            .await
            .contains("hold")
    );
    let said = gateway.log().matches("requests are refused").count();
    assert_eq!(said, 1, "once");
}

#[tokio::test]
async fn the_oldest_are_given_up_where_that_was_chosen_and_loudly() {
    let mut gateway = GatewayBuilder::bare()
        .plugin("policy-scopes")
        .plugin("exporter-trap")
        .env("CORTEX_AUDIT_SPOOL_MIB", "1")
        .env("CORTEX_AUDIT_SPOOL_FULL", "drop-oldest")
        .env("CORTEX_AUDIT_DURABILITY", "batched")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .start()
        .await;
    ping(&gateway, 1_500).await;
    gateway.logged("audit records are given up").await;
    // Answers do not wait for their records.
    let mut told = status(&gateway).await;
    for _ in 0..600 {
        if told["newest"] == 1_500 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        told = status(&gateway).await;
    }
    assert_eq!(told["newest"], 1_500, "{told}");
    let dropped = told["sinceStart"]["dropped"].as_u64();
    assert_eq!(dropped.map(|n| n + 1), told["oldest"].as_u64(), "{told}");
    let told = operate(&gateway, &["audit", "verify"]).await;
    assert!(told.contains("hold") && told.contains("to 1500"), "{told}");
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_served_again_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let mount = tokio::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(dir.path())
        .output()
        .await;
    if !mount.is_ok_and(|mount| mount.status.success()) {
        eprintln!("skipped: this user may not mount a file system");
        return;
    }
    let data = dir.path().to_str().expect("UTF-8").to_owned();
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_DATA_DIR", &data)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .start()
        .await;
    ping(&gateway, 3).await;
    let ballast = dir.path().join("ballast");
    let filled = std::fs::write(&ballast, vec![1; 23 * 1024 * 1024]);
    drop(filled);
    eventually(
        || gateway.log().contains("requests are refused: the disk"),
        || gateway.log(),
    )
    .await;
    assert_eq!(gateway.client.legacy("ping", json!({})).await.status, 503);
    std::fs::remove_file(&ballast).expect("removed");
    gateway.logged("audit records are kept again").await;
    ping(&gateway, 3).await;
    assert_eq!(numbers(&gateway.audit(6).await), [1, 2, 3, 4, 5, 6]);
    drop(gateway.kill().await);
    let unmounted = tokio::process::Command::new("umount")
        .arg(dir.path())
        .status();
    assert!(unmounted.await.expect("it runs").success());
}
