//! Who is calling? For now only the dev bypass answers that.
//!
//! `X-Dev-Mode` stands in for a token when a bypass token is configured, the mode is not
//! production, the peer is this machine, and `Host` names this machine (so that a page of
//! another site cannot reach it by DNS rebinding). RFC 6750 §2.1 governs the rest.

use http::HeaderMap;
use http::uri::Authority;

use super::version::Versioned;
use super::{Arrival, Refusal};
use crate::config::{Config, DevBypass};
use crate::mcp::version::ProtocolVersion;
use crate::types::{AccessToken, Issuer, Principal, Subject};

/// Header that carries the dev bypass token.
const DEV_HEADER: &str = "x-dev-mode";

/// A caller who was authenticated: only this module makes one.
pub(super) struct Caller {
    principal: Principal,
    token: AccessToken,
}

impl Caller {
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What a backend is given on the caller's behalf.
    pub(super) fn token(&self) -> &AccessToken {
        &self.token
    }
}

/// A request whose caller is known.
pub(super) struct Authenticated {
    pub(super) arrival: Arrival,
    pub(super) header: Option<ProtocolVersion>,
    caller: Caller,
}

impl Authenticated {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn into_parts(self) -> (Arrival, Option<ProtocolVersion>, Caller) {
        (self.arrival, self.header, self.caller)
    }
}

/// Finds out who is calling.
pub(super) fn authenticate(config: &Config, request: Versioned) -> Result<Authenticated, Refusal> {
    let Versioned { arrival, header } = request;
    let bypass = config.dev_bypass.as_ref().ok_or(Refusal::Unauthenticated)?;
    let host = arrival
        .head
        .uri
        .authority()
        .cloned()
        .or_else(|| host_header(&arrival.head.headers));
    let local = arrival.peer.ip().to_canonical().is_loopback()
        && host.is_some_and(|host| names_loopback(host.host()));
    let mut presented = arrival.head.headers.get_all(DEV_HEADER).iter();
    let matches = match (presented.next(), presented.next()) {
        (Some(value), None) => bypass.token.matches(value.as_bytes()),
        _ => false,
    };
    if !(local && matches) {
        return Err(Refusal::Unauthenticated);
    }
    let caller = Caller {
        principal: dev_principal(bypass),
        token: AccessToken::new(bypass.token.clone()),
    };
    Ok(Authenticated {
        arrival,
        header,
        caller,
    })
}

fn dev_principal(bypass: &DevBypass) -> Principal {
    Principal {
        subject: Subject::new("dev:local"),
        issuer: Issuer::new("dev:local"),
        client_id: None,
        email: Some("dev@localhost".to_owned()),
        name: None,
        role: Some(bypass.role.clone()),
        pool: None,
        scopes: bypass.scopes.clone(),
        dev_bypass: true,
    }
}

fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(http::header::HOST).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()?.parse().ok()
}

fn names_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_open_the_dev_bypass() {
        for (host, local) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(names_loopback(host), local, "{host}");
        }
    }

    #[test]
    fn two_host_headers_are_no_host() {
        let mut headers = HeaderMap::new();
        headers.append("host", "localhost:3213".parse().expect("a value"));
        assert!(host_header(&headers).is_some());
        headers.append("host", "evil.example".parse().expect("a value"));
        assert!(host_header(&headers).is_none());
    }
}
