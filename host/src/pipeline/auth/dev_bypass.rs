//! The dev bypass: a local developer without an authorization server.
//!
//! `X-Dev-Mode` stands in for a token when a bypass token is configured, the mode is not
//! production, the peer is this machine, and `Host` names this machine (so that a page of
//! another site cannot reach it by DNS rebinding).

use http::HeaderMap;
use http::uri::Authority;

use crate::config::DevBypass;
use crate::pipeline::Arrival;
use crate::types::{Issuer, Principal, Subject};

/// Header that carries the dev bypass token.
const HEADER: &str = "x-dev-mode";

/// Whether a request presents the bypass token, from where it may be presented.
pub(super) fn is_presented(bypass: &DevBypass, arrival: &Arrival) -> bool {
    let host = arrival
        .head
        .uri
        .authority()
        .cloned()
        .or_else(|| host_header(&arrival.head.headers));
    let local = arrival.peer.ip().to_canonical().is_loopback()
        && host.is_some_and(|host| names_loopback(host.host()));
    let mut presented = arrival.head.headers.get_all(HEADER).iter();
    let matches = match (presented.next(), presented.next()) {
        (Some(value), None) => bypass.token.matches(value.as_bytes()),
        _ => false,
    };
    local && matches
}

/// Who the local developer is.
pub(super) fn principal(bypass: &DevBypass) -> Principal {
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
