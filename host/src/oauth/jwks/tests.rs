use cortex_test_issuer::{Alg, Answer, FakeIssuer, Key};
use futures_util::FutureExt as _;
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;

const PATIENT: Times = Times {
    fresh: Duration::from_secs(600),
    usable: Duration::from_secs(3_600),
    pause: Duration::from_secs(600),
    retry: Duration::from_secs(600),
};

fn keys(issuer: &FakeIssuer, times: Times) -> Arc<Keys> {
    let client = Client::new().expect("a client");
    let url = Url::parse(&format!("{}/keys", issuer.url())).expect("a URL");
    Arc::new(Keys::new(client, &issuer.url(), Some(url), times))
}

fn has(held: &Held, kid: &str) -> bool {
    held.keys.choose(Algorithm::EdDSA, Some(kid)).is_some()
}

fn key(kid: &str) -> Key {
    Key::generate(Alg::EdDsa, kid)
}

async fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn many_that_wait_make_one_fetch() {
    let issuer = FakeIssuer::start(&[&key("a")]).await;
    let keys = keys(&issuer, PATIENT);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let keys = Arc::clone(&keys);
        waiting.spawn(async move { keys.get().await.is_some() });
    }
    assert!(waiting.join_all().await.into_iter().all(|got| got));
    assert_eq!(issuer.seen("/keys").len(), 1);
}

#[tokio::test]
async fn requests_do_not_make_more_fetches_than_they_may() {
    let issuer = FakeIssuer::start(&[&key("a")]).await;
    let times = Times {
        pause: Duration::from_millis(300),
        ..PATIENT
    };
    let keys = keys(&issuer, times);
    let first = keys.get().await.expect("keys");
    issuer.publish(&[&key("b")]);
    for _ in 0..20 {
        let held = keys.fetch_for_request().await.expect("keys");
        assert!(has(&held, "a"), "too soon");
    }
    sleep(times.pause).await;
    let second = keys.fetch_for_request().await.expect("keys");
    assert!(has(&second, "b") && !has(&second, "a"));
    assert!(second.generation > first.generation);
    assert_eq!(issuer.seen("/keys").len(), 2);

    // Fetched again and the same: what was verified with it stays verified.
    sleep(times.pause).await;
    let third = keys.fetch_for_request().await.expect("keys");
    assert_eq!(third.generation, second.generation);
    assert_eq!(issuer.seen("/keys").len(), 3);
}

#[tokio::test]
async fn a_request_that_goes_away_does_not_take_the_fetch_with_it() {
    let issuer = FakeIssuer::start(&[&key("a")]).await;
    let keys = keys(&issuer, PATIENT);
    assert!(keys.get().now_or_never().is_none(), "given up at once");
    eventually(|| keys.held().is_some()).await;
}

#[tokio::test]
async fn old_keys_are_replaced_in_the_background() {
    let issuer = FakeIssuer::start(&[&key("a")]).await;
    let times = Times {
        fresh: Duration::from_millis(50),
        ..PATIENT
    };
    let keys = keys(&issuer, times);
    let background = Arc::clone(&keys);
    let background = tokio::spawn(async move { background.keep_fresh().await });
    eventually(|| keys.held().is_some_and(|held| has(&held, "a"))).await;
    issuer.publish(&[&key("b")]);
    eventually(|| keys.held().is_some_and(|held| has(&held, "b"))).await;

    // The issuer may say how long; what it says is bounded.
    let document = json!({ "keys": [key("c").jwk()] });
    issuer.answer("/keys", Answer::Cached("public, max-age=1", document));
    eventually(|| keys.held().is_some_and(|held| has(&held, "c"))).await;
    let left = keys.left().expect("fresh");
    assert!(left > Duration::from_secs(50), "{left:?}");
    background.abort();
}

#[tokio::test]
async fn an_outage_is_survived_for_a_while() {
    let issuer = FakeIssuer::start(&[&key("a")]).await;
    let times = Times {
        fresh: Duration::from_millis(20),
        usable: Duration::from_millis(1_500),
        pause: Duration::ZERO,
        retry: Duration::from_millis(20),
    };
    let keys = keys(&issuer, times);
    let background = Arc::clone(&keys);
    let background = tokio::spawn(async move { background.keep_fresh().await });
    eventually(|| keys.held().is_some()).await;
    let lies = [
        Answer::Json(500, json!({})),
        Answer::Json(200, json!({ "error": "sorry" })),
        Answer::Raw(200, "<html>".to_owned()),
        Answer::Raw(200, "[".repeat(300 * 1024)),
        Answer::Json(302, json!({})),
    ];
    for lie in lies {
        issuer.answer("/keys", lie);
        let before = issuer.seen("/keys").len();
        eventually(|| issuer.seen("/keys").len() > before + 1).await;
        assert!(keys.held().is_some_and(|held| has(&held, "a")));
    }
    issuer.set_down(true);
    eventually(|| keys.held().is_none()).await;
    assert!(keys.get().await.is_none());
    issuer.set_down(false);
    issuer.publish(&[&key("a")]);
    eventually(|| keys.held().is_some()).await;
    background.abort();
}

#[tokio::test]
async fn an_empty_set_is_the_issuers_word() {
    let issuer = FakeIssuer::start(&[&key("a")]).await;
    let times = Times {
        pause: Duration::ZERO,
        ..PATIENT
    };
    let keys = keys(&issuer, times);
    let first = keys.get().await.expect("keys");
    issuer.publish(&[]);
    let held = keys.fetch_for_request().await.expect("a set");
    assert!(held.keys.is_empty() && held.generation > first.generation);
}
