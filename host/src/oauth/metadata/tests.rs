use cortex_test_issuer::{Answer, FakeIssuer};
use serde_json::{Value, json};

use super::*;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

fn client() -> Client {
    Client::new().expect("a client")
}

fn metadata(issuer: &str, keys: &str) -> Answer {
    Answer::Json(200, json!({ "issuer": issuer, "jwks_uri": keys }))
}

#[test]
fn well_known_parts_go_before_the_path_and_then_after_it() {
    let texts = |issuer: &str| {
        let places = places(issuer).expect("places");
        let mut texts: Vec<_> = places.metadata.iter().map(Url::to_string).collect();
        texts.push(places.keys.to_string());
        texts
    };
    assert_eq!(
        texts("https://a.example/tenant/one"),
        [
            "https://a.example/.well-known/oauth-authorization-server/tenant/one",
            "https://a.example/.well-known/openid-configuration/tenant/one",
            "https://a.example/tenant/one/.well-known/openid-configuration",
            "https://a.example/tenant/one/.well-known/jwks.json",
        ]
    );
    for issuer in ["https://a.example:8443", "https://a.example:8443/"] {
        assert_eq!(
            texts(issuer),
            [
                "https://a.example:8443/.well-known/oauth-authorization-server",
                "https://a.example:8443/.well-known/openid-configuration",
                "https://a.example:8443/.well-known/jwks.json",
            ]
        );
    }
}

#[tokio::test]
async fn the_first_metadata_that_is_there_is_used() {
    let server = FakeIssuer::start(&[]).await;
    let issuer = format!("{}/tenant", server.url());
    let keys = |name: &str| format!("{}/{name}", server.url());
    let found = async || {
        let found = discover(&client(), &issuer).await;
        found
            .map(|url| url.path().to_owned())
            .map_err(|e| e.to_string())
    };
    // Nothing but the usual place.
    assert_eq!(
        found().await.as_deref(),
        Ok("/tenant/.well-known/jwks.json")
    );
    let after = format!("/tenant{OPENID}");
    server.answer(&after, metadata(&issuer, &keys("third")));
    assert_eq!(found().await.as_deref(), Ok("/third"));
    let before = format!("{OPENID}/tenant");
    server.answer(&before, metadata(&issuer, &keys("second")));
    assert_eq!(found().await.as_deref(), Ok("/second"));
    let first = format!("{OAUTH}/tenant");
    server.answer(&first, Answer::Raw(200, "<html>".to_owned()));
    assert_eq!(found().await.as_deref(), Ok("/second"));
    server.answer(&first, metadata(&issuer, &keys("first")));
    assert_eq!(found().await.as_deref(), Ok("/first"));
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_used_and_not_made_up_for() {
    let server = FakeIssuer::start(&[]).await;
    let url = server.url();
    for other in [
        format!("{url}/"),
        "https://evil.example".to_owned(),
        String::new(),
    ] {
        server.answer(OAUTH, metadata(&other, &format!("{url}/keys")));
        let refused = discover(&client(), &url).await;
        assert!(
            matches!(refused, Err(DiscoveryError::OtherIssuer { .. })),
            "{refused:?}"
        );
    }
    // Other metadata that is right is.
    server.answer(OPENID, metadata(&url, &format!("{url}/right")));
    let found = discover(&client(), &url).await.expect("found");
    assert_eq!(found.path(), "/right");
}

#[tokio::test]
async fn keys_are_not_taken_from_anywhere() {
    let server = FakeIssuer::start(&[]).await;
    let url = server.url();
    for keys in [
        json!("http://keys.example/jwks"),
        json!("file:///etc/jwks.json"),
        json!("/keys"),
        json!(""),
        Value::Null,
    ] {
        let document = json!({ "issuer": url, "jwks_uri": keys });
        server.answer(OAUTH, Answer::Json(200, document));
        let refused = discover(&client(), &url).await;
        assert!(
            matches!(refused, Err(DiscoveryError::NotNamed { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_is_said_to_be_down() {
    let server = FakeIssuer::start(&[]).await;
    server.set_down(true);
    let refused = discover(&client(), &server.url()).await;
    assert!(
        matches!(refused, Err(DiscoveryError::Unreachable(_))),
        "{refused:?}"
    );
}
