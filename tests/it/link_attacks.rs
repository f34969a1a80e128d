//! What others may try while accounts are linked: none of it binds an account to the wrong person, sends
//! the gateway where it must not go, or keeps it waiting for ever.

use cortex_tests::provider::Instead;
use cortex_tests::{Browser, Page};
use http::StatusCode;
use serde_json::{Value, json};

use crate::linking::{Stand, asked_to_open};

/// The way to the provider of a browser that begins to link: where the provider would send it back to.
async fn way_back(stand: &Stand, browser: &mut Browser) -> String {
    let page = stand.connections(browser).await;
    let start = page.attribute("href", "/api/link/notes/start");
    let callback = stand.at("/api/link/notes/callback");
    let stop = |url: &url::Url| url.as_str().starts_with(&callback);
    let back = browser.go(&stand.at(&start), stop).await;
    back.url.into()
}

fn is_refused(page: &Page, status: StatusCode, said: &str) {
    assert_eq!(page.reply.status, status, "{}", page.text());
    assert!(page.text().contains(said), "no `{said}` in {}", page.text());
    assert!(
        page.text().contains("Nothing was linked"),
        "{}",
        page.text()
    );
}

/// Nobody's account came to anybody.
async fn is_unlinked(stand: &Stand, user: &str) {
    drop(asked_to_open(&stand.whose(user).await));
}

#[tokio::test]
async fn a_link_that_is_mailed_to_somebody_binds_nobody() {
    let stand = Stand::start().await;
    // Eve mails the URL that her MCP client was told to open: Ada is signed in as Ada.
    let url = asked_to_open(&stand.whose("eve").await);
    let mut ada = stand.browser("ada");
    let page = ada.get(&url).await;
    is_refused(&page, StatusCode::FORBIDDEN, "made for somebody else");

    // Eve mails the provider's URL, or the one that it sends back to: Ada's browser began nothing.
    let mut eve = stand.browser("eve");
    let back = way_back(&stand, &mut eve).await;
    for mut victim in [stand.browser("ada"), Browser::new()] {
        drop(stand.connections(&mut victim).await);
        let page = victim.get(&back).await;
        is_refused(&page, StatusCode::FORBIDDEN, "another browser");
    }
    is_unlinked(&stand, "ada").await;
    is_unlinked(&stand, "eve").await;
}

#[tokio::test]
async fn whoever_ends_it_is_who_began_it() {
    let stand = Stand::start().await;
    let mut browser = stand.browser("ada");
    let back = way_back(&stand, &mut browser).await;
    // The same browser, but somebody else has signed in meanwhile.
    let mut browser = browser.knows(&stand.issuer.url(), "eve");
    drop(stand.connections(&mut browser).await);
    let page = browser.get(&back).await;
    is_refused(&page, StatusCode::FORBIDDEN, "somebody else");
    is_unlinked(&stand, "ada").await;
    is_unlinked(&stand, "eve").await;
}

#[tokio::test]
async fn states_are_not_swapped_forged_or_used_twice() {
    let stand = Stand::start().await;
    let (mut ada, mut eve) = (stand.browser("ada"), stand.browser("eve"));
    let (to_ada, to_eve) = (
        way_back(&stand, &mut ada).await,
        way_back(&stand, &mut eve).await,
    );
    let state = |url: &str| {
        let url = url::Url::parse(url).expect("a URL");
        let found = url.query_pairs().find(|(name, _)| name == "state");
        found.expect("a state").1.into_owned()
    };
    // Eve's code with Ada's state, and the other way round.
    let swapped = to_eve.replace(&state(&to_eve), &state(&to_ada));
    is_refused(
        &eve.get(&swapped).await,
        StatusCode::FORBIDDEN,
        "another browser",
    );
    is_refused(
        &ada.get(&swapped).await,
        StatusCode::BAD_REQUEST,
        "invalid_grant",
    );
    // That was Ada's one time.
    is_refused(
        &ada.get(&to_ada).await,
        StatusCode::FORBIDDEN,
        "another browser",
    );

    let to_ada = way_back(&stand, &mut ada).await;
    let mut forged = state(&to_ada);
    forged.replace_range(20..21, if &forged[20..21] == "A" { "B" } else { "A" });
    for query in [
        format!("code=x&state={forged}"),
        "code=x&state=nonsense".to_owned(),
        "code=x".to_owned(),
        format!("code=x&state={0}&state={0}", state(&to_ada)),
        String::new(),
    ] {
        let page = ada
            .get(&stand.at(&format!("/api/link/notes/callback?{query}")))
            .await;
        is_refused(&page, StatusCode::FORBIDDEN, "nothing that was begun");
    }
    // Those took Ada's cookie away: whoever has been lured there begins again.
    let mut ada = stand.browser("ada");
    let to_ada = way_back(&stand, &mut ada).await;
    let copy = ada.clone();
    assert_eq!(ada.get(&to_ada).await.reply.status, StatusCode::OK);
    // A copy of her browser, cookies and all.
    let mut copy = copy;
    is_refused(
        &copy.get(&to_ada).await,
        StatusCode::BAD_REQUEST,
        "done already",
    );
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
}

#[tokio::test]
async fn an_answer_of_another_authorization_server_is_none() {
    let stand = Stand::start().await;
    for iss in ["https://evil.example", ""] {
        stand
            .notes
            .manners(|manners| manners.iss = Some(iss.to_owned()));
        let mut browser = stand.browser("ada");
        let page = stand.connections(&mut browser).await;
        let start = page.attribute("href", "/api/link/notes/start");
        let page = browser.get(&stand.at(&start)).await;
        is_refused(
            &page,
            StatusCode::BAD_REQUEST,
            "another authorization server",
        );
        assert!(!page.text().contains("evil.example"));
    }
    stand.notes.manners(|manners| manners.iss = None);
    let mut browser = stand.browser("ada");
    let back = way_back(&stand, &mut browser).await;
    let without: Vec<&str> = back
        .split('&')
        .filter(|part| !part.starts_with("iss="))
        .collect();
    let page = browser.get(&without.join("&")).await;
    is_refused(&page, StatusCode::BAD_REQUEST, "lacks `iss`");
    is_unlinked(&stand, "ada").await;
}

#[tokio::test]
async fn other_sites_begin_and_change_nothing() {
    let stand = Stand::start().await;
    let mut ada = stand.link("ada").await;
    // A link on another site: the person is asked first.
    let page = ada.get(&stand.at("/api/link/notes/start")).await;
    assert!(
        page.text().contains("Do you want to link"),
        "{}",
        page.text()
    );
    assert_eq!(page.url.path(), "/api/link/notes/start");
    for word in ["", "nonsense"] {
        let page = ada
            .get(&stand.at(&format!("/api/link/notes/start?word={word}")))
            .await;
        assert!(page.text().contains("Do you want to link"));
    }
    let page = ada
        .get(&stand.at("/api/link/notes/start?for=nonsense"))
        .await;
    is_refused(&page, StatusCode::FORBIDDEN, "nothing that was begun");

    // Forms of others, with a word that Eve was shown and with Ada's own.
    let mut eve = stand.browser("eve");
    let eves = stand.connections(&mut eve).await.word();
    let own = ada.get(&stand.at("/connections")).await.word();
    let unlink = stand.at("/api/link/notes/unlink");
    for (origin, word) in [
        ("https://evil.example", own.as_str()),
        ("null", &eves),
        ("null", ""),
        (&stand.base, &eves),
        (&stand.base, "nonsense"),
    ] {
        let told = ada.post_from(&unlink, origin, &[("word", word)]).await;
        assert_eq!(told.status, StatusCode::FORBIDDEN, "{origin} {word}");
    }
    let told = Browser::new()
        .post_from(&unlink, &stand.base, &[("word", &own)])
        .await;
    assert_eq!(told.status, StatusCode::FORBIDDEN);
    assert_eq!(stand.whose("ada").await.tool_text().0, "ada-at-notes");
    // And the right one.
    let page = ada.post(&unlink, &[("word", &own)]).await;
    assert!(page.text().contains("not linked"));
}

#[tokio::test]
async fn metadata_leads_nowhere_it_must_not() {
    let stand = Stand::start().await;
    let resource = "/.well-known/oauth-protected-resource/mcp";
    let elsewhere = json!({ "resource": "https://bank.example/mcp", "authorization_servers": [stand.notes.url()] });
    // What was found out is remembered: a gateway that starts anew finds out anew.
    let mut stand = stand;
    let mut hostile: Vec<(&str, Instead)> = [
        "https://169.254.169.254",
        "https://10.0.0.1",
        "https://[fd00::1]",
        "http://login.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ]
    .into_iter()
    .map(|url| {
        (
            resource,
            Instead::Json(
                200,
                json!({ "resource": stand.notes.mcp(), "authorization_servers": [url] }),
            ),
        )
    })
    .collect();
    hostile.push((resource, Instead::Json(200, elsewhere)));
    hostile.push((resource, Instead::Json(200, json!([]))));
    hostile.push((resource, Instead::Endless));
    hostile.push((resource, Instead::Huge));
    let server = "/.well-known/oauth-authorization-server";
    let other = json!({ "issuer": "https://bank.example", "authorization_endpoint": "https://bank.example/a", "token_endpoint": "https://bank.example/t", "code_challenge_methods_supported": ["S256"] });
    hostile.push((server, Instead::Json(200, other)));
    for (path, instead) in hostile {
        stand.notes.instead(path, instead.clone());
        stand = stand.restarted().await;
        let mut browser = stand.browser("ada");
        let page = stand.connections(&mut browser).await;
        let start = page.attribute("href", "/api/link/notes/start");
        let page = browser.get(&stand.at(&start)).await;
        is_refused(&page, StatusCode::BAD_GATEWAY, "cannot be used");
        assert!(
            page.url.as_str().starts_with(&stand.base),
            "{instead:?} led to {}",
            page.url
        );
        stand.notes.as_usual(path);
    }
}

#[tokio::test]
async fn endpoints_are_those_of_the_authorization_server() {
    let mut stand = Stand::start().await;
    for (name, value) in [
        (
            "authorization_endpoint",
            json!("javascript:alert(document.cookie)"),
        ),
        ("authorization_endpoint", json!("data:text/html,x")),
        ("authorization_endpoint", json!("https://169.254.169.254/a")),
        ("token_endpoint", json!("http://login.example/token")),
        ("token_endpoint", json!("https://10.0.0.1/token")),
        ("token_endpoint", Value::Null),
        ("code_challenge_methods_supported", json!(["plain"])),
        ("code_challenge_methods_supported", Value::Null),
    ] {
        let before = match name {
            "code_challenge_methods_supported" => json!(["S256"]),
            "token_endpoint" => json!(format!("{}/token", stand.notes.url())),
            _ => json!(format!("{}/authorize", stand.notes.url())),
        };
        stand.notes.metadata(name, value.clone());
        stand = stand.restarted().await;
        let mut browser = stand.browser("ada");
        let page = stand.connections(&mut browser).await;
        let start = page.attribute("href", "/api/link/notes/start");
        let page = browser.get(&stand.at(&start)).await;
        is_refused(&page, StatusCode::BAD_GATEWAY, "cannot be used");
        assert!(!page.text().contains("<script") && !page.text().contains("href=\"javascript"));
        stand.notes.metadata(name, before);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_never_ends_ends_nothing_else() {
    let stand = Stand::start().await;
    for instead in [
        Instead::Endless,
        Instead::Huge,
        Instead::Json(
            200,
            json!({ "access_token": "a\r\nx: y", "token_type": "Bearer" }),
        ),
        Instead::Json(200, json!({ "access_token": "a", "token_type": "mac" })),
        Instead::Json(500, json!({ "error": "<script>alert(1)</script>" })),
    ] {
        stand.notes.instead("/token", instead);
        let mut browser = stand.browser("ada");
        let back = way_back(&stand, &mut browser).await;
        let page = browser.get(&back).await;
        assert_ne!(page.reply.status, StatusCode::OK);
        assert!(page.text().contains("Nothing was linked") && !page.text().contains("<script"));
        // Everything else goes on.
        drop(asked_to_open(&stand.whose("bob").await));
    }
    stand.notes.as_usual("/token");
    stand.link("ada").await;
}

#[tokio::test]
async fn names_on_the_pages_are_text() {
    let stand = Stand::start().await;
    let mut browser = stand.browser("<b>ada</b>");
    let page = stand.connections(&mut browser).await;
    assert!(
        page.text().contains("&lt;b&gt;ada&lt;/b&gt;@example.com"),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("<b>ada"));
}
