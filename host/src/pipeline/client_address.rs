//! Where does a request come from, seen through the reverse proxies in front?
//!
//! `X-Forwarded-For` is whatever its sender wrote. Each proxy appends whom it heard the request
//! from, so it is read from its end, for as long as the word is that of a proxy that the operator
//! trusts (`CORTEX_TRUSTED_PROXIES`). For counting only: nobody gets in by it.

use std::net::{IpAddr, SocketAddr};

use super::Arrival;
use crate::types::Network;

/// Name of the header.
const HEADER: &str = "x-forwarded-for";
/// Most proxies in a row.
const MAX_HOPS: usize = 32;

/// The address of the first in the row whom the operator does not trust.
pub(super) fn of(trusted: &[Network], arrival: &Arrival) -> IpAddr {
    let told = arrival.head.headers.get_all(HEADER).iter();
    let told: Vec<&str> = told
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .collect();
    through(trusted, arrival.peer.ip(), &told)
}

fn through(trusted: &[Network], peer: IpAddr, told: &[&str]) -> IpAddr {
    let mut address = peer.to_canonical();
    for before in told.iter().rev().take(MAX_HOPS) {
        if !trusted.iter().any(|network| network.contains(address)) {
            break;
        }
        // What is no address was not written by a proxy worth trusting: who said so is counted.
        let Some(before) = parse(before.trim()) else {
            break;
        };
        address = before;
    }
    address
}

/// An address; some proxies add the port.
fn parse(text: &str) -> Option<IpAddr> {
    let address: Option<IpAddr> = text.parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed_and_only_from_the_end() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"]
            .iter()
            .map(|text| text.parse().expect("a network"))
            .collect();
        for (peer, told, expected) in [
            // Nobody trusted: the header is the client's own invention.
            ("192.0.2.9", &["198.51.100.1"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            // What stands before the first untrusted address is invented.
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                &["1.1.1.1", " 198.51.100.1", "10.2.2.2 "],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["1.1.1.1", "unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1", "junk", "10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["10.3.3.3", "10.2.2.2"], "10.3.3.3"),
        ] {
            let peer = peer.parse().expect("an address");
            let expected: IpAddr = expected.parse().expect("an address");
            assert_eq!(through(&trusted, peer, told), expected, "{peer} {told:?}");
        }
    }
}
