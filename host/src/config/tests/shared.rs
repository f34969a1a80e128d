//! What gateways share, and secrets in files.

use super::*;

#[test]
fn a_fleet_needs_one_redis_and_one_state_key() {
    let key = crate::types::Key256::new([7; 32]).to_text();
    let key = ("CORTEX_STATE_KEY", key.reveal());
    let url = ("CORTEX_REDIS_URL", "redis://:s3cret@redis.example.com");
    assert!(matches!(
        read(&[DEV]).expect("usable").fleet,
        FleetConfig::Alone
    ));
    for (name, prefix) in [("", "cortex:main:"), ("staging-2", "cortex:staging-2:")] {
        let config = read(&[DEV, url, key, ("CORTEX_FLEET_NAME", name)]).expect("usable");
        assert!(!format!("{config:?}").contains("s3cret"));
        let FleetConfig::Redis { url, prefix: found } = config.fleet else {
            panic!("{:?}", config.fleet);
        };
        assert_eq!(found, prefix);
        assert_eq!(url.address(), "redis.example.com:6379");
    }
    for (vars, wrong) in [
        (&[DEV, url][..], "CORTEX_STATE_KEY"),
        (
            &[DEV, key, ("CORTEX_REDIS_URL", "s3cret@host")][..],
            "CORTEX_REDIS_URL",
        ),
        (
            &[DEV, key, url, ("CORTEX_FLEET_NAME", "a:b")][..],
            "CORTEX_FLEET_NAME",
        ),
    ] {
        let problems = read(vars).expect_err("unusable");
        let named: Vec<_> = problems.0.iter().map(|p| p.variable.as_str()).collect();
        assert_eq!(named, [wrong]);
        assert!(!problems.to_string().contains("s3cret"), "{problems}");
    }
}

#[test]
fn a_database_needs_a_key_that_all_gateways_have() {
    let url = ("CORTEX_DATABASE_URL", "postgresql://me:pa55word@db/cortex");
    let said = read(&[DEV, url]).expect_err("no key").to_string();
    assert!(
        said.contains("CORTEX_STATE_KEY: required with CORTEX_DATABASE_URL"),
        "{said}"
    );
    let key = (
        "CORTEX_STATE_KEY",
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    );
    let config = read(&[DEV, url, key]).expect("usable");
    assert!(!format!("{config:?}").contains("pa55word"));
    let database = config.database.expect("a database");
    assert_eq!(
        (database.url.to_string().as_str(), database.connections),
        ("db:5432/cortex", 8)
    );
    let bad = ("CORTEX_DATABASE_URL", "mysql://me:pa55word@db/cortex");
    let said = read(&[DEV, bad, key]).expect_err("no database").to_string();
    assert!(
        said.contains("CORTEX_DATABASE_URL: it is not a URL of the form"),
        "{said}"
    );
    assert!(!said.contains("pa55word"), "{said}");
}

#[test]
fn secrets_may_be_in_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let ring = file("keys", &format!("{key},\n{key}\n"));
    let secret = file("admin", "sixteen-or-longer\n");
    let config = read(&[
        DEV,
        ("CORTEX_STATE_KEY_FILE", &ring),
        ("CORTEX_ADMIN_SECRET_FILE", &secret),
    ])
    .expect("usable");
    assert_eq!(config.state_keys.len(), 2);
    let admin = config.admin_secret.expect("read");
    assert_eq!(admin.reveal(), "sixteen-or-longer");

    let missing = dir.path().join("nowhere").display().to_string();
    let problems = read(&[
        DEV,
        ("CORTEX_STATE_KEY", key),
        ("CORTEX_STATE_KEY_FILE", &ring),
        ("CORTEX_VAULT_KEY_FILE", &missing),
        ("CRON_SECRET_FILE", &file("empty", "\n")),
    ])
    .expect_err("not usable");
    let text = problems.to_string();
    for expected in [
        "either this or CORTEX_STATE_KEY, not both",
        "CORTEX_VAULT_KEY_FILE is",
        "CRON_SECRET_FILE is",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains(key), "{text}");
}
