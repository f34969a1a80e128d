//! Gateways in network namespaces of their own, which can be cut off: packets are dropped, and nobody is told.
//!
//! In its namespace each gateway finds everything under the same address and port as outside, on loopback: a
//! HAProxy of its own forwards there, to the engines over a wire of their own, so that it can be cut off from
//! these alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::balancer;

/// Over what something is reached: each namespace has one of each, and each of them has a bridge.
#[derive(Clone, Copy)]
enum Wire {
    /// Clients, backends, providers.
    World,
    /// PostgreSQL and Redis.
    Engines,
}

impl Wire {
    const BOTH: [Self; 2] = [Self::World, Self::Engines];

    /// What tells their names apart; no digit of a number in base 16, as a network's name ends with.
    fn letter(self) -> char {
        match self {
            Self::World => 'w',
            Self::Engines => 's',
        }
    }

    /// What it is called in a namespace.
    fn device(self) -> &'static str {
        match self {
            Self::World => "eth0",
            Self::Engines => "eth1",
        }
    }
}

/// Bridges of this machine, with the namespaces that hang on them. Gone when dropped.
pub struct Network {
    name: String,
    /// Third number of its addresses.
    subnet: u8,
    size: usize,
    folder: TempDir,
    /// Forward from the bridges to loopback.
    forwarding: Vec<JoinHandle<()>>,
    /// Forward from each namespace's loopback to the bridges.
    forwarders: Vec<Child>,
}

impl Network {
    /// Makes so many namespaces in which these ports of loopback are reached, and those of engines. `None`, with a
    /// line that says so, where that is not allowed and this is no build machine.
    pub async fn new(size: usize, ports: &[u16], engines: &[u16]) -> Option<Self> {
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
        for wire in Wire::BOTH {
            let (bridge, hub) = (network.bridge(wire), network.hub(wire));
            let made = ip(&format!("link add {bridge} type bridge"))
                && ip(&format!("addr add {hub}/24 dev {bridge}"))
                && ip(&format!("link set {bridge} up"));
            if !made {
                return not_allowed();
            }
        }
        for number in 0..size {
            network.size = number + 1;
            let space = network.space(number);
            let made = ip(&format!("netns add {space}"))
                && ip(&format!("-n {space} link set lo up"))
                && Wire::BOTH.iter().all(|wire| network.connect(number, *wire));
            if !made {
                return not_allowed();
            }
        }
        let reached = { ports.iter() }
            .map(|port| (*port, Wire::World))
            .chain(engines.iter().map(|port| (*port, Wire::Engines)));
        let reached: Vec<(u16, Wire)> = reached.collect();
        for (port, wire) in &reached {
            let from = TcpListener::bind((network.hub(*wire), *port)).await;
            let to = SocketAddr::from(([127, 0, 0, 1], *port));
            let forward = forward(from.expect("the bridge's address"), to);
            network.forwarding.push(tokio::spawn(forward));
        }
        for number in 0..size {
            network.forward_from(number, &reached);
        }
        Some(network)
    }

    /// Cuts one off: what it sends and what is sent to it gets lost.
    pub fn cut(&self, number: usize) {
        for wire in Wire::BOTH {
            assert!(ip(&format!(
                "link set {} nomaster",
                self.wire(number, wire)
            )));
        }
    }

    /// Cuts one off from PostgreSQL and Redis alone.
    pub fn cut_from_engines(&self, number: usize) {
        let wire = self.wire(number, Wire::Engines);
        assert!(ip(&format!("link set {wire} nomaster")));
    }

    /// The end of [`Self::cut`] and of [`Self::cut_from_engines`].
    pub fn mend(&self, number: usize) {
        for wire in Wire::BOTH {
            let (bridge, wire) = (self.bridge(wire), self.wire(number, wire));
            assert!(ip(&format!("link set {wire} master {bridge}")));
        }
    }

    /// The address of one of them, for clients.
    pub fn address(&self, number: usize) -> Ipv4Addr {
        self.address_on(Wire::World, number)
    }

    /// What a command begins with that is to run in one of them.
    pub fn within(&self, number: usize) -> Vec<String> {
        let words = ["ip", "netns", "exec", &self.space(number)];
        words.map(str::to_owned).to_vec()
    }

    /// This machine's own address there.
    fn hub(&self, wire: Wire) -> Ipv4Addr {
        match wire {
            Wire::World => Ipv4Addr::new(10, 213, self.subnet, 1),
            Wire::Engines => Ipv4Addr::new(10, 214, self.subnet, 1),
        }
    }

    fn address_on(&self, wire: Wire, number: usize) -> Ipv4Addr {
        let [first, second, third, _] = self.hub(wire).octets();
        let last = u8::try_from(number).expect("few") + 10;
        Ipv4Addr::new(first, second, third, last)
    }

    fn bridge(&self, wire: Wire) -> String {
        format!("{}{}", self.name, wire.letter())
    }

    fn space(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn wire(&self, number: usize, wire: Wire) -> String {
        format!("{}{}{number}", self.name, wire.letter())
    }

    /// Whether a namespace now hangs on a bridge.
    fn connect(&self, number: usize, on: Wire) -> bool {
        let (space, wire, device) = (self.space(number), self.wire(number, on), on.device());
        let (bridge, address) = (self.bridge(on), self.address_on(on, number));
        ip(&format!(
            "link add {wire} type veth peer name {device} netns {space}"
        )) && ip(&format!("link set {wire} master {bridge}"))
            && ip(&format!("link set {wire} up"))
            && ip(&format!("-n {space} addr add {address}/24 dev {device}"))
            && ip(&format!("-n {space} link set {device} up"))
    }

    /// Makes the ports of loopback in a namespace those of this machine.
    fn forward_from(&mut self, number: usize, reached: &[(u16, Wire)]) {
        let mut text = "defaults\n  mode tcp\n  timeout connect 1h\n  timeout client 1h\n  timeout server 1h\n".to_owned();
        for (port, wire) in reached {
            text.push_str(&format!(
                "listen p{port}\n  bind 127.0.0.1:{port}\n  server hub {}:{port}\n",
                self.hub(*wire)
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
            for wire in Wire::BOTH {
                ip(&format!("link del {}", self.wire(number, wire)));
            }
            ip(&format!("netns del {}", self.space(number)));
        }
        for wire in Wire::BOTH {
            ip(&format!("link del {}", self.bridge(wire)));
        }
    }
}

/// There is no network here. A build machine has `ip`; whether it may make namespaces is up to whoever runs it.
fn not_allowed() -> Option<Network> {
    let has_ip = Command::new("ip").arg("-V").output().is_ok();
    assert!(
        has_ip || std::env::var_os("CI").is_none(),
        "`ip` is not installed (Debian package iproute2)"
    );
    eprintln!("skipped: namespaces may not be made here (it takes root, and `ip`)");
    None
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
