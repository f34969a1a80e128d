//! A real load balancer in front of several gateways: HAProxy, without affinity.
//!
//! Each request goes to the next server, whoever sends it. Nothing is tried twice: what a client sees is what
//! one gateway did.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest that it may take to start. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often each server is asked whether it is ready.
pub const CHECKED_EVERY: Duration = Duration::from_millis(100);
/// The header in which answers tell which server they come from: `gateway-0` and so on.
pub const SERVED_BY: &str = "x-served-by";

/// The balancer. Stopped when dropped.
pub struct Balancer {
    folder: TempDir,
    address: SocketAddr,
    running: Child,
}

impl Balancer {
    /// Starts one on this address in front of these servers. `None`, with a line that says so, where HAProxy is
    /// not installed and this is no build machine.
    pub fn start(address: SocketAddr, servers: &[SocketAddr]) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        let orders = folder.path().join("orders");
        let mut text = format!(
            "global\n  maxconn 4000\n  stats socket {orders} mode 600 level admin\n\
             defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n  \
             timeout queue 5s\n  timeout http-request 30s\n  timeout http-keep-alive 10m\n  \
             timeout check 2s\n\
             frontend clients\n  bind {address}\n  default_backend gateways\n\
             backend gateways\n  balance roundrobin\n  option httpchk GET /readyz\n  http-check expect status 200\n  \
             http-response set-header {SERVED_BY} %s\n  \
             default-server check inter {every}ms fall 1 rise 1\n",
            orders = orders.display(),
            every = CHECKED_EVERY.as_millis(),
        );
        for (number, server) in servers.iter().enumerate() {
            text.push_str(&format!("  server gateway-{number} {server}\n"));
        }
        std::fs::write(&file, text).expect("written");
        // -db: in the foreground, so that it ends with this value.
        let running = Command::new(program)
            .args(["-db", "-q", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut started = Self {
            folder,
            address,
            running,
        };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            let ended = started.running.try_wait().expect("its state");
            assert!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "HAProxy does not listen: {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(started)
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.id()
    }

    /// The servers that get requests now, by number.
    pub fn up(&self) -> Vec<usize> {
        // `show stat` is CSV: proxy, server, …, status (the 18th).
        let stat = self.order("show stat");
        let rows = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let rows = rows.filter(|row| row.first() == Some(&"gateways") && row.len() > 17);
        let up = rows.filter(|row| row[17].starts_with("UP"));
        let numbers = up.filter_map(|row| row[1].strip_prefix("gateway-")?.parse().ok());
        numbers.collect()
    }

    /// Waits until exactly these servers get requests.
    pub async fn sees(&self, servers: &[usize]) {
        crate::gateway::eventually(|| self.up() == servers, || self.order("show stat")).await;
    }

    /// Gives an order on the runtime socket, and returns the answer.
    fn order(&self, order: &str) -> String {
        let mut socket = UnixStream::connect(self.folder.path().join("orders")).expect("connected");
        socket
            .write_all(format!("{order}\n").as_bytes())
            .expect("written");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("read");
        answer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

/// Where HAProxy is. `None`, with a line that says so, where it is not installed and this is no build machine.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian has it where only root's shell looks.
    places.push("/usr/sbin".into());
    let found = places.into_iter().map(|place| place.join("haproxy"));
    let found = { found }.find(|program| program.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "HAProxy is not installed (Debian: haproxy)"
        );
        eprintln!("skipped: HAProxy is not installed");
    }
    found
}
