//! A real Redis server of a test's own, on this machine only, with nothing on disk.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::address::free_address;
use crate::certificates::Certificates;

/// Longest that the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// What lets in. It must turn up nowhere.
pub const PASSWORD: &str = "pa55word-of-redis";

/// The server.
pub struct Redis {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    /// What the server and who speaks to it are started with besides, where it speaks TLS.
    tls: Option<[Vec<String>; 2]>,
}

impl Redis {
    /// Starts one. `None`, with a line that says so, where Redis is not installed and this is no build machine.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Starts one that speaks TLS only.
    pub fn encrypted(certificates: &Certificates) -> Option<Self> {
        let path = |path: std::path::PathBuf| path.display().to_string();
        let authority = path(certificates.authority());
        let (certificate, key) = (path(certificates.server()), path(certificates.key()));
        let server = ["--tls-cert-file", &certificate, "--tls-key-file", &key]
            .into_iter()
            .chain(["--tls-ca-cert-file", &authority, "--tls-auth-clients", "no"]);
        let client = ["--tls", "--cacert", &authority];
        Self::start_with(Some([
            server.map(str::to_owned).collect(),
            client.map(str::to_owned).to_vec(),
        ]))
    }

    fn start_with(tls: Option<[Vec<String>; 2]>) -> Option<Self> {
        let found = Command::new("redis-server").arg("--version").output();
        if found.is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "Redis is not installed (Debian: redis-server)"
            );
            eprintln!("skipped: Redis is not installed");
            return None;
        }
        let mut made = Self {
            folder: tempfile::tempdir().expect("a folder"),
            port: free_address().port(),
            server: None,
            tls,
        };
        made.run();
        Some(made)
    }

    /// Where it is, with its password.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}://:{PASSWORD}@127.0.0.1:{}/0", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Starts it again after [`Self::stop`]; empty.
    pub fn run(&mut self) {
        let port = self.port.to_string();
        let ports = match self.tls {
            Some(_) => vec!["--port", "0", "--tls-port", &port],
            None => vec!["--port", &port],
        };
        let server = Command::new("redis-server")
            .args(ports)
            .args(["--bind", "127.0.0.1"])
            .args(self.tls.iter().flat_map(|[server, _]| server))
            .args(["--save", "", "--appendonly", "no"])
            .args(["--requirepass", PASSWORD])
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.expect("it starts"));
        let began = Instant::now();
        while self.ask(&["PING"]).stdout != b"PONG\n" {
            assert!(began.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it; who is connected loses the connection, and everything is lost.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Makes it do nothing, as a server does that cannot be reached any more: connections stay open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let server = self.server.as_ref().expect("it runs");
        let sent = Command::new("kill")
            .args([signal, &server.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// What a command answers, as `redis-cli` prints it.
    pub fn command(&self, words: &[&str]) -> String {
        let answer = self.ask(words);
        let told = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{words:?}: {told}");
        String::from_utf8_lossy(&answer.stdout)
            .trim_end()
            .to_owned()
    }

    fn ask(&self, words: &[&str]) -> Output {
        let asked = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(self.tls.iter().flat_map(|[_, client]| client))
            .env("REDISCLI_AUTH", PASSWORD)
            .args(words)
            .output();
        asked.expect("redis-cli runs")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
