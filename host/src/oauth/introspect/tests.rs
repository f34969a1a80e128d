use cortex_test_issuer::{Answer, FakeIssuer};
use serde_json::json;
use url::Url;

use super::*;

fn introspection(issuer: &FakeIssuer, client: Option<(&str, &str)>) -> Introspection {
    let config = IntrospectionConfig {
        url: Url::parse(&format!("{}/introspect", issuer.url())).expect("a URL"),
        client: client.map(|(id, secret)| (id.to_owned(), Secret::new(secret.to_owned()))),
        ttl_seconds: 60,
        fail_open: true,
    };
    Introspection::new(Client::new().expect("a client"), config)
}

#[tokio::test]
async fn the_question_is_a_form_with_the_gateways_own_credentials() {
    let issuer = FakeIssuer::start(&[]).await;
    let asked = introspection(&issuer, Some(("gate way", "s:e/c")));
    assert_eq!(
        asked.ask(&Secret::new("a.b+c/=".to_owned())).await,
        State::Active
    );
    let seen = issuer.seen("/introspect").remove(0);
    assert_eq!(
        seen.body,
        "token=a.b%2Bc%2F%3D&token_type_hint=access_token"
    );
    let expected = format!("Basic {}", STANDARD.encode("gate+way:s%3Ae%2Fc"));
    assert_eq!(seen.headers[AUTHORIZATION], expected);
    assert_eq!(
        seen.headers[CONTENT_TYPE],
        "application/x-www-form-urlencoded"
    );

    let nameless = introspection(&issuer, None);
    nameless.ask(&Secret::new("a".to_owned())).await;
    assert!(
        !issuer.seen("/introspect")[1]
            .headers
            .contains_key(AUTHORIZATION)
    );
}

#[tokio::test]
async fn answers_mean_what_rfc_7662_says() {
    let issuer = FakeIssuer::start(&[]).await;
    let json = |status, value| Answer::Json(status, value);
    for (answer, state) in [
        (
            json(200, json!({ "active": true, "sub": "x" })),
            State::Active,
        ),
        (json(200, json!({ "active": false })), State::Inactive),
        (json(200, json!({ "active": "true" })), State::Unanswered),
        (json(200, json!({ "active": 1 })), State::Unanswered),
        (json(200, json!({})), State::Unanswered),
        (Answer::Raw(200, "<html>".to_owned()), State::Unanswered),
        (json(401, json!({})), State::Misconfigured),
        (json(403, json!({ "active": true })), State::Misconfigured),
        (json(404, json!({})), State::Misconfigured),
        (json(302, json!({ "active": true })), State::Misconfigured),
        (json(429, json!({})), State::Unanswered),
        (json(500, json!({ "active": true })), State::Unanswered),
        (json(503, json!({})), State::Unanswered),
        (Answer::Hang, State::Unanswered),
    ] {
        issuer.answer("/introspect", answer.clone());
        let asked = introspection(&issuer, None);
        let said = asked.ask(&Secret::new("a".to_owned())).await;
        assert_eq!(said, state, "{answer:?}");
    }
    issuer.set_down(true);
    let asked = introspection(&issuer, None);
    let said = asked.ask(&Secret::new("a".to_owned())).await;
    assert_eq!(said, State::Unanswered);
}

#[tokio::test]
async fn an_endpoint_that_does_not_work_is_left_alone_for_a_while() {
    let issuer = FakeIssuer::start(&[]).await;
    for (n, (status, state)) in [(503, State::Unanswered), (401, State::Misconfigured)]
        .into_iter()
        .enumerate()
    {
        issuer.answer("/introspect", Answer::Json(status, json!({})));
        let asked = introspection(&issuer, None);
        for _ in 0..5 {
            assert_eq!(asked.ask(&Secret::new("a".to_owned())).await, state);
        }
        assert_eq!(issuer.seen("/introspect").len(), n + 1);
    }
}
