//! Checks where a request believes to be: a page of another site must not reach a gateway by
//! letting its own name point here (DNS rebinding; MCP 2026-07-28, Streamable HTTP, "Security &
//! Endpoint").
//!
//! Names are checked, addresses are not: whoever uses an address has looked nothing up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use http::request::Parts;
use http::uri::Authority;
use tracing::warn;
use url::{Host, Url};

use super::{Arrival, Refusal};
use crate::config::{Config, Mode};

/// How often the log is told of names that are not ours.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Under which names the gateway is reached.
pub struct Hosts {
    names: Vec<String>,
    localhost: bool,
    /// The `Host` that was last found to be good: most requests have the same.
    last: ArcSwapOption<HeaderValue>,
    /// When the log was last told of a name that is not ours.
    told: Mutex<Option<Instant>>,
}

/// An arrival that was meant for this gateway.
pub(super) struct ForThisHost(Arrival);

impl ForThisHost {
    pub(super) fn into_inner(self) -> Arrival {
        self.0
    }
}

impl Hosts {
    /// From the configuration: the canonical URI's, the allowed ones, and those of this machine
    /// where only this machine is served.
    pub fn new(config: &Config) -> Self {
        let canonical = config.canonical_uri.host_str().unwrap_or_default();
        let mut names = config.allowed_hosts.clone();
        names.push(canonical.to_ascii_lowercase());
        Self {
            names,
            localhost: config.mode == Mode::Development || config.listen.ip().is_loopback(),
            last: ArcSwapOption::empty(),
            told: Mutex::default(),
        }
    }

    /// Where a request believes to be.
    ///
    /// # Errors
    /// [`Refusal::BadHost`] or [`Refusal::ForbiddenHost`].
    pub fn check(&self, head: &Parts) -> Result<(), Refusal> {
        let host = only_host(head);
        if host.is_some() && self.last.load().as_deref() == host {
            return Ok(());
        }
        let authority = authority(head).ok_or(Refusal::BadHost)?;
        // The same reading of names and addresses as everywhere.
        let url = Url::parse(&format!("http://{authority}/")).map_err(|_| Refusal::BadHost)?;
        let name = match url.host() {
            None => return Err(Refusal::BadHost),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => None,
            Some(Host::Domain(name)) => Some(name.trim_end_matches('.')),
        };
        if let Some(name) = name.filter(|name| !self.is_ours(name)) {
            self.tell(name);
            return Err(Refusal::ForbiddenHost);
        }
        if let Some(host) = host {
            self.last.store(Some(Arc::new(host.clone())));
        }
        Ok(())
    }

    fn is_ours(&self, name: &str) -> bool {
        let local = self.localhost && name == "localhost";
        local || self.names.iter().any(|known| matches(known, name))
    }

    /// Tells the operator, who may have a proxy that uses this name; once in a while, because
    /// strangers choose it.
    fn tell(&self, name: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|when| when.elapsed() > TELL_EVERY) {
            *told = Some(Instant::now());
            let name: String = name.chars().take(100).collect();
            warn!(
                host = name,
                "a request for a host that is not this gateway is refused; \
                 hint: if it is a name of this gateway, add it to CORTEX_ALLOWED_HOSTS"
            );
        }
    }
}

/// An exact name, or at a label boundary below `*.`.
fn matches(known: &str, name: &str) -> bool {
    match known.strip_prefix("*.") {
        Some(suffix) => {
            name == suffix
                || name
                    .strip_suffix(suffix)
                    .is_some_and(|rest| rest.ends_with('.'))
        }
        None => known == name,
    }
}

/// The only `Host`, where the target has no authority of its own.
fn only_host(head: &Parts) -> Option<&HeaderValue> {
    let mut hosts = head.headers.get_all(http::header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    first.filter(|_| second.is_none() && head.uri.authority().is_none())
}

/// The target's own authority, else the only `Host` (RFC 9112 §3.2.2, RFC 9110 §7.2).
fn authority(head: &Parts) -> Option<Authority> {
    let mut hosts = head.headers.get_all(http::header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return None;
    }
    let authority = match head.uri.authority() {
        Some(authority) => authority.clone(),
        None => first?.to_str().ok()?.parse().ok()?,
    };
    (!authority.as_str().contains('@')).then_some(authority)
}

/// Lets an arrival pass that was meant for this gateway.
pub(super) fn check(hosts: &Hosts, arrival: Arrival) -> Result<ForThisHost, Refusal> {
    hosts.check(&arrival.head)?;
    Ok(ForThisHost(arrival))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn names_are_checked_and_addresses_are_not() {
        let names = vec!["mcp.example.com".to_owned(), "*.inner.example".to_owned()];
        let hosts = |localhost| Hosts {
            names: names.clone(),
            localhost,
            last: ArcSwapOption::empty(),
            told: Mutex::default(),
        };
        for (host, expected) in [
            ("mcp.example.com", Ok(())),
            ("MCP.example.com:8443", Ok(())),
            ("mcp.example.com.", Ok(())),
            ("a.inner.example", Ok(())),
            ("inner.example", Ok(())),
            ("127.0.0.1:3213", Ok(())),
            ("[::1]:3213", Ok(())),
            ("10.1.2.3", Ok(())),
            ("localhost:3213", Ok(())),
            ("evil.example", Err("forbidden_host")),
            ("mcp.example.com.evil.example", Err("forbidden_host")),
            ("notinner.example", Err("forbidden_host")),
            ("localhost.evil.example", Err("forbidden_host")),
            ("", Err("bad_host")),
            ("user@mcp.example.com", Err("bad_host")),
            ("a b", Err("bad_host")),
            ("mcp.example.com:port", Err("bad_host")),
        ] {
            let told = hosts(true).check(&head("/mcp", &[host]));
            let told = told.map_err(|refusal| refusal.code().to_owned());
            assert_eq!(told, expected.map_err(str::to_owned), "{host}");
        }
        assert!(hosts(false).check(&head("/", &["localhost"])).is_err());
    }

    #[test]
    fn one_host_and_the_targets_own_first() {
        let hosts = Hosts {
            names: vec!["here.example".to_owned()],
            localhost: false,
            last: ArcSwapOption::empty(),
            told: Mutex::default(),
        };
        let code = |uri, given: &[&str]| match hosts.check(&head(uri, given)) {
            Ok(()) => "ok".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        };
        // Also after it was found to be good.
        assert_eq!(code("/", &["here.example"]), "ok");
        assert_eq!(code("/", &["here.example"]), "ok");
        assert_eq!(code("/", &["evil.example"]), "forbidden_host");
        assert_eq!(code("/", &["here.example", "here.example"]), "bad_host");
        assert_eq!(code("/", &[]), "bad_host");
        assert_eq!(code("http://here.example/", &["evil.example"]), "ok");
        assert_eq!(code("/", &["here.example", "evil.example"]), "bad_host");
        assert_eq!(
            code("http://evil.example/", &["here.example"]),
            "forbidden_host"
        );
    }
}
