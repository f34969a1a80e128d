use std::collections::HashMap;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    let map: HashMap<&str, &str> = pairs.iter().copied().collect();
    Config::read(&|name| map.get(name).map(|v| (*v).to_owned()))
}

const DEV: (&str, &str) = ("CORTEX_DEV_BYPASS_TOKEN", "dev");

#[test]
fn little_is_needed() {
    let config = read(&[DEV]).expect("usable");
    assert_eq!(config.listen.to_string(), "127.0.0.1:3213");
    assert_eq!(config.canonical_uri.as_str(), "http://localhost:3213/mcp");
    assert!(config.backends.is_empty());
    assert_eq!(config.plugins.instances, InstanceMode::Call);
}

#[test]
fn backends_are_read_with_their_defaults() {
    let config = read(&[
        DEV,
        ("CORTEX_TECHNICAL_TOKEN", "t"),
        ("CORTEX_BACKENDS", "docs, my-app,ghost"),
        ("CORTEX_BACKEND_DOCS_URL", "https://docs.example.com"),
        ("CORTEX_BACKEND_MY_APP_URL", "http://127.0.0.1:9000/base"),
        ("CORTEX_BACKEND_MY_APP_TIMEOUT_MS", "250"),
        ("CORTEX_BACKEND_MY_APP_PATH", "/rpc"),
    ])
    .expect("usable");
    let ids: Vec<_> = config.backends.iter().map(|b| b.id.as_str()).collect();
    assert_eq!(ids, ["docs", "my-app"]);
    assert_eq!(config.backends[0].path, "/api/cortex/backend");
    assert_eq!(config.backends[1].timeout_ms, 250);
    assert_eq!(
        config.notes,
        ["backend `ghost` is skipped: CORTEX_BACKEND_GHOST_URL is not set"]
    );
}

#[test]
fn all_wrong_values_are_told_together_and_no_secret_is_shown() {
    let problems = read(&[
        ("CORTEX_LISTEN", "everywhere"),
        ("CORTEX_ENV", "staging"),
        ("CORTEX_CANONICAL_URI", "mcp"),
        ("CORTEX_DEV_BYPASS_TOKEN", "hunter2"),
        ("CORTEX_DEV_BYPASS_SCOPES", "a\u{1}b"),
        ("CORTEX_BACKENDS", "Docs,web,plain,web"),
        ("CORTEX_BACKEND_WEB_URL", "https://user:hunter2@example.com"),
        ("CORTEX_BACKEND_PLAIN_URL", "http://example.com"),
        ("CORTEX_MAX_BODY_BYTES", "lots"),
        (
            "CORTEX_ALLOWED_ORIGINS",
            "https://ok.example, https://path.example/x",
        ),
        ("CORTEX_PLUGIN_INSTANCES", "shared"),
    ])
    .expect_err("refused");
    let variables: Vec<_> = problems.0.iter().map(|p| p.variable.as_str()).collect();
    assert_eq!(
        variables,
        [
            "CORTEX_ENV",
            "CORTEX_LISTEN",
            "CORTEX_CANONICAL_URI",
            "CORTEX_DEV_BYPASS_SCOPES",
            "CORTEX_BACKENDS",
            "CORTEX_BACKEND_WEB_URL",
            "CORTEX_BACKEND_PLAIN_URL",
            "CORTEX_BACKEND_WEB_URL",
            "CORTEX_ALLOWED_ORIGINS",
            "CORTEX_MAX_BODY_BYTES",
            "CORTEX_PLUGIN_INSTANCES",
        ]
    );
    let text = problems.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(
        text.contains("CORTEX_ENV is `staging`: expected `development` or `production`"),
        "{text}"
    );
}

#[test]
fn production_has_no_dev_bypass() {
    let problems = read(&[DEV, ("CORTEX_ENV", "production")]).expect_err("refused");
    let text = problems.to_string();
    assert!(
        text.contains("CORTEX_CANONICAL_URI: required in production"),
        "{text}"
    );
    assert!(text.contains("which production turns off"), "{text}");
}

#[test]
fn what_is_not_served_yet_is_said() {
    let config = read(&[DEV, ("CORTEX_REQUIRED_POOL", "blue")]).expect("usable");
    assert_eq!(
        config.notes,
        ["CORTEX_REQUIRED_POOL is set, but this version does not act on it yet"]
    );
}
