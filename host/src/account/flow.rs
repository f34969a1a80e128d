//! What goes through a browser while it is away at an authorization server: a sealed `state`, and a
//! cookie that ties the flow to this one browser.

use http::HeaderMap;
use http::header::COOKIE;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::oauth_client::pkce::{NoRandomness, random};
use crate::seal::{NotOurs, Purpose, Sealer};
use crate::types::Secret;

/// A cookie to be set.
#[derive(Debug)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// Where it is sent to.
    pub path: String,
}

/// What every flow has in its state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ticket<T> {
    /// Which flow.
    pub(super) id: Uuid,
    /// Digest of the cookie's value.
    browser: [u8; 32],
    /// What else.
    pub(super) content: T,
}

/// Why a flow does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The state is not ours, or for something else.
    Foreign,
    /// It took too long.
    Expired,
    /// Another browser began it.
    OtherBrowser,
}

/// The cookie of a flow.
pub(super) fn cookie_name(id: Uuid) -> String {
    format!("cortex-flow-{}", id.simple())
}

/// Begins a flow: its state, and the cookie for its browser.
pub(super) fn begin<T: Serialize>(
    sealer: &Sealer,
    purpose: Purpose,
    binding: &[&[u8]],
    path: &str,
    content: T,
) -> Result<(String, Cookie), NoRandomness> {
    let (id, value) = (Uuid::now_v7(), random()?);
    let ticket = Ticket {
        id,
        browser: Sha256::digest(&value).into(),
        content,
    };
    let text = serde_json::to_vec(&ticket).map_err(|_| NoRandomness)?;
    let state = sealer.seal(purpose, binding, &text);
    let cookie = Cookie {
        name: cookie_name(id),
        value: Secret::new(value),
        path: path.to_owned(),
    };
    Ok((state.map_err(|_| NoRandomness)?, cookie))
}

/// Takes up a flow where its browser comes back.
pub(super) fn resume<T: DeserializeOwned>(
    sealer: &Sealer,
    purpose: Purpose,
    binding: &[&[u8]],
    state: &str,
    headers: &HeaderMap,
) -> Result<Ticket<T>, Stopped> {
    let opened = sealer
        .open(purpose, binding, state)
        .map_err(|error| match error {
            NotOurs::Foreign => Stopped::Foreign,
            NotOurs::Expired => Stopped::Expired,
        })?;
    let ticket: Ticket<T> = serde_json::from_slice(&opened).map_err(|_| Stopped::Foreign)?;
    let presented = cookie(headers, &cookie_name(ticket.id)).ok_or(Stopped::OtherBrowser)?;
    let digest: [u8; 32] = Sha256::digest(presented.reveal()).into();
    match bool::from(digest.ct_eq(&ticket.browser)) {
        true => Ok(ticket),
        false => Err(Stopped::OtherBrowser),
    }
}

/// The value of a cookie (RFC 6265 §4.2.1). One that is there twice is not there.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret> {
    let values = headers.get_all(COOKIE).iter();
    let pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut found = pairs.filter_map(|pair| {
        let (known, value) = pair.trim().split_once('=')?;
        (known == name).then_some(value)
    });
    match (found.next(), found.next()) {
        (Some(value), None) => Some(Secret::new(value.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Key256;

    fn headers(cookies: &[&str]) -> HeaderMap {
        let values = cookies.iter();
        values
            .map(|text| (COOKIE, text.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn a_cookie_is_found_once_or_not_at_all() {
        let read = |cookies: &[&str]| {
            cookie(&headers(cookies), "a").map(|value| value.reveal().to_owned())
        };
        assert_eq!(read(&["b=1; a=2"]).as_deref(), Some("2"));
        assert_eq!(read(&["b=1", "a=2=3"]).as_deref(), Some("2=3"));
        assert_eq!(read(&["a=1; a=2"]), None);
        assert_eq!(read(&["a=1", "a=2"]), None);
        assert_eq!(read(&["aa=1; xa=2"]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_flow_goes_on_in_its_own_browser_only() {
        let sealer = Sealer::new(&[Key256::new([1; 32])]).expect("a key");
        let begun = || begin(&sealer, Purpose::Link, &[b"wiki"], "/", 7_u8).expect("begun");
        let (state, cookie) = begun();
        let (_, other) = begun();
        let held = |cookie: &Cookie, value: &Cookie| {
            headers(&[&format!("{}={}", cookie.name, value.value.reveal())])
        };
        let resumed = |purpose, binding: &[u8], state: &str, headers: &HeaderMap| {
            let ticket = resume::<u8>(&sealer, purpose, &[binding], state, headers);
            ticket.map(|ticket| ticket.content)
        };
        let mine = held(&cookie, &cookie);
        assert_eq!(resumed(Purpose::Link, b"wiki", &state, &mine), Ok(7));
        for (purpose, binding, headers, expected) in [
            (Purpose::Link, &b"mail"[..], &mine, Stopped::Foreign),
            (Purpose::SignIn, b"wiki", &mine, Stopped::Foreign),
            (Purpose::Link, b"wiki", &headers(&[]), Stopped::OtherBrowser),
            (
                Purpose::Link,
                b"wiki",
                &held(&cookie, &other),
                Stopped::OtherBrowser,
            ),
            (
                Purpose::Link,
                b"wiki",
                &held(&other, &other),
                Stopped::OtherBrowser,
            ),
        ] {
            assert_eq!(resumed(purpose, binding, &state, headers), Err(expected));
        }
        assert_eq!(
            resumed(Purpose::Link, b"wiki", "x", &mine),
            Err(Stopped::Foreign)
        );
    }
}
