//! A gateway that runs only what is listed or signed: nothing else gets in, however it got into the
//! directory.

use std::path::{Path, PathBuf};

use cortex_tests::{FakeBackend, GatewayBuilder, Plan, component};
use serde_json::json;
use sha2::{Digest, Sha256};

fn digest(name: &str) -> String {
    let bytes = std::fs::read(component(name)).expect("a component");
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A command that needs no gateway.
async fn plugin(arguments: &[&str]) -> (bool, String) {
    let output = GatewayBuilder::bare()
        .operate(&[&["plugin"], arguments].concat())
        .await;
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Two pairs of keys and a signed component.
async fn signed(dir: &Path) -> (PathBuf, String) {
    for name in ["ours", "theirs"] {
        let (good, said) = plugin(&["keygen", text(&dir.join(name))]).await;
        assert!(good, "{said}");
    }
    let file = dir.join("backend-http.wasm");
    std::fs::copy(component("backend-http"), &file).expect("copied");
    let (good, said) = plugin(&["sign", text(&file), "--key", text(&dir.join("ours"))]).await;
    assert!(good && said.contains(&digest("backend-http")), "{said}");
    let public = std::fs::read_to_string(dir.join("ours.pub")).expect("a key");
    (file, public)
}

#[tokio::test]
async fn signatures_are_made_and_checked_without_a_gateway() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, _) = signed(dir.path()).await;
    let key = |name: &str| text(&dir.path().join(name)).to_owned();
    let (good, said) = plugin(&["verify", text(&file), "--key", &key("ours.pub")]).await;
    assert!(good && said.contains("the signature holds"), "{said}");
    let (good, said) = plugin(&["verify", text(&file), "--key", &key("theirs.pub")]).await;
    assert!(!good && said.contains("does not hold"), "{said}");
    let mut bytes = std::fs::read(&file).expect("a component");
    bytes.push(0);
    std::fs::write(&file, bytes).expect("written");
    let (good, said) = plugin(&["verify", text(&file), "--key", &key("ours.pub")]).await;
    assert!(
        !good && said.contains("changed after it was signed"),
        "{said}"
    );
    // The private key is for its owner alone, and not written over.
    use std::os::unix::fs::PermissionsExt as _;
    let about = std::fs::metadata(key("ours")).expect("a key");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert!(!plugin(&["keygen", &key("ours")]).await.0);
}

#[tokio::test]
async fn only_what_is_listed_or_signed_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, public) = signed(dir.path()).await;
    let signature = std::fs::read(file.with_extension("wasm.sig")).expect("a signature");
    let listed = format!(
        "{}, {}",
        digest("policy-scopes"),
        digest("audit-stdout").to_uppercase()
    );
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let mut gateway = GatewayBuilder::new()
        .plugin("hello-backend")
        .plugin("mischief")
        .plugin_file("backend-http.wasm.sig", &signature)
        .plugin_file("mischief.wasm.sig", &signature)
        .env("CORTEX_PLUGIN_TRUSTED_KEYS", &public.replace('\n', "\\n"))
        .env("CORTEX_PLUGIN_TRUSTED_DIGESTS", &listed)
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let (said, _) = gateway.client.call("docs_act", json!({})).await.tool_text();
    assert_eq!(said, "fine");
    for (file, why) in [
        (
            "hello-backend.wasm",
            "nobody that this gateway trusts has signed it",
        ),
        ("mischief.wasm", "its signature does not hold"),
    ] {
        let line = gateway.logged(&format!(r#""file":"{file}""#)).await;
        assert!(
            line.contains("plugin refused") && line.contains(why),
            "{line}"
        );
        let path = gateway.dir().join("plugins").join(file);
        let checked = gateway.operate(&["plugin", "check", text(&path)]).await;
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(!checked.status.success() && said.contains(why), "{said}");
    }

    // What is not trusted does not replace what is, and is taken when its signature comes.
    let beside = gateway.dir().join("plugins").join("backend-http.wasm");
    let mut bytes = std::fs::read(&file).expect("a component");
    bytes.extend([0, 7, 5, b'b', b'u', b'i', b'l', b'd', 1]);
    std::fs::write(&file, &bytes).expect("written");
    std::fs::copy(&file, &beside).expect("copied");
    let line = gateway.logged("backend-http 0.1.0 runs on").await;
    assert!(line.contains("its signature does not hold"), "{line}");
    let (said, _) = gateway.client.call("docs_act", json!({})).await.tool_text();
    assert_eq!(said, "fine");
    let key = dir.path().join("ours");
    let (good, said) = plugin(&["sign", text(&beside), "--key", text(&key)]).await;
    assert!(good, "{said}");
    gateway.logged("swapped backend-adapter").await;
}

#[tokio::test]
async fn what_is_no_key_and_no_digest_stops_the_start() {
    for (name, value) in [
        ("CORTEX_PLUGIN_TRUSTED_KEYS", "nonsense"),
        ("CORTEX_PLUGIN_TRUSTED_DIGESTS", "abc"),
    ] {
        let (code, said) = GatewayBuilder::new().env(name, value).fail().await;
        assert_ne!(code, Some(0));
        assert!(said.contains(name), "{said}");
    }
}
