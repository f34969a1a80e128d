//! A real Redis of a test's own.

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::balancer::free_address;

/// Longest that it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// What lets in. It must turn up nowhere.
pub const PASSWORD: &str = "pa55word-of-redis";

/// The server.
pub struct Redis {
    folder: TempDir,
    address: SocketAddr,
    server: Option<Child>,
}

impl Redis {
    /// Starts one. `None`, with a line that says so, where Redis is not installed and this is no build machine.
    pub fn start() -> Option<Self> {
        if Command::new("redis-server")
            .arg("--version")
            .output()
            .is_err()
        {
            assert!(
                std::env::var_os("CI").is_none(),
                "Redis is not installed (Debian: redis-server)"
            );
            eprintln!("skipped: Redis is not installed");
            return None;
        }
        let mut made = Self {
            folder: tempfile::tempdir().expect("a folder"),
            address: free_address(),
            server: None,
        };
        made.run();
        Some(made)
    }

    /// Where it is, with its password.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address)
    }

    /// Starts it again after [`Self::stop`]; it has forgotten everything.
    pub fn run(&mut self) {
        let server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.address.port().to_string()])
            .args(["--requirepass", PASSWORD])
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.expect("it starts"));
        let began = Instant::now();
        while self.command(&["PING"]) != "PONG" {
            assert!(began.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it at once; who is connected loses the connection.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Makes it forget everything.
    pub fn flush(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), "OK");
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// What a command answers.
    pub fn command(&self, words: &[&str]) -> String {
        let asked: std::io::Result<Output> = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()])
            .env("REDISCLI_AUTH", PASSWORD)
            .args(words)
            .output();
        let text = String::from_utf8_lossy(&asked.expect("redis-cli runs").stdout).into_owned();
        text.trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
