//! Certificates made with OpenSSL: for `localhost`, of themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::doctor::State;

/// It ends at the beginning of 2126 (a GeneralizedTime).
pub(in crate::doctor) const GOOD: &str = "MIIBYzCCAQqgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjYwMTAxMDAwMDAwWh \
     gPMjEyNjAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAOS \
     Owc/5oQLA63RKRE+qywltyCC84OMNZ2BGOhRym07f/0GPquLn7yoHE8NtCVCy9IdsvzMLDkju58MudiUlNmjSzBJMA \
     wGA1UdEwEB/wQCMAAwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMB0GA1UdDgQWBBTThUAG7KmUaLJfSXdKQW9t \
     uDmyrjAKBggqhkjOPQQDAgNHADBEAiAFWm9gr/XgK9/NbKOKlnf4xAN3imiQCb2T0g7XwDcGrwIgF5aR4a95ABZmZw \
     fVVINjcR0PtjNddt/dEZxnQK0uPWE=";

/// It ended on 2025-06-01 (a UTCTime).
pub(in crate::doctor) const OVER: &str = "MIIBYjCCAQigAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwHhcNMjUwMTAxMDAwMDAwWh \
     cNMjUwNjAxMTIzNDU2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQDkjsH \
     P+aECwOt0SkRPqssJbcggvODjDWdgRjoUcptO3/9Bj6ri5+8qBxPDbQlQsvSHbL8zCw5I7ufDLnYlJTZo0swSTAMBg \
     NVHRMBAf8EAjAAMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAdBgNVHQ4EFgQU04VABuyplGiyX0l3SkFvbbg5 \
     sq4wCgYIKoZIzj0EAwIDSAAwRQIhAPSveYAtRWoICj6EqPfA3LDB8XpLEuhoWwX5U4/PggW7AiBaGCXZUPklS3DyQZ \
     +KheGw+4BDwn8m+DWPynvE1XvGMQ==";

/// The key of both, in PKCS #8.
pub(in crate::doctor) const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHmpZ8MJz0TGQ7nUuh/zDmE/vESaGV32ARcanCOp4rA \
     GhRANCAAQDkjsHP+aECwOt0SkRPqssJbcggvODjDWdgRjoUcptO3/9Bj6ri5+8qBxPDbQlQsvSHbL8zCw5I7ufDLnY \
     lJTZ";

pub(in crate::doctor) fn der(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    STANDARD.decode(text).expect("base64")
}

#[test]
fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
    assert_eq!(ends(&der(GOOD)), Some(4_922_899_200));
    assert_eq!(ends(&der(OVER)), Some(1_748_781_296));
}

#[test]
fn what_is_no_certificate_has_no_end() {
    let good = der(GOOD);
    assert_eq!(ends(b""), None);
    for cut in 0..good.len() {
        assert_eq!(ends(&good[..cut]), None, "{cut}");
    }
    for at in 0..good.len() {
        let mut other = good.clone();
        other[at] ^= 0x55;
        // Whatever it says, it is no panic.
        let _ = ends(&other);
    }
}

#[test]
fn a_certificate_is_judged_by_the_days_that_are_left() {
    let now = 1_000_000_000;
    let days = |days: i64| Some(now + days * 24 * 3600);
    for (ends, state) in [
        (days(100), State::Ok),
        (days(14), State::Ok),
        (days(13), State::Warning),
        (None, State::Warning),
    ] {
        let section = judge([("a:443".to_owned(), ends)], now);
        assert_eq!(section.findings[0].state, state, "{ends:?}");
    }
}
