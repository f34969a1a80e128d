//! Checks the `Origin` header before anything else is read.
//!
//! MCP 2026-07-28, Streamable HTTP, "Security & Endpoint": a present, unknown origin gets 403.
//! A missing one passes, because only browsers send it. Knows nothing of tokens or sessions:
//! it runs before both.

use http::HeaderValue;
use url::{Host, Url};

use super::host::ForThisHost;
use super::{Arrival, Refusal};
use crate::config::{Config, Mode};

/// Which origins may call.
pub struct Origins {
    entries: Vec<String>,
    localhost: bool,
}

/// An arrival whose origin was allowed.
pub(super) struct FromAllowedOrigin(Arrival);

impl FromAllowedOrigin {
    pub(super) fn headers(&self) -> &http::HeaderMap {
        &self.0.head.headers
    }

    pub(super) fn into_inner(self) -> Arrival {
        self.0
    }
}

impl Origins {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            entries: config.allowed_origins.clone(),
            localhost: config.mode == Mode::Development,
        }
    }

    /// Whether a present `Origin` is allowed.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(text) = origin.to_str() else {
            return false;
        };
        let Ok(url) = Url::parse(text) else {
            return false;
        };
        let text = text.to_ascii_lowercase();
        // Only the serialisation of an origin: no path, no user, no default port.
        if !matches!(url.scheme(), "http" | "https") || url.origin().ascii_serialization() != text {
            return false;
        }
        if self.localhost && is_localhost(&url) {
            return true;
        }
        let host = url.host_str().unwrap_or_default();
        self.entries
            .iter()
            .any(|entry| match entry.strip_prefix("*.") {
                // At a label boundary: `*.example.com` is not `badexample.com`.
                Some(suffix) => {
                    host == suffix
                        || host
                            .strip_suffix(suffix)
                            .is_some_and(|rest| rest.ends_with('.'))
                }
                None => *entry == text,
            })
    }
}

fn is_localhost(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Lets an arrival pass whose origin is absent or allowed.
pub(super) fn check(origins: &Origins, request: ForThisHost) -> Result<FromAllowedOrigin, Refusal> {
    let arrival = request.into_inner();
    let mut present = arrival.head.headers.get_all(http::header::ORIGIN).iter();
    if present.all(|origin| origins.allows(origin)) {
        Ok(FromAllowedOrigin(arrival))
    } else {
        Err(Refusal::ForbiddenOrigin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_exactly_or_at_a_label_boundary() {
        let entries = vec![
            "https://app.example.com".to_owned(),
            "*.trusted.example".to_owned(),
        ];
        let check = |origin: &str, localhost: bool, expected: bool| {
            let origins = Origins {
                entries: entries.clone(),
                localhost,
            };
            let value = HeaderValue::from_str(origin).expect("a header value");
            assert_eq!(
                origins.allows(&value),
                expected,
                "{origin} (localhost origins: {localhost})"
            );
        };
        check("https://app.example.com", false, true);
        check("https://APP.example.com", false, true);
        check("http://app.example.com", false, false);
        check("https://app.example.com:8443", false, false);
        check("https://app.example.com.evil.example", false, false);
        check("https://a.trusted.example", false, true);
        check("https://trusted.example", false, true);
        check("https://untrusted.example", false, false);
        check("https://trusted.example.evil.example", false, false);
        check("http://localhost:5173", true, true);
        check("http://127.0.0.1:5173", true, true);
        check("http://localhost:5173", false, false);
        check("http://localhost.evil.example", true, false);
        check("null", true, false);
        check("https://app.example.com/path", true, false);
        check("https://user@app.example.com", true, false);
        check("file://", true, false);
    }
}
