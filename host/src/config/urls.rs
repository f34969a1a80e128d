//! Which URLs may carry tokens.

use url::{Host, Url};

/// Whether a URL names this very machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether keys and tokens may travel to and from a URL: https, or plain http that stays on
/// this machine (RFC 8414 §2, RFC 7662 §4).
pub fn is_trustworthy(url: &Url) -> bool {
    url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for (text, good) in [
            ("https://login.example.com", true),
            ("http://localhost:8080/tenant", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://login.example.com", false),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("https://user:word@login.example.com", false),
            ("ftp://localhost", false),
            ("file:///etc/keys", false),
            ("data:,keys", false),
        ] {
            let url = Url::parse(text).expect("a URL");
            assert_eq!(is_trustworthy(&url), good, "{text}");
        }
    }
}
