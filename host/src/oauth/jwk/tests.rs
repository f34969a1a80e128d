use cortex_test_issuer::{Alg, Key as TestKey, encode};
use serde_json::json;

use super::*;

const ALGS: [Algorithm; 5] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn set(keys: Vec<Value>) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set")
}

/// Which algorithms a key serves, alone in its set.
fn serves(jwk: Value) -> Vec<Algorithm> {
    let set = set(vec![jwk]);
    let served = ALGS.iter().filter(|alg| set.choose(**alg, None).is_some());
    served.copied().collect()
}

#[test]
fn a_key_serves_the_algorithms_of_its_type_and_no_other() {
    let without_alg = |alg| {
        let mut jwk = TestKey::generate(alg, "k").jwk();
        jwk.as_object_mut().expect("an object").remove("alg");
        jwk
    };
    use Algorithm::*;
    assert_eq!(serves(without_alg(Alg::Rs256)), [RS256, PS256]);
    assert_eq!(serves(without_alg(Alg::Es256)), [ES256]);
    assert_eq!(serves(without_alg(Alg::Es384)), [ES384]);
    assert_eq!(serves(without_alg(Alg::EdDsa)), [EdDSA]);
    for (test, alg) in Alg::ALL.into_iter().zip(ALGS) {
        assert_eq!(serves(TestKey::generate(test, "k").jwk()), [alg]);
    }
    let rsa = set(vec![without_alg(Alg::Rs256)]);
    for other in [HS256, HS384, HS512, RS384, RS512, PS384, PS512] {
        assert!(rsa.choose(other, None).is_none(), "{other:?}");
    }
}

#[test]
fn keys_for_something_else_are_left_out() {
    let rsa = TestKey::generate(Alg::Rs256, "k").jwk();
    let p256 = TestKey::generate(Alg::Es256, "k").jwk();
    let ed = TestKey::generate(Alg::EdDsa, "k").jwk();
    assert!(!serves(rsa.clone()).is_empty() && !serves(p256.clone()).is_empty());
    for (jwk, name, value) in [
        (&rsa, "use", json!("enc")),
        (&rsa, "key_ops", json!(["encrypt"])),
        (&rsa, "alg", json!("HS256")),
        (&rsa, "alg", json!("RSA-OAEP")),
        (&rsa, "alg", json!("none")),
        (&rsa, "kty", json!("oct")),
        (&rsa, "kty", json!("EC")),
        (&rsa, "crv", json!("P-256")),
        (&rsa, "n", json!(encode([0xff; 128]))),
        (&rsa, "n", json!(encode([0; 256]))),
        (&rsa, "n", json!("!")),
        (&rsa, "d", json!("private")),
        (&p256, "crv", json!("P-384")),
        (&p256, "crv", json!("P-521")),
        (&p256, "crv", json!("secp256k1")),
        (&p256, "x", json!(encode([1; 31]))),
        (&p256, "y", json!(encode([1; 33]))),
        (&p256, "y", json!(7)),
        (&ed, "crv", json!("Ed448")),
        (&ed, "crv", json!("X25519")),
        (&ed, "x", json!(encode([1; 31]))),
        (&ed, "kty", json!("EC")),
    ] {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        assert_eq!(serves(jwk.clone()), [], "{jwk}");
    }
}

#[test]
fn there_must_be_exactly_one_key_that_fits() {
    let jwk = |alg, kid| TestKey::generate(alg, kid).jwk();
    let mut nameless = jwk(Alg::Es384, "");
    nameless.as_object_mut().expect("an object").remove("kid");
    let set = set(vec![
        jwk(Alg::Es256, "a"),
        jwk(Alg::Es256, "b"),
        jwk(Alg::EdDsa, "b"),
        jwk(Alg::EdDsa, "twice"),
        jwk(Alg::EdDsa, "twice"),
        nameless,
    ]);
    for (alg, kid, found) in [
        (Algorithm::ES256, Some("a"), true),
        (Algorithm::ES256, Some("b"), true),
        // RFC 7517 §4.5: one name, two types.
        (Algorithm::EdDSA, Some("b"), true),
        (Algorithm::ES256, Some("A"), false),
        (Algorithm::ES256, Some(""), false),
        (Algorithm::ES256, Some("c"), false),
        (Algorithm::ES256, None, false),
        (Algorithm::EdDSA, Some("a"), false),
        (Algorithm::EdDSA, Some("twice"), false),
        (Algorithm::ES384, None, true),
        // A key without a name is not found by any.
        (Algorithm::ES384, Some("a"), false),
        (Algorithm::RS256, None, false),
    ] {
        assert_eq!(set.choose(alg, kid).is_some(), found, "{alg:?} {kid:?}");
    }
}

#[test]
fn what_is_no_set_is_no_set_and_odd_members_do_not_spoil_one() {
    for text in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":"#,
        "<html>",
    ] {
        assert!(KeySet::parse(text.as_bytes()).is_none(), "{text}");
    }
    let good = TestKey::generate(Alg::EdDsa, "k").jwk();
    let odd = json!({ "keys": [1, null, {}, { "kty": 7 }, { "kty": "AKP", "alg": "ML-DSA-44" }, good], "more": 1 });
    let set = KeySet::parse(odd.to_string().as_bytes()).expect("a set");
    assert!(set.choose(Algorithm::EdDSA, Some("k")).is_some());
    assert!(KeySet::parse(br#"{"keys":[]}"#).is_some_and(|set| set.is_empty()));
}
