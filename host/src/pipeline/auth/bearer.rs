//! Takes the access token out of the `Authorization` header (RFC 6750 §2.1), the only place where
//! one is looked for: never the query, never the body.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::pipeline::Refusal;
use crate::types::Secret;

/// The token that a request presents. `None`: it presents none, or something of another scheme,
/// which RFC 6750 §3.1 treats alike.
///
/// What claims to present one and does not is a malformed request (RFC 6750 §3.1: 400).
pub(super) fn token(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::BadAuthorization(
            "the header Authorization is there more than once",
        ));
    }
    let Ok(text) = value.to_str() else {
        return Err(Refusal::BadAuthorization(
            "the header Authorization is not ASCII",
        ));
    };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = rest.trim_matches(' ');
    if !is_b64token(token) {
        return Err(Refusal::BadAuthorization(
            "the header Authorization carries no token after Bearer",
        ));
    }
    Ok(Some(Secret::new(token.to_owned())))
}

/// `b64token` of RFC 6750 §2.1.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| B64TOKEN[usize::from(b)])
}

/// What a `b64token` is made of, but for the `=` at its end. Tokens are long, and each request has one.
static B64TOKEN: [bool; 256] = {
    let mut good = [false; 256];
    let mut b: u8 = 0;
    while b.is_ascii() {
        good[b as usize] =
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        b += 1;
    }
    good
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_header_one_token() {
        enum Read {
            Token(&'static str),
            Nothing,
            Refused,
        }
        use Read::*;
        for (values, expected) in [
            (&[][..], Nothing),
            (&["Bearer a.b.c"], Token("a.b.c")),
            (&["bearer a.b.c"], Token("a.b.c")),
            (&["BEARER  a-b_c~d+e/f== "], Token("a-b_c~d+e/f==")),
            (&["Basic dXNlcjpwYXNz"], Nothing),
            (&["DPoP a.b.c"], Nothing),
            (&["Bearera.b.c"], Nothing),
            (&[""], Nothing),
            (&["Bearer"], Refused),
            (&["Bearer "], Refused),
            (&["Bearer =="], Refused),
            (&["Bearer a b"], Refused),
            (&["Bearer a,b"], Refused),
            (&["Bearer \"a.b.c\""], Refused),
            (&["Bearer a=b"], Refused),
            (&["Bearer \u{e9}"], Refused),
            (&["Bearer a.b.c", "Bearer a.b.c"], Refused),
            (&["Basic dXNlcjpwYXNz", "Bearer a.b.c"], Refused),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                headers.append(AUTHORIZATION, value);
            }
            match (token(&headers), expected) {
                (Ok(Some(token)), Token(expected)) => assert_eq!(token.reveal(), expected),
                (Ok(None), Nothing) | (Err(Refusal::BadAuthorization(_)), Refused) => {}
                (read, _) => panic!("{values:?}: {read:?}"),
            }
        }
    }
}
