//! Addresses for servers of tests that are told theirs before they start, or come back to them.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address of this machine that is free, and that no connection gets by chance: its port is not of the
/// range from which those are taken, so that it is still free when a server comes back to it.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run beside each other begin at different places.
    let begin = (std::process::id() % 100) as u16 * 120;
    for _ in 0..12_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + begin.wrapping_add(step) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
