use std::sync::LazyLock;

use cortex_test_issuer::{Alg, Key, encode};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.com/tenant";

static RSA: LazyLock<Key> = LazyLock::new(|| Key::generate(Alg::Rs256, "rsa"));
static EC: LazyLock<Key> = LazyLock::new(|| Key::generate(Alg::Es256, "ec"));
static ED: LazyLock<Key> = LazyLock::new(|| Key::generate(Alg::EdDsa, "ed"));
static STRANGER: LazyLock<Key> = LazyLock::new(|| Key::generate(Alg::EdDsa, "ed"));

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "https://mcp.example.com/mcp",
        "sub": "user-1",
        "jti": "token-1",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "scope": "mcp:docs:read",
    })
}

/// The claims with one of them replaced; `null` takes it out.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn check(token: &str) -> Result<Verified, Invalid> {
    static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
        let keys = [RSA.jwk(), EC.jwk(), ED.jwk()];
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set")
    });
    let expected = Expected {
        issuer: ISSUER.to_owned(),
        audiences: vec![
            "api://cortex".to_owned(),
            "https://mcp.example.com/mcp".to_owned(),
        ],
    };
    verify(&parse(token)?, &KEYS, &expected, NOW)
}

#[track_caller]
fn refused(token: &str, why: Invalid) {
    assert_eq!(check(token).map(|v| v.token_id), Err(why));
}

#[test]
fn a_good_token_tells_who_is_calling() {
    let mut claims = claims();
    claims["client_id"] = json!("agent-7");
    claims["azp"] = json!("not-asked");
    claims["email"] = json!("ann@example.com");
    claims["name"] = json!("Ann");
    claims["pool"] = json!("blue");
    claims["metadata"] = json!({ "role": "editor", "more": [1] });
    let verified = check(&ED.token(&claims)).expect("good");
    assert_eq!(
        (verified.token_id.as_str(), verified.expires_at),
        ("token-1", NOW + 300)
    );
    let who = verified.principal;
    assert_eq!(
        (who.subject.as_str(), who.issuer.as_str()),
        ("user-1", ISSUER)
    );
    assert_eq!(who.client_id.as_deref(), Some("agent-7"));
    assert_eq!(who.email.as_deref(), Some("ann@example.com"));
    assert_eq!(who.name.as_deref(), Some("Ann"));
    assert_eq!(who.pool.as_deref(), Some("blue"));
    assert_eq!(who.role.as_deref(), Some("editor"));
    assert_eq!(who.scopes.to_string(), "mcp:docs:read");
    assert!(!who.dev_bypass);
}

#[test]
fn every_algorithm_is_verified() {
    for alg in Alg::ALL {
        let key = Key::generate(alg, "k");
        let keys = json!({ "keys": [key.jwk()] }).to_string();
        let keys = KeySet::parse(keys.as_bytes()).expect("a set");
        let expected = Expected {
            issuer: ISSUER.to_owned(),
            audiences: vec!["https://mcp.example.com/mcp".to_owned()],
        };
        let token = key.token(&claims());
        let parts = parse(&token).expect("a token");
        assert!(verify(&parts, &keys, &expected, NOW).is_ok(), "{alg:?}");
        let other = Key::generate(alg, "k").token(&claims());
        let parts = parse(&other).expect("a token");
        let outcome = verify(&parts, &keys, &expected, NOW).map(drop);
        assert_eq!(outcome, Err(Invalid::Signature), "{alg:?}");
    }
}

#[test]
fn claims_that_are_as_good() {
    for claims in [
        with("aud", json!(["other", "api://cortex"])),
        with("aud", json!("api://cortex")),
        with("exp", json!(NOW - 59)),
        with("exp", json!(NOW as f64 + 0.5)),
        with("exp", json!(u64::MAX)),
        with("exp", json!(1e300)),
        with("nbf", json!(NOW + 60)),
        with("iat", json!(NOW + 60)),
        with("iat", Value::Null),
        with("email", json!(7)),
        with("metadata", json!("editor")),
        with("scope", Value::Null),
        with("scope", json!("")),
    ] {
        assert!(check(&ED.token(&claims)).is_ok(), "{claims}");
    }
    for header in [
        json!({ "alg": "EdDSA", "kid": "ed" }),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" }),
        json!({ "alg": "EdDSA", "kid": "ed", "typ": "application/at+jwt" }),
        json!({ "alg": "EdDSA", "kid": "ed", "typ": "AT+JWT", "x5t": "ignored" }),
    ] {
        let token = ED.sign(&header.to_string(), &claims().to_string());
        assert!(check(&token).is_ok(), "{header}");
    }
}

#[test]
fn claims_that_are_not() {
    use Invalid::*;
    for (name, value, why) in [
        ("iss", Value::Null, Missing("iss")),
        ("iss", json!("https://login.example.com"), Issuer),
        ("iss", json!("https://login.example.com/tenant/"), Issuer),
        ("iss", json!("HTTPS://login.example.com/tenant"), Issuer),
        ("iss", json!([ISSUER]), Unusable("iss")),
        ("aud", Value::Null, Missing("aud")),
        ("aud", json!("https://mcp.example.com"), Audience),
        ("aud", json!("https://mcp.example.com/mcp/"), Audience),
        ("aud", json!(["other"]), Audience),
        ("aud", json!([]), Audience),
        ("aud", json!(""), Audience),
        ("aud", json!(["api://cortex", 7]), Unusable("aud")),
        ("aud", json!({ "aud": "api://cortex" }), Unusable("aud")),
        ("aud", json!(true), Unusable("aud")),
        ("exp", Value::Null, Missing("exp")),
        ("exp", json!(NOW - 60), Expired),
        ("exp", json!(0), Expired),
        ("exp", json!(-1), Unusable("exp")),
        ("exp", json!("2030-01-01"), Unusable("exp")),
        ("exp", json!((NOW + 300).to_string()), Unusable("exp")),
        ("nbf", json!(NOW + 61), NotYet),
        ("nbf", json!("now"), Unusable("nbf")),
        ("iat", json!(NOW + 61), FromTheFuture),
        ("iat", json!([NOW]), Unusable("iat")),
        ("sub", Value::Null, Missing("sub")),
        ("sub", json!(""), Unusable("sub")),
        ("sub", json!(1), Unusable("sub")),
        ("jti", Value::Null, Missing("jti")),
        ("jti", json!(""), Unusable("jti")),
        ("jti", json!({}), Unusable("jti")),
        ("scope", json!(["mcp:docs:read"]), Unusable("scope")),
        ("scope", json!(7), Unusable("scope")),
    ] {
        let claims = with(name, value);
        assert_eq!(
            check(&ED.token(&claims)).map(|v| v.token_id),
            Err(why),
            "{claims}"
        );
    }
}

#[test]
fn scopes_come_in_three_forms() {
    for (scope, scp, expected) in [
        (json!("b a"), Value::Null, "a b"),
        (Value::Null, json!(["b", "a"]), "a b"),
        (Value::Null, json!("b a"), "a b"),
        (json!("a"), json!(["b"]), "a"),
        (json!("a  b\u{e9} c\"d"), Value::Null, "a"),
        (Value::Null, json!(["a b", "c"]), "c"),
        (Value::Null, Value::Null, ""),
    ] {
        let mut claims = with("scope", scope);
        if !scp.is_null() {
            claims["scp"] = scp;
        }
        let verified = check(&ED.token(&claims)).expect("good");
        assert_eq!(verified.principal.scopes.to_string(), expected, "{claims}");
    }
    let mut claims = with("scope", Value::Null);
    claims["scp"] = json!([1]);
    refused(&ED.token(&claims), Invalid::Unusable("scp"));
}

/// Headers over claims that are good, signed with the Ed25519 key all the same.
#[test]
fn headers_that_lie() {
    use Invalid::*;
    for (header, why) in [
        (json!({ "alg": "none", "kid": "ed" }), Algorithm),
        (json!({ "alg": "None", "kid": "ed" }), Algorithm),
        (json!({ "alg": "NONE", "kid": "ed" }), Algorithm),
        (json!({ "alg": "nOnE" }), Algorithm),
        (json!({ "alg": "" }), Algorithm),
        (json!({ "alg": null }), Algorithm),
        (json!({ "alg": ["EdDSA"] }), Algorithm),
        (json!({ "kid": "ed" }), Algorithm),
        (json!({ "alg": "HS256", "kid": "ed" }), Algorithm),
        (json!({ "alg": "HS512", "kid": "ed" }), Algorithm),
        (json!({ "alg": "RS384", "kid": "rsa" }), Algorithm),
        (json!({ "alg": "RS1", "kid": "rsa" }), Algorithm),
        (json!({ "alg": "ES512", "kid": "ec" }), Algorithm),
        (json!({ "alg": "ES256K", "kid": "ec" }), Algorithm),
        (json!({ "alg": "eddsa", "kid": "ed" }), Algorithm),
        (json!({ "alg": "EdDSA ", "kid": "ed" }), Algorithm),
        // The key of that name is of another type, or for another algorithm.
        (json!({ "alg": "EdDSA", "kid": "rsa" }), UnknownKey),
        (json!({ "alg": "RS256", "kid": "ed" }), UnknownKey),
        (json!({ "alg": "PS256", "kid": "rsa" }), UnknownKey),
        (json!({ "alg": "ES384", "kid": "ec" }), UnknownKey),
        (json!({ "alg": "RS256", "kid": "rsa" }), Signature),
        (json!({ "alg": "ES256", "kid": "ec" }), Signature),
        (json!({ "alg": "EdDSA", "kid": "other" }), UnknownKey),
        (json!({ "alg": "EdDSA", "kid": "" }), UnknownKey),
        (json!({ "alg": "EdDSA", "kid": "../ed" }), UnknownKey),
        (json!({ "alg": "EdDSA", "kid": "ed\u{0}" }), UnknownKey),
        (json!({ "alg": "EdDSA", "kid": 7 }), Malformed),
        (json!({ "alg": "EdDSA", "kid": ["ed"] }), Malformed),
        (json!({ "alg": "EdDSA", "kid": "ed", "crit": [] }), Critical),
        (
            json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false }),
            Critical,
        ),
        (
            json!({ "alg": "EdDSA", "kid": "ed", "typ": "logout+jwt" }),
            NotAnAccessToken,
        ),
        (
            json!({ "alg": "EdDSA", "kid": "ed", "typ": "dpop+jwt" }),
            NotAnAccessToken,
        ),
        (json!({ "alg": "EdDSA", "kid": "ed", "typ": 1 }), Malformed),
        (
            json!({ "alg": "EdDSA", "kid": "rsa", "jwk": ED.jwk() }),
            UnknownKey,
        ),
        (
            json!({ "alg": "EdDSA", "kid": "e", "jku": "http://127.0.0.1/keys" }),
            UnknownKey,
        ),
    ] {
        let token = ED.sign(&header.to_string(), &claims().to_string());
        assert_eq!(check(&token).map(|v| v.token_id), Err(why), "{header}");
    }
}

#[test]
fn the_public_key_is_no_secret_of_an_hmac() {
    use hmac::Mac as _;
    let header = json!({ "alg": "HS256", "kid": "rsa", "typ": "at+jwt" });
    let message = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims().to_string())
    );
    for secret in [RSA.jwk()["n"].to_string(), RSA.jwk().to_string()] {
        let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        let tag = mac.chain_update(&message).finalize().into_bytes();
        refused(&format!("{message}.{}", encode(tag)), Invalid::Algorithm);
    }
}

#[test]
fn what_is_signed_is_what_is_read() {
    let token = ED.token(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts")
    };
    let admin = encode(with("sub", json!("admin")).to_string());
    refused(&format!("{header}.{admin}.{signature}"), Invalid::Signature);
    refused(&format!("{header}.{body}."), Invalid::Signature);
    refused(&format!("{header}.{body}.AAAA"), Invalid::Signature);
    refused(&format!("{header}.{body}.{signature}A"), Invalid::Signature);
    refused(
        &format!("{header}.{body}.{signature}=="),
        Invalid::Signature,
    );
    refused(&format!("{header}.{body}.!"), Invalid::Signature);
    refused(&STRANGER.token(&claims()), Invalid::Signature);
    let none = encode(r#"{"alg":"none"}"#);
    refused(&format!("{none}.{body}."), Invalid::Algorithm);
}

#[test]
fn garbage_is_malformed() {
    let token = ED.token(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts")
    };
    for garbage in [
        String::new(),
        "a".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        "....".to_owned(),
        format!("{header}.{body}"),
        format!("{header}.{body}.{signature}.{signature}"),
        format!("{header}.{body}.{signature}.x.y"),
        format!("{header}=.{body}.{signature}"),
        format!("{header}\n.{body}.{signature}"),
        format!(".{body}.{signature}"),
        format!("{}.{body}.{signature}", encode("[]")),
        format!("{}.{body}.{signature}", encode("\"EdDSA\"")),
        format!("{}.{body}.{signature}", encode([0xff, 0xfe])),
        format!("{}.{body}.{signature}", encode("[".repeat(2_000))),
    ] {
        refused(&garbage, Invalid::Malformed);
    }
    // Signed garbage.
    let usual = ED.header().to_string();
    for claims in ["", "null", "[]", "{", "{}x", "\u{feff}{}"] {
        refused(&ED.sign(&usual, claims), Invalid::Malformed);
    }
    refused(&ED.sign(&usual, "{}"), Invalid::Missing("iss"));
}

#[test]
fn a_member_that_is_there_twice_is_refused() {
    let good = claims().to_string();
    let twice = |more: &str| format!("{},{more}}}", good.trim_end_matches('}'));
    let usual = ED.header().to_string();
    for more in [
        r#""sub":"admin""#,
        r#""sub":"user-1""#,
        r#""s\u0075b":"admin""#,
        r#""exp":9999999999"#,
        r#""metadata":{"role":"user","role":"admin"}"#,
    ] {
        refused(&ED.sign(&usual, &twice(more)), Invalid::Malformed);
    }
    let header = r#"{"alg":"EdDSA","kid":"ed","alg":"none"}"#;
    refused(&ED.sign(header, &good), Invalid::Malformed);
    let header = r#"{"alg":"none","kid":"ed","alg":"EdDSA"}"#;
    refused(&ED.sign(header, &good), Invalid::Malformed);
}

#[test]
fn no_description_can_break_out_of_a_challenge() {
    use Invalid::*;
    for why in [
        TooLong,
        Malformed,
        NotAnAccessToken,
        Algorithm,
        Critical,
        UnknownKey,
        Signature,
        Missing("exp"),
        Unusable("aud"),
        Issuer,
        Audience,
        Expired,
        NotYet,
        FromTheFuture,
        Revoked,
    ] {
        // RFC 6750 §3.
        let text = why.to_string();
        let good = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(text.bytes().all(good), "{text}");
    }
}
