use super::*;

fn egress(caller: bool, technical: bool) -> Egress {
    Egress {
        wire: Wire::Recorded(Arc::default()),
        home: Some(Home {
            origin: Url::parse("https://docs.example.com/base")
                .expect("a URL")
                .origin(),
            backend: "docs".parse().expect("an id"),
            exchanges: Arc::default(),
            last_url: Arc::default(),
        }),
        grants: Arc::new(grants()),
        meter: Arc::default(),
        timeout: Duration::from_secs(1),
        caller: caller.then(|| Secret::new("user-token".to_owned())),
        account: None,
        technical: technical.then(|| Secret::new("technical-token".to_owned())),
        anonymous: false,
        exchanges_left: 1,
        max_body: 1024,
    }
}

fn request(url: &str, headers: &[(&str, &str)], credential: Credential) -> Request {
    Request {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: headers
            .iter()
            .map(|(n, v)| Header {
                name: (*n).to_owned(),
                value: (*v).to_owned(),
            })
            .collect(),
        body: None,
        credential,
        timeout_ms: None,
    }
}

/// One other origin, and a secret for it.
fn grants() -> Grants {
    let text = r#"
        http = ["https://api.example.org"]
        [secrets.key]
        origin = "https://api.example.org"
        env = "KEY"
        header = "x-api-key"
    "#;
    let table = text.parse().expect("TOML");
    Grants::parse(table, |_| Ok(Secret::new("k3y".to_owned()))).expect("grants")
}

const GRANTED: &str = "https://api.example.org/v1";
const HOME: &str = "https://docs.example.com/api";

#[test]
fn the_callers_token_is_attached_by_the_host() {
    let sent = egress(true, false)
        .prepare(request(HOME, &[], Credential::Caller))
        .expect("sent");
    assert_eq!(sent.headers()["authorization"], "Bearer user-token");
    let sent = egress(true, true)
        .prepare(request(HOME, &[], Credential::None))
        .expect("sent");
    assert!(sent.headers().get("authorization").is_none());
}

#[test]
fn a_url_that_was_found_good_is_known_and_nothing_else_is() {
    let egress = egress(true, false);
    let sent = |url| egress.prepare(request(url, &[], Credential::Caller));
    let known = |url| egress.home.as_ref().and_then(|home| home.last_url.of(url));
    let with_fragment = "https://docs.example.com/api#part";
    for _ in 0..2 {
        let sent = sent(with_fragment).expect("sent");
        assert_eq!(sent.uri(), HOME);
        assert_eq!(sent.headers()["authorization"], "Bearer user-token");
        assert!(known(with_fragment).is_some() && known(HOME).is_none());
    }
    // Neither another origin, granted or not, nor what is no good URL takes its place.
    for url in [
        GRANTED,
        "https://evil.example",
        "https://a@docs.example.com/api",
    ] {
        assert!(sent(url).is_err(), "{url}");
        assert!(known(url).is_none() && known(with_fragment).is_some());
    }
}

#[test]
fn an_account_is_attached_at_its_own_backend_only() {
    let linked = Egress {
        account: Some(Secret::new("account-token".to_owned())),
        ..egress(false, false)
    };
    let prepare = |of: &Egress, id: &str| {
        let wanted = Credential::LinkedAccount(id.to_owned());
        of.prepare(request(HOME, &[], wanted))
    };
    let sent = prepare(&linked, "docs").expect("sent");
    assert_eq!(sent.headers()["authorization"], "Bearer account-token");
    let refused = prepare(&linked, "mail");
    assert!(matches!(refused, Err(HttpError::CredentialRefused(_))));
    // Without an account the backend is asked all the same: it may need none.
    let sent = prepare(&egress(true, true), "docs").expect("sent");
    assert!(sent.headers().get("authorization").is_none());
}

#[test]
fn a_backend_that_is_shown_no_tokens_is_asked_without() {
    let anonymous = Egress {
        anonymous: true,
        ..egress(true, true)
    };
    for wanted in [Credential::Caller, Credential::Technical] {
        let sent = anonymous.prepare(request(HOME, &[], wanted)).expect("sent");
        assert!(sent.headers().get("authorization").is_none());
    }
}

#[test]
fn no_credential_goes_where_it_does_not_belong() {
    for (caller, technical, wanted) in [
        (false, true, Credential::Caller),
        (true, false, Credential::Technical),
        (true, true, Credential::Secret("s".to_owned())),
        (true, true, Credential::LinkedAccount("github".to_owned())),
        (true, true, Credential::Other("x".to_owned())),
    ] {
        let result = egress(caller, technical).prepare(request(HOME, &[], wanted));
        assert!(
            matches!(result, Err(HttpError::CredentialRefused(_))),
            "{result:?}"
        );
    }
}

#[test]
fn only_the_backends_own_origin_is_reached() {
    for url in [
        "https://evil.example/api",
        "http://docs.example.com/api",
        "https://docs.example.com:8443/api",
        "https://docs.example.com.evil.example/",
        "https://DOCS.example.com.:443/api",
    ] {
        let result = egress(true, true).prepare(request(url, &[], Credential::Caller));
        assert!(
            matches!(result, Err(HttpError::OriginNotGranted(_))),
            "{url}: {result:?}"
        );
    }
    for url in [
        "https://DOCS.example.com:443/x#fragment",
        "https://docs.example.com/../y",
    ] {
        assert!(
            egress(true, true)
                .prepare(request(url, &[], Credential::Caller))
                .is_ok(),
            "{url}"
        );
    }
}

#[test]
fn what_was_granted_is_reached_with_its_own_secret_and_never_with_a_token() {
    let secret = |name: &str| Credential::Secret(name.to_owned());
    let prepare = |url: &str, wanted| {
        let forged = [("x-api-key", "mine")];
        egress(true, true).prepare(request(url, &forged, wanted))
    };
    let sent = prepare(GRANTED, secret("key")).expect("sent");
    let values: Vec<_> = sent.headers().get_all("x-api-key").iter().collect();
    assert_eq!(values, ["k3y"], "the plugin's own value is not beside it");
    assert!(sent.headers().get("authorization").is_none());
    assert!(prepare(GRANTED, Credential::None).is_ok());
    for (url, wanted) in [
        (GRANTED, Credential::Caller),
        (GRANTED, Credential::Technical),
        (GRANTED, Credential::LinkedAccount("docs".to_owned())),
        (GRANTED, secret("other")),
        (HOME, secret("key")),
    ] {
        let refused = prepare(url, wanted.clone());
        assert!(
            matches!(refused, Err(HttpError::CredentialRefused(_))),
            "{url} {wanted:?}: {refused:?}"
        );
    }
}

#[test]
fn requests_that_http_cannot_carry_are_refused() {
    for url in [
        "/api",
        "ftp://docs.example.com/",
        "https://user:pw@docs.example.com/",
        "https://",
        "data:,x",
    ] {
        let result = egress(true, true).prepare(request(url, &[], Credential::None));
        assert!(
            matches!(result, Err(HttpError::InvalidRequest(_))),
            "{url}: {result:?}"
        );
    }
    for (name, value) in [
        ("Authorization", "Bearer mine"),
        ("Proxy-Authorization", "x"),
        ("HOST", "evil.example"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("cookie", "a=b"),
        ("x-a", "one\r\nx-b: two"),
        ("x-a", "é"),
        ("x-a\r\nx-b", "y"),
        ("", "y"),
    ] {
        let result = egress(true, true).prepare(request(HOME, &[(name, value)], Credential::None));
        assert!(
            matches!(result, Err(HttpError::InvalidRequest(_))),
            "{name}: {result:?}"
        );
    }
    let mut connect = request(HOME, &[], Credential::None);
    connect.method = "CONNECT".to_owned();
    assert!(egress(true, true).prepare(connect).is_err());
}
