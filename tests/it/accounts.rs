//! Linked accounts over time: renewed once for many, never lost, ended and linked again; and the vault that
//! they are in.

use std::time::Duration;

use cortex_tests::issuer::{Alg, Key};
use cortex_tests::provider::Instead;
use cortex_tests::{GatewayBuilder, Provider};
use serde_json::{Value, json};

use crate::linking::{Stand, VAULT_KEY, asked_to_open, modern};

/// Another key.
const NEW_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

#[tokio::test]
async fn a_token_is_renewed_once_for_all_who_wait() {
    let stand = Stand::start().await;
    // They end within the minute in which they are renewed.
    stand.notes.manners(|manners| manners.life = 30);
    stand.link("ada").await;
    stand
        .notes
        .manners(|manners| manners.slow = Duration::from_millis(300));
    let client = stand.client("ada");
    let calls = (0..20).map(|_| modern(&client, "notes_whose", json!({})));
    for called in futures_util::future::join_all(calls).await {
        assert_eq!(called.tool_text(), ("ada-at-notes".to_owned(), false));
    }
    let tokens = stand.notes.seen("/token");
    let renewals: Vec<_> = tokens
        .iter()
        .filter(|asked| asked.params["grant_type"] == "refresh_token")
        .collect();
    assert_eq!(renewals.len(), 1);
    assert_eq!(renewals[0].params["resource"], stand.notes.mcp());
}

#[tokio::test]
async fn a_token_that_the_server_does_not_take_is_renewed_and_the_call_made_again() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    stand.notes.expire_access("ada-at-notes");
    let called = stand.whose("ada").await;
    assert_eq!(
        called.tool_text(),
        ("ada-at-notes".to_owned(), false),
        "{}",
        called.text()
    );
    assert_eq!(stand.notes.calls().len(), 1);
}

#[tokio::test]
async fn a_token_that_ended_before_its_first_use_is_renewed_once_more_and_no_more_often() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    stand.notes.expire_access("ada-at-notes");
    stand.notes.stillborn(1);
    let called = stand.whose("ada").await;
    assert_eq!(called.tool_text(), ("ada-at-notes".to_owned(), false));

    stand.notes.expire_access("ada-at-notes");
    stand.notes.stillborn(100);
    stand.notes.forget_requests();
    let asked = stand.whose("ada").await;
    let words = asked.result()["inputRequests"]["link"]["params"]["message"].to_string();
    assert!(words.contains("has to be linked again"), "{words}");
    assert_eq!(stand.notes.seen("/token").len(), 2);
}

#[tokio::test]
async fn an_account_outlives_a_provider_that_is_down_when_its_token_is_refused() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    stand.notes.expire_access("ada-at-notes");
    let down = json!({ "error": "temporarily_unavailable" });
    stand.notes.instead("/token", Instead::Json(503, down));
    for _ in 0..2 {
        let (told, is_error) = stand.whose("ada").await.tool_text();
        assert!(is_error && told.contains("try again later"), "{told}");
    }
    stand.notes.as_usual("/token");
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
}

#[tokio::test]
async fn what_has_ended_is_linked_again() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    stand.notes.revoke_all("ada-at-notes");
    for _ in 0..2 {
        let asked = stand.whose("ada").await;
        let words = asked.result()["inputRequests"]["link"]["params"]["message"].to_string();
        assert!(words.contains("has to be linked again"), "{words}");
    }
    stand
        .browser("ada")
        .get(&asked_to_open(&stand.whose("ada").await))
        .await;
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    // Without refresh tokens the end is the end.
    stand.notes.manners(|manners| manners.refreshes = false);
    stand.link("bob").await;
    assert_eq!(stand.whose("bob").await.tool_text().0, "bob-at-notes");
    stand.notes.expire_access("bob-at-notes");
    drop(asked_to_open(&stand.whose("bob").await));
}

#[tokio::test]
async fn a_provider_that_is_down_or_silent_stops_nobody_else() {
    // Fifteen providers, of which all but one hang.
    let mut others = Vec::new();
    for _ in 0..14 {
        others.push(Provider::start().await);
    }
    let stand = Stand::with(|mut builder| {
        for (n, other) in others.iter().enumerate() {
            builder = builder.mcp_server(&format!("p{n}"), &other.mcp());
        }
        builder.env("CORTEX_MCP_P0_CATALOG_SUB", "robot")
    })
    .await;
    let mut browser = stand.browser("ada");
    for other in &others[..3] {
        browser = browser.knows(&other.url(), "ada-elsewhere");
    }
    let page = stand.connections(&mut browser).await;
    for n in 0..3 {
        let start = page.attribute("href", &format!("/api/link/p{n}/start"));
        let linked = browser.get(&stand.at(&start)).await;
        assert!(linked.text().contains("is linked"), "{}", linked.text());
    }
    stand.link("ada").await;
    for other in &others {
        for path in [
            "/mcp",
            "/token",
            "/.well-known/oauth-authorization-server",
            "/.well-known/oauth-protected-resource/mcp",
        ] {
            other.instead(path, Instead::Hang);
        }
    }
    // How things stand is known without them.
    let page = browser.get(&stand.at("/connections")).await;
    assert_eq!(
        page.text().matches("● linked").count(),
        4,
        "{}",
        page.text()
    );
    assert_eq!(page.text().matches("○ not linked").count(), 11);
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");

    // A token that cannot be renewed now is not a grant that has ended.
    stand.notes.manners(|manners| manners.life = 1);
    stand.link("bob").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stand.notes.instead(
        "/token",
        Instead::Json(503, json!({ "error": "temporarily_unavailable" })),
    );
    let (text, failed) = stand.whose("bob").await.tool_text();
    assert!(failed && text.contains("try again later"), "{text}");
    stand.notes.as_usual("/token");
    stand.notes.manners(|manners| manners.life = 600);
    assert_eq!(stand.whose("bob").await.tool_text().0, "bob-at-notes");
}

#[tokio::test]
async fn rotated_tokens_survive_kill_9_between_two_answers() {
    let mut stand = Stand::start().await;
    // Each call renews, and the answer is slow to come.
    stand.notes.manners(|manners| manners.life = 30);
    stand.link("ada").await;
    for round in 0..12_u64 {
        stand
            .notes
            .manners(|manners| manners.slow = Duration::from_millis(20));
        let client = stand.client("ada");
        let calling = tokio::spawn(async move {
            for _ in 0..50 {
                // Ends with the gateway.
                drop(client.modern(
                    "tools/call",
                    json!({ "name": "notes_whose", "arguments": { "n": 1 } }),
                ));
                let params = json!({ "name": "notes_whose", "arguments": { "n": 1 } });
                let body =
                    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
                let sent = client.open(
                    http::Method::POST,
                    &[
                        ("content-type", "application/json"),
                        ("accept", "application/json, text/event-stream"),
                        ("mcp-protocol-version", "2025-11-25"),
                    ],
                    body.to_string(),
                );
                drop(sent.await);
            }
        });
        // In the middle of it, at another moment each time.
        tokio::time::sleep(Duration::from_millis(40 + round * 7)).await;
        let builder = stand.gateway.kill().await;
        calling.abort();
        stand.notes.manners(|manners| manners.slow = Duration::ZERO);
        let gateway = builder.start().await;
        gateway.ready().await;
        stand.gateway = gateway;
        let called = stand.whose("ada").await;
        assert_eq!(
            called.tool_text(),
            ("ada-at-notes".to_owned(), false),
            "{round}: {}",
            called.text()
        );
    }
    assert_eq!(stand.notes.grants("ada-at-notes"), 1);
}

#[tokio::test]
async fn a_wrong_key_is_recognised_at_the_start() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    let Stand { gateway, .. } = stand;
    let builder = gateway.stop().await.env("CORTEX_VAULT_KEY", NEW_KEY);
    let (code, said) = builder.fail().await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("CORTEX_VAULT_KEY is not the key") && said.contains("vault rotate"),
        "{said}"
    );
    assert!(!said.contains(VAULT_KEY) && !said.contains(NEW_KEY));
}

#[tokio::test]
async fn operators_change_the_key_and_forget_people() {
    let mut stand = Stand::start().await;
    for user in ["ada", "bob"] {
        stand.link(user).await;
    }
    let vault = async |stand: &Stand, arguments: &[&str]| -> Value {
        let arguments = [&["vault"], arguments, &["--json"]].concat();
        let (code, out, err) = stand.gateway.operator(&arguments).await;
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).expect("JSON")
    };
    let status = vault(&stand, &["status"]).await;
    assert_eq!(
        status["servers"]["notes"],
        json!({ "linked": 3, "ended": 0 })
    );
    let old = status["sealing"].clone();

    let both = format!("{NEW_KEY},{VAULT_KEY}");
    stand.gateway = stand
        .gateway
        .stop()
        .await
        .env("CORTEX_VAULT_KEY", &both)
        .start()
        .await;
    stand.gateway.ready().await;
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    // The registered clients of the provider and of the issuer are sealed, too.
    assert_eq!(
        vault(&stand, &["rotate"]).await,
        json!({ "resealed": 5, "lost": 0 })
    );
    let status = vault(&stand, &["status"]).await;
    assert_ne!(status["sealing"], old);
    assert_eq!(status["sealed"].as_object().map(|keys| keys.len()), Some(1));

    stand.gateway = stand
        .gateway
        .stop()
        .await
        .env("CORTEX_VAULT_KEY", NEW_KEY)
        .start()
        .await;
    stand.gateway.ready().await;
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    let forgotten = vault(&stand, &["forget", "--subject", "ada"]).await;
    assert_eq!(forgotten["forgotten"], 1);
    assert_eq!(stand.notes.grants("ada-at-notes"), 0);
    drop(asked_to_open(&stand.whose("ada").await));
    assert_eq!(stand.whose("bob").await.tool_text().0, "bob-at-notes");

    // Without a gateway the commands work on the files.
    let builder = stand.gateway.stop().await;
    let output = builder.operate(&["vault", "status"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("notes") && said.contains("2 linked"),
        "{said}"
    );
}

#[tokio::test]
async fn nothing_of_it_is_on_the_disk_in_clear() {
    let stand = Stand::start().await;
    stand.link("ada").await;
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    let tokens = stand.notes.tokens();
    let dir = stand.gateway.dir().join("data");
    let mut stand = stand;
    stand.gateway.signal("TERM").await;
    stand.gateway.ended().await;
    let (mut folders, mut bytes) = (vec![dir], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().contains("compiled") {
                bytes.extend(std::fs::read(&path).unwrap_or_default());
            }
        }
    }
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(holds("accounts"), "the search finds what is there");
    assert!(tokens.len() >= 4);
    for text in tokens.iter().map(String::as_str).chain(["ada", VAULT_KEY]) {
        // Three letters turn up by themselves.
        let found = if text == "ada" {
            holds("ada-at-notes")
        } else {
            holds(text)
        };
        assert!(!found, "`{text}` is on the disk");
    }
}

#[tokio::test]
async fn a_backend_gets_a_token_of_its_own_where_the_operator_says_so() {
    use cortex_tests::{FakeBackend, Plan};
    let backend =
        FakeBackend::start(json!([{ "name": "act", "scope": "mcp:test:use", "description": "." }]))
            .await;
    backend.plan("act", Plan::Json(200, json!({ "done": true })));
    let issuer =
        Provider::issuer(Key::generate(Alg::Es256, "k1"), "http://localhost:3213/mcp").await;
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_DEV_BYPASS_TOKEN", "")
        .env("OAUTH_ISSUER", &issuer.url())
        .env("CORTEX_BACKEND_DOCS_TOKEN", "exchange")
        .env("CORTEX_BACKEND_DOCS_AUDIENCE", "docs-api")
        .env("CORTEX_EXCHANGE_CLIENT_ID", "gateway")
        .env("CORTEX_EXCHANGE_CLIENT_SECRET", "s3cret")
        .start()
        .await;
    gateway.ready().await;
    let exchanged = |token: &str| {
        Instead::Json(
            200,
            json!({
                "access_token": token, "token_type": "Bearer", "expires_in": 300,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        )
    };
    issuer.instead("/token", exchanged("token-for-docs"));
    let ada = issuer.token("ada", "mcp:test:use");
    let client = gateway.client.with_token(&ada);
    let called = client.call("docs_act", json!({})).await;
    assert!(!called.tool_text().1, "{}", called.text());
    let asked = issuer.seen("/token");
    assert_eq!(asked.len(), 1);
    let params = &asked[0].params;
    assert_eq!(
        params["grant_type"],
        "urn:ietf:params:oauth:grant-type:token-exchange"
    );
    assert_eq!(params["subject_token"], ada);
    assert_eq!(
        (params["audience"].as_str(), params["resource"].as_str()),
        ("docs-api", backend.url().as_str())
    );
    let shown = |call: usize| {
        backend.seen("act")[call].headers["authorization"]
            .to_str()
            .expect("text")
            .to_owned()
    };
    assert_eq!(shown(0), "Bearer token-for-docs");

    // The same caller again: no exchange. Another one: another.
    drop(client.call("docs_act", json!({})).await);
    assert_eq!(issuer.seen("/token").len(), 1);
    issuer.instead("/token", exchanged("token-of-bob"));
    let bob = gateway
        .client
        .with_token(&issuer.token("bob", "mcp:test:use"));
    drop(bob.call("docs_act", json!({})).await);
    assert_eq!(
        (shown(1), shown(2)),
        (
            "Bearer token-for-docs".to_owned(),
            "Bearer token-of-bob".to_owned()
        )
    );

    // No exchange, no call: the caller's own token is not shown instead.
    issuer.instead(
        "/token",
        Instead::Json(400, json!({ "error": "invalid_target" })),
    );
    let eve = gateway
        .client
        .with_token(&issuer.token("eve", "mcp:test:use"));
    let (text, failed) = eve.call("docs_act", json!({})).await.tool_text();
    assert!(failed && text.contains("gives you no token"), "{text}");
    assert_eq!(backend.seen("act").len(), 3);
}

#[tokio::test]
async fn a_backend_is_shown_nothing_where_the_operator_says_so() {
    use cortex_tests::{FakeBackend, Plan};
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!({})));
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_BACKEND_DOCS_TOKEN", "none")
        .start()
        .await;
    gateway.ready().await;
    let called = gateway.client.call("docs_act", json!({})).await;
    assert!(!called.tool_text().1, "{}", called.text());
    for method in ["list_tools", "act"] {
        let seen = backend.seen(method);
        assert!(!seen.is_empty(), "{method}");
        assert!(
            seen.iter()
                .all(|seen| !seen.headers.contains_key("authorization")),
            "{method}"
        );
    }
}
