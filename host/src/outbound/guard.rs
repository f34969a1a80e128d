//! Which addresses may be reached on the word of others (server-side request forgery; MCP Security
//! Best Practices, "Server-Side Request Forgery").
//!
//! A name is resolved here, its addresses are judged here, and only those that pass are connected to:
//! there is no second look-up in which the name could mean something else.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::types::is_public;

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Addresses of this machine may.
    pub loopback: bool,
    /// Hosts that the operator vouches for, wherever they are.
    pub hosts: Arc<BTreeSet<String>>,
}

impl Guard {
    /// Whether a host with this address may be reached.
    pub(super) fn lets(&self, host: Option<&str>, address: IpAddr) -> bool {
        is_public(address)
            || (self.loopback && address.to_canonical().is_loopback())
            || host.is_some_and(|host| self.hosts.contains(host))
    }

    /// Whether a URI may be asked for, if it names an address: those are not resolved.
    pub(super) fn lets_literal(&self, uri: &Uri) -> bool {
        let Some(host) = uri.host() else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(address) => self.lets(Some(host), address),
            Err(_) => true,
        }
    }

    /// Those of a name's addresses that may be reached.
    fn sift(&self, name: &str, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        found
            .filter(|address| self.lets(Some(name), address.ip()))
            .collect()
    }
}

/// Resolves names, and leaves out what may not be reached.
#[derive(Clone)]
pub(super) struct Resolver {
    inner: GaiResolver,
    guard: Option<Guard>,
}

impl Resolver {
    pub(super) fn new(guard: Option<Guard>) -> Self {
        Self {
            inner: GaiResolver::new(),
            guard,
        }
    }
}

type Addresses = std::vec::IntoIter<SocketAddr>;

impl Service<Name> for Resolver {
    type Response = Addresses;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Addresses>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.guard.clone();
        let asked = name.as_str().to_ascii_lowercase();
        let found = self.inner.call(name);
        Box::pin(async move {
            let found = found.await?;
            let Some(guard) = guard else {
                return Ok(found.collect::<Vec<_>>().into_iter());
            };
            let allowed = guard.sift(&asked, found);
            if allowed.is_empty() {
                let why = "none of the addresses of this name may be reached on the word of others";
                return Err(std::io::Error::other(why));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str]) -> Vec<SocketAddr> {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        addresses.map(|ip: IpAddr| (ip, 443).into()).collect()
    }

    #[test]
    fn a_name_that_changes_its_meaning_reaches_nothing_new() {
        let guard = Guard::default();
        let name = "rebind.example";
        // The same name, first as it was checked, then as it is when somebody connects.
        let first = guard.sift(name, found(&["93.184.216.34"]).into_iter());
        assert_eq!(first, found(&["93.184.216.34"]));
        for second in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "fd00::1",
            "::ffff:192.168.0.1",
        ] {
            let reached = guard.sift(name, found(&[second]).into_iter());
            assert!(reached.is_empty(), "{second}");
        }
        // Of several, only those that may be reached are tried.
        let mixed = found(&["10.0.0.1", "93.184.216.34", "::1"]).into_iter();
        assert_eq!(guard.sift(name, mixed), found(&["93.184.216.34"]));
    }

    #[test]
    fn what_the_operator_vouches_for_may_be_anywhere() {
        let hosts = Arc::new(BTreeSet::from(["sso.corp.example".to_owned()]));
        let guard = Guard {
            loopback: false,
            hosts,
        };
        let inside: IpAddr = "10.1.2.3".parse().expect("an address");
        assert!(guard.lets(Some("sso.corp.example"), inside));
        assert!(!guard.lets(Some("other.corp.example"), inside));
        let own: IpAddr = "127.0.0.1".parse().expect("an address");
        assert!(!guard.lets(Some("localhost"), own));
        let guard = Guard {
            loopback: true,
            ..Guard::default()
        };
        assert!(guard.lets(Some("localhost"), own) && !guard.lets(Some("x"), inside));
    }

    #[test]
    fn addresses_in_urls_are_judged_too() {
        let guard = Guard::default();
        for (uri, good) in [
            ("https://93.184.216.34/x", true),
            ("https://name.example/x", true),
            ("https://10.0.0.1/x", false),
            ("https://[::1]:8443/x", false),
            ("https://[fe80::1]/x", false),
            ("https://169.254.169.254/latest", false),
        ] {
            let uri = uri.parse().expect("a URI");
            assert_eq!(guard.lets_literal(&uri), good, "{uri}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_not_reached() {
        let name = || "localhost".parse::<Name>().expect("a name");
        let mut resolver = Resolver::new(Some(Guard::default()));
        assert!(resolver.call(name()).await.is_err());
        let mut open = Resolver::new(Some(Guard {
            loopback: true,
            ..Guard::default()
        }));
        assert!(open.call(name()).await.expect("resolved").count() > 0);
    }
}
