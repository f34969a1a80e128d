//! Gateways in network namespaces of their own, which can be cut off: packets are dropped, and nobody is told.
//!
//! In its namespace each gateway finds everything under the same address and port as outside, on loopback: a
//! HAProxy of its own forwards there, over the one wire that there is.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::balancer;

/// A bridge of this machine, with the namespaces that hang on it. Gone when dropped.
pub struct Network {
    name: String,
    /// Third number of its addresses.
    subnet: u8,
    size: usize,
    folder: TempDir,
    /// Forward from the bridge to loopback.
    forwarding: Vec<JoinHandle<()>>,
    /// Forward from each namespace's loopback to the bridge.
    forwarders: Vec<Child>,
}

impl Network {
    /// Makes so many namespaces in which these ports of loopback are reached. `None`, with a line that says so,
    /// where that is not allowed.
    pub async fn new(size: usize, ports: &[u16]) -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let own = std::process::id() as u8;
        let mut network = Self {
            name: format!("cx{:x}{nth:x}", std::process::id() & 0xffff),
            subnet: own.wrapping_add(nth),
            size: 0,
            folder: tempfile::tempdir().expect("a folder"),
            forwarding: Vec::new(),
            forwarders: Vec::new(),
        };
        let bridge = network.name.clone();
        let made = ip(&format!("link add {bridge} type bridge"))
            && ip(&format!("addr add {}/24 dev {bridge}", network.hub()))
            && ip(&format!("link set {bridge} up"));
        if !made {
            eprintln!("skipped: namespaces may not be made here (it takes root)");
            return None;
        }
        for number in 0..size {
            network.size = number + 1;
            let (space, wire) = (network.space(number), network.wire(number));
            let address = network.address(number);
            let made = ip(&format!("netns add {space}"))
                && ip(&format!(
                    "link add {wire} type veth peer name eth0 netns {space}"
                ))
                && ip(&format!("link set {wire} master {bridge}"))
                && ip(&format!("link set {wire} up"))
                && ip(&format!("-n {space} addr add {address}/24 dev eth0"))
                && ip(&format!("-n {space} link set lo up"))
                && ip(&format!("-n {space} link set eth0 up"));
            if !made {
                eprintln!("skipped: namespaces may not be made here (it takes root)");
                return None;
            }
        }
        for port in ports {
            let from = TcpListener::bind((network.hub(), *port)).await;
            let to = SocketAddr::from(([127, 0, 0, 1], *port));
            let forward = forward(from.expect("the bridge's address"), to);
            network.forwarding.push(tokio::spawn(forward));
        }
        for number in 0..size {
            network.forward_from(number, ports);
        }
        Some(network)
    }

    /// Cuts one off: what it sends and what is sent to it gets lost.
    pub fn cut(&self, number: usize) {
        assert!(ip(&format!("link set {} nomaster", self.wire(number))));
    }

    /// The end of [`Self::cut`].
    pub fn mend(&self, number: usize) {
        let (wire, bridge) = (self.wire(number), &self.name);
        assert!(ip(&format!("link set {wire} master {bridge}")));
    }

    /// The address of one of them.
    pub fn address(&self, number: usize) -> Ipv4Addr {
        let last = u8::try_from(number).expect("few") + 10;
        Ipv4Addr::new(10, 213, self.subnet, last)
    }

    /// What a command begins with that is to run in one of them.
    pub fn within(&self, number: usize) -> Vec<String> {
        let words = ["ip", "netns", "exec", &self.space(number)];
        words.map(str::to_owned).to_vec()
    }

    /// This machine's own address there.
    fn hub(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, 1)
    }

    fn space(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn wire(&self, number: usize) -> String {
        format!("{}v{number}", self.name)
    }

    /// Makes the ports of loopback in a namespace those of this machine.
    fn forward_from(&mut self, number: usize, ports: &[u16]) {
        let mut text = "defaults\n  mode tcp\n  timeout connect 1h\n  timeout client 1h\n  timeout server 1h\n".to_owned();
        for port in ports {
            text.push_str(&format!(
                "listen p{port}\n  bind 127.0.0.1:{port}\n  server hub {}:{port}\n",
                self.hub()
            ));
        }
        let file = self.folder.path().join(format!("{number}.cfg"));
        std::fs::write(&file, text).expect("written");
        let within = self.within(number);
        let forwarder = Command::new(&within[0])
            .args(&within[1..])
            .arg(balancer::program().expect("HAProxy"))
            .args(["-db", "-q", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.forwarders.push(forwarder.expect("it starts"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for forwarder in &mut self.forwarders {
            let _ = forwarder.kill();
            let _ = forwarder.wait();
        }
        for task in &self.forwarding {
            task.abort();
        }
        for number in 0..self.size {
            ip(&format!("link del {}", self.wire(number)));
            ip(&format!("netns del {}", self.space(number)));
        }
        ip(&format!("link del {}", self.name));
    }
}

/// Whether `ip` did this.
fn ip(words: &str) -> bool {
    let done = Command::new("ip")
        .args(words.split_whitespace())
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

async fn forward(from: TcpListener, to: SocketAddr) {
    let mut open = tokio::task::JoinSet::new();
    while let Ok((mut near, _)) = from.accept().await {
        open.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(to).await {
                // However it ends, both ends are closed.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
