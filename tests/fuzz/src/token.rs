//! The token verifier: nobody without the key gets in, and with the key only tokens that say what
//! they must.
//!
//! The key is the same in every run, so that what is found can be repeated. Input that begins
//! with `{` is a header and, after a line break, claims, which are signed as they are; any other
//! input is a token.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cortex_gateway::oauth::fuzzing::Verifier;
use serde_json::{Value, json};

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";
const NOW: u64 = 1_800_000_000;
const LEEWAY: f64 = 60.0;

struct World {
    key: Ed25519KeyPair,
    verifier: Verifier,
    /// The one good token there is.
    good: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    // Of other kinds, too, so that confusing them could be noticed.
    let keys = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x },
        { "kty": "oct", "kid": "k2", "k": x },
        { "kty": "EC", "crv": "P-256", "kid": "k1",
          "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" },
    ] });
    let verifier = Verifier::new(keys.to_string().as_bytes(), ISSUER, AUDIENCE).expect("a key set");
    let header = json!({ "alg": "EdDSA", "kid": "k1", "typ": "at+jwt" });
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "jti": "t1", "exp": NOW + 600, "scope": "a b",
    });
    let good = sign(
        &key,
        header.to_string().as_bytes(),
        claims.to_string().as_bytes(),
    );
    assert!(
        verifier.verify(&good, NOW).is_ok(),
        "the good token is good"
    );
    World {
        key,
        verifier,
        good,
    }
});

fn sign(key: &Ed25519KeyPair, header: &[u8], claims: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Verifies these bytes as a token, or signs them and verifies that.
pub fn check(bytes: &[u8]) {
    match bytes.first() {
        Some(b'{') => signed(bytes),
        _ => forged(bytes),
    }
}

/// Whatever is not signed by us is refused, above all what nearly is.
fn forged(bytes: &[u8]) {
    let world = &*WORLD;
    if let Ok(text) = std::str::from_utf8(bytes)
        && text != world.good
    {
        assert!(
            world.verifier.verify(text, NOW).is_err(),
            "a forged token: {text}"
        );
    }
    // The good token with some of its bytes changed: place, value, place, value, …
    let mut changed = world.good.clone().into_bytes();
    for edit in bytes.chunks_exact(2) {
        let place = usize::from(edit[0]) * changed.len() / 256;
        changed[place] = edit[1];
    }
    if changed != world.good.as_bytes()
        && let Ok(text) = std::str::from_utf8(&changed)
    {
        assert!(
            world.verifier.verify(text, NOW).is_err(),
            "a changed token: {text}"
        );
    }
}

/// What is signed by us is accepted only if it says what a token must.
fn signed(bytes: &[u8]) {
    let world = &*WORLD;
    let mut lines = bytes.splitn(2, |b| *b == b'\n');
    let (header, claims) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let token = sign(&world.key, header, claims);
    let Ok(verified) = world.verifier.verify(&token, NOW) else {
        return;
    };
    let header: Value = serde_json::from_slice(header).expect("a header is JSON");
    let claims: Value = serde_json::from_slice(claims).expect("claims are JSON");
    assert_eq!(header["alg"], "EdDSA");
    assert!(header["kid"].is_null() || header["kid"] == "k1", "{header}");
    assert!(header.get("crit").is_none());
    assert_eq!(claims["iss"], ISSUER);
    let listed = claims["aud"]
        .as_array()
        .is_some_and(|all| all.contains(&json!(AUDIENCE)));
    assert!(claims["aud"] == AUDIENCE || listed, "{claims}");
    let now = NOW as f64;
    assert!(
        claims["exp"].as_f64().expect("a time") + LEEWAY > now,
        "{claims}"
    );
    for earlier in ["nbf", "iat"] {
        assert!(
            claims
                .get(earlier)
                .is_none_or(|time| time.as_f64().expect("a time") < now + LEEWAY + 1.0),
            "{claims}"
        );
    }
    assert_eq!(claims["sub"], verified.principal.subject.as_str());
    assert_eq!(claims["jti"], verified.token_id);
    assert!(!verified.token_id.is_empty() && !verified.principal.subject.as_str().is_empty());
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let listed = claims["scp"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let said: Vec<String> = format!("{} {}", text("scope"), text("scp"))
        .split(' ')
        .chain(listed)
        .map(str::to_owned)
        .collect();
    for scope in verified.principal.scopes.iter() {
        assert!(
            said.iter().any(|said| said == scope.as_str()),
            "a scope from nowhere: {scope}"
        );
    }
}
