use std::collections::HashMap;

use super::*;

mod shared;

fn read(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    let map: HashMap<&str, &str> = pairs.iter().copied().collect();
    Config::read(&|name| map.get(name).map(|v| (*v).to_owned()))
}

const DEV: (&str, &str) = ("CORTEX_DEV_BYPASS_TOKEN", "dev");
const ISSUER: (&str, &str) = ("OAUTH_ISSUER", "https://login.example.com/tenant");

#[test]
fn little_is_needed() {
    let config = read(&[DEV]).expect("usable");
    assert_eq!(config.listen.to_string(), "127.0.0.1:3213");
    assert_eq!(config.canonical_uri.as_str(), "http://localhost:3213/mcp");
    assert!(config.backends.is_empty());
    assert_eq!(config.plugins.instances, InstanceMode::Subject);
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
    assert_eq!(
        config.backends[0].settings,
        r#"{"path":"/api/cortex/backend"}"#
    );
    assert_eq!(config.backends[1].timeout_ms, 250);
    assert_eq!(
        config.notes,
        ["backend `ghost` is skipped: CORTEX_BACKEND_GHOST_URL is not set"]
    );
}

#[test]
fn mcp_servers_are_backends_too() {
    let config = read(&[
        DEV,
        ("CORTEX_MCP_SERVERS", "wiki, ghost,everything"),
        (
            "CORTEX_MCP_WIKI_URL",
            "https://wiki.example.com/mcp?space=a",
        ),
        ("CORTEX_MCP_WIKI_CLIENT_ID", "x"),
        ("CORTEX_MCP_EVERYTHING_URL", "http://127.0.0.1:9000"),
        ("CORTEX_MCP_EVERYTHING_SCOPE", "mcp:all"),
        ("CORTEX_MCP_EVERYTHING_NAMES", "verbatim"),
        ("CORTEX_MCP_EVERYTHING_TIMEOUT_MS", "250"),
    ])
    .expect("usable without a technical token");
    let [wiki, everything] = &config.backends[..] else {
        panic!("{:?}", config.backends);
    };
    assert_eq!(wiki.url.as_str(), "https://wiki.example.com/");
    let settings = |of: &BackendConfig| -> serde_json::Value {
        serde_json::from_str(&of.settings).expect("JSON")
    };
    let expected = serde_json::json!({
        "path": "/mcp?space=a", "scope": "mcp:wiki:read", "scope_variables": {}, "credential": "account",
    });
    assert_eq!(settings(wiki), expected);
    assert_eq!(wiki.adapter.as_str(), "backend-mcp");
    assert_eq!(
        (wiki.token, wiki.names),
        (TokenMode::Linked, NameStyle::Prefixed)
    );
    assert_eq!(settings(everything)["scope"], "mcp:all");
    assert_eq!(settings(everything)["path"], "/");
    assert_eq!(
        (everything.names, everything.timeout_ms),
        (NameStyle::Verbatim, 250)
    );
    assert_eq!(
        config.notes,
        ["MCP server `ghost` is skipped: CORTEX_MCP_GHOST_URL is not set",]
    );
}

#[test]
fn wrong_mcp_servers_are_told_together() {
    let problems = read(&[
        DEV,
        ("CORTEX_TECHNICAL_TOKEN", "t"),
        ("CORTEX_BACKENDS", "docs"),
        ("CORTEX_BACKEND_DOCS_URL", "https://docs.example.com"),
        ("CORTEX_MCP_SERVERS", "docs,a,b,a,plain,user,C"),
        ("CORTEX_MCP_A_URL", "https://a.example.com/mcp"),
        ("CORTEX_MCP_A_NAMES", "verbatim"),
        ("CORTEX_MCP_A_SCOPE", "two scopes"),
        ("CORTEX_MCP_B_URL", "https://b.example.com/mcp"),
        ("CORTEX_MCP_B_NAMES", "verbatim"),
        (
            "CORTEX_MCP_PLAIN_URL",
            "http://plain.example.com/mcp?key=hunter2",
        ),
        (
            "CORTEX_MCP_USER_URL",
            "https://user:hunter2@example.com/mcp",
        ),
    ])
    .expect_err("refused");
    let text = problems.to_string();
    let variables: Vec<_> = problems.0.iter().map(|p| p.variable.as_str()).collect();
    assert_eq!(
        variables,
        [
            "CORTEX_MCP_SERVERS",
            "CORTEX_MCP_A_SCOPE",
            "CORTEX_MCP_SERVERS",
            "CORTEX_MCP_PLAIN_URL",
            "CORTEX_MCP_USER_URL",
            "CORTEX_MCP_SERVERS",
            "CORTEX_MCP_B_NAMES",
        ],
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
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
    let variables: Vec<_> = problems.0.iter().map(|p| p.variable.as_str()).collect();
    assert_eq!(variables, ["CORTEX_CANONICAL_URI", "OAUTH_ISSUER"]);
    let config = read(&[
        DEV,
        ("CORTEX_ENV", "production"),
        ("CORTEX_CANONICAL_URI", "https://mcp.example.com"),
        ISSUER,
    ])
    .expect("usable");
    assert!(config.dev_bypass.is_none());
    let oauth = config.oauth.expect("an issuer");
    // As a URL, and as it was written.
    assert_eq!(
        oauth.audiences,
        ["https://mcp.example.com/", "https://mcp.example.com"]
    );
}

#[test]
fn somebody_must_be_able_to_get_in() {
    let problems = read(&[]).expect_err("refused");
    let text = problems.to_string();
    assert!(
        text.contains("OAUTH_ISSUER: required") && text.contains("CORTEX_DEV_BYPASS_TOKEN"),
        "{text}"
    );
    let config = read(&[ISSUER]).expect("usable");
    let oauth = config.oauth.expect("an issuer");
    assert_eq!(oauth.issuer, ISSUER.1);
    assert_eq!(oauth.audiences, ["http://localhost:3213/mcp"]);
    assert!(oauth.required_scopes.is_empty() && oauth.introspection.is_none());
}

#[test]
fn what_tokens_are_checked_against_is_read() {
    let config = read(&[
        ISSUER,
        ("OAUTH_AUDIENCE", "api://cortex"),
        ("OAUTH_JWKS_URL", "http://127.0.0.1:9000/keys?v=2"),
        ("OAUTH_REQUIRED_SCOPES", "mcp:use  openid"),
        ("CORTEX_REQUIRED_POOL", "blue"),
        (
            "OAUTH_INTROSPECT_URL",
            "https://login.example.com/introspect",
        ),
        ("OAUTH_INTROSPECT_CLIENT_ID", "gateway"),
        ("OAUTH_INTROSPECT_CLIENT_SECRET", "hunter2"),
        ("OAUTH_INTROSPECT_FAIL", "closed"),
    ])
    .expect("usable");
    assert_eq!(config.required_pool.as_deref(), Some("blue"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let oauth = config.oauth.expect("an issuer");
    assert_eq!(
        oauth.audiences,
        ["api://cortex", "http://localhost:3213/mcp"]
    );
    assert_eq!(oauth.required_scopes.to_string(), "mcp:use openid");
    let introspection = oauth.introspection.expect("an endpoint");
    assert_eq!(
        (introspection.ttl_seconds, introspection.fail_open),
        (60, false)
    );
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

#[test]
fn wrong_oauth_values_are_told_together() {
    let problems = read(&[
        ("OAUTH_ISSUER", "http://login.example.com"),
        ("OAUTH_JWKS_URL", "https://user:hunter2@example.com/keys"),
        ("OAUTH_REQUIRED_SCOPES", "a\"b"),
        ("OAUTH_INTROSPECT_URL", "login.example.com"),
        ("OAUTH_INTROSPECT_CLIENT_SECRET", "hunter2"),
        ("OAUTH_INTROSPECT_CACHE_TTL_SECONDS", "1 minute"),
        ("OAUTH_INTROSPECT_FAIL", "maybe"),
    ])
    .expect_err("refused");
    let variables: Vec<_> = problems.0.iter().map(|p| p.variable.as_str()).collect();
    assert_eq!(
        variables,
        [
            "OAUTH_ISSUER",
            "OAUTH_JWKS_URL",
            "OAUTH_REQUIRED_SCOPES",
            "OAUTH_INTROSPECT_CLIENT_ID",
            "OAUTH_INTROSPECT_CACHE_TTL_SECONDS",
            "OAUTH_INTROSPECT_FAIL",
            "OAUTH_INTROSPECT_URL",
        ]
    );
    let text = problems.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    for issuer in [
        "https://login.example.com?tenant=1",
        "https://login.example.com#x",
        "login",
        "https://user@login.example.com",
    ] {
        assert!(read(&[DEV, ("OAUTH_ISSUER", issuer)]).is_err(), "{issuer}");
    }
}

#[test]
fn without_an_issuer_the_rest_of_it_is_noted() {
    let config = read(&[DEV, ("OAUTH_AUDIENCE", "api://cortex")]).expect("usable");
    assert_eq!(
        config.notes,
        ["OAUTH_AUDIENCE is ignored: OAUTH_ISSUER is not set"]
    );
}

#[test]
fn tickets_go_to_backends_that_are_there_and_to_a_hook_that_is_not_shown() {
    let with = |keepers, hook| {
        read(&[
            DEV,
            ("CORTEX_TECHNICAL_TOKEN", "t"),
            ("CORTEX_BACKENDS", "docs,ghost"),
            ("CORTEX_BACKEND_DOCS_URL", "https://docs.example.com"),
            ("CORTEX_TICKET_BACKENDS", keepers),
            ("CORTEX_TICKET_WEBHOOK_URL", hook),
        ])
    };
    let hook = "https://hooks.example.com/s3cret?key=s3cret";
    let config = with("docs, docs", hook).expect("usable");
    let keepers: Vec<_> = config
        .tickets
        .backends
        .iter()
        .map(|id| id.as_str())
        .collect();
    assert_eq!(keepers, ["docs"]);
    let url = config.tickets.webhook.as_ref().expect("a hook");
    assert_eq!(url.reveal(), hook);
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    for (keepers, hook, wrong) in [
        ("ghost", hook, "CORTEX_TICKET_BACKENDS"),
        (
            "",
            "http://hooks.example.com/s3cret",
            "CORTEX_TICKET_WEBHOOK_URL",
        ),
        (
            "",
            "https://user:s3cret@hooks.example.com",
            "CORTEX_TICKET_WEBHOOK_URL",
        ),
        (
            "",
            "https://hooks.example.com#s3cret",
            "CORTEX_TICKET_WEBHOOK_URL",
        ),
        ("", "s3cret", "CORTEX_TICKET_WEBHOOK_URL"),
    ] {
        let problems = with(keepers, hook).expect_err("unusable");
        let named: Vec<_> = problems.0.iter().map(|p| p.variable.as_str()).collect();
        assert_eq!(named, [wrong], "{keepers} {hook}");
        assert!(!problems.to_string().contains("s3cret"), "{problems}");
    }
}

#[test]
fn state_keys_are_read_strictly_and_not_shown() {
    let key = crate::types::Key256::new([7; 32]).to_text();
    let two = format!("{}, {}", key.reveal(), key.reveal());
    let config = read(&[DEV, ("CORTEX_STATE_KEY", &two)]).expect("usable");
    assert_eq!(config.state_keys.len(), 2);
    let bad = format!("{},hunter2", key.reveal());
    let problems = read(&[DEV, ("CORTEX_STATE_KEY", &bad)]).expect_err("a bad key");
    let said = problems.to_string();
    assert!(
        said.contains("CORTEX_STATE_KEY: key 2: expected 32 bytes in base64")
            && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn accounts_and_tokens_of_backends_are_read() {
    let key = crate::types::Key256::new([7; 32]).to_text();
    let vars = [
        ("OAUTH_ISSUER", "https://login.example.com"),
        ("CORTEX_TECHNICAL_TOKEN", "t"),
        ("CORTEX_VAULT_KEY", key.reveal()),
        ("CORTEX_LINK_PRIVATE_HOSTS", "sso.corp.example, 10.0.0.1"),
        ("OAUTH_CLIENT_ID", "gateway"),
        ("CORTEX_BACKENDS", "docs,mail"),
        ("CORTEX_BACKEND_DOCS_URL", "https://docs.example.com"),
        ("CORTEX_BACKEND_DOCS_TOKEN", "exchange"),
        ("CORTEX_BACKEND_DOCS_AUDIENCE", "docs-api"),
        ("CORTEX_BACKEND_MAIL_URL", "https://mail.example.com"),
        ("CORTEX_BACKEND_MAIL_TOKEN", "none"),
        ("CORTEX_EXCHANGE_CLIENT_ID", "gateway"),
        ("CORTEX_EXCHANGE_CLIENT_SECRET", "s3cret"),
        ("CORTEX_MCP_SERVERS", "wiki"),
        ("CORTEX_MCP_WIKI_URL", "https://wiki.example.com/mcp"),
        ("CORTEX_MCP_WIKI_CLIENT_ID", "known"),
        ("CORTEX_MCP_WIKI_CLIENT_SECRET", "s3cret"),
        ("CORTEX_MCP_WIKI_OAUTH_SCOPE", "read write"),
        ("CORTEX_MCP_WIKI_CATALOG_SUB", "robot"),
        ("CORTEX_MCP_WIKI_SCOPE_DELETE_PAGE", "mcp:wiki:admin"),
    ];
    let source = |name: &str| {
        let found = vars.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let names = vars.iter().map(|(name, _)| (*name).to_owned()).collect();
    let config = Config::read_named(&source, names).expect("usable");
    assert_eq!(config.notes, Vec::<String>::new());
    assert_eq!(config.accounts.vault_keys.len(), 1);
    assert_eq!(config.accounts.private_hosts.len(), 2);
    assert!(config.accounts.client.is_some() && config.exchange.is_some());
    let [docs, mail, wiki] = &config.backends[..] else {
        panic!("{:?}", config.backends);
    };
    assert_eq!(
        (docs.token, mail.token, wiki.token),
        (TokenMode::Exchange, TokenMode::None, TokenMode::Linked)
    );
    assert_eq!(docs.exchange.audience.as_deref(), Some("docs-api"));
    assert_eq!(docs.exchange.resource, "https://docs.example.com");
    let account = wiki.account.as_ref().expect("accounts");
    assert_eq!(account.endpoint.as_str(), "https://wiki.example.com/mcp");
    assert_eq!(account.client.as_ref().expect("a client").id, "known");
    assert_eq!(
        account.scopes.as_ref().expect("scopes").to_string(),
        "read write"
    );
    assert_eq!(
        account
            .catalog_subject
            .as_ref()
            .expect("a subject")
            .as_str(),
        "robot"
    );
    assert!(
        wiki.settings
            .contains(r#""scope_variables":{"DELETE_PAGE":"mcp:wiki:admin"}"#)
    );
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn what_accounts_and_tokens_of_backends_lack_is_told() {
    let problems = read(&[
        DEV,
        ("CORTEX_TECHNICAL_TOKEN", "t"),
        ("CORTEX_VAULT_KEY", "hunter2"),
        ("CORTEX_BACKENDS", "docs"),
        ("CORTEX_BACKEND_DOCS_URL", "https://docs.example.com"),
        ("CORTEX_BACKEND_DOCS_TOKEN", "exchange"),
        ("CORTEX_MCP_SERVERS", "wiki"),
        ("CORTEX_MCP_WIKI_URL", "https://wiki.example.com/mcp"),
        ("CORTEX_MCP_WIKI_TOKEN", "passthrough"),
        ("CORTEX_MCP_WIKI_OAUTH_SCOPE", "a \"b"),
        ("CORTEX_LINK_PRIVATE_HOSTS", "a b"),
    ]);
    let said = problems.expect_err("wrong").to_string();
    for expected in [
        "CORTEX_VAULT_KEY: key 1: expected 32 bytes in base64",
        "CORTEX_EXCHANGE_CLIENT_ID: required",
        "OAUTH_ISSUER: required",
        "CORTEX_MCP_WIKI_TOKEN",
        "CORTEX_MCP_WIKI_OAUTH_SCOPE",
        "CORTEX_LINK_PRIVATE_HOSTS",
    ] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}
