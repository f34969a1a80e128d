use cortex_test_issuer::{Alg, Answer, FakeIssuer, Key, now};
use serde_json::{Value, json};

use super::*;
use crate::config::IntrospectionConfig;
use crate::types::ScopeSet;

fn config(issuer: &FakeIssuer) -> OAuthConfig {
    OAuthConfig {
        issuer: issuer.url(),
        audiences: vec!["http://localhost:3213/mcp".to_owned()],
        jwks_url: None,
        required_scopes: ScopeSet::default(),
        introspection: None,
    }
}

fn introspected(issuer: &FakeIssuer, ttl_seconds: u64, fail_open: bool) -> OAuthConfig {
    let url = format!("{}/introspect", issuer.url());
    OAuthConfig {
        introspection: Some(IntrospectionConfig {
            url: url.parse().expect("a URL"),
            client: None,
            ttl_seconds,
            fail_open,
        }),
        ..config(issuer)
    }
}

fn server(config: &OAuthConfig) -> ResourceServer {
    let times = Times {
        pause: Duration::ZERO,
        ..Times::DEFAULT
    };
    ResourceServer::with_times(config, Client::new().expect("a client"), times)
}

async fn subject(server: &ResourceServer, token: &str) -> Result<String, TokenError> {
    let verified = server.authenticate(&Secret::new(token.to_owned())).await?;
    Ok(verified.principal.subject.to_string())
}

fn good() -> Result<String, TokenError> {
    Ok("user-1".to_owned())
}

#[tokio::test]
async fn keys_are_discovered_and_a_token_is_verified_once() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let server = server(&introspected(&issuer, 60, true));
    let token = key.token(&issuer.claims());
    for _ in 0..5 {
        assert_eq!(subject(&server, &token).await, good());
    }
    assert_eq!(issuer.seen("/keys").len(), 1);
    assert_eq!(issuer.seen("/introspect").len(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_and_what_an_old_one_signed_is_not_good_any_more() {
    let (old, new) = (
        Key::generate(Alg::EdDsa, "old"),
        Key::generate(Alg::Es256, "new"),
    );
    let issuer = FakeIssuer::start(&[&old]).await;
    let server = server(&config(&issuer));
    let before = old.token(&issuer.claims());
    assert_eq!(subject(&server, &before).await, good());
    assert_eq!(subject(&server, &before).await, good());
    let after = new.token(&issuer.claims());
    assert_eq!(
        subject(&server, &after).await,
        Err(Invalid::UnknownKey.into())
    );
    issuer.publish(&[&new]);
    assert_eq!(subject(&server, &after).await, good());
    assert_eq!(
        subject(&server, &before).await,
        Err(Invalid::UnknownKey.into()),
        "kept, but verified with keys that are gone"
    );
}

#[tokio::test]
async fn without_keys_nothing_is_said_of_a_token_except_that_it_is_garbage() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    issuer.set_down(true);
    let server = server(&config(&issuer));
    let token = key.token(&issuer.claims());
    assert_eq!(subject(&server, &token).await, Err(TokenError::Unchecked));
    assert_eq!(
        subject(&server, "garbage").await,
        Err(Invalid::Malformed.into())
    );
    let long = format!("{token}{}", "A".repeat(16 * 1024));
    assert_eq!(subject(&server, &long).await, Err(Invalid::TooLong.into()));
    issuer.set_down(false);
    assert_eq!(subject(&server, &token).await, good());
}

#[tokio::test]
async fn a_token_that_was_kept_expires_all_the_same() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let server = server(&config(&issuer));
    let mut claims = issuer.claims();
    claims["exp"] = json!(now() + 1 - jwt::LEEWAY);
    let token = key.token(&claims);
    drop(subject(&server, &token).await);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(subject(&server, &token).await, Err(Invalid::Expired.into()));
}

#[tokio::test]
async fn revocation_is_found_out_when_the_last_answer_is_old() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let server = server(&introspected(&issuer, 1, true));
    let token = key.token(&issuer.claims());
    assert_eq!(subject(&server, &token).await, good());
    issuer.answer("/introspect", Answer::Json(200, json!({ "active": false })));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(subject(&server, &token).await, Err(Invalid::Revoked.into()));
    // A token that is no good is not told to anybody.
    let asked = issuer.seen("/introspect").len();
    let mut claims = issuer.claims();
    claims["aud"] = json!("other");
    drop(subject(&server, &key.token(&claims)).await);
    assert_eq!(issuer.seen("/introspect").len(), asked);
}

#[tokio::test]
async fn introspection_fails_open_or_closed_and_never_when_it_is_misconfigured() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let token = key.token(&issuer.claims());
    let unchecked = || Err(TokenError::Unchecked);
    for (status, open, closed) in [(503, good(), unchecked()), (401, unchecked(), unchecked())] {
        issuer.answer("/introspect", Answer::Json(status, Value::Null));
        for (fail_open, expected) in [(true, &open), (false, &closed)] {
            let server = server(&introspected(&issuer, 60, fail_open));
            for _ in 0..2 {
                assert_eq!(&subject(&server, &token).await, expected, "{status}");
            }
        }
    }
}

#[tokio::test]
async fn many_requests_with_one_token_verify_it_once() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let server = Arc::new(server(&introspected(&issuer, 60, true)));
    let token = key.token(&issuer.claims());
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (server, token) = (Arc::clone(&server), token.clone());
        requests.spawn(async move { subject(&server, &token).await });
    }
    assert!(
        requests
            .join_all()
            .await
            .into_iter()
            .all(|got| got == good())
    );
    assert_eq!(issuer.seen("/introspect").len(), 1);
}
